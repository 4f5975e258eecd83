# SPDX-License-Identifier: Apache-2.0
"""Processes: ending exactly those that the test started, however they daemonized, and measuring them from /proc.

The test is a child subreaper, so whatever its children leave behind becomes its own child (conmon and containerd's
shims detach themselves) and can be found by following parents, never by name.
"""
import ctypes
import glob
import os
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents():
    """{pid: its parent's pid} of everything that runs."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    found[int(name)] = int(f.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                pass
    return found


def descendants(of=None):
    of = of or os.getpid()
    children = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found, todo = [], [of]
    while todo:
        for pid in children.get(todo.pop(), []):
            found.append(pid)
            todo.append(pid)
    return found


def end_descendants():
    """Kills and reaps everything below this process."""
    for _ in range(50):
        pids = descendants()
        if not pids:
            return
        for pid in pids:
            kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.02)


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill(pid, sig):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return
    if sig == signal.SIGSTOP:
        wait_until(lambda: has_stopped(pid), 5)


def has_stopped(pid):
    """With all of its threads, or gone."""
    for stat in glob.glob(f"/proc/{pid}/task/*/stat"):
        try:
            with open(stat) as f:
                state = f.read().rpartition(")")[2].split()[0]
        except OSError:
            continue  # it has ended
        if state not in "TtZX":
            return False
    return True


def end(process, timeout=5):
    """SIGTERM, and SIGKILL when that does not help. Returns the exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def cpu_seconds(pid):
    """CPU time of a process to the nanosecond (its threads together); /proc/PID/stat has ticks of 10 ms."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3): CPUCLOCK_SCHED of a process


def status(pid, key):
    """VmHWM, VmRSS, … in KiB, a count as it is; pid: or PID/task/TID."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise KeyError(key)


def wakes(pid):
    """How often the threads of a process have gone to sleep so far."""
    return sum(status(f"{pid}/task/{tid}", "voluntary_ctxt_switches") for tid in os.listdir(f"/proc/{pid}/task"))


def open_paths(pid):
    """What its descriptors point to."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return found


def wait_until(condition, timeout, step=0.01):
    """True as soon as condition() is, False after timeout seconds."""
    end_at = time.monotonic() + timeout
    while True:
        if condition():
            return True
        if time.monotonic() >= end_at:
            return False
        time.sleep(step)
