"""What is said of a node while it is waited for, and when that was in vain.

The lines go to whoever runs the update: :func:`fleet.dynamic.provider.tell`. Looking at a node's console, or into its
journal, never decides whether it is ready: what fails there is left out.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from fleet.diagnosis import Journal, diagnose
from fleet.dynamic.provider import tell
from fleet.errors import FleetError
from fleet.masking import Mask
from fleet.phases import Progress, phase
from fleet.plan.report import Report

if TYPE_CHECKING:
    from fleet.dynamic.ready import Watcher
    from fleet.probes import NotReadyError, Turn

_PATIENCE = 0.5
"""Seconds that a turn waits for a console: a file is there at once, an API may take its time."""

_RESPONSE = re.compile(r"(?:^|; )([^;]+ timed out after [^;]+; last response: .*)$", re.DOTALL)
"""What a probe was answered, behind what the report says."""


class Waiting:
    """A node that is waited for.

    Args:
        node: Its name.
        watcher: What shows its console, if anything does.
        settle: Seconds that what is to run on it must have run.
        mask: Takes secrets out of what is said.
        journal: Reads the end of a unit's journal; none where it cannot.
    """

    def __init__(
        self, node: str, watcher: Watcher | None, *, settle: float, mask: Mask, journal: Journal = lambda unit: ()
    ) -> None:
        self._node, self._settle, self._mask, self._journal = node, settle, mask, journal
        self._console = _Console(watcher)
        self._progress = Progress()
        self._limit = 0.0

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self._console.close()

    def turn(self, turn: Turn) -> None:
        """Tell where the node is, if that is news."""
        self._limit = turn.limit
        # Of a node that reports, its console knows no more.
        text = None if turn.report else self._console.text()
        text = None if text is None else self._mask(text)
        now = phase(text, turn.report, settle=self._settle, answer=turn.answer)
        if line := self._progress.line(now, turn.seconds, turn.limit):
            tell(self._mask(f"{self._node}: {line}"))

    def failure(self, error: NotReadyError) -> FleetError:
        """Why the node did not get ready, as what ends the update: the first cause, what to do, what shows it.

        Args:
            error: What was asked last, and what the answer was.
        """
        answer = str(error)
        report: Report | None = error.report
        text = "" if report else self._mask(self._console.text() or "")
        journal: Journal = lambda unit: self._mask("\n".join(self._journal(unit))).split("\n")  # noqa: E731
        why = diagnose(text, report, settle=self._settle, answer=answer, journal=journal)
        after = f" after {self._limit:g} s" if why.known else ""
        evidence = [line for line in why.evidence if line not in why.cause]
        # What the report says is in the cause.
        last = _RESPONSE.search(answer) if report else None
        if why.known and (last or not report):
            evidence.append(last[1] if last else answer)
        first = f"Node {self._node} is not ready{after}: {why.cause}."
        if why.others:
            evidence.append(f"Not well either: {'; '.join(why.others)}.")
        shown = "".join(f"\n  {line}" for line in evidence)
        refused = FleetError(first, fix=f"{why.fix}{shown}") if why.fix else FleetError(f"{first}{shown}")
        refused.hide(self._mask)
        return refused


class _Console:
    """A console that is read in a thread: nobody waits for an API that does not answer."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher
        self._text: str | None = None
        self._reading: threading.Thread | None = None

    def text(self) -> str | None:
        """The console's end, as far as it is known; ``None`` if it cannot be read, or has not been yet."""
        if self._watcher and not (self._reading and self._reading.is_alive()):
            self._reading = threading.Thread(target=self._read, args=(self._watcher,), daemon=True)
            self._reading.start()
        if self._reading:
            self._reading.join(_PATIENCE)
        return self._text

    def _read(self, watcher: Watcher) -> None:
        try:
            self._text = watcher.console()
        # Whatever goes wrong with another's API or tool, the node may well be getting ready.
        except Exception:
            self._text = None

    def close(self) -> None:
        """Let go of what reading needs."""
        if close := getattr(self._watcher, "close", None):
            close()
