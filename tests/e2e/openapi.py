"""The OpenAPI document as the tests read it: its operations, and a validator of the part of JSON
Schema (draft 2020-12) that it uses.  A schema with a keyword that is not known here is a fault of
the document, so that no rule in it is silently not checked."""
import re

METHODS = ("get", "put", "post", "delete")
NOTES = {"description", "default"}
KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


class Document:
    """The parsed openapi.json."""

    def __init__(self, text):
        self.text = text

    def resolve(self, node):
        while "$ref" in node:
            target = self.text
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = {**target, **{name: value for name, value in node.items() if name != "$ref"}}
        return node

    def operations(self):
        """(path, method, operation), parameters and responses resolved."""
        for path, methods in self.text["paths"].items():
            for method, operation in methods.items():
                assert method in METHODS, (path, method)
                yield path, method, {
                    **operation,
                    "parameters": [self.resolve(parameter)
                                   for parameter in operation.get("parameters", [])],
                    "responses": {int(status): self.resolve(response)
                                  for status, response in operation["responses"].items()}}

    # ---- validation ----

    def faults(self, schema, value, where="answer"):
        """What of the value is not as the schema says.  Stricter than JSON Schema in one thing: a
        member that is not described is a fault."""
        schema = self.resolve(schema)
        found = []
        for keyword, rule in schema.items():
            if keyword not in NOTES:
                found += getattr(self, "check_" + keyword)(schema, rule, value, where)
        return found

    @staticmethod
    def is_kind(kind, value):
        if kind == "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, KINDS[kind])

    def check_type(self, _, kinds, value, where):
        kinds = kinds if isinstance(kinds, list) else [kinds]
        good = any(self.is_kind(kind, value) for kind in kinds)
        return [] if good else [f"{where} is {value!r}, not {'|'.join(kinds)}"]

    def check_properties(self, schema, properties, value, where):
        if not isinstance(value, dict):
            return []
        found = []
        for name, member in value.items():
            if name in properties:
                found += self.faults(properties[name], member, f"{where}.{name}")
            elif "additionalProperties" not in schema:
                found.append(f"{where}.{name} is not described")
        return found

    @staticmethod
    def check_required(_, names, value, where):
        return [f"{where}.{name} is missing" for name in names
                if isinstance(value, dict) and name not in value]

    def check_additionalProperties(self, schema, rule, value, where):
        found = []
        for name, member in value.items() if isinstance(value, dict) else ():
            if name not in schema.get("properties", {}):
                found += self.faults(rule, member, f"{where}.{name}")
        return found

    def check_items(self, _, rule, value, where):
        found = []
        for place, item in enumerate(value if isinstance(value, list) else ()):
            found += self.faults(rule, item, f"{where}[{place}]")
        return found

    @staticmethod
    def check_minItems(_, rule, value, where):
        short = isinstance(value, list) and len(value) < rule
        return [f"{where} has {len(value)} items, less than {rule}"] if short else []

    @staticmethod
    def check_maxItems(_, rule, value, where):
        long = isinstance(value, list) and len(value) > rule
        return [f"{where} has {len(value)} items, more than {rule}"] if long else []

    @staticmethod
    def check_minLength(_, rule, value, where):
        short = isinstance(value, str) and len(value) < rule
        return [f"{where} is shorter than {rule}"] if short else []

    @staticmethod
    def check_maxLength(_, rule, value, where):
        long = isinstance(value, str) and len(value) > rule
        return [f"{where} is longer than {rule}"] if long else []

    @staticmethod
    def check_pattern(_, rule, value, where):
        wrong = isinstance(value, str) and not re.search(rule, value)
        return [f"{where} is {value!r}, not {rule}"] if wrong else []

    @staticmethod
    def check_enum(_, rule, value, where):
        return [] if value in rule else [f"{where} is {value!r}, not one of {rule}"]

    @staticmethod
    def check_const(_, rule, value, where):
        return [] if value == rule else [f"{where} is {value!r}, not {rule!r}"]

    def is_number(self, value):
        return self.is_kind("integer", value)

    def check_minimum(self, _, rule, value, where):
        low = self.is_number(value) and value < rule
        return [f"{where} is {value}, less than {rule}"] if low else []

    def check_maximum(self, _, rule, value, where):
        high = self.is_number(value) and value > rule
        return [f"{where} is {value}, more than {rule}"] if high else []


def self_test():
    """The validator must be able to find each fault."""
    document = Document({"components": {"schemas": {"Id": {"type": "string", "minLength": 1,
                                                           "maxLength": 2, "pattern": "^a"}}}})
    schema = {"type": "object", "required": ["id"], "properties": {
        "id": {"$ref": "#/components/schemas/Id"},
        "n": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
        "list": {"type": "array", "items": {"enum": [1, 2]}, "minItems": 1, "maxItems": 2},
        "yes": {"type": "boolean", "const": True},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}}}}
    right = {"id": "ab", "n": None, "list": [1, 2], "yes": True, "map": {"x": 1}}
    assert document.faults(schema, right) == [], document.faults(schema, right)
    for member, wrong in (("id", ""), ("id", "abc"), ("id", "b"), ("id", 7), ("n", -1), ("n", 10),
                          ("n", 1.5), ("n", True), ("list", []), ("list", [1, 1, 1]),
                          ("list", [3]), ("list", {}), ("yes", False), ("map", {"x": "y"}),
                          ("map", []), ("other", 1)):
        assert document.faults(schema, {**right, member: wrong}), (member, wrong)
    assert document.faults(schema, {"n": 1}) and document.faults(schema, [])
    try:
        document.faults({"oneOf": []}, 1)
    except AttributeError:
        return
    raise AssertionError("an unknown keyword was passed over")
