#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""What the programs in the kernel tell by themselves: files that are new, that have more to read, that nobody saw.

inotify is taken away from one process by a system-call filter, which leaves BPF as it is (in a user namespace with
limits of its own there is none). Each case also runs without BPF, and then expects what is possible without.
"""
import ctypes
import errno
import os
import platform
import random
import re
import resource
import signal
import statistics
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import account, judge, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("kernel", timeout=240)
BOTH = ("auto", "off")
SECCOMP = {"x86_64": (0xC000003E, 294, 254), "aarch64": (0xC00000B7, 26, 27)}  # architecture, init1, add_watch
WAKES_PER_S_MAX = 60  # a tick of 9 ms would be 111
EXPIRED_S = 8


def refuse(init1=0, add_watch=0):
    """Between fork and exec: the errno that each of the two calls fails with, from now on."""
    arch, *numbers = SECCOMP.get(platform.machine(), (0, 0, 0))
    rules = [(n, e) for n, e in zip(numbers, (init1, add_watch)) if e]

    def enter():
        code = [struct.pack("HBBI", 0x20, 0, 0, 4), struct.pack("HBBI", 0x15, 1, 0, arch),
                struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000), struct.pack("HBBI", 0x20, 0, 0, 0)]
        for number, why in rules:
            code += [struct.pack("HBBI", 0x15, 0, 1, number), struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | why)]
        code.append(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
        text = ctypes.create_string_buffer(b"".join(code))
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")

    return enter


def needs_seccomp(t):
    if platform.machine() not in SECCOMP:
        t.skip(f"no system-call filter is known for {platform.machine()}")


def counts(t, c):
    """Does a program count that tells of writes?"""
    c.wait_stderr("bpf: ")
    proc.wait_until(lambda: re.search(r"bpf: (rung \w+$|no rung)", c.stderr(), re.M), 5)
    rung = re.findall(r"bpf: rung (\w+)$", c.stderr(), re.M)
    if t.bpf == "auto" and not rung:
        t.skip("no rung attaches here")
    t.note(f"rung {rung[0]}" if rung else "no rung")
    return bool(rung) and rung[0] not in ("off", "kprobe")


def logs(root, count, first=0):
    return [tree.Pod(root, name=f"pod-{n}", number=n).log(f"c{n}") for n in range(first, first + count)]


def write(judge_, log, ident, seq=0):
    judge_.expect(ident, "o", seq + 1)
    tree.append(log, tree.cri(judge.message(ident, "o", seq)))


def lost(c):
    """(bytes, events) of what vanished, over all containers."""
    found = [a.reasons.get("vanished", (0, 0)) for a in account.accounts(c).values()]
    return sum(b for b, _ in found), sum(e for _, e in found)


# New files

def new_files(t, **refused):
    """A file at a time in directories that are known. The listing of each second would find them after half of one."""
    needs_seccomp(t)
    root, j = t.mkdir("pods"), judge.Judge()
    new = logs(root, 30)
    with Collector(t, "-r", root, preexec_fn=refuse(**refused)) as c:
        told = counts(t, c)
        c.ready(root)
        for n, log in enumerate(new):
            time.sleep(random.uniform(0.03, 0.15))
            write(j, log, f"c{n}.0")
        t.check(c.wait_lines(len(new), 5), f"{len(c.lines)} of {len(new)} lines")
        for n, log in enumerate(new):
            write(j, log, f"c{n}.0", 1)
        j.add_records(c.finish(2 * len(new), 5))
    if j.problems():
        t.fail(*j.problems())
    first = [1e3 * (r.arrival - int(r.message.split()[3]) / 1e9) for r in c.records() if int(r.message.split()[2]) == 0]
    t.note(f"first lines, ms: median {statistics.median(first):.0f}, most {max(first):.0f}")
    if told:
        t.check(statistics.median(first) < 200, f"new files came after {statistics.median(first):.0f} ms (median)")


@suite.case(bpf=BOTH, timeout=60)
def new_files_are_found_without_an_inotify_instance(t):
    new_files(t, init1=errno.EMFILE)


@suite.case(bpf=BOTH, timeout=60)
def new_files_are_found_without_a_watch(t):
    new_files(t, add_watch=errno.ENOSPC)


@suite.case(bpf=BOTH, timeout=60)
def rotations_without_inotify_are_followed(t):
    """Renamed and made anew within a moment, twice a second, in ten logs: all of it comes, in order."""
    needs_seccomp(t)
    root, j, seq = t.mkdir("pods"), judge.Judge(), 0
    with Collector(t, "-r", root, preexec_fn=refuse(init1=errno.EMFILE)) as c:
        counts(t, c)
        all_logs = logs(root, 10)
        for n, log in enumerate(all_logs):
            write(j, log, f"c{n}.0")
        c.wait_lines(10, 5)
        for step in range(6):
            time.sleep(0.5)
            for n, log in enumerate(all_logs):
                os.rename(log, f"{log}.20261121-{step:06d}")
                seq = step + 1
                write(j, log, f"c{n}.0", seq)
        j.add_records(c.finish(10 * (seq + 1), 10, settle=1.5))
    if j.problems():
        t.fail(*j.problems())
    account.nothing_lost(c, *all_logs)


# Files that nobody saw

def brief(log, number):
    """Comes, is written to and goes. The bytes."""
    line = tree.cri(f"nobody sees this {number}")
    tree.append(log, line, line * number)
    os.unlink(log)
    return len(line) * (number + 1)


def stopped(c, act):
    """act() while the collector stands still."""
    proc.kill(c.pid, signal.SIGSTOP)
    try:
        return act()
    finally:
        proc.kill(c.pid, signal.SIGCONT)


def overflow(root):
    """More events than inotify's queue holds."""
    with open("/proc/sys/fs/inotify/max_queued_events") as f:
        queue = int(f.read())
    if queue > 100000:
        raise tap.Skip(f"a queue of {queue} events takes too long to fill")
    names = [os.path.join(root, name) for name in ("x.tmp", "y.tmp")]
    tree.append(names[0], "")
    for _ in range(queue // 2 + 500):
        os.rename(*names)
        names.reverse()


def unseen(t, fill=False, **popen):
    """Five files with an account of their log and five without come and go; and some that are nobody's loss."""
    root = t.mkdir("pods")
    known, new = logs(root, 5), logs(root, 5, 5)
    for log in known:
        tree.append(log, tree.cri("seen"))
    with Collector(t, "-r", root, **popen) as c:
        told = counts(t, c)
        t.check(c.wait_lines(5), "the lines from before have not come")
        time.sleep(0.5)

        def act():
            if fill:
                overflow(root)
            for log in known:
                os.unlink(log)
            for log in new:
                for name in (log + ".1.gz", log + ".tmp"):
                    brief(name, 3)
            return sum(brief(log, n) for n, log in enumerate(known + new))

        size = stopped(c, act)
        time.sleep(EXPIRED_S if told else 2)
        for n, log in enumerate(known + new):
            tree.append(log, tree.cri("seen again"))
        t.check(c.wait_lines(15, 5), f"{len(c.lines)} of 15 lines")
        proc.kill(c.pid, signal.SIGUSR1)
        c.wait_stderr("vanished")
        gone = int(re.search(r"(\d+)\s+vanished", c.stderr())[1])
        c.stop()
    t.note(f"lost {lost(c)}, {gone} vanished; {size} bytes in 10 files were written")
    if told:
        t.equal(lost(c), (size, 10), "bytes and events that vanished")
        t.equal(gone, 10, "files that vanished")
    return told, gone


@suite.case(bpf=BOTH, timeout=60)
def bytes_that_inotify_told_of_are_counted_once(t):
    told, gone = unseen(t)
    if not told:
        t.equal(gone, 10, "files that vanished")


@suite.case(bpf=BOTH, timeout=60)
def bytes_that_an_overflow_hid_are_counted(t):
    unseen(t, fill=True)


@suite.case(bpf=BOTH, timeout=60)
def bytes_are_counted_without_inotify(t):
    needs_seccomp(t)
    unseen(t, preexec_fn=refuse(init1=errno.EMFILE))


@suite.case(timeout=60)
def a_file_that_is_still_there_is_not_lost(t):
    """There is no descriptor for it for a while."""
    root = t.mkdir("pods")
    files = 40
    with Collector(t, "-r", root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))) as c:
        if not counts(t, c):
            t.skip("no program counts")
        c.ready(root)
        for n, log in enumerate(logs(root, files)):
            tree.append(log, tree.cri(f"line {n}"))
        t.check(c.wait_lines(files, 10), f"{len(c.lines)} of {files} lines")
        time.sleep(EXPIRED_S)
        c.stop()
    t.equal(lost(c), (0, 0), "bytes and events that vanished")


# Wake-ups

@suite.case(bpf=BOTH, timeout=60)
def a_hot_file_needs_no_tick(t):
    """A line each 100 ms: the collector is asleep in between, and each line comes at once."""
    root, j = t.mkdir("pods"), judge.Judge()
    log, = logs(root, 1)
    with Collector(t, "-r", root) as c:
        told = counts(t, c)
        write(j, log, "c0.0")
        t.check(c.wait_lines(1), "the first line has not come")
        before, started = proc.wakes(c.pid), time.monotonic()
        for seq in range(1, 31):
            time.sleep(0.1)
            write(j, log, "c0.0", seq)
        per_s = (proc.wakes(c.pid) - before) / (time.monotonic() - started)
        j.add_records(c.finish(31, 5))
    if j.problems():
        t.fail(*j.problems())
    median, p99, most = j.latencies()
    t.note(f"{per_s:.0f} wake-ups/s; latency ms median/p99/most: {median:.1f} {p99:.1f} {most:.1f}")
    if told:
        t.check(per_s < WAKES_PER_S_MAX, f"{per_s:.0f} wake-ups/s, the limit is {WAKES_PER_S_MAX}")


@suite.case(bpf=BOTH, timeout=60)
def a_torn_line_is_ended_by_its_rest(t):
    """Pieces of lines, some without an end for a while: nothing but the next write tells of the rest."""
    root = t.mkdir("pods")
    log, = logs(root, 1)
    wanted = []
    with Collector(t, "-r", root) as c:
        for n in range(20):
            line = tree.cri(f"torn {n}")
            wanted.append(f"torn {n}")
            tree.append(log, line[:17 + n])
            time.sleep(random.choice((0.001, 0.02, 0.1)))
            tree.append(log, line[17 + n:])
            t.check(c.wait_lines(n + 1, 3), f"line {n} has not come")
        c.stop()
    t.equal(c.messages(), wanted, "messages")


suite.run()
