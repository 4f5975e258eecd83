#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""A thousand files: a noisy neighbour, a large backlog, a reader that stalls, and nothing at all.

The output goes to judge.c, which is faster than the collector; Python only holds the quiet writers.
"""
import json
import os
import resource
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import fast, judge, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402
from lib.lines import written  # noqa: E402

suite = tap.Suite("many", timeout=200)
BOTH = ("auto", "off")
FILES = 1000
MEMORY_MAX_KIB = 32 * 1024
QUIET_MAX_MS = 200
IDLE_MAX_WAKES = 60  # in 10 s; three a second are what it has, a tick of 10 ms would make a thousand
IDLE_MAX_MS = 100    # in 10 s; a twentieth of it is usual, but what memory answers slowly costs several times that


def raise_descriptor_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def container_log(root, ident, number):
    return tree.Pod(root, name=f"pod-{number}", number=number).log(ident.rpartition(".")[0])


def idle(t, c):
    """Of 10 s in which nothing happens: how often it woke up, and its CPU time in milliseconds."""
    wakes, used = proc.wakes(c.pid), proc.cpu_seconds(c.pid)
    time.sleep(10)
    wakes, used = proc.wakes(c.pid) - wakes, (proc.cpu_seconds(c.pid) - used) * 1e3
    t.note(f"{wakes} wake-ups, {used:.2f} ms of CPU in 10 s")
    return wakes, used


@suite.case(bpf=BOTH, timeout=60)
def an_idle_collector_does_not_work(t):
    """First of all cases: what others leave to the kernel to write back would be counted here."""
    root = t.mkdir("pods")
    wanted = 0
    for n in range(FILES):
        wanted += len(tree.write_lines(container_log(root, f"c{n}.0", n), f"c{n}", 3))
    # The ledger's check would look at every file.
    with Collector(t, "-r", root, env={"HOTDRAIN_CHECK_LEDGER": None}) as c:
        t.check(c.wait_lines(wanted), "the lines from before have not come")
        time.sleep(2)
        wakes, used = idle(t, c)
        tree.append(container_log(root, "c7.0", 7), tree.cri("awake"))
        t.check(c.wait_lines(wanted + 1, 10), "a line after the rest has not come")
        c.stop()
    t.check(wakes <= IDLE_MAX_WAKES, f"an idle collector woke up {wakes} times in 10 s, the limit is {IDLE_MAX_WAKES}")
    t.check(used < IDLE_MAX_MS or tool.sanitized(), f"an idle collector used {used:.1f} ms of CPU in 10 s, the limit is {IDLE_MAX_MS}")


@suite.case(bpf=BOTH, timeout=60)
def logs_rotate_while_many_are_being_found(t):
    """Lines are read before the first scan is over; those of a rotated file still come before its successor's."""
    root, manifest, bench = t.mkdir("pods"), t.path("manifest"), os.path.join(tool.BUILD, "tests/bench/")
    writer = subprocess.Popen([bench + "load", "--dir", root, "--manifest", manifest, "--hold", "--idle", "4000", "--pods", "40",
                               "--rate", "15", "--seconds", "3", "--rotate-bytes", "30000", "--keep", "1000"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    judge_ = subprocess.Popen([bench + "judge", "--manifest", manifest], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    try:
        writer.stdout.readline()
        writer.stdin.close()
        time.sleep(0.5)
        with Collector(t, "-r", root, "--exit-when-idle", "2s", out=judge_.stdin) as c:
            judge_.stdin.close()
            writer.wait(30)
            c.wait_exit(0, 50)
        found = json.loads(judge_.stdout.read())
    finally:
        for p in (writer, judge_):
            p.kill()
            p.wait()
    t.equal({k: found["all"][k] for k in ("lost", "twice", "late")} | {"torn": found["torn"]},
            {"lost": 0, "twice": 0, "late": 0, "torn": 0}, f"of {found['all']['written']} lines")


def noisy_and_quiet(t, seconds):
    """One full-speed writer, 999 files with about 400 lines/s together. Gives the latencies of the quiet ones."""
    root = t.mkdir(f"pods-{time.monotonic_ns()}")
    noisy_log = container_log(root, "noisy.0", 0)
    quiet = {}
    for n in range(1, FILES):
        path = container_log(root, f"q{n}.0", n)
        quiet[f"q{n}.0"] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    wanted, result = {}, t.path("result")
    reader = fast.Reader(t, "-l", "q")
    with Collector(t, "-r", root, out=reader.stdin) as c:
        time.sleep(0.7)  # all thousand are being followed
        noisy = subprocess.Popen([tool.helper("writer"), "-t", str(seconds), "-f", noisy_log, "-R", result, "noisy.0"])
        idents, step = list(quiet), 0
        started = time.monotonic()
        while noisy.poll() is None:
            ident = idents[step * 367 % len(idents)]
            seq = wanted.get((ident, "o"), 0)
            os.write(quiet[ident], tree.cri(judge.message(ident, "o", seq)))
            wanted[ident, "o"] = seq + 1
            step += 1
            time.sleep(max(0, started + step / 400 - time.monotonic()))
        wanted.update(written(result))
        proc.wait_until(lambda: reader.lines() >= sum(wanted.values()), 60, step=0.1)
        memory = proc.status(c.pid, "VmHWM")
        behind = time.monotonic() - started - seconds
        reader.finish(c, wanted, timeout=0)
    for fd in quiet.values():
        os.close(fd)
    t.note(f"noisy: {wanted['noisy.0', 'o'] * 2 / seconds:.0f} lines/s written, drained {behind:.1f} s after it ended")
    t.note(f"quiet: {step} lines, latency ms median/p90/p99/most: " + " ".join(f"{x:.1f}" for x in reader.latency_ms))
    check_memory(t, memory)
    return reader.latency_ms


def check_memory(t, kib):
    t.note(f"memory at its peak: {kib} KiB")
    if not tool.sanitized():
        t.check(kib < MEMORY_MAX_KIB, f"memory grew to {kib} KiB, the limit is {MEMORY_MAX_KIB}")


@suite.case(bpf=BOTH, timeout=100)
def one_noisy_and_999_quiet(t):
    raise_descriptor_limit()
    latency = noisy_and_quiet(t, 5)
    if latency[2] > QUIET_MAX_MS and not tool.sanitized():
        t.note("too late: once more, the machine may have been busy")
        latency = noisy_and_quiet(t, 5)
        t.check(latency[2] <= QUIET_MAX_MS, f"quiet lines came after {latency[2]:.0f} ms (p99), twice above {QUIET_MAX_MS}")


def backlog(t, root, lines):
    """A thousand files of 2 x lines lines. {(id, stream): lines}"""
    wanted, running = {}, []
    for n in range(FILES):
        ident = f"c{n}.0"
        command = [tool.helper("writer"), "-n", str(lines), "-f", container_log(root, ident, n), ident]
        running.append(subprocess.Popen(command))
        wanted[ident, "o"] = wanted[ident, "e"] = lines
        if len(running) == 4:
            for p in running:
                p.wait()
            running.clear()
    for p in running:
        p.wait()
    return wanted


def peak_until_exit(c, timeout):
    """VmHWM of a process, looked at until it ends."""
    peak, end_at = 0, time.monotonic() + timeout
    while c.process.poll() is None and time.monotonic() < end_at:
        try:
            peak = max(peak, proc.status(c.pid, "VmHWM"))
        except (KeyError, OSError):
            break
        time.sleep(0.02)
    return peak


@suite.case(bpf=BOTH, timeout=60)
def a_backlog_does_not_grow_memory(t):
    root = t.mkdir("pods")
    wanted = backlog(t, root, 350)
    reader = fast.Reader(t)
    started = time.monotonic()
    with Collector(t, "-r", root, "--exit-when-idle", "500ms", out=reader.stdin) as c:
        peak = peak_until_exit(c, 30)
        c.wait_exit(0)
    seconds = time.monotonic() - started - 0.5
    problems = reader.result().problems(wanted)
    if problems:
        t.fail(*problems)
    t.note(f"{sum(wanted.values())} lines in {seconds:.1f} s")
    check_memory(t, peak)


@suite.case(bpf=BOTH, timeout=60)
def a_stalled_reader_does_not_grow_memory(t):
    """Nobody reads for 4 s while a backlog lies there and a writer goes on at full speed; then everything arrives."""
    root = t.mkdir("pods")
    wanted = backlog(t, root, 100)
    reader = fast.Reader(t, "-p", "4")
    result = t.path("result")
    with Collector(t, "-r", root, out=reader.stdin) as c:
        noisy = subprocess.Popen([tool.helper("writer"), "-t", "3", "-f", container_log(root, "noisy.0", FILES),
                                  "-R", result, "noisy.0"])
        noisy.wait(20)
        stalled = proc.status(c.pid, "VmHWM")
        wanted.update(written(result))
        proc.wait_until(lambda: reader.lines() >= sum(wanted.values()), 40, step=0.1)
        peak = proc.status(c.pid, "VmHWM")
        reader.finish(c, wanted, timeout=0)
    t.note(f"{sum(wanted.values())} lines; {stalled} KiB while it stalled")
    check_memory(t, peak)


@suite.case(timeout=60)
def unfinished_lines_do_not_grow_memory(t):
    """A thousand files, each with 300 kB of pieces that no F ends, on both streams: every byte comes in the end."""
    root = t.mkdir("pods")
    piece = "x" * 10000
    lines = [tree.cri(piece, stream=s, tag="P") for _ in range(30) for s in ("stdout", "stderr")]
    for n in range(FILES):
        tree.append(container_log(root, f"c{n}.0", n), *lines)
    with open(t.path("out"), "wb") as out, \
            Collector(t, "-r", root, "--exit-when-idle", "500ms", "--format", "raw", out=out) as c:
        peak = peak_until_exit(c, 40)
        c.wait_exit(0)
    with open(t.path("out"), "rb") as f:
        count = sum(chunk.count(b"x") for chunk in iter(lambda: f.read(1 << 20), b""))
    t.equal(count, FILES * 60 * len(piece), "bytes of text delivered")
    check_memory(t, peak)


suite.run()
