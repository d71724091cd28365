"""Exponents of layers and what is decided from them: plans."""

import csv
import json
import os
import subprocess

import pytest

from daemon import CTL, TOP

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


# --- plans ------------------------------------------------------------------------------------

MATRICES = 28  # of the example, in 4 blocks; besides an embedding and a head


def post(d, **body):
    return d.request("POST", "/v1/plans", body)


def plan(d, **body):
    r = post(d, **body)
    assert r.status == 200, r.body
    check(r.json)
    return r.json


def check(p):
    """What holds for every plan."""
    params = sum(t["params"] for t in p["tensors"])
    pruned = sum(t["params"] * t["sparsity"] for t in p["tensors"])
    step = max(t["params"] for t in p["tensors"]) / p["params"].get("m", 1e30)
    assert p["n_params"] == params
    assert abs(pruned - p["target_sparsity"] * params) <= step / 2 + 1e-9 * params
    assert p["achieved_sparsity"] == pytest.approx(pruned / params, rel=1e-12)
    assert p["model_sparsity"] == pytest.approx(pruned / p["n_params_total"], rel=1e-12)
    for b in p["blocks"]:
        inside = [t for t in p["tensors"] if t["block"] == b["block"] and b["block"]]
        if inside:
            assert b["n_tensors"] == len(inside)
            assert b["sparsity"] == pytest.approx(
                sum(t["params"] * t["sparsity"] for t in inside) / b["params"], rel=1e-12)


def problem(r, status, pointer, text=""):
    assert r.status == status, r.body
    assert pointer is None or r.json["errors"][0]["pointer"] == pointer, r.json
    assert text in r.json["detail"], r.json
    return r.json


def ratios(values, params, target, epsilon):
    low, high = min(values), max(values)
    r = [1 - epsilon + 2 * epsilon * (v - low) / (high - low) for v in values]
    eta = target * sum(params) / sum(x * d for x, d in zip(r, params))
    return [eta * x for x in r]


def test_plan_of_an_analysis(manlm, plans):
    analysis, rows = manlm
    p = plan(plans, analysis=analysis, sparsity=0.6, epsilon=0.2)
    assert p["analysis"] == analysis and p["method"] == "alphapruning"
    assert p["metric"] == "alpha_mid" and p["feasible"] is True
    assert p["params"] == {"mapping": "block_wise", "mode": "multiplicative", "direction": "prune",
                           "epsilon": 0.2, "peak_compat": "upstream",
                           "limits": {"min": 0, "max": 0.99}}
    assert len(p["tensors"]) == MATRICES and len(p["blocks"]) == 4
    assert not any(t["role"] in ("embedding", "head", "norm") for t in p["tensors"])
    sizes = {}
    for row in rows.values():
        n = 1
        for x in row["shape"]:
            n *= x
        sizes[row["longname"]] = n
    assert p["n_params_total"] == sum(sizes.values()) > p["n_params"]
    for t in p["tensors"]:
        row = rows[t["name"]]
        assert t["metric"] == row["alpha_mid"] and t["params"] == sizes[t["name"]]
        assert (t["block"], t["role"]) == (row["block"], row["role"])
    means = [sum(t["metric"] for t in p["tensors"] if t["block"] == b["block"]) / 7
             for b in p["blocks"]]
    want = ratios(means, [b["params"] for b in p["blocks"]], 0.6, 0.2)
    for b, mean, s in zip(p["blocks"], means, want):
        assert b["metric"] == pytest.approx(mean, rel=1e-12)
        assert b["sparsity"] == pytest.approx(s, rel=1e-12)


def test_mappings_and_modes(manlm, plans):
    analysis = manlm[0]
    one = plan(plans, analysis=analysis, sparsity=0.6, mapping="per_matrix")
    want = ratios([t["metric"] for t in one["tensors"]], [t["params"] for t in one["tensors"]],
                  0.6, 0.3)
    assert [t["sparsity"] for t in one["tensors"]] == pytest.approx(want, rel=1e-12)
    base = plan(plans, analysis=analysis, sparsity=0.6)
    mixed = plan(plans, analysis=analysis, sparsity=0.6, mapping="mixed", inner_epsilon=0.05)
    assert mixed["params"]["inner_epsilon"] == 0.05
    for a, b in zip(mixed["blocks"], base["blocks"]):
        assert a["sparsity"] == pytest.approx(b["sparsity"], rel=1e-9)
    assert len({t["sparsity"] for t in mixed["tensors"]}) > 4
    added = plan(plans, analysis=analysis, sparsity=0.6, mode="additive", epsilon=0.1)
    s = [b["sparsity"] for b in added["blocks"]]
    assert max(s) - min(s) == pytest.approx(0.2, abs=1e-12)
    low = plan(plans, analysis=analysis, sparsity=0.6, direction="low_rank")
    order = sorted(range(4), key=lambda i: low["blocks"][i]["metric"])
    assert sorted(order, key=lambda i: -low["blocks"][i]["sparsity"]) == order
    peak = plan(plans, analysis=analysis, sparsity=0.6, metric="alpha_peak")
    linear = plan(plans, analysis=analysis, sparsity=0.6, metric="alpha_peak",
                  peak_compat="linear")
    assert linear["metric"] == "alpha_peak_linear" and linear["id"] != peak["id"]
    for t in linear["tensors"]:
        assert t["metric"] == manlm[1][t["name"]]["alpha_peak_linear"]
    assert "unstable_metric" in {w["code"] for w in peak["warnings"]}
    for metric in ("stable_rank", "entropy", "log_norm", "alpha_weighted", "alpha"):
        assert plan(plans, analysis=analysis, sparsity=0.6, metric=metric)["metric"] == metric


def test_methods_without_a_metric(manlm, plans):
    analysis, rows = manlm
    p = plan(plans, analysis=analysis, sparsity=0.8, method="uniform")
    assert p["metric"] is None and {t["sparsity"] for t in p["tensors"]} == {0.8}
    assert all(t["metric"] is None for t in p["tensors"])
    p = plan(plans, analysis=analysis, sparsity=0.9, method="uniform_plus")
    assert p["tensors"][-1]["sparsity"] == 0.8 and p["tensors"][0]["sparsity"] > 0.9
    p = plan(plans, analysis=analysis, sparsity=0.6, method="er")
    e = [sum(rows[t["name"]]["shape"]) / t["params"] for t in p["tensors"]]
    c = 0.4 * p["n_params"] / sum(x * t["params"] for x, t in zip(e, p["tensors"]))
    assert [t["sparsity"] for t in p["tensors"]] == pytest.approx([1 - c * x for x in e])
    assert plan(plans, analysis=analysis, sparsity=0.6, method="erk")["blocks"] == p["blocks"]
    p = plan(plans, analysis=analysis, sparsity=0.7, method="atp", beta=0.05)
    assert [b["sparsity"] for b in p["blocks"]] == pytest.approx([0.625, 0.675, 0.725, 0.775])
    p = plan(plans, analysis=analysis, sparsity=0.7, method="atp")
    assert p["params"]["beta"] == pytest.approx(0.1)


def test_statistics_sent_along(manlm, plans):
    analysis, rows = manlm
    names = [n for n, r in rows.items() if r["block"] and r["status"] != "skipped"]
    depth = {n: int(n.split(".")[2]) for n in names}
    p = plan(plans, analysis=analysis, sparsity=0.7, method="owl",
             stats={n: 0.05 - 0.01 * depth[n] for n in names})
    assert [b["sparsity"] for b in p["blocks"]] == pytest.approx(
        [0.62, 0.62 + 0.16 / 3, 0.62 + 0.32 / 3, 0.78])
    p = plan(plans, analysis=analysis, sparsity=0.7, method="dlp", width=0.1,
             stats={n: 1 + depth[n] for n in names})
    assert [b["sparsity"] for b in p["blocks"]] == pytest.approx(
        [0.65, 0.65 + 0.1 / 3, 0.65 + 0.2 / 3, 0.75])
    problem(post(plans, analysis=analysis, sparsity=0.7, method="owl"), 422, "#/stats",
            "outlier_ratio")
    problem(post(plans, analysis=analysis, sparsity=0.7, method="dlp", stats={"no": 1}), 400,
            "#/stats")


def llama(name):
    with open(os.path.join(DATA, "alphapruning_alpha_peak.json")) as f:
        alpha = json.load(f)["values"][name]
    roles = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
             "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"]
    return {f"model.layers.{i // 7}.{roles[i % 7]}.weight": {
        "alpha_peak": a, "params": 4096 * (4096 if i % 7 < 4 else 11008)}
        for i, a in enumerate(alpha)}


def test_published_plan_from_metrics(plans):
    """LLaMA 7B, whose ratios were published; names are echoed as they were sent."""
    sent = llama("llama-7b-hf")
    p = plan(plans, metrics=sent, sparsity=0.7, epsilon=0.2, metric="alpha_peak")
    assert {t["name"] for t in p["tensors"]} == set(sent)
    assert [b["block"] for b in p["blocks"]] == [f"model.layers.{i}" for i in range(32)]
    want = [0.57042168, 0.61759795, 0.63153116, 0.63073803]
    assert [b["sparsity"] for b in p["blocks"][:4]] == pytest.approx(want, abs=5.1e-9)
    assert p["blocks"][25]["sparsity"] == pytest.approx(.85205203, abs=5.1e-9)
    assert p["blocks"][9]["sparsity"] == pytest.approx(.56803469, abs=5.1e-9)
    # Published code would prune 106 % of a block here.
    p = plan(plans, metrics=sent, sparsity=0.8, metric="alpha_peak")
    assert max(b["sparsity"] for b in p["blocks"]) == pytest.approx(0.99)
    assert "limits" in {w["code"] for w in p["warnings"]}
    # The order of what is sent does not matter, nor does the spelling.
    again = plan(plans, sparsity=0.8, metric="alpha_peak", method="alphapruning", epsilon=0.3,
                 metrics=dict(reversed(sent.items())))
    assert again == p


def test_a_plan_is_a_function_of_its_request(manlm, plans):
    analysis = manlm[0]
    r = post(plans, analysis=analysis, sparsity=0.61)
    p = r.json
    assert r.headers["Location"] == f"/v1/plans/{p['id']}" == p["links"]["self"]
    assert r.headers["ETag"] == f'"{p["id"]}"'
    assert post(plans, analysis=analysis, sparsity=0.61).body == r.body
    assert post(plans, analysis=analysis, sparsity=0.61, epsilon=0.3, method="alphapruning",
                limits={"max": 0.99}).body == r.body
    assert post(plans, analysis=analysis, sparsity=0.61, limits={"max": 0.98}).json["id"] != p["id"]
    got = plans.get(f"/v1/plans/{p['id']}")
    assert got.status == 200 and got.body == r.body
    assert plans.get(f"/v1/plans/{p['id']}", **{"If-None-Match": got.headers["ETag"]}).status == 304
    assert plans.get("/v1/plans/pln_" + "0" * 26).status == 404
    assert plans.get("/v1/plans/ana_" + "0" * 26).status == 404
    assert plans.get("/v1/plans/pln_x").status == 404


def test_a_plan_outlives_the_daemon(daemon):
    job, _ = daemon.analyze("manlm.safetensors")
    small = post(daemon, analysis=job["result"]["analysis"], sparsity=0.5)
    sent = {f"layers.{i}.x": {"alpha_mid": 2 + i % 7, "params": 10 + i, "note": "x" * 100}
            for i in range(4000)}  # its request is larger than what the database keeps inline
    large = post(daemon, metrics=sent, sparsity=0.5)
    assert large.status == 200, large.body
    daemon.stop()
    daemon.start()
    for r in (small, large):
        assert daemon.get(f"/v1/plans/{r.json['id']}").body == r.body


def test_limits(manlm, plans):
    analysis = manlm[0]
    p = plan(plans, analysis=analysis, sparsity=0.7, limits={"min": 0.6, "max": 0.75})
    s = [t["sparsity"] for t in p["tensors"]]
    assert min(s) >= 0.6 and max(s) <= 0.75
    assert {t["limit"] for t in p["tensors"]} >= {"min", "max"}
    assert p["feasible_range"] == {"min": pytest.approx(0.6), "max": pytest.approx(0.75)}
    name = p["tensors"][0]["name"]
    p = plan(plans, analysis=analysis, sparsity=0.7, limits={"tensors": {name: {"max": 0}}})
    assert p["tensors"][0]["sparsity"] == 0 and p["tensors"][1]["sparsity"] > 0
    no = problem(post(plans, analysis=analysis, sparsity=0.8, limits={"max": 0.75}), 422,
                 "#/sparsity", "0.75")
    assert no["code"] == "limit"
    problem(post(plans, analysis=analysis, sparsity=0.5, limits={"min": 0.6}), 422, "#/sparsity",
            "0.6")
    exact = plan(plans, analysis=analysis, sparsity=0.75, limits={"max": 0.75})
    assert {t["sparsity"] for t in exact["tensors"]} == {0.75}
    for limits, at in [({"min": 2}, "#/limits/min"), ({"max": -1}, "#/limits/max"),
                       ({"min": 0.5, "max": 0.4}, "#/limits"), ({"mid": 1}, "#/limits"),
                       (3, "#/limits"),
                       ({"tensors": {"x": {"max": 0}}}, "#/limits/tensors/x"),
                       ({"tensors": {"x": 1}}, "#/limits/tensors/x"),
                       ({"tensors": {name: {"min": "a"}}}, None)]:
        problem(post(plans, analysis=analysis, sparsity=0.5, limits=limits), 400, at)


def test_exclude(manlm, plans):
    analysis = manlm[0]
    p = plan(plans, analysis=analysis, sparsity=0.7, exclude=r"layers\.0\.|down_proj")
    assert len(p["tensors"]) == 18 and not any("down" in t["name"] for t in p["tensors"])
    name = p["tensors"][0]["name"]
    q = plan(plans, analysis=analysis, sparsity=0.7, exclude=[name, "lm_head"])
    assert len(q["tensors"]) == MATRICES - 1 and name not in {t["name"] for t in q["tensors"]}
    problem(post(plans, analysis=analysis, sparsity=0.7, exclude=["nothing"]), 400, "#/exclude",
            "nothing")
    problem(post(plans, analysis=analysis, sparsity=0.7, exclude="("), 400, "#/exclude")
    problem(post(plans, analysis=analysis, sparsity=0.7, exclude="x" * 2000), 400, "#/exclude")
    problem(post(plans, analysis=analysis, sparsity=0.7, exclude="."), 400, "#/exclude")
    problem(post(plans, analysis=analysis, sparsity=0.7, exclude=[1]), 400, "#/exclude")


def test_n_of_m(manlm, plans):
    analysis = manlm[0]
    for target in (0.3, 0.5, 0.613):
        p = plan(plans, analysis=analysis, sparsity=target, m=8)
        for t in p["tensors"]:
            assert t["sparsity"] == t["pruned_of_m"] / 8
    p = plan(plans, analysis=analysis, sparsity=0.5, m=4, method="uniform")
    assert {t["pruned_of_m"] for t in p["tensors"]} == {2}
    p = plan(plans, analysis=analysis, sparsity=0.5, m=5, method="uniform")
    assert "not_divisible" in {w["code"] for w in p["warnings"]}
    problem(post(plans, analysis=analysis, sparsity=0.5, m=8, limits={"min": 0.51, "max": 0.6}),
            422, "#/sparsity")
    problem(post(plans, analysis=analysis, sparsity=0.55, m=8, limits={"min": 0.51, "max": 0.6}),
            422, "#/sparsity", "multiple of 1/8")


def test_n_of_m_says_what_goes_and_what_stays(manlm, plans):
    analysis = manlm[0]
    for m in (4, 8, 16):
        p = plan(plans, analysis=analysis, sparsity=0.5, m=m)
        assert {t["pruned_of_m"] + t["kept_of_m"] for t in p["tensors"]} == {m}
        assert len({t["kept_of_m"] for t in p["tensors"]}) > 1  # mixed
        p = plan(plans, analysis=analysis, sparsity=0.75, m=m, method="uniform")
        assert {(t["kept_of_m"], t["pruned_of_m"]) for t in p["tensors"]} == {(m // 4, 3 * m // 4)}
    # Two blocks of 100 and 300 weights, wanted 0.42 and 0.6267 of them: 3.36 and 5.01 of 8. Of 230
    # weights 37.5 + 187.5 go at first, and the next 12.5 would come no closer than the 5 missing.
    p = plan(plans, sparsity=0.575, m=8, epsilon=0.2, metrics={
        "layers.0.a": {"alpha_mid": 2, "shape": [10, 10]},
        "layers.1.a": {"alpha_mid": 3, "shape": [10, 30]}})
    assert [t["pruned_of_m"] for t in p["tensors"]] == [3, 5]
    assert [t["kept_of_m"] for t in p["tensors"]] == [5, 3]
    assert p["achieved_sparsity"] == pytest.approx(225 / 400)
    codes = {w["code"]: w["detail"] for w in p["warnings"]}
    assert "2 tensors" in codes["not_divisible"]


def test_whole_numbers_may_have_a_point(plans):
    """JSON has one kind of number: 8.0 is 8."""
    def sent(n):
        return {"layers.0.a": {"alpha_mid": 2, "shape": [n(16), n(8)]},
                "layers.1.a": {"alpha_mid": 3, "params": n(128)}}
    want = plan(plans, metrics=sent(int), sparsity=0.5, m=8)
    got = plan(plans, metrics=sent(float), sparsity=0.5, m=8.0)
    assert got["tensors"] == want["tensors"]
    problem(post(plans, metrics=sent(int), sparsity=0.5, m=8.5), 400, "#/m")


def test_ranks(manlm, plans):
    """low_rank: what stays pays for two factors, and a smaller metric loses more."""
    analysis, rows = manlm
    p = plan(plans, analysis=analysis, sparsity=0.4, direction="low_rank", mapping="per_matrix")
    for t in p["tensors"]:
        m, n = rows[t["name"]]["shape"]
        kept = (1 - t["sparsity"]) * m * n
        assert t["rank"] * (m + n) <= kept * (1 + 1e-12) < (t["rank"] + 1) * (m + n)
        assert t["rank"] < min(m, n)
    by_metric = sorted(p["tensors"], key=lambda t: t["metric"])
    assert by_metric[0]["sparsity"] > by_metric[-1]["sparsity"]
    p = plan(plans, sparsity=0.5, direction="low_rank", metrics={
        "layers.0.a": {"alpha_mid": 2, "shape": [6, 3]},     # 9 left: one rank costs 9
        "layers.1.a": {"alpha_mid": 2, "shape": [4, 2, 2]},  # 8 left of 4 x 4: 8
        "layers.2.a": {"alpha_mid": 2, "shape": [2, 2]},     # 2 left of 4: one rank, of 4
        "layers.3.a": {"alpha_mid": 2, "params": 100}})
    assert [t["rank"] for t in p["tensors"]] == [1, 1, 1, None]
    p = plan(plans, sparsity=0, direction="low_rank", metrics={
        "layers.0.a": {"alpha_mid": 2, "shape": [6, 3]}})
    assert p["tensors"][0]["rank"] is None
    problem(post(plans, analysis=analysis, sparsity=0.5, direction="low_rank", m=4), 400, "#/m")
    p = plan(plans, analysis=analysis, sparsity=0.5)
    assert "rank" not in p["tensors"][0] and "kept_of_m" not in p["tensors"][0]


def test_warnings(plans):
    def codes(**body):
        return {w["code"] for w in plan(plans, **body)["warnings"]}

    def sent(values):
        return {f"layers.{i}.w": {"alpha_mid": v, "params": 100} for i, v in enumerate(values)}

    assert codes(metrics=sent([2, 3, 4, 5, 6, 3, 4, 5]), sparsity=0.7) == set()
    assert codes(metrics=sent([2, 3, 4, 5, 6, 3, 4, 5, 14]), sparsity=0.6) == {"outliers"}
    assert codes(metrics=sent([3] * 8), sparsity=0.7) == {"no_spread"}
    assert codes(metrics=sent([3, 3.001, 3.002, 3.001, 3, 3.002]), sparsity=0.7) == \
        {"narrow_spread"}
    assert codes(metrics=sent([2, 3, None, 5, 4]), sparsity=0.7) == {"no_metric"}
    assert codes(metrics=sent([2, 3, 4]), sparsity=0.5) == {"few_blocks", "low_target"}
    p = plan(plans, metrics=sent([2, 3, None, 5, 4]), sparsity=0.7)
    assert p["tensors"][2] == {"name": "layers.2.w", "block": "layers.2", "role": "other",
                               "metric": None, "params": 100, "sparsity": 0.7, "limit": None}


def test_tensors_without_blocks(plans):
    p = plan(plans, sparsity=0.6, metrics={
        "fc10": {"alpha_mid": 4, "shape": [10, 30]}, "fc2": {"alpha_mid": 3, "shape": [20, 10]},
        "x": {"alpha_mid": 2, "params": 50, "block": "layers.1"},
        "y": {"alpha_mid": 3, "params": 50, "block": "layers.1"}})
    assert [t["name"] for t in p["tensors"]] == ["fc2", "fc10", "x", "y"]
    assert [b["block"] for b in p["blocks"]] == [None, None, "layers.1"]
    assert [b["metric"] for b in p["blocks"]] == [3, 4, 2.5]


def test_experts_are_tensors_of_their_own(plans):
    import numpy as np
    from daemon import write_safetensors
    r = np.random.default_rng(1)
    tensors = {f"model.layers.{i}.mlp.experts.gate_up_proj":
               r.standard_normal((3, 64, 48)).astype(np.float32) for i in range(4)}
    tensors["model.layers.0.mlp.gate.weight"] = r.standard_normal((16, 64)).astype(np.float32)
    write_safetensors(os.path.join(plans.root, "moe.safetensors"), tensors)
    job, rows = plans.analyze("moe.safetensors")
    p = plan(plans, analysis=job["result"]["analysis"], sparsity=0.6)
    names = [t["name"] for t in p["tensors"]]
    assert len(names) == 12 and names == [n for n in rows if "experts" in n]
    assert names[0].endswith("[0]") and p["tensors"][0]["params"] == 64 * 48


BAD = [
    ({"metrics": {"a": {}}}, 400, "#/sparsity"),
    ({"metrics": {"a": {"params": 1}}, "sparsity": "x"}, 400, "#/sparsity"),
    ({"metrics": {"a": {"params": 1}}, "sparsity": 1.5}, 400, "#/sparsity"),
    ({"sparsity": 0.5}, 400, "#/analysis"),
    ({"sparsity": 0.5, "analysis": "ana_" + "0" * 26, "metrics": {"a": {}}}, 400, "#/analysis"),
    ({"sparsity": 0.5, "analysis": 7}, 400, "#/analysis"),
    ({"sparsity": 0.5, "analysis": "job_" + "0" * 26}, 400, "#/analysis"),
    ({"sparsity": 0.5, "analysis": "ana_" + "0" * 26}, 404, None),
    ({"sparsity": 0.5, "source": {"path": "x"}}, 404, "#/source/path"),
    ({"sparsity": 0.5, "method": "magic"}, 400, "#/method"),
    ({"sparsity": 0.5, "method": 1}, 400, "#/method"),
    ({"sparsity": 0.5, "method": "uniform", "epsilon": 0.1}, 400, "#/epsilon"),
    ({"sparsity": 0.5, "method": "atp", "metric": "alpha"}, 400, "#/metric"),
    ({"sparsity": 0.5, "inner_epsilon": 0.1}, 400, "#/inner_epsilon"),
    ({"sparsity": 0.5, "epsilon": 1.1}, 400, "#/epsilon"),
    ({"sparsity": 0.5, "mapping": "all"}, 400, "#/mapping"),
    ({"sparsity": 0.5, "metric": "a b"}, 400, "#/metric"),
    ({"sparsity": 0.5, "metrics": {}}, 400, "#/metrics"),
    ({"sparsity": 0.5, "metrics": {"a": 1}}, 400, "#/metrics/a"),
    ({"sparsity": 0.5, "metrics": {"": {"params": 1}}}, 400, "#/metrics/"),
    ({"sparsity": 0.5, "metrics": {"a": {"alpha_mid": 3}}}, 400, "#/metrics/a/params"),
    ({"sparsity": 0.5, "metrics": {"a": {"params": 0}}}, 400, "#/metrics/a/params"),
    ({"sparsity": 0.5, "metrics": {"a": {"shape": []}}}, 400, "#/metrics/a/shape"),
    ({"sparsity": 0.5, "metrics": {"a": {"shape": [2 ** 40, 2 ** 40]}}}, 400, "#/metrics/a/shape"),
    ({"sparsity": 0.5, "metrics": {"a": {"params": 1, "shape": [1]}}}, 400, "#/metrics/a/params"),
    ({"sparsity": 0.5, "metrics": {"a": {"params": 1, "alpha_mid": "3"}}}, 400,
     "#/metrics/a/alpha_mid"),
    ({"sparsity": 0.5, "metrics": {"a": {"params": 1}}}, 400, "#/metric"),
    ({"sparsity": 0.5, "method": "er", "metrics": {"a": {"params": 1}}}, 400, "#/metrics/a"),
    ({"sparsity": 0.5, "m": 1, "metrics": {"a": {"params": 1}}}, 400, "#/m"),
    ({"sparsity": 0.5, "m": None, "metrics": {"a": {"params": 1}}}, 400, "#/m"),
    ({"sparsity": 0.5, "other": 1}, 400, "#/other"),
]


@pytest.mark.parametrize("body,status,pointer", BAD)
def test_bad_requests(plans, body, status, pointer):
    problem(post(plans, **body), status, pointer)


def test_unknown_metric_of_an_analysis(manlm, plans):
    problem(post(plans, analysis=manlm[0], sparsity=0.5, metric="alpha_best"), 400, "#/metric",
            "alpha_best")
    problem(post(plans, analysis=manlm[0], sparsity=0.5, metric="longname"), 400, "#/metric")
    problem(post(plans, analysis=manlm[0], sparsity=0.5, metric="farms_alpha"), 400, "#/metric",
            "params.farms")


# --- spectralctl ------------------------------------------------------------------------------


def ctl(d, *args, status=0):
    r = subprocess.run([CTL, "--server", f"http://127.0.0.1:{d.port}", *args], capture_output=True,
                       text=True, timeout=60)
    assert r.returncode == status, r.stderr
    return r


def test_plan_on_the_command_line(manlm, plans):
    analysis = manlm[0]
    p = plan(plans, analysis=analysis, sparsity=0.6, limits={"max": 0.8}, exclude="down_proj", m=8)
    options = ["--sparsity", "0.6", "--max", "0.8", "--exclude", "down_proj", "--m", "8"]
    assert json.loads(ctl(plans, "plan", analysis, *options, "--json").stdout) == p
    text = ctl(plans, "plan", analysis, *options, "--csv").stdout
    lines = list(csv.DictReader(text.splitlines()))
    assert [(x["name"], float(x["sparsity"])) for x in lines] == \
        [(t["name"], t["sparsity"]) for t in p["tensors"]]
    r = ctl(plans, "plan", analysis, "--sparsity", "0.5", "--method", "atp")
    rows = [line.split() for line in r.stdout.splitlines() if line.startswith("model.layers")]
    assert len(rows) == 4 and [len(row[-1]) for row in rows] == sorted(len(x[-1]) for x in rows)
    assert "warning: at 50 %" in r.stderr
    assert "required" in ctl(plans, "plan", analysis, status=1).stderr
    assert "number" in ctl(plans, "plan", analysis, "--sparsity", "x", status=1).stderr
    assert "0.99" in ctl(plans, "plan", analysis, "--sparsity", "0.999", status=2).stderr


def test_other_plans_on_the_command_line(manlm, plans):
    """Widths, ranks and bits: what the options ask for."""
    analysis = manlm[0]
    for options, body in (
            (["--sparsity", "0.6", "--width", "32"],
             {"sparsity": 0.6, "structure": {"kind": "width", "multiple": 32}}),
            (["--sparsity", "0.6", "--direction", "low_rank"],
             {"sparsity": 0.6, "direction": "low_rank"}),
            (["--bits", "3.5"], {"method": "alphaq", "bits": {"average": 3.5}})):
        p = plans.request("POST", "/v1/plans", {"analysis": analysis, **body}).json
        assert json.loads(ctl(plans, "plan", analysis, *options, "--json").stdout) == p
    r = ctl(plans, "plan", analysis, "--bits", "3.5")
    rows = [line.split() for line in r.stdout.splitlines() if line.startswith("model.layers")]
    assert [float(row[2]) for row in rows] == [round(b["bits"], 4) for b in p["blocks"]]
    assert "3.5000 bits a weight" in r.stdout
    assert "bits" in ctl(plans, "plan", analysis, "--bits", "3.5", "--csv").stdout.split("\n")[0]
    for bad in (["--bits", "3", "--sparsity", "0.5"], ["--bits", "3", "--method", "atp"]):
        assert "--bits" in ctl(plans, "plan", analysis, *bad, status=1).stderr
