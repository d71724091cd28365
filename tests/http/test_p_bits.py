"""Plans of bit widths: method alphaq."""

import itertools
import os
import statistics

import numpy
import pytest

from daemon import TOP


@pytest.fixture(scope="module")
def plans(refusing):
    return refusing


@pytest.fixture(scope="module")
def manlm(plans):
    job, rows = plans.analyze("manlm.safetensors")
    return job["result"]["analysis"], rows


def post(d, **body):
    return d.request("POST", "/v1/plans", {"method": "alphaq", **body})


def plan(d, **body):
    r = post(d, **body)
    assert r.status == 200, r.body
    check(r.json)
    return r.json


def check(p):
    """What holds for every plan of bits."""
    rule, t = p["params"]["bits"], p["tensors"]
    alphas = [x["metric"] for x in t if x["metric"] is not None]
    middle = statistics.median(alphas)
    for x in t:
        w = (middle / (x["metric"] or middle)) ** rule["gamma"] * x["weight_var"]
        assert x["loss"] == pytest.approx(w * 4.0 ** -x["bits"], rel=1e-12)
        assert x["bits"] in rule["candidates"]
    size = [x["params"] if rule["over"] == "parameters" else 1 for x in t]
    mean = sum(s * x["bits"] for s, x in zip(size, t)) / sum(size)
    assert p["achieved_bits"] == pytest.approx(mean, rel=1e-12)
    assert p["achieved_bits"] <= p["target_bits"] * (1 + 1e-9)
    assert p["loss"] == pytest.approx(sum(x["loss"] for x in t), rel=1e-12)
    assert p["bound"] <= p["loss"] * (1 + 1e-12)
    weights = sum(x["params"] for x in t)
    assert p["n_params"] == weights
    assert p["bits_per_weight"] == pytest.approx(
        sum(x["params"] * x["bits"] for x in t) / weights, rel=1e-12)
    for b in p["blocks"]:
        inside = [x for x in t if x["block"] == b["block"] and b["block"]]
        if inside:
            assert b["bits"] == pytest.approx(
                sum(x["params"] * x["bits"] for x in inside) / b["params"], rel=1e-12)


def weights(name):
    """Of the example, by name: a safetensors file of float32 or 16-bit tensors."""
    import json
    import struct
    with open(os.path.join(TOP, "examples", name), "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        body = f.read()
    for key, t in head.items():
        if key == "__metadata__":
            continue
        raw = body[slice(*t["data_offsets"])]
        if t["dtype"] == "BF16":
            x = (numpy.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        else:
            x = numpy.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[t["dtype"]])
        yield key.removesuffix(".weight"), x.astype(numpy.float64)


def test_mean_and_variance_of_weights(manlm):
    n = 0
    for name, w in weights("manlm.safetensors"):
        row = manlm[1].get(name)
        if row is None or row["status"] == "skipped":
            continue
        n += 1
        assert row["weight_mean"] == pytest.approx(w.mean(), abs=1e-14)
        assert row["weight_var"] == pytest.approx(w.var(), rel=1e-12)
    assert n >= 28


def sent(*tensors):
    return {f"layers.{i}.w": {"alpha_mid": a, "weight_var": v, "params": n}
            for i, (a, v, n) in enumerate(tensors)}


def bits(p):
    return [t["bits"] for t in p["tensors"]]


def test_by_hand(plans):
    """gamma 1, median 3, variances 1: w = 1.5, 1, 0.5. From 2 bits each there are two more to give;
    the third bit avoids 3/64 w, the fourth 3/256 w: to the first and the second."""
    p = plan(plans, metrics=sent((2, 1, 10), (3, 1, 10), (6, 1, 10)),
             bits={"candidates": [2, 3, 4], "average": 8 / 3})
    assert bits(p) == [3, 3, 2]
    assert [t["loss"] for t in p["tensors"]] == [1.5 / 64, 1 / 64, 0.5 / 16]
    assert p["loss"] == p["bound"] == 4.5 / 64
    # gamma 4: w = 5.06, 1, 1/16; the fourth bit of the first is worth more than the third of others.
    p = plan(plans, metrics=sent((2, 1, 10), (3, 1, 10), (6, 1, 10)),
             bits={"candidates": [2, 3, 4], "average": 8 / 3, "gamma": 4})
    assert bits(p) == [4, 2, 2]
    # Over parameters, the first is too large for a third bit.
    p = plan(plans, metrics=sent((2, 1, 1000), (3, 1, 10), (6, 1, 10)),
             bits={"candidates": [2, 3, 4], "average": 2.03, "over": "parameters"})
    assert bits(p) == [2, 4, 3]


def test_best_of_all(plans):
    """No allocation of five tensors of one size is better."""
    tensors = [(2.1, 0.9, 8), (3.3, 0.4, 8), (1.7, 0.2, 8), (5.0, 1.3, 8), (2.9, 0.05, 8)]
    rule = {"candidates": [2, 3, 4, 5], "gamma": 2}
    for average in (2, 2.4, 3, 3.2, 4.4, 5):
        p = plan(plans, metrics=sent(*tensors), bits={**rule, "average": average})
        best = min(sum((2.9 / a) ** 2 * v * 4.0 ** -b for (a, v, _), b in zip(tensors, choice))
                   for choice in itertools.product(rule["candidates"], repeat=5)
                   if sum(choice) <= average * 5 + 1e-9)
        assert p["loss"] == pytest.approx(best, rel=1e-12)


def test_of_an_analysis(manlm, plans):
    analysis, rows = manlm
    p = plan(plans, analysis=analysis, bits={})
    assert p["params"] == {"bits": {"candidates": [2, 3, 4, 8], "average": 3.5, "gamma": 1,
                                    "over": "matrices"}, "peak_compat": "upstream"}
    assert p["method"] == "alphaq" and p["metric"] == "alpha_mid" and len(p["tensors"]) == 28
    assert "sparsity" not in p["tensors"][0]
    for t in p["tensors"]:
        assert t["weight_var"] == rows[t["name"]]["weight_var"]
        assert t["metric"] == rows[t["name"]]["alpha_mid"]
    assert plans.get(p["links"]["self"]).json == p
    q = plan(plans, analysis=analysis, bits={"over": "parameters", "average": 4}, exclude="down_proj",
             metric="alpha_peak", peak_compat="linear")
    assert q["metric"] == "alpha_peak_linear" and len(q["tensors"]) == 24
    assert "unstable_metric" in {w["code"] for w in q["warnings"]}


def test_missing_numbers(plans):
    metrics = sent((2, 1, 10), (3, 1, 10), (4, 1, 10))
    metrics["layers.1.w"]["alpha_mid"] = None
    p = plan(plans, metrics=metrics, bits={})
    assert "no_metric" in {w["code"] for w in p["warnings"]}
    del metrics["layers.2.w"]["weight_var"]
    r = post(plans, metrics=metrics, bits={})
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/metrics/layers.2.w"


@pytest.mark.parametrize("body, pointer", [
    ({}, "#/bits"),
    ({"bits": 3}, "#/bits"),
    ({"bits": {"no": 1}}, "#/bits/no"),
    ({"bits": {"candidates": []}}, "#/bits/candidates"),
    ({"bits": {"candidates": [3, 2]}}, "#/bits/candidates"),
    ({"bits": {"candidates": [0]}}, "#/bits/candidates"),
    ({"bits": {"candidates": [17]}}, "#/bits/candidates"),
    ({"bits": {"candidates": [2.5]}}, "#/bits/candidates"),
    ({"bits": {"average": 1.9}}, "#/bits/average"),
    ({"bits": {"average": 17}}, "#/bits/average"),
    ({"bits": {"gamma": 101}}, "#/bits/gamma"),
    ({"bits": {"gamma": "1"}}, "#/bits/gamma"),
    ({"bits": {"over": "layers"}}, "#/bits/over"),
    ({"bits": {}, "sparsity": 0.5}, "#/sparsity"),
    ({"bits": {}, "m": 4}, "#/m"),
    ({"bits": {}, "limits": {}}, "#/limits"),
    ({"bits": {}, "method": "uniform", "sparsity": 0.5}, "#/bits"),
])
def test_refused(plans, manlm, body, pointer):
    r = post(plans, analysis=manlm[0], **body)
    assert r.status == 400, r.body
    assert r.json["errors"][0]["pointer"] == pointer, r.json


def test_bits_are_not_compared_with_ratios(plans, manlm):
    r = plans.request("POST", "/v1/plans:compare", {
        "analysis": manlm[0], "sparsity": 0.5, "plans": [{}, {"method": "alphaq", "bits": {}}]})
    assert r.status == 400 and r.json["errors"][0]["pointer"].startswith("#/plans/1")
    assert plans.request("POST", "/v1/plans", {"analysis": manlm[0]}).json["errors"][0][
        "pointer"] == "#/sparsity"
