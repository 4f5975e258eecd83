# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, spoken to over its pipe (--remote-debugging-pipe): one JSON object after the other, each ended
by a NUL. No port and no WebSocket are needed that way.

It has a profile of its own in the case's directory and cannot resolve any name: what is not on the loopback is an
error, and requests holds the address of everything that was asked for.
"""
import base64
import fcntl
import json
import os
import select
import subprocess
import time

from . import tap, tool

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
         "--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
         "--disable-default-apps", "--disable-extensions", "--disable-sync", "--metrics-recording-only", "--lang=en",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe", "about:blank")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
# Chromium reads commands from descriptor 3 and answers on 4, which a child of Python cannot be given directly.
SHELL = 'r=$1 w=$2; shift 2; eval "exec \\"\\$@\\" 3<&$r 4>&$w $r<&- $w>&-"'


def missing():
    """Why no browser can be run, or None."""
    if not tool.find("chromium"):
        return "no chromium"
    return None if tool.find("bash") else "no bash"


def high(fd):
    """The same descriptor above 9, out of the way of 3 and 4."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved


class Browser:
    """One page. width and height in CSS pixels; scale: device pixels for each."""

    def __init__(self, t, width=1280, height=800, scale=1, dark=False):
        self.ident, self.rest, self.session = 0, b"", None
        self.requests, self.console, self.answers = [], [], {}
        home = t.mkdir("browser")
        reads, self.out = map(high, os.pipe())
        self.into, writes = map(high, os.pipe())
        with open(t.path("browser.log"), "wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", SHELL, "bash", str(reads), str(writes), tool.find("chromium"), *FLAGS, f"--user-data-dir={home}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(reads, writes), env={**os.environ, "HOME": home})
        os.close(reads)
        os.close(writes)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.resize(width, height, scale)
        self.scheme(dark)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.into)
        os.close(self.out)

    # the protocol

    def send(self, method, **params):
        self.ident += 1
        message = {"id": self.ident, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        return self.ident

    def call(self, method, timeout=40, **params):
        ident = self.send(method, **params)
        end_at = time.monotonic() + timeout
        while ident not in self.answers:
            self.read(end_at, method)
        answer = self.answers.pop(ident)
        if "error" in answer:
            raise tap.Failure(f"{method}: {answer['error']}")
        return answer["result"]

    def read(self, end_at, method):
        if not select.select([self.into], [], [], max(0, end_at - time.monotonic()))[0]:
            raise tap.Failure(f"the browser does not answer {method}")
        chunk = os.read(self.into, 1 << 18)
        if not chunk:
            raise tap.Failure("the browser has ended")
        *messages, self.rest = (self.rest + chunk).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self.note(message["method"], message["params"])

    def note(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.console.append("exception: " + json.dumps(params["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.console.append(f"console.{params['type']}: {json.dumps(params['args'])[:600]}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{params['entry']['source']}: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.console.append("dialog: " + params["message"])
            self.send("Page.handleJavaScriptDialog", accept=True)  # the page would stand still

    # the page

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState == 'complete'", "the page is not loaded")

    def run(self, expression):
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise tap.Failure(f"{expression}: {json.dumps(result['exceptionDetails'])[:600]}")
        return result["result"].get("value")

    def wait(self, condition, why, timeout=10):
        end_at = time.monotonic() + timeout
        while not self.run(f"!!({condition})"):
            if time.monotonic() > end_at:
                raise tap.Failure(f"{why} after {timeout} s; the page says: {tap.clip(self.run('document.body.innerText'), 2500)}")
            time.sleep(0.05)

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText.trim()")

    def texts(self, selector):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(x => x.innerText.trim())")

    def key(self, key):
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = KEYS.get(key, ord(key[0].upper()))
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        for letter in text:
            self.key(letter)

    # how it is looked at

    def resize(self, width, height, scale=1, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def scheme(self, dark):
        value = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def screenshot(self, path, whole=False):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))
