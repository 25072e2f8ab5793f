"""Work that is given up after a while, whatever it waits for: not every wait has a limit, such as for a name server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class DeadlineError(Exception):
    """Work has not ended in time."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What work returns, or raises, in a thread of its own, which does not keep a command from ending.

    Args:
        seconds: How long it may take.
        work: The work; past its time it goes on, and nobody hears of it.

    Raises:
        DeadlineError: It takes longer.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        if outcome.done():
            raise  # the work's own
        raise DeadlineError(f"no answer within {seconds:g} s") from None
