# SPDX-License-Identifier: Apache-2.0
"""What a collector says at its end about each container's log: read, delivered, pending, lost and why."""
import re

from . import tap

LINE = re.compile(r"container (.+): read (\d+), delivered (\d+), pending (\d+), lost (\d+) bytes"
                  r"(?: \(([^)]*)\))?; (\d+) lines, (\d+) rotations?$")
REASON = re.compile(r"(\w+) (\d+) bytes (\d+) times?$")
REASONS = {"rotated_away", "truncated", "held_cap", "gz_corrupt", "vanished"}


class Account:
    def __init__(self, words):
        self.path, reasons = words[0], words[5]
        self.read, self.delivered, self.pending, self.lost = map(int, words[1:5])
        self.lines, self.rotations = map(int, words[6:])
        self.reasons = {}  # {reason: (bytes, events)}
        for part in (reasons or "").split(", ") if reasons else []:
            found = REASON.match(part.strip())
            if not found or found[1] not in REASONS:
                raise tap.Failure(f"account of {self.path}: what is {part!r}?")
            self.reasons[found[1]] = int(found[2]), int(found[3])

    def __repr__(self):
        return (f"read {self.read}, delivered {self.delivered}, pending {self.pending}, lost {self.lost} {self.reasons}, "
                f"{self.lines} lines, {self.rotations} rotations")

    def bytes(self, reason):
        return self.reasons.get(reason, (0, 0))[0]

    def events(self, *reasons):
        return sum(self.reasons.get(r, (0, 0))[1] for r in reasons)


def accounts(c):
    """{path: Account} of a collector that has ended."""
    found = {}
    for line in c.stderr().splitlines():
        words = LINE.search(line)
        if words:
            a = Account(words.groups())
            if a.path in found:
                raise tap.Failure(f"two accounts of {a.path}")
            if a.lost != sum(b for b, _ in a.reasons.values()):
                raise tap.Failure(f"account of {a.path}: the reasons do not add up: {a}")
            found[a.path] = a
    return found


def account(c, path):
    found = accounts(c)
    if path not in found:
        raise tap.Failure(f"no account of {path} among {sorted(found)}")
    return found[path]


def nothing_lost(c, *paths):
    """No container's log has lost anything, these are among them, and what was read was delivered."""
    for path in paths:
        account(c, path)
    for a in accounts(c).values():
        if a.lost or a.reasons or a.pending or a.read != a.delivered:
            raise tap.Failure(f"account of {a.path}: {a}")
