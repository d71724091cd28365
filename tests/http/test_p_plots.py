"""GET …/plot.svg: pictures of layers and analyses, byte for byte what they were."""

import os
import subprocess
import xml.etree.ElementTree

import pytest

from daemon import CTL, TOP

DATA = os.path.join(TOP, "tests/data/plots")
SVG = "{http://www.w3.org/2000/svg}"
LAYER = "model.layers.0.mlp.gate_proj"
OF_LAYER = ["esd", "esd_lin", "mp", "rand", "erg", "ks"]
OF_ANALYSIS = ["alpha_hist", "alpha_depth", "alpha_D", "scale_depth"]


@pytest.fixture(scope="module")
def server(refusing):
    return refusing


@pytest.fixture(scope="module")
def analysis(server):
    return server.analyze("manlm.safetensors", {"randomize": True})[0]["result"]["analysis"]


def path_of(analysis, kind):
    part = f"/layers/{LAYER}" if kind in OF_LAYER else ""
    return f"/v1/analyses/{analysis}{part}/plot.svg?kind={kind}"


@pytest.mark.parametrize("kind", OF_LAYER + OF_ANALYSIS)
def test_golden(server, analysis, kind):
    """Look at a picture before writing it anew."""
    r = server.request("GET", path_of(analysis, kind))
    assert r.status == 200 and r.headers["Content-Type"] == "image/svg+xml"
    assert "script" not in r.headers["Content-Security-Policy"]
    golden = os.path.join(DATA, kind + ".svg")
    if os.environ.get("SPECTRALD_WRITE_GOLDEN"):
        os.makedirs(DATA, exist_ok=True)
        with open(golden, "wb") as f:
            f.write(r.body)
    with open(golden, "rb") as f:
        assert r.body == f.read()


@pytest.mark.parametrize("kind", OF_LAYER + OF_ANALYSIS)
def test_is_a_picture(server, analysis, kind):
    """Everything lies within it, and it needs nothing else."""
    top = xml.etree.ElementTree.fromstring(server.request("GET", path_of(analysis, kind)).body)
    assert top.attrib["viewBox"] == "0 0 640 420" and top.find(SVG + "title").text
    for e in top.iter():
        assert e.tag.removeprefix(SVG) in {"svg", "title", "desc", "style", "rect", "text", "tspan",
                                           "line", "polyline", "circle", "path"}
        assert not {"href", "onload"} & {k.rsplit("}", 1)[-1] for k in e.attrib}
        for x, y in (p.split(",") for p in e.attrib.get("points", "").split()):
            assert 0 <= float(x) <= 640 and 0 <= float(y) <= 420
        for name, most in (("x", 640), ("y", 420), ("cx", 640), ("cy", 420)):
            assert 0 <= float(e.attrib.get(name, 0)) <= most, (kind, e.attrib)


def rows(server, analysis):
    r = server.request("GET", f"/v1/analyses/{analysis}/layers?page_size=1000").json["layers"]
    return [x for x in r if x["status"] == "success"]


def test_numbers(server, analysis):
    """A mark for each layer with a fit, in order, which says what the table says."""
    for kind in ("alpha_depth", "alpha_D", "scale_depth"):
        top = xml.etree.ElementTree.fromstring(server.request("GET", path_of(analysis, kind)).body)
        marks = [e.find(SVG + "title").text for e in top.iter()
                 if e.tag != SVG + "svg" and e.find(SVG + "title") is not None]
        assert marks == [f"{x['longname']}: alpha {x['alpha']:.4g}, D {x['D']:.4g}, "
                         f"log10 lambda_max {x['log_spectral_norm']:.4g}"
                         for x in rows(server, analysis)]
    body = server.request("GET", path_of(analysis, "alpha_hist")).body.decode()
    alpha = [x["alpha"] for x in rows(server, analysis)]
    assert f"{len(alpha)} layers" in body and f"mean {sum(alpha) / len(alpha):.3f}" in body
    row = server.request("GET", f"/v1/analyses/{analysis}/layers/{LAYER}").json
    body = server.request("GET", path_of(analysis, "esd")).body.decode()
    assert f"alpha = {row['alpha']:.3f}, D = {row['D']:.3f}" in body
    assert f"{row['num_evals']} eigenvalues, {row['num_pl_spikes']} in the tail" in body


def test_cached_and_conditional(server, analysis):
    r = server.request("GET", path_of(analysis, "esd"))
    again = server.request("GET", path_of(analysis, "esd"), headers={"If-None-Match": r.headers["ETag"]})
    assert again.status == 304
    usual = server.request("GET", f"/v1/analyses/{analysis}/layers/{LAYER}/plot.svg")
    assert usual.body == r.body


def test_refused(server, analysis):
    def ask(path):
        return server.request("GET", f"/v1/analyses/{path}")

    r = ask(f"{analysis}/plot.svg?kind=esd")
    assert r.status == 400 and r.json["errors"][0]["parameter"] == "kind"
    assert "alpha_hist" in r.json["detail"] and "scale_depth" in r.json["detail"]
    assert ask(f"{analysis}/layers/{LAYER}/plot.svg?kind=alpha_hist").status == 400
    assert ask(f"{analysis}/plot.svg?colour=red").status == 400
    assert ask(f"{analysis}/layers/no.such.layer/plot.svg").status == 404
    r = ask(f"{analysis}/layers/model.norm/plot.svg")
    assert r.status == 404 and "no spectrum" in r.json["detail"]
    assert ask("ana_06gzr4pm3s6v2tq0k8j5n1c7xd/plot.svg").status == 404
    assert server.request("GET", f"/v1/analyses/{analysis}/plot.svg",
                          headers={"Accept": "text/csv"}).status == 406


def test_command(server, analysis, tmp_path):
    def ctl(*args):
        where = f"http://127.0.0.1:{server.port}"
        return subprocess.run([CTL, "--server", where, "plot", *args], capture_output=True)

    for kind, of in (("alpha_depth", ()), ("ks", (LAYER,))):
        body = server.request("GET", path_of(analysis, kind)).body
        out = tmp_path / (kind + ".svg")
        assert ctl(analysis, *of, "--kind", kind, "-o", str(out)).returncode == 0
        assert out.read_bytes() == body
        assert ctl(analysis, *of, "--kind", kind).stdout == body
    r = ctl(analysis, "--kind", "pie")
    assert r.returncode != 0 and b"alpha_hist" in r.stderr
