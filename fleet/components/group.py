"""NodeGroup and Fleet: nodes in the order in which a change goes through them.

Position P of a group's order waits for the readiness of position P - window; a readiness waits for the one before it,
so that no node is ever passed over. Later groups wait for earlier ones the same way. All of these are ``depends_on``
only: no node reads what another one has become, or replacing one would replace all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pulumi

from fleet.components.naming import called_after
from fleet.components.node import Node
from fleet.dynamic import tokens
from fleet.dynamic.gate import Roster
from fleet.dynamic.history import History
from fleet.dynamic.ready import Ready
from fleet.dynamic.record import Record
from fleet.plan import FleetPlan, GroupPlan
from fleet.platforms.base import Platform, Site, report_access


class NodeGroup(pulumi.ComponentResource):
    """Nodes of one role.

    Args:
        platform: Where.
        site: Where, too: its resources.
        plan: What.
        folder: Where the gates' roster is kept.
        after: Resources to wait for before any node is touched.
        opts: Resource options.

    Attributes:
        nodes: By name, in ascending order.
        names: Names in the DNS, and the addresses that each should resolve to.
        last: The readiness of the node that comes last; ``None`` in an empty group.
    """

    nodes: Mapping[str, Node]
    names: Mapping[str, Sequence[pulumi.Input[str]]]
    last: Ready | None

    def __init__(
        self,
        platform: Platform,
        site: Site,
        plan: GroupPlan,
        *,
        folder: Path,
        after: Sequence[pulumi.Input[pulumi.Resource]] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(tokens.GROUP, plan.name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        addresses = {node.name: site.address(node, child) for node in plan.nodes}
        peers = [
            replace(platform.peer(node, addresses[node.name]), hidden=node.hidden, report=report_access(platform, node))
            for node in plan.nodes
        ]
        if plan.names and plan.nodes:
            site.names(plan.names, list(addresses.values()), child)
        answered = {node.name: node.answered for node in plan.nodes if node.answered}
        roster = Roster(folder / f"{plan.name}.json", peers, answered)
        nodes: dict[str, Node] = {}
        readies: list[Ready] = []
        for position, node in enumerate(plan.in_order):
            behind = plan.waits_for(position)
            nodes[node.name] = Node(
                platform,
                site,
                node,
                address=addresses[node.name],
                roster=roster,
                down=plan.window,
                pause=plan.rollout.pause if position else 0,
                after=[readies[behind].passed] if behind is not None else after,
                ready_after=[ready.passed for ready in readies[-1:]],
                opts=child,
            )
            readies.append(nodes[node.name].ready)
        self.nodes = {node.name: nodes[node.name] for node in plan.nodes}
        self.names = {name: list(addresses.values()) for name in plan.names}
        self.last = readies[-1] if readies else None
        self.register_outputs({})


class Fleet(pulumi.ComponentResource):
    """All groups of a stack.

    Args:
        platform: Where.
        plan: What.
        folder: A folder of the stack's, for files that are written anew in every run.
        opts: Resource options.

    Attributes:
        groups: By name.
    """

    groups: Mapping[str, NodeGroup]

    def __init__(
        self, platform: Platform, plan: FleetPlan, *, folder: Path, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(tokens.FLEET, plan.name, None, opts)
        self.groups = declare(platform, plan, folder=folder, parent=self)
        self.register_outputs({})

    @property
    def names(self) -> Mapping[str, Sequence[pulumi.Input[str]]]:
        """All names in the DNS, and the addresses that each should resolve to."""
        return {name: addresses for group in self.groups.values() for name, addresses in group.names.items()}

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name."""
        return {name: node for group in self.groups.values() for name, node in group.nodes.items()}


def declare(
    platform: Platform,
    plan: FleetPlan,
    *,
    folder: Path,
    parent: pulumi.Resource,
    prefix: str = "",
    after: Sequence[pulumi.Input[pulumi.Resource]] = (),
) -> Mapping[str, NodeGroup]:
    """Declare all resources of a fleet; its groups by name.

    Args:
        platform: Where.
        plan: What.
        folder: As of :class:`Fleet`.
        parent: The fleet's component.
        prefix: What the resources' names begin with, beside the names that they have in the plan.
        after: Resources to wait for before any node is touched.
    """
    child = pulumi.ResourceOptions(parent=parent)
    groups: dict[str, NodeGroup] = {}
    with _without_positions(), called_after(prefix):
        if plan.change:
            # Before all else, and nothing waits for it: what is begun is noted, even by an update of single nodes.
            History(plan.name, plan.change, opts=child)
        site = platform.site(plan, child)
        for group in plan.in_order:
            groups[group.name] = NodeGroup(
                platform,
                site,
                group,
                folder=folder / "rosters",
                after=[*after, *(last.passed for name in group.after if (last := groups[name].last))],
                opts=child,
            )
        # Each group's last readiness waits for all others of the group.
        Record(plan, after=[group.last for group in groups.values() if group.last], opts=child)
    return {name: groups[name] for name in plan.groups}


@contextmanager
def _without_positions() -> Iterator[None]:
    """A context in which resources are registered without the place in the program that made them.

    Pulumi keeps the whole stack of each registration in the state, with the paths of this machine: of a node's
    resources more than all else together, and the state is written anew at every step. All of a fleet's come from
    the same lines of this package; the fleet itself says where in the user's program it is.
    """
    before = getattr(sys, "tracebacklimit", None)
    # What Pulumi asks for the stack (`traceback.extract_stack`) then ends within Pulumi's own frames.
    sys.tracebacklimit = 1
    try:
        yield
    finally:
        if before is None:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = before
