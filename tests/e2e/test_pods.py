#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kubernetes.pods_url: what the node's pods are labelled with reaches their records, and a bad server reaches nothing."""
import hashlib
import json
import os
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import lanes, podserver, proc, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402
from lib.podserver import PodServer, listed  # noqa: E402

suite = tap.Suite("pods", timeout=200)
HASH = "8f2b1c6f0e0c4d2fa4f61cb1d5a7f9f3"
NODE = {"k8s.node.name": "node-1.example.org"}
CART = {**NODE, "k8s.deployment.name": "cart", "k8s.replicaset.name": "cart-5f4d8c7b9"}


def cid(text):
    return hashlib.sha256(text.encode()).hexdigest()


class World:
    """A root, an authority, and a collector to be started with the options of both."""

    def __init__(self, t):
        if podserver.missing():
            t.skip(podserver.missing())
        self.t, self.root = t, t.mkdir("pods")
        self.ca = podserver.Authority(t.dir)
        self.cert = self.ca.sign(t.path("server.pem"))
        self.token = t.path("token")
        self.number = 0
        self.write_token("secret-1")

    def write_token(self, text):
        with open(self.token + ".new", "w", encoding="ascii") as f:
            f.write(text + "\n")
        os.rename(self.token + ".new", self.token)

    def server(self, answer, **more):
        return PodServer(self.cert, answer, **{"token": "secret-1", **more})

    def run(self, url, *args, ca=None, refresh="1h"):
        return Collector(self.t, "-r", self.root, "--kubernetes-pods-url", url, "--kubernetes-token-file", self.token,
                         "--kubernetes-ca-file", ca or self.ca.cert, "--kubernetes-refresh", refresh, *args)

    def say(self, c, log, timeout=10):
        """Appends a line, and gives its record."""
        self.number += 1
        text = f"line {self.number}"
        tree.append(log, tree.cri(text))
        found = []
        if not proc.wait_until(lambda: found.extend(r for r in since(c, text)) or found, timeout):
            self.t.fail(f"{text!r} never came")
        return found[0]

    def say_until(self, c, log, wanted, timeout=15):
        """Until records of that log have those labels, no others, and then gives how many had not."""
        end_at, n = time.monotonic() + timeout, 0
        while (got := self.say(c, log).labels) != wanted:
            n += 1
            if time.monotonic() > end_at:
                self.t.fail(f"labels never became {wanted}", f"they are {got}")
            time.sleep(0.05)
        return n


def since(c, text):
    wanted = json.dumps(text).encode()
    return [r for r in c.records() if r.message == text] if any(wanted in line for _, line in c.lines[-50:]) else []


def pod(name, number, namespace="shop", labels=None, containers=("app",), restarts=0):
    return {"metadata": {"name": name, "namespace": namespace, "uid": tree.UID.format(number), "labels": labels or {}},
            "spec": {"nodeName": "n", "containers": [{"name": c, "image": "img:1"} for c in containers]},
            "status": {"containerStatuses": [{"name": c, "restartCount": restarts, "containerID": f"containerd://{name}-{c}-{restarts}"}
                                             for c in containers]}}


def labels_of(name, container="app", restarts=0, **labels):
    return {"container.id": f"{name}-{container}-{restarts}", "container.image.name": "img", "container.image.tag": "1",
            "k8s.node.name": "n", **{f"k8s.pod.label.{k}": v for k, v in labels.items()}}


@suite.case(timeout=120)
def no_answer_is_too_bad(t):
    """Every line comes, memory stays, the log is not flooded; the first good answer counts."""
    w = World(t)
    log = tree.Pod(w.root, name="a").log()
    good, wrong = listed([pod("a", 1)]), listed([pod("a", 1, labels={"wrong": "1"})])

    def endless(start, piece):
        def send(h):
            h.send_response(200)
            h.end_headers()
            h.close_connection = True
            h.wfile.write(start)
            try:
                for _ in range(100):  # MiB
                    h.wfile.write(piece * ((1 << 20) // len(piece)))
            except OSError:
                pass
        return send

    bad = [
        lambda h: h.reply(403, wrong),
        lambda h: h.reply(500, wrong),
        lambda h: h.reply(302, b"", Location="/elsewhere"),
        lambda h: h.reply(200, b"<html><body>Please sign in</body></html>", kind="text/html"),
        lambda h: h.reply(200, wrong[:len(wrong) // 2]),
        lambda h: h.reply(200, wrong[:-10], length=len(wrong)),
        lambda h: h.reply(200, b"\0\xff" * 100),
        lambda h: h.reply(204, b""),
        lambda h: h.connection.shutdown(socket.SHUT_RDWR),
        endless(b'{"kind":"PodList","items":[', b'{"metadata":{}},'),
        endless(b'{"kind":"PodList","items":[', json.dumps({"spec": "x" * 4000}).encode() + b","),
        endless(b'{"kind":"PodList","items":["', b"x"),
        endless(b"", b" "),
        lambda h: h.reply(200, listed([], **{"continue": "again"})),  # for ever
    ]
    with w.server(good) as s, w.run(s.url(), "--log-level", "info", refresh="100ms") as c:
        w.say_until(c, log, labels_of("a"))
        for answer in bad:
            s.answer = answer
            t.check(proc.wait_until(lambda a=answer: s.last is a, 60 if tool.sanitized() else 15), f"not asked again after answer {bad.index(answer)}")
            t.equal(w.say(c, log).labels, labels_of("a"), "labels")
        t.check(not any("elsewhere" in path for path, _ in s.requests), "a redirect was followed")
        if not tool.sanitized():
            t.note(f"at most {proc.status(c.pid, 'VmHWM')} KiB resident")
            t.check(proc.status(c.pid, "VmHWM") < 64 << 10, "it keeps what it should throw away")
        s.answer = listed([pod("a", 1, labels={"good": "again"})])
        w.say_until(c, log, labels_of("a", good="again"))
        t.check(c.stderr().count("retrying") <= 3, "the log is flooded")
        proc.kill(c.pid, signal.SIGUSR1)
        c.wait_stderr("requests, ")
        t.check(", 0 of them failed" not in c.stderr(), "failures are not counted")
        c.stop()


@suite.case(timeout=120)
def five_thousand_pods(t):
    """A list of 40 MB: taken piece by piece, so that it costs what is kept of it; lines come meanwhile."""
    w = World(t)
    template = podserver.recorded()["items"][0]
    template["metadata"]["annotations"]["example.org/large"] = "x" * 2000
    items = []
    for i in range(5000):
        one = {**template, "metadata": {**template["metadata"], "name": f"p{i}", "uid": tree.UID.format(i)}}
        items.append(json.dumps(one))
    body = ('{"kind":"PodList","metadata":{},"items":[' + ",".join(items) + "]}").encode()
    del items
    names = {"k8s.pod.label.app.kubernetes.io/name": "cart", "k8s.pod.label.pod-template-hash": "5f4d8c7b9",
             "k8s.pod.label.tier": "", "k8s.pod.label.release": "2026.11-rc.1_b"}
    with w.server(b"{") as s, w.run(s.url(), refresh="100ms") as c:
        c.wait_stderr("retrying")
        before = proc.status(c.pid, "VmHWM")
        s.answer = body
        log = tree.Pod(w.root, name="p0", number=0).log("other")
        n = w.say_until(c, log, {**CART, **names}, timeout=40)
        for i in (1, 2500, 4999):
            r = w.say(c, tree.Pod(w.root, name=f"p{i}", number=i).log("other"))
            t.equal(r.labels, {**CART, **names}, f"labels of p{i}")
        seen = s.answered
        t.check(proc.wait_until(lambda: s.answered > seen + 1, 30), "not asked again")
        after, cpu = proc.status(c.pid, "VmHWM"), proc.cpu_seconds(c.pid) / s.answered
        t.note(f"{len(body) / 1e6:.0f} MB of list, {n} lines meanwhile; at most {before} KiB resident before, {after} after; {cpu:.2f} s of CPU each")
        if not tool.sanitized():
            t.check(after - before < 16 << 10, f"{after - before} KiB more for 5,000 pods")
        c.stop()


@suite.case(timeout=60)
def a_pod_that_is_not_known_makes_a_request(t):
    """Long before the hour's refresh, at once, and not once per line; one that stays unknown does not ask for ever."""
    w = World(t)
    with w.server(listed([pod("a", 1)])) as s, w.run(s.url()) as c:
        w.say_until(c, tree.Pod(w.root, name="a").log(), labels_of("a"))
        before = len(s.requests)
        s.answer = listed([pod("a", 1), pod("b", 2, labels={"new": "1"})])
        log = tree.Pod(w.root, name="b", number=2).log()
        w.say_until(c, log, labels_of("b", new="1"))
        t.check(len(s.requests) > before, "no request")
        # Its container's id comes a little later, as with a kubelet.
        late = pod("c", 3)
        status = late.pop("status")
        s.answer = listed([late])
        log = tree.Pod(w.root, name="c", number=3).log()
        known = {k: v for k, v in labels_of("c").items() if k != "container.id"}
        w.say_until(c, log, known)
        s.answer = listed([{**late, "status": status}])
        w.say_until(c, log, labels_of("c"))
        before, began = len(s.requests), time.monotonic()
        log = tree.Pod(w.root, name="nobody", number=9).log()
        for _ in range(200):
            w.say(c, log)
        time.sleep(max(0, began + 8 - time.monotonic()))
        t.check(len(s.requests) - before <= 5, f"{len(s.requests) - before} requests in {time.monotonic() - began:.1f} s")
        c.stop()


@suite.case()
def the_token_file_is_read_again(t):
    """An expired token is told of once; a new file, renamed over it, is used; a missing or odd one sends nothing."""
    w = World(t)
    log = tree.Pod(w.root, name="a").log()
    with w.server(listed([pod("a", 1)]), token="secret-2") as s, w.run(s.url(), refresh="100ms") as c:
        c.wait_stderr("HTTP status 401, retrying")
        t.check(proc.wait_until(lambda: len(s.requests) > 1, 10), "not asked again")
        t.equal(w.say(c, log).labels, {}, "labels")
        for bad in ("two words", "secret-2\nX-Injected: 1", ""):
            w.write_token(bad)
            seen = len(s.requests)
            time.sleep(1.2)
            t.check(len(s.requests) <= seen + 1, "a token that is none was sent")
        os.unlink(w.token)
        time.sleep(0.5)
        w.write_token("secret-2")
        w.say_until(c, log, labels_of("a"))
        t.equal(c.stderr().count("retrying"), 1, "warnings")
        t.check("secret" not in c.stderr(), "the token is in the log")
        t.check(not any("X-Injected" in h for _, h in s.requests), "a header was injected")
        c.stop()


@suite.case(bpf=("auto", "off"))
def records_get_what_the_recorded_list_says(t):
    """Each kind of pod and container, a restart, a static pod by its directory's UID; names in order behind the path."""
    w = World(t)
    image = {"container.image.name": "registry.example.org:5000/shop/cart", "container.image.tag": "1.4.2"}
    exporter = {"container.id": cid("node-exporter-9xvlm/node-exporter/0"), "container.image.name": "quay.io/prometheus/node-exporter",
                "container.image.tag": "v1.8.2", **NODE, "k8s.daemonset.name": "node-exporter",
                "k8s.pod.label.app.kubernetes.io/name": "node-exporter", "k8s.pod.label.controller-revision-hash": "6d8f9c7b5",
                "k8s.pod.label.pod-template-generation": "3"}
    labels = {"k8s.pod.label.app.kubernetes.io/name": "cart", "k8s.pod.label.pod-template-hash": "5f4d8c7b9",
              "k8s.pod.label.tier": "", "k8s.pod.label.release": "2026.11-rc.1_b"}
    static = {"container.id": cid("kube-apiserver-node-1.example.org/kube-apiserver/1"),
              "container.image.name": "registry.k8s.io/kube-apiserver", "container.image.tag": "v1.31.3", **NODE,
              "k8s.pod.label.component": "kube-apiserver", "k8s.pod.label.tier": "control-plane"}
    cart = {"namespace": "shop", "name": "cart-5f4d8c7b9-x2x7k", "number": 1}
    expected = [
        (cart, "app", 2, {"container.id": cid("cart-5f4d8c7b9-x2x7k/app/2"), **image, **CART, **labels}),
        (cart, "app", 1, {"container.id": cid("cart-5f4d8c7b9-x2x7k/app/1"), **image, **CART, **labels}),
        (cart, "app", 0, {**image, **CART, **labels}),
        (cart, "no-such", 0, {**CART, **labels}),
        ({"namespace": "monitoring", "name": "node-exporter-9xvlm", "number": 4}, "node-exporter", 0, exporter),
        ({"namespace": "kube-system", "name": "kube-apiserver-node-1.example.org", "uid": HASH}, "kube-apiserver", 1, static),
        ({"namespace": "shop", "name": "nobody", "uid": "0-1-2"}, "app", 0, {}),
    ]
    with open(podserver.RECORDED, "rb") as f:
        body = f.read()
    with w.server(body) as s, w.run(s.url()) as c:
        c.wait_stderr("pods: 7, from")
        for where, container, restart, wanted in expected:
            p = tree.Pod(w.root, **where)
            r = w.say(c, p.log(container, restart))
            t.equal(r.labels, wanted, f"labels of {where['name']}/{container}/{restart}")
            t.equal(list(r.labels), list(wanted), "their order")
            t.equal({k: r[k] for k in p.fields()}, p.fields(container, restart), "the path's fields")
        c.stop()
    path, headers = s.requests[0]
    t.equal((path, headers.get("Authorization"), headers.get("Accept")),
            ("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1", "Bearer secret-1", "application/json"), "the request")


@suite.case()
def only_what_is_asked_for(t):
    w = World(t)
    chosen = ["--kubernetes-label", "tier", "--kubernetes-label", "none", "--kubernetes-annotation", "prometheus.io/port",
              "--kubernetes-annotation", "example.org/config"]
    with w.server(podserver.listed(podserver.recorded()["items"])) as s, w.run(s.url(), *chosen) as c:
        c.wait_stderr("pods: 7, from")
        r = w.say(c, tree.Pod(w.root, name="cart-5f4d8c7b9-x2x7k").log("x"))
        t.equal(r.labels, {**CART, "k8s.pod.label.tier": "", "k8s.pod.annotation.prometheus.io/port": "9100",
                           "k8s.pod.annotation.example.org/config": "{\"a\": [1, 2],\n\t\"path\": \"C:\\\\x\"}"}, "labels")
        c.stop()


@suite.case()
def a_slow_server_delays_no_record(t):
    """Lines come while the request is under way, without labels; when the answer comes the same log's have them."""
    w = World(t)
    log = tree.Pod(w.root, name="a").log()
    with w.server(listed([pod("a", 1, labels={"x": "y"})])) as s:
        s.gate.clear()
        with w.run(s.url()) as c:
            t.check(proc.wait_until(lambda: s.requests, 10), "no request came")
            for _ in range(5):
                t.equal(w.say(c, log).labels, {}, "labels before the answer")
            t.equal(s.answered, 0, "requests answered")
            s.gate.set()
            w.say_until(c, log, labels_of("a", x="y"))
            c.stop()


@suite.case()
def stops_at_once_although_the_server_is_silent(t):
    w = World(t)
    with w.server(b"") as s:
        s.gate.clear()
        with w.run(s.url()) as c:
            t.check(proc.wait_until(lambda: s.requests, 10), "no request came")
            c.stop(timeout=5)


@suite.case()
def a_certificate_of_another_authority_is_refused(t):
    """Also one that is for another name; nothing is asked, so the token stays here; lines come."""
    w = World(t)
    other = podserver.Authority(t.dir, "other").cert
    log = tree.Pod(w.root, name="a").log()
    with w.server(listed([pod("a", 1)])) as s:
        for url, ca in ((s.url(), other), (s.url(host="localhost"), w.ca.cert)):
            with w.run(url, ca=ca, refresh="100ms") as c:
                c.wait_stderr("retrying", timeout=10)
                t.equal(w.say(c, log).labels, {}, "labels")
                t.check("certificate" in c.stderr(), "the log does not name the certificate")
                c.stop()
        t.equal(s.requests, [], "requests")
        with w.run(s.url()) as c:  # the same server, rightly asked
            w.say_until(c, log, labels_of("a"))
            c.stop()


@suite.case()
def no_token_goes_over_plain_http(t):
    w = World(t)
    with PodServer(None, listed([pod("a", 1)])) as s, w.run(s.url()) as c:
        w.say_until(c, tree.Pod(w.root, name="a").log(), labels_of("a"))
        t.check("the token is not sent" in c.stderr(), "the log says nothing of it")
        t.check(not any("Authorization" in h for _, h in s.requests), "the token was sent")
        c.stop()


@suite.case()
def a_server_that_comes_later(t):
    w = World(t)
    port = podserver.free_port()
    log = tree.Pod(w.root, name="a").log()
    with w.run(f"https://127.0.0.1:{port}/pods", refresh="100ms") as c:
        c.wait_stderr("retrying")
        for _ in range(3):
            t.equal(w.say(c, log).labels, {}, "labels")
        with w.server(listed([pod("a", 1)]), port=port):
            w.say_until(c, log, labels_of("a"))
        for _ in range(3):  # and goes again: what was known is kept
            t.equal(w.say(c, log).labels, labels_of("a"), "labels")
            time.sleep(0.3)
        c.stop()


@suite.case()
def changes_are_taken_and_the_gone_are_kept(t):
    """A label that changes; a pod that leaves the list while it still logs, also from a container not seen before."""
    w = World(t)
    p = tree.Pod(w.root, name="a")
    with w.server(listed([pod("a", 1, labels={"v": "1"}, restarts=0)])) as s, w.run(s.url(), refresh="100ms") as c:
        w.say_until(c, p.log(), labels_of("a", v="1"))
        s.answer = listed([pod("a", 1, labels={"v": "2"})])
        w.say_until(c, p.log(), labels_of("a", v="2"))
        for body in (listed([]), b'{"kind":"PodList","items":null}'):
            s.answer, seen = body, s.answered
            t.check(proc.wait_until(lambda: s.answered > seen + 2, 10), "not asked again")
            t.equal(w.say(c, p.log()).labels, labels_of("a", v="2"), "labels of a pod that is gone")
        known = {k: v for k, v in labels_of("a", v="2").items() if k != "container.id"}
        t.equal(w.say(c, p.log(restart=3)).labels, known, "labels of its next container")
        c.stop()


@suite.case()
def pages_are_followed(t):
    w = World(t)
    items = [pod(n, i) for i, n in enumerate("abc", 1)]

    def page(h):
        at = {"": 0, "t2/+= &": 1, "t3": 2}[h.query().get("continue", [""])[0]]
        h.reply(200, listed(items[at:at + 1], **{"continue": ["t2/+= &", "t3", ""][at]}))

    with w.server(page) as s, w.run(s.url()) as c:
        c.wait_stderr("pods: 3, from")
        for i, n in enumerate("abc", 1):
            t.equal(w.say(c, tree.Pod(w.root, name=n, number=i).log()).labels, labels_of(n), "labels")
        c.stop()


@suite.case()
def a_log_behind_a_link_is_its_pods(t):
    """dockerd's layout: the pod's path is only a link's."""
    w = World(t)
    real = os.path.join(t.mkdir("docker", "d" * 64), "d" * 64 + "-json.log")
    tree.append(real, tree.docker("first"))
    os.symlink(real, tree.Pod(w.root, name="a").log())
    with w.server(listed([pod("a", 1)])) as s, w.run(s.url(), "--link-root", t.path("docker")) as c:
        end_at = time.monotonic() + 10
        while (c.records() or [None])[-1] is None or c.records()[-1].labels != labels_of("a"):
            t.check(time.monotonic() < end_at, "labels never came")
            tree.append(real, tree.docker("more"))
            time.sleep(0.05)
        c.stop()


@suite.case()
def odd_settings_are_refused(t):
    import subprocess
    for args in (["--kubernetes-pods-url", "ftp://x/pods"], ["--kubernetes-pods-url", "node-1:10250/pods"],
                 ["--kubernetes-pods-url", "https://"], ["--kubernetes-refresh", "0"], ["--kubernetes-label", ""]):
        got = subprocess.run([tool.hotdrain(), "run", *args], capture_output=True, text=True, timeout=10)
        t.equal(got.returncode, 2, f"status of {args}")
        t.check(args[0] in got.stderr and len(got.stderr.splitlines()) == 1, f"said: {got.stderr}")


lanes.run(suite, 3)
