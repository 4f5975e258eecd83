# SPDX-License-Identifier: Apache-2.0
"""The log of a container that changes while hotdrain is stopped, and what must come afterwards.

Each story is the same: a first run reads what is there, then the files change, then a second run must deliver exactly
the rest, in order, and a third one nothing. What cannot be had any more is counted with its reason.
"""
import os
import signal

import runs
from lib import tap, tree

BOTH = ("auto", "off")
TERM, KILL = signal.SIGTERM, signal.SIGKILL
CHECKPOINT_S = 3  # after it a checkpoint has what was delivered before, on a busy machine too


class Log:
    """The log of one container; its lines are numbered on across generations, whatever these are called."""

    def __init__(self, t, naming="kubelet"):
        self.t, self.naming, self.n, self.stamp = t, naming, 0, 0
        self.root = t.mkdir("pods")
        self.path = tree.Pod(self.root).log()
        self.rotated = []  # oldest first
        self.kept = None

    def write(self, count, pad=60):
        texts = [f"line {self.n + i:06d} " + chr(97 + (self.n + i) % 26) * pad for i in range(count)]
        tree.append(self.path, *(tree.cri(x, number=self.n + i) for i, x in enumerate(texts)))
        self.n += count
        return texts

    def rotate(self):
        """To 0.log.STAMP, or to 0.log.1 after 0.log.1 has become 0.log.2. Nothing is compressed or removed."""
        if self.naming == "kubelet":
            self.rotated.append(f"{self.path}.20261121-{self.stamp:06d}")
            self.stamp += 1
        else:
            for i, old in enumerate(self.rotated):
                ending = ".gz" if old.endswith(".gz") else ""
                self.rotated[i] = f"{self.path}.{len(self.rotated) - i + 1}{ending}"
                os.rename(old, self.rotated[i])
            self.rotated.append(self.path + ".1")
        os.rename(self.path, self.rotated[-1])
        return self.rotated[-1]

    def compress(self, which=-1):
        self.rotated[which] = runs.compress(self.rotated[which])
        return self.rotated[which]

    def first_run(self, count, *args, **more):
        wanted = self.write(count)
        self.t.equal(runs.run(self.t, self.root, count, *args, **more).messages(), wanted, "messages of the first run")

    def rest(self, wanted, *args, third=True, **more):
        """The second run, and a third one with nothing. Gives the losses that the second one counts."""
        c = runs.run(self.t, self.root, len(wanted), *args, **more)
        same(self.t, c.messages(), wanted)
        if third:
            runs.read_nothing_more(self.t, self.root, *args)
        return runs.losses(c)


def same(t, got, wanted, what="messages of the second run"):
    """As t.equal, but says where two long lists differ."""
    if got == wanted:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    missing, more = set(wanted) - set(got), set(got) - set(wanted)
    t.fail(f"{what}: wanted {len(wanted)}, got {len(got)}; they differ at {at}",
           f"wanted there {tap.clip(wanted[at:at + 2], 200)}, got {tap.clip(got[at:at + 2], 200)}",
           f"missing {len(missing)}: {tap.clip(sorted(missing)[:3], 200)}",
           f"too many {len(more)}: {tap.clip(sorted(more)[:3], 200)}",
           f"repeated {len(got) - len(set(got))}")


def nothing_lost(t, losses):
    t.equal(losses, {}, "losses")


def counted(t, losses, reason, events=1, size=None):
    """Exactly this, and nothing else."""
    t.equal({r: e for r, (_, e) in losses.items()}, {reason: events}, f"events counted as lost ({losses})")
    if size is not None:
        t.equal(losses[reason][0], size, f"bytes counted as {reason}")
