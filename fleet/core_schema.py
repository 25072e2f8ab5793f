"""YAML 1.2's core schema for PyYAML, which reads plain scalars as YAML 1.1 does.

There, ``22:22`` is the number 1342, ``no`` is false and ``0644`` is 420. Butane and Compose read YAML 1.2
(yaml.org/spec/1.2.2, chapter 10.3).

One thing differs from the schema: a number with leading zeros is text, since nobody means the decimal number by it.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

_FLOAT = (
    r"[-+]?(?:(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
    ("merge", r"<<", ["<"]),
)


class Integer(int):
    """A whole number in a notation that is not Python's own, such as 0x1f; its text is kept as written."""

    text: str

    def __str__(self) -> str:
        return self.text


class Real(float):
    """A number in a notation that is not Python's own, such as 1.10 or 1e3; its text is kept as written."""

    text: str

    def __str__(self) -> str:
        return self.text


_DEEPEST = 100
"""Maximum nesting depth of a document; real ones have about a dozen levels."""
_MOST_BY_ALIASES = 100_000
"""Maximum number of nodes that all aliases of a document may expand to."""


class Plain(yaml.SafeLoader):
    """PyYAML's safe loader, which reads YAML 1.1, as Pulumi's files are written, within bounds.

    A document of ten lines can stand for a billion values by aliases of aliases, and whatever goes through the values,
    as everything does, would not come back; one that is nested deeply ends the interpreter's stack.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        # Levels around the node that is read; the most levels there were in the innermost anchored one.
        self._depth = self._deepest = 0
        self._by_aliases = self._count = 0
        self._anchored: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node, within the limits on depth and aliases."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._anchored:
                raise _refusal("an alias stands for what it is itself in", event)
            size, levels = self._anchored[id(node)]
            self._count += size
            self._by_aliases += size
            if self._by_aliases > _MOST_BY_ALIASES:
                what = f"aliases stand for more than {_MOST_BY_ALIASES} values"
                raise _refusal(what, event)
            self._go_down(self._depth + levels, event)
            return node
        count, deepest = self._count, self._deepest
        self._count += 1
        self._depth += 1
        self._deepest = 0
        self._go_down(self._depth, event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if getattr(event, "anchor", None) is not None:
            self._anchored[id(node)] = self._count - count, self._deepest - self._depth
        self._deepest = max(deepest, self._deepest)
        return node

    def _go_down(self, depth: int, event: yaml.Event) -> None:
        self._deepest = max(self._deepest, depth)
        if depth > _DEEPEST:
            what = f"it is nested more than {_DEEPEST} levels deep"
            raise _refusal(what, event)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError):
            # What PyYAML's constructors raise for a scalar that is none of its tag.
            what = f"this is no value of the type {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, what, node.start_mark) from None


def _refusal(what: str, event: yaml.Event) -> ComposerError:
    mark = event.start_mark
    return ComposerError(None, None, what, mark if isinstance(mark, yaml.Mark) else None)


class Loader(Plain):
    """:class:`Plain` with YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def read_int(self, node: yaml.ScalarNode) -> int:
        """A whole number."""
        text = str(self.construct_scalar(node))
        value = Integer(text, 0) if text.startswith(("0o", "0x")) else Integer(text)
        value.text = text
        return int(value) if repr(int(value)) == text else value

    def read_float(self, node: yaml.ScalarNode) -> float:
        """A number."""
        text = str(self.construct_scalar(node))
        value = Real(re.sub(r"\.(?=[iInN])", "", text))
        value.text = text
        return float(value) if repr(float(value)) == text else value


class Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which quotes what :class:`Loader` would read as something else."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _kind in (Loader, Dumper):
    for _tag, _pattern, _first in _SCALARS:
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
Loader.add_constructor("tag:yaml.org,2002:int", Loader.read_int)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.read_float)
