"""The real daemon on a temporary state directory, and plain-socket HTTP."""

import http.client
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time

from contract import contract

BIN = os.environ.get("SPECTRALD_BIN", "build/daemon/main/spectrald")
CTL = os.environ.get("SPECTRALCTL_BIN", "build/cli/spectralctl")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def hold_port():
    """A port that stays ours while this socket lives: bound and never listening, it keeps the
    kernel from giving the port to others, but not, with SO_REUSEADDR, the daemon from using it."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Daemon:
    running = set()  # for conftest.py: the logs of a failure, and what a failed test left behind

    def __init__(self, tmp, *flags, root=None, workers=2):
        self.state = os.path.join(tmp, "state")
        os.makedirs(tmp, exist_ok=True)
        self.root = root or os.path.join(tmp, "models")
        os.makedirs(self.root, exist_ok=True)
        self.held = hold_port()
        self.port = self.held.getsockname()[1]
        self.flags = ["--listen", f"127.0.0.1:{self.port}", "--state-dir", self.state,
                      "--model-root", self.root, "--workers", str(workers), *flags]
        self.log_path = os.path.join(tmp, "log")
        self.proc = None

    def start(self):
        self.log = open(self.log_path, "ab")
        self.proc = subprocess.Popen([BIN, *self.flags], stdout=subprocess.PIPE, stderr=self.log)
        Daemon.running.add(self)
        ready, _, _ = select.select([self.proc.stdout], [], [], 60)
        line = self.proc.stdout.readline() if ready else b""
        assert b"serves on" in line, open(self.log_path).read()
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def stop(self, sig=signal.SIGTERM, timeout=60):
        try:
            if self.proc and self.proc.poll() is None:
                self.proc.send_signal(sig)
                self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise
        finally:
            Daemon.running.discard(self)
            self.log.close()
        return self.proc.returncode

    def kill(self):
        self.stop(signal.SIGKILL)

    def log_text(self):
        return open(self.log_path, errors="replace").read()

    def children(self, role="compute"):
        pids = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1]
                args = open(f"/proc/{pid}/cmdline").read().split("\0")
            except OSError:
                continue  # it has just ended
            if int(parent) == self.proc.pid and f"--role={role}" in args:
                pids.append(int(pid))
        return pids

    def request(self, method, path, body=None, headers=None, timeout=120, documented=True):
        """One request; its reply is held against openapi.yaml, unless the request breaks HTTP
        itself (documented=False)."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        h = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            h.setdefault("Content-Type", "application/json")
        c.request(method, path, body, h)
        r = c.getresponse()
        reply = Reply(r.status, r.headers, r.read())
        c.close()
        if documented:
            contract().check(method, path, h, body, reply.status, reply.headers, reply.body)
        return reply

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def submit(self, path, params=None, wait=60, labels=None):
        body = {"kind": "analyze", "source": {"path": path}}
        if params is not None:
            body["params"] = params
        if labels is not None:
            body["labels"] = labels
        return self.request("POST", "/v1/jobs", body, {"Prefer": f"wait={wait}"} if wait else {})

    def wait_final(self, job_id, seconds=300):
        end = time.time() + seconds
        while time.time() < end:
            job = self.get(f"/v1/jobs/{job_id}").json
            if job["state"] in ("succeeded", "failed", "cancelled"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"job does not end: {job}\n{self.log_text()[-4000:]}")

    def analyze(self, path, params=None):
        """A finished job and its rows by longname."""
        r = self.submit(path, params)
        assert r.status in (200, 202), r.body
        job = self.wait_final(r.json["id"])
        assert job["state"] == "succeeded", job
        rows = self.get(f"/v1/analyses/{job['result']['analysis']}/layers?page_size=10000").json
        return job, {row["longname"]: row for row in rows["layers"]}


DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int32": "I32", "int8": "I8",
          "uint8": "U8", "int64": "I64"}


def write_safetensors(path, tensors, dtypes=None):
    """Write {name: ndarray}; dtypes overrides the stored name (raw bytes are taken as they are)."""
    header, blobs, at = {}, [], 0
    for name, a in tensors.items():
        data = a.tobytes()
        shape = list(a.shape)
        dtype = (dtypes or {}).get(name, DTYPES[str(a.dtype)] if str(a.dtype) in DTYPES else None)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        blobs.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    os.rename(path + ".part", path)


def age(path, seconds=60):
    """Let a file look old, so that the daemon may remember its digests by identity."""
    t = time.time() - seconds
    os.utime(path, (t, t))
