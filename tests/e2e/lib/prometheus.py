# SPDX-License-Identifier: Apache-2.0
"""Prometheus: a real server that scrapes one address each second, its query API, and what it says of a PromQL text."""
import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from . import proc, tap, tool

TYPE = re.compile(r"^# TYPE (\w+) (\w+)$", re.M)
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.M)
LABEL = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\[[^\]]*\]|[\w:$.]+|\S')
KEYWORDS = {"and", "or", "unless", "offset", "bool", "atan2"}
LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
TARGET_LABELS = {"job", "instance"}


def missing():
    """Why there can be no test with it, or None."""
    lacking = [name for name in ("prometheus", "promtool") if not tool.find(name)]
    return f"no {' and no '.join(lacking)}" if lacking else None


def promtool(*args):
    """Status and everything it says."""
    p = subprocess.run([tool.find("promtool"), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return p.returncode, p.stdout.decode("utf-8", "replace")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url, timeout=5):
    """The body, or None while nobody answers well."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.read().decode("utf-8", "strict")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def families(text):
    """{name of a series: the names of its labels} of an exposition. Series that have no sample yet have no labels."""
    found = {}
    for name, kind in TYPE.findall(text):
        names = [name + end for end in ("_bucket", "_sum", "_count")] if kind == "histogram" else [name]
        found.update((n, set()) for n in names)
    for name, labels in SAMPLE.findall(text):
        found[name] |= {m[1] for m in LABEL.finditer(labels)}
    return found


def selectors(expr):
    """([(metric, names of the labels it is selected by)], names in by(), on() and the like) of a PromQL text that parses."""
    tokens = TOKEN.findall(expr)
    metrics, lists, at = [], set(), 0
    while at < len(tokens):
        token = tokens[at]
        follows = tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if not re.match(r"[a-zA-Z_]\w*$", token) or token in KEYWORDS or token.lower() in ("inf", "nan"):
            continue
        if token in LISTS:
            end = tokens.index(")", at)
            lists |= {t for t in tokens[at:end] if re.match(r"\w", t)}
            at = end
        elif follows == "{":
            end = tokens.index("}", at)
            metrics.append((token, {n for n, op in zip(tokens[at:end], tokens[at + 1:]) if n.isidentifier() and op in ("=", "!")}))
            at = end
        elif follows not in ("(", "by", "without"):
            metrics.append((token, set()))
    return metrics, lists


class Prometheus:
    """As a context. port: of what it scrapes. Its data is in the case's directory."""

    def __init__(self, case, port, rules=None, job="hotdrain"):
        self.case, self.port = case, free_port()
        self.log_path = case.path("prometheus.log")
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                  "rule_files": [os.path.abspath(rules)] if rules else [],
                  "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]}
        with open(case.path("prometheus.json"), "w") as f:
            json.dump(config, f)
        command = [tool.find("prometheus"), "--config.file", case.path("prometheus.json"), "--storage.tsdb.path", case.mkdir("tsdb"),
                   "--web.listen-address", f"127.0.0.1:{self.port}", "--log.level", "warn"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        if not proc.wait_until(lambda: get(self.url("/-/ready")) or self.process.poll() is not None, 20, step=0.1) or self.process.poll() is not None:
            with open(self.log_path) as f:
                raise tap.Failure(f"prometheus does not start: {f.read()[-1000:]}")
        return self

    def __exit__(self, *_):
        proc.end(self.process)

    def url(self, path, **parameters):
        return f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}"

    def api(self, path, **parameters):
        """The answer's data."""
        try:
            with urllib.request.urlopen(self.url("/api/v1" + path, **parameters), timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as e:
            raise tap.Failure(f"{path} {parameters}: {e.read().decode('utf-8', 'replace')}") from None

    def query(self, expr, **parameters):
        """[(labels, value)] now."""
        return [(s["metric"], float(s["value"][1])) for s in self.api("/query", query=expr, **parameters)["result"]]

    def query_range(self, expr, start, end, step=1):
        """[(labels, [value, ..])] over a time."""
        found = self.api("/query_range", query=expr, start=start, end=end, step=step)["result"]
        return [(s["metric"], [float(v) for _, v in s["values"]]) for s in found]

    def wait_for(self, expr, timeout=10):
        """The first answer that is not empty."""
        found = []
        if not proc.wait_until(lambda: found.extend(self.query(expr)) or found, timeout, step=0.2):
            raise tap.Failure(f"{expr} has no value within {timeout} s")
        return found
