# SPDX-License-Identifier: Apache-2.0
"""The runner of one suite: cases in order, each in a private directory and bounded in time, TAP on stdout.

A case is a function of one argument t (class Case). It fails by raising; t.skip(reason) skips it. Whatever it
started is ended after it by process id, also when it failed (lib/proc.py). `test_x.py PART...` runs only the cases
whose name contains a PART; KEEP=1 keeps the directories of failed cases.
"""
import os
import shutil
import signal
import sys
import time
import traceback

from . import proc, tool


class Failure(AssertionError):
    """A promise that was not kept: its lines go below the `not ok`."""


class Skip(Exception):
    pass


class Timeout(Exception):
    pass


class Case:
    def __init__(self, name, directory, bpf):
        self.name, self.dir, self.bpf = name, directory, bpf
        self.notes = []  # shown below the result, also when it is ok: what was measured
        self.collectors = []  # for the account of a failure

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def mkdir(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        return path

    def note(self, text):
        self.notes.append(text)

    def skip(self, reason):
        raise Skip(reason)

    def fail(self, *lines):
        raise Failure("\n".join(lines))

    def check(self, condition, why):
        if not condition:
            raise Failure(why)

    def equal(self, got, wanted, what):
        if got != wanted:
            raise Failure(f"{what}: wanted {clip(wanted)}, got {clip(got)}")


def clip(value, limit=600):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


class Suite:
    def __init__(self, name, timeout):
        self.name, self.deadline = name, time.monotonic() + timeout
        self.cases, self.number, self.failed = [], 0, 0

    def case(self, bpf=("auto",), timeout=30):
        """Registers a case, once for each value of --bpf it is run with."""

        def register(function):
            for mode in bpf:
                name = function.__name__ + ("" if len(bpf) == 1 else f" --bpf {mode}")
                self.cases.append((f"{self.name}: {name}", function, mode, timeout))
            return function

        return register

    def run(self):
        wanted = sys.argv[1:]
        proc.become_subreaper()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        signal.signal(signal.SIGALRM, on_alarm)
        cases = [c for c in self.cases if not wanted or any(w in c[0] for w in wanted)]
        try:
            for case in cases:
                self.run_case(*case)
        finally:
            signal.alarm(0)
            proc.end_descendants()
        print(f"1..{self.number}", flush=True)
        sys.exit(1 if self.failed else 0)

    def run_case(self, name, function, bpf, timeout):
        left = self.deadline - time.monotonic()
        directory = tool.directory()
        os.chmod(directory, 0o755)  # collectors without privileges read here too
        case = Case(name, directory, bpf)
        started = time.monotonic()
        why = skipped = None
        try:
            if left <= 1:
                raise Failure("the suite's time was used up before this case")
            signal.setitimer(signal.ITIMER_REAL, min(timeout, left))
            function(case)
        except Skip as e:
            skipped = str(e)
        except Failure as e:
            why = str(e)
        except Timeout:
            why = f"not finished after {min(timeout, left):.0f} s\n" + traceback.format_exc(limit=-4)
        except Exception:
            why = traceback.format_exc(limit=-4)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            proc.end_descendants()
        if why and not skipped:
            why += "".join("\n" + c.account() for c in case.collectors)
        self.report(case, time.monotonic() - started, skipped, why)
        if why and os.environ.get("KEEP"):
            print(f"# kept {directory}", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)

    def report(self, case, seconds, skipped, why):
        self.number += 1
        if skipped is not None:
            print(f"ok {self.number} - {case.name} # SKIP {skipped}")
        elif why is None:
            print(f"ok {self.number} - {case.name}")
        else:
            self.failed += 1
            print(f"not ok {self.number} - {case.name}")
            for line in why.splitlines():
                print(f"# {line}")
        for note in case.notes:
            print(f"#   {note}")
        print(f"#   {seconds:.1f} s", flush=True)


def on_alarm(*_):
    raise Timeout()
