# SPDX-License-Identifier: Apache-2.0
"""A client of the Container Runtime Interface (runtime.v1), enough to run pods: protobuf by hand, HTTP/2 by curl.

A message is a dict {field number: value or list of values}, where a value is an int, a string or another dict; the
numbers are those of k8s.io/cri-api's api.proto. gRPC frames a message by one zero byte and its length in 4 bytes.
"""
import struct
import subprocess


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(message):
    out = b""
    for field, values in message.items():
        for v in values if isinstance(values, list) else [values]:
            if isinstance(v, int):
                out += varint(field << 3) + varint(v)
                continue
            data = encode(v) if isinstance(v, dict) else v.encode()
            out += varint(field << 3 | 2) + varint(len(data)) + data
    return out


def read_varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return n, at


def decode(data):
    """{field number: [int or bytes, ...]}"""
    message, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            n, at = read_varint(data, at)
            value, at = data[at:at + n], at + n
        else:
            raise ValueError(f"wire type {key & 7}")
        message.setdefault(key >> 3, []).append(value)
    return message


class Client:
    def __init__(self, socket):
        self.socket = socket

    def call(self, method, message, service="RuntimeService"):
        data = encode(message)
        result = subprocess.run(
            ["curl", "-sS", "--max-time", "30", "--http2-prior-knowledge", "--unix-socket", self.socket, "-D", "/dev/stderr",
             "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-",
             f"http://localhost/runtime.v1.{service}/{method}"],
            input=b"\0" + struct.pack(">I", len(data)) + data, capture_output=True)
        head = result.stderr.decode("utf-8", "replace").lower().splitlines()
        if result.returncode or "grpc-status: 0" not in [line.strip() for line in head]:
            raise RuntimeError(f"{method}: curl {result.returncode}: " + " | ".join(x for x in head if "grpc" in x or "curl" in x))
        return decode(result.stdout[5:])

    def pod_config(self, pod, cgroup):
        """pod: a tree.Pod. Host network and IPC, its own pids: no CNI plugin is needed."""
        return {1: {1: pod.name, 2: pod.uid, 3: pod.namespace, 4: 0}, 3: pod.dir,
                8: {1: cgroup, 2: {1: {1: 2, 2: 1, 3: 2}}}}

    def run_pod(self, config):
        return self.call("RunPodSandbox", {1: config})[1][0].decode()

    def create(self, pod_id, config, name, image, command, attempt=0):
        container = {1: {1: name, 2: attempt}, 2: {1: image}, 3: command, 11: f"{name}/{attempt}.log"}
        return self.call("CreateContainer", {1: pod_id, 2: container, 3: config})[1][0].decode()

    def start(self, container):
        self.call("StartContainer", {1: container})

    def reopen_log(self, container):
        self.call("ReopenContainerLog", {1: container})

    def stop(self, container, timeout=1):
        self.call("StopContainer", {1: container, 2: timeout})

    def remove(self, container):
        self.call("RemoveContainer", {1: container})

    def remove_pod(self, pod_id):
        self.call("StopPodSandbox", {1: pod_id})
        self.call("RemovePodSandbox", {1: pod_id})

    def running(self, container):
        """ContainerState: 0 created, 1 running, 2 exited."""
        status = decode(self.call("ContainerStatus", {1: container})[1][0])
        return status.get(3, [0])[0] == 1
