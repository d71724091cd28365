"""HTTP manners: errors, conditions, waiting, paging, limits, slow and rude clients."""

import json
import os
import socket
import time

import pytest

from daemon import TOP, Daemon


def problem(r, status):
    assert r.status == status, (r.status, r.body)
    assert r.headers["Content-Type"] == "application/problem+json"
    p = r.json
    assert p["status"] == status and p["type"].startswith("/problems/") and p["detail"]
    return p


def test_operations(daemon):
    assert daemon.get("/livez").status == 200
    for _ in range(100):  # the workers check in
        if daemon.get("/readyz").status == 200:
            break
        time.sleep(0.2)
    assert daemon.get("/readyz").status == 200
    assert "openapi: 3.1" in daemon.get("/openapi.yaml").body.decode()
    text = daemon.get("/metrics").body.decode()
    assert "# TYPE spectrald_loop_stall_seconds gauge" in text
    assert daemon.request("HEAD", "/livez").body == b""


def test_errors_of_the_router(daemon):
    problem(daemon.get("/nothing"), 404)
    r = daemon.request("PUT", "/v1/jobs", {})
    problem(r, 405)
    assert "POST" in r.headers["Allow"]
    problem(daemon.request("POST", "/v1/jobs", "{}", {"Content-Type": "text/plain"}), 415)
    problem(daemon.get("/v1/jobs?nonsense=1"), 400)
    problem(daemon.get("/v1/jobs?page_size=9007199254740992"), 400)
    problem(daemon.get("/v1/jobs?label=a%20b:c"), 400)
    problem(daemon.get("/v1/analyses?model=gpt2"), 400)
    problem(daemon.get("/v1/jobs", Prefer="x" * 1025), 400)
    problem(daemon.submit("x" * 300), 404)
    problem(daemon.get("/v1/jobs/" + "x" * 9000), 414)
    assert daemon.get("/v1/jobs", Host="evil.example").status in (403, 421)


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{", b"null", b'{"kind":"analyze"}', b'{"kind":"analyze","kind":"analyze"}',
    b'{"kind":"analyze","source":{"path":"x"},"extra":1}', b"\xff", b"[" * 100000,
    b'{"kind":"analyze","source":{"path":1}}', b'{"kind":"analyze","source":"x"}',
    b'{"kind":"prune","source":{"path":"x"}}', b'{"kind":"analyze","source":{"upload":"u"}}',
    b'{"kind":"analyze","source":{"path":"x"},"labels":{"a":1}}',
    b'{"kind":"analyze","source":{"path":"x"},"params":{"min_evals":"ten"}}',
    b'{"kind":"analyze","source":{"path":"x"},"params":{"include":"("}}',
    b'{"kind":"analyze","source":{"path":"x"},"params":{"precision":"half"}}',
    b'{"kind":"analyze","source":{"path":"x"},"params":{"unknown":1}}',
    b'{"kind":"analyze","source":{"path":"x"},"params":{"max_evals":5,"min_evals":10}}'],
    ids=lambda body: repr(body[:70]))
def test_bad_bodies(refusing, body):
    r = refusing.request("POST", "/v1/jobs", body, {"Content-Type": "application/json"})
    assert 400 <= r.status < 500
    problem(r, r.status)
    assert refusing.get("/v1/jobs").json["jobs"] == []


def test_conditions_and_long_poll(daemon):
    job = daemon.submit("manlm.safetensors").json
    url = f"/v1/jobs/{job['id']}"
    r = daemon.get(url)
    assert daemon.get(url, **{"If-None-Match": r.headers["ETag"]}).status == 304
    start = time.time()
    r = daemon.get(url, **{"If-None-Match": r.headers["ETag"], "Prefer": "wait=1"})
    assert r.status in (200, 304) and time.time() - start < 5


def test_lists_and_labels(daemon):
    for i in range(5):
        r = daemon.submit("manlm.safetensors", labels={"run": "a", "step": str(i)})
        assert r.json["labels"]["step"] == str(i)
    seen, url = [], "/v1/jobs?page_size=2"
    while True:
        page = daemon.get(url).json
        seen += [j["labels"]["step"] for j in page["jobs"]]
        if not page["next_page_token"]:
            break
        url = f"/v1/jobs?page_size=2&page_token={page['next_page_token']}"
    assert seen == ["4", "3", "2", "1", "0"]
    assert len(daemon.get("/v1/jobs?label=step:3").json["jobs"]) == 1
    assert len(daemon.get("/v1/analyses?label=run:a").json["analyses"]) == 5
    assert len(daemon.get("/v1/models").json["models"]) == 1
    problem(daemon.get("/v1/jobs?page_token=AAAA"), 400)
    problem(daemon.get("/v1/jobs?state=odd"), 400)
    problem(daemon.get("/v1/analyses/ana_00000000000000000000000000"), 404)
    problem(daemon.get("/v1/analyses/ana_00000000000000000000000000/layers"), 404)


def test_layer_pages(daemon):
    job = daemon.submit("manlm.safetensors").json
    base = f"/v1/analyses/{job['result']['analysis']}/layers?page_size=10"
    ids, url = [], base
    while url:
        page = daemon.get(url).json
        ids += [r["layer_id"] for r in page["layers"]]
        token = page["next_page_token"]
        url = f"{base}&page_token={token}" if token else None
    assert ids == list(range(39))


def test_client_that_leaves_while_it_waits(daemon):
    body = json.dumps({"kind": "analyze", "source": {"path": "manlm.safetensors"}}).encode()
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", daemon.port))
        s.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Prefer: wait=30\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        s.close()
    end = time.time() + 30
    while time.time() < end:
        jobs = daemon.get("/v1/jobs").json["jobs"]
        if all(j["state"] == "succeeded" for j in jobs):
            break
        time.sleep(0.1)
    assert all(j["state"] == "succeeded" for j in jobs)
    assert daemon.get("/livez").status == 200


def test_unix_socket(tmp_path):
    path = str(tmp_path / "sock")
    d = Daemon(str(tmp_path), root=os.path.join(TOP, "examples"))
    d.flags[1] = "unix:" + path
    with d:
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 200 " in s.recv(4096)
