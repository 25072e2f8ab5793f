"""What commands show and ask at a terminal, or write into a pipe."""

from __future__ import annotations

import contextlib
import functools
import getpass
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fleet.cli.table import aligned, span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from fleet.cli.board import Board
    from fleet.ops.events import Event, NodeResult
    from fleet.plan import FleetPlan


class _Late:
    """A console that is made when something is first asked of it: most commands print a line or none, without Rich."""

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(stderr=self._stderr, highlight=False, soft_wrap=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)

    def __enter__(self) -> Console:
        return self._console.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._console.__exit__(*error)


if TYPE_CHECKING:
    out, err = Console(), Console()
else:
    out, err = _Late(), _Late(stderr=True)
_MOST_ROWS = 20
"""Rows of a rollout's table; of nodes that stayed as they are, those that are too many are counted."""


def printable(text: str) -> str:
    """A text that does nothing to a terminal: names in specs, files and outputs of stacks may hold its sequences."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)


class Terminal:
    """The :class:`fleet.ops.ui.Ui` of the command line; as a context, it shows a table once an update begins."""

    @functools.cached_property
    def _board(self) -> Board:
        from fleet.cli.board import Board

        return Board(out)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if "_board" in vars(self):
            self._board.end()

    def event(self, event: Event) -> None:
        """Show an event's text; of what a rollout came to, a table too."""
        from fleet.ops.events import Summary  # what only prints a page of help sees no event

        if event.text:
            self._board.say(event.subject, event.text)
        if isinstance(event, Summary) and any(node.address for node in event.nodes):
            self._board.end()
            for line in results(event.nodes):
                out.print(line)

    def say(self, subject: str, text: str) -> None:
        """Show a line about a node, or, with an empty subject, about the fleet."""
        from fleet.ops.events import Note

        self.event(Note(subject, text))

    def warn(self, text: str) -> None:
        """Show a line on standard error: standard output may be a config, or JSON."""
        err.print(printable(text), markup=False)

    def begin(self, plan: FleetPlan, changing: Sequence[str]) -> None:
        """Begin to show what the nodes that are to change wait for."""
        self._board.begin(plan, changing)

    @contextlib.contextmanager
    def download(self) -> Iterator[Callable[[str, int, int | None], None]]:
        """A context in which progress of downloads is shown, as a bar for each step."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                   TimeRemainingColumn())  # fmt: skip
        # Where there is no terminal, it would leave an empty line.
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
            tasks: dict[str, Any] = {}

            def progress(step: str, done: int, total: int | None) -> None:
                if step not in tasks:
                    tasks[step] = bar.add_task(step, total=total)
                bar.update(tasks[step], completed=done, total=total)

            yield progress

    def passphrase(self, prompt: str) -> str | None:
        """Ask for a passphrase, which is not shown; ``None`` where there is no terminal."""
        return getpass.getpass(prompt) if sys.stdin.isatty() else None


def results(nodes: Sequence[NodeResult]) -> Iterator[str | Text]:
    """What a rollout came to, as a table: which nodes are new, how long each took, and where it is.

    Args:
        nodes: All, in their order.
    """
    room = _MOST_ROWS - sum(node.result != "unchanged" for node in nodes)
    shown, left = [], 0
    for node in nodes:
        if node.result == "unchanged" and room <= 0:
            left += 1
            continue
        room -= node.result == "unchanged"
        shown.append((node.node, node.result, span(node.seconds), node.address or "-", _ports(node)))
    yield from aligned(shown, header=("node", "result", "time", "address", "ports"))
    if left:
        yield f"and {left} more that are unchanged"


def _ports(node: NodeResult) -> str:
    """A node's ports, and where they are reached if that is elsewhere: "22→2222 8080"."""
    words = []
    for port, endpoint in node.endpoints.items():
        host, _, number = endpoint.rpartition(":")
        place = number if host == node.address else endpoint
        words.append(port if place == port else f"{port}→{place}")
    return " ".join(words)
