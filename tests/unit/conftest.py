"""Every spec that a unit test reads, valid or not, is read by the schema too: the two never differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator, validators
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleet.document import Located
from fleet.model import WRITTEN, MalformedError
from fleet.spec.model import FleetSpec
from fleet.spec.schema import spec_schema
from fleet.spec.values import Head
from fleet.spec.versions import FIRST, VERSION_KEY, VERSIONS


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    """As ECMAScript and Rust do it: ``$`` is the end, not what stands before a newline at the end."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_extend: Any = validators.extend
READER: Any = _extend(Draft202012Validator, {"pattern": _pattern})
VALIDATOR = READER(spec_schema())

UNSAID: Mapping[str, Any] = {
    "a rule of several fields, or of what an operating system knows": lambda error: (
        error["type"] == "value_error" and not isinstance(error["ctx"]["error"], MalformedError)
    ),
    "a number that JSON does not have": lambda error: error["type"] == "finite_number",
    "the limits of a number that is written as text": lambda error: (
        error["type"].startswith(("greater_than", "less_than")) and isinstance(error["input"], str)
    ),
    "a network whose address has bits of hosts": lambda error: (
        error["type"] == "ip_v4_network" and re.match(r"[0-9.]+/[0-9]+$", str(error["input"]))
    ),
    "which texts with colons are IPv6 addresses": lambda error: (
        error["type"].startswith("ip_v6") and ":" in str(error["input"])
    ),
}
"""Why the models refuse what the schema takes."""


def json_of(value: Any) -> Any:
    """A document as JSON has it: its keys are text. What a Compose file brought is no part of it."""
    if isinstance(value, dict):
        return {str(key): json_of(each) for key, each in value.items() if not isinstance(each, BaseModel)}
    return [json_of(each) for each in value] if isinstance(value, list) else value


def difference(value: Any, model: type[BaseModel] = FleetSpec, validator: Any = VALIDATOR) -> str | None:
    """Where a model and its schema differ about a document whose placeholders are filled; ``None``: nowhere."""
    document = json_of(value)
    version = document.get(VERSION_KEY) if isinstance(document, dict) else None
    if type(version) is int and version in VERSIONS:
        # Tests have versions that the schema, which is made once, has not.
        document = {**document, VERSION_KEY: FIRST}
    said = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(document)]
    try:
        model.model_validate(value, context=WRITTEN)
    except ValidationError as error:
        shape = [detail for detail in error.errors(include_url=False) if is_shape(detail)]
        # What a value has may look like a placeholder, which the schema takes anywhere.
        differs = shape and not said and "${" not in str(value)
        return f"the schema takes what the models refuse: {shape}" if differs else None
    return f"the schema refuses what the models take: {said}" if said else None


def is_shape(error: ErrorDetails) -> bool:
    """Whether a schema can say it."""
    return not any(reason(error) for reason in UNSAID.values())


@pytest.fixture(autouse=True, scope="session")
def _the_schema_reads_along() -> Iterator[None]:
    """Fail a test whose spec the models and the schema read differently."""
    read = Located.read

    def both(self: Located, model: type[BaseModel], value: Any) -> Any:
        problem = None
        if model is FleetSpec:
            problem = difference(value)
        elif model is Head and isinstance(value, dict):
            problem = difference({"name": "web", "groups": {"web": {}}, **value})
        assert problem is None, problem
        return read(self, model, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Located, "read", both)
        yield
