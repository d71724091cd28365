"""A cache with a limit: what goes, what stays, and what comes back."""

import os
import time

import numpy as np

from daemon import Daemon, write_safetensors

LIMIT = 400_000


def metric(d, name):
    return sum(float(line.split()[1]) for line in d.get("/metrics").body.decode().splitlines()
               if line.startswith(name + " "))


def eventually(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(.2)


def write_model(d, seed):
    r = np.random.default_rng(seed)
    write_safetensors(os.path.join(d.root, f"{seed}.safetensors"), {
        f"layers.{i}.w.weight": r.standard_normal((448, 400)).astype(np.float32)
        for i in range(30)})


def spectra(d, job, rows):
    base = f"/v1/analyses/{job['result']['analysis']}/layers/"
    return [d.get(base + f"{r['layer_id']}/esd?format=csv") for r in rows.values()]


def test_the_longest_unused_goes_first(tmp_path):
    with Daemon(str(tmp_path), "--cache-max-bytes", str(LIMIT), "--reply-cache-bytes", "0") as d:
        jobs = []
        for seed in range(5):
            write_model(d, seed)
            jobs.append(d.analyze(f"{seed}.safetensors"))
            jobs[-1] += ([r.body for r in spectra(d, *jobs[-1]) if r.status == 200],)
        eventually(lambda: metric(d, "spectrald_cache_evicted_total") > 0)
        before = -1
        while before != (now := metric(d, "spectrald_cache_evicted_total")):
            before = now
            time.sleep(2.5)  # a tick and more
        assert metric(d, "spectrald_cache_evicted_bytes_total") >= 3200  # a spectrum, at least
        # The tables are all there; the first model's spectra are not, the last one's are.
        for job, rows, _ in jobs:
            table = d.get(f"/v1/analyses/{job['result']['analysis']}/layers").json["layers"]
            assert [r["alpha"] for r in table] == [r["alpha"] for r in rows.values()]
        oldest = spectra(d, *jobs[0][:2])
        assert {r.status for r in oldest} <= {200, 410} and oldest[0].status == 410
        # Again: computed anew, and equal.
        job, rows = d.analyze("0.safetensors")
        assert job["cache"]["misses"] > 0
        assert [r["alpha"] for r in rows.values()] == [r["alpha"] for r in jobs[0][1].values()]
        again = [r.body for r in spectra(d, job, rows)]
        assert len(jobs[0][2]) == 30 and again[0] == jobs[0][2][0]
        assert "bug: assertion" not in d.log_text() and "Sanitizer" not in d.log_text()


def test_without_a_limit_all_stays(tmp_path):
    with Daemon(str(tmp_path), "--cache-max-bytes", "0") as d:
        write_model(d, 1)
        job, rows = d.analyze("1.safetensors")
        time.sleep(3)
        assert metric(d, "spectrald_cache_evicted_total") == 0
        assert {r.status for r in spectra(d, job, rows)} == {200}
