#!/usr/bin/python3
"""plans.py BUILD-DIR: plans, schedules and expert counts of a cached analysis of 224 matrices, each
with another number, over 16 connections that never pause (wrk): requests a second, median and p99
latency; one at a time; and the longest that the loop thread was busy, of each.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))
os.environ["SPECTRALD_BIN"] = os.path.join(sys.argv[1], "daemon/main/spectrald")

import numpy as np  # noqa: E402
from daemon import Daemon, write_safetensors  # noqa: E402

SHAPES = {"self_attn.q_proj": (64, 64), "self_attn.k_proj": (64, 64), "self_attn.v_proj": (64, 64),
          "self_attn.o_proj": (64, 64), "mlp.gate_proj": (176, 64), "mlp.up_proj": (176, 64),
          "mlp.down_proj": (64, 176)}
SCRIPT = """
local n = 0
function request()
  n = n + 1
  return wrk.format("POST", "%s", {["Content-Type"] = "application/json"},
                    string.format('%s', 0.5 + n * 1e-6))
end
function done(summary, latency)
  print(string.format("p50 %%.2f ms, p99 %%.2f ms", latency:percentile(50) / 1000,
                      latency:percentile(99) / 1000))
end
"""
CASES = {
    "plan, block_wise": ("plans", '"mapping":"block_wise","sparsity":%.9f'),
    "plan, per_matrix": ("plans", '"mapping":"per_matrix","sparsity":%.9f'),
    "schedule": ("schedules", '"base_lr":%.9f'),
    "experts": ("experts", '"total":160,"beta":%.9f'),
}


def stall(d):
    return next(float(line.split()[1]) for line in d.get("/metrics").body.decode().splitlines()
                if line.startswith("spectrald_loop_stall_seconds "))


def measure(d, tmp, path, body):
    script = os.path.join(tmp, "case.lua")
    with open(script, "w") as f:
        f.write(SCRIPT % (path, body))
    out = subprocess.run(["wrk", "-t1", "-c16", "-d5", "-s", script, f"http://127.0.0.1:{d.port}"],
                         capture_output=True, text=True, check=True).stdout
    lines = [x.strip() for x in out.splitlines()
             if x.startswith(("Requests/sec", "p50", "  Non-2xx"))]
    alone = []
    for k in range(200):
        start = time.perf_counter()
        assert d.request("POST", path, json.loads(body % (0.7 + k * 1e-6)),
                         documented=False).status == 200
        alone.append(time.perf_counter() - start)
    return "; ".join(lines) + f"; alone p50 {1e3 * sorted(alone)[100]:.2f} ms"


def main():
    r = np.random.default_rng(0)
    tensors = {f"model.layers.{i}.{name}.weight": r.standard_normal(shape).astype(np.float32)
               for i in range(32) for name, shape in SHAPES.items()}
    for name, (what, members) in CASES.items():
        with tempfile.TemporaryDirectory() as tmp, Daemon(tmp) as d:
            write_safetensors(os.path.join(d.root, "m.safetensors"), tensors)
            job, _ = d.analyze("m.safetensors")
            body = '{"analysis":"%s",%s}' % (job["result"]["analysis"], members)
            print(f"{name}: {measure(d, tmp, '/v1/' + what, body)}; "
                  f"loop stall {1e3 * stall(d):.1f} ms", flush=True)


main()
