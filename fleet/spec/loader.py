"""Reading a spec so that every error names its line.

The YAML is composed to a graph of nodes with marks; values are constructed from it by PyYAML's safe schema and checked
by pydantic, whose errors carry the path of what is wrong; the path leads back to the mark.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleet.config.template import fill_nodes
from fleet.errors import FleetError, Position, UsageError
from fleet.library import LIBRARY
from fleet.spec.model import FleetSpec, Image, ImageHead
from fleet.spec.values import Head, Resolver, Values

Location = Sequence[str | int]


@dataclass(frozen=True)
class LoadedSpec:
    """A spec and where it came from.

    Attributes:
        path: Its file.
        fleet: What it says, variables filled in.
        values: The secrets and variables.
        root: Its YAML graph, for :meth:`at`.
    """

    path: Path
    fleet: FleetSpec
    values: Values
    root: yaml.Node

    @property
    def lock_path(self) -> Path:
        """Where its image lock is."""
        return self.folder / self.fleet.image.lock

    @property
    def folder(self) -> Path:
        """Relative paths in the spec start here."""
        return self.path.parent

    def at(self, *location: str | int) -> Position:
        """Where a part of the spec stands, such as ``at("groups", "web", "ready", 0)``."""
        return _position(self.path, self.root, location)


class SpecFile:
    """A spec whose values are not known yet.

    Args:
        path: Its file.

    Raises:
        UsageError: It cannot be read, is not YAML, or says in a wrong way where its values come from.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._root, value = _read(self.path)
        given = value if isinstance(value, dict) else {}
        with self._checked(self._root):
            self._head = Head.model_validate({key: given[key] for key in Head.model_fields if key in given})

    @property
    def secret(self) -> bool:
        """Whether it has any secret."""
        return bool(self._head.secrets)

    def values(self, resolver: Resolver) -> Values:
        """Find its values.

        Raises:
            FleetError: One cannot be had.
        """
        return resolver.resolve(self._head, self.path.parent, lambda *where: _position(self.path, self._root, where))

    def load(self, values: Values) -> LoadedSpec:
        """Fill in values and check the whole.

        Raises:
            UsageError: It does not say what a spec can say.
            FleetError: A placeholder names no variable.
        """
        root = copy.deepcopy(self._root)
        if self._head.variables:
            assert isinstance(root, yaml.MappingNode)
            for key, part in root.value:
                if key.value not in Head.model_fields:
                    fill_nodes(part, values.variables, name=str(Position.of(self.path)))
        with self._checked(root):
            fleet = FleetSpec.model_validate(yaml.SafeLoader("").construct_document(root))
        return LoadedSpec(path=self.path, fleet=fleet, values=values, root=root)

    @contextlib.contextmanager
    def _checked(self, root: yaml.Node) -> Iterator[None]:
        try:
            yield
        except ValidationError as error:
            raise _invalid(self.path, root, error.errors(include_url=False)) from None


def load_image(path: Path | str) -> tuple[Image, Path]:
    """What a spec says of the operating system's image, and where its image lock is; needs no values.

    Raises:
        UsageError: It cannot be read, or says it in a wrong way.
    """
    path = Path(path)
    root, value = _read(path)
    try:
        image = ImageHead.model_validate(value).image
    except ValidationError as error:
        raise _invalid(path, root, error.errors(include_url=False)) from None
    return image, path.parent / image.lock


def _read(path: Path) -> tuple[yaml.Node, Any]:
    """The document as a graph and as Python values."""
    at = Position.of(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError("There is no such spec.", at=at) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"The spec is not UTF-8 text (byte {error.start}).", at=at) from None
    except OSError as error:
        raise UsageError(f"The spec cannot be read: {error.strerror}.", at=at) from None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise UsageError("The spec is empty.", at=at, fix="It needs at least `name` and `groups`.")
        _refuse_duplicates(path, root)
        value = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Position.of(path, mark.line + 1, mark.column + 1) if mark else at
        context = f" {error.context}" if error.context else ""
        raise UsageError(f"The YAML cannot be read: {error.problem}{context}.", at=where) from None
    except yaml.YAMLError as error:
        raise UsageError(f"The YAML cannot be read: {error}.", at=at) from None
    return root, value


def _refuse_duplicates(path: Path, root: yaml.Node) -> None:
    """YAML forbids a key twice; PyYAML takes the last."""
    pending, done = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in done:
            continue
        done.add(id(node))
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


def _invalid(path: Path, root: yaml.Node, details: list[ErrorDetails]) -> FleetError:
    found = []
    for detail in details:
        location = [part for part in detail["loc"] if part != "[key]"]
        on_key = detail["type"] == "extra_forbidden" or "[key]" in detail["loc"]
        found.append((_position(path, root, location, on_key=on_key), _message(detail, location)))
    found.sort(key=lambda item: (item[0].line or 0, item[0].column or 0))
    (at, what), *more = found
    if more:
        what += " Also: " + " ".join(f"line {where.line}: {text}" for where, text in more)
    return UsageError(what, at=at)


def _message(detail: ErrorDetails, location: Location) -> str:
    name = next((str(part) for part in reversed(location) if isinstance(part, str)), "the spec")
    if location and isinstance(location[-1], int):
        name = f"item {location[-1] + 1} of {name}"
    kind, given = detail["type"], detail["input"]
    shown = f"{given!r}" if isinstance(given, str | int | float | bool) or given is None else type(given).__name__
    match kind:
        case "extra_forbidden":
            known = sorted(_keys(location[:-1]))
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"The keys here are: {', '.join(known)}."
            return f"There is no key `{name}`. {hint}"
        case "union_tag_invalid":
            known = sorted(kind for model in LIBRARY for kind in _kinds(model))
            return f"The library has no snippet {given.get('use')!r}. It has {', '.join(known)}."
        case "missing":
            return f"`{name}` is missing here."
        case "string_pattern_mismatch" if "[key]" in detail["loc"]:
            return (
                f"{given!r} is no name: use lower-case letters, digits and dashes, begin with a letter and do not end "
                "with a dash; data disks' names have 15 characters at most, others 63."
            )
        case "value_error":
            return f"`{name}`: {detail['msg'].removeprefix('Value error, ')}."
        case "model_type" | "dict_type" if given is None:
            return f"`{name}` is empty; write `{{}}` or what belongs there."
        case "model_type":
            return f"`{name}` must be a mapping (`key: value` lines), not {shown}."
        case _:
            message = detail["msg"].removeprefix("Input ")
            return f"`{name}` {message[0].lower()}{message[1:]}, but it is {shown}."


def _keys(location: Location) -> set[str]:
    """The keys that a mapping of the spec knows."""
    models: list[Any] = [FleetSpec]
    for part in location:
        step: list[Any] = []
        for model in models:
            step.extend(_inside(model, part))
        models = step
    return {key for model in models if _is_model(model) for key in model.model_fields}


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    for option in _options(annotation):
        if _is_model(option):
            if part in _kinds(option):
                yield option
            elif part in option.model_fields:
                yield from _options(option.model_fields[part].annotation)
        elif typing.get_origin(option) in (dict, list):
            yield from _options(typing.get_args(option)[-1])


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    """What a snippet of the library is called."""
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
    """The mark of the deepest part of ``location`` that is there."""
    node, found = root, root
    for index, part in enumerate(location):
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                continue  # A missing key, or the kind of a snippet, which pydantic counts as a step.
            node = pair[1]
            last = index == len(location) - 1
            found = pair[0] if (last and on_key) or not isinstance(node, yaml.ScalarNode) else node
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = found = node.value[part]
        else:
            break
    return _mark(path, found)


def _mark(path: Path, node: yaml.Node) -> Position:
    return Position.of(path, node.start_mark.line + 1, node.start_mark.column + 1)
