"""The base of all models of user input."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from fleet.core_schema import Loader

WRITTEN: dict[str, Any] = {"written": True}
"""The context of a model that is read from a document, where nothing stands for what Python says as ``None``."""


class Model(BaseModel):
    """A frozen model that refuses unknown keys and non-finite numbers (``.inf``, ``.nan``).

    Attributes:
        other_forms: How it can be written besides as a mapping: what JSON Schema says of each way. They are made of the
            patterns that its parser reads with.
        exactly_one: Fields of which one and no other says something.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    other_forms: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    exactly_one: ClassVar[tuple[str, ...]] = ()


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
    """

    pattern: str
    problem: Callable[[str], str]

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
