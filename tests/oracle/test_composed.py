"""Differences from a base model and LoRA adapters against WeightWatcher 0.7.5.5, where it is right:
the base has every layer, ranks are not below min_evals."""

import json

import numpy as np
import pytest
import torch
import weightwatcher as ww
from safetensors.torch import save_file

from daemon import Daemon

COMPAT = "weightwatcher-0.7.5.5"
COLUMNS = ["alpha", "D", "xmin", "sigma", "num_pl_spikes", "lambda_max", "log_norm", "stable_rank",
           "log_spectral_norm", "matrix_rank", "rank_loss", "entropy", "num_evals", "N", "M"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("composed") / "models"
    root.mkdir()
    with Daemon(str(root.parent / "d"), root=str(root)) as d:
        yield d, root


def heavy(rng, *shape):
    return torch.from_numpy(rng.standard_t(3, shape)).float()


def compare(rows, details, columns=COLUMNS):
    assert len(details) > 0
    for _, want in details.iterrows():
        row = rows[want["longname"]]
        for key in columns:
            assert row[key] == pytest.approx(want[key], rel=1e-5, abs=1e-9), (row["longname"], key)


def test_differences_from_a_base(server):
    d, root = server
    rng = np.random.default_rng(4)
    shapes = {"a": (80, 60), "b": (60, 120), "c": (32, 16, 3, 3), "e": (50, 50)}
    base = {f"{k}.weight": heavy(rng, *s) for k, s in shapes.items()}
    model = {k: w + 0.1 * heavy(rng, *w.shape) for k, w in base.items()}
    save_file(base, root / "base.safetensors")
    save_file(model, root / "model.safetensors")
    details = ww.WeightWatcher(model=model, base_model=base).analyze(min_evals=10)
    _, rows = d.analyze("model.safetensors",
                        {"compat": COMPAT, "base": {"path": "base.safetensors"}})
    assert len(details) == len(shapes)
    compare(rows, details)


def test_adapters(server):
    d, root = server
    rng = np.random.default_rng(5)
    tensors = {}
    for k, (out, rank, into) in {"q": (90, 16, 90), "v": (40, 12, 90), "up": (120, 24, 60)}.items():
        tensors[f"base_model.model.{k}.lora_A.weight"] = heavy(rng, rank, into)
        tensors[f"base_model.model.{k}.lora_B.weight"] = heavy(rng, out, rank)
    (root / "lora").mkdir()
    save_file(tensors, root / "lora/adapter_model.safetensors")
    with open(root / "lora/adapter_config.json", "w") as f:
        json.dump({"lora_alpha": 4, "r": 16, "rank_pattern": {"v": 12, "up": 24}}, f)
    details = ww.WeightWatcher(model=tensors).analyze(peft=True, min_evals=10)
    _, rows = d.analyze("lora", {"compat": COMPAT})
    assert len(details) == 3
    compare(rows, details)


def test_products(server):
    """Without the zeros and ones between them, which upstream draws anew in every run."""
    d, root = server
    rng = np.random.default_rng(6)
    shapes = {"a": (90, 60), "b": (60, 40), "c": (70, 40), "d": (24, 70, 3, 3), "e": (30, 30),
              "f": (24, 30)}
    tensors = {f"{k}.weight": heavy(rng, *s) for k, s in shapes.items()}
    save_file(tensors, root / "chain.safetensors")
    details = ww.WeightWatcher(model=tensors).analyze(intra=True, sparsify=False, min_evals=10)
    _, rows = d.analyze("chain.safetensors", {"compat": COMPAT, "products": "plain"})
    ours = [r for n, r in rows.items() if " X " in n]
    assert len(ours) == len(details) > 2
    for row, (_, want) in zip(ours, details.iterrows()):
        left, right = (int(x) - 1 for x in want["name"].split(" X "))
        assert row["name"] == f"{left} X {right}"
        for key in COLUMNS:
            assert row[key] == pytest.approx(want[key], rel=1e-4, abs=1e-9), (row["name"], key)
