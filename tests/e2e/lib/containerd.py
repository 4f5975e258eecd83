# SPDX-License-Identifier: Apache-2.0
"""Real containerd with its CRI plugin and runc, without Kubernetes, everything below one directory.

It runs in a mount namespace of its own, so that whatever it mounts goes away with its last process, and in cgroups
named after the test process, which stop() removes. One image (busybox and writer.c) serves as pause image too.
"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

from . import cri, proc, tap, tool

IMAGE = "localhost/writer:1"
CONFIG = """version = 2
root = "{dir}/root"
state = "{dir}/state"
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
"""


def missing():
    """Why containerd cannot be run, or None."""
    if os.geteuid():
        return "containerd needs root"
    for program in ("containerd", "runc", "ctr", "curl", "busybox", "unshare"):
        if not tool.find(program):
            return f"no {program}"
    return None


def layer():
    """The image's file system as a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "dev", "proc", "sys", "etc", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, path in (("busybox", tool.find("busybox")), ("writer", tool.helper("writer"))):
            entry = tarfile.TarInfo("bin/" + name)
            entry.mode, entry.size = 0o755, os.path.getsize(path)
            with open(path, "rb") as f:
                tar.addfile(entry, f)
        for name in ("sh", "sleep"):
            entry = tarfile.TarInfo("bin/" + name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return out.getvalue()


def image_write(path):
    """A docker-archive, as `ctr images import` takes it."""
    data = layer()
    config = {"architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
              "config": {"Cmd": ["/bin/sleep", "2147483647"], "Env": ["PATH=/bin"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest()]}}
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, content in (("manifest.json", json.dumps(manifest).encode()),
                              ("config.json", json.dumps(config).encode()), ("layer.tar", data)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def remove_cgroups(name):
    """Below each hierarchy's top or below the group this test is in, as the hierarchy has it."""
    base = "/sys/fs/cgroup"
    with open("/proc/self/cgroup") as f:
        own = {line.rstrip("\n").split(":", 2)[2].strip("/") for line in f}
    for top in [base, *(os.path.join(base, n) for n in os.listdir(base))]:
        for group in {"", *own}:
            for path, _, _ in os.walk(os.path.join(top, group, name), topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass


class Containerd:
    def __init__(self, directory):
        self.dir = os.path.join(directory, "containerd")
        self.cgroup = f"hotdrain-e2e-{os.getpid()}"
        self.pods = []
        os.makedirs(self.dir)
        self.log_path = os.path.join(self.dir, "log")
        config = os.path.join(self.dir, "config.toml")
        with open(config, "w") as f:
            f.write(CONFIG.format(dir=self.dir, image=IMAGE))
        image_write(os.path.join(self.dir, "image.tar"))
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["unshare", "-m", tool.find("containerd"), "-c", config],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.client = cri.Client(os.path.join(self.dir, "containerd.sock"))

    def __enter__(self):
        if not proc.wait_until(lambda: self.ctr("version").returncode == 0, 20, step=0.05):
            with open(self.log_path) as f:
                raise tap.Skip("containerd does not start here: " + "".join(f.readlines()[-1:]).strip())
        result = self.ctr("-n", "k8s.io", "images", "import", os.path.join(self.dir, "image.tar"))
        if result.returncode:
            raise tap.Failure("image import: " + result.stderr.decode("utf-8", "replace"))
        return self

    def __exit__(self, *_):
        self.stop()

    def ctr(self, *args):
        return subprocess.run(["ctr", "-a", self.client.socket, *args], capture_output=True, timeout=30)

    def run_pod(self, pod):
        os.makedirs(pod.dir, exist_ok=True)
        config = self.client.pod_config(pod, self.cgroup)
        try:
            pod_id = self.client.run_pod(config)
        except RuntimeError as e:
            raise tap.Skip(f"no pod can run here: {e}") from None
        self.pods.append(pod_id)
        return pod_id, config

    def run(self, pod_id, config, name, command, attempt=0):
        os.makedirs(os.path.join(config[3], name), exist_ok=True)
        container = self.client.create(pod_id, config, name, IMAGE, command, attempt)
        self.client.start(container)
        return container

    def wait_exit(self, container, timeout=60):
        if not proc.wait_until(lambda: not self.client.running(container), timeout, step=0.1):
            raise tap.Failure(f"a container still runs after {timeout} s")

    def remove_pod(self, pod_id):
        self.client.remove_pod(pod_id)
        self.pods.remove(pod_id)

    def stop(self):
        for pod_id in list(self.pods):
            try:
                self.remove_pod(pod_id)
            except (RuntimeError, OSError, subprocess.SubprocessError):
                pass  # its processes are ended with everything else
        proc.end(self.process)
        remove_cgroups(self.cgroup)
        shutil.rmtree(self.dir, ignore_errors=True)
