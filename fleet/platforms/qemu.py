"""The embedded platform: one QEMU process a node, on this machine, no daemon and no account.

A fleet's private network is a second network card: no root, no bridge, and nothing of it leaves the host.
:mod:`fleet.platforms.qemu_network` carries its frames, and keeps what nodes send to the outside from the host itself.

A dynamic provider runs the processes; :mod:`fleet.platforms.qemu_machine` knows how. Everything of a stack is in its
state folder: ``nodes/<node>/`` goes with its node, ``disks/<node>-<disk>.qcow2`` stays until it is deleted on purpose.

Nodes are reached over ports of the host, on the loopback address by default. Port P of the node with index I is the
host's ``base(P) + 1000 * I + port_offset``, where ``base(22)`` is 2222, ``base(P)`` is P + 8000 for other ports below
1024 and P for the rest; so ``web-0``'s 8080 is 8080 and ``web-1``'s is 9080. ``host_ports`` sets single ones. Where
that would be the port of a group that stands before the node's in the spec, as SSH's always would, 100 is added for
every group with nodes that does: with ``web`` before it, ``db-0``'s 22 is 2322 and ``db-1``'s is 3322. It is the first
nodes of groups that are compared, so that no group's growth moves another's ports; nor does a group at the spec's end.
Whatever collides even so is refused.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult
from pydantic import Field

from fleet.dynamic.outputs import sealed
from fleet.dynamic.provider import Provider, known, tell
from fleet.errors import FleetError, UsageError
from fleet.files import stack_folder
from fleet.images import Progress, look_for, obtain
from fleet.model import Model
from fleet.plan import (
    SSH_PORT,
    Disk,
    DiskPlan,
    FleetPlan,
    Interface,
    Limits,
    LockedImage,
    Needs,
    NodePlan,
    Peer,
    PortPlan,
    Probe,
    StateEntry,
    Watch,
)
from fleet.platforms import qemu_machine, qemu_network
from fleet.platforms.base import Instance
from fleet.platforms.common import (
    address_mac,
    check_disk_count,
    check_disks,
    custom_size,
    described,
    digest,
    read_options,
    refuse_snapshots,
    secret_options,
)
from fleet.platforms.qemu_accelerator import BINARY, Choice
from fleet.stack_config import ConfigReader, no_config

_NO_HOST_KEY = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
_NO_REASON = ("image", "follow_image", "accelerator")
"""Properties of a machine that hold for its next start, and by themselves bring none about."""
_DISK_SLOTS = 27
"""Data disks that fit beside what every machine has on the PCI bus of ``-machine pc``; the card of a private network
takes the slot of one. With one more, QEMU does not start (tried with QEMU 7.2)."""
_DIGEST = "digest"
"""The output of a machine that stands for its config."""
_ANY_ADDRESS = ("0.0.0.0", "::")


class Options(Model):
    """The stack's ``fleet:qemu``.

    Attributes:
        state_dir: The state folder, relative to the project's; ``.fleet/<stack>`` by default.
        bind: The host's address that ports listen on; 0.0.0.0 for all, which exposes the nodes to the network.
        memory_mib: A small node's memory in MiB; a medium one has twice, a large one four times as much.
        cpus: A node's virtual CPUs.
        root_size_gib: A node's root disk in GiB; it takes only what is written.
        port_offset: Added to every host port, so that stacks can run side by side.
        host_ports: Host ports by ``<node>:<port>``, or ``<node>:<port>/udp``.
        accelerator: "kvm"; "tcg", which emulates; "auto" takes KVM where it works. It holds for machines that are
            started from then on. :data:`fleet.platforms.qemu_accelerator.VARIABLE` in the environment wins.
    """

    state_dir: str = ""
    bind: str = Field(default="127.0.0.1", pattern=r"^\d+\.\d+\.\d+\.\d+$")
    memory_mib: int = Field(default=1024, ge=256)
    cpus: int = Field(default=2, ge=1)
    root_size_gib: int = Field(default=10, ge=10)
    port_offset: int = Field(default=0, ge=0)
    host_ports: dict[str, int] = {}
    accelerator: Choice = "auto"


class Qemu:
    """The platform ``qemu``.

    Args:
        options: The stack's options.
        state: The stack's state folder, absolute.
    """

    name = "qemu"
    architecture = "x86_64"
    machine_type = "pulumi-python:dynamic/fleet:QemuMachine"
    place = ""
    replaced_types = (machine_type,)
    rule_types = ()
    image_types = ()
    metadata_addresses = ()
    # fw_cfg takes any size, but a guest reads it byte by byte.
    limits = Limits(raw=32768, most=None)

    def __init__(self, options: Options, state: Path) -> None:
        self.options = options
        self.state = state

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], *, project: Path, stack: str, config: ConfigReader = no_config
    ) -> Qemu:
        """Read ``fleet:qemu``.

        Raises:
            UsageError: An option is wrong.
        """
        read = read_options(Options, options, platform="qemu", stack=stack, project=project)
        return cls(read, (project / read.state_dir).resolve() if read.state_dir else stack_folder(project, stack))

    def cannot_surge(self, *, addressed: bool) -> str:
        return "on qemu a node's ports are ports of the host, and two machines cannot have them at once"

    def device(self, disk: str) -> str:
        return f"/dev/disk/by-id/virtio-{qemu_machine.disk_serial(disk)}"

    def disk_rule(self, disk: str) -> str:
        return ""

    def private(self, group: str, index: int) -> IPv4Interface | None:
        return None

    def interface(self, address: IPv4Interface) -> Interface:
        return Interface(address_mac(address.ip))

    def planned_address(self, network: IPv4Network, number: int) -> IPv4Address:
        return network[number]

    def place_of(self, disk: StateEntry) -> str:
        return ""

    def disk_size(self, disk: StateEntry) -> int:
        return int(disk.outputs.get("size_gib", 0))

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        path = self._new_path(node, disk)
        # Of a project's folder that was moved, the disks moved along.
        return {"path": path} if self._disk_path(node, disk) != path else {}

    def check_deployed(self, plan: FleetPlan) -> None:
        check_disks(self, plan)
        for node in plan.nodes:
            for disk in node.disks:
                path = Path(self._disk_path(node, disk))
                if disk.deployed and not disk.existing and not path.exists():
                    raise UsageError(
                        f"The data disk {node.name}-{disk.name} is not at {disk.deployed.outputs.get('path', path)}, "
                        "where it was, and its node would begin with an empty one.",
                        fix="Put it back, or mount what it is on. If it is lost for good, make an empty one there: "
                        f"`qemu-img create -f qcow2 FILE {disk.size_gib}G`.",
                    )
                if disk.existing and not Path(disk.existing).exists():
                    raise UsageError(
                        f"{node.name} is to take over the data disk {disk.existing}, and there is no such file.",
                        fix="Take it out of `nodes`, and a new data disk is made.",
                    )

    def check(self, plan: FleetPlan) -> None:
        refuse_snapshots(plan, self.name)
        used: dict[tuple[str, int], str] = {}
        for node in plan.nodes:
            self._shape(node)
            check_disk_count(node, _DISK_SLOTS - bool(node.private), "qemu")
            if node.image and "qemu" not in node.image.disks:
                raise FleetError(f"The image lock (release {node.image.release}) has no disk image for qemu.")
            for port in node.ports:
                host = self.host_port(node, port)
                what = f"port {port.number}/{port.protocol} of {node.name}"
                fix = f'Choose one: `host_ports: {{"{_key(node.name, port)}": PORT}}` in the stack\'s `fleet:qemu`.'
                if not 1 <= host <= 65535:
                    raise UsageError(f"The host has no port {host} for {what}.", fix=fix)
                if other := used.get((port.protocol, host)):
                    raise UsageError(f"Port {host} of the host would lead to {other} and to {what}.", fix=fix)
                used[port.protocol, host] = what

    def check_stack(self, *, account: bool = True) -> None:
        """Nothing has to be told."""

    def prepare(self, image: LockedImage, progress: Progress | None = None) -> None:
        disk = image.disks["qemu"]
        if disk.remote:
            obtain(disk, progress=progress)

    def repair(self) -> None:
        """Start the network of the stack's machines again, if it was killed."""
        qemu_network.repair(self.state, qemu_machine.older(self.state))

    def ailing(self) -> str:
        """That the network of the stack's machines was killed, if it was."""
        if not qemu_network.ended(self.state):
            return ""
        return (
            "The process that carries what nodes send has ended, so they cannot be reached. `fleet up` starts it again."
        )

    def host_port(self, node: NodePlan, port: PortPlan) -> int:
        """The port of the host that leads to a port of a node."""
        chosen = self.options.host_ports.get(_key(node.name, port))
        if chosen is not None:
            return chosen
        base = self._base(port)
        taken = self._taken(node.ahead)
        # A first node's port that was chosen is in nobody's way, and the others of its group stay where they are.
        first = self.options.host_ports.get(_key(f"{node.group}-0", port), base)
        moved = 100 * len(node.ahead) if (port.protocol, first) in taken else 0
        return base + 1000 * node.index + moved

    def _base(self, port: PortPlan) -> int:
        """The port of the host for the first node of the only group."""
        base = 2222 if port.number == SSH_PORT else port.number + (8000 if port.number < 1024 else 0)
        return base + self.options.port_offset

    def _taken(self, ahead: Sequence[tuple[str, Sequence[PortPlan]]]) -> set[tuple[str, int]]:
        """The ports of the host, with their protocols, that lead to the first nodes of groups.

        Args:
            ahead: As :attr:`NodePlan.ahead`.
        """
        taken: set[tuple[str, int]] = set()
        for place, (group, ports) in enumerate(ahead):
            own = set()
            for port in ports:
                host = self.options.host_ports.get(_key(f"{group}-0", port))
                if host is None:
                    base = self._base(port)
                    host = base + 100 * place if (port.protocol, base) in taken else base
                own.add((port.protocol, host))
            taken |= own
        return taken

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        """None: there is no zone to put them in."""

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> QemuDisk:
        props = {"path": self._disk_path(node, disk), "size_gib": disk.size_gib}
        # Without the state's word, the file is where it was.
        fixed = [] if disk.existing or disk.deployed else ["path"]
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=fixed))
        return QemuDisk(f"{node.name}-{disk.name}", props, opts)

    def _disk_path(self, node: NodePlan, disk: DiskPlan) -> str:
        if disk.existing:
            return disk.existing
        old = str(disk.deployed.outputs.get("path", "")) if disk.deployed else ""
        return old if old and Path(old).exists() else self._new_path(node, disk)

    def _new_path(self, node: NodePlan, disk: DiskPlan) -> str:
        return str(self.state / "disks" / f"{node.name}-{disk.name}.qcow2")

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Sequence[str]:
        """Ends a machine, which nobody would know of; everything else can be done again."""
        if kind == self.machine_type and not keep:
            qemu_machine.stop(Path(inputs["folder"]))
        return ()

    def trigger(self, node: NodePlan) -> str:
        props = {key: value for key, value in self._props(node).items() if key not in _NO_REASON}
        return digest(props)

    def shape(self, node: NodePlan) -> dict[str, str]:
        cpus, memory = self._shape(node)
        shape: dict[str, object] = {
            "cpus": cpus,
            "memory_mib": memory,
            "root_size_gib": self.options.root_size_gib,
            "bind": self.options.bind,
            "host ports": ", ".join(f"{p.number}/{p.protocol} at {self.host_port(node, p)}" for p in node.ports),
            "state_dir": self.state,
        }
        return described(node, shape)

    def image(self, node: NodePlan) -> str:
        assert node.image is not None
        return node.image.disks["qemu"].uncompressed_sha256

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Qemu:
        # Nodes share nothing that is a resource.
        return self

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> str:
        return self._host

    def peer(self, node: NodePlan, address: pulumi.Input[str]) -> Peer:
        return Peer(node.name, address, self._endpoints(node), node.probes, _standing(str(self._folder(node))))

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """At the ports of the host that its machine was started with."""
        host = _reached(machine["bind"])
        endpoints = {int(port): (host, int(number)) for kind, number, port in machine["forwards"] if kind == "tcp"}
        return Peer(name, address, endpoints, probes, _standing(machine["folder"]))

    @property
    def _host(self) -> str:
        return _reached(self.options.bind)

    def _folder(self, node: NodePlan) -> Path:
        return self.state / "nodes" / node.name

    def _endpoints(self, node: NodePlan) -> dict[int, tuple[str, int]]:
        return {p.number: (self._host, self.host_port(node, p)) for p in node.ports if p.protocol == "tcp"}

    def _props(self, node: NodePlan) -> dict[str, Any]:
        assert node.image is not None
        cpus, memory = self._shape(node)
        props: dict[str, Any] = {
            "name": node.name,
            "folder": str(self._folder(node)),
            "ignition": node.delivery.user_data,
            "image": node.image.disks["qemu"].model_dump(exclude_defaults=True),
            "follow_image": node.follow_image,
            "memory_mib": memory,
            "cpus": cpus,
            "root_size_gib": self.options.root_size_gib,
            "bind": self.options.bind,
            "accelerator": self.options.accelerator,
            "forwards": [[p.protocol, self.host_port(node, p), p.number] for p in node.ports],
            # The disk's path and not an output of it: a grown disk must not look like another one.
            "disks": [[disk.name, self._disk_path(node, disk)] for disk in node.disks],
        }
        if node.private:
            props["private"] = [self._private_group(), address_mac(node.private.ip)]
        return props

    def _shape(self, node: NodePlan) -> tuple[int, int]:
        """A node's virtual CPUs, and its memory in MiB."""
        if times := {"small": 1, "medium": 2, "large": 4}.get(node.size):
            return self.options.cpus, self.options.memory_mib * times
        return custom_size(node)

    def _private_group(self) -> str:
        """The name of the stack's private network: the multicast group that machines of earlier fleets have for it."""
        digest = hashlib.sha256(str(self.state).encode()).digest()
        # 239/8 is for use inside an organisation (RFC 2365); ports below 32768 are not given to clients.
        port = 20000 + int.from_bytes(digest[3:5], "big") % 10000
        return f"239.{digest[0]}.{digest[1]}.{digest[2]}:{port}"

    def needs(self, node: NodePlan) -> Needs:
        assert node.image is not None
        return Needs(
            look="fleet.platforms.qemu:missing",
            argument=node.image.disks["qemu"].model_dump_json(exclude_defaults=True),
        )

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        props = self._props(node)
        props["ignition"] = sealed(node, props["ignition"])
        after = [*after, *disks.values()]
        machine = QemuMachine(
            node.name,
            props,
            pulumi.ResourceOptions.merge(
                secret_options(opts, node, [_DIGEST]),
                pulumi.ResourceOptions(depends_on=after, delete_before_replace=True),
            ),
        )
        host, endpoints, folder = self._host, self._endpoints(node), self._folder(node)
        return Instance(
            resources=[machine],
            id=machine.id,
            address=host,
            endpoints=endpoints,
            # A new node has a new host key, at the port of the old one.
            ssh=f"ssh -p {endpoints[SSH_PORT][1]} {_NO_HOST_KEY} core@{host}",
            console=str(folder / "console.log"),
            watch=Watch("fleet.platforms.qemu_machine:Watcher", pulumi.Output.concat(str(folder), " ", machine.id)),
        )


def missing(argument: str, fetch: bool) -> str:
    """Look for what a new machine needs on this one: :class:`~fleet.plan.Needs`.

    Args:
        argument: The disk image, of the image lock, as JSON.
        fetch: Download it, if need be.
    """
    if lacking := [tool for tool in (BINARY, "qemu-img") if not shutil.which(tool)]:
        return f"{lacking[0]} is not on PATH. Install it: `fleet doctor` says how."
    if old := qemu_network.lacking():
        return old
    disk = Disk.model_validate_json(argument)
    try:
        obtain(disk, say=tell) if fetch else look_for(disk)
    except FleetError as error:
        return str(error)
    return ""


def _standing(folder: str) -> Watch:
    """How to look at a machine that stands in a folder, whichever it is."""
    return Watch("fleet.platforms.qemu_machine:Standing", folder)


def _reached(bind: str) -> str:
    """The address that reaches ports which listen on ``bind``."""
    return "127.0.0.1" if bind in _ANY_ADDRESS else bind


def _key(node: str, port: PortPlan) -> str:
    """A node's port, as ``host_ports`` names it."""
    return f"{node}:{port.number}" + ("/udp" if port.protocol == "udp" else "")


class DiskProvider(Provider):
    """Data disk files."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        moved = olds.get("path") != news.get("path")
        return DiffResult(
            changes=moved or olds.get("size_gib") != news.get("size_gib"), replaces=["path"] if moved else []
        )

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        failures = []
        if olds and known(news) and olds["path"] == news["path"] and olds["size_gib"] > news["size_gib"]:
            failures.append(CheckFailure("size_gib", f"a data disk cannot shrink from {olds['size_gib']} GiB"))
        return CheckResult(news, failures)

    def create(self, props: dict[str, Any]) -> CreateResult:
        qemu_machine.make_disk(Path(props["path"]), int(props["size_gib"]))
        return CreateResult(props["path"], props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if Path(id_).exists() else "", props)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        qemu_machine.make_disk(Path(news["path"]), int(news["size_gib"]))
        return UpdateResult(news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        path = Path(props["path"])
        path.unlink(missing_ok=True)
        _remove_empty(path.parent)


class QemuDisk(Resource, module="fleet", name="QemuDisk"):
    """A data disk's file."""

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(DiskProvider(), name, dict(props), opts)


class MachineProvider(Provider):
    """QEMU processes. The digest of the Ignition config is kept in its place among the outputs, a secret as that is."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        keys = sorted((set(news) | set(olds)) - {"__provider", _DIGEST})
        changed = [key for key in keys if _differs(key, olds, news)]
        return DiffResult(changes=bool(changed), replaces=changed, delete_before_replace=True)

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        # Before anything is deleted: the old node goes before the new one is tried.
        try:
            if not olds:
                qemu_machine.check_accelerator(news["accelerator"])
            if known(news["forwards"]) and (not olds or olds.get("forwards") != news["forwards"]):
                qemu_machine.check_start(Path(news["folder"]), news["name"], news["bind"], _forwards(news))
        except FleetError as error:
            return CheckResult(news, [CheckFailure("", str(error))])
        return CheckResult(news, [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        image = obtain(Disk.model_validate(props["image"]), say=tell)
        machine = qemu_machine.Machine(
            name=props["name"],
            ignition=props["ignition"],
            base=image,
            memory_mib=int(props["memory_mib"]),
            cpus=int(props["cpus"]),
            root_gib=int(props["root_size_gib"]),
            bind=props["bind"],
            forwards=_forwards(props),
            disks=[qemu_machine.Attached(name, path) for name, path in props["disks"]],
            private=tuple(props["private"]) if "private" in props else None,
        )
        identity = qemu_machine.start(Path(props["folder"]), machine, props["accelerator"], tell)
        return CreateResult(identity, _outputs(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if qemu_machine.running(Path(props["folder"]), id_) else "", props)

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        folder = Path(props["folder"])
        qemu_machine.stop(folder, id_)
        _remove_empty(folder.parent)


def _forwards(props: Mapping[str, Any]) -> list[qemu_machine.Forward]:
    return [qemu_machine.Forward(int(host), int(port), protocol) for protocol, host, port in props["forwards"]]


def _outputs(props: Mapping[str, Any]) -> dict[str, Any]:
    outputs = dict(props)
    outputs[_DIGEST] = _digest(outputs.pop("ignition"))
    return outputs


def _differs(key: str, olds: dict[str, Any], news: dict[str, Any]) -> bool:
    if key in ("follow_image", "accelerator"):
        return False
    if key == "image":
        # Where it is downloaded from makes no difference.
        return bool(news["follow_image"] and _content(olds) != _content(news))
    if not known(news.get(key)):
        return True
    if key == "ignition":
        return bool(olds.get(_DIGEST) != _digest(news[key]))
    return bool(olds.get(key) != news.get(key))


def _content(props: Mapping[str, Any]) -> Any:
    return props.get("image", {}).get("uncompressed_sha256")


def _digest(ignition: str) -> str:
    return hashlib.sha256(ignition.encode()).hexdigest()


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing any more, and its parent likewise."""
    for path in (folder, folder.parent):
        try:
            path.rmdir()
        except OSError:
            return


class QemuMachine(Resource, module="fleet", name="QemuMachine"):
    """A QEMU process and its root disk."""

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(MachineProvider(), name, dict(props), opts)


PLATFORM = Qemu
