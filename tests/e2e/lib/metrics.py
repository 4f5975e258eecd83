# SPDX-License-Identifier: Apache-2.0
"""What a collector started with --metrics 127.0.0.1:0 says over HTTP. Every scrape is first demanded to be well formed."""
import http.client
import json
import re
import time

from . import proc, tap

ADDRESS = ("--metrics", "127.0.0.1:0")
SERVING = re.compile(r"metrics and status page on http://(\S+?)/")
SAMPLE = re.compile(r"([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\[\\"n])*)"(?:,|$)')
ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
NAMES = ("namespace", "podname", "poduuid", "containername")
SUFFIXES = ("_bucket", "_sum", "_count")


def where(c, timeout=10):
    """HOST:PORT of a collector, once it has said so."""
    proc.wait_until(lambda: SERVING.search(c.stderr()) or c.process.poll() is not None, timeout)
    found = SERVING.search(c.stderr())
    if not found:
        raise tap.Failure("never said where its metrics are")
    return found[1]


def get(c, path, method="GET", timeout=10):
    """(status, headers, body)"""
    connection = http.client.HTTPConnection(where(c), timeout=timeout)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def labels_of(text):
    found, at = {}, 0
    for m in LABEL.finditer(text):
        if m.start() != at or m[1] in found:
            raise tap.Failure(f"labels: {text!r}")
        found[m[1]] = re.sub(r"\\.", lambda e: ESCAPES[e[0]], m[2])
        at = m.end()
    if at != len(text):
        raise tap.Failure(f"labels: {text!r}")
    return found


class Scrape:
    """types: {family: type}; samples: {name: {labels as a sorted tuple of pairs: value}}"""

    def __init__(self, text):
        self.text, self.types, self.samples = text, {}, {}
        family = None
        lines = text.split("\n")
        if lines.pop() != "":
            raise tap.Failure("ends within a line")
        for line in lines:
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                if family in self.types:
                    raise tap.Failure(f"family {family} twice")
                continue
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                if name != family:
                    raise tap.Failure(f"TYPE of {name} below HELP of {family}")
                self.types[name] = kind
                continue
            self.add(line, family)

    def add(self, line, family):
        found = SAMPLE.match(line)
        if not found:
            raise tap.Failure(f"no sample: {line!r}")
        name, value = found[1], float(found[3])
        ends = SUFFIXES if self.types.get(family) == "histogram" else ("",)
        if name not in [f"{family}{end}" for end in ends]:
            raise tap.Failure(f"{name} below the header of {family}")
        key = tuple(sorted(labels_of(found[2] or "").items()))
        if key in self.samples.setdefault(name, {}):
            raise tap.Failure(f"series twice: {line}")
        self.samples[name][key] = value

    def value(self, name, **labels):
        """Of the one series with these labels, others there may be; None without one."""
        found = [v for key, v in self.samples.get(name, {}).items() if labels.items() <= dict(key).items()]
        if len(found) > 1:
            raise tap.Failure(f"{name}{labels}: {len(found)} series")
        return found[0] if found else None

    def total(self, name):
        return sum(self.samples.get(name, {}).values())

    def of(self, name, pod, container="app", **more):
        """Of a tree.Pod's container."""
        names = (pod.namespace, pod.name, pod.uid, container)
        return self.value(name, **dict(zip(NAMES, names)), **more)

    def counters(self):
        """{(name, labels): value} of all that must only grow."""
        kinds = {n: t for n, t in self.types.items() if t != "gauge"}
        return {(name, key): v for name, series in self.samples.items() for key, v in series.items()
                if name in kinds or any(name == k + s for k in kinds for s in SUFFIXES)}


def scrape(c, timeout=10):
    status, headers, body = get(c, "/metrics", timeout=timeout)
    if status != 200 or not headers["Content-Type"].startswith("text/plain; version=0.0.4"):
        raise tap.Failure(f"/metrics: {status} {headers['Content-Type']}: {body[:200]}")
    return Scrape(body.decode("utf-8", "strict"))


def wait_scrape(c, condition, what, timeout=10):
    """The first scrape of which the condition is true."""
    end_at = time.monotonic() + timeout
    while True:
        s = scrape(c)
        if condition(s):
            return s
        if time.monotonic() > end_at:
            lines = "\n".join(line for line in s.text.splitlines() if not line.startswith("#"))
            raise tap.Failure(f"not within {timeout} s: {what}\n{lines[-3000:]}")
        time.sleep(0.1)


def status(c, query=""):
    code, headers, body = get(c, "/status.json" + query)
    if code != 200 or headers["Content-Type"] != "application/json":
        raise tap.Failure(f"/status.json: {code} {headers['Content-Type']}: {body[:200]}")
    return json.loads(body)
