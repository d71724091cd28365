"""Every default column against WeightWatcher 0.7.5.5, run on the same file."""

import os
import shutil

import numpy as np
import pytest
import torch
import weightwatcher as ww
from safetensors.torch import load_file, save_file

from daemon import TOP, Daemon

EXACT = ["num_evals", "matrix_rank", "rank_loss", "weak_rank_loss", "num_pl_spikes", "N", "M", "rf"]
CLOSE = ["alpha", "D", "sigma", "xmin", "xmax", "norm", "log_norm", "spectral_norm",
         "log_spectral_norm", "alpha_weighted", "log_alpha_norm", "stable_rank", "entropy",
         "lambda_max", "sv_max", "sv_min", "Q"]


def model_path(tmp_path, name):
    (tmp_path / "models").mkdir()
    return str(tmp_path / "models" / name)


def compare(tmp_path, path):
    tensors = {k: v.float() for k, v in load_file(path).items()}
    watcher = ww.WeightWatcher(model=tensors)
    details = watcher.analyze(min_evals=10)
    with Daemon(str(tmp_path / "d"), root=os.path.dirname(path)) as d:
        job, rows = d.analyze(os.path.basename(path), {"compat": "weightwatcher-0.7.5.5"})
        summary = d.get(f"/v1/analyses/{job['result']['analysis']}").json["summary"]
    assert len(details) == sum(r["status"] != "skipped" for r in rows.values())
    for _, want in details.iterrows():
        row = rows[want["longname"]]
        for key in EXACT:
            assert row[key] == want[key], (want["longname"], key)
        for key in CLOSE:
            assert row[key] == pytest.approx(want[key], rel=1e-6), (want["longname"], key)
        assert row["warning"] == want["warning"] and row["has_esd"] == want["has_esd"]
    for key, want in watcher.get_summary(details).items():
        assert summary[key] == pytest.approx(want, rel=1e-6), key


def test_whole_language_model(tmp_path):
    path = model_path(tmp_path, "manlm.safetensors")
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), path)
    compare(tmp_path, path)


def test_convolutions(tmp_path):
    torch.manual_seed(1)
    shapes = {"a": (32, 16, 3, 3), "b": (64, 32, 1, 1), "c": (64, 8, 5, 5), "d": (12, 40, 3, 3)}
    path = model_path(tmp_path, "conv.safetensors")
    save_file({f"{k}.weight": torch.randn(s) for k, s in shapes.items()}, path)
    compare(tmp_path, path)


def test_odd_shapes(tmp_path):
    torch.manual_seed(2)
    path = model_path(tmp_path, "odd.safetensors")
    save_file({"wide.weight": torch.randn(20, 300), "square.weight": torch.randn(150, 150),
               "thin.weight": torch.randn(2000, 12),
               "heavy.weight": torch.from_numpy(np.random.default_rng(3).standard_t(2, (200, 90)))
               .float()}, path)
    compare(tmp_path, path)


def test_even_kernels_with_fewer_outputs(tmp_path):
    """Upstream has N and M of the first two the wrong way round."""
    torch.manual_seed(4)
    path = model_path(tmp_path, "even.safetensors")
    save_file({"a.weight": torch.randn(16, 32, 2, 2), "b.weight": torch.randn(12, 40, 4, 4),
               "c.weight": torch.randn(40, 12, 2, 2)}, path)
    compare(tmp_path, path)


def test_scale_and_degenerate(tmp_path):
    """Absolute thresholds: a small matrix loses its fit, and the summary averages alpha = -1."""
    torch.manual_seed(5)
    w = torch.randn(60, 40)
    path = model_path(tmp_path, "scale.safetensors")
    save_file({"small.weight": w * 1e-4, "large.weight": w * 1e4, "plain.weight": w}, path)
    tensors = {k: v.float() for k, v in load_file(path).items()}
    details = ww.WeightWatcher(model=tensors).analyze()
    with Daemon(str(tmp_path / "d"), root=os.path.dirname(path)) as d:
        _, rows = d.analyze("scale.safetensors", {"compat": "weightwatcher-0.7.5.5"})
    for _, want in details.iterrows():
        row = rows[want["longname"]]
        assert row["status"] == want["status"], want["longname"]
        assert row["warning"] == want["warning"], want["longname"]
        for key in ("alpha", "log_norm", "log_alpha_norm", "stable_rank", "weak_rank_loss"):
            assert row[key] == pytest.approx(want[key], rel=1e-6), (want["longname"], key)
