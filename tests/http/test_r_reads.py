"""Reading results: tables, single layers, spectra; forms, encodings, validators."""

import csv
import gzip
import io
import re

import pytest

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
    return float(re.search(rf"^{name} (\S+)$", daemon.get("/metrics").body.decode(), re.M).group(1))


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
    for row, line in zip(rows, lines):
        assert list(row) == list(line)
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
