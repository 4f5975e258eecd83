#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The alerts and the dashboard: valid, tested both ways, made of metrics that there are, and with data on a running hotdrain."""
import json
import os
import re
import sys
import threading
import time

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/e2e"))
from lib import metrics, prometheus, promql, tap, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("alerts", timeout=170)
ALERTS = os.path.join(TOP, "deploy/prometheus-alerts.yaml")
TESTS = os.path.join(TOP, "tests/deploy/prometheus-alerts.test.yaml")
SCRAPE = os.path.join(TOP, "deploy/prometheus.yaml")
DASHBOARD = os.path.join(TOP, "deploy/grafana-dashboard.json")
# What Grafana itself provides, and what it is here.
BUILT_IN = {"__rate_interval": "5s", "__range": "5m", "__interval": "5s"}
TARGET_LABELS = {"job", "instance"}
VARIABLE = re.compile(r"\$(?:\{(\w+)[^}]*\}|(\w+))")
RULE = re.compile(r"^      - alert: (\w+)\n((?:(?!      - |  - ).*\n)*)", re.M)
EXPR = re.compile(r"^( +)expr: (?:\|\n((?:\1  .*\n)+)|(.*)\n)", re.M)


def needs_prometheus(t):
    why = prometheus.missing("promtool") or prometheus.missing()
    if why:
        t.skip(why)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def alerts():
    """{name: its text}"""
    return dict(RULE.findall(read(ALERTS)))


def alert_expr(text):
    _, block, line = EXPR.search(text).groups()
    return block or line


def panels():
    return [p for p in json.loads(read(DASHBOARD))["panels"] if p["type"] != "row"]


def variables(text):
    return {a or b for a, b in VARIABLE.findall(text)}


def query_text(expr):
    """A panel's query as Grafana sends it when all of everything is chosen."""
    return VARIABLE.sub(lambda m: BUILT_IN.get(m[1] or m[2], ".*"), expr)


def queries():
    """[(where it is from, PromQL)]"""
    found = [(f"alert {name}", alert_expr(text)) for name, text in alerts().items()]
    for p in panels():
        found += [(f"panel {p['title']!r}", query_text(x["expr"])) for x in p["targets"]]
    board = json.loads(read(DASHBOARD))
    found += [(f"annotation {a['name']!r}", query_text(a["expr"])) for a in board["annotations"]["list"] if "expr" in a]
    for v in board["templating"]["list"]:
        if v["type"] == "query":
            found.append((f"variable {v['name']!r}", re.fullmatch(r"label_values\((.*), \w+\)", query_text(v["definition"]))[1]))
    return found


# Valid

@suite.case()
def rules_are_valid(t):
    needs_prometheus(t)
    status, said = prometheus.promtool("check", "rules", ALERTS)
    t.check(status == 0 and f"{len(alerts())} rules found" in said, said)


@suite.case()
def every_alert_says_how_bad_it_is_and_what_to_do(t):
    for name, text in alerts().items():
        for wanted in (r"severity: (critical|warning|info)\n", r"summary: '.{20,}'\n", r"description: >-\n(?: {12}.*\n){2,}"):
            t.check(re.search(wanted, text), f"{name} lacks {wanted}:\n{text}")


@suite.case(timeout=60)
def each_fires_when_it_should(t):
    needs_prometheus(t)
    status, said = prometheus.promtool("test", "rules", TESTS)
    t.check(status == 0 and "SUCCESS" in said, said)


def alerts_failing_with(t, name, expr):
    """The alerts that the tests find fault with when each has this expression, and what is said of them: {name: text}"""
    mutant = EXPR.sub(lambda m: f"{m[1]}expr: {expr}\n", read(ALERTS))
    mutant = re.sub(r"\n +for: .*", "", mutant)
    for path, text in ((f"{name}/deploy/prometheus-alerts.yaml", mutant), (f"{name}/tests/deploy/test.yaml", read(TESTS))):
        os.makedirs(os.path.dirname(t.path(path)), exist_ok=True)
        with open(t.path(path), "w") as f:
            f.write(text)
    _, said = prometheus.promtool("test", "rules", t.path(name, "tests/deploy/test.yaml"))
    found = {}
    for part in re.split(r"(?=^    alertname: )", said, flags=re.M):
        match = re.match(r"    alertname: (\w+), time: ", part)
        if match:
            found[match[1]] = found.get(match[1], "") + part
    return found


@suite.case(timeout=60)
def each_is_tested_both_ways(t):
    """With an alert that never fires the tests fail, and with one that always does."""
    needs_prometheus(t)
    t.equal(set(alerts()) - set(alerts_failing_with(t, "never", "vector(0) > 1")), set(), "alerts of which no test wants that they fire")
    always = alerts_failing_with(t, "always", "vector(1)")
    silent = {name for name, said in always.items() if re.search(r"exp:\[\s*\],", said)}
    t.equal(set(alerts()) - silent, set(), "alerts of which no test wants that they do not")


@suite.case()
def scrape_configuration_is_valid(t):
    """Debian's Prometheus knows no kubernetes_sd_configs: a fixed target stands in for it."""
    needs_prometheus(t)
    text = read(SCRAPE).replace("prometheus-alerts.yaml", ALERTS)
    text, found = re.subn(r"    kubernetes_sd_configs:\n(?: {6,}.*\n)+", '    static_configs:\n      - targets: ["127.0.0.1:2112"]\n', text)
    t.equal(found, 1, "places with kubernetes_sd_configs")
    for name, body, wanted in (("good.yaml", text, 0), ("bad.yaml", text.replace("honor_labels", "honour_labels"), 1)):
        with open(t.path(name), "w") as f:
            f.write(body)
        status, said = prometheus.promtool("check", "config", t.path(name))
        t.check(status == wanted, f"{name}: {said}")


# The dashboard

@suite.case()
def dashboard_is_complete(t):
    board = json.loads(read(DASHBOARD))
    ids = [p["id"] for p in board["panels"]]
    t.equal(len(ids), len(set(ids)), "different ids")
    titles = [p["title"] for p in board["panels"]]
    t.equal(len(titles), len(set(titles)), "different titles")
    cells = {}
    for p in board["panels"]:
        where, at = f"{p['type']} {p['title']!r}", p["gridPos"]
        t.check(at["x"] + at["w"] <= 24, f"{where} is too far to the right")
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            t.check(cells.setdefault(cell, where) == where, f"{where} lies on {cells[cell]}")
        if p["type"] == "row":
            continue
        t.check(len(p.get("description", "")) >= 10, f"{where} has no description")
        t.check(p["fieldConfig"]["defaults"].get("unit"), f"{where} has no unit")
        t.check(p.get("targets") and all(x["expr"].strip() for x in p["targets"]), f"{where} has no query")
        refs = [x["refId"] for x in p["targets"]]
        t.equal(len(refs), len(set(refs)), f"different refIds in {where}")
        for source in (p["datasource"], *(x["datasource"] for x in p["targets"])):
            t.equal(source, {"type": "prometheus", "uid": "${datasource}"}, f"datasource of {where}")


@suite.case()
def dashboard_variables_exist_and_are_used(t):
    board = json.loads(read(DASHBOARD))
    defined = {v["name"] for v in board["templating"]["list"]}
    used = set()
    for p in panels():
        for target in p["targets"]:
            unknown = variables(target["expr"]) - defined - set(BUILT_IN)
            t.check(not unknown, f"{p['title']!r} uses {unknown}, defined are {defined}")
            used |= variables(target["expr"]) | variables(target["datasource"]["uid"])
    known = {"datasource"}
    for v in board["templating"]["list"]:
        if v["type"] == "query":
            unknown = variables(v["definition"]) - known
            t.check(not unknown, f"variable {v['name']!r} uses {unknown} before it is known")
            t.equal(v["query"]["query"], v["definition"], f"query of {v['name']!r}")
        known.add(v["name"])
    t.equal(defined - used, set(), "variables that no panel uses")


def rules_file(t, name, found):
    """Recording rules, since promtool parses nothing but those."""
    path = t.path(name)
    with open(path, "w") as f:
        json.dump({"groups": [{"name": "queries", "rules": [{"record": f"q:{n}", "expr": q} for n, (_, q) in enumerate(found)]}]}, f)
    return prometheus.promtool("check", "rules", path)


@suite.case()
def queries_parse(t):
    needs_prometheus(t)
    found = queries()
    status, said = rules_file(t, "queries.json", found)
    t.check(status == 0 and f"{len(found)} rules found" in said, said)
    status, said = rules_file(t, "bad.json", [*found, ("", "sum(rate(x[5m])")])
    t.check(status != 0 and "parse error" in said, f"a bad query was not found: {said}")


# On a running hotdrain

class Writers:
    """Two pods that write until they are stopped; the first one's log is rotated now and then."""

    def __init__(self, root):
        self.logs = [tree.Pod(root, name=name, number=n).log() for n, name in enumerate(("web", "db"))]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def run(self):
        turn = 0
        tree.append(self.logs[1], tree.cri("first"))
        time.sleep(0.5)
        while not self.ended.wait(0.02):
            turn += 1
            tree.append(self.logs[0], *(tree.cri(f"{turn} {n} " + "x" * 500) for n in range(60)))
            tree.append(self.logs[1], *(tree.cri(f"{turn} {n}") for n in range(5)))
            if turn % 100 == 0:
                os.rename(self.logs[0], f"{self.logs[0]}.20261121-{turn:06d}")

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def stalled(t, root):
    """A collector whose reader has stopped, and which has few batches."""
    return Collector(t, "-r", root, *metrics.ADDRESS, "--batches", "4", state=t.mkdir("state"), out="stalled")


def waiting(s, pod):
    return any(v > 1000 for key, v in s.samples.get("hotdrain_backlog_bytes", {}).items() if ("podname", pod) in key)


@suite.case(timeout=45)
def every_metric_is_exported(t):
    """What alerts and dashboard name is printed, with those labels, once something was lost and saved."""
    root = t.mkdir("pods")
    writers = Writers(root)
    with stalled(t, root) as c, writers:
        metrics.wait_scrape(c, lambda s: waiting(s, "db"), "unread bytes of db", 20)
        os.truncate(writers.logs[1], 0)
        c.read_on()
        s = metrics.wait_scrape(c, lambda s: {"hotdrain_lost_bytes_total", "hotdrain_checkpoint_age_seconds"} <= set(s.samples), "a loss and a checkpoint", 20)
        known = {name: {k for key in s.samples.get(name, ()) for k, _ in key} for name in {*s.samples, *s.types, "up"}}
        c.stop()
    every_label = set().union(*known.values()) | TARGET_LABELS
    for where, query in queries():
        series, lists = promql.selectors(query)
        t.check(series, f"{where} names no metric: {query}")
        t.check(lists <= every_label, f"{where}: {lists - every_label} is no label")
        for name, labels in series:
            t.check(name in known, f"{where} names {name}, which is not exported")
            unknown = labels - known[name] - TARGET_LABELS if known[name] else set()
            t.check(not unknown, f"{where}: {name} has no label {unknown}, but {known[name]}")


def panel_is_empty(p, server, began):
    """Of all its queries, those that have no value at any time (or at its end, for one that shows one time)."""
    for target in p["targets"]:
        query = query_text(target["expr"])
        found = server.query(query) if target["instant"] else server.query_range(query, began, time.time())
        if not found:
            yield target["expr"]


@suite.case(timeout=60)
def prometheus_takes_the_rules_and_every_panel_has_data(t):
    """Two writers, a reader that stops for some seconds, unread bytes that are cut off, and then all is delivered."""
    needs_prometheus(t)
    root, began = t.mkdir("pods"), time.time()
    writers = Writers(root)
    with stalled(t, root) as c, prometheus.Prometheus(t, metrics.where(c), rules=[ALERTS]) as server, writers:
        def until(expression):
            t.check(server.wait(expression, bool, 20), f"{expression} never had a value")

        until('hotdrain_backlog_bytes{podname="db"} > 1e3 and rate(hotdrain_read_bytes_total[5s]) >= 0 and hotdrain_deadline_seconds < Inf')
        time.sleep(2)
        os.truncate(writers.logs[1], 0)
        c.read_on()
        until("hotdrain_node_lost_bytes_total > 0")
        until("rate(hotdrain_latency_seconds_count[5s]) > 0")
        until('ALERTS{alertname="HotdrainLosesBytes",reason="truncated"}')
        until("hotdrain_checkpoint_age_seconds")
        time.sleep(1)
        rules = [r for g in server.api("/rules")["groups"] for r in g["rules"]]
        t.equal({r["name"] for r in rules}, set(alerts()), "alerts that Prometheus has")
        t.equal([(r["name"], r["health"], r.get("lastError")) for r in rules if r["health"] != "ok"], [], "rules that are not well")
        for a in server.api("/alerts")["alerts"]:
            t.note(f"{a['state']}: {a['annotations']['summary']}")
            t.check(not re.search(r"<error|<no value>|%!", str(a["annotations"])), f"text of {a}")
        empty = [f"{p['title']}: {q}" for p in panels() for q in panel_is_empty(p, server, began)]
        t.check(not empty, "panels without data:\n" + "\n".join(empty))


suite.run()
