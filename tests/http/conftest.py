import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import TOP, Daemon  # noqa: E402


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(str(tmp_path))
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), d.root)
    with d:
        yield d
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()
