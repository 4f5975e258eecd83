#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The judges themselves: what they must pass, and each fault that they must name."""
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import judge, tap, tool  # noqa: E402

suite = tap.Suite("judge", timeout=30)
COUNT = 50


def written(t):
    """What one run of the writer put on its standard output."""
    out = subprocess.run([tool.helper("writer"), "-n", str(COUNT), "-s", "o", "-L", "7:30000", "a.0"],
                         capture_output=True, check=True)
    lines = out.stdout.decode().splitlines()
    t.equal(len(lines), COUNT, "lines written")
    return lines


def problems(lines, **more):
    j = judge.Judge().expect("a.0", "o", COUNT)
    for line in lines:
        j.add(line, **more)
    return j.problems()


def fast(lines):
    """The C judge's verdict: {"distinct", "end", "repeated", "late", "torn", "foreign"}."""
    text = "".join(json.dumps({"message": line}, separators=(",", ":")) + "\n" for line in lines)
    out = subprocess.run([tool.helper("judge")], input=text.encode(), capture_output=True, check=True).stdout.decode()
    words = dict((line.split()[0], line.split()[1:]) for line in out.splitlines())
    distinct, end, repeated, late = map(int, words["count"][2:])
    return {"distinct": distinct, "end": end, "repeated": repeated, "late": late,
            "torn": int(words["total"][2]), "foreign": int(words["total"][3])}


GOOD = {"distinct": COUNT, "end": COUNT, "repeated": 0, "late": 0, "torn": 0, "foreign": 0}


def both(t, lines, word, **fast_differs):
    found = problems(lines)
    t.check(any(word in p for p in found), f"no {word!r} among {found}")
    t.equal(fast(lines), {**GOOD, **fast_differs}, "fast judge")


@suite.case()
def right_lines_pass(t):
    lines = written(t)
    t.equal(problems(lines, stream="stdout", owner="a.0"), [], "problems")
    t.equal(fast(lines), GOOD, "fast judge")


@suite.case()
def a_lost_line_is_named(t):
    lines = written(t)
    both(t, lines[:20] + lines[21:], "lost 1 in 1 runs: 20-20", distinct=COUNT - 1)


@suite.case()
def a_lost_tail_is_named(t):
    lines = written(t)
    both(t, lines[:-3], "lost 3 in 1 runs: 47-49", distinct=COUNT - 3, end=COUNT - 3)


@suite.case()
def everything_lost_is_named(t):
    t.equal(problems([]), [f"a.0 o of {COUNT}: lost {COUNT} in 1 runs: 0-{COUNT - 1}"], "problems")


@suite.case()
def a_repeated_line_is_named(t):
    lines = written(t)
    both(t, lines[:20] + lines[18:], "repeated 2: [18, 19]", repeated=2)


@suite.case()
def swapped_lines_are_named(t):
    lines = written(t)
    lines[3], lines[4] = lines[4], lines[3]
    both(t, lines, "out of order 1: [3]", late=1)


@suite.case()
def a_torn_line_is_named(t):
    lines = written(t)
    both(t, [*lines[:5], lines[5][:-1], *lines[6:]], "torn 1", distinct=COUNT - 1, torn=1)


@suite.case()
def glued_lines_are_named(t):
    lines = written(t)
    both(t, [*lines[:5], lines[5] + lines[6], *lines[7:]], "torn 1", distinct=COUNT - 2, torn=1)


@suite.case()
def the_wrong_stream_is_named(t):
    t.check("on stderr" in problems(written(t), stream="stderr")[0], "stderr accepted")


@suite.case()
def the_wrong_container_is_named(t):
    t.check("as if of b.0" in problems(written(t), owner="b.0")[0], "b.0 accepted")


@suite.case()
def a_file_read_back_passes(t):
    """The files that a writer leaves are judged as a collector's output would be."""
    log, result = t.path("0.log"), t.path("result")
    subprocess.run([tool.helper("writer"), "-n", "500", "-f", log, "-R", result, "a.0"], check=True)
    j = judge.Judge().expect_result(result)
    with open(log) as f:
        for line in f:
            _, stream, tag, message = line.rstrip("\n").split(" ", 3)
            t.equal(tag, "F", "tag")
            j.add(message, stream, "a.0")
    t.equal(j.expected_lines(), 1000, "expected")
    t.equal(j.problems(), [], "problems")


suite.run()
