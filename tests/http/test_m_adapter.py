"""Rows of LoRA adapters: what they add to the weights, and the weights with that added."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from daemon import CTL, Daemon, age, write_safetensors

COMPAT = "weightwatcher-0.7.5.5"
LAYER = "base_model.model.model.layers."
Q, V, DOWN = "0.self_attn.q_proj", "0.self_attn.v_proj", "1.mlp.down_proj"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 10, "alpha_pattern": {"v_proj": 3.5},
          "rank_pattern": {"v_proj": 12, "mlp.down_proj": 16}, "use_rslora": False,
          "fan_in_fan_out": False}


def pair(rng, out, rank, into):
    return (rng.standard_normal((out, rank)).astype("<f4"),
            rng.standard_normal((rank, into)).astype("<f4"))


def make(rng):
    """Adapter tensors, base tensors, and {module: (W, B A)}."""
    adapter, base, whole = {}, {}, {}
    for module, (out, rank, into) in {Q: (60, 4, 60), V: (40, 12, 60), DOWN: (60, 16, 90)}.items():
        b, a = pair(rng, out, rank, into)
        w = rng.standard_normal((out, into)).astype("<f4")
        adapter[f"{LAYER}{module}.lora_A.weight"] = a
        adapter[f"{LAYER}{module}.lora_B.weight"] = b
        base[f"model.layers.{module}.weight"] = w
        whole[module] = (w.astype(float), b.astype(float) @ a)
    return adapter, base, whole


def put(root, name, tensors, config=None, dtypes=None):
    os.makedirs(os.path.join(root, name), exist_ok=True)
    path = os.path.join(root, name, "adapter_model.safetensors")
    write_safetensors(path, tensors, dtypes)
    age(path)
    if config is not None:
        path = os.path.join(root, name, "adapter_config.json")
        with open(path, "w") as f:
            f.write(config if isinstance(config, str) else json.dumps(config))
        age(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("adapter")
    root = os.path.join(tmp, "models")
    os.mkdir(root)
    adapter, base, whole = make(np.random.default_rng(5))
    put(root, "lora", adapter, CONFIG)
    write_safetensors(os.path.join(root, "base.safetensors"), base)
    age(os.path.join(root, "base.safetensors"))
    with Daemon(tmp, root=root) as d:
        d.tmp, d.root, d.adapter, d.whole = str(tmp), root, adapter, whole
        yield d


def squares(w):
    return np.sort(np.linalg.svd(w, compute_uv=False) ** 2)


def evals_of(d, job, layer):
    return np.array(d.get(f"/v1/analyses/{job['result']['analysis']}/layers/{layer}/esd")
                    .json["evals"])


SCALE = {Q: 10 / 4, V: 3.5 / 12, DOWN: 10 / 16}
RANK = {Q: 4, V: 12, DOWN: 16}


def test_what_an_adapter_adds(server):
    job, rows = server.analyze("lora")
    assert job["params"]["adapter"] == "delta" and "base" not in job["result"]
    for module, (w, ba) in server.whole.items():
        row = rows[f"{LAYER}{module}.lora_BA"]
        want = squares(SCALE[module] * ba)[-RANK[module]:]
        np.testing.assert_allclose(evals_of(server, job, row["longname"]), want, rtol=1e-10)
        assert row["operation"] == "lora" and row["lora_rank"] == RANK[module]
        assert row["lora_scale"] == pytest.approx(SCALE[module], rel=1e-15)
        assert row["shape"] == list(w.shape) and row["num_evals"] == RANK[module]
        assert (row["N"], row["M"]) == (max(w.shape), min(w.shape))
        assert row["norm"] == pytest.approx(want.sum(), rel=1e-10)
        assert row["matrix_rank"] == RANK[module] and row["rank_loss"] == 0
        assert row["weight_mean"] is None and row["notes"] == []
        part = rows[f"{LAYER}{module}.lora_A"]
        assert (part["status"], part["reason"]) == ("skipped", "adapter_part")
        assert part["operation"] is None and part["lora_rank"] is None
    assert rows[f"{LAYER}{Q}.lora_BA"]["role"] == "q"
    assert rows[f"{LAYER}{DOWN}.lora_BA"]["role"] == "down"
    assert rows[f"{LAYER}{DOWN}.lora_BA"]["block"] == "base_model.model.model.layers.1"
    assert not any(".lora_B" in n and ".lora_BA" not in n for n in rows)
    assert [r["layer_id"] for r in rows.values()] == list(range(6))


def test_the_file_itself_and_the_cache(server):
    first, rows = server.analyze("lora")
    again, same = server.analyze("lora/adapter_model.safetensors")
    assert again["cache"]["misses"] == 0
    assert again["result"]["model"] == first["result"]["model"]
    assert {n: r["alpha"] for n, r in rows.items()} == {n: r["alpha"] for n, r in same.items()}


def test_the_scale_is_part_of_the_key(server):
    put(server.root, "louder", server.adapter, {**CONFIG, "lora_alpha": 20})
    first, rows = server.analyze("lora")
    job, louder = server.analyze("louder")
    assert job["result"]["model"] == first["result"]["model"]  # the same tensors
    assert job["cache"]["misses"] == 2  # v_proj has a factor of its own
    for module, times in ((Q, 2), (V, 1), (DOWN, 2)):
        name = f"{LAYER}{module}.lora_BA"
        assert louder[name]["lora_scale"] == times * rows[name]["lora_scale"]
        assert louder[name]["norm"] == pytest.approx(times ** 2 * rows[name]["norm"], rel=1e-10)
        assert (louder[name]["digest"] == rows[name]["digest"]) == (times == 1)
    tables = [server.get(f"/v1/analyses/{j['result']['analysis']}/layers").headers["ETag"]
              for j in (first, job)]
    assert tables[0] != tables[1]


def test_rank_stabilised(server):
    put(server.root, "rslora", server.adapter, {**CONFIG, "use_rslora": True})
    _, rows = server.analyze("rslora")
    assert rows[f"{LAYER}{Q}.lora_BA"]["lora_scale"] == 10 / 4 ** 0.5
    assert rows[f"{LAYER}{V}.lora_BA"]["lora_scale"] == 3.5 / 12 ** 0.5


def test_without_configuration(server):
    put(server.root, "alone", server.adapter)
    job, rows = server.analyze("alone")
    for module, (_, ba) in server.whole.items():
        row = rows[f"{LAYER}{module}.lora_BA"]
        assert row["lora_scale"] == 1 and row["notes"] == ["scale_unknown"]
        np.testing.assert_allclose(evals_of(server, job, row["longname"]),
                                   squares(ba)[-RANK[module]:], rtol=1e-10)


def test_merged(server):
    params = {"base": {"path": "base.safetensors"}, "adapter": "merged"}
    job, rows = server.analyze("lora", params)
    plain, base = server.analyze("base.safetensors")
    assert job["result"]["base"] == plain["result"]["model"]
    for module, (w, ba) in server.whole.items():
        name = "model.layers." + module
        row = rows[name]
        want = squares(w + SCALE[module] * ba)
        np.testing.assert_allclose(evals_of(server, job, name), want, rtol=1e-9)
        assert row["operation"] == "merged" and row["lora_rank"] == RANK[module]
        assert row["num_evals"] == min(w.shape) and row["block"] == base[name]["block"]
        assert row["weight_mean"] == pytest.approx((w + SCALE[module] * ba).mean(), abs=1e-9)
    both = server.get(f"/v1/comparisons?analyses={plain['result']['analysis']},"
                      f"{job['result']['analysis']}").json
    assert len([x for x in both["layers"] if x["longname"].startswith("model.layers")]) == 3


def test_merged_is_measured_as_any_matrix(server):
    path = os.path.join(server.root, "written.safetensors")
    write_safetensors(path, {f"model.layers.{m}.weight": w + SCALE[m] * ba
                             for m, (w, ba) in server.whole.items()})
    age(path)
    more = dict(mp_fit=True, vectors=True, randomize=True, phase=True, farms={"rows": 30, "windows": 3})
    _, direct = server.analyze("written.safetensors", more)
    _, rows = server.analyze("lora", {"base": {"path": "base.safetensors"}, "adapter": "merged",
                                      **more})
    for module in server.whole:
        name = "model.layers." + module
        assert rows[name]["not_measured"] == []
        for c in ("alpha", "sigma_mp", "bulk_mean_vec_entropy", "farms_alpha", "weight_var"):
            assert rows[name][c] == pytest.approx(direct[name][c], rel=1e-6), (name, c)


def test_what_is_not_had_of_a_product(server):
    job, rows = server.analyze("lora", dict(mp_fit=True, snr=True, phase=True, randomize=True,
                                            vectors=True, erg=True, traps=True,
                                            farms={"rows": 4, "windows": 2}))
    row = rows[f"{LAYER}{DOWN}.lora_BA"]
    assert sorted(row["not_measured"]) == [f"{m}: product" for m in
                                           ("mp_fit", "phase", "randomize", "snr", "traps",
                                            "vectors")]
    assert row["detX_num"] > 0 and row["farms_reason"] == "product" and row["phase"] is None
    r = server.get(f"/v1/analyses/{job['result']['analysis']}/layers/{row['layer_id']}/traps")
    assert r.status == 404 and r.json["detail"].endswith(": product")
    again, _ = server.analyze("lora", dict(mp_fit=True, erg=True))
    assert again["cache"]["misses"] == 0


def test_its_tensors_are_a_models(server):
    for more in ({}, {"products": True}):
        job, _ = server.analyze("lora", more)
        r = server.get(f"/v1/models/{job['result']['model']}/tensors").json
        assert {t["name"]: t["shape"] for t in r["tensors"]} == \
            {n: list(a.shape) for n, a in server.adapter.items()}


def test_factors(server):
    job, rows = server.analyze("lora", {"adapter": "factors", "min_evals": 0})
    assert "operation" not in rows[f"{LAYER}{Q}.lora_A"]
    a = server.adapter[f"{LAYER}{Q}.lora_A.weight"].astype(float)
    np.testing.assert_allclose(evals_of(server, job, f"{LAYER}{Q}.lora_A"), squares(a), rtol=1e-9)


def test_as_upstream(server):
    """No factor; ranks below min_evals are not seen."""
    job, rows = server.analyze("lora", {"compat": COMPAT})
    assert rows[f"{LAYER}{Q}.lora_BA"]["reason"] == "min_evals"
    for module in (V, DOWN):
        row = rows[f"{LAYER}{module}.lora_BA"]
        assert row["lora_scale"] == 1
        np.testing.assert_allclose(evals_of(server, job, row["longname"]),
                                   squares(server.whole[module][1])[-RANK[module]:], rtol=1e-10)


def test_shapes_of_all_kinds(server):
    """Ranks above a side, square factors, transposed weights, named adapters, embeddings, DoRA."""
    rng = np.random.default_rng(8)
    tensors, base, want = {}, {}, {}

    def add(module, out, rank, into, scale, a="lora_A.weight", b="lora_B.weight", flip=False):
        left, right = pair(rng, out, rank, into)
        tensors[f"base_model.model.{module}.{a}"] = right
        tensors[f"base_model.model.{module}.{b}"] = left
        ba = scale * left.astype(float) @ right
        w = rng.standard_normal((into, out) if flip else (out, into)).astype("<f4")
        base[module + ".weight"] = w
        want[module] = (ba.T if flip else ba, w)

    add("wide", 6, 8, 50, 1, flip=True)
    add("square", 8, 8, 8, 1, flip=True)
    add("tall", 70, 8, 5, 1, flip=True)
    add("named", 30, 8, 20, 1, "lora_A.default.weight", "lora_B.default.weight", flip=True)
    add("wte", 24, 8, 200, 1, "lora_embedding_A", "lora_embedding_B", flip=True)
    put(server.root, "kinds", tensors, {"r": 8, "lora_alpha": 8, "fan_in_fan_out": True})
    write_safetensors(os.path.join(server.root, "kinds_base.safetensors"), base)
    job, rows = server.analyze("kinds", {"min_evals": 0})
    names = {"named": "base_model.model.named.lora_BA.default",
             "wte": "base_model.model.wte.lora_embedding_BA"}
    for module, (ba, w) in want.items():
        name = names.get(module, f"base_model.model.{module}.lora_BA")
        n = min(8, *ba.shape)
        np.testing.assert_allclose(evals_of(server, job, name), squares(ba)[-n:], rtol=1e-9)
        assert rows[name]["shape"] == list(w.shape), module
    assert rows[names["wte"]]["layer_type"] == "embedding"
    job, rows = server.analyze("kinds", {"min_evals": 0, "adapter": "merged", "vectors": True,
                                         "base": {"path": "kinds_base.safetensors"}})
    for module, (ba, w) in want.items():
        np.testing.assert_allclose(evals_of(server, job, module), squares(w + ba), rtol=1e-8,
                                   atol=1e-12)


def test_what_is_no_pair(server):
    rng = np.random.default_rng(9)
    b, a = pair(rng, 40, 12, 30)
    ones = np.ones(40, "<f4")
    tensors = {"m.alone.lora_A.weight": a, "m.orphan.lora_B.weight": b,
               "m.misfit.lora_A.weight": a, "m.misfit.lora_B.weight": b[:, :11].copy(),
               "m.conv.lora_A.weight": rng.standard_normal((12, 30, 3, 3)).astype("<f4"),
               "m.conv.lora_B.weight": rng.standard_normal((40, 12, 1, 1)).astype("<f4"),
               "m.dora.lora_A.weight": a, "m.dora.lora_B.weight": b,
               "m.dora.lora_magnitude_vector": ones, "m.rank.lora_A.weight": a,
               "m.rank.lora_B.weight": b, "lora_A": a, "lora_B": b,
               "m.nan.lora_A.weight": a * np.float32(np.nan), "m.nan.lora_B.weight": b,
               "m.head.weight": rng.standard_normal((30, 20)).astype("<f4")}
    put(server.root, "odd", tensors, {"r": 12, "lora_alpha": 12, "rank_pattern": {"rank": 5}})
    job, rows = server.analyze("odd")
    reason = {n: r["reason"] for n, r in rows.items() if r["status"] == "skipped"}
    for name in ("m.alone.lora_A", "m.orphan.lora_B", "m.misfit.lora_A", "m.misfit.lora_B",
                 "m.conv.lora_A", "m.conv.lora_B"):
        assert reason.pop(name) == "adapter_form", name
    assert reason.pop("m.rank.lora_BA") == "adapter_rank"
    assert reason.pop("m.dora.lora_magnitude_vector") == "one_dimension"
    assert set(reason.values()) == {"adapter_part"} and len(reason) == 4
    assert rows["m.dora.lora_BA"]["notes"] == ["dora"] and rows["lora_BA"]["status"] == "success"
    assert (rows["m.nan.lora_BA"]["reason"], rows["m.nan.lora_BA"]["num_nonfinite"]) == \
        ("non_finite", a.size)
    assert rows["m.head"]["operation"] == "tensor"
    write_safetensors(os.path.join(server.root, "odd_base.safetensors"),
                      {"m.dora.weight": np.ones((40, 30), "<f4"),
                       "m.nan.weight": np.ones((30, 40), "<f4"),
                       "m.rank.weight": np.ones((40, 30), "<f4")})
    _, rows = server.analyze("odd", {"adapter": "merged", "base": {"path": "odd_base.safetensors"}})
    assert {n: rows[n]["reason"] for n in ("m.dora", "m.nan", "m.rank", "")} == {
        "m.dora": "adapter_dora", "m.nan": "base_shape", "m.rank": "adapter_rank", "": "no_base"}


@pytest.mark.parametrize("config, words", [
    ("{", "not valid JSON"),
    ("[]", "not a JSON object"),
    ("[" * 100, "nested"),
    ({"lora_alpha": "8"}, "lora_alpha"),
    ({"lora_alpha": 1e300}, "lora_alpha"),
    ({"r": 0}, "r must be"),
    ({"r": 2.5}, "r must be"),
    ({"alpha_pattern": [1]}, "alpha_pattern"),
    ({"alpha_pattern": {"q_proj": None}}, "alpha_pattern"),
    ({"alpha_pattern": {"layers\\.[0-9]+.q_proj": 3}}, "alpha_pattern"),
    ({"rank_pattern": {"q_proj": -1}}, "rank_pattern"),
    ({"use_rslora": 1}, "use_rslora"),
    ({"fan_in_fan_out": "no"}, "fan_in_fan_out"),
    ({"peft_type": "IA3"}, "peft_type"),
    ('{"lora_alpha": ' + "1" * 5000000 + "}", "limit"),
])
def test_configurations_that_are_none(server, config, words):
    put(server.root, "hostile", server.adapter, config)
    r = server.submit("hostile")
    job = server.wait_final(r.json["id"])
    assert job["state"] == "failed" and words in job["error"]["detail"], job["error"]
    # and nobody minds it beside a model that is no adapter
    os.rename(os.path.join(server.root, "hostile/adapter_config.json"),
              os.path.join(server.root, "adapter_config.json"))
    _, rows = server.analyze("base.safetensors")
    assert len(rows) == 3


@pytest.mark.parametrize("config, scale", [
    ({"r": 4, "alpha_pattern": {"q_proj": 1, "self_attn.q_proj": 2}}, 1 / 4),
    ({"r": 4, "alpha_pattern": {"self_attn.q_proj": 2, "q_proj": 1}}, 2 / 4),
    ({"r": 4, "alpha_pattern": {"^q_proj": 2, "attn.q_proj": 3}}, 8 / 4),
    ({"r": 4, "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 2}}, 2 / 4),
    ({"alpha_pattern": {"model.layers.0.self_attn.q_proj": 0}}, 0),
    ({"lora_alpha": -6.0}, -6 / 4),
    ({}, 8 / 4),
])
def test_patterns(server, config, scale):
    tensors = {n: a for n, a in server.adapter.items() if Q in n}
    put(server.root, "patterns", tensors, config)
    _, rows = server.analyze("patterns")
    row = rows[f"{LAYER}{Q}.lora_BA"]
    assert row["lora_scale"] == scale
    if scale == 0:
        assert row["reason"] == "zero_matrix" and row["norm"] == 0


def test_what_contradicts(server):
    r = server.submit("lora", {"adapter": "merged"})
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/adapter"
    for wrong in ("sum", None, 1):
        r = server.submit("lora", {"adapter": wrong})
        assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/adapter"
    for model, params in (("lora", {"base": {"path": "base.safetensors"}}),
                          ("base.safetensors", {"base": {"path": "base.safetensors"},
                                                "adapter": "merged"})):
        r = server.submit(model, params)
        job = server.wait_final(r.json["id"])
        assert job["state"] == "failed"
        assert job["error"]["errors"][0]["pointer"] == "#/params/adapter"


def test_other_jobs_see_the_factors(server):
    r = server.request("POST", "/v1/jobs", {
        "kind": "plan", "source": {"path": "lora"},
        "params": {"sparsity": 0.5, "method": "uniform", "analyze": {}}}, {"Prefer": "wait=60"})
    assert r.status in (200, 202), r.body
    job = server.wait_final(r.json["id"])
    assert job["state"] in ("succeeded", "failed")
    plan = server.get(f"/v1/plans/{job['result']['plan']}").json
    assert not any("lora_BA" in t["name"] for t in plan["tensors"])


def test_command_line(server):
    env = dict(os.environ, SPECTRALCTL_SERVER=f"http://127.0.0.1:{server.port}")

    def run(*args):
        return subprocess.run([CTL, "analyze", *args, "--csv", "--columns",
                               "longname,operation,lora_rank,lora_scale"], env=env,
                              capture_output=True, text=True, check=True).stdout.splitlines()

    assert f"{LAYER}{Q}.lora_BA,lora,4,2.5" in run("lora")
    assert f"model.layers.{Q},merged,4,2.5" in run("lora", "--base", "base.safetensors",
                                                   "--adapter", "merged")
    local = os.path.join(server.tmp, "elsewhere")  # the server cannot see it
    shutil.copytree(os.path.join(server.root, "lora"), local)
    assert f"{LAYER}{Q}.lora_BA,lora,4,2.5" in run(local)
