"""What is said of a spec whose secrets stand where they are wrong: for every field of the spec's models."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from fleet import platforms
from fleet.errors import FleetError
from fleet.planner import plan_spec
from fleet.spec import Resolver
from fleet.spec.model import FleetSpec
from fleet.spec.values import Head

REQUIRED: dict[str, Any] = {
    "name": "web", "image": "docker.io/library/caddy:2", "path": "base.bu", "size_gib": 1, "mount": "/var/a",
    "port": 8080, "number": 8080, "container": 80, "command": "true", "target": "/etc/a", "calendar": "daily",
    "function": "a:b", "cidr": "10.77.0.0/24", "prefix": "10.9.0.0/24", "context": ".", "uid": 1001,
}  # fmt: skip
"""Values of fields that have to be there, or stand for a whole."""
CANARIES = ("kestrel81", "wren27", "robin46", "plover93")
VALUES = {
    "one quote": "kestrel81'wren27\nrobin46",
    "other quote": 'kestrel81"wren27\x7frobin46\\plover93',
    "words": "kestrel81é 'wren27 robin46: {plover93",
}
"""What Python escapes in a text with another quote in it; what no unit file can hold; what may be cut apart."""
FORMS = ("${s}", "'\"${s}")


def places(annotation: Any, where: tuple[str | int, ...] = (), depth: int = 0) -> Iterator[tuple[str | int, ...]]:
    """The paths of all scalars that a spec can have."""
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


PLACES = list(dict.fromkeys(places(FleetSpec)))


def models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models(argument)]


def built(annotation: Any, where: tuple[str | int, ...], value: str) -> Any:
    """A document that has a value at a place, and else what has to be there."""
    if not where:
        return value
    part, *rest = where
    if part == 0 and typing.get_origin(annotation) is not dict:
        items = list(typing.get_args(annotation))
        return [built(items[0] if items else annotation, tuple(rest), value)]
    for model in models(annotation):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields and typing.get_origin(annotation) is not dict:
            made = {name: REQUIRED[name] for name, field in fields.items() if field.is_required() and name in REQUIRED}
            if "use" in fields and fields["use"].is_required():
                made["use"] = typing.get_args(fields["use"].annotation)[0]
            made[str(part)] = built(fields[str(part)].annotation, tuple(rest), value)
            return made
    arguments = typing.get_args(annotation)
    return {part: built(arguments[-1] if arguments else annotation, tuple(rest), value)}


def document(where: tuple[str | int, ...], value: str) -> dict[str, Any]:
    spec = built(FleetSpec, where, value)
    spec |= {"secrets": {"s": {"env": "S"}}, "variables": {"s": {"secret": "s"}}}
    spec.setdefault("groups", {"a": {}})
    return dict(spec)


def test_the_places_are_those_of_the_whole_spec() -> None:
    shown = {".".join(map(str, place)) for place in PLACES}
    assert {"groups.a.containers.a.environment.a", "groups.a.ready.0.http.json.a", "groups.a.snippets.0.use"} <= shown
    assert len(shown) > 150


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALUES)
def test_no_error_about_a_field_shows_any_of_the_secret_that_fills_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S", VALUES[kind])
    (tmp_path / "base.bu").write_text("variant: fcos\nversion: 1.6.0\n")
    where = platforms.platform("qemu", {}, project=tmp_path, stack="test")
    spec, said, shown = tmp_path / "fleet.yaml", 0, []
    for place in PLACES:
        for form in FORMS:
            spec.write_text(yaml.safe_dump(document(place, form)))
            try:
                plan_spec(spec, Resolver(None, reveal=True), where, need_lock=False)
            except FleetError as error:
                said += 1
                if any(canary in str(error).lower() for canary in CANARIES):
                    shown.append(f"{'.'.join(map(str, place))} = {form}: {error}")
    assert said > len(PLACES)
    assert not shown, "\n".join(shown)
