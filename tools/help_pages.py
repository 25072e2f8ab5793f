"""What ``fleet --help`` and the help of groups say, made from the commands: see :mod:`fleet.cli.help`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from fleet.cli.app import app


def help_pages() -> str:
    """The file ``fleet/cli/pages.json``."""
    root = typer.main.get_command(app)
    return json.dumps(dict(_pages(root, root.make_context("fleet", [], resilient_parsing=True), ())), indent=1) + "\n"


def _pages(group: Any, context: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    options = [each for each in group.get_params(context) if not each.hidden]
    yield (
        " ".join(words),
        {
            "usage": group.get_usage(context).removeprefix("Usage: "),
            "help": group.help,
            "options": [[each.opts[0], each.display_type_rich(ctx=context), each.help] for each in options],
            "commands": [[name, command.help.partition("\n\n")[0]] for name, command in commands.items()],
        },
    )
    for name, command in commands.items():
        if hasattr(command, "commands"):
            inside = command.make_context(name, [], parent=context, resilient_parsing=True)
            yield from _pages(command, inside, (*words, name))
