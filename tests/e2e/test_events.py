#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hotdrain events`: whoever applies what it prints has the tree that is there; containers; filters; slow readers."""
import calendar
import os
import random
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import conmon, docker, podman, proc, tap, tool, tree  # noqa: E402
from lib.events import Events, Replay, difference  # noqa: E402

suite = tap.Suite("events", timeout=150)


# The tree

def change(seed, count, root, outside):
    """Random changes, by a program that is as fast as they can be made. It runs on."""
    return subprocess.Popen([tool.helper("change"), str(seed), str(count), root, outside], stdout=subprocess.DEVNULL)


def changed(*args):
    if change(*args).wait():
        raise tap.Failure("change failed")


def follow(t, e, replay, root, timeout=25):
    """Applies what is printed until it is the tree that is there."""
    end_at = time.monotonic() + timeout
    while True:
        for event in e.events()[replay.applied:]:
            replay.applied += 1
            if event["type"] == "file":
                try:
                    replay.add(event)
                except tap.Failure as why:
                    t.fail(f"event {replay.applied}: {why}",
                           *(x.decode() for x in e.lines[max(replay.applied - 8, 0):replay.applied]))
        wrong = difference(replay, root)
        if not wrong and replay.applied == len(e.lines):
            return
        if time.monotonic() > end_at or e.process.poll() is not None:
            t.fail(f"after {replay.applied} events, {timeout} s:", *wrong)
        time.sleep(0.1)


def replayed(t, seed, count, programs, *args):
    root, outside = t.mkdir(f"root{seed}"), t.mkdir(f"outside{seed}")
    changed(seed, 300, root, outside)
    with Events(t, "-r", root, "--list", *args) as e:
        e.ready()
        replay = Replay(root)
        for _ in range(3):
            running = [change(seed * 100 + k, count // programs // 3, root, outside) for k in range(programs)]
            for p in running:
                p.wait()
            follow(t, e, replay, root)
        time.sleep(0.3)
        late = [x for x in e.events()[replay.applied:] if x["action"] != "written"]
        t.equal(late, [], "events after it was quiet")
        e.stop()
    t.check(not any(x["type"] == "control" for x in e.events()), "the kernel's queue overflowed: too many changes")
    t.note(f"seed {seed}, {programs} at a time: {count} changes, {replay.counts}, {len(replay.paths)} paths left")


@suite.case(timeout=90)
def replay_gives_the_tree(t):
    for seed in (1, 2):
        replayed(t, seed, 6000, 1)


@suite.case(timeout=90)
def replay_gives_the_tree_of_several_at_a_time(t):
    for seed in (101,):
        replayed(t, seed, 6000, 3, "--flush-interval", "0")
        replayed(t, seed + 1000, 6000, 2, "--flush-interval", "700ms")


@suite.case(timeout=60)
def replay_gives_the_tree_after_an_overflow(t):
    """Stopped while more happens than the kernel's queue holds, twice; what was lost is found again."""
    with open("/proc/sys/fs/inotify/max_queued_events") as f:
        limit = int(f.read())
    if limit > 60000:
        t.skip(f"the kernel's queue holds {limit} events")
    root, outside = t.mkdir("root"), t.mkdir("outside")
    changed(7, 500, root, outside)
    with Events(t, "-r", root, "--list") as e:
        e.ready()
        replay = Replay(root)
        for n in range(2):
            proc.kill(e.pid, signal.SIGSTOP)
            changed(70 + n, 1500, root, outside)
            names = os.path.join(root, f"one{n}"), os.path.join(root, f"other{n}")
            os.mkdir(names[0])
            for k in range(limit // 2 + 1000):
                os.rename(names[k % 2], names[1 - k % 2])
            changed(700 + n, 1500, root, outside)
            proc.kill(e.pid, signal.SIGCONT)
            follow(t, e, replay, root)
            changed(7000 + n, 300, root, outside)
            follow(t, e, replay, root)
        e.stop()
    overflows = sum(x["action"] == "overflow" and x["type"] == "control" for x in e.events())
    t.check(overflows >= 2, f"{overflows} overflows were told of, wanted 2")
    t.check("dropped events" in e.stderr(), "standard error does not say so")
    t.note(f"{overflows} overflows, {replay.counts}, {len(replay.paths)} paths left")


@suite.case()
def a_rename_is_one_event(t):
    root = t.mkdir("root")
    os.makedirs(os.path.join(root, "d", "e"))
    with Events(t, "-r", root) as e:
        wait_watched(t, e, root)
        os.rename(os.path.join(root, "d"), os.path.join(root, "f"))
        os.close(os.open(os.path.join(root, "f", "e", "g"), os.O_CREAT | os.O_WRONLY))
        os.rename(os.path.join(root, "f", "e", "g"), os.path.join(root, "h"))
        e.wait_lines(3)
        t.equal([(x["action"], x["actor"]["name"][len(root):], x.get("from", root)[len(root):]) for x in e.events()],
                [("renamed", "/f", "/d"), ("created", "/f/e/g", ""), ("renamed", "/h", "/f/e/g")], "events")
        t.equal(e.events()[2]["actor"]["id"], str(os.stat(os.path.join(root, "h")).st_ino), "the id of a file")
        t.equal(list(e.events()[2]), ["time", "type", "action", "actor", "from"], "keys")
        e.stop()


def wait_watched(t, e, *roots):
    """Without --list nothing says that it has begun: as many watches as directories do."""
    dirs = sum(1 for root in roots for _ in os.walk(root))

    def watches():
        found = 0
        for fd in os.listdir(f"/proc/{e.pid}/fdinfo"):
            try:
                with open(f"/proc/{e.pid}/fdinfo/{fd}") as f:
                    found += sum(line.startswith("inotify") for line in f)
            except OSError:
                pass
        return found

    e.wait(lambda: watches() >= dirs, f"{dirs} watches")
    time.sleep(0.1)
    e.forget()


@suite.case()
def a_busy_file_is_written_once_per_interval(t):
    root = t.mkdir("root")
    log = os.path.join(root, "log")
    with Events(t, "-r", root, "--flush-interval", "200ms") as e:
        wait_watched(t, e, root)
        started, writes = time.monotonic(), 0
        with open(log, "ab", buffering=0) as f:
            while time.monotonic() < started + 2:
                f.write(b"x" * 100)
                writes += 1
                time.sleep(0.001)
        seconds = time.monotonic() - started
        time.sleep(1)
        e.stop()
    written = e.names().count(("written", "log"))
    t.check(2 <= written <= seconds / 0.2 + 2, f"written {written} times in {seconds:.1f} s at 200 ms, of {writes} writes")
    t.equal(e.names()[-1], ("written", "log"), "the last event")


@suite.case()
def after_the_last_write_there_is_an_event(t):
    """Each of 40 files, written at random moments: whoever reads a file when told has read all of it."""
    root, chance = t.mkdir("root"), random.Random(3)
    read, applied = {}, 0
    with Events(t, "-r", root, "--flush-interval", "30ms") as e:
        wait_watched(t, e, root)
        for k in range(3000):
            path = os.path.join(root, f"f{chance.randrange(40)}")
            with open(path, "ab", buffering=0) as f:
                f.write(b"x" * chance.randint(1, 9))
            time.sleep(0.001 if k % 100 else 0.05)
            for event in e.events()[applied:]:
                applied += 1
                read[event["actor"]["name"]] = os.path.getsize(event["actor"]["name"])

        def all_read():
            nonlocal applied
            for event in e.events()[applied:]:
                applied += 1
                read[event["actor"]["name"]] = os.path.getsize(event["actor"]["name"])
            return all(read.get(p.path) == p.stat().st_size for p in os.scandir(root))

        e.wait(all_read, "told of each file's last bytes")
        e.stop()


# Containers

@suite.case()
def containers_are_inferred_from_the_pod_directories(t):
    root = t.mkdir("pods")
    with Events(t, "-r", root, "--start", "--stop") as e:
        wait_watched(t, e, root)
        pod = tree.Pod(root)
        log = pod.log()
        e.wait_lines(1)
        tree.append(log, tree.cri("x"))
        e.wait_lines(2)
        os.rename(log, log + ".20261121-000000")
        tree.append(log, tree.cri("x"))  # rotated: the same container
        tree.append(pod.log(restart=1), tree.cri("x"))
        e.wait_lines(4)
        os.unlink(log)
        shutil.rmtree(pod.dir)
        e.wait_lines(6)
        e.stop()
    t.equal([(x["action"], x["actor"]["attributes"].get("k8s.container.restart_count")) for x in e.events()],
            [("create", None), ("start", "0"), ("stop", "0"), ("start", "1"), ("stop", "1"), ("destroy", None)], "events")
    names = {"k8s.namespace.name": "shop", "k8s.pod.name": "web", "k8s.pod.uid": pod.uid, "k8s.container.name": "app"}
    for x in e.events():
        t.equal(x["type"], "container", "type")
        t.equal(x["actor"]["name"], "shop/web/app", "name")
        t.equal({k: v for k, v in x["actor"]["attributes"].items() if not k.endswith("count")}, names, "attributes")


@suite.case()
def containers_that_are_there_are_listed_when_asked(t):
    root = t.mkdir("pods")
    tree.append(tree.Pod(root).log(restart=3), tree.cri("x"))
    for args, wanted in ((("--list", "--start"), [("create", "app"), ("start", "app")]), (("--start",), [])):
        with Events(t, "-r", root, *args, "--exit-when-idle", "200ms") as e:
            e.wait_exit()
            t.equal(e.names(), wanted, f"with {args}")
            t.check(all(x["actor"]["attributes"].get("hotdrain.listed") == "true" for x in e.events()), "not marked as listed")


@suite.case(timeout=40)
def conmon_replaces_its_log(t):
    """The real producer: 0.log.tmp is made and renamed onto 0.log at each limit."""
    why = conmon.missing()
    if why:
        t.skip(why)
    root = t.mkdir("pods")
    with Events(t, "-r", root, "--list") as e:
        e.ready()
        log = tree.Pod(root, name="conmon").log("c0")
        conmon.Conmon(t.dir, "c0.0", log, [tool.helper("writer"), "-n", "6000", "-r", "4000", "-l", "80", "c0.0"], size_max=300000).wait()
        replay = Replay(root)
        follow(t, e, replay, root)
        time.sleep(0.5)
        follow(t, e, replay, root)
        e.stop()
    renamed = [x for x in e.events("file") if x["action"] == "renamed"]
    t.check(len(renamed) >= 2, f"{len(renamed)} renames were told of")
    for x in renamed:
        t.equal((x["from"], x["actor"]["name"]), (log + ".tmp", log), "a rename")
    t.equal(e.names("container"), [("create", "c0"), ("start", "c0")], "events of the container")
    t.note(f"{replay.counts}")


# The socket's

def life(t, lib, daemon):
    """Create, start, pause, unpause, stop and remove a container, with one that was there before."""
    why = lib.missing()
    if why:
        t.skip(why)
    with daemon(t.dir) as d:
        before = d.run(["/bin/sleep", "1000"], name="before", labels={"team": "old"})
        root = t.mkdir("root")
        args = ["-r", root, "--docker", d.url]
        with Events(t, *args, "--list") as e, Events(t, *args, "--start", "--pause") as some, Events(t, *args, json_lines=False) as plain:
            e.wait(lambda: any(x["actor"]["id"] == before for x in e.events("container")), "listed")
            wait_watched(t, some, root)
            time.sleep(0.5)
            made = d.run(["/bin/sleep", "1000"], name="one", labels={"team": "new", "quoted": 'a "b"'})
            for what in ("pause", "unpause", "stop?t=0"):
                d.do(made, what)
            d.remove(made)
            os.mkdir(os.path.join(root, "in between"))
            e.wait(lambda: ("destroy", "one") in e.names() and ("created", "in between") in e.names(), "told of the end")
            for x in (e, some, plain):
                x.wait(lambda x=x: any(b"one" in line for line in x.lines), "told of it")
            time.sleep(0.3)
            for x in (e, some, plain):
                x.stop()
    told = [x for x in e.events("container") if x["actor"]["id"] == made]
    t.equal([x["action"] for x in told if x["action"] not in ("kill", "stop", "die")],
            ["create", "start", "pause", "unpause", "destroy"], "events of the new one")
    t.check({"die", "stop"} & {x["action"] for x in told}, f"no die or stop: {told}")
    for x in told:
        t.equal(x["actor"]["name"], "one", "name")
        t.check(x["actor"]["attributes"].get("team") == "new" or x["action"] == "destroy", f"no label: {x}")
        t.check("hotdrain.time" not in x["actor"]["attributes"], "its time is an attribute")
        t.check(abs(parse_time(x["time"]) - time.time()) < 120, f"the time {x['time']}")
    t.equal([x["action"] for x in some.events() if x["actor"]["id"] == made], ["create", "start", "pause", "unpause"], "--start --pause")
    listed = [x for x in e.events("container") if x["actor"]["id"] == before]
    t.equal([(x["action"], x["actor"]["name"], x["actor"]["attributes"].get("hotdrain.listed")) for x in listed],
            [("start", "before", "true")], "the one that was there")
    t.check(not any(b"before" in line for line in plain.lines), "listed without being asked")
    t.check(any(b" pause one " in line and b"team=new" in line for line in plain.lines), "no plain line of the pause")


@suite.case(timeout=60)
def docker_tells_of_its_containers(t):
    life(t, docker, docker.Docker)


@suite.case(timeout=60)
def podman_tells_of_its_containers(t):
    life(t, podman, podman.Podman)


@suite.case()
def a_socket_that_is_not_there_is_waited_for(t):
    root = t.mkdir("root")
    with Events(t, "-r", root, "--docker", "unix://" + t.path("none")) as e:
        wait_watched(t, e, root)
        os.mkdir(os.path.join(root, "d"))
        e.wait_lines(1)
        e.stop()


# What is printed, and to whom

@suite.case()
def classes_are_joined(t):
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    cases = ((("--file",), {"file"}), (("--start",), {"start"}), (("--stop",), {"stop", "destroy"}),
             (("--start", "--stop"), {"start", "stop", "destroy"}), (("--start", "--file"), {"file", "start"}),
             (("--pause",), set()), (("--control",), set()), ((), {"file", "start", "stop", "destroy"}))
    running = [(Events(t, "-r", root, *args), args, wanted) for args, wanted in cases]
    for e, _, _ in running:
        wait_watched(t, e, root)
    tree.append(log, tree.cri("x"))
    time.sleep(0.5)
    shutil.rmtree(os.path.join(root, os.listdir(root)[0]))
    time.sleep(0.5)
    for e, args, wanted in running:
        with e:
            e.stop()
            got = {x["action"] if x["type"] == "container" else x["type"] for x in e.events()}
            t.equal(got, wanted, f"with {' '.join(args) or 'none'}")


@suite.case()
def it_ends_after_count_lines(t):
    root = t.mkdir("root")
    with Events(t, "-r", root, "-n", "3") as e:
        wait_watched(t, e, root)
        for name in "abcdef":
            os.mkdir(os.path.join(root, name))
        e.wait_exit()
        t.equal(e.names(), [("created", x) for x in "abc"], "events")


@suite.case()
def a_batch_or_the_interval_prints(t):
    root = t.mkdir("root")
    with Events(t, "-r", root, "--flush-interval", "1h", "--batch", "4") as e:
        wait_watched(t, e, root)
        for name in "abc":
            os.mkdir(os.path.join(root, name))
        time.sleep(1.2)
        t.equal(e.lines, [], "printed before there were four events")
        os.mkdir(os.path.join(root, "d"))
        e.wait_lines(4)
        os.mkdir(os.path.join(root, "e"))
        e.stop()
        t.equal(e.names(), [("created", x) for x in "abcde"], "events, the last at the end")


@suite.case()
def lines_are_for_people_without_json(t):
    root = t.mkdir("root")
    with Events(t, "-r", root, json_lines=False) as e:
        wait_watched(t, e, root)
        os.mkdir(os.path.join(root, "d"))
        os.close(os.open(os.path.join(root, "a\nb\x1b"), os.O_CREAT | os.O_WRONLY))
        e.wait_lines(2)
        os.rename(os.path.join(root, "a\nb\x1b"), os.path.join(root, "c"))
        e.wait_lines(3)
        e.stop()
    lines = [line.decode().split(" ", 1) for line in e.lines]
    t.equal([rest for _, rest in lines], [f"created {root}/d file.type=directory", f"created {root}/a\\nb\\u001b",
                                          f"renamed {root}/c from {root}/a\\nb\\u001b"], "lines")
    for when, _ in lines:
        t.check(abs(time.time() - parse_time(when)) < 60, f"the time {when}")


def parse_time(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


@suite.case()
def a_reader_that_goes_ends_it(t):
    root = t.mkdir("root")
    for busy in (False, True):
        with Events(t, "-r", root, read=False) as e:
            wait_watched(t, e, root)
            os.mkdir(os.path.join(root, f"d{busy}"))
            t.check(os.read(e.process.stdout.fileno(), 10), "nothing came")
            e.process.stdout.close()
            if busy:
                os.mkdir(os.path.join(root, "more"))
            e.wait_exit()
            t.equal(e.stderr(), "", "standard error")
    done = subprocess.run(["sh", "-c", f"'{tool.hotdrain()}' events -r '{root}' --list | head -n 1; echo ${{PIPESTATUS:-$?}}"],
                          capture_output=True, timeout=10)
    t.equal((done.stdout.count(b"\n"), done.stderr), (2, b""), "with head")


@suite.case(timeout=40)
def a_slow_reader_loses_nothing(t):
    """A pipe that nobody reads for a while: the program waits, and then tells of each of 2,500 files."""
    root, count = t.mkdir("root"), 2500
    with Events(t, "-r", root, "--list", read=False) as e:
        time.sleep(0.5)
        for k in range(count):
            os.close(os.open(os.path.join(root, f"f{k}"), os.O_CREAT | os.O_RDONLY))
        time.sleep(1)
        e.read_on()
        replay = Replay(root)
        follow(t, e, replay, root)
        e.stop()
        t.equal(replay.counts, {"created": count + 1}, "events")


@suite.case()
def it_can_be_ended_while_nobody_reads(t):
    root = t.mkdir("root")
    for k in range(1000):
        os.mkdir(os.path.join(root, f"d{k}"))
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Events(t, "-r", root, "--list", read=False) as e:
            time.sleep(0.5)
            proc.kill(e.pid, sig)
            t.equal(e.process.wait(5), 0, f"exit status after {sig}")


@suite.case()
def memory_per_path_is_bounded(t):
    """The help text says about 250 bytes; 10,000 files below 100 directories."""
    root = t.mkdir("root")
    for d in range(100):
        os.mkdir(os.path.join(root, f"d{d}"))
        for f in range(100):
            os.close(os.open(os.path.join(root, f"d{d}", f"file-{f:04d}.log"), os.O_CREAT | os.O_WRONLY))
    with Events(t, "-r", root, "-r", t.mkdir("empty"), "--start") as e, Events(t, "-r", t.path("empty"), "--start") as small:
        wait_watched(t, e, root)
        wait_watched(t, small, t.path("empty"))
        used = proc.status(e.pid, "VmRSS") - proc.status(small.pid, "VmRSS")
        t.note(f"{used * 1024 / 10101:.0f} bytes per path, {proc.status(small.pid, 'VmRSS')} KiB without any")
        t.check(tool.sanitized() or used * 1024 / 10101 < 350, f"{used} KiB for 10,101 paths")
        e.stop()
        small.stop()


@suite.case()
def bad_input_is_named(t):
    root = t.mkdir("root")
    cases = ((["--flush-interval", "5"], "--flush-interval: expected a duration such as 5ms"),
             (["--flush-interval", "2h"], "--flush-interval: expected a duration such as 5ms"),
             (["--batch", "0"], "--batch: expected a whole number, 1 to 65536, got '0'"),
             (["--batch", "many"], "--batch: expected a whole number"),
             (["-n", "-1"], "--count: expected a whole number"),
             (["--exit-when-idle", "soon"], "--exit-when-idle: expected a duration"),
             (["--paths-max", "0"], "--paths-max: expected a whole number"),
             (["--nonsense"], "unknown option '--nonsense'"), (["-n"], "-n needs a value"),
             (["--docker", "nonsense"], "--docker"), (["more"], "unexpected argument 'more'"), (["-r", ""], "--root: expected a directory, got ''"),
             (["-r", root + "/none"], f"root {root}/none: No such file"), (["-r", "/etc/passwd"], "root /etc/passwd: Not a directory"))
    for args, wanted in cases:
        done = subprocess.run([tool.hotdrain(), "events", *(["-r", root] if "-r" not in args else []), *args],
                              capture_output=True, timeout=10, text=True)
        t.equal((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), f"{args}: status, output, lines")
        t.check(wanted in done.stderr, f"{args}: wanted {wanted!r}, got {done.stderr!r}")
    done = subprocess.run([tool.hotdrain(), "events", "--help"], capture_output=True, timeout=10, text=True)
    t.equal((done.returncode, done.stderr), (0, ""), "of --help")
    t.check("--flush-interval" in done.stdout, "--help lists no options")


suite.run()
