#!/usr/bin/python3
"""sequential_study.py BUILD-DIR [SPARSITY …]: the small language model of examples/, pruned by statistics of
the dense model, and block by block by those of the pruned blocks before. Prints a table of
docs/pruning-study.md (nats per byte, lower is better). Needs PyTorch.
"""

import os
import shutil
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, x) for x in ("tests/http", "tests/python", "clients/python/src")]
os.environ["SPECTRALD_BIN"] = os.path.join(sys.argv[1], "daemon/main/spectrald")

import llama  # noqa: E402
import torch  # noqa: E402
from daemon import Daemon  # noqa: E402
from spectrald import Client, hooks, sequential  # noqa: E402

MODEL = os.path.join(TOP, "examples/manlm.safetensors")
METHODS = ["wanda", "ria", "sparsegpt"]
LENGTH, EVALUATED, CALIBRATION = 256, 64, 384  # tokens; sequences


def by_dense(client, batches, params, folder):
    """Pruned at once, by statistics of the dense model."""
    stats = os.path.join(folder, "stats")
    hooks.collect(llama.load(MODEL), batches, stats, hooks.ALL)
    upload = client.create_upload(stats)["id"]
    job = client.wait(client.create_job(
        {"kind": "prune", "source": {"path": "manlm.safetensors"},
         "params": {**params, "stats": {"upload": upload}}}))
    client.get_artifact_file(job["result"]["artifact"], "manlm.safetensors",
                             os.path.join(folder, "pruned"))
    client.delete_upload(upload)
    return llama.load(os.path.join(folder, "pruned"))


def in_turn(client, batches, params):
    model = llama.load(MODEL)
    sequential.prune(model, batches, client, "manlm.safetensors", params)
    return model


def main():
    targets = [float(x) for x in sys.argv[2:]] or [0.5, 0.6, 0.7, 0.8]
    with open(os.path.join(TOP, "tests/data/manlm-eval.bin"), "rb") as f:
        text = f.read()
    held_out = text[:EVALUATED * LENGTH + 1]
    rest = torch.tensor(list(text[-CALIBRATION * LENGTH:])).view(CALIBRATION, LENGTH)
    batches = list(rest.split(16))
    with tempfile.TemporaryDirectory() as tmp, Daemon(tmp) as d:
        shutil.copy(MODEL, d.root)
        client = Client(f"http://127.0.0.1:{d.port}")
        print("| | " + " | ".join(f"{100 * s:.0f} %" for s in targets) + " |")
        print("|---|" + "---|" * len(targets))
        for method in METHODS:
            rows = {"dense": [], "sequential": []}
            for s in targets:
                params = {"method": method, "sparsity": s}
                for name, model in (("dense", by_dense(client, batches, params, tmp)),
                                    ("sequential", in_turn(client, batches, params))):
                    rows[name].append(f"{llama.nats_per_byte(model, held_out, LENGTH):.4f}")
            for name, cells in rows.items():
                print(f"| {method}, {name} | " + " | ".join(cells) + " |", flush=True)


main()
