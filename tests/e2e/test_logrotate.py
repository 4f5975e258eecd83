#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real logrotate, `create` and `copytruncate`, while writers write.

copytruncate loses what is written between its copy and its truncation, and no collector can read what was truncated
before it looked. So one case lets the writer pause for the copy, and there every line counts; in the other it
never pauses, and a line may be missing only directly before a truncation, never elsewhere.
"""
import glob
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import judge, logrotate, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("logrotate", timeout=110)
BOTH = ("auto", "off")
IDENT = "app.0"


class Writer:
    def __init__(self, t, log, *args):
        self.result = t.path("result")
        command = [tool.helper("writer"), "-f", log, "-R", self.result, *map(str, args), IDENT]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        proc.wait_until(lambda: os.path.exists(log), 5)

    def stop(self):
        proc.kill(self.pid, signal.SIGTERM)
        self.process.wait(10)
        return self.result


def needs_logrotate(t):
    why = logrotate.missing()
    if why:
        t.skip(why)


def verdict(t, j, records, problems=None):
    j.add_records(records, owner=lambda r: IDENT)
    problems = j.problems() if problems is None else problems(j)
    if problems:
        t.fail(*problems)
    t.note(f"{j.lines} lines; latency ms median/p99/most: {' '.join(f'{x:.1f}' for x in j.latencies())}")


def create(t, directives, rate, rotations, pause):
    needs_logrotate(t)
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        writer = Writer(t, log, "-r", rate)
        rotator = logrotate.Logrotate(t.dir, log, ["rotate 3", "create 0640 root root", *directives],
                                      after=f"kill -HUP {writer.pid}")
        for _ in range(rotations):
            time.sleep(pause)
            rotator.rotate()
        time.sleep(pause)
        j = judge.Judge().expect_result(writer.stop())
        verdict(t, j, c.finish(j.expected_lines()))


@suite.case(bpf=BOTH)
def create_under_load(t):
    create(t, [], rate=10000, rotations=10, pause=0.25)


@suite.case()
def create_with_delayed_compression(t):
    create(t, ["compress", "delaycompress"], rate=10000, rotations=8, pause=0.25)


@suite.case()
def create_with_dated_names(t):
    create(t, ["dateext", "dateformat -%Y%m%d-%s"], rate=3000, rotations=3, pause=1.1)


@suite.case(bpf=BOTH)
def create_late_writes_after_the_rename(t):
    """The writer is told to reopen 0.4 s after the rename: until then it goes on in the renamed file."""
    needs_logrotate(t)
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        writer = Writer(t, log, "-r", 3000)
        rotator = logrotate.Logrotate(t.dir, log, ["rotate 3", "create 0640 root root"],
                                      after=f"(sleep 0.4; kill -HUP {writer.pid}) >/dev/null 2>&1 &")
        for _ in range(4):
            time.sleep(0.8)
            rotator.rotate()
        time.sleep(0.8)
        j = judge.Judge().expect_result(writer.stop())
        verdict(t, j, c.finish(j.expected_lines()))


def copytruncate_paused(t, directives):
    """Full load, then a pause long enough for the collector to have read everything, then copy and truncation."""
    needs_logrotate(t)
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        writer = Writer(t, log, "-r", 10000)
        rotator = logrotate.Logrotate(t.dir, log, ["rotate 9", "copytruncate", *directives],
                                      before=f"kill -USR1 {writer.pid}; sleep 0.4", after=f"kill -USR2 {writer.pid}")
        for _ in range(5):
            time.sleep(0.3)
            rotator.rotate()
        time.sleep(0.3)
        j = judge.Judge().expect_result(writer.stop())
        verdict(t, j, c.finish(j.expected_lines()))


@suite.case(bpf=BOTH)
def copytruncate_with_a_pause(t):
    copytruncate_paused(t, [f"olddir {t.mkdir('old')}"])


@suite.case(bpf=BOTH)
def copytruncate_copies_beside_the_file(t):
    """The usual set-up: app.log.1 is a copy of what was delivered already, and must not be delivered again."""
    copytruncate_paused(t, [])


@suite.case()
def copytruncate_copies_are_compressed(t):
    copytruncate_paused(t, ["compress"])


@suite.case(bpf=BOTH)
def copytruncate_without_a_pause(t):
    """Nothing torn, repeated, out of order; what is missing lies directly before a truncation, and is short."""
    needs_logrotate(t)
    root, old = t.mkdir("pods"), t.mkdir("old")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        rate = 10000
        writer = Writer(t, log, "-r", rate)
        rotator = logrotate.Logrotate(t.dir, log, ["rotate 100", "copytruncate", f"olddir {old}"])
        for _ in range(8):
            time.sleep(0.3)
            rotator.rotate()
        time.sleep(0.3)
        j = judge.Judge().expect_result(writer.stop())
        c.wait_quiet()
        firsts = [first_numbers(path) for path in (*glob.glob(old + "/*"), log)]
        t.equal(len(firsts), 9, "copies and the file itself")

        def problems(j):
            found = [p for p in j.problems() if ": lost " not in p]
            for (ident, stream), track in j.tracks.items():
                starts = {f[stream] for f in firsts if stream in f}
                runs = track.lost()
                t.note(f"{stream}: missing before a truncation, ms of writing: "
                       + " ".join(f"{(b - a + 1) / rate * 1e3:.1f}" for a, b in runs))
                for a, b in runs:
                    if b + 1 not in starts:
                        found.append(f"{ident} {stream}: lost {a}-{b}, not before a truncation {sorted(starts)}")
                    elif b - a + 1 > rate * 0.2:
                        found.append(f"{ident} {stream}: lost {a}-{b}: more than 200 ms before a truncation")
            return found

        verdict(t, j, c.finish(0), problems)


def first_numbers(path):
    """{stream letter: the first number} in a file of whole CRI lines."""
    found = {}
    with open(path) as f:
        for line in f:
            message = judge.parse(line.rstrip("\n").split(" ", 3)[3])
            if message:
                found.setdefault(message[1], message[2])
            if len(found) == 2:
                break
    return found


suite.run()
