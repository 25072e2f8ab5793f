"""How pages of the reference are worded: lines of one width, types, units and limits in words.

A page is Markdown without tables, whose rows cannot be wrapped: what has keys is a list with an item for each.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from fleet.cli.exit_statuses import TABLE

WIDTH = 118
"""Characters of a line; one that cannot be broken, such as a URL, may be longer."""

_MARKER = re.compile(r"(?:[-+*>|=:]|#+|\d+[.)])$")
"""A word that would begin something else than text if it began a line."""

_BY_NAME = {
    "gib": "GiB", "mib": "MiB", "bytes": "bytes", "seconds": "seconds", "minutes": "minutes", "days": "days",
    "cpus": "CPUs",
}  # fmt: skip
"""By a word of a number's key: its unit."""


def paragraph(text: str, indent: str = "") -> str:
    """A paragraph, or an item of a list, in lines. Code is not broken where it fits a line.

    Args:
        text: In one line; an item begins with its "- ".
        indent: What lines after the first begin with.
    """
    lines: list[str] = []
    for word in _words(text):
        if lines and len(lines[-1]) + 1 + len(word) <= WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word if lines else word)
    return "\n".join(lines) + "\n"


def _words(text: str) -> Iterator[str]:
    """What stands between spaces outside of code, with what may not begin a line at the end of the one before."""
    pending = ""
    for word in re.findall(r"(?:`+[^`]*`+|[^\s`])+", text):
        if len(word) > WIDTH - 4:
            yield from filter(None, (pending, *word.split(" ")))
            pending = ""
        elif (pending and _MARKER.match(word)) or pending == "-":
            pending += f" {word}"
        else:
            yield from filter(None, (pending,))
            pending = word
    yield pending


def item(key: str, facts: Iterable[str], text: str) -> str:
    """An item of a list of keys.

    Args:
        key: The key.
        facts: Its type, unit, limits and such, each in words.
        text: What it is, in sentences.
    """
    return paragraph(f"- `{key}` ({'; '.join(facts)}): {text}", "  ")


def type_words(annotation: Any, *, links: Mapping[Any, str], null: bool = False) -> str:
    """A type in words.

    Args:
        annotation: The type.
        links: By a class, the address of its section.
        null: Whether ``None`` is said, as in what programs read; in what users write, it is a key that is left out.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)

    def inner(part: Any) -> str:
        return type_words(part, links=links, null=null)

    if origin is typing.Annotated:
        return inner(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin in (typing.Union, types.UnionType):
        parts = [inner(each) for each in arguments if each is not type(None)]
        return " or ".join(dict.fromkeys([*parts, *(["`null`"] if null and type(None) in arguments else [])]))
    if origin in (list, tuple, Sequence):
        return f"list of {inner(arguments[0])}"
    if origin in (dict, Mapping):
        return f"{'mapping to' if null else 'by name:'} {inner(arguments[1])}"
    words = {str: "text", int: "whole number", float: "number", bool: "switch", Any: "see below"}
    if null:
        words[bool] = "`true` or `false`"
    if annotation in words:
        return words[annotation]
    name = getattr(annotation, "__name__", str(annotation))
    return f"[{name}]({links[annotation]})" if annotation in links else name


def classes(annotation: Any) -> list[type[Any]]:
    """The models and dataclasses in a type, each once."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return [annotation]
    return list(dict.fromkeys(each for part in typing.get_args(annotation) for each in classes(part)))


def measured(words: str, key: str, text: str) -> str:
    """A type in words with its unit, if it is a number that has one: that counts, or is a port, an index, has none.

    Args:
        words: The type.
        key: The number's key, one of whose words may be the unit.
        text: What is said of it, which may begin with the unit.
    """
    named = [_BY_NAME[word] for word in key.split("_") if word in _BY_NAME]
    unit = named[0] if named else "seconds" if re.match(r"Seconds\b", text) else ""
    return re.sub(r"\bnumber\b", f"number of {unit}", words) if unit else words


def limits(metadata: Iterable[Any]) -> Iterator[str]:
    """The limits of a model's field, in words.

    Args:
        metadata: Its constraints.
    """
    words = {"ge": "{} at least", "gt": "more than {}", "le": "{} at most", "lt": "less than {}"}
    lengths = {"min_length": "length {} at least", "max_length": "length {} at most"}
    for constraint in metadata:
        for name, text in (words | lengths).items():
            if getattr(constraint, name, None) is not None:
                yield text.format(getattr(constraint, name))


def yaml_words(value: Any) -> str:
    """A value as a spec may have it, in one line."""
    return json.dumps(to_jsonable_python(value, by_alias=True), ensure_ascii=False).replace("`", "'")


def statuses() -> dict[str, list[str]]:
    """By an exit status, or "another", what it means: of every command first, then of single ones, which are named."""
    by_number: dict[str, list[str]] = {}
    for number, command, meaning in TABLE:
        meanings = by_number.setdefault("another" if number is None else str(number), [])
        meanings.append(f"`{command}`: {meaning}" if command else meaning)
    return by_number
