#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Real logrotate, ten times a second, in each of its ways, while a writer writes.

With create and nocreate every line must come. copytruncate loses what is written between its copy and its truncation,
so there the writer pauses for it; or it does not, and the missing bytes must be those that are counted as lost.
"""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from lib import account, fast, judge, lanes, lines, logrotate, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("rotation_logrotate", timeout=tool.scaled(900, 200))
BOTH = ("auto", "off")
IDENT = "app.0"
SECONDS = tool.scaled(30, 2)
RATE = 15000  # of each stream: with its judge and logrotate about what two cores do
PIECE_MAX = 400  # bytes of a line


def needs_logrotate(t):
    why = logrotate.missing()
    if why:
        t.skip(why)


def rotate_on(rotator, each):
    """How often it could be done in the time of a case: twice at least."""
    end_at, rotations = time.monotonic() + SECONDS, 0
    while time.monotonic() < end_at or rotations < 2:
        time.sleep(each)
        rotator.rotate()
        rotations += 1
    return rotations


def exact(t, directives, each=0.1, before="", after="kill -HUP {pid}", rate=RATE):
    """Everything is delivered once and nothing counted as lost."""
    needs_logrotate(t)
    root, reader = t.mkdir("pods"), fast.Reader(t)
    log = tree.Pod(root).log()
    with Collector(t, "-r", root, "--state", "none", out=reader.stdin) as c:
        fast.ready(c, root)
        writer = lines.FileWriter(t, log, IDENT, "-r", rate)
        rotator = logrotate.Logrotate(t.dir, log, directives, before=before.format(pid=writer.pid),
                                      after=after.format(pid=writer.pid))
        rotations = rotate_on(rotator, each)
        wanted = writer.stop()
        reader.finish(c, wanted, tool.scaled(60, 10))
        account.nothing_lost(c, log)
        a = account.account(c, log)
    t.note(f"{sum(wanted.values())} lines, {rotations} rotations")
    return a, rotations


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 20)
def create(t):
    a, rotations = exact(t, ["rotate 4", "create 0640 root root"])
    t.equal(a.rotations, rotations, "rotations seen")


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 20)
def compress(t):
    """L.1 is a gz as soon as the writer was told: only an open file has its end."""
    exact(t, ["rotate 4", "create 0640 root root", "compress"])


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 20)
def delaycompress(t):
    exact(t, ["rotate 4", "create 0640 root root", "compress", "delaycompress"])


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 20)
def delaycompress_and_late_writes(t):
    """The writer is told 50 ms after the rename."""
    exact(t, ["rotate 4", "create 0640 root root", "compress", "delaycompress"],
          after="(sleep 0.05; kill -HUP {pid}) >/dev/null 2>&1 &")


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 20)
def nocreate_and_dateext(t):
    """No file of that name until the writer makes it; names with a date, one a second at most."""
    exact(t, ["rotate 3", "nocreate", "dateext", "dateformat -%Y%m%d-%s"], each=1.02,
          after="(sleep 0.1; kill -HUP {pid}) >/dev/null 2>&1 &")


def copytruncate_paused(t, directives):
    """The writer pauses so long that the collector has read everything, then copy and truncation."""
    exact(t, ["rotate 4", "copytruncate", *directives], each=0.1, before="kill -USR1 {pid}; sleep 0.15",
          after="kill -USR2 {pid}", rate=RATE // 3)


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 20)
def copytruncate_with_a_pause(t):
    copytruncate_paused(t, [])


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 20)
def copytruncate_compress_with_a_pause(t):
    copytruncate_paused(t, ["compress"])


def copytruncate_counted(t, directives):
    """What is missing lies before truncations, and its bytes are those that are counted."""
    needs_logrotate(t)
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root, "--state", "none") as c:
        c.ready(root)
        writer = lines.FileWriter(t, log, IDENT, "-r", RATE // 2)
        rotations = rotate_on(logrotate.Logrotate(t.dir, log, ["rotate 200", "copytruncate", *directives]), 0.1)
        j = judge.Judge()
        for (ident, stream), count in writer.stop().items():
            j.expect(ident, stream, count)
        c.wait_quiet()
        c.stop()
    j.add_records(c.records())
    # A copy made in the middle of a write ends within a line, whose rest was cut off with the original.
    pieces, j.torn = j.torn, []
    t.check(len(pieces) <= rotations and all(x.startswith(IDENT[:len(x)]) for x in pieces), f"torn: {pieces[:4]}")
    found = [p for p in j.problems() if ": lost " not in p]
    if found:
        t.fail(*found)
    a = account.account(c, log)
    missing, runs = lines.bytes_missing(j), max(len(track.lost()) for track in j.tracks.values())
    t.note(f"{rotations} rotations; missing {missing} bytes in {runs} runs of {j.expected_lines()} lines; account: {a}")
    t.check(runs <= rotations, f"{runs} runs of missing lines, {rotations} truncations")
    t.equal(set(a.reasons) - {"truncated"}, set(), "other reasons")
    t.equal(a.pending, 0, "pending")
    if t.bpf == "off":
        t.check(a.lost <= missing, f"counted {a.lost} bytes lost, missing are {missing}")
    else:
        t.check(missing - PIECE_MAX * len(pieces) <= a.lost <= missing,
                f"{a.lost} bytes lost, {missing} missing, {len(pieces)} lines came in part")
        t.check(a.events("truncated") >= runs, f"{a.events('truncated')} times truncated for {runs} runs")


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 30)
def copytruncate_without_a_pause(t):
    """The copies lie outside the root."""
    copytruncate_counted(t, [f"olddir {t.mkdir('old')}"])


@suite.case(bpf=BOTH, timeout=3 * SECONDS + 30)
def copytruncate_without_a_pause_beside_its_copies(t):
    """What was in the file when it was copied is in the copy: it is delivered once, and is not lost."""
    copytruncate_counted(t, [])


lanes.run(suite, tool.scaled(1, 3))
