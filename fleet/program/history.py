"""The history of a stack: its rollouts, read from its state, and what an update adds to them.

The state has what was begun (:mod:`fleet.dynamic.history`). How the last rollout turned out follows from the state:
from the times that gates and readinesses note, and from the record of configs, which is changed when all nodes are
ready. When the next one begins, that is noted with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fleet.dynamic.packing import unpack
from fleet.dynamic.record import BASELINE, numbers_of
from fleet.dynamic.tokens import GATE, HISTORY, NODE, RECORD
from fleet.plan import Change, DiskChange, FleetPlan, NodeChange, PastRollout
from fleet.platforms.base import Platform
from fleet.program.changes import Compared
from fleet.program.exported import Resource, name_of, outputs
from fleet.program.state import readinesses

UNRECORDED = "its machine no longer ran, or it was re-provisioned by itself"
"""Why a node was made ready by an update that no rollout has begun with: what a refresh sees, no program knows of."""


class History:
    """The rollouts of a state.

    Args:
        resources: The state's resources; secrets in them are not needed.

    Attributes:
        rollouts: In the order of their beginnings.
        kept: The numbers of those whose configs are kept, for a rollback.
        run: The run of a command that began the last one that is noted.
        noted: The number of that one; 0 if none is.
    """

    rollouts: Sequence[PastRollout]
    kept: Sequence[int]
    run: str
    noted: int

    def __init__(self, resources: Sequence[Resource]) -> None:
        current = [r for r in resources if not r.get("delete") and r.get("id")]
        self._record = next((outputs(r) for r in current if r["type"] == RECORD), {})
        self._gates = {name_of(r): outputs(r) for r in current if r["type"] == GATE}
        # With the machine that is there now.
        self._ready = readinesses(resources)
        self._nodes = {name_of(r) for r in resources if r["type"] in (GATE, NODE)}
        noted = next((outputs(r) for r in current if r["type"] == HISTORY), None)
        self.exists = noted is not None
        self.run = str((noted or {}).get("run", ""))
        self.kept = sorted(number for numbers in numbers_of(self._record) for number in numbers)
        entries = [PastRollout.read(each) for each in (unpack(noted["entries"]) if noted else [])]
        self.noted = entries[-1].number if entries else 0
        self.rollouts = list(self._settled(entries, (noted or {}).get("stopped")))

    @property
    def whole(self) -> int:
        """The number of the last rollout of all nodes; 0 if none is known."""
        return max((each.number for each in self.rollouts if _is_whole(each)), default=0)

    def _settled(self, noted: list[PastRollout], stopped: Mapping[str, Any] | None) -> Iterator[PastRollout]:
        if not noted:
            if self._record:
                yield PastRollout(BASELINE, result="done")
            return
        *others, last = noted
        yield from others
        settled = self._outcome(last)
        if stopped and settled.result != "done":
            settled = replace(settled, reason=str(stopped.get("reason", "")))
        yield settled
        if settled.ended is not None and (nodes := tuple(self._unrecorded(settled.ended))):
            began = min(node.began or 0 for node in nodes)
            ended = max(node.ready or 0 for node in nodes)
            yield PastRollout(settled.number + 1, began, nodes=nodes, result="done", ended=ended)

    def _outcome(self, rollout: PastRollout) -> PastRollout:
        """The last rollout, as it has turned out so far."""
        whole = _is_whole(rollout) and int(self._record.get("rollout", 0)) == rollout.number
        ended = int(self._record.get("ended", 0)) if whole else None
        nodes = tuple(self._turned_out(node, rollout.began, ended) for node in rollout.nodes)
        # What is removed goes last, after the record is changed.
        waiting = [node for node in nodes if not node.is_done and (node.fate == "removed" or not whole)]
        if not waiting and (whole or nodes):
            last = ended or max((node.ready or 0 for node in nodes), default=0)
            nodes = tuple(replace(node, is_done=True) for node in nodes)
            return replace(rollout, nodes=nodes, result="done", ended=last or None)
        begun = (node.node for node in waiting if node.began or node.fate == "waited for")
        at = next(begun, waiting[0].node if waiting else "")
        return replace(rollout, nodes=nodes, result="stopped", stopped_at=at)

    def _turned_out(self, node: NodeChange, since: int, until: int | None) -> NodeChange:
        if node.fate == "removed":
            return replace(node, is_done=node.node not in self._nodes)
        ready, turn = self._ready.get(node.node, {}), int(self._gates.get(node.node, {}).get("began", 0))
        asked, passed = int(ready.get("began", 0)), int(ready.get("passed", 0))
        # Another machine may have come since, because this one was gone.
        is_of_it = passed >= since and (until is None or asked <= until)
        began = turn if turn >= since else asked if is_of_it and asked else None
        return replace(node, began=began, ready=passed if is_of_it else None, is_done=passed >= since)

    def _unrecorded(self, since: int) -> Iterator[NodeChange]:
        """Nodes that were made ready since the last rollout ended."""
        for name, ready in self._ready.items():
            if int(ready.get("began", 0)) > since:
                began, passed = int(ready["began"]), int(ready["passed"])
                yield NodeChange(name, "re-provisioned", (UNRECORDED,), began=began, ready=passed, is_done=True)


def with_change(
    plan: FleetPlan,
    platform: Platform,
    resources: Sequence[Resource],
    *,
    run: str,
    command: str,
    back_to: int | None = None,
    only: Collection[str] | None = None,
) -> FleetPlan:
    """A plan that says what its update adds to the stack's history.

    Args:
        plan: One that knows the state (:func:`fleet.program.state.with_state`).
        platform: The stack's platform.
        resources: The state's resources, secrets in plain text if they are known.
        run: As :attr:`fleet.plan.Change.run`.
        command: As :attr:`fleet.plan.PastRollout.command`.
        back_to: As :attr:`fleet.plan.PastRollout.back_to`.
        only: The nodes that are touched, if not all are.
    """
    history, compared = History(resources), Compared(resources, platform)
    nodes = [node for node in _nodes(plan, compared, readinesses(resources)) if only is None or node.node in only]
    disks = tuple(_disks(plan, platform)) if only is None else ()
    if not nodes and not disks:
        # Nothing new is to be in the state of a fleet that kept no history while nothing changes.
        change = Change((), None, history.whole, run) if history.exists else None
        return replace(plan, change=change)
    # A run that updates the stack twice has begun one rollout, whether its program reads the state anew or not.
    again = history.noted if history.run == run else 0
    number = again or max((each.number for each in history.rollouts), default=0) + 1
    began = PastRollout(number, command=command, back_to=back_to, nodes=tuple(nodes), disks=disks)
    # What is settled may be two: the last one, and what came after it unrecorded.
    change = Change(tuple(history.rollouts[-2:]), began, number if only is None else history.whole, run)
    return replace(plan, change=change)


def _nodes(plan: FleetPlan, compared: Compared, ready: Collection[str]) -> Iterator[NodeChange]:
    """What an update does with nodes, in the order of their turns."""
    for group in plan.in_order:
        for node in group.in_order:
            release = node.image.release if node.image else ""
            if node.name in compared.interrupted:
                yield NodeChange(node.name, "re-provisioned", ("that was begun before",), release, surge=node.surge)
            elif node.name not in compared.machines:
                # One whose making was begun before, too.
                yield NodeChange(node.name, "new", image=release)
            elif node.reprovision or compared.differs(node) or compared.image_moves(node):
                reasons = tuple(compared.reasons(node, compared.config_changes(node)))
                why = reasons or ("as asked" if node.reprovision else "what its machine is made of changed",)
                yield NodeChange(node.name, "re-provisioned", why, release, surge=node.surge)
            elif node.name not in ready:
                yield NodeChange(node.name, "waited for", ("it was not ready",))
    for name in sorted(compared.machines.keys() - {node.name for node in plan.nodes}):
        yield NodeChange(name, "removed")


def _disks(plan: FleetPlan, platform: Platform) -> Iterator[DiskChange]:
    """Data disks that an update grows."""
    for node in plan.nodes:
        for disk in node.disks:
            if disk.deployed and not disk.existing and 0 < (size := platform.disk_size(disk.deployed)) < disk.size_gib:
                yield DiskChange(f"{node.name}-{disk.name}", size, disk.size_gib)


def _is_whole(rollout: PastRollout) -> bool:
    return not rollout.command.startswith(REPLACE)


REPLACE = "fleet replace"
"""The command whose rollouts are of one node, and do not end with a record of all configs."""
