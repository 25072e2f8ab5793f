"""``fleet status``."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.cli.exit_statuses import UNWELL
from fleet.cli.options import OwnSource, StackName
from fleet.cli.table import Cell, aligned, span
from fleet.cli.terminal import Terminal, err, out
from fleet.errors import FleetError

if TYPE_CHECKING:
    from rich.text import Text

    from fleet.ops.status import FleetStatus, NodeStatus

_PAUSE = 2.0
"""Seconds between two looks."""
_STYLES = {"ready": "green", "not ready": "bold red", "not made": "yellow", "to be removed": "yellow"}
_HEADER = ("node", "state", "config", "release", "address", "age", "containers")


def status(
    spec: OwnSource,
    stack: StackName,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON on standard output (docs/reference/status.md).")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
) -> None:
    """Show how every node and its containers are. Exit status 1 if anything is not well."""
    from fleet.ops.session import session

    looking = session(spec, stack, _Once())
    if watch:
        _watch(looking.status, as_json=as_json)
        return
    shown = looking.status()
    if as_json:
        print(json.dumps(shown.document(), indent=2, ensure_ascii=False))
    else:
        for line in table(shown):
            out.print(line)
    if not shown.well:
        raise typer.Exit(UNWELL)


class _Once(Terminal):
    """A terminal that shows each warning once, however often one looks."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Show a line on standard error, unless it was shown before."""
        if text not in self._warned:
            self._warned.add(text)
            super().warn(text)


def table(shown: FleetStatus) -> Iterator[Text]:
    """A status as a table: a line a node, and, where there are several groups, one above each group's.

    Of a stack without nodes, as one is whose program has no fleet any more, it is a line that says so.

    Args:
        shown: The status.
    """
    from rich.text import Text

    if not shown.nodes:
        yield Text(f"Stack {shown.stack} has no nodes.")
        return
    lines = list(aligned([_row(node) for node in shown.nodes], header=_HEADER))
    yield lines.pop(0)
    groups = [list(nodes) for _, nodes in itertools.groupby(shown.nodes, key=lambda node: node.group)]
    for group in groups:
        if len(groups) > 1:
            ready = sum(node.state == "ready" for node in group)
            yield Text(f"{group[0].group}: {ready} of {len(group)} ready", "bold")
        yield from (lines.pop(0) for _ in group)


def _row(node: NodeStatus) -> list[Cell]:
    from rich.text import Text

    staged = f" ({node.staged} staged)" if node.staged else ""
    what = [part for part in (node.workload, node.reason) if part and part != "-"]
    # A report that does not answer is both, in the same words.
    if node.unknown and node.unknown == node.reason:
        what.pop()
    return [
        Text(node.node, "bold"),
        Text(node.state, _STYLES[node.state]),
        Text(node.config, "yellow" if node.config == "outdated" else ""),
        (node.release or "-") + staged,
        node.address or "-",
        span(node.age_seconds),
        "; ".join(what) or "-",
    ]


def _watch(look: Callable[[], FleetStatus], *, as_json: bool) -> None:
    """Show the status again and again: at a terminal in place, else one after the other."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    shown, trouble = look(), ""
    in_place = Live(console=out, auto_refresh=False) if out.is_terminal and not as_json else None
    with in_place or contextlib.nullcontext():
        while True:
            if as_json:
                print(json.dumps(shown.document(), ensure_ascii=False), flush=True)
            else:
                lines = [Text(f"{datetime.now():%H:%M:%S}", "dim"), *table(shown)]
                if in_place:
                    lines += [Text(f"Error: {trouble}", "red")] if trouble else []
                    for line in lines:
                        # What is too long is cut: of what was wrapped, the terminal would not know how much to redraw.
                        line.no_wrap, line.overflow = True, "ellipsis"
                    in_place.update(Group(*lines), refresh=True)
                else:
                    for line in lines:
                        out.print(line)
            time.sleep(_PAUSE)
            # An update that goes on meanwhile may be in the way of a look.
            try:
                shown, trouble = look(), ""
            except FleetError as error:
                trouble = str(error)
                if not in_place:
                    err.print(f"Error: {trouble}", markup=False)
