"""The examples of clients/python/README.md, as they stand there."""

import os
import re
import shutil

import pytest

from conftest import EXAMPLE, TOP


def blocks(language):
    with open(os.path.join(TOP, "clients/python/README.md")) as f:
        return re.findall(rf"^<!-- tested -->\n```{language}\n(.*?)^```$", f.read(), re.M | re.S)


def test_examples_of_the_client(daemon, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, tmp_path)
    (first, *_) = blocks("python")
    exec(first.replace("8437", str(daemon.port)), {})
    out = capsys.readouterr().out
    assert "model.layers.0.mlp.gate_proj" in out


def test_example_of_the_hooks(client, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch (python3-torch) is not installed")
    import llama
    from test_hooks import batches
    monkeypatch.chdir(tmp_path)
    (_, second, third) = blocks("python")
    names = {"client": client, "model": llama.load(EXAMPLE), "batches": batches()}
    exec(second, names)
    assert names["statistics"]["name"] == "llama.stats.safetensors"
    _, tensors = llama.read("gram.stats.safetensors")
    assert len(tensors) == 3 * 4 and "model.layers.0.mlp.down_proj.gram" in tensors
    exec(third, names)
    assert len(names["reports"]) == 4
    zeros = [float((p == 0).float().mean()) for n, p in names["model"].named_parameters()
             if n.endswith("_proj.weight")]
    assert min(zeros) > 0.59
