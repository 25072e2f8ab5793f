"""The snapshot: all that the page shows at a moment, as values for JSON. Pure: the same input gives the same snapshot.

What goes in has no secret: a topology has none, a node's report has none, and reasons and consoles are masked by who
asked for them. Times are seconds since 1970, so that a page, which shows ages, needs no news for that time goes by.

A snapshot's keys:

- ``version``: :data:`SNAPSHOT_VERSION`; ``fleet``, ``stack``, ``platform``, ``spec``: what it is of;
- ``topology``: as :func:`fleet.program.topology.as_json` has it: what each group is to be;
- ``nodes``: by name, how each is; see :func:`_node`;
- ``rollout``: ``running``, by whom (``holder``) and since when (``since``); ``nodes``: those that it has touched or
  that the last one did, in that order; ``finished``: when all nodes were last ready;
- ``history``: rollouts, the latest first;
- ``trouble``: what keeps the page from knowing more, a paragraph; empty if nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet.ops.progress import Stage, Step, of_last_rollout, timeline
from fleet.plan import Report, UnitReport
from fleet.program.topology import Topology, as_json

Json = dict[str, Any]

SNAPSHOT_VERSION = 1
_BOOT_STEP = 10
"""Seconds to which times are rounded that are told as "so long ago": else they differ a little in each report."""


@dataclass(frozen=True)
class Asked:
    """What a node answered.

    Attributes:
        when: Seconds since 1970.
        reason: Why it is not ready; empty if it is.
        report: Its report; or why there is none.
    """

    when: float
    reason: str = ""
    report: Report | str = ""


@dataclass(frozen=True)
class Seen:
    """What was seen of a node.

    Attributes:
        stage: As the state has it.
        planned: Whether the spec has it.
        changes: Whether an update would re-provision it; ``None``: that is not known.
        address: The address that leads to it; empty if it has none.
        endpoints: By port of the node: the host and port that reach it from here.
        ssh: The command that logs in.
        settle: Seconds that its containers must have run for it to be ready.
        asked: What it answered; ``None``: it has not been asked yet.
        noted: What who looks has noted of it, in order.
    """

    stage: Stage
    planned: bool = True
    changes: bool | None = None
    address: str = ""
    endpoints: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    ssh: str = ""
    settle: float = 10
    asked: Asked | None = None
    noted: Sequence[Step] = ()


@dataclass(frozen=True)
class Running:
    """An update that is going on.

    Attributes:
        since: Since when, seconds since 1970.
        holder: Who does it, as far as is known.
    """

    since: float
    holder: str = ""


def snapshot(
    topology: Topology,
    nodes: Mapping[str, Seen],
    *,
    spec: str,
    stack: str,
    running: Running | None = None,
    finished: float | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    trouble: str = "",
) -> Json:
    """The snapshot of a stack.

    Args:
        topology: What the spec says.
        nodes: By name, what was seen of each node, planned or deployed.
        spec: The spec, as its user called it.
        stack: The stack's name.
        running: The update that is going on, if one is.
        finished: When all nodes were last ready.
        history: Rollouts, the latest first.
        trouble: What keeps the page from knowing more.
    """
    since = running.since if running else None
    steps = {name: timeline(seen.stage, seen.noted, since) for name, seen in nodes.items()}
    return {
        "version": SNAPSHOT_VERSION,
        "fleet": topology.name,
        "stack": stack,
        "platform": topology.platform,
        "spec": spec,
        "topology": as_json(topology),
        "nodes": {name: _node(seen, steps[name], running is not None) for name, seen in nodes.items()},
        "rollout": {
            "running": running is not None,
            "holder": running.holder if running else "",
            "since": since,
            "nodes": of_last_rollout(steps),
            "finished": finished,
        },
        "history": [dict(entry) for entry in history],
        "trouble": trouble,
    }


def _node(seen: Seen, steps: Sequence[Step], running: bool) -> Json:
    """How a node is.

    Its keys: ``state`` and ``reason``; ``config``: "current", "outdated", or empty where that is not known or there is
    none; ``machine``, ``address``, ``endpoints``, ``ssh``; ``steps``: what it did, each with ``phase``, ``since``,
    ``text``; of its report: ``known``, why there is none (``unknown``), and the rest of :func:`_reported`.
    """
    state, reason = state_of(seen, steps, running)
    report = seen.asked.report if seen.asked else ""
    return {
        "state": state,
        "reason": reason,
        "config": {True: "outdated", False: "current", None: ""}[seen.changes if seen.stage.machine else None],
        "machine": seen.stage.machine,
        "address": seen.address,
        "endpoints": [
            {"number": number, "host": host, "port": port} for number, (host, port) in sorted(seen.endpoints.items())
        ],
        "ssh": seen.ssh,
        "steps": [{"phase": step.phase, "since": step.since, "text": step.text} for step in steps],
        "known": isinstance(report, Report),
        "unknown": report if isinstance(report, str) else "",
        **_reported(report if isinstance(report, Report) else Report(version=0), seen),
    }


def state_of(seen: Seen, steps: Sequence[Step], running: bool) -> tuple[str, str]:
    """A node's state in a word or two, and why.

    The words: "ready", "not ready", "starting", "stopping", "waiting", "not made", "to be removed", "unknown".

    Args:
        seen: The node.
        steps: Its timeline.
        running: Whether an update is going on.
    """
    stage, asked = seen.stage, seen.asked
    text = steps[-1].text if steps else ""
    if stage.phase == "none":
        waits = running and seen.planned
        return ("waiting", "its turn has not come") if waits else ("not made", "`fleet up` makes it")
    if stage.phase in ("stopping", "stopped"):
        if running:
            return "stopping", "its machine is replaced" if seen.planned else "its machine is removed"
        return "not ready", "its machine was stopped, and the update that did so ended before it made another"
    if stage.phase == "making":
        if running:
            return "starting", text or "its machine is being made"
        return "not ready", "its machine was being made when the update ended"
    if stage.phase == "starting" and running:
        return "starting", text or (asked.reason if asked else "") or "it has not answered yet"
    if not seen.planned:
        return "to be removed", "the spec does not have it any more"
    if stage.phase == "starting":
        answer = f"; {asked.reason}" if asked and asked.reason else ""
        return "not ready", f"it did not get ready in the last update{answer}"
    if asked is None:
        return "unknown", "it has not been asked yet"
    return ("not ready", asked.reason) if asked.reason else ("ready", "")


def _reported(report: Report, seen: Seen) -> Json:
    """What a report says; empty values if there is none.

    Its keys: ``os``, ``release``, ``staged``, ``update``, ``kernel``, ``booted``; ``units``: those of the workload,
    each with ``unit``, ``name``, ``kind``, ``user``, ``well`` ("yes", "soon", "no", "idle"), ``text``, ``restarts``,
    ``health``, ``image``, ``since``; ``failed``: names of other units that failed; ``disks``: ``mount``, ``name``,
    ``size``, ``used``.
    """
    when = seen.asked.when if seen.asked else 0.0
    problems = {id(problem.unit): problem for problem in report.problems(seen.settle)}

    def unit(each: UnitReport) -> Json:
        problem = problems.get(id(each))
        if problem:
            well, text = ("soon" if problem.passing else "no"), problem.text
        else:
            well, text = ("idle" if each.expect != "running" else "yes"), _doing(each)
        return {
            "unit": each.unit,
            "name": each.name or each.unit,
            "kind": each.kind,
            "user": each.user,
            "well": well,
            "text": text,
            "restarts": each.restarts,
            "health": each.health,
            "image": each.image,
            "since": _ago(when, each.seconds),
        }

    return {
        "os": report.os,
        "release": report.release,
        "staged": report.update.staged,
        "update": report.update.status or report.update.state,
        "kernel": report.kernel,
        "booted": _ago(when, report.uptime_seconds or None),
        "units": [unit(each) for each in report.units],
        "failed": list(report.failed),
        "disks": [
            {"mount": disk.mount, "name": disk.name, "size": disk.size_bytes, "used": disk.used_bytes}
            for disk in report.disks
        ],
    }


def _doing(unit: UnitReport) -> str:
    """What a unit does that nothing is wrong with."""
    if unit.expect == "on-demand":
        return "runs now" if unit.active in ("active", "activating") else "runs when its timer says so"
    if unit.expect == "done":
        return "ended well"
    return "runs, healthy" if unit.health == "healthy" else "runs"


def _ago(when: float, seconds: float | None) -> int | None:
    """The moment that was so long before another, rounded."""
    return None if seconds is None else round((when - seconds) / _BOOT_STEP) * _BOOT_STEP
