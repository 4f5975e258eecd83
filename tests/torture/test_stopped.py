#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""While hotdrain is stopped, files are renamed, removed, replaced and truncated, and inodes handed on."""
import os
import shutil
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import runs  # noqa: E402
from lib import lanes, tap, tree  # noqa: E402
from stopped import BOTH, Log, counted, nothing_lost, same  # noqa: E402

suite = tap.Suite("stopped", timeout=110)


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


def not_yet_reopened(t, naming):
    """The start falls between a rename and the new file: what is rotated still belongs together, in order."""
    log = Log(t, naming)
    log.first_run(100)
    wanted = log.write(4000)
    log.rotate()
    wanted += log.write(4000)
    log.rotate()
    with runs.start(t, log.root) as c:
        t.check(c.wait_lines(len(wanted)), f"{len(c.lines)} of {len(wanted)} lines without a live file")
        wanted += log.write(50)
        c.wait_lines(len(wanted))
        c.stop()
    same(t, c.messages(), wanted)
    nothing_lost(t, runs.losses(c))
    runs.read_nothing_more(t, log.root)


@suite.case(bpf=BOTH)
def renamed_and_not_yet_reopened(t):
    not_yet_reopened(t, "kubelet")


@suite.case(bpf=BOTH)
def renamed_and_not_yet_reopened_numbered_names(t):
    not_yet_reopened(t, "logrotate")


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
    """The run after the one that counted it knows of it, and does not count it again."""
    log = Log(t)
    log.first_run(100)
    os.unlink(log.path)
    lost = log.rest(log.write(10), third=False)
    counted(t, lost, "rotated_away")
    c = runs.run(t, log.root, 1, settle=0.3) if log.write(1) else None
    t.equal(runs.losses(c), lost, "losses of the run after")


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


if __name__ == "__main__":
    lanes.run(suite, 6)
