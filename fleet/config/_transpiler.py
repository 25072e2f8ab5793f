"""The Go child process that translates, validates and merges.

One process serves a whole Python process: it starts at the first request and ends with the interpreter, since its
standard input closes then. Requests and replies are JSON lines, described in ``transpiler/main.go``. Calls from
several threads (Pulumi runs ``Output.apply`` in them) take turns.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet.errors import FleetError

BINARY = Path(__file__).with_name("fleet-transpiler")
_AHEAD = 64
"""How many requests the child takes before their replies are read (``ahead`` in ``main.go``)."""


class Transpiler:
    """A running child; as a context manager it ends with the context.

    Args:
        binary: The program.
        environment: Its environment variables; none but for what asks a server, so that no config depends on any.

    Raises:
        FleetError: The binary is missing from the installation, or the child died.
    """

    def __init__(self, binary: Path = BINARY, *, environment: Mapping[str, str] | None = None) -> None:
        self._lock = threading.Lock()
        try:
            self._process = subprocess.Popen(
                [binary],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # No file the program opened, and no signal meant for it, reaches the child.
                close_fds=True,
                start_new_session=True,
                env=environment or {},
            )
        except OSError as error:
            raise FleetError(
                f"The transpiler at {binary} cannot be started ({error.strerror}).",
                fix="Install it again with `pip install --force-reinstall fcos-fleet`; its wheel carries the binary.",
            ) from error

    def __enter__(self) -> Transpiler:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one request and return its reply."""
        return self.calls(op, [fields])[0]

    def calls(self, op: str, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Send requests of one kind, which the child may answer on several cores, and return the replies in order."""
        lines = [json.dumps({"op": op, **fields}, separators=(",", ":")).encode() + b"\n" for fields in requests]
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        replies: list[dict[str, Any]] = []
        with self._lock, contextlib.suppress(OSError):
            for begin in range(0, len(lines), _AHEAD):
                batch = lines[begin : begin + _AHEAD]
                stdin.write(b"".join(batch))
                stdin.flush()
                for _ in batch:
                    if not (reply := stdout.readline()):
                        break
                    replies.append(json.loads(reply))
        if len(replies) < len(lines):
            status = self._process.poll()
            raise FleetError(
                f"The transpiler ended before it answered (status {status}).",
                fix="Run the command again; if it ends again, report it with the spec that made it end.",
            )
        return replies


_shared: Transpiler | None = None
_starting = threading.Lock()


def shared() -> Transpiler:
    """The child of this process, started on first use."""
    global _shared
    with _starting:
        if _shared is None:
            _shared = Transpiler()
        return _shared
