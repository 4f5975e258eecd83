# SPDX-License-Identifier: Apache-2.0
"""What `hotdrain ledger` says of a running collector. Whatever it says is first demanded to be whole and to add up."""
import json
import os
import subprocess

from . import proc, tap, tool

FIELDS = ("written", "read", "delivered", "pending", "uncounted", "lost", "lost_events")
NAMES = ("namespace", "podname", "poduuid", "containername")
REASONS = {"rotated_away", "truncated", "held_cap", "gz_corrupt", "vanished"}
HEADINGS = ["CONTAINER", "WRITTEN", "READ", "DELIVERED", "PENDING", "LOST", "UNCOUNTED"]


def call(state, *args, timeout=40):
    """(status, standard output, standard error)"""
    result = subprocess.run([tool.hotdrain(), "ledger", "--state", os.fspath(state), *args], stdin=subprocess.DEVNULL,
                            capture_output=True, timeout=timeout)
    return result.returncode, result.stdout.decode(), result.stderr.decode("utf-8", "replace")


class Entry:
    def __init__(self, members, what):
        self.names = tuple(members.get(n) for n in NAMES)
        self.path = members.get("path")
        self.logged = members.get("log_logged_bytes_total")
        for field in FIELDS[:5]:
            value = members[field]
            if not isinstance(value, int) or not 0 <= value < 1 << 63:
                raise tap.Failure(f"{what}: {field} is {value}")
            setattr(self, field, value)
        self.lost, self.events = members["lost"], members["lost_events"]
        if set(self.lost) - REASONS or set(self.lost) != set(self.events):
            raise tap.Failure(f"{what}: lost {self.lost}, events {self.events}")
        self.lost_bytes = sum(self.lost.values())
        left, right = self.written + self.uncounted, self.delivered + self.pending + self.lost_bytes
        if left != right:
            raise tap.Failure(f"{what} does not close by {left - right}: {self}")

    def __repr__(self):
        return (f"written {self.written}, read {self.read}, delivered {self.delivered}, pending {self.pending}, "
                f"uncounted {self.uncounted}, lost {self.lost} {self.events}")


class Ledger:
    """containers: {(namespace, pod, uid, container) or, of logs without names, path: Entry}"""

    def __init__(self, status, text):
        if not text.endswith("}\n") or text.count("\n") != 1:
            raise tap.Failure(f"not one line: {tap.clip(text)}")
        said = json.loads(text)
        self.status, self.text = status, text
        keys(said, ["total", "containers", "proof", "why", "missed"], "ledger")
        keys(said["total"], FIELDS, "total")
        self.total, self.containers = Entry(said["total"], "the total"), {}
        for members in said["containers"]:
            keys(members, [*NAMES, "path", "log_logged_bytes_total", *FIELDS], "container")
            entry = Entry(members, f"container {members['path']}")
            key = entry.names if entry.names[0] else entry.path
            if key in self.containers:
                raise tap.Failure(f"twice in the ledger: {key}")
            if entry.logged != entry.written:
                raise tap.Failure(f"{key}: log_logged_bytes_total {entry.logged}, written {entry.written}")
            self.containers[key] = entry
        self.proof, self.why, self.missed = said["proof"], said["why"], said["missed"]
        self.check()

    def check(self):
        for field in FIELDS[:5] + ("lost_bytes",):
            parts = sum(getattr(e, field) for e in self.containers.values())
            if parts != getattr(self.total, field):
                raise tap.Failure(f"{field}: the containers have {parts}, the total is {getattr(self.total, field)}")
        for reason in REASONS:
            parts = sum(e.lost.get(reason, 0) for e in self.containers.values())
            if parts != self.total.lost.get(reason, 0):
                raise tap.Failure(f"lost {reason}: the containers have {parts}, the total is {self.total}")
        if self.status != bool(self.total.events):
            raise tap.Failure(f"exit status {self.status}, lost {self.total.lost}")
        if self.proof not in ("proven", "estimated", "lower_bound"):
            raise tap.Failure(f"proof {self.proof}")
        if (self.proof == "estimated") != (self.missed > 0 and self.proof != "lower_bound"):
            raise tap.Failure(f"{self.proof} with {self.missed} missed")
        if (self.proof == "lower_bound") != bool(self.why):
            raise tap.Failure(f"{self.proof} because of {self.why!r}")

    def of(self, pod, container="app"):
        """Of a tree.Pod's container."""
        return self.containers[pod.namespace, pod.name, pod.uid, container]

    def __repr__(self):
        return f"{self.total}; {self.proof} {self.why}, missed {self.missed}; " + "; ".join(f"{k}: {e}" for k, e in self.containers.items())


def keys(members, wanted, what):
    if list(members) != list(wanted):
        raise tap.Failure(f"{what}: keys {list(members)}")


def ask(state):
    status, out, err = call(state, "--json")
    if status not in (0, 1) or err:
        raise tap.Failure(f"ledger --json: status {status}, {err or tap.clip(out)}")
    return Ledger(status, out)


def settled(state, written=None, timeout=10):
    """The ledger once nothing is pending and, if given, so much was written; the last one when that never happens."""
    found = []

    def is_so():
        found.append(ask(state))
        total = found[-1].total
        return not total.pending and written in (None, total.written + total.uncounted)

    proc.wait_until(is_so, timeout, step=0.05)
    return found[-1]


class Table:
    """rows: {name: [written, read, delivered, pending, lost, uncounted]}; notes: the lines below."""

    def __init__(self, text):
        lines = text.splitlines()
        if lines[0].split() != HEADINGS:
            raise tap.Failure(f"the table's head: {lines[0]!r}")
        last = next(i for i, line in enumerate(lines) if line.startswith("TOTAL"))
        self.rows, self.notes, self.lines = {}, lines[last + 1:], lines[:last + 1]
        for line in lines[1:last + 1]:
            name, *figures = line.rsplit(None, 6)
            self.rows[name] = [int(x) for x in figures]


def figures(e):
    """An Entry as a row of the table."""
    return [e.written, e.read, e.delivered, e.pending, e.lost_bytes, e.uncounted]
