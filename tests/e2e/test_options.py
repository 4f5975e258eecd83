#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each option of `hotdrain run`, each format of log lines, and what a record's text must be, byte by byte."""
import json
import os
import random
import select
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import judge, proc, tap, tool, tree  # noqa: E402
from lib.collector import PATH_KEYS, POD_KEYS, Collector, run_to_end  # noqa: E402

suite = tap.Suite("options", timeout=150)
BOTH = ("auto", "off")
MIB = 1 << 20


def one_file(t, *lines, restart=0):
    """A root with one pod's log of these lines. (root, path)"""
    root = t.mkdir("root")
    path = tree.Pod(root).log(restart=restart)
    tree.append(path, *lines)
    return root, path


def texts(records, stream=None):
    return [r.message for r in records if stream in (None, r.get("stream"))]


def output(t, name="out"):
    with open(t.path(name), "rb") as f:
        return f.read()


# Where to begin, what comes first, when to end

@suite.case(bpf=BOTH)
def start_beginning_reads_what_is_there(t):
    for extra in ((), ("--start", "beginning")):
        root = t.mkdir("root" + str(len(extra)))
        wanted = tree.write_lines(tree.Pod(root).log(), "old", 5)
        with Collector(t, "-r", root, *extra) as c:
            c.ready(root)
            c.wait_lines(5)
            wanted += tree.write_lines(tree.Pod(root).log(), "new", 5)
            t.equal(texts(c.finish(10)), wanted, "messages")


@suite.case(bpf=BOTH)
def start_end_skips_what_is_there_and_nothing_else(t):
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    tree.write_lines(log, "old", 50)
    tree.write_lines(log + ".20261121-000000", "older", 50)
    with Collector(t, "-r", root, "--start", "end") as c:
        c.ready(root)
        wanted = tree.write_lines(log, "new", 5)
        wanted += tree.write_lines(tree.Pod(root).log(restart=1), "later file", 5)
        os.rename(log, log + ".20261121-000001")
        wanted += tree.write_lines(log, "successor", 5)
        t.equal(sorted(texts(c.finish(15))), sorted(wanted), "messages")


@suite.case(bpf=BOTH, timeout=40)
def every_order_is_exact(t):
    """hot, fair, fifo: six unequal writers with rotation by rename, nothing lost, repeated or out of order."""
    for order in ("hot", "fair", "fifo"):
        root = t.mkdir(order)
        j, running, rotated = judge.Judge(), [], 0
        with Collector(t, "-r", root, "--order", order) as c:
            c.ready(root)
            for n, rate in enumerate((15000, 8000, 3000, 1000, 100, 10)):
                ident = f"c{n}.0"
                log = tree.Pod(root, name=f"p{n}", number=n).log(f"c{n}")
                result = t.path(f"result-{order}-{n}")
                command = [tool.helper("writer"), "-t", "1", "-r", str(rate), "-f", log, "-R", result, ident]
                running.append((subprocess.Popen(command), log, result))
            for k in range(3):
                time.sleep(0.25)
                for process, log, _ in running:
                    proc.wait_until(lambda: os.path.exists(log) or process.poll() is not None, 10)
                    if process.poll() is not None:
                        continue  # a slow machine: its second is over
                    os.rename(log, f"{log}.20261121-00000{k}")
                    rotated += 1
                    proc.kill(process.pid, 1)
                    proc.wait_until(lambda: os.path.exists(log) or process.poll() is not None, 2)
            for process, _, result in running:
                process.wait(10)
                j.expect_result(result)
            j.add_records(c.finish(j.expected_lines()))
        problems = j.problems()
        if problems:
            t.fail(f"order {order}:", *problems)
        t.check(rotated, "every writer had ended before its file was renamed")


@suite.case(bpf=BOTH)
def exit_when_idle_ends_when_all_is_drained(t):
    root, log = one_file(t)
    started = time.monotonic()
    with Collector(t, "-r", root, "--exit-when-idle", "700ms") as c:
        wanted = []
        for k in range(10):
            wanted += tree.write_lines(log, "x", 3, first=3 * k)
            time.sleep(0.25)
            t.check(c.process.poll() is None, f"ended {time.monotonic() - started:.1f} s after the start, while lines came")
        c.wait_exit(0, 5)
        t.check(time.monotonic() - started < 6, "ended late")
        t.equal(texts(c.records()), wanted, "messages")


@suite.case()
def exit_when_idle_with_nothing_there(t):
    started = time.monotonic()
    t.equal(run_to_end(t, "-r", t.mkdir("root"), idle="200ms").lines, [], "lines")
    t.check(time.monotonic() - started < 5, "ended late")


@suite.case()
def durations_take_units(t):
    root, _ = one_file(t, tree.cri("x"))
    for text in ("0", "5ms", "5000us", "1s", "250ns", "0ms"):
        t.equal(texts(run_to_end(t, "-r", root, "--linger", text, idle="100ms").records()), ["x"], f"with {text}")


@suite.case(bpf=BOTH)
def a_line_alone_is_not_kept_longer_than_linger(t):
    root, log = one_file(t)
    for linger, most in (("0", 1), ("5ms", 1), ("500ms", 1.5)):
        with Collector(t, "-r", root, "--linger", linger) as c:
            c.ready(root)
            seen = len(c.lines)
            tree.append(log, tree.cri("x"))
            t.check(c.wait_lines(seen + 1, most), f"--linger {linger}: not there after {most} s")
            c.stop()


@suite.case(bpf=BOTH)
def lines_arrive_at_once(t):
    """Live latency of single lines; the promise is 20 ms, a busy machine is given 200."""
    root, log = one_file(t)
    j = judge.Judge().expect("app.0", "o", 400)
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for n in range(400):
            tree.append(log, tree.cri(judge.message("app.0", "o", n)))
            time.sleep(0.005 + n % 7 * 0.003)
        j.add_records(c.finish(400))
    t.equal(j.problems(), [], "problems")
    median, p99, most = j.latencies()
    t.note(f"latency ms median/p99/most: {median:.1f} {p99:.1f} {most:.1f}")
    if not tool.sanitized():
        t.check(median < 20 and p99 < 200, f"median {median:.1f} ms, p99 {p99:.1f} ms")


# Formats of log lines

@suite.case()
def cri_timestamps_pass_unchanged(t):
    stamps = ["2026-11-21T00:32:02Z", "2026-11-21T00:32:02.3Z", "2026-11-21T00:32:02.36754432Z", "2026-11-21T00:32:02.367544321Z",
              "2026-11-21T00:32:02.367544321+00:00", "2026-11-21T00:32:02.367544321-11:30", "2026-11-21T00:32:02.1+05:30"]
    root, _ = one_file(t, *(tree.cri(f"m{n}", stamp=s) for n, s in enumerate(stamps)))
    records = run_to_end(t, "-r", root).records()
    t.equal([(r["time"], r.message) for r in records], [(s, f"m{n}") for n, s in enumerate(stamps)], "times and messages")


@suite.case()
def cri_partials_are_joined_per_stream(t):
    root, _ = one_file(t, tree.cri("a1-", tag="P", number=1), tree.cri("e1-", stream="stderr", tag="P", number=2),
                       tree.cri("a2-", tag="P", number=3), tree.cri("e2", stream="stderr", number=4), tree.cri("a3", number=5),
                       tree.cri("b-", tag="P", number=6), tree.cri("", number=7), tree.cri("", number=8),
                       tree.cri("tagged", tag="F:some:more", number=9), tree.cri("c-", tag="P:x", number=10), tree.cri("c", number=11))
    records = run_to_end(t, "-r", root).records()
    t.equal(texts(records, "stdout"), ["a1-a2-a3", "b-", "", "tagged", "c-c"], "stdout")
    t.equal(texts(records, "stderr"), ["e1-e2"], "stderr")
    t.equal(records[texts(records).index("a1-a2-a3")]["time"], tree.STAMP.format(1), "time of the first piece")


@suite.case()
def cri_a_partial_without_an_end_is_delivered_at_the_end(t):
    root, _ = one_file(t, tree.cri("whole"), tree.cri("no end", tag="P"), tree.cri("nor", stream="stderr", tag="P"))
    t.equal(sorted(texts(run_to_end(t, "-r", root).records())), ["no end", "nor", "whole"], "messages")


def hostile_texts():
    """Texts with every byte but newline, and more."""
    rng = random.Random(3)
    return [bytes(b for b in range(256) if b != 10), b"\0" * 100, b"\r", b"ends in CR\r", b" leading", b"trailing ", b"\t\x7f\x1b[31m",
            b'"quotes" and \\backslashes\\', "ünï 日本 🚰 \u2028".encode(), b"\xff\xfe", b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x9a",
            b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"</script>", b"{}", b"2026-11-21T00:32:02Z stdout F nested",
            *(bytes(x for x in rng.randbytes(rng.randrange(1, 400)) if x != 10) for _ in range(200))]


@suite.case(bpf=BOTH)
def texts_are_byte_exact_in_raw(t):
    """--format raw: NUL, carriage returns and invalid UTF-8 as they were, pieces joined."""
    wanted, lines = [], []
    for n, text in enumerate(hostile_texts()):
        wanted.append(text)
        cut = len(text) // 3
        lines += [tree.cri(text)] if n % 2 else [tree.cri(text[:cut], tag="P"), tree.cri(text[cut:])]
    root, _ = one_file(t, *lines)
    with open(t.path("out"), "wb") as out:
        run_to_end(t, "-r", root, "--format", "raw", out=out)
    t.equal(output(t), b"".join(w + b"\n" for w in wanted), "output")


@suite.case()
def texts_in_ndjson_are_valid_unicode(t):
    """What is UTF-8 comes back exactly; what is not has one replacement character per ill-formed part."""
    wanted = hostile_texts()
    root, _ = one_file(t, *map(tree.cri, wanted))
    got = texts(run_to_end(t, "-r", root).records())
    for have, want in zip(got, wanted):
        t.equal(have, want.decode("utf-8", "replace"), f"message of {want[:40]!r}")
    t.equal(len(got), len(wanted), "messages")


@suite.case()
def docker_json_file(t):
    """Escapes of every kind, other members, pieces without a newline, the members in another order."""
    surrogates = '{"log":"pair \\ud83d\\udeb0 lone \\ud800 end\\n","stream":"stdout","time":"2026-11-21T00:32:02.5Z"}\n'
    shuffled = '{"time":"2026-11-21T00:32:02.5Z","attrs":{"a":"\\"b","c":[1,{"log":"no"}]},"stream":"stderr","log":"shuffled\\n"}\n'
    plain = ['tab\t quote" back\\ slash/ nul\0 bell\x07 del\x7f', "ünï 日本 🚰", "", "<>&\u2028", "x" * 20000]
    root, _ = one_file(t, *(tree.docker(p, number=n) for n, p in enumerate(plain)), surrogates, shuffled,
                       tree.docker("one-", end=""), tree.docker("err-", stream="stderr", end=""), tree.docker("two-", end=""),
                       tree.docker("three"), tree.docker("or", stream="stderr"), tree.docker("no end", end=""))
    for decode in ("auto", "docker"):
        records = run_to_end(t, "-r", root, "--decode", decode).records()
        t.equal(texts(records, "stdout"), [*plain, "pair 🚰 lone \ufffd end", "one-two-three", "no end"], "stdout")
        t.equal(texts(records, "stderr"), ["shuffled", "err-or"], "stderr")
        t.equal(records[0]["time"], tree.STAMP.format(0), "time")
        t.equal({r.keys_in_order for r in records}, {POD_KEYS}, "keys")


@suite.case(bpf=BOTH)
def formats_are_told_apart_by_content(t):
    root = t.mkdir("root")
    tree.append(os.path.join(root, "a.log"), tree.cri("as cri"), tree.cri("again"))
    tree.append(os.path.join(root, "b.log"), tree.docker("as docker"), tree.docker("again"))
    tree.append(os.path.join(root, "c.log"), "just text\n", "again\n", '{"level":"info"}\n', "2026-11-21T00:32:02Z not cri\n")
    tree.append(os.path.join(root, "d.log"), '{"msg":"json, but not of docker"}\n')
    records = run_to_end(t, "-r", root).records()
    by_name = {}
    for r in records:
        by_name.setdefault(os.path.basename(r.path), []).append(r)
    t.equal(texts(by_name["a.log"]), ["as cri", "again"], "a.log")
    t.equal(texts(by_name["b.log"]), ["as docker", "again"], "b.log")
    t.equal(texts(by_name["c.log"]), ["just text", "again", '{"level":"info"}', "2026-11-21T00:32:02Z not cri"], "c.log")
    t.equal(texts(by_name["d.log"]), ['{"msg":"json, but not of docker"}'], "d.log")
    t.equal({r.keys_in_order for r in by_name["a.log"] + by_name["b.log"]}, {PATH_KEYS}, "keys with a time")
    t.equal({r.keys_in_order for r in by_name["c.log"]}, {("message", "log.file.path")}, "keys of raw lines")


@suite.case()
def lines_of_another_form_are_never_dropped(t):
    odd = ["not cri at all", "2026-11-21T00:32:02Z stdout", "2026-11-21T00:32:02Z stdin F x", "2026-11-21T00:32:02Z stdout X x", "", "{}"]
    root, _ = one_file(t, tree.cri("first"), *(o + "\n" for o in odd), tree.cri("last"))
    for decode in ("auto", "cri"):
        t.equal(texts(run_to_end(t, "-r", root, "--decode", decode).records()), ["first", *odd, "last"], f"--decode {decode}")


@suite.case(bpf=BOTH)
def decode_raw_gives_the_lines_verbatim(t):
    lines = [tree.cri("x", tag="P"), tree.docker("y"), b"\0\xff\r\n", b"\n", *(h + b"\n" for h in hostile_texts())]
    root, log = one_file(t, *lines)
    with open(t.path("out"), "wb") as out:
        run_to_end(t, "-r", root, "--decode", "raw", "-f", "raw", out=out)
    with open(log, "rb") as f:
        t.equal(output(t), f.read(), "output")
    records = run_to_end(t, "-r", root, "--decode", "raw").records()
    t.equal(len(records), len(lines), "records")
    t.equal({r.keys_in_order for r in records}, {POD_KEYS[2:]}, "keys: neither time nor stream")


@suite.case()
def numbers_of_bytes_that_straddle_every_buffer(t):
    """Lines whose ends fall on and beside 4 KiB, 64 KiB, 256 KiB: each exactly as it was."""
    rng, lines = random.Random(11), []
    for size in (1, 4095, 4096, 4097, 65535, 65536, 65537, 262143, 262144, 262145, 1000000):
        lines += [bytes([97 + n % 26]) * (size - n % 3) for n in range(4)] + [b"s" * rng.randrange(200) for _ in range(50)]
    root, _ = one_file(t, *(line + b"\n" for line in lines))
    with open(t.path("out"), "wb") as out:
        run_to_end(t, "-r", root, "--decode", "raw", "-f", "raw", out=out)
    t.equal(output(t).split(b"\n")[:-1] == lines, True, "same lines")


# Limits of a line

@suite.case(bpf=BOTH)
def a_line_beyond_the_limit_is_cut_and_marked(t):
    """1 MiB of text at most; the rest of the file goes on. Raw, CRI in one piece, CRI in many, json-file."""
    big = "".join(chr(97 + n % 26) for n in range(3 * MIB))
    pieces = [big[at:at + 16384] for at in range(0, len(big), 16384)]
    root = t.mkdir("root")
    bodies = {"raw.log": [big + "\n"], "cri.log": [tree.cri("before"), tree.cri(big)],
              "pieces.log": [tree.cri("before"), *(tree.cri(p, tag="P") for p in pieces[:-1]), tree.cri(pieces[-1])],
              "docker.log": [tree.docker("before"), tree.docker(big)]}
    after = {"raw.log": ["after\n"], "cri.log": [tree.cri("after")], "pieces.log": [tree.cri("after")], "docker.log": [tree.docker("after")]}
    for name, lines in bodies.items():
        tree.append(os.path.join(root, name), *lines, *after[name])
    records = run_to_end(t, "-r", root, timeout=40).records()
    for name in bodies:
        mine = [r for r in records if r.path.endswith("/" + name)]
        cut = [r for r in mine if r.get("truncated") is True]
        t.equal([r.message for r in mine if len(r.message) < 10], ["before", "after"][name == "raw.log":], f"short lines of {name}")
        t.equal(len(cut), 1, f"cut records of {name}")
        t.check(big.startswith(cut[0].message), f"{name}: the text is not the beginning of the line")
        t.check(MIB * 0.9 <= len(cut[0].message) <= MIB, f"{name}: {len(cut[0].message)} characters are left")
        t.equal([r for r in mine if "truncated" in r], cut, f"{name}: marked records")


@suite.case()
def a_line_at_the_limit_is_whole(t):
    root, _ = one_file(t, tree.cri("x" * MIB), tree.cri("y" * (MIB + 1)), tree.cri("z"))
    records = run_to_end(t, "-r", root).records()
    t.equal([(r.message[:1], len(r.message), r.get("truncated")) for r in records],
            [("x", MIB, None), ("y", MIB, True), ("z", 1, None)], "lines")


@suite.case(bpf=BOTH)
def a_torn_tail_waits_for_its_rest(t):
    root, log = one_file(t)
    with Collector(t, "-r", root) as c:
        c.ready(root)
        line = tree.cri("torn in three, with 日本 in it")
        for part in (line[:25], line[25:-6], line[-6:]):
            tree.append(log, part)
            time.sleep(0.2)
            if part[-1:] != b"\n":
                t.equal(c.lines, [], "lines while it is torn")
        tree.append(log, tree.cri("P part", tag="P")[:20])
        time.sleep(0.1)
        tree.append(log, tree.cri("P part", tag="P")[20:] + tree.cri(" F part"))
        t.equal(texts(c.finish(2)), ["torn in three, with 日本 in it", "P part F part"], "messages")


@suite.case(bpf=BOTH)
def a_line_written_byte_by_byte(t):
    root, log = one_file(t)
    line = tree.cri("one byte at a time") + tree.docker("x")
    with Collector(t, "-r", root) as c:
        c.ready(root)
        with open(log, "ab", buffering=0) as f:
            for n in range(len(line)):
                f.write(line[n:n + 1])
                time.sleep(0.001 * (n % 4))
        records = c.finish(2)
    t.equal(records[0].message, "one byte at a time", "message")
    t.equal(len(records), 2, "records")


@suite.case(bpf=BOTH)
def a_torn_tail_at_the_real_end_comes_before_the_successor(t):
    root, log = one_file(t)
    with Collector(t, "-r", root) as c:
        c.ready(root)
        tree.append(log, "2026-11-21T00:32:02Z stdout F first\n2026-11-21T00:32:02Z stdout F tor")
        c.wait_lines(1)
        os.rename(log, log + ".20261121-000000")
        wanted = tree.write_lines(log, "next", 3)
        t.equal(texts(c.finish(5)), ["first", "tor", *wanted], "messages")


@suite.case()
def a_torn_tail_at_the_end_of_a_back_fill(t):
    root, _ = one_file(t, tree.cri("whole"), tree.cri("torn")[:-1])
    t.equal(texts(run_to_end(t, "-r", root).records()), ["whole", "torn"], "messages")


# Sinks

@suite.case(bpf=BOTH)
def several_sinks_get_the_same(t):
    root, log = one_file(t)
    one, two = t.path("one"), t.path("two")
    with Collector(t, "-r", root, "-o", "stdout", "-o", f"file:{one}", "--sink", f"file:{two}", "-o", "null") as c:
        c.ready(root)
        wanted = []
        for k in range(20):
            wanted += tree.write_lines(log, "x", 50, first=50 * k)
            time.sleep(0.01)
        t.equal(texts(c.finish(1000)), wanted, "messages on stdout")
        lines = [line for _, line in c.lines]
        for name in ("one", "two"):
            t.equal([x for x in output(t, name).split(b"\n") if b"ready" not in x][:-1] == lines, True, f"{name} is what stdout got")


@suite.case()
def the_file_sink_alone_leaves_stdout_alone(t):
    root, _ = one_file(t, tree.cri("x"))
    c = run_to_end(t, "-r", root, "-o", f"file:{t.path('out')}")
    t.equal(c.lines, [], "lines on stdout")
    t.equal(json.loads(output(t))["message"], "x", "message in the file")


@suite.case()
def the_null_sink_takes_everything(t):
    root, log = one_file(t)
    tree.write_lines(log, "x", 5000)
    t.equal(run_to_end(t, "-r", root, "-o", "null").lines, [], "lines on stdout")


@suite.case(bpf=BOTH)
def a_sink_inside_the_root_is_not_collected(t):
    """Never its own log: neither a file sink in the root nor a stdout that was redirected there."""
    root, log = one_file(t)
    with open(os.path.join(root, "stdout.log"), "wb") as out, \
            Collector(t, "-r", root, "-o", "stdout", "-o", f"file:{os.path.join(root, 'out.log')}", out=out) as c:
        time.sleep(0.5)
        tree.write_lines(log, "x", 10)
        time.sleep(1)
        c.stop()
    for name in ("out.log", "stdout.log"):
        with open(os.path.join(root, name), "rb") as f:
            t.equal(f.read().count(b"\n"), 10, f"lines in {name}")


# Configuration

CONFIG_KEYS = ("root", "sink", "format", "decode", "start", "order", "bpf", "linger", "exit_when_idle")


@suite.case()
def every_key_of_the_configuration(t):
    root, _ = one_file(t, tree.cri("a", tag="P"))
    other = t.mkdir("other")
    tree.append(os.path.join(other, "b.log"), "b\n")
    with open(t.path("config.yaml"), "w") as f:
        f.write(f"# everything\nroot:\n  - {root}\n  - {other}\nsink: [stdout, 'file:{t.path('out')}']\nformat: raw\ndecode: raw\n"
                "start: beginning\norder: fifo\nbpf: off\nlinger: 3ms\nexit_when_idle: 300ms\n")
    with Collector(t, "-c", t.path("config.yaml"), bpf=False) as c:
        c.wait_exit(0)
    lines = sorted(line for _, line in c.lines)
    t.equal(lines, sorted([tree.cri("a", tag="P")[:-1], b"b"]), "lines")
    t.equal(sorted(output(t).split(b"\n")[:-1]), lines, "the file's lines")


@suite.case()
def every_flag_is_in_the_help_and_has_a_key(t):
    """What --help names can be set in YAML; the keys that only make sense on the command line excepted."""
    text = subprocess.run([tool.hotdrain(), "run", "--help"], capture_output=True, check=True).stdout.decode()
    for key in CONFIG_KEYS:
        t.check("--" + key.replace("_", "-") in text, f"--{key} is not in the help")
    root = t.mkdir("root")
    values = {"root": root, "sink": "null", "format": "raw", "decode": "cri", "start": "end", "order": "fair", "bpf": "off",
              "linger": "1ms", "exit_when_idle": "100ms"}
    for key in CONFIG_KEYS:
        with open(t.path("one.yaml"), "w") as f:
            f.write(f"{key}: {values[key]}\n")
        with Collector(t, "-c", t.path("one.yaml"), *(() if key == "root" else ("-r", root)),
                       *(() if key == "exit_when_idle" else ("--exit-when-idle", "50ms")), bpf=key != "bpf") as c:
            c.wait_exit(0, 5)


@suite.case()
def flags_win_over_the_configuration(t):
    root, _ = one_file(t, tree.cri("x"))
    wrong = t.mkdir("wrong")
    tree.append(os.path.join(wrong, "w.log"), "wrong\n")
    with open(t.path("config.yaml"), "w") as f:
        f.write(f"root: {wrong}\nsink: file:{t.path('wrong-out')}\nformat: raw\ndecode: raw\nstart: end\nexit_when_idle: 1h\n")
    for order in (("-c", t.path("config.yaml")), ()):
        args = [*order, "-r", root, "-o", "stdout", "-f", "ndjson", "--decode", "auto", "--start", "beginning"]
        c = run_to_end(t, *args, *(() if order else ("--config", t.path("config.yaml"))))
        t.equal(texts(c.records()), ["x"], "messages")
    t.check(not os.path.exists(t.path("wrong-out")), "the configuration's sink was opened")


@suite.case()
def an_empty_configuration(t):
    root, _ = one_file(t, tree.cri("x"))
    for text in ("", "# nothing\n", "---\n", "{}\n"):
        with open(t.path("empty.yaml"), "w") as f:
            f.write(text)
        t.equal(texts(run_to_end(t, "-c", t.path("empty.yaml"), "-r", root, idle="100ms").records()), ["x"], f"messages with {text!r}")


# Talking

@suite.case()
def help_and_version_go_to_stdout(t):
    for args in (["--help"], ["--version"], ["run", "--help"], ["run", "--version"], ["run", "-h"]):
        result = subprocess.run([tool.hotdrain(), *args], capture_output=True, timeout=5)
        t.equal((result.returncode, result.stderr), (0, b""), f"status and stderr of {args}")
        t.check(result.stdout.startswith(b"hotdrain") or b"sage" in result.stdout, f"{args}: {result.stdout[:80]!r}")


@suite.case()
def quiet_and_verbose(t):
    root, _ = one_file(t, tree.cri("x"))
    sizes = {}
    for flag in ("-q", None, "-v"):
        c = run_to_end(t, "-r", root, *([flag] if flag else []), idle="100ms")
        sizes[flag] = len(c.stderr())
    t.equal(sizes["-q"], 0, "bytes on stderr with -q")
    t.check(0 < sizes[None] < sizes["-v"], f"bytes on stderr: {sizes}")


@suite.case()
def doctor_says_what_there_is(t):
    root = t.mkdir("root")
    result = subprocess.run([tool.hotdrain(), "doctor", "-r", root], capture_output=True, timeout=20)
    text = (result.stdout + result.stderr).decode("utf-8", "replace").lower()
    t.equal(result.returncode, 0, f"status ({tap.clip(text)})")
    for word in ("btf", "vfs", "kprobe", "syscall", "capabilit", "lockdown", "inotify", root):
        t.check(word in text, f"doctor does not speak of {word}: {tap.clip(text, 2000)}")


@suite.case()
def a_terminal_that_is_closed_ends_it(t):
    """The hang-up alone asks for the configuration again; that nothing can be written any more is the end."""
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    master, slave = os.openpty()
    try:
        with Collector(t, "-r", root, out=slave) as c:
            os.close(slave)
            tree.write_lines(log, "x", 3)
            if not proc.wait_until(lambda: select.select([master], [], [], 0)[0], 10):
                raise tap.Failure("nothing came")
            os.close(master)
            master = -1
            proc.kill(c.pid, signal.SIGHUP)
            tree.write_lines(log, "y", 3)
            if not proc.wait_until(lambda: c.process.poll() is not None, 10):
                raise tap.Failure("it goes on")
            t.equal(c.process.returncode, 1, "exit status")
    finally:
        if master >= 0:
            os.close(master)



suite.run()
