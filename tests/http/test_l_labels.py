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
def test_bad_keys(daemon, key):
    assert "Idempotency-Key" in problem(post(daemon, key), 400)["detail"]
    assert n_jobs(daemon) == 0


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
def test_request_ids(daemon, sent, kept):
    r = daemon.get("/v1/jobs/none", **{"X-Request-Id": sent})
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
