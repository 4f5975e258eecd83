#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What reads the collector's accounts, and the sizes of lines that counted loss is compared with."""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import account, judge, lines, tap, tool  # noqa: E402

suite = tap.Suite("account", timeout=30)
GOOD = "hotdrain: container /a/0.log: read 30, delivered 20, pending 10, lost 0 bytes; 3 lines, 1 rotations"
LOST = ("hotdrain: warning: container /b/0.log: read 5, delivered 5, pending 0, lost 12 bytes "
        "(rotated_away 0 bytes 2 times, truncated 12 bytes 1 times); 1 lines, 0 rotations")


class Said:
    """Stands in for a collector that has ended."""

    def __init__(self, *text):
        self.text = "\n".join(text)

    def stderr(self):
        return self.text


def refused(t, what, function, *args):
    try:
        function(*args)
    except tap.Failure:
        return
    t.fail(f"accepted: {what}")


@suite.case()
def accounts_are_read(t):
    a, b = (account.account(Said(GOOD, LOST), p) for p in ("/a/0.log", "/b/0.log"))
    t.equal((a.read, a.delivered, a.pending, a.lost, a.lines, a.rotations, a.reasons), (30, 20, 10, 0, 3, 1, {}), "/a")
    t.equal((b.lost, b.bytes("truncated"), b.events("rotated_away", "truncated")), (12, 12, 3), "/b")


@suite.case()
def accounts_that_are_wrong_are_refused(t):
    refused(t, "no account", account.account, Said(GOOD), "/b/0.log")
    refused(t, "two accounts", account.accounts, Said(GOOD, GOOD))
    refused(t, "reasons that do not add up", account.accounts, Said(LOST.replace("truncated 12", "truncated 11")))
    refused(t, "an unknown reason", account.accounts, Said(LOST.replace("rotated_away", "mislaid")))
    refused(t, "pending bytes", account.nothing_lost, Said(GOOD))
    refused(t, "a loss", account.nothing_lost, Said(LOST))
    refused(t, "an event without bytes", account.nothing_lost,
            Said(LOST.replace("lost 12", "lost 0").replace("truncated 12", "truncated 0")))


@suite.case()
def sizes_of_lines_are_those_in_the_file(t):
    """Of writer.c by its rule, of the writer in Python by what it wrote."""
    subprocess.run([tool.helper("writer"), "-n", "700", "-f", t.path("c.log"), "app.0"], check=True)
    size = sum(lines.cri_bytes("app.0", n) for n in range(700)) * 2
    t.equal(size, os.path.getsize(t.path("c.log")), "bytes of writer.c")
    log = lines.Log(t.path("py.log"))
    first = log.write(100)
    second = log.write(51, "x" * 70)
    log.close()
    t.equal(log.bytes_of(first) + log.bytes_of(second), os.path.getsize(log.path), "bytes of the writer in Python")
    j = log.expect(judge.Judge())
    with open(log.path) as f:
        for line in f.read().splitlines()[:100]:
            j.add(line.split(" ", 3)[3])
    t.equal(log.missing(j), second, "what has not come")


suite.run()
