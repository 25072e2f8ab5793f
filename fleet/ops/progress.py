"""Where each node is in a rollout, and since when, from a stack's state: pure.

The engine writes the state at every step, and notes what it is about to do (``pending_operations``) and when a resource
was made and last changed (``created``, ``modified``). So what another terminal does to a stack can be followed by who
reads its state, wherever that is kept:

- a node's gate changes right before its machine goes;
- its machine is being deleted, is gone for its successor's sake, or is being made;
- it has a machine, and no readiness of that machine: it is starting;
- it has a readiness of its machine: it is ready, since that was made.

Between two of these, only who looks at the right moment knows more (:class:`Step` of the console's phases, say); such
moments are noted by the caller, and :func:`timeline` puts both in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleet.dynamic.tokens import GATE, READY, RECORD
from fleet.program.exported import Resource, name_of, outputs, pending_operations, resources_of, urn_name

GAP_SECONDS = 900.0
"""Two nodes that were re-provisioned further apart than this were so by two rollouts, as far as times can tell."""

WAITING = "waiting"
"""What a node does whose turn has not come."""

_REMOVING = ("deleting", "discarding")


@dataclass(frozen=True)
class Step:
    """What a node has been doing from some moment on.

    Attributes:
        phase: In a word: "waiting", "stopping", "stopped", "making", "booting", ..., "ready".
        since: Seconds since 1970.
        text: More of it, such as what it pulls; may be empty.
    """

    phase: str
    since: float
    text: str = ""


@dataclass(frozen=True)
class Stage:
    """A node as the state has it.

    Attributes:
        phase: "none": there is no machine, nor is one being made; "stopping"; "stopped": its machine is gone, for its
            successor's sake; "making": its machine is being made; "starting": it has one that is not ready; "ready".
        machine: Its machine's id; empty if it has none.
        let_go: When its gate let its machine be replaced; ``None``: it is new, or that is not known.
        started: When its machine was made.
        ready: When that machine became ready.
    """

    phase: str
    machine: str = ""
    let_go: float | None = None
    started: float | None = None
    ready: float | None = None

    @property
    def steps(self) -> list[Step]:
        """What is known of its last provisioning, in order."""
        times = (("stopping", self.let_go), ("booting", self.started), ("ready", self.ready))
        return [Step(phase, since) for phase, since in times if since is not None]


def stages(deployment: Mapping[str, Any], machine_type: str) -> dict[str, Stage]:
    """Where every node is that the state knows of.

    Args:
        deployment: The state.
        machine_type: The Pulumi type of the resource that is a node's machine.
    """
    live = [resource for resource in resources_of(deployment) if not resource.get("delete")]

    def of_type(kind: str) -> dict[str, Resource]:
        return {name_of(resource): resource for resource in live if resource["type"] == kind}

    machines, gates, readies = of_type(machine_type), of_type(GATE), of_type(READY)
    pending = {
        urn_name(operation["resource"]["urn"]): str(operation.get("type", ""))
        for operation in pending_operations(deployment)
        if operation.get("resource", {}).get("type") == machine_type
    }
    names = [*gates, *(name for name in machines if name not in gates)]
    return {name: _stage(machines.get(name), gates.get(name), readies.get(name), pending.get(name)) for name in names}


def finished(deployment: Mapping[str, Any]) -> float | None:
    """When all nodes were last ready, with the configs that they had then; ``None``: never, as far as is known."""
    record = next((resource for resource in resources_of(deployment) if resource["type"] == RECORD), None)
    return _changed(record) if record else None


def timeline(stage: Stage, noted: Sequence[Step], since: float | None = None) -> list[Step]:
    """What a node did, in order: what the state says, and what was noted by who looked.

    Args:
        stage: The node as the state has it.
        noted: In order.
        since: When the rollout began that is going on; what was before it is left out. ``None``: none is.
    """
    known = [step for step in stage.steps if since is None or step.since >= since]
    begin = known[0].since if known and since is None else since
    seen = [step for step in noted if step.phase != "ready" and (begin is None or step.since >= begin)]
    if stage.ready is not None:
        # What was noted of a machine that is ready is from before, but for what a running rollout does next.
        seen = [step for step in seen if step.since <= stage.ready or (since is not None and stage.ready < since)]
    steps: list[Step] = []
    for step in sorted([*known, *seen], key=lambda each: (each.since, each.phase != WAITING)):
        if steps and steps[-1].phase == step.phase:
            # The earlier moment, and the later words.
            steps[-1] = Step(step.phase, steps[-1].since, step.text or steps[-1].text)
            continue
        if steps and steps[-1].since == step.since:
            steps.pop()  # It took no time.
        steps.append(step)
    return steps


def of_last_rollout(timelines: Mapping[str, Sequence[Step]]) -> list[str]:
    """Which nodes the last rollout touched, or waits to touch, as far as times can tell: in the order of their turns.

    Args:
        timelines: Of all nodes, in the order that those get whose turn has not come.
    """
    spans = sorted(((steps[-1].since, _turn(steps), name) for name, steps in timelines.items() if steps), reverse=True)
    touched: dict[str, float] = {}
    for end, turn, name in spans:
        if touched and min(touched.values()) - end > GAP_SECONDS:
            break
        touched[name] = turn
    return sorted((name for name in timelines if name in touched), key=touched.__getitem__)


def _turn(steps: Sequence[Step]) -> float:
    """When a node's turn came."""
    return next((step.since for step in steps if step.phase != WAITING), float("inf"))


def _stage(machine: Resource | None, gate: Resource | None, ready: Resource | None, operation: str | None) -> Stage:
    id_ = str(machine.get("id") or "") if machine else ""
    if operation in _REMOVING:
        return Stage("stopping", id_, let_go=_changed(gate))
    if operation == "creating":
        return Stage("making", let_go=_let_go(gate))
    if machine is None:
        return Stage("none")
    if machine.get("pendingReplacement"):
        return Stage("stopped", let_go=_changed(gate))
    started = _time(machine.get("created"))
    let_go = _let_go(gate)
    if let_go is not None and started is not None and let_go > started:
        let_go = None  # It changed since, and kept the machine.
    if ready is None or ready.get("pendingReplacement") or not _is_of(ready, machine):
        return Stage("starting", id_, let_go, started)
    return Stage("ready", id_, let_go, started, _time(ready.get("created")))


def _is_of(ready: Resource, machine: Resource) -> bool:
    """Whether a readiness is of this machine; where the state does not say, it is."""
    instance = outputs(ready).get("instance")
    return instance is None or str(instance) in (str(machine.get("id")), str(outputs(machine).get("instanceId")))


def _let_go(gate: Resource | None) -> float | None:
    """When a gate last let its node's machine go; ``None``: it never did, or there is none."""
    if gate is None or gate.get("created") == gate.get("modified"):
        return None
    return _changed(gate)


def _changed(resource: Resource | None) -> float | None:
    return _time(resource.get("modified") or resource.get("created")) if resource else None


def _time(text: Any) -> float | None:
    try:
        return round(datetime.fromisoformat(str(text)).timestamp(), 3)
    except ValueError:
        return None
