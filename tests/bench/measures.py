#!/usr/bin/env python3
"""Measures of the example model against WeightWatcher 0.7.5.5, in one run. Not a test.

    .venv-oracle/bin/python3 tests/bench/measures.py BUILD-DIR [--runs N] [--threads N]

Both do mp_fit, randomize, vectors, detX and fix_fingers=clip_xmax on examples/manlm.safetensors: ours as
a job from the request to its end on a fresh state directory (so with the spectra), best of N. --threads pins upstream's
BLAS and PyTorch to so many threads (the default is theirs: as many as processors); ours has one in each of
two workers.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))


def upstream(threads):
    if threads:  # read when the libraries are loaded, which is below
        for library in ("OPENBLAS", "OMP", "MKL"):
            os.environ[f"{library}_NUM_THREADS"] = str(threads)
    import weightwatcher as ww
    from safetensors.torch import load_file
    tensors = {k: v.float() for k, v in
               load_file(os.path.join(TOP, "examples/manlm.safetensors")).items()}
    start = time.monotonic()
    ww.WeightWatcher(model=tensors).analyze(min_evals=10, mp_fit=True, randomize=True, vectors=True,
                                            detX=True, fix_fingers="clip_xmax")
    return time.monotonic() - start


def ours():
    from daemon import Daemon, age
    with tempfile.TemporaryDirectory() as tmp:
        root = os.path.join(tmp, "models")
        os.mkdir(root)
        shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), root)
        age(os.path.join(root, "manlm.safetensors"))
        with Daemon(os.path.join(tmp, "d"), root=root) as d:
            start = time.monotonic()
            job, rows = d.analyze("manlm.safetensors", {
                "mp_fit": True, "randomize": True, "vectors": True, "erg": True,
                "compat": "weightwatcher-0.7.5.5", "fit": {"fix_fingers": "clip_xmax"}})
            took = time.monotonic() - start
    assert all(r["not_measured"] == [] for r in rows.values() if r["status"] == "success")
    return took


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--threads", type=int)
    a = p.parse_args()
    os.environ["SPECTRALD_BIN"] = os.path.join(a.build, "daemon/main/spectrald")
    us = min(ours() for _ in range(a.runs))
    them = upstream(a.threads)
    pinned = f" with {a.threads} threads" if a.threads else ""
    print(f"WeightWatcher{pinned} {them:.2f} s, spectrald {us:.3f} s: {them / us:.1f} times as fast")


main()
