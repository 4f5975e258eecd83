#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real conmon with a small size limit: it renames a new file over 0.log, and the old one has no name any more.

Whatever of it was not read at that moment is only to be had through a descriptor that was opened before. A file that
comes and goes while the collector cannot look is not to be had at all: it is counted.
"""
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from lib import account, conmon, fast, judge, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("rotation_conmon", timeout=tool.scaled(600, 60))
BOTH = ("auto", "off")
SECONDS = tool.scaled(30, 3)


def needs_conmon(t):
    why = conmon.missing()
    if why:
        t.skip(why)


def start(t, root, ident, count, *args, size_max, number=0):
    """A container whose name is ident without its ".0", in a pod of its own."""
    log = tree.Pod(root, name=f"pod-{number}", number=number).log(ident.rpartition(".")[0])
    command = [tool.helper("writer"), "-n", str(count), *map(str, args), ident]
    return conmon.Conmon(t.dir, ident, log, command, size_max=size_max), log


def replaced(t, writers, size_max, reader_args=(), replacements=0):
    """writers: {id: arguments of writer.c}. Everything is delivered and nothing counted as lost."""
    needs_conmon(t)
    root, wanted, running = t.mkdir("pods"), {}, []
    reader = fast.Reader(t, *reader_args)
    with Collector(t, "-r", root, "--state", "none", out=reader.stdin) as c:
        fast.ready(c, root)
        for n, (ident, (count, *args)) in enumerate(writers.items()):
            running.append(start(t, root, ident, count, *args, size_max=size_max, number=n))
            wanted.update({(ident, "o"): count, (ident, "e"): count})
        for m, _ in running:
            m.wait(10 * SECONDS)
        reader.finish(c, wanted)
        account.nothing_lost(c, *(log for _, log in running))
        rotations = [account.account(c, log).rotations for _, log in running]
    t.note(f"{sum(wanted.values())} lines, replaced {rotations} times")
    t.check(min(rotations) >= replacements, f"replaced only {rotations} times, wanted {replacements} at least")


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def many_times_a_second(t):
    """Three containers, each replaces its file about ten times a second; now and then a line of several pieces."""
    args = (3000 * SECONDS, "-r", 3000, "-L", "200:40000")
    replaced(t, {f"c{n}.0": args for n in range(3)}, 200_000, replacements=4 * SECONDS)


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def full_load(t):
    """As fast as conmon takes it, a file of 2 MB after the other."""
    replaced(t, {"c0.0": (120000 * SECONDS, "-L", "500:40000")}, 2_000_000, replacements=4 * SECONDS)


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def while_the_reader_stalls(t):
    """Nobody reads for seconds while the file is replaced: all of them are held, and delivered afterwards."""
    args = (5000 * SECONDS, "-r", 5000, "-L", "200:40000")
    replaced(t, {"c0.0": args}, 500_000, reader_args=("-p", str(SECONDS + 1)), replacements=2 * SECONDS)


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def while_the_collector_is_stopped(t):
    """Files come and go unseen: their lines are missing in whole runs, and so many files are counted."""
    needs_conmon(t)
    root = t.mkdir("pods")
    j, rate, count = judge.Judge(), 6000, 6000 * SECONDS
    j.expect("c0.0", "oe", count)
    with Collector(t, "-r", root, "--state", "none") as c:
        c.ready(root)
        m, log = start(t, root, "c0.0", count, "-r", rate, size_max=300_000)
        unseen = set()
        for _ in range(2 * SECONDS - 1):
            time.sleep(0.25)
            proc.kill(c.pid, signal.SIGSTOP)
            unseen |= inodes_that_come_and_go(log, 0.25)
            proc.kill(c.pid, signal.SIGCONT)
        m.wait(10 * SECONDS)
        c.wait_quiet()
        c.stop()
        problems = [p for p in j.add_records(c.records()).problems() if ": lost " not in p]
        if problems:
            t.fail(*problems)
        a = account.account(c, log)
        runs = {s: len(j.track("c0.0", s).lost()) for s in "oe"}
        t.note(f"{len(unseen)} files came and went unseen; runs of missing lines {runs}; account: {a}")
        t.check(unseen and max(runs.values()), "no file came and went: the case has shown nothing")
        t.check(a.events("vanished", "rotated_away") >= len(unseen), f"{len(unseen)} files at least vanished: {a}")
        t.equal(a.delivered + a.pending, a.read, "delivered + pending, of what was read")


def inodes_that_come_and_go(log, seconds):
    """The inodes that had that name in this time, without the first, which is held, and the last, which is there.

    Some are missed, and an inode that is used again counts once: at least so many files came and went.
    """
    seen, end_at = [], time.monotonic() + seconds
    while time.monotonic() < end_at:
        try:
            inode = os.stat(log).st_ino
        except FileNotFoundError:
            continue
        if inode not in seen:
            seen.append(inode)
        time.sleep(0.002)
    return set(seen[1:-1])


suite.run()
