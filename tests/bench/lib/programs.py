# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured: how each is started to follow, or to read once, a tree of pod logs.

A program gets a directory of logs and its standard output; all of them write log lines there. rsyslog is configured
as its documentation advises for speed: inotify, one wildcard over the tree, a ruleset of its own whose template cuts
CRI lines at fixed columns (the generators write nine digits of nanoseconds), so it need not parse anything.
"""
import glob
import os
import subprocess

from . import machine

RSYSLOG = """
global(workDirectory="{work}" maxMessageSize="64k" net.enableDNS="off")
module(load="imfile" mode="inotify")
template(name="json" type="list") {{
	constant(value="{{\\"time\\":\\"")
	property(name="msg" position.from="1" position.to="30")
	constant(value="\\",\\"stream\\":\\"")
	property(name="msg" position.from="32" position.to="37")
	constant(value="\\",\\"message\\":\\"")
	property(name="msg" position.from="41" format="json")
	constant(value="\\",\\"log.file.path\\":\\"")
	property(name="$!metadata!filename" format="json")
	constant(value="\\"}}\\n")
}}
template(name="raw" type="list") {{ property(name="msg") constant(value="\\n") }}
ruleset(name="pods" {queue}) {{
	action(type="omfile" file="/dev/stdout" template="{form}" ioBufferSize="64k")
}}
input(type="imfile" file="{root}/*/*/*.log" tag="pod" ruleset="pods" addMetadata="on" {state})
"""
QUEUE = 'queue.type="FixedArray" queue.size="50000" queue.dequeueBatchSize="1024" queue.workerThreads="1"'
# By default the place is saved when a file is closed only, and a crash repeats all of it.
STATE = 'persistStateInterval="1000" persistStateAfterSubmission="on"'


class Program:
    """family: what --programs chooses by. ends: exits by itself when everything was read once. lines: it writes the log's.
    mode: in which its output is opened, where that is a file."""
    ends, lines, mode = False, True, "wb"

    def __init__(self, name, family):
        self.name, self.family = name, family

    def missing(self):
        """Why it cannot run here, or None."""
        return None

    def command(self, root, work):
        """work: a directory of its own that outlives a restart."""
        raise NotImplementedError

    def start(self, root, work, out):
        """out: a file descriptor or file for standard output. What it says itself goes to work/stderr."""
        os.makedirs(work, exist_ok=True)
        with open(os.path.join(work, "stderr"), "ab") as log:
            return subprocess.Popen(self.command(root, work), stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd="/")


class Hotdrain(Program):
    def __init__(self, name, *args, state=False, ends=False):
        super().__init__(name, "hotdrain")
        self.args, self.state, self.ends = list(args), state, ends
        self.binary = os.path.join(machine.B, "hotdrain")

    def missing(self):
        return None if os.path.exists(self.binary) else f"{self.binary} is not built"

    def command(self, root, work):
        state = os.path.join(work, "state") if self.state else "none"
        ends = ["--exit-when-idle", "50ms"] if self.ends else []
        return [self.binary, "run", "-q", "-r", root, "--state", state, *self.args, *ends]


class Rsyslog(Program):
    def __init__(self, form, state=False):
        super().__init__(f"rsyslog {form}" + (", state saved" if state else ""), "rsyslog")
        self.form, self.state = form, state

    def missing(self):
        return None if machine.find("rsyslogd") else "rsyslogd is not installed (rsyslog)"

    def command(self, root, work):
        config = os.path.join(work, "rsyslog.conf")
        with open(config, "w") as f:
            f.write(RSYSLOG.format(work=work, root=root, form=self.form, queue=QUEUE, state=STATE if self.state else ""))
        return [machine.find("rsyslogd"), "-n", "-f", config, "-i", os.path.join(work, "pid")]


class Tail(Program):
    """GNU tail over the names that are there: no floor in cost alone, it also shows what a name's follower loses."""

    def __init__(self):
        super().__init__("tail -F", "tail")

    def command(self, root, work):
        return ["tail", "-q", "-n", "+1", "-F", *sorted(glob.glob(f"{root}/*/*/0.log"))]


class Cat(Program):
    """Debian's has the kernel copy from file to file, but not to the end of one: then it reads and writes."""
    ends = True

    def __init__(self, appends=False):
        super().__init__("cat >>" if appends else "cat", "cat")
        self.mode = "ab" if appends else "wb"

    def command(self, root, work):
        return ["cat", *sorted(glob.glob(f"{root}/*/*/0.log"))]


class Copy(Program):
    """Reads, and writes so many times as much, with nothing done in between."""
    ends, lines = True, False

    def __init__(self, ratio):
        super().__init__(f"read and write {ratio} times as much", "cat")
        self.ratio = ratio

    def command(self, root, work):
        return [machine.tool("copy"), str(self.ratio), *sorted(glob.glob(f"{root}/*/*/0.log"))]
