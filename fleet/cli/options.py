"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.cli import completion
from fleet.cli.exit_statuses import DETAILED


def _stack_of(context: typer.Context, name: str) -> str:
    """The stack that a command is about: the named one, else the one that the project has selected or only has."""
    if name or context.resilient_parsing:
        return name
    # An argument that was given is read before an option that was not.
    spec = context.params.get("spec")
    if spec is None:
        return ""
    from fleet.ops.stacks import current_stack  # what it imports takes longer than the command line to start

    return current_stack(spec)


def _source_of(context: typer.Context, source: Path | None) -> Path | None:
    """The spec or the program's folder that a command is about: the named one, else what this folder has."""
    if source is not None or context.resilient_parsing:
        return source
    from fleet.ops.stacks import current_source

    return current_source()


Spec = Annotated[Path, typer.Argument(help="The spec, such as fleet.yaml.", show_default=False, readable=False)]
_SOURCE = "The spec, such as fleet.yaml, or the folder of a Pulumi program that declares fleets"
OwnSource = Annotated[
    Path,
    typer.Argument(
        help=f"{_SOURCE}; by default this folder's.",
        default_factory=lambda: None,
        callback=_source_of,
        show_default=False,
        readable=False,
    ),
]
"""For commands that take no other argument."""
FirstSource = Annotated[
    Path,
    typer.Argument(
        help=f"{_SOURCE}; by default this folder's.",
        default_factory=lambda: None,
        callback=_source_of,
        autocompletion=completion.sources,
        show_default=False,
        readable=False,
    ),
]
"""For commands that take others after it (:class:`fleet.cli.first.SpecFirst`)."""
StackName = Annotated[
    str,
    typer.Option(
        "--stack",
        "-s",
        help="The Pulumi stack; by default the selected one (`pulumi stack select`), or the only one.",
        default_factory=str,
        callback=_stack_of,
        autocompletion=completion.stacks,
        show_default=False,
    ),
]
"""A command that has it takes the spec as its argument ``spec``; where that may be left out, it is empty then."""
PlatformOf = Annotated[
    str | None,
    typer.Option("--platform", help="The platform; by default the stack's, or qemu."),
]
ConfigOf = Annotated[
    str | None,
    typer.Option(
        "--stack",
        "-s",
        help="Take platform, options, variables from its config.",
        autocompletion=completion.stacks,
        show_default=False,
    ),
]
Node = Annotated[
    str, typer.Argument(help="Its name, such as web-0.", autocompletion=completion.nodes, show_default=False)
]
Identity = Annotated[Path | None, typer.Option("--identity", "-i", help="A private key's file.", show_default=False)]
Base = Annotated[
    str,
    typer.Option(
        "--base-url",
        envvar="FLEET_STREAM_URL",
        help="Server of the stream metadata; by default Fedora's.",
        show_default=False,
    ),
]
NewImage = Annotated[
    bool, typer.Option("--new-image", help="Re-provision nodes whose image is not the locked one any more, too.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Events on standard output, a JSON object a line (docs/reference/events.md).")
]
AsMarkdown = Annotated[
    bool, typer.Option("--markdown", help="A comment for a pull request, in Markdown: nodes, reasons and diffs.")
]
Detailed = Annotated[
    bool, typer.Option(DETAILED, help="Exit status 2 if something would change, 0 if not, 1 for errors.")
]
