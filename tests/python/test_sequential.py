"""Pruning block by block: against statistics of the whole model, pruned so far."""

import os

import pytest

from conftest import EXAMPLE

torch = pytest.importorskip("torch", reason="PyTorch (python3-torch) is not installed")

import llama  # noqa: E402
from spectrald import JobFailed, hooks, safetensors, sequential  # noqa: E402
from test_hooks import batches  # noqa: E402

MANLM = "manlm.safetensors"


def matrices(model, i=None):
    return {name: p for name, p in model.named_parameters() if name.endswith("_proj.weight") and
            (i is None or f".layers.{i}." in name)}


def whole(client, params, tmp_path):
    """The model as a job prunes it at once."""
    job = client.wait(client.create_job({"kind": "prune", "source": {"path": MANLM},
                                         "params": params}))
    client.get_artifact_file(job["result"]["artifact"], MANLM, tmp_path / "whole")
    client.delete_artifact(job["result"]["artifact"])
    return llama.load(tmp_path / "whole")


def kept(client):
    return ({x["id"] for x in client.list_uploads()} | {x["id"] for x in client.list_artifacts()})


@pytest.fixture
def nothing_left(client):
    """True while the server keeps what it kept before."""
    before = kept(client)
    return lambda: kept(client) == before


def test_without_statistics_as_at_once(client, analysis, tmp_path, nothing_left):
    """The plan is that of the whole model, whichever way it is given."""
    request = {"method": "alphapruning", "sparsity": 0.6, "epsilon": 0.2}
    plan = client.create_plan({**request, "analysis": analysis["id"]})
    for params in ({"plan": plan["id"]}, {"plan": request}, {"sparsity": 0.7}):
        params = {**params, "method": "magnitude"}
        model, seen = llama.load(EXAMPLE), []
        reports = sequential.prune(model, batches(), client, MANLM, params, progress=seen.append)
        assert seen == reports
        assert [r["blocks"][0]["block"] for r in reports] == [f"model.layers.{i}" for i in range(4)]
        want = dict(whole(client, params, tmp_path).named_parameters())
        assert all(torch.equal(p, want[name]) for name, p in model.named_parameters())
    assert nothing_left()


@pytest.mark.parametrize("padded", [False, True])
def test_statistics_are_those_of_the_pruned_blocks(client, padded, nothing_left):
    """Wanda's masks, block after block, from statistics of runs of the whole model."""
    given = batches()
    if padded:
        mask = torch.ones(2, 48, dtype=torch.int64)
        mask[0, 30:] = 0
        given = [{"input_ids": ids, "attention_mask": mask} for ids in given]
    model, reference = llama.load(EXAMPLE), llama.load(EXAMPLE)
    sequential.prune(model, given, client, MANLM, {"method": "wanda", "sparsity": 0.6})
    for i in range(4):
        stats = hooks.collect(reference, given, stats=["sumsq"], share=False,
                              modules=rf"layers\.{i}\.").tensors()
        for name, w in matrices(reference, i).items():
            score = w.detach().abs() * stats[name.replace("weight", "sumsq")].sqrt().float()
            order = score.argsort(dim=1, stable=True)[:, :int(0.6 * w.shape[1])]
            w.data.scatter_(1, order, 0)
        got = matrices(model, i)
        for name, w in matrices(reference, i).items():
            # Where two scores differ by rounding alone, either may go.
            assert int((got[name] != w).sum()) <= w.numel() // 20000, name
            w.data.copy_(got[name])
    dense = hooks.collect(llama.load(EXAMPLE), given, stats=["sumsq"]).tensors()
    pruned = hooks.collect(model, given, stats=["sumsq"]).tensors()
    last = "model.layers.3.mlp.down_proj.sumsq"
    assert not torch.allclose(dense[last], pruned[last], rtol=0.05)
    assert nothing_left()


def test_changed_weights_come_back(client):
    model, before = llama.load(EXAMPLE), llama.load(EXAMPLE)
    model.train()
    reports = sequential.prune(model, batches(12, 96), client, MANLM,
                               {"method": "sparsegpt", "sparsity": 0.5}, offload=True)
    assert all(m.training for m in model.modules())
    assert all("forward" not in m.__dict__ and not m._forward_pre_hooks for m in model.modules())
    assert "dense_statistics" not in {w["code"] for r in reports for w in r["warnings"]}
    for (name, a), b in zip(model.named_parameters(), before.parameters()):
        if name in matrices(model):
            assert 2 * int((a == 0).sum()) == a.numel()
            assert int(((a != b) & (a != 0)).sum()) > a.numel() // 8
        else:
            assert torch.equal(a, b)


def test_blocks_outside_of_the_plan_stay(client):
    model, before = llama.load(EXAMPLE), llama.load(EXAMPLE)
    plan = {"method": "uniform", "sparsity": 0.5, "exclude": r"layers\.[13]\."}
    reports = sequential.prune(model, batches(), client, MANLM,
                               {"method": "ria", "plan": plan})
    assert [r["blocks"][0]["block"] for r in reports] == ["model.layers.0", "model.layers.2"]
    want = matrices(before)
    for name, w in matrices(model).items():
        assert torch.equal(w, want[name]) == (".1." in name or ".3." in name)


def test_blocks_that_are_left_out(client):
    """What a block is called with must be known of every block."""
    class Skips(llama.Llama):
        def forward(self, ids):
            x = self.model.embed_tokens(ids)
            for layer in list(self.model.layers)[:2]:
                x = layer(x, torch.zeros(x.shape[1], x.shape[1]))
            return x

    with pytest.raises(ValueError, match="one after the other"):
        sequential.prune(Skips().eval(), batches(), client, MANLM,
                         {"method": "wanda", "sparsity": 0.5})


class Other(torch.nn.Module):
    """Blocks as some libraries have them: called by keyword, with a state that must not be used
    twice; what they return is a tuple. In a part of the model only, and beside another list."""

    def __init__(self, inner):
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList(Other.Block(b) for b in inner.model.layers)
        self.embed, self.heads = inner.model.embed_tokens, torch.nn.ModuleList([inner.lm_head])

    class Block(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.self_attn, self.mlp = inner.self_attn, inner.mlp
            self.norms = torch.nn.ModuleList([inner.input_layernorm, inner.post_attention_layernorm])
            self.inner = [inner]

        def forward(self, hidden_states, bias, past_key_values=None, use_cache=True):
            assert past_key_values is None and not use_cache
            return self.inner[0](hidden_states, bias), "weights"

    def forward(self, input_ids):
        x = self.embed(input_ids)
        bias = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
        for block in self.model.layers:
            x, weights = block(hidden_states=x, bias=bias, past_key_values=object(), use_cache=True)
            assert weights == "weights"
        raise AssertionError("nothing after the last block is needed")


def test_other_ways_to_call_blocks(client):
    params = {"method": "wanda", "sparsity": 0.5}
    plain, other = llama.load(EXAMPLE), Other(llama.load(EXAMPLE))
    sequential.prune(plain, batches(), client, MANLM, params)
    with pytest.raises(ValueError, match="heads, model.layers"):
        sequential.prune(other, batches(), client, MANLM, params)
    sequential.prune(other, batches(), client, MANLM, params, layers="model.layers")
    want = matrices(plain)
    assert all(torch.equal(p, want[name]) for name, p in matrices(other).items())


def test_what_goes_wrong(client, nothing_left):
    model = llama.load(EXAMPLE)
    with pytest.raises(ValueError, match="no batches"):
        sequential.prune(model, [], client, MANLM, {"method": "wanda", "sparsity": 0.5})
    with pytest.raises(ValueError, match="found none"):
        sequential.prune(model.lm_head, batches(), client, MANLM,
                         {"method": "wanda", "sparsity": 0.5})
    with pytest.raises(JobFailed, match="no \"sumsq\""):
        sequential.prune(model, batches(), client, MANLM, {"method": "wanda", "sparsity": 0.5},
                         kinds=["count"])
    narrow = llama.Llama(width=96).eval()
    with pytest.raises(ValueError, match="no parameter model.layers.0.*192"):
        sequential.prune(narrow, batches(), client, MANLM, {"method": "magnitude", "sparsity": 0.5})
    assert nothing_left()
    want = matrices(llama.load(EXAMPLE))
    assert all(torch.equal(w, want[name]) for name, w in matrices(model).items())


def test_reading_safetensors(tmp_path):
    path = tmp_path / "x"
    safetensors.write(path, {"a": safetensors.Tensor("F32", [2, 1], b"12345678"),
                             "empty": safetensors.Tensor("I64", [0, 3], b"")}, {"format": "pt"})
    got = safetensors.read(path)
    assert {k: (t.dtype, list(t.shape), bytes(t.data)) for k, t in got.items()} == {
        "a": ("F32", [2, 1], b"12345678"), "empty": ("I64", [0, 3], b"")}
    assert tuple(hooks.from_safetensors(got["empty"]).shape) == (0, 3)
    dense = safetensors.read(EXAMPLE)
    assert all(torch.equal(hooks.from_safetensors(dense[name]), t)
               for name, t in llama.read(EXAMPLE)[1].items())
    with pytest.raises(ValueError):
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) - 1)
        safetensors.read(path)
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError):
        safetensors.read(path)
