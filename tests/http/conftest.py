import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import TOP, Daemon  # noqa: E402


def with_example(tmp):
    d = Daemon(str(tmp))
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), d.root)
    with d:
        yield d
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()


@pytest.fixture
def daemon(tmp_path):
    yield from with_example(tmp_path)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """One daemon for all tests of a file whose requests are refused, and so leave nothing."""
    yield from with_example(tmp_path_factory.mktemp("refusing"))
