"""Exponents of layers and what is decided from them: plans."""

import json
import os

import pytest

from daemon import TOP

DATA = os.path.join(TOP, "tests/data")


@pytest.fixture(scope="module")
def manlm(plans):
    """The id of the example's analysis, and its rows by longname."""
    job, rows = plans.analyze("manlm.safetensors")
    return job["result"]["analysis"], rows


@pytest.fixture(scope="module")
def plans(refusing):
    return refusing


# --- exponents --------------------------------------------------------------------------------


def test_exponents_are_those_of_the_papers(manlm):
    with open(os.path.join(DATA, "manlm_alpha.json")) as f:
        want = json.load(f)["alpha"]
    assert len(want) == 28
    for name, alpha in want.items():
        row = manlm[1][name]
        assert row["alpha_mid"] == pytest.approx(alpha["xmin_mid"], rel=1e-9), name
        # The authors' scan runs in single precision.
        assert row["alpha_peak"] == pytest.approx(alpha["xmin_peak"], rel=1e-5), name


def test_new_exponents_need_no_new_spectrum(manlm, plans):
    """A row of another fit has them too, from the spectrum that is cached."""
    job, rows = plans.analyze("manlm.safetensors", {"compat": "weightwatcher-0.7.5.5"})
    assert job["cache"]["misses"] == 0
    for name, row in rows.items():
        for column in ("alpha_mid", "alpha_peak", "alpha_peak_linear"):
            assert row[column] == manlm[1][name][column]
            assert (row[column] is None) == (row["status"] == "skipped")
