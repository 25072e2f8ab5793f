"""``fleet --version``, and what stands before all commands."""

from __future__ import annotations

from typing import Annotated

import typer


def _show(wanted: bool) -> None:
    """Print the versions of fleet, and of what makes configs and deploys them; then end."""
    if not wanted:
        return
    from fleet.ops.version import text

    print(text(), end="")
    raise typer.Exit


def everything(
    version: Annotated[
        bool, typer.Option("--version", callback=_show, is_eager=True, help="Show versions, and exit.")
    ] = False,
) -> None:
    """Take options that stand before the command."""
