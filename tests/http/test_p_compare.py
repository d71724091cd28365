"""POST /v1/plans:compare: several plans side by side, and the picture of them."""

import csv
import json
import os
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

from daemon import CTL, TOP

DATA = os.path.join(TOP, "tests/data")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def plans(refusing):
    return refusing


@pytest.fixture(scope="module")
def analysis(plans):
    return plans.analyze("manlm.safetensors")[0]["result"]["analysis"]


def post(d, query="", headers=None, **body):
    return d.request("POST", "/v1/plans:compare" + query, body, headers or {})


def llama(blocks=32):
    with open(os.path.join(DATA, "alphapruning_alpha_peak.json")) as f:
        alpha = json.load(f)["values"]["llama-7b-hf"]
    return {f"model.layers.{i // 7}.w{i % 7}": {
        "alpha_peak": a, "shape": [4096, 4096 if i % 7 < 4 else 11008]}
        for i, a in enumerate(alpha[:7 * blocks])}


def ranks(x):
    """Means of ranks of equal values."""
    return [sum((b < a) + (b == a) / 2 for b in x) for a in x]


def spearman(x, y):
    x, y = ranks([round(a, 9) for a in x]), ranks([round(a, 9) for a in y])
    mx, my = sum(x) / len(x), sum(y) / len(y)
    xx, yy = sum((a - mx) ** 2 for a in x), sum((b - my) ** 2 for b in y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / (xx * yy) ** 0.5 if xx * yy else None


def kendall(x, y):
    x, y = [round(a, 9) for a in x], [round(a, 9) for a in y]
    pairs = [((x[i] > x[j]) - (x[i] < x[j]), (y[i] > y[j]) - (y[i] < y[j]))
             for i in range(len(x)) for j in range(i)]
    both = sum(a != 0 for a, _ in pairs) * sum(b != 0 for _, b in pairs)
    return sum(a * b for a, b in pairs) / both ** 0.5 if both else None


def check(c):
    """What holds for every comparison."""
    n = len(c["plans"])
    names = [p["name"] for p in c["plans"]]
    assert len(set(names)) == n
    columns = [[b["sparsity"][i] for b in c["blocks"]] for i in range(n)]
    for b in c["blocks"]:
        assert b["range"] == pytest.approx(max(b["sparsity"]) - min(b["sparsity"]), abs=1e-15)
    for p, column in zip(c["plans"], columns):
        assert (p["min"], p["max"]) == (min(column), max(column))
    assert len(c["correlations"]) == n * (n - 1) // 2
    for k in c["correlations"]:
        x, y = columns[names.index(k["a"])], columns[names.index(k["b"])]
        for name, function in (("spearman", spearman), ("kendall", kendall)):
            want = function(x, y)
            assert k[name] == (want if want is None else pytest.approx(want, abs=1e-12)), k
    wide = sorted((b["range"] for b in c["blocks"] if b["range"] > 1e-9), reverse=True)[:5]
    assert [d["range"] for d in c["disagreements"]] == wide
    for d in c["disagreements"]:
        b = next(b for b in c["blocks"] if b["block"] == d["block"])
        assert b["sparsity"][names.index(d["least"])] == min(b["sparsity"])
        assert b["sparsity"][names.index(d["most"])] == max(b["sparsity"])
    return c


def test_the_usual_plans(plans, analysis):
    r = post(plans, analysis=analysis, sparsity=0.7)
    assert r.status == 200, r.body
    c = check(r.json)
    assert [p["name"] for p in c["plans"]] == [
        "uniform", "alphapruning alpha_mid", "alphapruning alpha", "atp", "erk"]
    assert c["analysis"] == analysis and c["sparsity"] == 0.7 and c["left_out"] == []
    assert [b["block"] for b in c["blocks"]] == [f"model.layers.{i}" for i in range(4)]
    for i, p in enumerate(c["plans"]):
        alone = plans.get(p["links"]["self"])
        assert alone.status == 200 and alone.json["method"] == p["method"]
        assert alone.json["metric"] == p["metric"] and alone.json["id"] == p["id"]
        assert [b["sparsity"] for b in alone.json["blocks"]] == [
            b["sparsity"][i] for b in c["blocks"]]
        assert alone.json["achieved_sparsity"] == p["achieved_sparsity"]
    assert post(plans, analysis=analysis, sparsity=0.7).body == r.body


def test_plans_that_were_named(plans, analysis):
    c = check(post(plans, analysis=analysis, sparsity=0.7, limits={"max": 0.85}, exclude="down_proj",
                   plans=[{"method": "alphapruning", "epsilon": 0.1, "name": "narrow"},
                          {"epsilon": 0.3}, {"epsilon": 0.2}, {"epsilon": 0.2, "m": 8},
                          {"metric": "alpha_peak", "peak_compat": "linear"}]).json)
    assert [p["name"] for p in c["plans"]] == [
        "narrow", "alphapruning alpha_mid", "alphapruning alpha_mid (2)",
        "alphapruning alpha_mid (3)", "alphapruning alpha_peak_linear"]
    for p in c["plans"]:
        alone = plans.get(p["links"]["self"]).json
        assert not any("down_proj" in t["name"] for t in alone["tensors"])
        assert max(t["sparsity"] for t in alone["tensors"]) <= 0.85
    k = next(k for k in c["correlations"] if k["a"] == "narrow" and k["b"].endswith("alpha_mid"))
    assert k["spearman"] == k["kendall"] == 1


def test_metrics_sent_along(plans):
    c = check(post(plans, metrics=llama(), sparsity=0.7, plans=[
        {"method": "atp"}, {"metric": "alpha_peak"}, {"method": "uniform"}]).json)
    assert c["analysis"] is None and len(c["blocks"]) == 32
    k = c["correlations"][0]
    assert (k["a"], k["b"]) == ("atp", "alphapruning alpha_peak")
    assert 0.6 < k["spearman"] < 0.9 and k["kendall"] < k["spearman"]
    # Of the usual plans, those without their metric are left out, with the reason.
    c = check(post(plans, metrics=llama(), sparsity=0.7).json)
    assert [p["name"] for p in c["plans"]] == ["uniform", "atp", "erk"]
    assert [x["name"] for x in c["left_out"]] == ["alphapruning alpha_mid", "alphapruning alpha"]
    assert "alpha_mid" in c["left_out"][0]["reason"]
    c = check(post(plans, metrics={"layers.0.a": {"params": 5}}, sparsity=0.7).json)
    assert "erk" in [x["name"] for x in c["left_out"]]


@pytest.mark.parametrize("body, status, pointer", [
    ({}, 400, "#/sparsity"),
    ({"sparsity": 2}, 400, "#/sparsity"),
    ({"sparsity": 0.5, "plans": []}, 400, "#/plans"),
    ({"sparsity": 0.5, "plans": [{}]}, 400, "#/plans"),
    ({"sparsity": 0.5, "plans": [{}] * 9}, 400, "#/plans"),
    ({"sparsity": 0.5, "plans": 3}, 400, "#/plans"),
    ({"sparsity": 0.5, "plans": [{}, 3]}, 400, "#/plans/1"),
    ({"sparsity": 0.5, "plans": [{}, {"method": "no"}]}, 400, "#/plans/1/method"),
    ({"sparsity": 0.5, "plans": [{}, {"metric": "no_such"}]}, 400, "#/plans/1/metric"),
    ({"sparsity": 0.5, "plans": [{}, {"epsilon": 7}]}, 400, "#/plans/1/epsilon"),
    ({"sparsity": 0.5, "plans": [{}, {"sparsity": 0.7}]}, 400, "#/plans/1/sparsity"),
    ({"sparsity": 0.5, "plans": [{}, {"name": ""}]}, 400, "#/plans/1/name"),
    ({"sparsity": 0.5, "plans": [{}, {"name": "x" * 51}]}, 400, "#/plans/1/name"),
    ({"sparsity": 0.5, "plans": [{}, {"method": "owl"}]}, 422, "#/plans/1/stats"),
    ({"sparsity": 0.5, "limits": {"max": 3}}, 400, "#/limits/max"),
    ({"sparsity": 0.5, "limits": {"max": 0.4}}, 422, "#/sparsity"),
    ({"sparsity": 0.5, "exclude": "("}, 400, "#/exclude"),
    ({"sparsity": 0.5, "method": "atp"}, 400, "#/method"),
])
def test_refused(plans, analysis, body, status, pointer):
    r = post(plans, analysis=analysis, **body)
    assert r.status == status, r.body
    assert r.json["errors"][0]["pointer"] == pointer, r.json


def test_refused_otherwise(plans, analysis):
    assert post(plans, analysis="ana_" + "0" * 26, sparsity=0.5).status == 404
    assert post(plans, sparsity=0.5).json["errors"][0]["pointer"] == "#/analysis"
    assert post(plans, "?format=png", analysis=analysis, sparsity=0.5).status == 400
    assert post(plans, "?no=1", analysis=analysis, sparsity=0.5).status == 400
    assert post(plans, headers={"Accept": "text/csv"}, analysis=analysis,
                sparsity=0.5).status == 406
    assert plans.request("GET", "/v1/plans:compare").status == 405


# --- the picture ------------------------------------------------------------------------------

CHOSEN = [{"method": "uniform"}, {"metric": "alpha_peak", "epsilon": 0.2},
          {"metric": "alpha_peak", "mode": "additive", "epsilon": 0.1, "name": 'a <b> & "c"\x01'},
          {"method": "atp", "beta": 0.01}]


def test_picture(plans):
    """Byte for byte what it was; look at it before writing it anew."""
    r = post(plans, headers={"Accept": "image/svg+xml"}, metrics=llama(8), sparsity=0.7,
             plans=CHOSEN)
    assert r.status == 200 and r.headers["Content-Type"] == "image/svg+xml"
    assert "script" not in r.headers["Content-Security-Policy"]
    assert post(plans, "?format=svg", metrics=llama(8), sparsity=0.7, plans=CHOSEN).body == r.body
    path = os.path.join(DATA, "plans.svg")
    if os.environ.get("SPECTRALD_WRITE_GOLDEN"):
        with open(path, "wb") as f:
            f.write(r.body)
    with open(path, "rb") as f:
        assert r.body == f.read()


def test_picture_shows_the_numbers(plans):
    body = {"metrics": llama(8), "sparsity": 0.7, "plans": CHOSEN}
    c = post(plans, **body).json
    top = xml.etree.ElementTree.fromstring(post(plans, "?format=svg", **body).body)
    assert top.tag == SVG + "svg" and top.attrib["viewBox"] == "0 0 640 420"
    lines = [x for x in top.iter(SVG + "polyline") if x.find(SVG + "title") is not None]
    assert [x.find(SVG + "title").text for x in lines] == [
        p["name"].replace("\x01", "\ufffd") for p in c["plans"]]
    texts = [(x.text, float(x.attrib["y"])) for x in top.iter(SVG + "text")]
    ticks = {float(t): y for t, y in texts if t and t.startswith("0.")}
    (low, y_low), (high, y_high) = min(ticks.items()), max(ticks.items())
    for i, line in enumerate(lines):
        points = [p.split(",") for p in line.attrib["points"].split()]
        for b, (_, y) in zip(c["blocks"], points, strict=True):
            ratio = low + (float(y) + 4 - y_low) / (y_high - y_low) * (high - low)
            assert ratio == pytest.approx(b["sparsity"][i], abs=1e-3)


def test_picture_has_room_for_so_many(plans):
    many = {f"layers.{i}.w": {"alpha_mid": 2 + i % 5, "params": 9} for i in range(5001)}
    r = post(plans, "?format=svg", metrics=many, sparsity=0.5)
    assert r.status == 422 and "5000" in r.json["detail"]
    assert post(plans, metrics=many, sparsity=0.5).status == 200


# --- on the command line ----------------------------------------------------------------------


def ctl(d, *args, status=0, **env):
    r = subprocess.run([CTL, "--server", f"http://127.0.0.1:{d.port}", "plan", *args],
                       capture_output=True, text=True, timeout=60, env={**os.environ, **env})
    assert r.returncode == status, r.stderr
    return r


def test_on_the_command_line(plans, analysis, tmp_path):
    c = post(plans, analysis=analysis, sparsity=0.7).json
    picture = tmp_path / "plans.svg"
    options = [analysis, "--compare", "--sparsity", "0.7"]
    assert json.loads(ctl(plans, *options, "--json", "--svg", str(picture)).stdout) == c
    assert picture.read_bytes() == post(plans, "?format=svg", analysis=analysis, sparsity=0.7).body
    rows = list(csv.reader(ctl(plans, *options, "--csv").stdout.splitlines()))
    assert rows[0] == ["block"] + [p["name"] for p in c["plans"]]
    assert [[r[0], *map(float, r[1:])] for r in rows[1:]] == [
        [b["block"], *b["sparsity"]] for b in c["blocks"]]
    text = ctl(plans, *options, LC_ALL="C.UTF-8").stdout
    assert "0.499 \u2581" in text and "0.951 \u2588" in text
    blocks, table = text.split("\n\n")
    assert len(blocks.splitlines()) == 5 and len(table.splitlines()) == 6
    assert table.splitlines()[2].split()[-5:] == ["-", "-", "0.00", "-0.80", "-"]
    assert "\u2581" not in ctl(plans, *options, LC_ALL="C").stdout
    c = json.loads(ctl(plans, *options, "--json", "--max", "0.8", "--exclude", "down_proj",
                       "--plans", "atp,alphapruning:alpha_peak").stdout)
    assert [p["name"] for p in c["plans"]] == ["atp", "alphapruning alpha_peak"]
    assert max(p["max"] for p in c["plans"]) <= 0.8


def test_of_a_model(plans, analysis, tmp_path):
    """It is analysed first, or was before."""
    options = ["--compare", "--sparsity", "0.7", "--csv", "--plans", "atp,alphapruning:alpha"]
    want = ctl(plans, analysis, *options).stdout
    assert ctl(plans, "manlm.safetensors", *options).stdout == want
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), tmp_path)
    r = ctl(plans, str(tmp_path / "manlm.safetensors"), *options)
    assert r.stdout == want and "uploading" in r.stderr
    assert plans.get("/v1/uploads").json["uploads"] == []


def test_misused(plans, analysis, tmp_path):
    assert "required" in ctl(plans, analysis, "--compare", status=1).stderr
    assert "--compare" in ctl(plans, analysis, "--sparsity", "0.7", "--svg", "x", status=1).stderr
    assert "not for" in ctl(plans, analysis, "--sparsity", "0.7", "--compare", "--epsilon", "0.1",
                            status=1).stderr
    picture = tmp_path / "plans.svg"
    ctl(plans, analysis, "--sparsity", "0.7", "--compare", "--plans", "atp,no", "--svg",
        str(picture), status=2)
    assert not picture.exists()
