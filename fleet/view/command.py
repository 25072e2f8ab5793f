"""What ``fleet view`` does: serve a stack's page, or write it into a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fleet.errors import FleetError
from fleet.files import write_whole
from fleet.ops.observe import observer
from fleet.ops.ui import Ui
from fleet.view import page
from fleet.view.server import Opened, serve
from fleet.view.source import StackSource, details


def serve_page(spec: Path, stack: str, ui: Ui, *, port: int, opened: Opened, check: Callable[[], None]) -> None:
    """Serve a stack's page until this process is to stop.

    Args:
        spec: The spec.
        stack: The stack's name.
        ui: Asked for a passphrase.
        port: The port on the loopback address; 0: any that is free.
        opened: As :func:`fleet.view.server.serve`.
        check: Called every now and then; what it raises ends the server, and is passed on.

    Raises:
        FleetError: Anything is wrong with the spec or the stack, or the port is in use.
    """
    looking = observer(spec, stack, ui)
    try:
        serve(StackSource(looking), port=port, opened=opened, check=check)
    finally:
        looking.close()


def export_page(spec: Path, stack: str, ui: Ui, file: Path) -> None:
    """Write a stack's page, as it is now, into one file that needs nothing else.

    Args:
        spec: The spec.
        stack: The stack's name.
        ui: Asked for a passphrase.
        file: The file; one that is there is replaced.

    Raises:
        FleetError: Anything is wrong with the spec or the stack, or the file cannot be written.
    """
    source = StackSource(observer(spec, stack, ui))
    shown = source.look(wait=True)
    text = page.exported(shown, details(source, shown["nodes"]), written=time.time())
    try:
        write_whole(file, text)
    except OSError as error:
        raise FleetError(f"{file} cannot be written: {error.strerror}.") from None
