#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
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

suite = tap.Suite("rotation_conmon", timeout=tool.scaled(1800, 300))
BOTH = ("auto", "off")
MISSED = ("vanished", "rotated_away")
SECONDS = tool.scaled(30, 2)


def needs_conmon(t):
    why = conmon.missing()
    if why:
        t.skip(why)


def start(t, root, ident, count, *args, size_max, number=0):
    """A container whose name is ident without its ".0", in a pod of its own."""
    log = tree.Pod(root, name=f"pod-{number}", number=number).log(ident.rpartition(".")[0])
    command = [tool.helper("writer"), "-n", str(count), *map(str, args), ident]
    return conmon.Conmon(t.dir, ident, log, command, size_max=size_max), log


def replaced(t, writers, size_max, reader_args=()):
    """writers: {id: arguments of writer.c}. Everything is delivered; on a machine so busy that a file came and went
    before the collector had its turn, that file is missing as a whole and counted."""
    needs_conmon(t)
    root, running = t.mkdir("pods-" + next(iter(writers))), {}
    reader = fast.Reader(t, *reader_args)
    with Collector(t, "-r", root, "--state", "none", out=reader.stdin) as c:
        fast.ready(c, root)
        for n, (ident, (count, *args)) in enumerate(writers.items()):
            running[ident] = start(t, root, ident, count, *args, size_max=size_max, number=n)
        for m, _ in running.values():
            m.wait(20 * SECONDS)
        wanted = 2 * sum(count for count, *_ in writers.values())
        proc.wait_until(lambda: reader.lines() >= wanted, tool.scaled(60, 5), step=0.1)
        c.stop(timeout=30)
    reader.result()
    t.equal([key for key, counts in reader.counts.items() if counts[2:] != (0, 0)], [], "streams with repeats, or out of order")
    counted = 0
    for ident, (_, log) in running.items():
        a, count = account.account(c, log), writers[ident][0]
        missing = 2 * count - sum(reader.counts.get((ident, s), (0,))[0] for s in "oe")
        counted += a.events(*MISSED)
        t.note(f"{ident}: {2 * count} lines, missing {missing}; account: {a}")
        t.equal(bool(a.events(*MISSED)), bool(missing), f"files counted, and lines missing, of {ident}")
        t.check(missing < count, f"{missing} lines of {2 * count} of {ident} are missing")
        t.equal((a.pending, a.read - a.delivered), (0, 0), f"pending, and read but not delivered, of {ident}")
        t.check(a.rotations + a.events(*MISSED) >= 2 * SECONDS, f"replaced only {a.rotations} times")
    # A line that lost its P or its F with a missing file is delivered as what is left of it.
    most = 4 * counted
    t.check(reader.total[2] <= most and reader.total[3] <= most, f"torn {reader.total[2]}, foreign {reader.total[3]}")
    return counted


@suite.case(bpf=BOTH, timeout=20 * SECONDS)
def many_times_a_second(t):
    """Three containers, each replaces its file about ten times a second; now and then a line of several pieces."""
    replaced(t, {f"c{n}.0": (3000 * SECONDS, "-r", 3000, "-L", "200:40000") for n in range(3)}, 200_000)


@suite.case(bpf=BOTH, timeout=20 * SECONDS)
def full_load(t):
    """As fast as conmon takes it, a file of 2 MB after the other."""
    replaced(t, {"c0.0": (100000 * SECONDS, "-L", "500:40000")}, 2_000_000)


@suite.case(bpf=BOTH, timeout=20 * SECONDS + 60)
def while_the_reader_stalls(t):
    """Nobody reads for seconds while the file is replaced: all of them are held, and delivered afterwards.

    If some came and went before the collector had its turn, all is done again with a writer half as fast.
    """
    for n in range(4):
        counted = replaced(t, {f"c{n}.0": (5000 * SECONDS, "-r", 5000 >> n, "-L", "200:40000")}, 500_000,
                           ("-p", str((SECONDS << n) + 1)))
        if not counted:
            return
    t.fail(f"{counted} files counted, although one lives for a second")


@suite.case(bpf=BOTH, timeout=20 * SECONDS + 20)
def while_the_collector_is_stopped(t):
    """Files come and go unseen: their lines are missing in whole runs, and so many files are counted."""
    needs_conmon(t)
    root = t.mkdir("pods")
    j, rate, count = judge.Judge(), 6000, 12000 * SECONDS
    j.expect("c0.0", "oe", count)
    with Collector(t, "-r", root, "--state", "none") as c:
        c.ready(root)
        m, log = start(t, root, "c0.0", count, "-r", rate, size_max=100_000)
        unseen = set()
        for _ in range(2 * SECONDS):
            time.sleep(0.25)
            proc.kill(c.pid, signal.SIGSTOP)
            unseen |= inodes_that_come_and_go(log, m)
            proc.kill(c.pid, signal.SIGCONT)
        m.wait(10 * SECONDS + 10)
        c.wait_quiet()
        c.stop()
        problems = j.add_records(c.records()).problems()
        problems = [p for p in problems if ": lost " not in p and not p.startswith("torn ")]
        if problems:
            t.fail(*problems)
        a = account.account(c, log)
        runs = {s: len(j.track("c0.0", s).lost()) for s in "oe"}
        t.note(f"{len(unseen)} files came and went unseen; runs of missing lines {runs}; account: {a}")
        t.check(unseen and max(runs.values()), "no file came and went: the case has shown nothing")
        t.check(a.events(*MISSED) >= len(unseen), f"{len(unseen)} files at least vanished: {a}")
        t.equal((a.pending, a.read - a.delivered), (0, 0), "pending, and read but not delivered")
        glued = [m for m in j.torn if m.count("c0.0 ") > 1]
        t.equal(glued, [], "lines made of pieces of two")


def inodes_that_come_and_go(log, m):
    """The inodes that had that name, without the first, which is held, and the last, which is there.

    Some are missed, and an inode that is used again counts once: at least so many files came and went. It takes a
    quarter of a second, and longer until there is one.
    """
    seen, end_at = [], time.monotonic() + 0.25
    while time.monotonic() < end_at or len(seen) < 3 and not os.path.exists(m.exit_file):
        try:
            inode = os.stat(log).st_ino
        except FileNotFoundError:
            continue
        if inode not in seen:
            seen.append(inode)
        time.sleep(0.002)
    return set(seen[1:-1])


suite.run()
