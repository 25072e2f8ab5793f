"""What a picture of a fleet shows, whatever draws it.

A group is a frame. In it stand, from left to right, who may reach its ports, the ports, pods and containers, and where
these have their data: data disks, which outlive nodes, and volumes, which do not. An arrow goes from what uses to what
is used. What is alike stands once: every node of a group has the same containers, so nodes are a list, with like
neighbours in one entry where there are many; ports with one use and one reach are one box.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from fleet.program.topology import Topology, TopologyContainer, TopologyGroup, TopologyNode, TopologyPort

MOST_NODES = 8
"""Up to so many nodes of a group are shown one by one."""
_MOST_ENTRIES = 24
_MOST_LISTED = 4

Kind = Literal["source", "port", "pod", "container", "disk", "volume"]
Use = Literal["reaches", "serves", "holds", "needs", "stores"]


@dataclass(frozen=True)
class Box:
    """A thing in a group's frame.

    Attributes:
        id: Of letters, digits and underscores; no other box of the picture has it.
        kind: What it is.
        title: Its name; empty for what has none, such as ports.
        lines: What else to say, line by line.
    """

    id: str
    kind: Kind
    title: str
    lines: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The title, if there is one, and the lines."""
        return tuple(filter(None, (self.title, *self.lines)))


@dataclass(frozen=True)
class Arrow:
    """From what uses to what is used.

    Attributes:
        tail: Id of the box where it begins.
        head: Id of the box where it ends.
        use: How one uses the other.
    """

    tail: str
    head: str
    use: Use


@dataclass(frozen=True)
class Entry:
    """A node, or several that are alike.

    Attributes:
        title: The node's name; the first and the last one's of several.
        count: How many nodes it stands for.
        detail: Address or addresses; empty if none is known.
        state: The nodes' state; empty if it is not known.
    """

    title: str
    count: int
    detail: str = ""
    state: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.title, self.detail, self.state)))


@dataclass(frozen=True)
class Frame:
    """A group.

    Attributes:
        id: As :attr:`Box.id`.
        title: The group's name.
        about: What it is, in a line.
        facts: What else holds for it: a word, and what it says.
        entries: Its nodes.
        boxes: What is in it, what is used behind what uses it.
        arrows: Between the boxes.
        after: Ids of the frames of groups that change before it.
    """

    id: str
    title: str
    about: str
    facts: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    after: tuple[str, ...]

    @property
    def heading(self) -> list[str]:
        """What it is and what holds for it, in lines, where there is no better place for that."""
        return [self.title, self.about, *(f"{word}: {text}" for word, text in self.facts)]

    @property
    def nodes(self) -> list[str]:
        """Its nodes in lines; that there are none is one, too."""
        return list(map(str, self.entries)) or ["no nodes"]


@dataclass(frozen=True)
class Picture:
    """A fleet.

    Attributes:
        title: Its name.
        about: What it is, in a line.
        network: What to say of its private network; empty if it has none.
        frames: Its groups.
    """

    title: str
    about: str
    network: str
    frames: tuple[Frame, ...]


def picture_of(topology: Topology) -> Picture:
    """What to show of a topology."""
    ids = {group.name: f"g{index}" for index, group in enumerate(topology.groups)}
    nodes = sum(group.count for group in topology.groups)
    return Picture(
        title=topology.name,
        about=f"on {topology.platform}: {counted(len(topology.groups), 'group')}, {counted(nodes, 'node')}",
        network=(
            f"private network {topology.network}: nodes reach one another at every port" if topology.network else ""
        ),
        frames=tuple(_frame(group, f"g{index}", ids) for index, group in enumerate(topology.groups)),
    )


def counted(number: int, what: str) -> str:
    """A number and what it counts: "1 node", "2 nodes"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _frame(group: TopologyGroup, id_: str, ids: Mapping[str, str]) -> Frame:
    boxes, arrows = _inside(group, id_)
    return Frame(
        id=id_,
        title=group.name,
        about=f"{counted(group.count, 'node')}, {group.size}; {_rollout(group)}",
        facts=tuple(_facts(group)),
        entries=tuple(entries_of(group)),
        boxes=tuple(boxes),
        arrows=tuple(arrows),
        after=tuple(ids[name] for name in group.after if name in ids),
    )


def _rollout(group: TopologyGroup) -> str:
    """How a change goes through the nodes, in words."""
    surges = group.strategy == "surge"
    if group.count == 1:
        return "a new one comes before the old one goes" if surges else "re-provisioned in its place"
    window = "one at a time" if group.window == 1 else f"{group.window} at a time"
    order = "new ones come before old ones go" if surges else "each re-provisioned in its place"
    return f"{window}{', the first alone' if group.canary else ''}, {order}"


def _facts(group: TopologyGroup) -> Iterator[tuple[str, str]]:
    if group.after:
        yield "after", ", ".join(group.after)
    if group.names:
        yield "names", ", ".join(group.names)
    if group.networks:
        yield (
            "networks",
            ", ".join(
                f"{network.name}{f' {_listed(network.subnets)}' if network.subnets else ''}"
                f"{' (internal)' if network.internal else ''}"
                for network in group.networks
            ),
        )
    if snippets := [*group.snippets, *(["metadata guard"] if group.guard else [])]:
        yield "snippets", ", ".join(snippets)
    special = [node for node in group.nodes if node.takes_over]
    if special:
        yield (
            "takes over",
            ", ".join(f"{node.name}: {disk} from {name}" for node in special for disk, name in node.takes_over.items()),
        )


def entries_of(group: TopologyGroup) -> Iterator[Entry]:
    """A group's nodes, with like neighbours in one entry where there are many."""
    if len(group.nodes) <= MOST_NODES:
        runs = [[node] for node in group.nodes]
    else:
        runs = [list(run) for _, run in groupby(group.nodes, _alike)]
    shown = runs if len(runs) <= _MOST_ENTRIES else runs[: _MOST_ENTRIES - 1]
    for run in shown:
        first, last = run[0], run[-1]
        title = first.name if len(run) == 1 else f"{first.name} … {last.name}"
        yield Entry(title, len(run), _span(_address(first), _address(last)), first.state)
    if rest := sum(map(len, runs[len(shown) :])):
        yield Entry(f"and {rest} more", rest)


def _alike(node: TopologyNode) -> tuple[object, ...]:
    return node.snippets, tuple(node.takes_over.items()), node.state, node.reason


def _address(node: TopologyNode) -> str:
    """The private address, by which a node is known; else the other one."""
    return node.private or node.address


def _span(first: str, last: str) -> str:
    return first if first == last or not last else f"{first} … {last}"


def _listed(items: Sequence[str]) -> str:
    """A list that is cut where it is long."""
    rest = len(items) - _MOST_LISTED
    return ", ".join(items) if rest <= 1 else f"{', '.join(items[:_MOST_LISTED])} and {rest} more"


def _inside(group: TopologyGroup, frame: str) -> tuple[list[Box], list[Arrow]]:
    pods = {pod.name: f"{frame}_pod{index}" for index, pod in enumerate(group.pods)}
    containers = {each.name: f"{frame}_c{index}" for index, each in enumerate(group.containers)}
    disks = {disk.name: f"{frame}_d{index}" for index, disk in enumerate(group.disks)}
    volumes = {name: f"{frame}_v{index}" for index, name in enumerate(group.volumes)}
    boxes, arrows = _ports(group, frame, pods, containers)
    for pod in group.pods:
        lines = [f"networks: {_listed(pod.networks)}"] if pod.networks else []
        lines += [f"rootless, as {pod.user}"] if pod.user else []
        boxes.append(Box(pods[pod.name], "pod", pod.name, ("pod", *lines)))
    for each in group.containers:
        boxes.append(Box(containers[each.name], "container", each.name, tuple(_container(each))))
    boxes += [
        Box(disks[disk.name], "disk", disk.name, (f"{disk.size_gib} GiB {disk.format}", disk.mount,
            *(["snapshots"] if disk.snapshot else [])))
        for disk in group.disks
    ]  # fmt: skip
    boxes += [Box(id_, "volume", name, ("volume: goes with its node",)) for name, id_ in volumes.items()]
    for each in group.containers:
        own = containers[each.name]
        if each.pod in pods:
            arrows.append(Arrow(pods[each.pod], own, "holds"))
        arrows += [Arrow(own, containers[name], "needs") for name in each.after if name in containers]
        arrows += [Arrow(own, disks[name], "stores") for name in each.disks if name in disks]
        mounted = dict.fromkeys(mount.source for mount in each.mounts if mount.kind == "volume")
        arrows += [Arrow(own, volumes[name], "stores") for name in mounted if name in volumes]
    return boxes, list(dict.fromkeys(arrows))


def _ports(
    group: TopologyGroup, frame: str, pods: Mapping[str, str], containers: Mapping[str, str]
) -> tuple[list[Box], list[Arrow]]:
    """Boxes of ports, and of who may reach them."""
    together: dict[tuple[str, str, tuple[str, ...]], list[TopologyPort]] = {}
    for port in group.ports:
        together.setdefault((port.use, port.name, port.reach), []).append(port)
    sources: dict[tuple[str, ...], str] = {}
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    for index, ((use, name, reach), ports) in enumerate(together.items()):
        id_ = f"{frame}_p{index}"
        if reach:
            sources.setdefault(reach, f"{frame}_s{len(sources)}")
            arrows.append(Arrow(sources[reach], id_, "reaches"))
        lines = [line for port in ports for line in _port(port, group)]
        boxes.append(Box(id_, "port", "", (*lines, *([] if reach else ["closed to the outside"]))))
        served = {"container": containers, "pod": pods}.get(use, {}).get(name)
        if served:
            arrows.append(Arrow(id_, served, "serves"))
    outside = [Box(id_, "source", reach[0], _rest(reach[1:])) for reach, id_ in sources.items()]
    return [*outside, *boxes], arrows


def _rest(reach: Sequence[str]) -> tuple[str, ...]:
    """The further sources of a port, a line each."""
    rest = len(reach) - _MOST_LISTED
    return tuple(reach) if rest <= 1 else (*reach[:_MOST_LISTED], f"and {rest} more")


def _port(port: TopologyPort, group: TopologyGroup) -> Iterator[str]:
    """A port: its number, and where it leads; and where it is reached, if that is somewhere else."""
    word = f"{port.number}/{port.protocol}"
    word += {"ssh": " SSH", "report": " report"}.get(port.use, "")
    if port.target not in (None, port.number):
        word += f" → {port.target}"
    yield word
    places = [
        (each.host, each.port)
        for node in group.nodes
        for each in node.endpoints
        if (each.number, each.protocol) == (port.number, port.protocol)
    ]
    if places:
        yield f"at {_places(places)}"


def _places(places: Sequence[tuple[str, int]]) -> str:
    """Host and ports of several nodes, the host once."""
    host = places[0][0]
    ports = [f"{port}" if other == host else f"{other}:{port}" for other, port in places]
    shown = ports if len(ports) <= 3 else [ports[0], "…", ports[-1]]
    return f"{host}:{', '.join(shown)}"


def _container(container: TopologyContainer) -> Iterable[str]:
    yield f"built from {container.image}" if container.built else container.image
    if container.role == "timer":
        yield f"by a timer: {container.schedule}"
    if container.role == "oneshot":
        yield "runs once, to its end"
    if container.user:
        yield f"rootless, as {container.user}"
    if container.networks:
        yield f"networks: {_listed(container.networks)}"
    if container.secrets:
        yield f"secrets: {_listed(container.secrets)}"
    if container.health:
        yield "health check"
