#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The state directory: its lock, a checkpoint that is no good, a disk that is full or read-only, and no directory."""
import contextlib
import ctypes
import glob
import os
import re
import subprocess
import sys
import time
import zlib

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import runs  # noqa: E402
from lib import lanes, proc, tap, tool, tree  # noqa: E402

suite = tap.Suite("state", timeout=110)
BOTH = ("auto", "off")
FILES = 3
MS_RDONLY, MS_REC_PRIVATE = 1, 0x4000 | 1 << 18


def world(t, lines=20):
    """A root with some files. (root, messages)"""
    root, texts = t.mkdir("root"), []
    for n in range(FILES):
        texts += tree.write_lines(os.path.join(root, f"f{n}.log"), f"f{n} line", lines)
    return root, sorted(texts)


def grow(root, first, count=5):
    texts = []
    for n in range(FILES):
        texts += tree.write_lines(os.path.join(root, f"f{n}.log"), f"f{n} line", count, first=first)
    return sorted(texts)


def first_run(t, lines=20):
    root, texts = world(t, lines)
    t.equal(sorted(runs.run(t, root, len(texts)).messages()), texts, "messages of the first run")
    return root, texts


def needs_root(t):
    if os.geteuid():
        t.skip("mounting needs root")


@contextlib.contextmanager
def mounted(t, *options):
    """A tmpfs on the state directory."""
    needs_root(t)
    path = t.mkdir("state")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(["size=64k", *options]), "none", path]).returncode:
        t.skip("a tmpfs cannot be mounted here")
    try:
        yield path
    finally:
        proc.end_descendants()
        subprocess.run(["umount", "-l", path], check=True)


def remount(path, how):
    subprocess.run(["mount", "-o", f"remount,{how}", path], check=True)


def saved(t, timeout=5):
    """Waits for a checkpoint."""
    if not proc.wait_until(lambda: runs.checkpoint(t), timeout):
        t.fail("no checkpoint with a file in it was written")


# What is written

@suite.case(bpf=BOTH)
def the_checkpoint_can_be_read_by_a_person(t):
    """A version, one line per file with its path, device, inode and offset, and an end."""
    root, _ = first_run(t)
    with open(t.path("state", "checkpoint"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    t.check(re.match(r"hotdrain checkpoint \d+\b", lines[0]), f"first line {lines[0]!r}")
    files = [line.split() for line in lines[1:-1] if not line.startswith(("#", "account "))]
    t.equal(len(files), FILES, "lines of files")
    for n in range(FILES):
        path = os.path.join(os.path.realpath(root), f"f{n}.log")
        s = os.stat(path)
        mine = [f for f in files if f[-1] == path]
        t.equal(len(mine), 1, f"lines of {path} among {lines}")
        t.equal(mine[0][:2], [f"{os.major(s.st_dev)}:{os.minor(s.st_dev)}", str(s.st_ino)], "device and inode")
        t.check(str(s.st_size) in mine[0], f"no offset {s.st_size} in {mine[0]}")
    left = sorted(os.listdir(t.path("state")))
    t.check("checkpoint.tmp" not in left and set(left) <= {"checkpoint", "lock"}, f"in the directory: {left}")


@suite.case(bpf=BOTH)
def the_checkpoint_is_written_at_most_each_second(t):
    root, _ = world(t)
    seen = set()
    with runs.start(t, root) as c:
        c.wait_lines(FILES * 20)
        started, n = time.monotonic(), 20
        while time.monotonic() - started < 3 or len(seen) < 2 and time.monotonic() - started < 15:
            grow(root, n, 1)
            n += 1
            with contextlib.suppress(FileNotFoundError):
                s = runs.saved(t)
                seen.add((s.st_ino, s.st_mtime_ns))
            time.sleep(0.01)
        seconds = time.monotonic() - started
        c.stop()
    t.note(f"{len(seen)} checkpoints in {seconds:.1f} s")
    t.check(2 <= len(seen) <= seconds + 2, f"{len(seen)} checkpoints in {seconds:.1f} s")


@suite.case(bpf=BOTH)
def nothing_is_written_while_nothing_changes(t):
    root, _ = world(t)
    with runs.start(t, root) as c:
        c.wait_lines(FILES * 20)
        time.sleep(1.7)
        saved(t)
        before = runs.saved(t)
        directory = os.stat(t.path("state"))
        time.sleep(2.5)
        after = runs.saved(t)
        t.equal((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns), "the checkpoint after 2.5 s")
        t.equal(os.stat(t.path("state")).st_mtime_ns, directory.st_mtime_ns, "the directory after 2.5 s")
        grow(root, 20, 1)
        t.check(proc.wait_until(lambda: runs.saved(t).st_mtime_ns != before.st_mtime_ns, 4),
                "no new checkpoint after a line")
        c.stop()


@suite.case(bpf=BOTH)
def the_offset_waits_for_the_acknowledgement(t):
    """Nobody takes the output: the checkpoint may know of what the pipe holds, not of the whole file."""
    root = t.mkdir("root")
    log = os.path.realpath(os.path.join(root, "a.log"))
    texts = [f"line {i:06d} " + "x" * 380 for i in range(20000)]
    tree.append(log, *map(tree.cri, texts))
    with runs.start(t, root, out="stalled") as c:
        time.sleep(2.5)
        found = [line.split() for line in runs.checkpoint(t)]
        runs.killed(c)
        c.read_on()
        c.thread.join(5)
    got = len(c.lines)
    for fields in found:
        t.check(int(fields[3]) <= got * 425, f"offset {fields[3]} after {got} lines in the pipe")
    c = runs.run(t, root, 20000 - got)
    t.equal(c.messages()[-1], texts[-1], "the last line")
    t.check(c.messages() == texts[20000 - len(c.lines):], "the second run is not the end of the file")
    t.check(len(c.lines) >= 20000 - got, f"{got} and {len(c.lines)} of 20000")


@suite.case(bpf=BOTH)
def entries_of_files_that_are_gone_go_too(t):
    root, _ = world(t)
    with runs.start(t, root) as c:
        c.wait_lines(FILES * 20)
        for n in range(30):
            log = os.path.join(root, "short.log")
            tree.write_lines(log, f"short {n}", 3)
            c.wait_lines(FILES * 20 + 3 * n + 3)
            os.unlink(log)
        proc.wait_until(lambda: 0 < len(runs.checkpoint(t)) <= FILES, 8)
        t.equal(len(runs.checkpoint(t)), FILES, "files in the checkpoint")
        c.stop()
        t.equal(len(c.lines), FILES * 20 + 90, "lines")


@suite.case(bpf=BOTH, timeout=30)
def files_that_come_and_go_are_saved_as_changes(t):
    """Hundreds a second, beside some that rest: each save is compared with a whole one, and the daemon ends where they differ."""
    root, texts = t.mkdir("root"), []
    for n in range(60):
        texts += tree.write_lines(os.path.join(root, f"rest{n}.log"), f"rest {n}", 2)
    with runs.start(t, root) as c:
        c.wait_lines(len(texts))
        started, n = time.monotonic(), 0
        while time.monotonic() - started < 8 and c.process.poll() is None:
            texts += tree.write_lines(os.path.join(root, f"short{n}.log"), f"short {n}", 1)
            if n >= 100:
                os.unlink(os.path.join(root, f"short{n - 100}.log"))
            n += 1
            time.sleep(0.004)
        c.wait_lines(len(texts))
        c.stop()
        t.note(f"{n} files")
        t.equal(sorted(c.messages()), sorted(texts), "messages")


# The lock

@suite.case(bpf=BOTH)
def a_second_instance_is_refused(t):
    root, texts = world(t)
    with runs.start(t, root) as c:
        c.wait_lines(len(texts))
        with runs.start(t, root) as second:
            second.wait_exit(2, 5)
        lines = [line for line in second.stderr().splitlines() if "bpf" not in line]
        t.equal((len(second.lines), len(lines)), (0, 1), f"lines of output, and of {lines}")
        t.check(t.path("state") in lines[0], f"the line does not name the directory: {lines[0]}")
        texts = sorted(texts + grow(root, 20))
        c.wait_lines(len(texts))
        c.stop()
        t.equal(sorted(c.messages()), texts, "messages of the first instance")


@suite.case(bpf=BOTH)
def two_directories_two_instances(t):
    root, texts = world(t)
    with runs.start(t, root, state=t.path("one")) as a, runs.start(t, root, state=t.path("two")) as b:
        for c in (a, b):
            c.wait_lines(len(texts))
            c.stop()
            t.equal(sorted(c.messages()), texts, "messages")


@suite.case(bpf=BOTH)
def the_lock_of_a_killed_instance_does_not_stay(t):
    root, texts = world(t)
    with runs.start(t, root) as c:
        c.wait_lines(len(texts))
        with open(t.path("state", "lock")) as f:
            t.equal(f.read().strip(), str(c.pid), "what the lock holds")
        runs.wait_saved(t, root)
        runs.killed(c)
    wanted = grow(root, 20)
    t.equal(sorted(runs.run(t, root, len(wanted)).messages()), wanted, "messages of the next run")


# A checkpoint that is no good

def refused(t, change):
    """change(data): what the checkpoint then is. It is kept aside and said, and everything comes again."""
    root, texts = first_run(t)
    path = t.path("state", "checkpoint")
    with open(path, "rb") as f:
        data = change(f.read())
    with open(path, "wb") as f:
        f.write(data)
    texts = sorted(texts + grow(root, 20))
    c = runs.run(t, root, len(texts))
    t.equal(sorted(c.messages()), texts, "messages after the refusal: everything from the beginning")
    bad = glob.glob(t.path("state", "checkpoint.bad-*"))
    t.equal(len(bad), 1, "checkpoints kept aside")
    t.check(re.fullmatch(r"checkpoint\.bad-\d{8}T\d{6}(?:[-.]\d+)?", os.path.basename(bad[0])), bad[0])
    with open(bad[0], "rb") as f:
        t.check(f.read() == data, "what was kept aside is not what was there")
    said = [line for line in c.stderr().splitlines() if "checkpoint" in line]
    t.check(said, "nothing was said of it")
    wanted = grow(root, 25)
    t.equal(sorted(runs.run(t, root, len(wanted)).messages()), wanted, "messages with the new checkpoint")


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1:]


def newer(data):
    """What a later version may look like: its end is right, for who knows no better."""
    body = re.sub(rb"^hotdrain checkpoint (\d+)", lambda m: b"hotdrain checkpoint %d" % (int(m[1]) + 1), data)
    body = body[:body.rindex(b"\nend ") + 1]
    return body + b"end %d %08x\n" % (FILES, zlib.crc32(body))


@suite.case(bpf=BOTH)
def an_empty_checkpoint(t):
    refused(t, lambda data: b"")


@suite.case(bpf=BOTH)
def half_a_checkpoint(t):
    refused(t, lambda data: data[:len(data) // 2])


@suite.case(bpf=BOTH)
def a_checkpoint_without_its_end(t):
    refused(t, lambda data: data[:data.rindex(b"\nend ") + 1])


@suite.case(bpf=BOTH)
def a_checkpoint_with_one_bit_flipped(t):
    """In the digits of an offset: every other check holds."""
    def change(data):
        lines = data.split(b"\n")
        n = next(i for i, line in enumerate(lines) if i and line and not line.startswith(b"#"))
        fields = lines[n].split(b" ")
        fields[3] = fields[3][:-1] + bytes([fields[3][-1] ^ 1])
        lines[n] = b" ".join(fields)
        return b"\n".join(lines)
    refused(t, change)


@suite.case(bpf=BOTH)
def a_checkpoint_of_a_newer_version(t):
    refused(t, newer)


@suite.case(bpf=BOTH)
def a_checkpoint_of_garbage(t):
    refused(t, lambda data: bytes(range(256)) * 40)


@suite.case(bpf=BOTH)
def a_refused_checkpoint_is_counted(t):
    root, texts = first_run(t)
    tree.append(t.path("state", "checkpoint"), "one line more\n")
    with runs.start(t, root) as c:
        c.wait_lines(len(texts))
        text = runs.state(c)
        t.check(re.search(r"checkpoint.*\b1\b.*refused|refused.*\b1\b|\b1 (?:bad|refused)", text),
                "SIGUSR1 does not count it: " + text)
        c.stop()


@suite.case(bpf=BOTH)
def what_a_crash_left_half_written_means_nothing(t):
    root, _ = first_run(t)
    tree.append(t.path("state", "checkpoint.tmp"), "hotdrain checkpoint 1 0.0\nhalf a li")
    wanted = grow(root, 20)
    t.equal(sorted(runs.run(t, root, len(wanted)).messages()), wanted, "messages")
    t.equal(glob.glob(t.path("state", "checkpoint.bad-*")), [], "kept aside")


@suite.case(bpf=BOTH)
def a_checkpoint_that_cannot_be_opened_is_no_reason_to_end(t):
    """A directory of that name."""
    root, texts = first_run(t)
    os.unlink(t.path("state", "checkpoint"))
    os.mkdir(t.path("state", "checkpoint"))
    c = runs.run(t, root, len(texts))
    t.equal(sorted(c.messages()), texts, "messages")


# A directory that fails

def not_saved(c):
    """Says that there is no checkpoint, and the gauge says so too."""
    if not proc.wait_until(lambda: re.search(r"(?i)state|checkpoint", c.stderr()), 10):
        raise tap.Failure("nothing was said of the state directory")
    text = runs.state(c)
    if not re.search(r"(?im)^.*(checkpoint|state).*(fail|cannot|never|none|no space|read-only|not saved)", text):
        raise tap.Failure("SIGUSR1 does not say that nothing is saved: " + text)


@suite.case(bpf=BOTH, timeout=40)
def a_full_state_directory(t):
    """Collects on, tries on, and saves as soon as there is room."""
    root, texts = world(t)
    with mounted(t) as state, runs.start(t, root) as c:
        c.wait_lines(len(texts))
        saved(t)
        with open(os.path.join(state, "filler"), "wb", buffering=0) as f, contextlib.suppress(OSError):
            while f.write(b"x" * 512):
                pass
        texts = sorted(texts + grow(root, 20))
        c.wait_lines(len(texts))
        time.sleep(1.5)
        not_saved(c)
        before = len([line for line in c.stderr().splitlines() if "checkpoint" in line])
        for n in range(3):
            texts = sorted(texts + grow(root, 25 + n, 1))
            time.sleep(1)
        more = len([line for line in c.stderr().splitlines() if "checkpoint" in line]) - before
        t.check(more <= 4, f"said {more} times in 3 s")
        t.check(c.wait_lines(len(texts)), "lines are missing while nothing can be saved")
        os.unlink(os.path.join(state, "filler"))
        size = sum(os.path.getsize(os.path.join(root, n)) for n in os.listdir(root))
        t.check(proc.wait_until(lambda: sum(int(x.split()[3]) for x in runs.checkpoint(t)) == size, 8),
                "nothing was saved within 8 s after there was room again")
        runs.killed(c)
        t.equal(sorted(c.messages()), texts, "messages of the first run")
        wanted = grow(root, 28)
        t.equal(sorted(runs.run(t, root, len(wanted)).messages()), wanted, "messages after the kill")


@suite.case(bpf=BOTH, timeout=40)
def a_full_state_directory_at_the_start(t):
    root, texts = world(t)
    with mounted(t) as state:
        with open(os.path.join(state, "filler"), "wb", buffering=0) as f, contextlib.suppress(OSError):
            while f.write(b"x" * 512):
                pass
        with runs.start(t, root) as c:
            t.check(c.wait_lines(len(texts)), "the lines have not come")
            time.sleep(1.2)
            not_saved(c)
            os.unlink(os.path.join(state, "filler"))
            saved(t, 8)
            c.stop()
        wanted = grow(root, 20)
        t.equal(sorted(runs.run(t, root, len(wanted)).messages()), wanted, "messages of the second run")


@suite.case(bpf=BOTH, timeout=40)
def a_read_only_state_directory(t):
    """At the start already; made writable later."""
    root, texts = world(t)
    with mounted(t) as state:
        remount(state, "ro")
        with runs.start(t, root) as c:
            t.check(c.wait_lines(len(texts)), "the lines have not come")
            time.sleep(1.2)
            not_saved(c)
            remount(state, "rw")
            saved(t, 8)
            with runs.start(t, root) as second:
                second.wait_exit(2, 5)  # the lock has been taken meanwhile
            c.stop()
        t.equal(sorted(c.messages()), texts, "messages of the first run")
        wanted = grow(root, 20)
        t.equal(sorted(runs.run(t, root, len(wanted)).messages()), wanted, "messages of the second run")


@suite.case(bpf=BOTH, timeout=40)
def a_state_directory_that_stays_read_only(t):
    """The old checkpoint is there and is used; the end says that nothing was saved."""
    root, texts = world(t)
    with mounted(t) as state:
        t.equal(sorted(runs.run(t, root, len(texts)).messages()), texts, "messages of the first run")
        remount(state, "ro")
        wanted = grow(root, 20)
        for _ in range(2):
            c = runs.run(t, root, len(wanted))
            t.equal(sorted(c.messages()), wanted, "messages of a run on the old checkpoint")
            t.check("Read-only" in c.stderr(), "nothing was said")


@suite.case(bpf=BOTH)
def a_state_directory_that_is_removed(t):
    """While running: goes on collecting."""
    root, texts = world(t)
    with runs.start(t, root) as c:
        c.wait_lines(len(texts))
        saved(t)
        for name in os.listdir(t.path("state")):
            os.unlink(t.path("state", name))
        os.rmdir(t.path("state"))
        for n in range(3):
            texts = sorted(texts + grow(root, 20 + n, 1))
            time.sleep(0.5)
        t.check(c.wait_lines(len(texts)), "lines are missing")
        c.stop()
        t.equal(sorted(c.messages()), texts, "messages")


@suite.case()
def a_state_directory_that_cannot_be(t):
    """Named by the user, below a file: a wrong option, exit status 2, one line that names it."""
    root, _ = world(t)
    path = os.path.join(root, "f0.log", "state")
    with runs.start(t, root, state=path) as c:
        c.wait_exit(2, 5)
    t.check(path in c.stderr(), "the directory is not named")
    t.equal(len(c.lines), 0, "lines")


# None, and the default

@suite.case(bpf=BOTH)
def without_state_everything_comes_again(t):
    root, texts = world(t)
    for _ in range(2):
        c = runs.run(t, root, len(texts), state="none")
        t.equal(sorted(c.messages()), texts, "messages")
        t.check("/var/lib/hotdrain" not in c.stderr(), "the default was looked at")
    t.equal(sorted(os.listdir(t.dir)), ["root", "stderr.0", "stderr.1"], "what is in the test's directory")


def private_var_lib(flags):
    """Between fork and exec: /var/lib is an empty directory of this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter():
        if libc.unshare(0x20000) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) \
                or libc.mount(b"none", b"/var/lib", b"tmpfs", flags, None):
            raise OSError(ctypes.get_errno(), "a private /var/lib")

    return enter


class Unnamed:
    """A run without --state, which only a private /var/lib allows."""

    def __init__(self, t, root, flags):
        needs_root(t)
        self.out, self.err = t.path("out"), t.path("err")
        command = [tool.hotdrain(), "run", "--bpf", t.bpf, "-r", root, "--format", "raw"]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            try:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                                preexec_fn=private_var_lib(flags))
            except subprocess.SubprocessError:
                t.skip("no mount namespace can be made here")

    def read(self, path):
        with open(path) as f:
            return f.read().splitlines()

    def wait_lines(self, t, count):
        proc.wait_until(lambda: len(self.read(self.out)) >= count or self.process.poll() is not None, 10)
        t.equal(len(self.read(self.out)), count, "lines of output, with " + "; ".join(self.read(self.err)[-3:]))

    def stop(self, t):
        t.equal(proc.end(self.process), 0, "exit status")


@suite.case()
def the_default_directory_is_made(t):
    root, texts = world(t)
    c = Unnamed(t, root, 0)
    c.wait_lines(t, len(texts))
    directory = f"/proc/{c.process.pid}/root/var/lib/hotdrain"
    t.check(proc.wait_until(lambda: os.path.exists(directory + "/checkpoint"), 5), "no checkpoint in /var/lib/hotdrain")
    t.equal(os.stat(directory).st_mode & 0o777, 0o700, "its mode")
    c.stop(t)
    t.equal(sorted(c.read(c.out)), texts, "messages")


@suite.case()
def no_default_directory_is_said_once(t):
    root, texts = world(t)
    c = Unnamed(t, root, MS_RDONLY)
    c.wait_lines(t, len(texts))
    texts = sorted(texts + grow(root, 20))
    c.wait_lines(t, len(texts))
    time.sleep(2)
    c.stop(t)
    t.equal(sorted(c.read(c.out)), texts, "messages")
    said = [line for line in c.read(c.err) if "/var/lib/hotdrain" in line]
    t.equal(len(said), 1, f"how often it was said: {said}")


if __name__ == "__main__":
    lanes.run(suite, 5)
