# SPDX-License-Identifier: Apache-2.0
"""Runs the cases of a suite in processes side by side, for suites that wait more than they work.

Each lane is a runner of its own (lib/tap.py) with every n-th case; the results are numbered anew and printed lane by
lane. What waits longest should come first in the suite, so that no lane ends with it.
"""
import os
import re
import signal
import sys

from . import proc


def start(suite, cases):
    """(pid, a file of its results)"""
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(write_end)
        return pid, os.fdopen(read_end, errors="replace")
    os.close(read_end)
    os.dup2(write_end, 1)
    os.close(write_end)
    suite.cases = cases
    suite.run()  # does not return


def run(suite, count=4):
    wanted = sys.argv[1:]
    cases = [c for c in suite.cases if not wanted or any(w in c[0] for w in wanted)]
    proc.become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    number, failed = 0, False
    try:
        lanes = [start(suite, cases[n::count]) for n in range(min(count, len(cases)))]
        for pid, results in lanes:
            for line in results:
                if line.startswith("1.."):
                    continue
                if re.match(r"(not )?ok \d", line):
                    number += 1
                    line = re.sub(r"\d+", str(number), line, count=1)
                print(line, end="", flush=True)
            failed |= os.waitpid(pid, 0)[1] != 0
    finally:
        proc.end_descendants()
    print(f"1..{len(cases)}", flush=True)
    sys.exit(1 if failed or number != len(cases) else 0)
