"""The main job: numbers, layers, cache."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from daemon import CTL, TOP, age, write_safetensors


def powerlaw(lam):
    """WeightWatcher's built-in fit, straight from its definition."""
    x = np.sort(lam[lam > 1e-5])
    m = len(x)
    L = np.log(x)
    best = None
    for i in range(m - 1):
        n = m - i
        a = 1 + n / (L[i:].sum() - n * L[i])
        d = np.max(np.abs(1 - (x[i:] / x[i]) ** (1 - a) - np.arange(n) / n))
        if best is None or d < best[1]:
            best = (a, d, x[i])
    return best


def check_row(row, mats, scale=1.0, rtol=1e-9):
    sv = [np.linalg.svd(np.asarray(w, dtype=np.float64), compute_uv=False) for w in mats]
    lam = np.sort(np.concatenate([s * s for s in sv])) * scale
    alpha, d, xmin = powerlaw(lam)
    assert row["status"] == "success", row
    for key, want in [("alpha", alpha), ("D", d), ("xmin", xmin), ("norm", lam.sum()),
                      ("spectral_norm", lam.max()), ("stable_rank", lam.sum() / lam.max()),
                      ("log_norm", np.log10(lam.sum())),
                      ("alpha_weighted", alpha * np.log10(lam.max()))]:
        assert row[key] == pytest.approx(want, rel=rtol), key
    n = max(mats[0].shape)
    rank = sum(int((s > s.max() * n * np.finfo(float).eps).sum()) for s in sv)
    assert row["matrix_rank"] == rank
    assert row["rank_loss"] == len(lam) - rank
    assert row["num_evals"] == len(lam)


def read_bf16(path):
    with open(path, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        head, data = json.loads(f.read(n)), f.read()
    out = {}
    for name, t in head.items():
        if name == "__metadata__":
            continue
        raw = np.frombuffer(data[slice(*t["data_offsets"])], dtype="<u2").astype("<u4") << 16
        out[name] = raw.view("<f4").reshape(t["shape"]).astype(np.float64)
    return out


def test_whole_model_against_numpy(daemon):
    job, rows = daemon.analyze("manlm.safetensors")
    tensors = read_bf16(os.path.join(TOP, "examples/manlm.safetensors"))
    assert job["cache"] == {"hits": 0, "misses": 30}
    assert len(rows) == len(tensors) == 39
    for name, w in tensors.items():
        row = rows[name[: -len(".weight")]]
        if w.ndim == 2:
            check_row(row, [w])
            assert row["shape"] == list(w.shape)
            assert row["error_bound"] > 0 and row["method"] and row["blas_core"]
        else:
            assert row["status"] == "skipped" and row["reason"] == "norm" and row["detail"]
    q = rows["model.layers.2.self_attn.q_proj"]
    assert (q["block"], q["role"], q["name"], q["layer_type"]) == ("model.layers.2", "q", "q_proj",
                                                                   "dense")
    assert rows["model.embed_tokens"]["layer_type"] == "embedding"
    assert rows["lm_head"]["role"] == "head"


def test_summary_is_the_mean_of_the_rows_it_names(daemon):
    job, rows = daemon.analyze("manlm.safetensors")
    s = daemon.get(f"/v1/analyses/{job['result']['analysis']}").json["summary"]
    good = [r for r in rows.values() if r["status"] == "success"]
    assert s["rows_averaged"] == len(good) == 30 and s["rows_skipped"] == 9
    for key in ("alpha", "log_norm", "alpha_weighted", "log_alpha_norm", "log_spectral_norm",
                "stable_rank"):
        assert s[key] == pytest.approx(np.mean([r[key] for r in good]), rel=1e-12)
        assert s["median"][key] == pytest.approx(np.median([r[key] for r in good]), rel=1e-12)


def test_conv_shapes_pool_kernel_positions(daemon):
    rng = np.random.default_rng(1)
    shapes = {"a": (32, 16, 3, 3), "b": (64, 32, 1, 1), "c": (8, 64, 5, 5), "d": (16, 32, 2, 2),
              "e": (3, 3, 16, 32)}
    t = {k + ".weight": rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    write_safetensors(os.path.join(daemon.root, "conv.safetensors"), t)
    _, rows = daemon.analyze("conv.safetensors")
    for k, s in shapes.items():
        w = t[k + ".weight"]
        if s[0] + s[1] >= s[2] + s[3]:
            mats = [w[:, :, i, j] for i in range(s[2]) for j in range(s[3])]
        else:
            mats = [w[i, j] for i in range(s[0]) for j in range(s[1])]
        check_row(rows[k], mats, scale=0.5)
        assert rows[k]["layer_type"] == "conv2d" and rows[k]["rf"] == len(mats)


def test_dtypes(daemon):
    rng = np.random.default_rng(2)
    w = rng.standard_normal((40, 24))
    t = {"f64.weight": w, "f32.weight": w.astype(np.float32), "f16.weight": w.astype(np.float16),
         "i32.weight": (w * 1000).astype(np.int32)}
    f32 = w.astype(np.float32)
    t["bf16.weight"] = (f32.view(np.uint32) >> 16).astype(np.uint16)
    path = os.path.join(daemon.root, "d.safetensors")
    write_safetensors(path, t, {"bf16.weight": "BF16"})
    _, rows = daemon.analyze("d.safetensors")
    assert rows["i32"]["status"] == "skipped" and rows["i32"]["reason"] == "dtype"
    for name in ("f64", "f32", "f16"):
        check_row(rows[name], [t[name + ".weight"]])
    check_row(rows["bf16"], [(t["bf16.weight"].astype(np.uint32) << 16).view(np.float32)])
    _, rows = daemon.analyze("d.safetensors", {"integers": True})
    check_row(rows["i32"], [t["i32.weight"]])
    assert "integer" in rows["i32"]["notes"]


def test_fp8(daemon):
    codes = np.random.default_rng(3).integers(0, 0x78, (48, 32)).astype(np.uint8)
    write_safetensors(os.path.join(daemon.root, "f8.safetensors"),
                      {"e4.weight": codes, "e5.weight": codes},
                      {"e4.weight": "F8_E4M3", "e5.weight": "F8_E5M2"})
    _, rows = daemon.analyze("f8.safetensors")

    def f8(c, ebits, mbits, bias):
        e, m = c >> mbits, c & ((1 << mbits) - 1)
        return np.where(e == 0, m / 2.0 ** mbits * 2.0 ** (1 - bias),
                        (1 + m / 2.0 ** mbits) * 2.0 ** (e.astype(float) - bias))
    check_row(rows["e4"], [f8(codes, 4, 3, 7)])
    check_row(rows["e5"], [f8(codes, 5, 2, 15)])


def test_experts_one_row_each(daemon):
    w = np.random.default_rng(4).standard_normal((3, 40, 20)).astype(np.float32)
    name = "model.layers.0.mlp.experts.gate_up_proj"
    write_safetensors(os.path.join(daemon.root, "moe.safetensors"),
                      {name: w, "model.layers.0.conv1d.weight": w[:, :1, :]})
    job, rows = daemon.analyze("moe.safetensors")
    for e in range(3):
        row = rows[f"{name}[{e}]"]
        check_row(row, [w[e]])
        assert row["role"] == "expert" and row["block"] == "model.layers.0"
    assert rows["model.layers.0.conv1d"]["reason"] == "rank"
    assert job["cache"]["misses"] == 3


def test_gpt2_conv1d_and_fused(daemon):
    w = np.random.default_rng(5).standard_normal((16, 48)).astype(np.float32)
    write_safetensors(os.path.join(daemon.root, "g.safetensors"), {
        "h.0.attn.c_attn.weight": w, "h.0.attn.c_attn.bias": w[0],
        "h.0.attn.bias": np.ones((1, 1, 8, 8), np.float32), "h.0.ln_1.weight": w[0]})
    _, rows = daemon.analyze("g.safetensors")
    row = rows["h.0.attn.c_attn"]
    check_row(row, [w])
    assert row["layer_type"] == "conv1d" and set(row["notes"]) == {"fused_qkv", "transposed"}
    assert rows["h.0.attn.bias"]["reason"] == "mask"
    assert rows["h.0.attn.c_attn.bias"]["reason"] == "bias"
    assert rows["h.0.ln_1"]["reason"] == "norm"


def test_non_finite_is_counted_never_fitted(daemon):
    w = np.random.default_rng(6).standard_normal((64, 32)).astype(np.float32)
    bad = w.copy()
    bad[3, 4], bad[5, 6], bad[7, 8] = np.nan, np.inf, -np.inf
    path = os.path.join(daemon.root, "n.safetensors")
    write_safetensors(path, {"bad.weight": bad, "good.weight": w})
    job, rows = daemon.analyze("n.safetensors")
    assert rows["bad"]["status"] == "failed" and rows["bad"]["reason"] == "non_finite"
    assert rows["bad"]["num_nonfinite"] == 3 and rows["bad"]["alpha"] is None
    check_row(rows["good"], [w])
    again, _ = daemon.analyze("n.safetensors")
    assert again["cache"]["misses"] == 0


def test_degenerate_matrices(daemon):
    r1 = np.outer(np.arange(1, 31), np.arange(1, 21)).astype(np.float64)
    t = {"zero.weight": np.zeros((30, 20)), "one.weight": r1, "eye.weight": np.eye(20),
         "tiny.weight": np.random.default_rng(0).standard_normal((30, 20)) * 1e-200,
         "huge.weight": np.random.default_rng(0).standard_normal((30, 20)) * 1e150}
    write_safetensors(os.path.join(daemon.root, "z.safetensors"), t)
    _, rows = daemon.analyze("z.safetensors")
    assert rows["zero"]["reason"] == "zero_matrix" and rows["zero"]["norm"] == 0
    assert rows["one"]["matrix_rank"] == 1 and rows["one"]["method"] == "tsqr_svd"
    assert rows["eye"]["reason"] == "alpha_infinite" and rows["eye"]["alpha"] is None
    assert rows["tiny"]["reason"] in ("too_few_eigenvalues", "zero_matrix")
    lam = np.linalg.svd(t["huge.weight"] * 1e-150, compute_uv=False) ** 2
    assert rows["huge"]["log_norm"] == pytest.approx(np.log10(lam.sum()) + 300, rel=1e-12)
    for row in rows.values():
        assert not any(isinstance(v, float) and not np.isfinite(v) for v in row.values())


def test_compat_quirks(daemon):
    w = np.random.default_rng(7).standard_normal((30, 20)) * 1e-4
    write_safetensors(os.path.join(daemon.root, "q.safetensors"),
                      {"small.weight": w, "naked": w, "large.weight": np.ones((50001, 12))})
    job, rows = daemon.analyze("q.safetensors", {"compat": "weightwatcher-0.7.5.5"})
    assert rows["small"]["alpha"] == -1 and rows["small"]["warning"] == "over-trained"
    assert rows["naked"]["reason"] == "compat" and rows["large"]["reason"] == "max_N"
    s = daemon.get(f"/v1/analyses/{job['result']['analysis']}").json["summary"]
    assert s["alpha"] == -1
    _, rows = daemon.analyze("q.safetensors")
    assert rows["small"]["alpha"] is None and rows["small"]["reason"] == "too_few_eigenvalues"
    assert rows["large"]["status"] != "skipped" and rows["naked"]["num_evals"] == 20


def test_single_precision_states_its_bound(daemon):
    _, double = daemon.analyze("manlm.safetensors")
    _, single = daemon.analyze("manlm.safetensors", {"precision": "single"})
    for name, row in single.items():
        if row["status"] != "success":
            continue
        assert row["precision"] == "single"
        assert abs(row["lambda_max"] - double[name]["lambda_max"]) <= row["error_bound"]


def test_filters(daemon):
    _, rows = daemon.analyze("manlm.safetensors", {"include": r"self_attn\.[qk]_proj$",
                                                   "exclude": "layers\\.0\\."})
    done = [n for n, r in rows.items() if r["status"] == "success"]
    assert len(done) == 6 and len(rows) == 39
    _, rows = daemon.analyze("manlm.safetensors", {"types": ["embedding"]})
    assert [n for n, r in rows.items() if r["status"] == "success"] == ["model.embed_tokens"]
    _, rows = daemon.analyze("manlm.safetensors", {"layers": ["lm_head"]})
    assert [n for n, r in rows.items() if r["status"] == "success"] == ["lm_head"]
    _, rows = daemon.analyze("manlm.safetensors", {"layers": [0, 1]})
    assert [r["layer_id"] for r in rows.values() if r["status"] == "success"] == [0, 1]
    _, rows = daemon.analyze("manlm.safetensors", {"max_N": 300.0, "min_evals": 192})
    assert rows["model.layers.0.mlp.up_proj"]["reason"] == "max_N"


@pytest.mark.parametrize("field,value,says", [
    ("include", "(", "regular expression"), ("exclude", "a{9999}", "repetitions"),
    ("include", "(a)\\1", "back-references"), ("include", "x" * 1025, "1024"),
    ("layers", list(range(10001)), "10000"), ("layers", [-1], "layer ids"),
    ("types", ["lstm"], "dense"), ("precision", "half", "single"), ("min_evals", -1, "integer"),
    ("min_evals", 0.5, "integer"), ("max_N", 2 ** 53, "2^53"), ("layers", ["x" * 4097], "4096"),
    ("max_evals", 3, "below min_evals"), ("compat", "weightwatcher-0.1", "0.7.5.5")])
def test_bad_parameters_are_refused_at_once(refusing, field, value, says):
    r = refusing.submit("manlm.safetensors", {field: value}, wait=0)
    assert r.status == 400 and r.headers["Content-Type"].startswith("application/problem+json")
    assert says in json.dumps(r.json) and f"/params/{field}" in json.dumps(r.json)
    assert refusing.get("/v1/jobs").json["jobs"] == []


def test_cache_is_by_content(daemon):
    src = os.path.join(daemon.root, "manlm.safetensors")
    daemon.analyze("manlm.safetensors")
    shutil.copy(src, os.path.join(daemon.root, "copy.safetensors"))
    job, _ = daemon.analyze("copy.safetensors")
    assert job["cache"] == {"hits": 30, "misses": 0}
    job, _ = daemon.analyze("copy.safetensors", {"compat": "weightwatcher-0.7.5.5"})
    assert job["cache"]["misses"] == 0, "another fit needs no eigen-solve"
    data = bytearray(open(src, "rb").read())
    data[-1000] ^= 1
    open(os.path.join(daemon.root, "flip.safetensors"), "wb").write(data)
    job, _ = daemon.analyze("flip.safetensors")
    assert job["cache"] == {"hits": 29, "misses": 1}


def test_born_finished(daemon):
    age(os.path.join(daemon.root, "manlm.safetensors"))
    daemon.analyze("manlm.safetensors")
    r = daemon.submit("manlm.safetensors", wait=0)
    if r.status == 202:  # ctime lay within two seconds of the first hashing
        import time
        time.sleep(2.5)
        daemon.analyze("manlm.safetensors")
        r = daemon.submit("manlm.safetensors", wait=0)
    assert r.status == 200 and r.json["state"] == "succeeded"
    assert "hit" in r.headers["Cache-Status"]


def test_tied_tensors_are_solved_once(daemon):
    w = np.random.default_rng(8).standard_normal((40, 30)).astype(np.float32)
    write_safetensors(os.path.join(daemon.root, "t.safetensors"), {"a.weight": w, "b.weight": w})
    job, rows = daemon.analyze("t.safetensors")
    assert job["cache"]["misses"] == 1
    assert rows["a"]["alpha"] == rows["b"]["alpha"] and job["progress"]["layers_done"] == 2


def test_any_number_of_workers_gives_the_same_bits(tmp_path):
    from daemon import Daemon
    got = []
    for n in (1, 3):
        d = Daemon(str(tmp_path / str(n)), root=os.path.join(TOP, "examples"), workers=n)
        with d:
            got.append(d.analyze("manlm.safetensors")[1])
    assert got[0] == got[1]


def test_hugging_face_directory(daemon):
    rng = np.random.default_rng(9)
    d = os.path.join(daemon.root, "hf")
    os.makedirs(d)
    a, b = rng.standard_normal((2, 30, 20)).astype(np.float32)
    write_safetensors(d + "/model-00001-of-00002.safetensors", {"h.0.mlp.c_fc.weight": a})
    write_safetensors(d + "/model-00002-of-00002.safetensors", {"h.1.mlp.c_fc.weight": b})
    json.dump({"model_type": "gpt2"}, open(d + "/config.json", "w"))
    index = {"metadata": {}, "weight_map": {
        "h.0.mlp.c_fc.weight": "model-00001-of-00002.safetensors",
        "h.1.mlp.c_fc.weight": "model-00002-of-00002.safetensors"}}
    json.dump(index, open(d + "/model.safetensors.index.json", "w"))
    job, rows = daemon.analyze("hf")
    check_row(rows["h.0.mlp.c_fc"], [a])
    check_row(rows["h.1.mlp.c_fc"], [b])
    assert rows["h.0.mlp.c_fc"]["layer_type"] == "conv1d"
    assert daemon.get("/v1/models/" + job["result"]["model"]).json["model_type"] == "gpt2"
    # The same tensors in one file are the same model.
    write_safetensors(os.path.join(daemon.root, "one.safetensors"),
                      {"h.0.mlp.c_fc.weight": a, "h.1.mlp.c_fc.weight": b})
    assert daemon.analyze("one.safetensors")[0]["result"]["model"] == job["result"]["model"]
    os.unlink(d + "/model-00002-of-00002.safetensors")
    r = daemon.submit("hf")
    assert r.json["state"] == "failed" and "missing" in r.json["error"]["detail"]
    index["weight_map"]["x"] = "../one.safetensors"
    json.dump(index, open(d + "/model.safetensors.index.json", "w"))
    r = daemon.submit("hf")
    assert r.json["state"] == "failed" and "unsafe" in r.json["error"]["detail"]


def test_hub_cache_links(tmp_path):
    from daemon import Daemon
    cache = tmp_path / "hub"
    repo = cache / "models--org--m"
    snap = repo / "snapshots" / "abc"
    snap.mkdir(parents=True)
    (repo / "blobs").mkdir()
    w = np.random.default_rng(10).standard_normal((30, 20)).astype(np.float32)
    write_safetensors(str(repo / "blobs" / "1234"), {"w.weight": w})
    (snap / "model.safetensors").symlink_to("../../blobs/1234")
    with Daemon(str(tmp_path / "a"), root=str(cache)) as d:
        _, rows = d.analyze("models--org--m/snapshots/abc")
        check_row(rows["w"], [w])
    with Daemon(str(tmp_path / "b"), root=str(snap)) as d:
        r = d.submit(".")
        assert r.status == 403 and "cache folder" in r.json["detail"]


def test_command_line(daemon):
    env = dict(os.environ, SPECTRALCTL_SERVER=f"http://127.0.0.1:{daemon.port}")
    run = lambda *a: subprocess.run([CTL, *a], capture_output=True, text=True, env=env, timeout=120)
    r = run("analyze", os.path.join(daemon.root, "manlm.safetensors"))
    assert r.returncode == 0 and "model.layers.3.mlp.up_proj" in r.stdout, r.stderr
    assert "30 rows averaged" in r.stdout and "under-trained" in r.stdout
    r = run("analyze", "manlm.safetensors", "--json")
    assert len(json.loads(r.stdout)["layers"]) == 39
    r = run("analyze", "manlm.safetensors", "--detach")
    job = r.stdout.strip()
    assert job.startswith("job_")
    assert "state    " in run("show", job).stdout
    assert job in run("jobs").stdout
    r = run("analyze", "nothing.safetensors")
    assert r.returncode == 2 and "/source/path" in r.stderr
    assert run("frobnicate").returncode == 1
    assert run("analyze", "--help").returncode == 0
    assert run("cancel", "job_00000000000000000000000000").returncode == 2
    daemon.wait_final(job)
    assert run("rm", job).returncode == 0 and run("show", job).returncode == 2
