"""The stream of events that ``--json`` prints."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fleet.cli.exit_statuses import exit_status
from fleet.errors import FleetError, FleetWarning, unexpected
from fleet.ops.events import Download, Error, Event, Note, Warned
from fleet.ops.signals import Stopped

if TYPE_CHECKING:
    from fleet.plan import FleetPlan


class Stream:
    """The :class:`fleet.ops.ui.Ui` of ``--json``: every event is a line of JSON on standard output.

    As a context, it ends with an event ``error`` where an error leaves it. When nobody reads any more, the command goes
    on, and what is left of the stream goes nowhere: a rollout must not stop half way for its reader's sake.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._show_warning: Any = None

    def __enter__(self) -> Stream:
        self._show_warning = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, FleetWarning):
                self.warn(str(message))
            else:
                self._show_warning(message, category, *rest, **more)

        warnings.showwarning = show
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        warnings.showwarning = self._show_warning
        match error:
            case None | SystemExit():
                pass
            case FleetError():
                self.event(Error(str(error), exit_status(error.exit_code)))
            case Stopped():
                self.event(Error(f"Stopped by {error}.", error.exit_code))
            case Exception():
                self.event(Error(unexpected(error), 1))

    def event(self, event: Event) -> None:
        """Print an event."""
        line = json.dumps(event.document(datetime.now(UTC)), ensure_ascii=False)
        with self._turn:
            try:
                print(line, flush=True)
            except BrokenPipeError:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stdout.fileno())
                os.close(nowhere)

    def say(self, subject: str, text: str) -> None:
        """Print a note."""
        self.event(Note(subject, text))

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.event(Warned(text))

    def begin(self, plan: FleetPlan, changing: Sequence[str]) -> None:
        """Nothing: events tell it."""

    @contextlib.contextmanager
    def download(self) -> Iterator[Callable[[str, int, int | None], None]]:
        """A context in which progress of downloads is told, at each tenth of a step."""
        told: dict[str, int] = {}

        def progress(step: str, done: int, total: int | None) -> None:
            tenth = done * 10 // total if total else 0
            if told.get(step) != tenth:
                told[step] = tenth
                self.event(Download(step, done, total))

        yield progress

    def passphrase(self, prompt: str) -> str | None:
        """Ask for a passphrase at the terminal itself; ``None`` where there is none."""
        return getpass.getpass(prompt) if sys.stdin.isatty() else None
