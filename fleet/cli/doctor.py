"""``fleet doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.exit_statuses import MISSING
from fleet.cli.options import StackName
from fleet.cli.terminal import out
from fleet.errors import UsageError

_MARKS = {True: "[green]ok[/green]     ", None: "[yellow]note[/yellow]   ", False: "[red]missing[/red]"}


def doctor(
    spec: Annotated[
        Path | None,
        typer.Argument(help="A spec, to look at what its stack needs, too.", show_default=False, readable=False),
    ] = None,
    *,
    stack: StackName,
) -> None:
    """Check what this machine lacks, and how to get it. Exit status 1 if something is missing.

    With a spec, for its stack: the provider's SDK and plugin, whether credentials are taken, the containers'
    registries, disk space, the clock. Nothing is changed, and no secret of the stack is read.
    """
    from rich.markup import escape

    from fleet.ops.doctor import findings

    if stack and spec is None:
        raise UsageError(
            "A stack is that of a spec's project.", fix=f"Name the spec, too: `fleet doctor SPEC --stack {stack}`."
        )
    complete = True
    for finding in findings(spec, stack):
        out.print(f"{_MARKS[finding.works]}  {escape(f'{finding.subject}: {finding.text}')}")
        complete = complete and finding.works is not False
    if not complete:
        raise typer.Exit(MISSING)
