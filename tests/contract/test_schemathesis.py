"""schemathesis: generated requests, good and bad, with every check it has."""

import os
import shutil
import subprocess

import pytest

from daemon import TOP, Daemon

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMATHESIS = os.environ.get("SCHEMATHESIS")
SECONDS = 90


@pytest.mark.skipif(not SCHEMATHESIS, reason="schemathesis cannot be had here")
def test_no_check_fails(tmp_path):
    d = Daemon(str(tmp_path))
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), d.root)
    with d:
        d.submit("manlm.safetensors", labels={"run": "llama-7b"})
        r = subprocess.run(
            [SCHEMATHESIS, "--config-file", os.path.join(HERE, "schemathesis.toml"), "run",
             os.path.join(TOP, "openapi.yaml"), "--url", f"http://127.0.0.1:{d.port}",
             "--checks", "all", "--max-examples", "40", "--no-color", "--no-shrink",
             "--warnings", "off"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": HERE, "SCHEMATHESIS_HOOKS": "hooks"},
            capture_output=True, text=True, timeout=SECONDS * 3)
    lines = [line[:400] for line in r.stdout.splitlines()]
    assert r.returncode == 0, "\n".join(lines[-300:]) + r.stderr[-2000:]
    assert "bug: assertion" not in d.log_text() and "Sanitizer" not in d.log_text()
