#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What users, machines and signals do wrong: one clear line for a mistake, no crash, and collecting goes on where it can."""
import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector, run_to_end  # noqa: E402

suite = tap.Suite("badinput", timeout=150)
NOBODY = 65534
STRANGER = 61234  # a user nobody else is: its limits are its own


def refuse(t, args, *words, status=2, subcommand="run", **popen):
    """The command line must be refused at once: this status, nothing on stdout, one line on stderr with these words."""
    command = [tool.hotdrain(), *([subcommand] if subcommand else []), *args]
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, **popen)
    except subprocess.TimeoutExpired:
        t.fail(f"not refused: {' '.join(command)}")
    text = result.stderr.decode("utf-8", "replace")
    about = f"{' '.join(command)}: status {result.returncode}, stderr {tap.clip(text)}"
    t.check(result.returncode == status, f"wanted status {status}: {about}")
    t.check(not result.stdout, f"something on stdout: {about}")
    t.check(text.endswith("\n") and text.count("\n") == 1, f"not exactly one line: {about}")
    t.check(text.startswith("hotdrain: "), f"does not say who speaks: {about}")
    for word in words:
        t.check(word in text, f"does not name {word!r}: {about}")


def drop_to(uid):
    """As another user, who must be able to run the program and to read the test's files."""

    def drop():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)

    return {"preexec_fn": drop}


def needs_root(t):
    if os.geteuid():
        t.skip("needs root, to become somebody else")
    program = tool.hotdrain()
    if subprocess.run([program, "--version"], capture_output=True, **drop_to(NOBODY)).returncode:
        t.skip(f"another user cannot run {program}")


# The command line

@suite.case()
def unknown_flags_and_stray_words(t):
    root = t.mkdir("root")
    for args, word in ((["--rot", root], "--rot"), (["--frobnicate"], "--frobnicate"), (["-Z"], "Z"),
                       (["-r", root, "stray"], "stray"), (["-r"], "r"), (["--linger"], "linger")):
        refuse(t, args, word)


@suite.case()
def no_or_an_unknown_subcommand(t):
    refuse(t, ["frobnicate"], "frobnicate", subcommand=None)
    result = subprocess.run([tool.hotdrain()], stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
    t.equal(result.returncode, 2, "status without a subcommand")
    t.check(result.stderr and not result.stdout, "without a subcommand it must say so on stderr")


@suite.case()
def bad_values_are_named(t):
    root = t.mkdir("root")
    for flag, value in (("--format", "xml"), ("--format", ""), ("--decode", "syslog"), ("--start", "middle"),
                        ("--order", "random"), ("--bpf", "maybe"), ("--linger", "5"), ("--linger", "5parsecs"),
                        ("--linger", "-1ms"), ("--linger", "ms"), ("--linger", "99999999999999999999s"),
                        ("--linger", "1.5e3ms"), ("--exit-when-idle", "soon"), ("--sink", "tape"), ("--sink", "file:"),
                        ("--sink", ""), ("--sink", "stdout:x")):
        refuse(t, ["-r", root, flag, value], flag.lstrip("-"))
    refuse(t, ["-r", ""], "root")


@suite.case()
def a_missing_root(t):
    refuse(t, ["-r", t.path("no-such-root")], t.path("no-such-root"))


@suite.case()
def a_root_that_is_a_file(t):
    tree.append(t.path("file"), "x")
    refuse(t, ["-r", t.path("file")], t.path("file"))


@suite.case()
def a_root_without_permission(t):
    needs_root(t)
    root = t.mkdir("closed")
    os.chmod(root, 0o700)
    refuse(t, ["-r", root], root, **drop_to(NOBODY))


@suite.case()
def an_environment_that_names_a_missing_root(t):
    refuse(t, [], t.path("nowhere"), env={**os.environ, "CONTAINER_LOG_DIRECTORY": t.path("nowhere")})


# Configuration

def yaml(t, text):
    path = t.path("config.yaml")
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return path


@suite.case()
def yaml_that_is_missing_or_no_file(t):
    refuse(t, ["-c", t.path("none.yaml")], t.path("none.yaml"))
    refuse(t, ["-c", t.mkdir("directory")], t.path("directory"))
    if os.geteuid() == 0:
        needs_root(t)
        path = yaml(t, "linger: 5ms\n")
        os.chmod(path, 0o600)
        refuse(t, ["-c", path], path, **drop_to(NOBODY))


@suite.case()
def yaml_with_an_unknown_key_names_it_and_its_line(t):
    root = t.mkdir("root")
    for text, word, line in ((f"root: {root}\nlinger: 5ms\nfrobnicate: 7\nformat: raw\n", "frobnicate", 3),
                             (f"frob: 1\nroot: {root}\n", "frob", 1),
                             (f"# a comment\n\nroot:\n  - {root}\n\nfrob:\n  deep: 1\n", "frob", 6),
                             (f"root: {root}\nlingerr: 5ms\nlinger: 1ms\n", "lingerr", 2)):
        path = yaml(t, text)
        refuse(t, ["-c", path], path, word, f":{line}")


@suite.case()
def yaml_of_the_wrong_type_or_value_names_it_and_its_line(t):
    root = t.mkdir("root")
    for text, word, line in ((f"root: {root}\nlinger: [1ms, 2ms]\n", "linger", 2),
                             (f"root: {root}\nlinger: {{a: b}}\n", "linger", 2),
                             (f"root: {root}\nlinger:\n", "linger", 2),
                             (f"root: {root}\nformat: xml\n", "format", 2),
                             (f"root: {root}\n\norder: 7\n", "order", 3),
                             (f"root: {root}\nlinger: 5\n", "linger", 2),
                             (f"sink:\n  - {{file: x}}\nroot: {root}\n", "sink", None),
                             ("root: {a: b}\n", "root", 1),
                             (f"root: {root}\nroot: {root}\n", "root", 2)):
        path = yaml(t, text)
        refuse(t, ["-c", path], path, word, *([f":{line}"] if line else []))


@suite.case()
def yaml_that_is_no_yaml(t):
    rng = random.Random(1)
    for text in ("root: [unclosed\n", "a\nb: c\n  d: e\n", "\tlinger: 5ms\n", "- a\n- b\n", "just words\n", "root: *nowhere\n",
                 "{" * 5000, b"\xff\xfe\x00\x01", bytes(rng.randrange(256) for _ in range(3000)), "root: !!binary x\n\x00\n"):
        refuse(t, ["-c", yaml(t, text)], t.path("config.yaml"))


@suite.case()
def a_root_of_the_configuration_that_is_missing(t):
    refuse(t, ["-c", yaml(t, f"root: {t.path('none')}\n")], t.path("none"))


# Roots and files

@suite.case(bpf=("auto", "off"))
def one_of_two_roots_is_missing_and_comes(t):
    here, later = t.mkdir("here"), t.path("later")
    with Collector(t, "-r", here, "-r", later) as c:
        c.ready(here)
        t.check(later in c.stderr(), "the missing root is not named on stderr")
        wanted = tree.write_lines(tree.Pod(here).log(), "here", 3)
        wanted += tree.write_lines(tree.Pod(later).log(), "later", 3)
        t.equal(sorted(r.message for r in c.finish(6)), sorted(wanted), "messages")


@suite.case(bpf=("auto", "off"))
def a_root_that_vanishes_and_comes_back(t):
    root, wanted = t.path("root"), []
    os.mkdir(root)
    with Collector(t, "-r", root) as c:
        for k in range(3):
            wanted += tree.write_lines(tree.Pod(root).log(), f"life{k}", 5)
            t.check(c.wait_lines(len(wanted), 5), f"life {k}: {len(c.lines)} lines of {len(wanted)}")
            if k == 1:
                os.rename(root, t.path("moved-away"))
            else:
                shutil.rmtree(root)
            time.sleep(0.3)
            t.check(c.process.poll() is None, "ended when its root vanished")
            os.mkdir(root)
        wanted += tree.write_lines(tree.Pod(root).log("other"), "end", 5)
        t.equal([r.message for r in c.finish(len(wanted))], wanted, "messages")


@suite.case(bpf=("auto", "off"))
def an_unreadable_file(t):
    """Named once or so on stderr; everything beside it is collected."""
    needs_root(t)
    root = t.mkdir("root")
    wanted = tree.write_lines(tree.Pod(root).log("good"), "good", 3)
    secret = tree.Pod(root).log("secret")
    tree.write_lines(secret, "secret", 3)
    os.chmod(secret, 0o600)
    with Collector(t, "-r", root, **drop_to(NOBODY)) as c:
        c.wait_lines(3)
        later = tree.Pod(root).log("later")
        os.close(os.open(later, os.O_CREAT | os.O_WRONLY, 0o600))
        wanted += tree.write_lines(tree.Pod(root).log("good"), "good", 3, first=3)
        c.wait_stderr(secret)
        t.equal(sorted(r.message for r in c.finish(6)), sorted(wanted), "messages")
        t.check(len(c.stderr().splitlines()) < 20, "the complaint is repeated without end")


@suite.case(bpf=("auto", "off"))
def files_of_arbitrary_bytes(t):
    """Random bytes, zeros, a huge line, half of a format: a record for each line, valid JSON, no crash."""
    root = t.mkdir("root")
    rng = random.Random(7)
    bodies = [rng.randbytes(300000), bytes(200000), b"\n" * 5000, b"{\"log\":" * 2000, b"{" * 100000,
              b"2026-11-21T00:32:02Z stdout" * 100, b"2026-11-21T00:32:02Z stdout P \n" * 3000,
              b"{\"log\":\"\\ud800\\n\",\"stream\":\"x\",\"time\":\"\"}\n" * 100, b"\x00\xff\n" * 1000, b"", b"\n", b"F",
              b"2026-11-21T00:32:02Z stdout F ok\n" + rng.randbytes(100000), b"{\"log\":\"\\" + b"\n", b"\xef\xbb\xbf{}\n"]
    for n, body in enumerate(bodies):
        for kind in ("f", "g"):
            with open(os.path.join(root, f"{kind}{n}.log"), "wb") as f:
                f.write(body)
    for decode in ("auto", "cri", "docker", "raw"):
        c = run_to_end(t, "-r", root, "--decode", decode, idle="200ms")
        for r in c.records():
            t.check("message" in r and "log.file.path" in r, f"record without message or path: {dict(r)}")
        if decode == "raw":
            wanted = sum(b.count(b"\n") for b in bodies) * 2
            got = len(c.lines)
            t.check(wanted <= got <= wanted + 2 * len(bodies), f"{got} records of {wanted} lines")


@suite.case()
def more_files_than_descriptors(t):
    """A hard limit of 100 descriptors and 300 files: says so, does not end, and the back-fill is complete or named."""
    root = t.mkdir("root")
    wanted = []
    for n in range(300):
        wanted += tree.write_lines(tree.Pod(root, name=f"p{n}", number=n).log(), f"p{n}", 2)

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    with Collector(t, "-r", root, preexec_fn=limit) as c:
        c.wait_quiet(1, 10)
        c.stop()
        got = c.messages()
        t.equal(len(got), len(set(got)), "messages once")
        t.note(f"{len(got)} lines of {len(wanted)}")
        t.check(len(got) >= 100, f"only {len(got)} lines with 100 descriptors")
        if len(got) < len(wanted):
            t.check("open files" in c.stderr() or "descriptor" in c.stderr(), "stderr does not say what is lacking")


# Sinks

@suite.case()
def sinks_that_cannot_be_written(t):
    root = t.mkdir("root")
    refuse(t, ["-r", root, "-o", f"file:{t.path('no', 'where')}"], t.path("no", "where"))
    refuse(t, ["-r", root, "-o", f"file:{t.mkdir('directory')}"], t.path("directory"))
    needs_root(t)
    tree.append(t.path("mine"), "x")
    os.chmod(t.path("mine"), 0o600)
    refuse(t, ["-r", root, "-o", f"file:{t.path('mine')}"], t.path("mine"), **drop_to(NOBODY))


@suite.case(bpf=("auto", "off"))
def a_reader_that_closes_the_pipe(t):
    """No SIGPIPE, no crash, no spinning: it says what happened and ends."""
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    tree.write_lines(log, "x", 100)
    with Collector(t, "-r", root, out="stalled") as c:
        os.read(c.process.stdout.fileno(), 100)
        c.process.stdout.close()
        for k in range(50):
            tree.write_lines(log, "y", 100)
            time.sleep(0.02)
        t.check(proc.wait_until(lambda: c.process.poll() is not None, 5), "goes on although nobody reads its output")
        status = c.process.returncode
        t.check(status > 0, f"status {status}: wanted a failure, not a signal")
        t.check("stdout" in c.stderr() or "standard output" in c.stderr(), f"does not name its output: {c.stderr()!r}")


@suite.case()
def a_standard_output_that_is_closed(t):
    """Descriptor 1 is free: nothing that is opened later may take its place and be written into."""
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    tree.write_lines(log, "x", 10)
    before = open(log, "rb").read()
    with Collector(t, "-r", root, out=None, preexec_fn=lambda: os.close(1)) as c:
        proc.wait_until(lambda: c.process.poll() is not None, 2)
        t.equal(open(log, "rb").read(), before, "the log")
        t.check(c.process.poll() is not None and c.process.returncode > 0, f"status {c.process.poll()}: wanted a failure")
        t.check("stdout" in c.stderr() or "standard output" in c.stderr(), f"does not name its output: {c.stderr()!r}")


@suite.case(timeout=40)
def a_full_disk(t):
    """The sink's file system is full: it says so and waits; when there is room again everything arrives, once."""
    full = t.mkdir("full")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", full], capture_output=True).returncode:
        t.skip("no tmpfs can be mounted here")
    try:
        root = t.mkdir("root")
        out, filler = os.path.join(full, "out"), os.path.join(full, "filler")
        with open(filler, "wb") as f:
            f.write(bytes(400 << 10))
        wanted = tree.write_lines(tree.Pod(root).log(), "full", 1000)
        with Collector(t, "-r", root, "-o", f"file:{out}") as c:
            c.wait_stderr(out, 10)
            t.check("No space" in c.stderr(), f"does not say that there is no space: {c.stderr()!r}")
            time.sleep(0.5)
            t.check(c.process.poll() is None, "ended because its disk was full")
            os.unlink(filler)
            t.check(proc.wait_until(lambda: open(out, "rb").read().count(b"\n") >= 1000, 15), "not delivered when there was room")
            c.stop()
            with open(out, "rb") as f:
                c.lines = [(0, line) for line in f.read().split(b"\n")[:-1]]
            t.equal(c.messages(), wanted, "messages")
            t.check(len(c.stderr().splitlines()) < 40, "the complaint is repeated without end")
    finally:
        subprocess.run(["umount", "-l", full], check=False)


# Privileges

def collects(t, root, c, number):
    """A few lines come, before and after."""
    log = tree.Pod(root).log()
    wanted = tree.write_lines(log, "x", 5)
    t.check(c.wait_lines(5, 5), "lines from before have not come")
    for k in range(1, 5):
        wanted += tree.write_lines(log, "x", 5, first=5 * k)
        time.sleep(0.05)
    t.equal([r.message for r in c.finish(number)], wanted, "messages")


def open_root(t):
    root = t.mkdir("root")
    os.chmod(root, 0o755)
    return root


@suite.case()
def no_privileges_for_bpf(t):
    """As an ordinary user with --bpf auto: collects, and says which rungs were refused and why."""
    needs_root(t)
    root = open_root(t)
    with Collector(t, "-r", root, **drop_to(NOBODY)) as c:
        collects(t, root, c, 25)
        text = c.stderr().lower()
        t.check("bpf" in text and ("permit" in text or "privileg" in text or "capab" in text), f"does not say so: {text!r}")


@suite.case()
def no_capabilities(t):
    """Still root, but with an empty bounding set, as in a container that dropped all."""
    if os.geteuid() or not tool.find("setpriv"):
        t.skip("needs root and setpriv")
    root = open_root(t)
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", tool.hotdrain(), "run",
               "--state", "none", "-r", root]
    result = subprocess.Popen([*command, "--exit-when-idle", "300ms"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    tree.write_lines(tree.Pod(root).log(), "x", 5)
    out, err = result.communicate(timeout=10)
    t.equal((result.returncode, out.count(b"\n")), (0, 5), f"status and lines ({err!r})")
    t.check(b"bpf" in err.lower(), f"does not speak of bpf: {err!r}")


@suite.case()
def a_rung_that_is_refused(t):
    """Each rung asked for by name: where it cannot be had it works on sizes and says so."""
    for rung in ("vfs", "kprobe", "syscall", "off"):
        root = t.mkdir(rung)
        with Collector(t, "-r", root, "--bpf", rung, bpf=False) as c:
            c.ready(root)
            collects(t, root, c, 25)
            t.check("bpf" in c.stderr().lower(), f"--bpf {rung}: stderr does not say which rung it is")


@suite.case()
def no_inotify_instances(t):
    """All of the user's instances are taken: it still collects, and says what it lacks."""
    needs_root(t)
    root = open_root(t)
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        drop_to(STRANGER)["preexec_fn"]()
        libc = ctypes.CDLL(None)
        while libc.inotify_init() >= 0:
            pass
        os.write(ready_write, b"x")
        signal.pause()
        os._exit(0)
    try:
        os.read(ready_read, 1)
        with Collector(t, "-r", root, **drop_to(STRANGER)) as c:
            collects(t, root, c, 25)
            t.check("inotify" in c.stderr(), f"does not say what it lacks: {c.stderr()!r}")
    finally:
        proc.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready_read)
        os.close(ready_write)


# Signals

@suite.case(bpf=("auto", "off"))
def terminated_while_lines_flow(t):
    """Status 0; what was delivered is a beginning of what was written, without a hole, and ends with a whole line."""
    for sig in (signal.SIGTERM, signal.SIGINT):
        root = t.mkdir(sig.name)
        log = tree.Pod(root).log()
        with Collector(t, "-r", root) as c:
            c.ready(root)
            wanted = []
            for k in range(40):
                wanted += tree.write_lines(log, "x", 500, first=500 * k)
                if k == 30:
                    c.wait_lines(1)
                    proc.kill(c.pid, sig)
            c.wait_exit(0, 5)
            got = c.messages()
            t.check(len(got) >= 1, "nothing was delivered")
            t.equal(got, wanted[:len(got)], "messages")


@suite.case(bpf=("auto", "off"))
def terminated_once_everything_was_read(t):
    root = t.mkdir("root")
    wanted = tree.write_lines(tree.Pod(root).log(), "x", 20000)
    with Collector(t, "-r", root, "--linger", "10s") as c:
        time.sleep(1)  # all read, the last batch still waits for more
        c.stop()
        t.equal(c.messages(), wanted, "messages")


@suite.case(timeout=40)
def terminated_while_nobody_reads(t):
    """A pipe that is full and stays so: it ends all the same, within its time for stopping."""
    root = t.mkdir("root")
    tree.write_lines(tree.Pod(root).log(), "x", 50000)
    with Collector(t, "-r", root, out="stalled") as c:
        time.sleep(0.7)
        proc.kill(c.pid, signal.SIGTERM)
        t.check(proc.wait_until(lambda: c.process.poll() is not None, 9), "still runs 9 s after SIGTERM")
        t.check(c.process.returncode >= 0, f"ended by a signal: {c.process.returncode}")


@suite.case()
def a_second_signal_ends_it_at_once(t):
    root = t.mkdir("root")
    tree.write_lines(tree.Pod(root).log(), "x", 50000)
    with Collector(t, "-r", root, out="stalled") as c:
        time.sleep(0.7)
        proc.kill(c.pid, signal.SIGTERM)
        time.sleep(0.5)
        t.check(c.process.poll() is None, "did not wait for its output at all")
        proc.kill(c.pid, signal.SIGTERM)
        t.check(proc.wait_until(lambda: c.process.poll() is not None, 3), "still runs 3 s after the second signal")


@suite.case()
def terminated_at_any_moment_of_the_start(t):
    """Never a crash, and once it runs status 0."""
    root = t.mkdir("root")
    tree.write_lines(tree.Pod(root).log(), "x", 100)
    for k in range(25):
        with Collector(t, "-r", root) as c:
            time.sleep(k * 0.004)
            proc.kill(c.pid, signal.SIGTERM if k % 2 else signal.SIGINT)
            t.check(proc.wait_until(lambda: c.process.poll() is not None, 5), "does not end")
            t.check(c.process.returncode in (0, -signal.SIGTERM, -signal.SIGINT), f"status {c.process.returncode}")
            if k * 0.004 > 0.08 and not tool.sanitized():
                t.equal(c.process.returncode, 0, f"status, {4 * k} ms after the start")


@suite.case(bpf=("auto", "off"))
def sigusr1_shows_the_state(t):
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root, "-q") as c:
        c.ready(root)
        wanted = tree.write_lines(log, "x", 7)
        c.wait_lines(7)
        before = len(c.stderr())
        proc.kill(c.pid, signal.SIGUSR1)
        t.check(proc.wait_until(lambda: len(c.stderr()) > before + 20, 10), "nothing on stderr after SIGUSR1, even with -q")
        t.check("files" in c.stderr()[before:], f"no files in the state: {c.stderr()[before:]!r}")
        for _ in range(50):
            proc.kill(c.pid, signal.SIGUSR1)
            time.sleep(0.002)
        wanted += tree.write_lines(log, "x", 7, first=7)
        t.equal([r.message for r in c.finish(14)], wanted, "messages")


suite.run()
