"""YAML 1.2's core schema for PyYAML, which reads plain scalars as YAML 1.1 does: there, ``22:22`` is the number 1342,
``no`` is false and ``0644`` is 420. Butane and Compose read YAML 1.2 (yaml.org/spec/1.2.2, chapter 10.3).

One thing differs from the schema: a number with leading zeros is text, since nobody means the decimal number by it.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

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
    """A whole number that is written in another way than Python would, such as 0x1f; its text is as it is written."""

    text: str

    def __str__(self) -> str:
        return self.text


class Real(float):
    """A number that is written in another way than Python would, such as 1.10 or 1e3; its text is as it is written."""

    text: str

    def __str__(self) -> str:
        return self.text


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's core schema."""

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
