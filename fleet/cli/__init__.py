"""The ``fleet`` command line."""

from __future__ import annotations

import gc
import sys

from fleet.cli.help import shown

COMMANDS = {
    "validate": "fleet.cli.app:validate",
    "render": "fleet.cli.app:render",
    "preview": "fleet.cli.app:preview",
    "diff": "fleet.cli.app:diff",
    "up": "fleet.cli.app:up",
    "ssh": "fleet.cli.app:ssh",
    "logs": "fleet.cli.app:logs",
    "replace": "fleet.cli.app:replace",
    "rollback": "fleet.cli.app:rollback",
    "destroy": "fleet.cli.app:destroy",
    "doctor": "fleet.cli.doctor:doctor",
    "graph": "fleet.cli.graph:graph",
    "history": "fleet.cli.history:history",
    "migrate": "fleet.cli.migrate:migrate",
    "new": "fleet.cli.new:new",
    "schema": "fleet.cli.schema:schema",
    "state": "fleet.cli.state:state",
    "status": "fleet.cli.status:status",
    "view": "fleet.cli.view:view",
    "image": "fleet.cli.image:image",
}
"""Where each command is, in the order of the help: a function, or a :class:`typer.Typer` with commands of its own.

A module is imported when one of its commands is called.
"""


def main() -> None:
    """Run the command; what needs no parsing of a command line, such as a page of help, is answered at once."""
    if (text := _answer()) is not None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            pass  # It happens to what follows, too, which says so.
        else:
            return
    # What is imported stays: to look through it for what is not used any more, again and again and twice at the end,
    # finds nothing, and took a quarter of the time of a command that only looks at a spec.
    gc.set_threshold(50_000, *gc.get_threshold()[1:])
    try:
        from fleet.cli.app import run

        run()
    finally:
        gc.freeze()


def _answer() -> str | None:
    if sys.argv[1:] != ["--version"]:
        return shown(sys.argv)
    from fleet.ops.version import text

    return text()
