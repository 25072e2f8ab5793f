"""What a command takes, with all processes that it starts."""

from __future__ import annotations

import contextlib
import ctypes
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2)."""


@dataclass(frozen=True)
class Cost:
    """What one command took.

    Attributes:
        seconds: From its start to its end.
        cpu: Seconds of processors, of its own and the system's, of all of its processes.
        mib: The most memory that its processes had, resident: of those that nobody waited for, the sum, else the most
            of one.
    """

    seconds: float
    cpu: float
    mib: float


def cost(folder: Path, *command: str | Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command of a project.

    Nothing that it starts is missed: what outlives its parent, as the transpiler does, becomes a child of this process.

    Raises:
        RuntimeError: It failed.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    # Compiled once and kept, as an installed package is.
    wanted = {**os.environ, **(env or {})}
    wanted.pop("PYTHONDONTWRITEBYTECODE", None)
    # A process counts the memory of the one that it was forked from, so a small one starts it, and leaves it.
    started = ["/bin/sh", "-c", '"$@" & echo "$!" >"$0"', folder / "pid", *command]
    begin = time.perf_counter()
    with (folder / "output").open("w") as output:
        shell = subprocess.Popen(
            started, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=wanted
        )
        shell.wait()
    main = int((folder / "pid").read_text())
    seconds, usages = 0.0, []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(-1, 0)
            usages.append(usage)
            if pid == main:
                seconds = time.perf_counter() - begin
                if status:
                    raise RuntimeError(f"{command} failed: {(folder / 'output').read_text()}")
    cpu = sum(each.ru_utime + each.ru_stime for each in usages)
    return Cost(seconds, cpu, sum(each.ru_maxrss for each in usages) / 1024)


def medians(costs: Sequence[Cost]) -> Cost:
    """Of each figure, the median of several runs."""
    return Cost(
        statistics.median(each.seconds for each in costs),
        statistics.median(each.cpu for each in costs),
        statistics.median(each.mib for each in costs),
    )
