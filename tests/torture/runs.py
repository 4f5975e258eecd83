# SPDX-License-Identifier: Apache-2.0
"""hotdrain started again and again on the same files with the same state directory, and what came of it.

Each run has a pipe of its own, so that what a killed run had begun to write ends with its pipe. What a run says about
losses is taken from its account at the end: one line per container log.
"""
import gzip
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from lib import account, judge, proc, tap, tool, tree
from lib.collector import Collector

START_MAX = 10  # seconds that a start may take


def start(t, root, *args, state=None, **more):
    return Collector(t, "-r", root, "--state", state or t.path("state"), *args, **more)


def run(t, root, count, *args, settle=0.3, sig=signal.SIGTERM, **more):
    """One run: waits for count lines and a little for lines too many. Gives the collector, ended."""
    with start(t, root, *args, **more) as c:
        c.wait_lines(count, 15)
        time.sleep(settle)
        if sig == signal.SIGKILL:
            return killed(c)
        return c.stop(sig)


def killed(c):
    if c.process.poll() is not None:
        raise tap.Failure(f"ended by itself with status {c.process.poll()} before it was killed")
    proc.kill(c.pid, signal.SIGKILL)
    c.process.wait(10)
    if c.thread:
        c.thread.join(10)
    return c


def read_nothing_more(t, root, *args):
    """A run in which nothing is left to deliver."""
    t.equal(run(t, root, 0, *args, settle=0.5).messages(), [], "messages of a run that has nothing to read")


# What was said

def losses(c):
    """{reason: (bytes, events)} over all containers. A run of files that accounts for none is a failure."""
    total, found = {}, account.accounts(c)
    if not found:
        raise tap.Failure("no account of any container")
    for a in found.values():
        for reason, (size, events) in a.reasons.items():
            had = total.get(reason, (0, 0))
            total[reason] = had[0] + size, had[1] + events
    return total


def state(c, timeout=5):
    """What SIGUSR1 prints."""
    before = c.stderr()
    proc.kill(c.pid, signal.SIGUSR1)
    if not proc.wait_until(lambda: "state:" in c.stderr()[len(before):], timeout):
        raise tap.Failure("SIGUSR1 prints no state")
    size = -1
    while size != len(c.stderr()):
        size = len(c.stderr())
        time.sleep(0.1)
    return c.stderr()[len(before):]


def lines(text):
    """Those of a checkpoint, or of changes to one: its files, its accounts."""
    body = [line for line in text.splitlines()[1:-1] if not line.startswith(("#", "old "))]
    return [line for line in body if not line.startswith("account ")], [line for line in body if line.startswith("account ")]


def numbers(text, what):
    """Of the line "old WHAT 3 17 20-25"."""
    fields = re.search(rf"^old {what} (.*)$", text, re.M)[1].split()
    return {n for f in fields if f != "-" for n in range(int(f.split("-")[0]), int(f.split("-")[-1]) + 1)}


def checkpoint(t):
    """The lines of files in the state: in the checkpoint, with its changes."""
    try:
        with open(t.path("state", "checkpoint")) as f:
            text = f.read()
    except FileNotFoundError:
        return []
    found = lines(text)[0]
    try:
        with open(t.path("state", "checkpoint.changes")) as f:
            changes = f.read()
    except FileNotFoundError:
        return found
    if changes.splitlines()[0].split(" to ")[1] != f"{text.splitlines()[0].split()[-1]} {text.split()[-1]}":
        return found
    old = numbers(changes, "files")
    return [line for i, line in enumerate(found, 1) if i not in old] + lines(changes)[0]


def saved(t):
    """What the last save wrote, as os.stat says."""
    last = os.stat(t.path("state", "checkpoint"))
    try:
        changes = os.stat(t.path("state", "checkpoint.changes"))
    except FileNotFoundError:
        return last
    return max(last, changes, key=lambda s: s.st_mtime_ns)


def wait_saved(t, root, timeout=15):
    """Until the checkpoint has every file of root at its end."""
    paths = [os.path.join(os.path.realpath(root), name) for name in os.listdir(root)]

    def known():
        offsets = {line.split()[-1]: int(line.split()[3]) for line in checkpoint(t)}
        return all(os.path.getsize(path) == offsets.get(path) for path in paths)
    if not proc.wait_until(known, timeout):
        raise tap.Failure(f"not everything was saved within {timeout} s: {checkpoint(t)}")


# Load

class Gate:
    """Closed while no collector runs: nothing may then be removed for good."""

    def __init__(self):
        self.lock = threading.Lock()

    def closed(self):
        return self.lock


class Load:
    """writer.c on one container's log, and a thread that rotates it: renames, and compresses what is older.

    keep: so many files stay, the oldest goes first; or age: what is older than so many seconds goes. Files are
    removed only while the gate is open. every: seconds between rotations.
    """

    def __init__(self, t, root, ident, gate, rate, every, keep=None, age=None, gz=False, number=0):
        self.ident, self.gate, self.every, self.keep, self.age, self.gz = ident, gate, every, keep, age, gz
        self.log = tree.Pod(root, name=f"pod-{ident.rpartition('.')[0]}", number=number).log(ident.rpartition(".")[0])
        self.result = t.path("result-" + ident)
        self.kept, self.stamp, self.error = [], 0, None  # [(when, path)]
        self.stopping = threading.Event()
        self.writer = subprocess.Popen([tool.helper("writer"), "-f", self.log, "-R", self.result, "-r", str(rate),
                                        "-l", "40", ident], stdin=subprocess.DEVNULL)
        proc.wait_until(lambda: os.path.exists(self.log), 5)
        self.thread = threading.Thread(target=self.rotate_on, daemon=True)
        self.thread.start()

    def rotate_on(self):
        try:
            while not self.stopping.wait(self.every):
                self.rotate()
        except Exception as e:
            self.error = e

    def rotate(self):
        target = f"{self.log}.20261121-{self.stamp:06d}"
        self.stamp += 1
        os.rename(self.log, target)
        proc.kill(self.writer.pid, signal.SIGHUP)
        proc.wait_until(lambda: os.path.exists(self.log), 5, step=0.002)
        if self.gz and self.kept:
            when, path = self.kept[-1]
            self.kept[-1] = when, compress(path)
        self.kept.append((time.monotonic(), target))
        with self.gate.lock:
            while self.kept and self.surplus():
                os.unlink(self.kept.pop(0)[1])

    def surplus(self):
        if self.keep is not None:
            return len(self.kept) + 1 > self.keep
        return self.age is not None and time.monotonic() - self.kept[0][0] > self.age

    def stop(self, j):
        """Ends both; j (a Judge) then expects what was written."""
        self.stopping.set()
        self.thread.join(20)
        proc.kill(self.writer.pid, signal.SIGTERM)
        self.writer.wait(10)
        if self.error:
            raise self.error
        j.expect_result(self.result)


def compress(path):
    """X becomes X.gz as a kubelet does it: aside, renamed, and only then X goes."""
    with open(path, "rb") as source, gzip.open(path + ".tmp", "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    os.rename(path + ".tmp", path + ".gz")
    os.unlink(path)
    return path + ".gz"


# Judging what killed runs delivered

class Replay:
    """Lines of runs that were killed: order within each run, and repeated only what was delivered shortly before.

    Time is counted in seconds of running: what lies between two runs does not age a checkpoint.
    """

    def __init__(self, bound_s):
        self.bound_s, self.when = bound_s, {}  # {(id, stream): {number: delivered at}}
        self.ran_s, self.repeated, self.oldest_s = 0.0, 0, 0.0
        self.found, self.count = [], 0

    def add(self, c, started, ended):
        """started, ended: time.time() of the run."""
        last, self.count = {}, self.count + 1
        for r in c.records():
            message = judge.parse(r.message)
            if message is None:
                self.found.append(f"run {self.count}: torn: {r.message[:120]}")
                continue
            ident, stream, seq, _ = message
            at = self.ran_s + min(max(r.arrival - started, 0), ended - started)
            before = last.get((ident, stream), -1)
            if seq <= before:
                self.found.append(f"run {self.count}: {ident} {stream}: {seq} follows {before}, "
                                  + ("again" if seq in self.when.get((ident, stream), ()) else "for the first time")
                                  + f", {at - self.ran_s:.2f} s after the start")
            last[ident, stream] = seq
            self.line(ident, stream, seq, at)
        self.ran_s += ended - started

    def line(self, ident, stream, seq, at):
        times = self.when.setdefault((ident, stream), {})
        if seq in times:
            age = self.ran_s - times[seq]
            self.repeated, self.oldest_s = self.repeated + 1, max(self.oldest_s, age)
            if age > self.bound_s:
                self.found.append(f"{ident} {stream}: {seq} again, delivered {age:.1f} s of running before the start")
        times[seq] = at

    def judge(self, t, j):
        """j: a Judge that knows what was written, and has been added nothing."""
        for (ident, stream), times in self.when.items():
            for seq in sorted(times):
                j.track(ident, stream).add(seq)
        problems = self.found[:8] + j.problems()
        if problems:
            t.fail(*problems)
