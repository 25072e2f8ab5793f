"""SIGINT, SIGTERM and SIGHUP: the first ends this process cleanly, a second one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Protocol

from fleet.processes import lost_reader

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAME_HANG_UP = 1.0
"""Seconds within which a SIGHUP belongs to the signal before it: of a terminal that goes, the kernel and the shell both
tell, and systemd sends one right after SIGTERM (``SendSIGHUP=``).
"""


class Stopped(BaseException):
    """A signal asked this process to stop, and nothing is going on any more.

    Attributes:
        exit_code: What a shell shows for a process that the signal ended: 128 and the signal's number.
    """

    exit_code: int

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(signal.Signals(number).name)


class Stoppable(Protocol):
    """What may be going on in a process of its own."""

    running: bool

    def interrupt(self) -> None:
        """Have it end soon and cleanly."""
        ...

    def kill(self) -> None:
        """End it at once, with all that belongs to it."""
        ...


class Signals:
    """What was asked of this process.

    Attributes:
        number: The first signal that came; 0 if none did.
        engine: What is asked to end before this process does.
    """

    def __init__(self) -> None:
        self.number = 0
        self.engine: Stoppable | None = None
        self._since = 0.0
        self._say: Callable[[str], None] = lambda text: None

    def catch(self, say: Callable[[str], None]) -> None:
        """Take signals from now on.

        At the first, :class:`Stopped` is raised in the main thread, at once where the engine does not run, else by
        whoever waits for its end (:meth:`check`).

        Args:
            say: Shows a line.
        """
        self._say = say
        for number in _NUMBERS:
            # What nohup(1), or a shell in the background, has this process ignore stays ignored.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._asked)

    def check(self) -> None:
        """Go on if no signal came.

        Raises:
            Stopped: One did.
        """
        if self.number:
            raise Stopped(self.number)

    def _asked(self, number: int, frame: object) -> None:
        if self.number:
            if number != signal.SIGHUP or time.monotonic() - self._since > _SAME_HANG_UP:
                self._end(number)
            return
        self.number, self._since = number, time.monotonic()
        _drop_dead_outputs()
        if self.engine is None or not self.engine.running:
            raise Stopped(number)
        how = "press again" if number == signal.SIGINT else "send another signal"
        self._tell(f"Stopping after the step that is going on; {how} to stop at once.")
        self.engine.interrupt()

    def _end(self, number: int) -> None:
        if self.engine:
            self.engine.kill()
        self._tell("Stopped at once. The next `fleet up` looks for what was just being done, and goes on.")
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        # Threads still talk to the engine that is gone, and the interpreter would wait for them.
        os._exit(128 + number)

    def _tell(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._say(text)


def _drop_dead_outputs() -> None:
    """Have what is still to be said go nowhere where nobody reads it any more: what is cut off must not fail for it."""
    for number in (1, 2):
        if lost_reader(number, wait=False):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


SIGNALS = Signals()
"""This process's."""
