# SPDX-License-Identifier: Apache-2.0
"""Real dockerd with its own containerd and runc, everything below one directory, without a bridge or firewall rules.

Like lib/containerd.py it runs in a mount namespace of its own and in cgroups named after the test process. It is
spoken to over its socket, so no docker command is needed. The image is that of lib/containerd.py.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess

from . import containerd, proc, tap, tool

PROGRAMS = ("dockerd", "containerd", "runc", "busybox", "unshare")


def unpack():
    """Debian's dockerd, unpacked below the build directory: installing the package would start a daemon."""
    top = os.path.join(tool.BUILD, "docker")
    program = os.path.join(top, "root", "usr", "sbin")
    if not os.path.exists(os.path.join(program, "dockerd")):
        os.makedirs(top, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", "docker.io"], cwd=top, capture_output=True, timeout=120, check=True)
            package = [f for f in os.listdir(top) if f.endswith(".deb")][0]
            subprocess.run(["dpkg-deb", "-x", package, "root"], cwd=top, capture_output=True, timeout=60, check=True)
        except (OSError, IndexError, subprocess.SubprocessError):
            return
    os.environ["PATH"] = os.pathsep.join([program, os.path.join(top, "root", "usr", "bin"), os.environ["PATH"]])


def missing():
    """Why dockerd cannot be run, or None."""
    if os.geteuid():
        return "dockerd needs root"
    if not tool.find("dockerd"):
        unpack()
    for program in PROGRAMS:
        if not tool.find(program):
            return f"no {program}"
    return None


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """One that speaks the Docker API, which start() runs with its socket in self.socket; stop() ends it and all it has."""

    name = None

    def __init__(self, directory):
        self.dir = os.path.join(directory, self.name)
        self.cgroup = f"hotdrain-e2e-{self.name}-{os.getpid()}"
        self.socket = os.path.join(self.dir, "sock")
        self.url = "unix://" + self.socket
        self.log_path = os.path.join(self.dir, "log")
        self.started = []
        self.process = None
        os.makedirs(self.dir)

    def command(self):
        raise NotImplementedError

    def launch(self):
        path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, "PATH": path})

    def wait_answers(self):
        if not proc.wait_until(lambda: self.answers() or self.process.poll() is not None, 30, step=0.05) or not self.answers():
            with open(self.log_path) as f:
                raise tap.Skip(f"{self.name} does not start here: " + "".join(f.readlines()[-1:]).strip())

    def __enter__(self):
        self.launch()
        self.wait_answers()
        image = os.path.join(self.dir, "image.tar")
        containerd.image_write(image)
        with open(image, "rb") as f:
            self.call("POST", "/images/load", f.read(), kind="application/x-tar")
        return self

    def __exit__(self, *_):
        self.stop()

    def restart(self, sig=signal.SIGTERM):
        """The daemon ends and a new one has the same containers."""
        proc.kill(self.process.pid, sig)
        self.process.wait(30)
        self.launch()
        self.wait_answers()

    def answers(self):
        try:
            return self.call("GET", "/_ping", timeout=2) is not None
        except (OSError, http.client.HTTPException, tap.Failure):
            return False

    def call(self, method, path, body=None, kind="application/json", timeout=30):
        """The answer's JSON, or its bytes when it is none."""
        c = Connection(self.socket, timeout)
        try:
            data = json.dumps(body) if isinstance(body, dict) else body
            c.request(method, path, data, {"Content-Type": kind} if body is not None else {})
            answer = c.getresponse()
            got = answer.read()
        finally:
            c.close()
        if answer.status >= 400:
            raise tap.Failure(f"{self.name}: {method} {path}: {answer.status} {got[:300]!r}")
        try:
            return json.loads(got)
        except ValueError:
            return got

    def config(self, command, labels, log):
        return {"Image": containerd.IMAGE, "Cmd": command, "Labels": labels,
                "HostConfig": {"NetworkMode": "none", "LogConfig": log}}

    def create(self, command, name=None, labels=None, log=None):
        """The id of a container that is not started."""
        query = f"?name={name}" if name else ""
        ident = self.call("POST", f"/containers/create{query}", self.config(command, labels or {}, log or self.log_config({})))["Id"]
        self.started.append(ident)
        return ident

    def do(self, ident, what):
        """start, pause, unpause, kill?signal=…, stop?t=…, …"""
        self.call("POST", f"/containers/{ident}/{what}")

    def start(self, ident):
        try:
            self.do(ident, "start")
        except tap.Failure as e:
            raise tap.Skip(f"no container can run here: {e}") from None

    def run(self, command, name=None, labels=None, **log_options):
        """Starts a container whose log has these options: max_size="100k", max_file=3, compress="true". Its id."""
        options = {k.replace("_", "-"): str(v) for k, v in log_options.items()}
        ident = self.create(command, name, labels, self.log_config(options))
        self.start(ident)
        return ident

    def wait_exit(self, ident, timeout=60):
        """Until it has ended and all of its output is written."""
        status = self.call("POST", f"/containers/{ident}/wait", timeout=timeout)["StatusCode"]
        if status:
            raise tap.Failure(f"a container ended with status {status}")

    def remove(self, ident):
        self.call("DELETE", f"/containers/{ident}?force=1")
        self.started.remove(ident)

    def stop(self):
        for ident in list(self.started):
            try:
                self.remove(ident)
            except (tap.Failure, OSError, http.client.HTTPException):
                pass
        proc.end(self.process, 15)
        proc.wait_until(self.cgroups_are_gone, 5, step=0.1)
        shutil.rmtree(self.dir, ignore_errors=True)

    def cgroups_are_gone(self):
        """What watches a container ends a moment after it."""
        containerd.remove_cgroups(self.cgroup)
        top = "/sys/fs/cgroup"
        return not any(os.path.isdir(os.path.join(top, n, self.cgroup)) for n in ("", *os.listdir(top)))


class Docker(Daemon):
    name = "docker"

    def __init__(self, directory):
        super().__init__(directory)
        self.containers = os.path.join(self.dir, "root", "containers")

    def command(self):
        config = os.path.join(self.dir, "daemon.json")
        with open(config, "w") as f:
            f.write("{}\n")
        return ["unshare", "-m", tool.find("dockerd"), "--config-file", config, "--data-root", os.path.join(self.dir, "root"),
                "--exec-root", os.path.join(self.dir, "exec"), "--pidfile", os.path.join(self.dir, "pid"),
                "--host", self.url, "--storage-driver", "vfs", "--cgroup-parent", "/" + self.cgroup,
                "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]

    def log_config(self, options):
        return {"Type": "json-file", "Config": options}

    def log(self, ident):
        return os.path.join(self.containers, ident, ident + "-json.log")
