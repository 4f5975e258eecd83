# SPDX-License-Identifier: Apache-2.0
"""Real Prometheus scraping one target each quarter of a second, everything below one directory."""
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from . import proc, tap, tool

CONFIG = """global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
  evaluation_interval: 500ms
rule_files: {rules}
scrape_configs:
  - job_name: hotdrain
    static_configs:
      - targets: ['{target}']
"""


def missing(program="prometheus"):
    """Why it cannot be run, or None."""
    return None if tool.find(program) else f"no {program}"


def promtool(*args):
    """Status, and all that it says."""
    result = subprocess.run([tool.find("promtool"), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return result.returncode, result.stdout.decode("utf-8", "replace")


def check(text):
    """What `promtool check metrics` has to say, "" when nothing."""
    result = subprocess.run([tool.find("promtool"), "check", "metrics"], input=text.encode(), capture_output=True, timeout=30)
    said = (result.stdout + result.stderr).decode("utf-8", "replace").strip()
    return said or (f"status {result.returncode}" if result.returncode else "")


class Prometheus:
    """rules: paths of files with alerts."""

    def __init__(self, t, target, rules=()):
        directory = t.mkdir("prometheus")
        with open(os.path.join(directory, "prometheus.yml"), "w") as f:
            f.write(CONFIG.format(target=target, rules=json.dumps(list(map(os.path.abspath, rules)))))
        self.log = t.path("prometheus.log")
        with socket.socket() as s:  # a port that is free; the next one to listen there is Prometheus
            s.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % s.getsockname()[1]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([tool.find("prometheus"), "--config.file=" + os.path.join(directory, "prometheus.yml"),
                                             "--storage.tsdb.path=" + os.path.join(directory, "data"),
                                             "--web.listen-address=" + self.address], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})

    def __enter__(self):
        if not proc.wait_until(self.is_ready, 30, step=0.1):
            with open(self.log) as f:
                raise tap.Failure(f"Prometheus is not ready after 30 s: {f.read()[-2000:]}")
        return self

    def __exit__(self, *_):
        proc.end(self.process, 10)

    def get(self, path, **query):
        url = f"http://{self.address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.read()

    def is_ready(self):
        try:
            self.get("/-/ready")
            return True
        except OSError:
            return False

    def api(self, path, **query):
        """The answer's data."""
        try:
            return json.loads(self.get("/api/v1" + path, **query))["data"]
        except urllib.error.HTTPError as e:
            raise tap.Failure(f"{path} {query}: {e.read().decode('utf-8', 'replace')}") from None

    def query(self, expression):
        """[(labels, value)]"""
        return [(r["metric"], float(r["value"][1])) for r in self.api("/query", query=expression)["result"]]

    def query_range(self, expression, start, end, step=1):
        """[(labels, [value, ..])]"""
        found = self.api("/query_range", query=expression, start=start, end=end, step=step)["result"]
        return [(r["metric"], [float(v) for _, v in r["values"]]) for r in found]

    def wait(self, expression, condition, timeout=15):
        """The result once condition(result) is true; the last one when that never happens."""
        end_at = time.monotonic() + timeout
        while True:
            found = self.query(expression)
            if condition(found) or time.monotonic() > end_at:
                return found
            time.sleep(0.1)

    def targets(self):
        return self.api("/targets")["activeTargets"]
