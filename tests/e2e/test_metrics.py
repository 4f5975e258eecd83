#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a running collector says over HTTP is what was written, read, delivered and lost; Prometheus agrees."""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import judge, lanes, metrics, proc, prometheus, tap, tool, tree  # noqa: E402
from lib.collector import Collector, run_to_end  # noqa: E402
from lib.lines import FileWriter  # noqa: E402

suite = tap.Suite("metrics", timeout=150)
BOTH = ("auto", "off")
HERE = os.path.dirname(os.path.abspath(__file__))
PER_CONTAINER = {"log_logged_bytes_total", "hotdrain_written_bytes_total", "hotdrain_read_bytes_total", "hotdrain_delivered_bytes_total",
                 "hotdrain_uncounted_bytes_total", "hotdrain_records_total", "hotdrain_pending_bytes", "hotdrain_backlog_bytes",
                 "hotdrain_oldest_unread_age_seconds", "hotdrain_write_rate_bytes_per_second", "hotdrain_deadline_seconds",
                 "hotdrain_generations_waiting", "hotdrain_rotations_total"}
NODE = {"hotdrain_node_written_bytes_total", "hotdrain_node_read_bytes_total", "hotdrain_node_delivered_bytes_total",
        "hotdrain_node_uncounted_bytes_total", "hotdrain_node_records_total", "hotdrain_node_lost_bytes_total",
        "hotdrain_node_lost_events_total", "hotdrain_node_pending_bytes", "hotdrain_build_info", "hotdrain_bpf_rung",
        "hotdrain_ledger_proof", "hotdrain_order", "hotdrain_start_time_seconds", "hotdrain_scanned", "hotdrain_files",
        "hotdrain_files_open", "hotdrain_containers", "hotdrain_files_found_total", "hotdrain_files_vanished_total",
        "hotdrain_files_unreadable_total", "hotdrain_node_rotations_total", "hotdrain_truncations_total",
        "hotdrain_watched_directories", "hotdrain_unwatched_directories", "hotdrain_missing_roots", "hotdrain_events_total",
        "hotdrain_event_overflows_total", "hotdrain_rescans_total", "hotdrain_event_queue_depth", "hotdrain_event_queue_blocked_total",
        "hotdrain_held_deleted_bytes", "hotdrain_batches", "hotdrain_batches_out", "hotdrain_blocked_seconds_total",
        "hotdrain_bpf_misses_total", "hotdrain_bpf_refused_total", "hotdrain_bpf_records_dropped_total", "hotdrain_bpf_wakeups_total",
        "hotdrain_bpf_enrolled_total", "hotdrain_malformed_lines_total", "hotdrain_cut_records_total", "hotdrain_cut_bytes_total",
        "hotdrain_hole_bytes_total", "hotdrain_checkpoint_saves_total", "hotdrain_checkpoint_failures_total", "hotdrain_reloads_total",
        "hotdrain_reload_failures_total", "hotdrain_sink_batches_total", "hotdrain_sink_records_total", "hotdrain_sink_bytes_total",
        "hotdrain_sink_invalid_records_total", "hotdrain_sink_retries_total", "hotdrain_sink_failing", "hotdrain_latency_seconds",
        "process_cpu_seconds_total", "process_resident_memory_bytes"}
REASONS = {"rotated_away", "truncated", "held_cap", "gz_corrupt", "vanished"}


def collector(t, root, *args, **more):
    return Collector(t, "-r", root, *metrics.ADDRESS, *args, **more)


def one_log(t):
    """(root, pod, path of its log)"""
    root = t.mkdir("root")
    pod = tree.Pod(root)
    return root, pod, pod.log()


def wait_node(c, written, timeout=10):
    """The scrape at which so many bytes of all logs are delivered and nothing is pending."""
    return metrics.wait_scrape(c, lambda s: s.value("hotdrain_node_delivered_bytes_total") == written
                               and s.value("hotdrain_node_pending_bytes") == 0, f"{written} bytes delivered", timeout)


# Figures

@suite.case(bpf=BOTH, timeout=60)
def figures_are_what_was_written(t):
    """Three writers, each rotated twice while they write: bytes as the files have them, lines as the writers count them."""
    root = t.mkdir("root")
    pods = [tree.Pod(root, name=f"p{n}", number=n) for n in range(3)]
    j, before = judge.Judge(), {}
    with collector(t, root) as c:
        c.ready(root)
        base = metrics.scrape(c)
        writers = [FileWriter(t, p.log(f"c{n}"), f"c{n}.0", "-r", 400 * (n + 1)) for n, p in enumerate(pods)]
        for k in range(2):
            for n, w in enumerate(writers):
                time.sleep(0.2)
                log = pods[n].log(f"c{n}")
                os.rename(log, f"{log}.20261121-00000{k}")
                w.reopen()
                t.check(proc.wait_until(lambda: os.path.exists(log), 5), "the writer never opened a new file")
                now = metrics.scrape(c).counters()
                shrunk = {key: (v, now.get(key)) for key, v in before.items() if now.get(key, -1) < v}
                t.equal(shrunk, {}, "counters that shrank or went away")
                before = now
        lines = {}
        for w in writers:
            lines.update(w.stop())
        for (ident, stream), count in lines.items():
            j.expect(ident, stream, count)
        c.wait_lines(j.expected_lines(), 20)
        sizes = [sum(e.stat().st_size for e in os.scandir(os.path.dirname(p.log(f"c{n}")))) for n, p in enumerate(pods)]
        ready = os.path.getsize(os.path.join(root, "ready.log"))
        s = wait_node(c, sum(sizes) + ready)
        for n, p in enumerate(pods):
            def of(name):
                return s.of(f"hotdrain_{name}", p, f"c{n}")
            t.equal(of("written_bytes_total") + of("uncounted_bytes_total"), sizes[n], f"written to c{n}")
            t.equal(s.of("log_logged_bytes_total", p, f"c{n}"), of("written_bytes_total"), "log_logged_bytes_total")
            t.equal((of("read_bytes_total"), of("delivered_bytes_total")), (sizes[n], sizes[n]), f"read, delivered of c{n}")
            t.equal(of("records_total"), lines[f"c{n}.0", "o"] + lines[f"c{n}.0", "e"], f"records of c{n}")
            t.equal((of("pending_bytes"), of("backlog_bytes"), of("oldest_unread_age_seconds")), (0, 0, 0), f"waiting of c{n}")
            t.equal(of("rotations_total"), 2, f"rotations of c{n}")
            t.equal(s.of("log_logged_bytes_total", p, f"c{n}", path=os.path.realpath(os.path.dirname(p.log(f"c{n}")))) is None,
                    False, f"a series with the path of c{n}")
        node_totals(t, s, sum(sizes) + ready, j.expected_lines() + c.sentinels, base)
        j.add_records(c.finish(j.expected_lines()))
    t.equal(j.problems(), [], "problems")


def node_totals(t, s, size, lines, base):
    def of(name):
        return s.value(f"hotdrain_node_{name}")
    t.equal(of("written_bytes_total") + of("uncounted_bytes_total"), size, "written on the node")
    t.equal(of("read_bytes_total"), size, "read on the node")
    t.equal(of("records_total"), lines, "records on the node")
    t.equal(of("rotations_total"), 6, "rotations on the node")
    t.equal(s.total("hotdrain_node_lost_bytes_total") + s.total("hotdrain_node_lost_events_total"), 0, "lost")
    t.equal(s.value("hotdrain_sink_records_total", sink="stdout"), lines, "records of the sink")
    t.equal(s.value("hotdrain_containers"), 4, "containers, the test's own log one of them")
    t.equal(s.samples["hotdrain_latency_seconds_bucket"][(("le", "+Inf"),)], s.value("hotdrain_latency_seconds_count"), "latency count")
    t.check(s.value("hotdrain_latency_seconds_count") > base.value("hotdrain_latency_seconds_count"), "no latency was measured")
    t.check(abs(s.value("hotdrain_start_time_seconds") - time.time()) < 120, "start time")
    t.check(s.value("process_cpu_seconds_total") > 0, "no CPU time")
    t.check(1 << 20 < s.value("process_resident_memory_bytes") < 1 << 30, "resident memory")


@suite.case(bpf=BOTH)
def every_family_is_there(t):
    """With its type and its labels, and nothing else."""
    root, pod, log = one_log(t)
    with collector(t, root) as c:
        c.ready(root)
        tree.write_lines(log, "x", 10)
        s = metrics.wait_scrape(c, lambda s: s.of("hotdrain_records_total", pod) == 10, "10 records")
        t.equal(set(s.types) - {"hotdrain_checkpoint_age_seconds"}, PER_CONTAINER | NODE, "families")
        for name in PER_CONTAINER:
            for key in s.samples[name]:
                t.equal([k for k, _ in key], sorted([*metrics.NAMES, "path"]), f"labels of {name}")
        for name, kind in s.types.items():
            if kind != "histogram":
                t.equal(kind, "counter" if name.endswith("_total") else "gauge", f"type of {name}")
        for name in ("hotdrain_node_lost_bytes_total", "hotdrain_node_lost_events_total"):
            t.equal({key[0] for key in s.samples[name]}, {("reason", r) for r in REASONS}, f"reasons of {name}")
        t.equal({key[0][1] for key in s.samples["hotdrain_files"]}, {"hot", "idle", "slow", "closed", "uncounted"}, "states")
        t.equal(s.value("hotdrain_scanned"), 1, "scanned")
        if t.bpf == "off":
            t.equal(s.value("hotdrain_bpf_rung", rung="off"), 1, "rung off")
        c.stop()


@suite.case()
def what_is_lost_is_counted_with_its_reason(t):
    """Truncated while a sink that nobody reads keeps the rest from being read."""
    root, pod, log = one_log(t)
    with collector(t, root, "--batch-bytes", "4Ki", "--batches", "2", out="stalled") as c:
        with open(log, "ab", buffering=0) as f:
            f.write(b"".join(tree.cri("x" * 200, number=n) for n in range(8000)))
            size = os.path.getsize(log)
            s = metrics.wait_scrape(c, lambda s: (s.of("hotdrain_backlog_bytes", pod) or 0) > 0, "a backlog")
            t.check(s.of("hotdrain_pending_bytes", pod) >= s.of("hotdrain_backlog_bytes", pod), "pending is less than the backlog")
            s = metrics.wait_scrape(c, lambda s: s.of("hotdrain_oldest_unread_age_seconds", pod) > 0.3, "an old byte")
            t.check(s.of("hotdrain_delivered_bytes_total", pod) < s.of("hotdrain_read_bytes_total", pod), "delivered, though nobody reads")
            os.truncate(log, 0)
            c.read_on()
            s = metrics.wait_scrape(c, lambda s: s.of("hotdrain_lost_bytes_total", pod, reason="truncated"), "lost bytes")
        lost = s.of("hotdrain_lost_bytes_total", pod, reason="truncated")
        t.equal(s.of("hotdrain_lost_events_total", pod, reason="truncated"), 1, "truncations")
        t.equal(s.value("hotdrain_node_lost_bytes_total", reason="truncated"), lost, "lost on the node")
        t.equal(s.value("hotdrain_truncations_total"), 1, "truncations on the node")
        s = wait_node(c, size - lost)
        t.equal(s.of("hotdrain_read_bytes_total", pod) + lost, size, "read and lost")
        t.check(s.value("hotdrain_blocked_seconds_total") > 0.3, "reading waited, and it is not said")
        c.stop()


@suite.case()
def names_of_every_kind_are_labels(t):
    """Quotes, backslashes, newlines, bytes that are not UTF-8: escaped or replaced, and no series twice."""
    root = t.mkdir("root")
    names = [b'a"b.log', b"a\\b.log", b"a\nb.log", "ünï🚰.log".encode(), b"\xff.log", b"\xfe.log", b"a{b}.log", b"\x1b[31m.log"]
    for name in names:
        with open(os.path.join(os.fsencode(root), name), "wb") as f:
            f.write(b"one line\n")
    with collector(t, root) as c:
        s = wait_node(c, 9 * len(names))
        got = {dict(key)["path"]: v for key, v in s.samples["hotdrain_delivered_bytes_total"].items()}
        want = {}
        for name in names:
            path = os.path.join(os.path.realpath(root), name.decode("utf-8", "replace"))
            want[path] = want.get(path, 0) + 9
        t.equal(got, want, "bytes by path")
        if not prometheus.missing("promtool"):
            t.equal(prometheus.check(s.text), "", "promtool")
        t.equal({r["path"]: r["delivered"] for r in metrics.status(c)["containers"]}, want, "bytes by path in JSON")
        c.stop()


# Prometheus

@suite.case()
def promtool_finds_nothing(t):
    why = prometheus.missing("promtool")
    if why:
        t.skip(why)
    root, pod, log = one_log(t)
    with collector(t, root, "-o", "stdout", "-o", "null", "-o", "null") as c:
        c.ready(root)
        tree.write_lines(log, "x", 10)
        s = metrics.wait_scrape(c, lambda s: s.of("hotdrain_records_total", pod) == 10, "10 records")
        t.equal(prometheus.check(s.text), "", "promtool")
        c.stop()
    t.check(prometheus.check("# HELP x_bytes X.\n# TYPE x_bytes counter\nx_bytes 1\n"), "promtool finds nothing in what is wrong")


@suite.case(timeout=60)
def prometheus_scrapes_it(t):
    """Its query API has the figures of each container, and of the node."""
    why = prometheus.missing()
    if why:
        t.skip(why)
    root = t.mkdir("root")
    pods = [tree.Pod(root, name=f"p{n}", number=n) for n in range(3)]
    with collector(t, root) as c:
        c.ready(root)
        with prometheus.Prometheus(t, metrics.where(c)) as p:
            writers = [FileWriter(t, pod.log(), "app.0", "-r", 200, "-s", "o") for pod in pods[:1]]
            for pod in pods[1:]:
                tree.write_lines(pod.log(), "x", 1000)
            rates = p.wait("rate(log_logged_bytes_total{podname='p0'}[2s])", lambda r: r and r[0][1] > 0)
            t.check(rates and rates[0][1] > 0, f"no rate of p0: {rates}")
            for w in writers:
                w.stop()
            sizes = {pod.name: os.path.getsize(pod.log()) for pod in pods}
            expression = "sum by (podname) (hotdrain_delivered_bytes_total{namespace='shop'})"
            found = p.wait(expression, lambda r: {m["podname"]: v for m, v in r} == sizes)
            t.equal({m["podname"]: v for m, v in found}, sizes, "delivered, as Prometheus has it")
            total = p.wait("hotdrain_node_delivered_bytes_total - ignoring(x) hotdrain_node_read_bytes_total", lambda r: r and r[0][1] == 0)
            t.equal([v for _, v in total], [0], "delivered less read on the node")
            quantile = p.query("histogram_quantile(0.99, sum by (le) (hotdrain_latency_seconds_bucket))")
            t.check(len(quantile) == 1 and 0 < quantile[0][1] <= 60, f"quantile of the latency: {quantile}")
            t.equal([v for _, v in p.query("up")], [1], "up")
            target = p.targets()[0]
            t.equal((target["health"], target["lastError"]), ("up", ""), "target")
            series = p.query("count({job='hotdrain'})")
            t.note(f"series: {series[0][1]:.0f}")
        c.stop()


# Health

def readiness(t, root):
    """Starts a collector; what it said before it was ready, and that it stays so."""
    said = []
    with collector(t, root, out=subprocess.DEVNULL) as c:
        metrics.where(c)

        def is_ready():
            said.append(metrics.get(c, "/readyz")[::2])
            return said[-1][0] == 200
        t.check(proc.wait_until(is_ready, 20, step=0.02), f"never ready: {said[-1]}")
        t.equal(said[-1][1], b"ready\n", "body")
        for _ in range(3):
            time.sleep(0.3)
            t.equal(metrics.get(c, "/readyz")[::2], (200, b"ready\n"), "/readyz")
            t.equal(metrics.get(c, "/healthz")[::2], (200, b"ok\n"), "/healthz")
        c.stop()
    return said[:-1]


@suite.case()
def healthy_and_ready(t):
    """Until the first scan is over it is not ready, and says why; afterwards it is, for good."""
    root = t.mkdir("root")
    for n in range(500):
        tree.write_lines(tree.Pod(root, name=f"p{n}", number=n).log(), "x", 1)
    before = []
    for _ in range(3):  # the first question may come when the scan is over
        before = before or readiness(t, root)
    t.equal(set(before), {(503, b"the first scan is not over\n")}, "what it said before")
    t.note(f"not ready {len(before)} times")


class Halted:
    """One thread of a child stands still, the others go on: ptrace(2)."""

    def __init__(self, t, tid):
        self.libc, self.tid = ctypes.CDLL(None, use_errno=True), tid
        if self.call(0x4206):  # PTRACE_SEIZE
            t.skip(f"no ptrace here: {os.strerror(ctypes.get_errno())}")
        if self.call(0x4207) or os.waitpid(tid, 0x40000000)[0] != tid:  # PTRACE_INTERRUPT, __WALL
            t.fail("the thread does not stop")

    def call(self, request):
        null = ctypes.c_void_p(None)
        return self.libc.ptrace(request, self.tid, null, null)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call(17)  # PTRACE_DETACH


@suite.case()
def a_halted_event_loop_is_not_healthy(t):
    """It is said within seconds, the page is there all the same, and all is well when it goes on."""
    root, pod, log = one_log(t)
    with collector(t, root) as c:
        c.ready(root)
        t.equal(metrics.get(c, "/healthz")[0], 200, "/healthz")
        time.sleep(0.5)
        with Halted(t, c.pid):
            t.equal(metrics.get(c, "/")[0], 200, "/")
            for path in ("/healthz", "/readyz", "/metrics"):
                t.equal(metrics.get(c, path)[::2], (503, b"the event loop does not answer\n"), path)
        wanted = tree.write_lines(log, "x", 10)
        t.check(proc.wait_until(lambda: metrics.get(c, "/healthz")[0] == 200, 10), "it goes on, and is not healthy")
        t.equal([r.message for r in c.finish(10)], wanted, "messages")


def small_disk(directory):
    """In the child: a file system of 1 MiB there, of its own, that is full but for a little."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x20000) or libc.mount(b"none", b"/", None, 0x44000, None) or \
            libc.mount(b"tmpfs", directory.encode(), b"tmpfs", 0, b"size=1m"):
        os._exit(99)
    with open(os.path.join(directory, "ballast"), "wb") as f:
        f.write(bytes(900 << 10))


@suite.case()
def a_full_disk_is_not_ready(t):
    """The sink fails until there is room again; what waited is then delivered, once."""
    if os.geteuid():
        t.skip("mounting a small disk needs root")
    root, pod, log = one_log(t)
    disk = t.mkdir("disk")
    with collector(t, root, "-o", f"file:{disk}/out", "--format", "raw", out=None,
                   preexec_fn=lambda: small_disk(disk)) as c:
        if proc.wait_until(lambda: c.process.poll() == 99, 0.3):
            t.skip("a small disk cannot be mounted here")
        t.check(proc.wait_until(lambda: metrics.get(c, "/readyz")[0] == 200, 10), "not ready while there is room")
        wanted = tree.write_lines(log, "x" * 200, 2000)
        t.check(proc.wait_until(lambda: metrics.get(c, "/readyz")[0] == 503, 10), "a full disk, and it says it is ready")
        t.equal(metrics.get(c, "/readyz")[2], f"sink file:{disk}/out is failing\n".encode()[:200], "/readyz")
        t.equal(metrics.get(c, "/healthz")[0], 200, "/healthz")
        s = metrics.wait_scrape(c, lambda s: s.total("hotdrain_sink_retries_total") > 0, "a retry")
        t.equal(s.total("hotdrain_sink_failing"), 1, "hotdrain_sink_failing")
        t.check(s.value("hotdrain_node_pending_bytes") > 0, "nothing is pending")
        os.unlink(f"/proc/{c.pid}/root{disk}/ballast")
        t.check(proc.wait_until(lambda: metrics.get(c, "/readyz")[0] == 200, 15), "there is room, and it never got ready")
        s = wait_node(c, os.path.getsize(log))
        t.equal(s.total("hotdrain_sink_failing"), 0, "hotdrain_sink_failing")
        with open(f"/proc/{c.pid}/root{disk}/out") as f:
            t.equal(f.read().split("\n")[:-1] == wanted, True, "the file is what was written")
        c.stop()


# What is gone

def node_unchanged(t, s, before):
    for name in ("written_bytes", "read_bytes", "delivered_bytes", "uncounted_bytes", "records"):
        name = f"hotdrain_node_{name}_total"
        t.equal(s.value(name), before.value(name), name)


@suite.case(timeout=70)
def the_series_of_what_is_gone_go(t):
    """A while after a container's end, not before; the totals stay, and a pod that stays keeps its series."""
    root = t.mkdir("root")
    pods = [tree.Pod(root, name=f"p{n}", number=n) for n in range(101)]
    keep = 4
    with collector(t, root, "--series-keep", f"{keep}s") as c:
        c.ready(root)
        for pod in pods:
            tree.write_lines(pod.log(), "x", 10)
        total = sum(os.path.getsize(p.log()) for p in pods) + os.path.getsize(os.path.join(root, "ready.log"))
        before = wait_node(c, total)
        size = os.path.getsize(pods[0].log())
        for pod in pods[1:]:
            shutil.rmtree(pod.dir)
        there, end_at, s = time.monotonic(), time.monotonic() + 30, before
        while s.value("hotdrain_containers") != 2 and time.monotonic() < end_at:
            time.sleep(0.05)
            asked = time.monotonic() - 0.25  # a status is shared so long
            s = metrics.scrape(c)
            there = asked if s.value("hotdrain_containers") == 102 else there  # all of them
        t.equal(s.value("hotdrain_containers"), 2, "containers that have not ended")
        rows = metrics.status(c)["containers"]
        if time.monotonic() - there < keep:
            t.equal(len(s.samples["hotdrain_delivered_bytes_total"]), 102, "containers shown just after")
            t.equal(sum(r["gone"] for r in rows), 100, "gone, in JSON")
            node_unchanged(t, s, before)
        else:
            t.note("too slow to see what is shown just after")
        s = metrics.wait_scrape(c, lambda s: s.of("hotdrain_delivered_bytes_total", pods[1]) is None, "its series gone", 30)
        t.check(time.monotonic() - there >= keep, "they went too early")
        s = metrics.wait_scrape(c, lambda s: len(s.samples["log_logged_bytes_total"]) == 2, "all of them gone")
        t.equal(s.text.count('podname="p'), len(PER_CONTAINER), "series of the one that stays")
        t.equal(s.of("hotdrain_delivered_bytes_total", pods[0]), size, "delivered of the one that stays")
        node_unchanged(t, s, before)
        t.equal([r["pod"] for r in metrics.status(c)["containers"] if r["pod"]], ["p0"], "containers in JSON")
        tree.write_lines(pods[1].log(), "y", 10)  # it comes back: counted from 0
        s = metrics.wait_scrape(c, lambda s: s.of("hotdrain_records_total", pods[1]) == 10, "the container that came back")
        t.equal(s.value("hotdrain_node_records_total"), before.value("hotdrain_node_records_total") + 10, "records")
        c.stop()


@suite.case(timeout=60)
def nothing_is_kept(t):
    """--series-keep 0, and containers whose logs are gone while their directories stay: they stay, and all goes on."""
    root = t.mkdir("root")
    pods = [tree.Pod(root, name=f"p{n}", number=n) for n in range(3)]
    with collector(t, root, "--series-keep", "0") as c:
        c.ready(root)
        for pod in pods:
            tree.write_lines(pod.log(), "x", 10)
        metrics.wait_scrape(c, lambda s: s.value("hotdrain_containers") == 4, "all of them")
        for pod in pods[1:]:
            os.unlink(pod.log())
        metrics.wait_scrape(c, lambda s: s.value("hotdrain_containers") == 2, "two without a log", 30)
        time.sleep(2)  # two rounds of those that are gone
        tree.write_lines(pods[0].log(), "y", 10)
        s = metrics.wait_scrape(c, lambda s: s.of("hotdrain_records_total", pods[0]) == 20, "what was written then")
        t.equal(s.of("hotdrain_records_total", pods[1]), 10, "records of one without a log")
        c.stop()


# HTTP

@suite.case()
def the_page_and_the_json(t):
    root, pod, log = one_log(t)
    with collector(t, root) as c:
        c.ready(root)
        tree.write_lines(log, "x", 10)
        wait_node(c, os.path.getsize(log) + os.path.getsize(os.path.join(root, "ready.log")))
        code, headers, body = metrics.get(c, "/")
        with open(os.path.join(tool.TOP, "user", "serve", "page.html"), "rb") as f:
            t.equal((code, body == f.read()), (200, True), "the page")
        t.check("default-src 'self'" in headers["Content-Security-Policy"], "no policy")
        t.equal(headers["X-Content-Type-Options"], "nosniff", "nosniff")
        found = metrics.status(c)
        t.equal(found["containers_total"], 2, "containers")
        row = next(r for r in found["containers"] if r["pod"] == pod.name)
        t.equal((row["namespace"], row["uid"], row["container"], row["records"], row["pending"], row["next"], row["gone"]),
                (pod.namespace, pod.uid, "app", 10, 0, None, False), "the container")
        t.equal(len(metrics.status(c, "?limit=1")["containers"]), 1, "containers with a limit")
        t.equal(metrics.get(c, "/status.json?limit=x")[0], 400, "limit=x")
        t.equal(metrics.get(c, "/nowhere")[0], 404, "/nowhere")
        t.equal(metrics.get(c, "/metrics", method="POST")[0], 405, "POST")
        t.equal(metrics.get(c, "/metrics", method="HEAD")[::2], (200, b""), "HEAD")
        c.stop()


@suite.case()
def clients_that_hang_delay_nothing(t):
    """Neither the lines nor the end: connections that say nothing, and ones that never read their reply."""
    root, pod, log = one_log(t)
    with collector(t, root) as c:
        c.ready(root)
        host, port = metrics.where(c).rsplit(":", 1)
        clients = [socket.create_connection((host, int(port))) for _ in range(40)]
        for n, client in enumerate(clients):
            if n % 2:
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + (b"\r\n" if n % 4 == 1 else b""))
        wanted = tree.write_lines(log, "x", 100)
        t.check(c.wait_lines(100, 5), "lines wait for clients")
        began = time.monotonic()
        c.stop(timeout=5)
        t.note(f"ended in {time.monotonic() - began:.2f} s")
        t.equal([r.message for r in c.records()], wanted, "messages")
        for client in clients:
            client.close()


def maps(pid):
    with open(f"/proc/{pid}/maps") as f:
        return f.read()


@suite.case()
def nothing_is_served_unless_asked_for(t):
    """No socket, no library; with --metrics, what that costs."""
    rss = {}
    for args in ((), ("--metrics", "none"), metrics.ADDRESS):
        root = t.mkdir("root" + "".join(args).replace(":", "").replace(".", ""))
        with Collector(t, "-r", root, *args) as c:
            c.ready(root)
            if args == metrics.ADDRESS:
                for _ in range(20):
                    metrics.scrape(c)
                    time.sleep(0.05)
            listens = [p for p in proc.open_paths(c.pid) if p.startswith("socket:")]
            t.equal("libmicrohttpd" in maps(c.pid), args == metrics.ADDRESS, f"{args}: the library is loaded")
            if args != metrics.ADDRESS:
                t.check("metrics and status page" not in c.stderr(), f"{args}: something is served")
                t.check(len(listens) <= 1, f"{args}: sockets {listens}")  # at most the ledger's
            rss[args] = proc.status(c.pid, "VmRSS")
            c.stop()
    t.note(f"resident KiB without and with: {list(rss.values())}")


@suite.case()
def wrong_addresses_are_refused(t):
    """Exit status 2 and one line: the flag, what was expected, what came."""
    root = t.mkdir("root")
    for value in ("nonsense", "127.0.0.1", "127.0.0.1:", ":99999", "1.2.3.4.5:80", "::1:2112", "host.example:80", "http://127.0.0.1:80", ":-1"):
        result = subprocess.run([tool.hotdrain(), "run", "-r", root, "--state", "none", "--bpf", "off", "--metrics", value],
                                capture_output=True, timeout=10)
        err = result.stderr.decode()
        t.equal(result.returncode, 2, f"status with {value!r} ({tap.clip(err)})")
        lines = [line for line in err.splitlines() if "--metrics" in line]
        t.equal(len(lines), 1, f"lines about it with {value!r} ({tap.clip(err)})")
        t.check("expected" in lines[0] and f"'{value}'" in lines[0], f"{lines[0]}")


@suite.case()
def a_port_in_use_is_refused(t):
    root = t.mkdir("root")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        address = "127.0.0.1:%d" % s.getsockname()[1]
        result = subprocess.run([tool.hotdrain(), "run", "-r", root, "--state", "none", "--bpf", "off", "--metrics", address],
                                capture_output=True, timeout=10)
        err = result.stderr.decode()
        t.equal(result.returncode, 2, f"status ({tap.clip(err)})")
        t.check("--metrics" in err and address in err and "in use" in err, tap.clip(err))


@suite.case()
def it_ends_when_idle_all_the_same(t):
    """--metrics does not keep a back-fill from ending, scraped or not."""
    root, _, log = one_log(t)
    wanted = tree.write_lines(log, "x", 100)
    c = run_to_end(t, "-r", root, *metrics.ADDRESS)
    t.equal([r.message for r in c.records()], wanted, "messages")


# What waits longest comes first.
suite.cases.sort(key=lambda case: -case[3])
lanes.run(suite)
