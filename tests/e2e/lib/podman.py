# SPDX-License-Identifier: Apache-2.0
"""Real podman behind its Docker-compatible API, with conmon and runc, everything below one directory.

Nothing of the machine's own podman is used or changed: storage, state, locks and events have their own places, and it
runs in a mount namespace of its own. Containers are in cgroups named after the test process.
"""
import os

from . import docker, tool

PROGRAMS = ("podman", "conmon", "runc", "busybox", "unshare")
CONFIG = """[containers]
log_driver = "k8s-file"
netns = "none"
default_ulimits = []
[engine]
lock_type = "file"
events_logger = "file"
events_logfile_path = "{dir}/events.log"
"""


def missing():
    """Why podman cannot be run, or None."""
    if os.geteuid():
        return "podman needs root"
    for program in PROGRAMS:
        if not tool.find(program):
            return f"no {program}"
    return None


class Podman(docker.Daemon):
    name = "podman"

    def __init__(self, directory):
        super().__init__(directory)
        self.containers = os.path.join(self.dir, "root", "vfs-containers")
        with open(os.path.join(self.dir, "containers.conf"), "w") as f:
            f.write(CONFIG.format(dir=self.dir))

    def command(self):
        own = os.path.join(self.dir, "containers.conf")
        return ["unshare", "-m", "env", "CONTAINERS_CONF=" + own, "TMPDIR=" + self.dir, tool.find("podman"),
                "--root", os.path.join(self.dir, "root"), "--runroot", os.path.join(self.dir, "run"),
                "--tmpdir", os.path.join(self.dir, "tmp"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
                "--events-backend", "file", "--runtime", "runc",
                "system", "service", "--time=0", self.url]

    def config(self, command, labels, log):
        config = super().config(command, labels, log)
        config["HostConfig"]["CgroupParent"] = "/" + self.cgroup
        return config

    def log_config(self, options):
        return {"Type": "k8s-file", "Config": options}

    def log(self, ident):
        return os.path.join(self.containers, ident, "userdata", "ctr.log")
