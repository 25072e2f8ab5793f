"""The rollout as a table at the terminal's end.

For every node that is to change it has the stage, since when, and what it waits for. What is done scrolls by above it,
line by line, as it does where there is no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from fleet.plan import FleetPlan

_MOST_ROWS = 12


class Board:
    """Shows lines about nodes, and, from :meth:`begin` until it is left as a context, the table.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: dict[str, _Stage] = {}
        self._waiting: dict[str, str] = {}
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Take the table away."""
        self._live.stop()

    def begin(self, plan: FleetPlan, changing: Sequence[str]) -> None:
        """Take nodes that are to change, beside those of before; the first line about a node ends its waiting."""
        self._waiting |= {name: what for name, what in _waits(plan) if name in changing}
        if self._console.is_terminal:
            self._live.start()

    def say(self, subject: str, text: str) -> None:
        """Show a line about a node, or, with an empty subject, about all.

        At a terminal, what tells only that time has passed changes the table alone.
        """
        from fleet.phases import STILL, read_progress  # a dozen patterns, which most commands have no use for

        if not (self._live.is_started and text.startswith(STILL)):
            self._console.print(Text.assemble((subject, "bold"), "  ", text) if subject else Text(text))
        if subject in self._waiting or subject in self._stages:
            self._waiting.pop(subject, None)
            if text.startswith("ready "):
                self._stages.pop(subject, None)
            else:
                phase, spent, limit = read_progress(text) or (text, 0, None)
                self._stages[subject] = _Stage(phase, time.monotonic() - spent, limit)
            if self._live.is_started:
                self._live.refresh()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for name, stage in list(self._stages.items()):
            limit = "" if stage.limit is None else f" of {stage.limit} s"
            table.add_row(
                Text(name, "bold"), Text(stage.text, "cyan"), Text(f"{now - stage.since:.0f} s{limit}", "dim")
            )
        room = max(_MOST_ROWS - len(self._stages), 1)
        for name, what in list(self._waiting.items())[:room]:
            table.add_row(Text(name, "bold"), Text(what, "dim"), "")
        if len(self._waiting) > room:
            table.add_row("", Text(f"and {len(self._waiting) - room} more that wait", "dim"), "")
        return table


class _Stage(NamedTuple):
    """What a node does, since when, and how many seconds it has for it, if there is a limit."""

    text: str
    since: float
    limit: int | None


def _waits(plan: FleetPlan) -> Iterator[tuple[str, str]]:
    """What each node waits for, in the order of their turns."""
    for group in plan.in_order:
        nodes = group.in_order
        for position, node in enumerate(nodes):
            behind = group.waits_for(position)
            if behind is not None:
                yield node.name, f"waits until {nodes[behind].name} is ready"
            elif group.after:
                yield node.name, f"waits until {', '.join(group.after)} is ready"
            else:
                yield node.name, "waits for its turn"
