"""What commands show and ask at a terminal, or write into a pipe."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fleet.cli.board import Board

if TYPE_CHECKING:
    from fleet.plan import FleetPlan

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Terminal:
    """The :class:`fleet.ops.ui.Ui` of the command line; as a context, it shows a table once an update begins."""

    def __init__(self) -> None:
        self._board = Board(out)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._board.end()

    def say(self, subject: str, text: str) -> None:
        """Show a line about a node, or, with an empty subject, about the fleet."""
        self._board.say(subject, text)

    def warn(self, text: str) -> None:
        """Show a line on standard error: standard output may be a config, or JSON."""
        err.print(text, markup=False)

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
        with Progress(*columns, console=err, transient=True) as bar:
            tasks: dict[str, Any] = {}

            def progress(step: str, done: int, total: int | None) -> None:
                if step not in tasks:
                    tasks[step] = bar.add_task(step, total=total)
                bar.update(tasks[step], completed=done, total=total)

            yield progress

    def passphrase(self, prompt: str) -> str | None:
        """Ask for a passphrase, which is not shown; ``None`` where there is no terminal."""
        return getpass.getpass(prompt) if sys.stdin.isatty() else None
