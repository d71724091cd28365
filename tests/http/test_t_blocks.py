"""Jobs of kind prune that keep to some blocks: turns of sequential pruning."""

import os

import numpy as np
import pytest

from daemon import write_safetensors
from perplexity import load
from test_t_prune import STATS, d, fails, made, prune, submit, tensors, with_metadata  # noqa: F401

MANLM = "manlm.safetensors"


def block(i):
    return f"model.layers.{i}"


def pruned_of(path, dense):
    """Names of the tensors that are not as they were."""
    got = tensors(os.path.join(path, MANLM))[0]
    return {name for name in dense if got[name] != dense[name]}


@pytest.fixture(scope="module")
def dense(d):  # noqa: F811
    return tensors(os.path.join(d.root, MANLM))[0]


@pytest.fixture(scope="module")
def plan(d):  # noqa: F811
    """One plan for all turns, whose matrices differ."""
    job, _ = d.analyze(MANLM)
    return d.request("POST", "/v1/plans", {"analysis": job["result"]["analysis"], "sparsity": 0.6,
                                           "epsilon": 0.2}).json


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt", "trim"])
def test_turns_make_the_whole(d, dense, plan, method):  # noqa: F811
    """Each turn prunes its block as a job of the whole model does, and nothing else; with an id and
    with the request for the plan."""
    params = {"plan": plan["id"], "method": method}
    if method != "magnitude":
        params["stats"] = STATS
    whole, want = prune(d, MANLM, params)
    whole = tensors(os.path.join(whole, MANLM))[0]
    seen = set()
    for turn in ([0], [3], [2, 1]):
        names = [block(i) for i in turn]
        made_now = {"method": "alphapruning", "sparsity": 0.6, "epsilon": 0.2}
        path, report = prune(d, MANLM, {**params, "blocks": names,
                                        "plan": made_now if turn == [3] else plan["id"]})
        mine = {n for n in dense if n.startswith(tuple(b + "." for b in names)) and "_proj" in n}
        got = tensors(os.path.join(path, MANLM))[0]
        assert pruned_of(path, dense) == mine
        assert all(got[n] == whole[n] for n in mine)
        assert [b["block"] for b in report["blocks"]] == sorted(names)
        assert report["tensors"] == [t for t in want["tensors"] if t["block"] in names]
        seen |= mine
    assert len(seen) == 28


def test_a_turn_returns_little(d, dense):  # noqa: F811
    """Pruned tensors or masks of the block, and nothing else."""
    params = {"sparsity": 0.5, "method": "wanda", "stats": STATS}
    whole, _ = prune(d, MANLM, params)
    whole = tensors(os.path.join(whole, MANLM))[0]
    mine = {n for n in dense if n.startswith(block(2) + ".") and "_proj" in n}
    for form in ("tensors", "masks"):
        r = submit(d, MANLM, {**params, "blocks": [block(2)], "output": {"format": form}})
        artifact = d.wait_final(r.json["id"])["result"]["artifact"]
        manifest = d.get(f"/v1/artifacts/{artifact}").json
        assert {f["name"] for f in manifest["files"]} == {MANLM, "sparsity_plan.json"}
        path = os.path.join(d.out, f"{form}.safetensors")
        with open(path, "wb") as f:
            f.write(d.get(f"/v1/artifacts/{artifact}/files/{MANLM}").body)
        got = tensors(path)[0]
        if form == "tensors":
            assert got == {n: whole[n] for n in mine}
            continue
        assert set(got) == {n.replace(".weight", ".bitmask") for n in mine}
        for n in mine:
            kept = np.frombuffer(whole[n][2], np.uint16).reshape(whole[n][1]) != 0
            assert got[n.replace(".weight", ".bitmask")][2] == np.packbits(
                kept, axis=1, bitorder="little").tobytes()


def test_statistics_of_the_block_suffice(d, dense):  # noqa: F811
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    one = {k: np.frombuffer(raw, kinds[t]).reshape(shape) for k, (t, shape, raw) in
           tensors(os.path.join(d.root, STATS["path"]))[0].items() if k.startswith(block(2) + ".")}
    aliases = ", ".join(f'"{block(2)}.{a}": "{block(2)}.{b}"' for a, b in (
        ("self_attn.k_proj", "self_attn.q_proj"), ("self_attn.v_proj", "self_attn.q_proj"),
        ("mlp.up_proj", "mlp.gate_proj")))
    path = os.path.join(d.root, "two.stats.safetensors")
    write_safetensors(path, one)
    with_metadata(path, {"n_seq": "128", "mode": "sequential", "aliases": f"{{{aliases}}}"})
    params = {"sparsity": 0.5, "method": "sparsegpt"}
    mine, report = prune(d, MANLM, {**params, "blocks": [block(2)],
                                    "stats": {"path": "two.stats.safetensors"}})
    other, _ = prune(d, MANLM, {**params, "blocks": [block(2)], "stats": STATS})
    assert tensors(os.path.join(mine, MANLM))[0] == tensors(os.path.join(other, MANLM))[0]
    assert "dense_statistics" not in {w["code"] for w in report["warnings"]}
    text = fails(d, MANLM, {**params, "stats": {"path": "two.stats.safetensors"}}, "/params/stats")
    assert "layers.0" in text


def test_sparsity_of_a_turn(d):  # noqa: F811
    """What is reported is the turn's own."""
    path, report = prune(d, MANLM, {"sparsity": 0.5, "method": "magnitude", "blocks": [block(1)]})
    assert report["achieved_sparsity"] == pytest.approx(0.5, abs=1e-4)
    w = load(os.path.join(path, MANLM))
    zeros = sum(int((x == 0).sum()) for x in w.values())
    assert report["model_sparsity"] == pytest.approx(zeros / sum(x.size for x in w.values()))


def test_refused(d):  # noqa: F811
    ok = {"sparsity": 0.5, "method": "magnitude"}
    for blocks, pointer, status in (
            (block(0), "", 400), ([], "", 400), ({}, "", 400), ([block(0), 1], "/1", 400),
            ([""], "/0", 400), ([block(0), block(1), block(0)], "/2", 400),
            (["x" * 256], "/0", 422), ([block(i) for i in range(1001)], "", 422)):
        fails(d, MANLM, {**ok, "blocks": blocks}, "/params/blocks" + pointer, status)
    assert "model.layers.4" in fails(d, MANLM, {**ok, "blocks": [block(3), block(4)]},
                                     "/params/blocks/1")
    fails(d, MANLM, {**ok, "blocks": ["model.layers"]}, "/params/blocks/0")
    plan = {"method": "uniform", "sparsity": 0.5, "exclude": r"layers\.1\."}
    text = fails(d, MANLM, {"plan": plan, "method": "magnitude",
                            "blocks": [block(0), block(1)]}, "/params/blocks/1")
    assert "prunes nothing" in text


def test_what_is_wrong_with_the_plan_of_the_job(d, made):  # noqa: F811
    """Is told of the plan, not of the job."""
    for stats, text in (("manlm.stats.safetensors", "fit"), ("made.safetensors", "sumsq")):
        plan = {"method": "owl", "sparsity": 0.5, "stats": {"path": stats}}
        assert text in fails(d, "made.safetensors", {"method": "magnitude", "plan": plan},
                             "/params/plan/stats")
    plan = {"method": "uniform", "sparsity": 0.5, "limits": {"max": 0.4}}
    fails(d, "made.safetensors", {"method": "magnitude", "plan": plan}, "/params/plan/sparsity")
