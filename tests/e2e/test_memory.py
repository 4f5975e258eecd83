#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Memory is a sum: at 10,000 and at 50,000 files the process' peak stays below what the README adds up.

One pod directory, one container directory and one log per pod. 50,000 are more than the descriptors it is given, so
most are closed while they are silent, and more than the slots of the kernel's counters.
"""
import atexit
import os
import re
import resource
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("memory", timeout=150)
FEW, MANY = 10000, 50000
WRITTEN = 10
DESCRIPTORS = 20000

# The sum, as the README has it, in bytes.
FILE = 1064  # and its path: the file, its log, both in tables, and its place in the order while it is unread
DIRECTORY = 143  # and its path
COUNTED_FILE = 224  # the kernel's counters of it, mapped, whose they are, and its place among the armed
COUNTED_DIRECTORY = 72
COUNTED_MAX = 16384  # files_max: so many files, and so many directories
BATCH = (256 + 64 + 168) << 10  # batch_bytes, what a long line takes beyond it, records
BATCHES = 8
BASE = 7 << 19  # program, libraries, stacks, a sink's buffer
BASE_BPF = 3 << 19  # libbpf, the filter in front of the counters
SAVING = 1 << 20  # with --state: pieces of a checkpoint that the disk has yet to take, what has changed since
BPF_START = 16 << 20  # for a moment at the start, and given back: the kernel's types

trees = None


class Trees:
    """The logs, in memory where that is possible: FEW below the first root, the rest of MANY below the second."""

    def __init__(self):
        self.dir = tool.directory(memory=True)
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.logs, self.lines = [], []

    def root(self, first):
        return os.path.join(self.dir, "pods" if not first else "more")

    def grow(self, count):
        """The roots of count logs with two lines each, if they are new."""
        for n in range(len(self.logs), count):
            path = tree.Pod(self.root(n >= FEW), name=f"pod-{n}", number=n).log()
            self.logs.append(path)
            self.lines.append([])
            self.add(n, "first", "second")
        return [self.root(0)] + ([self.root(1)] if count > FEW else [])

    def add(self, n, *texts):
        lines = [f"{n} {text}" for text in texts]
        with open(self.logs[n], "ab", buffering=0) as f:
            f.write(b"".join(tree.cri(line) for line in lines))
        self.lines[n] += lines


class Output:
    """A file that is written to, and how many lines it has."""

    def __init__(self, path):
        self.path, self.count, self.at = path, 0, 0

    def lines(self):
        with open(self.path, "rb") as f:
            f.seek(self.at)
            for chunk in iter(lambda: f.read(1 << 20), b""):
                self.count += chunk.count(b"\n")
                self.at += len(chunk)
        return self.count

    def messages(self):
        with open(self.path, "rb") as f:
            return sorted(m.decode() for m in re.findall(rb'"message":"([^"]*)"', f.read()))


def most_kib(count, bpf, state, path):
    """What a peak may be."""
    pod_dir, container_dir = os.path.dirname(os.path.dirname(path)), os.path.dirname(path)
    most = BASE + BATCHES * BATCH + count * (FILE + len(path))
    most += count * (2 * DIRECTORY + len(pod_dir) + len(container_dir))
    if bpf:
        most += BASE_BPF + min(count, COUNTED_MAX) * COUNTED_FILE + min(2 * count, COUNTED_MAX) * COUNTED_DIRECTORY
    if state:
        most += SAVING
    return max(most, BPF_START if bpf else 0) // 1024


def limit_descriptors():
    hard = min(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def follow(t, count, state):
    """Everything is delivered, then a line of each of WRITTEN logs, within the sum."""
    global trees
    trees = trees or Trees()
    roots = trees.grow(count)
    args = [arg for root in roots for arg in ("-r", root)]
    output = Output(t.path("out"))
    started = time.monotonic()
    with open(output.path, "wb") as out, \
            Collector(t, "-q", *args, "--state", t.path("state") if state else "none", out=out,
                      preexec_fn=limit_descriptors, env={"HOTDRAIN_CHECK_LEDGER": None}) as c:
        wanted = sum(map(len, trees.lines[:count]))
        t.check(proc.wait_until(lambda: output.lines() >= wanted, 60, step=0.1), f"{output.count} lines of {wanted}")
        seconds = time.monotonic() - started
        time.sleep(1.5)  # it is saved, and they are silent
        for n in range(0, count, count // WRITTEN):
            trees.add(n, f"{t.name} woken")
        wanted += WRITTEN
        came = proc.wait_until(lambda: output.lines() >= wanted, 15, step=0.05)
        peak, now = proc.status(c.pid, "VmHWM"), proc.status(c.pid, "VmRSS")
        c.stop(timeout=30)
    t.note(f"{seconds:.1f} s for {wanted - WRITTEN} lines")
    if not came or output.count != wanted:
        t.fail(f"{output.count} lines of {wanted}")
    t.check(output.messages() == sorted(line for lines in trees.lines[:count] for line in lines), "other lines")
    if tool.sanitized():
        return
    most = most_kib(count, t.bpf != "off", state, trees.logs[-1])
    t.note(f"{peak} KiB at the peak, {now} at last; the sum is {most}, {(peak << 10) // count} bytes per file")
    t.check(peak <= most, f"{peak} KiB, the sum is {most}")


@suite.case(bpf=("auto", "off"), timeout=60)
def ten_thousand_files(t):
    follow(t, FEW, False)


@suite.case(bpf=("auto", "off"), timeout=60)
def ten_thousand_files_that_are_saved(t):
    follow(t, FEW, True)


@suite.case(bpf=("auto", "off"), timeout=90)
def fifty_thousand_files_of_which_most_are_closed(t):
    follow(t, MANY, t.bpf == "auto")


suite.run()
