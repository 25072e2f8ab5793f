"""Unit files as systemd and Podman's generator read them (systemd.syntax(7), Podman's ``pkg/systemd/parser``)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fleet.config.template import NAME, Scalar, as_text
from fleet.errors import FleetError, Position, Remedy, UsageError
from fleet.workloads.quoting import escaped

_PLACEHOLDER = re.compile(rf"\$(\$?)\{{({NAME})\}}")


class UnitEntry(NamedTuple):
    """A key of a unit file.

    Attributes:
        section: Its section, such as "Container".
        key: The key.
        value: What is behind the ``=``, lines joined.
        at: Where it stands.
    """

    section: str
    key: str
    value: str
    at: Position


@dataclass(frozen=True)
class UnitFile:
    """What a unit file, with its drop-ins, says.

    Attributes:
        entries: All of it, in order: of keys that take one value the last one counts.
    """

    entries: tuple[UnitEntry, ...]

    def all(self, section: str, key: str) -> list[UnitEntry]:
        """A key that may stand several times; an empty value takes back those before it."""
        values: list[UnitEntry] = []
        for entry in self.entries:
            if (entry.section, entry.key) == (section, key):
                values = [*values, entry] if entry.value else []
        return values

    def last(self, section: str, key: str) -> UnitEntry | None:
        """A key that has one value."""
        return next((each for each in reversed(self.entries) if (each.section, each.key) == (section, key)), None)

    def value(self, section: str, key: str) -> str:
        """The value of such a key; empty if there is none."""
        entry = self.last(section, key)
        return entry.value if entry else ""


def parse_unit(text: str, name: str) -> list[UnitEntry]:
    """Parse a unit file.

    Args:
        text: Its text.
        name: What errors call it.

    Raises:
        UsageError: A line is none of a unit file.
    """
    entries: list[UnitEntry] = []
    section = ""
    for number, line in _logical_lines(text):
        at, stripped = Position(name, number), line.strip()
        if match := re.fullmatch(r"\[([^\[\]]+)\]", stripped):
            section = match[1]
            continue
        key, equals, value = stripped.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"`{stripped}` is no line of a unit file: one is `Key=value` or `[Section]`.", at=at)
        if not section:
            raise UsageError(f"`{key.strip()}` stands before the first section, such as `[Unit]`.", at=at)
        entries.append(UnitEntry(section, key.strip(), value.strip(), at))
    return entries


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, those that a backslash joins as one, each with the number of its first."""
    begun, whole = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip()[:1] in ("#", ";"):
            continue
        whole, begun = whole + line, begun or number
        if whole.endswith("\\"):
            whole = whole[:-1] + " "
            continue
        if whole.strip():
            yield begun, whole
        begun, whole = 0, ""
    if whole.strip():
        yield begun, whole


def fill_unit(text: str, values: Mapping[str, Scalar], *, name: str, masked: Collection[str] = ()) -> str:
    """Fill the placeholders ``${name}`` of a unit file; ``$${name}`` is the text ``${name}``.

    A value arrives as it is, whatever it holds, where it stands in double quotes; elsewhere one that would become
    several words, or end the line, is refused. What systemd would expand in it is doubled.

    Args:
        text: The unit file.
        values: By name. Each must be used, and no other may be.
        name: What errors call the file.
        masked: Variables whose value only stands for another one, and so is right wherever it stands.

    Raises:
        FleetError: A placeholder names no variable, a value cannot stand where it is to, or a variable is not used.
    """
    used: set[str] = set()
    filled, section, key, quote = [], "", "", ""
    joined = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip()[:1] in ("#", ";"):
            filled.append(line)
            continue
        if not joined:
            quote = ""
            if match := re.fullmatch(r"\s*\[([^\[\]]+)\]\s*", line):
                section = match[1]
            key = line.partition("=")[0].strip()
        command = section not in ("Unit", "Service", "Install") or key.startswith("Exec")
        parts, end = [], 0
        for match in _PLACEHOLDER.finditer(line):
            quote = _quote_after(line[end : match.start()], quote)
            parts.append(line[end : match.start()])
            end = match.end()
            if match[1]:
                parts.append(match[0][1:])
                continue
            at = Position(name, number, match.start() + 1)
            if match[2] not in values:
                known = f"The variables here are {', '.join(sorted(values))}." if values else "There are none here."
                raise FleetError(
                    f"`{match[0]}` names no variable.",
                    at=at,
                    fix=f"{known} For the text itself write `${match[0]}`.",
                )
            used.add(match[2])
            value = as_text(values[match[2]])
            parts.append(value if match[2] in masked else _written(value, quote, command, match[2], at))
        quote = _quote_after(line[end:], quote)
        filled.append("".join(parts) + line[end:])
        joined = line.endswith("\\")
    if unused := sorted(values.keys() - used):
        raise FleetError(
            f"It is given the variable {unused[0]}, but has no `${{{unused[0]}}}`.",
            at=Position(name),
            fix=Remedy.USE_VARIABLE,
        )
    return "\n".join(filled)


def _quote_after(text: str, quote: str) -> str:
    """The quote that is open behind a piece of a value: none, ``'`` or ``"``."""
    for match in re.finditer(r"\\.|['\"]", text):
        if match[0] == quote:
            quote = ""
        elif not quote and match[0] in ("'", '"'):
            quote = match[0]
    return quote


def _written(value: str, quote: str, command: bool, variable: str, at: Position) -> str:
    """A value as it is written in a unit file, where a quote is open."""
    expanded = value.replace("%", "%%")
    if command:
        expanded = expanded.replace("$", "$$")
    if quote == '"':
        return escaped(expanded, value, f"The variable {variable}")
    if not value or re.search(r"[\s'\"\\\x00-\x1f\x7f\x80]", value):
        raise FleetError(
            f"The value of {variable} is empty, or has white space, quotes, backslashes or control characters, and "
            f"stands {'in single' if quote else 'outside of double'} quotes here.",
            at=at,
            fix=f'Put the whole word in double quotes, as in `Environment="NAME=${{{variable}}}"`.',
        )
    return expanded
