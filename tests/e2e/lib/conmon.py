# SPDX-License-Identifier: Apache-2.0
"""Real conmon around a program, as CRI-O and podman start it.

conmon does everything that concerns the log: it holds the program's pipes, splits, stamps and writes, and replaces
the file at its size limit. The OCI runtime below it only has to start a process and name its pid, so a script of ten
lines stands in for runc, and no image, root filesystem or cgroup is needed.
"""
import os
import shlex
import subprocess

from . import proc, tap, tool

RUNTIME = """#!/bin/sh
# "create --bundle DIR --pid-file FILE ID": starts DIR/command on the pipes conmon handed over.
while [ $# -gt 0 ]; do
	case $1 in
	create) create=1 ;;
	--bundle) bundle=$2; shift ;;
	--pid-file) pid_file=$2; shift ;;
	esac
	shift
done
[ -n "$create" ] || exit 0
sh "$bundle/command" </dev/null &
echo $! >"$pid_file"
"""


def missing():
    """Why conmon cannot be run, or None."""
    return None if tool.find("conmon") else "no conmon"


class Conmon:
    """Runs command (a list) with its output in log. The container has ended when wait() returns."""

    def __init__(self, directory, ident, log, command, size_max=None):
        self.dir = os.path.join(directory, "conmon-" + ident)
        bundle = os.path.join(self.dir, "bundle")
        exits = os.path.join(self.dir, "exit")  # conmon makes a directory called ident beside its sockets
        os.makedirs(bundle)
        os.makedirs(exits)
        runtime = os.path.join(self.dir, "runtime")
        with open(runtime, "w") as f:
            f.write(RUNTIME)
        os.chmod(runtime, 0o755)
        with open(os.path.join(bundle, "command"), "w") as f:
            f.write("exec " + shlex.join(command) + "\n")
        argv = [tool.find("conmon"), "--api-version", "1", "-c", ident, "-u", ident, "-r", runtime, "-b", bundle,
                "-p", os.path.join(self.dir, "pid"), "-P", os.path.join(self.dir, "conmon-pid"), "-l", "k8s-file:" + log,
                "--exit-dir", exits, "--socket-dir-path", self.dir]
        argv += ["--log-size-max", str(size_max)] if size_max else []
        self.exit_file = os.path.join(exits, ident)
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def wait(self, timeout=60):
        """Until the program has ended and conmon has written all of its output."""
        self.process.wait(10)
        if not proc.wait_until(lambda: os.path.exists(self.exit_file), timeout):
            raise tap.Failure(f"conmon did not end within {timeout} s")
        with open(os.path.join(self.dir, "conmon-pid")) as f:
            pid = int(f.read())
        proc.wait_until(lambda: pid not in proc.parents() or is_zombie(pid), 10)
        with open(self.exit_file) as f:
            status = f.read().strip()
        if status != "0":
            raise tap.Failure(f"the program below conmon ended with status {status}")


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True
