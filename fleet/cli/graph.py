"""``fleet graph``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.options import ConfigOf, PlatformOf, Spec
from fleet.cli.terminal import Terminal, out


class Form(StrEnum):
    """The formats of :mod:`fleet.ops.graph`."""

    SVG = "svg"
    DOT = "dot"
    MERMAID = "mermaid"


def graph(
    spec: Spec,
    platform: PlatformOf = None,
    stack: ConfigOf = None,
    form: Annotated[Form, typer.Option("--format", help="What to write.")] = Form.SVG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; standard output by default.", show_default=False)
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="With the states of the stack's nodes, which are asked as `status` asks them."),
    ] = False,
) -> None:
    """Draw the fleet: groups, nodes, containers, ports and who may reach them, disks, networks, names.

    Needs no secret and no passphrase. With a stack, for its platform and options, and with the addresses of what is
    deployed where the stack's state is in files. With `--live`, what `status` needs.
    """
    from fleet.errors import UsageError
    from fleet.files import write_whole
    from fleet.ops.graph import drawn
    from fleet.ops.topology import read_topology
    from fleet.program.topology import with_states

    topology = read_topology(spec, platform=platform, stack=stack)
    if live:
        if not stack:
            raise UsageError("`--live` is about the nodes of a stack.", fix="Name it: `--stack NAME`.")
        from fleet.ops.session import session

        nodes = session(spec, stack, Terminal()).status().nodes
        topology = with_states(topology, {node.node: (node.state, node.reason) for node in nodes})
    text = drawn(topology, form.value)
    if output is None:
        print(text, end="")
        return
    try:
        write_whole(output, text)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}.") from None
    out.print(f"{output}: written.", markup=False)
