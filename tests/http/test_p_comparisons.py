"""GET /v1/comparisons: the same layers in several analyses, and pictures of them."""

import csv
import io
import itertools
import json
import os
import struct
import subprocess
import xml.etree.ElementTree

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon, write_safetensors

DATA = os.path.join(TOP, "tests/data/plots")
SVG = "{http://www.w3.org/2000/svg}"
USUAL = ["alpha", "D", "log_spectral_norm", "stable_rank"]
STEPS = {"300": 0.0, "2000": 0.6, "10000": 1.0}  # how much noise is left out, out of order as text
ALONE = "model.layers.9.mlp.up_proj"
STILL = "model.layers.0.mlp.up_proj"


def example():
    with open(os.path.join(TOP, "examples/manlm.safetensors"), "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    tensors = {}
    for name, t in head.items():
        if name != "__metadata__":
            low, high = t["data_offsets"]
            assert t["dtype"] == "BF16"
            bits = np.frombuffer(data[low:high], np.uint16).astype(np.uint32) << 16
            tensors[name] = bits.view(np.float32).reshape(t["shape"])
    return tensors


def checkpoints(root):
    """Matrices that come out of noise; the last step leaves some as they were."""
    whole = example()
    rng = np.random.default_rng(5)
    noise = {k: rng.standard_normal(v.shape).astype(np.float32) * np.float32(0.02)
             for k, v in whole.items()}
    for step, share in STEPS.items():
        tensors = {k: (v if v.ndim < 2 else np.float32(share) * v + np.float32(1 - share) * noise[k])
                   for k, v in whole.items()}
        tensors[STILL + ".weight"] = whole[STILL + ".weight"] + noise[STILL + ".weight"]
        if step == "300":
            tensors[STILL + ".weight"] = noise[STILL + ".weight"]
            tensors[ALONE + ".weight"] = noise[STILL + ".weight"] * np.float32(2)
        write_safetensors(f"{root}/step{step}.safetensors", tensors)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    d = Daemon(str(tmp_path_factory.mktemp("comparisons")))
    checkpoints(d.root)
    with d:
        yield d
    assert "Sanitizer" not in d.log_text(), d.log_text()


@pytest.fixture(scope="module")
def runs(server):
    """Ids by step, and rows by id."""
    ids, rows = {}, {}
    for step in ("10000", "300", "2000"):
        job = server.submit(f"step{step}.safetensors", labels={"run": "a", "step": step}).json
        ids[step] = job["result"]["analysis"]
        got = server.get(f"/v1/analyses/{ids[step]}/layers?page_size=10000").json["layers"]
        rows[ids[step]] = {r["longname"]: r for r in got if r["status"] != "skipped"}
    return [ids[s] for s in STEPS], rows


def ask(server, ids, more="", **headers):
    return server.get(f"/v1/comparisons?analyses={','.join(ids)}{more}", **headers)


# --- numbers --------------------------------------------------------------------------------------

def test_values_are_those_of_the_rows(server, runs):
    ids, rows = runs
    got = ask(server, ids).json
    assert [a["id"] for a in got["analyses"]] == ids and got["step_label"] is None
    assert [a["at"] for a in got["analyses"]] == [0, 1, 2]
    assert [m["metric"] for m in got["metrics"]] == USUAL
    names = set().union(*rows.values())
    assert {x["longname"] for x in got["layers"]} == names and got["n_layers"] == len(names)
    for x in got["layers"]:
        of = [rows[i].get(x["longname"]) for i in ids]
        assert x["missing_in"] == [i for i, r in zip(ids, of) if r is None]
        known = next(r for r in of if r)
        assert (x["role"], x["layer_type"]) == (known["role"], known["layer_type"])
        for m in USUAL:
            v = x["metrics"][m]
            assert v["values"] == [r and r[m] for r in of]
            both = None not in (v["values"][0], v["values"][-1])
            assert v["difference"] == (v["values"][-1] - v["values"][0] if both else None)
    assert [x["longname"] for x in got["layers"] if x["missing_in"]] == [ALONE]
    assert got["n_shared"] == len(names) - 1


def test_what_changed(server, runs):
    """By the digests of the last two analyses; a layer that left before has not changed since."""
    ids, rows = runs
    got = ask(server, ids).json
    for x in got["layers"]:
        a, b = (rows[i].get(x["longname"], {}).get("digest") for i in ids[-2:])
        assert x["changed"] == (a != b), x["longname"]
    some = ask(server, ids, "&changed=true").json
    assert some["layers"] == [x for x in got["layers"] if x["changed"]]
    assert len(some["layers"]) == some["n_changed"] == got["n_changed"] == got["n_layers"] - 2
    assert STILL not in {x["longname"] for x in some["layers"]}
    assert (some["metrics"], some["warning_changes"]) == (got["metrics"], got["warning_changes"])
    gone = ask(server, ids[:2], "&changed=true").json["layers"]
    assert next(x for x in gone if x["longname"] == ALONE)["missing_in"] == [ids[1]]
    come = ask(server, ids[1::-1], "&changed=true").json["layers"]
    assert next(x for x in come if x["longname"] == ALONE)["missing_in"] == [ids[1]]


def test_moved(server, runs):
    ids, _ = runs
    got = ask(server, ids, "&moved=4").json
    all_of = ask(server, ids, "&moved=1000").json
    for short, long, m in zip(got["metrics"], all_of["metrics"], USUAL):
        assert short["moved"] == long["moved"][:4]
        d = {x["longname"]: x["metrics"][m]["difference"] for x in got["layers"]}
        d = {k: v for k, v in d.items() if v}
        assert [(x["longname"], x["difference"]) for x in long["moved"]] == \
            sorted(d.items(), key=lambda x: -abs(x[1]))
        v = np.array(list(d.values()))
        spread = 1.4826 * np.median(np.abs(v - np.median(v)))
        for x in long["moved"]:
            assert x["z"] == pytest.approx((x["difference"] - np.median(v)) / spread)
        whole = [x["metrics"][m]["values"] for x in got["layers"] if None not in x["metrics"][m]["values"]]
        assert short["mean"] == pytest.approx(list(np.mean(whole, axis=0)))
        assert short["n_layers"] == len(whole)
        assert short["difference"] == pytest.approx(short["mean"][-1] - short["mean"][0])


def word(alpha):
    return "over-trained" if alpha < 2 else "under-trained" if alpha > 6 else ""


def test_warnings(server, runs):
    """Whichever metrics are asked for."""
    ids, _ = runs
    layers = ask(server, ids).json["layers"]
    want = []
    for x in layers:
        known = [(i, v) for i, v in zip(ids, x["metrics"]["alpha"]["values"]) if v is not None]
        want += [{"longname": x["longname"], "analysis": i, "warning_before": word(a),
                  "warning_after": word(b),
                  "alpha_before": a, "alpha_after": b}
                 for (_, a), (i, b) in zip(known, known[1:]) if word(a) != word(b)]
    assert want and {len(w["warning_before"]) for w in want} != {0}
    assert ask(server, ids).json["warning_changes"] == want
    assert ask(server, ids, "&metrics=rank_loss,D").json["warning_changes"] == want


# --- trends ---------------------------------------------------------------------------------------

def trend_of(t, x):
    """Theil and Sen, Kendall's tau-b: by the definitions."""
    p = [(a, b) for a, b in zip(t, x) if b is not None]
    pairs = list(itertools.combinations(p, 2))
    slope = np.median([(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs]) if pairs else None
    s = sum(np.sign(b[1] - a[1]) for a, b in pairs)
    ties = sum(b[1] == a[1] for a, b in pairs)
    tau = s / np.sqrt(len(pairs) * (len(pairs) - ties)) if len(pairs) > ties else None
    return slope, tau


def test_trend_over_a_label(server, runs):
    ids, _ = runs
    got = ask(server, [ids[2], ids[0], ids[1]], "&step=step").json
    assert got["step_label"] == "step" and [a["id"] for a in got["analyses"]] == ids
    t = [a["at"] for a in got["analyses"]]
    assert t == [300, 2000, 10000]
    for x in got["layers"]:
        for m in USUAL:
            v = x["metrics"][m]
            slope, tau = trend_of(t, v["values"])
            assert v["trend"]["slope"] == (slope if slope is None else pytest.approx(slope))
            assert v["trend"]["kendall"] == (tau if tau is None else pytest.approx(tau))
            assert v["trend"]["n"] == len([y for y in v["values"] if y is not None])
            out = [i for i, y in zip(ids, v["values"]) if m == "alpha" and y and word(y)]
            assert v["trend"]["outside"] == len(out)
            assert v["trend"]["leaves"] == (out[0] if out else None)
            back = [i for i in ids if out and ids.index(i) > ids.index(out[0]) and i not in out and
                    v["values"][ids.index(i)] is not None]
            assert v["trend"]["returns"] == (back[0] if back else None)
    assert any(x["metrics"]["alpha"]["trend"]["returns"] for x in got["layers"])
    for m in got["metrics"]:
        assert m["trend"]["slope"] == pytest.approx(trend_of(t, m["mean"])[0])
    assert all(x["metrics"]["D"]["trend"] is None for x in ask(server, ids[:2]).json["layers"])


def test_csv(server, runs):
    ids, _ = runs
    for r in (ask(server, ids, "&format=csv&step=step&metrics=D,alpha&changed=true"),
              ask(server, ids, "&step=step&metrics=D,alpha&changed=true", Accept="text/csv")):
        assert r.headers["Content-Type"].startswith("text/csv")
        lines = list(csv.DictReader(io.StringIO(r.body.decode(), newline="")))
        want = []
        for x in ask(server, ids, "&step=step&metrics=D,alpha&changed=true").json["layers"]:
            for m, v in x["metrics"].items():
                numbers = [*v["values"], v["difference"], v["trend"]["slope"], v["trend"]["kendall"]]
                want.append([x["longname"], m, "true", *numbers])
        assert [[*list(ln.values())[:3], *(float(v) if v else None for v in list(ln.values())[3:])]
                for ln in lines] == want
        assert list(lines[0])[3:] == [*ids, "difference", "slope", "kendall"]


# --- caching --------------------------------------------------------------------------------------

def test_what_never_changes_is_cached(server, runs):
    ids, _ = runs
    r = ask(server, ids)
    assert "immutable" in r.headers["Cache-Control"]
    assert ask(server, ids, **{"If-None-Match": r.headers["ETag"]}).status == 304
    r = ask(server, ids, "&step=step")
    assert r.headers["Cache-Control"] == "private, no-cache"
    same = ask(server, ids, "&step=step", **{"If-None-Match": r.headers["ETag"]})
    assert same.status == 304 and same.headers["Cache-Control"] == "private, no-cache"


def label(server, analysis, **labels):
    r = server.request("PATCH", f"/v1/analyses/{analysis}", {"labels": labels},
                       {"If-Match": "*", "Content-Type": "application/merge-patch+json"})
    assert r.status == 200, r.body


def test_labels_change(server, runs):
    ids, _ = runs
    for i, a in enumerate(ids):
        label(server, a, epoch=str(i))
    first = ask(server, ids, "&step=epoch").json
    label(server, ids[0], epoch="2.5e0")
    second = ask(server, ids, "&step=epoch").json
    assert [a["id"] for a in first["analyses"]] == ids
    assert [a["id"] for a in second["analyses"]] == [ids[1], ids[2], ids[0]]
    assert second["analyses"][2]["at"] == 2.5
    label(server, ids[0], epoch="soon")
    r = ask(server, ids, "&step=epoch")
    assert r.status == 400 and r.json["errors"][0]["parameter"] == "step" and ids[0] in r.json["detail"]


# --- refusals -------------------------------------------------------------------------------------

@pytest.mark.parametrize("query, parameter", [
    ("", "analyses"), ("analyses=", "analyses"), ("analyses={0}", "analyses"),
    ("analyses={0},{0}", "analyses"), ("analyses={0},,{1}", "analyses"),
    ("analyses={0},{1}&metrics=longname", "metrics"), ("analyses={0},{1}&metrics=", "metrics"),
    ("analyses={0},{1}&metrics=D,D", "metrics"), ("analyses={0},{1}&step=run", "step"),
    ("analyses={0},{1}&step=a%20b", "step"), ("analyses={0},{1}&step=none", "step"),
    ("analyses={0},{1}&moved=x", "moved"), ("analyses={0},{1}&changed=maybe", "changed"),
    ("analyses={0},{1}&kind=trend", "kind")])
def test_refused(server, runs, query, parameter):
    r = server.get("/v1/comparisons?" + query.format(*runs[0]))
    assert r.status == 400 and r.json["errors"][0]["parameter"] == parameter, r.body


def test_unknown_analysis(server, runs):
    r = ask(server, [runs[0][0], "ana_06gzr4pm3s6v2tq0k8j5n1c7xd"])
    assert r.status == 404 and "ana_06gzr4pm3s6v2tq0k8j5n1c7xd" in r.json["detail"]
    many = ["ana_" + "0" * 24 + f"{i:02d}" for i in range(65)]
    assert "64" in ask(server, many).json["detail"]
    columns = ("D,M,N,Q,alpha,alpha_weighted,entropy,lambda_max,log_alpha_norm,log_norm,"
               "matrix_rank,norm,num_evals,num_pl_spikes,rank_loss,rf,sigma")
    assert "16" in ask(server, runs[0], "&metrics=" + columns).json["detail"]
    assert ask(server, runs[0], "&metrics=" + columns[:columns.rindex(",")]).status == 200


def test_a_limit_on_values(tmp_path):
    """64 analyses and 16 metrics: 488 layers are the most."""
    columns = ("D,M,N,Q,alpha,alpha_weighted,entropy,lambda_max,log_alpha_norm,log_norm,"
               "matrix_rank,norm,num_evals,num_pl_spikes,rank_loss,rf")
    rng = np.random.default_rng(2)
    with Daemon(str(tmp_path)) as d:
        write_safetensors(f"{d.root}/m.safetensors",
                          {f"l.{i}.weight": rng.standard_normal((16, 14)).astype(np.float32)
                           for i in range(489)})
        ids = [d.submit("m.safetensors", {"min_evals": 4}).json["result"]["analysis"]
               for _ in range(64)]
        r = ask(d, ids, "&metrics=" + columns)
        assert r.status == 422 and "500000" in r.json["detail"], r.body[:200]
        got = ask(d, ids[:63], "&metrics=" + columns).json
        assert got["n_layers"] == 489 and got["n_changed"] == 0


def test_rows_are_read_in_pieces(tmp_path):
    """Of a thousand each: here two whole ones, and then two and a part."""
    rng = np.random.default_rng(3)
    tensors = {f"l.{i}.weight": rng.standard_normal((7, 6)).astype(np.float32)
               for i in range(2100)}
    with Daemon(str(tmp_path)) as d:
        write_safetensors(f"{d.root}/b.safetensors", tensors)
        write_safetensors(f"{d.root}/a.safetensors", dict(list(tensors.items())[100:]))
        of = [d.analyze(f"{m}.safetensors", {"min_evals": 3}) for m in "ab"]
        ids = [job["result"]["analysis"] for job, _ in of]
        got = ask(d, ids, "&metrics=log_norm").json
        assert (got["n_layers"], got["n_shared"], got["n_changed"]) == (2100, 2000, 100)
        for x in got["layers"]:
            rows = [r.get(x["longname"]) for _, r in of]
            assert x["metrics"]["log_norm"]["values"] == [r and r["log_norm"] for r in rows]
            assert x["missing_in"] == [i for i, r in zip(ids, rows) if r is None]
        back = ask(d, ids[::-1], "&metrics=log_norm&changed=true").json
        assert len(back["layers"]) == 100 and back["n_changed"] == 100


# --- pictures -------------------------------------------------------------------------------------

PICTURES = {"comparison_alpha": "&kind=alpha_scatter", "comparison_trend": "&kind=trend&step=step",
            "comparison_norm": "&kind=trend&metric=log_spectral_norm"}


def picture(server, runs, query):
    return server.get(f"/v1/comparisons/plot.svg?analyses={','.join(runs[0])}{query}")


@pytest.mark.parametrize("name", PICTURES)
def test_golden(server, runs, name):
    """Look at a picture before writing it anew."""
    r = picture(server, runs, PICTURES[name])
    assert r.status == 200 and r.headers["Content-Type"] == "image/svg+xml"
    assert "script" not in r.headers["Content-Security-Policy"]
    golden = os.path.join(DATA, name + ".svg")
    if os.environ.get("SPECTRALD_WRITE_GOLDEN"):
        with open(golden, "wb") as f:
            f.write(r.body)
    with open(golden, "rb") as f:
        assert r.body == f.read()


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_picture(server, runs, name):
    top = xml.etree.ElementTree.fromstring(picture(server, runs, PICTURES[name]).body)
    assert top.attrib["viewBox"] == "0 0 640 420" and top.find(SVG + "title").text
    for e in top.iter():
        for x, y in (p.split(",") for p in e.attrib.get("points", "").split()):
            assert 0 <= float(x) <= 640 and 0 <= float(y) <= 420
        for key, most in (("x", 640), ("y", 420), ("cx", 640), ("cy", 420)):
            assert 0 <= float(e.attrib.get(key, 0)) <= most, (name, e.attrib)


def says(server, runs, query):
    top = xml.etree.ElementTree.fromstring(picture(server, runs, query).body)
    return [e.find(SVG + "title").text for e in top.iter()
            if e.tag != SVG + "svg" and e.find(SVG + "title") is not None]


def test_pictures_say_the_numbers(server, runs):
    got = ask(server, runs[0]).json
    want = []
    for x in got["layers"]:
        v = x["metrics"]["alpha"]["values"]
        if v[0] is not None and v[-1] is not None:
            want.append(f"{x['longname']}: alpha {v[0]:.4g}, then {v[-1]:.4g}")
    assert [s for s in says(server, runs, "") if "then" in s] == want
    moved = [x["longname"] for x in got["metrics"][2]["moved"][:5]]
    lines = says(server, runs, PICTURES["comparison_norm"])
    assert {s.split(":")[0] for s in lines} == {*moved, "mean of all layers"}
    for i, x in enumerate(got["metrics"][2]["mean"]):
        assert f"mean of all layers: {x:.6g} at {i}" in lines


def test_pictures_refused(server, runs):
    def refused(query, parameter, status=400):
        r = picture(server, runs, query)
        assert r.status == status and r.json["errors"][0]["parameter"] == parameter, r.body

    refused("&kind=pie", "kind")
    refused("&metric=D", "metric")
    refused("&kind=trend&metric=D,alpha", "metric")
    refused("&kind=trend&metric=longname", "metric")
    refused("&metrics=D", "metrics")
    assert picture(server, runs, "&kind=trend&metric=farms_alpha").status == 404
    assert server.get(f"/v1/comparisons/plot.svg?analyses={','.join(runs[0])}",
                      Accept="text/csv").status == 406


# --- the command line -----------------------------------------------------------------------------

def ctl(server, *args):
    where = f"http://127.0.0.1:{server.port}"
    return subprocess.run([CTL, "--server", where, *args], capture_output=True, text=True)


def test_compare_command(server, runs, tmp_path):
    ids, _ = runs
    got = ask(server, ids, "&moved=3&metrics=D").json
    r = ctl(server, "compare", *ids, "--metrics", "D", "--top", "3")
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    for line, m in zip(lines[2:], got["metrics"][0]["moved"]):
        cells = line.split()
        layer = next(x for x in got["layers"] if x["longname"] == m["longname"])
        trend = layer["metrics"]["D"]["trend"]
        assert cells[:4] == [m["longname"], f"{m['first']:.4f}", f"{m['last']:.4f}",
                             f"{m['difference']:.4f}"]
        assert cells[4:7] == [f"{m['z']:.1f}", f"{trend['slope']:.3g}", f"{trend['kendall']:.2f}"]
    assert f"{got['n_changed']} of {got['n_layers']} layers changed" in r.stdout
    assert f"1 of {got['n_layers']} layers are not in all analyses" in r.stdout
    assert json.loads(ctl(server, "compare", *ids, "--json").stdout)["layers"]
    some = ctl(server, "compare", *ids, "--changed", "--csv").stdout
    assert some.splitlines() == ask(server, ids, "&changed=true&format=csv").body.decode().splitlines()
    out = tmp_path / "a.svg"
    assert ctl(server, "compare", *ids, "--plot", str(out)).returncode == 0
    assert out.read_bytes() == picture(server, runs, "").body
    assert ctl(server, "compare", ids[0]).returncode == 1
    assert ctl(server, "compare", ids[0], "ana_nobody").returncode == 2
    assert ctl(server, "compare", *ids, "--json", "--csv").returncode == 1


def test_trend_command(server, runs, tmp_path):
    ids, _ = runs
    out = tmp_path / "t.svg"
    r = ctl(server, "trend", "run:a", "--plot", str(out), "--top", "2")
    assert r.returncode == 0, r.stderr
    assert f"alpha, 3 analyses, from {ids[0]} to {ids[2]}" in r.stdout
    assert "under-trained -> " in r.stdout
    assert out.read_bytes() == picture(server, runs, PICTURES["comparison_trend"]).body
    got = json.loads(ctl(server, "trend", "run:a", "--json", "--metrics", "D").stdout)
    assert got == ask(server, ids, "&step=step&metrics=D&moved=20").json
    r = ctl(server, "trend", "run:b")
    assert r.returncode == 1 and "it takes two" in r.stderr
    assert ctl(server, "trend", "run:a", "--step", "none").returncode == 1
