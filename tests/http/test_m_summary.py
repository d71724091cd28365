"""What the summary of an analysis says beyond means: each number again, from the rows."""

import itertools
import os
import shutil
from collections import Counter, defaultdict

import numpy as np
import pytest

from daemon import TOP, Daemon, age, write_safetensors

OLD = {"log_norm", "alpha", "alpha_weighted", "log_alpha_norm", "log_spectral_norm", "stable_rank",
       "median", "rows_averaged", "rows_averaged_rule", "rows_total", "rows_success", "rows_failed",
       "rows_skipped", "skipped_by_reason", "under_trained", "over_trained", "params",
       "tensors_not_in_index"}
NEW = {"alpha_hat", "types", "correlation_flow", "scale_collapse", "out_of_line"}


def heavy(rng, n, m, exponent):
    """Singular values from a power law: alpha is about `exponent`."""
    u, _ = np.linalg.qr(rng.standard_normal((n, m)))
    v, _ = np.linalg.qr(rng.standard_normal((m, m)))
    q = (np.arange(m) + 0.5) / m
    return (u * np.sqrt(q ** (-1 / (exponent - 1)))) @ v.T


def blocks(rng):
    """Twelve blocks; the scale of one has collapsed, the exponent of another is far out."""
    t = {"model.embed_tokens.weight": heavy(rng, 90, 48, 2.2),
         "lm_head.weight": heavy(rng, 90, 48, 9.0)}
    for i in range(12):
        q = heavy(rng, 64, 48, 3.0 + 0.02 * i)
        t[f"model.layers.{i}.self_attn.q_proj.weight"] = q * (1e-4 if i == 5 else 1 + 0.05 * (i % 3))
        t[f"model.layers.{i}.mlp.up_proj.weight"] = heavy(rng, 80, 48, 12.0 if i == 7 else 2.5 + 0.01 * i)
        t[f"model.layers.{i}.input_layernorm.weight"] = np.ones(48)
    t["model.layers.3.mlp.down_proj.weight"] = np.zeros((48, 80))  # fails
    return {k: v.astype("<f4") for k, v in t.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("summary")
    root = os.path.join(tmp, "models")
    os.mkdir(root)
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), root)
    rng = np.random.default_rng(3)
    write_safetensors(os.path.join(root, "blocks.safetensors"), blocks(rng))
    write_safetensors(os.path.join(root, "plain.safetensors"),
                      {f"m{i:02}.weight": heavy(rng, 60, 40, 3 + 0.7 * i).astype("<f4")
                       for i in range(8)})
    long_names = {f"layer.{i}.up_proj.{'x' * 300}.weight": heavy(rng, 16, 12, 3).astype("<f4")
                  for i in range(200)}
    short_names = {f"layer.{i}.down_proj.weight": heavy(rng, 16, 12, 3).astype("<f4")
                   for i in range(200)}
    for t in (long_names, short_names):
        for name in list(t)[:50]:
            t[name] *= 1e-3
    write_safetensors(os.path.join(root, "many.safetensors"), {**long_names, **short_names})
    for name in os.listdir(root):
        age(os.path.join(root, name))
    with Daemon(tmp, root=root) as d:
        yield d


def summary(d, model, **params):
    job, rows = d.analyze(model, params)[:2]
    rows = sorted(rows.values(), key=lambda r: r["layer_id"])
    return d.get(f"/v1/analyses/{job['result']['analysis']}").json["summary"], rows


def good(rows):
    return [r for r in rows if r["status"] == "success"]


def near(x):
    return pytest.approx(x, rel=1e-9, abs=1e-12)


def robust_z(rows, column):
    """{layer_id: z} by type and role."""
    of = defaultdict(list)
    for r in rows:
        if r[column] is not None:
            of[r["layer_type"], r["role"]].append(r)
    z, median = {}, {}
    for members in of.values():
        x = np.array([r[column] for r in members])
        spread = 1.4826 * np.median(np.abs(x - np.median(x)))
        if spread == 0:
            spread = np.sqrt(np.pi / 2) * np.mean(np.abs(x - np.median(x)))
        if len(x) >= 5 and spread > 0:
            for r in members:
                z[r["layer_id"]] = (r[column] - np.median(x)) / spread
                median[r["layer_id"]] = np.median(x)
    return z, median


@pytest.mark.parametrize("model", ["manlm", "blocks", "plain"])
def test_members(server, model):
    s, rows = summary(server, f"{model}.safetensors")
    assert set(s) == OLD | NEW | {"phases"}
    ok = good(rows)
    assert s["alpha"] == near(np.mean([r["alpha"] for r in ok]))
    hat = [r["alpha"] * np.log10(r["lambda_max"]) for r in ok]
    over = [r["alpha"] * np.log10(r["lambda_max"] / r["N"]) for r in ok]
    assert s["alpha_hat"] == {"rows": len(ok), "mean": near(np.mean(hat)),
                              "mean_over_n": near(np.mean(over))}


@pytest.mark.parametrize("model", ["manlm", "blocks", "plain"])
def test_types(server, model):
    s, rows = summary(server, f"{model}.safetensors")
    of = defaultdict(list)
    for r in rows:
        if r["status"] != "skipped":
            of[r["layer_type"], r["role"]].append(r)
    assert len(of) == len(s["types"]) == len({(t["layer_type"], t["role"]) for t in s["types"]})
    for t in s["types"]:
        members = of[t["layer_type"], t["role"]]
        x = np.array([r["alpha"] for r in good(members)])
        assert t["rows"] == len(members) and t["rows_success"] == len(x)
        assert t["under_trained"] == sum(r["warning"] == "under-trained" for r in members)
        assert t["over_trained"] == sum(r["warning"] == "over-trained" for r in members)
        if len(x):
            assert t["alpha"] == {
                "mean": near(x.mean()), "median": near(np.median(x)), "min": x.min(),
                "max": x.max(), "spread": near(1.4826 * np.median(np.abs(x - np.median(x))))}
        else:
            assert set(t["alpha"].values()) == {None}
        scale = [r["log_spectral_norm"] for r in members if r["log_spectral_norm"] is not None]
        assert t["median_log_spectral_norm"] == (near(np.median(scale)) if scale else None)
    assert sum(t["rows_success"] for t in s["types"]) == s["rows_success"]


def longest(x, inside):
    """(length, index of the first) of the longest run; None does not end it."""
    best, now, first = (0, None), 0, None
    for i, v in enumerate(x):
        if v is None:
            continue
        now = now + 1 if inside(v) else 0
        first = i if now == 1 else first
        best = max(best, (now, first), key=lambda run: run[0])
    return best


@pytest.mark.parametrize("model,of", [("manlm", "blocks"), ("blocks", "blocks"), ("plain", "all")])
def test_correlation_flow(server, model, of):
    s, rows = summary(server, f"{model}.safetensors")
    f = s["correlation_flow"]
    along = [r for r in rows if r["status"] != "skipped" and
             (r["block"] if of == "blocks" else r["role"] not in ("embedding", "head"))]
    x = [r["alpha"] for r in along]
    t = np.array([i for i, v in enumerate(x) if v is not None])
    y = np.array([v for v in x if v is not None])
    third = (len(y) + 2) // 3
    pairs = list(itertools.combinations(range(len(y)), 2))
    signs = [np.sign(y[j] - y[i]) for i, j in pairs]
    ties = sum(v == 0 for v in signs)
    assert f["of"] == of and f["rows"] == len(y) >= 8
    assert f["slope"] == near(np.polyfit(t, y, 1)[0])
    assert f["theil_sen"] == near(np.median([(y[j] - y[i]) / (t[j] - t[i]) for i, j in pairs]))
    assert f["tau"] == near(sum(signs) / np.sqrt(len(pairs) * (len(pairs) - ties)))
    assert f["first_third"] == near(np.median(y[:third]))
    assert f["last_third"] == near(np.median(y[-third:]))
    assert f["roughness"] == near(np.median(np.abs(np.diff(y))))
    for key, inside in (("longest_above", lambda v: v > 6), ("longest_below", lambda v: v < 2)):
        n, first = longest(x, inside)
        assert f[key] == {"rows": n, "first": along[first]["longname"] if n else None}
    if model == "plain":
        assert f["slope"] > 0.3 and f["longest_above"]["rows"] >= 2


def check_standing_out(told, rows, z, column, want):
    want = sorted(want, key=lambda i: (-abs(z[i]), i))
    assert told["rows"] == len(want)
    assert [x["layer_id"] for x in told["layers"]] == want[:len(told["layers"])]
    for x in told["layers"]:
        row = rows[x["layer_id"]]
        assert x["longname"] == row["longname"] and x["value"] == row[column]
        assert x["z"] == near(z[x["layer_id"]])


@pytest.mark.parametrize("model", ["manlm", "blocks", "plain", "many"])
def test_standing_out(server, model):
    s, rows = summary(server, f"{model}.safetensors")
    z, median = robust_z(rows, "log_spectral_norm")
    check_standing_out(s["scale_collapse"], rows, z, "log_spectral_norm",
                       [i for i in z if z[i] < -3.5 and
                        median[i] - rows[i]["log_spectral_norm"] >= 0.3])
    z, _ = robust_z(good(rows), "alpha")
    check_standing_out(s["out_of_line"], rows, z, "alpha", [i for i in z if abs(z[i]) > 3.5])
    if model == "blocks":
        assert "model.layers.5.self_attn.q_proj" in [
            x["longname"] for x in s["scale_collapse"]["layers"]]
        assert s["out_of_line"]["layers"][0]["longname"] == "model.layers.7.mlp.up_proj"
    if model == "many":
        names = [x["longname"] for x in s["scale_collapse"]["layers"]]
        assert s["scale_collapse"]["rows"] == 100 and 10 < len(names) <= 32
        assert sum(map(len, names)) <= 4096


def test_phases_and_softrank_where_asked_for(server):
    s, rows = summary(server, "blocks.safetensors", phase=True, mp_fit=True)
    assert set(s) == OLD | NEW | {"phases", "mp_softrank"}
    assert s["phases"] == Counter(r["phase"] for r in rows if r["phase"]) and s["phases"]
    x = [r["mp_softrank"] for r in good(rows) if r["mp_softrank"] is not None]
    assert s["mp_softrank"] == near(np.mean(x)) and s["median"]["mp_softrank"] == near(np.median(x))


def test_failed_rows_are_left_out_with_compat(server):
    s, rows = summary(server, "blocks.safetensors", compat="weightwatcher-0.7.5.5")
    ok = good(rows)
    assert s["rows_averaged"] == len(ok) + s["rows_failed"] and s["rows_failed"] >= 1
    assert s["alpha"] == near((sum(r["alpha"] for r in ok) - s["rows_failed"]) / s["rows_averaged"])
    assert s["alpha_hat"]["rows"] == len(ok)
    assert s["alpha_hat"]["mean"] == near(np.mean([r["alpha_weighted"] for r in ok]))


def test_a_model_of_nothing(server):
    write_safetensors(os.path.join(server.root, "norms.safetensors"),
                      {"a.norm.weight": np.ones(8, "<f4")})
    s, _ = summary(server, "norms.safetensors")
    assert s["alpha_hat"] == {"rows": 0, "mean": None, "mean_over_n": None}
    assert s["types"] == [] and s["correlation_flow"]["slope"] is None
    assert s["scale_collapse"] == s["out_of_line"] == {"rows": 0, "layers": []}
