#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Files that are truncated while the collector does not look, and have grown again when it does.

The size alone tells nothing once the file is larger than the old offset; the bytes before the offset do, and the
counters of the kernel say how much was written in between. What was there unread is gone: it is counted, to the byte
where the kernel counts what a writer appends, else as far as the size had been seen.
"""
import os
import random
import re
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from lib import account, fast, judge, lanes, lines, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("rotation_truncated", timeout=tool.scaled(600, 200))
BOTH = ("auto", "off")
ROUNDS = tool.scaled(150, 10)
NO_APPEND = os.O_WRONLY | os.O_CREAT


def follow(t, *args, **more):
    """(a log that is followed, its collector)"""
    root = os.path.realpath(t.mkdir("pods"))
    log = lines.Log(tree.Pod(root).log(), **more)
    return log, Collector(t, "-r", root, "--state", "none", *args).ready(root)


class Stopped:
    """with: the collector does not run."""

    def __init__(self, c):
        self.c = c

    def __enter__(self):
        proc.kill(self.c.pid, signal.SIGSTOP)

    def __exit__(self, *_):
        proc.kill(self.c.pid, signal.SIGCONT)


def come(t, c, count, what):
    t.check(c.wait_lines(count, 8), f"{what}: {len(c.lines)} lines of {count} have come")


def verdict(t, c, log, gone):
    """Missing are exactly these numbers. Gives the account."""
    c.stop()
    j = log.expect(judge.Judge()).add_records(c.records())
    problems = [p for p in j.problems() if ": lost " not in p]
    missing = log.missing(j)
    if missing != gone:
        problems.append(f"missing {len(missing)}, should be {len(gone)}: not missing {sorted(gone - missing)[:4]}, "
                        f"missing beside them {sorted(missing - gone)[:4]}")
    if problems:
        t.fail(*problems)
    a = account.account(c, log.path)
    t.note(f"account: {a}; missing {log.bytes_of(gone)} bytes")
    t.equal(set(a.reasons) - {"truncated"}, set(), "other reasons")
    return a


def truncated(t, c, a, times, lost, known=0):
    """So often was it noticed, and lost bytes are counted, or with --bpf off at least what was known of them."""
    if t.bpf == "off":
        times = times * 3 // 4  # two between two looks at the size are one
    noticed = re.search(r"(\d+) truncations", c.stderr())
    t.check(times <= int(noticed[1] if noticed else 0), f"{noticed and noticed[1]} truncations noticed, wanted {times}")
    t.check(bool(a.lost) == bool(a.events("truncated")), f"bytes without events or events without bytes: {a}")
    if t.bpf == "off":
        t.check(known <= a.lost <= lost, f"{a.lost} bytes lost; {known} were known, {lost} there were")
    else:
        t.equal(a.lost, lost, "bytes lost")


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def regrown_between_two_looks(t):
    """To less than the offset, to a little more, past what was unread, and far beyond."""
    log, c = follow(t)
    choice = random.Random(6)
    gone, delivered = set(), 0
    with c:
        for k in range(ROUNDS):
            delivered += len(log.write(40 + choice.randrange(60), "x" * choice.randrange(1, 80)))
            come(t, c, delivered, f"round {k}, before")
            with Stopped(c):
                before = os.fstat(log.fd).st_size
                gone |= log.write(choice.randrange(50), "unread")
                unread = os.fstat(log.fd).st_size - before
                log.truncate()
                while os.fstat(log.fd).st_size < (before // 2, before, before + unread, 3 * before)[k % 4]:
                    delivered += len(log.write(1, f"round {k}"))
            come(t, c, delivered, f"round {k}, after")
        truncated(t, c, verdict(t, c, log, gone), ROUNDS, log.bytes_of(gone))


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def truncated_several_times_between_two_looks(t):
    """What was written between two truncations is gone unseen: only the counters know of it."""
    log, c = follow(t)
    gone, delivered = set(), 0
    with c:
        for k in range(ROUNDS):
            delivered += len(log.write(50))
            come(t, c, delivered, f"round {k}, before")
            with Stopped(c):
                for n in (10, 90):
                    gone |= log.write(n)
                    log.truncate()
                delivered += len(log.write(80, "after"))
            come(t, c, delivered, f"round {k}, after")
        truncated(t, c, verdict(t, c, log, gone), ROUNDS, log.bytes_of(gone))


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def truncated_while_the_sink_is_blocked(t):
    """The collector has seen the size but could not read: what it knew of is counted also without counters."""
    root = os.path.realpath(t.mkdir("pods"))
    log = lines.Log(tree.Pod(root).log())
    old = log.write(tool.scaled(60000, 6000))
    with Collector(t, "-r", root, "--state", "none", "--batches", "2", "--batch-bytes", "4Ki", out="stalled") as c:
        fast.ready(c, root)
        time.sleep(0.5)
        seen = os.fstat(log.fd).st_size
        with Stopped(c):
            old |= log.write(500, "unseen")
            log.truncate()
            while os.fstat(log.fd).st_size < seen + 100000:
                log.write(100, "new")
        log.close()
        c.read_on()
        c.wait_lines(1)
        c.wait_quiet(1)
        gone = old - {judge.parse(m)[1:3] for m in c.messages()}
        t.check(gone, "everything was read before the truncation: the case has shown nothing")
        a = verdict(t, c, log, gone)
        read = log.bytes_of(old - gone)
        truncated(t, c, a, 1, log.bytes_of(gone), seen - read)
        t.equal(a.events("truncated"), 1, "times truncated")


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def truncated_under_load(t):
    """A writer that never pauses, truncated at any moment: missing lines lie before truncations and are counted."""
    log, c = follow(t)
    cuts = []  # marks: what was made before each truncation
    with c:
        end_at = time.monotonic() + tool.scaled(15, 1)
        choice = random.Random(7)
        while time.monotonic() < end_at:
            for _ in range(choice.randrange(20, 2000)):
                log.write(1, "load")
            log.truncate()
            cuts.append(log.at())
        log.write(10, "last")
        c.wait_quiet(0.5)
        c.stop()
        j = log.expect(judge.Judge()).add_records(c.records())
        missing = log.missing(j)
        problems = [p for p in j.problems() if ": lost " not in p]
        for s in log.streams:
            ends = {cut[s] for cut in cuts}
            problems += [f"{s}: missing {a}-{b}, not before a truncation" for a, b in j.track(log.ident, s).lost()
                         if b + 1 not in ends]
        if problems:
            t.fail(*problems)
        a = account.account(c, log.path)
        t.note(f"{len(cuts)} truncations, {log.total()} lines, missing {len(missing)}, {log.bytes_of(missing)} bytes; account: {a}")
        runs = max(len(j.track(log.ident, s).lost()) for s in log.streams)
        truncated(t, c, a, runs, log.bytes_of(missing))


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def a_hole_before_each_new_line(t):
    """A writer that does not append goes on at its old position: the NULs are skipped, each line comes whole."""
    log, c = follow(t, flags=NO_APPEND)
    delivered = 0
    choice = random.Random(8)
    with c:
        for k in range(ROUNDS):
            delivered += len(log.write(1 + choice.randrange(300), "x" * choice.randrange(1, 400)))
            come(t, c, delivered, f"round {k}, before")
            log.truncate()
            if k % 2:
                time.sleep(0.02)
        delivered += len(log.write(1))
        come(t, c, delivered, "after the last truncation")
        t.equal(verdict(t, c, log, set()).lost, 0, "bytes lost")


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def a_hole_that_grows_unseen(t):
    """The same while the collector is stopped: the file is larger than the offset, and NULs lie before it."""
    log, c = follow(t, flags=NO_APPEND)
    delivered = 0
    with c:
        for k in range(ROUNDS):
            delivered += len(log.write(100, "x" * (k % 5) * 1000))
            come(t, c, delivered, f"round {k}, before")
            with Stopped(c):
                log.truncate()
                delivered += len(log.write(1 + k * 30))
            come(t, c, delivered, f"round {k}, after")
        t.equal(verdict(t, c, log, set()).lost, 0, "bytes lost")


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def holes_under_load(t):
    """A writer that neither appends nor pauses, truncated by somebody else: nothing torn, repeated or out of order."""
    log, c = follow(t, flags=NO_APPEND)
    stop, cuts = threading.Event(), [0]

    def truncate():
        while not stop.wait(0.05):
            os.truncate(log.path, 0)
            cuts[0] += 1

    with c:
        thread = threading.Thread(target=truncate)
        thread.start()
        try:
            end_at = time.monotonic() + tool.scaled(15, 1)
            while time.monotonic() < end_at:
                log.write(1, "load" * 20)
        finally:
            stop.set()
            thread.join()
        last = log.write(20, "last")
        c.wait_quiet(0.5)
        c.stop()
        j = log.expect(judge.Judge()).add_records(c.records())
        missing = log.missing(j)
        problems = [p for p in j.problems() if ": lost " not in p]
        if problems:
            t.fail(*problems)
        a = account.account(c, log.path)
        t.note(f"{log.total()} lines, missing {len(missing)}, {log.bytes_of(missing)} bytes; account: {a}")
        t.check(not last & missing, "lines after the last truncation are missing")
        if t.bpf != "off":  # a hole ends within a block: its NULs are known to a block
            off = abs(a.lost - log.bytes_of(missing))
            t.check(off <= 8192 * cuts[0], f"{a.lost} bytes lost, {log.bytes_of(missing)} are missing")


lanes.run(suite, tool.scaled(1, 3))
