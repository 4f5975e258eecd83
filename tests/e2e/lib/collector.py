# SPDX-License-Identifier: Apache-2.0
"""Runs `hotdrain run` and takes its output, with the time each line arrived."""
import json
import os
import signal
import subprocess
import threading
import time

from . import proc, tap, tool

SENTINEL = b"hotdrain-e2e-ready"
KEYS = ("time", "stream", "message", "k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.container.name",
        "k8s.container.restart_count", "log.file.path", "truncated")
POD_KEYS = KEYS[:9]
PATH_KEYS = ("time", "stream", "message", "log.file.path")
LABELS = ("container.", "k8s.")  # begin the names of what is known beside the path


class Record(dict):
    """One NDJSON line. keys_in_order and arrival (time.time()) beside the members; labels: what stands behind the path."""

    def __init__(self, line, arrival):
        try:
            pairs = json.loads(line.decode("utf-8", "strict"), object_pairs_hook=lambda p: p)
            super().__init__(pairs)
        except (ValueError, TypeError) as e:
            raise tap.Failure(f"not a JSON object: {tap.clip(line)}: {e}") from None
        self.keys_in_order = tuple(k for k, _ in pairs)
        self.arrival = arrival
        self.labels = {k: self[k] for k in self.keys_in_order if k not in KEYS and k.startswith(LABELS)}
        known = [k for k in KEYS if k in self and k != "truncated"] + list(self.labels) + ["truncated"] * ("truncated" in self)
        if known != list(self.keys_in_order):
            raise tap.Failure(f"keys unknown, repeated or out of order: {self.keys_in_order}")

    @property
    def message(self):
        return self["message"]

    @property
    def path(self):
        return self["log.file.path"]


class Collector:
    """state: None: the program's own default. env: None as a value takes it away. out: "pipe" (read as it comes), "stalled" (a pipe nobody reads before read_on()), a file object, or None."""

    def __init__(self, case, *args, out="pipe", bpf=True, state="none", env=None, **popen):
        mode = ["--bpf", case.bpf] if bpf else []
        self.case, self.args = case, list(args)
        args = list(map(os.fspath, args))
        state = [] if not state or any(a.startswith("--state") for a in args) else ["--state", state]
        self.command = [tool.hotdrain(), "run", *mode, *state, *args]
        self.log_path = case.path(f"stderr.{len(case.collectors)}")
        self.lines, self.rest = [], b""  # [(arrival, line)]
        self.sentinels = 0
        self.thread = None
        case.collectors.append(self)
        # The daemon aborts when its ledger does not close after a turn.
        env = {**os.environ, "CONTAINER_LOG_DIRECTORY": None, "HOTDRAIN_CHECK_LEDGER": "1", **(env or {})}
        env = {k: v for k, v in env.items() if v is not None}
        pipe = out in ("pipe", "stalled")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, env=env, stderr=log,
                                            stdout=subprocess.PIPE if pipe else out, **popen)
        self.pid = self.process.pid
        if out == "pipe":
            self.read_on()

    def __enter__(self):
        return self

    def __exit__(self, failure=None, *_):
        status = proc.end(self.process)
        if self.thread:
            self.thread.join(5)
        if status == -signal.SIGABRT and not failure:
            raise tap.Failure("aborted")

    # output

    def read_on(self):
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        fd = self.process.stdout.fileno()
        while True:
            chunk = os.read(fd, 1 << 18)
            now = time.time()
            if not chunk:
                return
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            for line in lines:
                if SENTINEL in line:
                    self.sentinels += 1
                else:
                    self.lines.append((now, line))

    def records(self):
        return [Record(line, arrival) for arrival, line in self.lines]

    def messages(self):
        return [r.message for r in self.records()]

    def stderr(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    # waiting

    def wait_lines(self, count, timeout=10):
        """Until that many lines have come; False when they have not (the judge then says which)."""
        return proc.wait_until(lambda: len(self.lines) >= count or self.process.poll() is not None, timeout) \
            and len(self.lines) >= count

    def wait_quiet(self, quiet=0.5, timeout=20):
        """Until nothing has come for a while."""
        end_at = time.monotonic() + timeout
        seen, since = -1, time.monotonic()
        while time.monotonic() < end_at:
            if len(self.lines) != seen:
                seen, since = len(self.lines), time.monotonic()
            elif time.monotonic() - since >= quiet:
                return True
            time.sleep(0.02)
        return False

    def wait_stderr(self, text, timeout=5):
        if not proc.wait_until(lambda: text in self.stderr(), timeout):
            raise tap.Failure(f"standard error never said {text!r}")

    def ready(self, root, timeout=10):
        """Follows root: a line of a file of the test's own has come through. Those lines are not in lines."""
        path = os.path.join(root, "ready.log")
        end_at = time.monotonic() + timeout
        while not self.sentinels:
            if time.monotonic() > end_at or self.process.poll() is not None:
                raise tap.Failure(f"does not follow {root}: no line within {timeout} s, exit {self.process.poll()}")
            with open(path, "ab") as f:
                f.write(b"2026-01-02T03:04:05.678Z stdout F " + SENTINEL + b"\n")
            proc.wait_until(lambda: self.sentinels, 0.1, step=0.005)
        return self

    # ending

    def stop(self, sig=signal.SIGTERM, timeout=10):
        """Signals, waits, and demands exit status 0."""
        proc.kill(self.pid, sig)
        return self.wait_exit(0, timeout)

    def wait_exit(self, wanted=0, timeout=10):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise tap.Failure(f"still runs {timeout} s after it should have ended") from None
        if self.thread:
            self.thread.join(5)
        if status != wanted:
            raise tap.Failure(f"exit status {status}, wanted {wanted}")
        if self.rest:
            raise tap.Failure(f"output ends within a line: {tap.clip(self.rest)}")
        return self

    def finish(self, count, timeout=20, settle=0.2):
        """Waits for count lines and a little for lines too many, stops, and gives the records."""
        self.wait_lines(count, timeout)
        time.sleep(settle)
        self.stop()
        return self.records()

    def account(self):
        lines = self.stderr().splitlines()
        return "\n".join([f"command: {' '.join(self.command)}", f"exit status: {self.process.poll()}",
                          f"lines: {len(self.lines)}", f"stderr ({len(lines)} lines, the last):",
                          *("  " + line[:300] for line in lines[-12:])])


def run_to_end(case, *args, timeout=30, idle="300ms", **more):
    """A back-fill: runs until everything there is has been read. Gives the collector, ended with status 0."""
    with Collector(case, *args, "--exit-when-idle", idle, **more) as c:
        return c.wait_exit(0, timeout)
