#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""What can happen to the name of a log while its writer writes: given back, moved, linked, taken by something else.

In each case the writer never stops; where it is told to reopen, that comes later than the change, so that it writes
into a file whose name is another one or none. Every line must come once and in order, and nothing is counted as lost.
"""
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from lib import account, judge, lanes, lines, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("rotation_names", timeout=tool.scaled(600, 200))
BOTH = ("auto", "off")
ROUNDS = tool.scaled(150, 8)
RATE = 3000
IDENT = "app.0"


class Scene:
    """A log that is written at RATE and followed. log: its path; aside: a directory outside the root."""

    def __init__(self, t, *args):
        self.t, self.root = t, os.path.realpath(t.mkdir("pods"))
        self.aside = t.mkdir("aside")
        self.log = tree.Pod(self.root).log()
        self.dir = os.path.dirname(self.log)
        self.c = Collector(t, "-r", self.root, "--state", "none", *args).ready(self.root)
        self.writer = lines.FileWriter(t, self.log, IDENT, "-r", RATE, "-L", "100:20000")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.__exit__()

    def reopen(self):
        """The writer reopens its log: made anew where the name is free."""
        self.writer.reopen()
        reopened = proc.wait_until(lambda: self.log in proc.open_paths(self.writer.pid), 5)
        self.t.check(reopened, "the writer has not reopened its log")

    def hold(self):
        """The collector has opened what is now at the log's name: only then may it lose its last name."""
        self.t.check(proc.wait_until(lambda: self.log in proc.open_paths(self.c.pid), 10), "the log was not opened")

    def beside(self, k):
        return f"{self.log}.20261121-{k:06d}"

    def verdict(self, foreign=(), strangers=0):
        """foreign: messages of files of other origin, which must have come as well. strangers: pipes and links that
        came and went: when it looks too late, it cannot know that they were no files."""
        j = judge.Judge()
        for (ident, stream), count in self.writer.stop().items():
            j.expect(ident, stream, count)
        self.c.wait_lines(j.expected_lines() + len(foreign))
        self.c.wait_quiet(0.3)
        self.c.stop()
        records = self.c.records()
        others = [r.message for r in records if r.message in foreign]
        problems = j.add_records([r for r in records if r.message not in foreign], lambda r: IDENT).problems()
        if problems:
            self.t.fail(*problems)
        self.t.equal(sorted(others), sorted(foreign), "lines of other files")
        a = account.account(self.c, self.log)
        self.t.note(f"{j.lines} lines; account: {a}")
        self.t.equal((a.lost, a.pending, a.read - a.delivered), (0, 0, 0), "lost, pending, and read but not delivered")
        self.t.equal(set(a.reasons) - {"vanished"}, set(), "reasons")
        self.t.check(a.events("vanished") <= strangers, f"{a.events('vanished')} files counted as vanished")


def pause(k):
    time.sleep((0.0, 0.004, 0.03, 0.1)[k % 4])


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def renamed_back(t):
    """A kubelet whose ReopenContainerLog failed: 0.log has another name for moments and then its own again."""
    with Scene(t) as s:
        for k in range(ROUNDS):
            os.rename(s.log, s.beside(k))
            pause(k)
            os.rename(s.beside(k), s.log)
            pause(k + 1)
        s.verdict()


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def renamed_back_and_then_rotated(t):
    """The second attempt succeeds."""
    with Scene(t) as s:
        for k in range(ROUNDS):
            os.rename(s.log, s.beside(2 * k))
            pause(k)
            os.rename(s.beside(2 * k), s.log)
            pause(k + 1)
            os.rename(s.log, s.beside(2 * k + 1))
            pause(k + 2)
            s.reopen()
        s.verdict()


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def moved_to_another_directory_of_the_root(t):
    """It is still the same container's log, read once, and its successor's lines come after its own."""
    with Scene(t) as s:
        other = os.path.join(s.root, "archive")
        os.mkdir(other)
        for k in range(ROUNDS):
            s.hold()  # else it may be found there first, and be the log of another container
            os.rename(s.log, os.path.join(other, f"old-{k}.log"))
            pause(k)
            s.reopen()
            pause(k + 1)
        s.verdict()


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def moved_out_of_the_root(t):
    """What the writer still writes into it after the move is delivered too."""
    with Scene(t) as s:
        for k in range(ROUNDS):
            s.hold()
            os.rename(s.log, os.path.join(s.aside, str(k)))
            pause(k)
            s.reopen()
            pause(k + 1)
        s.verdict()


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def moved_with_its_directory_and_back(t):
    with Scene(t) as s:
        s.hold()  # else it may be found in the other directory first, and be that log
        for k in range(ROUNDS):
            os.rename(s.dir, s.dir + "-away")
            pause(k)
            os.rename(s.dir + "-away", s.dir)
            pause(k + 1)
        s.verdict()


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def hard_linked(t):
    """A second name inside the root; the first goes; then the second, with a new file at the first."""
    with Scene(t) as s:
        for k in range(ROUNDS):
            s.hold()
            os.link(s.log, s.beside(k))
            pause(k)
            os.unlink(s.log)
            pause(k + 1)
            s.reopen()
            pause(k + 2)
            os.unlink(s.beside(k))
        s.verdict()


def replaced(t, put, take_away, strangers=ROUNDS):
    """put(path, round) puts something else where the log was, while the writer goes on in the renamed or removed file."""
    with Scene(t) as s:
        foreign = []
        for k in range(ROUNDS):
            if k % 2:
                os.rename(s.log, s.beside(k))
            else:
                s.hold()
                os.unlink(s.log)
            foreign += put(s, s.log, k) or []
            pause(k)
            if foreign:
                last = foreign[-1].encode()
                proc.wait_until(lambda: any(last in line for _, line in s.c.lines), 5)
            take_away(s.log)
            s.reopen()
            pause(k + 1)
        s.verdict(foreign, strangers)


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def replaced_by_a_directory(t):
    """And what is in it is a log like any other."""

    def put(s, path, k):
        os.mkdir(path)
        tree.append(os.path.join(path, "inside.log"), tree.cri(f"inside {k}."))
        return [f"inside {k}."]

    def take_away(path):
        os.unlink(os.path.join(path, "inside.log"))
        os.rmdir(path)

    replaced(t, put, take_away, strangers=0)


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def replaced_by_a_fifo(t):
    """It is never opened: a reader would take from whoever it is meant for, and might wait for ever."""

    def put(s, path, k):
        os.mkfifo(path)
        time.sleep(0.02)
        t.check(not any(p == path for p in proc.open_paths(s.c.pid)), "the pipe is open")

    replaced(t, put, os.unlink)


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def replaced_by_a_link_out_of_the_root(t):
    def put(s, path, k):
        secret = os.path.join(s.aside, "secret")
        tree.append(secret, tree.cri("secret"))
        os.symlink(secret, path)

    replaced(t, put, os.unlink)


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def replaced_by_a_link_to_its_own_renamed_file(t):
    """0.log points to the file that was 0.log: one file, read once."""
    with Scene(t) as s:
        for k in range(ROUNDS):
            os.rename(s.log, s.beside(k))
            os.symlink(os.path.basename(s.beside(k)), s.log)
            pause(k)
            os.unlink(s.log)
            s.reopen()
            pause(k + 1)
        s.verdict(strangers=ROUNDS)


@suite.case(bpf=BOTH, timeout=tool.scaled(120, 20))
def all_of_it_while_the_collector_is_stopped(t):
    """It sees the end of each change only, and the file it holds is the same all the time."""
    with Scene(t) as s:
        for k in range(ROUNDS // 2):
            time.sleep(0.05)
            proc.kill(s.c.pid, signal.SIGSTOP)
            os.rename(s.log, s.beside(k))
            os.mkfifo(s.log)
            time.sleep(0.02)
            os.unlink(s.log)
            os.symlink(s.beside(k), s.log)
            time.sleep(0.02)
            os.unlink(s.log)
            os.mkdir(s.log)
            os.rmdir(s.log)
            os.rename(s.beside(k), s.log)
            if k % 2:
                os.rename(s.log, s.beside(k))
                s.reopen()
            proc.kill(s.c.pid, signal.SIGCONT)
        s.verdict(strangers=2 * ROUNDS)


# Partial lines

@suite.case(bpf=BOTH)
def a_partial_line_waits_when_an_older_generation_goes(t):
    """0.log.1 with a P at its end is drained, 0.log is not there yet, and 0.log.0 goes: the F is still to come."""
    root = os.path.realpath(t.mkdir("pods"))
    log = tree.Pod(root).log()
    with Collector(t, "-r", root, "--state", "none") as c:
        c.ready(root)
        tree.append(log, tree.cri("oldest"))
        t.check(c.wait_lines(1), "the first line has not come")
        os.rename(log, log + ".20261121-000000")
        tree.append(log, tree.cri("older"), tree.cri("one-", tag="P"), tree.cri("err-", stream="stderr", tag="P"))
        t.check(c.wait_lines(2), "the second line has not come")
        os.rename(log, log + ".20261121-000001")
        time.sleep(0.5)
        os.unlink(log + ".20261121-000000")
        time.sleep(0.5)
        tree.append(log, tree.cri("two"), tree.cri("or", stream="stderr"))
        c.wait_lines(4)
        time.sleep(0.2)
        c.stop()
        t.equal(c.messages(), ["oldest", "older", "one-two", "err-or"], "messages")


lanes.run(suite, tool.scaled(1, 3))
