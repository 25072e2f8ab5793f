"""Functions of the user's own that a spec names: found, and judged by their source, before a rollout needs them.

A drain is called in the middle of a rollout, a probe once the first machine is there. What would fail then for a
mistyped name is refused when the spec is planned. No code of the user's is run for it: modules are found as an import
would find them, and their source is parsed.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from fleet.errors import Position, UsageError
from fleet.hints import nearest

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def check_function(name: str, folder: Path, *, arguments: str, at: Position) -> None:
    """Make sure that a function is there.

    What its source cannot tell, such as of a module in C, or one that imports all of another, is taken.

    Args:
        name: ``module:function``.
        folder: The project's: its modules are found, after those that are installed.
        arguments: The two arguments that it is called with, in words.
        at: Where the spec names it.

    Raises:
        UsageError: There is no such module or function, or it cannot be called so.
    """
    module, _, attribute = name.partition(":")
    spec = _find(module, folder)
    if spec is None:
        raise UsageError(
            f"There is no module {module}, which is to have the function {attribute}.",
            at=at,
            fix=f"Write {module.replace('.', '/')}.py in {folder}, or install what has it.",
        )
    file = Path(spec.origin or "")
    if spec.origin is None:
        raise UsageError(f"{module} is a folder without an __init__.py, which has no function {attribute}.", at=at)
    if file.suffix != ".py" or not file.is_file():
        return
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        raise UsageError(
            f"The module {module} cannot be read: {getattr(error, 'msg', '') or error}.", at=Position.of(file, line)
        ) from None
    names: dict[str, ast.AST | None] = {}
    for bound, definition in _bound(tree.body):
        names[bound] = definition
    if attribute not in names:
        if {"*", "__getattr__"} & names.keys():
            return
        raise UsageError(f"{file} has no function {attribute}.", at=at, fix=nearest(attribute, sorted(names)))
    definition = names[attribute]
    if isinstance(definition, ast.AsyncFunctionDef):
        raise UsageError(
            f"The function {attribute} of {file} is `async`, and nobody would wait for it.",
            at=at,
            fix="Write it with `def`; `asyncio.run` runs what is `async`.",
        )
    if isinstance(definition, _Function) and not definition.decorator_list and not _takes_two(definition.args):
        raise UsageError(
            f"The function {attribute} of {file} cannot be called with two arguments: {arguments}.",
            at=Position.of(file, definition.lineno, definition.col_offset + 1),
        )


def _find(module: str, folder: Path) -> ModuleSpec | None:
    """A module, without importing it or the packages that it is in."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    spec = spec or PathFinder.find_spec(top, [str(folder)])
    for index in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        places = list(spec.submodule_search_locations)
        spec = PathFinder.find_spec(".".join([top, *rest[: index + 1]]), places)
    return spec


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST | None]]:
    """The names that statements of a module bind, each with its definition, where that is one of a function.

    ``*`` stands for all of another module.
    """
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name, statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name.partition(".")[0], None) for alias in statement.names)
        else:
            for each in ast.walk(statement):
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    yield each.id, None
            for field in ("body", "orelse", "finalbody"):
                yield from _bound(getattr(statement, field, []))
            for handler in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
                yield from _bound(handler.body)


def _takes_two(parameters: ast.arguments) -> bool:
    """Whether a function can be called with two positional arguments."""
    positional = len(parameters.posonlyargs) + len(parameters.args)
    needed = positional - len(parameters.defaults)
    keyword_only = any(default is None for default in parameters.kw_defaults)
    return needed <= 2 and (positional >= 2 or parameters.vararg is not None) and not keyword_only
