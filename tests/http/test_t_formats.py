"""Other outputs of a job of kind prune: masks, single tensors, sparse-bitmask; and jobs of kind
decode. What is read here is read without a word of the server's: the layouts are written down once
more."""

import itertools
import json
import os
import shutil
import struct
import time

import numpy as np
import pytest

from daemon import TOP, Daemon, write_safetensors
from test_c_cli import run_ctl
from test_t_prune import big_model, fails, prune, settles, submit, tensors

EXAMPLES = os.path.join(TOP, "examples")
DTYPES = {"F32": np.float32, "BF16": np.uint16, "F16": np.float16, "I64": np.int64, "U8": np.uint8,
          "F64": np.float64, "F8_E4M3": np.uint8, "I32": np.int32}


@pytest.fixture(scope="module")
def d(tmp_path_factory):
    tmp = str(tmp_path_factory.mktemp("formats"))
    os.makedirs(os.path.join(tmp, "out"))
    with Daemon(tmp, "--output-root", os.path.join(tmp, "out")) as daemon:
        daemon.out = os.path.join(tmp, "out")
        shutil.copy(os.path.join(EXAMPLES, "manlm.safetensors"), daemon.root)
        _, daemon.parts = odd_model(daemon.root, "odd")
        yield daemon


def read(path, ours=True):
    """{name: array}, 16-bit floats as their bits."""
    got, head = tensors(path)
    n = struct.unpack("<Q", head[:8])[0]
    assert not ours or json.loads(head[8:8 + n])["__metadata__"]["format"] == "pt"
    return {k: np.frombuffer(raw, DTYPES[t]).reshape(shape) for k, (t, shape, raw) in got.items()}


def read_all(path, ours=True):
    out = {}
    for name in sorted(os.listdir(path)):
        if name.endswith(".safetensors"):
            part = read(os.path.join(path, name), ours)
            assert not part.keys() & out.keys()
            out |= part
    return out


def bits(w):
    """Of what is not zero: the lowest first, each row of its own."""
    return np.packbits(w.astype(np.float64) != 0, axis=-1, bitorder="little")


def zeroless(w):
    """16-bit patterns that are a zero of either sign are 0."""
    return np.where(w & 0x7fff, w, 0) if w.dtype == np.uint16 else w


def unpack(t, p):
    """A matrix from its four tensors."""
    rows, cols = t[p + ".shape"]
    mask = t[p + ".bitmask"]
    assert mask.shape == (rows, (cols + 7) // 8) and mask.dtype == np.uint8
    keep = np.unpackbits(mask, axis=1, bitorder="little")
    assert not keep[:, cols:].any()
    keep = keep[:, :cols].astype(bool)
    values = t[p + ".compressed"]
    assert values.shape == (keep.sum(),)
    assert (t[p + ".row_offsets"] == np.cumsum(keep.sum(1)) - keep.sum(1)).all()
    w = np.zeros((rows, cols), values.dtype)
    w[keep] = values
    return w


def odd_model(root, name):
    """Shapes of all kinds, in two shards: columns that fill no bytes, empty rows, a matrix of zeros
    and minus zeros, a stack, a convolution, an odd number of bytes."""
    model = os.path.join(root, name)
    os.makedirs(model)
    r = np.random.default_rng(3)
    q = r.standard_normal((10, 13)).astype(np.float32)
    q[2] = 0
    q[5, 4:] = -0.0
    parts = {
        "model-00001-of-00002.safetensors": {
            "model.layers.0.self_attn.q_proj.weight": q,
            "model.layers.0.self_attn.k_proj.weight": np.full((4, 9), -0.0, np.float32),
            "model.layers.0.self_attn.q_proj.bias": np.ones(10, np.float32),
            "model.layers.0.mlp.experts.gate_up_proj": r.standard_normal((3, 6, 11)).astype(
                np.float32),
            "model.layers.0.counts": np.arange(3, dtype=np.uint8)},
        "model-00002-of-00002.safetensors": {
            "features.0.weight": r.standard_normal((5, 2, 3, 3)).astype(np.float32),
            "model.embed_tokens.weight": r.standard_normal((20, 10)).astype(np.float32),
            "lm_head.weight": r.standard_normal((20, 10)).astype(np.float32),
            "model.norm.weight": np.ones(10, np.float32)}}
    for shard, part in parts.items():
        write_safetensors(os.path.join(model, shard), part)
    with open(os.path.join(model, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": 1},
                   "weight_map": {k: s for s, part in parts.items() for k in part}}, f)
    with open(os.path.join(model, "config.json"), "w") as f:
        f.write(CONFIG)
    with open(os.path.join(model, "tokenizer.json"), "w") as f:
        f.write("{}")
    return model, parts


CONFIG = '{\n  "model_type": "llama",\n  "rms_norm_eps": 1e-05,\n  "vocab_size":20\n}\n'
ODD = ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "features.0",
       *(f"model.layers.0.mlp.experts.gate_up_proj[{i}]" for i in range(3))]
HALF = {"sparsity": 0.5, "method": "magnitude"}
COUNT = itertools.count()


def formed(d, source, params, form):
    """The dense output, another one, and what the other says of itself."""
    dense, _ = prune(d, source, params)
    out = next(COUNT)
    r = submit(d, source, {**params, "output": {"path": f"f{out}", "format": form}})
    assert r.status in (200, 202), r.body
    job = d.wait_final(r.json["id"])
    assert job["state"] == "succeeded", job["error"]
    art = d.get(f"/v1/artifacts/{job['result']['artifact']}").json
    path = os.path.join(d.out, f"f{out}")
    assert art["format"] == form and sorted(f["name"] for f in art["files"]) == sorted(
        os.listdir(path))
    for f in art["files"]:
        assert f["bytes"] == os.path.getsize(os.path.join(path, f["name"]))
    return read_all(dense, False), path, art


# --- masks, tensors ------------------------------------------------------------------------------


def test_masks_of_a_real_model(d):
    dense, path, art = formed(d, "manlm.safetensors", HALF, "masks")
    masks = read_all(path)
    pruned = {t["tensor"] for t in art["tensors"]}
    assert masks.keys() == {t.removesuffix(".weight") + ".bitmask" for t in pruned}
    for name in pruned:
        w = dense[name]
        keep = (w & 0x7fff) != 0
        assert (masks[name.removesuffix(".weight") + ".bitmask"] ==
                np.packbits(keep, axis=1, bitorder="little")).all()
    assert sorted(os.listdir(path)) == ["manlm.safetensors", "sparsity_plan.json"]
    size = sum(2 * w.size for k, w in dense.items() if k in pruned)
    assert os.path.getsize(os.path.join(path, "manlm.safetensors")) < size / 16 + 8000


def test_masks_of_stacks_and_convolutions(d):
    dense, path, _ = formed(d, "odd", {"plan": plan_of(d, ODD, 0.4), "method": "magnitude"},
                            "masks")
    first, second = (read(os.path.join(path, s)) for s in d.parts)
    index = json.load(open(os.path.join(path, "model.safetensors.index.json")))
    assert index["weight_map"] == {k: s for s, p in zip(d.parts, (first, second)) for k in p}
    assert index["metadata"]["total_size"] == sum(m.size for p in (first, second)
                                                  for m in p.values())
    stack = "model.layers.0.mlp.experts.gate_up_proj"
    assert (first[stack + ".bitmask"] == bits(dense[stack])).all()
    assert first[stack + ".bitmask"].shape == (3, 6, 2)
    assert (second["features.0.bitmask"] == bits(dense["features.0.weight"].reshape(5, 18))).all()
    assert (first["model.layers.0.self_attn.q_proj.bitmask"] ==
            bits(dense["model.layers.0.self_attn.q_proj.weight"])).all()


def test_masks_of_conv1d(d):
    """Stored as inputs by outputs: so is the mask."""
    os.makedirs(os.path.join(d.root, "gpt"))
    with open(os.path.join(d.root, "gpt/config.json"), "w") as f:
        f.write('{"model_type": "gpt2"}')
    r = np.random.default_rng(6)
    write_safetensors(os.path.join(d.root, "gpt/model.safetensors"), {
        "h.0.attn.c_attn.weight": r.standard_normal((16, 44)).astype(np.float32),
        "wte.weight": r.standard_normal((60, 16)).astype(np.float32)})
    params = {**HALF, "selection": "row"}
    dense, path, _ = formed(d, "gpt", params, "masks")
    w = dense["h.0.attn.c_attn.weight"]
    assert ((w != 0).sum(0) == 8).all()
    assert (read_all(path)["h.0.attn.c_attn.bitmask"] == bits(w)).all()


def plan_of(d, names, sparsity=0.5):
    metrics = {n: {"alpha": 2 + i, "params": 100} for i, n in enumerate(names)}
    r = d.request("POST", "/v1/plans", {"metrics": metrics, "method": "uniform",
                                        "sparsity": sparsity})
    assert r.status in (200, 201), r.body
    return r.json["id"]


def test_a_part_of_a_stack(d):
    """The matrices that the plan does not name stay whole."""
    stack = "model.layers.0.mlp.experts.gate_up_proj"
    plan = plan_of(d, [stack + "[1]"])
    params = {"plan": plan, "method": "magnitude"}
    dense, path, _ = formed(d, "odd", params, "masks")
    got = read_all(path)
    assert got.keys() == {stack + ".bitmask"}
    assert (got[stack + ".bitmask"] == bits(dense[stack])).all()
    assert np.unpackbits(got[stack + ".bitmask"], axis=-1).sum((1, 2)).tolist() == [66, 33, 66]
    dense, path, _ = formed(d, "odd", params, "tensors")
    got = read_all(path)
    assert got.keys() == {stack} and (got[stack] == dense[stack]).all()
    assert sorted(os.listdir(path)) == ["model-00001-of-00002.safetensors",
                                        "model.safetensors.index.json", "sparsity_plan.json"]


def test_tensors(d):
    dense, path, art = formed(d, "manlm.safetensors", HALF, "tensors")
    got = read_all(path)
    assert got.keys() == {t["tensor"] for t in art["tensors"]}
    for name, w in got.items():
        assert w.dtype == dense[name].dtype and (w == dense[name]).all()
    assert "model.embed_tokens.weight" not in got


# --- sparse-bitmask ------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_sparse_bitmask_of_a_real_model(d, sparsity):
    params = {"sparsity": sparsity, "method": "magnitude"}
    dense, path, art = formed(d, "manlm.safetensors", params, "sparse-bitmask")
    got = read_all(path)
    for t in art["tensors"]:
        w = unpack(got, t["name"])
        assert (w == zeroless(dense[t["tensor"]])).all() and t["tensor"] not in got
        assert t["zeros"] == w.size - np.count_nonzero(w)
    rest = dense.keys() - {t["tensor"] for t in art["tensors"]}
    assert got.keys() == rest | {f"{t['name']}.{x}" for t in art["tensors"]
                                 for x in ("compressed", "bitmask", "row_offsets", "shape")}
    for name in rest:
        assert (got[name] == dense[name]).all()
    assert [w["code"] for w in art["warnings"] if w["code"] == "legacy_format"]


def test_sparse_bitmask_of_odd_shapes(d):
    params = {"plan": plan_of(d, ODD, 0.4), "method": "magnitude"}
    dense, path, art = formed(d, "odd", params, "sparse-bitmask")
    got = read_all(path)
    for p in ("q_proj", "k_proj"):
        p = "model.layers.0.self_attn." + p
        assert (unpack(got, p) == dense[p + ".weight"]).all()
        assert not np.signbit(unpack(got, p)).sum() > np.signbit(dense[p + ".weight"]).sum()
    assert got["model.layers.0.self_attn.k_proj.compressed"].shape == (0,)
    assert not np.unpackbits(got["model.layers.0.self_attn.q_proj.bitmask"][2]).any()
    for name in ("model.layers.0.mlp.experts.gate_up_proj", "features.0.weight", "lm_head.weight",
                 "model.layers.0.counts", "model.embed_tokens.weight"):
        assert (got[name] == dense[name]).all(), name
    index = json.load(open(os.path.join(path, "model.safetensors.index.json")))
    assert index["weight_map"].keys() == got.keys()
    assert index["metadata"]["total_size"] == sum(w.nbytes for w in got.values())
    config = open(os.path.join(path, "config.json")).read()
    assert config.startswith(CONFIG.rstrip("\n}"))
    q = json.loads(config)["quantization_config"]
    assert q.keys() == {"quant_method", "version", "sparsity_config"}
    s = q["sparsity_config"]
    assert abs(s.pop("global_sparsity") - art["model_sparsity"]) < 1e-12
    assert s == {"format": "sparse-bitmask", "sparsity_structure": "unstructured",
                 "targets": ["Linear"], "ignore": ["lm_head"], "registry_requires_subclass": False}
    assert open(os.path.join(path, "tokenizer.json")).read() == "{}"


def test_numbers_are_aligned(d):
    """Loaders that map a file need elements at multiples of their size."""
    params = {"plan": plan_of(d, ODD, 0.4), "method": "magnitude"}
    _, path, _ = formed(d, "odd", params, "sparse-bitmask")
    for name in os.listdir(path):
        if not name.endswith(".safetensors"):
            continue
        raw = open(os.path.join(path, name), "rb").read()
        n = struct.unpack("<Q", raw[:8])[0]
        for k, t in json.loads(raw[8:8 + n]).items():
            if k != "__metadata__" and t["data_offsets"][0] != t["data_offsets"][1]:
                size = np.dtype(DTYPES[t["dtype"]]).itemsize
                assert (8 + n + t["data_offsets"][0]) % size == 0, k


def test_the_same_bytes_every_time(d):
    params = {"plan": {"method": "uniform", "sparsity": 0.4}, "method": "magnitude"}
    for form in ("masks", "tensors", "sparse-bitmask"):
        one, two = (formed(d, "manlm.safetensors", params, form)[2]["files"] for _ in range(2))
        assert one == two


# --- refused -------------------------------------------------------------------------------------


def test_refused(d):
    def out(**o):
        return {**HALF, "output": o}

    assert "sparse-bitmask" in fails(d, "odd", out(format="sparse"), "/params/output/format")
    fails(d, "odd", out(format=1), "/params/output/format")
    fails(d, "odd", out(format="masks", path=""), "/params/output/path")
    fails(d, "odd", out(), "/params/output/path")
    model, _ = odd_model(d.root, "quantised")
    with open(os.path.join(model, "config.json"), "w") as f:
        f.write('{"model_type": "llama", "quantization_config": {}}')
    text = fails(d, "quantised", out(format="sparse-bitmask"), "/params/output/format")
    assert "compressed once" in text
    with open(os.path.join(model, "config.json"), "w") as f:
        f.write('{"model_type": "llama", ')
    fails(d, "quantised", out(format="sparse-bitmask"), "/source")


def test_the_server_keeps_other_formats_too(d):
    r = submit(d, "odd", {**HALF, "output": {"format": "masks"}})
    job = d.wait_final(r.json["id"])
    art = d.get(f"/v1/artifacts/{job['result']['artifact']}").json
    assert (art["format"], art["path"]) == ("masks", None)


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["masks", "tensors", "sparse-bitmask"])
def test_kill_and_go_on(tmp_path, form):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    d = Daemon(str(tmp_path), "--output-root", out, workers=1).start()
    big_model(d.root, shards=8)
    params = {"sparsity": 0.5, "method": "magnitude",
              "output": {"path": "once", "format": form}}
    job = submit(d, "big", params, wait=0).json["id"]
    assert d.wait_final(job)["state"] == "succeeded"
    for _ in range(10):  # until one is killed in the middle
        params["output"]["path"] = "twice"
        job = submit(d, "big", params, wait=0).json["id"]
        done, files = (os.path.join(out, f".twice.{job}.{x}") for x in ("done", "tmp"))
        for _ in range(60000):  # a program with sanitizers takes its time
            if os.path.exists(os.path.join(out, "twice")) or os.path.exists(done) and any(
                    x.endswith(".done") for x in os.listdir(done)):
                break
            time.sleep(0.001)
        d.kill()
        if os.path.exists(files):
            break
        d.start()
        d.wait_final(job)
        shutil.rmtree(os.path.join(out, "twice"))
    kept = {x.removesuffix(".done"): os.stat(os.path.join(files, x.removesuffix(".done")))
            for x in os.listdir(done) if x.endswith(".done")}
    assert kept
    d.start()
    assert d.wait_final(job)["state"] == "succeeded"
    settles(out, ["once", "twice"])
    for name, before in kept.items():
        assert os.stat(os.path.join(out, "twice", name)).st_ino == before.st_ino
    for name in os.listdir(os.path.join(out, "once")):
        one, two = (open(os.path.join(out, x, name), "rb").read() for x in ("once", "twice"))
        assert one == two, name
    d.stop()


def test_cancel_leaves_nothing(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    with Daemon(str(tmp_path), "--output-root", out, workers=1) as d:
        big_model(d.root)
        job = submit(d, "big", {**HALF, "output": {"path": "p", "format": "sparse-bitmask"}},
                     wait=0).json["id"]
        for _ in range(400):
            if d.get(f"/v1/jobs/{job}").json["progress"]["layers_done"] > 0:
                break
            time.sleep(0.005)
        d.request("POST", f"/v1/jobs/{job}:cancel")
        assert d.wait_final(job)["state"] in ("cancelled", "succeeded")
        settles(out, [x for x in os.listdir(out) if x == "p"])


# --- decode --------------------------------------------------------------------------------------


def decode(d, source, wait=60, **output):
    body = {"kind": "decode", "source": {"path": source}}
    if output:
        body["params"] = {"output": output}
    r = d.request("POST", "/v1/jobs", body, {"Prefer": f"wait={wait}"} if wait else {})
    assert r.status in (200, 202), r.body
    return r.json


def decoded(d, source):
    name = f"d{next(COUNT)}"
    job = d.wait_final(decode(d, source, path=name)["id"])
    assert job["state"] == "succeeded", job["error"]
    return os.path.join(d.out, name), d.get(f"/v1/artifacts/{job['result']['artifact']}").json


def test_there_and_back_again(d):
    params = {"plan": plan_of(d, ODD, 0.4), "method": "magnitude"}
    dense, path, _ = formed(d, "odd", params, "sparse-bitmask")
    shutil.copytree(path, os.path.join(d.root, "packed"))
    back, art = decoded(d, "packed")
    got = read_all(back)
    assert got.keys() == dense.keys()
    for name, w in dense.items():
        assert got[name].dtype == w.dtype and (got[name] == w).all(), name
        if "_proj.weight" in name:
            assert not np.signbit(got[name][w == 0]).any()
    index = json.load(open(os.path.join(back, "model.safetensors.index.json")))
    assert index["weight_map"].keys() == dense.keys()
    assert open(os.path.join(back, "config.json")).read() == CONFIG
    assert sorted(f["name"] for f in art["files"]) == sorted(os.listdir(back))
    assert (art["format"], art["decoded_from"]) == ("dense", "sparse-bitmask")
    assert {t["tensor"] for t in art["tensors"]} == {
        f"model.layers.0.self_attn.{x}_proj.weight" for x in "qk"}


def test_a_real_model_there_and_back_again(d):
    dense, path, _ = formed(d, "manlm.safetensors", HALF, "sparse-bitmask")
    shutil.copy(os.path.join(path, "manlm.safetensors"), os.path.join(d.root, "packed.safetensors"))
    got = read_all(decoded(d, "packed.safetensors")[0])
    assert got.keys() == dense.keys()
    for name, w in dense.items():
        assert (got[name] == (zeroless(w) if "_proj" in name else w)).all(), name


def pack(w):
    """As compressed-tensors writes it."""
    keep = w != 0
    return {"compressed": w[keep], "bitmask": np.packbits(keep, axis=1, bitorder="little"),
            "row_offsets": (np.cumsum(keep.sum(1)) - keep.sum(1)).astype(np.int64),
            "shape": np.array(w.shape, np.int64)}


def test_parts_in_different_files(d):
    r = np.random.default_rng(9)
    ws = {f"model.layers.{i}.mlp.up_proj": np.where(r.random((7, 19)) < 0.3, 0,
                                                    r.standard_normal((7, 19))).astype(t)
          for i, t in enumerate((np.float32, np.float64, np.float16))}
    os.makedirs(os.path.join(d.root, "strewn"))
    files = [{}, {}, {}]
    for i, (name, w) in enumerate(ws.items()):
        for k, (part, t) in enumerate(pack(w).items()):
            files[(i + k) % 3][f"{name}.{part}"] = t
    norm = np.array([1, 0, 3, 4, 0, 0, 7, 8, 9], np.float32)  # some tools pack vectors, too
    for k, (part, t) in enumerate(pack(norm[None]).items()):
        files[k % 3][f"model.norm.{part}"] = (t if part == "compressed" else t[0] if part != "shape"
                                              else t[1:])
    names = [f"model-{i + 1:05}-of-00003.safetensors" for i in range(3)]
    for name, part in zip(names, files):
        write_safetensors(os.path.join(d.root, "strewn", name), part)
    with open(os.path.join(d.root, "strewn/model.safetensors.index.json"), "w") as f:
        json.dump({"weight_map": {k: n for n, part in zip(names, files) for k in part}}, f)
    got = read_all(decoded(d, "strewn")[0])
    assert got.keys() == {f"{n}.weight" for n in ws} | {"model.norm.weight"}
    for name, w in ws.items():
        assert (got[name + ".weight"] == w).all()
    assert got["model.norm.weight"].shape == norm.shape and (got["model.norm.weight"] == norm).all()


def broken(what):
    w = np.array([[0, 1, 2, 0, 3], [4, 0, 0, 0, 5]], np.float32)
    p = pack(w)
    if what == "offsets":
        p["row_offsets"][1] = 1
    elif what == "pad":
        p["bitmask"][0, 0] |= 0x80
    elif what == "values":
        p["compressed"] = p["compressed"][:-1]
    elif what == "too many values":
        p["compressed"] = np.ones(11, np.float32)
    elif what == "shape":
        p["shape"][1] = 9
    elif what == "negative shape":
        p["shape"][0] = -1
    elif what == "mask dtype":
        p["bitmask"] = p["bitmask"].astype(np.int32)
    elif what == "no offsets":
        del p["row_offsets"]
    return {"a." + k: t for k, t in p.items()}


@pytest.mark.parametrize("what", ["offsets", "pad", "values", "too many values", "shape",
                                  "negative shape", "mask dtype", "no offsets"])
def test_what_does_not_agree_is_refused(d, what):
    name = what.replace(" ", "_") + ".safetensors"
    write_safetensors(os.path.join(d.root, name), broken(what))
    job = d.wait_final(decode(d, name)["id"])
    assert job["state"] == "failed", job
    assert '"a.' in job["error"]["detail"] or '"a"' in job["error"]["detail"], job["error"]


def test_nothing_to_decode(d):
    job = d.wait_final(decode(d, "manlm.safetensors")["id"])
    assert job["state"] == "failed" and "sparse-bitmask" in job["error"]["detail"]
    for params, pointer in (({"output": {"format": "masks", "path": "x"}}, "/params/output/format"),
                            ({"method": "magnitude"}, "/params/method"),
                            ({"output": {"path": ".."}}, "/params/output/path")):
        r = d.request("POST", "/v1/jobs", {"kind": "decode", "source": {"path": "odd"},
                                           "params": params})
        assert r.status == 400 and r.json["errors"][0]["pointer"] == "#" + pointer, r.body
    os.makedirs(os.path.join(d.root, "quantised_too"))
    write_safetensors(os.path.join(d.root, "quantised_too/model.safetensors"), broken("nothing"))
    with open(os.path.join(d.root, "quantised_too/config.json"), "w") as f:
        f.write('{"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {}}}')
    job = d.wait_final(decode(d, "quantised_too")["id"])
    assert job["state"] == "failed" and "config_groups" in job["error"]["detail"]


def test_decode_goes_on_after_a_kill(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    d = Daemon(str(tmp_path), "--output-root", out, workers=1).start()
    big_model(d.root)
    r = submit(d, "big", {**HALF, "output": {"path": "p", "format": "sparse-bitmask"}})
    assert d.wait_final(r.json["id"])["state"] == "succeeded"
    shutil.copytree(os.path.join(out, "p"), os.path.join(d.root, "p"))
    shutil.rmtree(os.path.join(out, "p"))
    job = decode(d, "p", wait=0, path="back")["id"]
    done = os.path.join(out, f".back.{job}.done")
    for _ in range(4000):
        if os.path.exists(done) and any(x.endswith(".done") for x in os.listdir(done)):
            break
        time.sleep(0.001)
    d.kill()
    d.start()
    assert d.wait_final(job)["state"] == "succeeded"
    dense, _ = tensors(os.path.join(d.root, "big", "model-00001-of-00006.safetensors"))
    back, _ = tensors(os.path.join(out, "back", "model-00001-of-00006.safetensors"))
    for name, (dtype, shape, raw) in dense.items():
        a, b = np.frombuffer(raw, np.float32), np.frombuffer(back[name][2], np.float32)
        assert back[name][:2] == (dtype, shape) and ((a == b) | (b == 0)).all() and (
            (b == 0).sum() == b.size // 2)
    d.stop()


def test_ctl_prunes_and_decodes(d):
    run = lambda *args: run_ctl(f"127.0.0.1:{d.port}", *args)
    r = run("prune", "manlm.safetensors", "--method", "magnitude", "--sparsity", "0.5", "--format",
            "sparse-bitmask", "--out", "ctl")
    assert r.returncode == 0 and "0.14.0.1" in r.stdout + r.stderr, r.stderr
    packed = os.path.join(d.out, "ctl", "manlm.safetensors")
    shutil.copy(packed, os.path.join(d.root, "ctl.safetensors"))
    r = run("decode", "ctl.safetensors", "--out", "ctl-dense", "--label", "a=b")
    assert r.returncode == 0, r.stderr
    assert r.stdout.startswith("28 tensors were made dense\nart_") and "ctl-dense" in r.stdout
    assert len(read(os.path.join(d.out, "ctl-dense", "ctl.safetensors"))) == len(
        read(os.path.join(d.root, "manlm.safetensors"), False))
    r = run("decode", "manlm.safetensors")
    assert r.returncode == 3 and "sparse-bitmask" in r.stderr
    r = run("decode", packed, "--quiet")  # the server cannot see it: uploaded
    assert r.returncode == 0 and r.stdout.startswith("art_"), r.stderr
