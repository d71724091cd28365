"""The client against the real daemon; every exchange is held against openapi.yaml."""

import os
import shutil
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))
sys.path.insert(0, os.path.join(TOP, "clients/python/src"))

from contract import contract  # noqa: E402
from daemon import Daemon  # noqa: E402
from spectrald import Client  # noqa: E402
from spectrald.transport import Transport  # noqa: E402

EXAMPLE = os.path.join(TOP, "examples/manlm.safetensors")


@pytest.fixture(autouse=True)
def judged(monkeypatch):
    """Requests that the client sends and replies that it takes are documented ones."""
    once = Transport._once

    def checked(self, method, target, headers, body, wait):
        reply = once(self, method, target, headers, body, wait)
        sent = body if isinstance(body, bytes) else None
        contract().check(method, target, headers, sent, reply.status, reply.headers,
                         b"" if reply.status == 304 else reply.body)
        return reply

    monkeypatch.setattr(Transport, "_once", checked)


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("daemon")
    d = Daemon(str(tmp))
    shutil.copy(EXAMPLE, d.root)
    with d:
        yield d
    assert "bug: assertion" not in d.log_text()
    assert "Sanitizer" not in d.log_text(), d.log_text()


@pytest.fixture
def client(daemon):
    with Client(f"http://127.0.0.1:{daemon.port}", timeout=60) as c:
        yield c


@pytest.fixture(scope="session")
def analysis(daemon):
    """The example model's analysis, made once."""
    with Client(f"http://127.0.0.1:{daemon.port}") as c:
        return c.analyze("manlm.safetensors", labels={"run": "first", "step": "1"})
