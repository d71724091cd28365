"""Artifacts: listing, reading files and archives, removing, and what is kept how long.

They are put into the state directory before the daemon starts, as a job leaves them there.
"""

import calendar
import http.client
import io
import json
import os
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import tarfile
import threading
import time

import pytest

from artifact import b2, ident, prepared, put
from daemon import CTL, TOP, Daemon

def metric(d, name):
    for line in d.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def wait_until(condition, seconds=30):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end
        time.sleep(0.05)


CTL = os.path.abspath(CTL)
CONFIG = b'{"model_type":"llama"}'
WEIGHTS = bytes(range(256)) * 8192 + b"end"


@pytest.fixture
def one(tmp_path):
    """(daemon, id) with one artifact of two files, an empty one among them."""
    d = prepared(tmp_path)
    art = put(d, 7, {"config.json": CONFIG, "model.safetensors": WEIGHTS, "empty": b"",
                     "a b%.txt": b"x"},
              more={"method": "wanda", "sparsity": 0.5, "name": "the manifest's",
                    "achieved_sparsity": 0.4875,
                    "blocks": [{"block": "layers.0", "params": 64, "sparsity": 0.5,
                                "achieved": 0.4875}]})
    with d:
        yield d, art
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()


# --- what there is -----------------------------------------------------------------------------

def test_an_artifact_is_described(one):
    d, art = one
    a = d.get(f"/v1/artifacts/{art}").json
    assert (a["id"], a["job"], a["name"], a["path"]) == (art, ident("job_", 7), "model-7", None)
    assert (a["bytes"], a["n_files"], a["expires_at"]) == (len(CONFIG) + len(WEIGHTS) + 1, 4, None)
    assert a["files"][1] == {"name": "model.safetensors", "bytes": len(WEIGHTS), "blake2b": b2(WEIGHTS)}
    assert (a["method"], a["sparsity"]) == ("wanda", 0.5)
    assert a["links"] == {"self": f"/v1/artifacts/{art}", "job": "/v1/jobs/" + a["job"],
                          "tar": f"/v1/artifacts/{art}/tar"}
    listed = d.get("/v1/artifacts").json
    for name in ("files", "method", "sparsity", "achieved_sparsity", "blocks"):
        del a[name]
    assert listed == {"artifacts": [a], "next_page_token": ""}
    assert metric(d, "spectrald_artifact_bytes") == a["bytes"]


def test_lists_have_pages_newest_first(tmp_path):
    d = prepared(tmp_path)
    arts = [put(d, n, {"f": b"x"}, created=1000 - n) for n in range(5)]
    with d:
        seen, token = [], ""
        while True:
            page = d.get(f"/v1/artifacts?page_size=2&page_token={token}").json
            seen += [a["id"] for a in page["artifacts"]]
            token = page["next_page_token"]
            if not token:
                break
    assert seen == arts[::-1]


def test_what_does_not_exist_is_refused(one):
    d, art = one
    other = ident("art_", 8)
    for path in (f"/v1/artifacts/{other}", f"/v1/artifacts/{other}/files/config.json",
                 f"/v1/artifacts/{other}/tar", "/v1/artifacts/art_x", f"/v1/artifacts/{art}0",
                 f"/v1/artifacts/{art}/files/nothing", f"/v1/artifacts/{art}/files/..%2Fconfig.json",
                 f"/v1/artifacts/{art}/files/" + "n" * 300):
        r = d.get(path)
        assert (r.status, r.json["code"]) == (404, "not_found"), path
    for path in (f"/v1/artifacts/{art}?x=1", f"/v1/artifacts/{art}/tar?x=1", "/v1/artifacts?x=1",
                 f"/v1/artifacts/{art}/files/config.json?x=1"):
        assert d.get(path).status == 400, path
    assert d.request("DELETE", f"/v1/artifacts/{other}").status == 404


# --- one file ----------------------------------------------------------------------------------

def test_a_file_comes_whole(one):
    d, art = one
    url = f"/v1/artifacts/{art}/files/"
    r = d.get(url + "model.safetensors")
    assert (r.status, r.body) == (200, WEIGHTS)
    assert r.headers["ETag"] == f'"{b2(WEIGHTS)}"'
    assert r.headers["Accept-Ranges"] == "bytes"
    assert r.headers["Content-Type"] == "application/octet-stream"
    assert d.get(url + "a%20b%25.txt").body == b"x"
    empty = d.get(url + "empty")
    assert (empty.status, empty.body, empty.headers["Content-Length"]) == (200, b"", "0")
    head = d.request("HEAD", url + "model.safetensors", headers={"Range": "bytes=0-1"})
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(WEIGHTS)), b"")
    assert d.get(url + "empty", Range="bytes=0-").status == 416


@pytest.mark.parametrize("value,first,last", [
    ("bytes=0-0", 0, 0), ("bytes=5-9", 5, 9), ("BYTES= 100-", 100, None), ("bytes=-3", -3, None),
    ("bytes=1000000-999999999999999999999999", 1000000, None), ("bytes=0-", 0, None),
    (f"bytes={len(WEIGHTS) - 1}-", -1, None), (f"bytes=-{len(WEIGHTS) - 1}", 1, None)])
def test_a_range(one, value, first, last):
    d, art = one
    r = d.get(f"/v1/artifacts/{art}/files/model.safetensors", Range=value)
    want = WEIGHTS[first:] if last is None else WEIGHTS[first:last + 1]
    first %= len(WEIGHTS)
    assert (r.status, r.body == want) == (206, True)
    assert r.headers["Content-Range"] == f"bytes {first}-{first + len(want) - 1}/{len(WEIGHTS)}"
    assert r.headers["Content-Length"] == str(len(want))
    assert r.headers["ETag"] == f'"{b2(WEIGHTS)}"'


@pytest.mark.parametrize("value", ["bytes=5-3", "bytes=0-1,4-5", "lines=0-1", "bytes=", "bytes=-",
                                   "bytes=a-b", "bytes=1", "bytes=0-1x", "bytes=-99999999"])
def test_what_is_no_single_range_gives_the_whole(one, value):
    d, art = one
    r = d.get(f"/v1/artifacts/{art}/files/model.safetensors", Range=value)
    assert (r.status, r.body == WEIGHTS, r.headers.get("Content-Range")) == (200, True, None)


@pytest.mark.parametrize("value", [f"bytes={len(WEIGHTS)}-", "bytes=-0",
                                   "bytes=99999999999999999999999-", "bytes=9999999-99999999"])
def test_bytes_that_are_not_there(one, value):
    d, art = one
    r = d.get(f"/v1/artifacts/{art}/files/model.safetensors", Range=value)
    assert (r.status, r.json["code"]) == (416, "range_not_satisfiable")
    assert r.headers["Content-Range"] == f"bytes */{len(WEIGHTS)}"


def test_conditions(one):
    d, art = one
    url = f"/v1/artifacts/{art}/files/model.safetensors"
    tag = d.get(url).headers["ETag"]
    assert d.get(url, **{"If-Range": tag, "Range": "bytes=1-2"}).status == 206
    for other in ('"x"', "W/" + tag, "Sat, 21 Nov 2026 11:00:00 GMT"):
        r = d.get(url, **{"If-Range": other, "Range": "bytes=1-2"})
        assert (r.status, len(r.body)) == (200, len(WEIGHTS)), other
    r = d.get(url, **{"If-None-Match": f'"a", {tag}', "Range": "bytes=1-2"})
    assert (r.status, r.headers["ETag"], r.body) == (304, tag, b"")


def test_a_download_goes_on_where_it_broke_off(one):
    """curl knows how; an independent client."""
    d, art = one
    path = os.path.join(d.root, "part")
    with open(path, "wb") as f:
        f.write(WEIGHTS[:12345])
    subprocess.run(["curl", "-sSf", "-C", "-", "-o", path,
                    f"http://127.0.0.1:{d.port}/v1/artifacts/{art}/files/model.safetensors"],
                   check=True, timeout=60)
    with open(path, "rb") as f:
        assert f.read() == WEIGHTS


def test_a_file_that_somebody_touched_has_another_tag(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    d = prepared(tmp_path, "--output-root", str(out))
    path = str(out / "mine")
    art = put(d, 3, {"w": WEIGHTS, "v": b"123", "u": b"4"}, ours=False, path=path)
    with d:
        assert d.get(f"/v1/artifacts/{art}").json["path"] == path
        url = f"/v1/artifacts/{art}/files/"
        before = d.get(url + "w").headers["ETag"]
        with open(os.path.join(path, "w"), "r+b") as f:
            f.write(b"another start")
        r = d.get(url + "w")
        assert r.status == 200 and r.headers["ETag"] != before and r.body.startswith(b"another")
        with open(os.path.join(path, "v"), "ab") as f:
            f.write(b"4")
        assert (d.get(url + "v").status, d.get(f"/v1/artifacts/{art}/tar").status) == (409, 409)
        os.remove(os.path.join(path, "v"))
        assert (d.get(url + "v").status, d.get(f"/v1/artifacts/{art}/tar").status) == (410, 410)
        os.symlink("/etc/passwd", os.path.join(path, "v"))
        assert d.get(url + "v").status == 410
        os.remove(os.path.join(path, "u"))
        os.mkfifo(os.path.join(path, "u"))
        assert d.get(url + "u").status == 410
        assert d.request("DELETE", f"/v1/artifacts/{art}").status == 204
        assert os.path.exists(os.path.join(path, "w"))


# --- all of them -------------------------------------------------------------------------------

def test_the_archive(one):
    d, art = one
    url = f"/v1/artifacts/{art}/tar"
    r = d.get(url)
    assert r.status == 200 and r.headers["Content-Type"] == "application/x-tar"
    assert int(r.headers["Content-Length"]) == len(r.body) and len(r.body) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(r.body)) as t:
        members = t.getmembers()
        assert [m.name for m in members] == [f"{art}/{n}" for n in
                                             ("config.json", "model.safetensors", "empty", "a b%.txt")]
        assert all(m.isfile() and m.mode == 0o644 and (m.uid, m.gid) == (0, 0) for m in members)
        created = d.get(f"/v1/artifacts/{art}").json["created_at"]
        assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(members[0].mtime)) == created[:19]
        assert t.extractfile(members[1]).read() == WEIGHTS
    assert d.get(url).body == r.body
    head = d.request("HEAD", url)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(r.body)), b"")


def test_tar_and_our_own_upload_read_the_archive(tmp_path):
    d = prepared(tmp_path)
    files = {f"{i:0250d}": os.urandom(i * 300) for i in range(1, 40)}
    art = put(d, 9, files)
    with d:
        data = d.get(f"/v1/artifacts/{art}/tar").body
        subprocess.run(["tar", "-xf", "-", "-C", d.root], input=data, check=True)
        for name, want in files.items():
            with open(os.path.join(d.root, art, name), "rb") as f:
                assert f.read() == want
        r = d.request("POST", "/v1/uploads?name=again", data, {"Content-Type": "application/x-tar"})
        assert (r.status, r.json["files"]) == (201, len(files))


def test_a_file_beyond_8_gib_needs_a_pax_header(tmp_path):
    """Sparse, so that it costs nothing; only its head is read."""
    d = prepared(tmp_path)
    size = (8 << 30) + 5
    art = put(d, 4, {"big": b"", "z": b"last"})
    path = os.path.join(d.state, "artifacts", art, "big")
    os.truncate(path, size)
    os.utime(path, (1, 1))
    with sqlite3.connect(os.path.join(d.state, "state.db")) as db:
        db.execute("UPDATE artifacts SET manifest=replace(manifest, '\"bytes\":0', ?)",
                   (f'"bytes":{size}',))
    db.close()
    with d:
        c = http.client.HTTPConnection("127.0.0.1", d.port, timeout=60)
        c.request("GET", f"/v1/artifacts/{art}/tar")
        r = c.getresponse()
        assert int(r.headers["Content-Length"]) == 3 * 512 + size + 507 + 2 * 512 + 1024
        with tarfile.open(fileobj=io.BytesIO(r.read(4096)), mode="r:") as t:
            member = t.next()
            assert (member.name, member.size) == (f"{art}/big", size)
        c.close()
        r = d.get(f"/v1/artifacts/{art}/files/big", Range=f"bytes={size - 2}-")
        assert (r.status, r.body) == (206, b"\0\0")


def slow_reader(d, path, first=65536):
    s = socket.create_connection(("127.0.0.1", d.port))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return s, s.recv(first)


def rest(s, got):
    while True:
        piece = s.recv(1 << 20)
        if not piece:
            return got.split(b"\r\n\r\n", 1)[1]
        got += piece


def test_what_is_being_read_is_read_to_its_end(tmp_path):
    """Removed in the middle of a download; the files go when the last reader has left."""
    d = prepared(tmp_path)
    files = {"a": os.urandom(8 << 20), "b": os.urandom(8 << 20)}
    art = put(d, 5, files)
    folder = os.path.join(d.state, "artifacts", art)
    with d:
        whole = d.get(f"/v1/artifacts/{art}/tar").body
        tar = slow_reader(d, f"/v1/artifacts/{art}/tar")
        file = slow_reader(d, f"/v1/artifacts/{art}/files/b")
        assert d.request("DELETE", f"/v1/artifacts/{art}").status == 204
        assert d.get(f"/v1/artifacts/{art}").status == 404
        assert d.get(f"/v1/artifacts/{art}/files/b").status == 404
        assert metric(d, "spectrald_artifact_bytes") == 0
        assert metric(d, 'spectrald_artifacts_total{outcome="deleted"}') == 1
        assert rest(*tar) == whole
        wait_until(lambda: not os.path.exists(folder))
        assert rest(*file) == files["b"]


def test_clients_that_leave_and_a_server_that_stops(tmp_path):
    d = prepared(tmp_path)
    art = put(d, 6, {"a": os.urandom(24 << 20)})
    with d:
        for path in ("tar", "files/a"):
            for _ in range(5):
                slow_reader(d, f"/v1/artifacts/{art}/{path}")[0].close()
        assert len(d.get(f"/v1/artifacts/{art}/tar").body) > 24 << 20
        open_ones = [slow_reader(d, f"/v1/artifacts/{art}/{p}") for p in ("tar", "files/a")]
        began = time.time()
        assert d.stop() == 0
        assert time.time() - began < 20
        for s, got in open_ones:
            assert len(rest(s, got)) < 24 << 20
    assert "Sanitizer" not in d.log_text(), d.log_text()


def test_many_read_at_once(one):
    d, art = one
    failed = []

    def read(i):
        try:
            if i % 2:
                assert len(d.get(f"/v1/artifacts/{art}/tar").body) > len(WEIGHTS)
            else:
                assert d.get(f"/v1/artifacts/{art}/files/model.safetensors").body == WEIGHTS
        except Exception as e:
            failed.append(repr(e))
    threads = [threading.Thread(target=read, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


# --- from a job --------------------------------------------------------------------------------

def test_what_a_job_writes_can_be_downloaded_and_analysed(daemon):
    r = daemon.request("POST", "/v1/jobs",
                       {"kind": "prune", "source": {"path": "manlm.safetensors"},
                        "params": {"sparsity": 0.5, "method": "magnitude"}}, {"Prefer": "wait=60"})
    job = daemon.wait_final(r.json["id"])
    art = job["result"]["artifact"]
    a = daemon.get(f"/v1/artifacts/{art}").json
    assert (a["job"], a["path"], a["method"]) == (job["id"], None, "magnitude")
    assert abs(a["achieved_sparsity"] - 0.5) < 0.01
    created, expires = (calendar.timegm(time.strptime(a[k][:19], "%Y-%m-%dT%H:%M:%S"))
                        for k in ("created_at", "expires_at"))
    assert expires - created == 30 * 86400
    for f in a["files"]:
        r = daemon.get(f"/v1/artifacts/{art}/files/{f['name']}")
        assert (r.status, len(r.body), b2(r.body)) == (200, f["bytes"], f["blake2b"])
        assert r.headers["ETag"] == f'"{f["blake2b"]}"'
    assert metric(daemon, "spectrald_artifact_bytes") == a["bytes"] == sum(
        f["bytes"] for f in a["files"])
    assert metric(daemon, 'spectrald_artifacts_total{outcome="made"}') == 1
    tar = daemon.get(f"/v1/artifacts/{art}/tar").body
    up = daemon.request("POST", "/v1/uploads?name=pruned", tar,
                        {"Content-Type": "application/x-tar"}).json
    r = daemon.request("POST", "/v1/jobs", {"kind": "analyze", "source": {"upload": up["id"]}},
                       {"Prefer": "wait=60"})
    assert daemon.wait_final(r.json["id"])["state"] == "succeeded"


def prune(d):
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), d.root)
    r = d.request("POST", "/v1/jobs", {"kind": "prune", "source": {"path": "manlm.safetensors"},
                                       "params": {"sparsity": 0.5, "method": "magnitude"}},
                  {"Prefer": "wait=60"})
    return d.wait_final(r.json["id"])


def test_how_long_they_are_kept_is_a_setting(tmp_path):
    with Daemon(str(tmp_path / "ever"), "--artifact-ttl", "0") as d:
        art = prune(d)["result"]["artifact"]
        assert d.get(f"/v1/artifacts/{art}").json["expires_at"] is None
    with Daemon(str(tmp_path / "full"), "--artifact-quota", "100K") as d:
        job = prune(d)
        assert (job["state"], job["error"]["errors"][0]["pointer"]) == ("failed", "#/params/output")
        assert "--artifact-quota" in job["error"]["detail"]
        assert d.get("/v1/artifacts").json["artifacts"] == []
    with Daemon(str(tmp_path / "soon"), "--artifact-ttl", "1") as d:
        art = prune(d)["result"]["artifact"]
        assert d.get(f"/v1/artifacts/{art}").json["expires_at"]
        wait_until(lambda: d.get(f"/v1/artifacts/{art}").status == 404)
        wait_until(lambda: not os.listdir(os.path.join(d.state, "artifacts")))


# --- how long ----------------------------------------------------------------------------------

def test_expired_and_evicted_ones_go(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    d = prepared(tmp_path, "--artifact-quota", "2500", "--output-root", str(out))
    past = int(time.time() * 1000) - 1000
    old = put(d, 1, {"f": b"x" * 10}, created=50, expires=past)
    oldest = put(d, 2, {"f": b"x" * 1000}, created=900)
    newer = [put(d, n, {"f": b"x" * 1000}, created=100 - n) for n in (3, 4)]
    theirs = put(d, 5, {"f": b"x" * 5000}, created=1000, expires=past, ours=False,
                 path=str(out / "theirs"))
    with d:
        wait_until(lambda: metric(d, 'spectrald_artifacts_total{outcome="evicted"}') == 1)
        wait_until(lambda: metric(d, 'spectrald_artifacts_total{outcome="expired"}') == 1)
        left = {a["id"] for a in d.get("/v1/artifacts").json["artifacts"]}
        assert left == {*newer, theirs}
        for art in (old, oldest):
            wait_until(lambda: not os.path.exists(os.path.join(d.state, "artifacts", art)))
        assert (out / "theirs" / "f").exists()
        assert metric(d, "spectrald_artifact_bytes") == 2000


def test_files_without_a_record_are_swept_at_start(one):
    d, art = one
    d.stop()
    folder = os.path.join(d.state, "artifacts")
    running = ident("job_", 77)
    with sqlite3.connect(os.path.join(d.state, "state.db")) as db:
        columns = [c[1] for c in db.execute("PRAGMA table_info(jobs)")]
    db.close()
    assert "state" in columns
    for name in (ident("art_", 99), f".{ident('art_', 98)}.{running}.tmp", "stray"):
        os.makedirs(os.path.join(folder, name))
        open(os.path.join(folder, name, "f"), "w").close()
    d.start()
    assert os.listdir(folder) == [art]
    assert d.get(f"/v1/artifacts/{art}/files/config.json").body == CONFIG


# --- spectralctl -------------------------------------------------------------------------------

def ctl(d, *args):
    return subprocess.run([CTL, "--server", f"127.0.0.1:{d.port}", *args], capture_output=True,
                          text=True, cwd=d.root, timeout=120)


def content(folder):
    return {n: open(os.path.join(folder, n), "rb").read() for n in sorted(os.listdir(folder))}


FILES = {"a b%.txt": b"x", "config.json": CONFIG, "empty": b"", "model.safetensors": WEIGHTS}


def test_ctl_shows_and_removes(one):
    d, art = one
    assert ctl(d, "artifacts", "--quiet").stdout == art + "\n"
    assert ctl(d, "artifacts", "--csv").stdout.splitlines()[1].startswith(
        f"{art},model-7,4,{len(WEIGHTS) + len(CONFIG) + 1},")
    assert art in ctl(d, "artifacts").stdout
    shown = ctl(d, "artifact", art).stdout
    for text in ("wanda", "48.75 %", "layers.0", "config.json", str(len(WEIGHTS)), "2.1 MB", b2(CONFIG)):
        assert text in shown, shown
    assert json.loads(ctl(d, "artifact", art, "--json").stdout) == d.get(f"/v1/artifacts/{art}").json
    for args in (["keep", art], ["rm", art, art], [art, "--out", "x"], []):
        assert ctl(d, "artifact", *args).returncode == 1, args
    assert ctl(d, "artifact", ident("art_", 99)).returncode == 2
    assert ctl(d, "artifact", "rm", art).returncode == 0
    assert ctl(d, "artifacts").stdout == "no artifacts\n"
    assert ctl(d, "artifact", "rm", art).returncode == 2


def test_ctl_downloads_what_is_missing(one):
    d, art = one
    r = ctl(d, "artifact", "get", art)
    assert (r.returncode, content(os.path.join(d.root, art))) == (0, FILES), r.stderr
    out = os.path.join(d.root, "to")
    os.mkdir(out)
    with open(os.path.join(out, "config.json"), "wb") as f:
        f.write(CONFIG)
    before = os.stat(os.path.join(out, "config.json"))
    with open(os.path.join(out, "model.safetensors.part"), "wb") as f:
        f.write(WEIGHTS[:1000000])
    r = ctl(d, "artifact", "get", art, "--out", out)
    assert (r.returncode, content(out)) == (0, FILES), r.stderr
    assert os.stat(os.path.join(out, "config.json")).st_mtime_ns == before.st_mtime_ns
    log = d.log_text()
    lengths = [line.split(" 206 ")[1].split()[0] for line in log.splitlines() if " 206 " in line]
    assert lengths == [str(len(WEIGHTS) - 1000000)]
    r = ctl(d, "artifact", "get", art, "--out", out)
    assert r.returncode == 0 and d.log_text().count("/files/") == log.count("/files/")


def test_ctl_does_not_take_what_is_wrong(one):
    d, art = one
    out = os.path.join(d.root, "to")
    os.mkdir(out)
    with open(os.path.join(out, "config.json"), "wb") as f:
        f.write(CONFIG[::-1])
    r = ctl(d, "artifact", "get", art, "--out", out)
    assert r.returncode == 1 and "config.json is there already" in r.stderr
    os.remove(os.path.join(out, "config.json"))
    # Rubbish as a beginning: found by the digest, thrown away, and fetched anew the next time.
    with open(os.path.join(out, "model.safetensors.part"), "wb") as f:
        f.write(b"rubbish")
    r = ctl(d, "artifact", "get", art, "--out", out)
    assert r.returncode == 2 and "digest" in r.stderr
    r = ctl(d, "artifact", "get", art, "--out", out)
    assert (r.returncode, content(out)) == (0, FILES), r.stderr


class Breaking(socketserver.ThreadingTCPServer):
    """A proxy that breaks every download off after `most` bytes."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, d, most):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = self.request.recv(65536)
                    if not piece:
                        return
                    head += piece
                head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
                with socket.create_connection(("127.0.0.1", d.port)) as s:
                    s.sendall(head)
                    left = most if b"/files/model" in head else 1 << 30
                    while left > 0 and (piece := s.recv(min(left, 65536))):
                        self.request.sendall(piece)
                        left -= len(piece)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_ctl_goes_on_when_connections_break(one):
    d, art = one
    with Breaking(d, 500000) as proxy:
        r = subprocess.run([CTL, "--server", f"127.0.0.1:{proxy.server_address[1]}", "artifact",
                            "get", art, "--out", "to"], capture_output=True, text=True, cwd=d.root,
                           timeout=120)
        proxy.shutdown()
    assert (r.returncode, content(os.path.join(d.root, "to"))) == (0, FILES), r.stderr
    assert sum(" 206 " in line for line in d.log_text().splitlines()) == 4


def test_ctl_leaves_a_directory_alone_that_a_server_names(one):
    """A hostile server: names that lead elsewhere."""
    d, art = one
    manifest = json.dumps({"id": art, "files": [{"name": "../x", "bytes": 1, "blake2b": b2(b"x")}]})
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()

        def serve():
            c, _ = s.accept()
            c.recv(65536)
            c.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                      f"{len(manifest)}\r\nConnection: close\r\n\r\n{manifest}".encode())
            c.close()
        threading.Thread(target=serve, daemon=True).start()
        r = subprocess.run([CTL, "--server", f"127.0.0.1:{s.getsockname()[1]}", "artifact", "get",
                            art], capture_output=True, text=True, cwd=d.root, timeout=60)
    assert r.returncode == 2 and "not with files" in r.stderr
    assert not os.path.exists(os.path.join(d.root, art))
