"""What long work is at: a line for each step, with its time; what it prints goes to a file, and is shown if it fails.

The standard library is all it uses, for its first steps come before there is a virtual environment.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_MARK = "step: "
_LAST = 25
"""Lines of the log that are shown of a step that failed."""


def tell(detail: str) -> None:
    """Say, in a program that is run as a step, what it is at: it is shown behind the step's title."""
    print(f"{_MARK}{detail}", flush=True)


class StepError(Exception):
    """A step failed; what there is to say has been said."""


class Steps:
    """Runs so many steps.

    Args:
        total: How many.
        log: The file for what they print; written anew.
    """

    def __init__(self, total: int, log: Path) -> None:
        self._total, self._log, self._number = total, log, 0
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        self._title = self._detail = ""
        self._since = 0.0
        self._shown = threading.Lock()

    def run(self, title: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> None:
        """Run a step whose output is noise.

        Raises:
            StepError: It did; the end of its output has been shown.
        """
        self._begin(title)
        done = threading.Event()
        ticking = threading.Thread(target=self._tick, args=(done,), daemon=True)
        if sys.stdout.isatty():
            ticking.start()
        printed: list[str] = []
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"\n[{self._number}/{self._total}] {title}: {' '.join(map(str, command))}\n")
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace",
            )  # fmt: skip
            assert process.stdout
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.startswith(_MARK):
                    self._detail = line.removeprefix(_MARK).strip()
                    self._show(whole=not sys.stdout.isatty())
                else:
                    printed = [*printed[1 - _LAST :], line.rstrip()]
            status = process.wait()
        done.set()
        if ticking.is_alive():
            ticking.join()
        self._end(", done in" if status == 0 else f", failed (status {status}) after")
        if status:
            print(*printed, f"All of its output is in {self._log}.", sep="\n", file=sys.stderr)
            raise StepError

    def show(self, title: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> None:
        """Run a step whose output is what people want to see.

        Raises:
            StepError: It did.
        """
        self._begin(title)
        if sys.stdout.isatty():
            print()
        status = subprocess.run(command, env=env).returncode
        self._end(", done in" if status == 0 else f", failed (status {status}) after")
        if status:
            raise StepError

    def _begin(self, title: str) -> None:
        self._number += 1
        self._title, self._detail, self._since = title, "", time.monotonic()
        self._show(whole=not sys.stdout.isatty())

    def _tick(self, done: threading.Event) -> None:
        while not done.wait(1):
            self._show(whole=False)

    def _show(self, *, whole: bool, state: str = " ...") -> None:
        seconds = int(time.monotonic() - self._since)
        detail = f": {self._detail}" if self._detail else ""
        text = f"[{self._number}/{self._total}] {self._title}{detail}{state} {seconds // 60}:{seconds % 60:02}"
        with self._shown:
            # A terminal's line is written over: to its beginning, and what is behind it cleared.
            print(text if whole else f"\r{text}\033[K", end="\n" if whole else "", flush=True)

    def _end(self, state: str) -> None:
        self._show(whole=not sys.stdout.isatty(), state=state)
        if sys.stdout.isatty():
            print()
