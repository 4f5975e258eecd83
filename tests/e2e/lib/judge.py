# SPDX-License-Identifier: Apache-2.0
"""Judges messages of writer.c: every line once, in order per stream of each container.

expect(id, streams, count) says what was written; add() takes what was delivered, in the order it came; problems()
names what is lost, repeated, out of order, torn, unexpected or on the wrong stream, with examples.
"""
import time
import zlib

EXAMPLES = 4


def parse(text):
    """(id, stream letter, number, time_ns) of a message whose checksum is right, else None."""
    parts = text.split(" ", 5)
    if len(parts) != 6 or len(parts[4]) != 8:
        return None
    ident, stream, seq, ns, crc, payload = parts
    body = f"{ident} {stream} {seq} {ns} {payload}".encode("utf-8", "replace")
    if f"{zlib.crc32(body):08x}" != crc:
        return None
    return ident, stream, int(seq), int(ns)


def message(ident, stream, seq, payload="-"):
    """What writer.c would have written now."""
    head = f"{ident} {stream} {seq:08d} {time.time_ns()} "
    return f"{head}{zlib.crc32((head + payload).encode()):08x} {payload}"


class Track:
    def __init__(self):
        self.count = None  # written
        self.seen = bytearray()
        self.high = -1
        self.order_broken, self.repeated = [], []

    def add(self, seq):
        if seq >= len(self.seen):
            self.seen.extend(bytes(seq + 1 - len(self.seen) + 4096))
        if self.seen[seq]:
            self.repeated.append(seq)
            return
        self.seen[seq] = 1
        if seq < self.high:
            self.order_broken.append(seq)
        self.high = max(self.high, seq)

    def lost(self):
        """Runs [(first, last)] of numbers that never came."""
        total = self.high + 1 if self.count is None else self.count
        self.seen.extend(bytes(max(0, total - len(self.seen))))
        runs, at = [], self.seen.find(0, 0, total)
        while at != -1:
            end = self.seen.find(1, at, total)
            end = total if end == -1 else end
            runs.append((at, end - 1))
            at = self.seen.find(0, end, total)
        return runs


class Judge:
    def __init__(self):
        self.tracks, self.torn, self.strange = {}, [], []
        self.latency_ms = []
        self.lines = 0

    def track(self, ident, stream):
        return self.tracks.setdefault((ident, stream), Track())

    def expect(self, ident, streams, count):
        for stream in streams:
            self.track(ident, stream).count = count
        return self

    def expect_result(self, path):
        """What writer -R wrote."""
        with open(path) as f:
            for line in f:
                ident, stream, count = line.split()
                self.expect(ident, stream, int(count))
        return self

    def expected_lines(self):
        return sum(t.count or 0 for t in self.tracks.values())

    def add(self, text, stream=None, owner=None, arrival=None):
        """stream: "stdout" or "stderr" as the record says; owner: the id that its path and names say."""
        self.lines += 1
        message = parse(text)
        if message is None:
            self.torn.append(text)
            return
        ident, letter, seq, ns = message
        if (ident, letter) not in self.tracks:
            self.strange.append(f"nobody wrote {text[:80]}")
        if stream is not None and stream != {"o": "stdout", "e": "stderr"}[letter]:
            self.strange.append(f"on {stream}: {text[:80]}")
        if owner is not None and owner != ident:
            self.strange.append(f"as if of {owner}: {text[:80]}")
        self.track(ident, letter).add(seq)
        if arrival is not None:
            self.latency_ms.append(arrival * 1e3 - ns / 1e6)

    def add_records(self, records, owner=None):
        """Records of a collector; owner(record) gives the id it must have, CONTAINER.RESTARTS when not given."""
        owner = owner or (lambda r: f"{r['k8s.container.name']}.{r['k8s.container.restart_count']}")
        for r in records:
            self.add(r.message, r.get("stream"), owner(r), r.arrival)
        return self

    def problems(self):
        found = []
        for (ident, stream), t in sorted(self.tracks.items()):
            who = f"{ident} {stream} of {t.count}"
            lost = t.lost()
            if lost:
                found.append(f"{who}: lost {sum(b - a + 1 for a, b in lost)} in {len(lost)} runs: "
                             + ", ".join(f"{a}-{b}" for a, b in lost[:EXAMPLES]))
            if t.repeated:
                found.append(f"{who}: repeated {len(t.repeated)}: {t.repeated[:EXAMPLES]}")
            if t.order_broken:
                found.append(f"{who}: out of order {len(t.order_broken)}: {t.order_broken[:EXAMPLES]}")
            if t.count is not None and t.high >= t.count:
                found.append(f"{who}: number {t.high} was never written")
        if self.torn:
            found.append(f"torn {len(self.torn)}: " + " | ".join(repr(x[:120]) for x in self.torn[:EXAMPLES]))
        if self.strange:
            found.append(f"strange {len(self.strange)}: " + " | ".join(self.strange[:EXAMPLES]))
        return found

    def latencies(self):
        """(median, p99, most) in ms."""
        v = sorted(self.latency_ms)
        return (v[len(v) // 2], v[len(v) * 99 // 100], v[-1]) if v else (0, 0, 0)
