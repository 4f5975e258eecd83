# SPDX-License-Identifier: Apache-2.0
"""A kubelet or API server that lists pods: TLS with a certificate of the test's own authority, a token, and bad days."""
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import urllib.parse

from . import tool

RECORDED = os.path.join(tool.TOP, "tests", "unit", "meta", "data", "podlist.json")
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


def missing():
    return None if tool.find("openssl") else "openssl is not installed"


def openssl(*args):
    subprocess.run([tool.find("openssl"), *args], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


class Authority:
    def __init__(self, directory, name="ca"):
        self.key, self.cert = (os.path.join(directory, f"{name}.{x}") for x in ("key", "pem"))
        openssl("req", "-x509", *KEY, "-keyout", self.key, "-out", self.cert, "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def sign(self, path, names="IP:127.0.0.1"):
        """A key and a certificate in one file."""
        openssl("req", "-x509", "-CA", self.cert, "-CAkey", self.key, *KEY, "-keyout", path + ".key", "-out", path,
                "-subj", "/CN=server", "-addext", f"subjectAltName={names}")
        with open(path, "a", encoding="ascii") as whole, open(path + ".key", encoding="ascii") as key:
            whole.write(key.read())
        return path


def recorded():
    with open(RECORDED, encoding="utf-8") as f:
        return json.load(f)


def listed(items, **metadata):
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}).encode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server.owner
        server.requests.append((self.path, dict(self.headers)))
        server.gate.wait(30)
        answer = server.answer
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            self.reply(401, b'{"kind":"Status","status":"Failure","reason":"Unauthorized","code":401}')
        elif callable(answer):
            answer(self)
        else:
            self.reply(200, answer)
        server.answered += 1
        server.last = answer

    def reply(self, status, body, length=None, kind="application/json", **headers):
        """length: what it claims."""
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body) if length is None else length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        if length not in (None, len(body)):
            self.close_connection = True

    def query(self):
        return urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that refuses the certificate, or goes away


class PodServer:
    """answer: the body of a 200, or a function of the Handler. While gate is clear requests are held."""

    def __init__(self, cert=None, answer=b"", token=None, port=0):
        self.requests, self.answered, self.token, self.answer = [], 0, token, answer
        self.last = None  # the last answer given
        self.gate = threading.Event()
        self.gate.set()
        self.http = Quiet(("127.0.0.1", port), Handler)
        self.http.owner = self
        if cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert)
            # The handshake is the connection's thread's, so that a client that is silent holds up no other.
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "https" if cert else "http"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def url(self, path="/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.http.server_address[1]}{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()
