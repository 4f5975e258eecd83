#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Ended and started again at random moments under load with rotation: by SIGTERM (nothing lost, nothing repeated)
and by SIGKILL (nothing lost; repeated only what the last checkpoint did not know).

Files are removed for good only while a collector runs, since nobody could read them otherwise. SEED=N repeats the
moments of a run.
"""
import os
import random
import select
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import runs  # noqa: E402
from lib import conmon, judge, lanes, proc, tap, tool, tree  # noqa: E402

suite = tap.Suite("restart", timeout=tool.scaled(3000, 110))
BOTH = ("auto", "off")
TERMS, KILLS = tool.scaled(100, 5), tool.scaled(200, 5)
CASE_S = tool.scaled(900, 60)
# A checkpoint is at most a second old when all goes well; the rest is for a machine that is busy syncing.
REPEATED_S = 5


def moments(t):
    seed = int(os.environ.get("SEED") or random.randrange(1 << 30))
    t.note(f"SEED={seed}")
    return random.Random(seed)


def loads(t, root, gate, keep=None, age=None):
    """Rotation that only renames, rotation that compresses, and a quiet log beside them."""
    return [runs.Load(t, root, "c0.0", gate, 3000, 0.23, keep=keep, age=age, number=0),
            runs.Load(t, root, "c1.0", gate, 1500, 0.41, keep=keep, age=age, gz=True, number=1),
            runs.Load(t, root, "c2.0", gate, 20, 5.0, keep=keep, age=age, number=2)]


def runs_with_repeats(collectors):
    """Which runs delivered again what another had delivered, and what they said when they started."""
    seen = {}
    for n, c in enumerate(collectors):
        again = {}
        for message in map(judge.parse, c.messages()):
            if message and message[:3] in seen:
                again.setdefault((seen[message[:3]], *message[:2]), []).append(message[2])
            elif message:
                seen[message[:3]] = n
        for (before, ident, stream), numbers in again.items():
            yield f"run {n}: {ident} {stream} {numbers[0]}-{numbers[-1]} again, came in run {before} too"
        if again:
            yield from ("  " + line for line in c.stderr().splitlines() if "resumed" in line or ".gz" in line)


def verdict(t, j, collectors):
    for c in collectors:
        j.add_records(c.records())
    problems = j.problems()
    if problems:
        t.fail(*problems, *(f"run {n}: {runs.losses(c)}" for n, c in enumerate(collectors) if runs.losses(c)),
               *runs_with_repeats(collectors))
    t.note(f"{j.lines} lines in {len(collectors)} runs")


# SIGTERM

@suite.case(bpf=BOTH, timeout=CASE_S)
def sigterm_at_random_moments_loses_and_repeats_nothing(t):
    """Five files are kept; what a kubelet removes while the old ones are still being read, is still delivered."""
    root, rng, gate, ended = t.mkdir("pods"), moments(t), runs.Gate(), []
    with gate.closed():
        load = loads(t, root, gate, keep=5)
        c = runs.start(t, root)
        c.ready(root)
    for _ in range(TERMS):
        time.sleep(rng.choice((0.05, 0.3, 0.8, 1.5)) * rng.random())
        with gate.closed():
            ended.append(c.stop())
            time.sleep(0.2 * rng.random())
            c = runs.start(t, root)
            c.ready(root, timeout=runs.START_MAX)
    j = judge.Judge()
    for one in load:
        one.stop(j)
    had = sum(len(e.lines) for e in ended)
    c.wait_lines(j.expected_lines() - had)
    time.sleep(0.3)
    verdict(t, j, [*ended, c.stop()])
    for e in (*ended, c):
        t.equal(runs.losses(e), {}, "losses that a summary names")


@suite.case(bpf=BOTH, timeout=CASE_S)
def sigterm_while_conmon_replaces_its_file(t):
    """The old inode has no name any more: it is drained before the end. conmon stands still while nobody runs."""
    if conmon.missing():
        t.skip(conmon.missing())
    root, rng, ended = t.mkdir("pods"), moments(t), []
    log = tree.Pod(root, name="conmon").log("c0")
    c = runs.start(t, root).ready(root)
    seconds = TERMS * 1.0 + 1
    count = int(4000 * seconds)
    m = conmon.Conmon(t.dir, "c0.0", log, [tool.helper("writer"), "-n", str(count), "-r", "4000", "-l", "40", "c0.0"],
                      size_max=800000)
    proc.wait_until(lambda: os.path.exists(os.path.join(m.dir, "conmon-pid")), 5)
    with open(os.path.join(m.dir, "conmon-pid")) as f:
        pid = int(f.read())
    for _ in range(TERMS):
        time.sleep(1.2 * rng.random())
        proc.kill(pid, signal.SIGSTOP)
        ended.append(c.stop())
        c = runs.start(t, root).ready(root, timeout=runs.START_MAX)
        proc.kill(pid, signal.SIGCONT)
    m.wait(seconds + 30)
    j = judge.Judge().expect("c0.0", "oe", count)
    c.wait_lines(j.expected_lines() - sum(len(e.lines) for e in ended))
    time.sleep(0.3)
    verdict(t, j, [*ended, c.stop()])
    t.check(os.path.getsize(log) < 1000000, "conmon never replaced its file")


@suite.case(bpf=BOTH, timeout=40)
def sigterm_with_unread_files_that_have_no_name(t):
    """Nobody takes the output while a file is replaced three times; SIGTERM then waits for what only it can read."""
    root = t.mkdir("root")
    log = os.path.join(root, "a.log")
    texts = [f"line {i:06d} " + "x" * 380 for i in range(12000)]
    pieces = [texts[n:n + 3000] for n in range(0, 12000, 3000)]
    c = runs.start(t, root, "--stop-timeout", "30s", out="stalled")
    with c:
        for piece in pieces:
            tree.append(log + ".tmp", *map(tree.cri, piece))
            os.rename(log + ".tmp", log)
            time.sleep(0.5)
        proc.kill(c.pid, signal.SIGTERM)
        time.sleep(0.5)
        t.check(c.process.poll() is None, f"ended with {c.process.poll()} before its output was taken")
        c.read_on()
        c.wait_exit(0, 25)
    first = c.messages()
    t.equal(first[:9000], texts[:9000], "what had no name any more, in the first run")
    rest = runs.run(t, root, 12000 - len(first)).messages()
    t.equal(len(first + rest), 12000, "lines of both runs")
    t.check(first + rest == texts, "both runs together are not the lines in order")


@suite.case(bpf=BOTH, timeout=40)
def sigterm_while_nobody_takes_the_output(t):
    """What the sinks did not take within --stop-timeout comes in the next run. The pipe's content counts as taken."""
    root = t.mkdir("root")
    texts = [f"line {i:06d} " + "x" * 380 for i in range(6000)]
    tree.append(os.path.join(root, "a.log"), *map(tree.cri, texts))
    with runs.start(t, root, "--stop-timeout", "500ms", out="stalled") as c:
        t.check(select.select([c.process.stdout], [], [], 20)[0], "nothing was delivered")
        time.sleep(1)
        proc.kill(c.pid, signal.SIGTERM)
        proc.wait_until(lambda: c.process.poll() is not None, 10)
        c.read_on()
        c.thread.join(5)
    first = len(c.lines)
    t.check(0 < first < 6000, f"{first} lines in a pipe that nobody read")
    rest = runs.run(t, root, 6000 - first)
    t.equal(rest.messages()[-(6000 - first):], texts[first:], "the rest")
    repeated = len(rest.lines) - (6000 - first)
    t.note(f"{first} lines in the pipe, {repeated} repeated")
    t.check(repeated * 500 < 1 << 20, f"{repeated} lines repeated: more than the batches under way")


# SIGKILL

def kill_moment(rng):
    return rng.choice((0.1, 0.6, 1.5, 3.0)) * rng.random() + 0.05


@suite.case(bpf=BOTH, timeout=CASE_S)
def sigkill_at_random_moments_loses_nothing(t):
    """Rotated files stay for 20 s, some as gz. Each run is in order; repeats reach back one checkpoint interval."""
    root, rng, gate, replay = t.mkdir("pods"), moments(t), runs.Gate(), runs.Replay(REPEATED_S)
    load = loads(t, root, gate, age=20)
    for _ in range(KILLS):
        c = runs.start(t, root)
        started = time.time()
        time.sleep(kill_moment(rng))
        ended = time.time()
        replay.add(runs.killed(c), started, ended)
        c.lines.clear()
    j = judge.Judge()
    for one in load:
        one.stop(j)
    c, started = runs.start(t, root), time.time()
    c.wait_quiet(1.0)
    replay.add(c.stop(), started, time.time())
    t.note(f"{replay.repeated} lines repeated, the oldest delivered {replay.oldest_s:.2f} s of running before")
    replay.judge(t, j)
    t.equal(runs.losses(c), {}, "losses that the last summary names")


@suite.case(bpf=BOTH, timeout=CASE_S)
def sigkill_with_one_output_file_for_all_runs(t):
    """A record cut short by the kill is a line of its own, and comes again, whole."""
    root, rng, gate, out = t.mkdir("pods"), moments(t), runs.Gate(), t.path("out")
    load = [runs.Load(t, root, "c0.0", gate, 8000, 0.3, age=20)]
    count, torn = tool.scaled(50, 5), 0
    for _ in range(count):
        with runs.start(t, root, "--sink", "file:" + out, out=subprocess.DEVNULL) as c:
            time.sleep(kill_moment(rng))
            runs.killed(c)
    j = judge.Judge()
    load[0].stop(j)
    with runs.start(t, root, "--sink", "file:" + out, out=subprocess.DEVNULL) as c:
        size = -1
        while size != (os.path.getsize(out) if os.path.exists(out) else -2):
            size = os.path.getsize(out) if os.path.exists(out) else -2
            time.sleep(1)
        c.stop()
    with open(out, "rb") as f:
        for line in f.read().splitlines():
            if not line.endswith(b"}") and line.count(b'{"time":') <= 1:
                torn += 1
                continue
            text = line.partition(b'"message":"')[2].partition(b'"')[0].decode()
            message = judge.parse(text)
            t.check(message and line.count(b'{"time":') == 1, f"no whole record: {tap.clip(line)}")
            track = j.track(*message[:2])
            if message[2] >= len(track.seen) or not track.seen[message[2]]:
                track.add(message[2])
    t.check(torn <= count, f"{torn} torn records of {count} kills")
    problems = j.problems()
    if problems:
        t.fail(*problems)
    t.note(f"{torn} records cut short by {count} kills")


@suite.case(bpf=BOTH, timeout=40)
def sigkill_when_all_was_checkpointed_repeats_nothing(t):
    """Half a second after the checkpoint has the last line, with rotation, partials and a gz in between."""
    root, texts, got = t.mkdir("root"), [], []
    log = os.path.join(root, "a.log")
    for n in range(3):
        texts += tree.write_lines(log, "line " + "y" * 50, 500, first=n * 500)
        c = runs.run(t, root, 500, settle=2.2, sig=signal.SIGKILL)
        got += c.messages()
        if n == 1:
            runs.compress(log + ".20261121-000000")
        os.rename(log, f"{log}.20261121-{n:06d}")
    t.equal(got, texts, "messages of three killed runs")


@suite.case(bpf=BOTH, timeout=40)
def sigkill_repeats_nothing_when_only_changes_were_saved(t):
    """Of 200 files three are written to: what is saved then is they, beside the whole checkpoint of before."""
    root, texts = t.mkdir("root"), []
    for n in range(200):
        texts += tree.write_lines(os.path.join(root, f"{n}.log"), f"line of {n}", 3)
    with runs.start(t, root, env={"HOTDRAIN_CHECK_LEDGER": None}) as c:
        c.wait_lines(600)
        time.sleep(4)  # all of them are quiet, and a whole checkpoint knows it
        for again in range(3):
            for n in (3, 77, 199):
                texts += tree.write_lines(os.path.join(root, f"{n}.log"), f"line of {n}", 5, first=3 + 5 * again)
            runs.wait_saved(t, root)
        c.wait_lines(645)
        os.unlink(os.path.join(root, "100.log"))
        time.sleep(5.5)  # its entry stays for 3 s
        runs.killed(c)
    whole, changes = (os.path.getsize(t.path("state", f)) for f in ("checkpoint", "checkpoint.changes"))
    t.check(changes * 5 < whole, f"changes of {changes} bytes beside {whole}")
    t.equal(len(runs.checkpoint(t)), 199, "files in the checkpoint")
    texts += tree.write_lines(os.path.join(root, "77.log"), "line of 77", 5, first=18)
    got = runs.run(t, root, 5).messages()
    t.equal(sorted(c.messages() + got), sorted(texts), "messages of both runs")
    t.equal(os.path.exists(t.path("state", "checkpoint.changes")), False, "changes after a clean stop")


@suite.case(bpf=BOTH, timeout=40)
def sigkill_of_unread_files_without_a_name_is_counted(t):
    """Only the killed process could have read them. The next one says that they are gone, and loses nothing else."""
    root = t.mkdir("root")
    log = os.path.join(root, "a.log")
    texts = [f"line {i:06d} " + "x" * 380 for i in range(6000)]
    with runs.start(t, root, out="stalled") as c:
        tree.append(log, *map(tree.cri, texts[:3000]))
        t.check(proc.wait_until(lambda: runs.checkpoint(t), 10), "the checkpoint does not know the file")
        tree.append(log + ".tmp", *map(tree.cri, texts[3000:]))
        os.rename(log + ".tmp", log)
        time.sleep(0.3)
        proc.kill(c.pid, signal.SIGKILL)
        c.process.wait()
    c = runs.run(t, root, 3000)
    t.equal(c.messages(), texts[3000:], "messages of the file that has a name")
    t.equal(runs.losses(c).get("rotated_away", (0, 0))[1], 1, f"files rotated away ({runs.losses(c)})")


@suite.case(bpf=BOTH, timeout=40)
def a_crash_loop_gets_ahead(t):
    """Killed 0.7 s after each start: sooner or later every line has come, and a checkpoint is made nevertheless."""
    root, log = t.mkdir("root"), t.path("root", "a.log")
    texts, firsts = tree.write_lines(log, "line " + "x" * 60, 2000), []
    for n in range(5):
        c = runs.start(t, root)
        c.wait_lines(1, 5)
        time.sleep(0.7)
        runs.killed(c)
        got = c.messages()
        firsts.append(len(got))
        t.check(got == texts[len(texts) - len(got):], f"run {n} is not the end of what was written")
        texts += tree.write_lines(log, "line " + "x" * 60, 10, first=len(texts))
    t.note(f"lines of each run: {firsts}")
    t.equal(firsts[0], 2000, "lines of the first run")
    t.check(min(firsts) < 2000, f"each run of 0.7 s began at the beginning: {firsts}")


if __name__ == "__main__":
    lanes.run(suite, 4)
