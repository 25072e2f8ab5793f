"""Nodes, groups and the fleet, as far as they can be known before anything is created."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from pydantic import Field

from fleet.errors import FleetError
from fleet.model import Model
from fleet.plan.config import Delivery, MachineConfig
from fleet.plan.history import Change
from fleet.plan.image import LockedImage
from fleet.plan.probe import Probe
from fleet.plan.rollout import Rollout

ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class StateEntry:
    """A resource of a stack's state, as an update finds it.

    Attributes:
        kind: Its Pulumi type.
        name: Its name in the program.
        id: The platform's id of it.
        outputs: Its properties.
        place: Of a data disk, :attr:`Platform.place` at the time of the last update; empty if no update wrote it yet.
    """

    kind: str
    name: str
    id: str
    outputs: Mapping[str, Any]
    place: str = ""


@dataclass(frozen=True)
class DiskPlan:
    """A data disk of one node.

    Attributes:
        name: Its name in the spec.
        size_gib: Its size in GiB.
        snapshot: A snapshot of it is kept of before each re-provisioning of its node.
        existing: The platform's name of a disk that is there already, to take over; empty: a new one.
        deployed: The disk, if the stack's state has it.
    """

    name: str
    size_gib: int
    snapshot: bool = False
    existing: str = ""
    deployed: StateEntry | None = None

    @property
    def moves(self) -> bool:
        """Whether another disk is to be taken over in the place of the one that is deployed."""
        old = self.deployed.id if self.deployed else self.existing
        # Google Cloud takes the last part of an id for all of it.
        return bool(self.existing) and old != self.existing and not old.endswith(f"/{self.existing}")


@dataclass(frozen=True, order=True)
class PortPlan:
    """A port of a node that is reachable from outside it.

    Attributes:
        number: The port.
        protocol: "tcp" or "udp".
        sources: From where, as CIDRs, on platforms that have a firewall.
    """

    number: int
    protocol: str = "tcp"
    sources: tuple[str, ...] = ANYWHERE


class DrainPlan(Model):
    """What takes a node out of use before its machine goes.

    Attributes:
        function: ``module:function`` that the provider's Python can import, called with the node's name and address;
            it returns when the node can go, and raises if it cannot.
        timeout: Seconds it may take.

    Examples:
        function: drains:leave
        timeout: 120
    """

    function: str = Field(pattern=r"^\w+(\.\w+)*:\w+$")
    timeout: float = Field(default=300, gt=0)


@dataclass(frozen=True)
class NodePlan:
    """One node, as far as it can be known before anything is made.

    Attributes:
        name: ``<group>-<index>``.
        group: Its group's name.
        index: From 0.
        config: Its Ignition config.
        delivery: How the platform is given the config.
        shown: The config for people to see: with masks in the places of secrets; where no mask can stand for one, with
            whole entries hidden (:mod:`fleet.planner.secrecy`).
        secret: Whether the config holds a secret, so that Pulumi must keep it encrypted.
        image: The locked image; ``None`` where there is no lock, in which case it can be rendered, not made.
        disks: Data disks.
        ports: Ports reachable from outside, SSH's among them, in ascending order.
        probes: What must answer before the node counts as ready.
        ready_timeout: Seconds that it may take until it is ready, from its start.
        surge: The new machine is made before the old one goes.
        drain: What is done before the machine goes.
        private: Its planned address in the fleet's private network.
        follow_image: Another locked image re-provisions it.
        size: "small", "medium", "large", or the platform's own word for a kind of machine.
        ahead: Name and ports, without the report's, of each group that stands before its own in the spec; no ports of
            one without nodes.
        fleet: The fleet's name.
        network: The range of the fleet's planned addresses, if it has such.
        reprovision: Whether to re-provision it even if nothing changes.
        answered: How the machine that is deployed was asked when it became ready: ``address``, ``endpoints``,
            ``probes``, ``watch``, ``hidden`` and ``report``, as :meth:`Peer.describe` has them; ``None`` if it has
            not, or is not known.
        report: The port of its report, which is among ``ports``; ``None``: it has none.
        settle: As :attr:`ReportAccess.settle`.
        hidden: Secrets, by name, that its config or its probes may hold: what must not be in anything that is said of
            it.
        unread: Why secrets that are in its config or its probes could not be read: a mask stands in their places.
        unasked: Those of them that are in its probes: with another config, these are masked still.
        outputs: The values in its config, or its probes, that come from other resources' outputs, by what they are
            called: "variable db", "secret token".
        pending: The names of those that are not known yet: another text stands in their places.
        shown_in_state: The state has :attr:`shown` in full beside the node: an earlier fleet has deployed it so.
    """

    name: str
    group: str
    index: int
    config: MachineConfig
    delivery: Delivery
    shown: str
    secret: bool
    image: LockedImage | None
    disks: Sequence[DiskPlan]
    ports: Sequence[PortPlan]
    probes: Sequence[Probe]
    ready_timeout: int
    surge: bool = False
    drain: DrainPlan | None = None
    private: IPv4Interface | None = None
    follow_image: bool = False
    size: str = "small"
    ahead: tuple[tuple[str, tuple[PortPlan, ...]], ...] = ()
    fleet: str = ""
    network: IPv4Network | None = None
    reprovision: bool = False
    answered: Mapping[str, Any] | None = None
    report: int | None = None
    settle: float | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[FleetError, ...] = ()
    unasked: tuple[FleetError, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    shown_in_state: bool = False


@dataclass(frozen=True)
class GroupPlan:
    """The nodes of a group, and how a change goes through them.

    Attributes:
        name: The group's name.
        nodes: In ascending order.
        count: How many nodes the spec says; the plan may have some of them alone.
        rollout: How a change goes through them.
        after: Groups that change before this one.
        names: Names in the DNS that lead to the nodes.
    """

    name: str
    nodes: tuple[NodePlan, ...]
    count: int
    rollout: Rollout
    after: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def in_order(self) -> list[NodePlan]:
        """The nodes in the order in which they change."""
        nodes = {node.index: node for node in self.nodes}
        return [nodes[index] for index in self.rollout.indices(self.count) if index in nodes]

    @property
    def window(self) -> int:
        """How many may be down at once."""
        return self.rollout.most_down(self.count)

    def waits_for(self, position: int) -> int | None:
        """The position in the order whose readiness the one at ``position`` waits for; ``None``: it begins."""
        return self.rollout.waits_for(position, self.count)


@dataclass(frozen=True)
class FleetPlan:
    """All nodes of a fleet.

    Attributes:
        name: The fleet's name.
        groups: By name, in the spec's order.
        network: The range of the nodes' planned addresses, if they have such.
        deployed: What the stack's state has of the resources that nodes share.
        change: What the update adds to the stack's history; ``None``: it has none yet, and no node is touched.
    """

    name: str
    groups: Mapping[str, GroupPlan]
    network: IPv4Network | None = None
    deployed: tuple[StateEntry, ...] = ()
    change: Change | None = None

    @property
    def nodes(self) -> Iterator[NodePlan]:
        """All nodes, group by group."""
        for group in self.groups.values():
            yield from group.nodes

    @property
    def in_order(self) -> list[GroupPlan]:
        """The groups, each behind those that it comes after."""
        graph = {name: group.after for name, group in self.groups.items()}
        return [self.groups[name] for name in TopologicalSorter(graph).static_order()]

    def only(self, names: Collection[str]) -> FleetPlan:
        """The same with no other nodes than those of these names."""
        groups = {
            name: replace(group, nodes=tuple(node for node in group.nodes if node.name in names))
            for name, group in self.groups.items()
        }
        return replace(self, groups=groups)

    def with_nodes(self, change: Callable[[NodePlan], NodePlan]) -> FleetPlan:
        """The same with every node changed."""
        groups = {name: replace(group, nodes=tuple(map(change, group.nodes))) for name, group in self.groups.items()}
        return replace(self, groups=groups)
