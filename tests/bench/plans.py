#!/usr/bin/python3
"""plans.py BUILD-DIR: plans of a cached analysis of 224 matrices, each with another sparsity, over
16 connections that never pause (wrk): requests a second, median and p99 latency; and one at a time.
"""

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
  return wrk.format("POST", "/v1/plans", {["Content-Type"] = "application/json"}, string.format(
    '{"analysis":"%s","mapping":"%s","sparsity":%%.9f}', %f + n * 1e-6))
end
function done(summary, latency)
  print(string.format("p50 %%.2f ms, p99 %%.2f ms", latency:percentile(50) / 1000,
                      latency:percentile(99) / 1000))
end
"""


def main():
    r = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as tmp, Daemon(tmp) as d:
        write_safetensors(os.path.join(d.root, "m.safetensors"), {
            f"model.layers.{i}.{name}.weight": r.standard_normal(shape).astype(np.float32)
            for i in range(32) for name, shape in SHAPES.items()})
        job, _ = d.analyze("m.safetensors")
        analysis = job["result"]["analysis"]
        for mapping in ("block_wise", "per_matrix"):
            script = os.path.join(tmp, "plans.lua")
            with open(script, "w") as f:
                f.write(SCRIPT % (analysis, mapping, 0.5))
            out = subprocess.run(["wrk", "-t1", "-c16", "-d5", "-s", script,
                                  f"http://127.0.0.1:{d.port}"], capture_output=True, text=True,
                                 check=True).stdout
            lines = [x.strip() for x in out.splitlines()
                     if x.startswith(("Requests/sec", "p50", "  Non-2xx"))]
            alone = []
            for k in range(200):
                body = {"analysis": analysis, "mapping": mapping, "sparsity": 0.7 + k * 1e-6}
                start = time.perf_counter()
                assert d.request("POST", "/v1/plans", body, documented=False).status == 200
                alone.append(time.perf_counter() - start)
            print(mapping, "; ".join(lines), f"; alone p50 {1e3 * sorted(alone)[100]:.2f} ms")


main()
