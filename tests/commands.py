"""Every command of ``fleet``, from the command line itself, with what each takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

import fleet.cli  # noqa: F401 (adds every command)
from fleet.cli.app import app

_ARGUMENTS = {"spec": "fleet.yaml", "node": "web-0", "folder": "site", "name": "anna"}
"""By name: what is said for an argument."""
_ENDING = ("--yes", "--export=report.html", "--listen=nowhere")
"""Options without which a command asks a question, or serves until it is stopped."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        words: Its name, such as ``("image", "lock")``.
        required: The arguments that it cannot do without, such as "spec", which may be what its folder has.
        options: Its options, such as "--stack", and what switches them off, such as "--no-open".
    """

    words: tuple[str, ...]
    required: tuple[str, ...]
    options: frozenset[str]

    def __str__(self) -> str:
        return " ".join(self.words)

    def called(self, *options: str) -> list[str]:
        """The words of a call that asks nothing and ends by itself: with what the command needs.

        Args:
            options: More words, such as "--stack=test"; of options that it does not have, none is said.
        """
        known = [word for word in (*options, *_ENDING) if word.partition("=")[0] in self.options]
        return [*self.words, *(_ARGUMENTS[name] for name in self.required), *known]


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[Command]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
            continue
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        # One that is looked for where it is left out is needed all the same.
        required = [each.name for each in arguments if each.required or each.callback]
        options = [
            word
            for each in command.params
            if each.param_type_name == "option"
            for word in (*each.opts, *each.secondary_opts)
        ]
        yield Command((*words, name), tuple(required), frozenset(options))


COMMANDS = tuple(_commands(typer.main.get_command(app), ()))
