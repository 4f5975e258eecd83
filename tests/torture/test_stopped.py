#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What happens to the files while hotdrain is stopped: renamed, compressed, removed, replaced, truncated, cut short.

Each case is the same story: a first run reads what is there, then the files change, then a second run must deliver
exactly the rest, in order, and a third one nothing. What cannot be had any more is counted with its reason.
"""
import gzip
import os
import random
import shutil
import signal
import sys
import time
import zlib

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import runs  # noqa: E402
from lib import lanes, tap, tool, tree  # noqa: E402

suite = tap.Suite("stopped", timeout=110)
BOTH = ("auto", "off")
TERM, KILL = signal.SIGTERM, signal.SIGKILL
CHECKPOINT_S = 1.5  # after it a checkpoint has what was delivered before


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
           f"missing {len(missing)}: {tap.clip(sorted(missing)[:3], 200)}", f"too many {len(more)}: {tap.clip(sorted(more)[:3], 200)}",
           f"repeated {len(got) - len(set(got))}")


def nothing_lost(t, losses):
    t.equal(losses, {}, "losses")


def counted(t, losses, reason, events=1, size=None):
    """Exactly this, and nothing else."""
    t.equal({r: e for r, (_, e) in losses.items()}, {reason: events}, f"events counted as lost ({losses})")
    if size is not None:
        t.equal(losses[reason][0], size, f"bytes counted as {reason}")


# Renamed

@suite.case(bpf=BOTH)
def renamed_while_stopped(t):
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    for _ in range(3):
        log.rotate()
        wanted += log.write(50)
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def renamed_while_stopped_numbered_names(t):
    log = Log(t, naming="logrotate")
    log.first_run(200)
    wanted = log.write(100)
    for _ in range(3):
        log.rotate()
        wanted += log.write(50)
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def renamed_while_stopped_nothing_unread(t):
    log = Log(t)
    log.first_run(200)
    log.rotate()
    nothing_lost(t, log.rest(log.write(50)))


@suite.case(bpf=BOTH)
def renamed_and_back_while_stopped(t):
    """A kubelet whose reopening failed."""
    log = Log(t)
    log.first_run(100)
    wanted = log.write(50)
    os.rename(log.rotate(), log.path)
    nothing_lost(t, log.rest(wanted + log.write(50)))


@suite.case(bpf=BOTH)
def rotated_before_the_stop_and_again_after_it(t):
    """The older generation is unread when the run ends: the pipe's reader stands still."""
    log = Log(t)
    wanted = log.write(6000, pad=300)
    with runs.start(t, log.root, "--stop-timeout", "300ms", out="stalled") as c:
        time.sleep(0.7)
        log.rotate()
        wanted += log.write(50)
        time.sleep(0.3)
        runs.killed(c)
    log.rotate()
    wanted += log.write(50)
    c = runs.run(t, log.root, len(wanted))
    same(t, c.messages()[-100:], wanted[-100:], "the end")
    same(t, c.messages(), wanted[len(wanted) - len(c.lines):])
    t.check(len(c.lines) > 3000, f"{len(c.lines)} lines: the first run had read what nobody took")
    runs.read_nothing_more(t, log.root)


# Compressed

def gzipped(t, naming, first, unread):
    """The unread rest is only in a gz; another generation was born and compressed meanwhile; the newest is plain."""
    log = Log(t, naming)
    log.first_run(first)
    wanted = log.write(unread)
    log.rotate()
    wanted += log.write(50)
    log.compress()
    log.rotate()
    wanted += log.write(50)
    log.compress()
    log.rotate()
    wanted += log.write(20)
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_while_stopped(t):
    gzipped(t, "kubelet", 200, 100)


@suite.case(bpf=BOTH)
def gzipped_while_stopped_numbered_names(t):
    gzipped(t, "logrotate", 200, 100)


@suite.case(bpf=BOTH)
def gzipped_while_stopped_at_a_large_offset(t):
    gzipped(t, "kubelet", 20000, 5000)


@suite.case(bpf=BOTH)
def gzipped_while_stopped_nothing_unread(t):
    """What was read to its end is not read again in its gz."""
    log = Log(t)
    log.first_run(200)
    log.rotate()
    wanted = log.write(50)
    log.compress()
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_and_only_the_gz_is_left(t):
    """The container has ended: no live file any more."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    log.rotate()
    log.compress()
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_while_stopped_after_a_kill(t):
    log = Log(t)
    log.first_run(200, sig=KILL, settle=CHECKPOINT_S)
    wanted = log.write(100)
    log.rotate()
    wanted += log.write(50)
    log.compress()
    nothing_lost(t, log.rest(wanted))


@suite.case(bpf=BOTH)
def gzipped_in_several_members(t):
    """As pigz or a concatenation of gz files has it: the rest lies across a member's end."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        for n in range(0, len(data), 5000):
            f.write(gzip.compress(data[n:n + 5000]))
    os.unlink(path)
    nothing_lost(t, log.rest(wanted + log.write(50)))


@suite.case(bpf=BOTH)
def a_killed_run_that_read_a_gz_goes_on_inside_it(t):
    """Stopped again while only part of the gz has been delivered."""
    log = Log(t)
    log.first_run(100)
    wanted = log.write(20000, pad=300)
    log.rotate()
    log.compress()
    wanted += log.write(10)
    with runs.start(t, log.root, out="stalled") as c:
        time.sleep(2.0)
        runs.killed(c)
        c.read_on()
        c.thread.join(5)
    first = c.messages()
    same(t, first, wanted[:len(first)], "messages of the killed run")
    c = runs.run(t, log.root, len(wanted) - len(first))
    same(t, c.messages(), wanted[len(wanted) - len(c.lines):])
    t.check(len(c.lines) >= len(wanted) - len(first), f"{len(first)} and {len(c.lines)} of {len(wanted)}")
    runs.read_nothing_more(t, log.root)


# A gz that is not whole

def gz_broken_at(data, at):
    """A gz whose first at bytes can be inflated, and not one more: behind a full flush comes a block of no type."""
    z = zlib.compressobj(6, zlib.DEFLATED, 31)
    return z.compress(data[:at]) + z.flush(zlib.Z_FULL_FLUSH) + b"\x07" + random.Random(1).randbytes(4000)


def broken(t, make, exact):
    """make(data): the broken gz. A prefix of the rest comes, then the live file; what is missing is counted."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(300)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        f.write(make(data))
    os.unlink(path)
    live = log.write(50)
    c = runs.run(t, log.root, exact + 50 if exact is not None else 50, settle=1.0)
    got = c.messages()
    same(t, got[-50:], live, "messages of the live file")
    if exact is None and got[-51:-50] and wanted[len(got) - 51].startswith(got[-51]):
        got[-51] = wanted[len(got) - 51]  # the last line may be cut short, as the gz is
    same(t, got[:-50], wanted[:len(got) - 50], "messages that could be inflated")
    if exact is not None:
        t.equal(len(got) - 50, exact, "lines that could be inflated")
    t.check(len(got) < 350, "everything came out of a broken gz")
    losses = runs.losses(c)
    if exact == 0:  # nobody can say that it was the file that was being read
        losses.pop("rotated_away", None)
    counted(t, losses, "gz_corrupt")
    t.note(f"{len(got) - 50} of 300 lines came; {runs.losses(c)}")
    runs.read_nothing_more(t, log.root)


def line_end(data, lines):
    at = 0
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return at


@suite.case(bpf=BOTH)
def gz_corrupt_behind_the_offset(t):
    broken(t, lambda data: gz_broken_at(data, line_end(data, 350)), exact=150)


@suite.case(bpf=BOTH)
def gz_corrupt_within_a_line(t):
    """The piece of a line that can be inflated is no line; the last whole ones come."""
    log_lines = 350

    def make(data):
        return gz_broken_at(data, line_end(data, log_lines) + 20)

    log = Log(t)
    log.first_run(200)
    wanted = log.write(300)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        f.write(make(data))
    os.unlink(path)
    live = log.write(50)
    c = runs.run(t, log.root, 200, settle=1.0)
    whole = [m for m in c.messages() if len(m) == len(wanted[0])]
    same(t, whole, wanted[:150] + live, "whole messages")
    t.check(len(c.lines) - len(whole) <= 1, f"{len(c.lines) - len(whole)} pieces")
    counted(t, runs.losses(c), "gz_corrupt")
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_corrupt_before_the_offset(t):
    """Where reading stopped cannot be reached: none of it comes, and it is counted."""
    broken(t, lambda data: gz_broken_at(data, line_end(data, 100)), exact=0)


@suite.case(bpf=BOTH)
def gz_cut_short(t):
    broken(t, lambda data: gzip.compress(data)[:-200], exact=None)


@suite.case(bpf=BOTH)
def gz_without_its_last_bytes(t):
    """All data is there, the checksum is not: every line comes."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(300)
    path = log.rotate()
    with open(path, "rb") as f:
        data = f.read()
    with open(path + ".gz", "wb") as f:
        f.write(gzip.compress(data)[:-8])
    os.unlink(path)
    losses = log.rest(wanted + log.write(50), settle=1.0)
    t.check(set(losses) <= {"gz_corrupt"} and sum(b for b, _ in losses.values()) == 0, f"losses {losses}")


@suite.case(bpf=BOTH)
def gz_that_is_no_gz(t):
    broken(t, lambda data: b"this is no gz\n" * 100, exact=0)


@suite.case(bpf=BOTH)
def gz_empty(t):
    broken(t, lambda data: b"", exact=0)


@suite.case(bpf=BOTH)
def gz_and_its_source_are_both_there(t):
    """gzip had just written the gz, and not yet removed what it made it of: each line once."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as source, gzip.open(path + ".gz", "wb") as target:
        target.write(source.read())
    wanted += log.write(50)
    c = runs.start(t, log.root)
    with c:
        c.wait_lines(150)
        time.sleep(0.3)
        os.unlink(path)
        wanted += log.write(20)
        c.wait_lines(170)
        time.sleep(0.5)
        c.stop()
    same(t, c.messages(), wanted)
    nothing_lost(t, runs.losses(c))
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_and_its_source_both_there_and_both_unknown(t):
    """Both were born while hotdrain was stopped: each line once."""
    log = Log(t)
    log.first_run(200)
    log.rotate()
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as source, gzip.open(path + ".gz", "wb") as target:
        target.write(source.read())
    nothing_lost(t, log.rest(wanted + log.write(50)))


@suite.case(bpf=BOTH)
def gz_half_written_beside_its_source(t):
    """Old kubelets show the name before the gz is complete. It is completed, and its source removed, later."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(2000)
    path = log.rotate()
    with open(path, "rb") as f:
        data = gzip.compress(f.read())
    with open(path + ".gz", "wb") as f:
        f.write(data[:len(data) // 2])
    wanted += log.write(50)
    with runs.start(t, log.root) as c:
        c.wait_lines(2050)
        with open(path + ".gz", "ab") as f:
            f.write(data[len(data) // 2:])
        os.unlink(path)
        wanted += log.write(20)
        c.wait_lines(2070)
        time.sleep(0.5)
        c.stop()
    same(t, c.messages(), wanted)
    nothing_lost(t, runs.losses(c))
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_still_being_written(t):
    """Its source is gone already. Either the rest is waited for, or what is missing is counted; nothing twice."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(2000)
    path = log.rotate()
    with open(path, "rb") as f:
        data = gzip.compress(f.read())
    os.unlink(path)
    with open(path + ".gz", "wb", buffering=0) as f:
        f.write(data[:len(data) // 2])
        live = log.write(50)
        with runs.start(t, log.root) as c:
            for n in range(len(data) // 2, len(data), 500):
                time.sleep(0.05)
                f.write(data[n:n + 500])
            f.close()
            c.wait_lines(2050, 8)
            time.sleep(0.5)
            c.stop()
    got = c.messages()
    same(t, got[-50:], live, "messages of the live file")
    same(t, got[:-50], wanted[:len(got) - 50], "messages of the gz")
    t.note(f"{len(got) - 50} of 2000 lines came out of the growing gz; {runs.losses(c)}")
    if len(got) == 2050:
        nothing_lost(t, runs.losses(c))
    else:
        counted(t, runs.losses(c), "gz_corrupt")
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def gz_tmp_is_nobodys_business(t):
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    path = log.rotate()
    with open(path, "rb") as source, open(path + ".tmp", "wb") as target:
        target.write(gzip.compress(source.read())[:500])
    nothing_lost(t, log.rest(wanted + log.write(50)))


# Gone

@suite.case(bpf=BOTH)
def rotated_out_of_existence_is_counted(t):
    """Seven rotations, five files kept: the one that was being read is gone, and one or more never seen ones."""
    log = Log(t)
    log.first_run(100)
    log.write(10)
    wanted = []
    for _ in range(7):
        log.rotate()
        wanted.append(log.write(10))
    while len(log.rotated) > 4:
        os.unlink(log.rotated.pop(0))
    losses = log.rest(sum(wanted[-5:], []))
    t.check(set(losses) == {"rotated_away"} and losses["rotated_away"][1] >= 1, f"losses {losses}")


@suite.case(bpf=BOTH)
def a_pod_deleted_while_stopped_is_counted(t):
    log = Log(t)
    log.first_run(100)
    log.write(10)
    other = tree.Pod(log.root, name="other", number=2).log()
    shutil.rmtree(os.path.dirname(os.path.dirname(log.path)))
    wanted = tree.write_lines(other, "other", 10)
    counted(t, log.rest(wanted), "rotated_away")


@suite.case(bpf=BOTH)
def a_loss_is_counted_once(t):
    """The run after the one that counted it does not count it again."""
    log = Log(t)
    log.first_run(100)
    os.unlink(log.path)
    counted(t, log.rest(log.write(10), third=False), "rotated_away")
    c = runs.run(t, log.root, 1, settle=0.3) if log.write(1) else None
    nothing_lost(t, runs.losses(c))


def removed_and_made_anew(t, count):
    """The same name, another file: read from its first byte, whatever its length."""
    log = Log(t)
    log.first_run(200)
    keep = os.open(log.path, os.O_RDONLY)  # its inode is not handed on
    os.unlink(log.path)
    losses = log.rest(log.write(count))
    os.close(keep)
    counted(t, losses, "rotated_away")


@suite.case(bpf=BOTH)
def removed_and_made_anew_shorter(t):
    removed_and_made_anew(t, 50)


@suite.case(bpf=BOTH)
def removed_and_made_anew_longer(t):
    removed_and_made_anew(t, 400)


# The inode of the old file is the new one's

def with_the_same_inode(t, log, release):
    """release() frees the inode of log.path, directly or by compressing; then the name is made anew."""
    inode = os.stat(log.path).st_ino
    release()
    spare = []
    for n in range(20):
        os.close(os.open(log.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
        if os.stat(log.path).st_ino == inode:
            break
        spare.append(log.path + f".spare{n}.tmp")
        os.rename(log.path, spare[-1])
    else:
        t.skip("this file system hands no inode to a new file")
    for path in spare:
        os.unlink(path)


@suite.case(bpf=BOTH)
def the_inode_is_handed_to_the_new_file(t):
    """Renamed, compressed, removed: the new 0.log has the inode that the checkpoint knows, and is longer."""
    log = Log(t)
    log.first_run(100)
    wanted = log.write(20)

    def release():
        log.rotate()
        log.compress()

    with_the_same_inode(t, log, release)
    nothing_lost(t, log.rest(wanted + log.write(400)))


@suite.case(bpf=BOTH)
def the_inode_is_handed_to_a_shorter_file(t):
    log = Log(t)
    log.first_run(100)
    wanted = log.write(20)

    def release():
        log.rotate()
        log.compress()

    with_the_same_inode(t, log, release)
    nothing_lost(t, log.rest(wanted + log.write(7)))


@suite.case(bpf=BOTH)
def the_inode_is_handed_to_a_file_with_the_same_beginning(t):
    """A program that says the same at each start, without a time: inode and content are the old ones, birth is not."""
    log = Log(t)
    log.path = os.path.join(log.root, "app.log")
    start_up = [f"start-up step {i}" for i in range(100)]
    tree.append(log.path, *(x + "\n" for x in start_up))
    t.equal(runs.run(t, log.root, 100).messages(), start_up, "messages of the first run")
    with_the_same_inode(t, log, lambda: os.unlink(log.path))
    tree.append(log.path, *(x + "\n" for x in start_up), "running\n")
    counted(t, log.rest(start_up + ["running"]), "rotated_away")


@suite.case(bpf=BOTH)
def the_inode_is_handed_to_another_container(t):
    """The pod is gone, and the log of a new one has its inode."""
    log = Log(t)
    log.first_run(100)
    old = log.path
    inode = os.stat(old).st_ino
    other = tree.Pod(log.root, name="other", number=2).log()
    os.unlink(old)
    log.path = other
    wanted = log.write(300)
    if os.stat(other).st_ino != inode:
        t.skip("this file system hands no inode to a new file")
    counted(t, log.rest(wanted), "rotated_away")


# Truncated

def truncated(t, count):
    """Emptied and written anew while nobody looked: what is there now comes whole."""
    log = Log(t)
    log.first_run(200)
    log.write(20)
    os.truncate(log.path, 0)
    losses = log.rest(log.write(count))
    t.check(set(losses) <= {"truncated"}, f"losses {losses}")
    t.equal(losses.get("truncated", (0, 0))[1], 1, "truncations counted")


@suite.case(bpf=BOTH)
def truncated_and_rewritten_shorter(t):
    truncated(t, 50)


@suite.case(bpf=BOTH)
def truncated_and_rewritten_longer(t):
    truncated(t, 500)


@suite.case(bpf=BOTH)
def truncated_and_rewritten_to_the_same_size(t):
    truncated(t, 200)


def copytruncate(t, count, compress=False):
    """The unread rest is only in the copy."""
    log = Log(t)
    log.first_run(200)
    wanted = log.write(100)
    with open(log.path, "rb") as source, open(log.path + ".1", "wb") as copy:
        copy.write(source.read())
    os.truncate(log.path, 0)
    if compress:
        runs.compress(log.path + ".1")
    nothing_lost(t, log.rest(wanted + log.write(count)))


@suite.case(bpf=BOTH)
def copytruncate_while_stopped_shorter(t):
    copytruncate(t, 50)


@suite.case(bpf=BOTH)
def copytruncate_while_stopped_longer(t):
    copytruncate(t, 500)


@suite.case(bpf=BOTH)
def copytruncate_while_stopped_and_compressed(t):
    copytruncate(t, 50, compress=True)


@suite.case(bpf=BOTH)
def copytruncate_while_stopped_nothing_unread(t):
    """The copy of what was delivered is not delivered again."""
    log = Log(t)
    log.first_run(200)
    with open(log.path, "rb") as source, open(log.path + ".1", "wb") as copy:
        copy.write(source.read())
    os.truncate(log.path, 0)
    nothing_lost(t, log.rest(log.write(50)))


# Lines that are not complete

def messages_of(t, root, count, *args, **more):
    return runs.run(t, root, count, *args, **more).messages()


def partial_across(t, sig, between=None):
    """Pieces of both streams before the stop, their ends after it: one message each, once."""
    log = Log(t)
    tree.append(log.path, tree.cri("whole"), tree.cri("one ", tag="P"), tree.cri("1st ", stream="stderr", tag="P"),
                tree.cri("two ", tag="P"))
    t.equal(messages_of(t, log.root, 1, sig=sig, settle=CHECKPOINT_S if sig == KILL else 0.4), ["whole"], "first run")
    if between:
        between(log)
    tree.append(log.path, tree.cri("2nd", stream="stderr"), tree.cri("three"), tree.cri("next"))
    same(t, messages_of(t, log.root, 3), ["1st 2nd", "one two three", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_restart(t):
    partial_across(t, TERM)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_kill(t):
    partial_across(t, KILL)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_restart_and_a_rotation(t):
    """P ends the file that was rotated while nobody ran, F begins the next one."""
    partial_across(t, TERM, Log.rotate)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_kill_and_a_rotation(t):
    partial_across(t, KILL, Log.rotate)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_restart_and_a_gz(t):
    partial_across(t, TERM, lambda log: (log.rotate(), log.compress()))


def partial_rotated_while_running(t, sig):
    """P ends a file, it is rotated and the run sees that, then it ends before the F comes."""
    log = Log(t)
    with runs.start(t, log.root) as c:
        tree.append(log.path, tree.cri("whole"), tree.cri("one ", tag="P"))
        t.check(c.wait_lines(1), "the first line has not come")
        time.sleep(0.2)
        log.rotate()
        tree.append(log.path, tree.cri("other stream", stream="stderr"))
        t.check(c.wait_lines(2), "the line behind the rotation has not come")
        time.sleep(CHECKPOINT_S if sig == KILL else 0.2)
        runs.killed(c) if sig == KILL else c.stop()
    t.equal(c.messages(), ["whole", "other stream"], "messages of the first run")
    tree.append(log.path, tree.cri("two"), tree.cri("next"))
    got = messages_of(t, log.root, 2)
    if got[:1] == ["other stream"] and sig == KILL:
        got = got[1:]
        t.note("the other stream's line came again")
    same(t, got, ["one two", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_rotation_and_a_restart(t):
    partial_rotated_while_running(t, TERM)


@suite.case(bpf=BOTH)
def a_partial_line_across_a_rotation_and_a_kill(t):
    partial_rotated_while_running(t, KILL)


def torn_tail(t, sig, rotate=False):
    """A line without its newline, as conmon's writev leaves it: its rest comes after the start."""
    log = Log(t)
    whole = tree.cri("a line that is torn")
    tree.append(log.path, tree.cri("whole"), whole[:-9])
    t.equal(messages_of(t, log.root, 1, sig=sig, settle=CHECKPOINT_S if sig == KILL else 0.4), ["whole"], "first run")
    tree.append(log.path, whole[-9:])
    if rotate:
        log.rotate()
    tree.append(log.path, tree.cri("next"))
    same(t, messages_of(t, log.root, 2), ["a line that is torn", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def a_torn_tail_across_a_restart(t):
    torn_tail(t, TERM)


@suite.case(bpf=BOTH)
def a_torn_tail_across_a_kill(t):
    torn_tail(t, KILL)


@suite.case(bpf=BOTH)
def a_torn_tail_across_a_restart_and_a_rotation(t):
    torn_tail(t, TERM, rotate=True)


@suite.case(bpf=BOTH)
def a_torn_tail_that_nobody_completes(t):
    """The writer died within a line while hotdrain was stopped; the next generation follows."""
    log = Log(t)
    tree.append(log.path, tree.cri("whole"), tree.cri("a line that is torn")[:-9])
    t.equal(messages_of(t, log.root, 1), ["whole"], "first run")
    log.rotate()
    tree.append(log.path, tree.cri("next"))
    same(t, messages_of(t, log.root, 2), ["a line that", "next"])
    runs.read_nothing_more(t, log.root)


@suite.case()
def without_a_state_directory_what_is_pending_is_delivered(t):
    """Nobody will come back for it."""
    log = Log(t)
    tree.append(log.path, tree.cri("whole"), tree.cri("one ", tag="P"), tree.cri("1st", stream="stderr", tag="P"))
    with runs.start(t, log.root, state="none") as c:
        c.wait_lines(1)
        time.sleep(0.3)
        c.stop()
    t.equal(sorted(c.messages()), ["1st", "one ", "whole"], "messages")


if __name__ == "__main__":
    lanes.run(suite, 6)
