"""Saliencies of experts, against sums over the tokens themselves, and the model that comes of them."""

import json

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (python3-torch) is not installed")

from spectrald import experts, hooks, safetensors  # noqa: E402

torch.set_num_threads(1)
E, H, F, K = 5, 8, 12, 2


class Expert(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w1 = torch.nn.Linear(H, F, bias=False)
        self.w2 = torch.nn.Linear(F, H, bias=False)

    def forward(self, x):
        return self.w2(torch.nn.functional.silu(self.w1(x)))


class Stack(torch.nn.Module):
    """All experts in one, called with tokens, indices and weights."""

    def __init__(self, of):
        super().__init__()
        self.up = torch.nn.Parameter(torch.stack([e.w1.weight for e in of]))
        self.down = torch.nn.Parameter(torch.stack([e.w2.weight for e in of]))

    def forward(self, x, indices, weights):
        out = torch.zeros_like(x)
        for slot in range(indices.shape[1]):
            for t in range(x.shape[0]):
                j = indices[t, slot]
                y = self.down[j] @ torch.nn.functional.silu(self.up[j] @ x[t])
                out[t] += weights[t, slot] * y
        return out


class Router(torch.nn.Linear):
    """What newer routers return, and older ones."""

    form = "logits"

    def forward(self, x):
        logits = super().forward(x)
        p, i = torch.softmax(logits, -1).topk(K, -1)
        p = p / p.sum(-1, keepdim=True)
        return {"logits": logits, "chosen": (logits, p, i), "indices": (i, p)}[self.form]


class Moe(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.top_k = K
        self.gate = Router(H, E, bias=False)
        self.experts = torch.nn.ModuleList(Expert() for _ in range(E))

    def forward(self, x):
        flat = x.reshape(-1, H)
        self.gate(flat)
        p, i = torch.softmax(torch.nn.functional.linear(flat, self.gate.weight), -1).topk(K, -1)
        p = p / p.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for t in range(flat.shape[0]):
            for slot in range(K):
                if isinstance(self.experts, torch.nn.ModuleList):
                    out[t] += p[t, slot] * self.experts[i[t, slot]](flat[t])
        return out.view_as(x)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(50, H)
        self.layers = torch.nn.ModuleList(torch.nn.ModuleDict({"mlp": Moe()}) for _ in range(2))

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = x + layer["mlp"](x)
        return x


@pytest.fixture()
def model():
    torch.manual_seed(4)
    return Model()


def batches():
    torch.manual_seed(5)
    return [torch.randint(0, 50, (2, 7)) for _ in range(3)]


def by_hand(model, passes, keep=None):
    """Token by token."""
    out = {}
    with torch.no_grad():
        for n, ids in enumerate(passes):
            x = model.embed(ids)
            for l, layer in enumerate(model.layers):
                moe = layer["mlp"]
                total, count = out.setdefault(l, ([0.0] * E, [0] * E))
                for t, row in enumerate(x.reshape(-1, H)):
                    if keep is not None and not keep[n].reshape(-1)[t]:
                        continue
                    p = torch.softmax(moe.gate.weight @ row, 0)
                    best = p.argsort(descending=True)[:K]
                    for j in best:
                        total[j] += float(p[j] / p[best].sum() * moe.experts[j](row).norm())
                        count[j] += 1
                x = x + moe(x)
    return out


@pytest.mark.parametrize("form", ["logits", "chosen", "indices"])
def test_saliencies(model, form):
    want = by_hand(model, batches())
    for layer in model.layers:
        layer["mlp"].gate.form = form
    got = experts.collect(model, batches())
    assert len(got) == 4
    for l in range(2):
        total = got[f"layers.{l}.mlp.expert_saliency_sum"]
        assert total.dtype == torch.float64
        assert torch.allclose(total, torch.tensor(want[l][0], dtype=torch.float64), rtol=1e-5)
        assert got[f"layers.{l}.mlp.expert_count"].tolist() == want[l][1]
        assert sum(want[l][1]) == 3 * 14 * K


def test_padding_does_not_count(model):
    keep = [torch.ones(2, 7, dtype=torch.int64) for _ in range(3)]
    keep[0][1, 3:] = 0
    got = experts.collect(model, [{"input_ids": b, "attention_mask": k}
                                  for b, k in zip(batches(), keep)])
    want = by_hand(model, batches(), keep)
    assert got["layers.0.mlp.expert_count"].tolist() == want[0][1]
    assert torch.allclose(got["layers.0.mlp.expert_saliency_sum"],
                          torch.tensor(want[0][0], dtype=torch.float64), rtol=1e-5)


def test_stacked_experts(model):
    want = experts.collect(model, batches())
    moe = model.layers[1]["mlp"]
    moe.experts = Stack(moe.experts)
    got = experts.collect(model, batches())
    for name in want:
        assert torch.allclose(got[name], want[name], rtol=1e-5), name


def test_what_is_not_understood(model):
    with pytest.raises(ValueError, match="no module with experts"):
        experts.collect(torch.nn.Linear(2, 2), [])
    with pytest.raises(ValueError, match="never run"):
        experts.collect(model, [])
    for layer in model.layers:
        del layer["mlp"].top_k
    with pytest.raises(ValueError, match="give route"):
        experts.collect(model, batches())
    got = experts.collect(model, batches(), route=lambda module, logits: torch.ones_like(logits))
    assert got["layers.0.mlp.expert_count"].tolist() == [42.0] * E


def test_the_weakest_experts_go(model, client, tmp_path):
    """From a model to a smaller one."""
    root = tmp_path / "m"
    path = tmp_path / "stats.safetensors"
    root.mkdir()
    got = experts.collect(model, batches(), path)
    safetensors.write(root / "model.safetensors",
                      {k: hooks.to_safetensors(v.detach()) for k, v in model.state_dict().items()},
                      {"format": "pt"})
    (root / "config.json").write_text(json.dumps({"num_experts": E, "num_experts_per_tok": K}))
    source, stats = client.create_upload(root), client.create_upload(path)
    job = client.wait(client.create_job({
        "kind": "prune", "source": {"upload": source["id"]},
        "params": {"method": "expert_drop", "keep": 3, "stats": {"upload": stats["id"]}}}))
    assert job["state"] == "succeeded", job
    art = client.get_artifact(job["result"]["artifact"])
    assert art["experts"]["kept"] == 3
    for l, layer in enumerate(art["experts"]["layers"]):
        s = got[f"layers.{l}.mlp.expert_saliency_sum"] / \
            got[f"layers.{l}.mlp.expert_count"].clamp(min=1)
        assert layer["dropped"] == sorted(s.argsort()[:2].tolist())
