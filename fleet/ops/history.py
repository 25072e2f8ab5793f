"""The history of a stack: what ``fleet history`` shows, and what commands that update a stack note in it."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.dynamic.tokens import HISTORY
from fleet.errors import FleetError
from fleet.masking import Mask
from fleet.ops.workspace import Stack, sealed_state, translated
from fleet.plan import FleetPlan, NodeChange, PastRollout
from fleet.program.exported import Resource, is_live, pending_operations, resources_of
from fleet.program.fleets import fleets_of
from fleet.program.history import REPLACE, History
from fleet.project import Project

JSON_VERSION = 1
"""Of what :func:`describe` gives."""
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Begun:
    """What a command says of the rollout that it may begin: arguments of :func:`fleet.program.history.with_change`.

    Attributes:
        command: The command.
        back_to: The rollout whose configs it gives back.
        only: The nodes that it touches, if not all.
        run: Its run.
    """

    command: str
    back_to: int | None = None
    only: frozenset[str] | None = None
    run: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True)
class Listed:
    """A rollout, as ``fleet history`` lists it.

    Attributes:
        rollout: The rollout.
        is_kept: Whether its configs are kept, so that a rollback can go back to them.
    """

    rollout: PastRollout
    is_kept: bool


def rollouts(spec: Path, stack: str) -> list[Listed]:
    """The rollouts of a stack, in the order of their beginnings. Nothing is asked but the stack's state.

    Args:
        spec: The spec's file, which may be broken by now.
        stack: The stack's name.

    Raises:
        UsageError: The stack is not there.
        FleetError: Its state cannot be read.
    """
    deployment, is_updating = sealed_state(Project.around(spec), stack)
    return rollouts_of(resources_of(deployment), is_updating=is_updating)


def rollouts_of(resources: Sequence[Resource], *, is_updating: bool) -> list[Listed]:
    """The rollouts of a state, in the order of their beginnings.

    Args:
        resources: The state's resources; secrets in them are not needed.
        is_updating: Whether an update of the stack is going on.
    """
    history = History(resources)
    listed = list(history.rollouts)
    if listed and is_updating and listed[-1].result == "stopped":
        listed[-1] = replace(listed[-1], result="running", reason="")
    return [Listed(rollout, rollout.number in history.kept) for rollout in listed]


def describe(listed: Listed) -> dict[str, Any]:
    """A rollout as values of JSON, documented in docs/reference/history.md."""
    described = listed.rollout.describe()
    for times in (described, *described["nodes"]):
        for key in ("began", "ended", "ready"):
            if key in times:
                times[key] = utc(times[key]) if times[key] else None
    return {"version": JSON_VERSION, **described, "configs_kept": listed.is_kept}


def summary(rollout: PastRollout) -> str:
    """What a rollout changes, in one line; nodes of which the same is to be said, together."""
    return "; ".join(_changes(rollout))


def _changes(rollout: PastRollout) -> Iterator[str]:
    if rollout.back_to is not None:
        yield f"back to {rollout.back_to}"
    elif rollout.command.startswith(REPLACE):
        yield "replace"
    for text, nodes in _together(rollout.nodes).items():
        yield f"{_names(nodes)}: {text}"
    for disk in rollout.disks:
        yield f"{disk.disk}: grown from {disk.before} to {disk.after} GiB"
    if not rollout.nodes and not rollout.disks:
        yield "not recorded: by a fleet that kept no history"


def _together(nodes: Sequence[NodeChange]) -> dict[str, list[str]]:
    """The names of nodes by what is done with them, and why."""
    grouped: dict[str, list[str]] = {}
    for node in nodes:
        grouped.setdefault(fate_of(node), []).append(node.node)
    return grouped


def fate_of(node: NodeChange) -> str:
    """What a rollout does with a node, and why, in words."""
    text = f"{node.fate}: {', '.join(node.reasons)}" if node.reasons else node.fate
    image = f", image {node.image}" if node.image and (node.fate == "new" or "a new image" in node.reasons) else ""
    return f"{text}{image}{' (surge)' if node.surge else ''}"


def _names(nodes: Sequence[str]) -> str:
    """Nodes' names; those of a group whose numbers follow one another, as the first and the last: "web-0...web-9"."""
    runs: list[list[str]] = []
    for name in nodes:
        group, _, index = name.rpartition("-")
        if runs and runs[-1][-1] == f"{group}-{int(index) - 1}":
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(f"{run[0]}...{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def result_of(rollout: PastRollout) -> str:
    """How a rollout ended, in words."""
    if rollout.result == "done":
        return "done"
    place = f" at {rollout.stopped_at}" if rollout.stopped_at else ""
    reason = rollout.reason.removeprefix(f"Node {rollout.stopped_at} is not ready: ")
    return f"{rollout.result}{place}{f': {reason}' if reason else ''}"


def utc(seconds: int) -> str:
    """A Unix time as people and programs read it: ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def noting(stack: Stack, begun: Begun, plans: Callable[[], Iterable[FleetPlan]]) -> Iterator[None]:
    """A context in which an update runs; if it fails, why is noted in the history, with the rollout that it began.

    Args:
        stack: The stack.
        begun: What was said of the rollout.
        plans: Gives what is deployed, whose secrets are not to be noted.
    """
    try:
        yield
    except FleetError as error:
        mask = Mask({name: value for plan in plans() for node in plan.nodes for name, value in node.hidden.items()})
        # The first line is the cause, but for what announces other lines, such as a console's end.
        text = re.sub(r"\. [^.]*:$", ".", mask(str(error)).strip().partition("\n")[0])
        reason = text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
        # What went wrong is what the user is to see, not that it could not be noted; and on a full disk, the state that
        # is whole is better left alone.
        with contextlib.suppress(FleetError, OSError, ValueError):
            if "no space left" not in str(error).lower():
                _note(stack, begun.run, reason)
        raise


def _note(stack: Stack, run: str, reason: str) -> None:
    """Write into the state why the last rollout stopped, if a run of a command has begun it."""
    with translated(stack):
        state, resources = stack.export()
        # An import forgets operations whose outcome is unknown, which the next update is to look for.
        if pending_operations(state.deployment or {}):
            return
        noted = False
        for fleet in fleets_of(resources):
            history = History(fleet.resources)
            if history.run != run or not _is_stopped(history.rollouts):
                continue
            for resource in fleet.resources:
                if resource["type"] == HISTORY and is_live(resource):
                    # The very mapping of the state.
                    resource["outputs"]["stopped"] = {"reason": reason}
                    noted = True
        if noted:
            stack.automation.import_stack(state)


def _is_stopped(listed: Sequence[PastRollout]) -> bool:
    return bool(listed) and listed[-1].result == "stopped"
