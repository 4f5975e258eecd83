# SPDX-License-Identifier: Apache-2.0
"""A daemon that says what the test wants: the two requests of the Docker API that hotdrain makes, on a unix socket."""
import http.server
import json
import os
import socketserver
import threading
import time
import urllib.parse

from . import proc, tap


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 16


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        daemon = self.server.owner
        daemon.requests.append(self.path)
        if daemon.status != 200:
            self.send_error(daemon.status)
        elif url.path == "/containers/json":
            body = json.dumps(list(daemon.rows.values())).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif url.path == "/events":
            self.follow(daemon, float(urllib.parse.parse_qs(url.query)["since"][0]))
        else:
            self.send_error(404)
        self.close_connection = True

    def follow(self, daemon, since):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        daemon.followers += 1
        at = 0
        try:
            while not daemon.ended:
                with daemon.changed:
                    if len(daemon.events) == at:
                        daemon.changed.wait(0.2)
                    new, at = daemon.events[at:], len(daemon.events)
                for when, text in new:
                    if when >= since:
                        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
        except OSError:
            pass
        finally:
            daemon.followers -= 1


class FakeDocker:
    def __init__(self, directory):
        self.path = os.path.join(directory, "docker.sock")
        self.url = "unix://" + self.path
        self.rows, self.events, self.requests = {}, [], []
        self.status, self.followers, self.ended = 200, 0, False
        self.changed = threading.Condition()

    def __enter__(self):
        self.ended = False
        self.server = Server(self.path, Handler)
        self.server.owner = self
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.server.shutdown()
        self.server.server_close()
        os.unlink(self.path)

    def wait_followed(self):
        if not proc.wait_until(lambda: self.followers, 10):
            raise tap.Failure("nobody follows the daemon's events")

    def has(self, ident, name, labels=None, image="localhost/web:1", state="running"):
        self.rows[ident] = {"Id": ident, "Names": ["/" + name], "Image": image, "Labels": labels or {}, "State": state}

    def tell(self, action, ident, name, labels=None, image="localhost/web:1", **more):
        now = time.time_ns()
        self.send(json.dumps({"Type": "container", "Action": action, "time": now // 10**9, "timeNano": now,
                              "Actor": {"ID": ident, "Attributes": {**(labels or {}), "image": image, "name": name, **more}}}) + "\n", now)

    def send(self, text, now=None):
        with self.changed:
            self.events.append(((now or time.time_ns()) / 1e9, text.encode() if isinstance(text, str) else text))
            self.changed.notify_all()
