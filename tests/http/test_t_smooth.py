"""Jobs of kind smooth, against NumPy's SVD of the same bytes."""

import itertools
import json
import math
import os
import shutil

import numpy as np
import pytest

from daemon import TOP, Daemon, write_safetensors
from test_c_cli import run_ctl
from test_t_prune import big_model, settles, tensors

MODEL = os.path.join(TOP, "examples", "manlm.safetensors")
LAYERS = 29  # matrices that are no embedding
COUNT = itertools.count()


@pytest.fixture(scope="module")
def d(tmp_path_factory):
    tmp = str(tmp_path_factory.mktemp("smooth"))
    os.makedirs(os.path.join(tmp, "out"))
    with Daemon(tmp, "--output-root", os.path.join(tmp, "out")) as daemon:
        daemon.out = os.path.join(tmp, "out")
        shutil.copy(MODEL, daemon.root)
        odd_model(os.path.join(daemon.root, "odd"))
        yield daemon


def submit(d, source, params, wait=60):
    body = {"kind": "smooth", "source": {"path": source}, "params": params}
    return d.request("POST", "/v1/jobs", body, {"Prefer": f"wait={wait}"} if wait else {})


def smooth(d, source, **params):
    """The directory that was written, and its report, by layers."""
    name = f"s{next(COUNT)}"
    r = submit(d, source, {**params, "output": {"path": name}})
    assert r.status in (200, 202), r.body
    job = d.wait_final(r.json["id"])
    assert job["state"] == "succeeded", job["error"]
    path = os.path.join(d.out, name)
    report = json.load(open(os.path.join(path, "smooth_report.json")))
    art = d.get(f"/v1/artifacts/{job['result']['artifact']}").json
    assert {k: art[k] for k in report} == report
    assert sorted(f["name"] for f in art["files"]) == sorted(os.listdir(path))
    return path, report, {x["tensor"]: x for x in report["layers"]}


def decode(dtype, shape, raw):
    if dtype == "BF16":
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(
            np.float64).reshape(shape)
    types = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    return np.frombuffer(raw, types[dtype]).astype(np.float64).reshape(shape)


def truncate(w, k):
    """Keep the k largest singular values; k < 0: remove so many."""
    u, s, v = np.linalg.svd(w, full_matrices=False)
    s = np.where(np.arange(s.size) < k, s, 0) if k > 0 else np.where(np.arange(s.size) < -k, 0, s)
    return (u * s) @ v


EPS = {"BF16": 2**-8, "F16": 2**-11, "F32": 2**-24, "F64": 2**-50}


def as_stored(got, want, dtype):
    """Rounded to nearest; and what two ways of computing differ by."""
    assert (np.abs(got - want) <= EPS[dtype] * np.abs(want) * 1.001 + 1e-10 * np.abs(want).max()
            + (2**-25 if dtype == "F16" else 0)).all()


def check(before, after, layers, k_of):
    """Every tensor is what it should be; the report too. How many were smoothed."""
    old, head = tensors(before)
    new, head_now = tensors(after)
    assert old.keys() == new.keys() and head == head_now
    n = 0
    for name, (dtype, shape, raw) in old.items():
        x = layers.get(name)
        assert new[name][:2] == (dtype, shape)
        if not x or x["status"] == "skipped":
            assert new[name][2] == raw, name
            continue
        n += 1
        w, got = decode(dtype, shape, raw), decode(*new[name])
        k = k_of(name, x)
        want = truncate(w, k)
        as_stored(got, want, dtype)
        assert x["k"] == abs(k) and x["action"] == ("keep" if k > 0 else "remove")
        assert x["kept"] == (k if k > 0 else min(w.shape) + k)
        norm = np.linalg.norm(w)
        assert math.isclose(x["norm"], norm, rel_tol=1e-9)
        assert math.isclose(x["relative_error"], np.linalg.norm(w - want) / norm, rel_tol=1e-6)
        assert math.isclose(x["relative_error_stored"], np.linalg.norm(w - got) / norm,
                            rel_tol=1e-9)
        assert x["rank_before"] == np.linalg.matrix_rank(w)
    return n


FILE = "manlm.safetensors"


@pytest.mark.parametrize("percent", [0.2, -0.2, 0.999, 1 / 3, -0.75])
def test_percent(d, percent):
    path, report, layers = smooth(d, FILE, method="svd", percent=percent)
    assert check(MODEL, os.path.join(path, FILE), layers,
                 lambda name, x: int(percent * 192)) == LAYERS == report["n_smoothed"]
    assert (report["method"], report["percent"]) == ("svd", percent)
    assert layers["model.embed_tokens.weight"]["reason"] == "filtered"


def test_number_and_default(d):
    path, _, layers = smooth(d, FILE, method="svd", k=7, include="mlp")
    assert check(MODEL, os.path.join(path, FILE), layers, lambda name, x: 7) == 12
    path, _, layers = smooth(d, FILE, method="svd", k=-1, types=["embedding"])
    assert check(MODEL, os.path.join(path, FILE), layers, lambda name, x: -1) == 1
    assert layers["model.embed_tokens.weight"]["status"] == "smoothed"
    path, report, layers = smooth(d, FILE, method="svd", layers=["lm_head"])
    assert check(MODEL, os.path.join(path, FILE), layers, lambda name, x: int(.8 * 192)) == 1
    assert report["percent"] == 0.8
    path, report, layers = smooth(d, FILE, method="svd", percent=1)
    assert open(os.path.join(path, FILE), "rb").read() == open(MODEL, "rb").read()
    assert report["n_smoothed"] == 0 and layers["lm_head.weight"]["reason"] == "nothing_to_do"


COLUMNS = {"detX": "detX_num", "alpha_min": "num_pl_spikes", "rmt": "num_spikes"}


@pytest.mark.parametrize("compat", [None, "weightwatcher-0.7.5.5"])
def test_k_is_that_of_an_analysis(d, compat):
    body = {"kind": "analyze", "source": {"path": FILE},
            "params": {"erg": True, "mp_fit": True, "compat": compat}}
    job = d.wait_final(d.request("POST", "/v1/jobs", body).json["id"])
    rows = d.get(f"/v1/analyses/{job['result']['analysis']}/layers").json["layers"]
    for method, column in COLUMNS.items():
        k = {r["longname"] + ".weight": r[column] for r in rows if r["status"] == "success"}
        path, _, layers = smooth(d, FILE, method=method, compat=compat)
        n = check(MODEL, os.path.join(path, FILE), layers, lambda name, x: k[name])
        skipped = {x["tensor"] for x in layers.values() if x.get("reason") == "nothing_to_do"}
        assert n + len(skipped) == LAYERS and n > 20
        assert all(k[name] in (0, 192) for name in skipped)


# --- shapes, dtypes ------------------------------------------------------------------------------


def odd_model(model):
    r = np.random.default_rng(7)
    os.makedirs(model)
    trap = r.standard_normal((60, 40)).astype(np.float32)
    trap[3, 5] = 400  # one large element: a spike wherever it is
    parts = {
        "model-00001-of-00002.safetensors": {
            "model.layers.0.self_attn.q_proj.weight": trap,
            "model.layers.0.self_attn.k_proj.weight": r.standard_normal((30, 70)),
            "model.layers.0.self_attn.v_proj.weight": (1e-3 * r.standard_normal((50, 20))).astype(
                np.float16),
            "model.layers.0.self_attn.o_proj.weight": np.zeros((20, 20), np.float32),
            "model.layers.0.self_attn.q_proj.bias": np.ones(60, np.float32),
            "model.layers.0.mlp.experts.gate_up_proj": r.standard_normal((3, 26, 31)).astype(
                np.float32)},
        "model-00002-of-00002.safetensors": {
            "features.0.weight": r.standard_normal((14, 12, 3, 3)).astype(np.float32),
            "model.embed_tokens.weight": r.standard_normal((20, 10)).astype(np.float32),
            "nan.weight": np.full((20, 12), np.nan, np.float32),
            "small.weight": r.standard_normal((20, 4)).astype(np.float32),
            "model.norm.weight": np.ones(10, np.float32)}}
    for shard, part in parts.items():
        write_safetensors(os.path.join(model, shard), part)
    with open(os.path.join(model, "model.safetensors.index.json"), "w") as f:
        json.dump({"weight_map": {k: s for s, part in parts.items() for k in part}}, f)
    with open(os.path.join(model, "config.json"), "w") as f:
        f.write('{"a":  1}\n')


def both(d, path):
    """Tensors of two shards, before and after."""
    old, new = {}, {}
    for name in os.listdir(os.path.join(d.root, "odd")):
        a, b = (os.path.join(x, name) for x in (os.path.join(d.root, "odd"), path))
        if not name.endswith(".safetensors"):
            assert open(a).read() == open(b).read()
            continue
        old |= tensors(a)[0]
        new |= tensors(b)[0]
    assert old.keys() == new.keys() and all(old[k][:2] == new[k][:2] for k in old)
    return old, new


@pytest.mark.parametrize("k", [10, -10])
def test_all_shapes(d, k):
    path, report, layers = smooth(d, "odd", method="svd", k=k)
    old, new = both(d, path)
    changed = {n for n in old if old[n][2] != new[n][2]}
    p = "model.layers.0.self_attn."
    stack, conv = "model.layers.0.mlp.experts.gate_up_proj", "features.0.weight"
    assert changed == {p + f"{x}_proj.weight" for x in "qkv"} | {stack, conv}
    for x in "qkv":
        name = p + f"{x}_proj.weight"
        as_stored(decode(*new[name]), truncate(decode(*old[name]), k), old[name][0])
    for before, after in zip(decode(*old[stack]), decode(*new[stack])):
        as_stored(after, truncate(before, k), "F32")
    a, b = decode(*old[conv]), decode(*new[conv])
    each = 2 if k > 0 else -2  # of ceil(10 / 9) in every slice
    for i, j in itertools.product(range(3), range(3)):
        as_stored(b[:, :, i, j], truncate(a[:, :, i, j], each), "F32")
    x = layers[conv]
    assert (x["slices"], x["k"], x["kept"]) == (9, 10, 18 if k > 0 else 90)
    assert math.isclose(x["relative_error_stored"], np.linalg.norm(a - b) / np.linalg.norm(a),
                        rel_tol=1e-9)
    assert layers[p + "o_proj.weight"]["reason"] == "zero_matrix"
    assert layers["nan.weight"]["reason"] == "non_finite"
    assert layers["small.weight"]["reason"] == "min_evals"
    assert report["n_smoothed"] == 7 and len(report["layers"]) == 11


def test_sharpness(d):
    path, _, layers = smooth(d, "odd", method="sharpness")
    old, new = both(d, path)
    q = "model.layers.0.self_attn.q_proj.weight"
    assert (layers[q]["action"], layers[q]["k"]) == ("remove", 1)
    as_stored(decode(*new[q]), truncate(decode(*old[q]), -1), "F32")
    again, _, same = smooth(d, "odd", method="sharpness")
    assert both(d, again)[1] == new and same == layers  # seeded by the weights


def test_without_a_fit_layers_stay(d):
    w = np.eye(20, dtype=np.float32)
    write_safetensors(os.path.join(d.root, "eye.safetensors"), {"a.weight": w})
    path, report, layers = smooth(d, "eye.safetensors", method="alpha_min")
    assert layers["a.weight"]["reason"] == "no_fit" and report["n_smoothed"] == 0
    assert tensors(os.path.join(path, "eye.safetensors"))[0]["a.weight"][2] == w.tobytes()


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("params,pointer", [
    (None, "/params"), ({}, "/params/method"), ({"method": "svg"}, "/params/method"),
    ({"method": "svd", "percent": 0}, "/params/percent"),
    ({"method": "svd", "percent": 1.5}, "/params/percent"),
    ({"method": "svd", "percent": "x"}, "/params/percent"),
    ({"method": "svd", "percent": 0.5, "k": 3}, "/params/k"),
    ({"method": "svd", "k": 0}, "/params/k"), ({"method": "svd", "k": 1.5}, "/params/k"),
    ({"method": "svd", "k": 10**8}, "/params/k"), ({"method": "detX", "k": 3}, "/params/k"),
    ({"method": "rmt", "percent": 0.5}, "/params/percent"),
    ({"method": "detX", "include": "("}, "/params/include"),
    ({"method": "detX", "layers": [{}]}, "/params/layers"),
    ({"method": "detX", "types": ["x"]}, "/params/types"),
    ({"method": "detX", "compat": "x"}, "/params/compat"),
    ({"method": "detX", "precision": "single"}, "/params/precision"),
    ({"method": "detX", "output": {"path": ".."}}, "/params/output/path"),
    ({"method": "detX", "output": {"path": "x", "format": "masks"}}, "/params/output/format")])
def test_refused(d, params, pointer):
    r = submit(d, FILE, params)
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#" + pointer, r.body


def test_failures(d):
    os.makedirs(os.path.join(d.out, "there"))
    r = submit(d, FILE, {"method": "detX", "output": {"path": "there"}})
    assert r.status == 409, r.body
    for params in ({"include": "^nothing$"}, {"types": ["conv2d"]}):
        r = submit(d, FILE, {"method": "detX", **params})
        job = d.wait_final(r.json["id"])
        assert job["state"] == "failed" and "no layer" in job["error"]["detail"], job


def test_cancel_leaves_nothing(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    with Daemon(str(tmp_path), "--output-root", out, workers=1) as d:
        big_model(d.root, shards=2)
        job = submit(d, "big", {"method": "svd", "output": {"path": "p"}}, wait=0).json["id"]
        for _ in range(4000):
            if d.get(f"/v1/jobs/{job}").json["progress"]["layers_done"] > 0:
                break
        d.request("POST", f"/v1/jobs/{job}:cancel")
        assert d.wait_final(job)["state"] == "cancelled"
        settles(out, [])


def test_ctl(d):
    run = lambda *args: run_ctl(f"127.0.0.1:{d.port}", *args)
    r = run("smooth", FILE, "--method", "svd", "--percent", "0.25", "--include", "q_proj", "--out",
            "ctl", "--label", "a=b")
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    assert "48 of   192" in lines[0] and lines[-2] == "4 layers were smoothed"
    assert lines[-1].startswith("art_") and lines[-1].endswith("/ctl")
    r = run("smooth", FILE, "--method", "svd", "--k", "-2", "--layers", "0", "--json")
    x = [x for x in json.loads(r.stdout)["layers"] if x["status"] == "smoothed"]
    assert [(y["name"], y["k"], y["action"]) for y in x] == [("lm_head", 2, "remove")]
    r = run("smooth", FILE, "--quiet")
    assert r.returncode == 0 and r.stdout.startswith("art_"), r.stderr
    assert run("smooth", FILE, "--method", "svd", "--k", "x").returncode == 1
    r = run("smooth", FILE, "--method", "svd", "--k", "0")
    assert r.returncode != 0 and "k" in r.stderr
