"""POST /v1/diagnostics/simpson and spectralctl simpson."""

import csv
import io
import json
import os
import random
import subprocess

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon

URL = "/v1/diagnostics/simpson"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    d = Daemon(str(tmp_path_factory.mktemp("simpson")))
    with d:
        yield d
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()


def ask(d, rows, **more):
    r = d.request("POST", URL, {"rows": rows, **more})
    assert r.status == 200, r.body
    return r.json


def problem(d, body, status, pointer):
    r = d.request("POST", URL, body)
    assert r.status == status, (r.status, r.body)
    assert r.json["errors"][0]["pointer"] == "#" + pointer, r.body
    return r.json["detail"]


def row(group="a", quality=1.0, **more):
    return {"group": group, "quality": quality, "metrics": {"alpha": 2.0}, **more}


# --- the paradox ------------------------------------------------------------------------------------

def contest_task_2():
    """Models as in the second task of the contest, after the figures of arXiv 2106.00734: groups of
    one depth, quality falls with alpha and rises with log lambda_max inside them. Depth moves both:
    deeper ones have larger alphas and accuracies, and smaller lambda_max."""
    rng = random.Random(2106)
    rows = []
    for group, n, alpha, scale, accuracy in (("2xx", 18, 5.5, .7, .92), ("10xx", 12, 4.6, 1., .90),
                                             ("9xx", 6, 3.6, 1.3, .87), ("6xx", 18, 2.2, 1.9, .74)):
        for _ in range(n):
            bad = rng.gauss(0, 1)  # how badly this one was trained
            a, s = alpha + .6 * bad, scale - .1 * bad + rng.gauss(0, .02)
            rows.append({"group": group, "quality": accuracy - .006 * bad + rng.gauss(0, .002),
                         "metrics": {"alpha": a, "log_spectral_norm": s, "alpha_weighted": a * s}})
    return rows


def slope(x, y):
    return np.polyfit(x, y, 1)[0]


def test_the_paradox_of_the_contest(served):
    rows = contest_task_2()
    answer = ask(served, rows)
    alpha, scale, _ = answer["metrics"]
    assert [m["metric"] for m in answer["metrics"]] == ["alpha", "log_spectral_norm",
                                                        "alpha_weighted"]
    # Right inside every group, wrong pooled; and the other way round.
    assert alpha["paradox"] and alpha["wrong"] == "pooled" and alpha["better"] == "lower"
    assert scale["paradox"] and scale["wrong"] == "within"
    assert alpha["pooled"]["slope"] > 0 > alpha["within"]["slope"]
    assert scale["pooled"]["slope"] < 0 < scale["within"]["slope"]
    assert all(alpha["conditions"].values()) and alpha["within"]["agreeing"] == 4
    x, y = (np.array([r["metrics"]["alpha"] for r in rows]), np.array([r["quality"] for r in rows]))
    group = np.array([r["group"] for r in rows])
    assert np.isclose(alpha["pooled"]["slope"], slope(x, y), rtol=1e-9)
    assert [g["group"] for g in alpha["groups"]] == ["2xx", "10xx", "9xx", "6xx"]
    for g in alpha["groups"]:
        mine = group == g["group"]
        assert g["n"] == mine.sum() and np.isclose(g["slope"], slope(x[mine], y[mine]), rtol=1e-9)
        assert g["exact"] == (g["n"] <= 8) and g["p"] < .05
    for name in set(group):
        x[group == name] -= x[group == name].mean()
        y[group == name] -= y[group == name].mean()
    assert np.isclose(alpha["within"]["slope"], (x * y).sum() / (x * x).sum(), rtol=1e-9)
    assert answer["warnings"] == [] and answer["rows"] == 54 and answer["seed"] == 0
    assert ask(served, rows) == answer


def test_what_is_expected(served):
    rows = contest_task_2()
    answer = ask(served, rows, expected={"alpha": "higher", "log_spectral_norm": "unknown"})
    assert [m["wrong"] for m in answer["metrics"][:2]] == ["within", None]
    assert [m["better"] for m in answer["metrics"][:2]] == ["higher", None]
    for r in rows:
        r["quality"] = 1 - r["quality"]
    answer = ask(served, rows, better="lower")
    assert [m["wrong"] for m in answer["metrics"][:2]] == ["pooled", "within"]
    assert answer["better"] == "lower"
    for r in rows:
        r["metrics"] = {"mine": r["metrics"]["alpha"]}
    answer = ask(served, rows)["metrics"][0]
    assert answer["better"] is None and answer["wrong"] is None and answer["paradox"]


def test_random_orders(served):
    rows = contest_task_2()
    p = lambda **q: ask(served, rows, **q)["metrics"][0]["pooled"]  # noqa: E731
    assert p()["replicates"] == 9999 and p(replicates=99)["replicates"] == 99
    assert p(replicates=99)["p"] >= .01
    none = p(replicates=0)
    assert none["p"] is None and none["replicates"] == 0
    for r in rows:
        r["quality"] = random.Random(str(r)).random()
    assert p(seed=1)["p"] == p(seed=1)["p"] != p(seed=2)["p"]


def test_missing_numbers_and_small_groups(served):
    rows = [row("a", i, metrics={"x": i, "y": None if i == 2 else -i}) for i in range(5)]
    rows += [row("b", i, metrics={"x": i}) for i in range(3)]
    x, y = ask(served, rows)["metrics"]
    assert x["left_out"] == 0 and x["pooled"]["n"] == 8 and x["within"]["groups"] == 1
    assert y["left_out"] == 4 and y["pooled"]["n"] == 4
    assert x["groups"][1]["slope"] is None and x["groups"][1]["n"] == 3
    assert y["groups"][1]["n"] == 0 and y["between"]["slope"] is None
    assert "1 of 2 groups have fewer than 4 rows" in ask(served, rows)["warnings"][0]


# --- the contest's score ----------------------------------------------------------------------------

def grid(more=3, drop=()):
    rng = random.Random(7)
    rows = []
    for depth in (2, 4):
        for width in ("narrow", "wide"):
            for _ in range(0 if (depth, width) in drop else more):
                gap = rng.random()
                rows.append(row(gap=gap, metrics={"alpha": gap + .3 * rng.random(), "same": gap,
                                                  "noise": rng.random()},
                                hyperparameters={"depth": depth, "width": width}))
    return rows


def test_contest(served):
    answer = ask(served, grid(8), contest=True)["metrics"]
    alpha, same, noise = (m["contest"] for m in answer)
    assert abs(same["score"] - 100) < 1e-6 and 1 > noise["score"] / 10 >= 0
    assert noise["score"] < alpha["score"] < 99
    assert alpha["given"] == ["depth", "width"] and alpha["target"] == "gap"
    rows = grid(8)
    for r in rows:
        r["quality"] = r.pop("gap")
    assert ask(served, rows, contest=True)["metrics"][1]["contest"] == {**same, "target": "quality"}
    assert "contest" not in ask(served, rows)["metrics"][0]
    detail = problem(served, {"rows": grid(drop=[(4, "wide")]), "contest": True}, 422, "/contest")
    assert "incomplete" in detail and "0 is depth, 1 is width" in detail
    assert "more than one" in problem(served, {"rows": grid(1), "contest": True}, 422, "/contest")
    problem(served, {"rows": [row(), row()], "contest": True}, 400, "/contest")
    problem(served, {"rows": grid(251), "contest": True}, 422, "/contest")
    rows[3]["metrics"]["alpha"] = None
    assert "1 rows" in problem(served, {"rows": rows, "contest": True}, 400, "/contest")


# --- refusals ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("body,pointer", [
    ({}, "/rows"), ({"rows": []}, "/rows"), ({"rows": 3}, "/rows"),
    ({"rows": [row()], "more": 1}, "/more"), ({"rows": [row()], "better": "best"}, "/better"),
    ({"rows": [row()], "expected": {"alpha": "low"}}, "/expected/alpha"),
    ({"rows": [row()], "expected": {"beta": "lower"}}, "/expected/beta"),
    ({"rows": [row()], "expected": []}, "/expected"),
    ({"rows": [row()], "replicates": -1}, "/replicates"),
    ({"rows": [row()], "replicates": 1e7}, "/replicates"), ({"rows": [row()], "seed": .5}, "/seed"),
    ({"rows": [row()], "contest": 1}, "/contest"), ({"rows": [row()], "seed": None}, "/seed"),
    ({"rows": [row()], "expected": None}, "/expected"), ({"rows": None}, "/rows"),
    ({"rows": [row()], "expected": {"alpha": None}}, "/expected/alpha"),
    ({"rows": [row(), 3]}, "/rows/1"), ({"rows": [row(), row(extra=1)]}, "/rows/1/extra"),
    ({"rows": [row(), row(group="")]}, "/rows/1/group"),
    ({"rows": [row(), row(group=1)]}, "/rows/1/group"),
    ({"rows": [row(), row(group="x" * 129)]}, "/rows/1/group"),
    ({"rows": [row(quality=None)]}, "/rows/0/quality"),
    ({"rows": [row(quality=1e101)]}, "/rows/0/quality"),
    ({"rows": [row(), row(gap=1)]}, "/rows/1/gap"), ({"rows": [row(gap="1")]}, "/rows/0/gap"),
    ({"rows": [row(metrics=[])]}, "/rows/0/metrics"), ({"rows": [row(metrics={})]}, "/rows"),
    ({"rows": [row(metrics={"x": "1"})]}, "/rows/0/metrics"),
    ({"rows": [row(metrics={"": 1})]}, "/rows/0/metrics"),
    ({"rows": [row(hyperparameters=[])]}, "/rows/0/hyperparameters"),
    ({"rows": [row(hyperparameters={"a": None})]}, "/rows/0/hyperparameters"),
    ({"rows": [row(hyperparameters={"a": 1}), row(hyperparameters={"b": 1})]},
     "/rows/1/hyperparameters"),
    ({"rows": [row(hyperparameters={"a": 1}), row()]}, "/rows/1/hyperparameters")])
def test_refusals(served, body, pointer):
    problem(served, body, 400, pointer)


@pytest.mark.parametrize("rows,pointer", [
    ([row() for _ in range(10001)], "/rows"),
    ([row(f"g{i}") for i in range(1001)], "/rows/1000/group"),
    ([row(metrics={f"m{i}": 1 for i in range(17)})], "/rows/0/metrics"),
    ([row(metrics={f"m{i}": 1 for i in range(5)}) for _ in range(8001)], "/rows"),
    ([row(hyperparameters={f"h{i}": 1 for i in range(9)})], "/rows/0/hyperparameters")])
def test_limits(served, rows, pointer):
    problem(served, {"rows": rows}, 422, pointer)


def test_work_is_bounded(served):
    rows = [row(f"g{i % 3}", i % 7, metrics={"a": i % 5, "b": i % 11}) for i in range(2000)]
    assert ask(served, rows, replicates=10000)["metrics"][1]["pooled"]["replicates"] == 10000
    assert "10000" in problem(served, {"rows": rows, "replicates": 10001}, 422, "/replicates")
    rows *= 5
    assert ask(served, rows)["metrics"][0]["pooled"]["replicates"] == 2000


# --- spectralctl ------------------------------------------------------------------------------------

def ctl(d, *args, **more):
    return subprocess.run([CTL, "--server", f"http://127.0.0.1:{d.port}", "simpson", *args],
                          text=True, capture_output=True, timeout=60, **more)


def test_ctl(served, tmp_path):
    rows = contest_task_2()
    names = list(rows[0]["metrics"])
    path = tmp_path / "models.csv"
    with open(path, "w") as f:
        out = csv.writer(f)
        out.writerow(["depth, as \"ids\"", "acc", "note"] + names)
        for r in rows:
            out.writerow([r["group"], repr(r["quality"]), "a\nb"] +
                         [repr(r["metrics"][k]) for k in names])
    args = (str(path), "--group", "depth, as \"ids\"", "--quality", "acc")
    want = ask(served, rows)
    assert json.loads(ctl(served, *args, "--json").stdout) == want
    table = ctl(served, *args).stdout
    assert "alpha: Simpson's paradox; lower is better: pooled is wrong" in table
    assert "log_spectral_norm: Simpson's paradox; lower is better: within is wrong" in table
    assert "(pooled)" in table
    lines = list(csv.DictReader(io.StringIO(ctl(served, *args, "--csv").stdout)))
    assert len(lines) == 3 * 7
    assert float(lines[6]["slope"]) == want["metrics"][0]["pooled"]["slope"]
    assert lines[5]["rows"] == "between" and lines[5]["tau"] == "" and lines[0]["group"] == "2xx"
    one = ctl(served, *args, "--metric", "alpha", "--seed", "5", "--replicates", "99", "--better",
              "lower", "--json")
    for r in rows:
        r["metrics"] = {"alpha": r["metrics"]["alpha"]}
    assert json.loads(one.stdout) == ask(served, rows, seed=5, replicates=99, better="lower")
    body = {"rows": rows, "seed": 5}
    got = ctl(served, "-", "--json", input=json.dumps(body))
    assert json.loads(got.stdout) == ask(served, **body)
    got = ctl(served, "-", "--json", input=" " + json.dumps(rows))
    assert json.loads(got.stdout) == ask(served, rows)


def test_ctl_contest(served, tmp_path):
    rows = grid()
    text = "group,quality,gap,depth,width,alpha,same\n" + "".join(
        "a,1,{},{},{},{},{}\r\n".format(repr(r["gap"]), r["hyperparameters"]["depth"],
                                        r["hyperparameters"]["width"], repr(r["metrics"]["alpha"]),
                                        repr(r["metrics"]["same"])) for r in rows)
    args = ("-", "--contest", "--hyper", "depth", "--hyper", "width", "--gap", "gap")
    got = json.loads(ctl(served, *args, "--json", input=text).stdout)
    assert [m["metric"] for m in got["metrics"]] == ["alpha", "same"]
    want = ask(served, rows, contest=True)["metrics"]
    assert [m["contest"] for m in got["metrics"]] == [m["contest"] for m in want[:2]]
    assert "contest's score 100.00" in ctl(served, *args, input=text).stdout


def test_ctl_refusals(served, tmp_path):
    def says(text, *args):
        r = ctl(served, "-", *args, input=text)
        assert r.returncode == 1 and not r.stdout, (r.stdout, r.stderr)
        return r.stderr

    good = "group,quality,alpha\na,1,2\n"
    assert "no column is named \"depth\"" in says(good, "--group", "depth")
    assert "no column is named \"x\"" in says(good, "--metric", "x")
    assert "expected a number, not \"high\"" in says(good.replace("1", "high"))
    assert "line 3: 2 cells" in says(good + "a,1\n")
    assert "never closed" in says(good + '"a,1,2\n')
    assert "after a closing quote" in says(good + '"a"b,1,2\n')
    assert "line 1" in says("{")
    says(good, "--json", "--csv")
    assert ctl(served, str(tmp_path / "none.csv")).returncode == 1
    r = ctl(served, "-", input="group,quality\na,1\n")
    assert r.returncode != 0 and "no row has a metric" in r.stderr
