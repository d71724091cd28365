"""Uploads: what arrives, what is refused, what is kept once, and what a crash leaves."""

import base64
import hashlib
import http.client
import io
import os
import shutil
import socket
import tarfile
import threading
import time

import pytest

from daemon import BIN, TOP, Daemon

EXAMPLE = os.path.join(TOP, "examples/manlm.safetensors")
FILE = {"Content-Type": "application/octet-stream"}
TAR = {"Content-Type": "application/x-tar"}


def example():
    with open(EXAMPLE, "rb") as f:
        return f.read()


def digest_header(data):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


def upload(d, data, name="m.safetensors", headers=FILE, **more):
    return d.request("POST", f"/v1/uploads?name={name}", data, {**headers, **more})


def analyze(d, upload_id, wait=60):
    return d.request("POST", "/v1/jobs", {"kind": "analyze", "source": {"upload": upload_id}},
                     {"Prefer": f"wait={wait}"})


def names(d, part):
    folder = os.path.join(d.state, "uploads", part)
    return sorted(os.listdir(folder)) if os.path.exists(folder) else []


def contents(d):
    return names(d, "content")


def incoming(d):
    return names(d, "incoming")


def metric(d, name):
    for line in d.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(name)


def wait_until(condition, seconds=20):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end
        time.sleep(0.02)


# --- the straight way --------------------------------------------------------------------------

def test_a_file_is_stored_and_analysed(daemon):
    data = example()
    r = upload(daemon, data, "llama.safetensors", **{"Content-Digest": digest_header(data)})
    assert r.status == 201
    u = r.json
    assert r.headers["Location"] == "/v1/uploads/" + u["id"]
    assert (u["name"], u["kind"], u["bytes"], u["files"]) == ("llama.safetensors", "file", len(data), 1)
    assert u["sha256"] == hashlib.sha256(data).hexdigest()
    assert daemon.get("/v1/uploads/" + u["id"]).json == u
    assert daemon.get("/v1/uploads").json == {"uploads": [u], "next_page_token": ""}

    job = analyze(daemon, u["id"]).json
    assert job["state"] == "succeeded" and job["source"] == {"upload": u["id"]}
    by_path, rows = daemon.analyze("manlm.safetensors")
    assert by_path["cache"]["misses"] == 0
    assert by_path["result"]["model"] == job["result"]["model"]
    assert daemon.get(f"/v1/models/{job['result']['model']}").json["name"] == "llama.safetensors"
    assert daemon.get("/v1/uploads/" + u["id"]).json["expires_at"] > u["expires_at"]


def test_an_upload_is_hashed_once(daemon):
    """Though it is younger than a file must be whose digests are remembered."""
    u = upload(daemon, example()).json
    assert analyze(daemon, u["id"]).json["cache"]["misses"] == 30
    def hashed():
        return metric(daemon, 'spectrald_tasks_total{type="digest"}')
    before = hashed()
    assert before > 0
    assert analyze(daemon, u["id"]).json["cache"]["misses"] == 0
    assert hashed() == before


def test_chunked_body_without_a_name(daemon):
    data = example()
    r = daemon.request("POST", "/v1/uploads", (data[i:i + 70001] for i in range(0, len(data), 70001)), FILE)
    assert r.status == 201
    assert (r.json["bytes"], r.json["name"]) == (len(data), "model.safetensors")


def test_head_and_delete(daemon):
    u = upload(daemon, example()).json
    head = daemon.request("HEAD", "/v1/uploads/" + u["id"])
    assert head.status == 200 and head.body == b""
    assert daemon.request("DELETE", "/v1/uploads/" + u["id"]).status == 204
    assert daemon.request("DELETE", "/v1/uploads/" + u["id"]).status == 404
    assert daemon.get("/v1/uploads/" + u["id"]).status == 404
    wait_until(lambda: contents(daemon) == [])
    r = analyze(daemon, u["id"])
    assert r.status == 404 and r.json["errors"][0]["pointer"] == "#/source/upload"


def test_equal_content_is_kept_once(daemon):
    data = example()
    first, second = upload(daemon, data, "a"), upload(daemon, data, "b")
    assert (first.headers["Cache-Status"], second.headers["Cache-Status"]) == \
        ("spectrald; fwd=miss", "spectrald; hit")
    assert len(contents(daemon)) == 1
    assert metric(daemon, "spectrald_upload_stored_bytes") == len(data)
    daemon.request("DELETE", "/v1/uploads/" + first.json["id"])
    assert len(contents(daemon)) == 1
    assert analyze(daemon, second.json["id"]).json["state"] == "succeeded"
    daemon.request("DELETE", "/v1/uploads/" + second.json["id"])
    wait_until(lambda: contents(daemon) == [])
    assert metric(daemon, "spectrald_upload_stored_bytes") == 0


def test_two_clients_send_the_same_at_once(daemon):
    data = example() * 8
    replies = []

    def send():
        replies.append(upload(daemon, data))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.status for r in replies] == [201] * 6
    assert len({r.json["id"] for r in replies}) == 6
    assert len(contents(daemon)) == 1
    wait_until(lambda: incoming(daemon) == [])
    for r in replies:
        assert daemon.request("DELETE", "/v1/uploads/" + r.json["id"]).status == 204
    wait_until(lambda: contents(daemon) == [])


# --- archives ----------------------------------------------------------------------------------

def tar_of(files, fmt=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as t:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1.5
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("top", ["", "./", "llama/", "a" * 90 + "/"])
def test_a_directory(daemon, fmt, top):
    name = top + ("model.safetensors" if fmt == tarfile.USTAR_FORMAT else "model.safetensors")
    data = tar_of({name: example(), top + "config.json": b'{"model_type": "gpt2"}'}, fmt)
    r = upload(daemon, data, "llama", TAR)
    assert r.status == 201, r.body
    assert (r.json["kind"], r.json["files"]) == ("tar", 2)
    job = analyze(daemon, r.json["id"]).json
    assert job["state"] == "succeeded"
    model = daemon.get(f"/v1/models/{job['result']['model']}").json
    assert (model["name"], model["model_type"]) == ("llama", "gpt2")


def tar_with(**fields):
    """One entry whose header is as given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as t:
        info = tarfile.TarInfo(fields.pop("name", "x"))
        for key, value in fields.items():
            setattr(info, key, value)
        t.addfile(info, io.BytesIO(b"\0" * info.size) if info.size else None)
    return out.getvalue()


GOOD = tar_of({"model.safetensors": b"x" * 700})

BAD_TARS = {
    "absolute": (tar_with(name="/etc/x", size=3), 422, "is absolute"),
    "escape": (tar_with(name="a/../../x", size=3), 422, '".." component'),
    "empty component": (tar_with(name="a//x", size=3), 422, "empty component"),
    "control": (tar_with(name="a\nb", size=3), 422, "control character"),
    "symlink": (tar_with(type=tarfile.SYMTYPE, linkname="/etc/passwd"), 422, "a symbolic link"),
    "hard link": (tar_with(type=tarfile.LNKTYPE, linkname="y"), 422, "a hard link"),
    "device": (tar_with(type=tarfile.CHRTYPE), 422, "a device"),
    "pipe": (tar_with(type=tarfile.FIFOTYPE), 422, "a pipe"),
    "twice": (tar_of([("x", b"1"), ("x", b"2")]), 422, "a name twice"),
    "file as directory": (tar_of({"x": b"1", "x/y": b"2"}), 422, "both as file and as directory"),
    "cut in a header": (GOOD[:300], 422, "cut short"),
    "cut in a file": (GOOD[:2000], 422, "cut short"),
    "no end mark": (GOOD[:512 * 6], 422, "cut short"),
    "trailing bytes": (GOOD + b"x", 422, "follows the end"),
    "empty archive": (b"\0" * 10240, 422, "holds no file"),
    "not a tar": (b"\x08" + b"{" * 2000, 422, "not a tar archive"),
    "gzip": (b"\x1f\x8b" + b"\0" * 2000, 422, "not a tar archive"),
    "too many files": (tar_of({f"f{i}": b"" for i in range(4097)}), 422, "more than 4096 files"),
    "too deep": (tar_of({"d/" * 17 + "x": b""}), 422, "16 directories deep"),
}


@pytest.mark.parametrize("case", BAD_TARS)
def test_a_bad_archive_leaves_nothing(daemon, case):
    data, status, text = BAD_TARS[case]
    r = upload(daemon, data, "m", TAR)
    assert r.status == status and text in r.json["detail"], r.body
    assert contents(daemon) == []
    wait_until(lambda: incoming(daemon) == [])
    assert daemon.get("/v1/uploads").json["uploads"] == []


# --- refusals ----------------------------------------------------------------------------------

def test_refused_before_the_body(daemon):
    def refused(status, path="/v1/uploads", headers=FILE, length=10**13):
        c = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
        c.putrequest("POST", path)
        for k, v in {**headers, "Content-Length": str(length), "Expect": "100-continue"}.items():
            c.putheader(k, v)
        c.endheaders()
        r = c.getresponse()
        body = r.read()
        c.close()
        assert r.status == status and r.headers["Content-Type"] == "application/problem+json", body
        return body.decode()

    assert "1099511627776 bytes" in refused(413)
    assert "low-water mark" in refused(507, length=10**12)
    assert "application/octet-stream" in refused(415, headers={"Content-Type": "text/plain"})
    assert "identity" in refused(415, headers={**FILE, "Content-Encoding": "gzip"})
    assert "sha-256=:BASE64:" in refused(400, headers={**FILE, "Content-Digest": "sha-256=:xx:"})
    assert "name" in refused(400, "/v1/uploads?name=a%2Fb")
    assert "control" in refused(400, "/v1/uploads?name=a%0Ab")
    assert "1 to 255" in refused(400, "/v1/uploads?name=")
    assert "nmae" in refused(400, "/v1/uploads?nmae=x")
    assert incoming(daemon) == []


def test_wrong_digest_and_empty_body(daemon):
    r = upload(daemon, b"abc", **{"Content-Digest": digest_header(b"abd")})
    assert r.status == 400 and hashlib.sha256(b"abc").hexdigest() in r.json["detail"]
    assert upload(daemon, b"").status == 400
    other = upload(daemon, b"abc", **{"Content-Digest": "sha-512=:AAAA:"})
    assert other.status == 201  # not an algorithm we check
    wait_until(lambda: incoming(daemon) == [])
    assert len(contents(daemon)) == 1


def test_not_a_model(daemon):
    u = upload(daemon, b"this is no model" * 100).json
    r = analyze(daemon, u["id"])
    job = r.json
    assert job["state"] == "failed" and job["error"]["code"] in ("format", "limit"), job


@pytest.mark.parametrize("source", [{"upload": "upl_x"}, {"upload": 3}, {"path": "a", "upload": "upl_x"}, {}])
def test_bad_sources(refusing, source):
    r = refusing.request("POST", "/v1/jobs", {"kind": "analyze", "source": source})
    assert r.status == 400 and r.json["errors"][0]["pointer"].startswith("#/source")


def test_limit_and_quota(tmp_path):
    with Daemon(str(tmp_path), "--upload-limit", "1M", "--upload-quota", "1536K") as d:
        assert upload(d, b"x" * (1 << 20)).status == 201
        r = upload(d, b"x" * ((1 << 20) + 1))
        assert r.status == 413 and "1048576 bytes" in r.json["detail"]
        r = upload(d, b"y" * (1 << 20))
        assert r.status == 507 and "quota" in r.json["detail"]
        # of unknown length: noticed on the way
        for size, status in ((900_000, 507), (3_000_000, 413)):
            pieces = (b"z" * 10000 for _ in range(size // 10000))
            r = d.request("POST", "/v1/uploads", pieces, FILE)
            assert r.status == (status if size < 10**6 else 507), r.body
        assert upload(d, b"y" * 1000).status == 201
        wait_until(lambda: incoming(d) == [])


def test_idempotency(daemon):
    data = example()
    key = {"Idempotency-Key": "step-1"}
    first = upload(daemon, data, "m", **key)
    again = upload(daemon, data, "m", **key)
    assert (first.status, again.status) == (201, 201)
    assert again.json == first.json and again.headers["Idempotency-Replayed"] == "true"
    other = upload(daemon, data[:-1], "m", **key)
    assert other.status == 422 and other.json["code"] == "key_reused"
    assert len(daemon.get("/v1/uploads").json["uploads"]) == 1
    wait_until(lambda: len(contents(daemon)) == 1)
    daemon.request("DELETE", "/v1/uploads/" + first.json["id"])
    gone = upload(daemon, data, "m", **key)
    assert gone.status == 404 and "deleted" in gone.json["detail"]
    wait_until(lambda: contents(daemon) == [] and incoming(daemon) == [])


def test_in_use(tmp_path):
    import numpy as np
    from daemon import write_safetensors
    rng = np.random.default_rng(3)
    path = str(tmp_path / "slow.safetensors")
    write_safetensors(path, {"a.weight": rng.standard_normal((2500, 2500)).astype(np.float32)})
    with Daemon(str(tmp_path / "d")) as d:
        u = upload(d, open(path, "rb").read()).json
        job = analyze(d, u["id"], wait=0).json
        r = d.request("DELETE", "/v1/uploads/" + u["id"])
        assert r.status == 409 and "uses this upload" in r.json["detail"]
        d.request("POST", f"/v1/jobs/{job['id']}:cancel")
        d.wait_final(job["id"])
        assert d.request("DELETE", "/v1/uploads/" + u["id"]).status == 204


def test_expiry(tmp_path):
    with Daemon(str(tmp_path), "--upload-ttl", "1") as d:
        u = upload(d, b"x" * 1000).json
        wait_until(lambda: d.get("/v1/uploads/" + u["id"]).status == 404, 30)
        wait_until(lambda: contents(d) == [])


# --- what a crash or a client that leaves makes of it --------------------------------------------

def begin(d, length, sent):
    s = socket.create_connection(("127.0.0.1", d.port))
    s.sendall(b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
              b"Content-Length: %d\r\n\r\n" % length + b"x" * sent)
    return s


def test_a_client_that_leaves(daemon):
    s = begin(daemon, 10_000_000, 3_000_000)
    wait_until(lambda: len(incoming(daemon)) == 1)
    s.close()
    wait_until(lambda: incoming(daemon) == [])
    wait_until(lambda: metric(daemon, "spectrald_uploads_active") == 0)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_restart_in_the_middle_leaves_no_orphan(tmp_path, how):
    d = Daemon(str(tmp_path)).start()
    kept = upload(d, b"kept" * 1000).json
    s = begin(d, 10_000_000, 3_000_000)
    wait_until(lambda: len(incoming(d)) == 1)
    orphan = os.path.join(d.state, "uploads", "content", "0" * 64 + ".file")
    os.mkdir(orphan)
    d.kill() if how == "kill" else d.stop()
    s.close()
    with d:
        assert incoming(d) == [] and len(contents(d)) == 1
        assert d.get("/v1/uploads/" + kept["id"]).json == kept


@pytest.mark.alone
def test_a_slow_client_is_cut_off(tmp_path):
    with Daemon(str(tmp_path), "--request-timeout", "2") as d:
        s = begin(d, 10_000_000, 100)
        s.settimeout(10)
        start = time.time()
        try:
            while s.recv(1000):
                pass
        except ConnectionError:
            pass
        assert 1 < time.time() - start < 6
        wait_until(lambda: incoming(d) == [])
        # a steady one may take longer than that in all
        s = begin(d, 400_000, 0)
        for _ in range(20):
            s.sendall(b"x" * 20_000)
            time.sleep(0.15)
        assert b"201 Created" in s.recv(100)


def test_a_job_of_an_upload_survives_a_kill(tmp_path):
    d = Daemon(str(tmp_path)).start()
    u = upload(d, example()).json
    job = analyze(d, u["id"], wait=0).json
    d.kill()
    with d:
        assert d.wait_final(job["id"])["state"] == "succeeded"


def test_disk_full(tmp_path):
    import resource
    d = Daemon(str(tmp_path))
    d.start()
    try:
        resource.prlimit(d.proc.pid, resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        r = upload(d, b"x" * 5_000_000)
        assert r.status in (503, 507), r.body
        wait_until(lambda: incoming(d) == [])
        assert upload(d, b"x" * 1_000_000).status == 201
    finally:
        d.stop()


def instrumented():
    with open(BIN, "rb") as f:
        program = f.read()
    return b"__asan_init" in program or b"__tsan_init" in program


@pytest.mark.alone
def test_flat_memory_and_no_stall(daemon):
    """2 GB, where there is room for it; less for a slow program."""
    def rss():
        with open(f"/proc/{daemon.proc.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    os.makedirs(daemon.state, exist_ok=True)
    room = shutil.disk_usage(daemon.state).free > 10 << 30
    megabytes = 2000 if room and not instrumented() else 300
    before = rss()
    piece = os.urandom(1 << 20)
    r = daemon.request("POST", "/v1/uploads", (piece for _ in range(megabytes)), FILE)
    assert r.status == 201 and r.json["bytes"] == megabytes << 20
    # AddressSanitizer keeps what was freed.
    assert rss() - before < 16_000 or instrumented()
    # The bound is 50 ms; a machine that does other work may stop the loop itself for longer.
    assert metric(daemon, "spectrald_loop_stall_seconds") < 0.25
    assert daemon.request("DELETE", "/v1/uploads/" + r.json["id"]).status == 204
    wait_until(lambda: contents(daemon) == [])
