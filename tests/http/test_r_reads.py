"""Reading results: tables, single layers, spectra; forms, encodings, validators."""

import ast
import csv
import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import struct
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from daemon import TOP, Daemon

LAYERS = "/v1/analyses/{}/layers"


@pytest.fixture
def analysis(daemon):
    r = daemon.submit("manlm.safetensors")
    job = daemon.wait_final(r.json["id"])
    assert job["state"] == "succeeded", job
    daemon.analysis, daemon.model = job["result"]["analysis"], job["result"]["model"]
    daemon.layers = LAYERS.format(daemon.analysis)
    return daemon


def counter(daemon, name):
    return float(re.search(rf"^{re.escape(name)} (\S+)$", daemon.get("/metrics").body.decode(), re.M).group(1))


def problem(r, status, code, parameter=None):
    assert r.status == status and r.json["code"] == code, r.body
    assert r.headers["Content-Type"] == "application/problem+json"
    if parameter:
        assert r.json["errors"][0]["parameter"] == parameter


def rows_of_csv(r):
    assert r.headers["Content-Type"].startswith("text/csv")
    text = r.body.decode()
    assert text.endswith("\r\n") and text.count("\n") == text.count("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def as_csv(v):
    if v is None:
        return ""
    if isinstance(v, list):
        return ";".join(map(str, v))
    if isinstance(v, bool):
        return "true" if v else "false"
    return v if isinstance(v, str) else v


def test_csv_and_json_say_the_same(analysis):
    d = analysis
    rows = d.get(d.layers).json["layers"]
    lines = rows_of_csv(d.get(d.layers, Accept="text/csv"))
    assert lines == rows_of_csv(d.get(d.layers + "?format=csv"))
    assert len(lines) == len(rows) == 39
    fixed = list(lines[0])[:list(lines[0]).index("phase")]  # what is measured on request is last
    assert fixed[-1] == "blas_core"
    for row, line in zip(rows, lines):
        assert sorted(row) == sorted(line)
        assert [name for name in row if name in fixed] == fixed
        for key, v in row.items():
            want = as_csv(v)
            if isinstance(want, (int, float)):
                assert float(line[key]) == want, key
            else:
                assert line[key] == want, key


def test_columns(analysis):
    d = analysis
    rows = d.get(d.layers).json["layers"]
    some = d.get(d.layers + "?columns=alpha,longname,shape").json["layers"]
    assert some == [{k: r[k] for k in ("alpha", "longname", "shape")} for r in rows]
    assert list(some[0]) == ["alpha", "longname", "shape"]
    head = d.get(d.layers + "?columns=alpha,longname&format=csv").body.split(b"\r\n")[0]
    assert head == b"alpha,longname"
    for bad in ("columns=alhpa", "columns=", "columns=alpha,,D", "columns=alpha,alpha"):
        problem(d.get(f"{d.layers}?{bad}"), 400, "invalid", "columns")
    assert "alhpa" in d.get(d.layers + "?columns=alhpa").json["detail"]


def test_filters_are_limited_in_characters(analysis):
    d = analysis
    assert d.get(d.layers + "?block=" + "%E1%9A%9B" * 512).json["layers"] == []
    for letter in ("a", "%E1%9A%9B", "%F0%9F%98%80"):
        problem(d.get(d.layers + "?block=" + letter * 513), 400, "invalid", "block")


@pytest.mark.parametrize("path", ["/v1/schedules", "/v1/experts", "/v1/plans"])
def test_a_bad_key_is_refused_where_no_job_is_made_either(analysis, path):
    r = analysis.request("POST", path, {"analysis": analysis.analysis}, {"Idempotency-Key": "k" * 256})
    problem(r, 400, "invalid")
    assert "Idempotency-Key" in r.json["detail"]


def test_filters(analysis):
    d = analysis
    rows = d.get(d.layers).json["layers"]
    for query, keep in [("status=skipped", lambda r: r["status"] == "skipped"),
                        ("layer_type=dense", lambda r: r["layer_type"] == "dense"),
                        ("role=q", lambda r: r["role"] == "q"),
                        ("block=model.layers.1", lambda r: r["block"] == "model.layers.1"),
                        ("name=mlp", lambda r: "mlp" in r["longname"]),
                        ("name=", lambda r: True),
                        ("role=up&status=success&name=.2.",
                         lambda r: r["role"] == "up" and ".2." in r["longname"]),
                        ("status=failed", lambda r: False)]:
        want = [r for r in rows if keep(r)]
        assert d.get(f"{d.layers}?{query}").json["layers"] == want, query
        # page by page, by Link
        got, url = [], f"{d.layers}?{query}&page_size=2"
        while url:
            r = d.get(url)
            page = r.json
            assert len(page["layers"]) <= 2
            got += page["layers"]
            link = r.headers["Link"]
            assert bool(link) == bool(page["next_page_token"])
            url = link and re.fullmatch(r'<(.*)>; rel="next"', link).group(1)
        assert got == want, query
    for bad in ("status=ok", "layer_type=x", "role=Q"):
        problem(d.get(f"{d.layers}?{bad}"), 400, "invalid", bad.split("=")[0])
    problem(d.get(f"{d.layers}?name={'x' * 600}"), 400, "invalid", "name")


def test_tokens_are_bound_to_form_columns_and_filters(analysis):
    d = analysis
    token = d.get(d.layers + "?page_size=2&columns=D&name=mlp").json["next_page_token"]
    assert d.get(f"{d.layers}?page_size=3&columns=D&name=mlp&page_token={token}").status == 200
    for other in ("columns=D&name=mlp&format=csv", "columns=D", "columns=alpha&name=mlp",
                  "columns=D&name=mlp&role=up", "name=mlp"):
        problem(d.get(f"{d.layers}?page_size=2&{other}&page_token={token}"), 400, "invalid",
                "page_token")
    worse = token[:-1] + ("A" if token[-1] != "A" else "B")
    problem(d.get(f"{d.layers}?page_size=2&columns=D&name=mlp&page_token={worse}"), 400, "invalid",
            "page_token")


def test_accept(analysis):
    d = analysis
    for accept, kind in [("*/*", "application/json"), ("text/*", "text/csv"),
                         ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
                         ("text/html, application/*;q=0.1", "application/json"),
                         ("application/json;q=0, */*", "text/csv"), ("TEXT/CSV", "text/csv")]:
        r = d.get(d.layers, Accept=accept)
        assert r.status == 200 and r.headers["Content-Type"].startswith(kind), accept
        assert "Accept" in r.headers["Vary"]
    problem(d.get(d.layers, Accept="image/png"), 406, "not_acceptable")
    problem(d.get(d.layers, Accept="text/csv;q=0"), 406, "not_acceptable")
    assert d.get(d.layers + "?format=json", Accept="image/png").status == 200
    problem(d.get(d.layers + "?format=xml"), 400, "invalid", "format")


def test_one_layer(analysis):
    d = analysis
    rows = d.get(d.layers).json["layers"]
    for r in rows[:5]:
        by_id = d.get(f"{d.layers}/{r['layer_id']}").json
        by_name = d.get(f"{d.layers}/{r['longname'].replace('.', '%2E')}").json
        links = by_id.pop("links")
        by_name.pop("links")
        assert by_id == by_name == r
        assert links["self"] == f"{d.layers}/{r['layer_id']}"
    for bad in ("39", "99999999999999999999999", "nope", "-1"):
        problem(d.get(f"{d.layers}/{bad}"), 404, "not_found")
    problem(d.get(f"{d.layers}/0?columns=D"), 400, "invalid", "columns")


def test_etags_and_encodings(analysis):
    d = analysis
    plain = d.get(d.layers)
    small = d.get(d.layers, **{"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Content-Encoding"] is None
    assert gzip.decompress(small.body) == plain.body and len(small.body) < len(plain.body) / 2
    assert "immutable" in plain.headers["Cache-Control"]
    assert {plain.headers["Vary"], small.headers["Vary"]} == {"Accept, Accept-Encoding"}
    tags = [plain.headers["ETag"], small.headers["ETag"]]
    assert tags[0] != tags[1]
    for tag in tags + ["*", 'W/' + tags[0], '"x", ' + tags[1]]:
        for encoding in ("identity", "gzip"):
            r = d.get(d.layers, **{"If-None-Match": tag, "Accept-Encoding": encoding})
            assert r.status == 304 and r.body == b""
            assert r.headers["ETag"] == tags[encoding == "gzip"]
            assert r.headers["Content-Encoding"] is None
    assert d.get(d.layers, **{"If-None-Match": '"x"'}).status == 200
    for weight, coded in [("gzip;q=0", False), ("identity, gzip;q=0.5", False), ("br", False),
                          ("*", True), ("gzip;q=1.0, identity;q=0.5", True),
                          ("br;q=1, GZIP", True)]:
        r = d.get(d.layers, **{"Accept-Encoding": weight})
        assert (r.headers["Content-Encoding"] == "gzip") == coded, weight
    one = d.get(d.layers + "/0?format=json", **{"Accept-Encoding": "gzip"})
    assert gzip.decompress(one.body) == d.get(d.layers + "/0").body
    tiny = d.get(d.layers + "?columns=D&page_size=1", **{"Accept-Encoding": "gzip"})
    assert tiny.headers["Content-Encoding"] is None and tiny.json["layers"]


def test_head(analysis):
    d = analysis
    for encoding in ("identity", "gzip"):
        h = {"Accept-Encoding": encoding}
        get, head = d.get(d.layers, **h), d.request("HEAD", d.layers, headers=h)
        assert head.body == b"" and head.status == 200
        for name in ("Content-Length", "ETag", "Content-Type", "Content-Encoding", "Vary"):
            assert head.headers[name] == get.headers[name], name
        assert int(head.headers["Content-Length"]) == len(get.body)


def test_other_bodies_are_compressed_too(analysis):
    d = analysis
    for path in ("/metrics", "/openapi.yaml", f"/v1/analyses/{d.analysis}", "/v1/analyses"):
        plain = d.get(path)
        assert "Accept-Encoding" in plain.headers["Vary"], path
        small = d.get(path, **{"Accept-Encoding": "gzip"})
        assert small.headers["Content-Encoding"] == "gzip", path
        if path != "/metrics":
            assert gzip.decompress(small.body) == plain.body
    assert d.get("/livez", **{"Accept-Encoding": "gzip"}).body == b"ok\n"


def test_second_read_comes_from_memory(analysis):
    d = analysis
    d.get(d.layers)
    hits, misses = (counter(d, f"spectrald_reply_cache_{k}_total") for k in ("hits", "misses"))
    first = d.get(d.layers)
    assert counter(d, "spectrald_reply_cache_hits_total") == hits + 1
    assert counter(d, "spectrald_reply_cache_misses_total") == misses
    assert counter(d, "spectrald_reply_cache_bytes") > len(first.body)
    d.stop()
    d.start()
    again = d.get(d.layers)
    assert again.body == first.body and again.headers["ETag"] == first.headers["ETag"]
    assert counter(d, "spectrald_reply_cache_misses_total") == 1


def test_memory_of_the_replies_is_bounded(tmp_path):
    for limit in (0, 100000):
        d = Daemon(str(tmp_path / str(limit)), "--reply-cache-bytes", str(limit))
        shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), d.root)
        with d:
            job = d.wait_final(d.submit("manlm.safetensors").json["id"])
            base = LAYERS.format(job["result"]["analysis"])
            for i in range(100):
                page = d.get(f"{base}?page_size=10&columns=longname,alpha&name=layers.{i % 25}")
                assert page.status == 200
                assert d.get(f"{base}/{i % 39}/esd").status in (200, 404)  # norms have none
            used = counter(d, "spectrald_reply_cache_bytes")
            assert used == 0 if limit == 0 else limit / 2 < used <= limit
            assert (counter(d, "spectrald_reply_cache_hits_total") > 0) == (limit > 0)


def test_a_burst_of_reads_makes_each_document_once(analysis):
    d = analysis
    urls = [f"{d.layers}?page_size={1 + i % 10}" for i in range(60)]
    with ThreadPoolExecutor(30) as pool:
        bodies = list(pool.map(lambda u: d.get(u).body, urls))
    for url, body in zip(urls, bodies):
        assert body == d.get(url).body
    assert len(set(bodies)) == 10
    # What waited for its turn found the document made.
    assert counter(d, "spectrald_http_requests_total{route=\"/v1/analyses/{analysis}/layers\","
                      "method=\"GET\",code=\"200\"}") == 120


# --- spectra -----------------------------------------------------------------------------------


def read_npy(body):
    assert body[:8] == b"\x93NUMPY\x01\x00"
    n = struct.unpack("<H", body[8:10])[0]
    head = ast.literal_eval(body[10:10 + n].decode("latin-1"))
    assert (10 + n) % 64 == 0 and body[9 + n:10 + n] == b"\n"
    assert head == {"descr": "<f8", "fortran_order": False, "shape": head["shape"]}
    values = struct.unpack(f"<{head['shape'][0]}d", body[10 + n:])
    assert head["shape"] == (len(values),)
    return list(values)


def test_esd_agrees_with_the_row(analysis):
    d = analysis
    rows = [r for r in d.get(d.layers).json["layers"] if r["has_esd"]]
    assert len(rows) == 30
    for row in rows:
        url = f"{d.layers}/{row['layer_id']}/esd"
        esd = d.get(url).json
        evals = esd["evals"]
        assert esd["n"] == len(evals) == row["num_evals"] and evals == sorted(evals)
        assert sum(evals) == pytest.approx(row["norm"], rel=1e-12)
        assert evals[-1] == pytest.approx(row["spectral_norm"], rel=1e-12)
        assert sum(x >= row["xmin"] for x in evals) == row["num_pl_spikes"]
        for key in ("longname", "layer_id", "alpha", "D", "xmin", "method", "precision"):
            assert esd[key] == row[key]
        assert esd["factor"] == 1 and esd["error_bound"] == row["error_bound"]
        assert read_npy(d.get(url + "?format=npy").body) == evals
        text = d.get(url, Accept="text/csv").body.decode().split("\r\n")
        assert text[0] == "eigenvalue" and text[-1] == ""
        assert [float(x) for x in text[1:-1]] == evals
    for accept in ("application/x-npy", "application/octet-stream"):
        r = d.get(url, Accept=accept)
        assert r.headers["Content-Type"] == accept and read_npy(r.body) == evals
    named = d.get(f"{d.layers}/{rows[-1]['longname']}/esd")
    assert named.json == esd


def test_norm_is_that_of_the_weights(analysis):
    """The sum of the eigenvalues is the squared Frobenius norm, taken from the file's bytes."""
    d = analysis
    with open(os.path.join(TOP, "examples/manlm.safetensors"), "rb") as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    for name in ("lm_head", "model.layers.1.mlp.up_proj"):
        begin, end = head[name + ".weight"]["data_offsets"]
        raw = struct.unpack(f"<{(end - begin) // 2}H", data[begin:end])
        weights = struct.unpack(f"<{len(raw)}f", struct.pack(f"<{len(raw)}I", *(x << 16 for x in raw)))
        esd = d.get(f"{d.layers}/{name}/esd").json
        assert sum(esd["evals"]) == pytest.approx(sum(w * w for w in weights), rel=1e-9)


def test_histogram(analysis):
    d = analysis
    url = f"{d.layers}/lm_head/esd"
    evals = d.get(url).json["evals"]
    for query, log in (("bins=20&scale=linear", False), ("bins=20&scale=log", True),
                       ("bins=7", True), ("bins=1", True), ("bins=1000&scale=linear", False)):
        h = d.get(f"{url}?{query}").json
        edges, counts = h["edges"], h["counts"]
        assert len(edges) == h["bins"] + 1 == len(counts) + 1 == len(h["density"]) + 1
        assert h["scale"] == ("log" if log else "linear")
        assert edges == sorted(edges) and edges[-1] == evals[-1]
        assert sum(counts) + h["n_below"] + h["n_nonpositive"] == len(evals) == h["n"]
        for i, c in enumerate(counts):
            last = i == len(counts) - 1
            assert c == sum(edges[i] <= x and (x < edges[i + 1] or last) for x in evals)
        area = sum(p * (b - a) for p, a, b in zip(h["density"], edges, edges[1:]))
        assert area == pytest.approx(1)
        steps = [b / a if log else b - a for a, b in zip(edges, edges[1:])]
        assert max(steps) == pytest.approx(min(steps), rel=1e-6)
        table = rows_of_csv(d.get(f"{url}?{query}&format=csv"))
        assert [int(r["count"]) for r in table] == counts
        assert [float(r["lower"]) for r in table] == edges[:-1]
        assert [float(r["density"]) for r in table] == h["density"]
    assert d.get(f"{url}?scale=log").body == d.get(f"{url}?bins=100").body
    for bad, parameter in (("bins=0", "bins"), ("bins=1001", "bins"), ("bins=x", "bins"),
                           ("bins=-1", "bins"), ("scale=log&format=npy", "bins"),
                           ("bins=3&scale=cubic", "scale"), ("bins=3&format=npy", "bins"),
                           ("bins=99999999999999999999999", "bins"), ("columns=n", "columns")):
        problem(d.get(f"{url}?{bad}"), 400, "invalid", parameter)


def small_model(path):
    """Two convolutions, a rank-one matrix, zeros, NaN, a norm; values by a small generator."""
    state = [12345]

    def value():
        state[0] = (state[0] * 1103515245 + 12345) % 2 ** 31
        return state[0] / 2 ** 30 - 1

    def tensor(*shape):
        n = 1
        for s in shape:
            n *= s
        return shape, [value() for _ in range(n)]

    row = [value() for _ in range(16)]
    t = {"conv.weight": tensor(12, 10, 3, 3), "point.weight": tensor(16, 12, 1, 1),
         "rank1.weight": ((20, 16), [(i + 1) * x for i in range(20) for x in row]),
         "zero.weight": ((12, 12), [0.0] * 144),
         "nan.weight": ((12, 12), [float("nan")] * 144),
         "layer_norm.weight": tensor(12)}
    write_f64(path, t)
    return t


def write_f64(path, tensors):
    head, blob = {}, b""
    for name, (shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}d", *values)
        head[name] = {"dtype": "F64", "shape": list(shape),
                      "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + blob)


def test_convolutions_pool_their_slices_and_others_have_none(daemon):
    d = daemon
    t = small_model(os.path.join(d.root, "m.safetensors"))
    job, rows = d.analyze("m.safetensors")
    base = LAYERS.format(job["result"]["analysis"])
    for name, slices in (("conv", 9), ("point", 1)):
        esd = d.get(f"{base}/{name}/esd").json
        assert esd["n_slices"] == slices and esd["factor"] == 0.5
        assert esd["n"] == len(esd["evals"]) == rows[name]["num_evals"]
        assert esd["evals"] == sorted(esd["evals"])
        assert esd["error_bound"] == rows[name]["error_bound"] / 2
        square = sum(x * x for x in t[name + ".weight"][1])
        assert sum(esd["evals"]) == pytest.approx(square / 2, rel=1e-12)
        assert sum(esd["evals"]) == pytest.approx(rows[name]["norm"], rel=1e-12)
        assert esd["evals"][-1] == pytest.approx(rows[name]["spectral_norm"], rel=1e-12)
    one = d.get(f"{base}/rank1/esd?bins=10").json
    assert sum(one["counts"]) + one["n_below"] + one["n_nonpositive"] == 16
    assert rows["zero"]["has_esd"] and rows["zero"]["status"] == "failed"
    zero = d.get(f"{base}/zero/esd").json
    assert zero["evals"] == [0] * 12 and zero["status"] == "failed" and zero["alpha"] is None
    h = d.get(f"{base}/zero/esd?bins=3").json
    assert h["counts"] == [0, 0, 0] and h["n_nonpositive"] == 12
    h = d.get(f"{base}/zero/esd?bins=3&scale=linear").json
    assert sum(h["counts"]) == 12 and h["edges"] == sorted(set(h["edges"]))
    r = d.get(f"{base}/nan/esd")
    problem(r, 404, "not_found")
    assert "non_finite" in r.json["detail"]
    r = d.get(f"{base}/layer_norm/esd")
    problem(r, 404, "not_found")
    assert "skipped" in r.json["detail"] and "norm" in r.json["detail"]
    problem(d.get(f"{base}/nobody/esd"), 404, "not_found")
    problem(d.get(f"{base}/0/esd", Accept="text/html"), 406, "not_acceptable")


def test_a_lost_spectrum_comes_back_with_the_next_job(analysis):
    d = analysis
    url = f"{d.layers}/lm_head/esd"
    before = d.get(url)
    etag = before.headers["ETag"]
    assert d.get(url, **{"If-None-Match": etag}).status == 304
    d.stop()
    db = sqlite3.connect(os.path.join(d.state, "cache.db"))
    db.execute("DELETE FROM results WHERE kind = 0")
    db.commit()
    db.close()
    d.start()
    r = d.get(url)
    problem(r, 410, "gone")
    assert "submit the job again" in r.json["detail"]
    job = d.wait_final(d.submit("manlm.safetensors").json["id"])
    assert job["cache"]["misses"] == 30
    again = d.get(LAYERS.format(job["result"]["analysis"]) + "/lm_head/esd").json
    assert again["evals"] == before.json["evals"]
    # Same numbers, same rows: the old analysis has its spectrum again, too.
    assert d.get(url).body == before.body


def test_rows_of_an_older_version_do_not_know_their_spectrum(analysis):
    d = analysis
    d.stop()
    db = sqlite3.connect(os.path.join(d.state, "cache.db"))
    db.execute("UPDATE layer_rows SET spectrum = NULL, scale = NULL")
    db.commit()
    db.close()
    d.start()
    assert d.get(f"{d.layers}/lm_head").json["has_esd"]
    problem(d.get(f"{d.layers}/lm_head/esd"), 410, "gone")
    job = d.wait_final(d.submit("manlm.safetensors").json["id"])
    assert job["cache"]["misses"] == 0
    esd = d.get(LAYERS.format(job["result"]["analysis"]) + "/lm_head/esd")
    assert esd.status == 200 and esd.json["n"] > 0


def test_a_lost_cache_is_gone_not_an_error(analysis):
    d = analysis
    d.stop()
    for name in os.listdir(d.state):
        if name.startswith("cache.db"):
            os.remove(os.path.join(d.state, name))
    d.start()
    for path in (d.layers, d.layers + "/0", d.layers + "/0/esd", d.layers + "?status=failed",
                 f"/v1/models/{d.model}/tensors"):
        problem(d.get(path), 410, "gone")


# --- tensors -----------------------------------------------------------------------------------


def test_tensors(analysis):
    d = analysis
    url = f"/v1/models/{d.model}/tensors"
    with open(os.path.join(TOP, "examples/manlm.safetensors"), "rb") as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    head.pop("__metadata__", None)
    tensors = d.get(url).json["tensors"]
    layers = {r["tensor"]: r for r in d.get(d.layers).json["layers"]}
    assert {t["name"] for t in tensors} == set(head) and len(tensors) == 39
    assert [t["name"] for t in tensors] == list(layers)
    for t in tensors:
        want, row = head[t["name"]], layers[t["name"]]
        assert (t["dtype"], t["shape"]) == (want["dtype"], want["shape"])
        assert t["nbytes"] == want["data_offsets"][1] - want["data_offsets"][0]
        assert t["n_params"] * 2 == t["nbytes"]
        for key in ("block", "role", "layer_type", "digest"):
            assert t[key] == row[key]
    model = d.get(f"/v1/models/{d.model}").json
    assert model["links"]["tensors"] == url and model["tensors"] == 39
    assert sum(t["nbytes"] for t in tensors) == model["bytes"]
    assert [t for t in tensors if "mlp" in t["name"]] == d.get(url + "?name=mlp").json["tensors"]
    assert d.get(url + "?dtype=F32").json == {"tensors": [], "next_page_token": ""}
    lines = rows_of_csv(d.get(url + "?columns=name,shape", Accept="text/csv"))
    assert lines[0] == {"name": tensors[0]["name"], "shape": ";".join(map(str, tensors[0]["shape"]))}
    r = d.get(url + "?page_size=20")
    token = r.json["next_page_token"]
    assert r.json["tensors"] + d.get(f"{url}?page_token={token}").json["tensors"] == tensors
    problem(d.get(f"{d.layers}?page_token={token}"), 400, "invalid", "page_token")
    problem(d.get(url + "?columns=file"), 400, "invalid", "columns")
    problem(d.get("/v1/models/mdl_00000000000000000000000000/tensors"), 404, "not_found")
    problem(d.get("/v1/models/x/tensors"), 404, "not_found")


def test_a_stack_of_experts_is_one_tensor(daemon):
    d = daemon
    shape = (3, 16, 12)
    values = [((i * 7919) % 1009) / 1009 for i in range(3 * 16 * 12)]
    write_f64(os.path.join(d.root, "moe.safetensors"),
              {"model.layers.0.mlp.experts.down_proj": (shape, values)})
    job, rows = d.analyze("moe.safetensors")
    tensors = d.get(f"/v1/models/{job['result']['model']}/tensors").json["tensors"]
    assert len(rows) == 3 and len(tensors) == 1
    assert tensors[0]["shape"] == list(shape)
    assert tensors[0]["digest"] not in {r["digest"] for r in rows.values()}
    base = LAYERS.format(job["result"]["analysis"])
    for name in rows:
        esd = d.get(f"{base}/{quote(name)}/esd").json
        assert esd["longname"] == name and esd["n"] == 12
