"""What a schema cannot say about a valid request. Requests meant to be invalid are left alone."""

import base64
import hashlib
import itertools
import re

import schemathesis

EXAMPLES = {r"h\.[0-9]+\.mlp"}
serial = itertools.count()


def plausible(params):
    """Regular expressions are POSIX's, and the two limits on eigenvalues must leave room."""
    for name in ("include", "exclude"):
        value = params.get(name)
        if isinstance(value, str) and value not in EXAMPLES:
            params[name] = re.sub(r"[^A-Za-z0-9_.]", "", value) or "x"
    low, high = params.get("min_evals", 10), params.get("max_evals")
    if low is not None and high is not None and 0 < high < low:
        params["max_evals"] = low
    if params.get("products"):  # of the model's own weights
        params.pop("base", None)
    if params.get("adapter") == "merged":  # what there is none of
        del params["adapter"]
    if isinstance(params.get("fit"), dict):  # options that go together, and without replicates
        params["fit"] = {"law": params["fit"].get("law", "pl")}
        params.pop("bootstrap", None)


def without_nul(value):
    """No string holds U+0000: the parser of bodies knows none."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [without_nul(v) for v in value]
    if isinstance(value, dict):
        return {without_nul(k) if k else k: without_nul(v) for k, v in value.items()}
    return value


def possible(body):
    """A decision that exists: a known metric, in blocks, and bounds that leave room."""
    if "metric" in body:
        body["metric"] = "alpha"
    if "total" in body:
        body["minimum"] = min(body.get("minimum", 1), 1)
        if "metrics" in body:
            body["metrics"] = {"layers.0.w": {"alpha": 2.5}}
    if "layers" in body:
        body["layers"] = [{"name": "layers.0.w.weight", "eigs": [0.5, 1, 2, 4, 8, 16]}]
    body.pop("limits", None)
    if isinstance(body.get("assign"), dict):
        body["assign"].pop("normalize", None)
    if "layers" not in body:
        body.pop("fit", None)
    body.pop("freeze_from", None)  # an analysis that there is
    body.pop("window", None)  # of a block that the model has
    for part in (body, body.get("assign")):
        if isinstance(part, dict) and part.get("unit") == "sliding_window":
            del part["unit"]
        if isinstance(part, dict) and part.get("fn") == "zscore":
            part["fn"] = "linear"  # looks into blocks


PLAN_MEMBERS = {"alphapruning": {"epsilon", "mapping", "inner_epsilon", "mode", "direction",
                                 "peak_compat"},
                "owl": {"width"}, "dlp": {"width"}, "atp": {"beta"}}
PLAN_TENSOR = {"alpha_mid": 2.5, "outlier_ratio": 0.1, "score": 1, "shape": [4, 8]}


def plannable(body):
    """Members that the method takes, a tensor that it can plan for, and a target within reach."""
    if body.get("method") in ("alphaq", "global_magnitude", "lamp"):  # bits; the weights
        body["method"] = "uniform"
    takes = PLAN_MEMBERS.get(body.get("method", "alphapruning"), set())
    for name in set(body) - takes - {"analysis", "metrics", "method", "m", "sparsity"}:
        del body[name]
    if "m" in body:
        body.pop("direction", None)  # ranks have no patterns
    if body.get("mapping") != "mixed":
        body.pop("inner_epsilon", None)
    if "metrics" in body or "analysis" not in body or "width" in takes:
        body.pop("analysis", None)
        body["metrics"] = {"layers.0.w": PLAN_TENSOR}
    body["sparsity"] = 0.5 if "m" in body else min(body.get("sparsity", 0.5), 0.8)


def plan_job(params):
    """As above, of a job; what needs numbers sent along is another method."""
    if params.get("method", "alphapruning") not in ("alphapruning", "atp"):
        params["method"] = "uniform"
    params["sparsity"] = min(params.get("sparsity", 0.5), 0.8)
    for name in set(params) - PLAN_MEMBERS.get(params.get("method", "alphapruning"), set()) - \
            {"method", "sparsity", "analyze"}:
        del params[name]
    if params.get("mapping") != "mixed":
        params.pop("inner_epsilon", None)
    if isinstance(params.get("analyze"), dict):
        plausible(params["analyze"])
        for name in ("base", "adapter", "products"):  # a plan is of a model's own weights
            params["analyze"].pop(name, None)


PRUNE_METHODS = {"magnitude", "wanda", "wanda_variant", "ria", "sparsegpt", "trim", "external",
                 "dsnot", "admm", "alps", "expert_drop", "width"}


def prune_job(params):
    """Members that go together, and no statistics, which no invented path leads to."""
    kept = {k: v for k, v in params.items() if k in ("selection", "rounding")}
    params.clear()
    params.update(kept, method="magnitude", sparsity=0.5)


SMOOTH_METHODS = {"svd", "detX", "alpha_min", "rmt", "sharpness"}


def smooth_job(params):
    """Members that go together, and no place, which no invented path is."""
    if params["method"] != "svd" or "k" in params:
        params.pop("percent", None)
    if params["method"] != "svd":
        params.pop("k", None)
    for name in ("output", "layers", "include", "exclude"):
        params.pop(name, None)


def distances_job(body):
    """Of a model from itself, and layers that it has."""
    body["params"]["base"] = body["source"]
    for name in ("layers", "include", "exclude", "types"):
        body["params"].pop(name, None)


def comparable(body):
    """Models whose metrics have the same names, and nothing that needs a whole grid of them."""
    body.pop("contest", None)
    body.pop("expected", None)
    body["replicates"] = min(body.get("replicates", 99), 99)
    for i, row in enumerate(body["rows"]):
        numbers = [x for x in row["metrics"].values() if x is not None]
        body["rows"][i] = {"group": row["group"][:32], "quality": row["quality"],
                           "metrics": {"alpha": numbers[0] if numbers else 1}}


@schemathesis.hook
def before_call(context, case, kwargs):
    meta = getattr(case, "meta", None)
    if meta is None or not meta.generation.mode.is_positive:
        return
    for name, value in (case.path_parameters or {}).items():
        if str(value).endswith(":cancel"):  # guessed from links.cancel, which is no id
            case.path_parameters[name] = value[: -len(":cancel")]
    if case.query and "page_token" in case.query:
        case.query["page_token"] = ""  # tokens are signed: no invented one is valid
    if case.query and "kind" in case.query:  # its limit is in bytes
        case.query["kind"] = str(case.query["kind"]).encode("ascii", "ignore").decode()
    for name in ("metric", "metrics"):
        if case.query and name in case.query and "comparisons" in str(case.path):
            case.query[name] = "alpha"  # a column, and not of every picture
            if "plot" in str(case.path):
                case.query["kind"] = "trend"
    if case.query and case.query.get("format") == "npy":
        for name in ("bins", "scale"):
            case.query.pop(name, None)  # a histogram has no such form
    if case.headers and "Content-Digest" in case.headers:
        body = getattr(case.body, "data", case.body)
        if isinstance(body, bytes):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            case.headers["Content-Digest"] = f"sha-256=:{digest}:"
    for name, value in (case.headers or {}).items():
        if len(str(value).encode()) > 1024:
            case.headers[name] = str(value)[:256]  # the limit is in bytes
    if case.headers and "If-Match" in case.headers:
        case.headers["If-Match"] = "*"  # an invented tag is a stale one
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(serial)}"  # one key, one request
    if isinstance(case.body, dict):
        case.body = without_nul(case.body)
    if isinstance(case.body, dict) and isinstance(case.body.get("params"), dict):
        plausible(case.body["params"])
    if isinstance(case.body, dict) and "kind" in case.body:
        params = case.body.get("params")
        if params and params.get("method") in PRUNE_METHODS:
            case.body["kind"] = "prune"
            prune_job(params)
        elif params and params.get("method") in SMOOTH_METHODS:
            case.body["kind"] = "smooth"
            smooth_job(params)
        elif params and "cka" in params:
            case.body["kind"] = "distances"
            distances_job(case.body)
        elif params and {"sparsity", "bits"} & set(params):
            case.body["kind"] = "plan"
            plan_job(params)
        elif params and "output" in params:  # its place, which no invented path is
            case.body.update(kind="decode", params=None)
        else:
            case.body["kind"] = "analyze"
    if isinstance(case.body, dict) and "rows" in case.body:
        comparable(case.body)
    elif isinstance(case.body, dict) and "kind" not in case.body:
        possible(case.body)
    if isinstance(case.body, dict) and ("sparsity" in case.body or "bits" in case.body):
        plannable(case.body)
