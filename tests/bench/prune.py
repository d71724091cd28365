#!/usr/bin/env python3
"""Pruned files against cp, and one layer against NumPy, in one run on the same cores. Not a test.

    python3 tests/bench/prune.py BUILD-DIR [--runs N] [--gb G] [--dir DIR] [--case CASE]...

Cases: magnitude and wanda (a whole job of a bfloat16 checkpoint of G GB in two files, at 50 %, from
the request to its end, so with digests, syncs and the rename), beside `cp --reflink=never` of its
files and `sync`, runs in turn, warm cache; trim (4096 x 4096, 256 tokens) and sparsegpt (4096 x
4096, from the Gram matrix), one thread of ours, beside the algorithms as published in NumPy with
all cores; memory (sparsegpt and trim, of 4096 x 11008 and 11008 x 4096). Memory is what the busiest
compute worker's peak (VmHWM) is above an idle one's. Limit: two matrices as stored and one Gram
matrix in single precision, of the largest layer.

Ratios are of every pair of neighbouring runs: the least, the median, the largest; processor time
beside the time on the clock tells how much a busy machine distorts it. Needs NumPy.
`ninja -C BUILD-DIR tests/prune_one` builds the helper.
"""

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))

N = 4096
SHAPES = {"self_attn.q_proj": (N, N), "self_attn.k_proj": (N, N), "self_attn.v_proj": (N, N),
          "self_attn.o_proj": (N, N), "mlp.gate_proj": (11008, N), "mlp.up_proj": (11008, N),
          "mlp.down_proj": (N, 11008)}
PER_BLOCK = 2 * sum(r * c for r, c in SHAPES.values())


def bf16(x):
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + 0x7fff + (u >> 16 & 1)) >> 16).astype(np.uint16)


def write(path, arrays, dtypes):
    """A safetensors file of (name, shape, dtype, function that gives the bytes)."""
    head, at = {}, 0
    for name, shape, size in arrays:
        head[name] = {"dtype": dtypes[0], "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape, _ in arrays:
            f.write(dtypes[1](name, shape))


def make_model(root, gb):
    """Blocks as a 7B LLaMA has them, in two files, and what is known of their inputs."""
    blocks = max(2, round(gb * 1e9 / PER_BLOCK))
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(1 << 24, dtype=np.float32) * 0.02
    names = [(f"model.layers.{b}.{part}", shape) for b in range(blocks)
             for part, shape in SHAPES.items()]
    half = (len(names) + 1) // 2
    directory = os.path.join(root, "model")
    os.makedirs(directory)
    index = {}

    def weights(_, shape):
        n = shape[0] * shape[1]
        scale = np.exp(rng.standard_normal(shape[0], dtype=np.float32) * 0.3)
        start = int(rng.integers(1 << 24))
        flat = np.take(noise, np.arange(start, start + n), mode="wrap").reshape(shape)
        return bf16(flat * scale[:, None]).tobytes()

    for k in range(2):
        part = names[k * half:(k + 1) * half]
        file = f"model-{k + 1:05}-of-00002.safetensors"
        write(os.path.join(directory, file),
              [(n + ".weight", s, 2 * s[0] * s[1]) for n, s in part], ("BF16", weights))
        index.update({n + ".weight": file for n, _ in part})
    with open(os.path.join(directory, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {}, "weight_map": index}, f)
    write(os.path.join(root, "stats.safetensors"), [(n + ".sumsq", (s[1],), 4 * s[1]) for n, s in names],
          ("F32", lambda _, s: np.exp(rng.standard_normal(s[0])).astype(np.float32).tobytes()))
    return directory


# --- whole jobs ------------------------------------------------------------------------------------


def processor(pids):
    """Seconds of processor time that processes have used."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def copy(source, target):
    os.sync()
    before = os.times()
    start = time.perf_counter()
    subprocess.run(["cp", "-r", "--reflink=never", source, target], check=True)
    subprocess.run(["sync", *(os.path.join(target, f) for f in os.listdir(target))], check=True)
    took = time.perf_counter() - start
    after = os.times()
    shutil.rmtree(target)
    return took, sum(after[2:4]) - sum(before[2:4])


def job(d, out, params):
    os.sync()
    body = {"kind": "prune", "source": {"path": params.pop("source", "model")},
            "params": {**params, "output": {"path": "out"}}}
    before = processor([d.proc.pid, *d.children()])
    start = time.perf_counter()
    r = d.request("POST", "/v1/jobs", body, {"Prefer": "wait=60"}, documented=False).json
    while r["state"] not in ("succeeded", "failed"):
        r = d.request("GET", f"/v1/jobs/{r['id']}?wait=60", documented=False).json
    took = time.perf_counter() - start
    assert r["state"] == "succeeded", r
    used = processor([d.proc.pid, *d.children()]) - before
    shutil.rmtree(os.path.join(out, "out"))
    return took, used


METHODS = {"magnitude": ({"sparsity": 0.5, "method": "magnitude"}, 2),
           "wanda": ({"sparsity": 0.5, "method": "wanda", "stats": {"path": "stats.safetensors"}}, 3)}


def peak(d, what):
    """The largest VmHWM or VmRSS of the compute workers, in bytes."""
    found = []
    for pid in d.children():
        with open(f"/proc/{pid}/status") as f:
            found += [int(line.split()[1]) * 1024 for line in f if line.startswith(what)]
    return max(found)


def whole(cases, runs, gb, tmp):
    from daemon import Daemon, age
    root, out = os.path.join(tmp, "models"), os.path.join(tmp, "out")
    os.makedirs(root)
    os.makedirs(out)
    directory = make_model(root, gb)
    for base, _, files in os.walk(root):
        for f in files:
            age(os.path.join(base, f))
    size = sum(os.path.getsize(os.path.join(directory, f)) for f in os.listdir(directory))
    limit = 2 * 2 * 11008 * N + 4 * N * N
    with Daemon(tmp, "--output-root", out, root=root) as d:
        job(d, out, dict(METHODS[cases[0]][0]))
        ratios, times = {c: [] for c in cases}, {c: [] for c in ["cp", *cases]}
        for _ in range(runs):
            for c in cases:
                times["cp"].append(copy(directory, os.path.join(tmp, "copy")))
                times[c].append(job(d, out, dict(METHODS[c][0])))
                ratios[c].append(times[c][-1][0] / times["cp"][-1][0])
    print(f"{size / 1e9:.2f} GB; cp and sync: {both(times['cp'])}")
    for c in cases:
        print(f"{c}: {both(times[c])}; {spread(ratios[c])} times cp (at most {METHODS[c][1]})")
    for c in cases:
        with Daemon(os.path.join(tmp, c), "--output-root", out, root=root) as d:
            idle = peak(d, "VmRSS")
            job(d, out, dict(METHODS[c][0]))
            print(f"{c}: {(peak(d, 'VmHWM') - idle) / 1e6:.0f} MB of memory (at most {limit / 1e6:.0f})")
    shutil.rmtree(root)


def one_layer(root, rows, cols, tokens):
    """A model of one matrix, and all that is known of its inputs."""
    rng = np.random.default_rng(4)
    os.makedirs(root)
    w = rng.standard_normal((rows, cols), dtype=np.float32) * 0.02
    x = rng.standard_normal((tokens, cols), dtype=np.float32)
    name = "model.layers.0.mlp.down_proj"
    write(os.path.join(root, "model.safetensors"), [(name + ".weight", w.shape, 2 * w.size)],
          ("BF16", lambda *_: bf16(w).tobytes()))
    kinds = {"sumsq": (x * x).sum(0), "xlast": x, "gram": x.T @ x}
    write(os.path.join(root, "stats.safetensors"),
          [(f"{name}.{k}", v.shape, 4 * v.size) for k, v in kinds.items()],
          ("F32", lambda n, _: kinds[n.rsplit(".", 1)[1]].tobytes()))


def memory(tmp):
    from daemon import Daemon, age
    out = os.path.join(tmp, "memory-out")
    os.makedirs(out)
    for rows, cols in ((N, 11008), (11008, N)):
        root = os.path.join(tmp, f"layer-{rows}")
        one_layer(root, rows, cols, 256)
        for f in os.listdir(root):
            age(os.path.join(root, f))
        limit = 2 * 2 * rows * cols + 4 * cols * cols
        for method in ("sparsegpt", "trim"):
            with Daemon(os.path.join(tmp, f"memory-{method}-{rows}"), "--output-root", out, root=root,
                        workers=1) as d:
                idle = peak(d, "VmRSS")
                took, used = job(d, out, {"sparsity": 0.6, "method": method, "source": "model.safetensors",
                                          "stats": {"path": "stats.safetensors"}})
                print(f"{method} of {rows} x {cols}: {(peak(d, 'VmHWM') - idle) / 1e6:.0f} MB of memory "
                      f"(at most {limit / 1e6:.0f}), {took:.1f} s, of processors {used:.1f} s")
        shutil.rmtree(root)


def both(v):
    return f"{spread([t[0] for t in v])} s, of processors {spread([t[1] for t in v])} s"


def spread(v):
    return f"{min(v):.2f} / {statistics.median(v):.2f} / {max(v):.2f}"


# --- one layer -------------------------------------------------------------------------------------


def layer(rng, tokens):
    """Weights, and inputs that are alike, some of them large, as a transformer's are."""
    w = rng.standard_normal((N, N), dtype=np.float32) * 0.02
    w *= np.exp(rng.standard_normal((N, 1), dtype=np.float32) * 0.5)
    mix = rng.standard_normal((N, 64), dtype=np.float32)
    x = mix @ rng.standard_normal((64, tokens), dtype=np.float32) / 8
    x += rng.standard_normal((N, tokens), dtype=np.float32)
    x *= np.exp(rng.standard_normal((N, 1), dtype=np.float32))
    return w, x


def trim_direct(w, x, score, target):
    """The published search: a masked product for every step."""
    rows, cols = w.shape
    rank = np.empty((rows, cols), np.int32)
    np.put_along_axis(rank, np.argsort(score, axis=1, kind="stable"),
                      np.broadcast_to(np.arange(cols, dtype=np.int32), (rows, cols)), axis=1)
    y = (w @ x).astype(np.float64)
    a = (y * y).sum(1)
    products = 1

    def measure(s):
        nonlocal products
        products += 1
        keep = rank >= (np.float32(cols) * s).astype(np.int32)[:, None]
        z = ((w * keep) @ x).astype(np.float64)
        b, c = (y * z).sum(1), (z * z).sum(1)
        row = b / ((np.sqrt(a) + 1e-8) * (np.sqrt(c) + 1e-8))
        return b.sum() / ((np.sqrt(a.sum()) + 1e-8) * (np.sqrt(c.sum()) + 1e-8)), row

    def steps(lr):
        s = np.full(rows, target, np.float32)
        m, row = measure(s)
        best = (base, s)
        for _ in range(10):
            d = 2 * lr * (row - row.min()) / (row.max() - row.min() + 1e-6)
            s = np.clip(s + (d - d.mean()), 0, 0.95).astype(np.float32)
            s = (s - s.mean() + np.float32(target)).astype(np.float32)
            m, row = measure(s)
            if m > best[0]:
                best = (m, s)
        return best

    s = np.full(rows, target, np.float32)
    base, _ = measure(s)
    best, rate = (base, s), None
    for rates in ((0.01, 0.02, 0.04, 0.08, 0.12, 0.16), (-0.01, -0.02, -0.04)):
        last = -np.inf
        for lr in rates if rate is None else ():
            found = steps(lr)
            if found[0] > best[0]:
                best, rate = found, lr
            if found[0] <= last:
                break
            last = found[0]
    s = np.clip(best[1], 0, 0.95)
    return s - s.mean() + np.float32(target), best[0], products


def sparsegpt_direct(w, h, sparsity, block=128):
    """Cholesky, inverse, Cholesky; then column by column."""
    w = w.copy()
    h = h.astype(np.float32)
    cols = w.shape[1]
    h[np.diag_indices(cols)] += np.float32(0.01) * h.diagonal().mean()
    half = np.linalg.inv(np.linalg.cholesky(h))
    u = np.linalg.cholesky(half.T @ half).T.copy()
    error = 0.0
    for first in range(0, cols, block):
        last = min(first + block, cols)
        part = w[:, first:last].copy()
        d = u.diagonal()[first:last]
        score = part ** 2 / d ** 2
        cut = np.sort(score, axis=None)[int(score.size * sparsity)]
        mask = score <= cut
        e = np.empty_like(part)
        for i in range(last - first):
            q = np.where(mask[:, i], 0, part[:, i])
            e[:, i] = (part[:, i] - q) / d[i]
            error += float((e[:, i].astype(np.float64) ** 2).sum())
            part[:, i + 1:] -= np.outer(e[:, i], u[first + i, first + i + 1:last])
            part[:, i] = q
        w[:, first:last] = part
        w[:, last:] -= e @ u[first:last, last:]
    return w, error / 2


def helper(build, tmp, *args):
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with open("/proc/cpuinfo") as f:
        if "avx512bw" in f.read():
            env.setdefault("OPENBLAS_CORETYPE", "SKYLAKEX")  # as a worker's is
    out = subprocess.run([os.path.join(build, "tests/prune_one"), *map(str, args)], cwd=tmp, env=env,
                         check=True, capture_output=True, text=True).stdout
    return [float(v) for v in out.split()]


def report(what, ours, theirs, target):
    ratios = [t / o for o, t in zip(ours, theirs)]
    print(f"{what}: {spread(ours)} s; NumPy {spread(theirs)} s; {spread(ratios)} times as fast "
          f"(at least {target})")


def one_trim(build, runs, tmp):
    w, x = layer(np.random.default_rng(2), 256)
    score = np.abs(w) * np.sqrt((x * x).sum(1))
    for name, v in (("w", w), ("score", score), ("x", x)):
        v.tofile(os.path.join(tmp, name))
    ours, theirs = [], []
    for _ in range(runs):
        start = time.perf_counter()
        s, metric, products = trim_direct(w, x, score, 0.7)
        theirs.append(time.perf_counter() - start)
        took, best, rate = helper(build, tmp, "trim", N, N, 256, 0.7, "w", "score", "x", "s")
        ours.append(took)
    off = np.abs(np.fromfile(os.path.join(tmp, "s"), np.float32) - s).max()
    assert off < 1e-4 and abs(best - metric) < 1e-5, (off, best, metric)
    report(f"trim ({products} products, rate {rate})", ours, theirs, 4)


def one_sparsegpt(build, runs, tmp):
    w, x = layer(np.random.default_rng(3), 2 * N)
    gram = (x @ x.T).astype(np.float64) * (2 / 16)
    w.tofile(os.path.join(tmp, "w"))
    gram.tofile(os.path.join(tmp, "gram"))
    ours, theirs, factor = [], [], []
    for _ in range(runs):
        start = time.perf_counter()
        _, error = sparsegpt_direct(w, gram, 0.5)
        theirs.append(time.perf_counter() - start)
        took, own, first = helper(build, tmp, "sparsegpt", N, N, 0.5, "w", "gram", "out")
        ours.append(took)
        factor.append(first)
    assert abs(own / error - 1) < 0.005, (own, error)
    report(f"sparsegpt (factor {statistics.median(factor):.2f} s)", ours, theirs, 3)


CASES = ["magnitude", "wanda", "trim", "sparsegpt", "memory"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--gb", type=float, default=2)
    p.add_argument("--dir", default=None)
    p.add_argument("--case", action="append", choices=CASES)
    o = p.parse_args()
    o.build = os.path.abspath(o.build)
    cases = o.case or CASES
    os.environ["SPECTRALD_BIN"] = os.path.join(o.build, "daemon/main/spectrald")
    with tempfile.TemporaryDirectory(dir=o.dir) as tmp:
        if set(cases) & set(METHODS):
            whole([c for c in cases if c in METHODS], o.runs, o.gb, tmp)
        if "trim" in cases:
            one_trim(o.build, o.runs, tmp)
        if "sparsegpt" in cases:
            one_sparsegpt(o.build, o.runs, tmp)
        if "memory" in cases:
            memory(tmp)


main()
