"""The Go child process that translates, validates and merges.

One process serves a whole Python process: it starts at the first request and ends with the interpreter, since its
standard input closes then. Requests and replies are JSON lines, described in ``transpiler/main.go``. Calls from
several threads (Pulumi runs ``Output.apply`` in them) take turns.
"""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from fleet.errors import FleetError

BINARY = Path(__file__).with_name("fleet-transpiler")


class Transpiler:
    """A running child.

    Raises:
        FleetError: The binary is missing from the installation, or the child died.
    """

    def __init__(self, binary: Path = BINARY) -> None:
        self._lock = threading.Lock()
        try:
            self._process = subprocess.Popen(
                [binary],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # No file the program opened, and no signal meant for it, reaches the child.
                close_fds=True,
                start_new_session=True,
                env={},
            )
        except OSError as error:
            raise FleetError(
                f"The transpiler at {binary} cannot be started ({error.strerror}).",
                fix="Install fleet again with `pip install`; its wheel carries the binary.",
            ) from error

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one request and return its reply."""
        line = json.dumps({"op": op, **fields}, separators=(",", ":")).encode() + b"\n"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            try:
                stdin.write(line)
                stdin.flush()
                reply = stdout.readline()
            except OSError:
                reply = b""
        if not reply:
            status = self._process.poll()
            raise FleetError(
                f"The transpiler ended before it answered (status {status}).",
                fix="Run the command again; if it ends again, report it with the spec that made it end.",
            )
        answer: dict[str, Any] = json.loads(reply)
        return answer


_shared: Transpiler | None = None
_starting = threading.Lock()


def shared() -> Transpiler:
    """The child of this process, started on first use."""
    global _shared
    with _starting:
        if _shared is None:
            _shared = Transpiler()
        return _shared
