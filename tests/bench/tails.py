#!/usr/bin/env python3
"""Tails of spectra: our fits against powerlaw 1.5 in one run, and how often intervals hold. Not a test.

    python3 tests/bench/tails.py BUILD-DIR [--case speed|coverage]... [--size N]... [--samples N]

Cases: speed (the truncated power law at every xmin, as WeightWatcher's fit="TPL" does it: spectra of
three layers, 200 to 1000 eigenvalues, in powerlaw and here, compat and default; what a p-value with
an interval and the choice of the best law cost beside it, on 4096 eigenvalues); coverage (samples
of known exponent: share of 95 % intervals that hold it, by alpha +- 1.96 sigma and from 200
replicates of either kind, and share of p-values under 0.1).

speed needs powerlaw 1.5 and its friends: run it with the Python that tests/oracle/run.sh makes.
powerlaw takes minutes for the larger ones. `ninja -C BUILD-DIR tests/tails_one` builds the helper.
"""

import argparse
import contextlib
import io
import os
import subprocess
import tempfile
import time
import warnings

SHAPES = [("pure", 2.5), ("joined", 2.5), ("bulk", 2.5), ("pure", 1.5), ("pure", 5.0)]


def helper(args, *words):
    tool = os.path.join(args.build, "tests/tails_one")
    out = subprocess.run([tool, *map(str, words)], check=True, capture_output=True, text=True)
    return out.stdout.split()


def layer(n, decay, seed):
    """The spectrum of a random matrix whose columns' sizes fall as a power of their number."""
    import numpy as np
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((n + n // 2, n)) * np.arange(1, n + 1) ** -decay
    return np.linalg.eigvalsh(w.T @ w)


def theirs(x):
    import powerlaw
    start = time.perf_counter()
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), \
            warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = powerlaw.Fit(x, verbose=False, xmin_distribution="truncated_power_law")
        law = fit.truncated_power_law
    return time.perf_counter() - start, law.alpha, law.Lambda, fit.D, fit.xmin


def speed(args):
    with tempfile.TemporaryDirectory() as root:
        path = os.path.join(root, "x")
        total = [0.0, 0.0, 0.0]
        print("| eigenvalues | powerlaw | compat | default | ratio | alpha | D of each |")
        print("|---|---|---|---|---|---|---|")
        for n, decay in zip(args.size or [200, 500, 1000], (0.5, 0.7, 0.3)):
            x = layer(n, decay, n)
            x.tofile(path)
            up = theirs(x)
            compat = [float(v) for v in helper(args, "tpl_compat", n, path)]
            ours = [float(v) for v in helper(args, "tpl", n, path)]
            for k, t in enumerate((up[0], compat[0], ours[0])):
                total[k] += t
            print(f"| {n} | {up[0]:.1f} s | {1e3 * compat[0]:.1f} ms | {1e3 * ours[0]:.1f} ms "
                  f"| {up[0] / compat[0]:.0f}, {up[0] / ours[0]:.0f} "
                  f"| {up[1]:.6f} {compat[1]:.6f} {ours[1]:.6f} "
                  f"| {up[3]:.6f} {compat[3]:.6f} {ours[3]:.6f} |", flush=True)
        print(f"together {total[0]:.1f} s: {total[0] / total[1]:.0f} times as fast with compat, "
              f"{total[0] / total[2]:.0f} times by default")
        layer(4096, 0.5, 1).tofile(path)
        for case, more in (("tpl", []), ("tpl_compat", []), ("best", []), ("bootstrap", [200])):
            print(f"4096 eigenvalues, {case}: {helper(args, case, 4096, path, *more)[0]} s")


def coverage(args):
    print("| shape | alpha | n | samples | sigma | model | resample | p < 0.1 |")
    print("|---|---|---|---|---|---|---|---|")
    for n in args.size or [200, 1000]:
        for shape, alpha in SHAPES:
            out = helper(args, "coverage", shape, n, alpha, args.samples, n)
            cells = " | ".join(f"{100 * float(v):.1f} %" for v in out[1:])
            print(f"| {shape} | {alpha} | {n} | {args.samples} | {cells} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("build")
    p.add_argument("--case", action="append", choices=["speed", "coverage"])
    p.add_argument("--size", action="append", type=int)
    p.add_argument("--samples", type=int, default=400)
    args = p.parse_args()
    for case in args.case or ["speed", "coverage"]:
        {"speed": speed, "coverage": coverage}[case](args)


if __name__ == "__main__":
    main()
