"""Jobs of kind prune: which weights go, which bytes change, what is refused, and what a crash
leaves."""

import hashlib
import json
import os
import shutil
import signal
import struct
import time

import numpy as np
import pytest

from daemon import TOP, Daemon, write_safetensors
from killed import assert_kept, kill_once_a_file_is_complete
from perplexity import load, nats_per_byte

EXAMPLES = os.path.join(TOP, "examples")
STATS = {"path": "manlm.stats.safetensors"}


@pytest.fixture(scope="module")
def d(tmp_path_factory):
    tmp = str(tmp_path_factory.mktemp("prune"))
    os.makedirs(os.path.join(tmp, "out"))
    with Daemon(tmp, "--output-root", os.path.join(tmp, "out")) as daemon:
        daemon.out = os.path.join(tmp, "out")
        for name in ("manlm.safetensors", "manlm.stats.safetensors"):
            shutil.copy(os.path.join(EXAMPLES, name), daemon.root)
        yield daemon


COUNT = iter(range(1, 1000000))


def submit(d, source, params, wait=60):
    body = {"kind": "prune", "source": {"path": source}, "params": params}
    return d.request("POST", "/v1/jobs", body, {"Prefer": f"wait={wait}"} if wait else {})


def prune(d, source, params):
    """The directory that was written, and what it says of itself."""
    name = f"m{next(COUNT)}"
    r = submit(d, source, {**params, "output": {"path": name}})
    assert r.status in (200, 202), r.body
    job = d.wait_final(r.json["id"])
    assert job["state"] == "succeeded", job["error"]
    path = os.path.join(d.out, name)
    with open(os.path.join(path, "sparsity_plan.json")) as f:
        return path, json.load(f)


def fails(d, source, params, pointer, status=400):
    """Refused at once, or failed: at this field."""
    r = submit(d, source, params)
    if r.status >= 400:
        assert r.status == status, r.body
        errors = r.json["errors"]
        text = r.json["detail"]
    else:
        job = d.wait_final(r.json["id"])
        assert job["state"] == "failed", job
        errors = job["error"]["errors"]
        text = job["error"]["detail"]
    assert errors[0]["pointer"] == "#" + pointer, errors
    return text


def tensors(path):
    """{name: (dtype, shape, raw bytes)} and the raw header."""
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    head.pop("__metadata__", None)
    return {k: (t["dtype"], t["shape"], raw[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
            for k, t in head.items()}, raw[:8 + n]


def bf16(x):
    """Rounded to bfloat16: the floats, and their bits."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = ((u + 0x7fff + (u >> 16 & 1)) >> 16).astype(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32), bits


# --- which weights go ---------------------------------------------------------------------------


def lowest(score, k):
    """The k lowest of a vector, the first of equal ones."""
    mask = np.zeros(score.shape, bool)
    mask[np.argsort(score, kind="stable")[:k]] = True
    return mask


def by_rows(score, s, exact=False):
    rows, cols = score.shape
    total = int(rows * cols * s)
    out = []
    for i, row in enumerate(score):
        k = int(cols * s)
        if exact:
            rest = total % rows
            k = total // rows + ((i + 1) * rest // rows - i * rest // rows)
        out.append(lowest(row, k))
    return np.array(out)


def by_tensor(score, s):
    return lowest(score.ravel(), int(score.size * s)).reshape(score.shape)


def by_groups(score, keep, of):
    groups = score.reshape(len(score), -1, of)
    rank = np.argsort(np.argsort(groups, kind="stable"), kind="stable")
    return (rank < of - keep).reshape(score.shape)


def ria(w, q, power=0.5):
    a = np.abs(w)
    row = (1 / a.sum(1, dtype=np.float64)).astype(np.float32)[:, None]
    col = (1 / a.sum(0, dtype=np.float64).astype(np.float32))[None]
    return a * (row + col) * (np.sqrt(q / 7) ** power).astype(np.float32)[None]


@pytest.fixture(scope="module")
def made(d):
    """A model with layers of every layout, and statistics of two inputs."""
    r = np.random.default_rng(5)
    w, stored, dtypes = {}, {}, {}
    for i in range(2):
        for name, shape in {"self_attn.q_proj": (40, 64), "self_attn.k_proj": (24, 64),
                            "mlp.down_proj": (64, 48)}.items():
            key = f"model.layers.{i}.{name}"
            x = r.standard_normal(shape).astype(np.float32)
            if i == 0:
                w[key], stored[key + ".weight"] = bf16(np.round(x * 8) / 8)  # many ties
                dtypes[key + ".weight"] = "BF16"
            elif name == "mlp.down_proj":
                stored[key + ".weight"] = x.astype(np.float16)
                w[key] = stored[key + ".weight"].astype(np.float32)
            else:
                stored[key + ".weight"] = w[key] = x
    stored["model.embed_tokens.weight"] = r.standard_normal((50, 64)).astype(np.float32)
    stored["lm_head.weight"] = r.standard_normal((50, 64)).astype(np.float32)
    stored["model.norm.weight"] = np.ones(64, np.float32)
    write_safetensors(os.path.join(d.root, "made.safetensors"), stored, dtypes)
    stats = {}
    for i in range(2):
        for name, n in (("self_attn.q_proj", 64), ("mlp.down_proj", 48)):
            stats[f"model.layers.{i}.{name}.sumsq"] = r.gamma(2, size=n) * 100
    for i in range(2):
        stats[f"model.layers.{i}.self_attn.k_proj.sumsq"] = \
            stats[f"model.layers.{i}.self_attn.q_proj.sumsq"]
    for k, x in w.items():
        stats[f"{k}.score"] = (np.abs(x) ** 2).astype(np.float32)
    path = os.path.join(d.root, "made.stats.safetensors")
    write_safetensors(path, stats)
    with_metadata(path, {"n_seq": "7", "mode": "dense"})
    return w, stats


def with_metadata(path, metadata):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = {"__metadata__": metadata, **json.loads(raw[8:8 + n])}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + raw[8 + n:])


MASKS = {
    "magnitude": ({"method": "magnitude"}, lambda w, q: by_tensor(np.abs(w), 0.37)),
    "magnitude row": ({"method": "magnitude", "selection": "row"},
                      lambda w, q: by_rows(np.abs(w), 0.37)),
    "magnitude exact": ({"method": "magnitude", "selection": "row", "rounding": "exact"},
                        lambda w, q: by_rows(np.abs(w), 0.37, True)),
    "wanda": ({"method": "wanda"}, lambda w, q: by_rows(np.abs(w) * np.sqrt(q / 7).astype(
        np.float32)[None], 0.37)),
    "wanda tensor": ({"method": "wanda", "selection": "tensor"}, lambda w, q: by_tensor(
        np.abs(w) * np.sqrt(q / 7).astype(np.float32)[None], 0.37)),
    "ria": ({"method": "ria"}, lambda w, q: by_tensor(ria(w, q), 0.37)),
    "ria row": ({"method": "ria", "selection": "row", "ria_power": 1},
                lambda w, q: by_rows(ria(w, q, 1), 0.37)),
    "external": ({"method": "external"}, lambda w, q: by_rows(np.abs(w) ** 2, 0.37)),
    "2:4": ({"method": "magnitude", "n_of_m": {"keep": 2, "of": 4}},
            lambda w, q: by_groups(np.abs(w), 2, 4)),
    "wanda 5:8": ({"method": "wanda", "n_of_m": {"keep": 5, "of": 8}}, lambda w, q: by_groups(
        np.abs(w) * np.sqrt(q / 7).astype(np.float32)[None], 5, 8)),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(d, made, name):
    w, stats = made
    params, reference = MASKS[name]
    path, report = prune(d, "made.safetensors",
                         {"sparsity": 0.37, "stats": {"path": "made.stats.safetensors"}, **params})
    got = load(os.path.join(path, "made.safetensors"))
    by_name = {t["name"]: t for t in report["tensors"]}
    assert set(by_name) == set(w)
    for key, x in w.items():
        mask = reference(x, stats[key + ".sumsq"])
        want = np.where(mask, 0, x)
        differ = (got[key + ".weight"] != want).sum()
        # Where two scores differ by rounding alone, either may go.
        assert differ <= (2 if "ria" in name else 0), (key, differ)
        t = by_name[key]
        assert t["zeros"] == (got[key + ".weight"] == 0).sum()
        assert t["zeros_before"] == (x == 0).sum()
        assert t["pruned"] == mask.sum()
        assert t["achieved"] == t["zeros"] / x.size


def test_conv_conv1d_and_stacks(d):
    r = np.random.default_rng(6)
    conv = r.standard_normal((12, 5, 3, 3)).astype(np.float32)
    conv1d = r.standard_normal((16, 40)).astype(np.float32)  # stored (in, out)
    stack = r.standard_normal((3, 20, 16)).astype(np.float32)
    write_safetensors(os.path.join(d.root, "kinds.safetensors"), {
        "features.0.weight": conv, "features.3.weight": conv + 1})
    os.makedirs(os.path.join(d.root, "gpt"))
    with open(os.path.join(d.root, "gpt/config.json"), "w") as f:
        f.write('{"model_type": "gpt2"}')
    write_safetensors(os.path.join(d.root, "gpt/model.safetensors"), {
        "h.0.attn.c_attn.weight": r.standard_normal((16, 48)).astype(np.float32),
        "h.0.mlp.c_fc.weight": conv1d, "h.0.ln_1.weight": np.ones(16, np.float32),
        "wte.weight": r.standard_normal((60, 16)).astype(np.float32)})
    write_safetensors(os.path.join(d.root, "moe.safetensors"), {
        "model.layers.0.mlp.experts.gate_up_proj": stack,
        "model.layers.0.self_attn.q_proj.weight": r.standard_normal((16, 16)).astype(np.float32)})
    path, _ = prune(d, "kinds.safetensors", {"sparsity": 0.5, "method": "magnitude",
                                             "selection": "row"})
    got = load(os.path.join(path, "kinds.safetensors"))
    flat = conv.reshape(12, -1)
    assert (got["features.0.weight"].reshape(12, -1) ==
            np.where(by_rows(np.abs(flat), 0.5), 0, flat)).all()
    path, _ = prune(d, "gpt", {"sparsity": 0.5, "method": "magnitude",
                                           "n_of_m": {"keep": 1, "of": 4}})
    got = load(os.path.join(path, "model.safetensors"))
    assert (got["h.0.mlp.c_fc.weight"].T ==
            np.where(by_groups(np.abs(conv1d.T), 1, 4), 0, conv1d.T)).all()
    path, report = prune(d, "moe.safetensors", {"sparsity": 0.25, "method": "magnitude"})
    got = load(os.path.join(path, "moe.safetensors"))["model.layers.0.mlp.experts.gate_up_proj"]
    for e in range(3):
        assert (got[e] == np.where(by_tensor(np.abs(stack[e]), 0.25), 0, stack[e])).all()
    assert sum("experts" in t["name"] for t in report["tensors"]) == 3


# --- which bytes change -------------------------------------------------------------------------


def test_only_pruned_bytes_change(d):
    """A directory with two shards, an index and side files."""
    model = os.path.join(d.root, "sharded")
    os.makedirs(model)
    everything, _ = tensors(os.path.join(d.root, "manlm.safetensors"))
    shards = {f"model-0000{i + 1}-of-00002.safetensors": {} for i in range(2)}
    for name, t in everything.items():
        shard = list(shards)[0 if ".layers.0." in name or ".layers.1." in name else 1]
        shards[shard][name] = t
    for shard, part in shards.items():
        arrays = {k: np.frombuffer(raw, np.uint16).reshape(shape) for k, (_, shape, raw)
                  in part.items()}
        write_safetensors(os.path.join(model, shard), arrays, {k: "BF16" for k in part})
        with_metadata(os.path.join(model, shard), {"format": "pt"})
    side = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}" * 1000,
            "model.safetensors.index.json": json.dumps(
                {"metadata": {"total_size": 1},
                 "weight_map": {k: s for s, part in shards.items() for k in part}}).encode(),
            "notes.txt": b"hello"}
    for name, data in side.items():
        with open(os.path.join(model, name), "wb") as f:
            f.write(data)
    with open(os.path.join(model, "old.bin"), "wb") as f:
        f.write(b"weights in another format")
    plan = {"method": "alphapruning", "sparsity": 0.6, "exclude": "down_proj"}
    path, report = prune(d, "sharded", {"plan": plan, "method": "wanda", "stats": STATS})
    assert sorted(os.listdir(path)) == sorted([*shards, *side, "sparsity_plan.json"])
    for name, data in side.items():
        assert open(os.path.join(path, name), "rb").read() == data
    for shard in shards:
        before, head = tensors(os.path.join(model, shard))
        after, head_after = tensors(os.path.join(path, shard))
        assert head == head_after
        for name, (_, _, raw) in before.items():
            pruned = "_proj" in name and "down_proj" not in name
            assert (after[name][2] != raw) == pruned, name
            if pruned:  # what is not zero is as it was
                a, b = np.frombuffer(after[name][2], np.uint16), np.frombuffer(raw, np.uint16)
                assert ((a == b) | (a == 0)).all()
    assert abs(report["achieved_sparsity"] - 0.6) < 0.01
    assert report["model_sparsity"] < report["model_sparsity_without_embeddings"] < 0.6
    assert {b["block"] for b in report["blocks"]} == {f"model.layers.{i}" for i in range(4)}
    spread = [b["achieved"] for b in report["blocks"]]
    assert max(spread) - min(spread) > 0.01


def test_a_plan_made_before(d):
    job, _ = d.analyze("manlm.safetensors")
    plan = d.request("POST", "/v1/plans", {"analysis": job["result"]["analysis"],
                                           "sparsity": 0.55, "mapping": "per_matrix"}).json
    _, report = prune(d, "manlm.safetensors", {"plan": plan["id"], "method": "magnitude"})
    assert report["plan"] == plan["id"]
    want = {t["name"]: t["sparsity"] for t in plan["tensors"]}
    for t in report["tensors"]:
        assert t["sparsity"] == want[t["name"]]
        assert abs(t["achieved"] - t["sparsity"]) <= 1 / t["params"] + 1e-9 or t["zeros_before"]


def test_an_n_of_m_plan(d):
    job, _ = d.analyze("manlm.safetensors")
    plan = d.request("POST", "/v1/plans", {"analysis": job["result"]["analysis"],
                                           "sparsity": 0.5, "m": 8}).json
    path, report = prune(d, "manlm.safetensors", {"plan": plan["id"], "method": "wanda",
                                                  "stats": STATS})
    got = load(os.path.join(path, "manlm.safetensors"))
    gone = {t["name"]: t["pruned_of_m"] for t in plan["tensors"]}
    assert len(set(gone.values())) > 1
    for t in report["tensors"]:
        w = got[t["tensor"]]
        assert ((w == 0).reshape(w.shape[0], -1, 8).sum(-1) >= gone[t["name"]]).all()
        assert t["keep"] == 8 - gone[t["name"]]


def test_one_threshold_for_all(d):
    """global_magnitude as a plan, magnitude per tensor: no weight that stays is smaller than one that
    goes, whatever tensors they are in."""
    dense = load(os.path.join(d.root, "manlm.safetensors"))
    plan = {"method": "global_magnitude", "sparsity": 0.5}
    for params in ({"plan": plan}, None):
        if params is None:
            job, _ = d.analyze("manlm.safetensors")
            made = d.request("POST", "/v1/plans", {"analysis": job["result"]["analysis"], **plan})
            params = {"plan": made.json["id"]}
        path, report = prune(d, "manlm.safetensors", {**params, "method": "magnitude"})
        got = load(os.path.join(path, "manlm.safetensors"))
        gone = [np.abs(dense[t["tensor"]])[got[t["tensor"]] == 0].max() for t in report["tensors"]]
        kept = [np.abs(got[t["tensor"]])[got[t["tensor"]] != 0].min() for t in report["tensors"]]
        assert max(gone) <= min(kept)
        assert abs(report["achieved_sparsity"] - 0.5) < 1e-4


# --- what it is worth ---------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.5, 0.6, 0.7])
def test_sparsegpt_wanda_magnitude(d, sparsity):
    data = np.fromfile(os.path.join(TOP, "tests/data/manlm-eval.bin"), np.uint8)
    loss = {}
    for name, params in {"sparsegpt": {"method": "sparsegpt", "stats": STATS},
                         "wanda": {"method": "wanda", "stats": STATS},
                         "row": {"method": "magnitude", "selection": "row"},
                         "tensor": {"method": "magnitude"}}.items():
        path, report = prune(d, "manlm.safetensors", {"sparsity": sparsity, **params})
        assert abs(report["achieved_sparsity"] - sparsity) < 0.005
        loss[name] = nats_per_byte(load(os.path.join(path, "manlm.safetensors")), data, 4,
                                   max_seqs=24)
    assert loss["sparsegpt"] < loss["wanda"] < loss["row"], loss
    if sparsity == 0.5:
        assert loss["wanda"] < loss["tensor"], loss


def test_trim_is_never_worse_than_uniform(d):
    _, report = prune(d, "manlm.safetensors", {"sparsity": 0.7, "method": "trim", "stats": STATS})
    for t in report["tensors"]:
        assert t["trim"]["best"] >= t["trim"]["uniform"]
        assert abs(t["achieved"] - 0.7) < 0.005
    assert any(t["trim"]["best"] > t["trim"]["uniform"] for t in report["tensors"])


def test_trim_beyond_its_limit(d):
    """Rows keep the same share where TRIM has no choice to make."""
    _, report = prune(d, "manlm.safetensors", {"sparsity": 0.97, "method": "trim", "stats": STATS})
    assert all("trim" not in t and abs(t["achieved"] - 0.97) < 0.01 for t in report["tensors"])


def test_trim_by_gram(d):
    """Without tokens the Gram matrix serves."""
    arrays, _ = tensors(os.path.join(d.root, "manlm.stats.safetensors"))
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    keep = {k: np.frombuffer(raw, kinds[t]).reshape(shape)
            for k, (t, shape, raw) in arrays.items() if not k.endswith(".xlast")}
    path = os.path.join(d.root, "gram.stats.safetensors")
    write_safetensors(path, keep)
    names = {}
    for i in range(4):
        p = f"model.layers.{i}."
        names |= {p + "self_attn.k_proj": p + "self_attn.q_proj",
                  p + "self_attn.v_proj": p + "self_attn.q_proj",
                  p + "mlp.up_proj": p + "mlp.gate_proj"}
    with_metadata(path, {"n_seq": "128", "aliases": json.dumps(names)})
    _, report = prune(d, "manlm.safetensors", {"sparsity": 0.6, "method": "trim",
                                               "stats": {"path": "gram.stats.safetensors"}})
    assert all(t["trim"]["best"] >= t["trim"]["uniform"] > 0.5 for t in report["tensors"])


# --- what is refused ----------------------------------------------------------------------------


def test_refused(d, made):
    ok = {"sparsity": 0.5, "method": "magnitude"}
    fails(d, "manlm.safetensors", {"method": "magnitude"}, "/params/plan")
    fails(d, "manlm.safetensors", {**ok, "plan": "pln_" + "0" * 26}, "/params/plan")
    fails(d, "manlm.safetensors", {"sparsity": 0.5}, "/params/method")
    fails(d, "manlm.safetensors", {**ok, "method": "shear"}, "/params/method")
    fails(d, "manlm.safetensors", {**ok, "sparsity": 1.5}, "/params/sparsity")
    fails(d, "manlm.safetensors", {**ok, "method": "wanda"}, "/params/stats")
    fails(d, "manlm.safetensors", {**ok, "stats": {"path": "no.stats.safetensors"}},
          "/params/stats", 404)
    fails(d, "manlm.safetensors", {**ok, "stats": {"path": "/etc/passwd"}}, "/params/stats",
          403)
    fails(d, "manlm.safetensors",
          {"method": "magnitude",
           "plan": {"method": "owl", "sparsity": 0.5, "stats": {"path": "no.stats.safetensors"}}},
          "/params/plan/stats", 404)
    fails(d, "manlm.safetensors",
          {"method": "magnitude", "plan": {"method": "uniform", "sparsity": 0.5, "exclude": "("}},
          "/params/plan/exclude")
    fails(d, "manlm.safetensors", {**ok, "damping": 0.1}, "/params/damping")
    fails(d, "manlm.safetensors", {**ok, "n_of_m": {"keep": 5, "of": 4}}, "/params/n_of_m/keep")
    fails(d, "manlm.safetensors", {**ok, "n_of_m": {"keep": 2}}, "/params/n_of_m")
    fails(d, "manlm.safetensors", {**ok, "sparsities": 1}, "/params/sparsities")
    fails(d, "manlm.safetensors", {"plan": "pln_" + "0" * 26, "method": "magnitude"},
          "/params/plan")
    fails(d, "manlm.safetensors", {"plan": {"method": "uniform", "sparsity": 7},
                                   "method": "magnitude"}, "/params/plan/sparsity")
    fails(d, "manlm.safetensors", {**ok, "output": {"path": "../x"}}, "/params/output/path", 403)
    fails(d, "manlm.safetensors", {**ok, "output": {"path": "/tmp/x"}}, "/params/output/path", 403)
    fails(d, "manlm.safetensors", {**ok, "output": {"path": "no/such/dir"}}, "/params/output/path",
          404)
    os.makedirs(os.path.join(d.out, "taken"))
    fails(d, "manlm.safetensors", {**ok, "output": {"path": "taken"}}, "/params/output/path", 409)
    text = fails(d, "made.safetensors", {"sparsity": 0.5, "method": "sparsegpt",
                                         "stats": {"path": "made.stats.safetensors"}},
                 "/params/stats")
    assert '"gram"' in text and "layers.0" in text
    text = fails(d, "made.safetensors", {"sparsity": 0.5, "method": "wanda", "stats": STATS},
                 "/params/stats")
    assert "does not fit" in text
    fails(d, "made.safetensors", {"sparsity": 0.5, "method": "magnitude",
                                  "n_of_m": {"keep": 3, "of": 5}}, "/params/n_of_m")
    job, _ = d.analyze("manlm.safetensors")
    plan = d.request("POST", "/v1/plans", {"analysis": job["result"]["analysis"],
                                           "sparsity": 0.5}).json
    text = fails(d, "made.safetensors", {"plan": plan["id"], "method": "magnitude"},
                 "/params/plan")
    assert "does not have" in text
    assert os.listdir(os.path.join(d.out, "taken")) == []
    assert not [x for x in os.listdir(d.out) if x.startswith(".")]


def test_bad_statistics(d, made):
    arrays, _ = tensors(os.path.join(d.root, "manlm.stats.safetensors"))
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    base = {k: np.frombuffer(raw, kinds[t]).reshape(shape).copy()
            for k, (t, shape, raw) in arrays.items() if ".layers.0.mlp.down_proj" in k}
    key = "model.layers.0.mlp.down_proj"
    plan = {"method": "uniform", "sparsity": 0.5, "exclude": r"self_attn|gate_proj|up_proj|[123]\.mlp"}
    for kind, change, method in (("sumsq", np.nan, "wanda"), ("sumsq", -1.0, "wanda"),
                                 ("gram", np.inf, "sparsegpt")):
        bad = {k: x.copy() for k, x in base.items()}
        bad[f"{key}.{kind}"].flat[0] = change
        write_safetensors(os.path.join(d.root, "bad.safetensors"), bad)
        r = submit(d, "manlm.safetensors", {"plan": plan, "method": method,
                                            "stats": {"path": "bad.safetensors"}})
        job = d.wait_final(r.json["id"])
        assert job["state"] == "failed" and job["reason"] == "input_invalid", job
        assert key in job["error"]["detail"]
    skew = base[f"{key}.gram"].copy()
    skew[3, 5] *= 1.5
    for kind, value, text in (("gram", skew, "not symmetric"),
                              ("sumsq", base[f"{key}.sumsq"] * 2, "add up to"),
                              ("count", np.zeros(2, np.int64), "no tokens")):
        write_safetensors(os.path.join(d.root, "bad.safetensors"), {**base, f"{key}.{kind}": value})
        r = submit(d, "manlm.safetensors", {"plan": plan, "method": "sparsegpt",
                                            "stats": {"path": "bad.safetensors"}})
        assert text in d.wait_final(r.json["id"])["error"]["detail"]
    write_safetensors(os.path.join(d.root, "few.safetensors"),
                      {**base, f"{key}.count": np.array([500, 2])})
    _, report = prune(d, "manlm.safetensors", {"plan": plan, "method": "sparsegpt",
                                               "stats": {"path": "few.safetensors"}})
    assert "few_tokens" in {w["code"] for w in report["warnings"]}
    assert report["tensors"][0]["tokens"] == 500
    zero = {k: np.zeros_like(x) if k.endswith((".gram", ".sumsq")) else x for k, x in base.items()}
    write_safetensors(os.path.join(d.root, "bad.safetensors"), zero)
    r = submit(d, "manlm.safetensors", {"plan": plan, "method": "sparsegpt",
                                        "stats": {"path": "bad.safetensors"}})
    assert "always zero" in d.wait_final(r.json["id"])["error"]["detail"]


def test_weights_that_are_nan(d):
    w = np.ones((16, 16), np.float32)
    w[3, 4] = np.nan
    write_safetensors(os.path.join(d.root, "nan.safetensors"),
                      {"model.layers.0.q_proj.weight": w})
    text = fails(d, "nan.safetensors", {"sparsity": 0.5, "method": "magnitude"}, "/source")
    assert "NaN" in text


# --- crashes ------------------------------------------------------------------------------------


def big_model(root, shards=6):
    model = os.path.join(root, "big")
    os.makedirs(model)
    r = np.random.default_rng(1)
    where = {}
    for s in range(shards):
        name = f"model-{s + 1:05}-of-{shards:05}.safetensors"
        part = {f"model.layers.{2 * s + i}.{x}.weight":
                r.standard_normal((1024, 1024)).astype(np.float32)
                for i in range(2) for x in ("mlp.up_proj", "mlp.gate_proj", "self_attn.q_proj")}
        write_safetensors(os.path.join(model, name), part)
        where |= {k: name for k in part}
    with open(os.path.join(model, "model.safetensors.index.json"), "w") as f:
        json.dump({"weight_map": where}, f)
    return model


def settles(out, names):
    """What was noted is removed after the end of the job."""
    for _ in range(200):
        if sorted(os.listdir(out)) == names:
            return
        time.sleep(0.05)
    raise AssertionError(os.listdir(out))


def test_kill_and_go_on(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    d = Daemon(str(tmp_path), "--output-root", out, workers=1).start()
    big_model(d.root)
    params = {"sparsity": 0.5, "method": "magnitude", "output": {"path": "pruned"}}
    job = submit(d, "big", params, wait=0).json["id"]
    kept = kill_once_a_file_is_complete(d, out)
    assert not os.path.exists(os.path.join(out, "pruned"))
    d.start()
    final = d.wait_final(job)
    assert final["state"] == "succeeded" and final["attempt"] == 2
    settles(out, ["pruned"])
    assert_kept(kept, os.path.join(out, "pruned"))
    report = json.load(open(os.path.join(out, "pruned", "sparsity_plan.json")))
    assert report["achieved_sparsity"] == 0.5 and len(report["tensors"]) == 36
    d.stop()


def test_kill_and_go_on_where_the_server_keeps_the_output(tmp_path):
    """What an unfinished job wrote is not swept at start, whether it has its name yet or not."""
    d = Daemon(str(tmp_path), workers=1).start()
    big_model(d.root)
    job = submit(d, "big", {"sparsity": 0.5, "method": "magnitude"}, wait=0).json["id"]
    art = "art_" + job.removeprefix("job_")
    own = os.path.join(d.state, "artifacts")
    files = os.path.join(own, f".{art}.{job}.tmp")
    kept = kill_once_a_file_is_complete(d, own)
    os.rename(files, os.path.join(own, art))  # as if it had died just after giving the name
    d.start()
    final = d.wait_final(job)
    assert (final["state"], final["attempt"], final["result"]["artifact"]) == ("succeeded", 2, art)
    settles(own, [art])
    assert_kept(kept, os.path.join(own, art))
    manifest = d.get(f"/v1/artifacts/{art}").json
    assert sorted(f["name"] for f in manifest["files"]) == sorted(os.listdir(os.path.join(own, art)))
    for f in manifest["files"]:
        with open(os.path.join(own, art, f["name"]), "rb") as file:
            assert f["blake2b"] == hashlib.blake2b(file.read()).hexdigest()[:64]
    d.stop()


def test_cancel_leaves_nothing(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    with Daemon(str(tmp_path), "--output-root", out, workers=1) as d:
        big_model(d.root)
        job = submit(d, "big", {"sparsity": 0.5, "method": "magnitude",
                                "output": {"path": "pruned"}}, wait=0).json["id"]
        for _ in range(3000):
            if d.get(f"/v1/jobs/{job}").json["progress"]["layers_done"] > 0:
                break
            time.sleep(0.01)
        d.request("POST", f"/v1/jobs/{job}:cancel")
        assert d.wait_final(job)["state"] == "cancelled"
        settles(out, [])


def test_a_worker_that_dies(tmp_path):
    out = os.path.join(str(tmp_path), "out")
    os.makedirs(out)
    with Daemon(str(tmp_path), "--output-root", out, workers=1) as d:
        big_model(d.root)
        job = submit(d, "big", {"sparsity": 0.5, "method": "magnitude",
                                "output": {"path": "pruned"}}, wait=0).json["id"]
        for _ in range(400):
            if d.get(f"/v1/jobs/{job}").json["progress"]["layers_done"] > 2:
                break
            time.sleep(0.01)
        for pid in d.children():
            os.kill(pid, signal.SIGKILL)
        final = d.wait_final(job)
        assert final["state"] == "succeeded", final
        report = json.load(open(os.path.join(out, "pruned", "sparsity_plan.json")))
        assert report["achieved_sparsity"] == 0.5
