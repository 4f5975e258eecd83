#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shapes of the log tree: what is followed, under which names, and what must be left alone."""
import os
import shutil
import signal
import socket
import stat
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import proc, tap, tree  # noqa: E402
from lib.collector import PATH_KEYS, POD_KEYS, Collector, run_to_end  # noqa: E402

suite = tap.Suite("layouts", timeout=150)
BOTH = ("auto", "off")


def same(t, got, wanted, what="messages"):
    """Equal as sets, and nothing twice."""
    t.equal(sorted(got), sorted(wanted), what)


def in_order(t, records, prefix, wanted):
    t.equal([r.message for r in records if r.message.startswith(prefix)], wanted, f"messages of {prefix}")


@suite.case(bpf=BOTH)
def a_tree_that_is_there_at_the_start(t):
    root, wanted = t.mkdir("pods"), []
    for n in range(5):
        pod = tree.Pod(root, name=f"p{n}", number=n)
        for container in ("app", "side-car"):
            for restart in (0, 1):
                wanted += tree.write_lines(pod.log(container, restart), f"{n}{container}{restart}", 20)
    with Collector(t, "-r", root) as c:
        records = c.finish(len(wanted))
    same(t, [r.message for r in records], wanted)


@suite.case(bpf=BOTH)
def files_that_appear_and_grow(t):
    root, wanted = t.mkdir("pods"), []
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for step in range(10):
            for n in range(4):
                log = tree.Pod(root, name=f"p{n}", number=n).log()
                wanted += tree.write_lines(log, f"p{n}", 5, first=5 * step)
            time.sleep(0.02)
        records = c.finish(len(wanted))
    for n in range(4):
        in_order(t, records, f"p{n} ", [f"p{n} {i}" for i in range(50)])


@suite.case(bpf=BOTH)
def every_single_write_wakes(t):
    """One line, then silence until it has come, 200 times: the re-arming of a one-shot watch loses none."""
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for i in range(200):
            tree.append(log, tree.cri(f"line {i}"))
            t.check(c.wait_lines(i + 1, 3), f"line {i} has not come within 3 s")
        # and pairs of writes, so close that the second meets the watch while it is being renewed
        for i in range(200):
            tree.append(log, tree.cri(f"pair {i} a"))
            time.sleep(i % 20 * 0.0001)
            tree.append(log, tree.cri(f"pair {i} b"))
            t.check(c.wait_lines(200 + 2 * i + 2, 3), f"pair {i} has not come within 3 s")
        c.stop()


@suite.case(bpf=BOTH)
def directories_at_any_depth_that_appear_later(t):
    root = t.mkdir("root")
    wanted = []
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for depth in range(1, 9):
            path = os.path.join(root, *(f"d{depth}-{i}" for i in range(depth)))
            os.makedirs(path)
            wanted += tree.write_lines(os.path.join(path, "deep.log"), f"depth{depth}", 3)
        records = c.finish(len(wanted))
    same(t, [r.message for r in records], wanted)


@suite.case(bpf=BOTH)
def directories_that_arrive_filled(t):
    """A tree made elsewhere is renamed into the root: one event, files inside already."""
    root, aside, wanted = t.mkdir("root"), t.mkdir("aside"), []
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for n in range(10):
            pod = tree.Pod(aside, name=f"filled{n}", number=n)
            wanted += tree.write_lines(pod.log("a"), f"{n}a", 10) + tree.write_lines(pod.log("b", 3), f"{n}b", 10)
            target = os.path.join(root, os.path.basename(pod.dir))
            os.rename(pod.dir, target)
            wanted += tree.write_lines(os.path.join(target, "a", "0.log"), f"{n}a", 10, first=10)
        records = c.finish(len(wanted))
    same(t, [r.message for r in records], wanted)
    in_order(t, records, "3a ", [f"3a {i}" for i in range(20)])
    t.equal({r.path.startswith(root) for r in records}, {True}, "paths below the root")


@suite.case(bpf=BOTH)
def trees_made_and_removed_at_once(t):
    """Whole pods that live for moments: nothing is demanded of them, but a pod that stays is read completely."""
    root = t.mkdir("root")
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for n in range(150):
            pod = tree.Pod(root, name="gone", number=n)
            tree.write_lines(pod.log(), "gone", 3)
            shutil.rmtree(pod.dir)
        wanted = tree.write_lines(tree.Pod(root, name="stays").log(), "stays", 100)
        t.check(proc.wait_until(lambda: any(b"stays 99" in line for _, line in c.lines), 10), "what stays has not come")
        c.stop()
        in_order(t, c.records(), "stays ", wanted)


@suite.case(bpf=BOTH)
def names_that_vanish_between_event_and_open(t):
    root = t.mkdir("root")
    os.mkdir(os.path.join(root, "d"))
    stop = threading.Event()

    def flicker():
        n = 0
        while not stop.is_set():
            path = os.path.join(root, "d", f"flicker{n % 7}.log")
            open(path, "w").close()
            os.unlink(path)
            n += 1

    with Collector(t, "-r", root) as c:
        c.ready(root)
        thread = threading.Thread(target=flicker)
        thread.start()
        try:
            wanted = []
            for step in range(20):
                wanted += tree.write_lines(os.path.join(root, "d", "steady.log"), "steady", 5, first=5 * step)
                time.sleep(0.05)
        finally:
            stop.set()
            thread.join()
        records = c.finish(len(wanted))
    in_order(t, records, "steady ", wanted)


@suite.case(bpf=BOTH)
def a_renamed_file_is_read_once_and_to_its_end(t):
    """Renamed and written on, then its successor: the late line comes before the successor's."""
    root = t.mkdir("pods")
    pod = tree.Pod(root)
    log, wanted = pod.log(), []
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for k in range(5):
            with open(log, "ab", buffering=0) as writer:
                for i in range(20):
                    writer.write(tree.cri(f"g{k} {i}"))
                os.rename(log, f"{log}.20261121-00000{k}")
                writer.write(tree.cri(f"g{k} late"))
                open(log, "ab").close()
                writer.write(tree.cri(f"g{k} later"))
            wanted += [*(f"g{k} {i}" for i in range(20)), f"g{k} late", f"g{k} later"]
            time.sleep(0.05 * (k % 2))
        tree.append(log, tree.cri("last"))
        records = c.finish(len(wanted) + 1)
    t.equal([r.message for r in records], [*wanted, "last"], "messages")
    t.equal({(r["k8s.container.name"], r["k8s.container.restart_count"]) for r in records}, {("app", 0)}, "container")


@suite.case(bpf=BOTH)
def a_partial_line_goes_on_in_the_successor(t):
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        tree.append(log, tree.cri("one-", tag="P"), tree.cri("err-", stream="stderr", tag="P"))
        time.sleep(0.1)
        os.rename(log, log + ".20261121-000000")
        tree.append(log, tree.cri("two", tag="F"), tree.cri("or", stream="stderr", tag="F"), tree.cri("three"))
        records = c.finish(3)
    same(t, [(r["stream"], r.message) for r in records],
         [("stdout", "one-two"), ("stderr", "err-or"), ("stdout", "three")])


@suite.case(bpf=BOTH)
def a_directory_is_renamed(t):
    """What was read is not read again under the new name, what comes later is."""
    root = t.mkdir("root")
    old, new = os.path.join(root, "old"), os.path.join(root, "new")
    os.mkdir(old)
    with Collector(t, "-r", root) as c:
        c.ready(root)
        wanted = tree.write_lines(os.path.join(old, "a.log"), "a", 10)
        c.wait_lines(10)
        os.rename(old, new)
        wanted += tree.write_lines(os.path.join(new, "a.log"), "a", 10, first=10)
        wanted += tree.write_lines(os.path.join(new, "b.log"), "b", 10)
        records = c.finish(30)
    same(t, [r.message for r in records], wanted)
    in_order(t, records, "a ", [f"a {i}" for i in range(20)])


@suite.case(bpf=BOTH)
def a_directory_is_moved_out_of_the_root(t):
    root, outside = t.mkdir("root"), t.path("outside")
    os.mkdir(os.path.join(root, "d"))
    with Collector(t, "-r", root) as c:
        c.ready(root)
        tree.write_lines(os.path.join(root, "d", "a.log"), "a", 10)
        c.wait_lines(10)
        os.rename(os.path.join(root, "d"), outside)
        time.sleep(0.2)
        tree.write_lines(os.path.join(outside, "new.log"), "outside", 10)
        tree.write_lines(os.path.join(root, "z.log"), "z", 10)
        records = c.finish(20)
    same(t, [r.message for r in records], [*(f"a {i}" for i in range(10)), *(f"z {i}" for i in range(10))])


@suite.case(bpf=BOTH)
def removed_before_it_was_read(t):
    """Unlinked while its writer goes on: what is written into the nameless file is delivered all the same."""
    root = t.mkdir("pods")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        wanted = tree.write_lines(log, "kept", 10)
        c.wait_lines(10)
        with open(log, "ab", buffering=0) as writer:
            os.unlink(log)
            for i in range(10, 2000):
                writer.write(tree.cri(f"kept {i}"))
                wanted.append(f"kept {i}")
        records = c.finish(2000)
    t.equal([r.message for r in records], wanted, "messages")


def containers_layout(t):
    """X/pods with two pods, X/containers with the links a kubelet makes. (containers, pods, logs, messages)"""
    pods, links = t.mkdir("log", "pods"), t.mkdir("log", "containers")
    logs, wanted = [], []
    for n in range(2):
        pod = tree.Pod(pods, name=f"web-{n}", number=n)
        logs.append(pod.log("app"))
        wanted += tree.write_lines(logs[n], f"w{n}", 10)
        os.symlink(logs[n], os.path.join(links, f"web-{n}_shop_app-{n:064x}.log"))
    return links, pods, logs, wanted


def grow(c, logs, wanted):
    c.wait_lines(len(wanted))
    for n, log in enumerate(logs):
        wanted += tree.write_lines(log, f"w{n}", 10, first=10)
    return c.finish(len(wanted))


@suite.case(bpf=BOTH)
def flat_links_lead_to_the_pods(t):
    links, _, logs, wanted = containers_layout(t)
    with Collector(t, "-r", links) as c:
        records = grow(c, logs, wanted)
    same(t, [r.message for r in records], wanted)
    for r in records:
        n = int(r.message[1])
        pod = tree.Pod(t.path("log", "pods"), name=f"web-{n}", number=n)
        t.equal({k: r[k] for k in pod.fields()}, pod.fields(), "names")


@suite.case(bpf=BOTH)
def both_ways_collected_once(t):
    links, pods, logs, wanted = containers_layout(t)
    with Collector(t, "-r", links, "-r", pods) as c:
        records = grow(c, logs, wanted)
    same(t, [r.message for r in records], wanted)


@suite.case(bpf=BOTH)
def flat_links_that_appear_after_the_first_line(t):
    """As a kubelet does it; and the file is rotated behind its link."""
    links, pods = t.mkdir("log", "containers"), t.mkdir("log", "pods")
    with Collector(t, "-r", links) as c:
        time.sleep(0.3)
        log = tree.Pod(pods).log()
        wanted = tree.write_lines(log, "w", 10)
        time.sleep(0.1)
        os.symlink(log, os.path.join(links, "web_shop_app-" + "a" * 64 + ".log"))
        t.check(c.wait_lines(10), "the lines from before the link have not come")
        wanted += tree.write_lines(log, "w", 10, first=10)
        c.wait_lines(20)
        os.rename(log, log + ".20261121-000000")
        wanted += tree.write_lines(log, "w", 10, first=20)
        records = c.finish(30)
    t.equal([r.message for r in records], wanted, "messages")


@suite.case()
def links_by_way_of_links(t):
    """A containers link to a pods link to a file in a directory that was named with a root of its own."""
    links, pods, docker = t.mkdir("log", "containers"), t.mkdir("log", "pods"), t.mkdir("docker")
    target = os.path.join(docker, "abc-json.log")
    tree.append(target, *(tree.docker(f"d {i}", number=i) for i in range(5)))
    log = tree.Pod(pods).log()
    os.symlink(target, log)
    os.symlink(log, os.path.join(links, "web_shop_app-" + "b" * 64 + ".log"))
    c = run_to_end(t, "-r", links, "-r", docker)
    t.equal(c.messages(), [f"d {i}" for i in range(5)], "messages")


@suite.case(bpf=BOTH)
def links_out_of_the_roots_are_refused(t):
    root, outside = t.mkdir("root"), t.mkdir("outside")
    pod = tree.Pod(root)
    secret = os.path.join(outside, "secret.log")
    tree.write_lines(secret, "secret", 3)
    os.symlink(secret, pod.log("a"))
    os.symlink("../../../outside/secret.log", pod.log("b"))
    os.symlink(outside, os.path.join(root, "linked-directory"))
    os.symlink("/etc/passwd", os.path.join(root, "passwd.log"))
    os.symlink("loop.log", os.path.join(root, "loop.log"))
    os.symlink("nowhere", os.path.join(root, "dangling.log"))
    with Collector(t, "-r", root) as c:
        c.ready(root)
        os.symlink(secret, os.path.join(root, "later.log"))
        tree.write_lines(secret, "secret", 3, first=3)
        wanted = tree.write_lines(pod.log("good"), "good", 3)
        c.wait_lines(3)
        t.check(not [p for p in proc.open_paths(c.pid) if p.startswith(outside) or p == "/etc/passwd"], "a file outside is open")
        records = c.finish(3)
    same(t, [r.message for r in records], wanted)


@suite.case()
def a_link_swapped_for_a_file_does_not_lead_out(t):
    """0.log is by turns a file and a link to a secret: never a word of the secret."""
    root, outside = t.mkdir("root"), t.mkdir("outside")
    secret = os.path.join(outside, "secret.log")
    tree.write_lines(secret, "secret", 3)
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        end_at = time.monotonic() + 1.5
        while time.monotonic() < end_at:
            tree.append(log + ".new", tree.cri("plain"))
            os.rename(log + ".new", log)
            os.symlink(secret, log + ".new")
            os.rename(log + ".new", log)
        os.unlink(log)
        c.wait_quiet(0.3)
        c.stop()
        t.equal({m.split()[0] for m in c.messages()} - {"plain"}, set(), "messages beside the plain ones")


@suite.case(bpf=BOTH)
def neither_pipes_nor_sockets_nor_devices(t):
    """Whatever is called 0.log and is no regular file is left alone; the neighbours are read."""
    root = t.mkdir("root")
    pod = tree.Pod(root)
    os.mkfifo(pod.log("fifo"))
    os.mkdir(pod.log("directory"))
    wanted = tree.write_lines(os.path.join(pod.log("directory"), "inside.log"), "inside", 2)
    with socket.socket(socket.AF_UNIX) as s:
        at = os.getcwd()
        os.chdir(os.path.dirname(pod.log("socket")))  # a socket's path has at most 107 bytes
        s.bind("0.log")
        os.chdir(at)
        try:
            os.mknod(pod.log("device"), stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: endless if read
        except PermissionError:
            t.note("no device node could be made here")
        with Collector(t, "-r", root) as c:
            c.ready(root)
            os.mkfifo(pod.log("fifo", 1))
            wanted += tree.write_lines(pod.log("file"), "file", 5)
            c.wait_lines(7)
            held = [p for p in proc.open_paths(c.pid) if "/fifo/" in p or "/device/" in p or "/socket/" in p]
            records = c.finish(7)
    t.equal(held, [], "open special files")
    same(t, [r.message for r in records], wanted)


@suite.case(bpf=BOTH)
def compressed_and_temporary_files_are_not_followed(t):
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    tree.write_lines(log + ".20261121-000000.gz", "gz", 2)
    with Collector(t, "-r", root) as c:
        c.ready(root)
        tree.write_lines(log + ".tmp", "tmp", 2)
        tree.write_lines(log + ".20261121-000001.gz", "gz", 2)
        wanted = tree.write_lines(log, "plain", 2)
        records = c.finish(2, settle=0.4)
    same(t, [r.message for r in records], wanted)


@suite.case()
def a_temporary_file_renamed_to_a_log_is_read(t):
    """conmon's way: 0.log never gets a CREATE event."""
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    with Collector(t, "-r", root) as c:
        c.ready(root)
        wanted = []
        for k in range(4):
            wanted += tree.write_lines(log + ".tmp", f"k{k}", 5)
            os.rename(log + ".tmp", log)
            wanted += tree.write_lines(log, f"k{k}", 5, first=5)
            c.wait_lines(len(wanted))
        records = c.finish(len(wanted))
    t.equal([r.message for r in records], wanted, "messages")


@suite.case(bpf=BOTH)
def a_root_given_twice_or_inside_another(t):
    root = t.mkdir("root")
    os.mkdir(os.path.join(root, "sub"))
    wanted = tree.write_lines(os.path.join(root, "sub", "a.log"), "a", 5)
    os.symlink(root, t.path("other-name"))
    roots = [root, root, root + "/", os.path.join(root, "sub"), t.path("other-name")]
    with Collector(t, *(x for r in roots for x in ("-r", r))) as c:
        c.ready(root)
        wanted += tree.write_lines(os.path.join(root, "sub", "a.log"), "a", 5, first=5)
        wanted += tree.write_lines(os.path.join(root, "sub", "b.log"), "b", 5)
        records = c.finish(15)
    same(t, [r.message for r in records], wanted)


@suite.case()
def a_hard_link_is_the_same_file(t):
    root = t.mkdir("root")
    wanted = tree.write_lines(os.path.join(root, "a.log"), "a", 5)
    os.link(os.path.join(root, "a.log"), os.path.join(root, "b.log"))
    same(t, run_to_end(t, "-r", root).messages(), wanted)


@suite.case(bpf=BOTH)
def names_of_every_pod(t):
    """Every member of the record, keys in the promised order, for pods as Kubernetes may name them."""
    root = t.mkdir("root")
    pods = [tree.Pod(root, name="web-7d4b9c6f5-x2x4z", namespace="shop", number=1),
            tree.Pod(root, name="a.b-c.example.com", namespace="kube-system", number=2),
            tree.Pod(root, name="kube-apiserver-node.1", namespace="kube-system", uid="0123456789abcdef" * 2),
            tree.Pod(root, name="x", namespace="n", uid="7")]
    wanted = []
    for n, pod in enumerate(pods):
        for container, restart in (("app", 0), ("init-0.x", 12)):
            log = pod.log(container, restart)
            tree.append(log, tree.cri(f"{n}", stream="stderr", stamp="2026-11-21T00:32:02.1+05:30"))
            wanted.append({"time": "2026-11-21T00:32:02.1+05:30", "stream": "stderr", "message": f"{n}",
                           **pod.fields(container, restart), "log.file.path": log})
    records = run_to_end(t, "-r", root).records()
    t.equal({r.keys_in_order for r in records}, {POD_KEYS}, "keys")
    t.equal(sorted(map(sorted_items, records)), sorted(map(sorted_items, wanted)), "records")


def sorted_items(record):
    return sorted((k, str(v)) for k, v in record.items())


@suite.case()
def members_are_of_the_promised_types(t):
    root = t.mkdir("root")
    tree.append(tree.Pod(root).log(restart=3), tree.cri("x"))
    record = run_to_end(t, "-r", root).records()[0]
    for key in POD_KEYS:
        kind = int if key == "k8s.container.restart_count" else str
        t.check(type(record[key]) is kind, f"{key} is {record[key]!r}")


@suite.case(bpf=BOTH)
def files_outside_the_layout_have_their_path_only(t):
    root = t.mkdir("root")
    odd = ["plain.log", "a/b/c/d/e/f.log", "shop_web/app/0.log", "noext", "shop_web_uid_more/app/0.log",
           "shop_web_1/app/not-a-number.log", "deep/shop_web_1/x/y/0.log"]
    for n, name in enumerate(odd):
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        tree.append(path, tree.cri(f"odd {n}"))
    records = run_to_end(t, "-r", root).records()
    same(t, [r.message for r in records], [f"odd {n}" for n in range(len(odd))])
    for r in records:
        t.equal(r.path, os.path.join(root, odd[int(r.message.split()[1])]), "path")
        if r.path.endswith(("plain.log", "f.log", "noext", "shop_web/app/0.log")):
            t.equal(r.keys_in_order, PATH_KEYS, f"keys of {r.path}")


@suite.case(bpf=BOTH)
def hostile_names(t):
    """Quotes, backslashes, control characters, other scripts: valid JSON, and the name exactly as it is."""
    root = t.mkdir("root")
    names = ['quo"te', "back\\slash", "new\nline", "tab\tand\x01control\x7f", "ünï-日本-🚰", "a" * 250, " ", "-r", "%s%n",
             "'$(id)`"]
    for n, name in enumerate(names):
        os.mkdir(os.path.join(root, name))
        tree.append(os.path.join(root, name, "0.log"), tree.cri(f"odd {n}"))
    pod = tree.Pod(root, name='p"\\', namespace="n\n")
    tree.append(pod.log('c"\t'), tree.cri("pod"))
    records = run_to_end(t, "-r", root).records()
    same(t, [r.message for r in records], [*(f"odd {n}" for n in range(len(names))), "pod"])
    for r in records:
        if r.message == "pod":
            t.equal({k: r[k] for k in pod.fields()}, pod.fields('c"\t'), "names")
        else:
            t.equal(r.path, os.path.join(root, names[int(r.message.split()[1])], "0.log"), "path")


@suite.case()
def names_that_are_not_utf8(t):
    """Still collected; the record is valid UTF-8, the bytes that are not became replacement characters."""
    root = t.mkdir("root").encode()
    bad = os.path.join(root, b"\xff\xfe-\xc3\x28")
    os.mkdir(bad)
    with open(os.path.join(bad, b"0.log"), "ab") as f:
        f.write(tree.cri("here"))
    records = run_to_end(t, "-r", root.decode()).records()
    t.equal([r.message for r in records], ["here"], "messages")
    t.check("�" in records[0].path and records[0].path.endswith("0.log"), f"path {records[0].path!r}")


@suite.case()
def a_name_as_long_as_names_get(t):
    root = t.mkdir("root")
    path = root
    while len(path) < 3500:
        path = os.path.join(path, "d" * 200)
    os.makedirs(path)
    tree.append(os.path.join(path, "0.log"), tree.cri("deep"))
    records = run_to_end(t, "-r", root).records()
    t.equal([(r.message, r.path) for r in records], [("deep", os.path.join(path, "0.log"))], "record")


@suite.case()
def a_root_by_a_relative_path(t):
    root = t.mkdir("root")
    tree.write_lines(tree.Pod(root).log(), "r", 3)
    c = run_to_end(t, "-r", "root", cwd=t.dir)
    t.equal(c.messages(), ["r 0", "r 1", "r 2"], "messages")


@suite.case()
def the_root_of_the_environment(t):
    root = t.mkdir("root")
    tree.write_lines(tree.Pod(root).log(), "e", 3)
    c = run_to_end(t, env={"CONTAINER_LOG_DIRECTORY": root})
    t.equal(c.messages(), ["e 0", "e 1", "e 2"], "messages")


@suite.case(bpf=BOTH, timeout=20)
def an_inode_used_again_is_a_new_file(t):
    """ext4 gives the inode just freed to the next file: its first bytes count, not the old offset."""
    root = t.mkdir("root")
    log = tree.Pod(root).log()
    wanted, reused, last = [], 0, 0
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for k in range(30):
            wanted += tree.write_lines(log, f"k{k}", 3 + k % 3)
            inode = os.stat(log).st_ino
            reused, last = reused + (inode == last), inode
            t.check(c.wait_lines(len(wanted), 5), f"round {k}: {len(c.lines)} lines of {len(wanted)}")
            os.unlink(log)
            time.sleep(0.02)
        records = c.finish(len(wanted))
    t.note(f"{reused} times the same inode")
    t.equal([r.message for r in records], wanted, "messages")


@suite.case(bpf=BOTH)
def an_overflow_of_the_event_queue(t):
    """The collector is stopped while more events happen than the kernel keeps: creations, renames, rotations get lost."""
    root = t.mkdir("root")
    with open("/proc/sys/fs/inotify/max_queued_events") as f:
        limit = int(f.read())
    if limit > 40000:
        t.skip(f"fs.inotify.max_queued_events is {limit}: too many to overflow")
    flicker, old = os.path.join(root, "flicker"), tree.Pod(root, name="old", number=1).log()
    os.mkdir(flicker)
    moved = tree.Pod(root, name="moved", number=2)
    wanted = tree.write_lines(old, "old", 5) + tree.write_lines(moved.log(), "moved", 5)
    with Collector(t, "-r", root) as c:
        c.ready(root)
        c.wait_lines(10)
        proc.kill(c.pid, signal.SIGSTOP)
        for n in range(limit // 2 + 2000):
            path = os.path.join(flicker, f"f{n % 5}")
            open(path, "w").close()
            os.unlink(path)
        wanted += tree.write_lines(old, "old", 5, first=5)
        os.rename(old, old + ".20261121-000000")
        wanted += tree.write_lines(old, "old", 5, first=10)
        os.rename(moved.dir, moved.dir.replace("moved", "new-name"))
        wanted += tree.write_lines(tree.Pod(root, name="new-name", number=2).log(), "moved", 5, first=5)
        wanted += tree.write_lines(tree.Pod(root, name="new", number=3).log(), "new", 5)
        proc.kill(c.pid, signal.SIGCONT)
        t.check(c.wait_lines(len(wanted), 8), f"{len(c.lines)} lines of {len(wanted)} after the overflow")
        wanted += tree.write_lines(old, "old", 5, first=15)
        wanted += tree.write_lines(tree.Pod(root, name="later", number=4).log(), "later", 5)
        records = c.finish(len(wanted))
    same(t, [r.message for r in records], wanted)
    in_order(t, records, "old ", [f"old {i}" for i in range(20)])
    in_order(t, records, "moved ", [f"moved {i}" for i in range(10)])


@suite.case(bpf=BOTH)
def rotations_while_it_is_stopped(t):
    """Three generations come and one goes while the collector does not run: order by generation, nothing twice."""
    root = t.mkdir("root")
    log, wanted = tree.Pod(root).log(), []
    with Collector(t, "-r", root) as c:
        c.ready(root)
        wanted += tree.write_lines(log, "g0", 50)
        c.wait_lines(50)
        proc.kill(c.pid, signal.SIGSTOP)
        for k in range(3):
            wanted += tree.write_lines(log, f"g{k}", 50, first=50)
            os.rename(log, f"{log}.20261121-00000{k}")
            if k < 2:
                wanted += tree.write_lines(log, f"g{k + 1}", 50)
            time.sleep(0.02)  # modification times tell generations apart
        os.unlink(f"{log}.20261121-000000")  # it is held: its last lines still count
        wanted += tree.write_lines(log, "g3", 50)
        proc.kill(c.pid, signal.SIGCONT)
        records = c.finish(len(wanted))
    t.equal([r.message for r in records], wanted, "messages")


@suite.case(bpf=BOTH)
def two_hundred_pods_come_and_grow_at_once(t):
    root, wanted = t.mkdir("root"), []
    with Collector(t, "-r", root) as c:
        c.ready(root)
        for step in range(4):
            for n in range(200):
                wanted += tree.write_lines(tree.Pod(root, name=f"p{n}", number=n).log(), f"p{n}", 3, first=3 * step)
        records = c.finish(len(wanted))
    same(t, [r.message for r in records], wanted)
    by_pod = {}
    for r in records:
        by_pod.setdefault(r["k8s.pod.name"], []).append(r.message)
    for name, got in by_pod.items():
        t.equal(got, [f"{name} {i}" for i in range(12)], f"messages of {name}")


suite.run()
