"""The base of all models of user input."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function, no_info_before_validator_function

from fleet.core_schema import Loader

WRITTEN: dict[str, Any] = {"written": True}
"""The context of a model that is read from a document, where nothing stands for what Python says as ``None``."""


def _numbers(model: type[BaseModel], schema: Any) -> Iterator[dict[str, Any]]:
    """The parts of a model's core schema that read a number or an IP address, but for those of models in it."""
    match schema["type"]:
        case "int" | "float" if not schema.get("strict"):
            yield schema
        case "lax-or-strict" if _kind(schema) in _NO_BOOLEANS:
            yield schema
        case "function-before" if without_checks(schema) is not schema:
            pass
        case "model" if schema["cls"] is not model:
            pass
        case "model-fields":
            for field in schema["fields"].values():
                yield from _numbers(model, field["schema"])
        case "union":
            for choice in schema["choices"]:
                yield from _numbers(model, choice[0] if isinstance(choice, tuple) else choice)
        case _:
            for key in ("schema", "items_schema", "keys_schema", "values_schema"):
                if key in schema:
                    yield from _numbers(model, schema[key])


def _kind(schema: Any) -> str:
    """Pydantic's kind of error for what is not what a core schema reads, such as "int_type" or "ip_v4_address"."""
    if schema["type"] != "lax-or-strict":
        return f"{schema['type']}_type"
    name = schema["strict_schema"].get("python_schema", {}).get("cls", object).__name__.lower()
    return f"ip_{name[2:4]}_{name[4:]}"


def _no_boolean(kind: str) -> Callable[[Any], Any]:
    def no_boolean(value: Any) -> Any:
        if isinstance(value, bool):
            raise PydanticCustomError(kind, "Input is a boolean")
        return value

    return no_boolean


_NO_BOOLEANS: Mapping[str, Callable[[Any], Any]] = {
    kind: _no_boolean(kind)
    for kind in (
        "int_type", "float_type", "ip_v4_address", "ip_v6_address", "ip_v4_network", "ip_v6_network",
        "ip_v4_interface", "ip_v6_interface",
    )
}  # fmt: skip
"""What refuses a boolean, by the kind of error."""


def without_checks(schema: Any) -> Any:
    """A core schema without the function that refuses booleans, if it begins with that."""
    refuses = schema["type"] == "function-before" and schema["function"]["function"] in _NO_BOOLEANS.values()
    return schema["schema"] if refuses else schema


class Model(BaseModel):
    """A frozen model that refuses unknown keys, non-finite numbers (``.inf``, ``.nan``), and booleans for numbers.

    Pydantic, as Python, takes ``true`` for 1, and so for the address 0.0.0.1. In YAML neither is meant by it.

    Attributes:
        other_forms: How it can be written besides as a mapping: what JSON Schema says of each way. They are made of the
            patterns that its parser reads with.
        exactly_one: Fields of which one and no other says something.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    other_forms: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    exactly_one: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's schema of the model, whose numbers and addresses are no booleans."""
        schema = handler(source)
        for part in _numbers(cls, handler.resolve_ref_schema(schema)):
            inner = dict(part)
            part.clear()
            part.update(no_info_before_validator_function(_NO_BOOLEANS[_kind(inner)], inner))
        return schema


PORT_NUMBER = "0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
"""A pattern of the numbers from 1 to 65535, written in decimal."""


class Shorthand(Model):
    """A model that can be written in full, or in short as the value of one of its fields.

    Attributes:
        shorthand: That field's name.
    """

    shorthand: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, value: Any) -> Any:
        return {cls.shorthand: value} if isinstance(value, str) else value


class PlacedError(ValueError):
    """A value contradicts another, at a place of its own below the model whose validator finds it.

    Args:
        problem: What is wrong.
        where: The place, as keys and indices.
    """

    def __init__(self, problem: str, *where: str | int) -> None:
        super().__init__(problem)
        self.where = where


class MalformedError(ValueError):
    """A text is not of its grammar: its shape is wrong, which the schema says, too."""


@dataclass(frozen=True)
class Grammar:
    """How a text is written, for its ``Annotated`` type: one pattern, for the parser and for the schema.

    Attributes:
        pattern: Of the whole text, in what Python and ECMAScript have in common.
        problem: Says of a text that is not of it what is wrong, and what to write.
        whole: Of numbers, which are read as they are written, only whole ones of at least this are of it.
    """

    pattern: str
    problem: Callable[[str], str]
    whole: int | None = None

    def read(self, text: str) -> str:
        """The text.

        Raises:
            MalformedError: It is not of the grammar.
        """
        if not re.fullmatch(self.pattern, text):
            raise MalformedError(self.problem(text))
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of what it annotates, and then :meth:`read`."""
        return no_info_after_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """That of what it annotates, with the pattern."""
        made, pattern = handler(schema), f"^(?:{self.pattern})$"
        if "anyOf" not in made:
            return {**made, "pattern": pattern}
        # Of several types, it is the text's.
        texts = [{**each, "pattern": pattern} if each == {"type": "string"} else each for each in made["anyOf"]]
        if self.whole is not None:
            numbers = {"type": "integer", "minimum": self.whole}
            texts = [each for each in texts if each.get("type") not in ("integer", "number")] + [numbers]
        return {**made, "anyOf": texts}


class Secrecy(Enum):
    """Whether a field may hold a secret: a mark of a model's field, in its ``Annotated`` type.

    It holds for all below the field, unless a field there says otherwise.
    """

    PLAIN = "plain"
    """It is in plain text in the stack's state, at the platform's, or among the arguments of processes: no secret may
    fill it."""
    SEALED = "sealed"
    """It is kept as a secret if a secret fills it."""


PLAIN, SEALED = Secrecy.PLAIN, Secrecy.SEALED


def attributes(model: type[Any]) -> dict[str, str]:
    """What the docstrings of a class, and of those that it extends, say of its fields.

    Args:
        model: A model, or another class with a section ``Attributes``.
    """
    about: dict[str, str] = {}
    for each in reversed(model.__mro__):
        pairs = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", _section(each, "Attributes"), re.MULTILINE)
        about |= {name: re.sub(r"\s+", " ", text).replace("``", "`") for name, text in pairs}
    fields = getattr(model, "model_fields", about)
    return {name: text for name, text in about.items() if name in fields}


def examples(model: type[BaseModel]) -> dict[str, Any]:
    """An example of the value of each field, by its key in a document.

    It is what the section ``Examples`` of the docstring has, which is YAML; of a switch and of what is one of several
    words, the value that is not the default.
    """
    shown: dict[str, Any] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and (section := _section(each, "Examples")):
            shown |= yaml.load(section, Loader)
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key not in shown and (values := _choices(field.annotation)):
            shown[key] = next((value for value in values if value != field.default), values[0])
    return {key: value for key, value in shown.items() if key in {f.alias or n for n, f in model.model_fields.items()}}


def _choices(annotation: Any) -> list[Any]:
    """What a switch or a word can be; nothing of any other type."""
    if annotation is bool:
        return [True, False]
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [value for part in typing.get_args(annotation) for value in _choices(part)]
    return []


def _section(model: type[Any], title: str) -> str:
    """A section of a class's docstring, without its title."""
    match = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", inspect.cleandoc(model.__doc__ or "") + "\n", re.MULTILINE)
    return match[1] if match else ""
