"""Correlation traps, planted where we know."""

import contextlib
import csv
import io
import os
import shutil
import signal
import sqlite3

import numpy as np
import pytest

from daemon import Daemon, age, write_safetensors
from test_c_cli import ctl, problem  # noqa: F401

COLUMNS = ["trap_count", "trap_max_delta", "trap_max_risk", "trap_label", "trap_diffuseness",
           "trap_top_5_mass", "trap_row", "trap_column", "trap_weight"]


def matrices():
    rng = np.random.default_rng(41)
    tall = rng.standard_normal((220, 150))
    tall[17, 23], tall[80, 99] = 60, -45
    wide = rng.standard_normal((150, 220))
    wide[149, 0] = -70
    square = rng.standard_normal((120, 120))
    square[5, 6] = 50
    pixel = rng.standard_normal((90, 70, 1, 1))
    pixel[3, 60] = 40
    return {
        "conv.weight": rng.standard_normal((40, 20, 3, 3)).astype("<f4"),
        "mean.weight": (rng.standard_normal((200, 150)) + 0.3).astype("<f4"),
        "noise.weight": rng.standard_normal((220, 150)).astype("<f4"),
        "norm.weight": np.ones(40, "<f4"),
        "pixel.weight": pixel.astype("<f4"),
        "slight.weight": (rng.standard_normal((400, 300)) + 0.12).astype("<f4"),
        "square.weight": square.astype("<f8"),
        "tall.weight": tall.astype("<f4"),
        "wide.weight": wide.astype("<f2"),
        "wrong.weight": np.full((30, 20), np.nan, "<f4"),
        "zero.weight": np.zeros((30, 20), "<f4"),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("traps") / "m.safetensors")
    write_safetensors(path, matrices())
    age(path)
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, model):
    d = Daemon(str(tmp_path_factory.mktemp("server")))
    shutil.copy2(model, d.root)
    with d:
        d.job, d.rows = d.analyze("m.safetensors", {"traps": True, "randomize": 1})
        yield d


def traps(d, layer, job=None):
    return d.get(f"/v1/analyses/{(job or d.job)['result']['analysis']}/layers/{layer}/traps")


def tasks(d):
    return sum(float(line.split()[-1]) for line in d.get("/metrics").body.decode().splitlines()
               if line.startswith('spectrald_task_seconds_count{type="measure"}'))


@pytest.mark.parametrize("layer,place,weight", [
    ("tall", (17, 23), 60), ("wide", (149, 0), -70), ("square", (5, 6), 50), ("pixel", (3, 60), 40)])
def test_a_large_weight(server, layer, place, weight):
    r = server.rows[layer]
    assert r["not_measured"] == [] and r["trap_label"] == "localized_risky"
    assert (r["trap_row"], r["trap_column"], r["trap_weight"]) == (*place, weight)
    assert r["trap_max_risk"] == 1 and r["trap_diffuseness"] < 0.1 and r["trap_top_5_mass"] > 0.3
    t = traps(server, layer).json
    assert t["longname"] == layer and t["trap_count"] == len(t["traps"]) == r["trap_count"]
    first = t["traps"][0]
    assert first["q"] > 0.5 and first["delta"] == r["trap_max_delta"]
    heaviest, *others = first["entries"]
    assert (heaviest["row"], heaviest["column"], heaviest["weight"]) == (*place, weight)
    assert heaviest["component"] == pytest.approx(weight, rel=0.1)
    assert heaviest["share"] > 5 * max(e["share"] for e in others)


def test_every_entry_is_a_weight(server):
    for name, w in matrices().items():
        if server.rows[name[:-7]]["trap_count"]:
            w = w.reshape(w.shape[:2]).astype(float)
            for t in traps(server, name[:-7]).json["traps"]:
                assert len(t["entries"]) == 10
                for e in t["entries"]:
                    assert w[e["row"], e["column"]] == e["weight"]
                shares = [e["share"] for e in t["entries"]]
                assert shares == sorted(shares, reverse=True)


def test_two_weights_are_two_traps(server):
    assert [t["entries"][0]["weight"] for t in traps(server, "tall").json["traps"]] == [60, -45]


def test_a_mean_is_diffuse(server, model):
    mean, slight = (server.rows[x] for x in ("mean", "slight"))
    assert mean["trap_count"] == slight["trap_count"] == 1
    assert mean["trap_label"] == "diffuse_risky" and slight["trap_label"] == "benign_diffuse"
    for name in ("mean", "slight"):
        t = traps(server, name).json["traps"][0]
        assert t["diffuseness"] > 0.4 and t["q"] < 0.02 and t["entries"][0]["share"] < 1e-3
        w = matrices()[name + ".weight"].astype(float)
        assert t["share"] == pytest.approx(w.mean() ** 2 * w.size / (w ** 2).sum(), rel=0.5)
    job, rows = server.analyze("m.safetensors", {"traps": True, "mp_fit": "robust",
                                                 "compat": "weightwatcher-0.7.5.5"})
    assert rows["mean"]["trap_label"] == "localized_risky"
    assert traps(server, "mean", job).json["traps"][0]["label"] == "localized_risky"
    assert {k: rows["mean"][k] for k in COLUMNS if k != "trap_label"} == \
        {k: mean[k] for k in COLUMNS if k != "trap_label"}


def test_noise_has_none(server):
    r = server.rows["noise"]
    assert [r[k] for k in COLUMNS] == [0, 0, 0] + [None] * 6 and r["not_measured"] == []
    assert traps(server, "noise").json["traps"] == []


def test_the_same_order_as_randomize(server):
    """One order of the weights, the same fit: as many traps, the same largest eigenvalue."""
    for name, r in server.rows.items():
        if r["trap_count"] is None:
            continue
        assert r["trap_count"] == r["num_traps"] == r["rand_num_spikes"]
        for t in traps(server, name).json["traps"][:1]:
            assert t["eigenvalue"] == pytest.approx(r["max_rand_eval"], rel=1e-9)
            assert t["delta"] == pytest.approx(r["max_rand_eval"] / r["rand_bulk_max"] - 1,
                                               rel=1e-9)


def test_without_randomize_and_again(server, model, tmp_path):
    """Alone, in another state directory: the same."""
    d = Daemon(str(tmp_path))
    shutil.copy2(model, d.root)
    with d:
        job, rows = d.analyze("m.safetensors", {"traps": True})
        for name, r in rows.items():
            assert {k: r[k] for k in COLUMNS} == {k: server.rows[name][k] for k in COLUMNS}
        assert "num_traps" not in rows["tall"]
        assert traps(d, "wide", job).json["traps"] == traps(server, "wide").json["traps"]


def test_what_has_none_to_show(server):
    for name, reason in (("conv", ["traps: not_a_matrix"]), ("wrong", []), ("norm", []),
                         ("zero", ["randomize: no_spectrum", "traps: no_spectrum"])):
        r = server.rows[name]
        assert r["not_measured"] == reason and all(r[k] is None for k in COLUMNS)
        problem(traps(server, name), 404, "not_found")
    assert "not_a_matrix" in traps(server, "conv").json["detail"]
    problem(traps(server, "no.such.layer"), 404, "not_found")
    url = f"/v1/analyses/{server.job['result']['analysis']}/layers/tall/traps"
    problem(server.get(url + "?top=3"), 400, "invalid_request")
    r = server.get(url)
    assert server.get(url, **{"If-None-Match": r.headers["ETag"]}).status == 304


def test_of_a_change(tmp_path):
    """What fine-tuning did to one weight; places are those in either model."""
    d = Daemon(str(tmp_path))
    rng = np.random.default_rng(44)
    w = rng.standard_normal((90, 130)).astype("<f4")
    w[40, 41] = 90  # in the base, too: not a change
    tuned = w + 1e-3 * rng.standard_normal(w.shape).astype("<f4")
    tuned[7, 100] += 0.1
    for name, x in (("base", w), ("tuned", tuned)):
        write_safetensors(os.path.join(d.root, name + ".safetensors"), {"a.weight": x})
    with d:
        job, rows = d.analyze("tuned.safetensors", {"traps": True,
                                                    "base": {"path": "base.safetensors"}})
        r = rows["a"]
        assert (r["trap_count"], r["trap_row"], r["trap_column"]) == (1, 7, 100)
        assert r["trap_weight"] == pytest.approx(0.1, rel=0.05)
        assert traps(d, "a", job).json["traps"][0]["entries"][0]["weight"] == r["trap_weight"]
        assert d.analyze("tuned.safetensors", {"traps": True})[1]["a"]["trap_row"] == 40


def test_only_on_request(tmp_path):
    d = Daemon(str(tmp_path))
    w = np.random.default_rng(42).standard_normal((60, 50)).astype("<f4")
    write_safetensors(os.path.join(d.root, "m.safetensors"), {"a.weight": w})
    with d:
        job, rows = d.analyze("m.safetensors", {"randomize": True})
        assert "trap_count" not in rows["a"]
        r = traps(d, "a", job)
        problem(r, 404, "not_found")
        assert '"traps": true' in r.json["detail"]
        for bad in (1, "yes", None, []):
            r = d.submit("m.safetensors", {"traps": bad})
            assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/traps"


def test_cached(server):
    """Asked again, and for another fit of the power law, nothing is measured."""
    before = tasks(server)
    for params in ({"traps": True, "phase": False},
                   {"traps": True, "phase": False, "fit": {"law": "hill"}}):
        _, rows = server.analyze("m.safetensors", params)
        assert {k: rows["tall"][k] for k in COLUMNS} == {k: server.rows["tall"][k] for k in COLUMNS}
    assert tasks(server) == before


def test_no_longer_cached(model, tmp_path):
    d = Daemon(str(tmp_path))
    shutil.copy2(model, d.root)
    with d:
        job = d.analyze("m.safetensors", {"traps": True})[0]
        before = traps(d, "tall", job)
    with contextlib.closing(sqlite3.connect(os.path.join(d.state, "cache.db"))) as db, db:
        db.execute("DELETE FROM results WHERE kind = 1")
    with d:
        r = traps(d, "tall", job)
        problem(r, 410, "gone")
        assert "submit the job again" in r.json["detail"]
        d.analyze("m.safetensors", {"traps": True})
        assert traps(d, "tall", job).body == before.body


@pytest.fixture
def large(tmp_path):
    d = Daemon(str(tmp_path))
    rng = np.random.default_rng(43)
    t = {f"{i}.weight": rng.standard_normal((1200, 1200)).astype("<f4") for i in range(4)}
    for i, w in enumerate(t.values()):
        w[i, 2 * i] = 300
    write_safetensors(os.path.join(d.root, "m.safetensors"), t)
    age(os.path.join(d.root, "m.safetensors"))
    with d:
        d.analyze("m.safetensors")
        yield d


def places(rows):
    return [(r["trap_row"], r["trap_column"]) for r in rows.values()]


def test_killed_workers(large):
    job = large.submit("m.safetensors", {"traps": True}, wait=0).json["id"]
    while not tasks(large):
        pass
    for pid in large.children():
        os.kill(pid, signal.SIGKILL)
    assert large.wait_final(job)["state"] == "succeeded"
    assert places(large.analyze("m.safetensors", {"traps": True})[1]) == [(i, 2 * i)
                                                                          for i in range(4)]


def test_cancelled_and_killed(large):
    job = large.submit("m.safetensors", {"traps": True}, wait=0).json["id"]
    while not tasks(large):
        pass
    large.request("POST", f"/v1/jobs/{job}:cancel")
    assert large.wait_final(job)["state"] in ("cancelled", "succeeded")
    large.submit("m.safetensors", {"traps": True}, wait=0)
    large.kill()
    large.start()
    assert places(large.analyze("m.safetensors", {"traps": True})[1]) == [(i, 2 * i)
                                                                          for i in range(4)]


def test_command(ctl, model):  # noqa: F811
    shutil.copy2(model, os.path.join(ctl.daemon.root, "traps.safetensors"))
    r = ctl("analyze", "traps.safetensors", "--measure", "traps", "--quiet")
    assert r.returncode == 0, r.stderr
    analysis = r.stdout.strip()
    r = ctl("traps", analysis, "tall")
    lines = [line.split() for line in r.stdout.splitlines()]
    assert r.returncode == 0 and r.stdout.startswith("tall: 2 correlation traps\n")
    assert ["1", "17", "23", "60"] == lines[-10][:4] and ["2", "80", "99", "-45"] == lines[-5][:4]
    assert ctl("traps", analysis, "noise").stdout == "noise: no correlation traps\n"
    table = list(csv.DictReader(io.StringIO(ctl("traps", analysis, "tall", "--csv").stdout)))
    assert len(table) == 20 and table[0]["weight"] == "60" and table[10]["trap"] == "2"
    assert '"diffuse_risky"' in ctl("traps", analysis, "mean", "--json").stdout
    assert ctl("traps", analysis, "mean", "--json", "--csv").returncode == 1
    r = ctl("traps", analysis, "conv")
    assert r.returncode == 2 and "not_a_matrix" in r.stderr
    page = ctl("report", analysis, COLUMNS="90").stdout
    assert "    tall: risk 1.00, localised, first at row 17, column 23\n" in page
    assert "    mean: risk 1.00, diffuse, first at row" in page
    assert "1 layer with correlation traps: " in page and "    slight: traps 1\n" in page
