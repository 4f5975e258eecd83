# SPDX-License-Identifier: Apache-2.0
"""Writers into log files: writer.c for speed, and one in Python that knows the size of each line it wrote.

Where bytes may be lost on purpose, the second one says how many: what the collector counts as lost must be the sizes
of exactly the lines that did not come.
"""
import os
import signal
import subprocess
import zlib
import time

from . import proc, tool, tree

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
STREAMS = {"o": "stdout", "e": "stderr"}


class FileWriter:
    """writer.c into a file, both streams by turns, one write a line."""

    def __init__(self, t, log, ident, *args):
        self.result, self.ident = t.path("result-" + ident), ident
        command = [tool.helper("writer"), "-f", log, "-R", self.result, *map(str, args), ident]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        proc.wait_until(lambda: os.path.exists(log), 5)

    def signal(self, sig):
        proc.kill(self.pid, sig)

    def reopen(self):
        self.signal(signal.SIGHUP)

    def stop(self, timeout=20):
        """Gives what was written, {(id, stream): lines}."""
        self.signal(signal.SIGTERM)
        self.process.wait(timeout)
        return written(self.result)


def written(path):
    """What a result file of writer.c says, {(id, stream): lines}."""
    found = {}
    with open(path) as f:
        for line in f:
            ident, stream, count = line.split()
            found[ident, stream] = int(count)
    return found


def cri_bytes(ident, seq, payload=80):
    """The bytes of one line in a CRI file of writer.c without -L: all its fields but the payload are of fixed width."""
    return len("2026-11-21T00:32:02.000000000Z stdout F ") + len(ident) + len(" o 00000000 ") + 19 + 10 \
        + 1 + (seq * 2654435761 >> 7) % (2 * payload) + 1


def bytes_missing(j, payload=80):
    """Of lines that writer.c wrote and the judge has not got."""
    return sum(cri_bytes(ident, n, payload) for (ident, _), track in j.tracks.items()
               for a, b in track.lost() for n in range(a, b + 1))


class Lines:
    """Makes the CRI lines of one container. sizes[stream][number]: the bytes of that line in the file."""

    def __init__(self, ident="app.0", streams="oe"):
        self.ident, self.streams = ident, streams
        self.sizes = {s: [] for s in streams}

    def make(self, count, payload="-"):
        """The next count lines, streams by turns, as one string of bytes."""
        out = []
        for i in range(count):
            stream = self.streams[i % len(self.streams)]
            seq = len(self.sizes[stream])
            head = f"{self.ident} {stream} {seq:08d} {time.time_ns()} "
            text = f"{head}{zlib.crc32((head + payload).encode()):08x} {payload}"
            out.append(tree.cri(text, stream=STREAMS[stream], number=seq))
            self.sizes[stream].append(len(out[-1]))
        return b"".join(out)

    def at(self):
        """A mark: what was made so far."""
        return {s: len(sizes) for s, sizes in self.sizes.items()}

    def between(self, first, last):
        """{(stream, number)} of what was made between two marks."""
        return {(s, n) for s in self.streams for n in range(first[s], last[s])}

    def bytes_of(self, numbers):
        return sum(self.sizes[s][n] for s, n in numbers)

    def total(self):
        return sum(map(len, self.sizes.values()))

    def total_bytes(self):
        return sum(map(sum, self.sizes.values()))

    def expect(self, j):
        for s, sizes in self.sizes.items():
            j.expect(self.ident, s, len(sizes))
        return j

    def missing(self, j):
        """{(stream, number)} that the judge has not got."""
        return {(s, n) for s in self.streams for a, b in j.track(self.ident, s).lost() for n in range(a, b + 1)}


class Log(Lines):
    """Lines written into a file that is held open as a runtime does it; each write() is one write."""

    def __init__(self, path, ident="app.0", flags=APPEND):
        super().__init__(ident)
        self.path, self.flags = os.path.realpath(path), flags
        self.fd = os.open(path, flags, 0o640)

    def write(self, count, payload="-"):
        """The numbers of the lines written, as between() gives them."""
        first, data = self.at(), self.make(count, payload)
        while data:
            data = data[os.write(self.fd, data):]
        return self.between(first, self.at())

    def truncate(self):
        os.ftruncate(self.fd, 0)

    def reopen(self):
        fd = os.open(self.path, self.flags, 0o640)
        os.close(self.fd)
        self.fd = fd

    def close(self):
        os.close(self.fd)

    def rename(self, stamp):
        """A kubelet's rename, and a new file. The old one's new name."""
        target = f"{self.path}.20261121-{stamp:06d}"
        os.rename(self.path, target)
        self.reopen()
        return target
