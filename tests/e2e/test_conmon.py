#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real conmon (CRI-O's and podman's log writer), its own replacing of the file included: every line once, in order."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import conmon, judge, proc, tap, tool, tree  # noqa: E402
from lib.collector import POD_KEYS, Collector, run_to_end  # noqa: E402

suite = tap.Suite("conmon", timeout=110)
BOTH = ("auto", "off")


def start(t, root, ident, command, number=1, **more):
    """A container whose name is ident without its ".0"."""
    pod = tree.Pod(root, name="conmon", number=number)
    log = pod.log(ident.rpartition(".")[0])
    return conmon.Conmon(t.dir, ident, log, command, **more), log


def needs_conmon(t):
    why = conmon.missing()
    if why:
        t.skip(why)


def writer(ident, *args):
    return [tool.helper("writer"), *map(str, args), ident]


def verdict(t, j, records):
    j.add_records(records)
    problems = j.problems()
    if problems:
        t.fail(*problems)
    t.equal({r.keys_in_order for r in records}, {POD_KEYS}, "keys")


@suite.case(bpf=BOTH)
def both_streams_under_load(t):
    """Three containers, both streams of each at once, every 50th line of 20,000 bytes, full speed from bursts."""
    needs_conmon(t)
    root = t.mkdir("pods")
    j, count = judge.Judge(), 8000
    with Collector(t, "-r", root) as c:
        c.ready(root)
        running = []
        for n in range(3):
            ident = f"c{n}.0"
            running.append(start(t, root, ident, writer(ident, "-n", count, "-b", 10, "-L", "50:20000"), number=n)[0])
            j.expect(ident, "oe", count)
        for m in running:
            m.wait()
        verdict(t, j, c.finish(j.expected_lines()))


@suite.case(bpf=BOTH)
def replaced_at_its_size_limit(t):
    """--log-size-max: conmon renames a new file over 0.log; only who holds the old one can still read it."""
    needs_conmon(t)
    root = t.mkdir("pods")
    j, count = judge.Judge().expect("c0.0", "oe", 12000), 12000
    with Collector(t, "-r", root) as c:
        c.ready(root)
        # 2 x 3,000 lines of about 200 bytes in a second: a new file about every half second
        m, log = start(t, root, "c0.0", writer("c0.0", "-n", count, "-r", 3000, "-l", 80), size_max=600000)
        inodes = set()
        while m.process.poll() is None or not os.path.exists(m.exit_file):
            if os.path.exists(log):
                inodes.add((os.stat(log).st_ino, os.stat(log).st_ctime_ns // 10**8))
            time.sleep(0.02)
        m.wait()
        records = c.finish(j.expected_lines())
        size = os.path.getsize(log)
        t.check(size < 700000, f"conmon never replaced the file: {size} bytes")
        verdict(t, j, records)
        t.note(f"latency ms median/p99/most: {' '.join(f'{x:.1f}' for x in j.latencies())}")


@suite.case(bpf=BOTH)
def replaced_while_nobody_reads(t):
    """Back-pressure while the file is replaced some times: what was unlinked is still delivered."""
    needs_conmon(t)
    root = t.mkdir("pods")
    j, count = judge.Judge().expect("c0.0", "oe", 20000), 20000
    with Collector(t, "-r", root, out="stalled") as c:
        m, _ = start(t, root, "c0.0", writer("c0.0", "-n", count, "-r", 8000, "-l", 80), size_max=1500000)
        m.wait()
        c.read_on()
        verdict(t, j, c.finish(j.expected_lines()))


@suite.case(bpf=BOTH)
def long_lines_are_joined(t):
    """Lines around the sizes where conmon's pipe reads end (8 KiB) and far beyond, on both streams."""
    needs_conmon(t)
    root = t.mkdir("pods")
    j = judge.Judge()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for n, size in enumerate((8100, 8191, 16384, 200000)):
            ident = f"c{n}.0"
            j.expect(ident, "oe", 60)
            start(t, root, ident, writer(ident, "-n", 60, "-L", f"3:{size}"), number=n)[0].wait()
        verdict(t, j, c.finish(j.expected_lines()))


@suite.case(bpf=BOTH)
def last_line_without_newline(t):
    """It ends as a P that no F follows: delivered once the container has ended, or at the latest at the end."""
    needs_conmon(t)
    root = t.mkdir("pods")
    j = judge.Judge().expect("c0.0", "oe", 20)
    with Collector(t, "-r", root) as c:
        c.ready(root)
        m, log = start(t, root, "c0.0", writer("c0.0", "-n", 20, "-x"))
        m.wait()
        with open(log, "rb") as f:
            t.check(b" P " in f.read(), "conmon marked no line as partial")
        c.wait_lines(38)
        proc.wait_until(lambda: len(c.lines) >= 40, 3)
        verdict(t, j, c.finish(0))


@suite.case()
def last_line_without_newline_in_a_back_fill(t):
    needs_conmon(t)
    root = t.mkdir("pods")
    j = judge.Judge().expect("c0.0", "oe", 20)
    start(t, root, "c0.0", writer("c0.0", "-n", 20, "-x"))[0].wait()
    verdict(t, j, run_to_end(t, "-r", root).records())


@suite.case(timeout=20)
def files_that_were_there_before(t):
    needs_conmon(t)
    root = t.mkdir("pods")
    j = judge.Judge().expect("c0.0", "oe", 3000)
    start(t, root, "c0.0", writer("c0.0", "-n", 3000, "-b", 7, "-L", "100:50000"))[0].wait()
    verdict(t, j, run_to_end(t, "-r", root).records())


suite.run()
