"""YAML documents that users write, read so that every error names its line.

The YAML is composed to a graph of nodes with marks; values are constructed from it and checked by pydantic, whose
errors carry the path of what is wrong; the path leads back to the mark.

Everything that users write in YAML is read here: specs, image locks, Compose files, the options of platforms
(:mod:`fleet.stack_config`). So a mistake is said in the same words, and ends a command with the same status, wherever
it is: :func:`described` is the one translation of pydantic's findings.
"""

from __future__ import annotations

import copy
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fleet.core_schema import Loader, Plain
from fleet.errors import FleetError, Position, UsageError
from fleet.files import is_unicode, read_text
from fleet.hints import hint, nearest
from fleet.model import WRITTEN, PlacedError

Location = Sequence[str | int]
M = TypeVar("M", bound=BaseModel)


class Located:
    """Input from a user, whose parts can be validated and have a position.

    Attributes:
        what: What errors call the whole of it, such as "spec".
    """

    what = "document"
    _by_path = False
    """Whether errors name a part by its path, because it has no line."""

    def _at(self, location: Location, *, on_key: bool = False) -> Position:
        raise NotImplementedError

    def _as_written(self, location: Location) -> Location:
        """Where the user wrote what is checked at a location."""
        return location

    def read(self, model: type[M], value: Any) -> M:
        """Validate a value that was read from it.

        Args:
            model: What it has to be.
            value: :meth:`value`, or what was made of it.

        Raises:
            UsageError: It is not; names the place in the document.
        """
        try:
            return model.model_validate(value, context=WRITTEN)
        except ValidationError as error:
            raise self._invalid(model, error.errors(include_url=False)) from None

    def _invalid(self, model: type[BaseModel], details: list[ErrorDetails]) -> FleetError:
        return several([self._problem(model, detail) for detail in _innermost(details)])

    def _problem(self, model: type[BaseModel], detail: ErrorDetails) -> tuple[Position, str]:
        location = [part for part in detail["loc"] if part != "[key]"]
        error = detail.get("ctx", {}).get("error")
        if isinstance(error, PlacedError):
            location += error.where
        on_key = detail["type"] == "extra_forbidden" or "[key]" in detail["loc"]
        written = self._as_written(location)
        named = f"{'.'.join(map(str, written))}: " if self._by_path and location else ""
        return self._at(written, on_key=on_key), named + self._message(model, detail, location)

    def _message(self, model: type[BaseModel], detail: ErrorDetails, location: Location) -> str:
        return described(model, detail, location, what=self.what, show=self._is_open(detail["input"], location))

    def _is_open(self, value: Any, location: Location) -> bool:
        """Whether an error may show its value."""
        return True


def several(problems: Iterable[tuple[Position, str]]) -> UsageError:
    """One error for several problems, each on a line of its own with its position, so that editors can jump to it.

    Args:
        problems: Place and text of each; there is at least one.
    """
    ordered = sorted(problems, key=lambda item: (item[0].source, item[0].line or 0, item[0].column or 0))
    (at, what), *more = dict.fromkeys(ordered)
    return UsageError("\n".join([what, *(f"{where}: {text}" for where, text in more)]), at=at)


class Document(Located):
    """One YAML document in a file.

    Args:
        path: The file.
        what: What errors call it, such as "spec".
        text: The document, where the file is a program that returned it; errors then name its parts, not lines.
        loader: What reads its scalars: YAML 1.2's core schema, or YAML 1.1 as Pulumi and PyYAML write it.

    Attributes:
        root: Its graph.

    Raises:
        UsageError: It cannot be read, is not YAML, is empty, or has a key twice.
    """

    def __init__(self, path: Path, what: str, text: str | None = None, *, loader: type[Plain] = Loader) -> None:
        self.path, self.what, self._by_path, self._loader = path, what, text is not None, loader
        at = Position.of(path)
        if text is None:
            text = read_text(path, what)
        try:
            root = yaml.compose(text, Loader=loader)
            if root is None:
                raise UsageError(f"The {what} is empty.", at=at)
            self.root: yaml.Node = root
            _refuse_duplicates(path, root)
            # A file that is UTF-8 has what is none only as an escape.
            if "\\u" in text.lower():
                _refuse_surrogates(path, root)
            self.value()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = Position.of(path, mark.line + 1, mark.column + 1) if mark else at
            context = f" {error.context}" if error.context else ""
            raise UsageError(f"The YAML cannot be read: {error.problem}{context}.", at=where) from None
        except yaml.YAMLError as error:
            raise UsageError(f"The YAML cannot be read: {' '.join(str(error).split())}.", at=at) from None

    def copy(self) -> Document:
        """A copy whose graph can be changed."""
        other = copy.copy(self)
        other.root = copy.deepcopy(self.root)
        return other

    def value(self) -> Any:
        """The document as a Python value."""
        # Constructing flattens merge keys (`<<`) in place, which would count as duplicates.
        return self._loader("").construct_document(copy.deepcopy(self.root))

    def at(self, *location: str | int) -> Position:
        """The position of a part, such as ``at("groups", "web", "ready", 0)``."""
        return self._at(location)

    def _at(self, location: Location, *, on_key: bool = False) -> Position:
        return Position.of(self.path) if self._by_path else _position(self.path, self.root, location, on_key=on_key)

    def of(self, node: yaml.Node) -> Position:
        """The position of a node of its graph."""
        return Position.of(self.path) if self._by_path else _mark(self.path, node)


def _refuse_duplicates(path: Path, root: yaml.Node) -> None:
    """Refuse duplicate keys: YAML forbids them, but PyYAML silently takes the last."""
    pending, visited = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, yaml.Node] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        raise UsageError(
                            f"`{key.value}` stands here for the second time; the first is on line "
                            f"{seen[key.value].start_mark.line + 1}.",
                            at=_mark(path, key),
                            fix="Keep one of them.",
                        )
                    seen[key.value] = key
                pending.append(value)
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)


def _refuse_surrogates(path: Path, root: yaml.Node) -> None:
    """Refuse escapes of half a surrogate pair, which are no characters; nothing can be made of them."""
    pending, visited = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            if not is_unicode(node.value):
                raise UsageError(
                    "A character here is half of a surrogate pair, which is none by itself.",
                    at=_mark(path, node),
                    fix="Write the character itself, or its whole code point, such as `\\U0001F600`.",
                )
        elif isinstance(node, yaml.MappingNode):
            pending.extend(each for pair in node.value for each in pair)
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)


def described(
    model: type[BaseModel], detail: ErrorDetails, location: Location, *, what: str = "spec", show: bool = True
) -> str:
    """A validation error of pydantic, in words for the user.

    Args:
        model: What was to be read.
        detail: The finding.
        location: Its path.
        what: What errors call the whole document.
        show: The value itself may be shown.
    """
    # The last step to a key that is not to be is that key, whatever it is called.
    last = len(location) - (detail["type"] == "extra_forbidden")
    location = [part for index, part in enumerate(location) if index >= last or not _is_label(part)]
    name = next((str(part) for part in reversed(location) if isinstance(part, str)), "")
    if location and isinstance(location[-1], int):
        name = f"item {location[-1] + 1} of {name}"
    subject = f"`{name}`" if name else f"The {what}"
    kind, value = detail["type"], detail["input"]
    shown = _written(value) if show and isinstance(value, str | int | float | bool) else _kind_of(value)
    if kind in _EXPECTED and not (kind == "dict_type" and value is None):
        return f"{subject} should be {_EXPECTED[kind]}, but it is {shown}."
    match kind:
        case "extra_forbidden":
            return f"There is no key `{name}`. {hint(name, _keys(model, location[:-1]))}"
        case "union_tag_invalid":
            # "path" stands for a file, which is named by its path and has no such key.
            known = sorted(tag.strip(" '") for tag in detail["ctx"]["expected_tags"].split(",") if "'path'" not in tag)
            tag, every = detail["ctx"]["tag"], ", ".join(known)
            use = value.get("use") if isinstance(value, dict) else tag
            if not isinstance(use, str):
                kind_of = _written(use) if isinstance(use, int | float) else _kind_of(use)
                return f"`use` should be text, but it is {kind_of}. There are {every}."
            return f"There is no {tag!r} to `use`. There are {every}. {nearest(tag, known)}".rstrip()
        case "missing":
            return f"{subject} is missing here."
        case "string_pattern_mismatch" if "[key]" in detail["loc"]:
            return (
                f"{value!r} is no name: use lower-case letters, digits and dashes, begin with a letter and do not end "
                "with a dash; data disks' names have 15 characters at most, others 63. What containers use can have "
                "underscores too."
            )
        case "value_error":
            return f"{subject}: {detail['msg'].removeprefix('Value error, ')}."
        case "model_type" | "dict_type" if value is None:
            return f"{subject} is empty; write `{{}}` or what belongs there."
        case "model_type":
            return f"{subject} must be a mapping (`key: value` lines), not {shown}."
        case "literal_error" if show and isinstance(value, str):
            expected = detail["ctx"]["expected"]
            close = nearest(value, re.findall(r"'([^']*)'", expected))
            return f"{subject} should be {expected}, but it is {shown}. {close}".rstrip()
        case "string_pattern_mismatch":
            return f"{subject} should match the pattern '{detail['ctx']['pattern']}', but it is {shown}."
        case "too_short" | "string_too_short":
            least, what_of = detail["ctx"]["min_length"], "characters" if isinstance(value, str) else "entries"
            least_of = f"{least} {what_of}" if least != 1 else {"characters": "1 character"}.get(what_of, "1 entry")
            return f"{subject} should have at least {least_of}, but it {'is empty' if not value else f'is {shown}'}."
        case "too_long" | "string_too_long":
            what_of = "characters" if isinstance(value, str) else "entries"
            return f"{subject} should have at most {detail['ctx']['max_length']} {what_of}, but it is {shown}."
        case _:
            message = detail["msg"].removeprefix("Input ")
            return f"{subject} {message[0].lower()}{message[1:]}, but it is {shown}."


_EXPECTED = {
    **dict.fromkeys(("string_type", "string_sub_type"), "text"),
    "list_type": "a list",
    "dict_type": "a mapping (`key: value` lines)",
    **dict.fromkeys(("bool_type", "bool_parsing"), "`true` or `false`"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "finite_number": "a finite number",
    "ip_v4_address": "an IPv4 address",
    "ip_v6_address": "an IPv6 address",
    "ip_v4_network": "an IPv4 network",
    "ip_v6_network": "an IPv6 network",
    "ip_v4_interface": "an IPv4 address with a prefix length",
    "ip_v6_interface": "an IPv6 address with a prefix length",
    "ip_any_address": "an IP address",
    "ip_any_network": "an IP network",
    "ip_any_interface": "an IP address with a prefix length",
}
"""By pydantic's kind of error: what a value should be, in YAML's words."""


def _is_label(part: str | int) -> bool:
    """Whether a step of a finding's path is pydantic's name of a union's member, which no document has."""
    return isinstance(part, str) and ("[" in part or part in ("str", "int", "float", "bool"))


def _innermost(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """The findings without those of a union's member that is not meant: another has taken more of the value."""
    paths = [[part for part in detail["loc"] if not _is_label(part)] for detail in details]
    return [
        detail
        for detail, path in zip(details, paths, strict=True)
        if not (
            detail["loc"]
            and _is_label(detail["loc"][-1])
            and any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        )
    ]


def _written(value: str | float) -> str:
    """A scalar as YAML has it; text in quotes."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _kind_of(value: Any) -> str:
    """The kind of a value, in YAML's terms."""
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "a boolean"), (str, "text"), (int, "a number"), (float, "a number"), (dict, "a mapping"),
        (list, "a list"),
    )  # fmt: skip
    return next((name for kind, name in kinds if isinstance(value, kind)), "empty")


def fields_at(model: type[BaseModel], location: Location) -> Iterator[tuple[str, FieldInfo]]:
    """The fields along a path, with their keys, outermost first; for a union, those of all members.

    Args:
        model: What the path begins in.
        location: The path, in the document's keys.
    """
    annotations: list[Any] = [model]
    for part in location:
        inside: list[Any] = []
        for annotation in annotations:
            for key, field in _fields(annotation):
                if key == part:
                    yield key, field
            inside += _inside(annotation, part)
        annotations = inside


def _keys(model: type[BaseModel], location: Location) -> set[str]:
    """The keys that a mapping of the document accepts."""
    annotations: list[Any] = [model]
    for part in location:
        annotations = [inner for each in annotations for inner in _inside(each, part)]
    return {key for each in annotations for key, _ in _fields(each)}


def _fields(annotation: Any) -> list[tuple[str, FieldInfo]]:
    """A model's fields, by the keys that a document has."""
    return (
        [(field.alias or key, field) for key, field in annotation.model_fields.items()] if _is_model(annotation) else []
    )


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    for option in _options(annotation):
        if _is_model(option):
            # pydantic counts the kind of a snippet as a step; that of a file is called "path".
            if part in _kinds(option) or (part == "path" and "path" in option.model_fields):
                yield option
            for key, field in _fields(option):
                if part == key:
                    yield from _options(field.annotation)
        elif typing.get_origin(option) in (dict, list):
            yield from _options(typing.get_args(option)[-1])


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    """The names of the library's snippets."""
    use = model.model_fields.get("use")
    return typing.get_args(use.annotation) if use else ()


def _options(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for argument in typing.get_args(annotation):
            yield from _options(argument)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _position(path: Path, root: yaml.Node, location: Location, *, on_key: bool = False) -> Position:
    """The mark of the deepest part of ``location`` that exists."""
    node, deepest = root, root
    for index, part in enumerate(location):
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                continue  # A missing key, or the kind of a snippet, which pydantic counts as a step.
            node = pair[1]
            last = index == len(location) - 1
            deepest = pair[0] if (last and on_key) or not isinstance(node, yaml.ScalarNode) else node
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = deepest = node.value[part]
        else:
            break
    return _mark(path, deepest)


def _mark(path: Path, node: yaml.Node) -> Position:
    return Position.of(path, node.start_mark.line + 1, node.start_mark.column + 1)
