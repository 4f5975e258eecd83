# SPDX-License-Identifier: Apache-2.0
"""A daemon that is the test itself: what it answers on the socket of `hotdrain run`, and how."""
import os
import socket
import threading


class Daemon:
    """Listens on DIR/ledger.sock. Each client's byte goes to answer(byte), whose bytes are sent back; None: it hangs."""

    def __init__(self, directory, answer, reads=True):
        self.answer, self.reads, self.asked, self.held = answer, reads, [], []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here = os.open(directory, os.O_PATH)
        self.listener.bind(f"/proc/self/fd/{here}/ledger.sock")
        os.close(here)
        self.listener.listen(5)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            asked = client.recv(100) if self.reads else b""
            self.asked.append(asked)
            reply = self.answer(asked)
            if reply is None:
                self.held.append(client)
                continue
            try:
                client.sendall(reply)
            except OSError:
                pass
            client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in self.held:
            client.close()


def reply(text, lost=0):
    text = text.encode()
    return b"%d %d\n%s" % (lost, len(text), text)
