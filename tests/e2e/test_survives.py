#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What once lost, delayed or repeated lines, or ended the program: each must stay mended.

Most of these cases wait rather than work, some of them for ten seconds: they run side by side (lib/lanes.py).
"""
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import lanes, proc, pulse, tap, tool, tree  # noqa: E402
from lib.collector import Collector, run_to_end  # noqa: E402

suite = tap.Suite("survives", timeout=110)
BOTH = ("auto", "off")
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
FILE_LIMIT = 64

# Preloaded: reads of a file whose path ends in $FAILING_SUFFIX fail while the file $FAILING exists.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_failing(int fd)
{
	char link[64], path[4096];
	const char *suffix = getenv("FAILING_SUFFIX");
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t)strlen(suffix))
		return 0;
	path[n] = 0;
	return !strcmp(path + n - strlen(suffix), suffix) && !access(getenv("FAILING"), F_OK);
}

ssize_t pread64(int fd, void *to, size_t size, off_t at)
{
	ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread64");

	if (is_failing(fd)) {
		errno = EIO;
		return -1;
	}
	return real(fd, to, size, at);
}

ssize_t pread(int fd, void *to, size_t size, off_t at)
{
	return pread64(fd, to, size, at);
}
"""


class Writer:
    """Holds a file open and writes lines, one write each."""

    def __init__(self, path, flags=APPEND):
        self.path, self.fd = path, os.open(path, flags, 0o644)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def write(self, *lines):
        for line in lines:
            os.write(self.fd, tree.encode(line))

    def lines(self, *texts):
        self.write(*map(tree.cri, texts))
        return list(texts)

    def truncate(self):
        os.ftruncate(self.fd, 0)


def follow(t, *args, **more):
    """(root, a collector that follows it)"""
    root = os.path.realpath(t.mkdir("root"))
    return root, Collector(t, "-r", root, *args, **more).ready(root)


def backlog(t, count):
    """A root with one file of about 420 bytes a line, which no pipe holds. (root, messages)"""
    root = t.mkdir("root")
    texts = [f"{i:06d} " + "x" * 380 for i in range(count)]
    tree.append(os.path.join(root, "a.log"), *map(tree.cri, texts))
    return root, texts


def wait_message(c, text, timeout):
    text = tree.encode(text)
    return proc.wait_until(lambda: any(text in line for _, line in c.lines) or c.process.poll() is not None, timeout,
                           step=0.02) and c.process.poll() is None


def starting(c, prefix):
    return [m for m in c.messages() if m.startswith(prefix)]


# What waits longest comes first, so that no lane ends with it

@suite.case(bpf=BOTH, timeout=40)
def failing_reads_of_a_generation_do_not_block_its_successor(t):
    """A rotated file gives EIO for good: after a while its successor is read all the same."""
    if not tool.find("cc"):
        t.skip("no cc to build the failing pread with")
    if tool.sanitized():
        t.skip("the sanitizer's own pread comes first")
    with open(t.path("eio.c"), "w") as f:
        f.write(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", t.path("eio.so"), t.path("eio.c"), "-ldl"], check=True)
    env = {"LD_PRELOAD": t.path("eio.so"), "FAILING": t.path("failing"), "FAILING_SUFFIX": "/bad.log.1"}
    root, c = follow(t, env=env)
    log = os.path.join(root, "bad.log")
    with c:
        with Writer(log) as old:
            old.lines("first")
            t.check(c.wait_lines(1), "the line before the first error has not come")
            tree.append(t.path("failing"), "")
            os.rename(log, log + ".1")
            old.lines("unreadable")
        tree.append(log, tree.cri("successor"))
        tree.append(os.path.join(root, "good.log"), tree.cri("neighbour"))
        t.check(wait_message(c, "neighbour", 5), "another file waits for the failing one")
        t.check(wait_message(c, "successor", 30), "the successor has not come within 30 s")
        t.equal(sorted(c.messages()), ["first", "neighbour", "successor"], "messages")
        c.stop()


@suite.case(bpf=BOTH, timeout=40)
def a_hard_link_outlives_the_first_name(t):
    """ln a b; rm a: what is written to b is read, also after the collector has let go of a."""
    root, c = follow(t)
    first, second = os.path.join(root, "a.log"), os.path.join(root, "b.log")
    with c:
        tree.append(first, tree.cri("first"))
        c.wait_lines(1)
        os.link(first, second)
        time.sleep(0.1)
        os.unlink(first)
        time.sleep(7)
        for i in range(3):
            tree.append(second, tree.cri(f"later {i}"))
            time.sleep(0.2)
        c.wait_lines(4, 15)
        t.equal(c.messages(), ["first", "later 0", "later 1", "later 2"], "messages")
        c.stop()


@suite.case(bpf=BOTH, timeout=40)
def more_files_than_descriptors_and_a_directory(t):
    """Files would use up the descriptors; a directory that comes then is found all the same, and what is in it."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILE_LIMIT, FILE_LIMIT))

    root, c = follow(t, preexec_fn=limit)
    with c:
        names = [os.path.join(root, f"f{i}.log") for i in range(2 * FILE_LIMIT)]
        for name in names:
            tree.append(name, tree.cri("filler"))
        t.check(c.wait_lines(len(names)), "the files have not all been read")
        t.check(len(os.listdir(f"/proc/{c.pid}/fd")) < FILE_LIMIT, "no descriptor is left for directories")
        os.mkdir(os.path.join(root, "sub"))
        tree.append(os.path.join(root, "sub", "0.log"), tree.cri("below"))
        t.check(wait_message(c, "below", 5), "what is in the directory has not come within 5 s")
        for name in names:
            os.unlink(name)
        tree.append(os.path.join(root, "sub", "0.log"), tree.cri("more"))
        t.check(wait_message(c, "more", 5), "the directory's file is not followed")
        c.stop()
        t.equal([m for m in c.messages() if m != "filler"], ["below", "more"], "messages")


@suite.case(bpf=BOTH, timeout=40)
def a_pending_partial_is_delivered_when_its_directory_leaves_the_root(t):
    root, c = follow(t)
    inside = os.path.join(root, "d")
    with c:
        os.mkdir(inside)
        tree.append(os.path.join(inside, "0.log"), tree.cri("whole"), tree.cri("part", tag="P"))
        t.check(c.wait_lines(1), "the whole line has not come")
        time.sleep(0.2)
        os.rename(inside, t.path("outside"))
        c.wait_lines(2, 20)
        t.equal(c.messages(), ["whole", "part"], "messages before the end")
        c.stop()
        t.equal(len(c.lines), 2, "lines")


# Truncation

@suite.case(bpf=BOTH)
def a_long_torn_tail_is_truncated_and_written_anew(t):
    """100 KiB without a newline, which are no longer there: the tail is not awaited."""
    root, c = follow(t)
    with c, Writer(os.path.join(root, "a.log")) as w:
        w.write(b"x" * 102400)
        time.sleep(0.3)
        w.truncate()
        time.sleep(0.1)
        wanted = []
        for i in range(20):
            wanted += w.lines(f"new {i}")
            time.sleep(0.02)
        c.wait_lines(20, 5)
        c.stop()
        t.equal(c.messages(), wanted, "messages")


@suite.case(bpf=BOTH)
def a_truncation_into_the_torn_tail(t):
    """No whole line was ever read, so the size falls to the offset and not below it."""
    root, c = follow(t)
    log = os.path.join(root, "a.log")
    with c:
        with Writer(log) as w:
            w.write("abc")
            time.sleep(0.2)
            w.truncate()
            time.sleep(0.5)
            w.write("de\n")
            t.check(c.wait_lines(1, 5), "the line of the emptied file has not come")
            w.truncate()
            w.write("abc")
            time.sleep(0.2)
            w.truncate()
            time.sleep(0.1)
            os.rename(log, log + ".1")
        tree.append(log, "successor\n")
        c.wait_lines(2, 10)
        c.stop()
        t.equal(c.messages(), ["de", "successor"], "messages")


def truncated_under(t, before, after):
    """A writer that does not append goes on at its old offset: a hole of NULs lies before its next line."""
    root, c = follow(t)
    with c, Writer(os.path.join(root, "a.log"), os.O_WRONLY | os.O_CREAT) as w:
        wanted = w.lines(*before)
        t.check(c.wait_lines(len(wanted)), "the lines before the truncation have not come")
        w.truncate()
        time.sleep(0.3)
        wanted += w.lines(*after)
        c.wait_lines(len(wanted), 5)
        c.stop()
        t.equal([m[:40] for m in c.messages()], [m[:40] for m in wanted], "beginnings of messages")
        t.check(c.messages() == wanted, "a message is not whole")


@suite.case(bpf=BOTH)
def a_hole_longer_than_a_line_may_be_is_skipped(t):
    truncated_under(t, [f"a{i} " + "x" * 20000 for i in range(100)], [f"b{i} " + "x" * 100 for i in range(100)])


@suite.case(bpf=BOTH)
def a_short_hole_is_skipped(t):
    truncated_under(t, [f"a{i} " + "x" * 50 for i in range(10)], [f"b{i} " + "x" * 10 for i in range(10)])


@suite.case(bpf=("off",))
def regrowth_to_the_same_size_without_counters(t):
    """Lines of one length, the file truncated before each: its size says nothing."""
    root, c = follow(t)
    with c, Writer(os.path.join(root, "a.log")) as w:
        for i in range(16):
            w.write(f"line {i:03d}\n")
            t.check(c.wait_lines(i + 1, 5), f"line {i} has not come within 5 s")
            time.sleep(0.05 if i % 2 else 0.35)
            w.truncate()
        c.stop()
        t.equal(c.messages(), [f"line {i:03d}" for i in range(16)], "messages")


@suite.case(bpf=BOTH)
def start_end_and_the_file_is_truncated_and_regrown_before_its_first_read(t):
    """What was there at the start is gone, and all that is there now is new."""
    root, log = t.mkdir("root"), t.path("root", "a.log")
    tree.append(log, *(tree.cri(f"old {i} " + "x" * 50) for i in range(100)))
    with Collector(t, "-r", root, "--start", "end") as c:
        c.ready(root)
        proc.kill(c.pid, signal.SIGSTOP)
        os.truncate(log, 0)
        wanted = tree.write_lines(log, "new " + "y" * 50, 150)
        proc.kill(c.pid, signal.SIGCONT)
        t.equal([r.message for r in c.finish(150, timeout=5)], wanted, "messages")


# Names and generations

@suite.case(bpf=BOTH)
def an_old_writer_that_never_pauses_does_not_starve_the_successor(t):
    root, c = follow(t, "--rotate-quiet", "300ms")
    log = os.path.join(root, "0.log")
    with c, Writer(log) as old:
        wanted = old.lines("old first")
        c.wait_lines(1)
        os.rename(log, log + ".1")
        with Writer(log) as new:
            newer, end_at = new.lines("new first"), time.monotonic() + 12
            while not starting(c, "new") and time.monotonic() < end_at:
                wanted += old.lines(f"old {len(wanted)}")
                time.sleep(0.05)
            t.check(starting(c, "new"), "the successor has not come within 12 s")
            for _ in range(10):
                newer += new.lines(f"new {len(newer)}")
                wanted += old.lines(f"old {len(wanted)}")
                time.sleep(0.05)
        c.wait_lines(len(wanted) + len(newer))
        c.stop()
        t.equal(starting(c, "old"), wanted, "messages of the old writer")
        t.equal(starting(c, "new"), newer, "messages of the new one")
        t.equal(len(c.lines), len(wanted) + len(newer), "lines")


@suite.case(bpf=BOTH)
def names_that_only_look_like_generations_are_live_at_once(t):
    """app.log.INFO is written without a pause: neither app.log nor app.log.ERROR waits for it."""
    root, c = follow(t, "--rotate-quiet", "1m")
    names, wanted = ("app.log.INFO", "app.log.ERROR", "app.log"), {}
    with c, contextlib.ExitStack() as stack:
        writers = {n: stack.enter_context(Writer(os.path.join(root, n))) for n in names}
        for i in range(40):
            for name in names if i % 10 == 0 else names[:1]:
                wanted.setdefault(name, []).extend(writers[name].lines(f"{name} {i}"))
            time.sleep(0.05)
        got = proc.wait_until(lambda: writers["app.log.INFO"].write(tree.cri("app.log.INFO more")) or
                              all(len(starting(c, n + " ")) >= len(wanted[n]) for n in names), 5, step=0.05)
        t.check(got, "while app.log.INFO was written: " + str({n: len(starting(c, n + " ")) for n in names}))
        c.stop()
        for n in names:
            t.equal([m for m in starting(c, n + " ") if "more" not in m], wanted[n], f"messages of {n}")


@suite.case()
def a_thousand_directories_each_linked_to_the_next(t):
    root, count = os.path.realpath(t.mkdir("root")), 1000
    for i in range(count):
        os.mkdir(os.path.join(root, f"d{i:04d}"))
    for i in range(count - 1):
        os.symlink(os.path.join(root, f"d{i + 1:04d}"), os.path.join(root, f"d{i:04d}", "next"))
    tree.append(os.path.join(root, f"d{count - 50:04d}", "x.log"), tree.cri("far down"))
    t.equal(run_to_end(t, "-r", root, timeout=25).messages(), ["far down"], "messages")


@suite.case(bpf=BOTH)
def a_chain_of_mkdir_does_not_delay_other_lines(t):
    """Four chains, each 500 directories deep, and a line of another file after each: 5 s for the four lines."""
    root, c = follow(t)
    waited, most = 0, 20 if tool.sanitized() else 5
    with c:
        for i in range(4):
            subprocess.run(["mkdir", "-p", os.path.join(root, f"chain{i}" + "/n" * 500)], check=True)
            started = time.monotonic()
            tree.append(os.path.join(root, "other.log"), tree.cri(f"other {i}"))
            c.wait_lines(i + 1, most - waited)
            waited += time.monotonic() - started
            t.check(waited < most, f"waited {waited:.1f} s for {i + 1} lines")
        t.note(f"waited {waited:.2f} s for four lines")
        c.stop()
        t.equal(c.messages(), [f"other {i}" for i in range(4)], "messages")


# Ends

@suite.case(bpf=BOTH)
def exit_when_idle_waits_for_a_slow_reader(t):
    """All is read from the files within moments; the pipe's reader takes seconds."""
    root, wanted = backlog(t, 6000)
    got = b""
    with Collector(t, "-r", root, "--exit-when-idle", "200ms", "--stop-timeout", "300ms", out="stalled") as c:
        while chunk := os.read(c.process.stdout.fileno(), 65536):
            got += chunk
            time.sleep(0.06)
        c.wait_exit(0, 5)
    lines = got.split(b"\n")
    t.equal((len(lines) - 1, lines[-1]), (len(wanted), b""), "lines, and what follows the last")


@suite.case()
def sigusr1_during_the_final_delivery_does_not_end_the_process(t):
    root, wanted = backlog(t, 6000)
    with Collector(t, "-r", root, "--stop-timeout", "25s", out="stalled") as c:
        time.sleep(1)
        proc.kill(c.pid, signal.SIGTERM)
        time.sleep(0.5)
        for _ in range(3):
            proc.kill(c.pid, signal.SIGUSR1)
            time.sleep(0.2)
        t.check(c.process.poll() is None, f"ended with status {c.process.poll()}, its output not written")
        c.read_on()
        c.wait_exit(0, 10)
        t.check(c.lines, "nothing was delivered")
        t.equal(c.messages(), wanted[:len(c.lines)], "messages: the first of the file, none missing")


@suite.case()
def two_blocked_sinks_share_the_stop_timeout(t):
    root, _ = backlog(t, 12000)
    os.mkfifo(t.path("fifo"))
    reader = os.open(t.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
    sinks = ("-o", "stdout", "-o", "file:" + t.path("fifo"))
    with Collector(t, "-r", root, *sinks, "--stop-timeout", "3s", out="stalled") as c:
        time.sleep(1)
        started, machine = time.monotonic(), pulse.Pulse()
        proc.kill(c.pid, signal.SIGTERM)
        ended = proc.wait_until(lambda: c.process.poll() is not None, 20)
        seconds = time.monotonic() - started
        # One after the other they would take 6 s.
        in_time = seconds - machine.still_ms / 1e3 < 5.9
        t.check(ended and in_time, f"two sinks, 3 s: {'ended after' if ended else 'still runs after'} {seconds:.1f} s")
        t.check(seconds > 2, f"ended after {seconds:.1f} s: the sinks were not blocked")
    os.close(reader)


if __name__ == "__main__":
    lanes.run(suite)
