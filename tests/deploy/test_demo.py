#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demonstration of `make run`, for a few seconds: into a file, and on a terminal with Ctrl-C."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(TOP, "tests/demo/run")
HOTDRAIN = os.path.abspath(os.path.join(os.environ.get("B") or os.path.join(TOP, "build"), "hotdrain"))
SUMMARY = re.compile(r"hotdrain: .*\d+ lines.*, (\d+) rotations")
PODS = {"web-5d4f8c7b9-x2x7k", "cart-0", "payments-66bd5", "coredns-74ff5", "import-28931",
        "loadgen-7f9c4"}
results = []


def check(name, good, why=""):
    results.append(bool(good))
    print(f"{'ok' if good else 'not ok'} {len(results)} - {name}", flush=True)
    if not good:
        print(f"# {str(why)[:400]!r}", flush=True)


def into_a_file(tmp):
    env = dict(os.environ, TMPDIR=tmp)
    out = os.path.join(tmp, "out")
    with open(out, "wb") as f:
        p = subprocess.run([DEMO, HOTDRAIN, "--tree", "--seconds", "5"], stdout=f,
                           stderr=subprocess.PIPE, env=env, timeout=120, check=False)
    said = p.stderr.decode(errors="replace").splitlines()
    with open(out, "rb") as f:
        records = [json.loads(line) for line in f]
    os.unlink(out)
    summary = SUMMARY.search(said[-1]) if said else None
    check("demo_ends_well_after_its_time", p.returncode == 0, said)
    check("demo_shows_every_pod", {r["k8s.pod.name"] for r in records} >= PODS - {"import-28931"},
          {r["k8s.pod.name"] for r in records})
    numbers = [int(r["message"].split()[2]) for r in records if r["k8s.pod.name"] == "loadgen-7f9c4"]
    check("noisy_lines_come_once_and_in_order", numbers == list(range(1, len(numbers) + 1)),
          [n for i, n in enumerate(numbers) if n != i + 1][:10])
    pieces = [r["message"] for r in records if "pieces" in r["message"]]
    check("pieces_come_as_one_line",
          all(re.fullmatch(r"payment \d+ accepted, written in pieces and read as one line", m)
              for m in pieces), pieces)
    check("logs_are_rotated_meanwhile", summary and int(summary[1]) >= 1, said[-3:])
    check("summary_is_the_last_thing_said", summary, said[-3:])
    check("tree_is_removed", os.listdir(tmp) == [], os.listdir(tmp))


def on_a_terminal(tmp):
    master, slave = pty.openpty()
    p = subprocess.Popen([DEMO, HOTDRAIN, "--tree"], stdin=slave, stdout=slave, stderr=slave,
                         env=dict(os.environ, TMPDIR=tmp), start_new_session=True)
    os.close(slave)
    began, seen, interrupted = time.monotonic(), b"", False
    while time.monotonic() - began < 60:
        if select.select([master], [], [], 0.2)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        if not interrupted and seen.count(b"lines/s of pod loadgen") >= 2:
            os.killpg(p.pid, signal.SIGINT)
            interrupted = True
    try:
        p.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        p.wait()
    os.close(master)
    lines = seen.decode(errors="replace").replace("\r", "").splitlines()
    noisy = sum('"loadgen-' in line for line in lines)
    check("interrupt_ends_everything_well", interrupted and p.returncode == 0, p.returncode)
    check("terminal_is_not_flooded", 0 < noisy <= 10, noisy)
    check("terminal_shows_quiet_lines", any('"coredns-' in line for line in lines), lines[-5:])
    check("summary_is_the_last_line_on_a_terminal", lines and SUMMARY.search(lines[-1]), lines[-3:])
    check("tree_is_removed_after_interrupt", os.listdir(tmp) == [], os.listdir(tmp))


def main():
    if not os.access(HOTDRAIN, os.X_OK):
        print(f"not ok 1 - demo # {HOTDRAIN} is missing")
        return 1
    with tempfile.TemporaryDirectory(prefix="hotdrain-test.") as tmp:
        into_a_file(tmp)
    with tempfile.TemporaryDirectory(prefix="hotdrain-test.") as tmp:
        on_a_terminal(tmp)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
