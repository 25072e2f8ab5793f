"""The embedded platform: one QEMU process a node, on this machine, no daemon and no account.

A fleet's private network is a second network card: no root, no bridge, and nothing of it leaves the host.
:mod:`fleet.platforms.qemu.network` carries its frames, and keeps what nodes send to the outside from the host itself.

A dynamic provider runs the processes; :mod:`fleet.platforms.qemu.machine` knows how. Everything of a stack is in its
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
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.config import compressed
from fleet.errors import FleetError, UsageError
from fleet.files import stack_folder
from fleet.images import QEMU_DISK
from fleet.plan import (
    SSH_PORT,
    DiskLink,
    DiskPlan,
    FleetPlan,
    Interface,
    Limits,
    LockedImage,
    NodePlan,
    Peer,
    PortPlan,
    Probe,
    ReportAccess,
    StateEntry,
    Watch,
)
from fleet.platforms.base import BasePlatform
from fleet.platforms.checks import check_disk_count, check_disks, locked_disk, refuse_snapshots
from fleet.platforms.diagnosis import Check
from fleet.platforms.options import read_options
from fleet.platforms.qemu import tokens
from fleet.platforms.qemu.options import Options
from fleet.platforms.shapes import address_mac, custom_size, described, digest
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    import pulumi

    from fleet.images import Progress

_DISK_SLOTS = 27
"""Data disks that fit beside what every machine has on the PCI bus of ``-machine pc``; the card of a private network
takes the slot of one. With one more, QEMU does not start (tried with QEMU 7.2)."""
_ANY_ADDRESS = ("0.0.0.0", "::")
REPORT_HOST = "127.0.0.1"
"""The host's address at which reports are, whatever ``bind`` says: they are for who sits at the host."""


class Qemu(BasePlatform):
    """The platform ``qemu``.

    Args:
        options: The stack's options.
        state: The stack's state folder, absolute.
    """

    name = "qemu"
    options_model = Options
    artifacts = (QEMU_DISK,)
    first_stack = "local"
    architecture = "x86_64"
    machine_type = tokens.MACHINE_TYPE
    place = ""
    replaced_types = (machine_type,)
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

    def checks(self, config: ConfigReader) -> Sequence[Check]:
        from fleet.platforms.qemu.host import host_checks

        return host_checks()

    def cannot_surge(self, *, addressed: bool) -> str:
        return "on qemu a node's ports are ports of the host, and two machines cannot have them at once"

    def disk_link(self, disk: str) -> DiskLink:
        return DiskLink(f"/dev/disk/by-id/virtio-{tokens.disk_serial(disk)}")

    def place_of(self, disk: StateEntry) -> str:
        """Nowhere else."""
        return ""

    def disk_size(self, disk: StateEntry) -> int:
        return int(disk.outputs.get("size_gib", 0))

    def interface(self, address: IPv4Interface) -> Interface:
        return Interface(address_mac(address.ip))

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        path = self._new_path(node, disk)
        # Of a project's folder that was moved, the disks moved along.
        return {"path": path} if self.disk_path(node, disk) != path else {}

    def check_deployed(self, plan: FleetPlan) -> None:
        check_disks(self, plan)
        for node in plan.nodes:
            for disk in node.disks:
                path = Path(self.disk_path(node, disk))
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
            if node.image:
                locked_disk(node.image, QEMU_DISK, "qemu")
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
        """Refuse to make machines where there is no Linux: what nodes send is carried, and KVM used, as it does."""
        if account and sys.platform != "linux":
            raise FleetError(
                "Platform qemu runs nodes on Linux alone.",
                fix="Run the command on a Linux machine, or take another platform; `fleet validate` and "
                "`fleet render` work here.",
            )

    def prepare(self, image: LockedImage, progress: Progress | None = None) -> None:
        disk = image.disks[QEMU_DISK.name]
        if disk.remote:
            from fleet.images import obtain

            obtain(disk, progress=progress)

    def repair(self) -> None:
        """Start the network of the stack's machines again, if it was killed."""
        from fleet.platforms.qemu import machine, network

        network.repair(self.state, machine.older(self.state))

    def ailing(self) -> str:
        """That the network of the stack's machines was killed, if it was."""
        from fleet.platforms.qemu import network

        if not network.ended(self.state):
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
        if _is_report(node, port):
            # As SSH's is: all groups have it.
            behind = any(ports for _, ports in node.ahead)
            return base + 1000 * node.index + (100 * len(node.ahead) if behind else 0)
        reserved = self._reserved_ports(node.ahead)
        # A first node's port that was chosen is in nobody's way, and the others of its group stay where they are.
        first = self.options.host_ports.get(_key(f"{node.group}-0", port), base)
        moved = 100 * len(node.ahead) if (port.protocol, first) in reserved else 0
        return base + 1000 * node.index + moved

    def _base(self, port: PortPlan) -> int:
        """The port of the host for the first node of the only group."""
        base = 2222 if port.number == SSH_PORT else port.number + (8000 if port.number < 1024 else 0)
        return base + self.options.port_offset

    def _reserved_ports(self, ahead: Sequence[tuple[str, Sequence[PortPlan]]]) -> set[tuple[str, int]]:
        """The ports of the host, with their protocols, that lead to the first nodes of groups.

        Args:
            ahead: As :attr:`NodePlan.ahead`.
        """
        reserved: set[tuple[str, int]] = set()
        for place, (group, ports) in enumerate(ahead):
            own = set()
            for port in ports:
                host = self.options.host_ports.get(_key(f"{group}-0", port))
                if host is None:
                    base = self._base(port)
                    host = base + 100 * place if (port.protocol, base) in reserved else base
                own.add((port.protocol, host))
            reserved |= own
        return reserved

    def disk_path(self, node: NodePlan, disk: DiskPlan) -> str:
        """The file of a data disk."""
        if disk.existing:
            return disk.existing
        old = str(disk.deployed.outputs.get("path", "")) if disk.deployed else ""
        return old if old and Path(old).exists() else self._new_path(node, disk)

    def _new_path(self, node: NodePlan, disk: DiskPlan) -> str:
        return str(self.state / "disks" / f"{node.name}-{disk.name}.qcow2")

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Sequence[str]:
        """Ends a machine, which nobody would know of; everything else can be done again."""
        if kind == self.machine_type and not keep:
            from fleet.platforms.qemu import machine

            machine.stop(Path(inputs["folder"]))
        return ()

    def trigger(self, node: NodePlan) -> str:
        return digest(self._lasting_props(node))

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
        return node.image.disks[QEMU_DISK.name].uncompressed_sha256

    def peer(self, node: NodePlan, address: pulumi.Input[str]) -> Peer:
        return Peer(node.name, address, self.endpoints(node), node.probes, _standing(str(self.folder(node))))

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """At the ports of the host that its machine was started with."""
        host = _reached(machine["bind"])
        endpoints = {
            int(port): (bind[0] if bind else host, int(number))
            for kind, number, port, *bind in machine["forwards"]
            if kind == "tcp"
        }
        return Peer(name, address, endpoints, probes, _standing(machine["folder"]))

    def report_access(self, node: NodePlan) -> ReportAccess | None:
        """At a port of the host."""
        return ReportAccess(node.report, node.settle, direct=True, ssh=False) if node.report is not None else None

    @property
    def host(self) -> str:
        """The address that reaches the nodes' ports on this machine."""
        return _reached(self.options.bind)

    def folder(self, node: NodePlan) -> Path:
        """The folder of a node's machine."""
        return self.state / "nodes" / node.name

    def endpoints(self, node: NodePlan) -> dict[int, tuple[str, int]]:
        """Host and port that lead to each TCP port of a node."""
        return {port.number: where for port, where in self.host_ports(node).items() if port.protocol == "tcp"}

    def host_ports(self, node: NodePlan) -> dict[PortPlan, tuple[str, int]]:
        return {
            port: (REPORT_HOST if _is_report(node, port) else self.host, self.host_port(node, port))
            for port in node.ports
        }

    def reached_from(self, port: PortPlan, *, report: bool) -> tuple[str]:
        """Whoever reaches the address that ports of the host listen on: there is no firewall."""
        if report or self.options.bind.startswith("127."):
            return ("this machine",)
        return ("whoever reaches this machine",)

    def props(self, node: NodePlan) -> dict[str, Any]:
        """The inputs of a node's machine."""
        assert node.image is not None
        return {
            **self._lasting_props(node),
            "ignition": compressed(node.delivery.user_data),
            # These hold for its next start, and by themselves bring none about.
            "image": node.image.disks[QEMU_DISK.name].model_dump(exclude_defaults=True),
            "follow_image": node.follow_image,
            "accelerator": self.options.accelerator,
        }

    def _lasting_props(self, node: NodePlan) -> dict[str, Any]:
        """The inputs of a node's machine that hold as long as it stands."""
        cpus, memory = self._shape(node)
        props: dict[str, Any] = {
            "name": node.name,
            "folder": str(self.folder(node)),
            "ignition": node.delivery.user_data,
            "memory_mib": memory,
            "cpus": cpus,
            "root_size_gib": self.options.root_size_gib,
            "bind": self.options.bind,
            "forwards": [
                [p.protocol, self.host_port(node, p), p.number, *([REPORT_HOST] if _is_report(node, p) else [])]
                for p in node.ports
            ],
            # The disk's path and not an output of it: a grown disk must not look like another one.
            "disks": [[disk.name, self.disk_path(node, disk)] for disk in node.disks],
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


def _is_report(node: NodePlan, port: PortPlan) -> bool:
    return (port.number, port.protocol) == (node.report, "tcp")


def _standing(folder: str) -> Watch:
    """How to look at a machine that stands in a folder, whichever it is."""
    return Watch(tokens.STANDING, folder)


def _reached(bind: str) -> str:
    """The address that reaches ports which listen on ``bind``."""
    return "127.0.0.1" if bind in _ANY_ADDRESS else bind


def _key(node: str, port: PortPlan) -> str:
    """A node's port, as ``host_ports`` names it."""
    return f"{node}:{port.number}" + ("/udp" if port.protocol == "udp" else "")
