"""The statistics that hooks collect, against sums over the inputs themselves."""

import json
import os
import struct

import pytest

from conftest import EXAMPLE, TOP

torch = pytest.importorskip("torch", reason="PyTorch (python3-torch) is not installed")

import llama  # noqa: E402
from spectrald import hooks, safetensors  # noqa: E402

torch.set_num_threads(1)
SHARED = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}


def text(n):
    with open(os.path.join(TOP, "man/spectralctl.1"), "rb") as f:
        return f.read(n)


def batches(sequences=6, tokens=48, each=2):
    ids = torch.tensor(list(text(sequences * tokens))).view(sequences, tokens)
    return list(ids.split(each))


@pytest.fixture(scope="module")
def model():
    return llama.load(EXAMPLE)


def recorded(model, passes, modules=None):
    """Inputs of every linear layer, [calls] of what it was given, by hooks of our own."""
    inputs, handles = {}, []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            handles.append(module.register_forward_hook(
                lambda m, args, out, name=name: inputs.setdefault(name, []).append(
                    args[0].detach().clone())))
    with torch.no_grad():
        for batch in passes:
            model(**batch) if isinstance(batch, dict) else model(batch)
    for handle in handles:
        handle.remove()
    return inputs


def close(a, b, bound):
    scale = float(b.abs().max()) or 1.0
    return float((a.double() - b.double()).abs().max()) <= bound * scale


# --- the example model --------------------------------------------------------------------------


def test_the_model_is_the_example(model):
    """As good on text of its kind as its training made it: the inputs are the real ones."""
    assert llama.nats_per_byte(model, text(256 * 8 + 1)) < 2.5


def test_statistics_are_the_sums_over_the_inputs(model, tmp_path):
    path = tmp_path / "stats.safetensors"
    hooks.collect(model, batches(), path, hooks.ALL, metadata={"dataset": "manual"})
    metadata, got = llama.read(path)
    inputs = {name: torch.cat(x).double() for name, x in recorded(model, batches()).items()
              if name != "lm_head"}
    aliases = json.loads(metadata.pop("aliases"))
    assert aliases == {name: name.replace(last, SHARED[last])
                       for name in inputs for last in [name.rsplit(".", 1)[1]] if last in SHARED}
    assert metadata == {"stats_version": "1", "mode": "dense", "n_seq": "6", "seq_len": "48",
                        "dtype": "float32", "torch_version": torch.__version__,
                        "dataset": "manual"}
    assert set(got) == {f"{name}.{kind}" for name in set(inputs) - set(aliases)
                        for kind in hooks.ALL}
    for name, x in inputs.items():
        own = aliases.get(name, name)
        tokens = x.flatten(0, 1)
        assert got[own + ".count"].tolist() == [6 * 48, 6]
        assert got[own + ".sum"].dtype == got[own + ".sumsq"].dtype == torch.float64
        assert close(got[own + ".sumsq"], tokens.square().sum(0), 1e-6)
        assert close(got[own + ".sum"], tokens.sum(0), 1e-6)
        assert torch.equal(got[own + ".xlast"], x[:, -1].float())
        gram = got[own + ".gram"]
        assert gram.dtype == torch.float32 and torch.equal(gram, gram.t())
        assert close(gram, tokens.t() @ tokens, 1e-5)
        total = float(got[own + ".sumsq"].sum())
        assert abs(float(gram.double().trace()) - total) <= 1e-5 * total


def test_batches_of_another_size_make_the_same(model):
    one = hooks.collect(model, batches(each=6), stats=hooks.ALL).tensors()
    many = hooks.collect(model, batches(each=1), stats=hooks.ALL).tensors()
    assert one.keys() == many.keys()
    assert all(close(one[name], many[name], 1e-5) for name in one)


def test_padding_does_not_count(model):
    """Right and left padding and a sequence of nothing but: as the sequences one by one."""
    whole = torch.tensor(list(text(60)))
    ids, mask = torch.full((3, 60), 32), torch.zeros(3, 60, dtype=torch.int64)
    ids[0, :40], mask[0, :40] = whole[:40], 1
    ids[1, 13:], mask[1, 13:] = whole[13:], 1
    batch = {"input_ids": ids, "attention_mask": mask}
    got = hooks.collect(model, [batch], stats=hooks.ALL).tensors()
    seen = recorded(model, [batch])
    for name in (n for n in seen if n + ".sumsq" in got):
        x = torch.cat([seen[name][0][0, :40], seen[name][0][1, 13:]]).double()
        assert got[name + ".count"].tolist() == [87, 2]
        assert close(got[name + ".sumsq"], x.square().sum(0), 1e-6)
        assert close(got[name + ".gram"], x.t() @ x, 1e-5)
        assert torch.equal(got[name + ".xlast"],
                           torch.stack([seen[name][0][0, 39], seen[name][0][1, 59]]))


def test_statistics_of_choice(model):
    c = hooks.collect(model, batches(), stats=["xlast"], xlast_limit=5, prefix="base.",
                      modules=r"layers\.2\.mlp", mode="sequential")
    got = c.tensors()
    assert {n: tuple(t.shape) for n, t in got.items()} == {
        "base.model.layers.2.mlp.gate_proj.xlast": (5, 192),
        "base.model.layers.2.mlp.down_proj.xlast": (5, 512)}
    assert c.metadata()["mode"] == "sequential"
    named = hooks.collect(model, batches(), modules=["lm_head"]).tensors()
    assert set(named) == {f"lm_head.{kind}" for kind in hooks.DEFAULT}
    apart = hooks.collect(model, batches(), share=False).tensors()
    assert sum(name.endswith(".sumsq") for name in apart) == 28
    assert torch.equal(apart["model.layers.0.self_attn.q_proj.sumsq"],
                       apart["model.layers.0.self_attn.v_proj.sumsq"])
    assert close(hooks.collect(model, batches(), stats=["gram"], offload=True).tensors()[
        "model.layers.3.mlp.down_proj.gram"], hooks.collect(model, batches(), stats=["gram"])
        .tensors()["model.layers.3.mlp.down_proj.gram"], 1e-6)


def test_nothing_of_the_model_changes(model):
    model.train()
    c = hooks.collect(model, batches())
    assert all(m.training for m in model.modules())
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert c.tensors()
    model.eval()


@pytest.mark.parametrize("wrong", [
    {"stats": ["gramm"]}, {"stats": []}, {"stats": "sum"}, {"mode": "other"}, {"xlast_limit": -1},
    {"modules": "no such"}, {"modules": ["nowhere"]}])
def test_wrong_arguments_are_refused(model, wrong):
    with pytest.raises(ValueError):
        hooks.Collector(model, **wrong)


def test_the_loop_may_be_the_callers(model):
    want = hooks.collect(model, batches()).tensors()
    with hooks.Collector(model) as c:
        for i, batch in enumerate(batches()):
            with torch.inference_mode(i != 1):
                model(batch)
    got = c.tensors()
    assert got.keys() == want.keys() and all(torch.equal(got[n], want[n]) for n in got)


# --- other models -------------------------------------------------------------------------------


def block(*modules):
    """Modules that are in a numbered block, called one after the other."""
    class Blocks(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.h = torch.nn.ModuleList([torch.nn.ModuleDict(
                {f"m{i}": m for i, m in enumerate(modules)})])

        def forward(self, x):
            for m in self.h[0].values():
                x = m(x)
            return x
    return Blocks()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_squares_of_large_numbers_do_not_overflow(dtype):
    class Seen(torch.nn.Linear):
        def forward(self, x):
            return x

    x = (torch.arange(24, dtype=torch.float32).view(2, 3, 4) * 1000).to(dtype)
    got = hooks.collect(block(Seen(4, 4).to(dtype)), [x], stats=hooks.ALL).tensors()
    want = x.double().flatten(0, 1)
    assert close(got["h.0.m0.sumsq"], want.square().sum(0), 1e-7)
    assert close(got["h.0.m0.gram"], want.t() @ want, 1e-6)
    kept = torch.float32 if dtype == torch.float64 else dtype
    assert got["h.0.m0.xlast"].dtype == kept
    assert torch.equal(got["h.0.m0.xlast"], x[:, -1].to(kept))


def test_autocast_does_not_reach_the_sums():
    x = torch.randn(2, 30, 16)
    model = block(torch.nn.Linear(16, 16))
    tokens = x.double().flatten(0, 1)
    for offload in (False, True):
        with hooks.Collector(model, hooks.ALL, offload=offload) as c, \
                torch.autocast("cpu", dtype=torch.bfloat16):
            model(x)
        assert close(c.tensors()["h.0.m0.gram"], tokens.t() @ tokens, 1e-6)


def test_long_sums_lose_nothing():
    x = torch.tensor([[2.0 ** 24], [1.0]])
    c = hooks.collect(block(torch.nn.Linear(1, 1)), [x] * 3)
    assert c.tensors()["h.0.m0.sum"].tolist() == [3 * (2.0 ** 24 + 1)]
    x = torch.tensor([[2.0 ** 12], [1.0]])
    c = hooks.collect(block(torch.nn.Linear(1, 1)), [x] * 3)
    assert c.tensors()["h.0.m0.sumsq"].tolist() == [3 * (2.0 ** 24 + 1)]


def test_a_gram_matrix_is_symmetric_whatever_the_product_was():
    c = hooks.collect(block(torch.nn.Linear(2, 2)), [torch.ones(1, 2)], stats=["gram"])
    c._sums["h.0.m0"].gram[0, 1] += 1
    assert c.tensors()["h.0.m0.gram"].tolist() == [[1.0, 1.5], [1.5, 1.0]]


def test_conv1d_is_a_transposed_linear():
    class Conv1D(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4, 6))

        def forward(self, x):
            return x @ self.weight

    got = hooks.collect(block(Conv1D()), [torch.ones(1, 5, 4)]).tensors()
    assert got["h.0.m0.sumsq"].tolist() == [5.0] * 4


def test_an_input_changed_in_place_is_another():
    class Doubling(torch.nn.Linear):
        def forward(self, x):
            return x.mul_(2)

    got = hooks.collect(block(Doubling(3, 3), torch.nn.Linear(3, 3)), [torch.ones(2, 3)])
    assert got.aliases() == {}
    assert got.tensors()["h.0.m1.sumsq"].tolist() == [8.0] * 3


def test_equal_inputs_are_not_shared_ones():
    """Same numbers, and often the same address, but another tensor."""
    class Copying(torch.nn.Linear):
        def forward(self, x):
            return x.clone()

    assert hooks.collect(block(Copying(3, 3), Copying(3, 3), Copying(3, 3)),
                         [torch.ones(2, 3)] * 3).aliases() == {}


def test_sharing_that_does_not_last_is_an_error():
    class Sometimes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.h = torch.nn.ModuleList([torch.nn.ModuleDict(
                {"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})])
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            self.h[0]["a"](x)
            return self.h[0]["b"](x) if self.calls == 1 else self.other(x)

    for other in (lambda self, x: x, lambda self, x: self.h[0]["b"](x + 1)):
        Sometimes.other = other
        with pytest.raises(ValueError, match="share=False"):
            hooks.collect(Sometimes(), [torch.ones(2, 3)] * 2).tensors()
        assert hooks.collect(Sometimes(), [torch.ones(2, 3)] * 2, share=False).tensors()


def test_what_is_not_finite_is_refused(tmp_path):
    x = torch.ones(2, 3)
    x[1, 1] = float("nan")
    path = tmp_path / "s"
    with pytest.raises(ValueError, match="h.0.m0 is not finite"):
        hooks.collect(block(torch.nn.Linear(3, 3)), [x], path)
    assert list(tmp_path.iterdir()) == []


class Experts(torch.nn.Module):
    """Each token goes to the expert that its id names; experts see their tokens only."""

    def __init__(self, n):
        super().__init__()
        moe = torch.nn.Module()
        moe.experts = torch.nn.ModuleList(torch.nn.ModuleDict(
            {"w1": torch.nn.Linear(4, 4), "w3": torch.nn.Linear(4, 4)}) for _ in range(n))
        self.layers = torch.nn.ModuleList([moe])
        self.embed = torch.nn.Embedding(n, 4)

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids).flatten(0, 1)
        for i, expert in enumerate(self.layers[0].experts):
            mine = x[input_ids.flatten() == i]
            if len(mine):
                expert["w1"](mine) * expert["w3"](mine)
        return x


def test_tokens_of_experts_are_counted():
    ids = torch.tensor([[0, 0, 2, 0], [2, 0, 0, 0]])
    c = hooks.collect(Experts(4), [ids], stats=hooks.ALL)
    got = c.tensors()
    assert got["layers.0.expert_count"].tolist() == [6.0, 0.0, 2.0, 0.0]
    assert got["layers.0.expert_count"].dtype == torch.float64
    assert got["layers.0.experts.0.w1.count"].tolist() == [6, 2]
    assert got["layers.0.experts.1.w1.count"].tolist() == [0, 0]
    assert "layers.0.experts.1.w1.sumsq" not in got
    assert "layers.0.experts.0.w1.xlast" not in got  # whose last token is not known
    assert c.aliases() == {"layers.0.experts.0.w3": "layers.0.experts.0.w1",
                           "layers.0.experts.2.w3": "layers.0.experts.2.w1"}
    mask = torch.ones(2, 4)
    assert hooks.collect(Experts(4), [{"input_ids": ids, "attention_mask": mask}]).tensors()
    mask[0, 3] = 0
    with pytest.raises(ValueError, match="padding is not known"):
        hooks.collect(Experts(4), [{"input_ids": ids, "attention_mask": mask}])
    # All tokens to one expert: still not taken for the batch, whose order it need not have.
    with pytest.raises(ValueError, match="padding is not known"):
        hooks.collect(Experts(4), [{"input_ids": ids * 0, "attention_mask": mask}])


# --- the file -----------------------------------------------------------------------------------


def test_the_file_is_aligned_and_has_no_holes(model, tmp_path):
    path = tmp_path / "a.safetensors"
    c = hooks.collect(model, batches(), path, hooks.ALL)
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    assert n % 8 == 0 and data[8:9] == b"{"
    header = json.loads(data[8:8 + n])
    assert list(header) == sorted(header)
    spans = sorted(t["data_offsets"] for k, t in header.items() if k != "__metadata__")
    assert spans[0][0] == 0 and spans[-1][1] == len(data) - 8 - n
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:]))
    for k, t in header.items():
        if k != "__metadata__":
            assert t["data_offsets"][0] % safetensors.SIZE[t["dtype"]] == 0
    c.save(tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == data
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "b.safetensors"]


def test_a_write_that_fails_leaves_what_was(tmp_path):
    path = tmp_path / "s.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="7 bytes, its shape takes 8"):
        safetensors.write(path, {"a": safetensors.Tensor("F32", [2], b"1234567")}, {})
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["s.safetensors"]


def test_half_precision_survives_the_file(tmp_path):
    x = torch.randn(3, 2, 8).bfloat16()
    model = block(torch.nn.Linear(8, 8).bfloat16())
    hooks.collect(model, [x], tmp_path / "s", stats=["xlast"])
    assert torch.equal(llama.read(tmp_path / "s")[1]["h.0.m0.xlast"], x[:, -1])


def test_a_call_without_tokens_adds_nothing(tmp_path):
    path = tmp_path / "s.safetensors"
    hooks.collect(block(torch.nn.Linear(4, 4)), [torch.ones(0, 2, 4), torch.ones(1, 2, 4),
                                                 torch.ones(0, 4)], path, hooks.ALL)
    got = llama.read(path)[1]
    assert got["h.0.m0.count"].tolist() == [2, 1]
    assert got["h.0.m0.sum"].tolist() == [2.0] * 4 and got["h.0.m0.xlast"].shape == (1, 4)


def test_the_server_takes_the_file(client, model, tmp_path):
    path = tmp_path / "manlm.stats.safetensors"
    hooks.collect(model, batches(2), path, hooks.ALL)
    assert client.create_upload(path)["bytes"] == path.stat().st_size
