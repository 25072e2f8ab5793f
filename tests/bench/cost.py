"""What a command takes."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one command took.

    Attributes:
        seconds: From its start to its end.
        mib: The most memory that one of its processes had, resident.
    """

    seconds: float
    mib: float


def cost(folder: Path, *command: str) -> Cost:
    """Run a command of a project.

    Raises:
        RuntimeError: It failed.
    """
    begin = time.perf_counter()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} failed: {(folder / 'output').read_text()}")
    return Cost(time.perf_counter() - begin, usage.ru_maxrss / 1024)
