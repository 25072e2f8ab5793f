"""The manual page ``fleet(1)``, made from what the command line itself says: see :mod:`tools.reference`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

import fleet.cli  # noqa: F401 (adds every command)
from fleet.cli.app import app
from tools.wording import statuses

_HEAD = """\
.\\" Made by `make docs` from the command line's own help.
.TH FLEET 1 "" "fleet" "User Commands"
.SH NAME
fleet \\- immutable Fedora CoreOS machines, declared and deployed
.SH SYNOPSIS
.B fleet
.RI [ options ]
.I command
.RI [ arguments ]
"""
_TAIL = """\
.SH ENVIRONMENT
.TP
.B PULUMI_CONFIG_PASSPHRASE, PULUMI_CONFIG_PASSPHRASE_FILE
The passphrase of the stack's secrets, or a file that has it; without either, it is asked for at a terminal.
.TP
.B PULUMI_BACKEND_URL
Where the state is, in place of what Pulumi.yaml or `pulumi login` says.
.TP
.B PULUMI_STACK
The stack, where \\fB\\-\\-stack\\fR is left out.
.TP
.B FLEET_STREAM_URL
A server of Fedora CoreOS's stream metadata, in place of Fedora's.
.TP
.B FLEET_DEBUG
If set, an error that fleet did not expect shows its traceback.
.SH EXIT STATUS
{statuses}.SH SEE ALSO
.BR pulumi (1),
.BR podman\\-systemd.unit (5)
"""


def manual() -> str:
    """The page, in the language of man(7)."""
    root = typer.main.get_command(app)
    parts = [_HEAD, ".SH DESCRIPTION\n", *_paragraphs(root.help or ""), ".SH OPTIONS\n", *_options(root)]
    parts += [".SH COMMANDS\n", *_commands(root, ("fleet",))]
    return "".join(parts) + _TAIL.replace("{statuses}", "".join(_statuses()))


def _statuses() -> Iterator[str]:
    for number, meanings in statuses().items():
        yield f".TP\n.B {number}\n" + ".br\n".join(map(_line, meanings))


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
            continue
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        usage = " ".join(each.name if each.required else f"[{each.name}]" for each in arguments)
        yield f".SS {_text(' '.join((*words, name)))} \\fI{_text(usage)}\\fR\n"
        yield from _paragraphs(command.help or "")
        for each in arguments:
            if each.help:
                yield f".TP\n\\fI{_text(each.name)}\\fR\n{_line(each.help)}"
        yield from _options(command)


def _options(command: Any) -> Iterator[str]:
    for each in command.params:
        if each.param_type_name == "option" and not each.hidden and each.help:
            words = ", ".join(f"\\fB{_text(word)}\\fR" for word in (*each.opts, *each.secondary_opts))
            value = "" if each.is_flag else f" \\fI{_text(each.name)}\\fR"
            yield f".TP\n{words}{value}\n{_line(each.help)}"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield f".PP\n{_line(paragraph)}"


def _line(text: str) -> str:
    line = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _text(" ".join(text.split())))
    # A line that begins so would be a request.
    return f"\\&{line}\n" if line.startswith((".", "'")) else f"{line}\n"


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")
