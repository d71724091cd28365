"""Every method of the client, against the daemon."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time

import pytest

import spectrald
from artifact import prepared, put
from conftest import EXAMPLE, TOP
from contract import contract
from daemon import Daemon
from spectrald import Client, types

# What is no operation of its own.
MORE = {"analyze", "close", "comparison_csv", "distance_layers_csv", "eigenvalues", "events", "layers_csv", "plans_svg",
        "request", "series_csv", "tensors_csv", "wait"}
# Query parameters that no method shows: the method itself decides.
HIDDEN = {"format"}


def snake(operation):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()


def methods():
    return {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if name[0] != "_"}


# --- in step with openapi.yaml ------------------------------------------------------------------


def test_every_operation_is_a_method_and_every_method_an_operation():
    operations = {snake(op["operationId"]) for _, _, op in contract().operations()}
    assert methods() - MORE == operations
    assert MORE < methods()


def test_methods_take_the_parameters_of_their_operations():
    for _, _, op in contract().operations():
        given = set(inspect.signature(getattr(Client, snake(op["operationId"]))).parameters)
        wanted = {p["name"] for p in op["parameters"] if p["in"] in ("path", "query")} - HIDDEN
        assert wanted <= given, op["operationId"]
        own = {"self", "request", "wait", "timeout", "idempotency_key", "labels", "if_match",
               "path"}
        assert given <= wanted | own, op["operationId"]
        keyed = "Idempotency-Key" in {p["name"] for p in op["parameters"]}
        assert keyed == ("idempotency_key" in given), op["operationId"]


def test_types_are_those_of_the_document():
    r = subprocess.run([sys.executable, os.path.join(TOP, "clients/python/make_types.py"),
                        "--check"], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


def test_types_name_the_members_of_a_reply(client, analysis):
    job = client.get_job(analysis["job"])
    for value, kind in ((job, types.Job), (analysis, types.Analysis),
                        (client.get_model(analysis["model"]), types.Model),
                        (client.get_layer(analysis["id"], 0), types.Layer)):
        assert kind.__required_keys__ <= set(value) <= set(kind.__annotations__)


# --- jobs ---------------------------------------------------------------------------------------


def test_job_from_beginning_to_end(client, analysis):
    job = client.create_job({"kind": "analyze", "source": {"path": "manlm.safetensors"},
                             "labels": {"run": "job"}}, wait=30)
    assert job["state"] == "succeeded"
    assert job["cache"]["misses"] == 0
    assert client.get_job(job["id"], wait=5) == client.wait(job)
    assert [j["id"] for j in client.list_jobs(label="run:job", state="succeeded")] == [job["id"]]
    assert list(client.list_jobs(label=["run:job", "nothing"])) == []
    assert client.patch_job(job["id"], {"run": None, "a": "b"})["labels"] == {"a": "b"}
    assert client.cancel_job(job["id"])["state"] == "succeeded"
    client.delete_job(job["id"])
    with pytest.raises(spectrald.NotFound) as e:
        client.get_job(job["id"])
    assert (e.value.status, e.value.code) == (404, "not_found")


def test_an_idempotency_key_makes_one_job(client, analysis):
    request = {"kind": "analyze", "source": {"path": "manlm.safetensors"}}
    one = client.create_job(request, idempotency_key="a-key")
    assert client.create_job(request, idempotency_key="a-key")["id"] == one["id"]
    assert client.create_job(request)["id"] != one["id"]
    with pytest.raises(spectrald.InvalidRequest) as e:
        client.create_job({**request, "labels": {"x": "y"}}, idempotency_key="a-key")
    assert e.value.code == "key_reused"


def test_problems_name_the_field(client):
    with pytest.raises(spectrald.InvalidRequest) as e:
        client.create_job({"kind": "analyze", "source": {"path": "manlm.safetensors"},
                           "params": {"types": ["nonsense"]}})
    assert e.value.status == 400 and e.value.code == "invalid"
    assert e.value.pointer.startswith("#/params/types")
    assert e.value.request_id and e.value.pointer in str(e.value)
    with pytest.raises(spectrald.ApiError) as e:
        list(client.list_jobs(state="nonsense"))
    assert e.value.parameter == "state"
    with pytest.raises(spectrald.NotFound):
        client.analyze("no-such-model")
    with pytest.raises(spectrald.Forbidden):
        client.analyze("/etc/passwd")


def test_events_and_waiting(client, daemon, analysis, tmp_path):
    """A job that has something to compute: other fits of the same spectra."""
    job = client.create_job({"kind": "analyze", "source": {"path": "manlm.safetensors"},
                             "params": {"farms": {"rows": 64, "q": 1.0, "windows": 4}}})
    states = list(client.events(job["id"], timeout=60))
    assert states[-1]["state"] == "succeeded"
    assert [s["version"] for s in states] == sorted(s["version"] for s in states)
    seen = []
    assert client.wait(job["id"], progress=seen.append)["id"] == seen[-1]["id"]


def test_a_job_that_fails_or_takes_too_long(client, daemon):
    path = os.path.join(daemon.root, "broken.safetensors")
    with open(path, "wb") as f:
        f.write(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises((spectrald.JobFailed, spectrald.InvalidRequest)):
        client.analyze("broken.safetensors")
    with open(EXAMPLE, "rb") as f:
        data = bytearray(f.read())
    for i in range(20000, len(data), 4096):
        data[i] ^= 1
    with open(os.path.join(daemon.root, "other.safetensors"), "wb") as f:
        f.write(data)
    job = client.create_job({"kind": "analyze", "source": {"path": "other.safetensors"}})
    if job["state"] not in ("succeeded", "failed"):
        with pytest.raises(spectrald.WaitTimeout) as e:
            client.wait(job["id"], timeout=0)
        assert e.value.job["id"] == job["id"]
    cancelled = client.cancel_job(job["id"], wait=30)
    assert cancelled["state"] in ("cancelled", "succeeded")
    if cancelled["state"] == "cancelled":
        with pytest.raises(spectrald.JobFailed):
            client.wait(cancelled)
        assert client.wait(cancelled, check=False) == cancelled


# --- uploads ------------------------------------------------------------------------------------


def test_upload_of_a_file(client, analysis):
    upload = client.create_upload(EXAMPLE)
    assert (upload["name"], upload["kind"]) == ("manlm.safetensors", "file")
    assert upload["bytes"] == os.path.getsize(EXAMPLE)
    assert client.get_upload(upload["id"])["sha256"] == upload["sha256"]
    assert upload["id"] in [u["id"] for u in client.list_uploads(page_size=1)]
    again = client.analyze(upload)
    assert again["model"] == analysis["model"]
    assert client.analyze(upload["id"])["model"] == analysis["model"]
    client.delete_upload(upload["id"])
    with pytest.raises(spectrald.NotFound):
        client.get_upload(upload["id"])


def test_upload_of_a_directory(client, analysis, tmp_path):
    model = tmp_path / "a model"
    (model / "below").mkdir(parents=True)
    shutil.copy(EXAMPLE, model / "model.safetensors")
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / ("n" * 150 + ".json")).write_text("{}")  # needs a pax header
    (model / "notes.txt").write_text("not sent")
    upload = client.create_upload(model)
    assert (upload["name"], upload["kind"], upload["files"]) == ("a model", "tar", 3)
    assert client.analyze(upload)["summary"]["alpha"] == analysis["summary"]["alpha"]
    os.utime(model / "config.json", (1, 1))
    assert client.create_upload(str(model))["sha256"] == upload["sha256"]
    with pytest.raises(spectrald.SpectraldError, match="no \\*.safetensors"):
        client.create_upload(tmp_path)


def test_an_upload_that_changes_or_is_missing(client, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    shutil.copy(EXAMPLE, path)
    read = spectrald.bodies.FileBody.parts

    def cut(self):
        os.truncate(path, 3000000)
        yield from read(self)

    monkeypatch.setattr(spectrald.bodies.FileBody, "parts", cut)
    with pytest.raises(spectrald.SpectraldError, match="changed while it was sent"):
        client.create_upload(path)
    with pytest.raises(FileNotFoundError):
        client.create_upload(tmp_path / "none")


def test_an_upload_above_the_limit_says_so(tmp_path):
    """The server answers before it has read all, and stops reading."""
    with Daemon(str(tmp_path), "--upload-limit", "1048576") as d, \
            Client(f"http://127.0.0.1:{d.port}", retries=0) as c:
        with pytest.raises(spectrald.InvalidRequest) as e:
            c.create_upload(EXAMPLE)
        assert e.value.status == 413


# --- results ------------------------------------------------------------------------------------


def test_artifacts(tmp_path):
    d = prepared(tmp_path / "d")
    files = {"config.json": b"{}", "empty": b"", "w e": os.urandom(300000)}
    art, altered = (put(d, n, files, created=60 * n, more={"method": "wanda"}) for n in (1, 2))
    with open(os.path.join(d.state, "artifacts", altered, "w e"), "r+b") as f:
        f.write(b"altered")
    with d, Client(f"http://127.0.0.1:{d.port}") as c:
        assert [a["id"] for a in c.list_artifacts()] == [art, altered]
        assert c.get_artifact(art)["method"] == "wanda"
        to = tmp_path / "to"
        for name, data in files.items():
            c.get_artifact_file(art, name, to)
            assert to.read_bytes() == data
        c.get_artifact_tar(art, to)
        with tarfile.open(to) as archive:
            assert archive.extractfile(f"{art}/w e").read() == files["w e"]
        for call in (lambda: c.get_artifact_file(art, "none", to),
                     lambda: c.get_artifact_file(altered, "w e", to),
                     lambda: c.get_artifact_tar("art_none", to)):
            with pytest.raises(spectrald.SpectraldError):
                call()
            assert not to.exists()
        c.delete_artifact(art)
        with pytest.raises(spectrald.NotFound):
            c.get_artifact(art)


def test_models_and_tensors(client, analysis):
    model = client.get_model(analysis["model"])
    assert model["id"] in [m["id"] for m in client.list_models(page_size=1)]
    tensors = list(client.list_tensors(model["id"], page_size=7))
    assert len(tensors) == model["tensors"]
    assert len({x["name"] for x in tensors}) == len(tensors)
    some = list(client.list_tensors(model["id"], dtype="BF16", columns=["name", "shape"]))
    assert all(set(x) == {"name", "shape"} for x in some)
    lines = client.tensors_csv(model["id"], columns=["name"]).splitlines()
    assert lines == ["name"] + [x["name"] for x in tensors]


def test_layers_page_by_page(client, analysis):
    rows = list(client.list_layers(analysis["id"]))
    assert len(rows) == analysis["layers_total"]
    assert list(client.list_layers(analysis["id"], page_size=4)) == rows
    queries = list(client.list_layers(analysis["id"], role="q", columns=["longname", "alpha"]))
    assert len(queries) == 4 and set(queries[0]) == {"longname", "alpha"}
    assert client.layers_csv(analysis["id"], columns=["alpha"], role="q").splitlines() == \
        ["alpha"] + [json.dumps(x["alpha"]) for x in queries]
    done = next(r for r in rows if r["status"] == "success")
    for key in (done["layer_id"], done["longname"]):
        row = client.get_layer(analysis["id"], key)
        assert {k: v for k, v in row.items() if k != "links"} == done


def test_csv_of_several_pages_has_one_head(client, analysis, monkeypatch):
    whole = client.layers_csv(analysis["id"])
    pages = client._csv(f"/v1/analyses/{analysis['id']}/layers", [("page_size", 5)])
    assert pages == whole and whole.count("longname") == 1


def test_spectra(client, analysis):
    numpy = pytest.importorskip("numpy")
    layer = "model.layers.0.mlp.gate_proj"
    esd = client.get_esd(analysis["id"], layer)
    array = client.eigenvalues(analysis["id"], layer)
    assert array.dtype == numpy.float64 and array.tolist() == esd["evals"]
    assert client.get_layer_plot(analysis["id"], layer, "ks").startswith("<svg")
    assert client.get_analysis_plot(analysis["id"]).startswith("<svg")
    trapped = client.analyze("manlm.safetensors", params={"traps": True, "layers": [layer]})
    traps = client.get_traps(trapped["id"], layer)
    assert traps["longname"] == layer and len(traps["traps"]) == traps["trap_count"]
    histogram = client.get_esd(analysis["id"], layer, bins=10, scale="linear")
    assert sum(histogram["counts"]) == esd["n"] == len(esd["evals"])
    with pytest.raises(spectrald.NotFound):
        client.get_esd(analysis["id"], "no.such.layer")


def test_comparisons(client, analysis):
    other = client.analyze("manlm.safetensors", params={"min_evals": 11})
    both = [analysis["id"], other["id"]]
    got = client.get_comparison(both, metrics=["alpha", "D"], moved=3)
    assert [a["id"] for a in got["analyses"]] == both and got["n_changed"] == 0
    assert client.get_comparison(both, changed=True)["layers"] == []
    text = client.comparison_csv(both, metrics=["alpha"])
    assert text.splitlines()[0].startswith(f"longname,metric,changed,{both[0]},{both[1]}")
    assert client.get_comparison_plot(both).startswith("<svg")
    assert client.get_comparison_plot(both, "trend", metric="D").startswith("<svg")


def test_distances(client, analysis):
    path = client.get_job(analysis["job"])["source"]["path"]
    job = client.wait(client.create_job({"kind": "distances", "source": {"path": path},
                                         "params": {"base": {"path": path}}}))
    found = client.get_distances(job["result"]["distances"])
    assert found["n_identical"] == found["n_measured"] > 0 and found["total"] == 0
    rows = list(client.list_distance_layers(found["id"], columns=["longname", "cka"], page_size=2))
    assert len(rows) == found["n_layers"] and {row["cka"] for row in rows} == {1}
    lines = client.distance_layers_csv(found["id"], columns=["longname"]).splitlines()
    assert lines == ["longname", *(row["longname"] for row in rows)]
    again = client.analyze(path)
    got = client.get_comparison([analysis["id"], again["id"]], distances=True)
    assert got["distances"]["n_identical"] == got["n_layers"]


def test_analyses_series_and_labels(client, analysis):
    one = client.patch_analysis(analysis["id"], {"extra": "yes"})
    assert one["labels"]["extra"] == "yes"
    tag = client.request("GET", f"/v1/analyses/{one['id']}").headers["ETag"]
    client.patch_analysis(one["id"], {"extra": "no"}, if_match=tag)
    with pytest.raises(spectrald.Conflict) as e:
        client.patch_analysis(one["id"], {"extra": "no"}, if_match=tag)
    assert e.value.status == 412
    client.analyze("manlm.safetensors", labels={"run": "second", "step": "2"})
    ids = [a["id"] for a in client.list_analyses(label="run:first", model=analysis["model"])]
    assert ids == [analysis["id"]]
    runs = {r["value"]: r for r in client.get_series("run", metric="alpha", page_size=1)}
    assert {"first", "second"} <= set(runs)
    assert runs["first"]["steps"][0]["step"] == "1"
    rows = {r["longname"]: r["alpha"] for r in client.list_layers(analysis["id"])}
    for layer in runs["first"]["layers"]:
        assert layer["values"] == [rows[layer["longname"]]]
    assert client.series_csv("run:first", role="q").count("\n") == 5


def test_decisions(client, analysis):
    plan = client.create_plan({"analysis": analysis["id"], "sparsity": 0.5, "metric": "alpha"})
    assert abs(plan["achieved_sparsity"] - 0.5) < 0.01
    assert client.get_plan(plan["id"]) == plan
    several = {"analysis": analysis["id"], "sparsity": 0.5}
    assert len(client.compare_plans(several)["plans"]) > 2
    assert client.plans_svg(several).startswith("<svg")
    schedule = client.create_schedule({"analysis": analysis["id"], "metric": "alpha",
                                       "base_lr": 0.1})
    assert any(row["multiplier"] != 1 for row in schedule["layers"])
    experts = client.allocate_experts({"analysis": analysis["id"], "metric": "alpha", "total": 12})
    assert sum(block["experts"] for block in experts["blocks"]) == 12
    with pytest.raises(spectrald.ApiError) as e:
        client.create_plan({"analysis": analysis["id"], "sparsity": 2})
    assert e.value.pointer == "#/sparsity"


def test_diagnostics(client):
    rows = [{"group": f"g{i // 5}", "quality": 20. * (i // 5) - i % 5,
             "metrics": {"alpha": 20. * (i // 5) + i % 5}} for i in range(15)]
    answer = client.diagnose_simpson({"rows": rows})
    assert answer["metrics"][0]["paradox"] and answer["metrics"][0]["wrong"] == "pooled"
    with pytest.raises(spectrald.ApiError) as e:
        client.diagnose_simpson({"rows": []})
    assert e.value.pointer == "#/rows"


def test_decisions_about_a_source(client, analysis, monkeypatch):
    """The same, whether the server answers at once or with a job that is waited for."""
    request = {"source": {"path": "manlm.safetensors"}, "metric": "alpha",
               "params": {"min_evals": 11}}
    want = client.create_schedule({"analysis": analysis["id"], "metric": "alpha"})["layers"]
    assert client.create_schedule({**request, "params": {"min_evals": 12}})["layers"] == want
    monkeypatch.setattr("spectrald.client._wait", lambda timeout: 0)
    farms = {"farms": {"rows": 48, "q": 1.0, "windows": 3}}  # not cached: the answer is a job
    assert client.create_schedule({**request, "params": farms})["layers"] == want
    farms = {"farms": {"rows": 40, "q": 1.0, "windows": 3}}
    plan = client.create_plan({"source": {"path": "manlm.safetensors"}, "sparsity": 0.5,
                               "metric": "alpha", "analyze": farms})
    same = client.create_plan({"analysis": analysis["id"], "sparsity": 0.5, "metric": "alpha"})
    assert plan["tensors"] == same["tensors"] and plan["analysis"] != same["analysis"]


def test_health(client):
    assert client.get_liveness()
    assert "ok" in client.get_readiness() and client.get_readiness(verbose=True)
    assert "spectrald_jobs" in client.get_metrics()
    assert client.get_openapi().startswith("openapi: 3")


# --- transport ----------------------------------------------------------------------------------


def test_unix_socket(tmp_path):
    path = str(tmp_path / "s")
    d = Daemon(str(tmp_path / "d"))
    d.flags[d.flags.index("--listen") + 1] = "unix:" + path
    with d, Client("unix:" + path) as c:
        assert c.get_liveness()
        assert list(c.list_jobs()) == []


@pytest.mark.parametrize("url", ["ftp://x", "unix:", "127.0.0.1:8437", "http://u:p@x", ""])
def test_wrong_base_urls_are_refused(url):
    with pytest.raises(ValueError):
        Client(url)


def test_a_token_that_would_break_the_header_is_refused():
    with pytest.raises(ValueError):
        Client(token="a\r\nb: c")


def test_a_client_serves_many_threads(client, analysis):
    out = []

    def read():
        for _ in range(5):
            out.append(client.get_analysis(analysis["id"])["id"])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out == [analysis["id"]] * 40


def test_a_restart_of_the_server_is_survived(tmp_path):
    d = Daemon(str(tmp_path))
    shutil.copy(EXAMPLE, d.root)
    with d, Client(f"http://127.0.0.1:{d.port}", retries=8) as c:
        first = c.analyze("manlm.safetensors")
        d.kill()

        def later():
            time.sleep(0.5)
            d.start()

        thread = threading.Thread(target=later)
        thread.start()
        assert c.analyze("manlm.safetensors")["summary"] == first["summary"]
        thread.join()
        assert len(list(c.list_jobs())) == 2


def test_nobody_there():
    with pytest.raises(spectrald.TransportError):
        Client("http://127.0.0.1:1", retries=1).get_liveness()
