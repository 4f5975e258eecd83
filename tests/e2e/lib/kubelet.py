# SPDX-License-Identifier: Apache-2.0
"""Rotates a container's log as a kubelet does, again and again, in a thread.

The names are a kubelet's, 0.log.YYYYmmdd-HHMMSS, from a clock that runs a second with each rotation: a kubelet rotates
at most every ten seconds, and two rotations within one second would give two files the same name.
"""
import gzip
import os
import shutil
import threading
import time


def last_tags(path):
    """{stream: "P" or "F"} of the last line of each stream in a CRI file's last 256 KiB."""
    found = {}
    with open(path, "rb") as f:
        f.seek(max(0, os.path.getsize(path) - (256 << 10)))
        for line in f.read().split(b"\n"):
            words = line.split(b" ", 3)
            if len(words) == 4 and words[2] in (b"P", b"F"):
                found[words[1].decode()] = words[2].decode()
    return found


class Rotator:
    """reopen() makes the runtime reopen the log and may raise RuntimeError. keep: files with the live one.

    late(): called between the rename and the reopening, when the writer still writes to the renamed file.
    """

    def __init__(self, log, reopen, keep=5, compress=True, late=None):
        self.log, self.reopen, self.keep, self.compress, self.late = log, reopen, keep, compress, late
        self.clock = time.time()
        self.rotations = self.compressed = self.deleted = 0
        self.cut = {"stdout": 0, "stderr": 0}  # rotations that fell within a line of that stream
        self.stopping, self.thread, self.error = threading.Event(), None, None

    def rotated(self):
        head, tail = os.path.split(self.log)
        return [os.path.join(head, n) for n in sorted(os.listdir(head)) if n.startswith(tail + ".") and not n.endswith(".tmp")]

    def rotate(self):
        """Oldest away, older ones compressed, rename, reopen. A failed reopening gives the name back."""
        rotated = self.rotated()
        stay = max(self.keep - 2, 0)
        for path in rotated[:max(len(rotated) - stay, 0)]:
            os.unlink(path)
            self.deleted += 1
        for path in rotated[max(len(rotated) - stay, 0):]:
            if not path.endswith(".gz"):
                self.look(path)
                if self.compress:
                    self.gzip(path)
        self.clock += 1
        target = f"{self.log}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime(self.clock))}"
        os.rename(self.log, target)
        if self.late:
            self.late()
        try:
            self.reopen()
        except RuntimeError:
            os.rename(target, self.log)
            return
        self.rotations += 1

    def look(self, path):
        for stream, tag in last_tags(path).items():
            self.cut[stream] += tag == "P"

    def gzip(self, path):
        with open(path, "rb") as source, gzip.open(path + ".tmp", "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        os.rename(path + ".tmp", path + ".gz")
        os.unlink(path)
        self.compressed += 1

    def start(self, each):
        """A rotation every so many seconds, until stop(). Another log and reopen may follow; the counts go on."""
        self.stopping.clear()
        self.thread = threading.Thread(target=self.run, args=(each,), daemon=True)
        self.thread.start()
        return self

    def run(self, each):
        due = time.monotonic()
        try:
            while not self.stopping.is_set():
                self.rotate()
                due = max(due + each, time.monotonic())
                self.stopping.wait(due - time.monotonic())
        except Exception as e:
            self.error = e

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        if self.error:
            raise self.error
