#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The ledger of a running collector: every byte that was written is delivered, pending or lost, and it says which.

lib/ledger.py demands of each answer that the equation holds for each container and in total. Here is what the figures
must be: the test knows the bytes of each line it wrote.
"""
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import judge, lanes, ledger, lines, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("ledger", timeout=150)
BOTH = ("auto", "off")
MANY = 2000
# More than a pipe and all batches hold, so that a stalled reader leaves something unread.
BLOCKED = 40000


def start(t, *args, state="state", **more):
    """(root, state directory, a collector that follows it)"""
    root = os.path.realpath(t.mkdir("pods"))
    return root, t.path(state), again(t, root, t.path(state), *args, **more)


def again(t, root, state, *args, **more):
    """A collector that can be asked."""
    c = Collector(t, "-r", root, "--state", state, *args, **more)
    proc.wait_until(lambda: c.process.poll() is not None or ledger.call(state)[0] != 2, 10)
    return c


def rung(c):
    """The rung that attached."""
    c.wait_stderr("bpf")
    found = re.findall(r"bpf: rung (\w+)$|bpf rung (\w+)", c.stderr(), re.M)
    return "".join(found[-1]) if found else "off"


def is_followed(c, state, path):
    if not proc.wait_until(lambda: c.process.poll() is not None or path in proc.open_paths(c.pid), 10):
        raise tap.Failure(f"{path} is not followed")


# What it says

@suite.case(bpf=BOTH)
def every_byte_of_every_container(t):
    """Two containers of one pod, a second pod, a log that is restarted once, and one outside of all pods."""
    root, state, c = start(t)
    shop, mail = tree.Pod(root), tree.Pod(root, name="mail", namespace="post", number=2)
    wrote = {}
    with c:
        for n, (pod, container, restart) in enumerate(((shop, "app", 0), (shop, "sidecar", 0), (mail, "app", 0), (mail, "app", 1))):
            text = lines.Lines(f"{container}.{restart}").make(100 * (n + 1))
            tree.append(pod.log(container, restart), text)
            key = (pod.namespace, pod.name, pod.uid, container)
            wrote[key] = wrote.get(key, 0) + len(text)
        other = os.path.join(root, "other.log")
        tree.append(other, "a line\n", "no newline")
        wrote[other] = 17
        t.check(c.wait_lines(1001), "the lines have not come")
        proc.wait_until(lambda: ledger.ask(state).total.delivered == sum(wrote.values()) - 10, 5)
        said = ledger.ask(state)
        t.equal({k: e.written + e.uncounted for k, e in said.containers.items()}, wrote, "bytes written")
        t.equal({k: e.pending for k, e in said.containers.items() if e.pending}, {other: 10}, "bytes pending")
        t.equal((said.total.delivered, said.total.lost, said.status), (sum(wrote.values()) - 10, {}, 0), "the rest")
        t.equal(said.containers[other].path, other, "path of a log without names")
        t.equal(said.of(mail).path, os.path.join(mail.dir, "app"), "path of a container")
        c.stop()


@suite.case(bpf=BOTH)
def what_the_figures_are_worth(t):
    """Without positions a lower bound, and why; with them proven."""
    root, state, c = start(t)
    with c:
        c.ready(root)
        said = ledger.ask(state)
        name = rung(c)
        t.note(f"rung {name}: {said.proof} {said.why}")
        why = {"off": "no program counts", "syscall": "this rung does not see truncations",
               "kprobe": "this rung does not see truncations"}.get(name)
        t.equal((said.proof, said.why), ("lower_bound", f"bpf rung {name}: {why}") if why else ("proven", ""), "proof")
        t.check(ledger.Table(ledger.call(state)[1]).notes[-1].startswith("lower bound: bpf rung" if why else "proven:"),
                "the table does not say so")
        c.stop()


@suite.case(bpf=BOTH)
def the_table_says_the_same(t):
    root, state, c = start(t)
    pods = [tree.Pod(root), tree.Pod(root, number=2), tree.Pod(root, name="with-a-rather-long-name-of-its-own", number=3)]
    with c:
        for n, pod in enumerate(pods):
            tree.append(pod.log(), lines.Lines().make(10 ** n))
        tree.append(os.path.join(root, "odd\tname \x1b[31m.log"), "x\n")
        t.check(c.wait_lines(112), "the lines have not come")
        said = ledger.settled(state)
        status, out, err = ledger.call(state)
        t.equal((status, err), (0, ""), "status and standard error")
        table = ledger.Table(out)
        wanted = {f"shop/web/app ({pod.uid})": said.of(pod) for pod in pods[:2]}
        wanted[f"shop/{pods[2].name}/app"] = said.of(pods[2])
        wanted[os.path.join(root, "odd?name ?[31m.log")] = said.containers[os.path.join(root, "odd\tname \x1b[31m.log")]
        wanted["TOTAL"] = said.total
        t.equal(table.rows, {k: ledger.figures(e) for k, e in wanted.items()}, "rows")
        t.equal(len({len(line) for line in table.lines if len(line.split("  ")[0]) < 60}), 1, "widths of the rows")
        t.equal(len(table.notes), 1, f"notes {table.notes}")
        c.stop()


@suite.case(bpf=BOTH)
def what_nobody_takes_is_pending(t):
    root, state, c = start(t, out="stalled")
    log = tree.Pod(root).log()
    text = lines.Lines().make(BLOCKED)
    with c:
        tree.append(log, text)
        is_followed(c, state, log)
        t.check(proc.wait_until(lambda: ledger.ask(state).total.read > 100000, 10), "nothing was read")
        time.sleep(0.5)
        said = ledger.ask(state)
        t.equal(said.total.written + said.total.uncounted, len(text), "written while blocked")
        t.check(said.total.pending > len(text) / 4, f"pending while blocked: {said}")
        t.equal((said.total.lost, said.status), ({}, 0), "lost")
        c.read_on()
        t.check(c.wait_lines(BLOCKED), "the lines have not come")
        said = ledger.settled(state, len(text))
        t.equal((said.total.delivered, said.total.pending), (len(text), 0), "delivered and pending at the end")
        c.stop()


@suite.case(bpf=BOTH)
def a_loss_is_the_bytes_of_the_lines_that_did_not_come(t):
    """A file is removed while nobody takes the output, and little may be held: status 1, and exactly that is lost."""
    root, state, c = start(t, "--held-max", "1Ki", out="stalled")
    log, pod = lines.Log(tree.Pod(root).log()), tree.Pod(root)
    with c:
        log.write(BLOCKED)
        is_followed(c, state, log.path)
        t.check(proc.wait_until(lambda: ledger.ask(state).total.read > 100000, 10), "nothing was read")
        os.unlink(log.path)
        log.close()
        t.check(proc.wait_until(lambda: ledger.ask(state).total.lost, 20), "nothing is lost")
        c.read_on()
        said = ledger.settled(state)
        c.wait_quiet()
        missing = log.missing(log.expect(judge.Judge()).add_records(c.records()))
        t.equal(said.of(pod).lost, {"held_cap": log.bytes_of(missing)}, "lost")
        t.equal(said.of(pod).written + said.of(pod).uncounted, log.total_bytes(), "written")
        t.equal((said.status, ledger.call(state)[0]), (1, 1), "exit status")
        t.equal(ledger.Table(ledger.call(state)[1]).notes[0],
                f"lost in shop/web/app: held_cap, {log.bytes_of(missing)} bytes, {said.of(pod).events['held_cap']} times", "note")
        c.stop()


# Rotation

@suite.case(bpf=BOTH)
def what_a_removed_log_of_a_container_had_stays(t):
    """0.log goes when there is a 1.log: the container's figures keep it, over a restart too."""
    root, state, c = start(t)
    pod, first, second = tree.Pod(root), lines.Lines("app.0"), lines.Lines("app.1")
    log = pod.log()
    with c:
        tree.append(log, first.make(100))
        tree.append(pod.log(restart=1), second.make(10))
        wrote = first.total_bytes() + second.total_bytes()
        ledger.settled(state, wrote)
        os.unlink(log)
        time.sleep(12)  # a log is kept for ten seconds without a file
        t.equal(ledger.ask(state).of(pod).written, wrote, "written, with the log removed")
        c.stop()
        t.check("(1 gone)" in c.stderr(), "the removed log has not ended")
    with again(t, root, state) as c:
        t.equal(ledger.ask(state).of(pod).written, wrote, "written, after a restart")
        c.stop()


@suite.case(bpf=BOTH)
def generations_and_restarts_are_one_container(t):
    """0.log rotated twice, then 1.log, then 2.log; older ones are removed. A second pod of that name is another one."""
    root, state, c = start(t)
    pod, other, wrote = tree.Pod(root), tree.Pod(root, number=2), 0
    count = 0
    with c:
        for restart in range(3):
            log = lines.Log(pod.log(restart=restart), f"app.{restart}")
            for generation in range(3):
                log.write(50)
                count += 50
                t.check(c.wait_lines(count), f"{count} lines have not come")
                old = log.rename(generation) if generation < 2 else None
                if generation:
                    os.unlink(old or log.path)
            log.close()
            wrote += log.total_bytes()
        tree.append(other.log(), tree.cri("x"))
        c.wait_lines(count + 1)
        said = ledger.settled(state)
        t.equal(len(said.containers), 2, f"containers in {said}")
        t.equal((said.of(pod).written + said.of(pod).uncounted, said.of(pod).delivered), (wrote, wrote), "written, delivered")
        t.equal(said.of(other).delivered, len(tree.cri("x")), "of the other pod")
        c.stop()


@suite.case(bpf=BOTH)
def what_is_removed_stays_in_the_total(t):
    root, state, c = start(t)
    stays, goes = tree.Pod(root, name="stays"), tree.Pod(root, name="goes", number=2)
    with c:
        a, b = lines.Lines().make(100), lines.Lines().make(200)
        tree.append(stays.log(), a)
        tree.append(goes.log(), b)
        t.check(c.wait_lines(300), "the lines have not come")
        ledger.settled(state, len(a + b))
        subprocess.run(["rm", "-r", goes.dir], check=True)
        proc.wait_until(lambda: goes.uid not in ledger.ask(state).text, 15, step=0.2)
        said = ledger.ask(state)
        t.note(f"of what is removed: {[k for k in said.containers if k != (stays.namespace, stays.name, stays.uid, 'app')]}")
        t.equal((said.total.written + said.total.uncounted, said.total.delivered), (len(a + b), len(a + b)), "total")
        t.equal(said.of(stays).delivered, len(a), "of what stays")
        c.stop()


class Storm(threading.Thread):
    """One container's log, written in bursts and renamed after each; of the old ones three stay."""

    def __init__(self, log, pause=0.01):
        super().__init__(daemon=True)
        self.log, self.pause, self.old, self.stopping = log, pause, [], threading.Event()
        self.paused = threading.Lock()  # while it is held nothing is removed
        self.written = 0

    def run(self):
        n = 0
        while not self.stopping.is_set():
            self.log.write(200)
            with self.paused:
                self.old.append(self.log.rename(n))
                n += 1
                if len(self.old) > 30:
                    os.unlink(self.old.pop(0))
            time.sleep(self.pause)

    def finish(self):
        self.stopping.set()
        self.join(20)
        return self.log.total_bytes()


def never_back(t, state, last, polls, most):
    """Asks so often. log_logged_bytes_total never goes back, nor beyond what was written."""
    for _ in range(polls):
        said = ledger.ask(state)
        for key, e in said.containers.items():
            t.check(e.logged >= last.get(key, 0), f"{key} went back from {last.get(key)} to {e.logged}")
            last[key] = e.logged
        t.check(said.total.written + said.total.uncounted <= most(), f"more than was written, {most()}: {said}")


@suite.case(bpf=BOTH, timeout=60)
def logged_bytes_never_go_back(t):
    """50 looks at two logs that are rotated all the time, and 20 after a restart; at its end it is every byte."""
    root, state, c = start(t)
    storms = [Storm(lines.Log(tree.Pod(root, name=f"p{n}", number=n).log(), f"app.{n}")) for n in range(2)]
    last, collectors = {}, [c]

    def most():
        return sum(s.log.total_bytes() for s in storms) + (1 << 20)  # and the test's own lines

    for s in storms:
        s.start()
    c.ready(root)
    with c:
        never_back(t, state, last, 50, most)
        for s in storms:
            s.paused.acquire()
        c.stop()
    with again(t, root, state) as c:
        collectors.append(c)
        for s in storms:
            s.paused.release()
        never_back(t, state, last, 20, most)
        wrote = sum(s.finish() for s in storms)
        proc.wait_until(lambda: sum(len(c.lines) for c in collectors) >= sum(len(x) for s in storms for x in s.log.sizes.values()), 20)
        said = ledger.settled(state)
        pods = [e for k, e in said.containers.items() if isinstance(k, tuple)]
        t.equal(sum(e.logged + e.uncounted for e in pods), wrote, f"bytes logged ({said})")
        t.equal(said.total.lost, {}, "lost")
        c.stop()
    j = judge.Judge()
    for s in storms:
        s.log.expect(j)
    for c in collectors:
        j.add_records(c.records(), owner=lambda r: f"app.{r['k8s.pod.name'][1:]}")
    t.equal(j.problems(), [], "lines")


# Restarts

def figures(said):
    """Everything but what was read."""
    return {k: (e.written + e.uncounted, e.delivered, e.pending, e.lost, e.events) for k, e in said.containers.items()}


def a_history(t, root, state, c):
    """Rotated, restarted, removed, lost: a bit of everything, and at rest. Its ledger."""
    log = lines.Log(tree.Pod(root).log())
    for n in range(3):
        log.write(300)
        log.rename(n)
    tree.append(tree.Pod(root).log(restart=1), lines.Lines("app.1").make(100))
    tree.append(tree.Pod(root, name="gone", number=2).log(), lines.Lines().make(50))
    t.check(c.wait_lines(1050), "the lines have not come")
    ledger.settled(state, timeout=5)
    subprocess.run(["rm", "-r", tree.Pod(root, name="gone", number=2).dir], check=True)
    os.unlink(log.path + ".20261121-000000")
    time.sleep(1)
    return log, ledger.settled(state)


@suite.case(bpf=BOTH)
def a_restart_by_sigterm_changes_nothing(t):
    root, state, c = start(t)
    with c:
        log, before = a_history(t, root, state, c)
        c.stop()
    for n in range(3):
        with again(t, root, state) as c:
            after = ledger.settled(state, before.total.written + before.total.uncounted)
            t.equal(figures(after)[tree_key(root)], figures(before)[tree_key(root)], f"after restart {n}")
            t.equal(totals(after), totals(before), f"total after restart {n}")
            c.stop()
            t.equal(len(c.lines), 0, "lines that came again")
    with again(t, root, state) as c:
        added = log.write(20)
        c.wait_lines(20)
        wanted = before.of(tree.Pod(root)).delivered + log.bytes_of(added)
        said = ledger.settled(state, before.total.written + before.total.uncounted + log.bytes_of(added))
        t.equal(said.of(tree.Pod(root)).delivered, wanted, "delivered after the restarts")
        c.stop()


def tree_key(root):
    pod = tree.Pod(root)
    return pod.namespace, pod.name, pod.uid, "app"


def totals(said):
    e = said.total
    return e.written + e.uncounted, e.delivered, e.pending, e.lost


@suite.case(bpf=BOTH)
def a_loss_is_remembered(t):
    """By a container that is there, and by one that is not: the status stays 1."""
    root, state, c = start(t, "--held-max", "1Ki", out="stalled")
    logs = [lines.Log(tree.Pod(root, name=f"p{n}", number=n).log(), f"app.{n}") for n in range(2)]
    with c:
        for log in logs:
            log.write(BLOCKED)
            is_followed(c, state, log.path)
        t.check(proc.wait_until(lambda: ledger.ask(state).total.read > 100000, 10), "nothing was read")
        for log in logs:
            os.unlink(log.path)
            log.close()
        tree.append(logs[0].path, lines.Lines("app.0").make(10))
        t.check(proc.wait_until(lambda: ledger.ask(state).total.events.get("held_cap") == 2, 20), f"not lost: {ledger.ask(state)}")
        c.read_on()
        before = ledger.settled(state)
        c.stop()
    for n in range(2):
        with again(t, root, state) as c:
            after = ledger.settled(state)
            t.equal(after.status, 1, "exit status")
            t.equal(figures(after), figures(before), f"after restart {n}")
            c.stop()


@suite.case(bpf=BOTH)
def a_restart_while_something_is_pending(t):
    """What was read and not delivered is read again: written stays, and in the end all is delivered."""
    root, state, c = start(t, "--stop-timeout", "300ms", out="stalled")
    log = lines.Log(tree.Pod(root).log())
    with c:
        log.write(BLOCKED)
        is_followed(c, state, log.path)
        t.check(proc.wait_until(lambda: ledger.ask(state).total.read > 100000, 10), "nothing was read")
        t.check(ledger.ask(state).total.pending > 0, "nothing is pending")
        proc.kill(c.pid, signal.SIGTERM)
        proc.wait_until(lambda: c.process.poll() is not None, 10)
    with again(t, root, state) as c:
        c.wait_quiet(1)
        said = ledger.settled(state, log.total_bytes())
        t.equal(totals(said), (log.total_bytes(), log.total_bytes(), 0, {}), "total after the restart")
        c.stop()


@suite.case(bpf=BOTH, timeout=40)
def kill_9_leaves_a_ledger_that_closes(t):
    """Killed five times under load. All files are still there: every byte is counted, once."""
    root, state, c = start(t)
    log = lines.Log(tree.Pod(root).log())
    for n in range(5):
        for _ in range(4):
            log.write(500)
            time.sleep(0.12)
        log.rename(n)
        ledger.ask(state)
        proc.kill(c.pid, signal.SIGKILL)
        c.process.wait()
        c = again(t, root, state)
        ledger.ask(state)
    with c:
        c.wait_quiet(1)
        said = ledger.settled(state, log.total_bytes())
        t.equal(totals(said), (log.total_bytes(), log.total_bytes(), 0, {}), "total after five kills")
        c.stop()


@suite.case(bpf=BOTH)
def compressed_while_stopped(t):
    """Unread bytes that are found inside X.gz are as good as in X."""
    root, state, c = start(t)
    log = lines.Log(tree.Pod(root).log())
    with c:
        log.write(200)
        t.check(c.wait_lines(200), "the lines have not come")
        c.stop()
    log.write(100)
    old = log.rename(1)
    subprocess.run(["gzip", old], check=True)
    log.write(50)
    with again(t, root, state) as c:
        t.check(c.wait_lines(150), "the rest has not come")
        said = ledger.settled(state, log.total_bytes())
        t.equal(totals(said), (log.total_bytes(), log.total_bytes(), 0, {}), "total")
        c.stop()


@suite.case(bpf=BOTH)
def what_was_rotated_away_while_stopped_is_lost(t):
    """Without pins nobody counted it: the loss is known, its bytes at least as far as the file was known to reach."""
    root, state, c = start(t)
    log = lines.Log(tree.Pod(root).log())
    with c:
        log.write(200)
        t.check(c.wait_lines(200), "the lines have not come")
        c.stop()
    log.write(100)
    os.unlink(log.rename(1))
    log.write(50)
    with again(t, root, state) as c:
        t.check(c.wait_lines(50), "the rest has not come")
        said = ledger.settled(state)
        t.equal((said.status, said.total.events), (1, {"rotated_away": 1}), f"status and losses ({said})")
        t.equal(said.proof, "lower_bound" if rung(c) in ("off", "syscall", "kprobe") else said.proof, "proof")
        c.stop()


@suite.case(bpf=BOTH)
def start_end_counts_from_there(t):
    root = os.path.realpath(t.mkdir("pods"))
    log = lines.Log(tree.Pod(root).log())
    log.write(1000)
    root, state, c = start(t, "--start", "end")
    with c:
        c.ready(root)
        before = ledger.ask(state)
        t.equal(figures(before).get(tree_key(root), (0, 0, 0, {}, {}))[:3], (0, 0, 0), "of what was there before")
        new = log.write(100)
        c.wait_lines(100)
        proc.wait_until(lambda: ledger.ask(state).of(tree.Pod(root)).delivered, 5)
        said = ledger.settled(state)
        t.equal(figures(said)[tree_key(root)][:3], (log.bytes_of(new), log.bytes_of(new), 0), "of what came then")
        c.stop()


# Truncation: known as far as it was seen

@suite.case(bpf=BOTH)
def truncations_keep_it_closed(t):
    root, state, c = start(t)
    log, again = lines.Log(tree.Pod(root).log()), 0
    with c:
        for n in range(40):
            log.write(50)
            if n % 3:
                log.truncate()
            elif n % 2:
                half = os.path.getsize(log.path) // 2
                os.truncate(log.path, half)
                again += half  # where the kernel does not tell how short the file was, this is read again
            ledger.ask(state)
        log.write(1)
        c.wait_quiet()
        said = ledger.settled(state)
        t.note(f"wrote {log.total_bytes()}: {said.total}")
        most = log.total_bytes() + (0 if said.proof == "proven" else again)
        t.check(said.total.written + said.total.uncounted <= most, f"more than the {most} written or read again: {said.total}")
        if said.proof == "proven":
            t.equal(said.total.written, log.total_bytes(), "written")
        c.stop()


# Who asks

@suite.case(bpf=BOTH, timeout=60)
def two_thousand_containers(t):
    root, wrote = os.path.realpath(t.mkdir("pods")), {}
    for n in range(MANY):
        pod, text = tree.Pod(root, name=f"pod-{n}", number=n), lines.Lines().make(1 + n % 7)
        tree.append(pod.log(), text)
        wrote[pod.namespace, pod.name, pod.uid, "app"] = len(text)
    root, state, c = start(t)
    with c:
        t.check(c.wait_lines(sum(1 + n % 7 for n in range(MANY)), 30), "the lines have not come")
        said = ledger.settled(state, sum(wrote.values()))
        t.equal(len(said.containers), MANY, "containers")
        t.check({k: e.written + e.uncounted for k, e in said.containers.items()} == wrote, "not what was written")
        began = time.monotonic()
        ledger.ask(state)
        t.note(f"asked and read in {time.monotonic() - began:.2f} s, {len(said.text)} bytes")
        t.equal(list(said.containers), sorted(said.containers), "order")
        c.stop()


@suite.case()
def several_ask_at_once(t):
    root, state, c = start(t)
    tree.append(tree.Pod(root).log(), lines.Lines().make(100))
    problems = []

    def ask_on():
        try:
            for n in range(15):
                said = ledger.ask(state) if n % 2 else ledger.Table(ledger.call(state)[1])
                if n % 2 and said.total.delivered != wrote:
                    problems.append(f"{said.total}")
        except Exception as e:
            problems.append(str(e))

    with c:
        c.wait_lines(100)
        wrote = ledger.settled(state).total.delivered
        threads = [threading.Thread(target=ask_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        t.equal(problems, [], "problems")
        c.stop()


@suite.case()
def without_a_state_directory_nobody_can_ask(t):
    root = t.mkdir("pods")
    with Collector(t, "-r", root, state="none") as c:
        c.ready(root)
        status, out, err = ledger.call("none")
        t.equal((status, out), (2, ""), "status and standard output")
        t.check("expected a directory; a hotdrain without one cannot be asked" in err, f"standard error: {err}")
        c.stop()


@suite.case()
def the_socket_is_for_its_owner_and_goes_with_the_daemon(t):
    root, state, c = start(t)
    with c:
        c.ready(root)
        path = os.path.join(state, "ledger.sock")
        t.equal(oct(os.stat(path).st_mode & 0o7777), "0o600", "mode")
        c.stop()
        t.check(not os.path.exists(path), "it is still there")
        t.equal(ledger.call(state)[0], 2, "status when nobody runs")


if __name__ == "__main__":
    lanes.run(suite, 3)
