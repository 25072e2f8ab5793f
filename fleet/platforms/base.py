"""What the rest of fleet asks of a platform, and what a platform makes of a node.

A platform has a pure part (:class:`fleet.plan.PlanningPlatform` is what planning asks of it), and a part that declares
Pulumi resources. The pure part must work without the provider's SDK, so that ``fleet render`` and ``fleet validate``
need none.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fleet.config.difference import host_name
from fleet.plan import (
    SSH_PORT,
    DiskPlan,
    FleetPlan,
    Interface,
    LockedImage,
    Needs,
    NodePlan,
    Peer,
    PlanningPlatform,
    PortPlan,
    Probe,
    ReportAccess,
    StateEntry,
    Watch,
)
from fleet.platforms.diagnosis import Check
from fleet.platforms.options import PlatformOptions
from fleet.stack_config import ConfigReader

if TYPE_CHECKING:
    import pulumi

    from fleet.images import Artifact, Progress


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
        holds_config: Among the inputs of one of these resources, or of others that the site declared with them, is the
            node's config as it is planned, whether compressed or not: so the node need not keep it, too.
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
    holds_config: bool = False
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
        """Declare a data disk: kept when its node is re-provisioned and when the stack is destroyed.

        Disks that are taken over are declared before a node's others, which are made where those are.
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


class Platform(PlanningPlatform, Protocol):
    """A platform.

    Attributes:
        machine_type: The Pulumi type of the resource that is a node's machine.
        replaced_types: The types of the resources, named like the node, that hold first-boot state: the machine's, and
            of what goes with it.
        rule_types: The types of the shared resources that a machine's tags need: an update of some nodes alone makes
            them, too, for a machine that gets other tags must find the rules for them.
        image_types: The types of what is made of the locked image once, for all nodes; none where it is the platform's
            own.
    """

    @property
    def machine_type(self) -> str: ...

    @property
    def replaced_types(self) -> Collection[str]: ...

    @property
    def rule_types(self) -> Collection[str]: ...

    @property
    def image_types(self) -> Collection[str]: ...

    @property
    def place(self) -> str:
        """Where the stack's data disks are, as far as no node can be elsewhere: a region, a host; empty: here."""
        ...

    def place_of(self, disk: StateEntry) -> str:
        """Where a deployed data disk is, in the words of :attr:`place`; empty if that cannot be known."""
        ...

    def check_deployed(self, plan: FleetPlan) -> None:
        """Refuse changes that deployed resources cannot take: above all, a data disk is never replaced.

        Args:
            plan: One that knows the state (:func:`fleet.program.state.with_state`).

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

    def checks(self, config: ConfigReader) -> Sequence[Check]:
        """What `fleet doctor` looks at on this machine for the stack's sake: SDK, plugin, credentials, a daemon.

        Args:
            config: Reads the stack's config as its file has it: a secret is :class:`~fleet.stack_config.Secure`, and
                not the secret itself.
        """
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
        """A digest that, if it changes, re-provisions a node.

        It is of the config, and of what the provider would otherwise change in a running machine, or not at all. The
        image is not part of it.
        """
        ...

    def shape(self, node: NodePlan) -> Mapping[str, str]:
        """All that re-provisions a node besides its config and its image.

        It goes by the words of the stack's options and of the spec. It is kept in the state in plain text, so it holds
        no secret, and no digest of one.

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

    def host_ports(self, node: NodePlan) -> Mapping[PortPlan, tuple[str, int]]:
        """Host and port that lead to ports of a node which are not reached at an address of the node's own."""
        ...

    def reached_from(self, port: PortPlan, *, report: bool) -> Sequence[str]:
        """Who outside the fleet reaches a port: CIDRs; in words where the platform has no firewall. Empty: nobody.

        Args:
            port: The port.
            report: Whether the node's report is there.
        """
        ...

    def report_access(self, node: NodePlan) -> ReportAccess | None:
        """How a node's report can be had from this machine; ``None`` if it has none."""
        ...

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Site:
        """Begin to declare a fleet's resources with those that the nodes share: image, network, firewall."""
        ...


class PlatformClass(Platform, Protocol):
    """A platform's class, as its entry point names it.

    Attributes:
        options_model: What ``fleet:<name>`` in a stack's config can say.
        artifacts: What of Fedora's stream metadata an image lock has to keep for it.
        first_stack: What ``fleet new`` calls the first stack; the platform's name if it is empty.
    """

    name: str
    options_model: type[PlatformOptions]
    artifacts: Collection[Artifact]
    first_stack: str

    @classmethod
    def from_options(cls, options: Mapping[str, Any], *, project: Path, stack: str, config: ConfigReader) -> Platform:
        """Read the options of a stack.

        Args:
            options: The stack's ``fleet:<name>``.
            project: The folder that holds ``Pulumi.yaml``.
            stack: The stack's name.
            config: Reads the stack's config, for what a provider has there.

        Raises:
            UsageError: An option is wrong.
        """
        ...

    @classmethod
    def stack_file(cls) -> str:
        """What ``fleet new`` begins a stack's config file with; empty if the platform brings nothing for that."""
        ...


def report_access(platform: Platform, node: NodePlan) -> ReportAccess | None:
    """How a node's report can be had, and what the node calls itself in it; ``None``: it has none."""
    access = platform.report_access(node)
    return replace(access, host=host_name(node.shown)) if access else None


class BasePlatform:
    """What most platforms have in common; each says what is different with it.

    A platform is a class in a module ``platform``, beside which a module ``site`` has a class :class:`Site`.
    """

    artifacts: tuple[Artifact, ...] = ()
    first_stack = ""
    rule_types: tuple[str, ...] = ()
    image_types: tuple[str, ...] = ()
    metadata_addresses: tuple[IPv4Address | IPv6Address, ...] = ()

    @property
    def place(self) -> str:
        """Each platform says its own."""
        raise NotImplementedError

    def place_of(self, disk: StateEntry) -> str:
        """As it was written down."""
        return disk.place

    def repair(self) -> None:
        """Nothing: what nodes need is resources."""

    def ailing(self) -> str:
        """Nothing."""
        return ""

    def checks(self, config: ConfigReader) -> Sequence[Check]:
        """Nothing beside what every stack needs."""
        return ()

    def planned_address(self, network: IPv4Network, number: int) -> IPv4Address:
        """The address at the number."""
        return network[number]

    def disk_size(self, disk: StateEntry) -> int:
        """As the resource has it."""
        return int(disk.outputs.get("size", 0))

    def private(self, group: str, index: int) -> IPv4Interface | None:
        """None: the platform's network gives addresses."""
        return None

    def interface(self, address: IPv4Interface) -> Interface | None:
        """None: the platform's network gives nodes their planned addresses, too."""
        return None

    def prepare(self, image: LockedImage, progress: Progress | None = None) -> None:
        """Nothing has to be fetched to this machine."""

    def peer(self, node: NodePlan, address: pulumi.Input[str]) -> Peer:
        """At its address."""
        return Peer(node.name, address, {}, node.probes)

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """At its address."""
        return Peer(name, address, {}, probes)

    def host_ports(self, node: NodePlan) -> Mapping[PortPlan, tuple[str, int]]:
        """None: nodes have addresses."""
        return {}

    def reached_from(self, port: PortPlan, *, report: bool) -> Sequence[str]:
        """As the spec says: the firewall sees to it."""
        return port.sources

    def report_access(self, node: NodePlan) -> ReportAccess | None:
        """Directly, or over SSH, where the firewall lets in anybody."""
        if node.report is None:
            return None
        opened = {port.number for port in node.ports if port.protocol == "tcp" and port.sources}
        return ReportAccess(node.report, node.settle, direct=node.report in opened, ssh=SSH_PORT in opened)

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Site:
        site: Site = self._declaring().Site(self, plan, opts)
        return site

    def _declaring(self) -> Any:
        """The module that declares resources. It is imported when it is first needed: planning needs no SDK."""
        return importlib.import_module(f"{type(self).__module__.rpartition('.')[0]}.site")

    @classmethod
    def stack_file(cls) -> str:
        """The file ``stack.yaml`` beside the module that defines the platform."""
        package = cls.__module__.rpartition(".")[0]
        if not package:
            return ""
        file = resources.files(package).joinpath("stack.yaml")
        return file.read_text(encoding="utf-8") if file.is_file() else ""
