"""The JSON Schema of a spec, for editors: completes keys, says what each means, marks what cannot be.

It is made of the models. Where these take more than one way of writing, as in ``ports: ["8080:80"]``, it takes any
scalar: what it marks as wrong is wrong, and ``fleet validate`` says what else is. A placeholder, ``${name}``, may
stand for any scalar.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from fleet.model import attributes
from fleet.spec.model import FleetSpec

DIALECT = GenerateJsonSchema.schema_dialect
_PLACEHOLDER = {"type": "string", "pattern": r"\$\{"}
_SCALARS = ("boolean", "integer", "number", "string")


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with what docstrings say of fields, and for every way in which a model can be written."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of a model."""
        model: type[BaseModel] = schema["cls"]
        made = super().model_schema(schema)
        made.pop("title", None)
        made["description"] = (model.__doc__ or "").partition("\n")[0]
        about = attributes(model)
        for name, field in model.model_fields.items():
            if name in about:
                made["properties"][field.alias or name]["description"] = about[name]
        if any(each.info.mode == "before" for each in model.__pydantic_decorators__.model_validators.values()):
            return {"anyOf": [made, {"type": list(_SCALARS)}], "description": made["description"]}
        return made


def spec_schema() -> dict[str, Any]:
    """The schema of a spec in YAML, as JSON has it."""
    made = FleetSpec.model_json_schema(schema_generator=_Generator)
    return {"$schema": DIALECT, **_with_placeholders(made)}


def schema_text() -> str:
    """The schema as a file: the same bytes every time."""
    return json.dumps(spec_schema(), indent=1, ensure_ascii=False) + "\n"


def _with_placeholders(schema: Any) -> Any:
    """A schema in which every scalar may be a placeholder, and text may be written as a number."""
    if isinstance(schema, list):
        return [_with_placeholders(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in _SCALARS:
        kept = {key: schema[key] for key in ("default", "description") if key in schema}
        scalar = {key: value for key, value in schema.items() if key not in (*kept, "title", "format")}
        if scalar == {"type": "string"}:
            return {"type": ["string", "number"], **kept}
        number = [{"type": "number"}] if scalar["type"] == "string" and "enum" not in scalar else []
        return {"anyOf": [scalar, *number, _PLACEHOLDER], **kept}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs"):
            made[key] = {name: _with_placeholders(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf"):
            # A scalar may fit several ways of writing.
            made["anyOf" if key == "oneOf" else key] = _with_placeholders(value)
        elif key not in ("title", "discriminator"):
            made[key] = value
    return made
