"""Documents for every field of the models that users fill: specs, options of platforms, image locks."""

from __future__ import annotations

import datetime
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fleet.spec.model import FleetSpec
from fleet.spec.values import Head

Place = tuple[str | int, ...]

REQUIRED: dict[str, Any] = {
    "name": "web", "image": "docker.io/library/caddy:2", "path": "base.bu", "size_gib": 1, "mount": "/var/a",
    "port": 8080, "number": 8080, "container": 80, "command": "true", "target": "/etc/a", "calendar": "daily",
    "function": "a:b", "cidr": "10.77.0.0/24", "prefix": "10.9.0.0/24", "context": ".", "uid": 1001,
}  # fmt: skip
"""Values of fields that have to be there, or stand for a whole."""

VALUES: dict[str, Any] = {
    "bool": True, "int": -1, "float": 2.5, "null": None, "text": "x y!", "date": datetime.date(2026, 1, 2),
    "list": [True], "map": {"a": None},
}  # fmt: skip
"""Values of every type that YAML has, each of which is wrong in most places."""


def places(annotation: Any, where: tuple[str | int, ...] = (), depth: int = 0) -> Iterator[tuple[str | int, ...]]:
    """The paths of all scalars that a document of a model can have; of a spec, of those that variables fill."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        yield from places(annotation.__value__, where, depth)
    elif origin in (typing.Union, types.UnionType):
        for option in arguments:
            yield from places(option, where, depth)
    elif origin is typing.Annotated:
        yield from places(arguments[0], where, depth)
    elif origin is list:
        yield from places(arguments[0], (*where, 0), depth)
    elif origin is dict:
        key = {int: 0}.get(arguments[0], "a")
        if typing.get_origin(arguments[0]) is typing.Literal:
            key = typing.get_args(arguments[0])[0]
        yield from places(arguments[1], (*where, key), depth)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if not (annotation is FleetSpec and name in Head.model_fields):
                yield from places(field.annotation, (*where, field.alias or name), depth + 1)
    elif annotation is not type(None):
        yield where


def fields(annotation: Any, where: Place = ()) -> Iterator[tuple[Place, FieldInfo | None]]:
    """Every field that a document can have, by its path; every mapping with ``None`` for what it does not know."""
    for model in models(annotation):
        yield where, None
        for name, field in model.model_fields.items():
            here = (*where, field.alias or name)
            yield here, field
            yield from _inner(field.annotation, here)


def _inner(annotation: Any, where: Place) -> Iterator[tuple[Place, FieldInfo | None]]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is list:
        yield from _inner(arguments[0], (*where, 0))
    elif origin is dict:
        key = typing.get_args(arguments[0])[0] if typing.get_origin(arguments[0]) is typing.Literal else "a"
        yield from _inner(arguments[1], (*where, 0 if arguments[0] is int else key))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from fields(annotation, where)
    else:
        for argument in arguments:
            yield from _inner(argument, where)


def models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models(argument)]


def whole(model: type[BaseModel], seen: frozenset[type[BaseModel]] = frozenset()) -> frozenset[type[BaseModel]]:
    """A model, and all that its fields have, at any depth."""
    seen |= {model}
    for field in model.model_fields.values():
        for each in models(field.annotation):
            seen = seen if each in seen else whole(each, seen)
    return seen


def built(annotation: Any, where: tuple[str | int, ...], value: Any, required: Mapping[str, Any] = REQUIRED) -> Any:
    """A document that has a value at a place, and else what has to be there."""
    if not where:
        return value
    part, *rest = where
    if part == 0 and typing.get_origin(annotation) is not dict:
        items = list(typing.get_args(annotation))
        return [built(items[0] if items else annotation, tuple(rest), value, required)]
    for model in models(annotation):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields and typing.get_origin(annotation) is not dict:
            made = {name: required[name] for name, field in fields.items() if field.is_required() and name in required}
            if "use" in fields and fields["use"].is_required():
                made["use"] = typing.get_args(fields["use"].annotation)[0]
            made[str(part)] = built(fields[str(part)].annotation, tuple(rest), value, required)
            return made
    arguments = typing.get_args(annotation)
    return {part: built(arguments[-1] if arguments else annotation, tuple(rest), value, required)}
