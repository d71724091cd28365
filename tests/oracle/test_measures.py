"""Measures and other fits against WeightWatcher 0.7.5.5, run on the same file."""

import os
import shutil

import numpy as np
import pytest
import torch
import weightwatcher as ww
from safetensors.torch import load_file, save_file

from daemon import TOP, Daemon

COMPAT = "weightwatcher-0.7.5.5"
DIGITS = "digits_cnn.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("measures") / "models"
    root.mkdir()
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), root)
    shutil.copy(os.path.join(TOP, "tests/data/digits_cnn.safetensors"), root)  # trained, float16
    torch.manual_seed(6)
    shapes = {"a": (32, 16, 3, 3), "b": (64, 32, 1, 1), "c": (64, 8, 5, 5)}
    save_file({f"{k}.weight": torch.randn(s) for k, s in shapes.items()}, root / "conv.safetensors")
    rng = np.random.default_rng(3)
    save_file({f"t{k}.weight": torch.from_numpy(rng.standard_t(k, (60, 30))).float()
               for k in (2, 3)}, root / "small.safetensors")
    digits = load_file(root / "digits_cnn.safetensors")
    save_file({"fc1.weight": digits["fc1.weight"][:20].contiguous(),
               "fc2.weight": digits["fc2.weight"]}, root / "digits_small.safetensors")
    with Daemon(str(root.parent / "d"), root=str(root)) as d:
        yield d, root


def both(files, name, ours, **theirs):
    d, root = files
    tensors = {k: v.float() for k, v in load_file(root / name).items()}
    np.random.seed(1)
    details = ww.WeightWatcher(model=tensors).analyze(min_evals=10, **theirs)
    _, rows = d.analyze(name, {"compat": COMPAT, **ours})
    assert len(details) == sum(r["status"] != "skipped" for r in rows.values())
    return [(rows[want["longname"]], want) for _, want in details.iterrows()]


@pytest.mark.parametrize("name", ["manlm.safetensors", "conv.safetensors", DIGITS])
def test_marchenko_pastur(files, name):
    for row, want in both(files, name, {"mp_fit": True}, mp_fit=True):
        assert row["num_spikes"] == want["num_spikes"], row["longname"]
        for key in ("sigma_mp", "mp_softrank", "bulk_min", "bulk_max", "W_scale"):
            assert row[key] == pytest.approx(want[key], rel=1e-6), (row["longname"], key)


@pytest.mark.parametrize("name", ["manlm.safetensors", DIGITS])
def test_trace_log(files, name):
    for row, want in both(files, name, {"erg": True}, detX=True):
        assert row["detX_num"] == want["detX_num"]
        for key in ("detX_val", "detX_val_unrescaled"):
            assert row[key] == pytest.approx(want[key], rel=1e-6), (row["longname"], key)


def test_shuffled(files):
    """Upstream does not seed: means over layers, and what hardly depends on the order."""
    pairs = both(files, "manlm.safetensors", {"randomize": True}, randomize=True)
    for row, want in pairs:
        for key, close in (("rand_distance", 0.03), ("ww_softrank", 0.12), ("max_rand_eval", 0.12),
                           ("rand_W_scale", 1e-6), ("rand_sigma_mp", 0.06)):
            assert row[key] == pytest.approx(want[key], rel=close), (row["longname"], key)
        assert abs(row["rand_num_spikes"] - want["rand_num_spikes"]) <= 3
    for key in ("rand_distance", "ww_softrank", "rand_sigma_mp"):
        ours, theirs = (np.mean([p[i][key] for p in pairs]) for i in (0, 1))
        assert ours == pytest.approx(theirs, rel=0.02), key


def test_shuffled_convolutions(files):
    """One order of upstream's is one draw of what ours, over twenty, has the mean and deviation of."""
    ours = {"compat": None, "randomize": 20, "mp_fit": "upstream"}
    pairs = both(files, DIGITS, ours, randomize=True)
    assert len(pairs) == 4  # conv2, conv3, fc1, fc2; conv1 has nine eigenvalues
    for row, want in pairs:
        assert row["rand_W_scale"] == pytest.approx(want["rand_W_scale"], rel=1e-6)
        for key, sd in (("rand_distance", "rand_distance_sd"), ("max_rand_eval", "max_rand_eval_sd")):
            assert abs(row[key] - want[key]) < 5 * row[sd], (row["longname"], key)
        assert row["rand_sigma_mp"] == pytest.approx(want["rand_sigma_mp"], rel=0.25)


def test_eigenvectors(files):
    """Rounding decides there whether the vector at xmin is of the tail or of the bulk."""
    for row, want in both(files, "manlm.safetensors", {"vectors": True}, vectors=True):
        if row["num_pl_spikes"] in (row["num_evals"], 0):
            continue
        for key in ("loc_ratio", "part_ratio", "vec_entropy"):
            for group in ("tail", "bulk"):
                tail = row["num_pl_spikes"]
                count = tail if group == "tail" else row["num_evals"] - tail
                name = f"{group}_mean_{key}"
                assert row[name] == pytest.approx(want[name], rel=0.001 + 0.5 / count), (
                    row["longname"], name)


def test_clipped(files):
    pairs = both(files, "manlm.safetensors", {"fit": {"fix_fingers": "clip_xmax"}},
                 fix_fingers="clip_xmax")
    for row, want in pairs:
        assert row["num_fingers"] == want["num_fingers"], row["longname"]
        for key in ("alpha", "raw_alpha", "D", "xmin", "xmax"):
            assert row[key] == pytest.approx(want[key], rel=1e-6), (row["longname"], key)


def test_without_the_largest(files):
    for row, want in both(files, "manlm.safetensors", {"fit": {"drop_top": 2}}, xmax=2):
        for key in ("alpha", "D", "xmin", "xmax"):
            assert row[key] == pytest.approx(want[key], rel=1e-6), (row["longname"], key)


@pytest.mark.parametrize("name", ["small.safetensors", "digits_small.safetensors"])
def test_truncated(files, name):
    """Small matrices: upstream takes half a minute for 40 eigenvalues."""
    for row, want in both(files, name, {"fit": {"law": "tpl"}}, fit="TPL", pl_package="powerlaw"):
        assert row["alpha"] == pytest.approx(want["alpha"], rel=5e-3), row["longname"]
        assert row["Lambda"] == pytest.approx(want["Lambda"], abs=2e-3, rel=2e-2)
        assert row["D"] == pytest.approx(want["D"], abs=1e-3)
