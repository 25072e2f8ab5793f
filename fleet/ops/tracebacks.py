"""What stopped a user's program, in a paragraph: Pulumi shows an exception with its whole stack of calls, twice."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fleet.errors import DEBUG
from fleet.hints import hint, nearest

_TRACE = "Traceback (most recent call last):\n"
_FRAME = re.compile(r'  File "([^"]+)", line (\d+)')
_CLASS = re.compile(r"(?:\w+\.)*(\w+)(?:: |$)")
_FOREIGN = {"site-packages", "dist-packages"}
_INVALID = re.compile(r"\d+ validation errors? for (\w+)\n")
_DETAIL = re.compile(r"^  (.*?) \[type=(\w+)(?:, .*, input_type=(\w+))?\]$")
_PREFIXES = re.compile(
    r"^(?:an unhandled error occurred: |python inline source runtime error: "
    r"|Program failed with an unhandled exception:\s*)+"
)
_OWN = ("FleetError", "UsageError", "RunError", "UnknownNodeError")
_CANCELED = re.compile(r"Exception: (context canceled|Resource monitor has terminated)")


def in_short(message: str, folder: Path) -> str:
    """What an error of the engine's says, without stacks of calls.

    An exception is told with the last line of the program that led to it; with ``FLEET_DEBUG``, as it is. Values that
    a model refuses are not shown: one may hold a secret.

    Args:
        message: The engine's.
        folder: The program's.

    Returns:
        A paragraph; nothing if the program only ended since the engine had.
    """
    text = _PREFIXES.sub("", message)
    _, mark, trace = text.rpartition(_TRACE)
    if not mark or os.environ.get(DEBUG):
        return text
    lines = trace.splitlines()
    end = next((index for index, line in enumerate(lines) if not line.startswith("  ")), len(lines))
    error = "\n".join(lines[end:]).strip()
    if not error:
        return text
    if _CANCELED.match(error):
        return ""
    return f"{_place(lines[:end], folder)}{_said(error)}"


def _place(frames: list[str], folder: Path) -> str:
    """The program's last line of a stack of calls, with a colon; nothing if there is none."""
    place, folder = "", folder.resolve()
    for frame in frames:
        match = _FRAME.match(frame)
        path = Path(match[1]) if match else None
        if match and path and path.is_relative_to(folder) and not _FOREIGN & {*path.parts}:
            place = f"{path.relative_to(folder)}:{match[2]}: "
    return place


def _said(error: str) -> str:
    """An exception as Python prints it, without its module."""
    match = _CLASS.match(error)
    if not match:
        return error
    name, text = match[1], error[match.end() :]
    if name in _OWN:
        return text
    if name == "ValidationError" and (invalid := _INVALID.match(text)):
        return " ".join(_problems(invalid[1], text[invalid.end() :]))
    if unknown := re.match(r"cannot import name '(\w+)' from 'fleet'", text):
        import fleet

        return f"fleet has no {unknown[1]}. {nearest(unknown[1], fleet.__all__)}".rstrip()
    return f"{name}: {text}" if text else name


def _problems(model: str, text: str) -> list[str]:
    """What pydantic says of each field that is wrong, without its value.

    Args:
        model: The model's name.
        text: Its list: a field's place in a line, and what is wrong in the next.
    """
    problems, where = [], ""
    for line in text.splitlines():
        if not line.startswith("  "):
            where = line
        elif match := _DETAIL.match(line):
            problem, kind, given = match.groups()
            parent, _, field = where.rpartition(".")
            if kind == "extra_forbidden":
                known = set() if parent else _fields(model)
                problems.append(f"{model} has no {where}. {hint(field, known) if known else ''}".rstrip())
            elif given == "Output":
                problems.append(
                    f"{model}: {where} is an output, and what shapes a fleet is plain. Outputs are for texts in "
                    "snippets and containers: pass it in `variables`, and write `${name}` in the text."
                )
            else:
                problem = problem.removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
                problems.append(f"{model}: {where or 'it'}{': ' if kind == 'value_error' else ' '}{problem}.")
    return problems


def _fields(model: str) -> set[str]:
    """The fields of the models of the API that pydantic calls by a name."""
    import fleet

    classes = [getattr(fleet, name) for name in fleet.__all__]
    return {field for each in classes if each.__name__ == model for field in getattr(each, "model_fields", {})}
