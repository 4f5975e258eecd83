#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The events of real dockerd and real podman, across a restart of the daemon: each once, none missing; and their names in the records."""
import calendar
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import docker, podman, proc, tap, tool  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("docker_events", timeout=150)
WORDS = {"remove": "destroy", "died": "die"}
TOLD = {"create", "start", "pause", "unpause", "kill", "stop", "die", "destroy"}
LABELS = {"com.example/team": "blå \"1\"", "plain": "x"}
SLEEP = ["/bin/sh", "-c", "trap 'exit 3' TERM; trap : HUP; while :; do sleep 0.1; done"]


def needs(t, module):
    why = module.missing()
    if why:
        t.skip(why)


def nanoseconds(stamp):
    seconds, _, fraction = stamp.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(fraction)


class Follower:
    """hotdrain events of a daemon alone."""

    def __init__(self, t, url, *options):
        self.path = t.path(f"events{len(options)}")
        with open(self.path, "wb") as out, open(t.path("events.err"), "ab") as err:
            self.process = subprocess.Popen([tool.hotdrain(), "events", "--json", "--flush-interval", "0", "-r", t.mkdir("empty"),
                                             "--docker", url, *options], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        # From then on it is asked for what happened since.
        if not proc.wait_until(lambda: any(p.startswith("socket:") for p in proc.open_paths(self.process.pid)), 10):
            raise tap.Failure("hotdrain events does not begin")

    def events(self):
        with open(self.path, "rb") as f:
            lines = f.read().split(b"\n")[:-1]
        return [e for e in map(json.loads, lines) if e["type"] == "container"]

    def told(self):
        """(time, action, id) of what was no state"""
        return [(nanoseconds(e["time"]), e["action"], e["actor"]["id"]) for e in self.events()
                if "hotdrain.listed" not in e["actor"]["attributes"]]

    def state(self):
        """{id: does it run?} as its events say."""
        found = {}
        for e in self.events():
            ident, action = e["actor"]["id"], e["action"]
            if action == "destroy":
                found.pop(ident, None)
            elif action in ("create", "start", "die"):
                found[ident] = action == "start"
        return found


def said(d, since):
    """(time, action, id) as the daemon itself says. podman knows no fraction of a second in `until`."""
    got = d.call("GET", f"/events?since={since:.6f}&until={int(time.time()) + 1}&stream=false")
    lines = [got] if isinstance(got, dict) else map(json.loads, got.splitlines())
    found = [(e["timeNano"], WORDS.get(e["Action"], e["Action"]), e["Actor"]["ID"]) for e in lines if e.get("Type") == "container"]
    return [f for f in found if f[1] in TOLD]


def same(t, follower, wanted):
    proc.wait_until(lambda: len(follower.told()) >= len(wanted), 10)
    time.sleep(0.3)
    t.equal(sorted(follower.told()), sorted(wanted), "events")


def state_of(d):
    return {c["Id"]: c["State"] in ("running", "paused") for c in d.call("GET", "/containers/json?all=1")}


def events_of(t, daemon):
    """Everything that can happen to a container, then to some at once, then to the daemon itself."""
    with daemon(t.dir) as d:
        begin = time.time()
        follower, stateful = Follower(t, d.url), Follower(t, d.url, "--list")
        web = d.create(SLEEP, "web", LABELS)
        d.start(web)
        for what in ("pause", "unpause", "kill?signal=HUP"):
            d.do(web, what)
        d.do(web, "stop?t=10")
        several = [d.create(["/bin/sh", "-c", f"exit {n}"], f"w{n}") for n in range(4)]
        for ident in several:
            d.start(ident)
        for n, ident in enumerate(several):
            t.equal(d.call("POST", f"/containers/{ident}/wait")["StatusCode"], n, "status of a container")
            d.remove(ident)
        time.sleep(0.3)
        wanted = said(d, begin)
        t.equal([a for _, a, i in sorted(wanted) if i == web and a not in ("kill", "stop")],
                ["create", "start", "pause", "unpause", "die"], "what the daemon says of it")
        same(t, follower, wanted)
        restarted = time.time()
        d.restart()
        d.start(web)
        d.remove(web)
        left = d.create(SLEEP, "left")
        d.start(left)
        time.sleep(0.3)
        wanted += said(d, restarted)
        same(t, follower, wanted)
        check_attributes(t, follower, web)
        # What runs is ended by dockerd as it goes, and by podman not: whoever lists knows.
        d.restart()
        if not proc.wait_until(lambda: stateful.state() == state_of(d), 10):
            t.fail(f"state: wanted {state_of(d)}, got {stateful.state()}")
        t.equal(len(set(follower.told())), len(follower.told()), "different events")
        t.note(f"{len(wanted)} events of {len(several) + 2} containers")


def check_attributes(t, follower, web):
    for e in follower.events():
        if e["actor"]["id"] != web:
            continue
        got = dict(e["actor"]["attributes"])
        t.equal(e["actor"]["name"], "web", "name")
        t.equal({k: got.get(k) for k in LABELS}, LABELS, f"labels with {e['action']}")
        t.equal(got.pop("image"), "localhost/writer:1", "image")
        t.equal("exitCode" in got, e["action"] == "die", f"an exit code with {e['action']}")
    codes = [e["actor"]["attributes"]["exitCode"] for e in follower.events() if e["action"] == "die" and e["actor"]["id"] == web]
    t.equal(codes, ["3", "137"], "exit codes")


def records_of(t, daemon):
    """A container's lines with its names, its last words when it ends, and another's after the daemon was restarted."""
    with daemon(t.dir) as d:
        os.makedirs(d.containers, exist_ok=True)
        with Collector(t, "-r", d.containers, "--docker", d.url) as c:
            web = d.run(["/bin/sh", "-c", "trap 'printf bye; exit 0' TERM; n=0; while :; do echo line $((n += 1)); sleep 0.05; done"],
                        "web", LABELS)
            lines = lambda: [r for r in c.records() if r.path == d.log(web)]  # noqa: E731
            wanted = {"container.id": web, "container.name": "web", "container.image.name": "localhost/writer:1",
                      **{"container.label." + k: v for k, v in LABELS.items()}}
            if not proc.wait_until(lambda: lines() and lines()[-1].labels == wanted, 10, step=0.1):
                t.fail(f"labels: wanted {wanted}, got {lines()[-1].labels if lines() else 'no line'}")
            d.do(web, "stop?t=10")
            stopped = time.monotonic()
            if not proc.wait_until(lambda: lines()[-1].message == "bye", 10, step=0.02):
                t.fail(f"its last words did not come, but {lines()[-1].message!r}")
            t.note(f"last words {time.monotonic() - stopped:.2f} s after the stop")
            texts = [r.message for r in lines()]
            t.equal(texts, [f"line {n + 1}" for n in range(len(texts) - 1)] + ["bye"], "messages")
            first = [r.labels for r in lines()].index(wanted)
            t.check(all(r.labels == wanted for r in lines()[first:]), "a later record lacks them")
            t.note(f"{first} records before the labels were known")
            d.restart()
            shop = d.run(["/bin/sh", "-c", "sleep 0.5; echo hello; sleep 0.2"], "shop")
            d.wait_exit(shop)
            if not proc.wait_until(lambda: [r for r in c.records() if r.path == d.log(shop)], 10):
                t.fail("its line did not come")
            r = [r for r in c.records() if r.path == d.log(shop)][-1]
            t.equal((r.message, r.labels.get("container.name")), ("hello", "shop"), "record after the restart")
            c.stop()
            t.equal({r.path for r in c.records()}, {d.log(web), d.log(shop)}, "files taken for logs")


@suite.case(timeout=70)
def events_of_dockerd(t):
    needs(t, docker)
    events_of(t, docker.Docker)


@suite.case(timeout=70)
def events_of_podman(t):
    needs(t, podman)
    events_of(t, podman.Podman)


@suite.case(timeout=70)
def records_of_dockerd(t):
    needs(t, docker)
    records_of(t, docker.Docker)


@suite.case(timeout=70)
def records_of_podman(t):
    needs(t, podman)
    records_of(t, podman.Podman)


suite.run()
