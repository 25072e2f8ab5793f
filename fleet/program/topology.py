"""The topology: what a fleet is made of, in words for people and pictures.

It is what ``fleet graph`` draws and ``fleet view`` shows: groups and their nodes, containers and what they share, ports
and who may reach them, data disks, networks, names. It is a pure function of a spec and its plan, so the same input
gives the same topology, in the same order, and it is JSON when :func:`as_json` has gone over it.

Nothing in it is secret: the spec that it is read from has masks in the places of secrets, no command line and no
environment of a container is in it, and of secrets it has the names alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from fleet.plan import ANYWHERE, SSH_PORT, FleetPlan, GroupPlan, NodePlan, PortPlan
from fleet.platforms import Platform
from fleet.spec import FleetSpec
from fleet.spec.model import AnySnippet, Group, SnippetRef
from fleet.workloads.container import Container, volume_source
from fleet.workloads.fields import Port
from fleet.workloads.quadlet_units import QuadletUnit
from fleet.workloads.resources import Pod
from fleet.workloads.workload import below

TOPOLOGY_VERSION = 1
"""Of the JSON: keys are added within a version, none is removed or changes its meaning."""

_NONE: Mapping[str, str] = {}

Role = Literal["service", "oneshot", "timer"]
"""What a container does: it runs for as long as its node does, ends once, or runs by a timer."""


@dataclass(frozen=True)
class Endpoint:
    """A port of a node that another address leads to.

    Attributes:
        number: The node's port.
        protocol: "tcp" or "udp".
        host: The address at which it is reached, such as "127.0.0.1".
        port: The port there.
    """

    number: int
    protocol: str
    host: str
    port: int


@dataclass(frozen=True)
class TopologyNode:
    """A node.

    Attributes:
        name: ``<group>-<index>``.
        index: From 0.
        address: Its address for those outside the fleet; empty if it is not deployed, or no stack was looked at.
        private: Its planned address in the fleet's network; empty if it has none.
        endpoints: Where its ports are reached, on platforms that give nodes no address of their own.
        snippets: What it has beside the other nodes of its group, as :attr:`TopologyGroup.snippets`.
        takes_over: By data disk, the platform's name of a disk that it takes over.
        state: In one word or two, such as "ready"; empty if it is not known.
        reason: Why it is in that state; empty if there is nothing to say.
    """

    name: str
    index: int
    address: str = ""
    private: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    snippets: tuple[str, ...] = ()
    takes_over: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    reason: str = ""


@dataclass(frozen=True)
class TopologyPort:
    """A port of each node of a group that can be reached from outside the node.

    Attributes:
        number: The port.
        protocol: "tcp" or "udp".
        use: "ssh", "report" for the node's report, "container", "pod", or "other": another program serves it.
        name: The container's or the pod's name; empty for others.
        target: The port inside the container or pod; ``None`` for others.
        reach: Who outside the fleet may reach it: CIDRs, "anywhere", or words where the platform has no firewall.
            Empty: nobody.
    """

    number: int
    protocol: str
    use: Literal["ssh", "report", "container", "pod", "other"]
    name: str = ""
    target: int | None = None
    reach: tuple[str, ...] = ()


@dataclass(frozen=True)
class TopologyMount:
    """What a container mounts.

    Attributes:
        source: A path of the node, or a volume's name.
        target: Where it is in the container.
        kind: "disk": it lies on a data disk; "volume": a named volume; "path": another path of the node.
        disk: The data disk's name; empty for others.
    """

    source: str
    target: str
    kind: Literal["disk", "volume", "path"]
    disk: str = ""


@dataclass(frozen=True)
class TopologyContainer:
    """A container of every node of a group.

    Attributes:
        name: Its name.
        image: The image's reference; of one that the node builds, the folder that it is built from.
        built: The node builds its image.
        role: What it does.
        schedule: When it runs by a timer, as systemd writes it; empty for others.
        user: Whose rootless Podman runs it; empty for root's.
        pod: The pod that it is in; empty if in none.
        networks: Networks that it is in; empty for the engine's own.
        published: Its published ports, as ``[ADDRESS:]NODE:CONTAINER/PROTOCOL``.
        mounts: What it mounts.
        disks: Data disks that it has data on, those that its engine's storage lies on included.
        secrets: Names of the secrets that it uses.
        after: Containers that are started, and well, before it.
        health: It has a health check.
    """

    name: str
    image: str
    built: bool = False
    role: Role = "service"
    schedule: str = ""
    user: str = ""
    pod: str = ""
    networks: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    mounts: tuple[TopologyMount, ...] = ()
    disks: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    health: bool = False


@dataclass(frozen=True)
class TopologyPod:
    """A pod of every node of a group.

    Attributes:
        name: Its name.
        containers: Its containers.
        networks: Networks that it is in.
        published: Its published ports, as :attr:`TopologyContainer.published`.
        user: Whose rootless Podman runs it; empty for root's.
    """

    name: str
    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True)
class TopologyNetwork:
    """A network of containers on every node of a group.

    Attributes:
        name: Its name.
        subnets: Its ranges; empty: the engine chooses one.
        internal: Nothing in it reaches the outside.
        members: Containers and pods in it.
    """

    name: str
    subnets: tuple[str, ...] = ()
    internal: bool = False
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class TopologyDisk:
    """A data disk that every node of a group has its own of.

    Attributes:
        name: Its name.
        size_gib: Its size in GiB.
        mount: Where it is mounted.
        format: Its file system.
        snapshot: A snapshot of it is kept before each re-provisioning.
    """

    name: str
    size_gib: int
    mount: str
    format: str
    snapshot: bool = False


@dataclass(frozen=True)
class TopologyGroup:
    """A group of nodes.

    Attributes:
        name: Its name.
        count: How many nodes it has.
        size: "small", "medium", "large", or the platform's own word.
        engine: "podman" or "docker".
        strategy: "recreate" or "surge".
        window: How many nodes may be down at once.
        canary: The first node of a rollout goes alone.
        after: Groups that change before it.
        names: Names in the DNS that lead to its nodes.
        nodes: In ascending order.
        ports: Those that can be reached from outside a node, in ascending order.
        containers: In the spec's order, as all that follow.
        pods: Pods.
        networks: Networks of containers.
        volumes: Names of the volumes that containers mount; they lie on the node's own disk and go with it.
        disks: Data disks.
        snippets: Files, and names of the library's snippets, in their order.
        guard: Containers and users other than root are kept from the platform's metadata service.
    """

    name: str
    count: int
    size: str
    engine: str
    strategy: str
    window: int
    canary: bool = False
    after: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    nodes: tuple[TopologyNode, ...] = ()
    ports: tuple[TopologyPort, ...] = ()
    containers: tuple[TopologyContainer, ...] = ()
    pods: tuple[TopologyPod, ...] = ()
    networks: tuple[TopologyNetwork, ...] = ()
    volumes: tuple[str, ...] = ()
    disks: tuple[TopologyDisk, ...] = ()
    snippets: tuple[str, ...] = ()
    guard: bool = False


@dataclass(frozen=True)
class Topology:
    """A fleet.

    Attributes:
        version: :data:`TOPOLOGY_VERSION`.
        name: The fleet's name.
        platform: Where it runs.
        groups: In the spec's order.
        network: The range of the nodes' private network, in which they reach one another at every port; empty if the
            spec plans none.
    """

    version: int
    name: str
    platform: str
    groups: tuple[TopologyGroup, ...]
    network: str = ""

    @property
    def nodes(self) -> Iterator[TopologyNode]:
        """All nodes, group by group."""
        for group in self.groups:
            yield from group.nodes


def topology_of(
    fleet: FleetSpec, plan: FleetPlan, platform: Platform, addresses: Mapping[str, str] = _NONE
) -> Topology:
    """The topology of a planned spec.

    Args:
        fleet: The spec, with masks in the places of its secrets (:attr:`fleet.spec.LoadedSpec.masked`).
        plan: Its plan.
        platform: Where the nodes are to run.
        addresses: By node, its address for those outside the fleet, as far as it is known.
    """
    groups = tuple(_group(name, group, plan.groups[name], platform, addresses) for name, group in fleet.groups.items())
    network = str(plan.network) if plan.network else ""
    return Topology(TOPOLOGY_VERSION, plan.name, platform.name, groups, network)


def with_states(topology: Topology, states: Mapping[str, tuple[str, str]]) -> Topology:
    """The same with states of nodes.

    Args:
        topology: The topology.
        states: By node, its state, and the reason for it or an empty text.
    """

    def noted(node: TopologyNode) -> TopologyNode:
        state, reason = states.get(node.name, (node.state, node.reason))
        return replace(node, state=state, reason=reason)

    groups = tuple(replace(group, nodes=tuple(map(noted, group.nodes))) for group in topology.groups)
    return replace(topology, groups=groups)


def called(topology: Topology, name: Callable[[str], str]) -> Topology:
    """The same with other names of nodes and of groups.

    Args:
        topology: The topology.
        name: Gives the name of a node or a group.
    """
    groups = tuple(
        replace(
            group,
            name=name(group.name),
            after=tuple(map(name, group.after)),
            nodes=tuple(replace(node, name=name(node.name)) for node in group.nodes),
        )
        for group in topology.groups
    )
    return replace(topology, groups=groups)


def with_addresses(topology: Topology, addresses: Mapping[str, str]) -> Topology:
    """The same with the addresses of nodes.

    Args:
        topology: The topology.
        addresses: By node, its address for those outside the fleet.
    """
    groups = tuple(
        replace(group, nodes=tuple(replace(node, address=addresses.get(node.name, "")) for node in group.nodes))
        for group in topology.groups
    )
    return replace(topology, groups=groups)


def together(name: str, topologies: Sequence[Topology]) -> Topology:
    """Several fleets as one.

    Args:
        name: What they are together.
        topologies: Theirs; no two groups or nodes have the same name.
    """
    if len(topologies) == 1:
        return topologies[0]
    where = ", ".join(dict.fromkeys(topology.platform for topology in topologies))
    groups = tuple(group for topology in topologies for group in topology.groups)
    return Topology(TOPOLOGY_VERSION, name, where, groups)


def as_json(topology: Topology) -> dict[str, Any]:
    """A topology as JSON has it: mappings, lists, texts, numbers."""
    return dict(_plain(asdict(topology)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _group(name: str, group: Group, plan: GroupPlan, platform: Platform, addresses: Mapping[str, str]) -> TopologyGroup:
    mounted = [mount for container in group.containers.values() for mount in _mounts(group, container)]
    units = [_container_of(unit, group) for unit in group.units if unit.kind in ("container", "kube")]
    mounted += [mount for unit in units for mount in unit.mounts]
    volumes = [mount.source for mount in mounted if mount.kind == "volume"]
    pods = [unit for unit in group.units if unit.kind == "pod"]
    report = plan.nodes[0].report if plan.nodes else None
    networked: list[tuple[str, Container | Pod]] = [*group.containers.items(), *group.pods.items()]
    return TopologyGroup(
        name=name,
        count=group.count,
        size=group.size,
        engine=group.engine,
        strategy="surge" if any(node.surge for node in plan.nodes) else "recreate",
        window=plan.window,
        canary=plan.rollout.canary,
        after=plan.after,
        names=plan.names,
        nodes=tuple(_node(node, group, platform, addresses) for node in plan.nodes),
        ports=tuple(_port(port, report, group, platform) for port in _reachable(group, plan.nodes)),
        containers=(*(_container(each, container, group) for each, container in group.containers.items()), *units),
        pods=(
            *(
                TopologyPod(
                    each,
                    (
                        *(name for name, container in group.containers.items() if container.pod == each),
                        *(unit.name for unit in units if unit.pod == each),
                    ),
                    tuple(use.name for use in pod.networks),
                    tuple(map(str, pod.ports)),
                    pod.run_as or "",
                )
                for each, pod in group.pods.items()
            ),
            *(
                TopologyPod(
                    pod.stem,
                    tuple(unit.name for unit in units if unit.pod == pod.stem),
                    tuple(_named(pod, "network")),
                    tuple(map(str, pod.ports)),
                    pod.run_as or "",
                )
                for pod in pods
            ),
        ),
        networks=(
            *(
                TopologyNetwork(
                    each,
                    tuple(str(subnet.prefix) for subnet in network.subnets),
                    network.internal,
                    (
                        *(name for name, thing in networked if each in [use.name for use in thing.networks]),
                        *_members(each, units, pods),
                    ),
                )
                for each, network in group.networks.items()
            ),
            *(
                TopologyNetwork(
                    unit.stem,
                    tuple(entry.value for entry in unit.all("Subnet")),
                    unit.value("Internal").lower() in ("yes", "true", "1", "on"),
                    tuple(_members(unit.stem, units, pods)),
                )
                for unit in group.units
                if unit.kind == "network"
            ),
        ),
        volumes=tuple(dict.fromkeys([*group.volumes, *volumes])),
        disks=tuple(
            TopologyDisk(each, disk.size_gib, disk.mount, disk.format, disk.snapshot)
            for each, disk in group.data_disks.items()
        ),
        snippets=_labels(group.snippets),
        guard=group.metadata_guard and bool(platform.metadata_addresses),
    )


def _node(node: NodePlan, group: Group, platform: Platform, addresses: Mapping[str, str]) -> TopologyNode:
    beside = group.nodes.get(node.index)
    return TopologyNode(
        name=node.name,
        index=node.index,
        address=addresses.get(node.name, ""),
        private=str(node.private.ip) if node.private else "",
        endpoints=tuple(
            Endpoint(port.number, port.protocol, *where) for port, where in sorted(platform.host_ports(node).items())
        ),
        snippets=_labels(beside.snippets) if beside else (),
        takes_over={disk.name: disk.existing for disk in node.disks if disk.existing},
    )


def _labels(snippets: Iterable[AnySnippet]) -> tuple[str, ...]:
    return tuple(ref.path if isinstance(ref, SnippetRef) else ref.use for ref in snippets)


def _reachable(group: Group, nodes: Sequence[NodePlan]) -> Sequence[PortPlan]:
    """The ports that every node of a group offers; those of the spec where it has no node."""
    return nodes[0].ports if nodes else sorted(group.reachable)


def _port(port: PortPlan, report: int | None, group: Group, platform: Platform) -> TopologyPort:
    is_report = (port.number, port.protocol) == (report, "tcp")
    reach = words_of(platform.reached_from(port, report=is_report))
    if is_report:
        return TopologyPort(port.number, port.protocol, "report", reach=reach)
    if (port.number, port.protocol) == (SSH_PORT, "tcp"):
        return TopologyPort(port.number, port.protocol, "ssh", reach=reach)
    publishing: list[tuple[Literal["container", "pod"], str, Sequence[Port]]] = [
        *(("container", name, container.ports) for name, container in group.containers.items()),
        *(("pod", name, pod.ports) for name, pod in group.pods.items()),
        *(("container", _name_of(unit), unit.ports) for unit in group.units if unit.kind in ("container", "kube")),
        *(("pod", unit.stem, unit.ports) for unit in group.units if unit.kind == "pod"),
    ]
    for use, name, ports in publishing:
        for each in ports:
            if each.public and (each.node, each.protocol) == (port.number, port.protocol):
                return TopologyPort(port.number, port.protocol, use, name, each.container, reach)
    return TopologyPort(port.number, port.protocol, "other", reach=reach)


def words_of(sources: Iterable[str]) -> tuple[str, ...]:
    """CIDRs as people say them: "anywhere" for all addresses of both families, "any IPv4 address" for those of one."""
    listed = tuple(dict.fromkeys(sources))
    if set(ANYWHERE) <= set(listed):
        return ("anywhere",)
    return tuple({"0.0.0.0/0": "any IPv4 address", "::/0": "any IPv6 address"}.get(each, each) for each in listed)


def _container(name: str, container: Container, group: Group) -> TopologyContainer:
    image, built = container.image, False
    if local := container.local_image:
        name_of, kind = local
        built = kind == "build"
        image = group.builds[name_of].context if built else group.images[name_of].image
    mounts = {disk.mount: each for each, disk in group.data_disks.items()}
    return TopologyContainer(
        name=name,
        image=image,
        built=built,
        role="timer" if container.schedule else "oneshot" if container.oneshot else "service",
        schedule=container.schedule.calendar if container.schedule else "",
        user=container.run_as or "",
        pod=container.pod or "",
        networks=tuple(use.name for use in container.networks),
        published=tuple(map(str, container.ports)),
        mounts=tuple(_mounts(group, container)),
        disks=tuple(mounts[mount] for mount in group.lies_on(container, mounts)),
        secrets=tuple(dict.fromkeys(use.name for use in container.secrets)),
        after=tuple(container.depends_on),
        health=container.health is not None,
    )


def _container_of(unit: QuadletUnit, group: Group) -> TopologyContainer:
    """The container of a Quadlet file of the user's own; of a ``.kube`` file, all that its YAML has, as one."""
    mounts = {disk.mount: each for each, disk in group.data_disks.items()}
    return TopologyContainer(
        name=_name_of(unit),
        image=unit.value("Yaml") or unit.value("Image") or unit.value("Rootfs"),
        built=unit.value("Image").endswith(".build"),
        role="oneshot" if unit.content.value("Service", "Type") == "oneshot" else "service",
        user=unit.run_as or "",
        pod=next(_named(unit, "pod"), ""),
        networks=tuple(_named(unit, "network")),
        published=tuple(map(str, unit.ports)),
        mounts=tuple(_unit_mounts(unit, group)),
        disks=tuple(mounts[mount] for mount in group.unit_lies_on(unit, mounts)),
        secrets=tuple(dict.fromkeys(unit.secrets)),
        health=bool(unit.value("HealthCmd")),
    )


def _name_of(unit: QuadletUnit) -> str:
    """What everything that reads the node's report calls it, too."""
    return unit.service.removesuffix(".service") if unit.kind == "container" else unit.stem


def _named(unit: QuadletUnit, kind: str) -> Iterator[str]:
    """Quadlet files of a kind that one names, without the kind."""
    return (name.rpartition(".")[0] for name, _ in unit.references if name.endswith(f".{kind}"))


def _members(network: str, units: Iterable[TopologyContainer], pods: Iterable[QuadletUnit]) -> Iterator[str]:
    yield from (unit.name for unit in units if network in unit.networks)
    yield from (pod.stem for pod in pods if network in _named(pod, "network"))


def _unit_mounts(unit: QuadletUnit, group: Group) -> Iterator[TopologyMount]:
    for source, _, entry in unit.volumes:
        target = entry.value.split(":")[1] if ":" in entry.value else entry.value
        inside = [name for name, disk in group.data_disks.items() if below(source, disk.mount)]
        if inside:
            yield TopologyMount(source, target, "disk", inside[-1])
        elif source.startswith(("/", ".", "%")):
            yield TopologyMount(source, target, "path")
        else:
            yield TopologyMount(source.removesuffix(".volume"), target, "volume")


def _mounts(group: Group, container: Container) -> Iterator[TopologyMount]:
    for volume in container.volumes:
        source, target = volume_source(volume), volume.split(":")[1]
        # A named volume can itself be a path of the node.
        path = group.volumes[source].device if source in group.volumes else source
        inside = [name for name, disk in group.data_disks.items() if path and below(path, disk.mount)]
        if inside:
            yield TopologyMount(source, target, "disk", inside[-1])
        else:
            yield TopologyMount(source, target, "path" if source.startswith("/") else "volume")
