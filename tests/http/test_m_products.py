"""Rows that are products of neighbouring matrices."""

import os
import subprocess

import numpy as np
import pytest

from daemon import CTL, Daemon, age, write_safetensors

COMPAT = "weightwatcher-0.7.5.5"
SHAPES = {"a": (60, 40), "b": (40, 30), "c": (50, 30), "d": (50, 50), "e": (20, 50), "f": (90, 20),
          "g": (90, 20), "h": (33, 44)}
# which dimension of either is summed over
SHARED = {"a X b": (1, 0), "b X c": (1, 1), "c X d": (0, 0), "d X e": (1, 1), "e X f": (0, 1),
          "f X g": (0, 0)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("products")
    root = os.path.join(tmp, "models")
    os.mkdir(root)
    rng = np.random.default_rng(2)
    w = {n: rng.standard_t(3, s).astype("<f4") for n, s in SHAPES.items()}
    tensors = {f"{n}.weight": a for n, a in w.items()}
    tensors["d.bias"] = np.ones(50, "<f4")
    write_safetensors(os.path.join(root, "model.safetensors"), tensors)
    conv = rng.standard_normal((40, 60, 3, 3)).astype("<f4")
    write_safetensors(os.path.join(root, "mixed.safetensors"), {
        "a.weight": w["a"], "b.weight": conv, "c.experts.up_proj": np.ones((2, 60, 40), "<f4"),
        "d.weight": w["a"] * 0, "e.weight": w["a"] * np.float32(np.nan),
        "f.weight": w["a"], "g.weight": w["b"]})
    for name in os.listdir(root):
        age(os.path.join(root, name))
    with Daemon(tmp, root=root) as d:
        d.w = {n: a.astype(float) for n, a in w.items()}
        d.conv = conv.astype(float)
        yield d


def product(w, pair):
    x, y = (w[n] for n in pair.split(" X "))
    i, j = SHARED[pair]
    return np.tensordot(x, y, (i, j)) / np.linalg.norm(x) / np.linalg.norm(y)


def squares(w, n):
    return np.sort(np.linalg.svd(w, compute_uv=False) ** 2)[-n:]


def evals_of(d, job, layer):
    path = f"/v1/analyses/{job['result']['analysis']}/layers/{layer.replace(' ', '%20')}/esd"
    return np.array(d.get(path).json["evals"])


def test_products(server):
    plain, before = server.analyze("model.safetensors")
    job, rows = server.analyze("model.safetensors", {"products": True})
    assert job["params"]["products"] == "plain" and plain["params"]["products"] is False
    assert job["cache"]["misses"] == len(SHARED)
    assert {n for n in rows if " X " in n} == set(SHARED)
    ids = {n: r["layer_id"] for n, r in rows.items()}
    for pair in SHARED:
        row, x = rows[pair], product(server.w, pair)
        n = min(*SHAPES[pair[0]], *SHAPES[pair[-1]])
        want = squares(x, n)
        np.testing.assert_allclose(evals_of(server, job, pair), want, rtol=1e-9, atol=1e-17)
        assert row["operation"] == "product" and row["num_evals"] == n
        assert row["shape"] == list(x.shape)
        assert row["name"] == f"{ids[pair[0]]} X {ids[pair[-1]]}"
        assert row["norm"] == pytest.approx(want.sum(), rel=1e-9)
        assert row["weight_mean"] is None and row["block"] == "" and row["layer_type"] == "other"
    for n, r in before.items():
        same = dict(rows[n])
        assert same.pop("operation") == (None if r["status"] == "skipped" else "tensor")
        assert same == r


def test_the_summary_is_the_models(server):
    plain, _ = server.analyze("model.safetensors")
    job, _ = server.analyze("model.safetensors", {"products": True})
    a, b = (server.get(f"/v1/analyses/{j['result']['analysis']}").json["summary"]
            for j in (plain, job))
    assert b.pop("rows_of_products") == len(SHARED) and a == b


def test_sparse_is_seeded(server):
    job, rows = server.analyze("model.safetensors", {"products": "sparse"})
    _, plain = server.analyze("model.safetensors", {"products": "plain"})
    pair = "f X g"
    assert rows[pair]["digest"] != plain[pair]["digest"]
    assert rows[pair]["alpha"] != plain[pair]["alpha"]
    # zeros and ones have mean one half: one large singular value, of the sums of both
    x, y = server.w["f"], server.w["g"]
    n = x.shape[0]
    norm = np.linalg.norm(x) * np.linalg.norm(y) + (n * n / 2) ** 0.25
    rank_one = np.linalg.norm(x.sum(0)) * np.linalg.norm(y.sum(0)) / 2 / norm
    noise = np.linalg.norm(x, 2) * np.linalg.norm(y, 2) * 0.5 * 2 * n ** 0.5 / norm
    assert abs(rows[pair]["sv_max"] - rank_one) < noise
    again, same = server.analyze("model.safetensors", {"products": "sparse", "include": "^[fg]$"})
    assert again["cache"]["misses"] == 0 and same[pair]["sv_max"] == rows[pair]["sv_max"]


def test_which_rows_are_factors(server):
    """Only what is analysed, and is a matrix of its own."""
    job, rows = server.analyze("mixed.safetensors", {"products": True})
    assert {n for n in rows if " X " in n} == {"a X d", "d X e", "e X f", "f X g"}
    assert (rows["a X d"]["reason"], rows["d X e"]["reason"]) == ("numeric", "non_finite")
    assert rows["e X f"]["num_nonfinite"] == server.w["a"].size
    assert rows["f X g"]["status"] == "success"
    _, rows = server.analyze("model.safetensors", {"products": True, "exclude": "^[bd]$"})
    assert {n for n in rows if " X " in n} == {"c X e", "e X f", "f X g"}


def test_as_upstream(server):
    """Singular values, and the first slice of a convolution."""
    job, rows = server.analyze("mixed.safetensors", {"products": "plain", "compat": COMPAT,
                                                     "include": "^[abfg]$"})
    assert {n for n in rows if " X " in n} == {"a X b", "b X f", "f X g"}
    x, y = server.w["a"], server.conv[:, :, 0, 0]
    want = np.linalg.svd(x.T @ y.T, compute_uv=False) / np.linalg.norm(x) / np.linalg.norm(y)
    want /= 2 ** 0.5  # the factor of a convolution
    np.testing.assert_allclose(evals_of(server, job, "a X b"), np.sort(want), rtol=1e-8)
    job, _ = server.analyze("mixed.safetensors", {"products": True, "compat": COMPAT})
    assert job["params"]["products"] == "sparse"


def test_measures(server):
    job, rows = server.analyze("model.safetensors", {
        "products": True, "mp_fit": True, "randomize": True, "erg": True,
        "farms": {"rows": 10, "windows": 2}})
    assert sorted(rows["f X g"]["not_measured"]) == ["mp_fit: product", "phase: product",
                                                    "randomize: product"]
    assert rows["f X g"]["detX_num"] > 0 and rows["f X g"]["farms_reason"] == "product"
    assert rows["f"]["not_measured"] == [] and rows["f"]["farms_reason"] is None


def test_pictures(server):
    job, rows = server.analyze("model.safetensors", {"products": True})
    plain, _ = server.analyze("model.safetensors")
    path = f"/v1/analyses/{job['result']['analysis']}"
    layer = f"{path}/layers/{rows['f X g']['layer_id']}/plot.svg?kind="
    assert server.get(layer + "esd").status == 200 and server.get(layer + "mp").status == 404
    for kind in ("alpha_depth", "alpha_hist"):  # of the layers
        assert server.get(f"{path}/plot.svg?kind={kind}").body == server.get(
            f"/v1/analyses/{plain['result']['analysis']}/plot.svg?kind={kind}").body


def test_plans_are_of_the_tensors(server):
    job, _ = server.analyze("model.safetensors", {"products": True})
    plan = server.request("POST", "/v1/plans", {
        "analysis": job["result"]["analysis"], "method": "uniform", "sparsity": 0.5}).json
    assert {t["name"] for t in plan["tensors"]} == {n for n in SHAPES}


@pytest.mark.parametrize("params", [{"products": "dense"}, {"products": 1}, {"products": {}},
                                    {"products": True, "base": {"path": "mixed.safetensors"}}])
def test_what_is_refused(server, params):
    r = server.submit("model.safetensors", params)
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/products"


def test_other_jobs_have_none(server):
    r = server.request("POST", "/v1/jobs", {
        "kind": "plan", "source": {"path": "model.safetensors"},
        "params": {"sparsity": 0.5, "analyze": {"products": True}}})
    assert r.status == 400 and r.json["errors"][0]["pointer"] == "#/params/analyze/products"


def test_command_line(server):
    env = dict(os.environ, SPECTRALCTL_SERVER=f"http://127.0.0.1:{server.port}")
    out = subprocess.run([CTL, "analyze", "model.safetensors", "--products", "plain", "--csv",
                          "--columns", "name,longname,operation"], env=env, capture_output=True,
                         text=True, check=True).stdout.splitlines()
    assert "0 X 1,a X b,product" in out
    job, _ = server.analyze("model.safetensors", {"products": True})
    plain, _ = server.analyze("model.safetensors")
    a, b = (subprocess.run([CTL, "report", j["result"]["analysis"]], env=env, capture_output=True,
                           text=True, check=True).stdout.splitlines()[3:] for j in (job, plain))
    assert a == b and any("alpha" in line for line in a)
