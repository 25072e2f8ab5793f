"""The server of `fleet state serve`, which keeps states with journals, and what commands ask of it.

It is a program of its own, ``fleet-state`` (``state/`` in the sources, the distribution ``fcos-fleet-state``): with
Pulumi's package that replays journals, it is four times as large as the rest of fleet.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fleet.errors import FleetError

PROGRAM = "fleet-state"
_PATIENCE = 2.0
"""Seconds that a service has for saying what it can do."""


def run_server(arguments: Sequence[str]) -> NoReturn:
    """Run the server's program in place of this process.

    Args:
        arguments: Its own.

    Raises:
        FleetError: It is not installed, or cannot be run.
    """
    beside = Path(sys.executable).with_name(PROGRAM)
    program = str(beside) if beside.exists() else shutil.which(PROGRAM)
    if not program:
        raise FleetError(f"{PROGRAM} is not installed.", fix="`pip install fcos-fleet-state` brings it.")
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        raise FleetError(f"{program} cannot be run: {error.strerror}.") from None


def has_journal(url: str, release: Callable[[], str]) -> bool:
    """Whether an update of a stack writes each step to a journal of `fleet state serve`.

    Then the engine need not bring a whole state up to date in memory at every step, which nobody reads but where the
    state is written whole, and takes most of an update's time at hundreds of nodes (``runEngineAction`` in
    ``pkg/backend/httpstate/backend.go`` of github.com/pulumi/pulumi). Of another service that is not known: one that
    offers no journal gets the state at the end alone, if the engine was told so.

    Args:
        url: The backend's.
        release: Asks for Pulumi's own release, such as "v3.274.1"; only called where it matters.
    """
    if not url.startswith(("http://", "https://")) or _is_set("PULUMI_DISABLE_JOURNALING"):
        return False
    import httpx

    try:
        answer: Any = httpx.get(f"{url.rstrip('/')}/api/capabilities", timeout=_PATIENCE).json()
        listed = {each["capability"]: each for each in answer["capabilities"]}
        newest = str(listed["fleet-journal"]["configuration"]["pulumi"])
        return _parts(release()) <= _parts(newest)
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


def _is_set(variable: str) -> bool:
    """Whether Pulumi takes an environment variable for true (``sdk/go/common/util/cmdutil``, IsTruthy)."""
    return os.environ.get(variable, "").lower() in {"1", "t", "true", "y", "yes"}


def _parts(release: str) -> tuple[int, int]:
    """The first two numbers of a release.

    Raises:
        ValueError: It has none.
    """
    major, minor = release.strip().removeprefix("v").split(".")[:2]
    return int(major), int(minor)
