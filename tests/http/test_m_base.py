"""Rows that are differences from a base model, in analyze jobs with params.base."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon, age, write_safetensors

EXAMPLE = os.path.join(TOP, "examples/manlm.safetensors")


def bf16(x):
    """Rounded to nearest even, as raw 16-bit numbers, and the values that these are."""
    u = x.astype("<f4").view("<u4").astype(np.uint64)
    u = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype("<u2")
    return u, (u.astype("<u4") << 16).view("<f4").astype(float)


def make(rng):
    """The base, the model, and what the differences are."""
    base = {name: rng.standard_normal(shape).astype("<f4") for name, shape in {
        "conv.weight": (24, 12, 3, 3), "deep.layers.0.q_proj.weight": (60, 80),
        "deep.layers.1.q_proj.weight": (80, 60), "half.weight": (50, 50),
        "mlp.experts.gate_up_proj": (3, 40, 30), "reshaped.weight": (40, 60),
        "same.weight": (30, 40), "coded.weight": (30, 30)}.items()}
    base["h.0.attn.c_attn.weight"] = rng.standard_normal((32, 96)).astype("<f4")
    model = {n: (a + 0.1 * rng.standard_normal(a.shape)).astype("<f4") for n, a in base.items()}
    model["same.weight"] = base["same.weight"].copy()
    base["reshaped.weight"] = base["reshaped.weight"].T.copy()
    model["alone.weight"] = rng.standard_normal((40, 30)).astype("<f4")
    base["coded.weight"] = rng.integers(-5, 5, (30, 30)).astype("<i4")
    base["norm.weight"] = model["norm.weight"] = np.ones(30, "<f4")
    delta = {n: model[n].astype(float) - base[n] for n in base if base[n].shape == model[n].shape}
    raw, value = bf16(model["half.weight"])
    model["half.weight"] = raw
    delta["half.weight"] = value - base["half.weight"]
    return base, model, delta


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("base")
    root = os.path.join(tmp, "models")
    os.mkdir(root)
    base, model, delta = make(np.random.default_rng(11))
    write_safetensors(os.path.join(root, "model.safetensors"), model, {"half.weight": "BF16"})
    write_safetensors(os.path.join(root, "base.safetensors"), base)
    changed = dict(base)
    changed["deep.layers.0.q_proj.weight"] = base["deep.layers.0.q_proj.weight"] * np.float32(2)
    write_safetensors(os.path.join(root, "other.safetensors"), changed)
    os.mkdir(os.path.join(root, "sharded"))
    parts = sorted(base)
    for k in range(2):
        write_safetensors(os.path.join(root, f"sharded/model-0000{k + 1}-of-00002.safetensors"),
                          {n: base[n] for n in parts[k::2]})
    shutil.copy(EXAMPLE, os.path.join(root, "manlm.safetensors"))
    for top, _, names in os.walk(root):
        for name in names:
            age(os.path.join(top, name))
    with Daemon(tmp, root=root) as d:
        d.tmp, d.root, d.delta = str(tmp), root, delta
        yield d


def analyze(d, **params):
    return d.analyze("model.safetensors", {"base": {"path": "base.safetensors"}, **params})


def evals_of(d, job, layer):
    return np.array(d.get(f"/v1/analyses/{job['result']['analysis']}/layers/{layer}/esd")
                    .json["evals"])


def squares(w):
    return np.sort(np.linalg.svd(w, compute_uv=False) ** 2)


def test_spectra_of_differences(server):
    job, rows = analyze(server, min_evals=0)
    assert job["params"]["base"] == {"path": "base.safetensors"}
    for name in ("deep.layers.0.q_proj", "deep.layers.1.q_proj", "half"):
        assert rows[name]["operation"] == "delta" and rows[name]["status"] == "success"
        want = squares(server.delta[name + ".weight"])
        np.testing.assert_allclose(evals_of(server, job, name), want, rtol=1e-9, atol=1e-13)
        assert rows[name]["norm"] == pytest.approx(want.sum(), rel=1e-12)
    conv = np.moveaxis(server.delta["conv.weight"], (2, 3), (0, 1)).reshape(9, 24, 12)
    want = np.sort(np.concatenate([squares(w) for w in conv])) / 2  # as of any convolution
    np.testing.assert_allclose(evals_of(server, job, "conv"), want, rtol=1e-9)
    for e in range(3):
        np.testing.assert_allclose(
            evals_of(server, job, f"mlp.experts.gate_up_proj[{e}]"),
            squares(server.delta["mlp.experts.gate_up_proj"][e]), rtol=1e-9)
    w = server.delta["h.0.attn.c_attn.weight"]
    np.testing.assert_allclose(evals_of(server, job, "h.0.attn.c_attn"), squares(w), rtol=1e-9)


def test_never_the_whole_weights(server):
    """What has no base is skipped, and said so."""
    _, rows = analyze(server)
    assert {n: rows[n]["reason"] for n in ("alone", "reshaped", "coded", "norm")} == {
        "alone": "no_base", "reshaped": "base_shape", "coded": "base_dtype", "norm": "norm"}
    for name in ("alone", "reshaped", "coded"):
        assert rows[name]["status"] == "skipped" and rows[name]["lambda_max"] is None
        assert rows[name]["operation"] is None and "base" in rows[name]["detail"]
    _, rows = analyze(server, integers=True)
    assert rows["coded"]["status"] == "success"


def test_nothing_changed(server):
    job, rows = analyze(server)
    assert (rows["same"]["status"], rows["same"]["reason"]) == ("failed", "zero_matrix")
    assert rows["same"]["norm"] == 0 and rows["same"]["operation"] == "delta"
    assert not evals_of(server, job, "same").any()
    job, rows = server.analyze("manlm.safetensors", {"base": {"path": "manlm.safetensors"}})
    assert {r["reason"] for r in rows.values() if r["status"] != "skipped"} == {"zero_matrix"}


def test_the_base_is_told(server):
    job, rows = analyze(server)
    model, base = job["result"]["model"], job["result"]["base"]
    analysis = server.get(f"/v1/analyses/{job['result']['analysis']}").json
    assert analysis["summary"]["base"] == base != model
    own, _ = server.analyze("base.safetensors")
    assert own["result"]["model"] == base and "base" not in own["result"]
    again, shards = server.analyze("model.safetensors", {"base": {"path": "sharded"}})
    assert again["result"]["base"] == base and again["cache"]["misses"] == 0
    assert {n: r["alpha"] for n, r in shards.items()} == {n: r["alpha"] for n, r in rows.items()}


def test_the_base_is_a_model_that_was_seen(server):
    path = os.path.join(server.root, "unseen")
    os.mkdir(path)
    base = {"h.0.mlp.c_proj.weight": np.random.default_rng(1).standard_normal((40, 20)),
            "h.0.mlp.experts.w1": np.zeros((2, 3, 4), "<f4"), "b.bias": np.zeros(3, "<f4")}
    write_safetensors(os.path.join(path, "model.safetensors"), base)
    with open(os.path.join(path, "config.json"), "w") as f:
        f.write('{"model_type": "gpt2"}')
    for name in os.listdir(path):
        age(os.path.join(path, name))
    job, rows = server.analyze("model.safetensors", {"base": {"path": "unseen"}})
    assert {r["reason"] for r in rows.values()} == {"no_base", "norm"}
    target = "/v1/models/" + job["result"]["base"]
    model = server.get(target).json
    assert (model["tensors"], model["name"], model["model_type"]) == (3, "unseen", "gpt2")
    assert model["parameters"] == 827 and model["bytes"] == 6400 + 4 * 27
    tensors = server.get(target + "/tensors").json["tensors"]
    assert [t["name"] for t in tensors] == sorted(base)
    own, _ = server.analyze("unseen")
    assert own["result"]["model"] == job["result"]["base"]
    types = {t["name"]: t["layer_type"] for t in tensors}
    assert types["h.0.mlp.c_proj.weight"] == "conv1d"


def test_content_is_the_key(server):
    """Another base gives other rows, but for the layers that are the same in both."""
    first, rows = analyze(server)
    again, _ = analyze(server)
    assert again["cache"]["misses"] == 0
    other, changed = server.analyze("model.safetensors", {"base": {"path": "other.safetensors"}})
    assert other["cache"]["misses"] == 1
    different = {n for n in rows if rows[n]["digest"] != changed[n]["digest"]}
    assert different == {"deep.layers.0.q_proj"}
    assert other["result"]["base"] != first["result"]["base"]
    plain, weights = server.analyze("model.safetensors")
    assert weights["same"]["digest"] != rows["same"]["digest"] and "operation" not in rows["same"] \
        or weights["same"].get("operation") is None
    head = server.get(f"/v1/analyses/{first['result']['analysis']}/layers?format=csv").body
    assert b",operation" in head.split(b"\r\n")[0]
    head = server.get(f"/v1/analyses/{plain['result']['analysis']}/layers?format=csv").body
    assert b",operation" not in head.split(b"\r\n")[0]


def test_measures_and_windows_are_of_the_difference(server):
    """What needs the weights is measured as of a file that holds the differences."""
    params = dict(randomize=30, vectors=True, erg=True,
                  farms={"rows": 30, "windows": 3})
    path = os.path.join(server.root, "written.safetensors")
    write_safetensors(path, {n: a for n, a in server.delta.items() if a.ndim > 1})
    age(path)
    _, direct = server.analyze("written.safetensors", params)
    _, rows = analyze(server, **params)
    columns = ["alpha", "D", "farms_alpha", "farms_num_evals", "bulk_mean_vec_entropy",
               "detX_num", "num_evals", "rf", "log_norm", "weight_mean", "weight_var"]
    for name in ("conv", "deep.layers.0.q_proj", "deep.layers.1.q_proj", "half"):
        for c in columns:
            if direct[name][c] is None:
                assert rows[name][c] is None
            else:
                assert rows[name][c] == pytest.approx(direct[name][c], rel=1e-6, abs=1e-12), (name, c)
        # another seed, the same numbers: the order of the weights is another one
        assert rows[name]["rand_distance"] == pytest.approx(direct[name]["rand_distance"], rel=0.2)


def test_single_precision(server):
    _, double = analyze(server)
    _, single = analyze(server, precision="single")
    for name in ("conv", "deep.layers.0.q_proj", "half"):
        assert single[name]["precision"] == "single"
        assert single[name]["norm"] == pytest.approx(double[name]["norm"], rel=1e-5)


def test_filters(server):
    job, rows = analyze(server, include="layers.0")
    assert {n for n, r in rows.items() if r["status"] == "success"} == {"deep.layers.0.q_proj"}


def test_an_upload_as_base(server):
    data = open(os.path.join(server.root, "base.safetensors"), "rb").read()
    up = server.request("POST", "/v1/uploads?name=b.safetensors", data,
                        {"Content-Type": "application/octet-stream"}).json
    job, _ = server.analyze("model.safetensors", {"base": {"upload": up["id"]}})
    assert job["params"]["base"] == {"upload": up["id"]}
    assert job["result"]["base"] == analyze(server)[0]["result"]["base"]
    server.request("DELETE", f"/v1/uploads/{up['id']}")
    r = server.submit("model.safetensors", {"base": {"upload": up["id"]}})
    assert r.status == 404 and r.json["errors"][0]["pointer"] == "#/params/base/upload"


@pytest.mark.parametrize("base, status, pointer", [
    ("base.safetensors", 400, "#/params/base"),
    ({}, 400, "#/params/base/path"),
    ({"path": ""}, 400, "#/params/base/path"),
    ({"path": 3}, 400, "#/params/base/path"),
    ({"model": "mdl_1"}, 400, "#/params/base/model"),
    ({"path": "a", "upload": "b"}, 400, "#/params/base"),
    ({"upload": "b"}, 400, "#/params/base/upload"),
    ({"path": "nowhere"}, 404, "#/params/base/path"),
    ({"path": "/etc/passwd"}, 403, "#/params/base/path"),
    ({"path": "../up"}, 403, "#/params/base/path"),
])
def test_what_is_no_base(server, base, status, pointer):
    r = server.submit("model.safetensors", {"base": base})
    assert (r.status, r.json["errors"][0]["pointer"]) == (status, pointer), r.body


def test_plans_take_none(server):
    r = server.request("POST", "/v1/jobs", {
        "kind": "plan", "source": {"path": "model.safetensors"},
        "params": {"sparsity": 0.5, "analyze": {"base": {"path": "base.safetensors"}}}})
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/analyze/base"


def test_a_broken_base(server):
    path = os.path.join(server.root, "broken.safetensors")
    open(path, "wb").write(b"\x10\0\0\0\0\0\0\0{\"not json")
    r = server.submit("model.safetensors", {"base": {"path": "broken.safetensors"}})
    job = server.wait_final(r.json["id"])
    assert job["state"] == "failed" and job["error"]["errors"][0]["pointer"] == "#/params/base"


def test_command_line(server):
    env = dict(os.environ, SPECTRALCTL_SERVER=f"http://127.0.0.1:{server.port}")
    out = subprocess.run([CTL, "analyze", "model.safetensors", "--base", "base.safetensors",
                          "--csv", "--columns", "longname,operation,status"],
                         env=env, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^half,delta,success\r?$", out, re.M) and "alone,,skipped" in out
    local = os.path.join(server.tmp, "elsewhere.safetensors")  # the server cannot see it
    shutil.copy(os.path.join(server.root, "base.safetensors"), local)
    again = subprocess.run([CTL, "analyze", "model.safetensors", "--base", local, "--csv",
                            "--columns", "longname,operation,status"],
                           env=env, capture_output=True, text=True, check=True).stdout
    assert again == out
    assert server.get("/v1/uploads").json["uploads"] == []
    job, _ = analyze(server)
    report = subprocess.run([CTL, "report", job["result"]["analysis"]], env=env,
                            capture_output=True, text=True, check=True).stdout
    assert "differences from " + job["result"]["base"] in report


def test_a_job_holds_its_base_and_survives(tmp_path):
    """An upload that is a base stays while a job needs it; a killed daemon goes on with both."""
    rng = np.random.default_rng(3)
    base = {f"w{k}.weight": rng.standard_normal((900, 800)).astype("<f4") for k in range(4)}
    path = str(tmp_path / "b.safetensors")
    write_safetensors(path, base)
    with Daemon(str(tmp_path / "d"), workers=1) as d:
        write_safetensors(os.path.join(d.root, "m.safetensors"),
                          {n: a + np.float32(1) for n, a in base.items()})
        up = d.request("POST", "/v1/uploads?name=b.safetensors", open(path, "rb").read(),
                       {"Content-Type": "application/octet-stream"}).json["id"]
        jobs = [d.submit("m.safetensors", {"base": {"upload": up}}, wait=0).json["id"]
                for _ in range(2)]
        assert d.request("DELETE", f"/v1/uploads/{up}").status == 409
        d.kill()
        d.start()
        ends = [d.wait_final(j) for j in jobs]
        assert [j["state"] for j in ends] == ["succeeded"] * 2
        assert ends[0]["result"]["base"] == ends[1]["result"]["base"]
        rows = [d.get(f"/v1/analyses/{j['result']['analysis']}/layers").json["layers"]
                for j in ends]
        assert rows[0] == rows[1] and rows[0][0]["stable_rank"] < 1.001
        # together they solve each once, or again what was not kept
        assert sum(j["cache"]["misses"] for j in ends) <= 8
        assert d.request("DELETE", f"/v1/uploads/{up}").status == 204
