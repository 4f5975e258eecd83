#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counters that stay in a BPF filesystem: what was written and rotated away while nobody ran is lost with its bytes.

The suite has a mount namespace of its own, so that what it mounts goes with it, however it ends. Truncations are exact
only on rungs that see them (tests/vm/ledger has those); here the equation must hold.
"""
import ctypes
import os
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import lanes, ledger, lines, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("ledger_pinned", timeout=200)
CLONE_NEWNS, MS_REC_PRIVATE = 0x20000, 0x44000
CHECKPOINT_S = 3  # after it the checkpoint has what was delivered before, on a busy machine too
EXPIRE_S = 20  # within it what enrolled itself and was not found is given up


def namespace():
    """None, or why there can be no mounts of our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid():
        return "only root may mount"
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        return f"no mount namespace of its own: {os.strerror(ctypes.get_errno())}"
    return None


REFUSED = namespace()


def bpffs(t):
    """The directory for the pins, on a BPF filesystem in the case's directory."""
    if REFUSED:
        t.skip(REFUSED)
    where = t.mkdir("bpffs")
    result = subprocess.run(["mount", "-t", "bpf", "none", where], capture_output=True, text=True)
    if result.returncode:
        t.skip(f"no BPF filesystem can be mounted: {result.stderr.strip()}")
    return os.path.join(where, "hotdrain")


class Runs:
    """One root, state directory and pin directory; a collector at a time."""

    def __init__(self, t):
        self.t, self.pin = t, bpffs(t)
        self.root, self.state = os.path.realpath(t.mkdir("pods")), t.path("state")
        self.c = None

    def start(self, *args, pin=None, state=None, **more):
        self.c = Collector(self.t, "-r", self.root, "--state", state or self.state, "--bpf-pin", pin or self.pin, *args, **more)
        proc.wait_until(lambda: self.c.process.poll() is not None or ledger.call(self.state)[0] != 2, 10)
        if "no rung attaches" in self.c.stderr() and "making maps" not in self.c.stderr():
            self.t.skip("no rung attaches here")
        return self.c

    def end(self, sig=signal.SIGTERM):
        if sig == signal.SIGKILL:
            time.sleep(CHECKPOINT_S)
            proc.kill(self.c.pid, sig)
            self.c.process.wait()
            self.c.thread.join(5)
        else:
            self.c.stop(sig)

    def first(self, log, count=200, sig=signal.SIGTERM):
        """A first run that delivers what is written, and ends."""
        with self.start():
            log.write(count)
            self.t.check(self.c.wait_lines(count), "the lines of the first run have not come")
            ledger.settled(self.state)
            self.end(sig)

    def pins(self):
        return sorted(os.listdir(self.pin)) if os.path.isdir(self.pin) else []

    def has_positions(self):
        return not re.search(r"bpf: rung (syscall|kprobe)$", self.c.stderr(), re.M)


def wait_lost(state, bytes_, timeout=EXPIRE_S):
    """The ledger once so many bytes are lost and nothing is pending; the last one when that never happens."""
    found = []

    def is_so():
        found.append(ledger.ask(state))
        return found[-1].total.lost_bytes == bytes_ and not found[-1].total.pending

    proc.wait_until(is_so, timeout, step=0.1)
    return found[-1]


# Loss while nobody ran

def rotated_away(t, sig, reuse=False):
    """Written on, renamed, a new file, and the old one removed; or removed first, so that its inode may be used again."""
    r = Runs(t)
    log = lines.Log(tree.Pod(r.root).log())
    r.first(log, sig=sig)
    gone = log.write(150)
    old = f"{log.path}.20261121-000000"
    os.rename(log.path, old)
    log.close()
    if reuse:
        os.unlink(old)
    log.fd = os.open(log.path, log.flags, 0o640)
    new = log.write(50)
    if not reuse:
        os.unlink(old)
    with r.start():
        t.check(r.c.wait_lines(50), "the new file's lines have not come")
        said = wait_lost(r.state, log.bytes_of(gone))
        t.equal(said.total.lost, {"rotated_away": log.bytes_of(gone)}, f"lost ({said})")
        t.equal(said.of(tree.Pod(r.root)).lost, said.total.lost, "lost of that container")
        t.equal(said.total.written + said.total.uncounted, log.total_bytes(), f"written ({said})")
        t.equal(said.status, 1, "exit status")
        t.equal(len(r.c.lines), len(new), "lines of the second run")
        r.end()
        t.check("adopted" in r.c.stderr(), "does not say that it adopted what was there")


@suite.case(timeout=60)
def rotated_away_while_stopped(t):
    rotated_away(t, signal.SIGTERM)


@suite.case(timeout=60)
def rotated_away_while_killed(t):
    rotated_away(t, signal.SIGKILL)


@suite.case(timeout=60)
def rotated_away_and_its_inode_used_again(t):
    rotated_away(t, signal.SIGTERM, reuse=True)


@suite.case(timeout=60)
def rotated_away_and_its_inode_used_by_another_container(t):
    r = Runs(t)
    log = lines.Log(tree.Pod(r.root).log())
    other = tree.Pod(r.root, name="other", number=2)
    other.log()
    r.first(log)
    gone, inode = log.write(150), os.stat(log.path).st_ino
    os.unlink(log.path)
    log.close()
    second = lines.Log(other.log())
    second.write(70)
    if os.stat(second.path).st_ino != inode:
        t.skip("this file system hands no inode to a new file")
    with r.start():
        t.check(r.c.wait_lines(70), "the other file's lines have not come")
        said = wait_lost(r.state, log.bytes_of(gone))
        t.equal(said.of(tree.Pod(r.root)).lost, {"rotated_away": log.bytes_of(gone)}, f"lost ({said})")
        t.equal(said.of(other).delivered, second.total_bytes(), "delivered of the other one")
        t.equal(said.of(other).lost, {}, "lost of the other one")
        r.end()


def born_while_stopped(t, sig):
    """Three generations are made and all but the last removed: the kernel counted them from their first write."""
    r = Runs(t)
    log = lines.Log(tree.Pod(r.root).log())
    r.first(log, sig=sig)
    gone = log.write(30)
    olds = []
    for n in range(3):
        olds.append(log.rename(n))
        gone |= log.write(100 + n)
    olds.append(log.rename(3))
    log.write(50)
    for old in olds:
        os.unlink(old)
    with r.start():
        t.check(r.c.wait_lines(50), "the last file's lines have not come")
        said = wait_lost(r.state, log.bytes_of(gone))
        t.equal(said.total.lost_bytes, log.bytes_of(gone), f"lost ({said})")
        t.equal(said.total.written + said.total.uncounted, log.total_bytes(), f"written ({said})")
        t.equal(said.of(tree.Pod(r.root)).lost, said.total.lost, "lost of that container")
        r.end()


@suite.case(timeout=60)
def made_and_rotated_away_while_stopped(t):
    born_while_stopped(t, signal.SIGTERM)


@suite.case(timeout=60)
def made_and_rotated_away_while_killed(t):
    born_while_stopped(t, signal.SIGKILL)


@suite.case(timeout=60)
def a_new_file_that_is_still_there_is_not_lost(t):
    """0.log stays, 1.log comes: what enrolled itself while nobody ran is read from its first byte."""
    r = Runs(t)
    pod = tree.Pod(r.root)
    log, second = lines.Log(pod.log()), lines.Lines("app.1")
    r.first(log)
    log.write(20)
    tree.append(pod.log(restart=1), second.make(60))
    with r.start():
        t.check(r.c.wait_lines(80), "the lines have not come")
        said = ledger.settled(r.state, log.total_bytes() + second.total_bytes())
        t.equal((said.total.delivered, said.total.lost), (log.total_bytes() + second.total_bytes(), {}), "delivered, lost")
        time.sleep(7)
        t.equal(ledger.ask(r.state).total.lost, {}, "lost after some seconds")
        r.end()


@suite.case(timeout=60)
def truncated_while_stopped(t):
    r = Runs(t)
    log = lines.Log(tree.Pod(r.root).log())
    r.first(log)
    log.write(100)
    log.truncate()
    log.write(70)
    with r.start():
        t.check(r.c.wait_lines(70), "the lines after the truncation have not come")
        said = ledger.settled(r.state)
        t.note(f"wrote {log.total_bytes()}: {said.total}")
        t.check(said.total.written + said.total.uncounted <= log.total_bytes(), f"more than was written: {said}")
        if r.has_positions():
            t.equal(said.total.written, log.total_bytes(), "written")
        r.end()


@suite.case(timeout=60)
def nothing_happened_while_stopped(t):
    r = Runs(t)
    log = lines.Log(tree.Pod(r.root).log())
    r.first(log)
    for _ in range(3):
        with r.start():
            said = ledger.settled(r.state, log.total_bytes())
            e = said.total
            t.equal((e.written + e.uncounted, e.delivered, e.pending, e.lost), (log.total_bytes(), log.total_bytes(), 0, {}), "total")
            r.end()
            t.equal(len(r.c.lines), 0, "lines that came again")


# What is pinned

@suite.case(timeout=90)
def ten_restarts_leak_nothing(t):
    """Pins, and free counters: a map of few slots would soon be full."""
    r = Runs(t)
    logs = [lines.Log(tree.Pod(r.root, name=f"p{n}", number=n).log(), f"app.{n}") for n in range(6)]
    seen = set()
    for n in range(10):
        with r.start("--files-max", "64"):
            for log in logs:
                log.write(10)
                old = log.rename(n)
                log.write(10)
                os.unlink(old)
            proc.wait_until(lambda: ledger.ask(r.state).total.delivered == sum(log.total_bytes() for log in logs), 10)
            r.end(signal.SIGKILL if n % 3 == 2 else signal.SIGTERM)
        seen.add(tuple(r.pins()))
        t.check("without a counter" not in r.c.stderr() and "No space" not in r.c.stderr(), f"start {n}: {r.c.stderr()}")
    t.equal(len(seen), 1, f"different pins after the starts: {seen}")
    with r.start("--files-max", "64"):
        said = ledger.settled(r.state)
        wrote = sum(log.total_bytes() for log in logs)
        t.equal((said.total.written + said.total.uncounted, said.total.lost), (wrote, {}), "written and lost in the end")
        used = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", os.path.join(r.pin, "map-watch-0")], capture_output=True)
        t.note(f"keys in use: {used.stdout.count(b'formatted') or used.stdout.count(b'key')}")
        r.end()


@suite.case()
def a_second_one_is_refused(t):
    r = Runs(t)
    with r.start() as first:
        second = Collector(t, "-r", r.root, "--state", t.path("state2"), "--bpf-pin", r.pin)
        second.wait_exit(2, 10)
        t.check(r.pin in second.stderr(), f"does not name the directory: {second.stderr()}")
        first.ready(r.root)
        first.stop()


@suite.case()
def another_rung_replaces_it(t):
    r = Runs(t)
    log = lines.Log(tree.Pod(r.root).log())
    r.first(log)
    rung = re.findall(r"bpf: rung (\w+)$", r.c.stderr(), re.M)[-1]
    t.bpf = "vfs" if rung == "fs" else "fs"  # be it that it does not attach
    with Collector(t, "-r", r.root, "--state", r.state, "--bpf-pin", r.pin) as c:
        c.ready(r.root)
        t.check("another rung, replaced" in c.stderr(), f"does not say so: {c.stderr()}")
        t.check("adopted" not in c.stderr(), "says that it adopted it")
        ledger.ask(r.state)
        c.stop()


def tiny_map(t, path):
    """As of another version, or of another program."""
    if not tool.find("bpftool"):
        t.skip("no bpftool")
    made = subprocess.run([tool.find("bpftool"), "map", "create", path, "type", "array", "key", "4", "value", "8", "entries", "4",
                           "name", "slots"], capture_output=True, text=True)
    if made.returncode:
        t.skip(f"bpftool makes no map: {made.stderr.strip()}")


def is_replaced(t, r):
    """What is pinned is replaced by a working set, and that is said; the next start adopts it."""
    log = lines.Log(tree.Pod(r.root).log())
    with r.start():
        t.check("another layout or size, replaced" in r.c.stderr(), f"does not say so: {r.c.stderr()}")
        log.write(10)
        t.check(r.c.wait_lines(10), "the lines have not come")
        r.end()
    t.check(len(r.pins()) > 6, f"pins {r.pins()}")
    with r.start():
        t.check("replaced" not in r.c.stderr() and "adopted" in r.c.stderr(), f"the next start: {r.c.stderr()}")
        r.end()


@suite.case()
def another_layout_is_replaced(t):
    r = Runs(t)
    with r.start():
        r.end()
    os.unlink(os.path.join(r.pin, "map-slots-0"))
    tiny_map(t, os.path.join(r.pin, "map-slots-0"))
    is_replaced(t, r)


@suite.case()
def part_of_a_set_is_replaced(t):
    """Nothing but slots: the first map that is looked for is not there, and others are in the way."""
    r = Runs(t)
    os.mkdir(r.pin, 0o700)
    tiny_map(t, os.path.join(r.pin, "map-slots-0"))
    is_replaced(t, r)


@suite.case()
def another_number_of_files_replaces_it(t):
    r = Runs(t)
    with r.start("--files-max", "64"):
        r.end()
    with r.start("--files-max", "128"):
        t.check("another layout or size, replaced" in r.c.stderr(), f"does not say so: {r.c.stderr()}")
        r.end()


@suite.case()
def an_ordinary_directory_is_said_and_nothing_is_kept(t):
    r = Runs(t)
    plain = t.mkdir("plain")
    log = lines.Log(tree.Pod(r.root).log())
    with r.start(pin=plain):
        t.check("not on a BPF filesystem" in r.c.stderr(), f"does not say so: {r.c.stderr()}")
        log.write(10)
        t.check(r.c.wait_lines(10), "the lines have not come")
        r.end()
    t.equal(os.listdir(plain), [], "what it left there")


# Unpinning

def unpin(*args):
    result = subprocess.run([tool.hotdrain(), "unpin", *args], capture_output=True, text=True, timeout=20)
    return result.returncode, result.stdout, result.stderr


@suite.case()
def unpin_is_refused_while_it_runs(t):
    r = Runs(t)
    with r.start():
        before = r.pins()
        status, out, err = unpin(r.pin)
        t.equal((status, out), (2, ""), "status and standard output")
        t.check("in use by a running hotdrain" in err, f"standard error: {err}")
        t.equal(r.pins(), before, "pins")
        r.end()
    t.check(r.pins(), "nothing is pinned after the end")
    status, out, err = unpin(r.pin)
    t.equal((status, err), (0, ""), "status and standard error")
    t.equal(out, f"{len(before)} maps, programs and links removed\n", "standard output")
    t.check(not os.path.exists(r.pin), "the directory is still there")
    with r.start():
        t.check("adopted" not in r.c.stderr(), "adopted what is not there")
        r.end()


@suite.case()
def unpin_of_what_is_no_such_directory(t):
    for args, says in ((["/nonexistent"], "No such file"), ([t.dir], "expected a directory of a BPF filesystem"), ([], "expected one directory"),
                       (["--x"], "expected one directory"), (["a", "b"], "expected one directory")):
        status, out, err = unpin(*args)
        t.equal((status, out), (2, ""), f"status and standard output of {args}")
        t.check(says in err, f"{says!r} is not in {err}")


if __name__ == "__main__":
    lanes.run(suite, 3)
