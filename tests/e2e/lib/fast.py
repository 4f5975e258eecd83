# SPDX-License-Identifier: Apache-2.0
"""judge.c as the reader of a collector's output: exact as lib/judge.py, and faster than the collector."""
import os
import subprocess
import time

from . import proc, tap, tool


def ready(c, root, timeout=20):
    """As Collector.ready(), for one whose output is not read by the test: it holds a file of the test's own open."""
    path = os.path.realpath(os.path.join(root, "ready.log"))
    open(path, "ab").close()
    proc.wait_until(lambda: c.process.poll() is not None or path in proc.open_paths(c.pid), timeout)
    if c.process.poll() is not None or path not in proc.open_paths(c.pid):
        raise tap.Failure(f"does not follow {root} within {timeout} s, exit {c.process.poll()}")
    return c


class Reader:
    """Give its stdin to a Collector as out. counts: {(id, stream): (distinct, end, repeated, late)}."""

    def __init__(self, t, *args):
        self.log = t.path("judge.stderr")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([tool.helper("judge"), *args], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log)
        self.stdin = self.process.stdin
        self.counts, self.total, self.latency_ms = {}, (0, 0, 0, 0), None

    def lines(self):
        """How many have come, to a fifth of a second."""
        with open(self.log, "rb") as f:
            words = [w for w in f.read().split(b"\n") if w.startswith(b"lines ")]
        return int(words[-1].split()[1]) if words else 0

    def wait_quiet(self, quiet, timeout=60):
        """Until nothing has come for a while."""
        end_at = time.monotonic() + timeout
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < quiet and time.monotonic() < end_at:
            if self.lines() != seen:
                seen, since = self.lines(), time.monotonic()
            time.sleep(0.05)

    def finish(self, c, wanted, timeout=60):
        """Waits for the lines of wanted {(id, stream): how many}, ends the collector, demands that they were exact."""
        proc.wait_until(lambda: self.lines() >= sum(wanted.values()) or c.process.poll() is not None, timeout, step=0.1)
        c.stop(timeout=30)
        found = self.result().problems(wanted)
        if found:
            raise tap.Failure("\n".join(found))

    def result(self):
        """Once the collector has ended."""
        self.stdin.close()
        out = self.process.stdout.read().decode()
        self.process.wait(30)
        for line in out.splitlines():
            kind, *words = line.split()
            if kind == "count":
                self.counts[words[0], words[1]] = tuple(map(int, words[2:]))
            elif kind == "total":
                self.total = tuple(map(int, words))
            else:  # with -l PREFIX: median, p90, p99, most
                self.latency_ms = [int(w) / 1000 for w in words[2:]]
        return self

    def problems(self, wanted):
        found = []
        for key, count in wanted.items():
            got = self.counts.get(key, (0, 0, 0, 0))
            if got != (count, count, 0, 0):
                found.append(f"{key}: wrote {count}; came {got[0]}, highest {got[1] - 1}, repeated {got[2]}, out of order {got[3]}")
        found += [f"{key} was never written" for key in self.counts if key not in wanted]
        if self.total[2] or self.total[3]:
            found.append(f"torn {self.total[2]}, foreign {self.total[3]}")
        return found[:8]
