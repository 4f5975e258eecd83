# SPDX-License-Identifier: Apache-2.0
"""Stands in for the daemon below the status page: serves the page itself and made-up figures (user/serve/status.h)."""
import http.server
import json
import os
import threading
import time

from . import tool

PAGE = os.path.join(tool.TOP, "user", "serve", "page.html")
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
POLICY = "default-src 'self' 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def account(written=0, delivered=None, pending=0, lost=None, events=None):
    lost = lost or {}
    delivered = written - pending - sum(lost.values()) if delivered is None else delivered
    return {"written": written, "read": delivered, "delivered": delivered, "pending": pending, "uncounted": 0,
            "records": delivered // 100, "lost_bytes": sum(lost.values()), "lost": lost,
            "lost_events": events if events is not None else {why: 1 for why in lost}}


class Log:
    """One container. speed: bytes a second that it writes; all else as status.h has it."""

    def __init__(self, pod, speed=0, namespace="shop", container="app", path=None, lost=None, events=None, **more):
        self.speed, self.lost, self.events, self.more = speed, lost or {}, events, more
        self.names = {"namespace": namespace, "pod": pod, "uid": f"uid-of-{pod}" if pod else "", "container": container}
        self.path = path or f"/var/log/pods/{namespace}_{pod}_uid/{container}"

    def at(self, seconds):
        row = {"backlog": 0, "rate": int(self.speed), "oldest_s": None, "deadline_s": None, "rotations": 0, "generations": 1,
               "next": None, "hot": self.speed > 0, "gone": False, **self.more}
        written = int(self.speed * seconds) + sum(self.lost.values()) + row["backlog"]
        return {**self.names, "path": self.path, **account(written, None, row["backlog"], self.lost, self.events), **row}


def total(rows):
    found = account(sum(r["written"] for r in rows), None, sum(r["pending"] for r in rows))
    for r in rows:
        found["lost_bytes"] += r["lost_bytes"]
        for kind in ("lost", "lost_events"):
            for why, n in r[kind].items():
                found[kind][why] = found[kind].get(why, 0) + n
    found["delivered"] -= found["lost_bytes"]
    return found


def figures(logs, seconds, limit=0, **more):
    rows = [log.at(seconds) for log in logs]
    batches = int(seconds * 100)
    answer = {
        "version": "0.1.0", "now": time.time(), "uptime_s": seconds, "rung": "fs", "order": "hot", "proof": "proven",
        "proof_why": "", "scanned": True, "total": total(rows),
        "files": {"open": len(rows), "hot": 3, "idle": len(rows) - 3, "slow": 0, "closed": 0, "uncounted": 0,
                  "found": len(rows), "vanished": 0, "unreadable": 0, "rotations": 7, "truncations": 0},
        "watch": {"dirs": 2 * len(rows), "dirs_unwatched": 0, "roots_missing": 0, "events": int(seconds * 5), "overflows": 0,
                  "rescans": 0, "queue_depth": 0, "queue_blocked": 0},
        "held_bytes": 0, "batches": {"total": 8, "out": 1}, "blocked_s": 0.1 * seconds,
        "bpf": {"misses": 0, "refused": 0, "no_records": 0, "woken": int(seconds), "enrolled": len(rows)},
        "lines": {"malformed": 0, "cut": 0}, "cut_bytes": 0, "hole_bytes": 0,
        "checkpoint": {"saves": int(seconds), "failures": 0, "age_s": 0.4}, "reload": {"done": 0, "failed": 0},
        "latency": {"bounds_s": BOUNDS, "counts": [0, 0, batches // 10, batches * 8 // 10, batches // 10] + [0] * 11,
                    "sum_s": batches * 0.008},
        "cpu_s": 0.03 * seconds, "rss_bytes": 9 << 20,
        "sinks": [{"name": "stdout", "batches": batches, "records": batches * 50, "bytes": int(seconds * 1e6),
                   "invalid_records": 0, "retries": 0, "failing": False}],
        "containers_total": len(rows), "containers": rows[:limit] if limit else rows}
    answer.update(more)
    return answer


class Replay:
    """Figures of the logs on a port of the loopback. how: "ok", or "busy" (503), "garbage", "other" (JSON of another
    kind), "hangs", "frozen" (always the same). more: replaces members of the answer."""

    def __init__(self, logs, **more):
        self.logs, self.more, self.how = logs, more, "ok"
        self.asked = []  # paths
        self.began, self.held, self.port = time.monotonic() - 3600, None, 0
        self.server = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        """On the port it had before, if any."""
        replay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                replay.answer(self)

            def log_message(self, *_):
                pass

        self.ended = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """As if it had been killed: the port refuses."""
        if self.server:
            self.ended.set()
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def restart(self):
        """As a new process, which counts from nothing."""
        self.stop()
        self.began = time.monotonic()
        self.start()

    def status(self, path):
        limit = int(path.partition("limit=")[2] or 0)
        if self.how != "frozen" or not self.held:
            self.held = figures(self.logs, time.monotonic() - self.began, limit, **self.more)
        return json.dumps(self.held).encode()

    def answer(self, request):
        self.asked.append(request.path)
        code, kind, body = 200, "application/json", b""
        if request.path == "/":
            kind = "text/html; charset=utf-8"
            with open(PAGE, "rb") as f:
                body = f.read()
        elif not request.path.startswith("/status.json"):
            code = 404
        elif self.how == "hangs":
            self.ended.wait(30)
            return
        elif self.how == "busy":
            code, body = 503, b"the event loop does not answer\n"
        elif self.how in ("garbage", "other"):
            body = {"garbage": b'{"version":"0.1', "other": b'{"hello":[]}'}[self.how]
        else:
            body = self.status(request.path)
        try:
            request.send_response(code)
            request.send_header("Content-Type", kind)
            request.send_header("Content-Length", str(len(body)))
            request.send_header("Content-Security-Policy", POLICY)
            request.send_header("X-Content-Type-Options", "nosniff")
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass
