"""Ignore files of builds, in Docker's syntax."""

from __future__ import annotations

from collections.abc import Sequence

from fleet.config import _transpiler
from fleet.errors import FleetError, Position


def not_ignored(text: str, names: Sequence[str], *, at: Position | None = None) -> list[str]:
    """The files of a build context that the ignore file does not exclude, in the same order.

    Args:
        text: The ignore file's text.
        names: Of files, relative to the build's folder.
        at: Where errors say that it is.

    Raises:
        FleetError: It has a pattern that is none; or the transpiler is missing or died.
    """
    reply = _transpiler.shared().call("ignored", text=text, names=list(names))
    if "error" in reply:
        raise FleetError(f"The ignore file cannot be read: {reply['error']}.", at=at)
    remaining: list[str] = reply.get("names", [])
    return remaining
