"""The fleets of a program's stack, as its state has them: their nodes, where those are, and how they can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fleet import platforms, ssh
from fleet.dynamic.tokens import GATE, READY
from fleet.ops.progress import Stage, stages
from fleet.ops.state import Deployed, with_config
from fleet.plan import (
    SSH_PORT,
    Delivery,
    FleetPlan,
    GroupPlan,
    MachineConfig,
    NodePlan,
    Peer,
    Probe,
    Report,
    ReportAccess,
    Rollout,
)
from fleet.platforms import Platform
from fleet.program.exported import Resource, inputs, name_of, outputs
from fleet.program.fleets import StateFleet, fleets_of, platform_stack, said
from fleet.program.stack_plan import stack_platform
from fleet.program.topology import TOPOLOGY_VERSION, Topology, TopologyGroup, TopologyNode, called, together
from fleet.stack_config import ConfigReader

_NONE: Mapping[str, str] = {}


class ProgramFleet:
    """A fleet of a program's stack, as the state has it.

    Args:
        state: What the state has of it.
        platform: Where it is.

    Attributes:
        name: Its name in the program; empty: it is the one of the project's spec.
        deployed: Its nodes.
    """

    def __init__(self, state: StateFleet, platform: Platform) -> None:
        self.name, self.platform, self.resources, self._topology = state.name, platform, state.resources, state.topology
        self.deployed = Deployed(state.resources, platform)

    @cached_property
    def plan(self) -> FleetPlan:
        """Its nodes as they are deployed, in the words of a plan, for what asks them how they are.

        What a machine is made of, such as its size, is not in it.
        """
        live = [resource for resource in self.resources if not resource.get("delete")]
        gates = {name_of(resource): outputs(resource) for resource in live if resource["type"] == GATE}
        readies = {name_of(resource): resource for resource in live if resource["type"] == READY}
        names = sorted(gates.keys() | self.deployed.machines.keys(), key=place)
        groups: dict[str, list[NodePlan]] = {}
        for name in names:
            ready = inputs(readies[name]) if name in readies else {}
            groups.setdefault(place(name)[0], []).append(self._node(name, ReportAccess.read(ready.get("report"))))
        order = [group.name for group in self._topology.groups] if self._topology else []
        return FleetPlan(
            self.name,
            {
                name: GroupPlan(
                    name,
                    tuple(nodes),
                    len(nodes),
                    Rollout(window=max(1, *(int(gates.get(node.name, {}).get("down", 1)) for node in nodes), 1)),
                )
                for name, nodes in sorted(groups.items(), key=lambda each: (each[0] not in order, each[0]))
            },
        )

    def _node(self, name: str, report: ReportAccess | None) -> NodePlan:
        group, index = place(name)
        shown = self.deployed.configs.get(name, "{}")
        node = NodePlan(
            name,
            group,
            index,
            config=MachineConfig(shown, ""),
            delivery=Delivery(shown),
            shown=shown,
            secret=False,
            image=None,
            disks=(),
            ports=(),
            probes=(),
            ready_timeout=0,
            report=report.port if report else None,
            settle=report.settle if report else None,
        )
        digest = self.deployed.nodes.get(name, {}).get("digest")
        for _, configs in self.deployed.generations:
            if name in configs and MachineConfig(configs[name][0], "").digest == digest:
                node = with_config(node, configs[name], self.platform)
                break
        restored = self.deployed.restored(node) or node
        return replace(restored, hidden=self.deployed.hidden(name))

    def exported(self) -> dict[str, dict[str, Any]]:
        """What a spec's stack exports of each node that has a machine: its address, its endpoints, how to log in."""
        groups = {group.name: group for group in self._topology.groups} if self._topology else {}
        shown = {}
        for name in self.deployed.machines.keys() & self.deployed.nodes.keys():
            peer = self.deployed.peer(name)
            address = str(peer.address)
            group = groups.get(place(name)[0])
            ports = [port.number for port in group.ports if port.protocol == "tcp" and port.reach] if group else []
            reported = {port.number for port in group.ports if port.use == "report"} if group else set[int]()
            numbers = sorted(({*ports, *peer.endpoints}) - reported)
            host, number = peer.endpoints.get(SSH_PORT, (address, SSH_PORT))
            shown[name] = {
                "address": address,
                "endpoints": {
                    str(port): ":".join(map(str, peer.endpoints.get(port, (address, port)))) for port in numbers
                },
                "ssh": " ".join(ssh.command(str(host), port=number, options=ssh.UNCHECKED)),
            }
        return shown

    @property
    def topology(self) -> Topology:
        """What it was made of when the program last ran; where that is not noted, its groups and nodes alone."""
        if self._topology:
            return self._topology
        groups = tuple(
            TopologyGroup(
                group.name,
                group.count,
                "",
                "",
                "",
                group.window,
                nodes=tuple(TopologyNode(node.name, node.index) for node in group.nodes),
            )
            for group in self.plan.groups.values()
        )
        return Topology(TOPOLOGY_VERSION, self.name, self.platform.name, groups)


class ProgramFleets:
    """All fleets of a program's stack as one, whose nodes have the names that users say.

    It has what :class:`fleet.ops.state.Deployed` has for those who look at nodes.

    Args:
        name: The program's name.
        fleets: The fleets.

    Attributes:
        machines: Id of each node's machine, by the node's name.
        nodes: By name, what is known of each node.
        plan: Its nodes as they are deployed.
        topology: What they are made of.
    """

    def __init__(self, name: str, fleets: Sequence[ProgramFleet]) -> None:
        self._fleets = fleets
        self.several = len(fleets) > 1
        self._owners = {
            self.said(fleet, node.name): (fleet, node.name) for fleet in fleets for node in fleet.plan.nodes
        }
        self.machines = {
            self.said(fleet, node): machine for fleet in fleets for node, machine in fleet.deployed.machines.items()
        }
        self.configs = {
            self.said(fleet, node): text for fleet in fleets for node, text in fleet.deployed.configs.items()
        }
        self.nodes = {self.said(fleet, node): known for fleet in fleets for node, known in fleet.deployed.nodes.items()}
        self.plan = FleetPlan(
            name,
            {
                self.said(fleet, group.name): replace(
                    group,
                    name=self.said(fleet, group.name),
                    nodes=tuple(replace(node, name=self.said(fleet, node.name)) for node in group.nodes),
                )
                for fleet in fleets
                for group in fleet.plan.groups.values()
            },
        )
        self.topology = together(name, [called(fleet.topology, partial(self.said, fleet)) for fleet in fleets])

    def said(self, fleet: ProgramFleet, name: str) -> str:
        """The name of a fleet's node or group, as users say it."""
        return said(fleet.name, name) if self.several else name

    def stages(self, deployment: Mapping[str, Any]) -> dict[str, Stage]:
        """Where every node is, as :func:`fleet.ops.progress.stages`.

        Args:
            deployment: The state.
        """
        return {
            self.said(fleet, node): stage
            for fleet in self._fleets
            for node, stage in stages({**deployment, "resources": fleet.resources}, fleet.platform.machine_type).items()
        }

    def peer(
        self,
        name: str,
        probes: Sequence[Probe] = (),
        hidden: Mapping[str, str] = _NONE,
        report: ReportAccess | None = None,
    ) -> Peer:
        """As :meth:`Deployed.peer`."""
        fleet, node = self._owners[name]
        return fleet.deployed.peer(node, probes, hidden, report)

    def mask(self, name: str, planned: NodePlan | None) -> Callable[[str], str]:
        """As :meth:`Deployed.mask`."""
        fleet, node = self._owners[name]
        return fleet.deployed.mask(node, planned)

    def reports(self, nodes: Sequence[NodePlan]) -> dict[str, Report | str]:
        """As :meth:`Deployed.reports`."""
        return {
            self.said(fleet, node): report
            for fleet, own in self._by_fleet(nodes)
            for node, report in fleet.deployed.reports(own).items()
        }

    def not_ready(self, nodes: Sequence[NodePlan], *, patience: float = 0, by_report: bool = True) -> dict[str, str]:
        """As :meth:`Deployed.not_ready`."""
        return {
            self.said(fleet, node): reason
            for fleet, own in self._by_fleet(nodes)
            for node, reason in fleet.deployed.not_ready(own, patience=patience, by_report=by_report).items()
        }

    def ailing(self) -> str:
        """What ails the platforms."""
        return " ".join(dict.fromkeys(filter(None, (fleet.platform.ailing() for fleet in self._fleets))))

    def _by_fleet(self, nodes: Sequence[NodePlan]) -> list[tuple[ProgramFleet, list[NodePlan]]]:
        wanted = {node.name for node in nodes}
        return [
            (fleet, [node for node in fleet.plan.nodes if self.said(fleet, node.name) in wanted])
            for fleet in self._fleets
        ]


def program_fleets(
    resources: Sequence[Resource], config: ConfigReader, *, folder: Path, stack: str
) -> list[ProgramFleet]:
    """The fleets of a program's stack.

    Args:
        resources: The state's resources, secrets in plain text.
        config: Reads the stack's config.
        folder: The program's folder.
        stack: The stack's name.

    Raises:
        FleetError: A platform cannot be used.
    """
    return [
        ProgramFleet(
            state,
            platform_of(
                state.platform, state.options or {}, config, folder=folder, stack=platform_stack(stack, state.name)
            ),
        )
        for state in fleets_of(resources)
    ]


def platform_of(name: str, options: Mapping[str, Any], config: ConfigReader, *, folder: Path, stack: str) -> Platform:
    """The platform of a program's fleet.

    Args:
        name: Its name; empty: the stack's config names it.
        options: Its options.
        config: Reads the stack's config.
        folder: The program's folder.
        stack: What the platform takes for the stack's name.

    Raises:
        FleetError: It cannot be used.
    """
    if not name:
        return stack_platform(config, folder=folder, stack=stack)
    return platforms.platform(name, options, project=folder, stack=stack, config=config)


def place(node: str) -> tuple[str, int]:
    """A node's group, and its index there.

    Args:
        node: The node's name.
    """
    group, _, index = node.rpartition("-")
    return group, int(index) if index.isdigit() else 0
