"""``fleet history``: the rollouts of a stack, as a table, one in full, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.cli.options import FirstSource, StackName
from fleet.cli.table import Cell, aligned, span
from fleet.cli.terminal import out

if TYPE_CHECKING:
    from fleet.ops.history import Listed


def history(
    spec: FirstSource,
    number: Annotated[int | None, typer.Argument(min=1, help="Show this rollout in full.", show_default=False)] = None,
    *,
    stack: StackName,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output, one rollout a line.")] = False,
) -> None:
    """Show the rollouts of a stack: when, who, what changed and why, how each ended."""
    from fleet.errors import UsageError
    from fleet.ops.history import describe, rollouts

    listed = rollouts(spec, stack)
    if number is not None:
        numbers = ", ".join(str(each.rollout.number) for each in listed)
        listed = [each for each in listed if each.rollout.number == number]
        if not listed:
            raise UsageError(
                f"The history of stack {stack} has no rollout {number}.",
                fix=f"It has {numbers}." if numbers else "It has none yet: `fleet up` begins the first.",
            )
    if as_json:
        for each in listed:
            print(json.dumps(describe(each)))
    elif number is not None:
        for line in _in_full(listed[0]):
            out.print(line, markup=False)
    elif not listed:
        out.print(f"Stack {stack} has had no rollout yet.", markup=False)
    else:
        _show_table(listed)


def _show_table(listed: Sequence[Listed]) -> None:
    from rich.text import Text

    from fleet.ops.history import result_of, summary, utc

    styles = {"done": "green", "running": "cyan", "stopped": "red"}
    rows: list[list[Cell]] = [
        [
            f"{each.rollout.number}{'' if each.is_kept else ' -'}",
            utc(each.rollout.began) if each.rollout.began else "unknown",
            each.rollout.who or "unknown",
            summary(each.rollout),
            _took(each.rollout.began, each.rollout.ended) or "-",
            Text(result_of(each.rollout), style=styles[each.rollout.result]),
        ]
        for each in listed
    ]
    for line in aligned(rows, header=("no.", "began", "who", "what", "took", "result")):
        out.print(line)
    if not all(each.is_kept for each in listed):
        out.print("-: its configs are not kept, so `fleet rollback --to` cannot go back to it.", markup=False)


def _took(began: int | None, ended: int | None) -> str:
    """How long it took; empty if that is not known."""
    return span(ended - began) if began and ended else ""


def _in_full(listed: Listed) -> Iterator[str]:
    from fleet.ops.history import fate_of, result_of, summary, utc

    rollout = listed.rollout
    yield f"Rollout {rollout.number}: {result_of(rollout)}"
    facts = {
        "began": utc(rollout.began) if rollout.began else "",
        "ended": utc(rollout.ended) if rollout.ended else "",
        "took": _took(rollout.began, rollout.ended),
        "who": rollout.who,
        "commit": rollout.commit,
        "command": rollout.command,
        "back to": str(rollout.back_to or ""),
        "configs": "kept" if listed.is_kept else "not kept",
    }
    yield from (f"  {name + ':':<9}{value}" for name, value in facts.items() if value)
    if not rollout.nodes and not rollout.disks:
        yield f"  {summary(rollout)}"
    width = max((len(node.node) for node in rollout.nodes), default=0)
    for node in rollout.nodes:
        took = _took(node.began, node.ready)
        state = "done" if node.is_done else "not ready" if node.began else "untouched"
        yield f"  {node.node:<{width}}  {state}{f' after {took}' if took else ''}  {fate_of(node)}"
    for disk in rollout.disks:
        yield f"  {disk.disk}  grown from {disk.before} to {disk.after} GiB"
