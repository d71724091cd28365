#!/usr/bin/python3
"""make_types.py [--check]: write src/spectrald/types.py from openapi.yaml; --check: only say
whether it is stale. scripts/api-docs runs it, so that one command follows a change of the document.
"""

import os
import re
import sys
import textwrap

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(HERE, "src/spectrald/types.py")

HEAD = '''"""What the server takes and answers, as types for checkers and editors.

Made by make_types.py from openapi.yaml; do not edit. At run time these are plain dicts, exactly the
JSON of the server: a member that this version does not know stays in place. Enumerations of
replies may gain values and are therefore plain str.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Optional, TypedDict, Union
'''

SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
WIDTH = 96


class Writer:
    def __init__(self, doc):
        self.schemas = doc["components"]["schemas"]
        self.done, self.texts = set(), []

    def resolve(self, schema):
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def type_of(self, schema, name, closed):
        """The Python type of a schema; objects with members become a class called `name`."""
        if "$ref" in schema:
            target = schema["$ref"].rsplit("/", 1)[1]
            self.named(target)
            return target
        for key in ("oneOf", "anyOf"):
            parts = schema.get(key)
            if parts and not all("const" in p or list(p) == ["required"] for p in parts):
                return self.union(parts, name, closed)
        kinds = schema.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        plain = [self.plain(kind, schema, name, closed) for kind in kinds if kind != "null"]
        text = plain[0] if len(plain) == 1 else f"Union[{', '.join(plain)}]" if plain else "Any"
        return f"Optional[{text}]" if "null" in kinds and text != "Any" else text

    def union(self, parts, name, closed):
        types = []
        for i, part in enumerate(parts):
            if part.get("type") == "null":
                continue
            required = part.get("required", [])
            own = name + "".join(map(camel, required)) if len(required) == 1 else f"{name}{i + 1}"
            one = self.type_of(part, own if len(parts) > 1 else name, closed)
            if one not in types:
                types.append(one)
        text = types[0] if len(types) == 1 else f"Union[{', '.join(types)}]"
        return f"Optional[{text}]" if any(p.get("type") == "null" for p in parts) else text

    def plain(self, kind, schema, name, closed):
        if kind == "object":
            return self.object(schema, name, closed)
        if kind == "array":
            return f"List[{self.type_of(schema.get('items', {}), name + 'Item', closed)}]"
        if closed and "enum" in schema and kind == "string":
            return "Literal[" + ", ".join(
                f'"{v}"' for v in schema["enum"] if v is not None) + "]"
        return SCALARS.get(kind, "Any")

    def object(self, schema, name, closed):
        if "properties" in schema or "allOf" in schema:
            # Open objects with members of one type more (metrics by name) are dicts.
            if isinstance(schema.get("additionalProperties"), dict) or \
                    schema.get("additionalProperties") is True:
                return "Dict[str, Any]"
            self.write(name, schema)
            return name
        more = schema.get("additionalProperties", {})
        value = self.type_of(more, name + "Value", closed) if isinstance(more, dict) else "Any"
        return f"Dict[str, {value}]"

    def named(self, name):
        if name not in self.done:
            schema = self.schemas[name]
            kinds = schema.get("type")
            closed = "additionalProperties" in schema
            if (kinds == "object" or "allOf" in schema) and \
                    self.object(schema, name, closed) == name:
                return
            self.done.add(name)
            own = self.type_of(schema, name, closed)
            if own != name:
                self.texts.append(comment(schema.get("description"), "") + f"{name} = {own}\n")

    def write(self, name, schema):
        if name in self.done:
            return
        self.done.add(name)
        members, required = {}, set(schema.get("required", []))
        for part in [self.resolve(p) for p in schema.get("allOf", [])] + [schema]:
            members.update(part.get("properties", {}))
            required |= set(part.get("required", []))
        closed = schema.get("additionalProperties") is False
        lines = {True: [], False: []}
        for key, value in members.items():
            kind = self.type_of(value, name + camel(key), closed)
            about = comment(value.get("description"))
            lines[key in required].append(f"{about}    {key}: {kind}\n")
        about = textwrap.indent(docstring(schema.get("description")), "    ")
        if lines[True] and lines[False]:
            self.texts.append(f"class _{name}(TypedDict):\n" + "".join(lines[True]))
            self.texts.append(f"class {name}(_{name}, total=False):\n" + about +
                              "".join(lines[False]))
        else:
            total = "" if lines[True] else ", total=False"
            self.texts.append(f"class {name}(TypedDict{total}):\n" + about +
                              "".join(lines[True] + lines[False]))


def camel(key):
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]", key))


def comment(text, indent="    "):
    text = re.sub(r"\s+", " ", text or "").strip()
    return "".join(f"{indent}# {line}\n" for line in textwrap.wrap(text, WIDTH - len(indent)))


def docstring(text):
    text = re.sub(r"\s+", " ", text or "").strip().replace("\\", "\\\\")
    if not text:
        return ""
    lines = textwrap.wrap(text, WIDTH - 8)
    return '"""' + "\n".join(lines) + ('"""\n' if len(lines) == 1 else '\n"""\n')


def document():
    with open(os.path.join(TOP, "openapi.yaml")) as f:
        w = Writer(yaml.load(f, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    for name in w.schemas:
        w.named(name)
    return HEAD + "".join("\n\n" + text for text in w.texts)


def main():
    text = document()
    try:
        with open(OUT) as f:
            old = f.read()
    except FileNotFoundError:
        old = None
    if text == old:
        return 0
    if sys.argv[1:] == ["--check"]:
        sys.exit("clients/python/src/spectrald/types.py is stale: run scripts/api-docs")
    with open(OUT, "w") as f:
        f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
