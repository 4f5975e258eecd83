#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
"""Real dockerd, json-file driver with max-size and max-file, with and without compress, about ten rotations a second.

dockerd closes the file, renames J.1 to J.2 and J to J.1, and makes a new J; with compress J.1 lives for moments before
it is a gz. After the first rotation it does not append. Lines of several pieces go on in the next file.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from lib import account, docker, judge, lanes, tap, tool, tree  # noqa: E402
from lib.collector import POD_KEYS, Collector  # noqa: E402

suite = tap.Suite("rotation_docker", timeout=tool.scaled(900, 200))
BOTH = ("auto", "off")
MISSED = ("vanished", "rotated_away")
SECONDS = tool.scaled(30, 2)


def needs_docker(t):
    why = docker.missing()
    if why:
        t.skip(why)


def writer(ident, count, *args):
    return ["/bin/writer", "-n", str(count), *map(str, args), ident]


def files_of(log):
    """The log and its rotated files, as they are now."""
    head, tail = os.path.split(log)
    return sorted(n[len(tail):] for n in os.listdir(head) if n.startswith(tail))


def verdict(t, j, records, owner, missed=0):
    """missed: files counted that were gone before they could be opened. Only then may lines be missing, whole files."""
    problems = j.add_records(records, owner).problems()
    lost = any(": lost " in p for p in problems)
    if missed and lost:
        problems = [p for p in problems if ": lost " not in p and not p.startswith("torn ")]
        runs = {key: len(track.lost()) for key, track in j.tracks.items()}
        t.note(f"{missed} files counted, runs of missing lines {runs}")
        problems += [f"{key}: {n} runs of missing lines for {missed} files" for key, n in runs.items() if n > missed]
    elif missed:
        problems.append(f"{missed} files counted that nobody could open, and no line is missing")
    if problems:
        t.fail(*problems)


def rotated(t, writers, **log_options):
    """Follows dockerd's own directory. writers: {id: arguments of writer.c}.

    Everything is delivered; on a machine so busy that a file came and went before the collector had its turn, that file
    is missing as a whole and counted.
    """
    needs_docker(t)
    j, running = judge.Judge(), {}
    with docker.Docker(t.dir) as d, Collector(t, "-r", d.containers, "--state", "none") as c:
        for ident, (count, *args) in writers.items():
            running[d.run(writer(ident, count, *args), **log_options)] = ident
            j.expect(ident, "oe", count)
        for container in running:
            d.wait_exit(container, 10 * SECONDS)
        logs = {d.log(container): ident for container, ident in running.items()}
        c.wait_lines(j.expected_lines())
        c.wait_quiet(0.3)
        c.stop()
        # dockerd's own files (config.v2.json, hosts) lie beside the logs
        records = [r for r in c.records() if any(r.path.startswith(log) for log in logs)]
        of_logs = [account.account(c, log) for log in logs]
        verdict(t, j, records, lambda r: next(ident for log, ident in logs.items() if r.path.startswith(log)),
                sum(a.events(*MISSED) for a in of_logs))
        for log, a in zip(logs, of_logs):
            t.note(f"{a.rotations} rotations; files {files_of(log)}")
            t.equal((a.lost, a.pending, a.read - a.delivered), (0, 0, 0), "lost, pending, and read but not delivered")
            t.equal(set(a.reasons) - set(MISSED), set(), "other reasons")
            t.check(a.rotations >= 2 * SECONDS, f"only {a.rotations} rotations")
            t.equal(any(n.endswith(".gz") for n in files_of(log)), "compress" in log_options, "compressed files")


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def max_size_and_max_file(t):
    args = (4000 * SECONDS, "-r", 4000, "-L", "400:40000")
    rotated(t, {f"c{n}.0": args for n in range(2)}, max_size="150k", max_file=3)


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def compressed(t):
    args = (4000 * SECONDS, "-r", 4000, "-L", "400:40000")
    rotated(t, {f"c{n}.0": args for n in range(2)}, max_size="150k", max_file=3, compress="true")


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def full_load(t):
    """As fast as dockerd takes it, five files of 1 MB."""
    rotated(t, {"c0.0": (15000 * SECONDS, "-L", "500:40000")}, max_size="1m", max_file=5, compress="true")


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def two_files_only(t):
    """max-file=2: what was J is J.1, and gone at the next rotation."""
    rotated(t, {"c0.0": (4000 * SECONDS, "-r", 4000, "-L", "400:40000")}, max_size="150k", max_file=2)


@suite.case(bpf=BOTH, timeout=10 * SECONDS)
def behind_the_link_of_a_pod(t):
    """A kubelet on dockerd: the pod's 0.log is a link to the json file, and its records have the pod's names."""
    needs_docker(t)
    root, count = t.mkdir("pods"), 4000 * SECONDS
    j, pod = judge.Judge().expect("app.0", "oe", count), tree.Pod(root)
    with docker.Docker(t.dir) as d, Collector(t, "-r", root, "--link-root", d.containers, "--state", "none") as c:
        container = d.run(writer("app.0", count, "-r", 4000, "-L", "400:40000"), max_size="150k", max_file=3)
        os.symlink(d.log(container), pod.log())
        d.wait_exit(container, 10 * SECONDS)
        records = c.finish(j.expected_lines())
        verdict(t, j, records, lambda r: "app.0")
        for a in account.accounts(c).values():
            t.equal((a.lost, a.pending, a.read - a.delivered), (0, 0, 0), f"lost, pending, not delivered: {a}")
        nameless = sum(r.keys_in_order != POD_KEYS for r in records)
        t.check(not nameless, f"{nameless} of {len(records)} records without the pod's names")
        wanted = pod.fields()
        t.equal([r for r in records if {k: r[k] for k in wanted} != wanted][:2], [], "records with other names")


lanes.run(suite, tool.scaled(1, 2))
