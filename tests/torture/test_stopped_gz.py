#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""While hotdrain is stopped, files become gz: whole, broken, half written, or beside what they were made of."""
import gzip
import os
import random
import sys
import time
import zlib

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import runs  # noqa: E402
from lib import lanes, tap, tool  # noqa: E402
from stopped import BOTH, CHECKPOINT_S, KILL, Log, counted, nothing_lost, same  # noqa: E402

suite = tap.Suite("stopped gz", timeout=110)


# Compressed

def gzipped(t, naming, first, unread):
    """The unread rest is only in a gz; another generation was born and compressed meanwhile; the newest is plain."""
    log = Log(t, naming)
    log.first_run(first)
    wanted = log.write(unread)
    log.rotate()
    wanted += log.write(50)
    log.compress()
    log.rotate()
    wanted += log.write(50)
    log.compress()
    log.rotate()
    wanted += log.write(20)
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_while_stopped(t):
    gzipped(t, "kubelet", 200, 100)


@suite.case(bpf=BOTH)
def gzipped_while_stopped_numbered_names(t):
    gzipped(t, "logrotate", 200, 100)


@suite.case(bpf=BOTH)
def gzipped_while_stopped_at_a_large_offset(t):
    gzipped(t, "kubelet", 20000, 5000)


@suite.case(bpf=BOTH)
def gzipped_while_stopped_nothing_unread(t):
    """What was read to its end is not read again in its gz."""
    log = Log(t)
    log.first_run(200)
    log.rotate()
    wanted = log.write(50)
    log.compress()
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_and_only_the_gz_is_left(t):
    """The container has ended: no live file any more."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    log.rotate()
    log.compress()
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_while_stopped_after_a_kill(t):
    log = Log(t)
    log.first_run(200, sig=KILL, settle=CHECKPOINT_S)
    wanted = log.write(100)
    log.rotate()
    wanted += log.write(50)
    log.compress()
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_in_several_members(t):
    """As pigz or a concatenation of gz files has it: the rest lies across a member's end."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        for n in range(0, len(data), 5000):
            f.write(gzip.compress(data[n:n + 5000]))
    os.unlink(path)
    nothing_lost(t, log.rest(wanted + log.write(50)))


@suite.case(bpf=BOTH)
def a_killed_run_that_read_a_gz_goes_on_inside_it(t):
    """Stopped again while only part of the gz has been delivered."""
    log = Log(t)
    log.first_run(100)
    wanted = log.write(20000, pad=300)
    log.rotate()
    log.compress()
    wanted += log.write(10)
    with runs.start(t, log.root, out="stalled") as c:
        time.sleep(2.0)
        runs.killed(c)
        c.read_on()
        c.thread.join(5)
    first = c.messages()
    same(t, first, wanted[:len(first)], "messages of the killed run")
    c = runs.run(t, log.root, len(wanted) - len(first))
    same(t, c.messages(), wanted[len(wanted) - len(c.lines):])
    t.check(len(c.lines) >= len(wanted) - len(first), f"{len(first)} and {len(c.lines)} of {len(wanted)}")
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH, timeout=40)
def gzipped_just_before_the_stop(t):
    """Read to its end, compressed and removed within the last milliseconds: the gz is not taken for a new one."""
    log, got, wanted = Log(t), [], []
    rng = random.Random(1)
    for _ in range(tool.scaled(100, 15)):
        with runs.start(t, log.root) as c:
            texts = log.write(50)
            wanted += texts
            c.wait_lines(50)
            log.rotate()
            wanted += log.write(1)
            c.wait_lines(51)
            log.compress()
            time.sleep(rng.random() * 0.003)
            got += c.stop().messages()
    same(t, got + runs.run(t, log.root, 0).messages(), wanted, "messages of all runs")


# A gz that is not whole

def gz_broken_at(data, at):
    """A gz whose first at bytes can be inflated, and not one more: behind a full flush comes a block of no type."""
    z = zlib.compressobj(6, zlib.DEFLATED, 31)
    return z.compress(data[:at]) + z.flush(zlib.Z_FULL_FLUSH) + b"\x07" + random.Random(1).randbytes(4000)


def broken(t, make, exact):
    """make(data): the broken gz. A prefix of the rest comes, then the live file; what is missing is counted."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(300)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        f.write(make(data))
    os.unlink(path)
    live = log.write(50)
    c = runs.run(t, log.root, exact + 50 if exact is not None else 50, settle=1.0)
    got = c.messages()
    same(t, got[-50:], live, "messages of the live file")
    if exact is None and got[-51:-50] and wanted[len(got) - 51].startswith(got[-51]):
        got[-51] = wanted[len(got) - 51]  # the last line may be cut short, as the gz is
    same(t, got[:-50], wanted[:len(got) - 50], "messages that could be inflated")
    if exact is not None:
        t.equal(len(got) - 50, exact, "lines that could be inflated")
    t.check(len(got) < 350, "everything came out of a broken gz")
    losses = runs.losses(c)
    if exact == 0:  # nobody can say that it was the file that was being read
        losses.pop("rotated_away", None)
    counted(t, losses, "gz_corrupt")
    t.note(f"{len(got) - 50} of 300 lines came; {runs.losses(c)}")
    runs.read_nothing_more(t, log.root)


def line_end(data, lines):
    at = 0
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return at


@suite.case(bpf=BOTH)
def gz_corrupt_behind_the_offset(t):
    broken(t, lambda data: gz_broken_at(data, line_end(data, 350)), exact=150)


@suite.case(bpf=BOTH)
def gz_corrupt_within_a_line(t):
    """The piece of a line that can be inflated is no line; the last whole ones come."""
    log_lines = 350

    def make(data):
        return gz_broken_at(data, line_end(data, log_lines) + 20)

    log = Log(t)
    log.first_run(200)
    wanted = log.write(300)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        f.write(make(data))
    os.unlink(path)
    live = log.write(50)
    c = runs.run(t, log.root, 200, settle=1.0)
    whole = [m for m in c.messages() if len(m) == len(wanted[0])]
    same(t, whole, wanted[:150] + live, "whole messages")
    t.check(len(c.lines) - len(whole) <= 1, f"{len(c.lines) - len(whole)} pieces")
    counted(t, runs.losses(c), "gz_corrupt")
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_corrupt_before_the_offset(t):
    """Where reading stopped cannot be reached: none of it comes, and it is counted."""
    broken(t, lambda data: gz_broken_at(data, line_end(data, 100)), exact=0)


@suite.case(bpf=BOTH)
def gz_cut_short(t):
    broken(t, lambda data: gzip.compress(data)[:-200], exact=None)


@suite.case(bpf=BOTH)
def gz_without_its_last_bytes(t):
    """All data is there, the checksum is not: every line comes."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(300)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        f.write(gzip.compress(data)[:-8])
    os.unlink(path)
    losses = log.rest(wanted + log.write(50), settle=1.0)
    t.check(set(losses) <= {"gz_corrupt"} and sum(b for b, _ in losses.values()) == 0, f"losses {losses}")


@suite.case(bpf=BOTH)
def gz_that_is_no_gz(t):
    broken(t, lambda data: b"this is no gz\n" * 100, exact=0)


@suite.case(bpf=BOTH)
def gz_empty(t):
    broken(t, lambda data: b"", exact=0)


@suite.case(bpf=BOTH)
def gz_and_its_source_are_both_there(t):
    """gzip had just written the gz, and not yet removed what it made it of: each line once."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as source, gzip.open(path + ".gz", "wb") as target:
        target.write(source.read())
    wanted += log.write(50)
    c = runs.start(t, log.root)
    with c:
        c.wait_lines(150)
        time.sleep(0.3)
        os.unlink(path)
        wanted += log.write(20)
        c.wait_lines(170)
        time.sleep(0.5)
        c.stop()
    same(t, c.messages(), wanted)
    nothing_lost(t, runs.losses(c))
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_and_its_source_both_there_and_both_unknown(t):
    """Both were born while hotdrain was stopped: each line once."""
    log = Log(t)
    log.first_run(200)
    log.rotate()
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as source, gzip.open(path + ".gz", "wb") as target:
        target.write(source.read())
    nothing_lost(t, log.rest(wanted + log.write(50)))


@suite.case(bpf=BOTH)
def gz_half_written_beside_its_source(t):
    """Old kubelets show the name before the gz is complete. It is completed, and its source removed, later."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(2000)
    path = log.rotate()
    with open(path, "rb") as f:
        data = gzip.compress(f.read())
    with open(path + ".gz", "wb") as f:
        f.write(data[:len(data) // 2])
    wanted += log.write(50)
    with runs.start(t, log.root) as c:
        c.wait_lines(2050)
        with open(path + ".gz", "ab") as f:
            f.write(data[len(data) // 2:])
        os.unlink(path)
        wanted += log.write(20)
        c.wait_lines(2070)
        time.sleep(0.5)
        c.stop()
    same(t, c.messages(), wanted)
    nothing_lost(t, runs.losses(c))
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_still_being_written(t):
    """Its source is gone already. Either the rest is waited for, or what is missing is counted; nothing twice."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(2000)
    path = log.rotate()
    with open(path, "rb") as f:
        data = gzip.compress(f.read())
    os.unlink(path)
    with open(path + ".gz", "wb", buffering=0) as f:
        f.write(data[:len(data) // 2])
        live = log.write(50)
        with runs.start(t, log.root) as c:
            for n in range(len(data) // 2, len(data), 500):
                time.sleep(0.05)
                f.write(data[n:n + 500])
            f.close()
            c.wait_lines(2050, 8)
            time.sleep(0.5)
            c.stop()
    got = c.messages()
    same(t, got[-50:], live, "messages of the live file")
    same(t, got[:-50], wanted[:len(got) - 50], "messages of the gz")
    t.note(f"{len(got) - 50} of 2000 lines came out of the growing gz; {runs.losses(c)}")
    if len(got) == 2050:
        nothing_lost(t, runs.losses(c))
    else:
        counted(t, runs.losses(c), "gz_corrupt")
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_tmp_is_nobodys_business(t):
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as source, open(path + ".tmp", "wb") as target:
        target.write(gzip.compress(source.read())[:500])
    nothing_lost(t, log.rest(wanted + log.write(50)))


if __name__ == "__main__":
    lanes.run(suite, 6)
