#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An hour of 500 files with rotation, compression, pods that come and go, and restarts: memory, descriptors, watches
and the checkpoint stay flat, and every line comes.

SOAK_SECONDS (3600), SOAK_FILES (500), SOAK_RATE (1000 lines/s in all), SOAK_BPF (auto). The restarts lie in the first
fifth and at the end, so that one process is measured for most of the time; the medians of the second and of the last
quarter of that time are compared, since the first one has its warming up.
"""
import os
import random
import signal
import statistics
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import runs  # noqa: E402
from lib import fast, judge, proc, tap, tool, tree  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS") or 3600)
FILES = int(os.environ.get("SOAK_FILES") or 500)
RATE = int(os.environ.get("SOAK_RATE") or 1000)
BURST = 10
KEEP_S = min(30, SECONDS / 10)  # longer than any restart takes, so that nothing is removed unread
RESTARTS = ((0.03, "TERM"), (0.06, "KILL"), (0.10, "TERM"), (0.14, "KILL"), (0.18, "TERM"),
            (0.96, "KILL"), (0.98, "TERM"))
MEASURED = (0.20, 0.95)
REPEATED_S = 4  # after a kill: a checkpoint interval, and what came while nobody ran is new anyway

suite = tap.Suite("soak", timeout=SECONDS + 180)
samples = []  # [(seconds, {name: value})] of the long run


# The writer: a process of its own

class Pods:
    def __init__(self, root, result):
        self.root, self.result, self.next = root, result, 0
        self.live = []  # [[ident, log, number of the next line]]
        self.kept, self.leaving = [], []  # [(when, rotated file)], [(when, a pod's directory)]
        for _ in range(FILES):
            self.add()

    def add(self):
        name, number = f"c{self.next}", self.next
        self.next += 1
        log = tree.Pod(self.root, name=f"pod-{number}", number=number).log(name)
        self.live.append([name + ".0", log, 0])
        self.write(self.live[-1], 1)

    def write(self, pod, count):
        ident, log, seq = pod
        tree.append(log, *(tree.cri(judge.message(ident, "o", seq + i)) for i in range(count)))
        pod[2] += count

    def rotate(self, pod, now, number):
        target = f"{pod[1]}.20261121-{number:06d}"
        os.rename(pod[1], target)
        self.kept.append((now, target))
        if number % 2:
            mine = [i for i, (_, path) in enumerate(self.kept[:-1]) if path.startswith(pod[1] + ".")]
            for i in [i for i in mine if not self.kept[i][1].endswith(".gz")][-1:]:
                self.kept[i] = self.kept[i][0], runs.compress(self.kept[i][1])

    def leave(self, pod, now):
        """Writes no more; its directory goes when it has been read for sure."""
        self.live.remove(pod)
        self.leaving.append((now, os.path.dirname(os.path.dirname(pod[1]))))
        self.note(pod)
        self.add()

    def note(self, pod):
        with open(self.result, "a") as f:
            f.write(f"{pod[0]} o {pod[2]}\n")

    def clear(self, now):
        while self.kept and now - self.kept[0][0] > KEEP_S:
            path = self.kept.pop(0)[1]
            if os.path.exists(path):
                os.unlink(path)
        while self.leaving and now - self.leaving[0][0] > KEEP_S:
            path = self.leaving.pop(0)[1]
            for name in os.listdir(path):
                for log in os.listdir(os.path.join(path, name)):
                    os.unlink(os.path.join(path, name, log))
                os.rmdir(os.path.join(path, name))
            os.rmdir(path)

    def run(self, stopping):
        started, step = time.monotonic(), 0
        while not stopping:
            now = time.monotonic()
            # a few pods write most, as in life
            pod = self.live[int(len(self.live) * random.random() ** 2)]
            self.write(pod, BURST)
            if step % 50 == 49:
                self.rotate(pod, now, step)
            if step % 500 == 499:
                self.leave(random.choice(self.live), now)
            self.clear(now)
            step += 1
            time.sleep(max(0, started + step * BURST / RATE - time.monotonic()))
        for pod in self.live:
            self.note(pod)


def writer_start(root, result):
    pid = os.fork()
    if pid:
        return pid
    stopping = []
    status = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
        Pods(root, result).run(stopping)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


# The collectors

def watches(pid):
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                count += sum(line.startswith("inotify wd:") for line in f)
        except OSError:
            pass
    return count


def sample(t, c):
    path = t.path("state", "checkpoint")
    return {"memory KiB": proc.status(c.pid, "VmRSS"), "descriptors": len(os.listdir(f"/proc/{c.pid}/fd")),
            "watches": watches(c.pid), "checkpoint bytes": os.path.getsize(path) if os.path.exists(path) else 0,
            "CPU ms": proc.cpu_seconds(c.pid) * 1e3}


def measure(t, c, started, until):
    """Samples until then, about 200 in all."""
    while time.monotonic() - started < until:
        at = time.monotonic() - started
        if MEASURED[0] * SECONDS <= at <= MEASURED[1] * SECONDS:
            samples.append((at, sample(t, c)))
        t.check(c.process.poll() is None, f"ended by itself after {at:.0f} s")
        time.sleep(min(max(SECONDS / 200, 0.5), max(until - at, 0.01)))


def restart(t, root, reader, c, how):
    if how == "TERM":
        c.stop()
    else:
        runs.killed(c)
        reader.stdin.write(b"\n")  # ends the record that the kill may have cut short
        reader.stdin.flush()
    return runs.start(t, root, out=reader.stdin)


@suite.case(bpf=(os.environ.get("SOAK_BPF") or "auto",), timeout=SECONDS + 120)
def every_line_comes(t):
    root, result = t.mkdir("pods"), t.path("result")
    reader = fast.Reader(t)
    writer = writer_start(root, result)
    c = runs.start(t, root, out=reader.stdin)
    started = time.monotonic()
    for at, how in RESTARTS:
        measure(t, c, started, at * SECONDS)
        c = restart(t, root, reader, c, how)
    measure(t, c, started, SECONDS)
    proc.kill(writer, signal.SIGTERM)
    t.equal(os.waitpid(writer, 0)[1], 0, "status of the writer")
    with open(result) as f:
        wanted = {(w[0], w[1]): int(w[2]) for w in map(str.split, f)}
    proc.wait_until(lambda: reader.lines() >= sum(wanted.values()), 10, step=0.1)
    time.sleep(3)
    c.stop()
    judged(t, reader.result(), wanted)


def judged(t, reader, wanted):
    kills = sum(how == "KILL" for _, how in RESTARTS)
    repeated, problems = 0, []
    for key, count in wanted.items():
        distinct, end, again, late = reader.counts.get(key, (0, 0, 0, 0))
        repeated += again
        if (distinct, end, late) != (count, count, 0):
            problems.append(f"{key}: wrote {count}; came {distinct}, highest {end - 1}, out of order {late}")
    problems += [f"{key} was never written" for key in reader.counts if key not in wanted]
    torn, foreign = reader.total[2:]
    if torn + foreign > kills:  # one record, or an empty line, for each
        problems.append(f"torn {torn}, foreign {foreign} in {kills} kills")
    if repeated > kills * RATE * REPEATED_S:
        problems.append(f"{repeated} lines repeated by {kills} kills at {RATE} lines/s")
    t.note(f"{sum(wanted.values())} lines of {len(wanted)} pods, {repeated} repeated by {kills} kills")
    if problems:
        t.fail(*problems[:8])


# What was measured

def flat(t, name, factor, slack):
    if len(samples) < 20:
        t.fail(f"only {len(samples)} samples")
    first, last = samples[0][0], samples[-1][0]
    quarter = (last - first) / 4
    for at, values in samples[::max(len(samples) // 12, 1)]:
        t.note(f"{at:6.0f} s  {values[name]:.0f} {name}")
    second = statistics.median(v[name] for at, v in samples if quarter <= at - first < 2 * quarter)
    fourth = statistics.median(v[name] for at, v in samples if at - first >= 3 * quarter)
    t.note(f"second quarter {second:.0f}, last quarter {fourth:.0f} {name}")
    t.check(fourth, f"no {name}")
    t.check(fourth <= second * factor + slack, f"{name} grew from {second:.0f} to {fourth:.0f}")


@suite.case()
def memory_is_flat(t):
    if tool.sanitized():
        t.skip("an instrumented build has memory of its own")
    flat(t, "memory KiB", 1.05, 512)


@suite.case()
def descriptors_are_flat(t):
    flat(t, "descriptors", 1.1, 20)


@suite.case()
def watches_are_flat(t):
    flat(t, "watches", 1.1, 20)


@suite.case()
def the_checkpoint_is_flat(t):
    flat(t, "checkpoint bytes", 1.1, 4096)


@suite.case()
def work_per_second_is_flat(t):
    """CPU time: a scan that grows with what has been would show."""
    if len(samples) < 20:
        t.fail(f"only {len(samples)} samples")
    rates = [(b[0], (b[1]["CPU ms"] - a[1]["CPU ms"]) / (b[0] - a[0])) for a, b in zip(samples, samples[1:])]
    quarter = (rates[-1][0] - rates[0][0]) / 4
    second = statistics.median(r for at, r in rates if quarter <= at - rates[0][0] < 2 * quarter)
    fourth = statistics.median(r for at, r in rates if at - rates[0][0] >= 3 * quarter)
    t.note(f"second quarter {second:.1f}, last quarter {fourth:.1f} ms/s")
    t.check(fourth <= second * 2 + 20, f"work grew from {second:.1f} to {fourth:.1f} ms of CPU a second")


if __name__ == "__main__":
    suite.run()
