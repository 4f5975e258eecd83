# SPDX-License-Identifier: Apache-2.0
"""What is measured of a process, and the machine it runs on."""
import contextlib
import os
import platform
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time

B = os.path.abspath(os.environ.get("B", "build"))
SBIN = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def tool(name):
    return os.path.join(B, "tests/bench", name)


def find(name):
    return shutil.which(name, path=SBIN)


def descriptors_raise():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def describe():
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 1e6
    return f"{os.cpu_count()} processors, {memory:.0f} GB, Linux {platform.release()} {platform.machine()}"


@contextlib.contextmanager
def directory():
    """A private one on tmpfs."""
    base = tempfile.mkdtemp(prefix="hotdrain-bench-", dir="/dev/shm")
    os.chmod(base, 0o755)
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def memory_touch(base, size):
    """Writes a file of that size (or half of what there is) and removes it.

    A hypervisor takes free pages back; the first touch of such a page costs more than all that is measured here. Which
    free pages are used next is the kernel's choice: more are touched than will be needed.
    """
    path, block = os.path.join(base, "touched"), b"\1" * (1 << 20)
    room = os.statvfs(base)
    with open(path, "wb", buffering=0) as f:
        for _ in range(int(min(size, room.f_bavail * room.f_frsize / 2)) >> 20):
            f.write(block)
    os.unlink(path)


def cpu_seconds(pid):
    """CPU time of a running process, all its threads, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3): CPUCLOCK_SCHED of a process


def peak_mib(pid):
    """Peak resident set, or None. Not from wait4: that counts what this process had when it forked."""
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


class Peak(threading.Thread):
    """Peak resident set of a process that ends by itself: looked at often, the last look counts."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.mib, self.ended = pid, 0.0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.01):
            self.mib = peak_mib(self.pid) or self.mib

    def end(self):
        self.ended.set()
        self.join()
        return self.mib


class Held(threading.Thread):
    """Bytes of removed files that a process keeps on the disk by holding them open: the most of ten looks a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.directory, self.most, self.ended = f"/proc/{pid}/fd/", 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            held = 0
            with contextlib.suppress(OSError):
                for fd in os.listdir(self.directory):
                    with contextlib.suppress(OSError):
                        st = os.stat(self.directory + fd)
                        held += st.st_size if stat.S_ISREG(st.st_mode) and not st.st_nlink else 0
            self.most = max(self.most, held)

    def end(self):
        self.ended.set()
        self.join()
        return self.most


def end(process, timeout=15):
    """SIGTERM, and SIGKILL when that does not help; False then."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
    return True


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_until(condition, timeout, step=0.02):
    end_at = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end_at:
            return False
        time.sleep(step)
    return True
