"""Placeholders: ``${name}`` in the values of a YAML document, filled from typed variables.

A value only ever fills the scalar it stands in. The document is parsed first; what a placeholder stands in is a scalar
of that parse, and is written back as one quoted scalar, whatever the value holds. A plain scalar that is nothing but a
placeholder takes the variable's type, so that ``mode: ${mode}`` is a number. ``$${name}`` is the text ``${name}``.
Other uses of ``$``, such as a shell's ``${x##*/}`` or ``$x``, are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import yaml

from fleet.core_schema import Plain
from fleet.errors import FleetError, Position, Remedy

Scalar = str | int | float | bool

ValueOf = Callable[[re.Match[str]], Scalar]
"""Returns the value of a reference."""

At = Callable[[yaml.Node], Position]
"""Returns the position of a node of a document."""

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
"""The names that variables can have."""

_PLACEHOLDER = re.compile(rf"\$(\$?)\{{({NAME})\}}")
_TAGS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}


def fill_text(text: str, values: Mapping[str, Scalar], *, name: str) -> str:
    """Fill the placeholders of a document; every line keeps its number.

    Args:
        text: YAML, or JSON.
        values: By name. Each must be used, and no other may be.
        name: What errors call the document.

    Raises:
        FleetError: A placeholder names no variable or stands where none can, or a variable is not used.
    """
    try:
        root = yaml.compose(text, Loader=Plain)
    except yaml.YAMLError:
        return text  # The transpiler says what is wrong with it, and where.

    def at(node: yaml.Node) -> Position:
        return Position(name, node.start_mark.line + 1, node.start_mark.column + 1)

    _refuse_in_keys(root, at)
    used: set[str] = set()
    replaced: list[tuple[int, int, str]] = []
    for node in _scalars(root):
        filled = _filled(node, _PLACEHOLDER, _value_of(node, values, used, at))
        if filled is None:
            continue
        begin, end = node.start_mark.index, node.end_mark.index
        source = text[begin:end]
        if source[:1] in "&!":
            raise FleetError("A placeholder cannot stand in a value that has an anchor or a tag.", at=at(node))
        # A block scalar ends behind its last line break, or in the next line's indentation.
        indentation = re.search(r"\n([ \t]*)$", source)
        rest = "\n" * source.count("\n") + (indentation[1] if indentation else "")
        replaced.append((begin, end, _written(filled) + rest))
    if unused := sorted(values.keys() - used):
        raise FleetError(
            f"It is given the variable {unused[0]}, but has no `${{{unused[0]}}}`.",
            at=Position(name),
            fix=Remedy.USE_VARIABLE,
        )
    for begin, end, new in sorted(replaced, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def fill_nodes(root: yaml.Node, values: Mapping[str, Scalar], at: At) -> set[str]:
    """Fill the placeholders of a parsed document, in place.

    Args:
        root: The document.
        values: The variables.
        at: Where a node of it stands.

    Returns:
        The names of the variables that it uses.

    Raises:
        FleetError: As :func:`fill_text`; a variable need not be used.
    """
    _refuse_in_keys(root, at)
    used: set[str] = set()
    fill_matches(root, _PLACEHOLDER, lambda node: _value_of(node, values, used, at))
    return used


def fill_matches(root: yaml.Node, pattern: re.Pattern[str], reader: Callable[[yaml.ScalarNode], ValueOf]) -> None:
    """Replace, in place, every match of a pattern in the values of a parsed document.

    Args:
        root: The document.
        pattern: Finds a reference.
        reader: Gives, for a scalar, what a reference in it stands for.
    """
    for node in _scalars(root):
        filled = _filled(node, pattern, reader(node))
        if filled is not None:
            node.tag = f"tag:yaml.org,2002:{_TAGS[type(filled)]}"
            node.value = as_text(filled)


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Every value node (no keys), once."""
    pending, visited = [root] if root is not None else [], set()
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        yield node
        if isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            pending.extend(value for _, value in node.value)


def _scalars(root: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    return (node for node in _nodes(root) if isinstance(node, yaml.ScalarNode))


def _refuse_in_keys(root: yaml.Node | None, at: At) -> None:
    for node in _nodes(root):
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and any(not m[1] for m in _PLACEHOLDER.finditer(key.value)):
                raise FleetError("A placeholder can fill a value, not a key.", at=at(key))


def _filled(node: yaml.ScalarNode, pattern: re.Pattern[str], value_of: ValueOf) -> Scalar | None:
    """The filled text of a scalar; ``None`` if it has no placeholder."""
    text = node.value
    if not pattern.search(text):
        return None
    whole = pattern.fullmatch(text)
    if whole and node.style is None:
        return value_of(whole)
    return pattern.sub(lambda match: as_text(value_of(match)), text)


def _value_of(node: yaml.ScalarNode, values: Mapping[str, Scalar], used: set[str], at: At) -> ValueOf:
    def read(match: re.Match[str]) -> Scalar:
        if match[1]:
            return match[0][1:]
        if match[2] not in values:
            known = f"The variables here are {', '.join(sorted(values))}." if values else "There are none here."
            raise FleetError(
                f"`${{{match[2]}}}` names no variable.",
                at=at(node),
                fix=f"{known} For the text itself write `$${{{match[2]}}}`.",
            )
        used.add(match[2])
        return values[match[2]]

    return read


def as_text(value: Scalar) -> str:
    """A value inside a longer text, as YAML would write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _written(value: Scalar) -> str:
    if not isinstance(value, str):
        return as_text(value)
    # YAML's double quotes: everything that is no plain printable character is written as its code point.
    return '"' + "".join(c if _plain(c) else f"\\U{ord(c):08x}" for c in value) + '"'


def _plain(c: str) -> bool:
    return c not in '"\\' and c.isprintable() and c != "\ufeff"
