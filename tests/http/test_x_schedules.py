"""Schedules and expert counts: from an analysis, from numbers sent along, from a source."""

import concurrent.futures
import csv
import io
import json
import math
import os
import shutil
import subprocess

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon, write_safetensors

MODEL = "manlm.safetensors"
SCORES = [2.1, 3.7, 2.9, 5.2, 2.4]
ALL = {"first": False, "last": False}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A daemon with one analysis: (daemon, id, rows in order)."""
    d = Daemon(str(tmp_path_factory.mktemp("schedules")))
    shutil.copy(os.path.join(TOP, "examples", MODEL), d.root)
    with d:
        job, rows = d.analyze(MODEL)
        yield d, job["result"]["analysis"], rows
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()


def problem(r, status, pointer=None, code=None):
    assert r.status == status, (r.status, r.body)
    assert code is None or r.json["code"] == code, r.body
    assert pointer is None or r.json["errors"][0]["pointer"] == "#" + pointer, r.body
    return r.json


def ask(d, what="schedules", headers=None, **body):
    r = d.request("POST", f"/v1/{what}", body, headers)
    assert r.status == 200, r.body
    return r.json


def sent(scores, name="layers.{}.w.weight", **more):
    return {name.format(i): {"alpha": s, **more} for i, s in enumerate(scores)}


def factors(reply, excluded=False):
    return [t["multiplier"] for t in reply["layers"] if excluded or not t["excluded"]]


# --- published numbers ------------------------------------------------------------------------------

@pytest.mark.parametrize("assign,want", [
    ({"fn": "linear"}, [.05, .1016129032, .0758064516, .15, .0596774194]),
    ({"fn": "rank"}, [.05, .11, .09, .13, .07]),
    ({"fn": "sqrt"}, [.0813650655, .1080013522, .0956152863, .1280353823, .0869829138]),
    ({"fn": "log2"}, [.0657849885, .1160052936, .0944041759, .1461807921, .0776247499]),
    ({"fn": "sigmoid", "sigmoid_min": 1},
     [.031623444, .3075187248, .0336199446, .3162277633, .0316361825]),
    ({"fn": "sigmoid"}, [.0100004221, .3075187248, .0113030068, .3162277633, .0100084804])])
def test_published_rates(served, assign, want):
    s = ask(served[0], metrics=sent(SCORES), base_lr=0.1, assign=assign, exclude=ALL)
    assert np.allclose([t["lr"] for t in s["layers"]], want, rtol=1e-8, atol=0)
    assert s["metric"] == "alpha" and s["n_scheduled"] == 5 and s["order"] == "as_sent"
    assert math.isclose(s["alpha_mean"], np.mean(SCORES), rel_tol=1e-12)
    assert math.isclose(s["alpha_std"], np.std(SCORES), rel_tol=1e-12)
    assert s["degenerate_range"] is False and s["warnings"] == []


# --- eigenvalues sent along -------------------------------------------------------------------------

GROWTH = [1.25 ** k for k in range(64)]
FREE = {"first": False, "last": False, "min_eigs": 0}


@pytest.mark.parametrize("eigs,fit,alpha,distance", [
    (range(1, 11), {}, 4.681550358521017, 0.253237800145233),
    (GROWTH[:8], {}, 3.9876134118163673, None),
    (GROWTH[:9], {}, 3.2407100588622755, None),
    (GROWTH, {}, 1.2891238785628742, 0.1644471820540545),
    (GROWTH, {"xmin_pos": 1.5}, 1.4268019159737668, None),
    (GROWTH, {"xmin_pos": 3}, 1.2134009579868832, None),
    (range(1, 11), {"hill_variant": "paper"},
     1 + 5 / sum(math.log(x / 5) for x in range(6, 11)), None)])
def test_published_exponents(served, eigs, fit, alpha, distance):
    eigs = [float(x) for x in eigs]
    shuffled = eigs[::2] + eigs[1::2]
    s = ask(served[0], layers=[{"name": "w", "eigs": shuffled}], fit=fit, exclude=FREE)
    t = s["layers"][0]
    assert math.isclose(t["alpha"], alpha, rel_tol=1e-13)
    assert distance is None or math.isclose(t["D"], distance, rel_tol=1e-12)
    assert (t["n_eigs"], t["lambda_max"]) == (len(eigs), eigs[-1])
    assert math.isclose(t["fro2"], sum(eigs)) and t["excluded"] is None
    assert math.isclose(t["alphahat"], alpha * math.log10(eigs[-1]), rel_tol=1e-13)
    assert s["precision"] == "f64" and s["degenerate_range"]
    assert s["fit"] == {"method": "xmin_mid", "xmin_pos": 2, "hill_variant": "code",
                        "filter_zeros": False, "evals_thresh": None, "conv_norm": 1, **fit}


def scan(x, low=-math.inf, high=math.inf):
    """alpha and D of the start with the least D among low <= x_i <= high, as the definition says."""
    best = (math.inf, math.nan)
    for i in range(len(x) - 1):
        if not low <= x[i] <= high:
            continue
        n = len(x) - i
        alpha = 1 + n / (np.log(x[i:]).sum() - n * np.log(x[i]))
        d = np.abs(1 - (x[i:] / x[i]) ** (1 - alpha) - np.arange(n) / n).max()
        best = min(best, (d, alpha))
    return best[1], best[0]


def test_estimators_of_sent_spectra(served):
    d = served[0]
    x = np.sort(np.random.default_rng(3).pareto(2.5, 300) + .1) ** 2
    sent_layers = [{"name": "w", "eigs": list(x)}]

    def fitted(layers=sent_layers, **fit):
        t = ask(d, layers=layers, fit=fit, exclude=FREE)["layers"][0]
        return t["alpha"], t["D"]

    assert np.allclose(fitted(method="ks"), scan(x), rtol=1e-10)
    counts, edges = np.histogram(np.log10(x), 100)
    peak = 10 ** edges[np.argmax(counts)]
    assert np.allclose(fitted(method="xmin_peak", peak_compat="linear"),
                       scan(x, .95 * peak, 1.5 * peak), rtol=1e-10)
    assert np.allclose(fitted(method="xmin_peak"), scan(x, math.log10(.95 * peak), 1.5 * peak),
                       rtol=1e-10)
    # Zeros: left out, counted where upstream counts them, or cut off where it says.
    padded = [{"name": "w", "eigs": [0] * 100 + list(x)}]
    mid = fitted(sent_layers)
    assert fitted(padded) == mid
    reference = ask(d, layers=padded, exclude=FREE, compat="reference")["layers"][0]["alpha"]
    tail = x[100:]
    assert math.isclose(reference, 1 + 200 / np.log(tail / tail[0]).sum(), rel_tol=1e-12)
    assert fitted(padded, filter_zeros=True)[0] == mid[0]
    cut = x[x > .5]
    assert np.allclose(fitted(filter_zeros=True, evals_thresh=.5),
                       fitted([{"name": "w", "eigs": list(cut)}]), rtol=1e-12)
    assert fitted(filter_zeros=True, evals_thresh=1e9) == mid
    # A scale moves what is not an exponent.
    conv = [{"name": "w", "kind": "conv2d", "shape": [20, 15, 1, 1], "eigs": list(x)}]
    half = ask(d, layers=conv, fit={"conv_norm": .5}, exclude=FREE)["layers"][0]
    assert math.isclose(half["alpha"], mid[0], rel_tol=1e-12)
    assert math.isclose(half["lambda_max"], x[-1] / 2) and math.isclose(half["fro2"], x.sum() / 2)
    assert math.isclose(half["alphahat"], mid[0] * math.log10(x[-1] / 2), rel_tol=1e-12)


def test_every_member_of_a_step(served):
    """One call with all there is: exclusions by place, a norm after its convolution, a bad spectrum."""
    d, r = served[0], np.random.default_rng(1)
    spectra = [np.sort(r.gamma(shape, size=60)) for shape in (.5, .5, 1, 2, 4, 8)]
    layers = [{"name": f"conv{i}.weight", "kind": "conv2d", "eigs": list(x)}
              for i, x in enumerate(spectra)]
    layers[2:2] = [{"name": "bn1.weight", "kind": "norm"}]
    layers[5:5] = [{"name": "few.weight", "eigs": [1, 2, 3]},
                   {"name": "flat.weight", "eigs": [2.5] * 60},
                   {"name": "zero.weight", "eigs": [0] * 60}]
    s = ask(d, layers=layers, step=1200, base_lr=.1, unit="matrix", metric="alphahat",
            fit={"method": "xmin_mid", "xmin_pos": 1.5, "conv_norm": .5},
            exclude={"first": True, "last": True, "min_eigs": 50},
            assign={"fn": "linear", "s1": .6, "s2": 1.4, "normalize": True},
            norm_binding="name", compat="safe", freeze_from=None)
    by = {t["name"]: t for t in s["layers"]}
    assert [by[f"{n}.weight"]["excluded"] for n in ("conv0", "conv5", "few", "flat", "zero", "bn1")] == [
        "first", "last", "few_eigs", "nonfinite", "nonfinite", "not_a_matrix"]

    def score(x):
        tail = x[int(60 / 1.5):]
        return (1 + 20 / np.log(tail / tail[0]).sum()) * np.log10(x[-1] / 2)

    want = np.array([score(x) for x in spectra[1:5]])
    factor = .6 + .8 * (want - want.min()) / np.ptp(want)
    got = [by[f"conv{i}.weight"] for i in range(1, 5)]
    assert np.allclose([t["score"] for t in got], want, rtol=1e-12)
    assert np.allclose([t["multiplier"] for t in got], factor / factor.mean(), rtol=1e-12)
    assert [t["lr"] for t in got] == [.1 * t["multiplier"] for t in got]
    assert s["bindings"] == {"bn1.weight": "conv1.weight"} and s["step"] == 1200
    assert s["metric"] == "alphahat" and s["order"] == "as_sent" and s["n_scheduled"] == 4
    assert math.isclose(s["alpha_std"], want.std(), rel_tol=1e-12)
    assert "freeze_from" not in s and s["matrix_convention"].startswith("eigenvalues as sent")
    for metric, of in (("D", lambda t: t["D"]), ("norm", lambda t: t["fro2"]),
                       ("spectral_norm", lambda t: t["lambda_max"]),
                       ("stable_rank", lambda t: t["fro2"] / t["lambda_max"])):
        s = ask(d, layers=layers, metric=metric)
        assert all(math.isclose(t["score"], of(t)) for t in s["layers"] if not t["excluded"])
    e = ask(d, "experts", total=6, layers=[{"name": f"layers.{i}.w", "eigs": list(x)}
                                           for i, x in enumerate(spectra[2:4])])
    assert sum(b["experts"] for b in e["blocks"]) == 6 and e["metric"] == "alpha"


def test_frozen(served):
    d, analysis, _ = served
    want = ask(d, analysis=analysis, base_lr=1)
    jobs = len(d.get("/v1/jobs").json["jobs"])
    got = ask(d, source={"path": "not-there"}, freeze_from=analysis, base_lr=1)
    assert got.pop("freeze_from") == analysis and got == want
    assert len(d.get("/v1/jobs").json["jobs"]) == jobs
    ghost = "ana_06gzr4pm3s6v2tq0k8j5n1c7xd"
    problem(d.request("POST", "/v1/schedules", {"analysis": analysis, "freeze_from": ghost}), 404)


# --- methods ----------------------------------------------------------------------------------------

def test_defaults_of_the_methods(served):
    d, m = served[0], sent([9, *SCORES, 9])
    tb = ask(d, metrics=m)
    assert [t["excluded"] for t in tb["layers"]] == ["first", *[None] * 5, "last"]
    assert min(factors(tb)) == .5 and max(factors(tb)) == 1.5 and tb["tune"] == "lr"
    llr = ask(d, metrics=m, method="llr")
    assert min(factors(llr)) == 1 and max(factors(llr)) == 5 and len(factors(llr)) == 7
    wd = ask(d, metrics=m, method="alphadecay", base_lr=.1, base_weight_decay=.01)
    assert min(factors(wd)) == .67 and max(factors(wd)) == 3
    assert {t["lr"] for t in wd["layers"]} == {.1}
    assert [t["weight_decay"] for t in wd["layers"]] == [.01 * f for f in factors(wd)]
    both = ask(d, metrics=m, method="alphadecay", base_lr=.1, tune="both")
    assert [t["lr"] for t in both["layers"]] == [.1 * f for f in factors(wd)]
    assert {t["weight_decay"] for t in both["layers"]} == {None}


def test_blocks(served):
    m = {"layers.0.a.weight": {"alpha": 2}, "layers.1.a.weight": {"alpha": 6},
         "layers.0.b.weight": {"alpha": 4}, "layers.1.norm.weight": {}, "other": {"alpha": 3},
         "odd": {"alpha": 4, "block": "layers.1"}}
    s = ask(served[0], metrics=m, method="modelbalancing")
    by = {t["name"]: t for t in s["layers"]}
    up, down = 10 ** (1 / (1 + math.exp(-10)) - .5), 10 ** (2 / (1 + math.exp(10)) - 1)
    for name, want in [("layers.0.a.weight", down), ("layers.0.b.weight", down),
                       ("layers.1.a.weight", up), ("odd", up), ("layers.1.norm.weight", up)]:
        assert math.isclose(by[name]["multiplier"], want, rel_tol=1e-12)
    assert by["other"]["excluded"] == "no_block" and by["other"]["multiplier"] == 1
    assert s["n_units"] == 2 and s["n_scheduled"] == 4
    assert s["bindings"] == {"layers.1.norm.weight": "layers.1"}


def test_within_blocks(served):
    m = {f"layers.{b}.{n}.weight": {"alpha": a} for b, n, a in [
        (0, "q", 2), (0, "k", 3), (0, "v", 4), (1, "q", 4), (1, "k", 6), (2, "q", 4)]}
    m["layers.1.norm.weight"] = {}
    linear = {"metrics": m, "method": "modelbalancing", "unit": "layer", "assign": {"fn": "linear"}}
    s = ask(served[0], **linear)
    assert factors(s) == [.25, .5, .75, .75, 2.25, 1] and s["assign"]["s2"] == 1.5
    assert s["bindings"] == {"layers.1.norm.weight": "layers.1"} and s["unit"] == "layer"
    assert s["layers"][-1]["multiplier"] == 1.5  # the mean of its block
    assert factors(ask(served[0], **linear, compat="reference"))[-1] == 1.5
    s = ask(served[0], metrics=m, method="alphadecay", assign={"fn": "zscore"},
            base_weight_decay=.1)
    want = [2 / (1 + math.exp(-4 * z)) for z in (-1.5 ** .5, 0, 1.5 ** .5, -1, 1, 0)]
    assert np.allclose(factors(s), want, rtol=1e-12) and s["assign"]["tau"] == 4
    assert math.isclose(s["layers"][0]["weight_decay"], .1 * want[0], rel_tol=1e-12)


def test_sliding_window(served):
    m = {f"layers.{b}.{n}.weight": {"alpha": b} for b in range(3) for n in "qk"}
    ask_at = lambda i, **q: ask(served[0], metrics=m, unit="sliding_window",  # noqa: E731
                                window={"index": i, "scale": .25}, exclude=ALL, **q)
    for i in range(3):
        s = ask_at(i)
        assert factors(s) == [.25 if b == i else 1 for b in range(3) for n in "qk"]
        assert s["window"] == {"index": i, "scale": .25}
    problem(served[0].request("POST", "/v1/schedules", {
        "metrics": m, "unit": "sliding_window", "window": {"index": 3, "scale": 1}}),
        400, "/window/index")


def test_who_inherits(served):
    m = {"conv1.weight": {"alpha": 2}, "bn1.weight": {}, "bn1.bias": {},
         "conv2.weight": {"alpha": 4}, "conv2.bias": {}, "layernorm.weight": {},
         "embed_tokens.weight": {"alpha": 3}, "lm_head.weight": {"alpha": 3}}
    d = served[0]

    def inherits(**more):
        s = ask(d, metrics=m, exclude=ALL, **more)
        assert s["bindings"] == {t["name"]: t["inherits"] for t in s["layers"] if t["inherits"]}
        return s["bindings"], {t["name"]: t["multiplier"] for t in s["layers"]}

    named = {"bn1.weight": "conv1.weight", "bn1.bias": "conv1.weight", "conv2.bias": "conv2.weight"}
    who, factor = inherits()
    assert who == named and factor["bn1.bias"] == .5 and factor["conv2.bias"] == 1.5
    who, factor = inherits(norm_binding="order")
    assert who == {**named, "layernorm.weight": "conv2.weight"}
    assert inherits(norm_binding="none")[0] == {}
    who, factor = inherits(method="llr")
    assert who == {**named, "embed_tokens.weight": "max", "lm_head.weight": "max"}
    assert factor["lm_head.weight"] == 5
    assert inherits(method="llr", outside="base")[0] == named


def test_exclusions(served):
    d = served[0]
    m = sent(SCORES, num_evals=50)
    m["layers.2.w.weight"]["num_evals"] = 49
    m["layers.4.w.weight"]["alpha"] = None

    def why(**x):
        s = ask(d, metrics=m, exclude={**ALL, **x}, base_lr=1)
        assert all(t["multiplier"] == 1 == t["lr"] for t in s["layers"] if t["excluded"])
        return [t["excluded"] for t in s["layers"]], s["warnings"]

    reasons, warnings = why()
    assert reasons == [None, None, "few_eigs", None, "nonfinite"]
    assert "1 matrices have no usable alpha" in warnings[0]
    assert why(min_eigs=0, names=["layers.1"])[0] == [None, "excluded", None, None, "nonfinite"]
    assert why(min_eigs=51)[0][:4] == ["few_eigs"] * 4
    s = ask(d, metrics=sent([.5, 2, 3]), assign={"fn": "log2"}, exclude=ALL)
    assert s["layers"][0]["excluded"] == "domain" and math.isclose(np.mean(factors(s)), 1)


def test_nothing_to_balance(served):
    d = served[0]
    for m in (sent([3, 3, 3]), sent([3])):
        s = ask(d, metrics=m, exclude=ALL)
        assert s["degenerate_range"] and set(factors(s)) == {1} and "balance" in s["warnings"][0]
        s = ask(d, metrics=m, exclude=ALL, compat="reference")
        assert s["degenerate_range"] and set(factors(s)) == {1.5}
    s = ask(d, metrics={"bn.weight": {}})
    assert s["n_scheduled"] == 0 and s["alpha_mean"] is None and factors(s, True) == [1]
    assert not s["degenerate_range"] and "no layer" in s["warnings"][0]


def test_limits_keep_the_mean(served):
    d = served[0]
    s = ask(d, metrics=sent([1, 4, 16]), exclude=ALL, assign={"fn": "sqrt"}, limits={"max": 1.5})
    assert np.allclose(factors(s), [.5, 1, 1.5]) and "1 units are held" in s["warnings"][0]
    s = ask(d, metrics=sent(SCORES), exclude=ALL, assign={"normalize": True})
    assert math.isclose(np.mean(factors(s)), 1, rel_tol=1e-12)
    r = d.request("POST", "/v1/schedules", {"metrics": sent([1, 4]), "assign": {"fn": "sqrt"},
                                            "exclude": ALL, "limits": {"max": .5}})
    problem(r, 422, code="numeric")


# --- an analysis ------------------------------------------------------------------------------------

def test_of_an_analysis(served):
    d, analysis, rows = served
    s = ask(d, analysis=analysis, base_lr=1e-3)
    matrices = {n: r for n, r in rows.items() if r["block"] and r["layer_type"] == "dense"}
    a = [r["alpha_mid"] for r in matrices.values()]
    assert [t["name"] for t in s["layers"]] == list(rows) and s["metric"] == "alpha_mid"
    for t in s["layers"]:
        row = rows[t["name"]]
        assert t["tensor"] == row["tensor"] and t["n_eigs"] == row["num_evals"]
        assert t["fro2"] == row["norm"] and t["alphahat"] == row["alpha_weighted"]
        if t["name"] in matrices:
            want = .5 + (row["alpha_mid"] - min(a)) / (max(a) - min(a))
            assert math.isclose(t["multiplier"], want, rel_tol=1e-12) and t["excluded"] is None
            assert math.isclose(t["lr"], 1e-3 * want, rel_tol=1e-12)
        else:
            assert t["multiplier"] == 1
            assert t["excluded"] == {"head": "head", "embedding": "embedding"}.get(
                row["role"], "not_a_matrix")
    # Numbers sent along give the same as the rows they come from.
    again = ask(d, metrics={r["tensor"]: {"alpha_mid": r["alpha_mid"], "num_evals": r["num_evals"]}
                            for r in rows.values()}, base_lr=1e-3, exclude={**ALL, "heads": True})
    assert [t["lr"] for t in again["layers"]] == [t["lr"] for t in s["layers"]]


def test_any_column(served):
    d, analysis, rows = served
    for metric in ("alpha", "alpha_peak", "stable_rank", "log_norm", "D"):
        s = ask(d, analysis=analysis, metric=metric)
        top = max((t for t in s["layers"] if not t["excluded"]), key=lambda t: t["score"])
        assert top["multiplier"] == 1.5 and top["score"] == rows[top["name"]][metric]
    assert any("above 6" in w for w in ask(d, analysis=analysis, metric="alpha")["warnings"])


def test_many_layers_are_read_in_pieces(tmp_path):
    """More rows than one turn on the store thread takes."""
    d = Daemon(str(tmp_path))
    rng = np.random.default_rng(2)
    write_safetensors(d.root + "/m.safetensors",
                      {f"layers.{i}.w.weight": rng.standard_normal((12, 16)).astype(np.float32)
                       for i in range(2100)})
    with d:
        job, rows = d.analyze("m.safetensors")
        s = ask(d, analysis=job["result"]["analysis"], exclude={"min_eigs": 10})
        assert [t["name"] for t in s["layers"]] == list(rows) and s["n_scheduled"] == 2100
        assert [t["score"] for t in s["layers"]] == [r["alpha_mid"] for r in rows.values()]


# --- a source ---------------------------------------------------------------------------------------

def test_one_call_per_step(daemon):
    body = {"source": {"path": MODEL}, "base_lr": .1, "labels": {"run": "a", "step": "1"},
            "params": {"min_evals": 20}}
    first = ask(daemon, **body)
    job = daemon.get(f"/v1/jobs/{first['job']}").json
    assert job["state"] == "succeeded" and job["result"]["analysis"] == first["analysis"]
    assert job["labels"] == body["labels"] and job["params"]["min_evals"] == 20
    same = ask(daemon, analysis=first["analysis"], base_lr=.1)
    assert same["layers"] == first["layers"]
    again = ask(daemon, **body, headers={"Prefer": "wait=5"})  # from the cache
    assert again["layers"] == first["layers"] and again["job"] != first["job"]
    counts = ask(daemon, "experts", source={"path": MODEL}, total=12)
    assert sum(b["experts"] for b in counts["blocks"]) == 12 and counts["job"]


def test_a_source_that_takes_longer(tmp_path):
    d = Daemon(str(tmp_path))
    rng = np.random.default_rng(5)
    write_safetensors(d.root + "/slow.safetensors",
                      {f"layers.{i}.w.weight": rng.standard_normal((1500, 1500)).astype(np.float32)
                       for i in range(4)})
    with d:
        body = {"source": {"path": "slow.safetensors"}}
        r = d.request("POST", "/v1/schedules", body, {"Prefer": "respond-async"})
        assert r.status == 202 and r.headers["Location"] == f"/v1/jobs/{r.json['id']}"
        cancelled = d.request("POST", "/v1/schedules", {**body, "params": {"integers": True}},
                              {"Prefer": "wait=0"})
        assert cancelled.status == 202
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(d.request, "POST", "/v1/experts", {**body, "total": 9},
                                  {"Prefer": "wait=60"})
            s = ask(d, headers={"Prefer": "wait=60"}, **body)
            assert s["n_scheduled"] == 4
            assert sum(b["experts"] for b in waiting.result().json["blocks"]) == 9


def test_sources_that_fail(served):
    d = served[0]
    problem(d.request("POST", "/v1/schedules", {"source": {"path": "none"}}), 404, "/source/path")
    problem(d.request("POST", "/v1/schedules", {"source": {"path": MODEL},
                                                "params": {"min_evals": -1}}), 400,
            "/params/min_evals")
    with open(os.path.join(d.root, "bad.safetensors"), "wb") as f:
        f.write(b"\xff" * 100)
    r = d.request("POST", "/v1/schedules", {"source": {"path": "bad.safetensors"}})
    assert "failed" in problem(r, 422)["detail"] or r.json["code"] == "format"


# --- experts ----------------------------------------------------------------------------------------

def hamilton(score, total, least, beta=2.5):
    power = [s ** beta for s in score]
    quota = [p / sum(power) * (total - least * len(score)) for p in power]
    count = [math.floor(q) + least for q in quota]
    rest = sorted(range(len(quota)), key=lambda i: math.floor(quota[i]) - quota[i])
    for i in rest[:total - sum(count)]:
        count[i] += 1
    return count


def test_experts_of_an_analysis(served):
    d, analysis, rows = served
    e = ask(d, "experts", analysis=analysis, total=160)
    means = {}
    for row in rows.values():
        if row["block"] and row["layer_type"] == "dense":
            means.setdefault(row["block"], []).append(row["alpha_mid"])
    assert [b["block"] for b in e["blocks"]] == list(means)
    assert np.allclose([b["score"] for b in e["blocks"]], [np.mean(v) for v in means.values()],
                       rtol=1e-14)
    assert [b["tensors"] for b in e["blocks"]] == [7] * 4
    assert [b["experts"] for b in e["blocks"]] == hamilton([b["score"] for b in e["blocks"]], 160, 1)
    assert math.isclose(sum(b["share"] for b in e["blocks"]), 1) and e["beta"] == 2.5


def test_experts_sent(served):
    d = served[0]
    m = {f"layers.{i}.w": {"alpha_peak": a} for i, a in enumerate([1, 2, 3, 4])}
    counts = lambda **q: [b["experts"] for b in ask(d, "experts", metrics=m, **q)["blocks"]]  # noqa: E731
    assert counts(total=12, beta=2, minimum=0) == [0, 2, 4, 6]
    assert counts(total=12, beta=2) == [1, 2, 4, 5]
    assert counts(total=12, beta=2, rounding="alphalora") == [0, 2, 4, 6]
    assert counts(total=4) == [1, 1, 1, 1]
    e = ask(d, "experts", metrics=m, total=5, beta=9, minimum=0)
    assert "no expert" in e["warnings"][0]
    assert [b["top_k"] for b in e["blocks"]] == [min(2, b["experts"]) for b in e["blocks"]]


# --- spectralctl ------------------------------------------------------------------------------------

def ctl(d, *args, **env):
    return subprocess.run([CTL, "--server", f"http://127.0.0.1:{d.port}", *args], text=True,
                          capture_output=True, timeout=60, env={**os.environ, **env})


def test_ctl_schedule(served):
    d, analysis, _ = served
    want = ask(d, analysis=analysis, base_lr=.001, method="modelbalancing")
    args = ("schedule", analysis, "--lr", "1e-3", "--method", "modelbalancing")
    assert json.loads(ctl(d, *args, "--json").stdout) == want
    rows = list(csv.DictReader(io.StringIO(ctl(d, *args, "--csv").stdout)))
    assert [r["tensor"] for r in rows] == [t["tensor"] for t in want["layers"]]
    assert [float(r["lr"]) for r in rows] == [t["lr"] for t in want["layers"]]
    assert [r["alpha_mid"] for r in rows if r["note"] == "not_a_matrix"] == [""]
    table = ctl(d, *args).stdout
    assert "as model.layers.2" in table and "model.norm" not in table and "embedding" in table
    want = ask(d, analysis=analysis, metric="stable_rank", unit="block", base_weight_decay=2,
               tune="lr", assign={"fn": "rank", "s1": .1, "s2": 3, "normalize": True})
    got = ctl(d, "schedule", analysis, "--metric", "stable_rank", "--unit", "block", "--map", "rank",
              "--low", ".1", "--high", "3", "--normalize", "--weight-decay", "2", "--json")
    assert json.loads(got.stdout) == want
    want = ask(d, analysis=analysis, unit="block", compat="reference",
               assign={"fn": "sigmoid", "tau": 3, "sigmoid_min": .5, "sigmoid_max": .25})
    got = ctl(d, "schedule", analysis, "--unit", "block", "--map", "sigmoid", "--tau", "3",
              "--below", ".5", "--above", ".25", "--reference", "--json")
    assert json.loads(got.stdout) == want
    want = ask(d, analysis=analysis, unit="sliding_window", window={"index": 1, "scale": .5})
    got = ctl(d, "schedule", analysis, "--unit", "sliding_window", "--window", "1", "--scale", ".5",
              "--json")
    assert json.loads(got.stdout) == want
    warned = ctl(d, "schedule", analysis, "--metric", "alpha")
    assert warned.returncode == 0 and "warning: " in warned.stderr


def test_ctl_experts(served):
    d, analysis, _ = served
    want = ask(d, "experts", analysis=analysis, total=16, metric="alpha", beta=9)
    args = ("experts", analysis, "--total", "16", "--metric", "alpha", "--beta", "9")
    assert json.loads(ctl(d, *args, "--json").stdout) == want
    rows = list(csv.DictReader(io.StringIO(ctl(d, *args, "--csv").stdout)))
    assert [(r["block"], int(r["experts"])) for r in rows] == [
        (b["block"], b["experts"]) for b in want["blocks"]]
    bars = [line.count("#") for line in ctl(d, *args, LC_ALL="C").stdout.splitlines()[1:]]
    most = max(b["experts"] for b in want["blocks"])
    assert bars == [int(40 * b["experts"] / most + .5) for b in want["blocks"]]
    other = ctl(d, "experts", analysis, "--total", "4", "--minimum", "0", "--rounding", "alphalora",
                "--json")
    assert json.loads(other.stdout)["rounding"] == "alphalora"


def test_ctl_refusals(served):
    d, analysis, _ = served
    for args in (["schedule", analysis, "--lr", "fast"], ["schedule", analysis, "--low", ""],
                 ["schedule", analysis, "--csv", "--json"], ["experts", analysis],
                 ["schedule", analysis, "--method", "lars"], ["schedule"]):
        r = ctl(d, *args)
        assert r.returncode == 1 and r.stderr and not r.stdout, args
    for args in (["schedule", "ana_06gzr4pm3s6v2tq0k8j5n1c7xd"],
                 ["experts", analysis, "--total", "1"]):
        assert ctl(d, *args).returncode == 2


# --- refusals ---------------------------------------------------------------------------------------

M = {"layers.0.w": {"alpha": 2}}


@pytest.mark.parametrize("body,pointer", [
    ({}, None),
    ({"analysis": "ana_06gzr4pm3s6v2tq0k8j5n1c7xd", "metrics": M}, None),
    ({"metrics": M, "params": {}}, "/params"),
    ({"metrics": M, "labels": {}}, "/labels"),
    ({"metrics": M, "steps": 1}, "/steps"),
    ({"metrics": {}}, "/metrics"),
    ({"metrics": []}, "/metrics"),
    ({"metrics": {"a": 2}}, "/metrics/a"),
    ({"metrics": {"a": {"alpha": "2"}}}, "/metrics/a/alpha"),
    ({"metrics": {"a": {"alpha": 1e101}}}, "/metrics/a/alpha"),
    ({"metrics": {"a": {"block": 2}}}, "/metrics/a/block"),
    ({"metrics": {"a": {"shape": [-1]}}}, "/metrics/a/shape"),
    ({"metrics": {"": {"alpha": 2}}}, "/metrics/"),
    ({"metrics": M, "metric": ""}, "/metric"),
    ({"metrics": M, "metric": "x" * 65}, "/metric"),
    ({"analysis": "ana_06gzr4pm3s6v2tq0k8j5n1c7xd", "metric": "beta"}, "/metric"),
    ({"analysis": 7}, "/analysis"),
    ({"analysis": None}, "/analysis"),
    ({"source": "x"}, "/source"),
    ({"metrics": M, "method": "lars"}, "/method"),
    ({"metrics": M, "unit": "type"}, "/unit"),
    ({"metrics": M, "unit": "sliding_window"}, "/window"),
    ({"metrics": M, "unit": "sliding_window", "window": {"index": 1}}, "/window"),
    ({"metrics": M, "unit": "sliding_window", "window": {"index": -1, "scale": 1}}, "/window/index"),
    ({"metrics": M, "window": {"index": 1, "scale": 1}}, "/window"),
    ({"metrics": M, "unit": "block", "assign": {"fn": "zscore"}}, "/assign/fn"),
    ({"metrics": M, "step": -1}, "/step"),
    ({"metrics": M, "freeze_from": "ana_06gzr4pm3s6v2tq0k8j5n1c7xd"}, "/freeze_from"),
    ({"source": {"path": "a"}, "freeze_from": 7}, "/freeze_from"),
    ({"metrics": M, "fit": {}}, "/fit"),
    ({"metrics": M, "layers": [{"name": "a"}]}, None),
    ({"layers": []}, "/layers"),
    ({"layers": {}}, "/layers"),
    ({"layers": [7]}, "/layers/0"),
    ({"layers": [{"eigs": [1, 2]}]}, "/layers/0/name"),
    ({"layers": [{"name": ""}]}, "/layers/0/name"),
    ({"layers": [{"name": "a", "eigs": []}]}, "/layers/0/eigs"),
    ({"layers": [{"name": "a", "eigs": [1, -2]}]}, "/layers/0/eigs"),
    ({"layers": [{"name": "a"}, {"name": "b", "eigs": [1, "2"]}]}, "/layers/1/eigs"),
    ({"layers": [{"name": "a", "eigs": [1e101]}]}, "/layers/0/eigs"),
    ({"layers": [{"name": "a", "kind": "lstm"}]}, "/layers/0/kind"),
    ({"layers": [{"name": "a", "shape": [1.5]}]}, "/layers/0/shape"),
    ({"layers": [{"name": "a", "block": 1}]}, "/layers/0/block"),
    ({"layers": [{"name": "a", "weights": "x"}]}, "/layers/0/weights"),
    ({"layers": [{"name": "a"}], "metric": "alpha_mid"}, "/metric"),
    ({"layers": [{"name": "a"}], "fit": {"method": "mle"}}, "/fit/method"),
    ({"layers": [{"name": "a"}], "fit": {"xmin_pos": 1}}, "/fit/xmin_pos"),
    ({"layers": [{"name": "a"}], "fit": {"hill_variant": 1}}, "/fit/hill_variant"),
    ({"layers": [{"name": "a"}], "fit": {"peak_compat": "x"}}, "/fit/peak_compat"),
    ({"layers": [{"name": "a"}], "fit": {"filter_zeros": 1}}, "/fit/filter_zeros"),
    ({"layers": [{"name": "a"}], "fit": {"evals_thresh": -1}}, "/fit/evals_thresh"),
    ({"layers": [{"name": "a"}], "fit": {"conv_norm": 0}}, "/fit/conv_norm"),
    ({"layers": [{"name": "a"}], "fit": {"bins": 10}}, "/fit/bins"),
    ({"metrics": M, "base_lr": -1}, "/base_lr"),
    ({"metrics": M, "base_lr": "1"}, "/base_lr"),
    ({"metrics": M, "assign": {"fn": "cubic"}}, "/assign/fn"),
    ({"metrics": M, "assign": {"s3": 1}}, "/assign/s3"),
    ({"metrics": M, "assign": {"s1": 1e7}}, "/assign/s1"),
    ({"metrics": M, "assign": {"sigmoid_max": 13}}, "/assign/sigmoid_max"),
    ({"metrics": M, "assign": {"normalize": 1}}, "/assign/normalize"),
    ({"metrics": M, "assign": []}, "/assign"),
    ({"metrics": M, "limits": {"min": 2, "max": 1}}, "/limits"),
    ({"metrics": M, "exclude": {"first": 1}}, "/exclude/first"),
    ({"metrics": M, "exclude": {"min_eigs": 1.5}}, "/exclude/min_eigs"),
    ({"metrics": M, "exclude": {"names": "a"}}, "/exclude/names"),
    ({"metrics": M, "exclude": {"names": [""]}}, "/exclude/names"),
    ({"metrics": M, "exclude": {"names": ["a"] * 257}}, "/exclude/names"),
    ({"metrics": M, "norm_binding": "all"}, "/norm_binding"),
    ({"metrics": M, "compat": None}, "/compat")])
def test_refused_schedules(served, body, pointer):
    problem(served[0].request("POST", "/v1/schedules", body), 400, pointer, "invalid")


@pytest.mark.parametrize("more,pointer", [
    ({}, "/total"), ({"total": 0}, "/total"), ({"total": 1.5}, "/total"),
    ({"total": 10 ** 9 + 1}, "/total"), ({"total": 1, "minimum": 2}, "/minimum"),
    ({"total": 1, "beta": -1}, "/beta"), ({"total": 1, "rounding": "up"}, "/rounding"),
    ({"total": 1, "method": "tempbalance"}, "/method")])
def test_refused_experts(served, more, pointer):
    problem(served[0].request("POST", "/v1/experts", {"metrics": M, **more}), 400, pointer)


def test_nothing_there(served):
    d, analysis, _ = served
    ghost = "ana_06gzr4pm3s6v2tq0k8j5n1c7xd"
    problem(d.request("POST", "/v1/schedules", {"analysis": ghost}), 404)
    problem(d.request("POST", "/v1/experts", {"analysis": ghost, "total": 1}), 404)
    r = d.request("POST", "/v1/experts", {"metrics": {"fc": {"alpha": 2}}, "total": 1})
    problem(r, 422, "/metric", "unsupported")
    many = {"metrics": {f"w{i}": {} for i in range(50001)}}
    problem(d.request("POST", "/v1/schedules", json.dumps(many, separators=(",", ":")),
                      {"Content-Type": "application/json"}), 422, "/metrics", "limit")


def test_spectra_that_take_too_long(served):
    d = served[0]
    long = {"name": "a", "eigs": [1] * 32769}
    r = d.request("POST", "/v1/schedules", {"layers": [long], "fit": {"method": "ks"}})
    problem(r, 422, "/layers", "limit")
    ask(d, layers=[long])
    r = d.request("POST", "/v1/schedules", {"layers": [{"name": "a", "eigs": [1] * 65537}]})
    problem(r, 422, "/layers/0/eigs", "limit")
    r = d.request("POST", "/v1/schedules", {"layers": [{"name": "a"}] * 50001})
    problem(r, 422, "/layers", "limit")


@pytest.mark.alone
def test_large_bodies_leave_the_loop_alone(served):
    """A megabyte of numbers is worked on elsewhere."""
    d = served[0]
    m = {"metrics": {f"layers.{i}": {"alpha": 1 + i % 97 / 8} for i in range(25000)}}
    s = ask(d, metrics=m["metrics"], exclude=ALL)
    assert s["n_scheduled"] == 25000
    stall = next(line for line in d.get("/metrics").body.decode().splitlines()
                 if line.startswith("spectrald_loop_stall_seconds "))
    assert float(stall.split()[1]) < 0.25, stall  # with room for a loaded machine
