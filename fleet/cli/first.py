"""Commands whose first argument, the spec, may be left out though others follow: ``fleet ssh web-0``.

A word is the spec if it is a file, a folder, or is written as one: it ends in ``.yaml`` or another ending of specs, or
begins with a dot or a slash. Otherwise it is the argument after it, such as a node or a number, and the spec is this
folder's. A folder that is called as a node is (``web-0``) counts only if it has a project file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperArgument, TyperCommand

_NODE = re.compile(r"([a-z][a-z0-9-]*/)?[a-z][a-z0-9-]*-[0-9]+|[0-9]+")
"""A node, with its fleet or without, or a number."""
_ENDINGS = (".yaml", ".yml", ".json", ".py")


def is_source(word: str) -> bool:
    """Whether a word is a spec or a program's folder, not what comes after it.

    Args:
        word: As typed.
    """
    path = Path(word)
    if word.startswith((".", "/", "~")) or path.suffix in _ENDINGS or path.is_file():
        return True
    if not path.is_dir():
        return False
    from fleet.project import project_file  # slow to import, and seldom needed

    return not _NODE.fullmatch(word) or project_file(path) is not None


class SpecFirst(TyperCommand):
    """A command whose first argument is the spec, which may be left out."""

    def make_parser(self, ctx: Any) -> Any:
        """The parser, which has the words after the spec where they belong."""
        parser = super().make_parser(ctx)
        arguments = [each for each in self.params if isinstance(each, TyperArgument)]
        parse = parser.parse_args

        def parse_args(args: list[str]) -> tuple[dict[str, Any], list[str], list[Any]]:
            values, rest, order = parse(args)
            first = values.get(str(arguments[0].name))
            if first is not None and not is_source(first):
                values, rest = _shifted(values, arguments, rest)
            return values, rest, order

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser


def _shifted(
    values: dict[str, Any], arguments: Sequence[TyperArgument], rest: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """The values of arguments, each given to the one after it, and what is left."""
    words: list[str] = []
    for argument in arguments:
        value = values.get(str(argument.name))
        words += [] if value is None else [value] if argument.nargs == 1 else value
    shifted = {**values, str(arguments[0].name): None}
    for argument in arguments[1:]:
        if argument.nargs == 1:
            shifted[str(argument.name)] = words.pop(0) if words else None
        else:
            shifted[str(argument.name)], words = tuple(words) or None, []
    return shifted, [*words, *rest]
