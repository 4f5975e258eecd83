# SPDX-License-Identifier: Apache-2.0
"""Runs `hotdrain events --json`, and applies what it prints to a model that accepts nothing that does not fit."""
import json
import os
import signal
import subprocess
import threading
import time

from . import proc, tap, tool


class Replay:
    """{path: is it a directory} of what is below root, as the events tell."""

    def __init__(self, root):
        self.root, self.paths = root, {}
        self.children = {}  # {directory: names}
        self.counts, self.applied = {}, 0

    def put(self, path, is_dir):
        head, tail = os.path.split(path)
        if path in self.paths:
            raise tap.Failure(f"{path}: is there already")
        if path != self.root:
            if not self.paths.get(head):
                raise tap.Failure(f"{path}: its directory is not there")
            self.children[head].add(tail)
        self.paths[path] = is_dir
        if is_dir:
            self.children[path] = set()

    def take(self, path, is_dir):
        head, tail = os.path.split(path)
        if self.paths.get(path) is not is_dir:
            raise tap.Failure(f"{path}: is not there" if path not in self.paths else f"{path}: is of another kind")
        if self.children.get(path):
            raise tap.Failure(f"{path}: is not empty: {sorted(self.children[path])[:5]}")
        del self.paths[path]
        self.children.pop(path, None)
        if head in self.children:
            self.children[head].discard(tail)

    def below(self, path):
        """path and all below, parents first."""
        found, todo = [], [path]
        while todo:
            at = todo.pop()
            found.append(at)
            todo += [os.path.join(at, name) for name in self.children.get(at, ())]
        return found

    def move(self, old, new, is_dir):
        if self.paths.get(old) is not is_dir:
            raise tap.Failure(f"{old}: is not there to be renamed")
        if new == old or new.startswith(old + "/"):
            raise tap.Failure(f"{old}: renamed to {new}")
        moved = [(path, self.paths[path]) for path in self.below(old)]
        for path, kind in reversed(moved):
            self.take(path, kind)
        for path, kind in moved:
            self.put(new + path[len(old):], kind)

    def add(self, event):
        name, action = event["actor"]["name"], event["action"]
        is_dir = event["actor"]["attributes"]["file.type"] == "directory"
        self.counts[action] = self.counts.get(action, 0) + 1
        if action == "created":
            self.put(name, is_dir)
        elif action == "deleted":
            self.take(name, is_dir)
        elif action == "renamed":
            self.move(event["from"], name, is_dir)
        elif action == "written":
            if self.paths.get(name) is not False:
                raise tap.Failure(f"{name}: written, and not there or a directory")
        else:
            raise tap.Failure(f"what is a file {action}?")


def tree(root):
    """{path: is it a directory} of what is there."""
    found = {root: True}
    for at, dirs, files in os.walk(root):
        for name in dirs:
            path = os.path.join(at, name)
            found[path] = not os.path.islink(path)
        for name in files:
            found[os.path.join(at, name)] = False
    return found


def difference(replay, root):
    there, told = tree(root), replay.paths
    return ([f"never told of: {p}" for p in sorted(there.keys() - told.keys())[:5]]
            + [f"not there: {p}" for p in sorted(told.keys() - there.keys())[:5]]
            + [f"of another kind: {p}" for p in sorted(there.keys() & told.keys()) if there[p] != told[p]][:5])


class Events:
    """args: beside --json. read False: nobody reads before read_on()."""

    def __init__(self, case, *args, read=True, json_lines=True, out=subprocess.PIPE):
        self.case = case
        self.command = [tool.hotdrain(), "events", *(["--json"] if json_lines else []), *map(os.fspath, args)]
        self.log_path = case.path(f"stderr.{len(case.collectors)}")
        self.lines, self.parsed, self.rest, self.thread = [], [], b"", None
        case.collectors.append(self)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                            env={k: v for k, v in os.environ.items() if k != "CONTAINER_LOG_DIRECTORY"})
        self.pid = self.process.pid
        if read:
            self.read_on()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        proc.end(self.process)
        if self.thread:
            self.thread.join(5)

    def read_on(self):
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        fd = self.process.stdout.fileno()
        while True:
            chunk = os.read(fd, 1 << 18)
            if not chunk:
                return
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            self.lines += lines

    def events(self, kind=None):
        for line in self.lines[len(self.parsed):]:
            try:
                self.parsed.append(json.loads(line.decode("utf-8", "strict")))
            except ValueError as e:
                raise tap.Failure(f"not a JSON object: {tap.clip(line)}: {e}") from None
        return [e for e in self.parsed if kind in (None, e["type"])]

    def forget(self):
        """What was printed so far."""
        self.lines, self.parsed = [], []

    def names(self, kind=None):
        """[(action, the last component of the name)]"""
        return [(e["action"], os.path.basename(e["actor"]["name"])) for e in self.events(kind)]

    def wait(self, condition, what, timeout=10):
        if not proc.wait_until(condition, timeout, step=0.02):
            raise tap.Failure(f"never {what}", *self.lines[-5:])

    def wait_lines(self, count, timeout=10):
        self.wait(lambda: len(self.lines) >= count, f"{count} lines, but {len(self.lines)}", timeout)

    def ready(self):
        """With --list: the first line is there, and so are all watches."""
        self.wait_lines(1)
        time.sleep(0.1)
        return self

    def stderr(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def stop(self, sig=signal.SIGTERM):
        proc.kill(self.pid, sig)
        return self.wait_exit()

    def wait_exit(self, wanted=0, timeout=10):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise tap.Failure(f"still runs {timeout} s after it should have ended") from None
        if self.thread:
            self.thread.join(5)
        if status != wanted:
            raise tap.Failure(f"exit status {status}, wanted {wanted}")
        if self.rest:
            raise tap.Failure(f"output ends within a line: {tap.clip(self.rest)}")
        return self

    def account(self):
        return "\n".join([f"command: {' '.join(self.command)}", f"exit status: {self.process.poll()}",
                          f"lines: {len(self.lines)}, the last:",
                          *("  " + line[:300].decode("utf-8", "replace") for line in self.lines[-6:]),
                          "stderr:", *("  " + line[:300] for line in self.stderr().splitlines()[-12:])])
