"""``fleet migrate``."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.options import ConfigOf, PlatformOf, Spec
from fleet.cli.terminal import Terminal, out


def migrate(
    spec: Spec,
    platform: PlatformOf = None,
    stack: ConfigOf = None,
    to: Annotated[
        int | None, typer.Option("--to", help="The spec's version; by default the newest.", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the version into the spec.")] = False,
) -> None:
    """Show which nodes another version of the spec would re-provision, and what changes on them; change no node.

    What a spec of a version renders to never changes. A newer version brings what a newer fleet renders otherwise.
    """
    from fleet.ops.migrate import migration, write_version

    move = migration(spec, platform=platform, stack=stack, to=to)
    key = f"`version: {move.to}`"
    if move.version == move.to:
        of = f"{spec} is of version {move.to}{', the newest' if to is None else ''}; nothing to migrate."
        out.print(of, markup=False)
    else:
        for text in move.news:
            out.print(text, markup=False)
        terminal = Terminal()
        for name, changes in move.nodes.items():
            terminal.say(name, "would be re-provisioned")
            for line in map(str, changes) if changes else ["how its config is written"]:
                out.print(f"  {line}", markup=False)
        out.print(
            f"{spec}, from version {move.version} to {move.to}: {len(move.nodes)} of {move.count} nodes would be "
            "re-provisioned.",
            markup=False,
        )
    if not move.writes:
        return
    if write:
        write_version(spec, move.to)
        then = "; `fleet up` re-provisions them" if move.nodes else ", which changes no node"
        out.print(f"{spec}: {key} written{then}.", markup=False)
    elif move.version == move.to:
        out.print(f"It does not say so: `--write` writes {key}, which changes no node.", markup=False)
    else:
        out.print(f"`--write` writes {key}.", markup=False)
