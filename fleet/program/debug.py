"""What Pulumi's SDK notes for ``--debug``: 27 lines for each node.

It sends each line to the engine, whether the engine shows such lines or not, and waits for the answer. Only the engine
knows whether it does. So lines are sent many at a time, which costs next to nothing; none is where nobody can see them.
Lines about a resource, and all that is no debug line, go their way at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pulumi import log

_MOST = 200
"""Lines that are sent together."""
_SECONDS = 0.2
"""How long a line waits for others."""


class DebugLines:
    """Debug lines that wait to be sent.

    Args:
        send: Takes several lines as one message.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._lines: list[str] = []

    def add(self, message: str) -> None:
        """Have a line be sent soon."""
        self._lines.append(message)
        if len(self._lines) >= _MOST:
            self.flush()
        elif len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(_SECONDS, self.flush)
            except RuntimeError:
                # Nobody comes back here in time.
                self.flush()

    def flush(self) -> None:
        """Send what waits."""
        lines, self._lines = self._lines, []
        if lines:
            self._send("\n".join(lines))


def gather_debug() -> None:
    """From now on, have the SDK's debug lines be sent many at a time: in a process that runs fleet's own program."""
    at_once, failed = log.debug, log.error
    lines = DebugLines(at_once)

    def debug(msg: str, resource: Any = None, stream_id: int | None = None, ephemeral: bool | None = None) -> None:
        if resource is None and stream_id is None:
            lines.add(msg)
        else:
            at_once(msg, resource, stream_id, ephemeral)

    def error(*arguments: Any, **options: Any) -> None:
        # What led to it comes first, and the process may be about to end.
        lines.flush()
        failed(*arguments, **options)

    log.debug, log.error = debug, error


def drop_debug() -> None:
    """From now on, have the SDK's debug lines go nowhere: in the process of a command that does not ask for them."""
    log.debug = lambda *arguments, **options: None
