"""spectralctl against the real daemon, and against a pretended one where a case is hard to bring about."""

import csv
import hashlib
import http.server
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tarfile
import threading
import time

import numpy as np
import pytest

from daemon import CTL, TOP, Daemon, write_safetensors

MODEL = os.path.join(TOP, "examples/manlm.safetensors")


def environment(server, **more):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LC_ALL")}
    return dict(env, SPECTRALCTL_SERVER=server, **more)


def run_ctl(server, *args, **more):
    return subprocess.run([CTL, *args], capture_output=True, text=True, timeout=120,
                          env=environment(server, **more))


@pytest.fixture
def ctl(daemon):
    run = lambda *args, **more: run_ctl(f"127.0.0.1:{daemon.port}", *args, **more)
    run.daemon = daemon
    return run


@pytest.fixture
def analysis(ctl):
    r = ctl("analyze", "manlm.safetensors", "--quiet")
    assert r.returncode == 0 and r.stderr == "", r.stderr
    assert re.fullmatch(r"ana_\w{26}\n", r.stdout)
    return r.stdout.strip()


# --- a server that answers as it is told -----------------------------------------------------


class Pretender(http.server.ThreadingHTTPServer):
    """`answer(method, path, body, headers)` returns (status, headers, bytes or JSON)."""

    daemon_threads = True

    def __init__(self, answer, expect=None):
        outer = self
        self.calls = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_expect_100(self):
                refusal = expect(self) if expect else None
                if refusal is None:
                    return super().handle_expect_100()
                outer.calls.append((self.command, self.path, None))
                self.close_connection = True
                self.reply(*refusal)
                return False

            def reply(self, status, headers, body):
                if not isinstance(body, bytes):
                    headers = {"Content-Type": "application/json", **headers}
                    body = json.dumps(body).encode()
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                if status not in (204, 304):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if status not in (204, 304):
                    self.wfile.write(body)

            def any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.calls.append((self.command, self.path, body))
                self.reply(*answer(self.command, self.path, body, self.headers))

            do_GET = do_POST = do_DELETE = do_PATCH = any

        super().__init__(("127.0.0.1", 0), Handler)
        self.name = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a client that is interrupted goes away in the middle

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


JOB = "job_" + "0" * 26
UPLOAD = {"id": "upl_" + "0" * 26, "name": "m", "kind": "file", "state": "complete", "n_files": 1,
          "created_at": "2026-01-01T00:00:00.000Z", "expires_at": "2026-01-02T00:00:00.000Z"}


def job(state, id=JOB, **more):
    return {"id": id, "kind": "analyze", "state": state, "source": {"path": "m"}, "labels": {},
            "progress": {"fraction": 0.5, "layers_done": 1, "layers_total": 2}, **more}


def problem(status, detail="no", pointer=None):
    errors = [{"pointer": pointer, "detail": detail}] if pointer else []
    return status, {}, {"status": status, "title": "t", "detail": detail, "errors": errors}


# --- forms of output -------------------------------------------------------------------------


def test_json_csv_and_quiet(ctl, analysis):
    api = ctl.daemon.get(f"/v1/analyses/{analysis}/layers?page_size=10000").json["layers"]
    whole = json.loads(ctl("show", analysis, "--json").stdout)
    assert whole["layers"] == api and whole["analysis"]["id"] == analysis
    rows = list(csv.DictReader(io.StringIO(ctl("show", analysis, "--csv").stdout)))
    assert [row["longname"] for row in rows] == [row["longname"] for row in api]
    assert [float(r["alpha"]) if r["alpha"] else None for r in rows] == [r["alpha"] for r in api]
    assert ctl("show", analysis, "--quiet").stdout == analysis + "\n"
    jobs = ctl("jobs", "--quiet").stdout.split()
    assert len(jobs) == 1 and jobs[0].startswith("job_")
    assert json.loads(ctl("jobs", "--json").stdout)[0]["id"] == jobs[0]
    table = list(csv.DictReader(io.StringIO(ctl("jobs", "--csv").stdout)))
    assert table[0]["job"] == jobs[0] and table[0]["state"] == "succeeded"
    assert json.loads(ctl("show", jobs[0], "--json").stdout)["job"]["id"] == jobs[0]


def test_columns(ctl, analysis):
    r = ctl("show", analysis, "--columns", "longname,N,alpha")
    assert r.stdout.splitlines()[0].split() == ["longname", "N", "alpha"], r.stdout
    assert len(r.stdout.splitlines()) == 40
    r = ctl("analyze", "manlm.safetensors", "--csv", "--columns", "alpha,longname")
    assert r.stdout.startswith("alpha,longname\n") and len(r.stdout.splitlines()) == 40
    r = ctl("show", analysis, "--columns", "longname,nonsense")
    assert r.returncode == 2 and "nonsense" in r.stderr and r.stdout == ""
    r = ctl("show", analysis, "--columns", ",".join(["alpha"] * 17))
    assert r.returncode in (1, 2)


@pytest.mark.parametrize("command", [["jobs"], ["show", "ANALYSIS"], ["analyze", "manlm.safetensors"],
                                     ["watch"], ["--help"], ["analyze", "--help"], ["help"],
                                     ["uploads"], ["esd", "ANALYSIS", "3"], ["rm", "job_x"],
                                     ["report", "ANALYSIS"]])
def test_no_escape_codes_on_a_pipe(ctl, analysis, command):
    r = ctl(*[analysis if a == "ANALYSIS" else a for a in command], TERM="xterm-256color")
    assert "\033" not in r.stdout + r.stderr


def on_a_terminal(server, *args, stream="stdout", **more):
    """What spectralctl writes to a stream that is a terminal, and the exit status."""
    master, slave = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: slave}
    p = subprocess.Popen([CTL, *args], env=environment(server, TERM="xterm", **more), **streams)
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 65536):
            out += chunk
    except OSError:
        pass  # how Linux says that the other side is closed
    os.close(master)
    return out.decode(), p.wait(60)


def test_colour_is_for_terminals(ctl, analysis):
    server = f"127.0.0.1:{ctl.daemon.port}"
    assert "\033[" in on_a_terminal(server, "jobs")[0]
    assert "\033" not in on_a_terminal(server, "jobs", NO_COLOR="1")[0]
    assert "\033" not in on_a_terminal(server, "jobs", "--color=never")[0]
    assert "\033[" in on_a_terminal(server, "jobs", "--color=always", NO_COLOR="1")[0]
    assert "\033[" in ctl("jobs", "--color=always").stdout
    assert ctl("jobs", "--color=pink").returncode == 1


# --- exit statuses ---------------------------------------------------------------------------


def test_exit_statuses(ctl):
    assert ctl("jobs").returncode == 0
    for wrong in (["frobnicate"], [], ["jobs", "--nonsense"], ["show"], ["jobs", "--limit", "x"],
                  ["analyze", "x", "--wait", "--detach"], ["jobs", "--json", "--csv"],
                  ["analyze", "x", "--label", "novalue"], ["help", "frobnicate"], ["completion", "tcsh"],
                  ["esd", "ana_x", "0", "--bins", "0"], ["esd", "ana_x", "0", "--bins", "1001"],
                  ["export", "ana_x", "--csv", "--json"], ["label", JOB, "novalue"],
                  ["upload", "/does/not/exist"], ["upload", "/dev/null"]):
        r = ctl(*wrong)
        assert r.returncode == 1 and r.stderr and r.stdout == "", (wrong, r)
    for refused in (["show", JOB], ["cancel", JOB], ["rm", JOB], ["analyze", "nothing.safetensors"],
                    ["watch", JOB], ["export", "ana_" + "0" * 26], ["label", JOB, "k=v"]):
        r = ctl(*refused)
        assert r.returncode == 2 and r.stderr, (refused, r)
    r = run_ctl("127.0.0.1:1", "jobs")
    assert r.returncode == 5 and "Is the server running?" in r.stderr


@pytest.mark.parametrize("state,status", [("succeeded", 0), ("failed", 3), ("cancelled", 4)])
def test_exit_status_of_the_job(state, status):
    states = iter(["queued", "running", state])

    def answer(method, path, body, headers):
        if path.startswith("/v1/analyses"):
            return 200, {}, {"id": "ana_x", "summary": {}, "layers": [], "next_page_token": ""}
        return 200, {"ETag": f'"{time.monotonic_ns()}"'}, job(
            next(states, state), result={"analysis": "ana_x"}, error={"detail": "it broke"})

    with Pretender(answer) as server:
        r = run_ctl(server.name, "analyze", "m", "--quiet")
        assert r.returncode == status, r
        assert r.stdout == ("ana_x\n" if status == 0 else "")
        assert "it broke" in r.stderr or status != 3
        assert run_ctl(server.name, "watch", JOB, "--quiet").returncode == status


def test_interrupted():
    def answer(method, path, body, headers):
        if "wait=" in (headers.get("Prefer") or ""):
            time.sleep(20)
        return 200, {"ETag": '"1"'}, job("running")

    with Pretender(answer) as server:
        for command in (["watch", JOB], ["analyze", "m"]):
            p = subprocess.Popen([CTL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, env=environment(server.name))
            time.sleep(0.7)
            start = time.time()
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=10)
            assert p.returncode == 130 and time.time() - start < 2
            assert "on" in err and "Traceback" not in err


# --- uploads ---------------------------------------------------------------------------------


def uploads(refuse_path=403):
    """A server that sees no path, but takes uploads."""
    got = {}

    def answer(method, path, body, headers):
        if method == "POST" and path.startswith("/v1/uploads"):
            got.update(path=path, type=headers["Content-Type"], body=body, expect=headers.get("Expect"))
            return 201, {}, {**UPLOAD, "nbytes": len(body), "sha256": got.get("sha256") or
                             hashlib.sha256(body).hexdigest()}
        if method == "POST":
            source = json.loads(body)["source"]
            got.setdefault("sources", []).append(source)
            if "path" in source:
                return problem(refuse_path, "outside", "#/source/path")
            return 202, {}, job("running")
        if method == "DELETE":
            got["deleted"] = path
            return 204, {}, b""
        if path.startswith("/v1/analyses"):
            return 200, {}, {"id": "ana_x", "summary": {}, "layers": [], "next_page_token": ""}
        return 200, {"ETag": '"2"'}, job("succeeded", result={"analysis": "ana_x"})

    answer.got = got
    return answer


@pytest.mark.parametrize("refused", [403, 404])
def test_analyze_uploads_what_the_server_cannot_see(refused):
    with Pretender(a := uploads(refused)) as server:
        r = run_ctl(server.name, "analyze", MODEL, "--quiet")
        assert r.returncode == 0 and r.stdout == "ana_x\n" and r.stderr == "", r
        assert a.got["sources"] == [{"path": os.path.realpath(MODEL)}, {"upload": UPLOAD["id"]}]
        assert a.got["path"] == "/v1/uploads?name=manlm.safetensors"
        assert a.got["type"] == "application/octet-stream" and a.got["expect"] == "100-continue"
        assert a.got["body"] == open(MODEL, "rb").read()
        assert a.got["deleted"] == "/v1/uploads/" + UPLOAD["id"]


def test_upload_options():
    with Pretender(a := uploads()) as server:
        r = run_ctl(server.name, "analyze", MODEL, "--no-upload")
        assert r.returncode == 2 and "path" not in a.got
        r = run_ctl(server.name, "analyze", "only-there.safetensors")
        assert r.returncode == 2 and "path" not in a.got
        r = run_ctl(server.name, "analyze", MODEL, "--upload", "--keep-upload")
        assert r.returncode == 0 and a.got["sources"][-1] == {"upload": UPLOAD["id"]}
        assert "deleted" not in a.got
        r = run_ctl(server.name, "analyze", MODEL, "--upload", "--detach")
        assert r.stdout.strip() == JOB and "deleted" not in a.got
        r = run_ctl(server.name, "upload", MODEL)
        assert r.returncode == 0 and r.stdout == UPLOAD["id"] + "\n"
        r = run_ctl(server.name, "upload", MODEL, "--json")
        assert json.loads(r.stdout)["nbytes"] == os.path.getsize(MODEL)
        r = run_ctl(server.name, "rm", UPLOAD["id"], JOB)
        assert r.returncode == 0
        assert [c[1] for c in server.calls[-2:]] == ["/v1/uploads/" + UPLOAD["id"], "/v1/jobs/" + JOB]


def test_upload_of_other_bytes_is_noticed():
    with Pretender(a := uploads()) as server:
        a.got["sha256"] = "0" * 64
        r = run_ctl(server.name, "analyze", MODEL, "--upload")
        assert r.returncode == 2 and "SHA-256" in r.stderr
        assert a.got["deleted"] == "/v1/uploads/" + UPLOAD["id"]


def test_refused_upload_costs_no_body():
    with Pretender(uploads(), expect=lambda _: problem(413, "too large: at most 5 bytes")) as server:
        r = run_ctl(server.name, "upload", MODEL)
        assert r.returncode == 2 and "at most 5 bytes" in r.stderr
        assert server.calls == [("POST", "/v1/uploads?name=manlm.safetensors", None)]


def test_upload_of_a_directory_is_a_deterministic_tar(tmp_path):
    long = "n" * 150 + ".json"
    model, blobs = tmp_path / "a model", tmp_path / "blobs"
    model.mkdir()
    blobs.mkdir()
    write_safetensors(str(blobs / "x"), {"w.weight": np.ones((40, 30), np.float32)})
    (model / "model.safetensors").symlink_to("../blobs/x")
    (model / "config.json").write_text("{}")
    (model / "empty.json").write_text("")
    (model / long).write_text("[1]")
    (model / "README.md").write_text("not sent")
    (model / ".hidden.json").write_text("not sent")
    (model / "sub.json").mkdir()
    bodies = []
    with Pretender(a := uploads()) as server:
        for _ in range(2):
            assert run_ctl(server.name, "upload", str(model) + "/").returncode == 0
            bodies.append(a.got["body"])
            os.utime(model / "config.json", (1, 1))
            os.chmod(model / "config.json", 0o600)
        assert a.got["type"] == "application/x-tar" and a.got["path"].endswith("name=a%20model")
    assert bodies[0] == bodies[1]
    with tarfile.open(fileobj=io.BytesIO(bodies[0])) as t:
        members = t.getmembers()
        assert [m.name for m in members] == ["config.json", "empty.json", "model.safetensors", long]
        assert all(m.isreg() and m.mode == 0o644 and m.mtime == m.uid == m.gid == 0 and not m.uname
                   for m in members)
        assert t.extractfile("model.safetensors").read() == (blobs / "x").read_bytes()
        assert t.extractfile(long).read() == b"[1]"
    (model / "model.safetensors").unlink()
    with Pretender(uploads()) as server:
        r = run_ctl(server.name, "upload", str(model))
        assert r.returncode == 1 and "no *.safetensors" in r.stderr and not server.calls


def test_upload_progress():
    with Pretender(uploads()) as server:
        r = run_ctl(server.name, "upload", MODEL)
        assert r.stderr == ""  # too quick for a line where nobody watches
        shown, status = on_a_terminal(server.name, "upload", MODEL, stream="stderr")
        assert status == 0 and "100%, 3.7 MB sent" in shown and shown.endswith("\r\033[K")
        shown, status = on_a_terminal(server.name, "upload", MODEL, "--quiet", stream="stderr")
        assert status == 0 and shown == ""


@pytest.mark.parametrize("how", ["interrupt", "truncate", "touch"])
def test_upload_that_cannot_be_finished(tmp_path, how):
    model = tmp_path / "sparse.safetensors"
    with open(model, "wb") as f:
        f.truncate(64 << 20)
    waiting = threading.Event()
    with Pretender(uploads(), expect=lambda _: waiting.set() or time.sleep(2.5)) as server:
        p = subprocess.Popen([CTL, "upload", str(model)], stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.PIPE, env=environment(server.name))
        assert waiting.wait(10)
        if how == "interrupt":
            time.sleep(1.5)  # by now it sends into a full socket
            p.send_signal(signal.SIGINT)
        elif how == "truncate":
            os.truncate(model, 1 << 20)
        else:
            os.utime(model)
        out, err = p.communicate(timeout=30)
    assert out == ""
    if how == "interrupt":
        assert p.returncode == 130
    else:
        assert p.returncode == 1 and "changed while it was sent" in err, err


# --- watch -----------------------------------------------------------------------------------


def test_watch_two_jobs(daemon, tmp_path):
    server = f"127.0.0.1:{daemon.port}"
    w = np.random.default_rng(1).standard_normal((900, 900)).astype(np.float32)
    for i in (1, 2):
        write_safetensors(os.path.join(daemon.root, f"{i}.safetensors"),
                          {f"{k}.weight": w * i + k for k in range(2)})
    ids = [run_ctl(server, "analyze", f"{i}.safetensors", "--detach").stdout.strip() for i in (1, 2)]
    r = run_ctl(server, "watch", *ids)
    assert r.returncode == 0, r.stderr
    last = {line.split()[0]: line.split()[1] for line in r.stdout.splitlines()}
    assert last == {i: "succeeded" for i in ids}
    states = [line for line in r.stdout.splitlines() if line.startswith(ids[0])]
    assert len(states) == len(set(states))  # a line per change
    assert run_ctl(server, "watch").stderr == "no unfinished jobs\n"
    out, status = on_a_terminal(server, "watch", *ids)
    assert status == 0 and out.count("succeeded") >= 2 and "\033[2A" in out


@pytest.mark.alone
def test_watch_all_asks_seldom_and_reports_failure():
    ids = ["job_" + c * 26 for c in "123"]
    polls = {i: 0 for i in ids}
    final = dict(zip(ids, ["succeeded", "failed", "cancelled"]))

    def answer(method, path, body, headers):
        if "?" in path:
            return 200, {}, {"jobs": [job("running", i) for i in ids] if "state=running" in path
                             else [], "next_page_token": ""}
        i = path.rsplit("/", 1)[1]
        polls[i] += 1
        if polls[i] == 1:
            return 200, {"ETag": '"1"'}, job("running", i)
        assert headers["If-None-Match"] == '"1"' and headers["Prefer"].startswith("wait=")
        time.sleep(1)
        return 200, {"ETag": '"2"'}, job(final[i], i, reason="broken", result={})

    with Pretender(answer) as server:
        start = time.time()
        r = run_ctl(server.name, "watch")
        assert r.returncode == 3, r
        assert time.time() - start < 2.5  # at once, not one after the other
    assert set(polls.values()) == {2}
    assert sorted(line.split()[1] for line in r.stdout.splitlines()) == sorted(
        ["running"] * 3 + list(final.values()))


def test_watch_fits_the_screen():
    ids = [f"job_{i:026d}" for i in range(60)]
    polls = {}

    def answer(method, path, body, headers):
        i = path.rsplit("/", 1)[1]
        polls[i] = polls.get(i, 0) + 1
        state = "succeeded" if polls[i] > 1 else "running"
        return 200, {"ETag": f'"{polls[i]}"'}, job(state, i, result={"analysis": "ana_x"})

    with Pretender(answer) as server:
        shown, status = on_a_terminal(server.name, "watch", *ids)
    assert status == 0 and "60 of 60 jobs are over" in shown
    assert all(int(n) <= 24 for n in re.findall(r"\033\[(\d+)A", shown))
    assert max(len(re.sub(r"\033\[\d*[mKA]", "", x)) for x in shown.split("\r")) <= 80


def test_watch_survives_a_lost_connection():
    calls = []

    def answer(method, path, body, headers):
        calls.append(path)
        if len(calls) == 2:
            return problem(503, "restarting")
        return 200, {"ETag": f'"{len(calls)}"'}, job("running" if len(calls) < 3 else "succeeded",
                                                     result={})

    with Pretender(answer) as server:
        assert run_ctl(server.name, "watch", JOB).returncode == 0


# --- export ----------------------------------------------------------------------------------


def test_export_equals_the_api(ctl, analysis, tmp_path):
    raw = ctl.daemon.get(f"/v1/analyses/{analysis}/layers?format=csv&page_size=10000").body.decode()
    assert ctl("export", analysis).stdout.replace("\r\n", "\n") == raw.replace("\r\n", "\n")
    out = tmp_path / "rows.json"
    r = ctl("export", analysis, "--format", "json", "-o", str(out))
    assert r.returncode == 0 and r.stdout == "" and str(out) in r.stderr
    api = ctl.daemon.get(f"/v1/analyses/{analysis}/layers?page_size=10000").json["layers"]
    assert json.loads(out.read_text()) == api
    r = ctl("export", analysis, "--columns", "longname,alpha", "-o", str(out), "--quiet")
    assert r.stderr == "" and out.read_text().startswith("longname,alpha")


def test_export_joins_pages():
    pages = [b"a,b\n1,2\n", b"a,b\n3,\n", b"a,b\n5,6\n"]

    def answer(method, path, body, headers):
        n = int(path[-1]) if "page_token" in path else 0
        link = {"Link": f'</v1/x?page_token={n + 1}>; rel="next"'} if n < 2 else {}
        return 200, {"Content-Type": "text/csv", **link}, pages[n]

    with Pretender(answer) as server:
        assert run_ctl(server.name, "export", "ana_x").stdout == "a,b\n1,2\n3,\n5,6\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, "refused"])
def test_interrupted_export_leaves_no_file(tmp_path, how):
    started = threading.Event()

    def answer(method, path, body, headers):
        if "page_token" not in path:
            return 200, {"Content-Type": "text/csv", "Link": '</v1/x?page_token=1>; rel="next"'}, b"a\n1\n"
        started.set()
        if how == "refused":
            return problem(500, "broken")
        time.sleep(20)
        return 200, {}, b""

    (tmp_path / "old.csv").write_text("as it was")
    with Pretender(answer) as server:
        p = subprocess.Popen([CTL, "export", "ana_x", "-o", str(tmp_path / "old.csv")],
                             stderr=subprocess.DEVNULL, env=environment(server.name))
        assert started.wait(10)
        if how != "refused":
            p.send_signal(how)
        assert p.wait(10) != 0
    assert os.listdir(tmp_path) == ["old.csv"] and (tmp_path / "old.csv").read_text() == "as it was"


def test_export_to_a_bad_place(ctl, analysis, tmp_path):
    for where in (tmp_path, tmp_path / "no/such/x.csv", "/dev/full"):
        r = ctl("export", analysis, "-o", str(where))
        assert r.returncode == 1 and str(where) in r.stderr
    with open("/dev/full", "w") as full:
        p = subprocess.run([CTL, "export", analysis], stdout=full, stderr=subprocess.PIPE,
                           env=environment(f"127.0.0.1:{ctl.daemon.port}"))
    assert p.returncode == 1 and b"cannot write" in p.stderr


# --- help, manual, completion ----------------------------------------------------------------


def options_in(help_text):
    return set(re.findall(r"^  (?:-\w, )?--([A-Za-z-]+)", help_text, re.M))


def commands():
    text = run_ctl("127.0.0.1:1", "--help").stdout
    part = text.split("Commands:\n")[1].split("\n\n")[0]
    return re.findall(r"^  (\w+)", part, re.M)


def test_help_of_every_command():
    overview = run_ctl("127.0.0.1:1", "--help")
    assert overview.returncode == 0 and len(commands()) >= 14
    for name in commands():
        r = run_ctl("127.0.0.1:1", name, "--help")
        assert r.returncode == 0 and r.stderr == ""
        assert r.stdout.startswith(f"Usage: spectralctl {name}"), r.stdout
        assert f"spectralctl {name}" in r.stdout.split("\n", 1)[1], "an example"
        assert run_ctl("127.0.0.1:1", "help", name).stdout == r.stdout
        assert run_ctl("127.0.0.1:1", name, "-h").stdout == r.stdout
        # A list of words to choose from is not broken.
        assert max(len(x) for x in r.stdout.splitlines() if x.count("|") < 6) <= 92


def completed(shell):
    """What a completion script offers: {command: options}."""
    text = run_ctl("127.0.0.1:1", "completion", shell).stdout
    found = {}
    if shell == "bash":
        section = text.split("if [[ $cur == -* ]]")[1].split("esac")[0]
        for name, words in re.findall(r"^    (\w+)\) COMPREPLY=.*?-W '([^']*)'", section, re.M):
            found[name] = set(re.findall(r"--([A-Za-z-]+)", words))
    elif shell == "zsh":
        section = text.split("case $words[1] in")[1]
        for name, body in re.findall(r"^    (\w+)\) _arguments(.*?);;$", section, re.M | re.S):
            found[name] = set(re.findall(r"^      (?:'|'\*|.*,)--([A-Za-z-]+)", body, re.M))
    else:
        everywhere = set(re.findall(r"^complete -c spectralctl (?:-s \w )?-l ([A-Za-z-]+)", text, re.M))
        for name in re.findall(r"__fish_use_subcommand -a (\w+)", text):
            own = re.findall(rf"from {name}' (?:-s \w )?-l ([A-Za-z-]+)", text)
            found[name] = set(own) | everywhere
    return found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_what_help_tells(shell):
    want = {name: options_in(run_ctl("127.0.0.1:1", "help", name).stdout) for name in commands()}
    assert completed(shell) == want


@pytest.mark.parametrize("shell,check", [
    ("bash", "source {0} && complete -p spectralctl"),
    ("zsh", "autoload -U compinit && compinit -D -u && source {0} && print -r -- $_comps[spectralctl]"),
    ("fish", "source {0}; complete -C 'spectralctl anal'")])
def test_completion_loads(shell, check, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(run_ctl("127.0.0.1:1", "completion", shell).stdout)
    r = subprocess.run([shell, "-c", check.format(script)], capture_output=True, text=True,
                       env=dict(os.environ, HOME=str(tmp_path)), timeout=60)
    assert r.returncode == 0 and r.stderr == "", r.stderr
    assert {"bash": "_spectralctl", "zsh": "_spectralctl", "fish": "analyze"}[shell] in r.stdout


def test_bash_completes(tmp_path):
    script = tmp_path / "script"
    script.write_text(run_ctl("127.0.0.1:1", "completion", "bash").stdout)
    (tmp_path / "model.safetensors").write_text("")

    def offers(*words):
        text = (f"source {script}; COMP_WORDS=(spectralctl {' '.join(words)}); "
                f"COMP_CWORD={len(words)}; compopt() {{ :; }}; _spectralctl; echo \"${{COMPREPLY[*]}}\"")
        return subprocess.run(["bash", "-c", text], capture_output=True, text=True, cwd=tmp_path,
                              timeout=30).stdout.split()

    assert offers("anal") == ["analyze"]
    assert offers("analyze", "--prec") == ["--precision"]
    assert offers("analyze", "--precision", "s") == ["single"]
    assert offers("--color", "n") == ["never"]
    assert offers("--server", "x", "analyze", "mod") == ["model.safetensors"]
    assert offers("help", "upl") == ["upload", "uploads"]
    assert offers("completion", "z") == ["zsh"]


# --- manual ----------------------------------------------------------------------------------


def page(name):
    return open(os.path.join(TOP, "man", name)).read()


def flags_of(mdoc):
    """Options that an item of a list explains."""
    return set(re.findall(r"^\.It (?:Fl \w , )?Fl \\&-([A-Za-z-]+)", mdoc, re.M))


def test_manual_tells_what_help_tells():
    text = page("spectralctl.1")
    sections = dict(re.findall(r"^\.Ss (\w+)(.*?)(?=^\.S[sh])", text, re.M | re.S))
    assert list(sections) == commands()
    everywhere = flags_of(text.split(".Sh COMMANDS")[0])
    assert everywhere == options_in(run_ctl("127.0.0.1:1", "--help").stdout)
    for name, body in sections.items():
        help_text = run_ctl("127.0.0.1:1", "help", name).stdout
        assert flags_of(body) == options_in(help_text) - everywhere, name


def test_manual_and_help_agree_on_exit_statuses():
    overview = run_ctl("127.0.0.1:1", "--help").stdout.split("Exit status:\n")[1]
    told = re.findall(r"^  (\d+) +(.*)$", overview, re.M)
    section = page("spectralctl.1").split(".Sh EXIT STATUS")[1].split(".El")[0]
    assert re.findall(r"^\.It (\d+)\n(.*)$", section, re.M) == told and len(told) == 7


def test_manual_of_the_daemon():
    binary = os.environ.get("SPECTRALD_BIN", "build/daemon/main/spectrald")
    text = subprocess.run([binary, "--help"], capture_output=True, text=True).stdout
    flags = set(re.findall(r"^  --([a-z-]+)", text, re.M))
    own = {"config", "help", "version"}
    keys = re.findall(r"^\.It Cm ([a-z-]+) Ns = ", page("spectrald.conf.5"), re.M)
    assert set(keys) == flags - own and len(keys) == len(set(keys))
    assert set(re.findall(r"Fl \\&-([a-z-]+)", page("spectrald.8"))) == flags


@pytest.mark.parametrize("name", sorted(os.listdir(os.path.join(TOP, "man"))))
def test_manual_is_well_formed(name):
    if name == "meson.build":
        return
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", os.path.join(TOP, "man", name)],
                       capture_output=True, text=True)
    assert r.returncode == 0 and r.stdout == "", r.stdout


# --- against the real daemon: uploads, spectra -----------------------------------------------


def test_uploads_of_the_daemon(ctl, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(MODEL, elsewhere / "model.safetensors")
    (elsewhere / "config.json").write_text("{}")
    (elsewhere / ("n" * 150 + ".json")).write_text("{}")
    alone = tmp_path / "one.safetensors"
    write_safetensors(str(alone), {"w.weight": np.eye(40, dtype=np.float32) * 3})
    for path, rows in ((alone, 1), (elsewhere, 39)):
        r = ctl("analyze", str(path), "--csv", "--columns", "longname")
        assert r.returncode == 0 and "uploading it" in r.stderr, r
        assert len(r.stdout.splitlines()) == rows + 1
        assert ctl("uploads").stdout == "no uploads\n"
        r = ctl("analyze", str(path), "--no-upload")
        assert r.returncode == 2 and "source/path" in r.stderr
    r = ctl("analyze", str(alone), "--upload", "--keep-upload", "--quiet")
    assert r.returncode == 0
    ids = [ctl("upload", str(elsewhere)).stdout.strip() for _ in range(2)]
    listed = ctl("uploads", "--quiet").stdout.split()
    assert set(ids) < set(listed) and len(listed) == 3
    rows = {u["upload"]: u for u in csv.DictReader(io.StringIO(ctl("uploads", "--csv").stdout))}
    assert rows[ids[0]]["kind"] == "tar" and int(rows[ids[0]]["size"]) > os.path.getsize(MODEL)
    assert "MB" in ctl("uploads").stdout
    shown = {u["id"]: u for u in json.loads(ctl("uploads", "--json").stdout)}
    assert shown[ids[0]]["sha256"] == shown[ids[1]]["sha256"]
    assert ctl("rm", *listed).returncode == 0
    assert ctl("rm", ids[0]).returncode == 2


def test_limit_of_uploads(tmp_path):
    with Daemon(str(tmp_path), "--upload-limit", "1M") as d:
        r = run_ctl(f"127.0.0.1:{d.port}", "analyze", MODEL)
    assert r.returncode == 2 and "413" in r.stderr and r.stdout == ""


def test_esd_as_data(ctl, analysis, tmp_path):
    layer = "model.embed_tokens"
    evals = json.loads(ctl("esd", analysis, layer, "--json").stdout)["evals"]
    text = ctl("esd", analysis, layer, "--csv").stdout.split()
    assert [float(x) for x in text[1:]] == evals and len(evals) == 192
    r = ctl("esd", analysis, layer, "--npy", str(tmp_path / "e.npy"))
    assert r.returncode == 0 and np.load(tmp_path / "e.npy").tolist() == evals
    by_number = json.loads(ctl("show", analysis, "--json", "--columns", "layer_id,longname").stdout)
    number = next(x["layer_id"] for x in by_number["layers"] if x["longname"] == layer)
    hist = json.loads(ctl("esd", analysis, str(number), "--hist", "--json", "--bins", "7").stdout)
    assert len(hist["counts"]) == 7 and sum(hist["counts"]) == 192
    rows = list(csv.reader(io.StringIO(ctl("esd", analysis, layer, "--linear", "--csv").stdout)))
    assert len(rows) == 101
    assert ctl("esd", analysis, layer, "--json", "--csv").returncode == 1
    assert ctl("esd", analysis, layer, "--npy", "x", "--hist").returncode == 1
    assert ctl("esd", analysis, "no.such.layer").returncode == 2


def test_esd_drawn(ctl, analysis):
    layer = "model.embed_tokens"
    blocks = ctl("esd", analysis, layer, LANG="C.UTF-8")
    ascii_only = ctl("esd", analysis, layer, "--hist", LANG="C")
    assert blocks.returncode == ascii_only.returncode == 0
    assert "█" in blocks.stdout and "▲" in blocks.stdout and "•" in blocks.stdout
    assert ascii_only.stdout.isascii() and "#" in ascii_only.stdout and "^" in ascii_only.stdout
    row = ctl.daemon.get(f"/v1/analyses/{analysis}/layers/{layer}").json
    for r in (blocks, ascii_only):
        assert f"alpha {row['alpha']:.3f}" in r.stdout and f"xmin {row['xmin']:.4g}" in r.stdout
        assert "density" in r.stdout and max(map(len, r.stdout.splitlines())) <= 80
    wide = ctl("esd", analysis, layer, COLUMNS="130", LANG="C").stdout
    assert 100 < max(map(len, wide.splitlines())) <= 130
    linear = ctl("esd", analysis, layer, "--linear", LANG="C").stdout
    assert "count" in linear and "density" not in linear


@pytest.fixture
def runs(ctl):
    """Three analyses of two runs."""
    ids = []
    for step, run in ((100, "a"), (200, "a"), (100, "b")):
        r = ctl("analyze", "manlm.safetensors", "--label", f"run={run}", "--label", f"step={step}",
                "--quiet")
        assert r.returncode == 0
        ids.append(r.stdout.strip())
    return ids


def test_labels(ctl, runs):
    last = runs[-1]
    assert ctl("label", last).stdout == "run=b\nstep=100\n"
    r = ctl("label", last, "note=x=y", "step-")
    assert r.returncode == 0 and sorted(r.stdout.split()) == ["note=x=y", "run=b"], r
    r = ctl("label", last, "step=7", "--json")
    assert json.loads(r.stdout)["labels"] == {"note": "x=y", "run": "b", "step": "7"}
    job = ctl("jobs", "--quiet", "--limit", "1").stdout.strip()
    assert ctl("label", job, "run=c").returncode == 0
    assert "labels   run=c" in ctl("show", job).stdout
    assert ctl("jobs", "--quiet", "--label", "run:c").stdout.strip() == job
    assert ctl("label", last, "k" * 1000 + "=v").returncode == 2


def test_label_asks_again_when_somebody_was_faster():
    calls = []

    def answer(method, path, body, headers):
        calls.append((method, headers.get("If-Match")))
        if method == "GET":
            return 200, {"ETag": f'"{len(calls)}"'}, job("succeeded")
        if len(calls) < 4:
            return problem(412, "it has changed")
        return 200, {}, {**job("succeeded"), "labels": json.loads(body)["labels"]}

    with Pretender(answer) as server:
        assert run_ctl(server.name, "label", JOB, "k=v").stdout == "k=v\n"
    assert calls == [("GET", None), ("PATCH", '"1"'), ("GET", None), ("PATCH", '"3"')]


def test_series_with_gaps():
    run = {"value": "a", "steps": [{"step": "1", "analysis": "ana_1"}, {"step": "2", "analysis": "ana_2"}],
           "layers": [{"longname": "x,y", "values": [0.1, None]}, {"longname": "z", "values": [None, 3]}],
           "mean": [0.1, None]}

    def answer(method, path, body, headers):
        more = "page_token" not in path
        return 200, {}, {"series": [run if more else {**run, "value": "b"}],
                         "next_page_token": "t" if more else ""}

    with Pretender(answer) as server:
        table = run_ctl(server.name, "series", "run", "--metric", "D", "--step", "epoch")
        assert "label=run&metric=D&step=epoch" in server.calls[0][1]
    lines = [line.split() for line in table.stdout.splitlines()]
    assert lines[0][:3] == ["run", "step", "D"] and lines[2][:3] == ["a", "2", "-"]
    assert [line[0] for line in lines[1:]] == ["a", "a", "b", "b"]


def test_series(ctl, runs):
    r = ctl("series", "run")
    assert r.returncode == 0, r.stderr
    assert [line.split()[:2] for line in r.stdout.splitlines()[1:]] == [
        ["a", "100"], ["a", "200"], ["b", "100"]]
    rows = list(csv.DictReader(io.StringIO(ctl("series", "run:a", "--csv").stdout)))
    assert len(rows) == 60 and {row["value"] for row in rows} == {"a"}
    assert {row["step"] for row in rows} == {"100", "200"}
    layer = ctl("series", "run:a", "--layer", "model.embed_tokens", "--metric", "stable_rank")
    assert "13.2" in layer.stdout
    assert ctl("series", "run", "--metric", "nonsense").returncode == 2
