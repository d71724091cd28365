"""Jobs of kind prune that leave out whole experts or neurons: which, what becomes of names, shapes
and config.json, what is refused, and what a crash leaves."""

import json
import os
import shutil
import time

import numpy as np
import pytest

from daemon import TOP, Daemon, write_safetensors
from killed import assert_kept, kill_once_a_file_is_complete
from perplexity import load, nats_per_byte
from test_t_prune import fails, prune, settles, submit, tensors

EXAMPLES = os.path.join(TOP, "examples")


@pytest.fixture(scope="module")
def d(tmp_path_factory):
    tmp = str(tmp_path_factory.mktemp("reshape"))
    os.makedirs(os.path.join(tmp, "out"))
    with Daemon(tmp, "--output-root", os.path.join(tmp, "out")) as daemon:
        daemon.out = os.path.join(tmp, "out")
        yield daemon


def write_model(root, name, shards, config=None, dtypes=None):
    """A directory; `shards` is a list of {tensor: ndarray}, with an index unless there is one."""
    path = os.path.join(root, name)
    os.makedirs(path)
    where = {}
    for i, part in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 \
            else "model.safetensors"
        write_safetensors(os.path.join(path, file), part, dtypes)
        where |= {k: file for k in part}
    if len(shards) > 1:
        with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": 1}, "weight_map": where}, f)
    if config is not None:
        with open(os.path.join(path, "config.json"), "w") as f:
            f.write(config if isinstance(config, str) else json.dumps(config, indent=2))
    with open(os.path.join(path, "tokenizer.json"), "w") as f:
        f.write("{}")
    return path


def read_model(path):
    """All tensors of a directory, as (dtype, shape, bytes); the index, when there is one, agrees."""
    out, where = {}, {}
    for file in sorted(x for x in os.listdir(path) if x.endswith(".safetensors")):
        part, head = tensors(os.path.join(path, file))
        meta = json.loads(head[8:]).get("__metadata__", {})
        assert meta.get("format") == "pt", meta
        assert not set(part) & set(out)
        out |= part
        where |= {k: file for k in part}
    index = os.path.join(path, "model.safetensors.index.json")
    if os.path.exists(index):
        text = json.load(open(index))
        assert text["weight_map"] == where
        assert text["metadata"]["total_size"] == sum(len(t[2]) for t in out.values())
    return out


def same(got, dtype, want):
    want = np.ascontiguousarray(want)
    return got == (dtype, list(want.shape), want.tobytes())


# --- experts ------------------------------------------------------------------------------------

E, H, F = 8, 6, 10


def mixtral(r, layers=2):
    """Separate experts, the second layer's in a file of their own."""
    out = []
    for l in range(layers):
        p = f"model.layers.{l}.block_sparse_moe."
        part = {f"model.layers.{l}.self_attn.q_proj.weight": r.standard_normal((H, H)).astype("f4"),
                p + "gate.weight": r.standard_normal((E, H)).astype("f4")}
        for e in range(E):
            for w, shape in (("w1", (F, H)), ("w2", (H, F)), ("w3", (F, H))):
                part[f"{p}experts.{e}.{w}.weight"] = r.standard_normal(shape).astype("f4")
        out.append(part)
    return out


def saliencies(root, name, layers, r, kinds=("sum", "count"), n=E):
    """Statistics, and which experts are the lowest."""
    stats, order = {}, {}
    for l in layers:
        total, count = r.random(n) * 100, r.integers(0, 50, n).astype("f8")
        count[1] = 0
        total[1] = 0
        if "sum" in kinds:
            stats[l + ".expert_saliency_sum"] = total
        if "count" in kinds:
            stats[l + ".expert_count"] = count
        order[l] = total / np.maximum(count, 1)
    write_safetensors(os.path.join(root, name), stats)
    return order


def gone(score, k):
    return sorted(np.argsort(score, kind="stable")[:k].tolist())


def test_separate_experts(d):
    r = np.random.default_rng(3)
    shards = mixtral(r)
    text = '{"model_type":"mixtral",\n   "num_local_experts" : 8, "num_experts_per_tok":2,' \
           '\n "rms_norm_eps": 1e-05, "text_config": {"num_local_experts": 8, "x": [ 1]}}\n'
    src = write_model(d.root, "mixtral", shards, text)
    layers = [f"model.layers.{l}.block_sparse_moe" for l in range(2)]
    score = saliencies(d.root, "mixtral.stats.safetensors", layers, r)
    path, report = prune(d, "mixtral", {"method": "expert_drop", "sparsity": 0.4,  # 3.2 of 8
                                        "stats": {"path": "mixtral.stats.safetensors"}})
    got, want = read_model(path), {k: v for s in shards for k, v in s.items()}
    for l in layers:
        out = gone(score[l], 3)
        stay = [e for e in range(E) if e not in out]
        assert 1 in out  # a token never came there
        for at, e in enumerate(stay):
            for w in ("w1", "w2", "w3"):
                assert same(got.pop(f"{l}.experts.{at}.{w}.weight"), "F32",
                            want[f"{l}.experts.{e}.{w}.weight"])
        assert same(got.pop(l + ".gate.weight"), "F32", want[l + ".gate.weight"][stay])
        said = next(x for x in report["experts"]["layers"] if x["name"] == l)
        assert said["dropped"] == out and said["block"] == l.rsplit(".", 1)[0]
        np.testing.assert_allclose(said["saliency_kept"],
                                   score[l][stay].sum() / score[l].sum(), rtol=1e-12)
        each = E * (3 * F * H) + E * H
        assert (said["params"], said["params_kept"]) == (each, each * 5 // 8)
    assert sorted(got) == [f"model.layers.{l}.self_attn.q_proj.weight" for l in range(2)]
    for k in got:
        assert same(got[k], "F32", want[k])
    # Nothing but the numbers.
    assert open(os.path.join(path, "config.json")).read() == text.replace(": 8", ": 5")
    assert open(os.path.join(path, "tokenizer.json")).read() == "{}"
    total = sum(v.size for v in want.values())
    assert report["experts"]["of"] == 8 and report["experts"]["kept"] == 5
    assert report["target_sparsity"] == 0.4 and report["achieved_sparsity"] == 3 / 8
    assert report["n_params_total"] == total
    assert report["n_params_after"] == total - 2 * (3 * (3 * F * H) + 3 * H)
    assert [w["code"] for w in report["warnings"]] == ["target_missed"]
    assert sorted(os.listdir(path)) == sorted(os.listdir(src) + ["sparsity_plan.json"])


def test_stacked_experts(d):
    r = np.random.default_rng(4)
    p = "model.layers.1.mlp."
    part = {"model.layers.0.mlp.gate_proj.weight": r.standard_normal((8, H)).astype("f2"),
            p + "experts.gate_up_proj": r.integers(0, 60000, (E, H, 2 * F)).astype("u2"),
            p + "experts.gate_up_proj_bias": r.standard_normal((E, 2 * F)).astype("f4"),
            p + "experts.down_proj": r.standard_normal((E, F, H)).astype("f2"),
            p + "experts.down_proj_scales": r.integers(0, 255, (E, 3)).astype("u1"),
            p + "router.weight": r.standard_normal((E, H)).astype("f4"),
            p + "router.bias": r.standard_normal(E).astype("f4"),
            p + "moe_statics.e_score_correction_bias": r.standard_normal((1, E)).astype("f4"),
            p + "shared_experts.gate_proj.weight": r.standard_normal((8, H)).astype("f4"),
            p + "shared_expert_gate.weight": r.standard_normal((1, H)).astype("f4")}
    config = {"num_experts": E, "num_experts_per_tok": 4, "model_type": "x"}
    write_model(d.root, "stacked", [part], config, {p + "experts.gate_up_proj": "BF16"})
    score = saliencies(d.root, "stacked.stats.safetensors", [p + "experts"], r)[p + "experts"]
    path, report = prune(d, "stacked", {"method": "expert_drop", "keep": 5,
                                        "stats": {"path": "stacked.stats.safetensors"}})
    got = read_model(path)
    stay = [e for e in range(E) if e not in gone(score, 3)]
    assert list(got) == list(part)
    for k, v in part.items():
        if "experts." in k and "shared" not in k or "router" in k:
            v = v[stay]
        elif "statics" in k:
            v = v[:, stay]
        dtype = "BF16" if k == p + "experts.gate_up_proj" else \
            {"f2": "F16", "f4": "F32", "u1": "U8"}[v.dtype.str[1:]]
        assert same(got[k], dtype, v), k
    assert json.load(open(os.path.join(path, "config.json"))) == {**config, "num_experts": 5}
    assert report["warnings"] == [] and report["plan"] is None
    assert report["experts"]["layers"][0]["dropped"] == gone(score, 3)


def test_groups_and_fp8(d):
    """DeepSeek: groups lose the same number; a dense layer; scales go with their experts; a file
    that has nothing left is not written."""
    r = np.random.default_rng(5)
    n, p = 16, "model.layers.1.mlp."
    experts = [{}, {}]
    for e in range(n):
        for w in ("gate_proj", "up_proj", "down_proj"):
            at = experts[e % 2]
            at[f"{p}experts.{e}.{w}.weight"] = r.integers(0, 255, (4, 4)).astype("u1")
            at[f"{p}experts.{e}.{w}.weight_scale_inv"] = r.random((1, 1)).astype("f4")
    dtypes = {k: "F8_E4M3" for x in experts for k in x if k.endswith(".weight")}
    rest = {p + "gate.weight": r.standard_normal((n, H)).astype("f4"),
            p + "gate.e_score_correction_bias": r.standard_normal(n).astype("f4"),
            p + "shared_experts.up_proj.weight": r.standard_normal((4, H)).astype("f4"),
            "model.layers.0.mlp.up_proj.weight": r.standard_normal((4, H)).astype("f4")}
    config = {"n_routed_experts": n, "num_experts_per_tok": 4, "n_group": 4, "topk_group": 2}
    write_model(d.root, "deepseek", [experts[0], experts[1], rest], config, dtypes)
    even = np.arange(n) % 2 == 0
    stats = {p[:-1] + ".expert_saliency_sum": np.where(even, 1.0, 0.0) + np.arange(n) / 100,
             p[:-1] + ".expert_count": np.ones(n)}
    write_safetensors(os.path.join(d.root, "deepseek.stats.safetensors"), stats)
    args = {"method": "expert_drop", "stats": {"path": "deepseek.stats.safetensors"}}
    path, report = prune(d, "deepseek", {**args, "sparsity": 0.5})
    assert report["experts"]["layers"][0]["dropped"] == list(range(1, n, 2))
    got = read_model(path)
    assert not os.path.exists(os.path.join(path, "model-00002-of-00003.safetensors"))
    for e in range(0, n, 2):
        for w in ("gate_proj", "up_proj", "down_proj"):
            for kind, dtype in ((".weight", "F8_E4M3"), (".weight_scale_inv", "F32")):
                assert same(got.pop(f"{p}experts.{e // 2}.{w}{kind}"), dtype,
                            experts[0][f"{p}experts.{e}.{w}{kind}"])
    assert same(got[p + "gate.e_score_correction_bias"], "F32",
                rest[p + "gate.e_score_correction_bias"][::2])
    assert len(got) == 4
    art = d.get("/v1/artifacts?page_size=500").json["artifacts"][0]["id"]
    manifest = d.get(f"/v1/artifacts/{art}").json
    assert manifest["n_files"] == len(manifest["files"]) == len(os.listdir(path))
    assert manifest["bytes"] == sum(os.path.getsize(os.path.join(path, f["name"]))
                                    for f in manifest["files"])
    # 2 of 4 groups are open: 4 experts a token need 2 of each group; 12 of 16 are 3 of each.
    assert "multiple of 4" in fails(d, "deepseek", {**args, "keep": 9}, "/params/keep")
    assert "within reach" in fails(d, "deepseek", {**args, "keep": 4}, "/params/keep")
    assert prune(d, "deepseek", {**args, "keep": 12})[1]["experts"]["kept"] == 12
    # 0.4: 6 experts, 1.5 of each group, half to even: 2
    assert prune(d, "deepseek", {**args, "sparsity": 0.4})[1]["experts"]["kept"] == 8


def test_experts_that_cannot_be_dropped(d):
    r = np.random.default_rng(6)
    shards = mixtral(r, 1)
    layer = "model.layers.0.block_sparse_moe"
    config = {"num_local_experts": 8, "num_experts_per_tok": 2}
    write_model(d.root, "m1", shards, config)
    write_model(d.root, "m1-other-config", shards, {"num_local_experts": 4})
    write_model(d.root, "m1-quantised", shards, {**config, "quantization_config": {
        "ignore": [layer + ".experts.3.w1"]}})
    write_model(d.root, "dense", [{"model.layers.0.mlp.up_proj.weight": np.ones((4, 4), "f4")}],
                config)
    saliencies(d.root, "m1.stats.safetensors", [layer], r)
    saliencies(d.root, "no-count.safetensors", [layer], r, ("sum",))
    saliencies(d.root, "short.safetensors", [layer], r, n=7)
    saliencies(d.root, "elsewhere.safetensors", ["model.layers.9.mlp"], r)
    write_safetensors(os.path.join(d.root, "nan.safetensors"),
                      {layer + ".expert_saliency_sum": np.full(E, np.nan),
                       layer + ".expert_count": np.ones(E)})
    write_safetensors(os.path.join(d.root, "negative.safetensors"),
                      {layer + ".expert_saliency_sum": np.full(E, -1.0),
                       layer + ".expert_count": np.ones(E)})
    stats = {"path": "m1.stats.safetensors"}
    args = {"method": "expert_drop", "keep": 4, "stats": stats}
    for name in ("no-count", "short", "elsewhere", "nan", "negative"):
        text = fails(d, "m1", {**args, "stats": {"path": name + ".safetensors"}}, "/params/stats")
        assert layer in text, text
    assert "no experts" in fails(d, "dense", args, "/source", 400)
    assert "num_experts" in fails(d, "m1-other-config", args, "/source")
    assert "by number" in fails(d, "m1-quantised", args, "/source")
    assert "chooses 2" in fails(d, "m1", {**args, "keep": 1}, "/params/keep")
    fails(d, "m1", {**args, "keep": 9}, "/params/keep")
    fails(d, "m1", {**args, "keep": 0}, "/params/keep")
    fails(d, "m1", {**args, "keep": "4"}, "/params/keep")
    fails(d, "m1", {**args, "sparsity": 0.5}, "/params/sparsity")
    fails(d, "m1", {"method": "expert_drop", "stats": stats}, "/params/sparsity")
    fails(d, "m1", {"method": "expert_drop", "sparsity": 1.5, "stats": stats}, "/params/sparsity")
    fails(d, "m1", {"method": "expert_drop", "sparsity": 0.5}, "/params/stats")
    fails(d, "m1", {"method": "expert_drop", "stats": stats, "plan": {"sparsity": 0.5}},
          "/params/plan")
    for name, value in (("rounding", "exact"), ("selection", "row"), ("multiple_of", 2),
                        ("n_of_m", {"keep": 2, "of": 4}),
                        ("blocks", ["model.layers.0"]), ("rank_by", "wanda")):
        fails(d, "m1", {**args, name: value}, "/params/" + name)
    fails(d, "m1", {"method": "magnitude", "sparsity": 0.5, "multiple_of": 4},
          "/params/multiple_of")


def test_no_config(d):
    r = np.random.default_rng(7)
    layer = "model.layers.0.block_sparse_moe"
    write_safetensors(os.path.join(d.root, "bare.safetensors"), mixtral(r, 1)[0])
    saliencies(d.root, "bare.stats.safetensors", [layer], r)
    _, report = prune(d, "bare.safetensors", {"method": "expert_drop", "keep": 4,
                                              "stats": {"path": "bare.stats.safetensors"}})
    assert [w["code"] for w in report["warnings"]] == ["no_config"]


# --- width --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manlm(d):
    for name in ("manlm.safetensors", "manlm.stats.safetensors"):
        shutil.copy(os.path.join(EXAMPLES, name), d.root)
    path = os.path.join(d.root, "manlm")
    os.makedirs(path)
    shutil.copy(os.path.join(EXAMPLES, "manlm.safetensors"), os.path.join(path, "model.safetensors"))
    with open(os.path.join(path, "config.json"), "w") as f:
        f.write('{"model_type": "llama", "hidden_size": 192, "intermediate_size": 512}')
    return load(os.path.join(EXAMPLES, "manlm.safetensors")), \
        load_stats(os.path.join(EXAMPLES, "manlm.stats.safetensors"))


def load_stats(path):
    types = {"F64": "<f8", "F32": "<f4", "I64": "<i8"}
    return {k: np.frombuffer(raw, types[t]).reshape(shape)
            for k, (t, shape, raw) in tensors(path)[0].items()}


def score_of(w, stats, p, by):
    down = np.square(w[p + "down_proj.weight"].astype("f8")).sum(0)
    if by == "magnitude":
        gate, up = (np.square(w[f"{p}{x}_proj.weight"].astype("f8")).sum(1) for x in ("gate", "up"))
        return np.sqrt(gate) * np.sqrt(up) * np.sqrt(down)
    sumsq, total = stats[p + "down_proj.sumsq"], stats[p + "down_proj.sum"]
    tokens = stats[p + "down_proj.count"][0]
    return down * (sumsq if by == "wanda" else sumsq / tokens - np.square(total / tokens))


STATS = {"stats": {"path": "manlm.stats.safetensors"}}


@pytest.mark.parametrize("by, params", [("magnitude", {}), ("wanda", STATS),
                                        ("wifv", {**STATS, "rank_by": "wifv"})])
def test_width(d, manlm, by, params):
    w, stats = manlm
    before = tensors(os.path.join(EXAMPLES, "manlm.safetensors"))[0]
    path, report = prune(d, "manlm", {"method": "width", "sparsity": 0.2, **params})
    after = read_model(path)
    assert list(after) == list(before)
    kept = report["width"]["kept"]
    assert kept == 64 * round(512 * 0.8 / 64)  # 409.6: six times 64
    for l in range(4):
        p = f"model.layers.{l}.mlp."
        score = score_of(w, stats, p, by)
        stay = np.setdiff1d(np.arange(512), np.argsort(score, kind="stable")[:512 - kept])
        for x in ("gate", "up", "down"):
            dtype, shape, raw = before.pop(f"{p}{x}_proj.weight")
            whole = np.frombuffer(raw, "<u2").reshape(shape)
            cut = whole[:, stay] if x == "down" else whole[stay]
            assert same(after.pop(f"{p}{x}_proj.weight"), dtype, cut), (l, x)
        part = report["width"]["parts"][l]
        assert part["name"] == p + "down_proj" and part["block"] == f"model.layers.{l}"
        np.testing.assert_allclose(part["score_kept"], score[stay].sum() / score.sum(), rtol=1e-9)
    assert after == before
    assert json.load(open(os.path.join(path, "config.json"))) == {
        "model_type": "llama", "hidden_size": 192, "intermediate_size": kept}
    assert report["width"]["rank_by"] == by and report["width"]["multiple_of"] == 64
    assert report["achieved_sparsity"] == 1 - kept / 512
    assert report["n_params"] == 4 * 3 * 512 * 192


def test_narrow_models_still_know_something(d, manlm):
    """Better than leaving out as many neurons at random; statistics better than norms."""
    w, _ = manlm
    data = np.fromfile(os.path.join(TOP, "tests/data/manlm-eval.bin"), np.uint8)

    def nats(params):
        path, _ = prune(d, "manlm", {"method": "width", "keep": 384, **params})
        return nats_per_byte(load(os.path.join(path, "model.safetensors")), data, 4, max_seqs=12)

    dense = nats_per_byte(w, data, 4, max_seqs=12)
    magnitude, wanda = nats({}), nats(STATS)
    wifv = nats({**STATS, "rank_by": "wifv"})
    r = np.random.default_rng(0)
    narrow = dict(w)
    for l in range(4):
        stay = np.sort(r.permutation(512)[:384])
        p = f"model.layers.{l}.mlp."
        for x in ("gate", "up", "down"):
            v = w[f"{p}{x}_proj.weight"]
            narrow[f"{p}{x}_proj.weight"] = v[:, stay] if x == "down" else v[stay]
    chance = nats_per_byte(narrow, data, 4, max_seqs=12)
    print(dense, magnitude, wanda, wifv, chance)
    assert dense < min(wanda, wifv) < magnitude < chance


def test_width_of_a_plan(d, manlm):
    _ = manlm
    plan = {"method": "uniform", "sparsity": 0.25, "structure": {"kind": "width", "multiple": 64}}
    path, report = prune(d, "manlm", {"method": "width", "plan": plan, **STATS})
    assert report["width"]["kept"] == 384 and report["plan"].startswith("pln_")
    straight, _ = prune(d, "manlm", {"method": "width", "keep": 384, **STATS})
    assert read_model(path) == read_model(straight)
    uneven = {"method": "alphapruning", "epsilon": 0.3, "sparsity": 0.3, "mapping": "block_wise",
              "structure": {"kind": "width", "multiple": 16}}
    assert "one width" in fails(d, "manlm", {"method": "width", "plan": uneven, **STATS},
                                "/params/plan")
    heads = {"method": "uniform", "sparsity": 0.5, "structure": {"kind": "width", "head_dim": 48}}
    assert "heads" in fails(d, "manlm", {"method": "width", "plan": heads}, "/params/plan")
    fails(d, "manlm", {"method": "width", "plan": {"method": "uniform", "sparsity": 0.5}},
          "/params/plan/structure")
    assert "width" in fails(d, "manlm", {"method": "magnitude", "plan": plan}, "/params/plan")
    made = d.request("POST", "/v1/plans", {**plan, "source": {"path": "manlm"}},
                     {"Prefer": "wait=60"})
    assert made.status == 200, made.body
    again, report = prune(d, "manlm", {"method": "width", "plan": made.json["id"], **STATS})
    assert report["plan"] == made.json["id"] and read_model(again) == read_model(path)


def layouts(r):
    """{name: (config, tensors, neurons' slices of each tensor, config afterwards)}; 16 -> 8."""
    n = lambda *shape: r.standard_normal(shape).astype("f4")  # noqa: E731
    fused = {"model.layers.0.mlp.gate_up_proj.weight": n(32, 5),
             "model.layers.0.mlp.down_proj.weight": n(5, 16)}
    gpt2 = {"h.0.mlp.c_fc.weight": n(4, 16), "h.0.mlp.c_fc.bias": n(16),
            "h.0.mlp.c_proj.weight": n(16, 4), "h.0.mlp.c_proj.bias": n(4)}
    opt = {"model.decoder.layers.0.fc1.weight": n(16, 3), "model.decoder.layers.0.fc1.bias": n(16),
           "model.decoder.layers.0.fc2.weight": n(3, 16), "model.decoder.layers.0.fc2.bias": n(3)}
    return {
        "phi3": ({"intermediate_size": 16}, fused, {"intermediate_size": 8}),
        "gpt2": ({"model_type": "gpt2", "n_embd": 4, "n_inner": None}, gpt2,
                 {"model_type": "gpt2", "n_embd": 4, "n_inner": 8}),
        "gpt2-old": ({"model_type": "gpt2", "n_embd": 4}, gpt2,
                     {"model_type": "gpt2", "n_embd": 4, "n_inner": 8}),
        "opt": ({"ffn_dim": 16, "hidden_size": 16}, opt, {"ffn_dim": 8, "hidden_size": 16}),
    }


def cut(name, v, stay):
    if "gate_up" in name:
        return v[np.concatenate([stay, stay + 16])]
    if name.endswith("c_fc.weight") or name.endswith("fc2.weight") or name.endswith("down_proj.weight"):
        return v[:, stay]
    return v if name.endswith(("c_proj.bias", "fc2.bias")) else v[stay]


@pytest.mark.parametrize("name", ["phi3", "gpt2", "gpt2-old", "opt"])
def test_other_layouts(d, name):
    r = np.random.default_rng(8)
    config, part, afterwards = layouts(r)[name]
    write_model(d.root, name, [part], config)
    path, report = prune(d, name, {"method": "width", "sparsity": 0.5})
    square = {k: np.square(v.astype("f8")) for k, v in part.items() if v.ndim == 2}
    if name == "phi3":
        up, down = square.values()
        rows = up.sum(1)
        score = np.sqrt(rows[:16]) * np.sqrt(rows[16:]) * np.sqrt(down.sum(0))
    else:
        up, down = square.values()
        score = np.sqrt(up.sum(0 if "gpt2" in name else 1)) * \
            np.sqrt(down.sum(1 if "gpt2" in name else 0))
    stay = np.setdiff1d(np.arange(16), np.argsort(score, kind="stable")[:8])
    got = read_model(path)
    assert list(got) == list(part)
    for k, v in part.items():
        assert same(got[k], "F32", cut(k, v, stay)), k
    assert json.load(open(os.path.join(path, "config.json"))) == afterwards
    assert report["width"]["multiple_of"] == 2


def test_widths_that_cannot_be_cut(d, manlm):
    _ = manlm
    r = np.random.default_rng(9)
    n = lambda *shape: r.standard_normal(shape).astype("f4")  # noqa: E731
    up, down = "model.layers.%d.mlp.up_proj.weight", "model.layers.%d.mlp.down_proj.weight"
    write_model(d.root, "uneven", [{up % 0: n(8, 4), down % 0: n(4, 8),
                                    up % 1: n(6, 4), down % 1: n(4, 6)}], {"intermediate_size": 8})
    write_model(d.root, "no-key", [{up % 0: n(8, 4), down % 0: n(4, 8)}], {"intermediate_size": 9})
    write_model(d.root, "towers", [{up % 0: n(8, 4), down % 0: n(4, 8)}],
                {"intermediate_size": 8, "vision_config": {}})
    write_model(d.root, "nan", [{up % 0: np.full((8, 4), np.nan, "f4"), down % 0: n(4, 8)}],
                {"intermediate_size": 8})
    write_model(d.root, "experts", mixtral(r, 1), {"intermediate_size": F})
    args = {"method": "width", "sparsity": 0.5}
    assert "one number" in fails(d, "uneven", args, "/source")
    assert "intermediate_size" in fails(d, "no-key", args, "/source")
    assert "towers" in fails(d, "towers", args, "/source")
    assert "NaN" in fails(d, "nan", args, "/source")
    assert "expert_drop" in fails(d, "experts", args, "/source")
    fails(d, "manlm", {**args, "stats": {"path": "mixtral.stats.safetensors"}}, "/params/stats")
    fails(d, "manlm", {"method": "width", "keep": 513}, "/params/keep")
    fails(d, "manlm", {"method": "width", "keep": 400, "multiple_of": 8}, "/params/multiple_of")
    fails(d, "manlm", {**args, "rank_by": "wanda"}, "/params/stats")
    fails(d, "manlm", {**args, "rank_by": "ria"}, "/params/rank_by")
    fails(d, "manlm", {"method": "width"}, "/params/sparsity")
    path, report = prune(d, "manlm", {**args, "multiple_of": 100})
    assert report["width"]["kept"] == 300


# --- crashes ------------------------------------------------------------------------------------


def big_mixture(root, layers=6, experts=8, side=512):
    r = np.random.default_rng(10)
    shards, stats = [], {}
    for l in range(layers):
        p = f"model.layers.{l}.mlp."
        part = {p + "gate.weight": r.standard_normal((experts, side)).astype("f4")}
        for e in range(experts):
            for w in ("gate", "up", "down"):
                part[f"{p}experts.{e}.{w}_proj.weight"] = \
                    r.standard_normal((side, side)).astype("f4")
        shards.append(part)
        stats[p + "expert_saliency_sum"] = r.random(experts)
        stats[p + "expert_count"] = np.ones(experts)
    write_model(root, "mixture", shards, {"num_experts": experts, "num_experts_per_tok": 2})
    write_safetensors(os.path.join(root, "mixture.stats.safetensors"), stats)


MIXTURE = {"method": "expert_drop", "sparsity": 0.5, "stats": {"path": "mixture.stats.safetensors"}}


def test_kill_and_go_on(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    d = Daemon(str(tmp_path), "--output-root", out, workers=1).start()
    d.out = out
    big_mixture(d.root)
    job = submit(d, "mixture", {**MIXTURE, "output": {"path": "small"}}, wait=0).json["id"]
    kept = kill_once_a_file_is_complete(d, out)
    assert not os.path.exists(os.path.join(out, "small"))
    d.start()
    final = d.wait_final(job)
    assert final["state"] == "succeeded" and final["attempt"] == 2
    settles(out, ["small"])
    assert_kept(kept, os.path.join(out, "small"))
    again, _ = prune(d, "mixture", MIXTURE)
    for name in os.listdir(again):
        assert open(os.path.join(again, name), "rb").read() == \
            open(os.path.join(out, "small", name), "rb").read(), name
    d.stop()


def test_cancel_leaves_nothing(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    with Daemon(str(tmp_path), "--output-root", out, workers=1) as d:
        big_mixture(d.root)
        job = submit(d, "mixture", {**MIXTURE, "output": {"path": "small"}}, wait=0).json["id"]
        for _ in range(1000):
            if d.get(f"/v1/jobs/{job}").json["progress"]["layers_done"] > 0:
                break
            time.sleep(0.002)
        d.request("POST", f"/v1/jobs/{job}:cancel")
        assert d.wait_final(job)["state"] == "cancelled"
        settles(out, [])
