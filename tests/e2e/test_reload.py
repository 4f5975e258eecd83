#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The configuration is read again under load: what changes, what stays, and that no line notices."""
import json
import os
import random
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import judge, kubelet, lanes, ledger, lines, metrics, proc, tap, tree  # noqa: E402
from lib.collector import Collector, Record  # noqa: E402

suite = tap.Suite("reload", timeout=170)
BOTH = ("auto", "off")


class Settings:
    """The YAML file of one collector."""

    def __init__(self, t, **settings):
        self.path, self.settings = t.path("config.yaml"), dict(settings)
        self.write()

    def text(self):
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in self.settings.items())

    def put(self, text, path=None):
        """As an editor does: a new file in the old one's place."""
        path = path or self.path
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def write(self, **settings):
        self.settings.update(settings)
        self.put(self.text())


def said(c, text):
    return c.stderr().count(text)


def reloads(c):
    return said(c, "hotdrain: reload: changed")


def reload(c, settings, **change):
    """By signal; until it is done."""
    before = said(c, "reload")
    settings.write(**change)
    proc.kill(c.pid, signal.SIGHUP)
    if not proc.wait_until(lambda: said(c, "reload") > before, 15):
        raise tap.Failure(f"no reload with {change}")


def is_whole(path):
    """The lines of a file sink."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as f:
        text = f.read()
    if text and not text.endswith(b"\n"):
        raise tap.Failure(f"{path} ends within a line: {tap.clip(text[-200:])}")
    return [Record(line, 0) for line in text.split(b"\n")[:-1] if b"hotdrain-e2e-ready" not in line]


def once_and_in_order(t, j, *sinks):
    """Every line that j expects is in exactly one of the sinks, and each of them has its lines in order."""
    found = []
    for records in sinks:
        order = judge.Judge()
        order.add_records(records)
        for (ident, stream), track in order.tracks.items():
            t.check(not track.order_broken, f"{ident} {stream} out of order in one sink: {track.order_broken[:4]}")
        found += records
    found.sort(key=lambda r: judge.parse(r.message)[2] if judge.parse(r.message) else -1)
    j.add_records(found)
    if j.problems():
        t.fail(*j.problems())


def log_files(pid, root):
    """{descriptor: (device, inode, position)} of what is open below root."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            path, st = os.readlink(f"/proc/{pid}/fd/{fd}"), os.stat(f"/proc/{pid}/fd/{fd}")
            with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                position = f.readline()
        except FileNotFoundError:
            continue
        if path.startswith(os.path.realpath(root) + "/"):
            found[fd] = st.st_dev, st.st_ino, position
    return found


# Under load

@suite.case(bpf=BOTH, timeout=50)
def roots_sinks_and_limits_change_under_load(t):
    """Writers that are rotated, forty reloads: each line once over all sinks, in order in each."""
    rng = random.Random(6)
    roots = [t.mkdir(f"root{n}") for n in range(3)]
    one, two = f"file:{t.path('one')}", f"file:{t.path('two')}"
    s = Settings(t, root=roots, sink="stdout")
    running, figures, j = [], [], judge.Judge()
    with Collector(t, "-c", s.path, state=t.path("state")) as c:
        c.ready(roots[0])
        for n in range(6):
            ident = f"c{n}.0"
            log = tree.Pod(roots[n % 3], name=f"p{n}", number=n).log(f"c{n}")
            w = lines.FileWriter(t, log, ident, "-t", 60, "-r", (3000, 1500, 800, 200, 50, 5)[n], "-L", "500:30000")
            running.append((w, kubelet.Rotator(log, w.reopen, keep=100, compress=False).start(0.7 + n / 10)))
        figures.append(ledger.ask(t.path("state")).total)
        for _ in range(40):
            reload(c, s, root=rng.choice([roots, roots[:1], roots[1:], [roots[2], roots[0]], roots[1:2]]),
                   sink=rng.choice(["stdout", one, two, ["null", one], [two]]),
                   line_max=rng.choice(["1Mi", "2Mi", "256Ki"]), batch_bytes=rng.choice(["256Ki", "16Ki", "1Mi"]),
                   linger=rng.choice(["0", "5ms", "20ms"]), tick=rng.choice(["1ms", "9ms", "30ms"]),
                   order=rng.choice(["hot", "fair", "fifo"]), hot_quiet=rng.choice(["10ms", "250ms"]))
            time.sleep(rng.choice([0, 0.05, 0.1, 0.3]))
            figures.append(ledger.ask(t.path("state")).total)
            t.check(all(getattr(figures[-2], x) <= getattr(figures[-1], x) for x in ("written", "read", "delivered")),
                    f"counters went back: {figures[-2:]}")
        reload(c, s, root=roots, sink=["stdout"])
        for w, rotator in running:
            rotator.stop()
            w.stop()
            j.expect_result(w.result)
        proc.wait_until(lambda: not ledger.ask(t.path("state")).total.pending, 10)
        total = ledger.ask(t.path("state")).total
        t.equal((total.lost, total.pending), ({}, 0), "lost and pending in the ledger")
        c.wait_quiet()
        c.stop()
        t.equal(said(c, "reload refused"), 0, "reloads refused")
        t.note(f"{reloads(c)} reloads, {sum(r.rotations for _, r in running)} rotations, {j.expected_lines()} lines")
    once_and_in_order(t, j, c.records(), is_whole(t.path("one")), is_whole(t.path("two")))


@suite.case(bpf=BOTH, timeout=30)
def a_root_that_comes_back_goes_on_where_it_was_left(t):
    """Rotated, truncated lines and partial records while it was not followed; also after a restart."""
    kept, other = t.mkdir("kept"), t.mkdir("other")
    log = tree.Pod(other).log()
    s = Settings(t, root=[kept, other])
    wanted = []
    with Collector(t, "-c", s.path, state=t.path("state")) as c:
        c.ready(kept)
        wanted += tree.write_lines(log, "first", 50)
        t.check(c.wait_lines(50), "the first lines")
        tree.append(log, tree.cri("begun-", tag="P"), tree.cri("torn")[:20])
        time.sleep(0.2)
        reload(c, s, root=[kept])
        proc.wait_until(lambda: not log_files(c.pid, other), 10)
        t.equal(log_files(c.pid, other), {}, "descriptors below the removed root")
        tree.append(log, tree.cri("torn")[20:])
        os.rename(log, log + ".20261121-000001")
        wanted += ["begun-torn", *tree.write_lines(log, "second", 50)]
        time.sleep(0.3)
        t.equal(len(c.lines), 50, "lines while it is not followed")
        reload(c, s, root=[other, kept])
        t.check(c.wait_lines(101), f"the second lines: {len(c.lines)}")
        reload(c, s, root=[kept])
        proc.wait_until(lambda: not log_files(c.pid, other), 10)
        wanted += tree.write_lines(log, "third", 50)
        c.stop()
        got = c.messages()
    s.write(root=[kept, other])
    with Collector(t, "-c", s.path, state=t.path("state")) as c:
        c.ready(kept)
        c.wait_lines(50)
        c.stop()
        t.equal([m for m in got + c.messages()], wanted, "messages of both runs")


@suite.case(bpf=BOTH)
def files_that_stay_are_not_reopened(t):
    root, other = t.mkdir("root"), t.mkdir("other")
    logs = [tree.Pod(root, name=f"p{n}", number=n).log() for n in range(20)]
    for n, log in enumerate(logs):
        tree.write_lines(log, f"p{n}", 3)
    out = f"file:{t.path('out')}"
    s = Settings(t, root=[root], sink=["stdout", out])
    with Collector(t, "-c", s.path) as c:
        c.ready(root)
        t.check(c.wait_lines(60), "the first lines")
        before, sink = log_files(c.pid, root), [os.stat(t.path("out")).st_ino, log_files(c.pid, t.dir)]
        t.equal(len(before), 21, "descriptors of logs")
        for change in ({"linger": "1ms", "line_max": "4Mi"}, {"root": [other, root]}, {"sink": [out, "null", "stdout"]},
                       {"root": [root], "sink": ["stdout", out]}, {"order": "fair", "held_max": "1Mi", "rotate_files": 9}):
            reload(c, s, **change)
            time.sleep(0.1)
            t.equal(log_files(c.pid, root), before, f"descriptors of logs after {change}")
            now = {fd: x for fd, x in log_files(c.pid, t.dir).items() if fd in sink[1] and fd not in before}
            t.equal({fd: x[:2] for fd, x in now.items()}, {fd: x[:2] for fd, x in sink[1].items() if fd not in before},
                    f"descriptors of sinks after {change}")
        more = [line for n, log in enumerate(logs) for line in tree.write_lines(log, f"p{n} again", 2)]
        c.wait_lines(100)
        c.stop()
        t.equal(sorted(c.messages()[60:]), sorted(more), "messages after the reloads")
        t.equal([r.message for r in is_whole(t.path("out"))], c.messages(), "the file's lines")


@suite.case(timeout=40)
def a_storm_of_signals(t):
    root = t.mkdir("root")
    s = Settings(t, root=root)
    j = judge.Judge()
    with Collector(t, "-c", s.path) as c:
        c.ready(root)
        w = lines.FileWriter(t, tree.Pod(root).log("c0"), "c0.0", "-t", 60, "-r", 5000)
        end_at = time.monotonic() + 3
        sent = 0
        while time.monotonic() < end_at:
            proc.kill(c.pid, signal.SIGHUP)
            sent += 1
            if sent % 50 == 0:
                s.write(linger=f"{sent % 7}ms")
        w.stop()
        j.expect_result(w.result)
        records = c.finish(j.expected_lines())
        done = reloads(c)
        t.check(2 <= done <= 60, f"{done} reloads in 3 s by {sent} signals")
        t.note(f"{sent} signals, {done} reloads")
    once_and_in_order(t, j, records)


@suite.case(timeout=30)
def signals_during_the_start(t):
    """From the moment that it can be asked at all, and through the first scan: none ends it."""
    root = t.mkdir("root")
    wanted = []
    for n in range(300):
        wanted += tree.write_lines(tree.Pod(root, name=f"p{n}", number=n).log(), f"p{n}", 5)
    s = Settings(t, root=root)

    def holds_signals(pid):
        with open(f"/proc/{pid}/status") as f:
            mask = next(line for line in f if line.startswith("SigBlk"))
        return int(mask.split()[1], 16) & 1

    for _ in range(5):
        with Collector(t, "-c", s.path) as c:
            proc.wait_until(lambda: holds_signals(c.pid), 5, step=0.0002)
            while len(c.lines) < len(wanted) and c.process.poll() is None:
                proc.kill(c.pid, signal.SIGHUP)
                time.sleep(0.001)
            c.stop()
            t.equal(sorted(c.messages()), sorted(wanted), "messages")


@suite.case()
def a_signal_before_the_collector_is_there(t):
    """While the configuration is read for the first time: here from a pipe that is slow."""
    root = t.mkdir("root")
    os.mkfifo(t.path("config.yaml"))
    with Collector(t, "-c", t.path("config.yaml")) as c:
        with open(t.path("config.yaml"), "w") as f:  # returns when it is opened for reading
            for _ in range(100):
                proc.kill(c.pid, signal.SIGHUP)
            f.write(f"root: {root}\n")
        c.wait_stderr("expected a regular file, to be read again")
        c.ready(root)
        wanted = tree.write_lines(tree.Pod(root).log(), "x", 3)
        t.equal([r.message for r in c.finish(3)], wanted, "messages")


# What it says

@suite.case()
def a_bad_file_leaves_the_old_one_in_force(t):
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    s = Settings(t, root=root, linger="5ms")
    bad = [("linger: soon\n", "linger: expected a duration"), ("liger: 5ms\n", "unknown key 'liger'"),
           ("linger: 5ms\nlinger: 6ms\n", "the key is there twice"), ("root: [a\n", s.path + ":"), ("- a\n- b\n", "expected lines"),
           ("line_max: 1\n", "line_max: expected"), (f"root: {t.path('nowhere')}\n", f"root {t.path('nowhere')}: No such file"),
           (f"root: [{t.path('no')}, {t.path('nor')}]\n", "none of the roots is there"),
           (f"root: {root}\nsink: [null, 'file:{t.path('no', 'out')}']\n", f"sink file:{t.path('no', 'out')}: No such file"),
           (f"root: {root}\nsink: tcp:1\n", "expected stdout, file:PATH or null, got 'tcp:1'"), ("\0", "not a text file")]
    with Collector(t, "-c", s.path) as c:
        c.ready(root)
        wanted = []
        for n, (text, why) in enumerate(bad):
            s.put(text)
            proc.kill(c.pid, signal.SIGHUP)
            t.check(proc.wait_until(lambda: said(c, "reload refused") > n, 15), f"not refused: {text!r}")
            last = [x for x in c.stderr().splitlines() if "reload refused" in x][-1]
            t.check(why in last, f"{text!r}: {last}")
            wanted += tree.write_lines(log, f"after {n}", 3)
            t.check(c.wait_lines(len(wanted)), f"no lines after {text!r}")
        for make in (os.mkdir, os.mkfifo):
            os.unlink(s.path) if not os.path.isdir(s.path) else os.rmdir(s.path)
            seen = said(c, "reload refused")
            proc.kill(c.pid, signal.SIGHUP)
            t.check(proc.wait_until(lambda: said(c, "reload refused") > seen, 5), "not refused: no file")
            make(s.path)
            seen = said(c, "reload refused")
            proc.kill(c.pid, signal.SIGHUP)
            t.check(proc.wait_until(lambda: said(c, "reload refused") > seen, 5), f"not refused: {make.__name__}")
        s.write(linger="7ms")
        t.check(proc.wait_until(lambda: said(c, "reload: changed: linger"), 5), "the good file is not taken")
        wanted += tree.write_lines(log, "last", 3)
        t.equal([r.message for r in c.finish(len(wanted))], wanted, "messages")
        t.equal(os.path.exists(t.path("no")), False, "something was made")


@suite.case()
def what_needs_a_start_is_named(t):
    root = t.mkdir("root")
    s = Settings(t, root=root)
    with Collector(t, "-c", s.path, bpf=False) as c:
        c.ready(root)
        reload(c, s, batches=4, format="raw", bpf="off", linger="1ms", **{"files_max": 99})
        c.wait_stderr("takes effect at the next start: format, bpf, batches, files_max\n")
        c.wait_stderr("reload: changed: linger\n")
        wanted = tree.write_lines(tree.Pod(root).log(), "still NDJSON", 3)
        t.equal([r.message for r in c.finish(3)], wanted, "messages")


@suite.case()
def reloads_are_counted(t):
    """And what is in force is what the status shows: counters go on, a sink that is gone is not there."""
    root = t.mkdir("root")
    s = Settings(t, root=root, sink=["stdout", "null"])
    with Collector(t, "-c", s.path, *metrics.ADDRESS) as c:
        c.ready(root)
        reload(c, s, linger="1ms", sink=["stdout"], order="fair")
        reload(c, s, linger="soon")
        reload(c, s, linger="2ms")
        now = metrics.status(c)
        t.equal(now["reload"], {"done": 2, "failed": 1}, "reloads")
        t.equal(([x["name"] for x in now["sinks"]], now["order"]), (["stdout"], "fair"), "sinks and order")
        c.stop()


@suite.case()
def the_command_line_stays_on_top(t):
    root, other = t.mkdir("root"), t.mkdir("other")
    s = Settings(t, linger="5ms")
    with Collector(t, "-c", s.path, "-r", root, "--order", "fair") as c:
        c.ready(root)
        reload(c, s, root=other, order="fifo", linger="6ms")
        c.wait_stderr("reload: changed: linger\n")
        tree.write_lines(tree.Pod(other).log(), "other", 3)
        wanted = tree.write_lines(tree.Pod(root).log(), "root", 3)
        t.equal([r.message for r in c.finish(3)], wanted, "messages")


@suite.case()
def without_a_file_there_is_nothing_to_read(t):
    root = t.mkdir("root")
    with Collector(t, "-r", root) as c:
        c.ready(root)
        proc.kill(c.pid, signal.SIGHUP)
        c.wait_stderr("no file was named by --config")
        wanted = tree.write_lines(tree.Pod(root).log(), "x", 3)
        t.equal([r.message for r in c.finish(3)], wanted, "messages")


# The file itself

@suite.case(timeout=40)
def the_file_changes_by_itself(t):
    """Renamed over, written in place, a link that is switched, as a ConfigMap is: the watch goes on after each."""
    root = t.mkdir("root")
    for version in range(6):
        os.mkdir(t.path(f"..v{version}"))
    link = t.path("config.yaml")

    def switch(version, linger):
        with open(t.path(f"..v{version}", "config.yaml"), "w") as f:
            f.write(f"root: {root}\nlinger: {linger}ms\n")
        os.symlink(f"..v{version}", t.path("..data_tmp"))
        os.rename(t.path("..data_tmp"), t.path("..data"))

    switch(0, 5)
    os.symlink("..data/config.yaml", link)
    with Collector(t, "-c", link) as c:
        c.ready(root)

        def taken(n, how):
            t.check(proc.wait_until(lambda: reloads(c) == n, 10), f"{how}: {reloads(c)} reloads, wanted {n}")

        for version in range(1, 4):
            switch(version, 5 + version)
            proc.wait_until(lambda: reloads(c) >= version, 10)
            os.unlink(t.path(f"..v{version - 1}", "config.yaml"))
            os.rmdir(t.path(f"..v{version - 1}"))
            taken(version, "a switched link")
        with open(t.path("..v3", "config.yaml"), "w") as f:
            for part in (f"root: {root}\n", "linger: ", "20", "ms\n"):
                f.write(part)
                f.flush()
                time.sleep(0.03)
        taken(4, "written in place behind the links")
        os.unlink(link)
        c.wait_stderr("No such file", 15)
        with open(link, "w") as f:
            f.write(f"root: {root}\nlinger: 21ms\n")
        taken(5, "gone and back")
        with open(t.path("x"), "w") as f:
            f.write(f"root: {root}\nlinger: 22ms\n")
        os.rename(t.path("x"), link)
        taken(6, "renamed over")
        with open(t.path("neighbour"), "w") as f:
            f.write("x")
        time.sleep(0.5)
        taken(6, "a neighbour")
        wanted = tree.write_lines(tree.Pod(root).log(), "x", 3)
        t.equal([r.message for r in c.finish(3)], wanted, "messages")
        t.equal(said(c, "reload refused"), 1, "reload refused")


# Roots and sinks one by one

@suite.case(bpf=BOTH)
def start_counts_for_a_root_that_is_added(t):
    root, old, new = t.mkdir("root"), t.mkdir("old"), t.mkdir("new")
    for r in (old, new):
        tree.write_lines(tree.Pod(r).log(), os.path.basename(r), 5)
    s = Settings(t, root=[root], start="end")
    with Collector(t, "-c", s.path) as c:
        c.ready(root)
        reload(c, s, root=[root, new])
        wanted = tree.write_lines(tree.Pod(new).log(), "end", 5)
        t.check(c.wait_lines(5), "the new root's new lines")
        reload(c, s, root=[root, new, old], start="beginning")
        wanted += [f"old {n}" for n in range(5)]
        got = [r.message for r in c.finish(10)]
        t.equal(len(got), len(wanted), "lines")
        t.equal(got[:5], wanted[:5], "messages of the root that was begun at its end")


@suite.case(bpf=BOTH, timeout=30)
def links_into_other_directories(t):
    """A flat directory of links, the pods themselves, and both: each line once whichever leads there."""
    pods, flat, out = t.mkdir("pods"), t.mkdir("containers"), t.mkdir("elsewhere")
    log = tree.Pod(pods).log()
    outside = os.path.join(out, "outside.log")
    wanted = tree.write_lines(log, "first", 5)
    tree.append(outside, "outside first\n")
    os.symlink(log, os.path.join(flat, "app.log"))
    os.symlink(outside, os.path.join(flat, "outside.log"))
    s = Settings(t, root=[flat], link_root=[])
    with Collector(t, "-c", s.path) as c:
        t.check(c.wait_lines(5), "the first lines")
        for n, change in enumerate(({"root": [pods]}, {"root": [flat, pods]}, {"root": [flat]}, {"root": [pods, flat]})):
            reload(c, s, **change)
            wanted += tree.write_lines(log, f"step {n}", 5)
            t.check(c.wait_lines(len(wanted)), f"no lines after {change}")
        reload(c, s, link_root=[out])
        wanted += ["outside first"]
        t.check(c.wait_lines(len(wanted)), "no line of what is outside")
        reload(c, s, link_root=[])
        proc.wait_until(lambda: not log_files(c.pid, out), 10)
        t.equal(log_files(c.pid, out), {}, "descriptors outside")
        tree.append(outside, "outside second\n")
        wanted += tree.write_lines(log, "last", 5)
        t.equal([r.message for r in c.finish(len(wanted))], wanted, "messages")


@suite.case(bpf=BOTH)
def what_a_removed_root_held_is_delivered(t):
    """Behind a reader that stalls: what was there at the reload still comes, the rest does not, nothing is lost."""
    root, other = t.mkdir("root"), t.mkdir("other")
    log = tree.Pod(other).log()
    s = Settings(t, root=[root, other])
    with Collector(t, "-c", s.path, out="stalled", state=t.path("state")) as c:
        wanted = []
        for n in range(40):
            wanted += tree.write_lines(log, "x" * 300 + f" {n}", 500)
        time.sleep(0.5)
        reload(c, s, root=[root])
        time.sleep(0.2)
        for n in range(40):
            tree.write_lines(log, "x" * 300 + " late", 500)
        before = ledger.ask(t.path("state")).total.written
        c.read_on()
        t.check(c.wait_lines(len(wanted), 15), f"{len(c.lines)} of {len(wanted)} lines")
        t.check(proc.wait_until(lambda: not log_files(c.pid, other), 10), "the file is still open")
        said_now = ledger.settled(t.path("state"))
        t.equal((said_now.total.lost, said_now.total.pending), ({}, 0), "lost and pending in the ledger")
        t.check(said_now.total.written >= before, f"written went back from {before}: {said_now.total}")
        c.stop()
        got = c.messages()
        t.equal(got[:len(wanted)] == wanted, True, "what was there, in order")
        t.check(len(got) < len(wanted) + 10000, f"{len(got)} lines: what came later was read too")


@suite.case(bpf=BOTH, timeout=30)
def a_removed_sink_that_is_stuck_hands_over(t):
    """Nobody reads stdout; it is replaced: after stop_timeout the new sink gets what stdout was given."""
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    out = t.path("out")
    s = Settings(t, root=root, stop_timeout="300ms")
    with Collector(t, "-c", s.path, out="stalled") as c:
        wanted = []
        for n in range(20):
            wanted += tree.write_lines(log, "x" * 300 + f" {n}", 500)
        time.sleep(0.5)
        reload(c, s, sink=f"file:{out}")
        c.wait_stderr("they go to the new sinks", 15)
        wanted += tree.write_lines(log, "more", 500)
        proc.wait_until(lambda: os.path.exists(out) and b"more 499" in lines_of(out), 10)
        c.read_on()
        c.stop()
        got = [r.message for r in is_whole(out)]
        t.check(len(got) > 500 and got == wanted[-len(got):], f"{len(got)} of {len(wanted)} lines, in order to the end")
        first = [json.loads(x)["message"] for _, x in c.lines]
        t.equal(first == wanted[:len(first)], True, "what stdout took is the beginning")
        t.check(len(first) + len(got) >= len(wanted), f"stdout {len(first)}, file {len(got)} of {len(wanted)}")


def lines_of(path):
    with open(path, "rb") as f:
        return f.read()


@suite.case(bpf=BOTH)
def a_removed_sink_in_a_root_stays_excluded(t):
    root = t.mkdir("root")
    inside = os.path.join(root, "out.log")
    s = Settings(t, root=root, sink=["stdout", f"file:{inside}"])
    with Collector(t, "-c", s.path) as c:
        c.ready(root)
        wanted = tree.write_lines(tree.Pod(root).log(), "x", 5)
        c.wait_lines(5)
        reload(c, s, sink=["stdout"])
        reload(c, s, sink=["stdout", f"file:{os.path.join(root, 'other.log')}"])
        wanted += tree.write_lines(tree.Pod(root).log(), "y", 5)
        t.equal([r.message for r in c.finish(10)], wanted, "messages")
        t.equal([r.message for r in is_whole(inside)], wanted[:5], "the first file's")
        t.equal([r.message for r in is_whole(os.path.join(root, "other.log"))], wanted[5:], "the second file's")


@suite.case(bpf=BOTH)
def longer_lines_fit_from_then_on(t):
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    s = Settings(t, root=root, line_max="2Ki", decode="raw")
    with Collector(t, "-c", s.path) as c:
        c.ready(root)
        for n, (limit, size) in enumerate((("2Ki", 2048), ("3Mi", 3 << 20), ("1Ki", 1024), ("64Ki", 65536))):
            if n:
                reload(c, s, line_max=limit)
            tree.append(log, b"x" * (3 << 20) + b"\n" + b"y" * 1000 + b"\n")
            t.check(c.wait_lines(2 * n + 2), f"no lines with {limit}")
            got = c.records()[2 * n]
            t.equal((len(got.message), got.get("truncated")), (size, True if size < 3 << 20 else None), f"with {limit}")
            t.equal(c.records()[2 * n + 1].message, "y" * 1000, f"the next with {limit}")
        c.stop()


lanes.run(suite, 3)
