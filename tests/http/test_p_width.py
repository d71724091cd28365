"""Plans that remove whole channels and heads: structure width."""

import pytest


@pytest.fixture(scope="module")
def plans(refusing):
    return refusing


@pytest.fixture(scope="module")
def manlm(plans):
    job, rows = plans.analyze("manlm.safetensors")
    return job["result"]["analysis"], rows


def post(d, structure=None, **body):
    return d.request("POST", "/v1/plans",
                     {"structure": {"kind": "width", **(structure or {})}, **body})


def plan(d, shapes, structure=None, **body):
    r = post(d, structure, **body)
    assert r.status == 200, r.body
    check(r.json, shapes)
    return r.json


def check(p, shapes):
    """What holds for every plan of widths; `shapes`: of the tensors."""
    multiple = p["params"]["structure"]["multiple"]
    members = [[] for _ in p["groups"]]
    for t in p["tensors"]:
        w = t["width"]
        g = p["groups"][w["group"]]
        members[w["group"]].append(t)
        assert w["of"] == shapes[t["name"]][w["dim"]]
        assert w["kept"] * g["of"] == w["of"] * g["kept"]
        assert t["sparsity"] == pytest.approx(1 - g["kept"] / g["of"], abs=1e-15)
        assert t["block"] == g["block"]
    removed = step = 0
    for g, inside in zip(p["groups"], members):
        assert inside and g["params"] == sum(t["params"] for t in inside)
        # Weights that stay, counted from the matrices as they will be.
        kept = 0
        for t in inside:
            shape = list(shapes[t["name"]])
            shape[t["width"]["dim"]] = t["width"]["kept"]
            kept += shape[0] * shape[1]
        assert g["params_kept"] == kept
        removed += g["params"] - kept
        unit = multiple if g["part"] == "feed_forward" else 1
        assert g["kept"] % unit == 0 or g["kept"] == g["of"]
        step = max(step, g["params"] // g["of"] * min(unit, g["of"]))
    assert p["n_params"] == sum(g["params"] for g in p["groups"])
    assert p["achieved_sparsity"] == pytest.approx(removed / p["n_params"], rel=1e-12)
    if p["method"] != "uniform":
        assert abs(removed - p["target_sparsity"] * p["n_params"]) <= step / 2 + 1e-6


def codes(p):
    return {w["code"] for w in p["warnings"]}


def model(blocks=4, hidden=64, inner=176, heads=4, kv=2, dim=16, suffix=".weight"):
    """A small LLaMA with grouped queries; the alphas rise with depth."""
    shapes = {"self_attn.q_proj": [heads * dim, hidden], "self_attn.k_proj": [kv * dim, hidden],
              "self_attn.v_proj": [kv * dim, hidden], "self_attn.o_proj": [hidden, heads * dim],
              "mlp.gate_proj": [inner, hidden], "mlp.up_proj": [inner, hidden],
              "mlp.down_proj": [hidden, inner]}
    return {f"model.layers.{i}.{n}{suffix}": {"shape": s, "alpha_mid": 2 + i}
            for i in range(blocks) for n, s in shapes.items()}


def shapes_of(metrics):
    return {n: t["shape"] for n, t in metrics.items()}


def test_of_an_analysis(manlm, plans):
    analysis, rows = manlm
    shapes = {n: r["shape"] for n, r in rows.items()}
    p = plan(plans, shapes, {"multiple": 16}, analysis=analysis, sparsity=0.3)
    assert p["params"]["structure"] == {"kind": "width", "multiple": 16}
    assert len(p["groups"]) == 4 and {g["part"] for g in p["groups"]} == {"feed_forward"}
    assert {t["role"] for t in p["tensors"]} == {"gate", "up", "down"}
    assert {"not_in_groups", "width_varies"} <= codes(p)
    assert plans.get(p["links"]["self"]).json == p
    k = next(r for n, r in rows.items() if n.endswith("k_proj"))
    q = plan(plans, shapes, {"multiple": 16, "head_dim": k["shape"][0] // 2}, analysis=analysis,
             sparsity=0.3)
    assert len(q["groups"]) == 8 and len(q["tensors"]) == 28
    assert "not_in_groups" not in codes(q)
    assert {g["of"] for g in q["groups"] if g["part"] == "attention"} == {2}


def test_by_hand(plans):
    """One matrix up and one down in each of two blocks: 10 weights for each of 40 neurons. Wanted
    are ratios of 0.36 and 0.54, so widths of 25.6 and 18.4; 24 and 16 at first, of 44 to be kept:
    8 more would come no closer than the 4 missing. Of steps of 4, the second is due."""
    metrics = {f"layers.{i}.mlp.{n}": {"alpha_mid": 2 + i, "shape": s}
               for i in range(2) for n, s in (("up_proj", [40, 5]), ("down_proj", [5, 40]))}
    p = plan(plans, shapes_of(metrics), {"multiple": 8}, metrics=metrics, sparsity=0.45, epsilon=0.2)
    assert [(g["kept"], g["of"]) for g in p["groups"]] == [(24, 40), (16, 40)]
    assert p["achieved_sparsity"] == pytest.approx(0.5)
    p = plan(plans, shapes_of(metrics), {"multiple": 4}, metrics=metrics, sparsity=0.45, epsilon=0.2)
    assert [g["kept"] for g in p["groups"]] == [24, 20]
    assert p["groups"][0]["params_kept"] == 240
    up, down = (next(t for t in p["tensors"] if t["name"] == f"layers.0.mlp.{n}_proj")
                for n in ("up", "down"))
    assert up["width"] == {"group": 0, "dim": 0, "kept": 24, "of": 40}
    assert down["width"] == {"group": 0, "dim": 1, "kept": 24, "of": 40}


def test_heads_go_with_their_queries(plans):
    metrics = model(kv=2, heads=4)
    p = plan(plans, shapes_of(metrics), {"multiple": 8, "head_dim": 16}, metrics=metrics,
             sparsity=0.4)
    group = {(g["block"], g["part"]): g for g in p["groups"]}
    assert len(group) == 8
    cut = [g for g in p["groups"] if g["part"] == "attention" and g["kept"] == 1]
    assert cut and cut[0]["of"] == 2
    i = p["groups"].index(cut[0])
    lengths = {t["role"]: (t["width"]["dim"], t["width"]["kept"], t["width"]["of"])
               for t in p["tensors"] if t["width"]["group"] == i}
    assert lengths == {"q": (0, 32, 64), "o": (1, 32, 64), "k": (0, 16, 32), "v": (0, 16, 32)}


@pytest.mark.parametrize("target", [0, 0.1, 0.25, 0.37, 0.5, 0.61])
@pytest.mark.parametrize("method", ["alphapruning", "atp", "er", "uniform"])
def test_budget(plans, target, method):
    metrics = model(blocks=6)
    p = plan(plans, shapes_of(metrics), {"multiple": 16, "head_dim": 16}, metrics=metrics,
             sparsity=target, method=method)
    if method == "uniform":
        assert len({g["kept"] for g in p["groups"] if g["part"] == "attention"}) == 1
        assert len({g["kept"] for g in p["groups"] if g["part"] == "feed_forward"}) == 1
        assert "width_varies" not in codes(p)


def test_limits_and_exclusions(plans):
    metrics = model()
    name = "model.layers.3.mlp.up_proj.weight"
    p = plan(plans, shapes_of(metrics), {"multiple": 16}, metrics=metrics, sparsity=0.3,
             limits={"max": 0.5, "tensors": {name: {"max": 0}}})
    assert p["groups"][3]["kept"] == 176 and all(g["kept"] >= 88 for g in p["groups"])
    r = post(plans, metrics=metrics, sparsity=0.3, limits={
        "tensors": {name: {"max": 0.1}, name.replace("up", "down"): {"min": 0.2}}})
    assert r.status == 422
    # Without its down, an up is in no group.
    p = plan(plans, shapes_of(metrics), {"multiple": 16}, metrics=metrics, sparsity=0.3,
             exclude=[name.replace("up", "down")])
    assert len(p["groups"]) == 3 and "not_in_groups" in codes(p)


def test_other_names(plans):
    """BERT's have parents of their own; GPT-2's fused queries and experts stay."""
    bert = {}
    for i in range(2):
        top = f"encoder.layer.{i}"
        for n in ("attention.self.query", "attention.self.key", "attention.self.value",
                  "attention.output.dense"):
            bert[f"{top}.{n}"] = {"alpha_mid": 2 + i, "shape": [32, 32]}
        bert[f"{top}.intermediate.dense"] = {"alpha_mid": 2 + i, "shape": [128, 32]}
        bert[f"{top}.output.dense"] = {"alpha_mid": 2 + i, "shape": [32, 128]}
    p = plan(plans, shapes_of(bert), {"head_dim": 8, "multiple": 4}, metrics=bert, sparsity=0.25)
    assert len(p["groups"]) == 4 and len(p["tensors"]) == 12
    fused = {"h.0.attn.c_attn": {"alpha_mid": 2, "shape": [96, 32]},
             "h.0.mlp.experts.0.up_proj": {"alpha_mid": 2, "shape": [64, 32]},
             "h.0.mlp.experts.0.down_proj": {"alpha_mid": 2, "shape": [32, 64]}}
    r = post(plans, metrics=fused, sparsity=0.25)
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/structure"


@pytest.mark.parametrize("body, pointer", [
    ({"structure": 3}, "#/structure"),
    ({"structure": {}}, "#/structure/kind"),
    ({"structure": {"kind": "depth"}}, "#/structure/kind"),
    ({"structure": {"kind": "width", "no": 1}}, "#/structure/no"),
    ({"structure": {"kind": "width", "multiple": 0}}, "#/structure/multiple"),
    ({"structure": {"kind": "width", "multiple": 65537}}, "#/structure/multiple"),
    ({"structure": {"kind": "width", "head_dim": "x"}}, "#/structure/head_dim"),
    ({"structure": {"kind": "width"}, "m": 8}, "#/structure"),
    ({"structure": {"kind": "width"}, "direction": "low_rank"}, "#/structure"),
])
def test_refused(plans, manlm, body, pointer):
    r = plans.request("POST", "/v1/plans", {"analysis": manlm[0], "sparsity": 0.3, **body})
    assert r.status == 400, r.body
    assert r.json["errors"][0]["pointer"] == pointer, r.json
