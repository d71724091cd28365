"""mypy --strict over the package, where mypy is installed."""

import os
import subprocess
import sys

import pytest

from conftest import TOP


def test_mypy(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    package = os.path.join(TOP, "clients/python")
    r = subprocess.run([sys.executable, "-m", "mypy", "--config-file",
                        os.path.join(package, "pyproject.toml"), "--cache-dir", str(tmp_path),
                        os.path.join(package, "src/spectrald")], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr
