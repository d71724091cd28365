"""openapi.yaml as a judge: every reply the tests get is held against it.

A reply must have a documented status (or be a problem document), a documented content type, only
documented headers, and a body that fits its schema and has no member the schema does not name.
A request that succeeded must have been a documented one: no parameter or member passes in silence.
"""

import gzip
import json
import os
import re
import urllib.parse

import jsonschema
import yaml

from quick import Validator, formats, quick

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
METHODS = ("get", "put", "post", "patch", "delete")

# Headers of HTTP itself, of every reply or of every problem; others must be documented where they
# are sent.
COMMON_HEADERS = {
    "allow", "cache-control", "connection", "content-encoding", "content-length", "content-type",
    "date", "keep-alive", "retry-after", "transfer-encoding", "traceparent", "vary",
    "x-content-type-options", "x-request-id"}

class Mismatch(AssertionError):
    """A reply or an accepted request that openapi.yaml does not describe."""


class Contract:
    def __init__(self, text):
        self.doc = yaml.load(text, Loader=yaml.CSafeLoader)
        self.routes = []
        self.validators = {}
        for template, item in self.doc["paths"].items():
            pattern = "".join("[^/]+" if part.startswith("{") else re.escape(part)
                              for part in re.split(r"(\{\w+\})", template))
            literal = len(re.sub(r"\{\w+\}", "", template))
            self.routes.append((literal, re.compile(pattern), template, item))
        self.routes.sort(key=lambda r: -r[0])

    # --- the document --------------------------------------------------------------------------

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            at = self.doc
            for key in node["$ref"][2:].split("/"):
                at = at[key.replace("~1", "/").replace("~0", "~")]
            node = at
        return node

    def operations(self):
        """(template, METHOD, operation) of all; parameters of the path are among its own."""
        for template, item in self.doc["paths"].items():
            for method in METHODS:
                if method in item:
                    yield template, method.upper(), self.operation(item, method)

    def operation(self, item, method):
        op = dict(item[method])
        op["parameters"] = [self.resolve(p) for p in
                            item.get("parameters", []) + op.get("parameters", [])]
        return op

    def find(self, path):
        for _, pattern, template, item in self.routes:
            if pattern.fullmatch(path):
                return template, item
        return None, None

    def flat(self, schema, closed, inside=()):
        """The schema without references. `closed`: objects that list their properties have no
        others; openapi.yaml leaves them open, because clients must ignore what they do not know."""
        if isinstance(schema, list):
            return [self.flat(s, closed, inside) for s in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            assert schema["$ref"] not in inside, "recursive schemas are not expected"
            rest = {k: v for k, v in schema.items() if k != "$ref"}
            target = self.flat(self.resolve(schema), closed, inside + (schema["$ref"],))
            return {**target, **self.flat(rest, closed, inside)} if rest else target
        out = {}
        for key, value in schema.items():
            if key == "properties":
                out[key] = {k: self.flat(v, closed, inside) for k, v in value.items()}
            elif key in ("example", "examples", "enum", "const", "default"):
                out[key] = value
            else:
                out[key] = self.flat(value, closed and key not in ("allOf", "if", "not"), inside)
        if closed and ("properties" in out or "allOf" in out) and \
                "additionalProperties" not in out and "patternProperties" not in out:
            combined = {"allOf", "oneOf", "anyOf"} & set(out)
            out["unevaluatedProperties" if combined else "additionalProperties"] = False
        return out

    def validator(self, schema, closed):
        key = (id(schema), closed)
        if key not in self.validators:
            self.validators[key] = Validator(self.flat(schema, closed), format_checker=formats)
        return self.validators[key]

    def validate(self, schema, value, what, closed=False):
        validator = self.validator(schema, closed)
        if quick(validator.schema)(value):
            return
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
        if error:
            raise Mismatch(f"{what}: at /{'/'.join(map(str, error.absolute_path))}: "
                           f"{error.message[:600]}")

    # --- requests ------------------------------------------------------------------------------

    def typed(self, schema, text):
        """The value that a parameter's or header's text stands for."""
        schema = self.resolve(schema)
        types = schema.get("type", [])
        types = types if isinstance(types, list) else [types]
        if "integer" in types and re.fullmatch(r"-?\d+", text):
            return int(text)
        if "number" in types and re.fullmatch(r"-?[\d.]+([eE][-+]?\d+)?", text):
            return float(text)
        if "boolean" in types and text in ("true", "false"):
            return text == "true"
        return text.split(",") if "array" in types else text

    def check_request(self, op, what, query, headers, body):
        known = {p["name"]: p for p in op["parameters"] if p["in"] == "query"}
        for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
            if name not in known:
                raise Mismatch(f"{what}: query parameter {name} was accepted, is not documented")
            schema = known[name]["schema"]
            self.validate(schema, self.typed(schema, value), f"{what}: query parameter {name}")
        content_type = next((v for k, v in (headers or {}).items()
                             if k.lower() == "content-type"), "").split(";")[0]
        content = self.resolve(op.get("requestBody", {})).get("content", {})
        if not body or not content:
            return  # a body nobody asked for is read and ignored
        if content_type not in content:
            raise Mismatch(f"{what}: a body of type {content_type!r} was accepted, not documented")
        if content_type.endswith("json"):
            self.validate(content[content_type]["schema"], json.loads(body),
                          f"{what}: accepted request body")

    # --- replies -------------------------------------------------------------------------------

    def check_problem(self, what, status, content_type, body):
        if status < 400:
            raise Mismatch(f"{what}: status {status} is not documented")
        if content_type != "application/problem+json":
            raise Mismatch(f"{what}: undocumented content type {content_type!r} of status {status}")
        problem = json.loads(body) if body is not None else None
        if problem is not None:
            self.validate(self.doc["components"]["schemas"]["Problem"], problem,
                          f"{what}: problem", closed=True)
            if problem["status"] != status:
                raise Mismatch(f"{what}: the problem says {problem['status']}, HTTP {status}")

    def check_headers(self, what, documented, headers):
        for name, header in documented.items():
            header = self.resolve(header)
            value = headers.get(name)
            if value is None:
                if header.get("required"):
                    raise Mismatch(f"{what}: header {name} is missing")
                continue
            self.validate(header["schema"], self.typed(header["schema"], value),
                          f"{what}: header {name}")
        lower = {name.lower() for name in documented}
        for name in headers.keys():
            if name.lower() not in COMMON_HEADERS | lower:
                raise Mismatch(f"{what}: header {name} is not documented")
        if not headers.get("X-Request-Id"):
            raise Mismatch(f"{what}: X-Request-Id is missing")

    def check_body(self, what, content, content_type, headers, body):
        if content_type not in content:
            raise Mismatch(f"{what}: content type {content_type!r} is not documented")
        if body is None:
            return
        schema = content[content_type].get("schema", {})
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if content_type.endswith("json"):
            self.validate(schema, json.loads(body), what, closed=True)
        elif content_type.startswith("text/"):
            self.validate(schema, body.decode(), what)

    def check_reply(self, op, what, head, status, headers, body):
        responses = op["responses"]
        documented = self.resolve(responses.get(str(status), responses.get("default", {})))
        content_type = (headers.get("Content-Type") or "").split(";")[0]
        self.check_headers(what, documented.get("headers", {}), headers)
        content = documented.get("content", {})
        if str(status) not in responses:
            self.check_problem(what, status, content_type, None if head else body)
        elif not content:
            if body:
                raise Mismatch(f"{what}: a body that is not documented")
        elif content_type == "application/problem+json" and content_type in content:
            self.check_problem(what, status, content_type, None if head else body)
        else:
            self.check_body(what, content, content_type, headers, None if head else body)

    def check(self, method, target, request_headers, request_body, status, headers, body):
        """Raise Mismatch when this exchange is not as documented. `headers`: of the reply, with
        get() and keys() that ignore case."""
        path, _, query = target.partition("?")
        template, item = self.find(path)
        what = f"{method} {template or path}: {status}"
        head = method == "HEAD"
        name = "get" if head and item and "head" not in item else method.lower()
        if item is None or name not in item:
            self.check_problem(what, status, (headers.get("Content-Type") or "").split(";")[0],
                               None if head else body)
            if item is not None and status == 405:
                self.check_allow(what, item, headers.get("Allow") or "")
            return
        op = self.operation(item, name)
        self.check_reply(op, what, head, status, headers, body)
        if 200 <= status < 300:
            self.check_request(op, what, query, request_headers, request_body)

    def check_allow(self, what, item, allow):
        want = {m.upper() for m in METHODS + ("head",) if m in item}
        if "GET" in want:
            want.add("HEAD")
        if set(allow.split(", ")) != want:
            raise Mismatch(f"{what}: Allow says {allow}, openapi.yaml {sorted(want)}")


_contract = None


def contract():
    """openapi.yaml of this tree, read once."""
    global _contract
    if _contract is None:
        with open(os.path.join(TOP, "openapi.yaml")) as f:
            _contract = Contract(f.read())
    return _contract
