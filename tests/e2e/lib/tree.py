# SPDX-License-Identifier: Apache-2.0
"""Log trees and log lines as the runtimes write them."""
import gzip
import json
import os
import shutil

UID = "6b1f3c1e-0000-4000-8000-{:012d}"
STAMP = "2026-11-21T00:32:02.{:09d}Z"


class Pod:
    """NAMESPACE_POD_UID below a root. Nothing is made before a container's directory is asked for."""

    def __init__(self, root, name="web", namespace="shop", uid=None, number=1):
        self.name, self.namespace, self.uid = name, namespace, uid or UID.format(number)
        self.dir = os.path.join(root, f"{namespace}_{name}_{self.uid}")

    def log(self, container="app", restart=0):
        os.makedirs(os.path.join(self.dir, container), exist_ok=True)
        return os.path.join(self.dir, container, f"{restart}.log")

    def fields(self, container="app", restart=0):
        """What every record of that file must say."""
        return {"k8s.namespace.name": self.namespace, "k8s.pod.name": self.name, "k8s.pod.uid": self.uid,
                "k8s.container.name": container, "k8s.container.restart_count": restart}


def encode(text):
    return text if isinstance(text, bytes) else text.encode()


def cri(text, stream="stdout", tag="F", number=0, stamp=None):
    return encode(stamp or STAMP.format(number)) + b" " + stream.encode() + b" " + tag.encode() + b" " + encode(text) + b"\n"


def docker(text, stream="stdout", number=0, end="\n"):
    return json.dumps({"log": text + end, "stream": stream, "time": STAMP.format(number)}).encode() + b"\n"


def append(path, *lines):
    """One write, as a runtime does it."""
    with open(path, "ab", buffering=0) as f:
        f.write(b"".join(map(encode, lines)))


def write_lines(path, prefix, count, first=0, **more):
    append(path, *(cri(f"{prefix} {i}", **more) for i in range(first, first + count)))
    return [f"{prefix} {i}" for i in range(first, first + count)]


def rotate_like_kubelet(log, reopen, stamp, keep=5):
    """The steps of a kubelet, seen with inotify: oldest away, older ones compressed, rename, reopen by the runtime."""
    head, tail = os.path.split(log)
    rotated = sorted(n for n in os.listdir(head) if n.startswith(tail + ".") and not n.endswith(".tmp"))
    stay = max(keep - 2, 0)
    for name in rotated[:max(len(rotated) - stay, 0)]:
        os.unlink(os.path.join(head, name))
    for name in rotated[max(len(rotated) - stay, 0):]:
        path = os.path.join(head, name)
        if name.endswith(".gz"):
            continue
        with open(path, "rb") as source, gzip.open(path + ".tmp", "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        os.rename(path + ".tmp", path + ".gz")
        os.unlink(path)
    target = f"{log}.20261121-{stamp:06d}"
    os.rename(log, target)
    try:
        reopen()
    except RuntimeError:  # the container has just ended: the kubelet too gives the file its name back
        os.rename(target, log)
        return None
    return target
