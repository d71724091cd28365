"""spectralctl report: the page, against a text and against the API."""

import json
import os
import re

import numpy as np
import pytest

from daemon import TOP, write_safetensors
from test_c_cli import Pretender, ctl, on_a_terminal, problem, run_ctl  # noqa: F401

PAGE = os.path.join(TOP, "tests/data/report_manlm.txt")
NUMBER = r"[-+]?\d+\.\d+"


@pytest.fixture
def report(ctl):  # noqa: F811
    def run(model="manlm.safetensors", *measures, options=(), **more):
        r = ctl("analyze", model, "--quiet", *[x for m in measures for x in ("--measure", m)])
        assert r.returncode == 0, r.stderr
        run.analysis = r.stdout.strip()
        r = ctl("report", run.analysis, *options, **more)
        assert r.returncode == 0 and r.stderr == "", r.stderr
        return r.stdout

    run.ctl = ctl
    return run


def normal(text):
    text = re.sub(r"ana_\w{26} of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "ana_ID of TIME", text)
    return text.replace("\r\n", "\n")


def same_but_for_last_digits(got, want):
    assert re.sub(rf"\s+|{NUMBER}", " ", got).split() == re.sub(rf"\s+|{NUMBER}", " ", want).split()
    a, b = ([float(x) for x in re.findall(NUMBER, text)] for text in (got, want))
    assert a == pytest.approx(b, abs=0.011, rel=0.005)


def test_the_page(report):
    """Made by: COLUMNS=80 spectralctl report of the example, with phases."""
    text = normal(report("manlm.safetensors", "phase", COLUMNS="80"))
    if os.environ.get("SPECTRALD_WRITE_PAGE"):
        open(PAGE, "w").write(text)
    same_but_for_last_digits(text, open(PAGE).read())


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_it_fits_the_terminal(report, width):
    for measures in ([], ["phase"]):
        text = report("manlm.safetensors", *measures, COLUMNS=str(width))
        assert max(map(len, text.splitlines())) <= max(width, 42)
        assert not any(line.endswith(" ") for line in text.splitlines())


def test_data(report):
    data = json.loads(report("manlm.safetensors", "phase", options=["--json", "--worst", "7"]))
    api = report.ctl.daemon
    analysis = api.get(f"/v1/analyses/{report.analysis}").json
    rows = api.get(f"/v1/analyses/{report.analysis}/layers?page_size=10000").json["layers"]
    assert set(data) == {"analysis", "model", "findings", "worst", "not_measured"}
    assert data["analysis"] == analysis and data["model"]["id"] == analysis["model"]
    assert data["not_measured"] == ["randomize", "traps", "mp_fit", "bootstrap"]
    fitted = [r for r in rows if r["status"] == "success"]
    far = lambda r: max(np.log(r["alpha"] / 6), np.log(2 / r["alpha"]))
    order = sorted(fitted, key=lambda r: (-far(r), r["layer_id"]))
    assert [r["layer_id"] for r in data["worst"]] == [r["layer_id"] for r in order[:7]]
    assert all(r[k] == order[i].get(k) for i, r in enumerate(data["worst"]) for k in r)
    found = {f["finding"]: f for f in data["findings"]}
    assert list(found) == ["alpha_above_6", "alpha_below_2"]
    for name, rule in (("alpha_above_6", lambda x: x > 6), ("alpha_below_2", lambda x: x < 2)):
        want = [r for r in order if rule(r["alpha"])]
        f = found[name]
        assert f["rows"] == len(want) > 0
        assert f["low_confidence"] == sum(r["confidence"] < 0.1 for r in want)
        assert [(x["longname"], x["value"], x["confidence"]) for x in f["layers"]] == [
            (r["longname"], r["alpha"], r["confidence"]) for r in want]


def test_worst(report):
    head = "Farthest from 2 <= alpha <= 6\n"
    rows = lambda n: report(options=["--worst", str(n)]).split(head)[1].split("\n\n")[0].split("\n")
    assert len(rows(3)) == 4 and len(rows(1000)) == 31
    assert head not in report(options=["--worst", "0"])
    assert report.ctl("report", report.analysis, "--worst", "x").returncode == 1


def test_what_is_found(report):
    rng = np.random.default_rng(9)
    t = {f"layers.{i}.q_proj.weight": rng.standard_t(3, (64, 48)).astype("<f4") for i in range(8)}
    t["layers.3.q_proj.weight"] *= 1e-2
    t["layers.5.q_proj.weight"] = rng.standard_normal((64, 48)).astype("<f4")
    t["layers.5.q_proj.weight"][3, 4] = 60
    t["zero.weight"] = np.zeros((40, 30), "<f4")
    write_safetensors(os.path.join(report.ctl.daemon.root, "odd.safetensors"), t)
    text = report("odd.safetensors", "randomize", "phase", "mp_fit", "bootstrap", "traps",
                  COLUMNS="80")
    assert "1 layer without a result\n    zero: zero_matrix\n" in text
    assert "far below others of their type" in text
    assert re.search(r"layers\.3\.q_proj: log_spectral_norm -?\d", text)
    assert re.search(r"layers\.5\.q_proj: risk 1\.00, localised, first at row 3, column 4\n", text)
    assert "mp_softrank" in text and "Phases: " in text and "Not measured" not in text
    text = report("odd.safetensors", "phase")
    assert "traps" not in text.split("Not measured")[0]
    assert "traps: correlation traps" in text and "  phase: " not in text
    assert text.endswith("spectralctl analyze MODEL --measure randomize\n")


def test_nothing_to_report(report):
    write_safetensors(os.path.join(report.ctl.daemon.root, "norms.safetensors"),
                      {"a.norm.weight": np.ones(8, "<f4")})
    text = report("norms.safetensors")
    assert "nothing stands out" in text and "0 layers analysed" in text
    assert json.loads(report("norms.safetensors", options=["--json"]))["worst"] == []


def test_colour(report):
    report()
    server = f"127.0.0.1:{report.ctl.daemon.port}"
    plain = report.ctl("report", report.analysis, COLUMNS="80").stdout
    seen, status = on_a_terminal(server, "report", report.analysis, COLUMNS="80")
    assert status == 0 and "\033[" in seen
    assert re.sub(r"\033\[[\d;]*m", "", seen).replace("\r\n", "\n") == plain


def test_answers_of_older_and_hostile_servers():
    def answer(method, path, body, headers):
        if path.startswith("/v1/models/"):
            return 200, {}, {"id": "mdl_x", "name": "\033[31mm\u202e", "model_type": None}
        if "/layers" in path:
            return 200, {}, {"layers": [{"longname": "\033]0;x", "status": "success", "alpha": 9.5},
                                        {"longname": None, "status": "success", "alpha": "9"}],
                             "next_page_token": ""}
        if "broken" in path:
            return 200, {}, []
        return 200, {}, {"id": "ana_x", "model": "mdl_x", "params": {}, "created_at": 3,
                         "summary": {"rows_success": 1, "under_trained": 1}}

    with Pretender(answer) as server:
        r = run_ctl(server.name, "report", "ana_x")
        assert r.returncode == 0 and "\033" not in r.stdout and "\u202e" not in r.stdout
        assert "1 layer with alpha > 6" in r.stdout and "older than this table" in r.stdout
        assert "phase: phases of training" in r.stdout
        assert run_ctl(server.name, "report", "broken").returncode in (0, 2)


def test_refusals(ctl):  # noqa: F811
    assert ctl("report").returncode == 1 and ctl("report", "a", "b").returncode == 1
    r = ctl("report", "ana_" + "0" * 26)
    assert r.returncode == 2 and r.stdout == "" and "analysis" in r.stderr
    with Pretender(lambda *_: problem(500)) as server:
        assert run_ctl(server.name, "report", "ana_x").returncode == 2
