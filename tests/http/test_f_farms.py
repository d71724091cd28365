"""Windows of equal shape: the analyze job's parameter `farms`."""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon, age, write_safetensors

EXAMPLE = os.path.join(TOP, "examples/manlm.safetensors")


def hill_mid(lam):
    x = np.sort(lam)
    i = len(x) // 2
    n = len(x) - i
    return 1 + n / (np.log(x[i:]).sum() - n * np.log(x[i]))


def windows(w, rows, q, k):
    """The published grid."""
    m = min(rows, *w.shape)
    n = int(m * q)
    starts = []
    for extent, size in zip(w.shape, (m, n)):
        step = max(1, (extent - size) // (k - 1)) if k > 1 else 1
        starts.append([min(i * step, extent - size)
                       for i in range(min(k, max(1, (extent - size) // step + 1)))])
    return [w[r:r + m, c:c + n] for r in starts[0] for c in starts[1]]


def pool(mats):
    return np.concatenate([np.linalg.svd(np.asarray(w, float), compute_uv=False) ** 2
                           for w in mats])


@pytest.fixture(scope="module")
def farms(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("farms")
    root = os.path.join(tmp, "models")
    os.mkdir(root)
    shutil.copy(EXAMPLE, root)
    age(os.path.join(root, "manlm.safetensors"))
    rng = np.random.default_rng(5)
    write_safetensors(os.path.join(root, "mixed.safetensors"), {
        "wide.weight": rng.standard_normal((40, 90)).astype("<f4"),
        "tall.weight": rng.standard_normal((90, 40)).astype("<f8"),
        "conv.weight": rng.standard_normal((24, 10, 3, 3)).astype("<f4"),
        "flat.weight": rng.standard_normal((10, 24, 3, 3)).astype("<f4"),
        "norm.weight": np.ones(40, "<f4"),
    })
    age(os.path.join(root, "mixed.safetensors"))
    with Daemon(tmp, root=root) as d:
        yield d, rng


def analyze(d, path, params):
    job, rows = d.analyze(path, params)
    assert job["state"] == "succeeded", job
    return job, rows


def test_published_values(farms):
    d, _ = farms
    with open(os.path.join(TOP, "tests/data/manlm_farms.json"), encoding="utf-8") as f:
        layers = json.load(f)["layers"]
    for key, rows, q, k in (("rows128_Q1.0_ops5", 128, 1, 5), ("rows96_Q2.0_ops4", 96, 2.0, 4)):
        for fit, rel in (("xmin_mid", 1e-9), ("xmin_peak", 1e-6)):
            job, got = analyze(d, "manlm.safetensors", {
                "farms": {"rows": rows, "q": q, "windows": k, "fit": fit}})
            assert job["params"]["farms"]["mode"] == "exact"
            for name, layer in layers.items():
                want = layer["farms"][key]
                row = got[name]
                assert row["farms_alpha"] == pytest.approx(want[fit]["alpha"], rel=rel), name
                assert row["farms_D"] == pytest.approx(want[fit]["D"], abs=1e-6)
                assert row["farms_num_evals"] == want["n_eigs"]
                assert row["farms_alpha_se"] == 0 and row["farms_reason"] is None


def test_known_windows_are_not_solved_again(farms):
    d, _ = farms
    params = {"farms": {"rows": 64, "windows": 3}}
    first, rows = analyze(d, "manlm.safetensors", params)
    again, same = analyze(d, "manlm.safetensors", params)
    assert first["cache"]["misses"] == 30 and again["cache"]["misses"] == 0
    assert rows == same
    # Another fit of the same windows, what comes to the same windows, and all after a restart.
    other, ks = analyze(d, "manlm.safetensors", {"farms": {"rows": 64, "windows": 3, "fit": "ks"}})
    assert other["cache"]["misses"] == 0
    assert all(r["farms_num_evals"] == rows[n]["farms_num_evals"] for n, r in ks.items())
    assert any(r["farms_alpha"] != rows[n]["farms_alpha"] for n, r in ks.items())
    same, fast = analyze(d, "manlm.safetensors", {"farms": {"rows": 64, "windows": 3, "mode": "fast"}})
    assert same["cache"]["misses"] == 0 and fast == rows
    d.stop()
    d.start()
    reply = d.submit("manlm.safetensors", params)
    assert reply.status == 200 and reply.json["cache"]["misses"] == 0, reply.json


def test_shapes(farms):
    d, _ = farms
    with open(os.path.join(d.root, "mixed.safetensors"), "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        head, data = json.loads(f.read(n)), f.read()
    w = {k: np.frombuffer(data[slice(*t["data_offsets"])], {"F32": "<f4", "F64": "<f8"}[t["dtype"]])
         .reshape(t["shape"]).astype(float) for k, t in head.items() if k != "__metadata__"}
    for q in (1, 0.5, 2):
        _, rows = analyze(d, "mixed.safetensors", {"farms": {"rows": 30, "q": q, "windows": 4}})
        for name in ("wide", "tall"):
            row = rows[name]
            if name == "tall" and q == 2:  # 60 columns of 40
                assert row["farms_alpha"] is None and row["farms_reason"] == "window_does_not_fit"
                assert row["status"] == "success"
                continue
            lam = pool(windows(w[name + ".weight"], 30, q, 4))
            assert row["farms_num_evals"] == len(lam)
            assert row["farms_alpha"] == pytest.approx(hill_mid(lam), rel=1e-9), (name, q)
        for name in ("conv", "flat"):
            t = w[name + ".weight"]
            slices = [t[:, :, i, j] for i in range(3) for j in range(3)]
            slices = [s if s.shape[0] >= s.shape[1] else s.T for s in slices]
            h, v = (int(10 // q), 10) if q > 1 else (10, int(10 * q))
            alphas = [hill_mid(pool([s[g * h:(g + 1) * h, :v] for s in slices]) / 2)
                      for g in range(2)]
            assert rows[name]["farms_alpha"] == pytest.approx(np.mean(alphas), rel=1e-9), (name, q)
        assert rows["norm"]["farms_alpha"] is None and rows["norm"]["farms_reason"] is None
    _, rows = analyze(d, "mixed.safetensors", None)
    assert all(r["farms_alpha"] is None and r["farms_reason"] is None for r in rows.values())


@pytest.mark.parametrize("precision, rel", [("double", 1e-9), ("single", 1e-3)])
def test_the_largest_tenth(farms, precision, rel):
    d, rng = farms
    w = rng.standard_normal((60, 90)).astype("<f4")
    write_safetensors(os.path.join(d.root, "tenth.safetensors"), {"w.weight": w})
    _, rows = analyze(d, "tenth.safetensors", {
        "precision": precision, "farms": {"rows": 40, "windows": 3, "fit": "top"}})
    x = np.sort(pool(windows(w, 40, 1, 3)))
    assert len(x) == 360
    want = 1 + 36 / np.log(x[-36:] / x[-37]).sum()
    assert rows["w"]["farms_alpha"] == pytest.approx(want, rel=rel)
    assert rows["w"]["farms_D"] is None and rows["w"]["farms_reason"] is None


def test_a_sample(farms):
    """640 x 640, windows of 400: enough work for fast mode to leave windows out."""
    d, rng = farms
    w = rng.standard_normal((640, 640)).astype("<f4")
    write_safetensors(os.path.join(d.root, "large.safetensors"), {"w.weight": w})
    age(os.path.join(d.root, "large.safetensors"))
    ask = {"rows": 400, "windows": 15}
    _, all_rows = analyze(d, "large.safetensors", {"farms": ask})
    _, part_rows = analyze(d, "large.safetensors", {"farms": dict(ask, mode="fast")})
    every, part = all_rows["w"], part_rows["w"]
    assert every["farms_num_evals"] == 225 * 400 and every["farms_alpha_se"] == 0
    assert part["farms_num_evals"] == 12 * 400 and part["farms_alpha_se"] > 0
    assert part["farms_alpha"] != every["farms_alpha"]
    assert abs(part["farms_alpha"] / every["farms_alpha"] - 1) < 0.005
    assert abs(part["farms_alpha"] - every["farms_alpha"]) < 4 * part["farms_alpha_se"]
    _, single = analyze(d, "large.safetensors", {"precision": "single",
                                                 "farms": dict(ask, windows=2)})
    _, double = analyze(d, "large.safetensors", {"farms": dict(ask, windows=2)})
    assert single["w"]["farms_alpha"] == pytest.approx(double["w"]["farms_alpha"], rel=1e-4)
    assert single["w"]["farms_alpha"] != double["w"]["farms_alpha"]


@pytest.mark.parametrize("params, pointer", [
    ({"farms": 3}, "/params/farms"),
    ({"farms": {"rows": 1}}, "/params/farms/rows"),
    ({"farms": {"rows": 8193}}, "/params/farms/rows"),
    ({"farms": {"rows": "many"}}, "/params/farms/rows"),
    ({"farms": {"q": 0}}, "/params/farms/q"),
    ({"farms": {"q": None}}, "/params/farms/q"),
    ({"farms": {"windows": 0}}, "/params/farms/windows"),
    ({"farms": {"windows": 65}}, "/params/farms/windows"),
    ({"farms": {"windows": 1.5}}, "/params/farms/windows"),
    ({"farms": {"fit": "best"}}, "/params/farms/fit"),
    ({"farms": {"mode": "slow"}}, "/params/farms/mode"),
    ({"farms": {"step": 1}}, "/params/farms/step"),
    ({"farms": {"mode": "fast", "fit": "ks"}}, "/params/farms/mode"),
    ({"farms": {"mode": "fast", "fit": "xmin_peak"}}, "/params/farms/mode"),
    ({"farms": {"mode": "fast", "fit": "top"}}, "/params/farms/mode"),
    ({"precision": "single", "farms": {"fit": "ks"}}, "/params/farms/fit"),
])
def test_refused(farms, params, pointer):
    d, _ = farms
    reply = d.submit("manlm.safetensors", params)
    assert reply.status == 400, reply.json
    assert reply.json["errors"][0]["pointer"] == "#" + pointer, reply.json


def test_limits(farms):
    """Two million eigenvalues in windows of 64 rows: the layer says so."""
    d, rng = farms
    write_safetensors(os.path.join(d.root, "many.safetensors"),
                      {"w.weight": rng.standard_normal((600, 600)).astype("<f4")})
    age(os.path.join(d.root, "many.safetensors"))
    _, rows = analyze(d, "many.safetensors", {"farms": {"rows": 500, "windows": 64}})
    assert rows["w"]["farms_alpha"] is None and rows["w"]["farms_reason"] == "limit"
    assert rows["w"]["status"] == "success"


def test_as_a_metric(farms):
    d, _ = farms
    job, rows = analyze(d, "manlm.safetensors", {"farms": {"rows": 128, "windows": 5}})
    reply = d.get("/v1/analyses/%s/layers?format=csv&columns=longname,farms_alpha"
                  % job["result"]["analysis"])
    assert reply.status == 200
    lines = reply.body.decode().split()
    assert lines[0] == "longname,farms_alpha" and len(lines) == 1 + len(rows)


def ctl(d, *args):
    return subprocess.run([CTL, "analyze", *args], capture_output=True, text=True, timeout=120,
                          env=dict(os.environ, SPECTRALCTL_SERVER=f"127.0.0.1:{d.port}"))


def printed(r):
    """The table's title line and rows, by name."""
    assert r.returncode == 0, r.stderr
    lines = r.stdout.split("\n\n")[0].splitlines()
    return lines[0].split(), {line.split()[1]: line for line in lines[1:]}


def test_command_line(farms):
    d, rng = farms
    _, want = analyze(d, "mixed.safetensors", {"farms": {"rows": 30, "q": 2, "windows": 4}})
    titles, lines = printed(ctl(d, "mixed.safetensors", "--farms-rows", "30", "--farms-q", "2",
                                "--farms-windows", "4"))
    column = titles.index("farms_alpha")
    assert titles[column - 1:column + 2] == ["phase", "farms_alpha", "tail"]
    assert lines["wide"].split()[column] == "%.3f" % want["wide"]["farms_alpha"]
    assert lines["tall"].split()[column] == "window_does_not_fit"
    titles, _ = printed(ctl(d, "mixed.safetensors"))
    assert "farms_alpha" not in titles
    jobs = []
    for flags, params in ((["--farms"], {}),
                          (["--farms-fit", "ks"], {"fit": "ks"}),
                          (["--farms", "--farms-mode", "fast"], {"mode": "fast"})):
        r = ctl(d, "mixed.safetensors", "--json", *flags)
        assert r.returncode == 0, r.stderr
        asked = dict({"rows": 2000, "q": 1, "windows": 15, "fit": "xmin_mid", "mode": "exact"},
                     **params)
        jobs.append(json.loads(r.stdout)["job"]["params"]["farms"])
        assert jobs[-1] == asked
    write_safetensors(os.path.join(d.root, "sample.safetensors"),
                      {"w.weight": rng.standard_normal((640, 640)).astype("<f4")})
    titles, lines = printed(ctl(d, "sample.safetensors", "--farms-mode", "fast", "--farms-rows",
                                "400"))
    cells = lines["w"].split()
    assert re.fullmatch(r"±0\.\d{3}", cells[titles.index("farms_alpha") + 1]), lines
    for bad, says in ((["--farms-q", "two"], "farms-q"), (["--farms-rows", "1"], "rows"),
                      (["--farms-fit", "best"], "farms-fit"),
                      (["--farms-mode", "fast", "--farms-fit", "ks"], "mode")):
        r = ctl(d, "mixed.safetensors", *bad)
        assert r.returncode in (1, 2) and says in r.stderr and r.stdout == "", r
