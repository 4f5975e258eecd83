#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hotdrain run --docker: names and labels in the records of a container's log, and a container that stops is drained first."""
import json
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import proc, tap, tool, tree  # noqa: E402
from lib.collector import PATH_KEYS, Collector  # noqa: E402
from lib.fakedocker import FakeDocker  # noqa: E402

suite = tap.Suite("docker", timeout=110)
ID = "{:064x}"
ODD = {"com.example/team": "blå \"1\" \\ \t", "plain": "", "\u2028 🚰": "x" * 300, "image": "no label", "hotdrain.listed": "no"}


def docker_log(root, number=1):
    """(id, path of a log as dockerd has it)"""
    ident = ID.format(number)
    os.makedirs(os.path.join(root, ident), exist_ok=True)
    return ident, os.path.join(root, ident, ident + "-json.log")


def podman_log(root, number=1):
    ident = ID.format(number)
    os.makedirs(os.path.join(root, ident, "userdata"), exist_ok=True)
    return ident, os.path.join(root, ident, "userdata", "ctr.log")


def labels(ident, name, labels_=None, image="localhost/web:1"):
    return {"container.id": ident, "container.name": name, "container.image.name": image,
            **{"container.label." + k: v for k, v in (labels_ or {}).items()}}


def wait_told(c, count):
    """Until so many events have reached the collector, and a little for its loop to take them."""
    def told():
        proc.kill(c.pid, signal.SIGUSR1)
        time.sleep(0.05)
        return f", events {count}," in c.stderr()

    if not proc.wait_until(told, 10):
        raise tap.Failure(f"{count} events were not taken")
    time.sleep(0.3)


def until_labelled(t, c, write, wanted, path):
    """Writes lines until one comes with these labels; from then on all have them. No record waits for them."""
    for n in range(500):
        write(n)
        if not c.wait_lines(len(c.lines) + 1, 0.05) and not c.lines:
            continue
        if c.records()[-1].labels == wanted:
            break
    got = [r.labels for r in c.records() if r.path == path]
    t.equal(got[-1], wanted, "labels of the last record")
    first = got.index(wanted)
    t.equal(got[first:], [wanted] * (len(got) - first), "labels from then on")
    return got[:first]


@suite.case(bpf=("auto", "off"))
def a_running_containers_log_has_its_names(t):
    root = t.mkdir("containers")
    with FakeDocker(t.dir) as d:
        for number, place, line in ((1, docker_log, tree.docker), (2, podman_log, tree.cri)):
            ident, log = place(root, number)
            d.has(ident, f"web{number}", ODD)
            wanted = labels(ident, f"web{number}", {k: v for k, v in ODD.items() if k not in ("image", "hotdrain.listed")})
            with Collector(t, "-r", root, "--docker", d.url) as c:
                before = until_labelled(t, c, lambda n: tree.append(log, line(f"m{n}")), wanted, log)
                t.equal([b for b in before if b], [], "labels before those")
                r = c.records()[-1]
                t.equal(r.keys_in_order[:4], PATH_KEYS, "keys before the labels")
                c.stop()
            os.unlink(log)


@suite.case()
def a_container_that_comes_later_gets_its_names(t):
    """Its log is there before anybody knows it; then it is made, started, given another name, removed."""
    root = t.mkdir("containers")
    ident, log = docker_log(root)
    with FakeDocker(t.dir) as d, Collector(t, "-r", root, "--docker", d.url) as c:
        d.wait_followed()
        for n in range(3):
            tree.append(log, tree.docker(f"early {n}"))
        t.check(c.wait_lines(3), "lines of a container that is not known did not come")
        t.equal([r.labels for r in c.records()], [{}] * 3, "labels of nobody knows what")
        d.tell("create", ident, "web", {"a": "b"})
        until_labelled(t, c, lambda n: tree.append(log, tree.docker(f"m{n}")), labels(ident, "web", {"a": "b"}), log)
        d.tell("start", ident, "web", {"a": "b"})
        d.tell("pause", ident, "web", {"a": "b"})
        d.tell("kill", ident, "web", {"a": "b"}, signal="1")
        until_labelled(t, c, lambda n: tree.append(log, tree.docker(f"n{n}")), labels(ident, "web", {"a": "b"}), log)
        d.tell("rename", ident, "shop", {"a": "b"}, oldName="/web")
        until_labelled(t, c, lambda n: tree.append(log, tree.docker(f"o{n}")), labels(ident, "shop", {"a": "b"}), log)
        d.tell("die", ident, "shop", {"a": "b"}, exitCode="1")
        d.tell("destroy", ident, "shop", {"a": "b"})
        os.unlink(log)
        c.stop()


@suite.case()
def a_log_that_comes_later_gets_its_names(t):
    """Also when its container is gone by then, and after a rotation; another container's are not mixed up."""
    root = t.mkdir("containers")
    with FakeDocker(t.dir) as d, Collector(t, "-r", root, "--docker", d.url) as c:
        d.wait_followed()
        for number in (1, 2, 3):
            d.tell("create", ID.format(number), f"web{number}")
        d.tell("destroy", ID.format(2), "web2")
        wait_told(c, 4)
        for number in (1, 2, 3):
            tree.append(docker_log(root, number)[1], tree.docker(f"m{number}"))
        t.check(c.wait_lines(3), "lines did not come")
        log = docker_log(root, 3)[1]
        os.rename(log, log + ".1")
        tree.append(log, tree.docker("m3"))
        tree.append(docker_log(root, 4)[1], tree.docker("m4"))
        records = c.finish(5)
    for r in records:
        number = int(r.message[1])
        t.equal(r.labels, labels(ID.format(number), f"web{number}") if number != 4 else {}, f"labels of {r.message}")
    t.equal(sorted(r.message for r in records), ["m1", "m2", "m3", "m3", "m4"], "messages")


@suite.case()
def a_link_from_the_pods_directory_is_followed(t):
    root, containers = t.mkdir("pods"), t.mkdir("containers")
    ident, target = docker_log(containers)
    pod = tree.Pod(root)
    tree.append(target, tree.docker("first"))
    os.symlink(target, pod.log())
    wanted = labels(ident, "k8s_app_web", {"io.kubernetes.pod.name": "web"})
    with FakeDocker(t.dir) as d:
        d.has(ident, "k8s_app_web", {"io.kubernetes.pod.name": "web"})
        with Collector(t, "-r", root, "--link-root", containers, "--docker", d.url) as c:
            for n in range(500):
                tree.append(target, tree.docker(f"m{n}"))
                if c.wait_lines(n + 2, 1) and c.records()[-1].labels == wanted:
                    break
            c.stop()
            t.equal(c.records()[-1].labels, wanted, "labels")
            t.equal(c.records()[-1]["k8s.pod.name"], "web", "pod")


@suite.case()
def a_container_that_stops_is_drained_first(t):
    """Nobody takes the output while eleven containers write; one dies: what it wrote comes before what the others did."""
    root, count, text = t.mkdir("containers"), 4000, "x" * 1000
    logs = [docker_log(root, n) for n in range(11)]
    options = ("--batches", "4", "--batch-bytes", "128Ki", "--linger", "5ms")
    with FakeDocker(t.dir) as d:
        for ident, _ in logs:
            d.has(ident, ident[-2:])
        with Collector(t, "-r", root, "--docker", d.url, *options, out="stalled") as c:
            d.wait_followed()
            for n, (_, log) in enumerate(logs):
                tree.append(log, *(tree.docker(f"{n} {text}") for _ in range(count if n != 7 else 200)))
            time.sleep(0.5)
            d.tell("die", logs[7][0], "07", exitCode="0")
            wait_told(c, 12)
            c.read_on()
            t.check(c.wait_lines(10 * count + 200, 30), f"only {len(c.lines)} lines")
            c.stop()
        numbers = [int(r.message.split()[0]) for r in c.records()]
    places = [i for i, n in enumerate(numbers) if n == 7]
    t.note(f"places of its lines: {places[0]} to {places[-1]} of {len(numbers)}")
    t.check(places[-1] < 3000, f"its last line is the {places[-1]}th of {len(numbers)}")
    for n in range(11):
        t.equal(numbers.count(n), 200 if n == 7 else count, f"lines of {n}")


@suite.case(bpf=("auto", "off"))
def the_last_words_of_a_container_come_when_it_dies(t):
    """A line without an end is waited for five seconds, but not once its container is dead."""
    root = t.mkdir("containers")
    ident, log = docker_log(root)
    with FakeDocker(t.dir) as d:
        d.has(ident, "web")
        with Collector(t, "-r", root, "--docker", d.url) as c:
            d.wait_followed()
            tree.append(log, tree.docker("whole"), tree.docker("no end", end=""))
            t.check(c.wait_lines(1), "no line came")
            time.sleep(0.5)
            t.equal(len(c.lines), 1, "lines")
            d.tell("die", ident, "web", exitCode="137")
            t.check(c.wait_lines(2, 3), "its last words were still waited for after 3 s")
            t.equal(c.records()[-1].message, "no end", "its last words")
            c.stop()


@suite.case()
def so_do_those_of_one_whose_log_is_found_later(t):
    root = t.mkdir("containers")
    with FakeDocker(t.dir) as d, Collector(t, "-r", root, "--docker", d.url) as c:
        d.wait_followed()
        d.tell("start", ID.format(1), "web")
        d.tell("die", ID.format(1), "web", exitCode="0")
        d.tell("destroy", ID.format(1), "web")
        wait_told(c, 3)
        tree.append(docker_log(root)[1], tree.docker("whole"), tree.docker("no end", end=""))
        t.check(c.wait_lines(2, 3), "its last words were still waited for after 3 s")
        t.equal([(r.message, r.labels.get("container.name")) for r in c.records()], [("whole", "web"), ("no end", "web")], "records")
        c.stop()


@suite.case()
def a_daemon_may_come_and_go(t):
    root = t.mkdir("containers")
    ident, log = docker_log(root)
    d = FakeDocker(t.dir)
    with Collector(t, "-r", root, "--docker", d.url) as c:
        tree.append(log, tree.docker("before"))
        t.check(c.wait_lines(1), "without a daemon no line comes")
        c.wait_stderr("docker: unix://")
        for round_ in range(2):
            name = f"web{round_}"
            d.has(ident, name)
            with d:
                d.wait_followed()
                if round_:
                    d.tell("rename", ident, name)
                until_labelled(t, c, lambda n: tree.append(log, tree.docker(f"m{n}")), labels(ident, name), log)
        tree.append(log, tree.docker("after"))
        t.check(proc.wait_until(lambda: c.lines and c.records()[-1].message == "after", 10), "no line after the daemon")
        c.stop()


@suite.case()
def what_a_daemon_says_cannot_harm(t):
    root = t.mkdir("containers")
    ident, log = docker_log(root)
    with FakeDocker(t.dir) as d, Collector(t, "-r", root, "--docker", d.url) as c:
        d.wait_followed()
        for text in ("garbage\n", "}{", b"\xff\xfe\0", '{"Type":"container"', "\n", '{"a":' * 5000, "\n", "[" * 100000, "\n",
                     '{"x":"' + "y" * (2 << 20) + '"}', '{"Type":"container","Action":"start","Actor":{"ID":"../../etc"}}',
                     json.dumps({"Type": "container", "Action": "start", "Actor": {"ID": "0" * 65}})):
            d.send(text)
        d.tell("start", ident, "n" * 5000, {"k" * 9000: "v" * 9000, "a": "b"})
        d.tell("start", ident, "web", {f"k{n}": "v" * 50 for n in range(2000)})
        for n in range(500):
            tree.append(log, tree.docker(f"m{n}"))
            if c.wait_lines(n + 1, 1) and c.records()[-1].labels.get("container.name") == "web":
                break
        got = c.records()[-1].labels
        t.equal(got.get("container.name"), "web", "name behind all that")
        t.check(len(json.dumps(got)) < 4500, f"{len(json.dumps(got))} bytes of labels")
        t.check(30 < len(got) < 140, f"{len(got)} labels")
        c.stop()


@suite.case()
def a_daemon_that_only_fails_is_said_once(t):
    root = t.mkdir("containers")
    log = docker_log(root)[1]
    with FakeDocker(t.dir) as d:
        d.status = 500
        with Collector(t, "-r", root, "--docker", d.url) as c:
            c.wait_stderr("it answers with status 500, retrying")
            tree.append(log, tree.docker("m"))
            t.check(c.wait_lines(1), "the line did not come")
            proc.kill(c.pid, signal.SIGUSR1)
            c.wait_stderr("docker: not connected, 1 containers; connected 0 times, events 0, repeated 0, bad 0; it answers with status 500")
            c.stop()
        said = [line for line in c.stderr().splitlines() if "status 500, retrying" in line]
        t.equal(len(said), 1, "times it was said")


@suite.case()
def a_url_that_is_none_is_refused(t):
    for url in ("docker.sock", "unix://docker.sock", "https://127.0.0.1:1", "http://127.0.0.1", "unix:///" + "x" * 200, ""):
        got = subprocess.run([tool.hotdrain(), "run", "-r", t.dir, "--state", "none", "--docker", url], stdin=subprocess.DEVNULL,
                             capture_output=True, timeout=10)
        t.equal(got.returncode, 2, f"exit status with {url!r}")
        lines = got.stderr.decode().splitlines()
        t.check(len(lines) == 1 and "docker" in lines[0] and "expected" in lines[0] and f"'{url[:50]}" in lines[0],
                f"with {url!r} it says {lines}")


@suite.case()
def without_it_no_library_is_loaded(t):
    root = t.mkdir("containers")
    for extra, wanted in (((), False), (("--docker", f"unix://{t.dir}/none"), True)):
        with Collector(t, "-r", root, *extra) as c:
            c.ready(root)
            with open(f"/proc/{c.pid}/maps") as f:
                t.equal("libcurl" in f.read(), wanted, f"libcurl with {extra}")
            t.note(f"with {extra}: {proc.status(c.pid, 'VmHWM')} KiB resident at most")
            c.stop()


suite.run()
