"""openapi.yaml against the daemon: the judge can find fault, and every example works."""

import copy
import email.message
import json
import os
import random
import re
import shutil
import tarfile
import urllib.parse

import jsonschema
import pytest

from artifact import prepared, put
from contract import Contract, Mismatch, contract
from daemon import TOP
from quick import Validator, formats, quick

EXAMPLES = os.path.join(TOP, "examples")
CONTRACT = contract()


# --- the judge can find fault ----------------------------------------------------------------


def judge(reply, method="GET", path="/v1/jobs", sent_headers=None, sent=None, by=CONTRACT):
    by.check(method, path, sent_headers, sent, reply.status, reply.headers, reply.body)


class Changed:
    """A copy of a reply, to plant faults in."""

    def __init__(self, reply, **fields):
        self.status = fields.get("status", reply.status)
        self.body = fields.get("body", reply.body)
        self.headers = email.message.Message()
        for name, value in {**dict(reply.headers.items()), **fields.get("headers", {})}.items():
            if value is not None:
                self.headers[name] = value


def edited(reply, edit):
    value = copy.deepcopy(reply.json)
    edit(value)
    return Changed(reply, body=json.dumps(value).encode())


def test_planted_mismatches_are_found(daemon):
    daemon.submit("manlm.safetensors", labels={"run": "a"})
    good = daemon.get("/v1/jobs")
    judge(Changed(good))
    job = lambda v: v["jobs"][0]
    for edit in (lambda v: v.update(surplus=1),
                 lambda v: v.pop("next_page_token"),
                 lambda v: job(v).update(surplus=None),
                 lambda v: job(v).pop("state"),
                 lambda v: job(v).update(state="asleep"),
                 lambda v: job(v).update(version="4"),
                 lambda v: job(v).update(created_at="yesterday"),
                 lambda v: job(v)["progress"].update(fraction=1.5),
                 lambda v: job(v)["labels"].update(run=7)):
        with pytest.raises(Mismatch):
            judge(edited(good, edit))
    for fields in ({"status": 203}, {"status": 500}, {"headers": {"Content-Type": "text/html"}},
                   {"headers": {"X-Surprise": "1"}}, {"headers": {"X-Request-Id": None}},
                   {"headers": {"Link": "x" * 5000}}):
        with pytest.raises(Mismatch):
            judge(Changed(good, **fields))


def test_accepted_requests_must_be_documented(daemon):
    good = daemon.get("/v1/jobs")
    for query in ("surprise=1", "page_size=-1", "state=asleep"):
        with pytest.raises(Mismatch):
            judge(good, path="/v1/jobs?" + query)
    sent = {"kind": "analyze", "source": {"path": "manlm.safetensors"}}
    headers = {"Content-Type": "application/json"}
    made = daemon.request("POST", "/v1/jobs", sent)
    judge(made, "POST", "/v1/jobs", headers, json.dumps(sent))
    with pytest.raises(Mismatch):
        judge(made, "POST", "/v1/jobs", headers, json.dumps({**sent, "surprise": 1}))
    with pytest.raises(Mismatch):
        judge(made, "POST", "/v1/jobs", {"Content-Type": "text/plain"}, json.dumps(sent))


def test_planted_faults_of_problems_are_found(daemon):
    lost = daemon.get("/nothing")
    judge(Changed(lost), path="/nothing")
    for fields in ({"body": b"{}"}, {"status": 200}, {"headers": {"Content-Type": "text/plain"}},
                   {"status": 400}):
        with pytest.raises(Mismatch):
            judge(Changed(lost, **fields), path="/nothing")
    refused = daemon.request("PUT", "/v1/jobs", {})
    with pytest.raises(Mismatch):
        judge(Changed(refused, headers={"Allow": "GET"}), "PUT")


def test_a_changed_document_is_noticed(daemon):
    """The fault may as well be in the document."""
    reply = daemon.get("/v1/jobs")
    with open(os.path.join(TOP, "openapi.yaml")) as f:
        text = f.read()
    other = Contract(text.replace("required: [jobs, next_page_token]",
                                  "required: [jobs, next_page_token, total]"))
    with pytest.raises(Mismatch):
        judge(reply, by=other)
    with pytest.raises(Mismatch):
        judge(reply, by=Contract(text.replace("  /v1/jobs:\n", "  /v1/tasks:\n")))


ODD = [None, True, 0, -1, 1.5, 1e300, "", "x" * 5000, [], {}, [{}], {"surplus": 1}]


def variants(value, draw, count=8):
    """Copies of a value, each with one place of it changed, removed, or added to."""
    for _ in range(count):
        copied = at = [copy.deepcopy(value)]
        key = 0
        while isinstance(at[key], (dict, list)) and at[key] and draw.random() < 0.8:
            at = at[key]
            key = draw.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if draw.random() < 0.2 and at is not copied:
            del at[key]
        elif draw.random() < 0.3 and isinstance(at[key], dict):
            at[key]["surplus"] = draw.choice(ODD)
        else:
            at[key] = draw.choice(ODD)
        yield copied[0]


def test_the_quick_judge_lets_nothing_pass_that_the_slow_one_refuses():
    draw = random.Random(7)
    passed = refused = 0
    for param in response_examples():
        schema, value = param.values
        schema = CONTRACT.flat(schema, closed=True)
        slow = jsonschema.Draft202012Validator(schema, format_checker=formats)
        careful = Validator(schema, format_checker=formats)
        for v in [value, *variants(value, draw)]:
            right = slow.is_valid(v)
            assert careful.is_valid(v) == right and (right or not quick(schema)(v)), (param.id, v)
            passed += quick(schema)(v)
            refused += not right
    assert passed > 40 and refused > 500  # there was some of both


# --- examples of the document ----------------------------------------------------------------


def media_examples(media):
    """(name, value) of one content type; a value kept in a file is read."""
    if "example" in media:
        yield "example", media["example"]
    for name, example in media.get("examples", {}).items():
        example = CONTRACT.resolve(example)
        if "value" in example:
            yield name, example["value"]


def response_examples():
    for template, method, op in CONTRACT.operations():
        for status, response in op["responses"].items():
            for ctype, media in CONTRACT.resolve(response).get("content", {}).items():
                for name, value in media_examples(media):
                    yield pytest.param(media["schema"], value,
                                       id=f"{op['operationId']}-{status}-{ctype}-{name}")


@pytest.mark.parametrize("schema,value", response_examples())
def test_response_example_fits_its_schema(schema, value):
    CONTRACT.validate(schema, value, "example", closed=True)


class World:
    """A daemon with one of everything, so that ids in examples stand for something."""

    def __init__(self, tmp):
        root = os.path.join(tmp, "models")
        for place in ("llama-7b/checkpoint-11000/model.safetensors",
                      "llama-7b/checkpoint-12000/model.safetensors", "gpt2/model.safetensors",
                      "qwen3-30b-a3b/model.safetensors", "manlm.safetensors"):
            os.makedirs(os.path.dirname(os.path.join(root, place)), exist_ok=True)
            shutil.copy(os.path.join(EXAMPLES, "manlm.safetensors"), os.path.join(root, place))
        shutil.copy(os.path.join(EXAMPLES, "manlm.stats.safetensors"),
                    os.path.join(root, "llama-7b/stats.safetensors"))
        shutil.copy(os.path.join(EXAMPLES, "manlm.stats.safetensors"),
                    os.path.join(root, "qwen3-30b-a3b.stats.safetensors"))
        out = os.path.join(tmp, "out")
        os.makedirs(out)
        self.daemon = prepared(tmp, "--output-root", out, root=root)
        self.artifacts = [put(self.daemon, n, {"model.safetensors": bytes(2 << 20)})
                          for n in range(16)]
        self.ids = {}
        self.layer = None

    def begin(self):
        """What the examples speak of; made anew for each, since some delete it."""
        job = self.daemon.submit("manlm.safetensors", {"randomize": True, "traps": True},
                                 labels={"run": "llama-7b", "step": "1"}).json
        self.ids = {"job": job["id"], "ana": job["result"]["analysis"],
                    "mdl": job["result"]["model"]}
        other = self.daemon.submit("manlm.safetensors", {"randomize": True, "traps": True},
                                   labels={"run": "llama-7b", "step": "2"}).json
        self.ids["other"] = other["result"]["analysis"]
        same = {"kind": "distances", "source": {"path": "manlm.safetensors"},
                "params": {"base": {"path": "manlm.safetensors"}}}
        self.ids["dst"] = self.daemon.request("POST", "/v1/jobs", same,
                                              {"Prefer": "wait=60"}).json["result"]["distances"]
        self.layer = "model.layers.0.mlp.up_proj"
        if "/v1/plans" in CONTRACT.doc["paths"]:
            plan = self.daemon.request("POST", "/v1/plans",
                                       {"analysis": self.ids["ana"], "sparsity": 0.6})
            self.ids["pln"] = plan.json["id"]
        if "/v1/uploads" in CONTRACT.doc["paths"]:
            with open(os.path.join(EXAMPLES, "manlm.safetensors"), "rb") as f:
                r = self.daemon.request("POST", "/v1/uploads?name=m.safetensors", f.read(),
                                        {"Content-Type": "application/octet-stream"})
            self.ids["upl"] = r.json["id"]
        while self.daemon.get(f"/v1/artifacts/{self.artifacts[-1]}").status == 404:
            self.artifacts.pop()  # an example deleted it
        self.ids["art"] = self.artifacts[-1]

    def real(self, value):
        """An example with its invented ids and paths made real; of two analyses, two."""
        first = []

        def id_of(m):
            if m[1] == "ana" and not first:
                first.append(m[0])
            another = m[1] == "ana" and m[0] != first[0]
            return self.ids.get("other" if another else m[1], m[0])

        text = re.sub(r"\b(job|ana|mdl|upl|pln|art|dst)_[0-9a-z]{26}", id_of, json.dumps(value))
        return json.loads(text.replace("/models/", self.daemon.root + "/"))

    def path(self, template):
        """A path with every parameter filled in."""
        values = {"job": self.ids["job"], "analysis": self.ids["ana"], "model": self.ids["mdl"],
                  "upload": self.ids.get("upl"), "layer": self.layer,
                  "plan": self.ids.get("pln"), "artifact": self.ids["art"],
                  "distances": self.ids["dst"], "name": "model.safetensors"}
        return re.sub(r"\{(\w+)\}", lambda m: urllib.parse.quote(values[m[1]], safe=""), template)

    def needed_headers(self, op, path):
        """Headers the operation cannot do without."""
        headers = {}
        for p in op["parameters"]:
            if p["in"] == "header" and p.get("required"):
                assert p["name"] == "If-Match", p
                headers["If-Match"] = self.daemon.get(path).headers["ETag"]
        return headers

    def body_of(self, ctype, value, tmp):
        if ctype == "application/octet-stream":
            with open(os.path.join(EXAMPLES, "manlm.safetensors"), "rb") as f:
                return f.read()
        if ctype == "application/x-tar":
            name = os.path.join(tmp, "model.tar")
            with tarfile.open(name, "w") as tar:
                tar.add(os.path.join(EXAMPLES, "manlm.safetensors"), "model.safetensors")
            with open(name, "rb") as f:
                return f.read()
        return json.dumps(self.real(value))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(str(tmp_path_factory.mktemp("world")))
    with w.daemon:
        yield w


def request_examples():
    for template, method, op in CONTRACT.operations():
        content = CONTRACT.resolve(op.get("requestBody", {})).get("content", {})
        for ctype, media in content.items():
            for name, example in media.get("examples", {"example": media}).items():
                yield pytest.param(template, method, op, ctype, example.get("value"),
                                   id=f"{op['operationId']}-{ctype}-{name}")
        if not content:
            yield pytest.param(template, method, op, None, None, id=op["operationId"])


@pytest.mark.parametrize("template,method,op,ctype,value", request_examples())
def test_request_example_works(world, tmp_path, template, method, op, ctype, value):
    world.begin()
    path = world.path(template)
    headers = world.needed_headers(op, path)
    needed = {p["name"]: world.real(next(parameter_examples(p)))
              for p in op["parameters"] if p["in"] == "query" and p.get("required")}
    target = path + ("?" + urllib.parse.urlencode(needed) if needed else "")
    body = None
    if ctype:
        headers["Content-Type"] = ctype
        body = world.body_of(ctype, value, str(tmp_path))
    r = world.daemon.request(method, target, body, headers)
    assert str(r.status) in op["responses"] and r.status < 300, (r.status, r.body)


def parameter_examples(p):
    """Examples as they are written in a URL or a header."""
    values = [p["example"]] if "example" in p else []
    values += [CONTRACT.resolve(e)["value"] for e in p.get("examples", {}).values()]
    for value in values:
        yield ",".join(map(str, value)) if isinstance(value, list) else str(value)


def optional_parameters():
    for template, method, op in CONTRACT.operations():
        if method != "GET":
            continue
        for p in op["parameters"]:
            if p["in"] == "path":
                continue
            values = list(parameter_examples(p))
            for enum in [CONTRACT.resolve(p["schema"]).get("enum", [])]:
                values += [v for v in enum if v not in values]
            for value in values:
                yield pytest.param(template, op, p, value,
                                   id=f"{op['operationId']}-{p['name']}-{value}")


@pytest.mark.parametrize("template,op,p,value", optional_parameters())
def test_parameter_example_works(world, template, op, p, value):
    if not world.ids:
        world.begin()
    path = world.path(template)
    query = {q["name"]: world.real(next(parameter_examples(q))) for q in op["parameters"]
             if q["in"] == "query" and q.get("required")}
    headers = {}
    if p["in"] == "query":
        query[p["name"]] = world.real(value)
    else:
        headers[p["name"]] = value
    target = path + ("?" + urllib.parse.urlencode(query) if query else "")
    r = world.daemon.request("GET", target, headers=headers)
    assert r.status < 400, (target, r.status, r.body)
