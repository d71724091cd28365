"""Plans of a source nobody has read yet: jobs of kind plan."""

import json
import os
import random
import shutil
import subprocess
import time

import numpy as np
import pytest

from daemon import CTL, Daemon, TOP, write_safetensors
from perplexity import load

SMALL = "manlm.safetensors"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A daemon with the example, old enough that its digests are remembered."""
    d = Daemon(str(tmp_path_factory.mktemp("planjobs")))
    shutil.copy(os.path.join(TOP, "examples", SMALL), d.root)
    time.sleep(2.2)
    with d:
        yield d
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()


@pytest.fixture(scope="module")
def big_model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("big") / "big.safetensors")
    rng = np.random.default_rng(31)
    write_safetensors(path, {f"layers.{i}.fc.weight":
                             rng.standard_normal((1024, 900 + 8 * i)).astype(np.float32)
                             for i in range(12)})
    return path


def post(d, headers=None, **body):
    return d.request("POST", "/v1/plans", body, headers)


def job(d, headers=None, source=None, labels=None, **params):
    body = {"kind": "plan", "source": source or {"path": SMALL}, "params": params}
    if labels:
        body["labels"] = labels
    return d.request("POST", "/v1/jobs", body, headers)


def finished(d, r):
    assert r.status in (200, 202), r.body
    done = d.wait_final(r.json["id"])
    assert done["state"] == "succeeded", done
    return done


def problem(r, status, pointer):
    assert r.status == status, r.body
    assert r.json["errors"][0]["pointer"] == pointer, r.json
    return r.json


def solved(d):
    return sum(float(line.split()[-1]) for line in d.get("/metrics").body.decode().splitlines()
               if line.startswith("spectrald_cache_misses_total"))


# --- shapes: no spectrum ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["uniform", "uniform_plus", "er", "erk", "atp"])
def test_methods_of_shapes_solve_nothing(served, method):
    before = solved(served)
    r = post(served, {"Prefer": "wait=30"}, source={"path": SMALL}, method=method, sparsity=0.6)
    assert r.status == 200 and r.headers["Preference-Applied"] == "wait=30"
    p = r.json
    assert p["analysis"] is None and p["method"] == method and len(p["tensors"]) == 28
    assert r.headers["Location"] == f"/v1/plans/{p['id']}" == p["links"]["self"]
    path, rel = r.headers["Link"].split("; ")
    assert rel == 'rel="via"'
    made = served.get(path.strip("<>")).json
    assert made["kind"] == "plan" and made["result"] == {"plan": p["id"]}
    assert made["links"]["result"] == f"/v1/plans/{p['id']}"
    assert made["cache"] == {"hits": 0, "misses": 0} and solved(served) == before
    assert served.get(f"/v1/plans/{p['id']}").json == p
    again = post(served, {"Prefer": "wait=30"}, source={"path": SMALL}, method=method, sparsity=0.6)
    assert again.json == p and again.headers["Link"] != r.headers["Link"]


def test_shapes_plan_as_an_analysis_does(served):
    analysis = served.analyze(SMALL)[0]["result"]["analysis"]
    for method, more in (("erk", {}), ("uniform", {"m": 8, "exclude": "q_proj"}),
                         ("atp", {"limits": {"max": 0.7}})):
        a = post(served, analysis=analysis, method=method, sparsity=0.6, **more).json
        b = post(served, {"Prefer": "wait=30"}, source={"path": SMALL}, method=method, sparsity=0.6,
                 **more).json
        for p in (a, b):
            for name in ("id", "analysis", "links"):
                del p[name]
        assert a == b


def test_a_quick_plan_reads_headers_only(tmp_path, big_model):
    """No byte of a weight: the file is a hole."""
    d = Daemon(str(tmp_path))
    shutil.copy(big_model, d.root)
    with d:
        r = post(d, {"Prefer": "wait=30"}, source={"path": "big.safetensors"}, method="erk",
                 sparsity=0.5)
        assert r.status == 200 and len(r.json["tensors"]) == 12
        metrics = d.get("/metrics").body.decode()
        assert 'spectrald_tasks_total{type="digest"' not in metrics or \
            'spectrald_tasks_total{type="digest"} 0' in metrics
        assert d.get("/v1/models").json["models"] == []
        assert d.get("/v1/analyses").json["analyses"] == []


def test_outliers_need_statistics(served):
    problem(post(served, source={"path": SMALL}, method="owl", sparsity=0.5), 422, "#/stats")
    names = {t["name"] for t in post(served, {"Prefer": "wait=30"}, source={"path": SMALL},
                                     method="uniform", sparsity=0.5).json["tensors"]}
    rng = random.Random(1)
    stats = {n: rng.random() for n in sorted(names)}
    r = post(served, {"Prefer": "wait=30"}, source={"path": SMALL}, method="owl", sparsity=0.5,
             stats=stats)
    assert r.status == 200
    assert {t["name"]: t["metric"] for t in r.json["tensors"]} == stats


# --- spectra ------------------------------------------------------------------------------------


def test_plan_of_spectra_is_that_of_the_analysis(tmp_path):
    d = Daemon(str(tmp_path))
    shutil.copy(os.path.join(TOP, "examples", SMALL), d.root)
    with d:
        time.sleep(2.2)
        r = post(d, {"Prefer": "respond-async"}, source={"path": SMALL}, sparsity=0.7,
                 limits={"min": 0.5}, labels={"run": "a"})
        assert r.status == 202 and r.headers["Location"] == f"/v1/jobs/{r.json['id']}"
        assert r.headers["Preference-Applied"] == "respond-async"
        assert r.json["kind"] == "plan" and r.json["source"] == {"path": SMALL}
        assert r.json["params"]["method"] == "alphapruning"
        assert r.json["params"]["limits"] == {"min": 0.5, "max": 0.99}
        assert r.json["params"]["analyze"]["min_evals"] == 10
        done = finished(d, r)
        assert done["cache"]["misses"] > 0
        analysis = done["result"]["analysis"]
        got = d.get(f"/v1/plans/{done['result']['plan']}")
        assert got.status == 200
        assert got.json == post(d, analysis=analysis, sparsity=0.7, limits={"min": 0.5}).json
        assert d.get(f"/v1/analyses/{analysis}").json["labels"] == {"run": "a"}
        assert d.get(f"/v1/analyses/{analysis}").json["job"] == done["id"]
        # All is cached: the plan itself, at once.
        now = post(d, source={"path": SMALL}, sparsity=0.7, limits={"min": 0.5})
        assert now.status == 200 and "Preference-Applied" not in now.headers
        assert [t["sparsity"] for t in now.json["tensors"]] == \
            [t["sparsity"] for t in got.json["tensors"]]
        via = d.get(now.headers["Link"].split(";")[0].strip("<>")).json
        assert via["cache"]["misses"] == 0
        assert via["result"]["analysis"] == now.json["analysis"] != analysis
        born = job(d, sparsity=0.7)
        assert born.status == 200 and born.headers["Cache-Status"] == "spectrald; hit"
        # The rows are those of an analyze job.
        other = d.analyze(SMALL)[0]["result"]["analysis"]
        pick = lambda a: d.get(f"/v1/analyses/{a}/layers").json["layers"]  # noqa: E731
        assert pick(analysis) == pick(other)


def test_bit_widths(served):
    done = finished(served, job(served, method="alphaq", bits={"average": 3.5}))
    p = served.get(f"/v1/plans/{done['result']['plan']}").json
    assert p == post(served, analysis=done["result"]["analysis"], method="alphaq",
                     bits={"average": 3.5}).json
    assert p["method"] == "alphaq" and p["achieved_bits"] <= 3.5


def test_windows_are_asked_for_by_their_metric(served):
    small = {"rows": 64, "windows": 3}
    done = finished(served, job(served, metric="farms_alpha", sparsity=0.6))
    assert done["params"]["analyze"]["farms"]["rows"] == 2000
    done = finished(served, job(served, metric="farms_alpha", sparsity=0.6,
                                analyze={"farms": small}))
    assert done["params"]["analyze"]["farms"]["rows"] == 64
    p = served.get(f"/v1/plans/{done['result']['plan']}").json
    assert p["metric"] == "farms_alpha" and all(t["metric"] for t in p["tensors"])
    assert "farms" in done["params"]["analyze"]
    plain = finished(served, job(served, sparsity=0.6))
    assert plain["params"]["analyze"]["farms"] is None
    problem(job(served, metric="farms_alpha", sparsity=0.6, analyze={"farms": None}), 400,
            "#/params/analyze/farms")


def test_filters_of_the_analysis_leave_tensors_out(served):
    done = finished(served, job(served, sparsity=0.6, method="uniform",
                                analyze={"exclude": "mlp"}))
    p = served.get(f"/v1/plans/{done['result']['plan']}").json
    assert len(p["tensors"]) == 16 and not any("mlp" in t["name"] for t in p["tensors"])
    assert p["warnings"][0]["code"] == "skipped"


def test_uploads(served):
    with open(os.path.join(TOP, "examples", SMALL), "rb") as f:
        up = served.request("POST", "/v1/uploads?name=x.safetensors", f.read(),
                            {"Content-Type": "application/octet-stream"}).json["id"]
    r = post(served, {"Prefer": "wait=30"}, source={"upload": up}, sparsity=0.6)
    assert r.status == 200 and len(r.json["tensors"]) == 28


# --- refused and failed -------------------------------------------------------------------------


def test_refused(served):
    for body, pointer in (
            ({}, "#/sparsity"),
            ({"sparsity": 2}, "#/sparsity"),
            ({"sparsity": 0.5, "analysis": "ana_" + "0" * 26}, "#/analysis"),
            ({"sparsity": 0.5, "metrics": {}}, "#/metrics"),
            ({"sparsity": 0.5, "epsilon": "x"}, "#/epsilon"),
            ({"sparsity": 0.5, "exclude": "("}, "#/exclude"),
            ({"sparsity": 0.5, "labels": {"a": 1}}, "#/labels/a"),
            ({"sparsity": 0.5, "surprise": 1}, "#/surprise"),
            ({"sparsity": 0.5, "analyze": 1}, "#/analyze"),
            ({"sparsity": 0.5, "analyze": {"min_evals": -1}}, "#/analyze/min_evals"),
            ({"sparsity": 0.5, "analyze": {"include": "("}}, "#/analyze/include")):
        problem(post(served, source={"path": SMALL}, **body), 400, pointer)
        if pointer in ("#/labels/a",):
            continue
        r = served.request("POST", "/v1/jobs", {"kind": "plan", "source": {"path": SMALL},
                                                "params": body})
        problem(r, 400, pointer.replace("#", "#/params", 1))
    problem(post(served, source=1, sparsity=0.5), 400, "#/source")
    problem(post(served, source={"path": "gone"}, sparsity=0.5), 404, "#/source/path")
    problem(post(served, analysis="ana_" + "0" * 26, sparsity=0.5, analyze={}), 400, "#/analyze")
    problem(served.request("POST", "/v1/jobs", {"kind": "plan", "source": {"path": SMALL}}), 400,
            "#/params/sparsity")
    problem(served.request("POST", "/v1/jobs", {"kind": "x", "source": {"path": SMALL}}), 400,
            "#/kind")


@pytest.mark.parametrize("body,code,pointer", [
    ({"sparsity": 0.9, "limits": {"max": 0.8}}, "limit", "#/sparsity"),
    ({"sparsity": 0.5, "metric": "no_such"}, "invalid", "#/metric"),
    ({"sparsity": 0.5, "exclude": ["gone"]}, "invalid", "#/exclude"),
    ({"sparsity": 0.5, "exclude": "."}, "invalid", "#/exclude"),
    ({"sparsity": 0.5, "limits": {"tensors": {"gone": {"max": 0.1}}}}, "invalid",
     "#/limits/tensors/gone"),
    ({"sparsity": 0.9, "method": "erk", "limits": {"max": 0.8}}, "limit", "#/sparsity"),
    ({"sparsity": 0.5, "analyze": {"include": "none"}, "method": "er"}, "invalid", "#/source"),
])
def test_jobs_that_fail_name_the_field(served, body, code, pointer):
    before = solved(served)
    r = job(served, {"Prefer": "wait=30"}, **body)
    assert r.status == 200 and r.json["state"] == "failed" and r.json["reason"] == "input_invalid"
    where = pointer if pointer == "#/source" else pointer.replace("#", "#/params", 1)
    assert r.json["error"]["code"] == code
    assert r.json["error"]["errors"] == [{"pointer": where, "detail": r.json["error"]["detail"]}]
    assert r.json["result"] is None
    assert served.get(f"/v1/jobs/{r.json['id']}").json["error"] == r.json["error"]
    p = problem(post(served, {"Prefer": "wait=30"}, source={"path": SMALL}, **body),
                422 if code == "limit" else 400, pointer)
    assert r.json["error"]["detail"] in p["detail"]
    assert solved(served) == before  # before any work was done


def test_what_no_source_holds_fails_before_the_work(tmp_path, big_model):
    d = Daemon(str(tmp_path))
    shutil.copy(big_model, d.root)
    with d:
        r = job(d, {"Prefer": "wait=30"}, {"path": "big.safetensors"}, sparsity=0.9,
                limits={"max": 0.5})
        assert r.json["state"] == "failed" and r.json["cache"]["misses"] == 0
        assert solved(d) == 0


# --- what must survive --------------------------------------------------------------------------


def test_keys_replay(served):
    headers = {"Idempotency-Key": "plan-1", "Prefer": "wait=30"}
    first = post(served, headers, source={"path": SMALL}, sparsity=0.61)
    again = post(served, headers, source={"path": SMALL}, sparsity=0.61)
    assert first.status == again.status == 200 and first.json == again.json
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Link"] == first.headers["Link"]
    assert post(served, headers, source={"path": SMALL}, sparsity=0.62).json["code"] == "key_reused"


def test_keys_replay_a_job_that_runs(tmp_path, big_model):
    d = Daemon(str(tmp_path))
    shutil.copy(big_model, d.root)
    with d:
        headers = {"Idempotency-Key": "plan-2"}
        a, b = (post(d, headers, source={"path": "big.safetensors"}, sparsity=0.5)
                for _ in range(2))
        assert a.status == b.status == 202 and a.json["id"] == b.json["id"]
        assert "Idempotency-Replayed" not in a.headers
        assert b.headers["Idempotency-Replayed"] == "true"
        finished(d, a)


def test_killed_daemon_makes_the_same_plan(tmp_path, big_model):
    d = Daemon(str(tmp_path))
    shutil.copy(big_model, d.root)
    d.start()
    r = job(d, source={"path": "big.safetensors"}, sparsity=0.5, labels={"run": "k"})
    assert r.status == 202
    for seconds in (0.3, 0.7, 0.5):
        time.sleep(seconds)
        d.kill()
        d.start()
    done = finished(d, r)
    assert done["attempt"] >= 2 and done["labels"] == {"run": "k"}
    p = d.get(f"/v1/plans/{done['result']['plan']}")
    assert p.status == 200 and p.json["analysis"] == done["result"]["analysis"]
    assert p.json["achieved_sparsity"] == pytest.approx(0.5, rel=1e-9)
    assert p.json == post(d, analysis=done["result"]["analysis"], sparsity=0.5).json
    d.kill()
    d.start()
    assert d.get(f"/v1/plans/{done['result']['plan']}").json == p.json
    d.stop()


def test_cancel(tmp_path, big_model):
    d = Daemon(str(tmp_path))
    shutil.copy(big_model, d.root)
    with d:
        r = job(d, source={"path": "big.safetensors"}, sparsity=0.5)
        c = d.request("POST", f"/v1/jobs/{r.json['id']}:cancel", headers={"Prefer": "wait=30"})
        assert c.json["state"] == "cancelled" and c.json["result"] is None
        # Who waited for it is told.
        headers = {"Idempotency-Key": "c", "Prefer": "respond-async"}
        r = post(d, headers, source={"path": "big.safetensors"}, sparsity=0.4)
        assert r.status == 202
        d.request("POST", f"/v1/jobs/{r.json['id']}:cancel", headers={"Prefer": "wait=30"})
        p = post(d, headers, source={"path": "big.safetensors"}, sparsity=0.4)
        assert p.status == 409 and "cancelled" in p.json["detail"]


def test_jobs_by_kind(served):
    finished(served, job(served, sparsity=0.63))
    jobs = served.get("/v1/jobs?kind=plan").json["jobs"]
    assert jobs and {j["kind"] for j in jobs} == {"plan"}
    metrics = served.get("/metrics").body.decode()
    assert 'spectrald_jobs_finished_total{kind="plan",outcome="succeeded"' in metrics


# --- decisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path,body", [
    ("/v1/schedules", {"method": "tempbalance", "base_lr": 0.1}),
    ("/v1/experts", {"total": 16})])
def test_decisions_say_that_they_were_replayed(served, path, body):
    headers = {"Idempotency-Key": f"decision{path}"}
    body = {"source": {"path": SMALL}, **body}
    first = served.request("POST", path, body, headers)
    again = served.request("POST", path, body, headers)
    assert first.status == again.status == 200 and first.json == again.json
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


# --- the command line ---------------------------------------------------------------------------


def ctl(d, *args):
    return subprocess.run([CTL, "--server", f"http://127.0.0.1:{d.port}", *args],
                          capture_output=True, text=True, timeout=120)


def test_on_the_command_line(served, tmp_path):
    example = os.path.join(TOP, "examples", SMALL)
    r = ctl(served, "plan", os.path.join(served.root, SMALL), "--sparsity", "0.64", "--json")
    assert r.returncode == 0, r.stderr
    p = json.loads(r.stdout)
    assert p["achieved_sparsity"] == pytest.approx(0.64, rel=1e-9) and p["analysis"]
    assert served.get(f"/v1/plans/{p['id']}").json == p
    assert ctl(served, "plan", SMALL, "--sparsity", "0.64", "--no-upload").returncode == 0
    # Outside every root: uploaded, and gone again.
    r = ctl(served, "plan", example, "--sparsity", "0.5", "--method", "erk")
    assert r.returncode == 0 and "uploading it" in r.stderr and "pln_" in r.stdout, r.stderr
    kept = {u["id"] for u in served.get("/v1/uploads").json["uploads"]}
    r = ctl(served, "plan", example, "--sparsity", "0.5", "--method", "erk", "--upload",
            "--keep-upload")
    assert r.returncode == 0
    now = {u["id"] for u in served.get("/v1/uploads").json["uploads"]}
    assert len(now - kept) == 1
    served.request("DELETE", f"/v1/uploads/{(now - kept).pop()}")


def test_misused_and_failed_on_the_command_line(served):
    path = os.path.join(served.root, SMALL)
    for args, status, text in (
            ((path,), 1, "--sparsity"),
            ((path, "--sparsity", "0.5", "--upload", "--no-upload"), 1, "exclude each other"),
            ((path, "--sparsity", "0.9", "--max", "0.5"), 3, "sparsity"),
            (("gone", "--sparsity", "0.5"), 2, "gone"),
            ((path, "--sparsity", "7"), 2, "sparsity")):
        r = ctl(served, "plan", *args)
        assert r.returncode == status and text in r.stderr, (args, r.returncode, r.stderr)


# --- statistics of inputs -----------------------------------------------------------------------


def read_sumsq(path):
    """{module: sums of squares} with aliases followed."""
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + n])
    aliases = json.loads(head.pop("__metadata__")["aliases"])
    own = {k.removesuffix(".sumsq"): np.frombuffer(
        raw[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]], "<f8")
        for k, t in head.items() if k.endswith(".sumsq")}
    return own | {k: own[v] for k, v in aliases.items()}


@pytest.mark.parametrize("factor", [None, 3])
def test_outliers_and_scores_of_a_file(daemon, factor):
    d = daemon
    for name in ("manlm.safetensors", "manlm.stats.safetensors"):
        shutil.copy(os.path.join(TOP, "examples", name), d.root)
    weights = load(os.path.join(d.root, "manlm.safetensors"))
    scores, blocks = {}, {}
    for module, q in read_sumsq(os.path.join(d.root, "manlm.stats.safetensors")).items():
        s = np.abs(weights[module + ".weight"]) * np.sqrt(q.astype(np.float32))[None]
        scores[module] = s.astype(np.float64)
        blocks.setdefault(module.rsplit(".", 2)[0], []).append(scores[module])
    means = {b: sum(x.sum() for x in v) / sum(x.size for x in v) for b, v in blocks.items()}
    want = {"owl": {m: 100 * (s > (factor or 5) * means[m.rsplit(".", 2)[0]]).mean()
                    for m, s in scores.items()},
            "dlp": {m: s.mean() for m, s in scores.items()}}
    for method, numbers in want.items():
        body = {"source": {"path": "manlm.safetensors"}, "method": method, "sparsity": 0.7,
                "stats": {"path": "manlm.stats.safetensors"}}
        if factor and method == "owl":
            body["outlier_factor"] = factor
        r = d.request("POST", "/v1/plans", body, {"Prefer": "wait=60"})
        assert r.status == 200, r.body
        for t in r.json["tensors"]:
            assert t["metric"] == pytest.approx(numbers[t["name"]], rel=1e-6)
        sent = d.request("POST", "/v1/plans", {
            "source": {"path": "manlm.safetensors"}, "method": method, "sparsity": 0.7,
            "stats": {t["name"]: t["metric"] for t in r.json["tensors"]}}, {"Prefer": "wait=60"})
        assert [t["sparsity"] for t in sent.json["tensors"]] == \
            [t["sparsity"] for t in r.json["tensors"]]
        assert d.get(f"/v1/plans/{r.json['id']}").json == r.json


@pytest.mark.parametrize("body,pointer,status", [
    ({"analysis": "ana_" + "0" * 26}, "/stats", 400),
    ({"source": {"path": "manlm.safetensors"}, "stats": {"path": "nope"}}, "/stats", 404),
    ({"source": {"path": "manlm.safetensors"}, "stats": {"path": "manlm.safetensors"}}, "/stats",
     400),
    ({"source": {"path": "manlm.safetensors"}, "outlier_factor": 0.5}, "/outlier_factor", 400),
    ({"source": {"path": "manlm.safetensors"}, "stats": {"a": 1}, "outlier_factor": 3},
     "/outlier_factor", 400)])
def test_statistics_that_are_refused(daemon, body, pointer, status):
    for name in ("manlm.safetensors", "manlm.stats.safetensors"):
        shutil.copy(os.path.join(TOP, "examples", name), daemon.root)
    r = daemon.request("POST", "/v1/plans", {"method": "owl", "sparsity": 0.7, "stats": {
        "path": "manlm.stats.safetensors"}, **body}, {"Prefer": "wait=60"})
    assert r.status == status and r.json["errors"][0]["pointer"] == "#" + pointer, r.body
