#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""The benchmarks' generator and judge: figures are only as good as these two."""
import json
import os
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import fast, tap, tool  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("bench tools", timeout=60)
NONE = {"lost": 0, "twice": 0, "late": 0, "unknown": 0}
WHOLE = {"torn": 0, "foreign": 0, "cut": 0}


def bench(t, name):
    path = os.path.join(tool.BUILD, "tests/bench", name)
    if not os.path.exists(path):
        t.fail(f"{path} is not built")
    return path


def load(t, *args):
    """Runs the generator to its end: its own account, with the manifest {id: count}."""
    root, manifest = t.mkdir("pods"), t.path("manifest")
    out = subprocess.run([bench(t, "load"), "--dir", root, "--manifest", manifest, *map(str, args)], capture_output=True, check=True)
    with open(manifest) as f:
        counts = {line.split()[0]: int(line.split()[2]) for line in f}
    return {**json.loads(out.stderr.decode().splitlines()[-1]), "counts": counts}


def files(t):
    """Of a pod the rotated ones first, as they were written."""
    found = [os.path.join(d, f) for d, _, names in os.walk(t.path("pods")) for f in names]
    return sorted(found, key=lambda path: (os.path.dirname(path), path.endswith("/0.log"), path))


def lines(t):
    out = []
    for path in files(t):
        with open(path, "rb") as f:
            out += f.read().splitlines(keepends=True)
    return out


def judged(t, data, *args):
    out = subprocess.run([bench(t, "judge"), "--manifest", t.path("manifest"), *args], input=data, capture_output=True, check=True)
    return json.loads(out.stdout)


def found(j):
    """What a judge has against what it read."""
    return {**{k: j["all"][k] for k in NONE}, **{k: j[k] for k in WHOLE}}


def verdict(t, j, **differs):
    t.check(j["manifest"], "the judge has not read the manifest")
    t.equal(found(j), {**NONE, **WHOLE, **differs}, "verdict")


def collected(t, *args):
    """hotdrain follows what the generator writes; (the judge's verdict, the generator's account)."""
    root = t.mkdir("pods")
    judge = subprocess.Popen([bench(t, "judge"), "--manifest", t.path("manifest")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    with Collector(t, "-r", root, out=judge.stdin) as c:
        judge.stdin.close()
        judge.stdin = None  # communicate() would flush it
        fast.ready(c, root)
        account = load(t, *args)
        time.sleep(1.5)
        c.stop()
    out, _ = judge.communicate(timeout=20)
    return json.loads(out), account


@suite.case()
def what_was_written_passes(t):
    """Every kind of load: what lies in the files is what the manifest says, message for message."""
    for args in (["--pods", 5, "--hot", 2, "--rate", 8], ["--pods", 40, "--zipf", 1.1, "--rate", 8],
                 ["--pods", 3, "--active-lines", 500, "--idle", 20], ["--burst", "0.1/0.2", "--writev"],
                 ["--rotate-bytes", 50000, "--keep", 1000]):
        account = load(t, "--seconds", 0.4, *args)
        got = lines(t)
        t.equal((len(got), sum(map(len, got))), (account["lines"], account["bytes"]), f"lines and bytes of {args}")
        t.equal(sum(account["counts"].values()), account["lines"], "manifest")
        verdict(t, judged(t, b"".join(got)))
        subprocess.run(["rm", "-r", t.path("pods")], check=True)


@suite.case()
def rate_skew_and_line_length_are_as_asked(t):
    account = load(t, "--pods", 20, "--hot", 2, "--rate", 10, "--seconds", 2, "--line-bytes", 300)
    hot = sum(n for name, n in account["counts"].items() if name.startswith("hot."))
    t.note(f"{account}"[:200])
    t.check(0.93 < hot / account["lines"] < 0.97, f"{hot} of {account['lines']} lines are of hot pods, wanted 95 %")
    t.check(285 < account["bytes"] / account["lines"] < 315, "lines are not 300 bytes in the mean")
    t.check(account["bytes"] <= 20.5e6, "wrote more than its rate")


@suite.case()
def rotation_keeps_what_it_should(t):
    load(t, "--pods", 1, "--rate", 5, "--seconds", 1, "--rotate-bytes", 100000, "--keep", 4)
    t.equal(len(files(t)), 4, "files of a pod")
    sizes = [os.path.getsize(path) for path in files(t)[:-1]]
    t.check(all(100000 <= s < 102000 for s in sizes), f"sizes of the rotated files: {sizes}")


@suite.case()
def rotation_waits_as_long_as_told(t):
    account = load(t, "--pods", 1, "--rate", 5, "--seconds", 1, "--rotate-bytes", 10000, "--rotate-every", 0.3)
    t.check(2 <= account["rotations"] <= 4, f"{account['rotations']} rotations in 1 s")


@suite.case()
def each_fault_is_named_exactly(t):
    load(t, "--pods", 3, "--hot", 1, "--rate", 1, "--seconds", 0.3)
    good = lines(t)
    n = len(good) // 2  # within one pod: the lines beside it are of the same
    verdict(t, judged(t, b"".join(good[:n] + good[n + 1:])), lost=1)
    verdict(t, judged(t, b"".join(good[:n] + good[n:n + 1] + good[n:])), twice=1)
    verdict(t, judged(t, b"".join(good[:n] + good[n + 1:n + 2] + good[n:n + 1] + good[n + 2:])), late=1)
    damaged = good[n][:-3] + bytes([good[n][-3] ^ 1]) + good[n][-2:]
    verdict(t, judged(t, b"".join(good[:n] + [damaged] + good[n + 1:])), lost=1, torn=1)
    verdict(t, judged(t, b"".join(good[:n] + [good[n][:60] + b"\n", *good[n + 1:]])), lost=1, foreign=1)
    verdict(t, judged(t, b"".join(good)[:-5]), lost=1, cut=1)
    verdict(t, judged(t, b"".join(good) + b"something else\n"), foreign=1)
    verdict(t, judged(t, b"".join(good) + good[n].replace(b" hot.0 ", b" hot.7 ")), torn=1)
    verdict(t, judged(t, b""), lost=len(good))


@suite.case()
def the_message_may_stand_anywhere(t):
    load(t, "--pods", 2, "--rate", 1, "--seconds", 0.2)
    texts = [line.rstrip(b"\n").split(b" ", 3)[3] for line in lines(t)]
    verdict(t, judged(t, b"".join(b'{"a":"hot.1","message":"%s","stream":"x"}\n' % x for x in texts)))
    verdict(t, judged(t, b"".join(b"Nov 21 00:32:02 node pod: %s%s\n" % (b"not. " * (i % 3), x) for i, x in enumerate(texts))))
    verdict(t, judged(t, b"\n".join(texts) + b"\n"))


@suite.case()
def all_ways_in_give_the_same(t):
    """Several files, a connection, and a file that is still written."""
    load(t, "--pods", 2, "--rate", 2, "--seconds", 0.3)
    data = b"".join(lines(t))
    verdict(t, judged(t, b"", *files(t)))
    judge = subprocess.Popen([bench(t, "judge"), "--manifest", t.path("manifest"), "--listen", "0"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    port = int(judge.stderr.readline().split()[1])
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(data)
    time.sleep(0.3)
    judge.terminate()
    verdict(t, json.loads(judge.communicate(timeout=10)[0]))
    grows = t.path("grows")
    with open(grows, "wb", buffering=0) as f:
        judge = subprocess.Popen([bench(t, "judge"), "--manifest", t.path("manifest"), "--follow", grows], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL)
        for at in range(0, len(data), 100001):
            f.write(data[at:at + 100001])
            time.sleep(0.01)
    time.sleep(0.2)
    judge.terminate()
    verdict(t, json.loads(judge.communicate(timeout=10)[0]))


@suite.case()
def a_throttled_judge_takes_no_more(t):
    account = load(t, "--pods", 2, "--rate", 20, "--seconds", 0.5)
    data, began = b"".join(lines(t)), time.monotonic()
    verdict(t, judged(t, data, "--throttle", "10"))
    took = time.monotonic() - began
    t.note(f"{account['bytes'] / took / 1e6:.1f} MB/s")
    t.check(took > 0.9 * account["bytes"] / 10e6, f"{account['bytes']} bytes in {took:.2f} s, at 10 MB/s")


@suite.case()
def latency_is_the_age_at_arrival(t):
    """Lines held back for 0.3 s are that old; and not counted when they were written before the judge began."""
    root = t.mkdir("pods")
    reader = subprocess.Popen(["sh", "-c", f"sleep 1.5; cat '{root}'/*/*/0.log"], stdout=subprocess.PIPE)
    judge = subprocess.Popen([bench(t, "judge")], stdin=reader.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    reader.stdout.close()
    load(t, "--pods", 2, "--hot", 1, "--rate", 1, "--seconds", 0.2)
    j = json.loads(judge.communicate(timeout=10)[0])
    t.equal(j["all"]["latencies"], j["lines"], "lines with a latency")
    for kind in ("hot", "quiet"):
        t.check(1e6 < j[kind]["p50_us"] <= j[kind]["p99_us"] <= j[kind]["max_us"] * 1.02 < 10e6, f"{kind}: {j[kind]}")
    t.equal(judged(t, b"".join(lines(t)))["all"]["latencies"], 0, "latencies of lines that are older than the judge")


@suite.case()
def hotdrain_under_rotation_is_judged_whole(t):
    j, account = collected(t, "--pods", 10, "--hot", 2, "--rate", 10, "--seconds", 2, "--rotate-bytes", 500000)
    t.check(account["rotations"] >= 20, f"only {account['rotations']} rotations")
    verdict(t, j)


@suite.case()
def hotdrain_under_copytruncate_is_judged_whole(t):
    j, account = collected(t, "--pods", 3, "--rate", 1, "--seconds", 2, "--rotate-bytes", 200000, "--copytruncate")
    t.check(account["rotations"] >= 3, f"only {account['rotations']} rotations")
    verdict(t, j)


suite.run()
