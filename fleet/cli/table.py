"""Tables: a line a row, in columns that are as wide as what is in them, at a terminal as in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.text import Text

Cell: TypeAlias = "str | Text"


def aligned(rows: Sequence[Sequence[Cell]], *, header: Sequence[str]) -> Iterator[Text]:
    """The lines of a table, the header first.

    No line is cut or wrapped, however narrow the terminal is, so a row stays one line for whoever searches it.

    Args:
        rows: Their cells, as many in each as the header has.
        header: The columns' names.
    """
    from rich.text import Text

    head: list[Cell] = [Text(name, "dim") for name in header]
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in (head, *rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            padded = cell.copy()
            padded.pad_right(width - cell.cell_len + 2)
            line.append_text(padded)
        line.rstrip()
        yield line


def span(seconds: float | None) -> str:
    """A length of time for people, in its two largest units: "41 s", "2 min 5 s", "3 h 12 min", "12 d 4 h".

    Args:
        seconds: The time; ``None``: it is not known, "-".
    """
    if seconds is None:
        return "-"
    left = max(round(seconds), 0)
    for size, large, part, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if left >= size:
            rest = left % size // part
            return f"{left // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{left} s"
