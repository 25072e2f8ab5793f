"""``fleet state``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.app import Folded

state = typer.Typer(
    cls=Folded,
    no_args_is_help=True,
    add_completion=False,
    help="A server that keeps the states of stacks, with journals: large fleets are made faster on it.",
)
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help="Where the states are kept; by default `fleet` in `$XDG_STATE_HOME`, or in `~/.local/state`.",
        show_default=False,
        file_okay=False,
    ),
]


def _where(folder: Path | None) -> list[str]:
    return ["--folder", str(folder)] if folder else []


@state.command("serve")
def state_serve(
    folder: Folder = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="The address and the port to listen at.")
    ] = "127.0.0.1:4780",
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", help="A certificate and those above it, PEM.", show_default=False, dir_okay=False),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="The certificate's key, PEM.", show_default=False, dir_okay=False)
    ] = None,
) -> None:
    """Keep states of stacks, for `fleet` and `pulumi`, until it is stopped.

    Needs `fcos-fleet-state`. The first start makes an access token, in the folder. An address that other machines
    reach needs a certificate.
    """
    from fleet.ops.state_server import run_server

    tls = [
        word
        for option, file in (("--tls-cert", tls_cert), ("--tls-key", tls_key))
        if file
        for word in (option, str(file))
    ]
    run_server(["serve", *_where(folder), "--listen", listen, *tls])


@state.command("token")
def state_token(
    name: Annotated[str, typer.Argument(help="Whose it is: history names it.", show_default=False)],
    folder: Folder = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take away the tokens that NAME has.", show_default=False)
    ] = False,
) -> None:
    """Print a new access token for somebody of the team; it is shown this once."""
    from fleet.ops.state_server import run_server

    run_server(["token", *_where(folder), *(["--remove"] if remove else []), "--", name])
