"""Distances of a model from another against WeightWatcher 0.7.5.5's distances()."""

import os
import shutil

import pytest
import torch
import weightwatcher as ww
from safetensors.torch import load_file, save_file

from daemon import TOP, Daemon


def moved(tensors, amount):
    torch.manual_seed(9)
    return {k: v.float() + amount * v.float().std() * torch.randn(v.shape)
            if v.ndim > 1 or k.endswith("bias") else v.float() for k, v in tensors.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("distances") / "models"
    root.mkdir()
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), root)
    save_file(moved(load_file(root / "manlm.safetensors"), 0.3), root / "tuned.safetensors")
    torch.manual_seed(6)
    shapes = {"a.weight": (32, 16, 3, 3), "a.bias": (32,), "b.weight": (64, 32, 1, 1),
              "b.bias": (64,), "c.weight": (64, 8, 5, 5), "d.weight": (40, 100), "d.bias": (40,),
              "e.weight": (100, 40)}
    save_file({k: torch.randn(s) for k, s in shapes.items()}, root / "conv.safetensors")
    save_file(moved(load_file(root / "conv.safetensors"), 0.2), root / "conv2.safetensors")
    with Daemon(str(root.parent / "d"), root=str(root)) as d:
        yield d, root


@pytest.mark.parametrize("base, model", [("manlm", "tuned"), ("conv", "conv2")])
def test_distances(files, base, model):
    d, root = files
    tensors = [{k: v.float() for k, v in sorted(load_file(root / f"{x}.safetensors").items())}
               for x in (model, base)]  # it goes by order, not by name
    body = {"kind": "distances", "source": {"path": f"{model}.safetensors"},
            "params": {"base": {"path": f"{base}.safetensors"}}}
    job = d.wait_final(d.request("POST", "/v1/jobs", body).json["id"])
    found = d.get(job["links"]["result"]).json
    rows = {x["longname"]: x for x in d.get(found["links"]["layers"]).json["layers"]}
    for method in ("raw", "euclidean", "cka"):
        mean, mean_bias, details = ww.WeightWatcher().distances(*tensors, method=method)
        assert sorted(details["longname"]) == sorted(rows)
        for _, want in details.iterrows():
            got = rows[want["longname"]]
            assert got[method] == pytest.approx(want["delta_W"], rel=2e-5), want["longname"]
            if method == "raw":
                assert (got["bias"] or 0) == pytest.approx(want["delta_b"], rel=2e-5)
        assert found[f"mean_{method}"] == pytest.approx(mean, rel=2e-5)
        if method == "raw":
            assert found["mean_bias"] == pytest.approx(mean_bias, rel=2e-5)
