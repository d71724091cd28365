"""Windows of equal shape (`farms`): what is kept and shared, and what ends in the middle."""

import json
import os
import signal
import time

import numpy as np
import pytest

from daemon import Daemon, age, write_safetensors

ASK = {"farms": {"rows": 400, "windows": 12}}  # 144 windows a layer: a second or two
LAYERS = ["a", "b"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("windows"))
    rng = np.random.default_rng(31)
    write_safetensors(path + "/two.safetensors", {
        name + ".weight": rng.standard_normal((560, 600)).astype("<f4") for name in LAYERS})
    age(path + "/two.safetensors")
    return path


@pytest.fixture
def d(tmp_path, root):
    """A daemon that knows the spectra, so that only windows are left to do."""
    with Daemon(str(tmp_path), root=root) as daemon:
        assert daemon.analyze("two.safetensors")[0]["cache"]["misses"] == 2
        yield daemon


@pytest.fixture(scope="module")
def expected(tmp_path_factory, root):
    """The rows, undisturbed."""
    with Daemon(str(tmp_path_factory.mktemp("expected")), root=root) as daemon:
        job, rows = daemon.analyze("two.safetensors", ASK)
        assert job["cache"]["misses"] == 4
    return farms_of(rows)


def farms_of(rows):
    return {n: {k: v for k, v in r.items() if k.startswith("farms_")} for n, r in rows.items()}


def rows_of(d, job):
    assert job["state"] == "succeeded", job
    rows = d.get(f"/v1/analyses/{job['result']['analysis']}/layers").json["layers"]
    return farms_of({r["longname"]: r for r in rows})


def metric(d, name):
    for line in d.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return 0


def start(d, params=ASK):
    """A job whose windows are being solved."""
    before = metric(d, 'spectrald_tasks_total{type="farms"}')
    job_id = d.submit("two.safetensors", params, wait=0).json["id"]
    end = time.time() + 60
    while metric(d, 'spectrald_tasks_total{type="farms"}') < before + 2:
        assert time.time() < end, d.log_text()
        time.sleep(0.01)
    return job_id


def memory_files(d):
    """Memory files of daemon and workers; what is being closed gets a moment."""
    for _ in range(50):
        found = []
        for pid in [d.proc.pid, *d.children()]:
            fds = f"/proc/{pid}/fd"
            try:
                found += [os.readlink(f"{fds}/{n}") for n in os.listdir(fds)]
            except OSError:
                continue  # it, or the process, is just gone
        found = [f for f in found if "memfd" in f]
        if not found:
            break
        time.sleep(0.05)
    return found


def settled(d, expected):
    """Nothing is left over, nobody is busy, and two jobs still run side by side."""
    assert memory_files(d) == []
    for _ in range(100):
        if metric(d, 'spectrald_workers{role="compute",state="busy"}') == 0:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("a worker is busy with nothing")
    assert farms_of(d.analyze("two.safetensors", ASK)[1]) == expected
    assert metric(d, "spectrald_jobs_active") == 0
    assert memory_files(d) == []


def blobs(d):
    found = []
    for where, _, names in os.walk(os.path.join(d.state, "blobs", "windows")):
        found += [os.path.join(where, n) for n in names]
    return found


def test_another_fit_finds_the_windows(d, expected):
    job, rows = d.analyze("two.safetensors", ASK)
    assert job["cache"]["misses"] == 2 and farms_of(rows) == expected
    assert [os.path.getsize(f) for f in blobs(d)] == [24 + 8 * 144 * 400] * 2
    d.kill()
    d.start()
    for fit in ("ks", "xmin_peak"):
        job, rows = d.analyze("two.safetensors", {"farms": dict(ASK["farms"], fit=fit)})
        assert job["cache"]["misses"] == 0
        assert all(r["farms_alpha"] != expected[n]["farms_alpha"] for n, r in rows.items())
    assert metric(d, 'spectrald_tasks_total{type="farms"}') == 0
    assert metric(d, 'spectrald_tasks_total{type="farms_fit"}') == 4
    assert metric(d, 'spectrald_cache_hits_total{kind="farms"}') == 4
    assert memory_files(d) == []


def test_lost_or_damaged_windows_are_solved_again(d):
    d.analyze("two.safetensors", ASK)
    first, second = blobs(d)
    os.unlink(first)
    with open(second, "r+b") as f:
        f.seek(24 + 8 * 1000)
        f.write(b"\xff" * 8)  # not a number
    job, rows = d.analyze("two.safetensors", {"farms": dict(ASK["farms"], fit="ks")})
    assert job["cache"]["misses"] == 2 and all(r["farms_alpha"] > 1 for r in rows.values())
    job, _ = d.analyze("two.safetensors", {"farms": dict(ASK["farms"], fit="xmin_peak")})
    assert job["cache"]["misses"] == 0


@pytest.mark.parametrize("limit, kept", [(0, 0), (24 + 8 * 144 * 400, 1), (10 ** 6, 2)])
def test_limit_on_disk(tmp_path, root, expected, limit, kept):
    with Daemon(str(tmp_path), "--windows-cache", str(limit), root=root) as d:
        job, rows = d.analyze("two.safetensors", ASK)
        assert job["cache"]["misses"] == 4 and farms_of(rows) == expected
        assert len(blobs(d)) == kept
        job, _ = d.analyze("two.safetensors", {"farms": dict(ASK["farms"], fit="ks")})
        assert job["cache"]["misses"] == 2 - kept
        assert len(blobs(d)) == kept
        assert d.analyze("two.safetensors", ASK)[0]["cache"]["misses"] == 0


def test_jobs_at_the_same_time_share_their_windows(d, expected):
    first = start(d)
    others = [d.submit("two.safetensors", p, wait=0).json["id"]
              for p in (ASK, {"farms": dict(ASK["farms"], fit="ks")})]
    jobs = [d.wait_final(i) for i in [first, *others]]
    assert sum(j["cache"]["misses"] for j in jobs) == 2, jobs
    rows = [rows_of(d, j) for j in jobs]
    assert rows[0] == rows[1] == expected
    assert all(r["farms_alpha"] > 1 for r in rows[2].values()) and rows[2] != expected
    assert metric(d, 'spectrald_cache_misses_total{kind="farms"}') == 2
    assert memory_files(d) == []


def test_who_waits_for_a_cancelled_job_solves_the_windows(d, expected):
    first = start(d)
    second = d.submit("two.safetensors", ASK, wait=0).json["id"]
    d.request("POST", f"/v1/jobs/{first}:cancel")
    assert rows_of(d, d.wait_final(second)) == expected
    assert d.wait_final(first)["state"] == "cancelled"
    settled(d, expected)


def test_cancel(d, expected):
    job_id = start(d)
    assert d.request("POST", f"/v1/jobs/{job_id}:cancel").status in (200, 202)
    assert d.wait_final(job_id)["state"] == "cancelled"
    settled(d, expected)


def test_killed_workers_are_replaced(d, expected):
    job_id = start(d)
    for pid in d.children():
        os.kill(pid, signal.SIGKILL)
    assert rows_of(d, d.wait_final(job_id)) == expected
    assert metric(d, 'spectrald_task_retries_total{cause="worker_crashed"}') + \
        metric(d, 'spectrald_task_retries_total{cause="out_of_memory"}') > 0
    settled(d, expected)


@pytest.mark.alone
def test_windows_whose_workers_always_die_fail_alone(d, expected):
    job_id = d.submit("two.safetensors", ASK, wait=0).json["id"]
    end = time.time() + 300
    while time.time() < end and d.get(f"/v1/jobs/{job_id}").json["state"] == "running":
        for pid in d.children():
            try:
                os.kill(pid, signal.SIGABRT)
            except ProcessLookupError:
                pass
        time.sleep(0.05)  # long enough to be given a task, not to solve it
    rows = rows_of(d, d.wait_final(job_id))
    assert all(r["farms_alpha"] is None and r["farms_reason"] == "worker_crashed"
               for r in rows.values()), rows
    settled(d, expected)  # the failure is not remembered


@pytest.mark.alone
def test_deadline(tmp_path, root, expected):
    with Daemon(str(tmp_path), "--deadline-base", "1", root=root) as d:
        d.analyze("two.safetensors")
        for pid in d.children():  # two workers that never answer: a task of each is tried again
            os.kill(pid, signal.SIGSTOP)
        assert rows_of(d, d.wait_final(d.submit("two.safetensors", ASK).json["id"])) == expected
        assert metric(d, 'spectrald_worker_exits_total{role="compute",cause="deadline"}') == 2
        settled(d, expected)


def test_the_daemon_is_killed_in_the_middle(d, expected):
    job_id = start(d)
    for _ in range(2):
        d.kill()
        d.start()
        time.sleep(0.4)
    job = d.wait_final(job_id)
    assert job["attempt"] >= 2 and rows_of(d, job) == expected
    settled(d, expected)


def test_solved_windows_survive_a_kill(d, expected):
    """The first layer's windows are stored as soon as they are there."""
    job_id = start(d)
    end = time.time() + 60
    while not blobs(d) and time.time() < end:
        time.sleep(0.01)
    time.sleep(0.2)  # the row that names the file is committed
    d.kill()
    d.start()
    assert rows_of(d, d.wait_final(job_id)) == expected
    assert metric(d, 'spectrald_cache_misses_total{kind="farms"}') <= 1


def test_the_drain_ends_in_time(d, expected):
    job_id = start(d)
    begin = time.time()
    assert d.stop() == 0 and time.time() - begin < 10
    d.start()
    assert rows_of(d, d.wait_final(job_id)) == expected


def test_file_that_shrinks_underneath(tmp_path, root):
    path = os.path.join(tmp_path, "models/two.safetensors")
    os.makedirs(os.path.dirname(path))
    with open(root + "/two.safetensors", "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(data)
    head = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    assert head["b.weight"]["data_offsets"][0] > head["a.weight"]["data_offsets"][0]
    age(path)
    with Daemon(str(tmp_path)) as d:
        d.analyze("two.safetensors")
        job_id = start(d)
        with open(path, "r+b") as f:
            f.truncate(len(data) - 560 * 600 * 4)
        job = d.wait_final(job_id)
        if job["state"] == "succeeded":
            assert rows_of(d, job)["b"]["farms_reason"] == "changed"
        else:
            assert job["error"]["code"] == "changed"
        assert memory_files(d) == []
