# SPDX-License-Identifier: Apache-2.0
"""Where programs are: the one under test, and the C helpers of these tests (built by make, or here when they are not)."""
import functools
import os
import secrets
import shutil
import subprocess
import tempfile

E2E = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(os.path.dirname(E2E))
BUILD = os.path.join(TOP, os.environ.get("B", "build"))


def hotdrain():
    return os.path.abspath(os.environ.get("HOTDRAIN") or os.path.join(BUILD, "hotdrain"))


@functools.lru_cache(None)
def sanitized():
    """Whether the program is an instrumented build: its memory and speed are then not its own."""
    with open(hotdrain(), "rb") as f:
        return b"__asan_init" in f.read()


@functools.lru_cache(None)
def helper(name):
    """The path of a static helper program (tests/e2e/NAME.c)."""
    source, built = os.path.join(E2E, name + ".c"), os.path.join(BUILD, "tests", "e2e", name)
    if os.path.exists(built) and os.path.getmtime(built) >= os.path.getmtime(source) and is_static(built):
        return built
    target = os.path.join(tempfile.gettempdir(), f"hotdrain-e2e-{name}-{os.getuid()}-{int(os.path.getmtime(source))}")
    return target if os.path.exists(target) else compile_helper(source, target)


def is_static(path):
    """Whether a program needs no loader: in the image of test_containerd.py there is none."""
    with open(path, "rb") as f:
        return b"/ld-linux" not in f.read()


def compile_helper(source, target):
    aside = f"{target}.{os.getpid()}"
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-static", "-o", aside, source]
    subprocess.run(command, check=True)
    os.rename(aside, target)
    return target


def find(name):
    """A program's path, sbin included; None when it is not there."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def directory(memory=False):
    """A new one, in memory if that is wanted and possible. Its name has no underscores, as mkdtemp puts in: with two of
    them it would be that of a pod's directory."""
    base = "/dev/shm" if memory and os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
    path = f"{base}/hotdrain-e2e-{secrets.token_hex(5)}"
    os.mkdir(path)
    return path


def scaled(full, short):
    """The count of `make torture`, or the one of `make test`, which has no hour to spend."""
    return full if os.environ.get("TORTURE") == "1" else short
