import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import TOP, Daemon  # noqa: E402

# What takes longest begins first, so that workers (pytest-xdist) end at about the same time.
LONG = ("test_u_uploads.py", "test_j_lifecycle.py", "test_f_windows.py", "test_t_prune_solvers.py",
        "test_c_cli.py", "test_v_artifacts.py", "test_t_prune.py", "test_t_smooth.py",
        "test_t_formats.py", "test_p_comparisons.py", "test_x_schedules.py", "test_q_planjobs.py")


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: measures the machine's time or memory, and so runs "
                                       "while no other test does")


def pytest_collection_modifyitems(items):
    order = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """With a failure, or a test that hung: the end of what the daemons said."""
    report = (yield).get_result()
    if report.failed:
        for d in Daemon.running:
            report.sections.append((f"log of {d.log_path}", d.log_text()[-4000:]))


def pytest_sessionfinish():
    """Failed tests leave daemons behind."""
    for d in list(Daemon.running):
        d.kill()


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
