"""The help of ``fleet`` and of its groups of commands, without what parses a command line.

``fleet --help`` is answered from :data:`PAGES`, which ``make docs`` writes from the commands themselves, and laid out
here as Typer and Rich do: those take most of the time that it would take. Whatever is out of the ordinary, such as a
narrow terminal or colours that are asked for, is left to them. A test compares both at every width.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing has it
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

PAGES = "pages.json"
"""The file beside this one: by the words of a group's call, such as "image", what its help says."""
_NARROWEST = 60
"""Columns. In fewer, more than the last column of a table would have to be folded."""
_TOLD = (
    *("FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("TYPER_USE_RICH", "_TYPER_FORCE_DISABLE_TERMINAL", "_FLEET_COMPLETE"),
)
"""Environment variables that change how Typer or Rich lays out its help, or what is asked of the command."""

Style = str
"""Parameters of the control sequence "select graphic rendition" (ECMA-48, 8.3.117); empty: as the terminal has it."""
Span = tuple[str, Style]
_PLAIN, _BOLD, _DIM, _NAME, _USAGE = "", "1", "2", "1;36", "1;33"
_BRACKET, _TYPE = "1;2;33", "1;33"


def shown(arguments: Sequence[str]) -> str | None:
    """The help that a call asks for; ``None``: it does not, or Typer is to answer.

    Args:
        arguments: Those of the process, the command's own path first.
    """
    command, *words = arguments
    if words[-1:] != ["--help"] or os.path.basename(command) != "fleet":  # noqa: PTH119
        return None
    if any(name in os.environ for name in _TOLD):
        return None
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        return None
    colours = sys.stdout.isatty()
    width = _width()
    if width < _NARROWEST or (colours and os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")):
        return None
    page = pages().get(" ".join(words[:-1]))
    return None if page is None else laid_out(page, width, colours=colours)


def pages() -> Mapping[str, Any]:
    """The pages; none if the file cannot be read."""
    import json

    try:
        with open(os.path.join(os.path.dirname(__file__), PAGES), encoding="utf-8") as file:  # noqa: PTH118, PTH120, PTH123
            read: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return {}
    return read


def laid_out(page: Mapping[str, Any], width: int, *, colours: bool) -> str:
    """The text of a page.

    Args:
        page: What it says: "usage", "help", "options" and "commands", as ``tools/help_pages.py`` writes it.
        width: Columns.
        colours: Whether a terminal shows it.
    """
    lines = [[(" " * width, _PLAIN)]]
    lines += [_padded([("Usage: ", _USAGE), (text, _BOLD)], width) for text in [page["usage"]]]
    lines += [[(" " * width, _PLAIN)]]
    lines += [_padded([(line, _PLAIN)], width) for line in _folded(page["help"], width - 2)]
    lines += [[(" " * width, _PLAIN)]]
    name, kind = (max(len(row[column]) for row in page["options"]) for column in (0, 1))
    options = (
        # The columns of short names and of what switches off are empty, and keep their distances.
        ([(word, _NAME), (" " * (name - len(word) + 8), _PLAIN), *_kind(value, kind)], text)
        for word, value, text in page["options"]
    )
    lines += _panel("Options", options, name + kind + 10, width)
    name = max(len(row[0]) for row in page["commands"])
    commands = (([(word, _NAME), (" " * (name - len(word) + 2), _PLAIN)], text) for word, text in page["commands"])
    lines += _panel("Commands", commands, name + 2, width)
    # Typer ends with an empty line.
    return "".join("".join(_drawn(span, colours=colours) for span in line) + "\n" for line in [*lines, []])


def _panel(title: str, rows: Iterator[tuple[list[Span], str]], begin: int, width: int) -> Iterator[list[Span]]:
    """A frame around rows whose last column, which begins at a place, is folded."""
    yield [(f"╭─ {title} {'─' * (width - len(title) - 5)}╮", _DIM)]
    for head, text in rows:
        for line in _folded(text, width - 4 - begin):
            inside = [*head, *_marked(line), (" " * (width - 4 - begin - len(line)), _PLAIN)]
            yield [("│", _DIM), (" ", _PLAIN), *inside, (" ", _PLAIN), ("│", _DIM)]
            head = [(" " * begin, _PLAIN)]
    yield [(f"╰{'─' * (width - 2)}╯", _DIM)]


def _kind(value: str, width: int) -> list[Span]:
    """What an option takes, such as "<bool>", in its column."""
    return [("<", _BRACKET), (value[1:-1], _TYPE), (">", _BRACKET), (" " * (width - len(value) + 2), _PLAIN)]


def _marked(line: str) -> Iterator[Span]:
    """A line in which options are marked."""
    for number, word in enumerate(line.split(" ")):
        if number:
            yield " ", _PLAIN
        bare = word.strip("`.,;:()")
        if bare.startswith("--") and len(bare) > 2:
            before, _, after = word.partition(bare)
            yield from ((before, _PLAIN), (bare, _NAME), (after, _PLAIN))
        else:
            yield word, _PLAIN


def _padded(spans: list[Span], width: int) -> list[Span]:
    room = width - 1 - sum(len(text) for text, _ in spans)
    return [(" ", _PLAIN), *spans, (" " * room, _PLAIN)]


def _folded(text: str, width: int) -> Iterator[str]:
    """Lines of whole words."""
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def _drawn(span: Span, *, colours: bool) -> str:
    text, style = span
    return f"\x1b[{style}m{text}\x1b[0m" if colours and style and text else text


def _width() -> int:
    """The columns of the terminal: what ``COLUMNS`` says, else those of a standard stream's, else 80."""
    if (columns := os.environ.get("COLUMNS", "")).isdigit():
        return int(columns)
    for stream in (0, 1, 2):
        try:
            return os.get_terminal_size(stream).columns or 80
        except OSError:
            continue
    return 80
