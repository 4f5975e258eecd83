#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hotdrain ledger` when there is nobody to ask, or somebody who answers oddly: the daemon here is the test itself."""
import os
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import cli, tap, tool  # noqa: E402
from lib.daemon import Daemon, reply  # noqa: E402

suite = tap.Suite("ledger_cli", timeout=120)
NOBODY = 65534


def ask(t, *args, **more):
    return cli.call(t, "ledger", *args, **more)


def refused(t, *args, **more):
    cli.refused(t, "ledger", *args, **more)


# Options

@suite.case()
def help_goes_to_stdout(t):
    for flag in ("--help", "-h"):
        out, err = ask(t, flag, wanted=0)
        t.equal(err, "", "standard error")
        for word in ("usage: hotdrain ledger", "--state", "--json", "/var/lib/hotdrain"):
            t.check(word in out, f"{word} is not in {out}")


@suite.case()
def wrong_flags_are_refused(t):
    see = "see 'hotdrain ledger --help'"
    refused(t, "--frob", says=["unknown option '--frob'", see])
    refused(t, "-x", says=["unknown option '-x'", see])
    refused(t, "--json=yes", says=["'--json=yes'", see])
    refused(t, "--state", says=["--state needs a value", see])
    refused(t, "-s", says=["-s needs a value", see])
    refused(t, t.dir, says=["unexpected argument", see])
    refused(t, "--state", t.dir, "more", says=["unexpected argument 'more'", see])
    refused(t, "--state", "", says="the directory's name is empty")
    refused(t, "--state", "none", says=["--state none", "expected a directory"])


@suite.case()
def the_program_names_it(t):
    result = subprocess.run([tool.hotdrain(), "--help"], capture_output=True, timeout=5)
    t.check(b"  ledger " in result.stdout, f"{result.stdout}")
    result = subprocess.run([tool.hotdrain(), "ledgers"], capture_output=True, timeout=5)
    t.equal(result.returncode, 2, "status")
    t.check(b"ledger" in result.stderr, f"{result.stderr}")


# Nobody there

@suite.case()
def no_directory(t):
    refused(t, "--state", t.path("missing"), says=[t.path("missing"), "No such file or directory", "expected the state"])


@suite.case()
def a_file_is_no_directory(t):
    path = t.path("file")
    open(path, "wb").close()
    refused(t, "--state", path, says=[path, "Not a directory", "expected the state directory"])


@suite.case()
def no_daemon(t):
    refused(t, "--state", t.dir, says=f"{t.path('ledger.sock')}: no hotdrain runs with this state directory")


@suite.case()
def a_daemon_that_was_killed(t):
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(t.path("ledger.sock"))
    dead.close()
    refused(t, "--state", t.dir, says="no hotdrain runs with this state directory")


@suite.case()
def a_file_is_no_socket(t):
    open(t.path("ledger.sock"), "wb").close()
    refused(t, "--state", t.dir, says="no hotdrain runs with this state directory")
    os.remove(t.path("ledger.sock"))
    os.mkdir(t.path("ledger.sock"))
    refused(t, "--state", t.dir, says=t.path("ledger.sock"))


@suite.case()
def a_datagram_socket_is_another(t):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(t.path("ledger.sock"))
        refused(t, "--state", t.dir, says=[t.path("ledger.sock"), "expected hotdrain's socket"])


@suite.case()
def a_name_cannot_write_to_the_terminal(t):
    refused(t, "--state", t.path("a\x1b[31m\nb"), says="a?[31m?b")


@suite.case()
def permission_is_needed(t):
    if os.getuid() != 0:
        t.skip("needs root, to run it as somebody else")
    with Daemon(t.dir, lambda _: reply("secret\n")):
        os.chmod(t.path("ledger.sock"), 0o600)
        refused(t, "--state", t.dir, user=NOBODY, group=NOBODY, extra_groups=[],
                says=["Permission denied", "expected to run as root or as hotdrain's own user"])
    os.chmod(t.dir, 0o700)
    refused(t, "--state", os.path.join(t.dir, "below"), user=NOBODY, group=NOBODY, extra_groups=[],
            says="Permission denied")


# Somebody there

@suite.case()
def the_answer_is_printed_and_says_the_status(t):
    with Daemon(t.dir, lambda asked: reply(f"for {asked.decode()}\n", lost=asked == b"j")) as daemon:
        t.equal(ask(t, "--state", t.dir, wanted=0), ("for t\n", ""), "a table")
        t.equal(ask(t, "-s", t.dir, "--json", wanted=1), ("for j\n", ""), "JSON, something lost")
        t.equal(ask(t, "-j", f"--state={t.dir}/", wanted=1), ("for j\n", ""), "with a slash")
        t.equal(ask(t, "-s", ".", wanted=0, cwd=t.dir), ("for t\n", ""), "by a relative path")
        t.equal(daemon.asked, [b"t", b"j", b"j", b"t"], "what was asked")


@suite.case()
def a_path_longer_than_an_address_will_do(t):
    path = t.path(*["d" * 200] * 3)
    os.makedirs(path)
    with Daemon(path, lambda _: reply("from afar\n")):
        t.equal(ask(t, "--state", path, wanted=0), ("from afar\n", ""), "answer")
    os.remove(os.path.join(path, "ledger.sock"))
    refused(t, "--state", path, says="no hotdrain runs with this state directory")


@suite.case()
def a_large_answer_comes_whole(t):
    text = "".join(f"{i:09d}\n" for i in range(2_000_000))
    with Daemon(t.dir, lambda _: reply(text, lost=1)):
        out, _ = ask(t, "--state", t.dir, wanted=1)
    t.check(out == text, f"{len(out)} bytes came, of {len(text)}")


@suite.case()
def half_an_answer_is_none(t):
    odd = [b"", b"0", b"0\n", b"0 5", b"0 5\n", b"0 5\nabcd", b"0 5\nabcdef", b"1 5\nabcd", b"0  5\nabcde", b"0 05\nabcde",
           b"0 -1\nabcde", b"2 5\nabcde", b"00 5\nabcde", b"0 99999999999999999999999999999\nabcde", b"5\nabcde",
           b"abcde\n", b"\n", b"\x00" * 100, b"0 0\n", b"<html>\n" * 1000]
    for text in odd:
        with Daemon(t.dir, lambda _: text):
            refused(t, "--state", t.dir, says=["expected a whole answer", f"came {len(text)} bytes"])
        os.remove(t.path("ledger.sock"))


@suite.case()
def a_daemon_that_ends_before_it_reads(t):
    for _ in range(20):
        with Daemon(t.dir, lambda _: b"", reads=False):
            refused(t, "--state", t.dir, says="expected a whole answer")
        os.remove(t.path("ledger.sock"))


@suite.case()
def output_that_cannot_be_written_is_an_error(t):
    with Daemon(t.dir, lambda _: reply("x" * 100_000 + "\n")), open("/dev/full", "wb") as full:
        result = subprocess.run([tool.hotdrain(), "ledger", "--state", t.dir], stdout=full, stderr=subprocess.PIPE,
                                timeout=20)
    t.equal(result.returncode, 2, "status")
    t.check(b"standard output: No space left" in result.stderr, f"{result.stderr}")


@suite.case(timeout=60)
def a_daemon_that_hangs_is_left_after_half_a_minute(t):
    if tool.scaled(False, True):
        t.skip("takes half a minute; TORTURE=1 runs it")
    with Daemon(t.dir, lambda _: None):
        began = time.monotonic()
        refused(t, "--state", t.dir, timeout=50, says="expected an answer within 30 s")
        t.check(time.monotonic() - began > 25, "it was left too early")


suite.run()
