"""Most of what the tests receive fits its schema, and jsonschema takes long to say so.

quick(schema) is a function that answers True where a value surely fits, and False where jsonschema
is to decide, which also finds the words for what is wrong. Validator is jsonschema's, asking
quick() first about members and elements.
"""

import re

import jsonschema
from jsonschema import Draft202012Validator as Slow

formats = jsonschema.FormatChecker(formats=())


@formats.checks("date-time")
def is_date_time(value):
    return not isinstance(value, str) or re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value) is not None


SILENT = {"description", "example", "examples", "default", "title", "deprecated", "readOnly"}
TYPES = {"string": {str}, "integer": {int}, "number": {int, float}, "boolean": {bool},
         "null": {type(None)}, "array": {list}, "object": {dict}}


def numeric(check):
    return lambda v: type(v) not in (int, float) or check(v)


def textual(check):
    return lambda v: type(v) is not str or check(v)


def of_type(names):
    kinds = set().union(*(TYPES[name] for name in ([names] if isinstance(names, str) else names)))
    return lambda v: type(v) in kinds


def among(known):
    """Numbers are not asked for: 1, 1.0 and True are one to Python."""
    known = {v for v in known if v is None or type(v) is str}
    return lambda v: (v is None or type(v) is str) and v in known


def pattern(text):
    search = re.compile(text).search
    return textual(lambda v: search(v) is not None)


def elements(schema):
    fits = quick(schema)
    return lambda v: type(v) is not list or all(map(fits, v))


def others(schema):
    """additionalProperties, beside the properties of the same schema."""
    known, rest = schema.get("properties", {}), schema["additionalProperties"]
    if rest is False:
        return lambda v: type(v) is not dict or v.keys() <= known.keys()
    fits = quick(rest)
    return lambda v: type(v) is not dict or all(fits(x) for k, x in v.items() if k not in known)


def members(schemas):
    fits = {name: quick(s) for name, s in schemas.items()}
    return lambda v: type(v) is not dict or all(fits[k](x) for k, x in v.items() if k in fits)


def names_of(schema):
    fits = quick(schema)
    return lambda v: type(v) is not dict or all(map(fits, v))


def sized(kind, check):
    return lambda v: type(v) is not kind or check(len(v))


def one_of(schemas):
    """Only where a value's type says which one it may be."""
    seen = set()
    for s in schemas:
        names = s.get("type", list(TYPES))
        kinds = {"number" if name == "integer" else name
                 for name in ([names] if isinstance(names, str) else names)}
        if seen & kinds:
            return lambda v: False
        seen |= kinds
    return any_of([quick(s) for s in schemas])


def formatted(name):
    return lambda v: formats.conforms(v, name)


KEYWORDS = {
    "type": of_type,
    "format": formatted,
    "oneOf": one_of,
    "enum": among,
    "const": lambda value: among([value]),
    "minimum": lambda n: numeric(lambda v: v >= n),
    "maximum": lambda n: numeric(lambda v: v <= n),
    "exclusiveMinimum": lambda n: numeric(lambda v: v > n),
    "exclusiveMaximum": lambda n: numeric(lambda v: v < n),
    "minLength": lambda n: sized(str, lambda size: size >= n),
    "maxLength": lambda n: sized(str, lambda size: size <= n),
    "pattern": pattern,
    "items": elements,
    "minItems": lambda n: sized(list, lambda size: size >= n),
    "maxItems": lambda n: sized(list, lambda size: size <= n),
    "properties": members,
    "required": lambda names: lambda v: type(v) is not dict or all(k in v for k in names),
    "propertyNames": names_of,
    "minProperties": lambda n: sized(dict, lambda size: size >= n),
    "maxProperties": lambda n: sized(dict, lambda size: size <= n),
    "allOf": lambda schemas: all_of([quick(s) for s in schemas]),
    "anyOf": lambda schemas: any_of([quick(s) for s in schemas]),
}
NOT_BESIDE = {"prefixItems", "patternProperties"}  # they change what other keywords mean


def all_of(checks):
    def fits(v):
        for check in checks:
            if not check(v):
                return False
        return True

    return checks[0] if len(checks) == 1 else fits


def any_of(checks):
    return lambda v: any(c(v) for c in checks)


def compiled(schema):
    if isinstance(schema, bool):
        return lambda v: schema
    checks = []
    for keyword, value in schema.items():
        if keyword == "additionalProperties" and not NOT_BESIDE & schema.keys():
            checks.append(others(schema))
        elif keyword in KEYWORDS and not NOT_BESIDE & schema.keys():
            checks.append(KEYWORDS[keyword](value))
        elif keyword not in SILENT:
            return lambda v: False
    return all_of(checks)


seen = {}  # id: (schema, function); the schema is kept, so that its id stays its own


def quick(schema):
    if id(schema) not in seen:
        seen[id(schema)] = schema, compiled(schema)
    return seen[id(schema)][1]


def properties(validator, schemas, instance, schema):
    if type(instance) is dict:
        schemas = {name: s for name, s in schemas.items()
                   if name in instance and not quick(s)(instance[name])}
    return Slow.VALIDATORS["properties"](validator, schemas, instance, schema)


def items(validator, value, instance, schema):
    if "prefixItems" not in schema and elements(value)(instance):
        return ()
    return Slow.VALIDATORS["items"](validator, value, instance, schema)


Validator = jsonschema.validators.extend(Slow, {"properties": properties, "items": items})
