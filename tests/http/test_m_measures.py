"""What an analyze job measures besides the default columns, on request."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon, age, write_safetensors

EXAMPLE = os.path.join(TOP, "examples/manlm.safetensors")
MP = ["W_scale", "sigma_mp", "bulk_min", "bulk_max", "mp_softrank", "num_spikes", "mp_edge",
      "num_far_spikes", "mp_distance", "mp_method"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("measures")
    root = os.path.join(tmp, "models")
    os.mkdir(root)
    shutil.copy(EXAMPLE, root)
    rng = np.random.default_rng(7)
    noise = rng.standard_normal((300, 200))
    u, v = rng.standard_normal(300), rng.standard_normal(200)
    spiked = noise + 4 * np.sqrt(300) * np.outer(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
    trap = rng.standard_normal((200, 150))
    trap[17, 23] = 60
    write_safetensors(os.path.join(root, "known.safetensors"), {
        "conv.weight": rng.standard_normal((40, 20, 3, 3)).astype("<f4"),
        "noise.weight": noise.astype("<f4"),
        "noise_again.weight": noise.astype("<f4"),
        "norm.weight": np.ones(40, "<f4"),
        "spiked.weight": spiked.astype("<f8"),
        "trap.weight": trap.astype("<f4"),
        "wrong.weight": np.full((30, 20), np.nan, "<f4"),
        "zero.weight": np.zeros((30, 20), "<f4"),
    })
    for name in os.listdir(root):
        age(os.path.join(root, name))
    with Daemon(tmp, root=root) as d:
        yield d


def measure(d, model, **params):
    return d.analyze(model, params)[:2]


def test_only_on_request(server):
    _, rows = measure(server, "known.safetensors", phase=False)
    assert "sigma_mp" not in rows["noise"] and "not_measured" not in rows["noise"]
    analysis = measure(server, "known.safetensors", mp_fit=False)[0]["result"]["analysis"]
    head = server.get(f"/v1/analyses/{analysis}/layers?format=csv").body.split(b"\r\n")[0]
    assert b"sigma_mp" not in head


def test_phases_unless_switched_off(server):
    """Made up for where the spectrum is cached already, without an eigen-solve."""
    off, without = measure(server, "manlm.safetensors", phase=False)
    job, rows = measure(server, "manlm.safetensors")
    again, same = measure(server, "manlm.safetensors", phase=True)
    assert off["params"]["phase"] is False and job["params"]["phase"] is True
    assert job["cache"]["misses"] == again["cache"]["misses"] == 0 and same == rows
    for name, r in rows.items():
        assert "phase" not in without[name] and "confidence" not in without[name]
        assert all(r[k] == v for k, v in without[name].items())
        assert (r["phase"] is not None) == (r["status"] == "success")
    for job, there in ((off, False), (again, True)):
        analysis = server.get(f"/v1/analyses/{job['result']['analysis']}").json
        assert ("phases" in analysis["summary"]) == there


def test_mp_of_noise_and_a_spike(server):
    job, rows = measure(server, "known.safetensors", mp_fit=True)
    assert job["params"]["mp_fit"] == "robust"
    for name in ("noise", "noise_again", "spiked", "conv"):
        assert rows[name]["mp_method"] == "robust" and rows[name]["not_measured"] == []
    noise, spiked = rows["noise"], rows["spiked"]
    assert abs(noise["sigma_mp"] - 1) < 0.02 and noise["num_spikes"] == 0
    assert noise["mp_distance"] < 0.03 and 0.9 < noise["mp_softrank"] < 1.1
    assert spiked["num_spikes"] == spiked["num_far_spikes"] == 1
    assert {k: noise[k] for k in MP} == {k: rows["noise_again"][k] for k in MP}
    analysis = job["result"]["analysis"]
    for name in ("noise", "spiked", "conv"):
        evals = server.get(f"/v1/analyses/{analysis}/layers/{name}/esd").json["evals"]
        row = rows[name]
        assert row["num_spikes"] == sum(x > row["mp_edge"] for x in evals)
        assert row["W_scale"] == pytest.approx((len(evals) / sum(evals)) ** 0.5, rel=1e-12)
        assert row["mp_softrank"] == pytest.approx(row["bulk_max"] / max(evals), rel=1e-12)


def test_what_cannot_be_measured(server):
    _, rows = measure(server, "known.safetensors", mp_fit=True)
    assert rows["zero"]["not_measured"] == ["mp_fit: no_spectrum"]
    for name in ("zero", "wrong", "norm"):  # every row has the columns
        assert all(rows[name][k] is None for k in MP)
    assert rows["wrong"]["not_measured"] == [] and rows["norm"]["not_measured"] == []


def test_methods_and_compat(server):
    _, upstream = measure(server, "manlm.safetensors", mp_fit="upstream")
    _, compat = measure(server, "manlm.safetensors", mp_fit=True, compat="weightwatcher-0.7.5.5")
    _, robust = measure(server, "manlm.safetensors", mp_fit="robust", compat="weightwatcher-0.7.5.5")
    done = [n for n, r in upstream.items() if r["status"] == "success"]
    assert len(done) == 30
    for name in done:
        assert {k: upstream[name][k] for k in MP} == {k: compat[name][k] for k in MP}
        assert robust[name]["mp_method"] == "robust"
    assert any(robust[n]["sigma_mp"] != compat[n]["sigma_mp"] for n in done)


ERG = ["detX_num", "detX_val", "detX_val_unrescaled", "ERG_gap", "ERG_log_det", "delta_lambda_min"]
RANDOM = ["max_rand_eval", "rand_distance", "ww_softrank", "ww_maxdist", "rand_W_scale",
          "rand_sigma_mp", "rand_bulk_min", "rand_bulk_max", "rand_mp_softrank", "rand_num_spikes",
          "num_traps", "rand_replicas", "rand_distance_sd", "max_rand_eval_sd"]


def evals_of(server, job, layer):
    return np.array(server.get(f"/v1/analyses/{job['result']['analysis']}/layers/{layer}/esd")
                    .json["evals"])


def test_trace_log_condition(server):
    job, rows = measure(server, "manlm.safetensors", erg=True)
    for name, r in rows.items():
        if r["status"] != "success":
            continue
        x = evals_of(server, job, name)
        s = np.log(x / x.mean())[::-1].cumsum()
        n = max(k + 1 for k in range(len(x)) if s[k] >= 0)
        assert r["detX_num"] == n and r["detX_val"] == pytest.approx(x[-n], rel=1e-12)
        assert r["detX_val_unrescaled"] == pytest.approx(x[-n] / x.mean(), rel=1e-12)
        assert r["ERG_gap"] == n - r["num_pl_spikes"]
        assert r["ERG_log_det"] == pytest.approx(s[r["num_pl_spikes"] - 1], abs=1e-9)
        assert r["delta_lambda_min"] == pytest.approx(r["xmin"] - r["detX_val"], abs=1e-12)
    _, compat = measure(server, "manlm.safetensors", erg=True, compat="weightwatcher-0.7.5.5")
    assert all(compat[n]["detX_num"] == r["detX_num"] + 1 for n, r in rows.items()
               if r["status"] == "success")


def test_signal_to_noise(server):
    job, rows = measure(server, "known.safetensors", snr=True)
    sv = np.sqrt(evals_of(server, job, "spiked"))
    q25, q75 = np.percentile(sv, [25, 75])
    eps = (q75 - q25) / 1.349 * (1 + np.sqrt(200 / 300))
    snr = sv[sv > eps].sum() / sv[sv <= eps].sum()
    r = rows["spiked"]
    assert r["spectrum_threshold"] == pytest.approx(eps, rel=1e-9)
    assert r["spectrum_snr"] == pytest.approx(snr, rel=1e-9)
    assert r["spectrum_score"] == pytest.approx(snr / sv.max(), rel=1e-9)
    assert rows["noise"]["snr_mp"] == 0 and rows["noise"]["num_signal_mp"] == 0
    assert r["num_signal_mp"] == 1 and r["snr_mp"] > 0
    assert rows["noise"]["spectrum_snr"] == pytest.approx(r["spectrum_snr_noise"], rel=0.1)


def test_shuffled_weights(server):
    """Structure goes, single large weights stay, the sum of squares is the same."""
    job, rows = measure(server, "known.safetensors", randomize=True, mp_fit=True)
    noise, spiked = rows["noise"], rows["spiked"]
    assert noise["rand_replicas"] == 1 and noise["rand_distance_sd"] is None
    assert 0.9 < noise["ww_softrank"] < 1.1 and spiked["ww_softrank"] < 0.5
    assert noise["rand_distance"] < 0.02 < spiked["rand_distance"]
    assert spiked["num_traps"] == 0 and abs(spiked["rand_sigma_mp"] - 1) < 0.02
    for name in ("noise", "spiked", "conv"):
        r = rows[name]
        assert r["not_measured"] == []
        assert r["ww_softrank"] == pytest.approx(
            (r["lambda_max"] - r["ww_maxdist"]) / r["lambda_max"], rel=1e-12)
        assert r["rand_W_scale"] == pytest.approx(r["W_scale"], rel=1e-9)
    assert {k: noise[k] for k in RANDOM} == {k: rows["noise_again"][k] for k in RANDOM}
    assert rows["zero"]["not_measured"] == ["mp_fit: no_spectrum", "randomize: no_spectrum"]
    assert rows["norm"]["max_rand_eval"] is None


def test_shuffled_again(server, tmp_path):
    """The same weights, the same numbers: in another state directory, too."""
    _, rows = measure(server, "known.safetensors", randomize=3)
    assert rows["noise"]["rand_replicas"] == 3 and rows["noise"]["max_rand_eval_sd"] > 0
    with Daemon(tmp_path, root=server.root) as other:
        _, again = measure(other, "known.safetensors", randomize=3)
    for name in ("noise", "conv", "spiked"):
        assert {k: rows[name][k] for k in RANDOM} == {k: again[name][k] for k in RANDOM}


def test_a_trap(server):
    """One enormous weight makes an eigenvalue that no order of the weights removes."""
    _, rows = measure(server, "known.safetensors", randomize=5, mp_fit=True)
    r = rows["trap"]
    assert r["num_spikes"] == 1 and r["num_traps"] == 1 and r["rand_num_spikes"] == 5
    assert 0.9 < r["ww_softrank"] < 1.1


def test_compat_compares_with_another_order(server):
    _, rows = measure(server, "manlm.safetensors", randomize=True, compat="weightwatcher-0.7.5.5")
    done = [r for r in rows.values() if r["status"] == "success"]
    assert any(r["ww_softrank"] != pytest.approx(r["max_rand_eval"] / r["lambda_max"], rel=1e-9)
               for r in done)


def test_eigenvectors(server):
    _, rows = measure(server, "known.safetensors", vectors=True)
    w = np.random.default_rng(7).standard_normal((300, 200)).astype("<f4").astype(float)
    r = rows["noise"]
    v = np.linalg.eigh(w.T @ w)[1]
    tail = v[:, 200 - r["num_pl_spikes"]:]
    for group, vectors in (("tail", tail), ("bulk", v[:, :200 - r["num_pl_spikes"]])):
        a = np.abs(vectors)
        loc = a.sum(0) / a.max(0)
        part = 1 / (a ** 4).sum(0) ** 0.25
        assert r[f"{group}_mean_loc_ratio"] == pytest.approx(loc.mean(), rel=1e-6)
        assert r[f"{group}_var_part_ratio"] == pytest.approx(part.var(), rel=1e-5)
        assert 3 < r[f"{group}_mean_vec_entropy"] < 5
    assert rows["conv"]["not_measured"] == ["vectors: not_a_matrix"]
    assert rows["zero"]["not_measured"] == ["vectors: no_spectrum"]


def test_phases(server):
    _, rows = measure(server, "known.safetensors", phase=True)
    assert rows["noise"]["phase"] in ("random_like", "bleeding_out")
    assert rows["spiked"]["phase"] == "bulk_spikes" and rows["zero"]["phase"] == "degenerate"
    assert rows["trap"]["phase"] == "bulk_spikes"  # without shuffling, nothing tells it
    assert rows["noise"]["phase_null_ratio"] is None and rows["noise"]["confidence"] < 0.2
    assert rows["norm"]["phase"] is None
    for name in ("noise", "spiked"):
        r = rows[name]
        assert r["phase_next"] != r["phase"] and r["phase_distance"] > 0
        assert r["confidence"] == pytest.approx(
            r["confidence_size"] * r["confidence_fit"] * r["confidence_signal"], rel=1e-12)
    _, shuffled = measure(server, "known.safetensors", phase=True, randomize=True)
    assert shuffled["trap"]["phase"] == "element_trap"
    assert shuffled["trap"]["phase_null_ratio"] == shuffled["trap"]["ww_softrank"]
    job, again = measure(server, "known.safetensors", phase=True, randomize=True)
    assert again == shuffled or all(again[n]["phase"] == shuffled[n]["phase"] for n in again)
    _, without = measure(server, "known.safetensors", phase=True)
    assert without["trap"]["phase"] == "bulk_spikes"


def test_other_distributions(server):
    _, rows = measure(server, "manlm.safetensors", alternatives=True)
    done = [r for r in rows.values() if r["status"] == "success"]
    assert {r["best_fit"] for r in done} <= {"power_law", "truncated_power_law", "exponential",
                                             "stretched_exponential", "lognormal"}
    for r in done:
        assert r["not_measured"] == [] and all(0 <= r[k + "_p"] <= 1 for k in
                                               ("TPL", "EXP", "S_EXP", "LOG_N"))
        assert r["TPL_R"] <= 1e-9  # it contains the power law
        if r["best_fit"] == "power_law":
            assert r["TPL_p"] > 0.05 or r["TPL_R"] == 0
    _, rows = measure(server, "known.safetensors", alternatives=True)
    assert rows["zero"]["not_measured"] == ["alternatives: no_fit"]


def test_replicates(server):
    _, rows = measure(server, "manlm.safetensors", bootstrap=60)
    done = [r for r in rows.values() if r["status"] == "success"]
    for r in done:
        assert r["bootstrap_replicates"] == 60 and 0 <= r["pl_p_value"] <= 1
        assert r["alpha_low"] <= r["alpha_high"] and r["alpha_sd"] > 0
    assert sum(r["alpha_low"] <= r["alpha"] <= r["alpha_high"] for r in done) >= 25
    _, again = measure(server, "manlm.safetensors", bootstrap=61)
    assert any(again[n]["alpha_low"] != r["alpha_low"] for n, r in rows.items())


def ks(x, alpha, Lambda=0):
    """Distance of a (truncated) power law, its integral by the trapezoidal rule."""
    t = np.geomspace(x[0], x[-1] * 1e4, 200001)
    f = t ** -alpha * np.exp(-Lambda * t)
    c = np.concatenate([[0], ((f[1:] + f[:-1]) / 2 * np.diff(t)).cumsum()])
    return np.abs(np.interp(x, t, c / c[-1]) - np.arange(len(x)) / len(x)).max()


def test_other_fits(server):
    usual = measure(server, "manlm.safetensors")[1]
    job, tpl = measure(server, "manlm.safetensors", fit={"law": "tpl"})
    assert job["params"]["fit"] == {"law": "tpl"} and job["cache"]["misses"] == 0
    for name in ("lm_head", "model.layers.1.mlp.up_proj", "model.layers.3.self_attn.q_proj"):
        r = tpl[name]
        x = evals_of(server, job, name)
        tail = x[x >= r["xmin"]]
        assert r["sigma"] is None and r["Lambda"] >= 0 and usual[name]["Lambda"] is None
        assert r["D"] == pytest.approx(ks(tail, r["alpha"], r["Lambda"]), abs=2e-4)
        assert r["D"] <= usual[name]["D"] + 1e-9  # it contains the power law
    _, hill = measure(server, "manlm.safetensors", fit={"law": "hill"})
    assert all(r["alpha"] == pytest.approx(r["alpha_mid"], rel=1e-12) for r in hill.values()
               if r["status"] == "success")
    name = "model.layers.0.mlp.gate_proj"
    x = evals_of(server, job, name)
    r = measure(server, "manlm.safetensors", fit={"xmin": 1.5})[1][name]
    tail = x[x >= 1.5]
    assert r["xmin"] == 1.5 and r["num_pl_spikes"] == len(tail)
    assert r["alpha"] == pytest.approx(1 + len(tail) / np.log(tail / 1.5).sum(), rel=1e-9)
    r = measure(server, "manlm.safetensors", fit={"drop_top": 3})[1][name]
    assert r["xmax"] == pytest.approx(x[-4], rel=1e-12)
    _, clip = measure(server, "manlm.safetensors", fit={"fix_fingers": "clip_xmax"})
    for name, r in clip.items():
        if r["status"] == "success":
            assert r["raw_alpha"] == pytest.approx(usual[name]["alpha"], rel=1e-12)
            assert r["num_fingers"] == 0 or r["alpha"] < r["raw_alpha"] - 1
    assert any(r["num_fingers"] for r in clip.values())


@pytest.mark.parametrize("fit,member", [
    ({"law": "cauchy"}, "law"), ({"law": "tpl", "xmin": 1}, "xmin"), ({"xmin": 0}, "xmin"),
    ({"xmin": 2, "xmax": 1}, "xmax"), ({"pos": 3}, "pos"), ({"law": "hill", "pos": 1}, "pos"),
    ({"max_fingers": 3}, "max_fingers"), ({"fix_fingers": "cut"}, "fix_fingers"),
    ({"fix_fingers": "clip_xmax", "drop_top": 1}, "fix_fingers"), ({"drop_top": 0}, "drop_top"),
    ({"tail": 1}, "tail")])
def test_fits_refused(server, fit, member):
    r = server.submit("manlm.safetensors", {"fit": fit})
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/fit/" + member


def counter(server, name, kind):
    for line in server.get("/metrics").body.decode().splitlines():
        if line.startswith(f"spectrald_cache_{name}_total") and f'"{kind}"' in line:
            return float(line.split()[-1])
    return 0


def test_cached(server):
    measure(server, "manlm.safetensors", mp_fit=True)
    hits, misses = (counter(server, x, "measure") for x in ("hits", "misses"))
    job, rows = measure(server, "manlm.safetensors", mp_fit=True)
    assert job["cache"]["misses"] == 0
    assert counter(server, "misses", "measure") == misses
    assert counter(server, "hits", "measure") == hits + 30
    assert rows["lm_head"]["mp_method"] == "robust"


def test_tables_and_series(server):
    job, rows = measure(server, "manlm.safetensors", mp_fit=True, phase=False)
    url = f"/v1/analyses/{job['result']['analysis']}/layers"
    lines = server.get(url + "?format=csv").body.decode().splitlines()
    head = lines[0].split(",")
    assert head[-11:] == MP + ["not_measured"] and len(lines) == 1 + len(rows)
    some = server.get(url + "?columns=longname,num_spikes,mp_method").json["layers"]
    assert [r["num_spikes"] for r in some] == [r["num_spikes"] for r in rows.values()]
    r = server.submit("manlm.safetensors", {"mp_fit": True}, labels={"run": "mp", "step": "1"})
    assert r.status == 200
    series = server.get("/v1/series?label=run:mp&metric=num_spikes").json
    assert series["series"][0]["layers"]
    assert server.get("/v1/series?label=run:mp&metric=mp_method").status == 400


@pytest.mark.parametrize("name,value", [
    ("mp_fit", 7), ("mp_fit", "kde"), ("mp_fit", None), ("mp_fit", {}), ("erg", "yes"), ("snr", 1), ("phase", 1), ("vectors", []),
    ("bootstrap", 49), ("bootstrap", 10001), ("alternatives", "all"), ("fit", "tpl"),
    ("randomize", 0), ("randomize", 101), ("randomize", 1.5), ("randomize", "often")])
def test_refused(server, name, value):
    r = server.submit("manlm.safetensors", {name: value})
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/" + name


def test_command(server):
    def ctl(*args):
        return subprocess.run([CTL, "--server", f"http://127.0.0.1:{server.port}", "analyze", *args],
                              capture_output=True, text=True)

    r = ctl("manlm.safetensors", "--measure", "mp_fit=upstream", "--columns", "longname,mp_method",
            "--csv")
    assert r.returncode == 0 and "lm_head,upstream" in r.stdout, r.stderr
    r = ctl("manlm.safetensors", "--measure", "randomize=2", "--measure", "erg", "--columns",
            "longname,rand_replicas,ERG_gap", "--csv")
    assert r.returncode == 0 and "lm_head,2," in r.stdout, r.stderr
    r = ctl("manlm.safetensors", "--fit", "law=hill", "--fit", "pos=1.5", "--columns",
            "longname,alpha", "--json")
    assert r.returncode == 0 and '"pos":1.5' in r.stdout.replace(" ", ""), r.stderr
    r = ctl("manlm.safetensors", "--measure", "tea_leaves")
    assert r.returncode != 0 and "tea_leaves" in r.stderr
