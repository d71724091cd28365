"""The example model in PyTorch: Llama-like, byte vocabulary, 4 layers of width 192, 4 heads."""

import json
import math
import struct

import torch
from torch import nn


def read(path):
    """Metadata and tensors of a safetensors file, as {name: tensor}."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(bytes(data[8:8 + n]))
    dtypes = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
              "BF16": torch.bfloat16, "I64": torch.int64}
    metadata = header.pop("__metadata__", {})
    out = {}
    for name, t in header.items():
        a, b = (8 + n + x for x in t["data_offsets"])
        out[name] = torch.frombuffer(data[a:b], dtype=dtypes[t["dtype"]]).reshape(t["shape"])
    return metadata, out


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        for name in "qkvo":
            setattr(self, name + "_proj", nn.Linear(width, width, bias=False))

    def turn(self, x):
        """Rotary position embedding of [batch, heads, tokens, size]."""
        half = x.shape[-1] // 2
        frequency = 10000 ** (-torch.arange(half, dtype=torch.float32) / half)
        angle = torch.outer(torch.arange(x.shape[2], dtype=torch.float32), frequency)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def forward(self, x, bias):
        batch, tokens, width = x.shape
        q, k, v = (p(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        score = self.turn(q) @ self.turn(k).transpose(2, 3) / math.sqrt(width // self.heads) + bias
        mixed = score.softmax(-1) @ v
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(width), Norm(width)
        self.self_attn, self.mlp = Attention(width, heads), Mlp(width, inner)

    def forward(self, x, bias):
        x = x + self.self_attn(self.input_layernorm(x), bias)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, layers=4, width=192, heads=4, inner=512, vocabulary=256):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocabulary, width)
        self.model.layers = nn.ModuleList(Layer(width, heads, inner) for _ in range(layers))
        self.model.norm = Norm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, input_ids, attention_mask=None):
        tokens = input_ids.shape[1]
        dtype = self.lm_head.weight.dtype
        bias = torch.full((tokens, tokens), -math.inf, dtype=dtype).triu(1)
        if attention_mask is not None:  # the diagonal stays: a row of padding must not be NaN
            hidden = (attention_mask == 0)[:, None, None, :] & ~torch.eye(tokens, dtype=torch.bool)
            bias = bias.masked_fill(hidden, -math.inf)
        x = self.model.embed_tokens(input_ids)
        for layer in self.model.layers:
            x = layer(x, bias)
        return self.lm_head(self.model.norm(x))


def load(path):
    model = Llama()
    model.load_state_dict({k: v.float() for k, v in read(path)[1].items()})
    return model.eval()


def nats_per_byte(model, text, tokens=256):
    """Mean negative log-likelihood of bytes, in pieces of `tokens`."""
    ids = torch.tensor(list(text))
    n = (len(ids) - 1) // tokens
    given = ids[:n * tokens].view(n, tokens)
    wanted = ids[1:n * tokens + 1].view(n, tokens)
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(given).flatten(0, 1), wanted.flatten()))
