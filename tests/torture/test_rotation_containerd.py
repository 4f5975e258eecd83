#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
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

suite = tap.Suite("rotation_containerd", timeout=tool.scaled(600, 60))
BOTH = ("auto", "off")
SECONDS = tool.scaled(30, 2)
EACH = 0.1  # seconds between rotations


def needs_containerd(t):
    why = containerd.missing()
    if why:
        t.skip(why)


def rotated(t, writers, late=None, compress=True, keep=5, each=EACH):
    """writers: {id: arguments of writer.c}; each is a pod of its own that is rotated on its own."""
    needs_containerd(t)
    root, wanted, rotators, running = t.mkdir("pods"), {}, [], []
    reader = fast.Reader(t)
    with containerd.Containerd(t.dir) as d, Collector(t, "-r", root, "--state", "none", out=reader.stdin) as c:
        fast.ready(c, root)
        for n, (ident, (count, *args)) in enumerate(writers.items()):
            pod, name = tree.Pod(root, name=f"pod-{n}", number=n), ident.rpartition(".")[0]
            log = pod.log(name)
            container = d.run(*d.run_pod(pod), name, ["/bin/writer", "-n", str(count), *map(str, args), ident])
            running.append(container)
            wanted.update({(ident, "o"): count, (ident, "e"): count})
            reopen = lambda container=container: d.client.reopen_log(container)
            rotators.append(kubelet.Rotator(log, reopen, keep, compress, late).start(each))
        started = time.monotonic()
        for container in running:
            d.wait_exit(container, 10 * SECONDS)
        seconds = time.monotonic() - started
        for r in rotators:
            r.stop()
        reader.finish(c, wanted, tool.scaled(60, 10))
        account.nothing_lost(c, *(r.log for r in rotators))
        t.equal(sum(account.account(c, r.log).lines for r in rotators), sum(wanted.values()), "lines in the accounts of these logs")
    for r in rotators:
        t.note(f"{r.rotations} rotations in {seconds:.1f} s, {r.compressed} compressed, {r.deleted} deleted, "
               f"within a line of stdout {r.cut['stdout']}, of stderr {r.cut['stderr']}")
        t.check(r.rotations >= SECONDS, f"only {r.rotations} rotations in {seconds:.1f} s")
    t.note(f"{sum(wanted.values())} lines, {reader.total[1] / seconds / 1e6:.0f} MB/s of output")
    return rotators


@suite.case(bpf=BOTH, timeout=10 * SECONDS + 20)
def long_lines_across_rotations(t):
    """Nearly all bytes in lines of 400,000, both streams at once: P ends one file and P or F begins the next."""
    r, = rotated(t, {"app.0": (100 * SECONDS, "-r", 100, "-L", "2:400000")})
    t.check(r.cut["stdout"] and r.cut["stderr"], f"no rotation fell within a line of both streams: {r.cut}")


@suite.case(bpf=BOTH, timeout=10 * SECONDS + 20)
def full_load_compressed_and_deleted(t):
    """Short lines as fast as containerd takes them, and now and then one of several pieces."""
    r, = rotated(t, {"app.0": (20000 * SECONDS, "-L", "500:40000")}, keep=4)
    t.check(r.compressed and r.deleted, f"{r.compressed} compressed, {r.deleted} deleted")


@suite.case(bpf=BOTH, timeout=10 * SECONDS + 20)
def late_writes_to_the_renamed_file(t):
    """The runtime is told to reopen 60 ms after the rename: most of the text is written to renamed files."""
    rotated(t, {"app.0": (4000 * SECONDS, "-r", 4000, "-L", "100:40000")}, late=lambda: time.sleep(0.06), each=0)


@suite.case(bpf=BOTH, timeout=10 * SECONDS + 20)
def deleted_at_once(t):
    """Two files are kept, so what was rotated goes at the next rotation, uncompressed: only an open file has the rest."""
    r, = rotated(t, {"app.0": (6000 * SECONDS, "-r", 6000, "-L", "100:40000")}, keep=2)
    t.check(r.deleted > SECONDS, f"{r.deleted} deleted")


suite.run()
