"""Measures of jobs at the same time are shared; what lacks its evidence is not."""

import os
import shutil

import numpy as np
import pytest

from daemon import Daemon, age, write_safetensors

ASK = {"randomize": True, "vectors": True, "phase": True, "mp_fit": True}
LAYERS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("shared") / "m.safetensors")
    rng = np.random.default_rng(31)
    write_safetensors(path, {f"layers.{i}.fc.weight":
                             rng.standard_normal((500, 400)).astype("<f4")
                             for i in range(LAYERS)})
    age(path)
    return path


@pytest.fixture
def d(tmp_path, model):
    daemon = Daemon(str(tmp_path))
    shutil.copy2(model, daemon.root)
    with daemon:
        assert daemon.analyze("m.safetensors", {"phase": False})[0]["state"] == "succeeded"
        yield daemon


def metric(d, name):
    for line in d.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return 0


def tasks(d):
    return metric(d, 'spectrald_task_seconds_count{type="measure"}')


def rows_of(d, job):
    return d.get(f"/v1/analyses/{job['result']['analysis']}/layers").json["layers"]


def test_jobs_at_the_same_time(d):
    """Twice the same, and once a part of it: a task each for shuffling, vectors, phase, the rest."""
    ids = [d.submit("m.safetensors", p, wait=0).json["id"]
           for p in (ASK, ASK, {"randomize": True, "phase": False})]
    jobs = [d.wait_final(i) for i in ids]
    assert [j["state"] for j in jobs] == ["succeeded"] * 3
    assert tasks(d) == 4 * LAYERS
    rows = [rows_of(d, j) for j in jobs]
    assert rows[0] == rows[1] and all(r["not_measured"] == [] for r in rows[0])
    assert [r["rand_distance"] for r in rows[2]] == [r["rand_distance"] for r in rows[0]]
    hits, misses = (metric(d, f'spectrald_cache_{x}_total{{kind="measure"}}')
                    for x in ("hits", "misses"))
    assert hits + misses == 3 * LAYERS and misses >= LAYERS
    d.analyze("m.safetensors", ASK)
    assert tasks(d) == 4 * LAYERS


def test_another_order_is_another_measure(d):
    jobs = [d.wait_final(i) for i in [d.submit("m.safetensors", {"randomize": n, "phase": False},
                                               wait=0).json["id"] for n in (2, 3)]]
    assert [rows_of(d, j)[0]["rand_replicas"] for j in jobs] == [2, 3]
    assert tasks(d) == 2 * LAYERS


def test_who_waits_for_a_cancelled_job_measures(d):
    first, second = (d.submit("m.safetensors", {"bootstrap": 400}, wait=0).json["id"]
                     for _ in range(2))
    d.request("POST", f"/v1/jobs/{first}:cancel")
    job = d.wait_final(second)
    assert job["state"] == "succeeded"
    assert all(r["bootstrap_replicates"] == 400 for r in rows_of(d, job))
    assert d.wait_final(first)["state"] == "cancelled"


def test_a_phase_without_its_evidence_is_not_kept(tmp_path):
    """Where the weights cannot be shuffled the phase is that of the spectrum alone, this once."""
    rng = np.random.default_rng(32)
    w = rng.standard_normal((200000, 60), dtype="f4")
    w[17, 23] = 9000
    ask = {"randomize": True, "phase": True}
    d = Daemon(str(tmp_path), "--memory-limit", "64M")
    write_safetensors(os.path.join(d.root, "m.safetensors"), {"tall.weight": w})
    age(os.path.join(d.root, "m.safetensors"))
    with d:
        row = d.analyze("m.safetensors", ask)[1]["tall"]
        assert row["not_measured"] == ["randomize: limit"], row
        assert row["phase"] == "bulk_spikes" and row["phase_null_ratio"] is None
        assert tasks(d) == 1
        assert d.analyze("m.safetensors", ask)[1]["tall"]["phase"] == "bulk_spikes"
        assert tasks(d) == 2  # not from the cache
    d.flags[d.flags.index("64M")] = "500M"
    with d:
        row = d.analyze("m.safetensors", ask)[1]["tall"]
        assert row["not_measured"] == [] and row["phase_null_ratio"] == row["ww_softrank"]
        assert row["phase"] == "element_trap"
