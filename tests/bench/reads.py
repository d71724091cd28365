#!/usr/bin/env python3
"""Cached reads against nginx, in one run on the same cores. Not a test.

    python3 tests/bench/reads.py BUILD-DIR [SECONDS]

GET /v1/analyses/{analysis}/layers of a 224-layer analysis, 64 connections kept alive, by wrk with
one and with two threads, plain and gzip; beside it nginx serving the very same bytes from a file,
with one worker process and with one a processor. Both write an access log to a file. Needs the
Debian packages wrk and nginx-light. The runs alternate, the best of two counts; the machine should
be idle otherwise.
"""

import array
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))
os.environ["SPECTRALD_BIN"] = os.path.abspath(sys.argv[1]) + "/daemon/main/spectrald"
from daemon import Daemon, hold_port  # noqa: E402

SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
CONNECTIONS = 64
TARGET = 0.3  # of nginx's requests/s
PARTS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
         "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]

NGINX = """
worker_processes {workers};
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {dir}/access.log;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    types {{ application/json json; }}
    server {{ listen 127.0.0.1:{port}; root {dir}/www; }}
}}
"""


def write_model(path, rows=64, cols=48):
    """32 blocks of seven matrices."""
    rng = random.Random(1)
    head, blobs, at = {}, [], 0
    for block in range(32):
        for part in PARTS:
            data = array.array("f", (rng.gauss(0, 1) for _ in range(rows * cols))).tobytes()
            head[f"model.layers.{block}.{part}.weight"] = {
                "dtype": "F32", "shape": [rows, cols], "data_offsets": [at, at + len(data)]}
            blobs.append(data)
            at += len(data)
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def wrk(url, threads, gzip):
    """Requests/s and the 99th percentile in milliseconds."""
    args = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", url]
    if gzip:
        args[-1:-1] = ["-H", "Accept-Encoding: gzip"]
    out = subprocess.run(args, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(out)
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", out).groups()
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            float(p99) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit])


def best(*runs):
    return max(r[0] for r in runs), min(r[1] for r in runs)


class Nginx:
    def __init__(self, tmp, workers):
        self.held = hold_port()
        self.port = self.held.getsockname()[1]
        self.conf = os.path.join(tmp, f"nginx-{workers}.conf")
        with open(self.conf, "w") as f:
            f.write(NGINX.format(dir=tmp, workers=workers, port=self.port))

    def __enter__(self):
        self.proc = subprocess.Popen(["nginx", "-c", self.conf], stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        assert self.proc.poll() is None, "nginx does not start"
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait()


def main():
    with tempfile.TemporaryDirectory() as tmp:
        os.chmod(tmp, 0o755)
        os.makedirs(f"{tmp}/www")
        d = Daemon(tmp)
        write_model(os.path.join(d.root, "m.safetensors"))
        with d:
            job = d.wait_final(d.submit("m.safetensors").json["id"])
            path = f"/v1/analyses/{job['result']['analysis']}/layers"
            plain, small = d.get(path), d.get(path, **{"Accept-Encoding": "gzip"})
            assert len(plain.json["layers"]) == 224
            assert small.headers["Content-Encoding"] == "gzip"
            for name, reply in (("plain", plain), ("gzip", small)):
                with open(f"{tmp}/www/{name}.json", "wb") as f:
                    f.write(reply.body)
            print(f"{os.cpu_count()} processors; bodies of {len(plain.body)} and {len(small.body)} "
                  f"bytes; {CONNECTIONS} connections, {SECONDS} s, best of two")
            print(f"{'body':6}{'wrk':>6}{'nginx workers':>15}{'nginx req/s':>13}{'p99 ms':>8}"
                  f"{'spectrald req/s':>17}{'p99 ms':>8}{'ratio':>7}")
            compare(d, path, tmp)


def compare(d, path, tmp):
    worst = 1e9
    for workers in ("1", "auto"):
        with Nginx(tmp, workers) as n:
            for name in ("plain", "gzip"):
                for threads in (1, 2):
                    theirs, ours = [], []
                    for _ in range(2):
                        theirs.append(wrk(f"http://127.0.0.1:{n.port}/{name}.json", threads, False))
                        ours.append(wrk(f"http://127.0.0.1:{d.port}{path}", threads, name == "gzip"))
                    (rate, late), (our_rate, our_late) = best(*theirs), best(*ours)
                    worst = min(worst, our_rate / rate)
                    print(f"{name:6}{'-t' + str(threads):>6}{workers:>15}{rate:13.0f}{late:8.1f}"
                          f"{our_rate:17.0f}{our_late:8.1f}{our_rate / rate:7.2f}", flush=True)
    metrics = d.get("/metrics").body.decode()
    stall = re.search(r"^spectrald_loop_stall_seconds (\S+)$", metrics, re.M).group(1)
    print(f"longest stall of the event loop {float(stall) * 1e3:.0f} ms")
    print(f"smallest ratio {worst:.2f}; wanted at least {TARGET}")


main()
