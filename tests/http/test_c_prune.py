"""spectralctl prune: what it asks for, what it uploads, what it tells."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from daemon import TOP, Daemon
from perplexity import load
from test_c_cli import JOB, UPLOAD, Pretender, job, problem, run_ctl

MODEL = os.path.join(TOP, "examples/manlm.safetensors")
STATS = os.path.join(TOP, "examples/manlm.stats.safetensors")
NAMES = [f"model.layers.{i}" for i in range(4)]


@pytest.fixture(scope="module")
def ctl(tmp_path_factory):
    """A server that has the example model, but not its statistics."""
    tmp = str(tmp_path_factory.mktemp("prune"))
    out = os.path.join(tmp, "out")
    os.makedirs(out)
    with Daemon(tmp, "--output-root", out) as d:
        shutil.copy(MODEL, d.root)
        run = lambda *args, **more: run_ctl(f"127.0.0.1:{d.port}", "prune", *args, **more)
        run.daemon, run.out = d, out
        yield run


def share(path):
    w = load(os.path.join(path, "manlm.safetensors"))
    return {k: float((x == 0).mean()) for k, x in w.items() if "_proj" in k}


# --- against the real daemon --------------------------------------------------------------------


def test_magnitude_without_statistics(ctl):
    r = ctl("manlm.safetensors", "--method", "magnitude", "--sparsity", "0.5", "--out", "a")
    assert r.returncode == 0, r.stderr
    assert all(abs(s - 0.5) < 1e-4 for s in share(os.path.join(ctl.out, "a")).values())
    lines = r.stdout.splitlines()
    assert lines[0].split() == ["block", "weights", "target", "achieved"]
    assert [x.split() for x in lines[1:5]] == [[n, "442368", "0.5000", "0.5000"] for n in NAMES]
    assert "50.00 % of its weights are zero, 50.00 % was the target" in r.stdout
    assert "47.32 % of all the model's weights, 49.95 % without embeddings and head" in r.stdout
    assert f": in {os.path.join(os.path.realpath(ctl.out), 'a')}\n" in r.stdout
    sums = subprocess.run(["b2sum", "manlm.safetensors", "sparsity_plan.json"], check=True,
                          cwd=os.path.join(ctl.out, "a"), capture_output=True, text=True).stdout
    artifact = re.search(r"^art_\w+", r.stdout, re.M)[0]
    files = ctl.daemon.get(f"/v1/artifacts/{artifact}").json["files"]
    assert {f["name"]: f["blake2b"] for f in files} == {
        line.split()[1]: line[:64] for line in sums.splitlines()}
    r = ctl("manlm.safetensors", "--method", "magnitude", "--sparsity", "0.5", "--out", "a")
    assert r.returncode == 2 and "#/params/output/path" in r.stderr


def test_statistics_are_uploaded_when_the_server_cannot_see_them(ctl):
    r = ctl("manlm.safetensors", "--method", "sparsegpt", "--sparsity", "0.5", "--stats", STATS)
    assert r.returncode == 0, r.stderr
    assert f"the server cannot see {STATS}: uploading it" in r.stderr
    assert "warning: the statistics are those of the dense model" in r.stderr
    assert r.stdout.splitlines()[0].split()[-1] == "error"
    assert "kept by the server" in r.stdout
    by_block = [float(x.split()[-1]) for x in r.stdout.splitlines()[1:5]]
    total = next(x for x in r.stdout.splitlines() if x.startswith("error of all matrices"))
    assert float(total.split()[-1]) == pytest.approx(sum(by_block), rel=1e-3) and min(by_block) > 0
    assert ctl.daemon.get("/v1/uploads").json["uploads"] == []


def test_a_plan_of_the_job(ctl):
    r = ctl("manlm.safetensors", "--method", "trim", "--sparsity", "0.6", "--stats", STATS,
            "--plan-method", "alphapruning", "--epsilon", "0.1", "--json", "--label", "run=x")
    assert r.returncode == 0, r.stderr
    report = json.loads(r.stdout)
    assert ctl.daemon.get(f"/v1/artifacts/{report['id']}").json == report
    params = ctl.daemon.get(f"/v1/jobs/{report['job']}").json
    assert params["labels"] == {"run": "x"}
    assert params["params"]["plan"]["method"] == "alphapruning"
    assert params["params"]["plan"]["epsilon"] == 0.1
    asked = [b["sparsity"] for b in report["blocks"]]
    assert max(asked) - min(asked) > 0.05
    r = ctl("manlm.safetensors", "--method", "trim", "--sparsity", "0.6", "--stats", STATS)
    assert r.stdout.splitlines()[0].split()[-2:] == ["uniform", "trim"]
    for line in r.stdout.splitlines()[1:5]:
        uniform, best = map(float, line.split()[-2:])
        assert 0.9 < uniform <= best <= 1


def test_a_plan_by_the_statistics(ctl):
    """One upload serves the plan and the method."""
    r = ctl("manlm.safetensors", "--method", "wanda", "--sparsity", "0.7", "--stats", STATS,
            "--plan-method", "owl", "--json")
    assert r.returncode == 0, r.stderr
    report = json.loads(r.stdout)
    params = ctl.daemon.get(f"/v1/jobs/{report['job']}").json["params"]
    assert params["stats"] == params["plan"]["stats"] and set(params["stats"]) == {"upload"}
    assert r.stderr.count("uploading it") == 1
    asked = [b["sparsity"] for b in report["blocks"]]
    assert max(asked) - min(asked) == pytest.approx(0.16, abs=0.01)
    assert ctl.daemon.get("/v1/uploads").json["uploads"] == []
    d = ctl.daemon
    r = run_ctl(f"127.0.0.1:{d.port}", "plan", "manlm.safetensors", "--method", "owl", "--sparsity",
                "0.7", "--stats", STATS, "--json")
    assert r.returncode == 0, r.stderr
    plan = json.loads(r.stdout)
    assert [b["sparsity"] for b in plan["blocks"]] == pytest.approx(asked)
    for flags in (["--method", "owl"], ["--stats", STATS],
                  ["--method", "uniform", "--stats", STATS]):
        r = run_ctl(f"127.0.0.1:{d.port}", "plan", "manlm.safetensors", "--sparsity", "0.7", *flags)
        assert r.returncode == 1 and "--stats" in r.stderr
    r = run_ctl(f"127.0.0.1:{d.port}", "plan", "ana_x", "--sparsity", "0.7", "--method", "dlp",
                "--stats", STATS)
    assert r.returncode == 1 and "PATH" in r.stderr


def test_a_plan_made_before(ctl):
    d = ctl.daemon
    analysis = d.analyze("manlm.safetensors")[0]["result"]["analysis"]
    plan = d.request("POST", "/v1/plans", {"analysis": analysis, "sparsity": 0.55}).json
    r = ctl("manlm.safetensors", "--method", "magnitude", "--plan", plan["id"], "--csv")
    assert r.returncode == 0, r.stderr
    rows = list(csv.DictReader(io.StringIO(r.stdout)))
    want = {t["name"]: t["sparsity"] for t in plan["tensors"]}
    assert {x["name"]: float(x["sparsity"]) for x in rows} == want
    for row in rows:
        assert abs(float(row["achieved"]) - float(row["sparsity"])) < 1e-4
        assert row["keep"] == row["error"] == "" and row["zeros_before"] == "0"


def test_groups(ctl):
    r = ctl("manlm.safetensors", "--method", "magnitude", "--keep", "1", "--of", "4", "--exclude",
            "down_proj", "--out", "groups", "--quiet")
    assert r.returncode == 0 and r.stderr == "", r.stderr
    assert r.stdout.startswith("art_") and len(r.stdout.split()) == 1
    for name, w in load(os.path.join(ctl.out, "groups", "manlm.safetensors")).items():
        if "down_proj" in name:
            assert (w != 0).all()
        elif "_proj" in name:
            assert ((w != 0).reshape(w.shape[0], -1, 4).sum(-1) == 1).all()


def test_options_of_plans_and_of_trim(ctl):
    r = ctl("manlm.safetensors", "--method", "trim", "--sparsity", "0.7", "--stats", STATS, "--json",
            "--plan-method", "owl", "--spread", "0.3", "--outlier-factor", "7",
            "--no-negative-rates")
    assert r.returncode == 0, r.stderr
    report = json.loads(r.stdout)
    asked = [b["sparsity"] for b in report["blocks"]]
    assert max(asked) - min(asked) == pytest.approx(0.3, abs=0.01)
    assert all(t["trim"]["learning_rate"] >= 0 for t in report["tensors"])
    params = ctl.daemon.get(f"/v1/jobs/{report['job']}").json["params"]
    assert params["plan"]["outlier_factor"] == 7 and params["plan"]["width"] == 0.3
    assert params["trim"] == {"negative_rates": False}
    r = run_ctl(f"127.0.0.1:{ctl.daemon.port}", "plan", "manlm.safetensors", "--method", "owl",
                "--sparsity", "0.7", "--stats", STATS, "--spread", "0.3", "--outlier-factor", "7",
                "--json")
    assert r.returncode == 0, r.stderr
    assert [b["sparsity"] for b in json.loads(r.stdout)["blocks"]] == pytest.approx(asked)
    r = ctl("manlm.safetensors", "--method", "magnitude", "--sparsity", "0.5", "--spread", "0.1")
    assert r.returncode == 1 and "--plan-method" in r.stderr


def test_some_blocks(ctl):
    r = ctl("manlm.safetensors", "--method", "magnitude", "--sparsity", "0.5", "--blocks",
            "model.layers.2", "--blocks", "model.layers.0", "--out", "some")
    assert r.returncode == 0, r.stderr
    assert [x.split()[0] for x in r.stdout.splitlines()[1:3]] == NAMES[::2]
    for name, s in share(os.path.join(ctl.out, "some")).items():
        assert (s > 0.49) == (".layers.2." in name or ".layers.0." in name)
    r = ctl("manlm.safetensors", "--method", "magnitude", "--sparsity", "0.5", "--blocks", "one")
    assert r.returncode == 3 and 'has no block "one"' in r.stderr


def test_exact_counts(ctl):
    for flags, most in ((["--exact"], 1), ([], 1000)):
        name = f"exact{most}"
        r = ctl("manlm.safetensors", "--method", "magnitude", "--selection", "row", "--sparsity",
                "0.33", "--out", name, *flags)
        assert r.returncode == 0, r.stderr
        for k, w in load(os.path.join(ctl.out, name, "manlm.safetensors")).items():
            if "_proj" in k:
                missing = int(w.size * 0.33) - int((w == 0).sum())
                assert abs(missing) <= 1 if flags else missing == int(w.size * 0.33) - \
                    w.shape[0] * int(w.shape[1] * 0.33)


def test_refused_by_the_server(ctl):
    r = ctl("manlm.safetensors", "--method", "wanda", "--sparsity", "0.5")
    assert r.returncode == 2 and "needs calibration statistics" in r.stderr
    assert "#/params/stats" in r.stderr
    r = ctl("manlm.safetensors", "--method", "wanda", "--sparsity", "0.5", "--stats", STATS,
            "--no-upload")
    assert r.returncode == 2 and "#/params/stats" in r.stderr
    r = ctl("manlm.safetensors", "--method", "shear", "--sparsity", "0.5")
    assert r.returncode in (1, 2) and "method" in r.stderr
    r = ctl("manlm.safetensors", "--method", "trim", "--sparsity", "0.5", "--stats", MODEL)
    assert r.returncode == 3 and "sumsq" in r.stderr
    assert ctl.daemon.get("/v1/uploads").json["uploads"] == []


# --- against a pretended one --------------------------------------------------------------------


def deaf():
    """A server that sees no path at all, and remembers what it is sent."""
    got = {"params": [], "sources": [], "uploads": [], "deleted": []}

    def answer(method, path, body, headers):
        if method == "POST" and path.startswith("/v1/uploads"):
            got["uploads"].append(path.split("name=")[1])
            return 201, {}, {**UPLOAD, "id": f"upl_{len(got['uploads']):026}", "nbytes": len(body),
                             "sha256": hashlib.sha256(body).hexdigest()}
        if method == "POST":
            sent = json.loads(body)
            got["params"].append(sent["params"])
            got["sources"].append(sent["source"])
            if "path" in sent["params"].get("stats", {}):
                return problem(404, "not here", "#/params/stats/path")
            if "path" in sent["source"] and got.get("blind", True):
                return problem(403, "outside", "#/source/path")
            return 202, {}, job("running", kind="prune")
        if method == "DELETE":
            got["deleted"].append(path.rsplit("/", 1)[1])
            return 204, {}, b""
        if path.startswith("/v1/artifacts"):
            return 200, {}, {"id": "art_\x1b[31m", "path": "/out/\x1b[2Ja", "method": "wanda"}
        return 200, {"ETag": '"2"'}, job("succeeded", result={"artifact": "art_x"})

    answer.got = got
    return answer


def test_both_files_are_uploaded():
    with Pretender(a := deaf()) as server:
        r = run_ctl(server.name, "prune", MODEL, "--method", "wanda", "--sparsity", "0.5", "--stats",
                    STATS, "--quiet")
        assert r.returncode == 0 and r.stdout == "art_x\n" and r.stderr == "", r
        assert sorted(a.got["uploads"]) == ["manlm.safetensors", "manlm.stats.safetensors"]
        assert a.got["params"][0]["stats"] == {"path": STATS}
        assert set(a.got["params"][-1]["stats"]) == set(a.got["sources"][-1]) == {"upload"}
        assert len(a.got["deleted"]) == 2 and len(a.got["params"]) == 3
        r = run_ctl(server.name, "prune", MODEL, "--method", "wanda", "--sparsity", "0.5", "--stats",
                    STATS, "--upload", "--detach")
        assert r.stdout == JOB + "\n" and len(a.got["deleted"]) == 2
        assert len(a.got["params"]) == 4


def test_what_the_server_says_is_cleaned():
    with Pretender(a := deaf()) as server:
        a.got["blind"] = False
        r = run_ctl(server.name, "prune", "m", "--method", "magnitude", "--sparsity", "0.5")
        assert r.returncode == 0 and "\x1b" not in r.stdout + r.stderr
        assert "/out/?[2Ja" in r.stdout


@pytest.mark.parametrize("options,params", [
    (["--sparsity", "0.5"], {"sparsity": 0.5}),
    (["--plan", "pln_x"], {"plan": "pln_x"}),
    (["--keep", "5", "--of", "8"], {"sparsity": 0.375, "n_of_m": {"keep": 5, "of": 8}}),
    (["--sparsity", "0.5", "--exclude", "x"],
     {"plan": {"method": "uniform", "sparsity": 0.5, "exclude": "x"}}),
    (["--sparsity", "0.5", "--m", "8", "--min", "0.1", "--max", "0.9"],
     {"plan": {"method": "uniform", "sparsity": 0.5, "m": 8, "limits": {"min": 0.1, "max": 0.9}}}),
    (["--sparsity", "0.5", "--plan-method", "alphapruning", "--metric", "alpha", "--mapping",
      "mixed"], {"plan": {"method": "alphapruning", "sparsity": 0.5, "metric": "alpha",
                          "mapping": "mixed"}}),
    (["--sparsity", "0.5", "--selection", "row", "--exact", "--out", "d"],
     {"sparsity": 0.5, "selection": "row", "rounding": "exact", "output": {"path": "d"}}),
    (["--sparsity", "0.5", "--damping", "0.1", "--block-size", "64", "--ria-power", "1",
      "--rank-by", "wanda", "--trim-metric", "mse", "--trim-row-metric", "psnr"],
     {"sparsity": 0.5, "damping": 0.1, "block_size": 64, "ria_power": 1.0, "rank_by": "wanda",
      "trim": {"metric": "mse", "row_metric": "psnr"}}),
])
def test_options_become_parameters(options, params):
    with Pretender(a := deaf()) as server:
        a.got["blind"] = False
        r = run_ctl(server.name, "prune", "m", "--method", "magnitude", *options)
        assert r.returncode == 0, r.stderr
        assert a.got["params"] == [{"method": "magnitude", **params}]


@pytest.mark.parametrize("options,word", [
    ([], "--method"),
    (["--method", "magnitude"], "--sparsity"),
    (["--method", "magnitude", "--sparsity", "x"], "number"),
    (["--method", "magnitude", "--sparsity", "0.5", "--plan", "pln_x"], "--plan"),
    (["--method", "magnitude", "--sparsity", "0.5", "--keep", "2", "--of", "4"], "--keep"),
    (["--method", "magnitude", "--keep", "2"], "--of"),
    (["--method", "magnitude", "--keep", "5", "--of", "4"], "at most"),
    (["--method", "magnitude", "--keep", "0", "--of", "0"], "at most"),
    (["--method", "magnitude", "--plan", "pln_x", "--max", "0.9"], "--plan"),
    (["--method", "magnitude", "--keep", "2", "--of", "4", "--plan-method", "er"], "--plan-method"),
    (["--method", "magnitude", "--sparsity", "0.5", "--metric", "alpha"], "--plan-method"),
    (["--method", "magnitude", "--sparsity", "0.5", "--plan-method", "owl"], "--stats"),
    (["--method", "magnitude", "--sparsity", "0.5", "--upload", "--no-upload"], "--no-upload"),
    (["--method", "magnitude", "--sparsity", "0.5", "--json", "--csv"], "--csv"),
    (["--method", "magnitude", "--sparsity", "0.5", "--label", "x"], "KEY=VALUE"),
])
def test_misuse(options, word):
    r = run_ctl("127.0.0.1:1", "prune", "m", *options)
    assert r.returncode == 1 and word in r.stderr, r.stderr


# --- whole parts --------------------------------------------------------------------------------


def test_a_narrower_model(ctl):
    r = ctl("manlm.safetensors", "--method", "width", "--sparsity", "0.3", "--stats", STATS,
            "--multiple-of", "32", "--rank-by", "wifv", "--out", "narrow")
    assert r.returncode == 0, r.stderr
    assert "warning: there is no config.json" in r.stderr
    assert [x.split()[0] for x in r.stdout.splitlines()[1:5]] == NAMES
    assert "width: 352 of 512 neurons of each block stay, 30.00 % was the target" in r.stdout
    w = load(os.path.join(ctl.out, "narrow", "manlm.safetensors"))
    assert w["model.layers.3.mlp.down_proj.weight"].shape == (192, 352)
    left = sum(x.size for x in w.values())
    before = sum(x.size for x in load(MODEL).values())
    assert f"{left} of the model's {before} weights are left" in r.stdout
    r = ctl("manlm.safetensors", "--method", "width", "--keep-neurons", "100", "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["width"]["kept"] == 100


def test_experts(ctl):
    from test_w_reshape import big_mixture
    root = ctl.daemon.root
    big_mixture(root, layers=2, experts=4, side=16)
    r = ctl("mixture", "--method", "expert_drop", "--keep-experts", "3", "--stats",
            os.path.join(root, "mixture.stats.safetensors"), "--out", "fewer")
    assert r.returncode == 0, r.stderr
    assert "expert_drop: 3 of 4 experts of each layer stay, 25.00 % was the target" in r.stdout
    assert json.load(open(os.path.join(ctl.out, "fewer", "config.json")))["num_experts"] == 3
    for flags in (["--method", "width", "--keep-experts", "3"],
                  ["--method", "expert_drop", "--keep-neurons", "3"],
                  ["--method", "expert_drop", "--keep-experts", "3", "--sparsity", "0.5"],
                  ["--method", "expert_drop"]):
        r = ctl("mixture", *flags)
        assert r.returncode == 1 and "--keep-" in r.stderr, (flags, r.stderr)
