"""``fleet view``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.options import OwnSource, StackName
from fleet.cli.terminal import Terminal, out
from fleet.errors import FleetError
from fleet.ops.signals import SIGNALS

_NEEDED = ("jinja2", "starlette", "uvicorn")


def view(
    spec: OwnSource,
    stack: StackName,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to serve at; 0: one that is free.")] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the page as it is now into this one file, and end.", show_default=False),
    ] = None,
) -> None:
    """Show the stack as a web page that follows it, on this machine alone; it only looks."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise FleetError(
            f"`fleet view` needs {', '.join(missing)}, which are not installed.",
            fix="Install fleet with its extra: `pip install 'fcos-fleet[view]'`.",
        )
    from fleet.view.command import export_page, serve_page

    if export:
        export_page(spec, stack, Terminal(), export)
        out.print(f"{export} written.", markup=False)
        return

    def opened(url: str, once: str) -> None:
        out.print(url, markup=False)
        out.print("Ctrl-C ends it.")
        if open_:
            import webbrowser

            webbrowser.open(once)

    serve_page(spec, stack, Terminal(), port=port, opened=opened, check=SIGNALS.check)
