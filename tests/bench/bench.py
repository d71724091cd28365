#!/usr/bin/env python3
"""Benchmarks, in one run on the same cores. Not tests.

Run with the oracle's interpreter (tests/oracle/run.sh makes it), the machine otherwise idle:
    .venv-oracle/bin/python3 tests/bench/bench.py BUILD-DIR [--skip-upstream]

(a) WeightWatcher analyze() against one job, cold cache, on synthetic float32 matrices
(b) the example model the same way, best of three
(c) time of a spectrum against its floor: (n^2 m + 4/3 n^3) operations at one-thread dgemm speed,
    both workers busy, both cores busy with dgemm; the whole job is timed, best of three
(d) peak memory of a worker on 128256 x 4096 BF16
(e) longest stall of the event loop while all that ran
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))
build = os.path.abspath(sys.argv[1])
os.environ["SPECTRALD_BIN"] = build + "/daemon/main/spectrald"
import numpy as np  # noqa: E402
from daemon import Daemon, write_safetensors  # noqa: E402

SHAPES = [(4096, 4096), (4096, 11008)] + [(2048, 8192)] * 2 + [(1024, 4096)] * 4

UPSTREAM = """
import sys, time, logging
logging.disable(logging.CRITICAL)
import weightwatcher as ww
from safetensors.torch import load_file
best = 1e9
for _ in range(int(sys.argv[2])):
    t = {k: v.float() for k, v in load_file(sys.argv[1]).items()}
    w = ww.WeightWatcher(model=t)
    start = time.perf_counter()
    w.analyze(max_evals=20000, max_N=200000)
    best = min(best, time.perf_counter() - start)
print(best)
"""

DGEMM = """
import time, numpy as np
n = 2048
a = np.random.rand(n, n); b = np.random.rand(n, n); a @ b
best = 1e9
for _ in range(12):
    s = time.perf_counter(); a @ b; best = min(best, time.perf_counter() - s)
print(2 * n ** 3 / best)
"""


def python(code, *args, threads=None):
    env = dict(os.environ)
    if threads:
        env["OPENBLAS_NUM_THREADS"] = str(threads)
    out = subprocess.run([sys.executable, "-c", code, *map(str, args)], env=env,
                         capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    return float(out.stdout.split()[-1])


def dgemm_speed():
    """Operations per second of one thread while the other core does the same; best of each."""
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(python, DGEMM, threads=1) for _ in range(2)]
        return sum(f.result() for f in both) / 2


def timed_job(root, name, params=None, repeat=1):
    """Seconds from POST with Prefer: wait to done, cold cache; best of `repeat` daemons. Also the
    workers' peak memory in bytes and the longest loop stall in seconds."""
    best, rss, stall = 1e9, 0, 0
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as tmp, Daemon(tmp, root=root) as d:
            time.sleep(0.5)  # workers check in
            start = time.perf_counter()
            job = d.submit(name, params, wait=60).json
            if job["state"] not in ("succeeded", "failed"):
                job = d.wait_final(job["id"], 3600)
            best = min(best, time.perf_counter() - start)
            assert job["state"] == "succeeded", job
            for pid in d.children():
                status = open(f"/proc/{pid}/status").read()
                rss = max(rss, int(status.split("VmHWM:")[1].split()[0]) * 1024)
            time.sleep(2.1)  # the gauge is refreshed every two seconds
            for line in d.get("/metrics").body.decode().splitlines():
                if line.startswith("spectrald_loop_stall_seconds "):
                    stall = max(stall, float(line.split()[1]))
    return best, rss, stall


def main():
    upstream = "--skip-upstream" not in sys.argv
    work = tempfile.mkdtemp()
    rng = np.random.default_rng(0)
    stalls = []
    try:
        write_safetensors(work + "/a.safetensors",
                          {f"l{i}.weight": rng.standard_normal(s, dtype=np.float32)
                           for i, s in enumerate(SHAPES)})
        shutil.copy(TOP + "/examples/manlm.safetensors", work)
        t, _, s = timed_job(work, "a.safetensors")
        stalls.append(s)
        t1, _, _ = timed_job(work, "a.safetensors", {"precision": "single"})
        u = python(UPSTREAM, work + "/a.safetensors", 1) if upstream else float("nan")
        print(f"(a) synthetic      upstream {u:8.2f} s   double {t:7.2f} s ({u / t:4.1f}x)   "
              f"single {t1:7.2f} s ({u / t1:4.1f}x)", flush=True)
        t, _, s = timed_job(work, "manlm.safetensors", repeat=3)
        stalls.append(s)
        u = python(UPSTREAM, work + "/manlm.safetensors", 3) if upstream else float("nan")
        print(f"(b) manlm          upstream {u * 1e3:8.1f} ms  double {t * 1e3:7.1f} ms "
              f"({u / t:4.1f}x)", flush=True)
        for rows, cols in [(2048, 2048), (2048, 8192), (4096, 4096), (4096, 11008)]:
            write_safetensors(work + "/c.safetensors",
                              {f"l{i}.weight": rng.standard_normal((rows, cols), dtype=np.float32)
                               for i in range(2)})
            speed = dgemm_speed()
            t, _, s = timed_job(work, "c.safetensors", repeat=3)
            speed = max(speed, dgemm_speed())
            stalls.append(s)
            n, m = min(rows, cols), max(rows, cols)
            floor = (n * n * m + 4 / 3 * n ** 3) / speed
            print(f"(c) {rows:5d} x {cols:5d}  two at once {t:7.2f} s  floor {floor:6.2f} s "
                  f"({speed / 1e9:.1f} GFLOP/s)  ratio {t / floor:.2f}", flush=True)
        n = 4096
        big = rng.integers(0, 1 << 16, (128256, n), dtype=np.uint16)
        big &= 0xbfff  # below 2: finite
        write_safetensors(work + "/d.safetensors", {"embed.weight": big}, {"embed.weight": "BF16"})
        del big
        t, rss, s = timed_job(work, "d.safetensors")
        stalls.append(s)
        print(f"(d) 128256 x 4096  {t:.1f} s  peak memory of a worker {rss / 1e6:.0f} MB, "
              f"allowed {(2 * n * n * 8 + 256e6) / 1e6:.0f} MB", flush=True)
        print(f"(e) longest loop stall {max(stalls) * 1e3:.1f} ms, allowed 50 ms")
    finally:
        shutil.rmtree(work)


main()
