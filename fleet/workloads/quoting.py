"""Quoting for Quadlet files.

A value passes two parsers on its way to the container. Podman's Quadlet generator reads the file: it joins lines that
end in a backslash and, in keys that take words (``Environment``, ``Label``, ``Exec``, ``Secret``, ``PodmanArgs``),
splits at white space, strips quotes and undoes C escapes (``pkg/systemd/parser/split.go``). It quotes the words again
into ``ExecStart``, where systemd then expands specifiers (``%``, systemd.unit(5)) and variables (``$``,
systemd.service(5), "Command lines"). Neither expansion can be quoted away: each sign is doubled.
"""

from __future__ import annotations

from fleet.errors import FleetError

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def expansions(text: str) -> str:
    """Double what systemd would expand in a command line."""
    return text.replace("%", "%%").replace("$", "$$")


def word(text: str, what: str) -> str:
    """One word of a command line, or of a key that takes words and writes them to one.

    Args:
        text: What must arrive, character for character.
        what: What it is, for the error.

    Raises:
        FleetError: It holds a NUL, which no process argument or environment can, or U+0080, which Podman garbles.
    """
    return _quoted(expansions(text), text, what)


def unit_word(text: str, what: str) -> str:
    """One word of a key that systemd reads itself and expands no variables in, such as ``RequiresMountsFor``.

    Raises:
        FleetError: As :func:`word`.
    """
    return _quoted(text.replace("%", "%%"), text, what)


def _quoted(expanded: str, text: str, what: str) -> str:
    return f'"{escaped(expanded, text, what)}"'


def escaped(expanded: str, text: str, what: str) -> str:
    """What stands between double quotes.

    Args:
        expanded: The text, what systemd would expand in it doubled.
        text: What must arrive.
        what: What it is, for the error.

    Raises:
        FleetError: As :func:`word`.
    """
    if "\0" in text:
        raise FleetError(f"{what} holds a NUL character, which no process argument can.", fix="Take it out.")
    if "\x80" in text:
        # charNeedsEscape() in split.go escapes it as the byte 0x80, which is no UTF-8.
        raise FleetError(f"{what} holds the character U+0080, which Podman's generator garbles.", fix="Take it out.")
    return "".join(_ESCAPES.get(c) or (f"\\x{ord(c):02x}" if c < " " or c == "\x7f" else c) for c in expanded)


def line(text: str, what: str) -> str:
    """The whole value of a key that takes its line as it is (``Image``, ``Volume``, ``User``, ...).

    Raises:
        FleetError: It cannot stand on one line of a unit file: control characters, white space at an end, or a
            backslash at the end, which would join the next line.
    """
    if text != text.strip() or text.endswith("\\") or any(c < " " or c == "\x7f" for c in text):
        raise FleetError(
            f"{what} is {text!r}, which cannot be written in a unit file.",
            fix="Take out control characters, white space at either end and a backslash at the end.",
        )
    return expansions(text)
