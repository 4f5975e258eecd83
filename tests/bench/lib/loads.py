# SPDX-License-Identifier: Apache-2.0
"""The loads. Each function runs one program once and returns what was measured, a flat dict; Failed says why not.

Writer (load), program and judge share the machine. The program's standard output is a pipe that the judge reads.
"""
import contextlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time

from . import machine

REACHED_MIN = 0.9
READY_MAX, DRAIN_MAX, QUIET = 30, 60, 4  # seconds


class Failed(Exception):
    """Why this run does not count."""


class Void(Failed):
    """The writer did not write what it should have: no fault of the program, and worth another try."""


class Judge:
    """The judge over one pipe, or several one after the other. Give pipes[i] to the program."""

    def __init__(self, manifest, *args, pipes=1):
        ends = [os.pipe() for _ in range(pipes)]
        self.pipes = [w for _, w in ends]
        names = [f"/dev/fd/{r}" for r, _ in ends]
        self.began = time.time()
        self.process = subprocess.Popen([machine.tool("judge"), "--manifest", manifest, *map(str, args), *names],
                                        pass_fds=[r for r, _ in ends], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for r, _ in ends:
            os.close(r)
        self.distinct, self.changed, self.said = 0, time.monotonic(), []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        for line in self.process.stderr:
            found = re.match(rb"distinct (\d+)", line)
            if found:
                self.distinct, self.changed = int(found[1]), time.monotonic()
            else:
                self.said.append(line.decode(errors="replace").strip())

    def close(self, i):
        """This process's end of a pipe: without it the judge sees the end of input when the program ends."""
        if self.pipes[i] is not None:
            os.close(self.pipes[i])
            self.pipes[i] = None

    def wait(self, count):
        """Until that many lines are there, or no more come."""
        end_at = time.monotonic() + DRAIN_MAX
        while self.distinct < count and time.monotonic() - self.changed < QUIET and time.monotonic() < end_at:
            time.sleep(0.02)

    def result(self):
        for i in range(len(self.pipes)):
            self.close(i)
        try:
            self.process.wait(DRAIN_MAX)
        except subprocess.TimeoutExpired:
            raise Failed("the judge has not ended") from None
        self.thread.join(5)
        out = self.process.stdout.read()
        if self.process.returncode or not out:
            raise Failed(f"the judge ended with status {self.process.returncode}: {'; '.join(self.said[-2:])}")
        return json.loads(out)


class Writer:
    """load, held until begin()."""

    def __init__(self, base, *args):
        self.manifest, self.root = os.path.join(base, "manifest"), os.path.join(base, "pods")
        os.mkdir(self.root)
        self.process = subprocess.Popen([machine.tool("load"), "--dir", self.root, "--manifest", self.manifest, "--hold",
                                         *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            raise Failed("the writer did not begin: " + self.process.stderr.read().decode()[:200])

    def begin(self):
        self.process.stdin.close()

    def wait(self, seconds):
        """Its own account; the run is void when it could not keep its rate."""
        try:
            self.process.wait(seconds + 30)
        except subprocess.TimeoutExpired:
            raise Failed("the writer has not ended") from None
        said = self.process.stderr.read().decode().splitlines()
        if self.process.returncode or not said:
            raise Failed(f"the writer ended with status {self.process.returncode}")
        account = json.loads(said[-1])
        if account["reached"] < REACHED_MIN:
            raise Void(f"the writer reached {100 * account['reached']:.0f} % of its rate")
        if account["took_s"] < 0.9 * seconds:
            raise Void(f"something ended the writer after {account['took_s']:.0f} s")
        return account


@contextlib.contextmanager
def ended_after(*processes):
    """Whatever happens, these do not live on. A list, so that one can be added."""
    started = list(processes)
    try:
        yield started
    finally:
        for p in started:
            if p.poll() is None:
                p.kill()
                p.wait()
            for pipe in (p.stdin, p.stdout, p.stderr):
                with contextlib.suppress(OSError, ValueError):
                    if pipe:
                        pipe.close()


def follows(judge, process):
    """Waits for the line of the pod that wrote one before the start."""
    if not machine.wait_until(lambda: judge.distinct or process.poll() is not None, READY_MAX) or process.poll() is not None:
        raise Failed("did not deliver a line that was there before" if process.poll() is None
                     else f"ended with status {process.returncode} at the start")
    time.sleep(0.7)


def verdict(judged, account, **more):
    """What the tables need of the judge's and the writer's accounts."""
    whole = judged["all"]
    return {**more, "lines": whole["written"], "lost": whole["lost"], "twice": whole["twice"], "late": whole["late"],
            "torn": judged["torn"] + judged["foreign"], "cut": judged["cut"],
            "lost_pct": 100 * whole["lost"] / max(whole["written"], 1),
            "late_pct": 100 * whole["late"] / max(whole["distinct"], 1),
            "quiet_lost": judged["quiet"]["lost"],
            **{f"{kind}_{p}_ms": judged[kind].get(f"{p}_us", 0) / 1000
               for kind in ("all", "hot", "quiet") for p in ("p50", "p99", "max")},
            "reached": account["reached"], "writer_late_ms": account["late_ms"], "writer_cpu_s": account["cpu_s"],
            "judge": judged, "writer": account}


def live(program, args, seconds, touch=400e6, judge_args=()):
    """Files are there and empty; then they are written for some seconds; then what is left is drained."""
    with machine.directory() as base:
        machine.memory_touch(base, touch)
        writer = Writer(base, "--idle", 1, "--seconds", seconds, *args)
        judge = Judge(writer.manifest, *judge_args)
        with ended_after(writer.process, judge.process) as started:
            process = program.start(writer.root, os.path.join(base, "work"), judge.pipes[0])
            started.append(process)
            judge.close(0)
            follows(judge, process)
            cpu, begin, held = machine.cpu_seconds(process.pid), time.monotonic(), machine.Held(process.pid)
            writer.begin()
            account = writer.wait(seconds)
            took = time.monotonic() - begin
            if process.poll() is not None:
                raise Failed(f"ended with status {process.returncode} while it was written")
            cpu_pct = 100 * (machine.cpu_seconds(process.pid) - cpu) / took
            judge.wait(account["lines"])
            drain_s, held_mb = max(judge.changed - begin - took, 0), held.end() / 1e6
            cpu_s, mib = machine.cpu_seconds(process.pid) - cpu, machine.peak_mib(process.pid)
            ended = machine.end(process)
            return verdict(judge.result(), account, cpu_pct=cpu_pct, cpu_s=cpu_s, drain_s=drain_s, peak_mib=mib, held_mb=held_mb,
                           ended=ended)


def backfill(program, root, lines, size, base):
    """Reads what is there once, into a file."""
    out, work = os.path.join(base, "out"), tempfile.mkdtemp(prefix="work-", dir=base)  # a new one: no state of the last run
    null = program.name.endswith("null")
    machine.memory_touch(base, 0 if null else size * 8)
    with open(out, program.mode) as f, ended_after() as started:
        begin = time.monotonic()
        process = program.start(root, work, f)
        started.append(process)
        peak = machine.Peak(process.pid)
        if program.ends:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
            took, cpu = time.monotonic() - begin, usage.ru_utime + usage.ru_stime
            if status:
                raise Failed(f"ended with status {status}")
        else:
            took, cpu = grown(process, out, begin)
            machine.end(process)
        mib = peak.end()
    if program.lines and not null and (got := lines_of(out)) != lines:
        raise Failed(f"{got} lines of {lines}")
    os.unlink(out)
    return {"mb_per_cpu_s": size / 1e6 / cpu, "mb_per_s": size / 1e6 / took, "peak_mib": mib, "cpu_s": cpu}


def grown(process, out, begin):
    """When a file has stopped growing: (seconds until then, CPU seconds until now)."""
    size, since = 0, time.monotonic()
    while time.monotonic() - since < (1.5 if size else 15):
        time.sleep(0.05)
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode}")
        if os.path.getsize(out) != size:
            size, since = os.path.getsize(out), time.monotonic()
    return since - begin, machine.cpu_seconds(process.pid)


def lines_of(path):
    with open(path, "rb") as f:
        return sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b""))


def idle(program, files, active, rate, seconds):
    """Many files at rest beside a few that are written; the program starts while they are."""
    with machine.directory() as base:
        machine.memory_touch(base, files * 4096 * 2)
        writer = Writer(base, "--pods", active, "--active-lines", rate, "--idle", files, "--seconds", 600)
        with ended_after(writer.process) as started:
            writer.begin()
            time.sleep(0.5)
            judge = Judge(writer.manifest)
            started.append(judge.process)
            at = time.time()
            process = program.start(writer.root, os.path.join(base, "work"), judge.pipes[0])
            started.append(process)
            judge.close(0)
            machine.wait_until(lambda: judge.distinct > files or process.poll() is not None, READY_MAX)
            if not judge.distinct:
                raise Failed(f"delivered no line of {files + active} files within {READY_MAX} s, with at most "
                             f"{machine.descriptors_raise()} descriptors")
            time.sleep(2)
            busy = cpu_over(process, seconds)
            writer.process.terminate()
            account = writer.wait(0)
            judge.wait(account["lines"])
            time.sleep(1.5)
            at_rest = cpu_over(process, seconds)
            mib = machine.peak_mib(process.pid)
            ended = machine.end(process)
            judged = judge.result()
            first = judged["first_new_ns"] / 1e9 - at if judged["first_new_ns"] else None
            return verdict(judged, account, first_s=first, busy_pct=busy, idle_pct=at_rest, peak_mib=mib, ended=ended)


def cpu_over(process, seconds):
    if process.poll() is not None:
        raise Failed(f"ended with status {process.returncode}")
    cpu, begin = machine.cpu_seconds(process.pid), time.monotonic()
    time.sleep(seconds)
    if process.poll() is not None:
        raise Failed(f"ended with status {process.returncode}")
    return 100 * (machine.cpu_seconds(process.pid) - cpu) / (time.monotonic() - begin)


def crash(program, args, seconds, kill_after):
    """kill -9 while it is written, and the same again at once. Each life has a pipe of its own: what was in the
    first one has been delivered, and a line torn by the kill is not glued to the next."""
    with machine.directory() as base:
        machine.memory_touch(base, 400e6)
        work = os.path.join(base, "work")
        writer = Writer(base, "--idle", 1, "--seconds", seconds, *args)
        judge = Judge(writer.manifest, pipes=2)
        with ended_after(writer.process, judge.process) as started:
            first = program.start(writer.root, work, judge.pipes[0])
            started.append(first)
            judge.close(0)
            follows(judge, first)
            writer.begin()
            time.sleep(kill_after)
            machine.kill(first)
            second = program.start(writer.root, work, judge.pipes[1])
            started.append(second)
            judge.close(1)
            account = writer.wait(seconds)
            judge.wait(account["lines"])
            time.sleep(1)  # for what comes twice
            if second.poll() is not None:
                raise Failed(f"ended with status {second.returncode} after the restart")
            mib = machine.peak_mib(second.pid)
            ended = machine.end(second)
            return verdict(judge.result(), account, interval_lines=account["lines"] / seconds, peak_mib=mib, ended=ended)
