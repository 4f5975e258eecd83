#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Files rotate while nothing can be delivered, or while the collector does not even run.

What it holds open is delivered afterwards, in order. What came and went before it could be opened is counted: so many
files, no more and no less. What it holds without a name is bounded by --held-max: there the oldest are dropped, and
their bytes are counted one by one.
"""
import gzip
import os
import shutil
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from lib import account, fast, judge, lanes, lines, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("rotation_blocked", timeout=tool.scaled(600, 200))
BOTH = ("auto", "off")
ROTATIONS, KEPT = 7, 5
LINES = tool.scaled(40000, 3000)  # of a generation: far more than pipe and batches hold
SMALL = ("--batches", "2", "--batch-bytes", "4Ki")
MISSED = ("vanished", "rotated_away")


def blocked(t, *args):
    """(root, a log with lines in it, a collector that holds it and whose sink does not take a line more)"""
    root = os.path.realpath(t.mkdir("pods"))
    log = lines.Log(tree.Pod(root).log())
    log.write(LINES)
    c = Collector(t, "-r", root, "--state", "none", *SMALL, *args, out="stalled")
    fast.ready(c, root)
    t.check(holds(c, log.path), "the log was not opened")
    time.sleep(0.3)
    return root, log, c


def holds(c, path, timeout=10):
    return proc.wait_until(lambda: path in proc.open_paths(c.pid), timeout)


def remove_beyond(names, keep):
    """names: oldest first."""
    while len(names) > keep:
        os.unlink(names.pop(0))


def delivered(t, c, logs, missing=None):
    """Reads all, ends the collector, judges. missing: the numbers that may and must be missing, of each log."""
    c.read_on()
    if missing is None:
        c.wait_lines(1)
        c.wait_quiet(1.5, tool.scaled(120, 20))
    else:
        c.wait_lines(sum(log.total() for log in logs) - sum(map(len, missing.values())), tool.scaled(120, 15))
        c.wait_quiet(0.4)
    c.stop(timeout=30)
    j = judge.Judge()
    for log in logs:
        log.expect(j)
    problems = j.add_records(c.records()).problems()
    if missing is None:
        problems = [p for p in problems if ": lost " not in p]
    elif any(missing.values()):
        problems = [p for p in problems if ": lost " not in p]
        for log in logs:
            got, may = log.missing(j), missing.get(log, set())
            if got != may:
                problems.append(f"{log.ident}: missing {len(got)}, should be {len(may)}: not missing {sorted(may - got)[:4]}, "
                                f"missing beside them {sorted(got - may)[:4]}")
    if problems:
        t.fail(*problems)
    return j


def missed(t, c, log, files, size=None):
    """So many files are counted that came and went; size: their bytes, if they were ever known."""
    a = account.account(c, log.path)
    t.note(f"account: {a}")
    t.equal(a.events(*MISSED), files, "files counted that nobody could open")
    t.equal(set(a.reasons) - set(MISSED), set(), "other reasons")
    t.check(a.lost in (0, size), f"{a.lost} bytes lost: wanted what was unknown (0) or right ({size})")
    t.equal((a.pending, a.read - a.delivered), (0, 0), "pending, read but not delivered")


@suite.case(bpf=BOTH, timeout=tool.scaled(200, 30))
def held_while_the_sink_is_blocked(t):
    """Seven rotations, five files kept: nothing is lost, the two that were removed are held."""
    _, log, c = blocked(t)
    with c:
        kept = []
        for k in range(ROTATIONS):
            kept.append(log.rename(k))
            t.check(holds(c, log.path), f"generation {k + 1} was not opened")
            log.write(LINES)
            remove_beyond(kept, KEPT)
        log.close()
        t.equal(sum(p.endswith(" (deleted)") for p in proc.open_paths(c.pid)), ROTATIONS - KEPT, "held without a name")
        delivered(t, c, [log], {})
        account.nothing_lost(c, log.path)


@suite.case(bpf=BOTH, timeout=tool.scaled(200, 30))
def dropped_from_disk_before_they_could_be_opened(t):
    """The collector is stopped for seven rotations: what it held is delivered, two files that came and went are counted."""
    _, log, c = blocked(t)
    with c:
        proc.kill(c.pid, signal.SIGSTOP)
        kept, written = [], []
        for k in range(ROTATIONS):
            kept.append(log.rename(k))
            written.append(log.write(LINES))
            remove_beyond(kept, KEPT)
        log.close()
        proc.kill(c.pid, signal.SIGCONT)
        gone = written[0]  # of the removed two the first had been opened before
        delivered(t, c, [log], {log: gone})
        missed(t, c, log, 1, log.bytes_of(gone))


@suite.case(bpf=BOTH, timeout=tool.scaled(200, 30))
def compressed_before_they_could_be_opened(t):
    """As a kubelet does it: what it compressed meanwhile is delivered whole, or counted as a file that was missed."""
    _, log, c = blocked(t)
    with c:
        proc.kill(c.pid, signal.SIGSTOP)
        rotated, written = [], []
        for k in range(ROTATIONS):
            for i, path in enumerate(rotated):
                if not path.endswith(".gz"):
                    rotated[i] = compress(path)
            remove_beyond(rotated, KEPT - 2)
            rotated.append(log.rename(k))
            written.append(log.write(LINES))
        log.close()
        proc.kill(c.pid, signal.SIGCONT)
        j = delivered(t, c, [log])
    missing = log.missing(j)
    lost = [k + 1 for k, numbers in enumerate(written) if numbers & missing]
    t.note(f"generations missing of 1 to {ROTATIONS}: {lost}")
    t.equal(missing, set().union(*(written[k - 1] for k in lost)), "lines missing, of whole generations")
    t.check(ROTATIONS not in lost and ROTATIONS - 1 not in lost, "a generation is missing that was there uncompressed")
    missed(t, c, log, len(lost), log.bytes_of(missing))


def compress(path):
    with open(path, "rb") as source, gzip.open(path + ".tmp", "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    os.rename(path + ".tmp", path + ".gz")
    os.unlink(path)
    return path + ".gz"


def replace(log):
    """conmon's way: a new file is renamed over the old one."""
    path, log.path = log.path, log.path + ".tmp"
    log.reopen()
    log.path = path
    os.rename(path + ".tmp", path)


def make_anew(log):
    os.unlink(log.path)
    log.reopen()


def unseen(t, successor):
    _, log, c = blocked(t)
    with c:
        proc.kill(c.pid, signal.SIGSTOP)
        written = []
        for _ in range(KEPT):
            successor(log)
            written.append(log.write(100))
        log.close()
        proc.kill(c.pid, signal.SIGCONT)
        gone = set().union(*written[:-1])
        delivered(t, c, [log], {log: gone})
        missed(t, c, log, KEPT - 1, log.bytes_of(gone))


@suite.case(bpf=BOTH)
def replaced_while_the_collector_is_stopped(t):
    """Five files are renamed over each other: the first is held, the last is there, those between are counted."""
    unseen(t, replace)


@suite.case(bpf=BOTH)
def unlinked_and_made_anew_while_the_collector_is_stopped(t):
    unseen(t, make_anew)


# --held-max

CAP = 1 << 20


def held(t, idents, generations, size):
    """Containers by turns make generations of about size bytes, each unlinked once it is held; the sink is blocked.

    Gives the collector, ended, and [(log, numbers of that generation)] in the order in which they were unlinked.
    """
    root = os.path.realpath(t.mkdir("pods"))
    logs = [lines.Log(tree.Pod(root, name=f"pod-{n}", number=n).log(i.rpartition(".")[0]), i) for n, i in enumerate(idents)]
    c = Collector(t, "-r", root, "--state", "none", "--held-max", "1Mi", *SMALL, out="stalled")
    order = []
    with c:
        fast.ready(c, root)
        for k in range(generations):
            for log in logs:
                t.check(holds(c, log.path), f"generation {k} of {log.ident} was not opened")
                order.append((log, log.write(size // 200, "x" * 100)))
                time.sleep(0.02)
                make_anew(log)
                t.check(holds(c, log.path), f"generation {k + 1} of {log.ident} was not opened")
        for log in logs:
            order.append((log, log.write(50)))
            log.close()
        time.sleep(1)
        j = delivered(t, c, logs)
    return c, j, logs, order


def held_verdict(t, c, j, logs, order):
    """Exactly what is missing is counted, what is missing is the oldest, and not more than had to go."""
    for log in logs:
        a, missing = account.account(c, log.path), log.missing(j)
        t.note(f"{log.ident}: account: {a}")
        t.equal(a.bytes("held_cap"), log.bytes_of(missing), f"bytes counted as dropped, and missing, of {log.ident}")
        t.equal(set(a.reasons) - {"held_cap"}, set(), "other reasons")
        t.equal(a.events("held_cap"), sum(o is log and bool(n & missing) for o, n in order), "files counted as dropped")
        t.equal(a.delivered + a.lost, log.bytes_of(log.between({"o": 0, "e": 0}, log.at())), "delivered + lost: written")
        t.equal(a.pending, 0, "pending")
    whole = [not numbers & log.missing(j) for log, numbers in order]
    last_dropped = max((i for i, ok in enumerate(whole) if not ok), default=-1)
    t.check(last_dropped >= 0, "nothing was dropped: the case has shown nothing")
    t.check(all(not w for w in whole[len(logs):last_dropped]), f"a younger file was dropped before an older one: {whole}")
    after = sum(log.bytes_of(numbers) for log, numbers in order[last_dropped + 1:-len(logs)])
    first = log_bytes(order[last_dropped])
    t.note(f"dropped up to number {last_dropped} of {len(order)}; {after} bytes of unlinked files delivered whole")
    t.check(CAP - first - 65536 <= after <= CAP + 65536, f"{after} bytes were held, of {CAP} allowed")


def log_bytes(entry):
    log, numbers = entry
    return log.bytes_of(numbers)


@suite.case(bpf=BOTH, timeout=40)
def held_max_drops_the_oldest(t):
    held_verdict(t, *held(t, ["app.0"], tool.scaled(60, 12), 200_000))


@suite.case(bpf=BOTH, timeout=40)
def held_max_is_for_all_containers_together(t):
    held_verdict(t, *held(t, ["a.0", "b.0", "c.0"], tool.scaled(30, 5), 150_000))


@suite.case(bpf=BOTH, timeout=40)
def held_max_of_one_file_that_is_larger(t):
    """A single unlinked file beyond the cap is dropped as well, up to what was read of it."""
    held_verdict(t, *held(t, ["app.0"], 2, 3_000_000))


lanes.run(suite, tool.scaled(1, 3))
