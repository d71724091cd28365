"""openapi.yaml keeps the rules of spectral.yaml, and each of our own rules can find fault."""

import copy
import json
import os
import subprocess

import pytest
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
SPECTRAL = os.environ.get("SPECTRAL")

pytestmark = pytest.mark.skipif(not SPECTRAL, reason="the linter cannot be had here")


def lint(*paths):
    """[(file, rule, where)] of all that is wrong."""
    r = subprocess.run([SPECTRAL, "lint", "--quiet", "-f", "json", "-r",
                        os.path.join(HERE, "spectral.yaml"), *paths],
                       capture_output=True, text=True, timeout=120)
    assert r.returncode in (0, 1), r.stdout + r.stderr
    return [(os.path.basename(f["source"]), f["code"], "/".join(map(str, f["path"])))
            for f in json.loads(r.stdout or "[]")]


def test_the_document_keeps_the_rules():
    assert lint(os.path.join(TOP, "openapi.yaml")) == []


def breaches():
    """{rule: change that breaks it}"""
    jobs = lambda d: d["paths"]["/v1/jobs"]
    job = lambda d: d["components"]["schemas"]["Job"]["properties"]
    return {
        "own-security": lambda d: d.pop("security"),
        "own-summary": lambda d: jobs(d)["get"].pop("summary"),
        "operation-description": lambda d: jobs(d)["get"].pop("description"),
        "operation-operationId": lambda d: jobs(d)["get"].pop("operationId"),
        "operation-tags": lambda d: jobs(d)["get"].pop("tags"),
        "own-default-problem": lambda d: jobs(d)["get"]["responses"].pop("default"),
        "own-request-example": lambda d: jobs(d)["post"]["requestBody"]["content"]
        ["application/json"].pop("examples"),
        "own-response-example": lambda d: jobs(d)["get"]["responses"]["200"]["content"]
        ["application/json"].pop("examples"),
        "own-array-limit": lambda d: d["components"]["schemas"]["JobList"]["properties"]["jobs"]
        .pop("maxItems"),
        "own-string-limit": lambda d: job(d)["kind"].pop("maxLength"),
        "own-integer-limit": lambda d: job(d)["version"].pop("maximum"),
        "own-path-kebab-case": lambda d: d["paths"].update({"/v1/odd_path": jobs(d)}),
        "own-snake-case": lambda d: job(d).update(oddName={"type": "boolean"}),
        "own-list-pages": lambda d: jobs(d)["get"]["parameters"].pop(),
        "oas3-valid-media-example": lambda d: jobs(d)["get"]["responses"]["200"]["content"]
        ["application/json"]["examples"].update(bad={"value": {"jobs": 1}}),
    }


def references(node):
    """Every $ref in the node."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [value] if key == "$ref" and isinstance(value, str) else references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def one_path(document, path):
    """The document with no path but one, and of the components what that needs: sooner read."""
    small = {**document, "paths": {path: document["paths"][path]}, "components": {}}
    if "securitySchemes" in document["components"]:
        small["components"]["securitySchemes"] = document["components"]["securitySchemes"]
    todo = set(references(small))
    while todo:
        _, _, section, name = todo.pop().split("/")
        into = small["components"].setdefault(section, {})
        if name not in into:
            into[name] = document["components"][section][name]
            todo |= set(references(into[name]))
    return small


def test_every_rule_can_fail(tmp_path):
    with open(os.path.join(TOP, "openapi.yaml")) as f:
        good = one_path(yaml.load(f, Loader=yaml.CSafeLoader), "/v1/jobs")
    paths = []
    for rule, change in breaches().items():
        broken = copy.deepcopy(good)
        change(broken)
        paths.append(str(tmp_path / f"{rule}.json"))
        with open(paths[-1], "w") as f:
            json.dump(broken, f)
    found = {(name, rule) for name, rule, _ in lint(*paths)}
    assert {rule for rule in breaches() if (rule + ".json", rule) not in found} == set()


def test_no_own_rule_is_untried():
    with open(os.path.join(HERE, "spectral.yaml")) as f:
        rules = yaml.safe_load(f)["rules"]
    assert {r for r in rules if r.startswith("own-")} <= set(breaches())
