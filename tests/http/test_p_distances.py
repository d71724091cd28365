"""Jobs of kind distances: how far the weights of two models are apart, against NumPy."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import time

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon, write_safetensors

EXAMPLE = os.path.join(TOP, "examples/manlm.safetensors")
BACK = {"no_base": "alone", "base_shape": "reshaped", "base_dtype": "coded"}


def gauss(seed, rows, cols):
    """The matrices of tests/data/weightwatcher_golden.json."""
    mask, x, values = 2**64 - 1, seed, []
    for _ in range(rows * cols):
        t = 0.0
        for _ in range(12):
            x = (x + 0x9E3779B97F4A7C15) & mask
            z = x
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
            t += ((z ^ (z >> 31)) >> 11) * 2.0**-53
        values.append(t - 6)
    return np.array(values).reshape(rows, cols)


def bf16(x):
    u = x.astype("<f4").view("<u4").astype(np.uint64)
    u = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype("<u2")
    return u, (u.astype("<u4") << 16).view("<f4").astype(float)


def models(root):
    """A base and what became of it; the values of both by name."""
    rng = np.random.default_rng(21)
    base = {name: rng.standard_normal(shape).astype("<f4") for name, shape in {
        "tall.weight": (80, 60), "wide.weight": (40, 90), "square.weight": (50, 50),
        "conv.weight": (24, 12, 3, 3), "half.weight": (40, 40), "same.weight": (30, 40),
        "mlp.experts.gate_up_proj": (3, 40, 30), "reshaped.weight": (40, 60),
        "small.weight": (3, 5)}.items()}
    base["h.0.attn.c_attn.weight"] = rng.standard_normal((32, 96)).astype("<f4")
    base["tall.bias"] = rng.standard_normal(80).astype("<f4")
    base["square.bias"] = rng.standard_normal(49).astype("<f4")
    base["zero.weight"] = np.zeros((20, 30), "<f4")
    model = {n: (a + 0.1 * rng.standard_normal(a.shape)).astype("<f4") for n, a in base.items()}
    model["same.weight"] = base["same.weight"].copy()
    model["zero.weight"] = base["zero.weight"].copy()
    model["square.bias"] = rng.standard_normal(50).astype("<f4")
    model["wide.bias"] = rng.standard_normal(40).astype("<f4")
    base["reshaped.weight"] = base["reshaped.weight"].T.copy()
    model["alone.weight"] = rng.standard_normal((40, 30)).astype("<f4")
    model["coded.weight"] = rng.standard_normal((30, 30)).astype("<f4")
    base["coded.weight"] = rng.integers(-5, 5, (30, 30)).astype("<i4")
    base["gone.weight"] = rng.standard_normal((30, 30)).astype("<f4")
    base["norm.weight"] = model["norm.weight"] = np.ones(30, "<f4")
    base["bad.weight"] = rng.standard_normal((30, 20)).astype("<f4")
    model["bad.weight"] = base["bad.weight"].copy()
    model["bad.weight"][3, 4] = np.nan
    values = {n: a.astype(float) for n, a in model.items()}
    raw, values["half.weight"] = bf16(model["half.weight"])
    model["half.weight"] = raw
    write_safetensors(os.path.join(root, "base.safetensors"), base)
    write_safetensors(os.path.join(root, "model.safetensors"), model, {"half.weight": "BF16"})
    return {n: a.astype(float) for n, a in base.items()}, values


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    d = Daemon(str(tmp_path_factory.mktemp("distances")))
    d.base, d.model = models(d.root)
    shutil.copy(EXAMPLE, d.root)
    with d:
        yield d


def submit(d, source, base, wait=60, **params):
    body = {"kind": "distances", "source": {"path": source},
            "params": {"base": {"path": base}, **params}}
    return d.request("POST", "/v1/jobs", body, {"Prefer": f"wait={wait}"} if wait else {})


def measure(d, source="model.safetensors", base="base.safetensors", **params):
    """A finished job, what it found, and the rows by longname."""
    r = submit(d, source, base, **params)
    assert r.status in (200, 202), r.body
    job = d.wait_final(r.json["id"])
    assert job["state"] == "succeeded", job["error"]
    found = d.get(job["links"]["result"]).json
    assert found["id"] == job["result"]["distances"]
    rows = d.get(found["links"]["layers"]).json["layers"]
    assert len(rows) == found["n_layers"]
    return job, found, {row["longname"]: row for row in rows}


def norm(x):
    return np.sqrt((x * x).sum())


def cka(a, b):
    return norm(a.T @ b) / np.sqrt(norm(a.T @ a) * norm(b.T @ b))


def slices(x):
    return [x] if x.ndim == 2 else [x[:, :, i, j] for i in range(3) for j in range(3)]


def holds(row, a, b):
    pairs = list(zip(slices(a), slices(b)))
    want = {"raw": norm(a - b), "euclidean": np.mean([norm(x - y) for x, y in pairs]),
            "relative": norm(a - b) / norm(b), "norm": norm(a), "base_norm": norm(b),
            "cosine": (a * b).sum() / norm(a) / norm(b), "cka": np.mean([cka(x, y) for x, y in pairs])}
    assert row["status"] == "success" and not row["identical"] and row["reason"] is None
    assert {k: row[k] for k in want} == pytest.approx(want, rel=1e-12), row["longname"]


def of_rows(d, rows):
    """The values of both models, by longname."""
    for name, row in rows.items():
        at = re.fullmatch(r"(.*)\[(\d)\]", name)
        tensor = row["tensor"]
        yield (row, *(x[tensor][int(at[2])] if at else x[tensor] for x in (d.model, d.base)))


def test_against_numpy(server):
    job, found, rows = measure(server)
    odd = {"same", "zero", "bad", *BACK.values()}
    measured = {k: v for k, v in rows.items() if k not in odd}
    assert len(measured) == 3 + 1 + 1 + 3 + 1 + 1 and "gone" not in rows and "norm" not in rows
    for row, a, b in of_rows(server, measured):
        holds(row, a, b)
    assert rows["half"]["dtype"] == "BF16" and rows["half"]["base_dtype"] == "F32"
    assert rows["conv"]["rf"] == 9 and rows["conv"]["raw"] > rows["conv"]["euclidean"]
    assert found["n_measured"] == len(measured) + 2 and found["n_identical"] == 2
    assert found["n_skipped"] == 3 and found["n_failed"] == 1 and found["n_only_in_base"] == 1
    assert job["progress"]["layers_done"] == job["progress"]["layers_total"]


def test_what_cannot_be_compared(server):
    _, _, rows = measure(server)
    for reason, name in BACK.items():
        assert rows[name]["status"] == "skipped" and rows[name]["reason"] == reason
        assert rows[name]["detail"] and rows[name]["raw"] is None is rows[name]["identical"]
    assert rows["bad"]["status"] == "failed" and "not finite" in rows["bad"]["detail"]


def test_biases(server):
    _, found, rows = measure(server)
    want = norm(server.model["tall.bias"] - server.base["tall.bias"])
    assert rows["tall"]["bias"] == pytest.approx(want, rel=1e-12)
    assert rows["square"]["bias"] is None and rows["square"]["bias_reason"] == "base_shape"
    assert rows["wide"]["bias"] is None and rows["wide"]["bias_reason"] == "no_base"
    assert rows["conv"]["bias"] is None is rows["conv"]["bias_reason"]
    assert found["mean_bias"] == pytest.approx(want / found["n_measured"], rel=1e-12)


def test_identical(server):
    _, _, rows = measure(server)
    for name in ("same", "zero"):
        got = {k: rows[name][k] for k in ("identical", "raw", "euclidean", "relative", "cosine", "cka")}
        assert got == {"identical": True, "raw": 0, "euclidean": 0, "relative": 0, "cosine": 1, "cka": 1}
        assert rows[name]["digest"] == rows[name]["base_digest"]
    assert rows["same"]["norm"] == pytest.approx(norm(server.base["same.weight"]), rel=1e-12)
    assert rows["zero"]["norm"] == 0


def test_adapters_are_compared_as_they_are(server):
    rng = np.random.default_rng(12)
    names = [f"base_model.model.layers.0.q_proj.lora_{x}.weight" for x in "AB"]
    files = [{n: rng.standard_normal(s) for n, s in zip(names, ((8, 40), (50, 8)))} for _ in range(2)]
    for name, tensors in zip(("lora1", "lora2"), files):
        write_safetensors(os.path.join(server.root, f"{name}.safetensors"), tensors)
    _, _, rows = measure(server, "lora1.safetensors", "lora2.safetensors")
    assert {r["tensor"] for r in rows.values()} == set(names)
    for row in rows.values():
        holds(row, *(f[row["tensor"]] for f in files))


def test_totals(server):
    _, found, rows = measure(server)
    good = [r for r in rows.values() if r["status"] == "success"]
    for key in ("raw", "euclidean", "relative", "cosine", "cka"):
        assert found[f"mean_{key}"] == pytest.approx(np.mean([r[key] for r in good]), rel=1e-12)
    total = np.sqrt(sum(r["raw"]**2 for r in good))
    assert found["total"] == pytest.approx(total, rel=1e-12)
    whole = np.sqrt(sum(r["base_norm"]**2 for r in good))
    assert found["relative_total"] == pytest.approx(total / whole, rel=1e-12)


def test_both_are_models_that_were_seen(server):
    _, found, _ = measure(server)
    for key, name, values in (("model", "model.safetensors", server.model),
                              ("base", "base.safetensors", server.base)):
        model = server.get(f"/v1/models/{found[key]}").json
        assert (model["name"], model["tensors"]) == (name, len(values))
        tensors = server.get(model["links"]["tensors"] + "?page_size=1000").json["tensors"]
        assert {t["name"] for t in tensors} == set(values)


def test_published_values(server):
    """What WeightWatcher 0.7.5.5 gives for two made matrices."""
    golden = json.load(open(os.path.join(TOP, "tests/data/weightwatcher_golden.json")))["cka"]
    a = gauss(1, 200, 100)
    for name, w in (("one", a), ("two", a + 0.1 * gauss(41, 200, 100))):
        write_safetensors(os.path.join(server.root, f"{name}.safetensors"), {"w.weight": w})
    _, found, rows = measure(server, "two.safetensors", "one.safetensors")
    assert rows["w"]["cka"] == pytest.approx(golden["cka"], rel=1e-12) == found["mean_cka"]
    assert rows["w"]["raw"] == pytest.approx(golden["euclidean"], rel=1e-12) == found["mean_raw"]


def test_invariances(server):
    """The other way round: the same numbers to the last bit, and norms exchanged. With rotated
    columns: CKA stays."""
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal((70, 40)) for _ in range(2))
    q, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    for name, w in (("ra", a), ("rb", b), ("rq", b @ q)):
        write_safetensors(os.path.join(server.root, f"{name}.safetensors"), {"w.weight": w})
    there = measure(server, "ra.safetensors", "rb.safetensors")[2]["w"]
    job, _, rows = measure(server, "rb.safetensors", "ra.safetensors")
    back = rows["w"]
    assert all(there[k] == back[k] for k in ("raw", "euclidean", "cosine", "cka"))
    assert (there["norm"], there["base_norm"]) == (back["base_norm"], back["norm"])
    assert there["digest"] == back["base_digest"] and job["cache"]["hits"] == 1
    # A'B of the rotated one is the same up to the rotation of both
    turned = measure(server, "ra.safetensors", "rq.safetensors")[2]["w"]
    assert turned["cka"] == pytest.approx(there["cka"], rel=1e-12)
    assert abs(turned["cosine"] - there["cosine"]) > 1e-3


def test_filters(server):
    _, found, rows = measure(server, include="tall|wide", exclude="wide")
    assert list(rows) == ["tall"] and found["n_measured"] == 1
    _, _, rows = measure(server, types=["conv2d"])
    assert list(rows) == ["conv"]
    _, _, rows = measure(server, layers=["tall", "conv"])
    assert sorted(rows) == ["conv", "tall"]
    r = submit(server, "model.safetensors", "base.safetensors", include="norm")
    job = server.wait_final(r.json["id"])
    assert job["state"] == "failed" and job["error"]["errors"][0]["pointer"] == "#/params"


def tasks(d):
    found = re.search(r'^spectrald_tasks_total\{type="distance"\} (\d+)', d.get("/metrics").body.decode(),
                      re.M)
    return int(found[1]) if found else 0


def test_cached_by_content(server, tmp_path):
    rng = np.random.default_rng(3)
    first = {f"m{i}.weight": rng.standard_normal((30, 40)).astype("<f4") for i in range(4)}
    second = {k: v + np.float32(0.1) for k, v in first.items()}
    write_safetensors(os.path.join(server.root, "c1.safetensors"), first)
    write_safetensors(os.path.join(server.root, "c2.safetensors"), second)
    before = tasks(server)
    job, found, _ = measure(server, "c2.safetensors", "c1.safetensors", cka=False)
    assert tasks(server) == before + 4 and job["cache"] == {"hits": 0, "misses": 0}
    assert found["mean_cka"] is None
    again, same, _ = measure(server, "c2.safetensors", "c1.safetensors", cka=False)
    assert same["id"] == found["id"] and again["cache"]["hits"] == 4
    assert tasks(server) == before + 4
    _, more, rows = measure(server, "c2.safetensors", "c1.safetensors")  # the rest is missing
    assert tasks(server) == before + 8 and more["id"] != found["id"]
    assert rows["m0"]["cka"] == pytest.approx(cka(*(x["m0.weight"].astype(float)
                                                    for x in (second, first))), rel=1e-12)
    _, less, _ = measure(server, "c2.safetensors", "c1.safetensors", cka=False)
    assert tasks(server) == before + 8 and less["id"] == found["id"]
    second["m2.weight"] = second["m2.weight"] + np.float32(1)
    write_safetensors(os.path.join(server.root, "c3.safetensors"), second)
    job, _, _ = measure(server, "c3.safetensors", "c1.safetensors")
    assert tasks(server) == before + 9 and job["cache"]["hits"] == 3


def test_tied_tensors_are_measured_once(server):
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal((30, 40)).astype("<f4") for _ in range(2))
    for name, w in (("t1", a), ("t2", b)):
        write_safetensors(os.path.join(server.root, f"{name}.safetensors"),
                          {f"x{i}.weight": w for i in range(5)})
    before = tasks(server)
    _, found, rows = measure(server, "t1.safetensors", "t2.safetensors")
    assert tasks(server) == before + 1 and found["n_measured"] == 5
    assert len({r["raw"] for r in rows.values()}) == 1


def big(root, names=("big1", "big2"), layers=6, n=900):
    rng = np.random.default_rng(6)
    for name in names:
        write_safetensors(os.path.join(root, f"{name}.safetensors"),
                          {f"model.layers.{i}.mlp.up_proj.weight":
                           rng.standard_normal((n, n)).astype("<f4") for i in range(layers)})


def test_two_jobs_at_once_share(tmp_path):
    with Daemon(str(tmp_path)) as d:
        big(d.root)
        ids = [submit(d, *pair, wait=0).json["id"] for pair in
               [("big1.safetensors", "big2.safetensors"), ("big1.safetensors", "big2.safetensors"),
                ("big2.safetensors", "big1.safetensors")]]
        jobs = [d.wait_final(i) for i in ids]
        assert [j["state"] for j in jobs] == ["succeeded"] * 3
        assert tasks(d) == 6
        assert jobs[0]["result"] == jobs[1]["result"] != jobs[2]["result"]


def layers_done(d, job, least):
    """How many, once there are at least so many."""
    for _ in range(6000):
        done = d.get(f"/v1/jobs/{job}").json["progress"]["layers_done"]
        if done >= least:
            return done
        time.sleep(0.01)
    raise AssertionError("nothing is measured")


def test_cancel_and_kill(tmp_path):
    d = Daemon(str(tmp_path), workers=1).start()
    big(d.root, layers=8, n=1200)
    job = submit(d, "big1.safetensors", "big2.safetensors", wait=0).json["id"]
    layers_done(d, job, 1)
    assert d.request("POST", f"/v1/jobs/{job}:cancel").status in (200, 202)
    assert d.wait_final(job)["state"] == "cancelled"
    job = submit(d, "big1.safetensors", "big2.safetensors", wait=0).json["id"]
    done = layers_done(d, job, 3)
    d.kill()
    d.start()
    final = d.wait_final(job)
    assert final["state"] == "succeeded" and final["attempt"] == 2
    assert final["cache"]["hits"] >= done - 1  # what was measured is not measured again
    d.stop()


def test_memory(tmp_path):
    """CKA is left out where it would not fit; the rest is measured."""
    with Daemon(str(tmp_path), "--memory-limit", "80M") as d:
        rng = np.random.default_rng(8)
        for name in "ab":
            write_safetensors(os.path.join(d.root, f"{name}.safetensors"),
                              {"large.weight": rng.standard_normal((3000, 3000)).astype("<f4"),
                               "small.weight": rng.standard_normal((30, 40)).astype("<f4")})
        _, found, rows = measure(d, "a.safetensors", "b.safetensors")
        assert rows["large"]["raw"] > 0 and rows["large"]["cka"] is None
        assert rows["large"]["cka_reason"] == "limit" and rows["small"]["cka_reason"] is None
        assert found["mean_cka"] == rows["small"]["cka"]


def test_uploads(server):
    ids = []
    for name in ("model", "base"):
        data = open(os.path.join(server.root, f"{name}.safetensors"), "rb").read()
        r = server.request("POST", "/v1/uploads", data, {"Content-Type": "application/octet-stream"})
        ids.append(r.json["id"])
    body = {"kind": "distances", "source": {"upload": ids[0]}, "params": {"base": {"upload": ids[1]}}}
    job = server.request("POST", "/v1/jobs", body, {"Prefer": "wait=60"}).json
    assert server.wait_final(job["id"])["result"] == measure(server)[0]["result"]


# --- the answer -----------------------------------------------------------------------------------


def test_tables(server):
    _, found, rows = measure(server)
    url = found["links"]["layers"]
    text = server.get(url, Accept="text/csv").body.decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert [r["longname"] for r in table] == list(rows)
    for row in table:
        assert row["cka"] == "" if rows[row["longname"]]["cka"] is None else \
            float(row["cka"]) == rows[row["longname"]]["cka"]
    assert set(table[0]) == set(next(iter(rows.values())))
    page = server.get(url + "?page_size=4").json
    assert len(page["layers"]) == 4 and page["next_page_token"]
    rest = server.get(f"{url}?page_size=4&page_token={page['next_page_token']}").json["layers"]
    assert rest[0]["longname"] == list(rows)[4]
    r = server.get(url + "?columns=longname,relative&status=skipped")
    assert {x["longname"] for x in r.json["layers"]} == set(BACK.values())
    assert all(list(x) == ["longname", "relative"] for x in r.json["layers"])
    assert [x["longname"] for x in server.get(url + "?layer_type=conv2d").json["layers"]] == ["conv"]
    assert server.get(url + "?columns=alpha").status == 400
    again = server.get(url, **{"If-None-Match": server.get(url).headers["ETag"]})
    assert again.status == 304 and "immutable" in again.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/v1/distances/dst_00000000000000000000000000",
                                  "/v1/distances/dst_00000000000000000000000000/layers",
                                  "/v1/distances/x", "/v1/distances/x/layers"])
def test_unknown(server, path):
    assert server.get(path).status == 404


@pytest.mark.parametrize("params, pointer", [
    ({}, "#/params/base"),
    ({"base": "base.safetensors"}, "#/params/base"),
    ({"base": {"path": "base.safetensors"}, "alpha": 1}, "#/params/alpha"),
    ({"base": {"path": "base.safetensors"}, "cka": 1}, "#/params/cka"),
    ({"base": {"path": "base.safetensors"}, "cka": None}, "#/params/cka"),
    ({"base": {"path": "base.safetensors"}, "min_evals": 1}, "#/params/min_evals"),
    ({"base": {"path": "base.safetensors"}, "include": "("}, "#/params/include"),
    ({"base": {"path": "base.safetensors"}, "types": ["x"]}, "#/params/types"),
])
def test_refused(server, params, pointer):
    r = server.request("POST", "/v1/jobs", {"kind": "distances", "source": {"path": "model.safetensors"},
                                            "params": params})
    assert r.status in (400, 422) and r.json["errors"][0]["pointer"] == pointer, r.json


def test_no_such_base(server):
    r = submit(server, "model.safetensors", "nowhere.safetensors", wait=0)
    assert r.status == 404 and r.json["errors"][0]["pointer"].startswith("#/params/base"), r.json


# --- comparisons ----------------------------------------------------------------------------------


def compare(d, ids, more=""):
    return d.get(f"/v1/comparisons?analyses={','.join(ids)}&metrics=alpha&distances=true{more}")


def analysis(d, path):
    return d.analyze(path)[0]["result"]["analysis"]


def test_comparisons(tmp_path):
    with Daemon(str(tmp_path)) as d:
        d.base, d.model = models(d.root)
        ids = [analysis(d, f"{n}.safetensors") for n in ("base", "model")]
        before = tasks(d)
        unknown = compare(d, ids).json
        assert tasks(d) == before == 0
        ask = unknown["distances"]
        assert (ask["first"], ask["last"]) == tuple(ids) and ask["n_measured"] == 0
        assert ask["n_identical"] == 2  # one with zeros has no spectrum, and still is the same
        state = {x["longname"]: x["distance"]["status"] for x in unknown["layers"]}
        assert state["same"] == "identical" and state["tall"] == "unknown"
        assert state["reshaped"] == "shape" and state["alone"] == state["gone"] == "absent"
        job = d.request("POST", "/v1/jobs", ask["request"], {"Prefer": "wait=60"}).json
        rows = d.get(d.wait_final(job["id"])["links"]["result"] + "/layers").json["layers"]
        rows = {r["longname"]: r for r in rows}
        known = compare(d, ids)
        assert "immutable" not in known.headers["Cache-Control"]
        for x in known.json["layers"]:
            got, want = x["distance"], rows.get(x["longname"])
            if got["status"] in ("measured", "identical"):
                for key in ("raw", "euclidean", "relative", "cosine", "cka"):
                    assert got[key] == want[key], x["longname"]
        left = [x["longname"] for x in known.json["layers"] if x["distance"]["status"] == "unknown"]
        assert left == ["bad"] and known.json["distances"]["n_unknown"] == 1  # it is not finite
        table = list(csv.DictReader(io.StringIO(compare(d, ids, "&format=csv").body.decode())))
        assert {r["longname"]: float(r["relative"]) for r in table if r["relative"]} == {
            x["longname"]: x["distance"]["relative"] for x in known.json["layers"]
            if x["distance"]["relative"] is not None}
        plain = d.get(f"/v1/comparisons?analyses={','.join(ids)}&metrics=alpha")
        assert "distances" not in plain.json and "immutable" in plain.headers["Cache-Control"]
        assert all("distance" not in x for x in plain.json["layers"])
        delta = d.analyze("model.safetensors", {"base": {"path": "base.safetensors"}})[0]
        made = compare(d, [ids[1], delta["result"]["analysis"]]).json
        assert {x["distance"]["status"] for x in made["layers"]} == {"composed", "absent"}
        assert made["distances"]["request"] is None and made["distances"]["n_composed"] > 8
        for i in ids:  # nobody knows any more where the models were
            d.request("DELETE", f"/v1/jobs/{d.get(f'/v1/analyses/{i}').json['job']}")
        assert compare(d, ids).json["distances"]["request"] is None


# --- the command ----------------------------------------------------------------------------------


def ctl(d, *args):
    return subprocess.run([CTL, *args, "--server", f"127.0.0.1:{d.port}"], capture_output=True, text=True)


def test_command(server):
    paths = [os.path.join(server.root, f"{n}.safetensors") for n in ("model", "base")]
    r = ctl(server, "distances", *paths, "--top", "3")
    _, found, rows = measure(server)
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    far = sorted((x for x in rows.values() if x["relative"] is not None), key=lambda x: -x["relative"])
    assert [line.split()[0] for line in lines[1:4]] == [x["longname"] for x in far[:3]]
    assert f"... and {len(rows) - 3} layers more" in r.stdout and found["id"] in r.stdout
    assert f"{found['n_measured']} of {found['n_layers']} layers measured, 2 of them identical" in r.stdout
    r = ctl(server, "distances", *paths, "--top", "0")
    assert "no_base" in r.stdout and "identical" in r.stdout and "more (--top)" not in r.stdout
    r = ctl(server, "distances", *paths, "--json", "--no-cka", "--include", "tall")
    got = json.loads(r.stdout)
    assert [x["longname"] for x in got["layers"]] == ["tall"]
    assert got["distances"]["mean_cka"] is None and got["job"]["kind"] == "distances"
    r = ctl(server, "distances", *paths, "--csv", "--layers", "tall", "--layers", "conv")
    assert [x["longname"] for x in csv.DictReader(io.StringIO(r.stdout))] == ["conv", "tall"]
    assert ctl(server, "distances", *paths, "--quiet").stdout == found["id"] + "\n"
    r = ctl(server, "distances", *paths, "--detach")
    assert re.fullmatch(r"job_\w+\n", r.stdout) and server.wait_final(r.stdout.strip())
    shown = ctl(server, "show", r.stdout.strip()).stdout
    assert shown.startswith("job ") and f"{found['id']}: {found['n_measured']} of" in shown
    assert ctl(server, "show", found["id"]).stdout in shown
    got = json.loads(ctl(server, "show", found["id"], "--json", "--columns", "longname,cka").stdout)
    assert got["layers"] == [{k: x[k] for k in ("longname", "cka")} for x in rows.values()]
    assert list(got) == ["distances", "layers"]
    assert ctl(server, "show", r.stdout.strip(), "--quiet").stdout == found["id"] + "\n"
    assert ctl(server, "distances", paths[0]).returncode == 1
    r = ctl(server, "distances", *paths, "--upload", "--quiet")
    assert r.stdout == found["id"] + "\n", r.stderr
    assert ctl(server, "distances", paths[0], paths[1] + "x").returncode == 2


def test_compare_command(tmp_path):
    with Daemon(str(tmp_path)) as d:
        models(d.root)
        ids = [analysis(d, f"{n}.safetensors") for n in ("base", "model")]
        r = ctl(d, "compare", *ids, "--distances")
        assert r.returncode == 0, r.stderr
        part = r.stdout.split("distances, from the first analysis to the last\n")[1]
        assert re.search(r"^tall +0\.\d+ +0\.\d+ +0\.\d+", part, re.M)
        assert [x.split()[0] for x in part.splitlines() if "unknown" in x] == ["bad"]
        done = tasks(d)
        again = json.loads(ctl(d, "compare", *ids, "--distances", "--json").stdout)
        assert again["distances"]["n_measured"] >= 9
        assert tasks(d) - done <= 1  # the one that is not finite
