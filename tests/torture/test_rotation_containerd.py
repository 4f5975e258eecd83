#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Real containerd, rotated as a kubelet does it but ten times a second: renamed, reopened over CRI, compressed, deleted.

Most of the text is in lines longer than containerd's 16 KiB pieces, so that rotations fall within lines of both
streams: a P ends one file and more P or its F begin the next, while the writer still appends to the renamed file.
"""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from lib import account, containerd, fast, kubelet, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("rotation_containerd", timeout=tool.scaled(3000, 500))
BOTH = ("auto", "off")
SECONDS = tool.scaled(30, 2)
PATIENCE = tool.scaled(100, 30)  # seconds for what a case is about to have happened
CASE_S = 10 * SECONDS + 3 * PATIENCE
EACH = 0.1  # seconds between rotations


def needs_containerd(t):
    why = containerd.missing()
    if why:
        t.skip(why)


def rotated(t, enough, count, *args, late=None, compress=True, keep=5, each=EACH):
    """writer.c writes count lines of each stream with these arguments, while its log is rotated.

    enough(rotator): whether what the case is about has happened. As long as it has not, for PATIENCE seconds, another
    pod follows with twice the lines.
    """
    needs_containerd(t)
    root, wanted, logs = t.mkdir("pods"), {}, []
    reader, r = fast.Reader(t), kubelet.Rotator(None, None, keep, compress, late)
    with containerd.Containerd(t.dir) as d, Collector(t, "-r", root, "--state", "none", out=reader.stdin) as c:
        fast.ready(c, root)
        started = time.monotonic()
        while not logs or not enough(r) and time.monotonic() - started < PATIENCE:
            n = len(logs)
            pod, ident, lines = tree.Pod(root, name=f"pod-{n}", number=n), f"app.{n}", count << n
            r.log = pod.log("app")
            logs.append(r.log)
            container = d.run(*d.run_pod(pod), "app", ["/bin/writer", "-n", str(lines), *map(str, args), ident])
            wanted.update({(ident, "o"): lines, (ident, "e"): lines})
            r.reopen = lambda container=container: d.client.reopen_log(container)
            r.start(each)
            d.wait_exit(container, 10 * (SECONDS << n))
            r.stop()
        seconds = time.monotonic() - started
        reader.finish(c, wanted, tool.scaled(60, 30))
        account.nothing_lost(c, *logs)
        t.equal(sum(account.account(c, log).lines for log in logs), sum(wanted.values()), "lines in the accounts of these logs")
    found = (f"{r.rotations} rotations of {len(logs)} logs in {seconds:.1f} s, {r.compressed} compressed, {r.deleted} deleted, "
             f"within a line of stdout {r.cut['stdout']}, of stderr {r.cut['stderr']}")
    t.check(enough(r), "the case has shown nothing: " + found)
    t.note(found)
    t.note(f"{sum(wanted.values())} lines, {reader.total[1] / seconds / 1e6:.0f} MB/s of output")


@suite.case(bpf=BOTH, timeout=CASE_S)
def long_lines_across_rotations(t):
    """Nearly all bytes in lines of 400,000, both streams at once: P ends one file and P or F begins the next.

    A rate that ten rotations a second are no multiple of: else all of them could fall between two long lines.
    """
    rotated(t, lambda r: r.cut["stdout"] and r.cut["stderr"] and r.rotations >= SECONDS,
            97 * SECONDS, "-r", 97, "-L", "2:400000")


@suite.case(bpf=BOTH, timeout=CASE_S)
def full_load_compressed_and_deleted(t):
    """Short lines as fast as containerd takes them, and now and then one of several pieces."""
    rotated(t, lambda r: r.compressed and r.deleted > SECONDS, 20000 * SECONDS, "-L", "500:40000", keep=4)


@suite.case(bpf=BOTH, timeout=CASE_S)
def late_writes_to_the_renamed_file(t):
    """The runtime is told to reopen 60 ms after the rename: most of the text is written to renamed files."""
    rotated(t, lambda r: r.rotations >= SECONDS, 4000 * SECONDS, "-r", 4000, "-L", "100:40000",
            late=lambda: time.sleep(0.06), each=0)


@suite.case(bpf=BOTH, timeout=CASE_S)
def deleted_at_once(t):
    """Two files are kept, so what was rotated goes at the next rotation, uncompressed: only an open file has the rest."""
    rotated(t, lambda r: r.deleted > SECONDS, 6000 * SECONDS, "-r", 6000, "-L", "100:40000", keep=2)


suite.run()
