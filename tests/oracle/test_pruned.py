"""A pruned copy, as PyTorch and the reference reader of safetensors see it."""

import os
import shutil

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from daemon import TOP, Daemon


def prune(d, params):
    body = {"kind": "prune", "source": {"path": "manlm.safetensors"}, "params": params}
    r = d.request("POST", "/v1/jobs", body, {"Prefer": "wait=60"})
    assert r.json["state"] == "succeeded", r.body


def test_a_pruned_copy_loads(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    stats = {"path": "manlm.stats.safetensors"}
    with Daemon(str(tmp_path / "d"), "--output-root", str(out)) as d:
        for name in ("manlm.safetensors", "manlm.stats.safetensors"):
            shutil.copy(os.path.join(TOP, "examples", name), d.root)
        dense = load_file(os.path.join(d.root, "manlm.safetensors"))
        prune(d, {"sparsity": 0.5, "method": "sparsegpt", "stats": stats,
                  "output": {"path": "gpt"}})
        prune(d, {"sparsity": 0.5, "method": "wanda", "stats": stats,
                  "n_of_m": {"keep": 2, "of": 4}, "output": {"path": "two_of_four"}})
    for name in ("gpt", "two_of_four"):
        path = str(out / name / "manlm.safetensors")
        with safe_open(path, "pt") as f:
            assert f.metadata() == {"format": "pt"}
        pruned = load_file(path)
        assert {k: (v.dtype, v.shape) for k, v in pruned.items()} == \
            {k: (v.dtype, v.shape) for k, v in dense.items()}
        for key, w in pruned.items():
            if not key.endswith("_proj.weight"):
                assert torch.equal(w, dense[key])
                continue
            assert torch.isfinite(w).all()
            assert int((w == 0).sum()) == w.numel() // 2
            if name == "two_of_four":
                assert ((w == 0).reshape(-1, 4).sum(1) == 2).all()
                assert torch.equal(w[w != 0], dense[key][w != 0])
