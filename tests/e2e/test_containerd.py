#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Real containerd (CRI plugin, runc): pods under load, rotated as a kubelet does it, restarted, deleted. Exact."""
import os
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import containerd, judge, tap, tree  # noqa: E402
from lib.collector import POD_KEYS, Collector  # noqa: E402

suite = tap.Suite("containerd", timeout=110)
BOTH = ("auto", "off")


def writer(ident, *args):
    return ["/bin/writer", *map(str, args), ident]


def needs_containerd(t):
    why = containerd.missing()
    if why:
        t.skip(why)


def verdict(t, j, records, pods=()):
    j.add_records(records)
    problems = j.problems()
    if problems:
        t.fail(*problems)
    t.equal({r.keys_in_order for r in records}, {POD_KEYS}, "keys")
    if pods:
        t.equal({(r["k8s.namespace.name"], r["k8s.pod.name"], r["k8s.pod.uid"]) for r in records},
                {(p.namespace, p.name, p.uid) for p in pods}, "pods")
    t.note(f"{j.lines} lines; latency ms median/p99/most: {' '.join(f'{x:.1f}' for x in j.latencies())}")


@suite.case(bpf=BOTH, timeout=45)
def pods_rotated_under_load(t):
    """Three pods, 2 x 3,000 lines/s each, rotated about three times a second, older ones compressed and deleted."""
    needs_containerd(t)
    root, count, rate = t.mkdir("pods"), 15000, 3000
    j, running, rotations = judge.Judge(), [], 0
    pods = [tree.Pod(root, name=f"load-{n}", number=n) for n in range(3)]
    with containerd.Containerd(t.dir) as d, Collector(t, "-r", root) as c:
        c.ready(root)
        for n, pod in enumerate(pods):
            j.expect(f"c{n}.0", "oe", count)
            command = writer(f"c{n}.0", "-n", count, "-r", rate, "-L", "500:40000")
            running.append((d.run(*d.run_pod(pod), f"c{n}", command), pod.log(f"c{n}")))
        end_at = time.monotonic() + count / rate
        while time.monotonic() < end_at:
            due = time.monotonic() + 0.3
            for container, log in running:
                tree.rotate_like_kubelet(log, lambda: d.client.reopen_log(container), rotations, keep=4)
            rotations += 1
            time.sleep(max(0, due - time.monotonic()))
        for container, _ in running:
            d.wait_exit(container)
        t.check(rotations >= 5, f"only {rotations} rotations")
        t.note(f"{rotations} rotations of each of {len(running)} files")
        verdict(t, j, c.finish(j.expected_lines()), pods)


@suite.case(bpf=BOTH)
def restarted_and_deleted(t):
    """Attempt 1 follows attempt 0, whose files go as soon as it is dead; at the end the whole pod goes."""
    needs_containerd(t)
    root, count = t.mkdir("pods"), 2000
    j, pod = judge.Judge(), tree.Pod(root, name="restarted")
    with containerd.Containerd(t.dir) as d, Collector(t, "-r", root) as c:
        c.ready(root)
        pod_id, config = d.run_pod(pod)
        for attempt in range(3):
            ident = f"app.{attempt}"
            j.expect(ident, "oe", count)
            container = d.run(pod_id, config, "app", writer(ident, "-n", count, "-r", 4000), attempt)
            d.wait_exit(container)
            time.sleep(0.3)  # a kubelet needs longer than this to see it
            d.client.remove(container)
            os.unlink(pod.log("app", attempt))
        d.remove_pod(pod_id)
        shutil.rmtree(pod.dir)
        records = c.finish(j.expected_lines())
        verdict(t, j, records, [pod])
        t.equal({r["k8s.container.restart_count"] for r in records}, {0, 1, 2}, "restart counts")


@suite.case(bpf=BOTH)
def a_pod_of_several_containers(t):
    """Texts as containerd makes them: long lines in pieces of 16 KiB, no newline at the end, an empty line."""
    needs_containerd(t)
    root = t.mkdir("pods")
    j, pod = judge.Judge(), tree.Pod(root, name="several.dots", namespace="kube-system", uid="0123456789abcdef" * 2)
    script = "printf 'first\\n\\nlast '; printf 'to stderr\\n' >&2"
    with containerd.Containerd(t.dir) as d, Collector(t, "-r", root) as c:
        c.ready(root)
        pod_id, config = d.run_pod(pod)
        for n, size in enumerate((16384, 16300, 200000)):
            j.expect(f"c{n}.0", "oe", 60)
            d.run(pod_id, config, f"c{n}", writer(f"c{n}.0", "-n", 60, "-L", f"2:{size}"))
        small = d.run(pod_id, config, "small", ["/bin/sh", "-c", script])
        d.wait_exit(small)
        c.wait_lines(j.expected_lines() + 3)
        d.client.remove(small)
        os.unlink(pod.log("small"))  # now nothing can follow the piece that has no end
        records = c.finish(j.expected_lines() + 4)
        texts = [(r["stream"], r.message) for r in records if r["k8s.container.name"] == "small"]
        t.equal([m for s, m in texts if s == "stdout"], ["first", "", "last "], "stdout of small")
        t.equal([m for s, m in texts if s == "stderr"], ["to stderr"], "stderr of small")
        verdict(t, j, [r for r in records if r["k8s.container.name"] != "small"], [pod])


suite.run()
