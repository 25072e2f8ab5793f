"""The JSON Schema of a spec, for editors: completes keys, says what each means, marks what cannot be.

It is made of the models alone, and takes what they take: a model that can be written in several ways says so where it
is parsed (``Model.other_forms``), a text's pattern is the one that reads it (:class:`~fleet.model.Grammar`), and
pydantic's own readings of numbers and switches that are written as text are here. A placeholder, ``${name}``, may stand
in any scalar that variables fill. What no schema can say, such as that a name is one of another part of the spec, is
checked by functions of the models, :func:`unsaid` lists them; ``fleet validate`` says what they find.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from fleet.model import attributes, examples, without_checks
from fleet.spec.model import FleetSpec
from fleet.spec.values import Head

DIALECT = GenerateJsonSchema.schema_dialect
PLACEHOLDER = {"type": "string", "pattern": r"\$\{"}
_SCALARS = ("boolean", "integer", "number", "string")
_ANY_CASE = {word: "".join(f"[{c}{c.upper()}]" for c in word) for word in ("true", "t", "yes", "y", "on")}
_NO = {word: "".join(f"[{c}{c.upper()}]" for c in word) for word in ("false", "f", "no", "n", "off")}
_SWITCH = {"type": "string", "pattern": f"^(?:0|1|{'|'.join([*_ANY_CASE.values(), *_NO.values()])})$"}
_WHOLE = {"type": "string", "pattern": r"^\s*[+-]?[0-9]+(?:_[0-9]+)*(?:\.0*)?\s*$"}
_REAL = {"type": "string", "pattern": r"^\s*[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"}

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_IPV6 = r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
_PREFIX4, _PREFIX6 = rf"(?:/(?:3[0-2]|[12]?[0-9]|{_IPV4}))", "(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))"
_ADDRESSES = {
    "ipv4": _IPV4,
    "ipv6": rf"{_IPV6}(?:%[^%/\s]+)?",
    "ipv4network": f"{_IPV4}{_PREFIX4}?",
    "ipv6network": f"{_IPV6}{_PREFIX6}?",
    "ipv4interface": f"{_IPV4}{_PREFIX4}?",
    "ipv6interface": f"{_IPV6}{_PREFIX6}?",
    "ipvanynetwork": f"{_IPV4}{_PREFIX4}?|{_IPV6}{_PREFIX6}?",
}
"""How :mod:`ipaddress` reads what the models have of its types, by what pydantic calls the format."""


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with what docstrings say of fields, and for every way in which a value can be written."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """The schema of what a function takes; of a model's, :meth:`model_schema` says it."""
        inner: Any = without_checks(schema)
        if inner is not schema:
            # JSON Schema does not count booleans among numbers.
            return self.generate_inner(inner)
        while inner["type"].startswith("function-"):
            inner = inner["schema"]
        if inner["type"] not in ("model", "model-fields") and "json_schema_input_schema" not in schema:
            raise TypeError(f"{schema['function']}: say what it takes by json_schema_input_type")
        return super().function_before_schema(schema)

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        """A switch, also as the numbers and words that pydantic takes for one."""
        made = super().bool_schema(schema)
        return made if schema.get("strict") else {"anyOf": [made, {"enum": [0, 1]}, _SWITCH]}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        """A whole number, also as text."""
        made = super().int_schema(schema)
        return made if schema.get("strict") else {"anyOf": [made, _WHOLE]}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        """A number, also as text."""
        made = super().float_schema(schema)
        return made if schema.get("strict") else {"anyOf": [made, _REAL]}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A mapping, which has no keys but those that its type of keys takes."""
        made = super().dict_schema(schema)
        keys: Any = without_checks(schema.get("keys_schema", {"type": "any"}))
        if keys.get("type") == "int":
            made["patternProperties"] = {"^-?[0-9]+$": made.pop("additionalProperties")}
        if "patternProperties" in made:
            made["additionalProperties"] = False
        return made

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of a model: its keys, and its other forms."""
        model: type[BaseModel] = schema["cls"]
        made = super().model_schema(schema)
        made.pop("title", None)
        made["description"] = (model.__doc__ or "").partition("\n")[0].replace("``", "`")
        about, shown = attributes(model), examples(model)
        for name, field in model.model_fields.items():
            key = field.alias or name
            said = made["properties"][key]
            if name in about:
                said["description"] = about[name]
            if key in shown:
                said["examples"] = [shown[key]]
            # Without this a reader of the schema cannot tell one that has none from one that may be left out.
            if not field.is_required() and "default" not in said:
                said["default"] = None
        if alternatives := getattr(model, "exactly_one", ()):
            one = [{"required": [key], "properties": {key: {"not": {"enum": ["", None]}}}} for key in alternatives]
            made["oneOf"] = one
        forms = list(getattr(model, "other_forms", ()))
        if short := getattr(model, "shorthand", ""):
            text = {k: v for k, v in made["properties"][short].items() if k not in ("description", "default", "title")}
            # Text alone is a short form, whatever else the field takes.
            forms.append({"allOf": [text, {"type": "string"}]})
        return {"anyOf": [made, *forms], "description": made["description"]} if forms else made


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model of what users write, without placeholders, such as a platform's options."""
    return {"$schema": DIALECT, **_adapted(model.model_json_schema(schema_generator=_Generator), placeholders=False)}


def spec_schema() -> dict[str, Any]:
    """The schema of a spec in YAML, as JSON has it."""
    made = FleetSpec.model_json_schema(schema_generator=_Generator)
    definitions = made.pop("$defs")
    properties = made.pop("properties")
    literal = {name for key in Head.model_fields for name in _named(properties[key], definitions)}
    filled = {name for key in properties.keys() - Head.model_fields for name in _named(properties[key], definitions)}
    assert not literal & filled, "a model that stands where variables fill, and where they do not"
    return {
        "$schema": DIALECT,
        **_adapted(made, placeholders=False),
        "properties": {key: _adapted(part, key not in Head.model_fields) for key, part in properties.items()},
        "$defs": {name: _adapted(part, name not in literal) for name, part in definitions.items()},
    }


def schema_text(model: type[BaseModel] | None = None) -> str:
    """The schema as a file: the same bytes every time.

    Args:
        model: Of which model; the spec's by default.
    """
    return json.dumps(schema_of(model) if model else spec_schema(), indent=1, ensure_ascii=False) + "\n"


def unsaid(model: type[BaseModel]) -> dict[str, str]:
    """What the schema of a model does not say: by the function that checks it, the rule, the line of its docstring."""
    checks = model.__pydantic_decorators__
    after = [name for name, each in checks.model_validators.items() if each.info.mode == "after"]
    names = sorted((*after, *checks.field_validators))
    return {name: (getattr(model, name).__doc__ or "").strip().partition("\n")[0] for name in names}


def _named(schema: Any, definitions: dict[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names of all definitions that a schema refers to, and they in turn."""
    for name in set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema, default=str))) - seen:
        yield name
        yield from _named(definitions[name], definitions, seen | {name})


def _adapted(schema: Any, placeholders: bool) -> Any:
    """A schema as editors need it.

    Args:
        schema: What pydantic made.
        placeholders: Every scalar may be a placeholder.
    """
    if isinstance(schema, list):
        return [_adapted(each, placeholders) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (pattern := _ADDRESSES.get(schema.get("format", ""))) is not None:
        # Addresses are numbers, too.
        kept = {key: value for key, value in schema.items() if key not in ("format", "type")}
        schema = {
            **kept,
            "anyOf": [{"type": "string", "pattern": f"^(?:{pattern})$"}, {"type": "integer", "minimum": 0}],
        }
    kind = schema.get("type")
    if kind in _SCALARS or "enum" in schema or "const" in schema:
        kept = {key: schema[key] for key in ("default", "description", "examples") if key in schema}
        scalar = {key: value for key, value in schema.items() if key not in (*kept, "title", "format")}
        if not placeholders or scalar == {"type": "string"}:
            return {**scalar, **kept}
        return {"anyOf": [scalar, PLACEHOLDER], **kept}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs"):
            made[key] = {name: _adapted(each, placeholders) for name, each in value.items()}
        elif key == "anyOf":
            made[key] = _flat(_adapted(value, placeholders))
        elif key in ("items", "additionalProperties", "allOf"):
            made[key] = _adapted(value, placeholders)
        elif key == "oneOf" and "properties" not in schema:
            # A scalar may fit several ways of writing.
            made["anyOf"] = _adapted(value, placeholders)
        elif key not in ("title", "discriminator"):
            made[key] = value
    return made


def _flat(alternatives: list[Any]) -> list[Any]:
    """Alternatives of alternatives in one list, each once, placeholders last."""
    every: list[Any] = []
    for each in alternatives:
        every += each["anyOf"] if each.keys() == {"anyOf"} else [each]
    once = [each for index, each in enumerate(every) if each not in every[:index] and each != PLACEHOLDER]
    return [*once, *([PLACEHOLDER] if PLACEHOLDER in every else [])]
