"""The user interface of commands, as :mod:`fleet.ops` sees it instead of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fleet.images import Progress
    from fleet.ops.events import Event
    from fleet.plan import FleetPlan


class Ui(Protocol):
    """Shows what a command does. Who has no terminal, such as a service, brings another one."""

    def event(self, event: Event) -> None:
        """Show something that happened; to people, its text, if it has one."""
        ...

    def say(self, subject: str, text: str) -> None:
        """Show a line about a node, or, with an empty subject, about the fleet: the event :class:`events.Note`."""
        ...

    def warn(self, text: str) -> None:
        """Show a line that is not part of the command's output, which may be a config, or JSON."""
        ...

    def begin(self, plan: FleetPlan, changing: Sequence[str]) -> None:
        """An update begins.

        Args:
            plan: What is planned.
            changing: The names of the nodes that are to change.
        """
        ...

    def download(self) -> AbstractContextManager[Progress]:
        """A context in which progress of downloads is shown."""
        ...

    def passphrase(self, prompt: str) -> str | None:
        """Ask for a passphrase, which is not shown.

        Args:
            prompt: The question.

        Returns:
            What was typed; ``None`` where nobody can be asked.
        """
        ...
