"""What clients count on when they repeat, trace and label requests."""

import concurrent.futures
import json
import os
import shutil

import numpy as np
import pytest

from daemon import TOP, Daemon, write_safetensors

MODEL = "manlm.safetensors"


def problem(r, status, code=None):
    assert r.status == status, (r.status, r.body)
    assert r.headers["Content-Type"] == "application/problem+json"
    assert code is None or r.json["code"] == code, r.body
    return r.json


@pytest.fixture
def slow(tmp_path):
    """A daemon that can be restarted, with the small model and one of some seconds of work."""
    d = Daemon(str(tmp_path))
    shutil.copy(os.path.join(TOP, "examples", MODEL), d.root)
    rng = np.random.default_rng(5)
    write_safetensors(d.root + "/slow.safetensors",
                      {f"l.{i}.weight": rng.standard_normal((1500, 1500)).astype(np.float32)
                       for i in range(6)})
    d.start()
    yield d
    d.stop()
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()


# --- Idempotency-Key ------------------------------------------------------------------------------

def post(d, key, body=None, **headers):
    body = body or {"kind": "analyze", "source": {"path": MODEL}, "labels": {"a": "1", "b": "2"}}
    return d.request("POST", "/v1/jobs", body, {"Idempotency-Key": key, **headers})


def n_jobs(d):
    return len(d.get("/v1/jobs?page_size=500").json["jobs"])


def test_a_repeated_post_is_one_job(daemon):
    first = post(daemon, "k-1", Prefer="wait=60")
    assert first.status == 200 and "Idempotency-Replayed" not in first.headers
    again = post(daemon, '"k-1"')  # quoted means the same
    assert again.status == 200 and again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Cache-Status" not in again.headers
    assert again.json == first.json
    # The order of members and the spelling do not matter, the content does.
    spelt = ('{ "labels": {"b":"2",  "a":"\\u0031"}, "source": {"path": "%s"}, "params": null,'
             ' "kind": "analyze"}' % MODEL)
    r = daemon.request("POST", "/v1/jobs", spelt,
                       {"Idempotency-Key": "k-1", "Content-Type": "application/json"})
    assert r.json["id"] == first.json["id"]
    assert n_jobs(daemon) == 1
    assert post(daemon, "k-2").json["id"] != first.json["id"]


def test_a_key_is_for_one_request_only(daemon):
    first = post(daemon, "k").json
    problem(post(daemon, "k", {"kind": "analyze", "source": {"path": MODEL}}), 422, "key_reused")
    problem(post(daemon, "k", {"kind": "analyze", "source": {"path": "gone"}}), 422, "key_reused")
    daemon.wait_final(first["id"])
    assert daemon.request("DELETE", f"/v1/jobs/{first['id']}").status == 204
    assert "deleted" in problem(post(daemon, "k"), 404)["detail"]
    assert n_jobs(daemon) == 0


def test_a_failed_post_leaves_its_key_unused(daemon):
    bad = [{"kind": "analyze", "source": {"path": "missing.safetensors"}},
           {"kind": "analyze", "source": {"path": MODEL}, "params": {"min_evals": -1}},
           {"kind": "analyze"}]
    for body in bad:
        assert 400 <= post(daemon, "k", body).status < 500
    r = post(daemon, "k")
    assert r.status in (200, 202) and "Idempotency-Replayed" not in r.headers


@pytest.mark.parametrize("key", ["", '""', '"open', 'a b', '"a" b', "x" * 256, '"bad\\escape"',
                                 "caf\u00e9"])
def test_bad_keys(refusing, key):
    assert "Idempotency-Key" in problem(post(refusing, key), 400)["detail"]
    assert n_jobs(refusing) == 0


def test_longest_key_and_escapes(daemon):
    assert post(daemon, "x" * 255).status in (200, 202)
    a = post(daemon, '"q\\"\\\\"').json["id"]
    assert post(daemon, 'q"\\').json["id"] == a


def test_keys_survive_a_crash(slow):
    body = {"kind": "analyze", "source": {"path": "slow.safetensors"}}
    first = post(slow, "night-run", body)
    assert first.status == 202
    slow.kill()
    os.unlink(slow.root + "/" + MODEL)  # of another job: what a replay needs is stored
    slow.start()
    r = post(slow, "night-run", body)
    assert r.status == 202 and r.headers["Idempotency-Replayed"] == "true"
    assert r.json["id"] == first.json["id"] and n_jobs(slow) == 1
    assert slow.request("POST", f"/v1/jobs/{r.json['id']}:cancel").status in (200, 202)
    slow.wait_final(r.json["id"])
    os.unlink(slow.root + "/slow.safetensors")
    r = post(slow, "night-run", body)  # the model is gone, the answer is not
    assert r.status == 200 and r.json["state"] == "cancelled"


def test_simultaneous_posts_make_one_job(slow):
    body = {"kind": "analyze", "source": {"path": "slow.safetensors"}}
    for attempt in range(5):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            got = list(pool.map(lambda _: post(slow, f"k{attempt}", body), range(16)))
        assert {r.status for r in got} <= {202, 409}
        assert len({r.json["id"] for r in got if r.status == 202}) == 1
        assert sum("Idempotency-Replayed" not in r.headers for r in got if r.status == 202) == 1
        for r in got:
            if r.status == 409:
                problem(r, 409, "in_flight")
                assert int(r.headers["Retry-After"]) > 0
    assert n_jobs(slow) == 5


# --- who asked ------------------------------------------------------------------------------------

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_trace_of_a_job(slow):
    d = slow
    body = {"kind": "analyze", "source": {"path": MODEL}}
    sent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-Id": "rq-77"}
    r = d.request("POST", "/v1/jobs", body, sent)
    assert r.headers["X-Request-Id"] == "rq-77" and r.json["trace_id"] == TRACE
    d.stop()
    assert f"request=rq-77 trace={TRACE}" in d.log_text()
    d.start()
    assert d.get(f"/v1/jobs/{r.json['id']}").json["trace_id"] == TRACE
    new = set()
    for bad in ["", f"00-{TRACE.upper()}-b7ad6b7169203331-01", f"01-{TRACE}-b7ad6b7169203331-01",
                f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01"]:
        trace = d.request("POST", "/v1/jobs", body, {"traceparent": bad}).json["trace_id"]
        assert len(trace) == 32 and trace != TRACE and set(trace) <= set("0123456789abcdef")
        new.add(trace)
    assert len(new) == 5


@pytest.mark.parametrize("sent,kept", [
    ("a", True), ("x" * 128, True), ("A-z_0.9:/+=@~", True),
    ("x" * 129, False), ("", False), ("a b", False), ('a"b', False), ("caf\u00e9", False)])
def test_request_ids(refusing, sent, kept):
    r = refusing.get("/v1/jobs/none", **{"X-Request-Id": sent})
    got = r.headers["X-Request-Id"]
    assert problem(r, 404)["instance"] == got
    assert got == sent if kept else got.startswith("req_")


@pytest.mark.parametrize("host,allowed", [
    ("localhost", True), ("127.0.0.1:1", True), ("127.9.9.9", True), ("[::1]:8437", True),
    ("LOCALHOST.", True), ("good.example:80", True), ("", False), ("good.example.evil", False),
    ("evil.example", False), ("localhost.evil.example", False), ("localhost@evil.example", False),
    ("127.1", False), ("0x7f.1", False), ("[::1", False), ("localhost:80x", False)])
def test_hosts(host_daemon, host, allowed):
    for path in ("/v1/jobs", "/metrics", "/openapi.yaml"):
        r = host_daemon.get(path, Host=host)
        assert r.status == 200 if allowed else problem(r, 421, "misdirected_request")
    assert host_daemon.get("/livez", Host=host).status == 200


@pytest.fixture(scope="module")
def host_daemon(tmp_path_factory):
    with Daemon(str(tmp_path_factory.mktemp("hosts")), "--allowed-hosts", "good.example") as d:
        yield d


@pytest.mark.parametrize("kind,allowed", [
    ("application/json", True), ("application/json; charset=utf-8", True),
    ("Application/JSON;charset=UTF-8", True), ("", False), ("text/plain", False),
    ("application/jsonp", False), ("application/x-www-form-urlencoded", False),
    ("multipart/form-data; boundary=x", False), ("text/json", False),
    ("text/plain; application/json", False), ("application/merge-patch+json", False)])
def test_content_types(host_daemon, kind, allowed):
    r = host_daemon.request("POST", "/v1/jobs", "{}", {"Content-Type": kind})
    problem(r, 400 if allowed else 415)


def test_no_content_type(host_daemon):
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", host_daemon.port)
    c.putrequest("POST", "/v1/jobs")
    c.putheader("Content-Length", "2")
    c.endheaders(b"{}")
    assert c.getresponse().status == 415
    c = http.client.HTTPConnection("127.0.0.1", host_daemon.port)
    c.putrequest("POST", "/v1/jobs")
    for kind in ("application/json", "text/plain"):
        c.putheader("Content-Type", kind)
    c.putheader("Content-Length", "2")
    c.endheaders(b"{}")
    assert c.getresponse().status == 400


# --- labels ---------------------------------------------------------------------------------------

def patch(d, path, labels, if_match="*", kind="application/merge-patch+json", **headers):
    h = {"Content-Type": kind, **headers}
    if if_match is not None:
        h["If-Match"] = if_match
    return d.request("PATCH", path, json.dumps({"labels": labels}), h)


def resources(d, **labels):
    job = d.submit(MODEL, labels=labels).json
    assert job["state"] == "succeeded", job
    return [f"/v1/jobs/{job['id']}", f"/v1/analyses/{job['result']['analysis']}"]


def test_labels_are_merged(daemon):
    for path in resources(daemon, run="a", step="1"):
        before = daemon.get(path)
        assert before.json["labels"] == {"run": "a", "step": "1"}
        r = patch(daemon, path, {"step": "2", "run": None, "note": "\u00e9 \"x\""},
                  before.headers["ETag"])
        assert r.status == 200, r.body
        assert r.json["labels"] == {"step": "2", "note": "\u00e9 \"x\""}
        assert r.headers["ETag"] != before.headers["ETag"]
        assert {k: v for k, v in r.json.items() if k not in ("labels", "version")} == \
               {k: v for k, v in before.json.items() if k not in ("labels", "version")}
        now = daemon.get(path)
        assert now.json == r.json and now.headers["ETag"] == r.headers["ETag"]
        assert daemon.get(path, **{"If-None-Match": before.headers["ETag"]}).status == 200
        assert daemon.get(path, **{"If-None-Match": now.headers["ETag"]}).status == 304
        # application/json does as well, with parameters
        r = patch(daemon, path, {}, now.headers["ETag"], "application/json; charset=utf-8")
        assert r.status == 200 and r.json["labels"] == now.json["labels"]


def test_conditions_of_a_patch(daemon):
    for path in resources(daemon, run="a"):
        etag = daemon.get(path).headers["ETag"]
        problem(patch(daemon, path, {"x": "1"}, None), 428, "precondition_required")
        problem(patch(daemon, path, {"x": "1"}, '"other"'), 412, "precondition_failed")
        problem(patch(daemon, path, {"x": "1"}, "W/" + etag), 412)
        assert daemon.get(path).json["labels"] == {"run": "a"}
        assert patch(daemon, path, {"x": "1"}, f'"other", {etag}').status == 200
        problem(patch(daemon, path, {"x": "2"}, etag), 412)
        assert patch(daemon, path, {"x": "3"}, "*").json["labels"] == {"run": "a", "x": "3"}


def test_tag_of_a_compressed_reply(daemon):
    for path in resources(daemon, text="x" * 250):
        r = daemon.get(path, **{"Accept-Encoding": "gzip"})
        assert patch(daemon, path, {"y": "1"}, r.headers["ETag"]).status == 200


def test_bad_patches(daemon):
    for path in resources(daemon, **{f"k{i}": "v" for i in range(31)}):
        bad = [{"labels": {"a": 1}}, {"labels": {"a b": "x"}}, {"labels": {"": "x"}},
               {"labels": {"x" * 65: "v"}}, {"labels": {"x": "v" * 257}}, {"labels": []},
               {"labels": None}, {}, {"labels": {}, "state": "failed"},
               {"labels": {"n1": "v", "n2": "v"}},
               {"labels": {f"x{i}": "v" for i in range(65)}}]
        for body in bad:
            r = daemon.request("PATCH", path, body, {"If-Match": "*"})
            assert problem(r, 400)["errors"][0]["pointer"], r.body
        problem(daemon.request("PATCH", path, "[1", {"If-Match": "*",
                                                    "Content-Type": "application/json"}), 400)
        assert len(daemon.get(path).json["labels"]) == 31
        assert patch(daemon, path, {"n1": "v", "n2": "v", "k0": None}).status == 200
        r = patch(daemon, path, {"a": "1"}, kind="text/plain")
        problem(r, 415)
        assert "application/merge-patch+json" in r.headers["Accept-Patch"]
        r = daemon.request("PUT", path, {})
        problem(r, 405)
        assert "PATCH" in r.headers["Allow"]
    none = "00000000000000000000000000"
    for path in (f"/v1/jobs/job_{none}", f"/v1/analyses/ana_{none}", "/v1/jobs/x",
                 "/v1/analyses/x"):
        problem(patch(daemon, path, {"a": "1"}), 404)
    problem(patch(daemon, path + "?x=1", {"a": "1"}), 400)


def test_one_of_many_simultaneous_patches_wins(daemon):
    for path in resources(daemon, n="0"):
        for n in range(3):
            etag = daemon.get(path).headers["ETag"]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                got = list(pool.map(lambda i: patch(daemon, path, {"n": f"{n}.{i}"}, etag),
                                    range(8)))
            assert sorted(r.status for r in got) == [200] + [412] * 7
            won = [r for r in got if r.status == 200][0]
            assert daemon.get(path).json["labels"] == won.json["labels"]
        # Without a condition none is lost.
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: patch(daemon, path, {f"p{i}": "v"}), range(16)))
        assert {f"p{i}" for i in range(16)} <= set(daemon.get(path).json["labels"])


def test_labels_of_a_running_job(slow):
    body = {"kind": "analyze", "source": {"path": "slow.safetensors"}, "labels": {"run": "a"}}
    job = slow.request("POST", "/v1/jobs", body).json
    path = f"/v1/jobs/{job['id']}"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        etag = slow.get(path).headers["ETag"]
        waiting = pool.submit(lambda: slow.get(path, **{"If-None-Match": etag, "Prefer": "wait=30"}))
        r = patch(slow, path, {"run": "b", "late": "yes"})
        assert r.status == 200 and r.json["state"] == "running"
        assert waiting.result().status == 200  # the wait ended with the change, or before it
    assert slow.get(path).json["labels"] == {"run": "b", "late": "yes"}
    for i in range(200):  # with the tag of what was just read; progress may come between
        now = slow.get(path)
        if now.json["state"] != "running" or \
           patch(slow, path, {"i": str(i)}, now.headers["ETag"]).status == 200:
            break
    assert now.json["state"] == "running"
    job = slow.wait_final(job["id"])
    assert job["labels"] == {"run": "b", "late": "yes", "i": str(i)}
    analysis = slow.get(f"/v1/analyses/{job['result']['analysis']}").json
    assert analysis["labels"] == job["labels"]
    # What memory said last is what is stored.
    before = slow.get(path)
    slow.stop()
    slow.start()
    after = slow.get(path)
    assert after.json == before.json and after.headers["ETag"] == before.headers["ETag"]


def test_tag_stays_when_a_job_ends(slow):
    body = {"kind": "analyze", "source": {"path": "slow.safetensors"}}
    job = slow.request("POST", "/v1/jobs", body).json
    path = f"/v1/jobs/{job['id']}"
    done = slow.request("POST", path + ":cancel", headers={"Prefer": "wait=30"})
    assert done.json["state"] == "cancelled"
    assert slow.get(path).headers["ETag"] == done.headers["ETag"]
    assert patch(slow, path, {"a": "b"}, done.headers["ETag"]).status == 200


def test_filters_by_label(daemon):
    for labels in ({"run": "a", "step": "1"}, {"run": "a:b", "step": "1"}, {"run": "a,b"},
                   {"step": "2"}):
        daemon.submit(MODEL, labels=labels)

    def found(query):
        for kind in ("jobs", "analyses"):
            got = [x["labels"] for x in daemon.get(f"/v1/{kind}?{query}").json[kind]]
        assert len(daemon.get(f"/v1/jobs?{query}").json["jobs"]) == len(got)
        return len(got)

    assert found("label=run") == 3 and found("label=step") == 3 and found("label=none") == 0
    assert found("label=run:a") == 1 and found("label=run:a:b") == 1 and found("label=run:a,b") == 1
    assert found("label=run&label=step") == 2 and found("label=run:a&label=step:1") == 1
    assert found("label=run:a&label=step:2") == 0 and found("label=run:") == 0
    page = daemon.get("/v1/jobs?label=run&label=step&page_size=1")
    assert page.json["next_page_token"] and "label=run&label=step&" in page.headers["Link"]
    url = page.headers["Link"].split("<")[1].split(">")[0]
    assert len(daemon.get(url).json["jobs"]) == 1
    problem(daemon.get(url.replace("label=step", "label=step:1")), 400)
    problem(daemon.get("/v1/jobs?" + "&".join(["label=a"] * 5)), 400)
    for bad in (":x", "", "x" * 65, "k:" + "v" * 257):
        assert problem(daemon.get(f"/v1/jobs?label={bad}"), 400)["errors"][0]["parameter"] == "label"
    patch(daemon, resources(daemon, run="a")[0], {"run": "z"})
    assert len(daemon.get("/v1/jobs?label=run:z").json["jobs"]) == 1
    assert daemon.get("/v1/analyses?label=run:z").json["analyses"] == []


# --- series ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs over checkpoints that differ from step to step."""
    d = Daemon(str(tmp_path_factory.mktemp("runs")))
    rng = np.random.default_rng(8)
    first = {f"model.layers.{i}.{p}.weight": rng.standard_normal((60, 50)).astype(np.float32)
             for i in range(3) for p in ("self_attn.q_proj", "mlp.up_proj")}
    first['odd,"alpha":9,\\.weight'] = rng.standard_normal((40, 30)).astype(np.float32)
    with d:
        for run in ("a", "b,\u00e9"):
            for step in ("100", "20", "3"):
                tensors = {k: v * rng.uniform(1, 2, v.shape).astype(np.float32)
                           for k, v in first.items()}
                if step == "3":
                    tensors["only.here.weight"] = first["model.layers.0.mlp.up_proj.weight"]
                write_safetensors(f"{d.root}/{run}-{step}.safetensors", tensors)
                job = d.submit(f"{run}-{step}.safetensors", labels={"run": run, "step": step}).json
                assert job["state"] == "succeeded", job
        yield d


def series(d, query, **headers):
    return d.get("/v1/series?" + query, **headers)


def test_series(runs):
    got = series(runs, "label=run&metric=alpha").json
    assert [s["value"] for s in got["series"]] == ["a", "b,\u00e9"]
    assert (got["metric"], got["label"], got["step_label"]) == ("alpha", "run", "step")
    for s in got["series"]:
        assert [x["step"] for x in s["steps"]] == ["3", "20", "100"]
        names = [x["longname"] for x in s["layers"]]
        assert 'odd,"alpha":9,\\' in names and len(names) == 8
        for i, step in enumerate(s["steps"]):
            rows = runs.get(f"/v1/analyses/{step['analysis']}/layers").json["layers"]
            alpha = {r["longname"]: r["alpha"] for r in rows}
            for layer in s["layers"]:
                assert layer["values"][i] == alpha.get(layer["longname"])
            summary = runs.get(f"/v1/analyses/{step['analysis']}").json["summary"]
            assert s["mean"][i] == pytest.approx(summary["alpha"], rel=1e-12)
    assert series(runs, "label=run").json == got  # alpha is the usual metric
    one = series(runs, "label=run:a").json["series"]
    assert one == [s for s in got["series"] if s["value"] == "a"]
    layer = series(runs, "label=run&layer=model.layers.1.mlp.up_proj").json["series"][0]["layers"]
    assert layer == [x for x in one[0]["layers"] if x["longname"] == "model.layers.1.mlp.up_proj"]
    q = series(runs, "label=run:a&role=q&layer_type=dense&metric=num_evals").json["series"][0]
    assert len(q["layers"]) == 3 and q["layers"][0]["values"] == [50, 50, 50]
    assert series(runs, "label=none").json["series"] == []
    assert series(runs, "label=run:c").json["series"] == []
    by_run = series(runs, "label=step&step=run").json["series"]
    assert [s["value"] for s in by_run] == ["100", "20", "3"]
    assert [x["step"] for x in by_run[0]["steps"]] == ["a", "b,\u00e9"]


def test_series_as_csv(runs):
    import csv
    import io
    got = series(runs, "label=run").json["series"]
    for r in (series(runs, "label=run&format=csv"), series(runs, "label=run", Accept="text/csv")):
        assert r.headers["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(r.body.decode(), newline="")))
        assert list(rows[0]) == ["value", "step", "analysis", "longname", "alpha"]
        found = {(x["value"], x["step"], x["longname"]): float(x["alpha"]) for x in rows}
        want = {(s["value"], step["step"], layer["longname"]): layer["values"][i]
                for s in got for i, step in enumerate(s["steps"]) for layer in s["layers"]
                if layer["values"][i] is not None}
        assert found == want and len(rows) == len(want)


def test_series_pages(runs):
    whole = series(runs, "label=run").json["series"]
    url, steps, means, pages = "/v1/series?label=run&page_size=2", [], [], 0
    while url:
        r = runs.get(url)
        pages += 1
        for s in r.json["series"]:
            steps += [(s["value"], x["step"]) for x in s["steps"]]
            means += s["mean"]
        url = r.headers["Link"].split("<")[1].split(">")[0] if "Link" in r.headers else None
        assert bool(url) == bool(r.json["next_page_token"])
    assert pages == 3
    assert steps == [(s["value"], x["step"]) for s in whole for x in s["steps"]]
    assert means == [m for s in whole for m in s["mean"]]
    token = series(runs, "label=run&page_size=2").json["next_page_token"]
    problem(series(runs, f"label=run:a&page_size=2&page_token={token}"), 400)
    problem(series(runs, f"label=run&metric=D&page_token={token}"), 400)


def test_series_conditions(runs):
    r = series(runs, "label=run:a")
    tag = r.headers["ETag"]
    assert series(runs, "label=run:a", **{"If-None-Match": tag}).status == 304
    assert series(runs, "label=run:a&format=csv", **{"If-None-Match": tag}).status == 200
    packed = series(runs, "label=run:a", **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert series(runs, "label=run:a", **{"If-None-Match": packed.headers["ETag"],
                                          "Accept-Encoding": "gzip"}).status == 304
    last = r.json["series"][0]["steps"][-1]["analysis"]
    assert patch(runs, f"/v1/analyses/{last}", {"step": "1"}).status == 200
    now = series(runs, "label=run:a", **{"If-None-Match": tag})
    assert now.status == 200
    assert [x["step"] for x in now.json["series"][0]["steps"]] == ["1", "3", "20"]
    # A newer analysis of a step takes its place.
    assert patch(runs, f"/v1/analyses/{last}", {"step": "20"}).status == 200
    now = series(runs, "label=run:a").json["series"][0]["steps"]
    ids = {x["step"]: x["analysis"] for x in r.json["series"][0]["steps"]}
    assert [(x["step"], x["analysis"]) for x in now] == [("3", ids["3"]), ("20", ids["20"])]
    assert patch(runs, f"/v1/analyses/{last}", {"step": "100"}).status == 200


@pytest.mark.parametrize("query,parameter", [
    ("", "label"), ("label=", "label"), ("label=a%20b", "label"), ("label=a&label=b", "label"),
    ("label=a:" + "x" * 257, "label"), ("label=run&metric=longname", "metric"),
    ("label=run&metric=", "metric"), ("label=run&metric=alpha%22", "metric"),
    ("label=run&step=" + "x" * 65, "step"), ("label=run&metric=" + "x" * 65, "metric"),
    ("label=run&role=" + "x" * 33, "role"), ("label=run&step=a:b", "step"), ("label=run&step=", "step"), ("label=run&role=none", "role"),
    ("label=run&layer_type=none", "layer_type"), ("label=run&format=npy", "format"),
    ("label=run&page_size=x", "page_size"), ("label=run&page_token=AAAA", "page_token"),
    ("label=run&layer=" + "x" * 4097, "layer"), ("label=run&other=1", "other")])
def test_bad_series(runs, query, parameter):
    p = problem(series(runs, query), 400)
    assert p["errors"][0]["parameter"] == parameter


def test_series_not_acceptable(runs):
    problem(series(runs, "label=run", Accept="image/png"), 406)
    problem(runs.request("POST", "/v1/series", {}), 405)


def test_many_series_at_once(runs):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        got = list(pool.map(lambda _: series(runs, "label=run"), range(64)))
    assert {r.status for r in got} <= {200, 503}
    assert len({r.body for r in got if r.status == 200}) == 1
    assert all(int(r.headers["Retry-After"]) > 0 for r in got if r.status == 503)
    assert series(runs, "label=run").status == 200  # the gate is open again
