"""Plans that look at the weights: one threshold on |w|, or on the scores of LAMP."""

import json
import os
import sqlite3
import subprocess
import time

import numpy as np
import pytest

from daemon import CTL, Daemon, write_safetensors

TARGETS = (0.05, 0.3, 0.5, 0.7, 0.93)


@pytest.fixture(scope="module")
def d(refusing):
    return refusing


# --- models -----------------------------------------------------------------------------------


def bf16(a):
    """What is stored, and its values."""
    bits = a.astype(np.float32).view(np.uint32)
    bits = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def shapes():
    """Two blocks like those of a language model, of different scale and size."""
    for block in range(2):
        for k, (name, shape) in enumerate((("self_attn.q_proj", (48, 48)),
                                           ("self_attn.v_proj", (24, 48)),
                                           ("mlp.up_proj", (96, 48)),
                                           ("mlp.down_proj", (48, 96)))):
            yield f"model.layers.{block}.{name}", shape, 0.02 * (1 + block) * (1 + 0.5 * k)


def make_model(path, dtype, seed=1):
    """The values of the matrices by longname."""
    rng = np.random.default_rng(seed)
    stored, values, names = {}, {}, {}
    for name, shape, scale in shapes():
        a = rng.standard_normal(shape) * scale
        kind = dtype if isinstance(dtype, str) else dtype[len(values) % len(dtype)]
        if kind == "BF16":
            raw, value = bf16(a)
        else:
            raw = value = a.astype({"F16": np.float16, "F32": np.float32, "F64": np.float64}[kind])
        stored[name + ".weight"], values[name] = raw, value.astype(np.float64)
        names[name + ".weight"] = kind
    raw, _ = bf16(rng.standard_normal((64, 48)))
    stored["model.embed_tokens.weight"] = raw
    names["model.embed_tokens.weight"] = "BF16"
    write_safetensors(path, stored, names)
    return values


def model(d, name, dtype, seed=1):
    path = os.path.join(d.root, name)
    values = make_model(path, dtype, seed)
    job, _ = d.analyze(name)
    return job["result"]["analysis"], values


# --- the same with all weights sorted ---------------------------------------------------------


def scores(values, method):
    out = {}
    for name, a in values.items():
        w = np.sort(np.abs(a).ravel())
        if method == "lamp":
            square = w * w
            rest = np.cumsum(square[::-1])[::-1]
            w = np.divide(square, rest, out=np.zeros_like(rest), where=square > 0)
        out[name] = w
    return out


def brute(values, method, target, low=0.0, high=0.99):
    s = scores(values, method)
    size = {name: len(x) for name, x in s.items()}
    goal = target * sum(size.values())

    def shares(t, theta):
        out = {}
        for name, x in s.items():
            below, upto = np.searchsorted(x, t), np.searchsorted(x, t, side="right")
            out[name] = min(max((below + theta * (upto - below)) / size[name], low), high)
        return out

    def total(t, theta):
        return sum(size[n] * x for n, x in shares(t, theta).items())

    candidates = np.unique(np.concatenate(list(s.values())))
    left, right = 0, len(candidates)
    while right - left > 1:
        middle = (left + right) // 2
        left, right = (middle, right) if total(candidates[middle], 0) <= goal else (left, middle)
    a, b = 0.0, 1.0
    for _ in range(100):
        middle = (a + b) / 2
        a, b = (middle, b) if total(candidates[left], middle) <= goal else (a, middle)
    return shares(candidates[left], a), candidates[left]


def check(p, values, method, target, **limits):
    want, threshold = brute(values, method, target, **limits)
    assert {t["name"] for t in p["tensors"]} == set(values)
    got = {t["name"]: t["sparsity"] for t in p["tensors"]}
    for name in want:
        assert abs(got[name] - want[name]) < 1e-9, (name, got[name], want[name])
    assert p["params"]["threshold"] == pytest.approx(threshold, rel=1e-12)
    pruned = sum(t["params"] * t["sparsity"] for t in p["tensors"])
    assert abs(pruned / p["n_params"] - target) < 1e-9
    assert p["metric"] is None and p["feasible"] is True


def post(d, **body):
    return d.request("POST", "/v1/plans", body)


# --- tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("method", ["global_magnitude", "lamp"])
def test_sixteen_bits_at_once(d, dtype, method):
    analysis, values = model(d, f"weights_{dtype}.safetensors", dtype)
    for target in TARGETS:
        r = post(d, analysis=analysis, method=method, sparsity=target)
        assert r.status == 200, r.body
        check(r.json, values, method, target)
        again = d.get(f"/v1/plans/{r.json['id']}")
        assert again.status == 200 and again.body == r.body


@pytest.mark.parametrize("method", ["global_magnitude", "lamp"])
def test_limits_and_exclusion(d, method):
    analysis, values = model(d, "weights_BF16.safetensors", "BF16")
    r = post(d, analysis=analysis, method=method, sparsity=0.6, limits={"min": 0.5, "max": 0.65})
    assert r.status == 200, r.body
    check(r.json, values, method, 0.6, low=0.5, high=0.65)
    assert {t["limit"] for t in r.json["tensors"]} >= {"min"}
    r = post(d, analysis=analysis, method=method, sparsity=0.6, exclude="q_proj")
    check(r.json, {n: v for n, v in values.items() if "q_proj" not in n}, method, 0.6)
    r = post(d, analysis=analysis, method=method, sparsity=0.6, limits={"max": 0.5})
    assert r.status == 422 and r.json["errors"][0]["pointer"] == "#/sparsity", r.body
    r = post(d, analysis=analysis, method=method, sparsity=0.5, m=4)
    assert r.status == 200 and all(t["pruned_of_m"] <= 4 for t in r.json["tensors"])


def test_what_weights_are_not(d):
    analysis, _ = model(d, "weights_BF16.safetensors", "BF16")
    r = post(d, method="lamp", sparsity=0.5, metrics={"a": {"params": 4}})
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/metrics", r.body
    r = post(d, method="lamp", sparsity=0.5, analysis=analysis, epsilon=0.1)
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/epsilon", r.body


def test_weights_that_are_not_finite(d):
    rng = np.random.default_rng(3)
    stored, values = {}, {}
    for i in range(3):
        raw, values[f"model.layers.{i}.mlp.up_proj"] = bf16(rng.standard_normal((20, 30)))
        stored[f"model.layers.{i}.mlp.up_proj.weight"] = raw
    stored["model.layers.1.mlp.up_proj.weight"][3, 4] = 0x7FC0
    write_safetensors(os.path.join(d.root, "nan.safetensors"), stored, {n: "BF16" for n in stored})
    job, _ = d.analyze("nan.safetensors")
    r = post(d, analysis=job["result"]["analysis"], method="lamp", sparsity=0.6)
    assert r.status == 200, r.body
    assert "no_weights" in [w["code"] for w in r.json["warnings"]]
    got = {t["name"]: t["sparsity"] for t in r.json["tensors"]}
    assert got.pop("model.layers.1.mlp.up_proj") == 0.6
    del values["model.layers.1.mlp.up_proj"]
    want, _ = brute(values, "lamp", 0.6)
    for name, x in got.items():
        assert abs(x - want[name]) < 1e-9


def compare(d, analysis, *methods, sparsity=0.5):
    return d.request("POST", "/v1/plans:compare", {"analysis": analysis, "sparsity": sparsity,
                                                   "plans": [{"method": m} for m in methods]})


def test_compared_with_others(d):
    """Where what they know of the weights is cached."""
    methods = ["lamp", "uniform", "global_magnitude", "lamp"]
    analysis, _ = model(d, "weights_BF16.safetensors", "BF16")
    c = compare(d, analysis, *methods).json
    assert [p["name"] for p in c["plans"]] == ["lamp", "uniform", "global_magnitude", "lamp (2)"]
    for i, (p, method) in enumerate(zip(c["plans"], methods)):
        alone = post(d, analysis=analysis, method=method, sparsity=0.5).json
        assert p["id"] == alone["id"]
        assert d.get(f"/v1/plans/{p['id']}").json == alone
        assert [b["sparsity"][i] for b in c["blocks"]] == [b["sparsity"] for b in alone["blocks"]]
    sent = d.request("POST", "/v1/plans:compare", {
        "sparsity": 0.5, "metrics": {"model.layers.0.q_proj": {"alpha_mid": 3, "shape": [8, 8]}},
        "plans": [{"method": "uniform"}, {"method": "lamp"}]})
    assert sent.status == 400 and sent.json["errors"][0]["pointer"] == "#/metrics", sent.body


def test_compared_when_they_were_read(d):
    analysis, _ = model(d, "weights_compared.safetensors", "F32", seed=12)
    r = compare(d, analysis, "uniform", "global_magnitude", sparsity=0.3)
    assert r.status == 410 and r.json["errors"][0]["pointer"] == "#/plans/1", r.body
    want = wait_plan(d, post(d, analysis=analysis, method="global_magnitude", sparsity=0.3)).json
    c = compare(d, analysis, "uniform", "global_magnitude", sparsity=0.3).json
    assert [b["sparsity"][1] for b in c["blocks"]] == [b["sparsity"] for b in want["blocks"]]


# --- weights that have to be read -------------------------------------------------------------


def wait_plan(d, r):
    """The plan of a job that a plan was answered with."""
    assert r.status == 202, r.body
    assert r.json["kind"] == "plan" and r.headers["Location"] == f"/v1/jobs/{r.json['id']}"
    job = d.wait_final(r.json["id"])
    assert job["state"] == "succeeded", job
    assert job["cache"]["misses"] == 0
    got = d.get(f"/v1/plans/{job['result']['plan']}")
    assert got.status == 200, got.body
    return got


KINDS = {"f32": "F32", "f64": "F64", "mixed": ("BF16", "F32", "F16", "F64")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["global_magnitude", "lamp"])
def test_wide_weights_are_read_once(d, kind, method):
    analysis, values = model(d, f"weights_{kind}_{method}.safetensors", KINDS[kind],
                             seed=len(method + kind) * (1 + len(kind)))
    for target in TARGETS:
        first = post(d, analysis=analysis, method=method, sparsity=target)
        if target == TARGETS[0] or first.status != 200:  # else the bins were refined before
            first = wait_plan(d, first)
        check(first.json, values, method, target)
        assert first.json["analysis"] == analysis
        again = post(d, analysis=analysis, method=method, sparsity=target)
        assert again.status == 200, again.body
        assert again.body == first.body
    # The preference of the client is that of any job.
    r = d.request("POST", "/v1/plans", {"analysis": analysis, "method": method, "sparsity": 0.61},
                  {"Prefer": "wait=30"})
    assert r.status == 200, r.body
    check(r.json, values, method, 0.61)
    assert 'rel="via"' in r.headers["Link"]
    assert r.headers["Preference-Applied"] == "wait=30"


@pytest.mark.parametrize("method", ["global_magnitude", "lamp"])
def test_of_a_source(d, method):
    path = f"weights_source_{method}.safetensors"
    values = make_model(os.path.join(d.root, path), ("BF16", "F32"), seed=9)
    r = post(d, source={"path": path}, method=method, sparsity=0.6)
    first = wait_plan(d, r)
    check(first.json, values, method, 0.6)
    assert first.json["analysis"] is None
    # Digests of a file that is no longer new are remembered; then the job is born finished.
    time.sleep(2.1)
    wait_plan(d, post(d, source={"path": path}, method=method, sparsity=0.6))
    again = post(d, source={"path": path}, method=method, sparsity=0.6)
    assert again.status == 200 and again.body == first.body
    # Other weights of the same names and shapes are another plan.
    make_model(os.path.join(d.root, path), ("BF16", "F32"), seed=10)
    other = wait_plan(d, post(d, source={"path": path}, method=method, sparsity=0.6))
    assert other.json["id"] != first.json["id"]


def test_histograms_of_weights_hashed_before(tmp_path):
    """A file whose digests are known by its identity, but whose histograms are gone."""
    with Daemon(str(tmp_path)) as d:
        histograms_are_made_again(d)


def histograms_are_made_again(d):
    analysis, values = model(d, "weights_BF16.safetensors", "BF16")
    want = post(d, analysis=analysis, method="lamp", sparsity=0.55)
    d.stop()
    cache = sqlite3.connect(os.path.join(d.state, "cache.db"))
    n = cache.execute("DELETE FROM results WHERE kind=4").rowcount
    cache.commit()
    cache.close()
    assert n == len(values) + 1
    d.start()
    gone = d.get(f"/v1/plans/{want.json['id']}")
    assert gone.status == 410, gone.body
    got = wait_plan(d, post(d, analysis=analysis, method="lamp", sparsity=0.55))
    assert got.json["tensors"] == want.json["tensors"]


def test_weights_that_have_changed(d):
    path = os.path.join(d.root, "weights_changing.safetensors")
    analysis, _ = model(d, "weights_changing.safetensors", "F32", seed=3)
    make_model(path, "F32", seed=4)
    r = post(d, analysis=analysis, method="lamp", sparsity=0.5)
    assert r.status == 202, r.body
    job = d.wait_final(r.json["id"])
    assert job["state"] == "failed" and "no longer those" in job["error"]["detail"], job


def test_a_job_by_itself(d):
    analysis, values = model(d, "weights_F16.safetensors", "F16")
    for params, pointer in (({"method": "uniform", "analysis": analysis}, "analysis"),
                            ({"method": "lamp", "metrics": {}}, "metrics"),
                            ({"method": "lamp", "analysis": "x"}, "analysis")):
        r = d.request("POST", "/v1/jobs", {"kind": "plan", "source": {"path": "x"},
                                           "params": dict(params, sparsity=0.5)})
        assert r.status == 400, r.body
        assert r.json["errors"][0]["pointer"] == "#/params/" + pointer, r.body
    r = d.request("POST", "/v1/jobs", {
        "kind": "plan", "source": {"path": "weights_F16.safetensors"},
        "params": {"method": "lamp", "sparsity": 0.5, "limits": {"max": 0.4}}}, {"Prefer": "wait=30"})
    job = d.wait_final(r.json["id"])
    assert job["state"] == "failed" and "0.4" in job["error"]["detail"], job


def test_on_the_command_line(d):
    """The first time a job reads the weights; it is followed."""
    analysis, values = model(d, "weights_cli.safetensors", "F32", seed=99)
    for _ in range(2):
        done = subprocess.run([CTL, "--server", f"http://127.0.0.1:{d.port}", "plan", analysis,
                               "--sparsity", "0.7", "--method", "lamp", "--json"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        check(json.loads(done.stdout), values, "lamp", 0.7)


def test_killed_while_weights_are_read(tmp_path):
    with Daemon(str(tmp_path)) as d:
        rng = np.random.default_rng(5)
        name = "model.layers.0.mlp.up_proj"
        values = {f"{name}{i}": rng.standard_normal((600, 700), dtype=np.float32)
                  for i in range(6)}
        write_safetensors(os.path.join(d.root, "large.safetensors"), values)
        r = post(d, source={"path": "large.safetensors"}, method="lamp", sparsity=0.6)
        assert r.status == 202, r.body
        d.kill()
        d.start()
        job = d.wait_final(r.json["id"])
        assert job["state"] == "succeeded", job
        first = d.get(f"/v1/plans/{job['result']['plan']}")
        check(first.json, {n: v.astype(np.float64) for n, v in values.items()}, "lamp", 0.6)
