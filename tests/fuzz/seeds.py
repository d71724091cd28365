#!/usr/bin/env python3
"""Write valid inputs for the fuzz targets, so that they start deep: seeds.py TARGET DIR"""

import io
import json
import os
import re
import struct
import sys
import tarfile

target, out = sys.argv[1:]
top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BITS = {"F32": 32, "BF16": 16, "F16": 16, "F64": 64, "F8_E4M3": 8, "I8": 8, "U8": 8, "I64": 64,
        "BOOL": 8}
MODELS = [
    {"model.layers.0.self_attn.q_proj.weight": ("F32", [8, 8]), "model.norm.weight": ("F32", [8])},
    {"h.0.attn.c_attn.weight": ("BF16", [6, 18]), "h.0.attn.c_attn.bias": ("BF16", [18]),
     "wte.weight": ("F16", [20, 6])},
    {"conv1.weight": ("F32", [4, 3, 3, 3]), "conv1.bias": ("F32", [4]), "scalar": ("F64", [])},
    {"layers.0.experts.gate_up_proj": ("F8_E4M3", [3, 8, 6]), "mask": ("BOOL", [5]),
     "codes.weight": ("I8", [12, 12]), "empty": ("U8", [0, 4]), "ids": ("I64", [3])},
]


def magic(path, name):
    text = open(os.path.join(top, path)).read()
    return int(re.search(rf"#define {name}\s+(0x[0-9a-fA-F]+)", text).group(1), 16)


def offsets(model):
    at = 0
    for name, (dtype, shape) in model.items():
        n = BITS[dtype] // 8
        for d in shape:
            n *= d
        yield name, dtype, shape, at, n
        at += n


def safetensors(model):
    header = {"__metadata__": {"format": "pt"}}
    for name, dtype, shape, at, n in offsets(model):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        end = at + n
    return struct.pack("<H", end) + json.dumps(header).encode()


def text(s):
    return struct.pack("<I", len(s)) + s.encode()


def table(model):
    source = open(os.path.join(top, "models/dtype.h")).read()
    order = re.findall(r"^\s+DTYPE_(\w+)", source, re.M)
    body = struct.pack("<IQ", magic("models/tensor_table.c", "TABLE_MAGIC"), len(model))
    for name, dtype, shape, at, n in offsets(model):
        body += text(name) + struct.pack("<II", order.index(dtype), len(shape))
        body += b"".join(struct.pack("<Q", d) for d in shape) + struct.pack("<QQ", 64 + at, n)
    return body


def index(model):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    names = list(model)
    yield json.dumps({"metadata": {"total_size": 9},
                      "weight_map": {n: shards[i % 2] for i, n in enumerate(names)}}).encode()
    body = struct.pack("<II", magic("models/hf.c", "INDEX_MAGIC"), 2)
    body += b"".join(map(text, shards)) + struct.pack("<Q", len(names))
    yield body + b"".join(text(n) + struct.pack("<I", i % 2) for i, n in enumerate(names))
    yield json.dumps({"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2,
                      "num_key_value_heads": 1, "tie_word_embeddings": True}).encode()


def records():
    m = magic("daemon/records.c", "SPECTRUM_MAGIC")
    for bad, n, slices in ((0, 6, 1), (0, 3, 4), (2, 5, 1)):
        lam = [] if bad else [float(k) for _ in range(slices) for k in range(n)]
        yield struct.pack("<IIIIdQQQQ32s128s", m, 2, 0, 0, 1e-9, bad, 2 * n, n, slices,
                          b"SkylakeX", b"OpenBLAS 0.3.21") + struct.pack(f"<{len(lam)}d", *lam)
    columns = open(os.path.join(top, "compute/columns.h")).read()
    n = len(set(re.findall(r"^\s+(COL_\w+)", columns, re.M)))
    yield struct.pack("<II", magic("daemon/records.c", "VALUES_MAGIC"), n) + bytes(8 * n + 5)


PARAMS = [
    {}, {"layers": [0, 3, "lm_head"], "types": ["dense", "conv2d"], "include": "q_proj$",
         "exclude": None, "min_evals": 5, "max_evals": 100, "max_N": None},
    {"compat": "weightwatcher-0.7.5.5", "precision": "single", "integers": True},
]


def tars():
    for fmt in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=fmt) as t:
            for name, size in (("m/config.json", 20), ("m/" + "n" * 90 + "/x", 600)):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = size, 1.5
                t.addfile(info, io.BytesIO(bytes(size)))
            top = tarfile.TarInfo("m/sub")
            top.type = tarfile.DIRTYPE
            t.addfile(top)
        yield out.getvalue()


def calibration():
    kinds = {"a.sumsq": ("F64", [6]), "a.gram": ("F32", [6, 6]), "a.count": ("I64", [2]),
             "b.xlast": ("F16", [3, 4])}
    header = {"__metadata__": {"n_seq": "128", "mode": "dense", "aliases": '{"c": "a", "d": "b"}'}}
    for name, dtype, shape, at, n in offsets(kinds):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        end = at + n
    head = json.dumps(header).encode()
    yield struct.pack("<Q", len(head)) + head + bytes(end)
    t = table(kinds)
    yield struct.pack("<IQBQ", magic("models/calibration.c", "MAGIC"), 128, 0, 2) + \
        b"".join(map(text, "cadb")) + struct.pack("<Q", len(t)) + t


def bitmasks():
    """[[0, 0, 0], [1, 1, 1]] in four sizes of elements, and nine columns with an empty row."""
    for k in range(4):
        yield bytes([2, 3, k, 0, 7]) + struct.pack("<2q", 0, 0) + bytes([1] + [0] * (2 ** k - 1)) * 3
    yield bytes([3, 9, 0, 1, 1, 0, 0, 0x80, 0]) + struct.pack("<3q", 0, 2, 2) + b"abc"


def seeds():
    if target == "bitmask":
        yield from bitmasks()
        return
    if target == "calibration":
        yield from calibration()
        return
    if target == "tar":
        yield from tars()
        return
    if target == "params":
        yield from (json.dumps(p).encode() for p in PARAMS)
        return
    if target == "records":
        yield from records()
        return
    if target == "hf":
        yield json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16.5, "use_rslora": True,
                          "rank_pattern": {"q_proj": 4}, "fan_in_fan_out": False,
                          "alpha_pattern": {"^layers.0.q_proj": 2, "mlp.up": 0}}).encode()
    for model in MODELS:
        if target == "hf":
            yield from index(model)
        else:
            yield {"safetensors": safetensors, "table": table}[target](model)


for i, data in enumerate(seeds()):
    with open(os.path.join(out, f"seed{i}"), "wb") as f:
        f.write(data)
