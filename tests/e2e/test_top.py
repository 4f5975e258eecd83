#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hotdrain top`: what it counts by itself against writers that know what they wrote, what it is told by a daemon (a
real one and one that the test plays), and the screen, looked at through tmux."""
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import cli, lanes, proc, tap, tmux, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402
from lib.daemon import Daemon, reply  # noqa: E402

suite = tap.Suite("top", timeout=170)
BOTH = ("auto", "off")
SEE = "see 'hotdrain top --help'"


def call(t, *args, **more):
    return cli.call(t, "top", *args, **more)


def refused(t, *args, **more):
    cli.refused(t, "top", *args, **more)


class Frames:
    """top --batch --json as it runs; frames: those that have come."""

    def __init__(self, t, *args, delay="200ms", limit=None, name="top", prefix=(), **popen):
        self.t, self.frames = t, []
        self.log = t.path(name + ".stderr")
        command = [*prefix, tool.hotdrain(), "top", "--batch", "--json", "-d", delay, *map(str, args)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                            preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit,) * 2)),
                                            **popen)
        self.pid = self.process.pid
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.frames.append(json.loads(line))

    def __enter__(self):
        return self

    def __exit__(self, failure=None, *_):
        proc.end(self.process)
        self.thread.join(5)
        if failure and self.frames:
            self.t.note(f"the last frame: {tap.clip(self.frames[-1], 3000)}")

    def stderr(self):
        with open(self.log) as f:
            return f.read()

    def more(self, count=1, timeout=20):
        """Waits for so many whole further frames; gives the last."""
        wanted = len(self.frames) + count
        if not proc.wait_until(lambda: len(self.frames) >= wanted or not self.thread.is_alive(), timeout):
            self.t.fail(f"no frame {wanted} within {timeout} s: {self.stderr()}")
        self.t.check(len(self.frames) >= wanted, f"ended after {len(self.frames)} frames: {self.stderr()}")
        return self.frames[-1]

    def settle(self, condition, what, timeout=20):
        """Until a frame is so; gives it."""
        if not proc.wait_until(lambda: self.frames and condition(self.frames[-1]), timeout):
            self.t.fail(f"{what}: not within {timeout} s")
        return self.frames[-1]

    def stop(self):
        proc.kill(self.pid, signal.SIGTERM)
        self.t.equal(self.process.wait(10), 0, "status")
        self.thread.join(5)
        self.t.equal(self.stderr(), "", "standard error")


def row(t, frame, path):
    found = [r for r in frame["rows"] if r["path"] == path]
    t.check(len(found) == 1, f"{len(found)} rows of {path}")
    return found[0]


def paths(frame):
    return {r["path"] for r in frame["rows"]}


def pace(log, count, size=100, pause=0.0):
    """count writes of that size."""
    with open(log, "ab", buffering=0) as f:
        for _ in range(count):
            f.write(b"x" * (size - 1) + b"\n")
            if pause:
                time.sleep(pause)


def counted(frame):
    return frame["rung"] != "off"


# Options

@suite.case()
def help_goes_to_stdout(t):
    for flag in ("--help", "-h"):
        out, err = call(t, flag, wanted=0)
        t.equal(err, "", "standard error")
        for word in ("usage: hotdrain top", "--state", "--root", "--bpf", "--batch", "--json", "--namespace", "--sort"):
            t.check(word in out, f"{word} is not in {out}")


@suite.case()
def wrong_flags_are_refused(t):
    refused(t, "--frob", says=["unknown option '--frob'", SEE])
    refused(t, "-x", says=["unknown option '-x'", SEE])
    refused(t, "--batch=1", says=["'--batch=1'", SEE])
    for flag in ("--state", "--root", "--bpf", "--delay", "--count", "--namespace", "--sort", "--rows", "-n"):
        refused(t, flag, says=[f"{flag} needs a value", SEE])
    refused(t, "more", says=["unexpected argument 'more'", SEE])
    refused(t, "--root", "", says="--root: the directory's name is empty")
    refused(t, "--state", "", says="--state: the directory's name is empty")
    refused(t, "--state", "none", says="--state none: expected a directory")
    refused(t, "--state", t.dir, "--root", t.dir, says="--state: expected neither --root nor --bpf")
    refused(t, "--state", t.dir, "--bpf", "off", says="--state: expected neither")
    refused(t, "--bpf", "ebpf", says=["--bpf: expected auto, fs, vfs, kprobe, syscall or off", "got 'ebpf'"])
    for text in ("1", "0", "0s", "99ms", "2h", "-1s", "soon", ""):
        refused(t, "--delay", text, says=["--delay: expected a duration from 100ms to 1h", f"got '{text}'"])
    for text in ("0", "-1", "x", "1.5", ""):
        refused(t, "--count", text, says=["--count: expected a number from 1 on", f"got '{text}'"])
        refused(t, "--rows", text, says=["--rows: expected a number from 1 on", f"got '{text}'"])
    refused(t, "--sort", "name", says=["--sort: expected one of rate, backlog", "got 'name'"])
    refused(t, "--json", says="--json: expected --batch with it")
    refused(t, "--root", t.dir, "--sort", "backlog", says=["--sort: expected one of rate, writes", "got 'backlog'"])
    refused(t, "--root", t.dir, "--namespace", "x" * 300, says="--namespace: expected at most 254 characters")


@suite.case()
def the_program_names_it(t):
    result = subprocess.run([tool.hotdrain(), "--help"], capture_output=True, timeout=5)
    t.check(b"  top " in result.stdout, f"{result.stdout}")
    result = subprocess.run([tool.hotdrain(), "tops"], capture_output=True, timeout=5)
    t.equal(result.returncode, 2, "status")
    t.check(b" top," in result.stderr, f"{result.stderr}")


@suite.case()
def nobody_to_ask_is_said(t):
    refused(t, "--state", t.dir, says=["top: ", "no hotdrain runs with this state directory"])
    refused(t, "--state", t.path("missing"), says=["No such file or directory", "expected the state directory"])
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(t.path("ledger.sock"))
    dead.close()
    refused(t, "--state", t.dir, says="no hotdrain runs with this state directory")


@suite.case()
def no_root_is_said(t):
    refused(t, "--batch", "--root", t.path("missing"), says=[t.path("missing"), "No such file or directory"])
    refused(t, "--batch", "--bpf", "off", says=t.path("gone"), env={"CONTAINER_LOG_DIRECTORY": t.path("gone")})


@suite.case()
def output_that_cannot_be_written_is_an_error(t):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([tool.hotdrain(), "top", "--batch", "--bpf", "off", "-d", "100ms", "--root", t.dir],
                                stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=20)
    t.equal(result.returncode, 2, "status")
    t.check(b"standard output: No space left" in result.stderr, f"{result.stderr}")


# Counting by itself

@suite.case(bpf=BOTH)
def counts_are_exact(t):
    """Bytes and, where a program counts, writes; of a log that was there and of one that is new; and nothing else."""
    root = t.mkdir("pods")
    old, new = tree.Pod(root, "old", number=1).log(), os.path.join(root, f"shop_new_{tree.UID.format(2)}", "app", "0.log")
    pace(old, 50)
    with Frames(t, "-r", root, "--bpf", t.bpf) as top:
        first = top.more()
        t.equal((row(t, first, old)["written"], row(t, first, old)["size"]), (0, 5000), "what was there before")
        proc.kill(top.pid, signal.SIGSTOP)  # so that nothing of this is counted in the kernel
        tree.Pod(root, "new", number=2).log()
        pace(new, 50, 130)
        proc.kill(top.pid, signal.SIGCONT)
        top.settle(lambda f: len(f["rows"]) == 2, "the new one")
        pace(old, 300, 70, 0.003)
        pace(new, 150, 130)
        top.settle(lambda f: f["total"]["written"] >= 47000, "47,000 bytes")
        last = top.more()
        t.equal(last["source"], "self", "source")
        for log, bytes_, size, writes in ((old, 21000, 26000, 300), (new, 26000, 26000, 150)):
            r = row(t, last, log)
            t.equal((r["written"], r["size"], r["rotations"]), (bytes_, size, 0), f"written, size, rotations of {log}")
            t.equal((r["namespace"], r["container"]), ("shop", "app"), "names")
            t.equal(r["writes"], writes if counted(last) else None, "writes that a program saw")
            t.check(not r["hot"] and r["rate"] == 0 and r["idle_s"] < 20, f"quiet by now: {r}")
        t.equal((last["total"]["written"], last["total"]["files"]), (47000, 2), "total written, files")
        t.equal(last["total"]["writes"] is None, not counted(last), "writes are only known to a program")
        # What the rates say, over their intervals, is what was written.
        for log, bytes_ in ((old, 21000), (new, 26000)):
            said = sum(r["rate"] * f["interval_s"] for f in top.frames for r in f["rows"] if r["path"] == log)
            t.check(abs(said - bytes_) < bytes_ / 50, f"the rates of {log} make {said:.0f} bytes of {bytes_}")
        if counted(last):
            mean = [r["bytes_per_write"] for f in top.frames for r in f["rows"] if r["path"] == old and r["hot"]]
            t.check(mean and all(abs(m - 70) < 0.01 for m in mean), f"70 bytes a write: {mean}")
        top.stop()


@suite.case(bpf=BOTH)
def rates_are_about_right(t):
    """A writer of 20,000 bytes per second for two seconds; a busy machine may make it slower, so three times is given."""
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    pace(log, 1)
    with Frames(t, "-r", root, "--bpf", t.bpf, delay="500ms") as top:
        top.more()
        began = time.monotonic()
        pace(log, 400, 100, 0.005)
        real = 40000 / (time.monotonic() - began)
        top.more()
        rates = sorted(row(t, f, log)["rate"] for f in top.frames if row(t, f, log)["hot"])
        middle = rates[len(rates) // 2]
        t.note(f"{real:.0f} bytes/s were written, {middle:.0f} said")
        t.check(real / 3 < middle < real * 3, f"{real:.0f} bytes/s were written, {rates} said")


@suite.case(bpf=BOTH)
def rotation_by_renaming_is_followed(t):
    """A log is renamed, written to under its new name, and its successor made; the oldest is removed."""
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    pace(log, 10)
    with Frames(t, "-r", root, "--bpf", t.bpf) as top:
        top.more()
        pace(log, 10)
        with open(log, "ab", buffering=0) as late:
            os.rename(log, log + ".20261121-000001")
            late.write(b"y" * 100)
            pace(log, 5)
        last = top.settle(lambda f: f["total"]["written"] >= 1600 and len(f["rows"]) == 2, "two files")
        t.equal({p: (row(t, last, p)["written"], row(t, last, p)["rotations"]) for p in paths(last)},
                {log: (500, 1), log + ".20261121-000001": (1100, 0)}, "written and rotations")
        os.rename(log, log + ".20261121-000002")
        pace(log, 1)
        os.unlink(log + ".20261121-000001")
        last = top.settle(lambda f: f["total"]["written"] >= 1700 and len(f["rows"]) == 2, "the third")
        t.equal(paths(last), {log, log + ".20261121-000002"}, "files")
        t.equal(row(t, last, log)["rotations"], 2, "rotations")
        t.equal(last["total"]["written"], 1700, "written, of the removed one too")
        top.more()
        held = [p for p in proc.open_paths(top.pid) if "(deleted)" in p and "memfd" not in p]
        t.equal(held, [], "removed files whose space is not given back")


@suite.case(bpf=BOTH)
def a_file_renamed_over_the_log_is_a_rotation(t):
    """As conmon does it: 0.log.tmp is written, then renamed onto 0.log."""
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    pace(log, 10)
    with Frames(t, "-r", root, "--bpf", t.bpf) as top:
        top.more()
        pace(log + ".tmp", 3)
        os.rename(log + ".tmp", log)
        pace(log, 4)
        last = top.settle(lambda f: f["total"]["written"] >= 700, "700 bytes")
        last = top.more()
        t.equal([(r["path"], r["written"], r["size"], r["rotations"]) for r in last["rows"]], [(log, 700, 700, 1)], "rows")


@suite.case(bpf=BOTH)
def truncation_shows_in_the_size(t):
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    pace(log, 50)
    with Frames(t, "-r", root, "--bpf", t.bpf) as top:
        top.more()
        os.truncate(log, 0)
        top.settle(lambda f: row(t, f, log)["size"] == 0, "size 0")  # also where no program sees it
        pace(log, 7)
        last = top.settle(lambda f: row(t, f, log)["size"] == 700, "size 700")
        t.equal(row(t, last, log)["written"], 700, "written")


@suite.case(bpf=BOTH)
def pods_that_come_and_go(t):
    """A whole pod appears with a log in it, and vanishes; compressed files and other names of no log are left out."""
    root = t.mkdir("pods")
    with Frames(t, "-r", root, "--bpf", t.bpf) as top:
        t.equal(top.more()["rows"], [], "rows")
        logs = [tree.Pod(root, f"p{n}", number=n).log() for n in range(20)]
        for log in logs:
            pace(log, 3)
            pace(log + ".20261121-000001.gz", 5)
        last = top.settle(lambda f: f["total"]["written"] >= 6000, "all of it")
        t.equal(paths(last), set(logs), "files")
        for log in logs:
            for name in os.listdir(os.path.dirname(log)):
                os.unlink(os.path.join(os.path.dirname(log), name))
            os.rmdir(os.path.dirname(log))
            os.rmdir(os.path.dirname(os.path.dirname(log)))
        last = top.settle(lambda f: not f["rows"], "no row")
        t.equal((last["total"]["dirs"], last["total"]["files"]), (1, 0), "directories, files")
        t.equal((last["total"]["written"], last["total"]["unseen_files"]), (6000, 0), "written, unseen")
        moved = t.mkdir("elsewhere")
        log = tree.Pod(moved).log()
        pace(log, 2)
        os.rename(os.path.join(moved, os.listdir(moved)[0]), os.path.join(root, "shop_web_moved"))
        os.rename(root, t.path("pods2"))
        os.rename(t.path("pods2"), root)
        top.settle(lambda f: len(f["rows"]) == 1, "the pod that was moved here")


@suite.case(timeout=90)
def ten_thousand_files(t):
    """All are found, every byte is counted, and looking at them costs little; in both modes, of the same tree."""
    root, files = t.mkdir("pods"), 10000
    logs = [tree.Pod(root, f"p{n // 10}", number=n // 10).log(f"c{n % 10}") for n in range(files)]
    for log in logs:
        pace(log, 1, 10)
    tops = [Frames(t, "-r", root, "--bpf", bpf, "--rows", 5, delay="1s", name=bpf) for bpf in BOTH]
    for top in tops:
        first = top.more(timeout=40)
        t.equal((first["total"]["files"], first["rows_total"], len(first["rows"])), (files, files, 5), "files and rows")
    began = [proc.cpu_seconds(top.pid) for top in tops]
    for log in logs:
        pace(log, 1, 30)
    for top, before in zip(tops, began):
        last = top.settle(lambda f: f["total"]["written"] >= 30 * files, "all bytes", timeout=30)
        t.equal(last["total"]["written"], 30 * files, "written")
        t.equal(last["total"]["uncounted"], 0 if counted(last) else files, "files without a counter")
        busy, at = proc.cpu_seconds(top.pid), len(top.frames)
        top.more(3)
        idle = (proc.cpu_seconds(top.pid) - busy) / (len(top.frames) - at)
        t.note(f"rung {last['rung']}: a look at {files} quiet files: {idle * 1e3:.1f} ms of CPU; "
               f"{proc.status(top.pid, 'VmRSS')} KiB; while all were written once: {busy - before:.2f} s")
        t.check(idle < 0.5 or tool.sanitized(), f"{idle:.2f} s for a look")
        top.stop()


@suite.case(bpf=BOTH, timeout=40)
def what_happened_while_it_could_not_look(t):
    """Stopped, it misses more events than the kernel keeps: afterwards the files are those that are there, and the bytes
    of those that came and went are counted where the kernel counted them."""
    root, files = t.mkdir("pods"), 200
    directory = os.path.dirname(tree.Pod(root).log())
    with open("/proc/sys/fs/inotify/max_queued_events") as f:
        renames = int(f.read()) // 4 + 500  # of two events each, there and back
    old = [os.path.join(directory, f"old{n}.log") for n in range(files)]
    new = [os.path.join(directory, f"new{n}.log") for n in range(files)]
    for log in old:
        pace(log, 1, 10)
    with Frames(t, "-r", root, "--bpf", t.bpf) as top:
        t.equal(top.more(timeout=40)["rows_total"], files, "files")
        proc.kill(top.pid, signal.SIGSTOP)
        for _ in range(renames):
            os.rename(old[0], old[0] + ".1")
            os.rename(old[0] + ".1", old[0])
        os.rename(old[1], t.path("elsewhere.log"))
        for log in old[:1] + old[2:]:
            os.unlink(log)
        for log in new:
            pace(log, 1, 10)
        pace(os.path.join(directory, "short.log"), 7)
        os.unlink(os.path.join(directory, "short.log"))
        proc.kill(top.pid, signal.SIGCONT)
        last = top.settle(lambda f: f["total"]["overflows"] and f["rows_total"] == files, "the overflow", timeout=40)
        t.check(paths(last) == set(new), "other files than those that are there")
        if counted(last):
            last = top.settle(lambda f: f["total"]["unseen_files"], "the file that came and went")
        total = last["total"]
        t.equal((total["unseen_files"], total["unseen_bytes"]), (1, 700) if counted(last) else (0, 0), "unseen")
        t.equal(total["written"], 10 * files + total["unseen_bytes"], "written")
        top.more(2)
        held = [p for p in proc.open_paths(top.pid) if "(deleted)" in p and "memfd" not in p]
        t.equal(held, [], "removed files whose space is not given back")


@suite.case(bpf=BOTH)
def fewer_descriptors_than_files(t):
    """What it cannot hold is looked at by its name."""
    root = t.mkdir("pods")
    logs = [tree.Pod(root, f"p{n}", number=n).log() for n in range(200)]
    for log in logs:
        pace(log, 1)
    with Frames(t, "-r", root, "--bpf", t.bpf, limit=100) as top:
        first = top.more()
        t.equal(first["total"]["files"], 200, "files")
        t.check(not counted(first) or 100 < first["total"]["uncounted"] < 200, f"{first['total']}")
        for log in logs:
            pace(log, 2)
        last = top.settle(lambda f: f["total"]["written"] >= 40000, "all of it")
        t.equal({r["written"] for r in last["rows"]}, {200}, "written to each")
        os.rename(logs[0], logs[0] + ".1")
        for log in logs[1:]:
            os.unlink(log)
        last = top.settle(lambda f: f["total"]["files"] == 1, "one file")
        t.equal(paths(last), {logs[0] + ".1"}, "it")
        t.equal(last["total"]["written"], 40000, "written")


@suite.case()
def without_privileges(t):
    """Another user's directory that can be searched: names and sizes are enough."""
    if os.getuid() != 0:
        t.skip("needs root, to run it as somebody else")
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    pace(log, 1)
    os.chmod(log, 0o600)
    with Frames(t, "-r", root, user=65534, group=65534, extra_groups=[]) as top:
        t.equal(counted(top.more()), False, "a program counts")
        pace(log, 4)
        top.settle(lambda f: row(t, f, log)["written"] == 400, "400 bytes")


@suite.case(bpf=BOTH)
def more_directories_than_watches(t):
    """A quarter of the user's watches is all it takes: the others are the daemon's. Files are found all the same."""
    if os.getuid() != 0 or not tool.find("unshare"):
        t.skip("needs root and unshare, to show it a lower limit")
    root = t.mkdir("pods")
    with open(t.path("limit"), "w") as f:
        f.write("160\n")
    lowered = f"mount --bind {t.path('limit')} /proc/sys/fs/inotify/max_user_watches && exec \"$@\""
    prefix = [tool.find("unshare"), "-m", "sh", "-c", lowered, "sh"]
    for n in range(50):
        tree.Pod(root, f"p{n}", number=n).log()
    with Frames(t, "-r", root, "--bpf", t.bpf, prefix=prefix) as top:
        total = top.more()["total"]
        t.equal((total["dirs"], total["dirs_unwatched"]), (101, 61), "directories")
        watches = 0
        for fd in os.listdir(f"/proc/{top.pid}/fdinfo"):
            with open(f"/proc/{top.pid}/fdinfo/{fd}") as f:
                watches += f.read().count("inotify wd:")
        t.equal(watches, 40, "watches")
        for n in range(60):
            pace(tree.Pod(root, f"p{n}", number=n).log(), 2)
        top.settle(lambda f: f["rows_total"] == 60 and f["total"]["written"] == 12000, "60 files")
        for n in range(55):  # what they had is free again
            log = tree.Pod(root, f"p{n}", number=n).log()
            os.unlink(log)
            os.rmdir(os.path.dirname(log))
            os.rmdir(os.path.dirname(os.path.dirname(log)))
        top.settle(lambda f: f["rows_total"] == 5 and f["total"]["dirs_unwatched"] == 0, "five files, all watched")


@suite.case(timeout=40)
def a_daemon_beside_it_is_not_disturbed(t):
    """Both count the same writes; the daemon delivers all lines and says nothing."""
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    wanted = tree.write_lines(log, "x", 10)
    with Collector(t, "-r", root, state=t.mkdir("state")) as c:
        c.ready(root)
        with Frames(t, "-r", root) as top:
            top.more()
            size = os.path.getsize(log)
            wanted += tree.write_lines(log, "y", 500)
            with open(log, "ab", buffering=0) as f:
                f.write(tree.cri("the last"))
                os.rename(log, log + ".20261121-000001")
                f.write(tree.cri("the very last"))
            wanted += ["the last", "the very last"] + tree.write_lines(log, "z", 100)
            last = top.settle(lambda f: len(f["rows"]) == 3 and row(t, f, log)["size"] == os.path.getsize(log),
                              "the new log")
            t.equal(row(t, last, log + ".20261121-000001")["written"],
                    os.path.getsize(log + ".20261121-000001") - size, "written to the old one")
            t.equal(row(t, last, log)["written"], os.path.getsize(log), "written to the new one")
            os.unlink(log + ".20261121-000001")
            top.settle(lambda f: len(f["rows"]) == 2, "the old one to go")
            top.stop()
        t.equal([r.message for r in c.finish(len(wanted))], wanted, "lines delivered")
        t.check("warning" not in c.stderr(), c.stderr())


# A daemon

def container(name, namespace="shop", **figures):
    return {"namespace": namespace, "pod": name, "uid": "u-" + name, "container": "app", "path": f"/pods/{name}",
            "written": 10, "delivered": 5, "lost_bytes": 0, "backlog": 0, "rate": 0, "oldest_s": None, "deadline_s": None,
            "rotations": 0, "hot": False, "gone": False, **figures}


def status(*containers, **members):
    lost = sum(c["lost_bytes"] for c in containers)
    return {"version": "0.1.0", "now": 1795277544.5, "uptime_s": 185, "rung": "fs", "order": "hot", "proof": "proven",
            "proof_why": "", "scanned": True, "files": {"open": 3, "hot": 1}, "held_bytes": 0,
            "total": {"written": 5000, "delivered": 4000, "pending": 1000, "lost_bytes": lost,
                      "lost": {"truncated": lost} if lost else {}},
            "sinks": [{"name": "stdout", "bytes": 4200, "retries": 0, "failing": False}],
            "containers_total": len(containers), "containers": list(containers), **members}


SHOP = (container("cart", rate=5000, backlog=10, oldest_s=90, lost_bytes=700, deadline_s=5),
        container("web", rate=900, backlog=70_000, oldest_s=1.5, deadline_s=-1),
        container("api", rate=70_000, backlog=3000, oldest_s=0.2, rotations=4, deadline_s=4000),
        container("dns", namespace="kube-system", rate=100, backlog=20, oldest_s=10))


def says(*containers, **members):
    return lambda asked: reply(json.dumps(status(*containers, **members)))


def pods(frame_or_lines):
    """The pods in the order in which they are shown."""
    if isinstance(frame_or_lines, dict):
        return [r["pod"] for r in frame_or_lines["rows"]]
    return [w for line in frame_or_lines for w in line.split()[:2] if w in ("cart", "web", "api", "dns")]


@suite.case()
def what_a_daemon_says_is_passed_on(t):
    with Daemon(t.dir, says(*SHOP)) as daemon:
        out, err = call(t, "-s", t.dir, "--batch", "--json", "-n", 2, "-d", "100ms", wanted=0)
        t.equal(daemon.asked, [b"s", b"s"], "what was asked")
        t.equal(err, "", "standard error")
        t.equal(out.count("\n"), 2, "lines")
        frame = json.loads(out.split("\n")[0])
        t.equal((frame["source"], frame["time"], frame["rows_total"]), ("daemon", 1795277544.5, 4), "frame")
        t.equal(pods(frame), ["api", "cart", "web", "dns"], "by rate")
        t.equal(frame["status"], {k: v for k, v in status(*SHOP).items() if k != "containers"}, "status")
        wanted = {k: v for k, v in SHOP[0].items()}
        t.equal(frame["rows"][1], wanted, "a row")
        for word, order in (("backlog", ["web", "api", "dns", "cart"]), ("age", ["cart", "dns", "web", "api"]),
                            ("deadline", ["web", "cart", "api", "dns"]), ("lost", ["cart", "api", "web", "dns"])):
            out, _ = call(t, "-s", t.dir, "--batch", "--json", "-n", 1, "--sort", word, wanted=0)
            t.equal(pods(json.loads(out)), order, f"by {word}")
        out, _ = call(t, "-s", t.dir, "--batch", "--json", "-n", 1, "-N", "kube-*", wanted=0)
        t.equal(pods(json.loads(out)), ["dns"], "of kube-*")
        out, _ = call(t, "-s", t.dir, "--batch", "--json", "-n", 1, "-R", "--rows", 2, wanted=0)
        t.equal(pods(json.loads(out)), ["dns", "web"], "the lowest two")


@suite.case()
def frames_as_text(t):
    with Daemon(t.dir, says(*SHOP)):
        out, _ = call(t, "-s", t.dir, "--batch", "-n", 2, "-d", "100ms", wanted=0)
    frames = out.split("\n\n")
    t.equal(len(frames), 2, "frames")
    lines = frames[0].split("\n")
    t.check("rung fs" in lines[0] and "proof proven" in lines[0], lines[0])
    t.check("lost 700 (truncated 700)" in lines[1], lines[1])
    t.equal(lines[3].split(), ["NAMESPACE", "POD", "CONTAINER", "RATE/s", "BACKLOG", "DEADLINE", "AGE", "DELIVERD", "LOST",
                               "ROTATED"], "titles")
    t.equal([line.split() for line in lines[4:]], [
        ["shop", "api", "app", "70.0k", "3.0k", "1h06m", "0.2s", "5", "0", "4"],
        ["shop", "cart", "app", "5.0k", "10", "5.0s", "1m30s", "5", "700", "0"],
        ["shop", "web", "app", "900", "70.0k", "now", "1.5s", "5", "0", "0"],
        ["kube-system", "dns", "app", "100", "20", "-", "10s", "5", "0", "0"]], "rows")


@suite.case()
def a_daemon_that_answers_oddly(t):
    odd = [(reply("NAMESPACE  POD\n"), "expected the status as JSON"), (reply("{}\n"), "expected an object"),
           (reply('{"total":{},"containers":[{"rate":"fast"}]}'), '"rate": expected a number, got a string'),
           (b"", "expected a whole answer, came 0 bytes"), (b"0 5\nabc", "expected a whole answer"),
           (reply("[" * 100_000), "expected the status as JSON")]
    for answer, why in odd:
        with Daemon(t.dir, lambda _: answer):
            refused(t, "-s", t.dir, "--batch", "-n", 1, says=why)
        os.remove(t.path("ledger.sock"))


@suite.case()
def a_daemon_that_ends_is_said(t):
    with Daemon(t.dir, says(*SHOP)):
        top = Frames(t, "-s", t.dir)
        top.more()
    with top:
        t.equal(top.process.wait(10), 2, "status")
        t.check("no hotdrain runs with this state directory" in top.stderr() and top.stderr().count("\n") == 1, top.stderr())


@suite.case(timeout=60)
def ten_thousand_containers(t):
    many = [container(f"pod-{n}", rate=n, backlog=n % 7) for n in range(10000)]
    with Daemon(t.dir, says(*many)):
        out, _ = call(t, "-s", t.dir, "--batch", "--json", "-n", 1, wanted=0)
        t.equal(pods(json.loads(out)), [f"pod-{n}" for n in reversed(range(10000))], "rows")


@suite.case(bpf=BOTH, timeout=40)
def a_real_daemon(t):
    """Its figures are the file's, while it delivers, after a rotation and for each namespace."""
    root, state = t.mkdir("pods"), t.mkdir("state")
    log, other = tree.Pod(root).log(), tree.Pod(root, "dns", namespace="kube-system", number=2).log("dns")
    with Collector(t, "-r", root, state=state) as c:
        c.ready(root)
        with Frames(t, "-s", state) as top:
            tree.write_lines(other, "x", 3)
            for k in range(100):
                tree.write_lines(log, "x", 20, first=20 * k)
                time.sleep(0.01)
            size = os.path.getsize(log)
            last = top.settle(lambda f: any(r["pod"] == "web" and r["delivered"] == size for r in f["rows"]), "all of it")
            rates = [r["rate"] for f in top.frames for r in f["rows"] if r["pod"] == "web"]
            t.check(max(rates) > 1000, f"rates of about {size} bytes per second: {rates}")
            web = next(r for r in last["rows"] if r["pod"] == "web")
            t.equal((web["namespace"], web["container"], web["written"], web["backlog"], web["lost_bytes"]),
                    ("shop", "app", size, 0, 0), "names and figures")
            os.rename(log, log + ".20261121-000001")
            tree.write_lines(log, "y", 10)
            both = size + os.path.getsize(log)
            top.settle(lambda f: any(r["delivered"] == both and r["rotations"] == 1 for r in f["rows"]), "the rotation")
            t.equal(last["status"]["total"]["lost_bytes"], 0, "lost")
            t.check(last["status"]["rung"] in ("fs", "vfs", "kprobe", "syscall", "off"), "rung")
            top.stop()
        out, _ = call(t, "-s", state, "--batch", "--json", "-n", 1, "-N", "kube-system", wanted=0)
        t.equal(pods(json.loads(out)), ["dns"], "of kube-system")
        text, _ = call(t, "-s", state, "--batch", "-n", 1, wanted=0)
        t.check(re.search(r"^shop +web +app ", text, re.M), text)
        c.stop()


# The screen

def screen(t, *args, **more):
    return tmux.Terminal(t, [tool.hotdrain(), "top", *map(str, args)], **more)


@suite.case()
def sort_keys(t):
    with Daemon(t.dir, says(*SHOP)), screen(t, "-s", t.dir, "-d", "100ms") as s:
        lines = s.wait(lambda lines: pods(lines) == ["api", "cart", "web", "dns"], "by rate")
        t.check("rung fs" in lines[0] and "proof proven" in lines[0], f"the head: {lines[:4]}")
        t.check(lines[4].split()[:4] == ["NAMESPACE", "POD", "CONTAINER", "RATE/s"], f"the titles: {lines[4]}")
        for key, word, order in (("b", "backlog", ["web", "api", "dns", "cart"]), ("a", "age", ["cart", "dns", "web", "api"]),
                                 ("l", "lost", ["cart", "api", "web", "dns"]), ("d", "deadline", ["web", "cart", "api", "dns"]),
                                 ("r", "rate", ["api", "cart", "web", "dns"])):
            s.keys(key)
            s.wait(lambda lines: pods(lines) == order and f"by {word}" in lines[3], f"by {word}")
        s.keys("R")
        s.wait(lambda lines: pods(lines) == ["dns", "web", "cart", "api"] and "reversed" in lines[3], "reversed")
        s.keys("q")
        s.wait_end()


@suite.case()
def namespace_key(t):
    with Daemon(t.dir, says(*SHOP)), screen(t, "-s", t.dir, "-d", "100ms") as s:
        s.wait_text("dns")
        s.keys("n")
        s.wait_text("namespace (* for all):")
        s.keys("-l", "kubx")
        s.keys("BSpace", "e", "-", "*")
        s.wait_text("namespace (* for all): kube-*")
        s.keys("Enter")
        s.wait(lambda lines: pods(lines) == ["dns"] and "1 of 4, namespace kube-*" in lines[3], "only dns")
        s.keys("n", "q", "Escape")  # which are letters here, and then none
        s.wait(lambda lines: pods(lines) == ["dns"] and "namespace kube-*" in lines[3], "still")
        s.keys("n", "Enter")
        s.wait(lambda lines: len(pods(lines)) == 4, "all again")
        s.keys("q")
        s.wait_end()


@suite.case()
def pause_key(t):
    seen = []

    def answer(asked):
        seen.append(asked)
        return reply(json.dumps(status(container("web", rate=1000 + len(seen)))))

    with Daemon(t.dir, answer), screen(t, "-s", t.dir, "-d", "100ms") as s:
        s.wait_text("1.0k")
        s.keys("p")
        s.wait_text("PAUSED")
        time.sleep(0.3)
        asked, lines = len(seen), s.screen()
        time.sleep(0.7)
        t.equal((len(seen), s.screen()), (asked, lines), "what was asked and shown while paused")
        s.keys("b")
        s.wait_text("by backlog")  # it still does what it is told
        s.keys("Space")
        s.wait(lambda lines: "PAUSED" not in lines[3] and len(seen) > asked + 2, "going on")
        s.keys("q")
        s.wait_end()


@suite.case()
def help_key(t):
    with Daemon(t.dir, says(*SHOP)), screen(t, "-s", t.dir) as s:
        s.wait_text("dns")
        s.keys("?")
        s.wait_text("turn the order round")
        s.keys("x")
        s.wait(lambda lines: len(pods(lines)) == 4, "the rows again")
        s.keys("q")
        s.wait_end()


@suite.case()
def scrolling(t):
    many = [container(f"pod-{n:03d}", rate=1000 - n) for n in range(100)]

    def first(lines):
        return next((w for line in lines for w in line.split()[1:2] if w.startswith("pod-")), None)

    with Daemon(t.dir, says(*many)), screen(t, "-s", t.dir) as s:
        s.wait(lambda lines: first(lines) == "pod-000", "the first")
        for key, wanted in (("Down", "pod-001"), ("NPage", "pod-020"), ("End", "pod-081"), ("Up", "pod-080"),
                            ("PPage", "pod-061"), ("Home", "pod-000"), ("Up", "pod-000")):
            s.keys(key)
            s.wait(lambda lines: first(lines) == wanted, f"{wanted} after {key}")
        s.keys("q")
        s.wait_end()


@suite.case()
def resizing(t):
    with Daemon(t.dir, says(*SHOP)), screen(t, "-s", t.dir, "-d", "100ms") as s:
        wide = s.wait(lambda lines: len(pods(lines)) == 4 and "ROTATED" in lines[4], "all columns")
        s.resize(40, 10)
        low = s.wait(lambda lines: "POD" in lines[2] and len(pods(lines)) == 4, "what matters at 40x10")
        t.check(all(len(line) <= 40 for line in low), f"a line of more than 40: {low}")
        t.check(len(low) <= 10 and {"RATE/s", "BACKLOG", "LOST"} < set(low[2].split()), f"titles: {low[2]}")
        t.check("lost 700" in low[0], f"what is wrong has the one line there is: {low[0]}")
        t.note("40x10: " + "\n#   | ".join(low))
        s.resize(5, 2)
        time.sleep(0.3)
        s.resize(100, 24)
        s.wait(lambda lines: lines == wide, "as before")
        s.keys("q")
        s.wait_end()


@suite.case()
def signals_restore_the_terminal(t):
    for end in (lambda s: s.keys("C-c"), lambda s: proc.kill(s.pid(), signal.SIGTERM),
                lambda s: proc.kill(s.pid(), signal.SIGINT)):
        with Daemon(t.dir, says(*SHOP)), screen(t, "-s", t.dir, "-d", "100ms") as s:
            s.wait_text("dns")
            t.equal(s.flag("alternate_on"), "1", "on a screen of its own")
            end(s)
            s.wait_end()
        os.remove(t.path("ledger.sock"))


@suite.case()
def colours(t):
    """Red for what was lost, unless NO_COLOR is set."""
    for no, red in ((None, True), ("", True), ("1", False)):
        with Daemon(t.dir, says(*SHOP)), screen(t, "-s", t.dir, env={"NO_COLOR": no}) as s:
            s.wait_text("dns")
            found = re.findall(r"\x1b\[[0-9;]*m", s.raw())
            t.equal(any(re.search(r"[\[;]3[13][;m]", f) for f in found), red, f"colours with NO_COLOR={no}: {set(found)}")
            s.keys("q")
            s.wait_end()
        os.remove(t.path("ledger.sock"))


@suite.case()
def a_dumb_terminal_gets_text(t):
    with Daemon(t.dir, says(*SHOP)):
        for term in ("dumb", "no-such-terminal"):
            with screen(t, "-s", t.dir, "-n", 2, "-d", "100ms", env={"TERM": term}) as s:
                s.wait_end()
                t.equal(pods(s.screen()), ["api", "cart", "web", "dns"] * 2, "two frames")


@suite.case()
def names_of_all_kinds(t):
    """UTF-8 is shown as it is, escape sequences and other bytes are not."""
    odd = [container("größe-日本", rate=3), container("\x1b[31mred\x1b[2J", rate=2), container("\n\t\x9b", rate=1)]
    with Daemon(t.dir, says(*odd)), screen(t, "-s", t.dir) as s:
        lines = s.wait_text("größe-日本")
        t.check(any("?[31mred?[2J" in line for line in lines), f"{lines}")
        s.keys("q")
        s.wait_end()
    os.remove(t.path("ledger.sock"))
    with Daemon(t.dir, says(*odd)), screen(t, "-s", t.dir, env={"LC_ALL": "C"}) as s:
        s.wait_text("gr????e-")
        s.keys("q")
        s.wait_end()


@suite.case()
def a_daemon_that_comes_back(t):
    """What was last known stays, with the reason why it is not new; nothing is written across the screen."""
    with screen(t, "-s", t.dir, "-d", "100ms") as s:
        s.wait_end(2)
    daemon = Daemon(t.dir, says(*SHOP))
    with screen(t, "-s", t.dir, "-d", "100ms") as s:
        s.wait_text("dns")
        daemon.__exit__()
        os.remove(t.path("ledger.sock"))
        lines = s.wait_text("NOT NEW: ")
        t.equal(len(pods(lines)), 4, "rows")
        with Daemon(t.dir, lambda _: reply("nonsense")):
            s.wait_text("expected the status as JSON")
        os.remove(t.path("ledger.sock"))
        with Daemon(t.dir, says(SHOP[0])):
            s.wait(lambda lines: pods(lines) == ["cart"] and "NOT NEW" not in lines[3], "the new one")
            s.keys("q")
            s.wait_end()


@suite.case()
def a_slow_daemon_does_not_hold_up_the_keys(t):
    with Daemon(t.dir, lambda _: None), screen(t, "-s", t.dir, "-d", "100ms") as s:
        s.wait_text("0 of 0")
        s.keys("?")
        s.wait_text("turn the order round")
        s.keys("q")
        s.wait_end()


@suite.case()
def counting_by_itself_on_a_screen(t):
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    pace(log, 10)
    with screen(t, "-r", root, "-d", "200ms", width=120) as s:
        s.wait_text("counting by itself")
        pace(log, 10, 1000)
        lines = s.wait(lambda lines: any(line.split()[-2:-1] == ["10.0k"] for line in lines), "10,000 bytes")
        t.check("FILE" in lines[4] and "0.log" in lines[5], f"{lines}")
        os.rename(log, log + ".20261121-000001")
        pace(log, 1)
        s.wait_text("0.log.20261121-000001")
        os.rename(root, root + "2")  # which the log says
        s.wait_text("is gone, waiting")
        s.keys("s")
        s.wait_text("by size")
        s.keys("C-c")
        s.wait_end()
        t.check("waiting for it to come back" in "".join(s.screen()), "what the log said is there at the end")


lanes.run(suite, 3)
