"""What the rest of fleet asks of a platform, and what it tells one.

A platform has a pure part, which planning uses (where a data disk appears, which ports are reachable, what it cannot
do), and a part that declares Pulumi resources. The pure part must work without the provider's SDK, so that ``fleet
render`` and ``fleet validate`` need none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from fleet.config import Delivery, Limits, MachineConfig
from fleet.errors import FleetError
from fleet.images import LockedImage, Progress
from fleet.model import Model
from fleet.probes import Probe

if TYPE_CHECKING:
    import pulumi


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
        shown: The config with secrets masked, for people to see; "{}" where masking was not possible.
        secret: Whether the config holds a secret, so that Pulumi must keep it encrypted.
        image: The locked image; ``None`` where there is no lock, in which case it can be rendered, not made.
        disks: Data disks.
        ports: Ports reachable from outside, SSH's among them, in ascending order.
        probes: What must answer before the node counts as ready.
        ready_timeout: Seconds that the probes may take, from the node's start.
        surge: The new machine is made before the old one goes.
        drain: What is done before the machine goes.
        private: Its planned address in the fleet's private network.
        follow_image: Another locked image re-provisions it.
        size: "small", "medium", "large", or the platform's own word for a kind of machine.
        ahead: Name and ports of each group that stands before its own in the spec; no ports of one without nodes.
        fleet: The fleet's name.
        network: The range of the fleet's planned addresses, if it has such.
        again: It is to be re-provisioned, though nothing of it changes.
        answered: How the machine that is deployed was asked when it became ready: ``address``, ``endpoints``,
            ``probes``, ``watch`` and ``hidden``, as :meth:`Peer.describe` has them; ``None`` if it has not, or is not
            known.
        hidden: Secrets, by name, that its config or its probes may hold: what must not be in anything that is said of
            it.
        unread: Why secrets that are in its config or its probes could not be read: a mask stands in their places.
        unasked: Those of them that are in its probes: with another config, these are masked still.
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
    again: bool = False
    answered: Mapping[str, Any] | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[FleetError, ...] = ()
    unasked: tuple[FleetError, ...] = ()


@dataclass(frozen=True)
class GroupPlan:
    """The nodes of a group, and how a change goes through them.

    Attributes:
        name: The group's name.
        nodes: In ascending order.
        order: Indices of nodes in the order in which they change.
        window: How many may be down at once.
        canary: The first one goes alone.
        pause: Seconds between one node's readiness and the next one's turn.
        after: Groups that change before this one.
        names: Names in the DNS that lead to the nodes.
    """

    name: str
    nodes: tuple[NodePlan, ...]
    order: tuple[int, ...]
    window: int = 1
    canary: bool = False
    pause: float = 0
    after: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def in_order(self) -> list[NodePlan]:
        """The nodes in the order in which they change."""
        nodes = {node.index: node for node in self.nodes}
        return [nodes[index] for index in self.order if index in nodes]

    def waits_for(self, position: int) -> int | None:
        """The position in the order whose readiness the one at ``position`` waits for; ``None``: it begins."""
        behind = position - self.window
        if self.canary and position > 0:
            behind = max(behind, 0)
        return behind if behind >= 0 else None


@dataclass(frozen=True)
class FleetPlan:
    """All nodes of a fleet.

    Attributes:
        name: The fleet's name.
        groups: By name, in the spec's order.
        network: The range of the nodes' planned addresses, if they have such.
        deployed: What the stack's state has of the resources that nodes share.
    """

    name: str
    groups: Mapping[str, GroupPlan]
    network: IPv4Network | None = None
    deployed: tuple[StateEntry, ...] = ()

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


@dataclass(frozen=True)
class Interface:
    """A network interface that a node has to set up itself.

    Attributes:
        mac: Its MAC address, by which the node finds it.
        gateway: The gateway to everywhere else, which answers DNS queries too; ``None``: there is another interface.
    """

    mac: str
    gateway: IPv4Address | None = None


@dataclass(frozen=True)
class Watch:
    """How to look at an instance from outside while it starts: ``function`` is a ``module:name`` of fleet's that is
    given ``argument`` and returns an object with the methods of :class:`fleet.components.ready.Watcher`.
    """

    function: str
    argument: pulumi.Input[str]

    def describe(self) -> dict[str, Any]:
        """As a resource's input."""
        return {"function": self.function, "argument": self.argument}


@dataclass(frozen=True)
class Peer:
    """How a node can be asked whether it is ready.

    Attributes:
        name: The node's name.
        address: Its address: its own for its peers, its instance's for its readiness.
        endpoints: As :attr:`Instance.endpoints`.
        probes: What to ask, in order.
        watch: How to look at it, if there is a way.
        hidden: As :attr:`NodePlan.hidden`: what it answers may hold these.
    """

    name: str
    address: pulumi.Input[str]
    endpoints: Mapping[int, tuple[str, int]]
    probes: Sequence[Probe]
    watch: Watch | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """As a resource's input, with secrets in plain text."""
        made: dict[str, Any] = {
            "address": self.address,
            "endpoints": {str(port): list(endpoint) for port, endpoint in sorted(self.endpoints.items())},
            "probes": [probe.model_dump(mode="json", by_alias=True, exclude_defaults=True) for probe in self.probes],
        }
        if self.watch:
            made["watch"] = self.watch.describe()
        if self.hidden:
            made["hidden"] = dict(self.hidden)
        return made


@dataclass(frozen=True)
class Needs:
    """Whether what a node's next machine needs is to be had: its image, its size, where it is to be.

    Attributes:
        missing: What is not to be had, and what to do, as a paragraph; empty if nothing is known to be missing. It
            stops no update that makes no machine.
        look: ``module:name`` of a function of fleet's that looks only when a machine is about to be made. It is called
            with ``argument``, and with whether to get, too, what takes long to get; returns a text like ``missing``.
        argument: For ``look``.
    """

    missing: pulumi.Input[str] = ""
    look: str = ""
    argument: pulumi.Input[str] = ""

    def describe(self) -> dict[str, Any]:
        """As inputs of a resource."""
        inputs: dict[str, Any] = {"missing": self.missing}
        if self.look:
            inputs["look"] = {"function": self.look, "argument": self.argument}
        return inputs


@dataclass(frozen=True)
class Instance:
    """What a platform made of a node.

    Attributes:
        resources: What a later resource waits for.
        id: Changes exactly when the node is re-provisioned.
        address: The address that reaches this machine.
        endpoints: By TCP port of the node: host and port that reach it from here. Ports that are not named are
            reached at ``address`` under their own number.
        ssh: The command that logs in.
        console: Where its serial console can be read, in words or as a path.
        watch: How to look at it while it starts, if there is a way.
        hand_over: Declares that the node's address leads to this machine from now on; given what to wait for. ``None``
            where it leads there from the machine's start.
    """

    resources: Sequence[pulumi.Resource]
    id: pulumi.Output[str]
    address: pulumi.Input[str]
    endpoints: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    ssh: pulumi.Input[str] = ""
    console: pulumi.Input[str] = ""
    watch: Watch | None = None
    hand_over: Callable[[Sequence[pulumi.Resource]], pulumi.Resource] | None = None


class Site(Protocol):
    """A platform's part that declares resources, in one run of a program. Making one declares what nodes share."""

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        """Declare what reaches a node from outside, whichever machine it is at the time.

        Args:
            node: The plan.
            opts: Options to pass on; they set the parent.
        """
        ...

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        """Declare names in the DNS, where the stack's options say in which zone.

        Args:
            names: Full names.
            addresses: What :meth:`address` gave: each name leads to all of these.
            opts: Options to pass on; they set the parent.
        """
        ...

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Declare a data disk: kept when its node is re-provisioned and when the stack is destroyed. Disks that are
        taken over are declared before a node's others, which are made where those are.
        """
        ...

    def needs(self, node: NodePlan) -> Needs:
        """Look up what a new machine of a node needs, once for whatever several nodes need."""
        ...

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        """Declare the machine of a node, replaced as a whole whenever anything of it changes.

        Args:
            node: The plan.
            disks: What :meth:`data_disk` returned, by the disk's name.
            after: Resources that must be there first: the node's gate.
            opts: Options to pass on; they set the parent.
        """
        ...


Leftovers = Sequence[str] | Callable[[], "pulumi.Output[Sequence[str]]"] | None
"""Ids, or a function that asks a provider for them when it is called in a Pulumi program."""


class Platform(Protocol):
    """A platform.

    Attributes:
        name: As ``fleet:platform`` names it.
        architecture: "x86_64" or "aarch64".
        machine_type: The Pulumi type of the resource that is a node's machine.
        replaced_types: The types of the resources, named like the node, that hold first-boot state: the machine's, and
            of what goes with it.
        rule_types: The types of the shared resources that a machine's tags need: an update of some nodes alone makes
            them, too, for a machine that gets other tags must find the rules for them.
        image_types: The types of what is made of the locked image once, for all nodes; none where it is the platform's
            own.
        limits: How large user data may be.
        metadata_addresses: Where nodes find the platform's metadata service, if it has the node's user data.
    """

    @property
    def name(self) -> str: ...

    @property
    def architecture(self) -> str: ...

    @property
    def machine_type(self) -> str: ...

    @property
    def replaced_types(self) -> Collection[str]: ...

    @property
    def rule_types(self) -> Collection[str]: ...

    @property
    def image_types(self) -> Collection[str]: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def metadata_addresses(self) -> Collection[IPv4Address | IPv6Address]: ...

    @property
    def place(self) -> str:
        """Where the stack's data disks are, as far as no node can be elsewhere: a region, a host; empty: here."""
        ...

    def place_of(self, disk: StateEntry) -> str:
        """Where a deployed data disk is, in the words of :attr:`place`; empty if that cannot be known."""
        ...

    def cannot_surge(self, *, addressed: bool) -> str:
        """Why an old and a new machine of one node cannot be there at once; empty if they can.

        Args:
            addressed: The nodes have planned addresses.
        """
        ...

    def device(self, disk: str) -> str:
        """The stable path under ``/dev`` at which a node finds one of its data disks."""
        ...

    def disk_rule(self, disk: str) -> str:
        """The udev rule that gives a data disk the path of :meth:`device`; empty where none is needed."""
        ...

    def private(self, group: str, index: int) -> IPv4Interface | None:
        """The address that a node has where the spec plans none; ``None`` where the platform's network gives it one."""
        ...

    def interface(self, address: IPv4Interface) -> Interface | None:
        """A node's private interface, where the node has to give it its planned address itself; ``None`` where the
        platform's network does.
        """
        ...

    def planned_address(self, network: IPv4Network, number: int) -> IPv4Address:
        """The planned address of a number.

        Args:
            network: The range of the planned addresses.
            number: Counted from the range's first address.

        Raises:
            UsageError: The range has no room for it.
        """
        ...

    def check(self, plan: FleetPlan) -> None:
        """Refuse what the platform cannot do.

        Raises:
            FleetError: Says what, and what to change.
        """
        ...

    def check_deployed(self, plan: FleetPlan) -> None:
        """Refuse what what is deployed cannot become: above all, a data disk never becomes another one.

        Args:
            plan: One that knows the state (:func:`fleet.platforms.state.with_state`).

        Raises:
            FleetError: Says what, and what to change.
        """
        ...

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        """What a data disk would be given if it were new and can never change: by input of its resource."""
        ...

    def disk_size(self, disk: StateEntry) -> int:
        """The size of a deployed data disk in GiB."""
        ...

    def check_stack(self, *, account: bool = True) -> None:
        """Refuse to make anything for a stack whose config lacks what the platform must know, such as a region.

        Args:
            account: With what the provider may be told by this machine's environment instead: a region, a token.

        Raises:
            FleetError: Says what is missing.
        """
        ...

    def prepare(self, image: LockedImage, progress: Progress | None = None) -> None:
        """Do what takes long and is not a resource, such as a download, while progress can be shown.

        Raises:
            FleetError: It cannot be done.
        """
        ...

    def repair(self) -> None:
        """Mend what deployed nodes need and is no resource, before they are asked how they are.

        Raises:
            FleetError: It cannot be mended.
        """
        ...

    def ailing(self) -> str:
        """What :meth:`repair` would mend, and what to do, in a sentence or two; empty if nothing. Changes nothing."""
        ...

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Leftovers:
        """What an interrupted creation of a resource may have left: the ids of all that it could be.

        Args:
            kind: The resource's Pulumi type.
            inputs: Its inputs.
            keep: Nothing of its name may be removed: it is a data disk, or the state has the resource, too.

        Returns:
            The ids, or what asks the provider for them; whether there is anything of an id is found out later. ``None``
            if there is no way to look.
        """
        ...

    def trigger(self, node: NodePlan) -> str:
        """A digest that, if it changes, re-provisions a node: of its config, and of what the provider would otherwise
        change in a running machine, or not at all. The image is not part of it.
        """
        ...

    def shape(self, node: NodePlan) -> Mapping[str, str]:
        """All that re-provisions a node besides its config and its image, by the words of the stack's options and of
        the spec. It is kept in the state in plain text, so it holds no secret, and no digest of one.

        What is here and not in :meth:`trigger`, the provider itself replaces the machine for. Every input of a machine
        that may change and for which the provider replaces it is here, unless its change is ignored: what is not here,
        the node's gate is not asked for.
        """
        ...

    def image(self, node: NodePlan) -> str:
        """Which image a new machine of the node gets, as one word: another word, another image."""
        ...

    def peer(self, node: NodePlan, address: pulumi.Input[str]) -> Peer:
        """How a node can be asked by others.

        Args:
            node: The plan.
            address: What :meth:`Site.address` gave.
        """
        ...

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """How a node can be asked that is deployed, whatever is planned by now.

        Args:
            name: The node's name.
            address: The address that leads to it, from the state.
            machine: The outputs of its machine, from the state.
            probes: What to ask.
        """
        ...

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Site:
        """Begin to declare a fleet's resources with those that the nodes share: image, network, firewall."""
        ...
