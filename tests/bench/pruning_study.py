#!/usr/bin/python3
"""pruning_study.py BUILD-DIR [SPARSITY …]: the small language model of examples/, pruned by every method
with every layer plan, and how well it then predicts held-out bytes. Prints the tables of
docs/pruning-study.md (nats per byte, lower is better).
"""

import json
import os
import shutil
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))
os.environ["SPECTRALD_BIN"] = os.path.join(sys.argv[1], "daemon/main/spectrald")

import numpy as np  # noqa: E402
from daemon import Daemon  # noqa: E402
from perplexity import load, nats_per_byte  # noqa: E402

STATS = {"path": "manlm.stats.safetensors"}
METHODS = {
    "magnitude, tensor": {"method": "magnitude", "selection": "tensor"},
    "magnitude, row": {"method": "magnitude", "selection": "row"},
    "wanda": {"method": "wanda", "stats": STATS},
    "wanda variant": {"method": "wanda_variant", "stats": STATS},
    "dsnot": {"method": "dsnot", "stats": STATS},
    "ria": {"method": "ria", "stats": STATS},
    "trim": {"method": "trim", "stats": STATS},
    "sparsegpt": {"method": "sparsegpt", "stats": STATS},
    "admm": {"method": "admm", "stats": STATS},
    "alps": {"method": "alps", "stats": STATS},
}
OWL_M = 5


def outliers(weights, stats):
    """OWL's statistic of each matrix: the percentage of Wanda scores above OWL_M times the mean of its
    block; weighted by size, the mean over a block's matrices is that of the block."""
    head = stats["__metadata__"]
    scores, blocks = {}, {}
    for name, w in weights.items():
        if not name.startswith("model.layers.") or w.ndim != 2:
            continue
        module = name.removesuffix(".weight")
        s = np.abs(w) * np.sqrt(stats[head.get(module, module) + ".sumsq"])[None]
        scores[module] = s
        blocks.setdefault(module.rsplit(".", 2)[0], []).append(s)
    means = {b: sum(s.sum() for s in v) / sum(s.size for s in v) for b, v in blocks.items()}
    return {m: float(100 * (s > OWL_M * means[m.rsplit(".", 2)[0]]).mean())
            for m, s in scores.items()}


def read_stats(path):
    import struct
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    out = {"__metadata__": json.loads(head.pop("__metadata__")["aliases"])}
    for name, t in head.items():
        a, b = t["data_offsets"]
        if name.endswith(".sumsq"):
            out[name] = np.frombuffer(raw[8 + n + a:8 + n + b], "<f8")
    return out


def plans(sparsity, stats):
    """The plan of each kind, as a job of kind prune takes it."""
    spectral = {"method": "alphapruning", "sparsity": sparsity, "epsilon": 0.2}
    farms = {"rows": 96, "windows": 8}
    return {
        "uniform": {"method": "uniform", "sparsity": sparsity},
        "alphapruning": spectral,
        "farms": {**spectral, "metric": "farms_alpha", "analyze": {"farms": farms}},
        "owl": {"method": "owl", "sparsity": sparsity, "stats": stats},
        "atp": {"method": "atp", "sparsity": sparsity},
    }


def prune(d, params):
    body = {"kind": "prune", "source": {"path": "manlm.safetensors"}, "params": params}
    job = d.request("POST", "/v1/jobs", body, {"Prefer": "wait=60"},
                    documented=False).json
    assert job["state"] == "succeeded", job
    return job["result"]


def main():
    targets = [float(x) for x in sys.argv[2:]] or [0.5, 0.6, 0.7, 0.8]
    data = np.fromfile(os.path.join(TOP, "tests/data/manlm-eval.bin"), np.uint8)
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "out")
        os.makedirs(out)
        with Daemon(tmp, "--output-root", out) as d:
            for name in ("manlm.safetensors", "manlm.stats.safetensors"):
                shutil.copy(os.path.join(TOP, "examples", name), d.root)
            model = os.path.join(d.root, "manlm.safetensors")
            dense = load(model)
            stats = outliers(dense, read_stats(os.path.join(d.root, "manlm.stats.safetensors")))
            print(f"dense: {nats_per_byte(dense, data, 4):.4f}\n")
            n = 0
            for s in targets:
                kinds = plans(s, stats)
                print(f"| {100 * s:.0f} % | " + " | ".join(kinds) + " |")
                print("|---|" + "---|" * len(kinds))
                for name, method in METHODS.items():
                    cells = []
                    for plan in kinds.values():
                        n += 1
                        prune(d, {**method, "plan": plan, "output": {"path": f"m{n}"}})
                        path = os.path.join(out, f"m{n}", "manlm.safetensors")
                        cells.append(f"{nats_per_byte(load(path), data, 4):.4f}")
                        shutil.rmtree(os.path.dirname(path))
                    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
                print()


main()
