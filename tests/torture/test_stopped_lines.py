#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lines that are not complete when hotdrain stops or is killed: each is delivered once, whole."""
import os
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import runs  # noqa: E402
from lib import lanes, tap, tree  # noqa: E402
from stopped import BOTH, CHECKPOINT_S, KILL, TERM, Log, same  # noqa: E402

suite = tap.Suite("stopped lines", timeout=110)


def messages_of(t, root, count, *args, **more):
    return runs.run(t, root, count, *args, **more).messages()


def partial_across(t, sig, between=None):
    """Pieces of both streams before the stop, their ends after it: one message each, once."""
    log = Log(t)
    tree.append(log.path, tree.cri("whole"), tree.cri("one ", tag="P"), tree.cri("1st ", stream="stderr", tag="P"),
                tree.cri("two ", tag="P"))
    t.equal(messages_of(t, log.root, 1, sig=sig, settle=CHECKPOINT_S if sig == KILL else 0.4), ["whole"], "first run")
    if between:
        between(log)
    tree.append(log.path, tree.cri("2nd", stream="stderr"), tree.cri("three"), tree.cri("next"))
    same(t, messages_of(t, log.root, 3), ["1st 2nd", "one two three", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_restart(t):
    partial_across(t, TERM)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_kill(t):
    partial_across(t, KILL)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_restart_and_a_rotation(t):
    """P ends the file that was rotated while nobody ran, F begins the next one."""
    partial_across(t, TERM, Log.rotate)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_kill_and_a_rotation(t):
    partial_across(t, KILL, Log.rotate)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_restart_and_a_gz(t):
    partial_across(t, TERM, lambda log: (log.rotate(), log.compress()))


def partial_rotated_while_running(t, sig):
    """P ends a file, it is rotated and the run sees that, then it ends before the F comes."""
    log = Log(t)
    with runs.start(t, log.root) as c:
        tree.append(log.path, tree.cri("whole"), tree.cri("one ", tag="P"))
        t.check(c.wait_lines(1), "the first line has not come")
        time.sleep(0.2)
        log.rotate()
        tree.append(log.path, tree.cri("other stream", stream="stderr"))
        t.check(c.wait_lines(2), "the line behind the rotation has not come")
        time.sleep(CHECKPOINT_S if sig == KILL else 0.2)
        runs.killed(c) if sig == KILL else c.stop()
    t.equal(c.messages(), ["whole", "other stream"], "messages of the first run")
    tree.append(log.path, tree.cri("two"), tree.cri("next"))
    got = messages_of(t, log.root, 2)
    if got[:1] == ["other stream"] and sig == KILL:
        got = got[1:]
        t.note("the other stream's line came again")
    same(t, got, ["one two", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_rotation_and_a_restart(t):
    partial_rotated_while_running(t, TERM)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_rotation_and_a_kill(t):
    partial_rotated_while_running(t, KILL)


def torn_tail(t, sig, rotate=False):
    """A line without its newline, as conmon's writev leaves it: its rest comes after the start."""
    log = Log(t)
    whole = tree.cri("a line that is torn")
    tree.append(log.path, tree.cri("whole"), whole[:-9])
    t.equal(messages_of(t, log.root, 1, sig=sig, settle=CHECKPOINT_S if sig == KILL else 0.4), ["whole"], "first run")
    tree.append(log.path, whole[-9:])
    if rotate:
        log.rotate()
    tree.append(log.path, tree.cri("next"))
    same(t, messages_of(t, log.root, 2), ["a line that is torn", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def a_torn_tail_across_a_restart(t):
    torn_tail(t, TERM)


@suite.case(bpf=BOTH)
def a_torn_tail_across_a_kill(t):
    torn_tail(t, KILL)


@suite.case(bpf=BOTH)
def a_torn_tail_across_a_restart_and_a_rotation(t):
    torn_tail(t, TERM, rotate=True)


@suite.case(bpf=BOTH)
def a_torn_tail_that_nobody_completes(t):
    """The writer died within a line while hotdrain was stopped; the next generation follows."""
    log = Log(t)
    tree.append(log.path, tree.cri("whole"), tree.cri("a line that is torn")[:-9])
    t.equal(messages_of(t, log.root, 1), ["whole"], "first run")
    log.rotate()
    tree.append(log.path, tree.cri("next"))
    same(t, messages_of(t, log.root, 2), ["a line that", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case()
def without_a_state_directory_what_is_pending_is_delivered(t):
    """Nobody will come back for it."""
    log = Log(t)
    tree.append(log.path, tree.cri("whole"), tree.cri("one ", tag="P"), tree.cri("1st", stream="stderr", tag="P"))
    with runs.start(t, log.root, state="none") as c:
        c.wait_lines(1)
        time.sleep(0.3)
        c.stop()
    t.equal(sorted(c.messages()), ["1st", "one ", "whole"], "messages")


if __name__ == "__main__":
    lanes.run(suite, 6)
