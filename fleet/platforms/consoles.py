"""Serial consoles of machines that a platform's API or tools show, and nothing here can see run."""

from __future__ import annotations

import json
import time
from typing import Any

from fleet.errors import FleetError

_AGAIN = 8.0
"""Seconds for which an answer serves: APIs count their calls."""
_PATIENCE = 3
"""Failures in a row, after which the API is not asked any more."""
END = 512 * 1024
"""Bytes of a console's end: a line that systemd redraws twice a second for half an hour is that long."""


class AskedConsole:
    """A :class:`fleet.dynamic.ready.Watcher` that shows a console, and knows no more of its machine.

    Args:
        argument: JSON: what tells the machine.

    Attributes:
        place: What tells the machine.
    """

    def __init__(self, argument: str) -> None:
        self.place: dict[str, Any] = json.loads(argument)
        self._text, self._asked, self._failures = "", 0.0, 0
        self._error: FleetError | None = None

    def alive(self) -> bool:
        """That cannot be known."""
        return True

    def reaches(self, local_port: int) -> bool:
        """Nothing stands between."""
        return True

    def console(self) -> str:
        """The end of the console, as of a few seconds ago at most.

        Raises:
            FleetError: It cannot be had; says why.
        """
        if self._failures < _PATIENCE and (not self._asked or time.monotonic() - self._asked > _AGAIN):
            try:
                self._text, self._error, self._failures = self.read(), None, 0
            except FleetError as error:
                self._error = error
                self._failures += 1
            self._asked = time.monotonic()
        if self._error:
            raise self._error
        return self._text

    def read(self) -> str:
        """Ask for the console's end.

        Raises:
            FleetError: It cannot be had; says why.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what reading needs."""
