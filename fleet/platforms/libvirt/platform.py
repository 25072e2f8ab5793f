"""libvirt: domains on this machine or another, by the provider of upstream's 0.8 line; its schema is known here alone.

A node is a domain, its root volume and its Ignition volume, replaced together. Its MAC address is made of its planned
address, and the planned address is written into the node: a lease of DHCP would not outlive a new machine-id. The base
volume holds the image; root volumes are overlays of it, so a base volume is never deleted while the stack stands.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fleet.errors import UsageError
from fleet.images import QEMU_DISK, Progress, obtain
from fleet.plan import (
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
from fleet.platforms.diagnosis import Check, plugin, sdk
from fleet.platforms.libvirt import console
from fleet.platforms.libvirt.daemon import daemon
from fleet.platforms.libvirt.options import Options
from fleet.platforms.options import read_options
from fleet.platforms.shapes import address_mac, custom_size, described, digest, slot
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    pass

GIB = 1 << 30
_SIZES = {"small": (2, 2048), "medium": (2, 4096), "large": (4, 8192)}
_MOST_DISKS = 14
"""Data disks of a domain: the provider makes one virtio-scsi controller, and numbers disks from the root disk on;
libvirt puts number 15 and later ones on further controllers, of a kind that Fedora CoreOS may not know (domain_conf.c,
virDomainDiskDefAssignAddress)."""
_DEFAULT_URI = "qemu:///system"


class Libvirt(BasePlatform):
    """The platform ``libvirt``.

    Args:
        options: The stack's options.
        uri: The connection.
        stack: The stack's name.
    """

    name = "libvirt"
    options_model = Options
    artifacts = (QEMU_DISK,)
    machine_type = "libvirt:index/domain:Domain"
    replaced_types = (machine_type, "libvirt:index/volume:Volume", "libvirt:index/ignition:Ignition")
    image_types = ("libvirt:index/volume:Volume",)
    # fw_cfg takes any size, but a guest reads it byte by byte.
    limits = Limits(raw=32768, most=None)

    def __init__(self, options: Options, uri: str, stack: str) -> None:
        self.options, self.uri, self.stack = options, uri, stack
        self.architecture = options.architecture

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], *, project: Path, stack: str, config: ConfigReader = no_config
    ) -> Libvirt:
        """Read ``fleet:libvirt``.

        Raises:
            UsageError: An option is wrong.
        """
        read = read_options(Options, options, platform="libvirt", stack=stack, project=project)
        if read.cidr.prefixlen != 16:
            raise UsageError(f"`fleet:libvirt` of stack {stack}: `cidr` is a /16, not {read.cidr}.")
        return cls(read, config("libvirt:uri") or os.environ.get("LIBVIRT_DEFAULT_URI", _DEFAULT_URI), stack)

    def checks(self, config: ConfigReader) -> Sequence[Check]:
        look = Check("libvirt", lambda: daemon(self.uri, self.options.pool))
        return (sdk("pulumi_libvirt", "libvirt"), plugin("libvirt", "pulumi_libvirt"), look)

    def cannot_surge(self, *, addressed: bool) -> str:
        return "on libvirt every node has a planned address"

    def disk_link(self, disk: str) -> DiskLink:
        return DiskLink(f"/dev/disk/by-id/wwn-0x{wwn(disk)}")

    def private(self, group: str, index: int) -> IPv4Interface | None:
        return None if self.options.bridge else slot(self.options.cidr, group, index)

    def interface(self, address: IPv4Interface) -> Interface:
        return Interface(address_mac(address.ip), self.options.gateway or address.network.network_address + 1)

    def reached_from(self, port: PortPlan, *, report: bool) -> tuple[str]:
        """No firewall: the bridge, or else the stack's NAT network, says who reaches a node."""
        if self.options.bridge:
            return (f"whoever is on the bridge {self.options.bridge}",)
        return ("the host",)

    def report_access(self, node: NodePlan) -> ReportAccess | None:
        """Directly, unless its network is behind another host."""
        if node.report is None:
            return None
        reached = bool(self.options.bridge) or not urlsplit(self.uri).hostname
        return ReportAccess(node.report, node.settle, direct=reached, ssh=reached)

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """At its address, with its console."""
        shown = console.argument(self.uri, str(machine.get("id", "")))
        return Peer(name, address, {}, probes, Watch(console.CONSOLE, shown, lives=False))

    @property
    def place(self) -> str:
        """The host and its daemon, whoever connects and in whatever way."""
        parts = urlsplit(self.uri)
        return f"{parts.scheme.partition('+')[0]}://{parts.hostname or ''}{parts.path}"

    def disk_size(self, disk: StateEntry) -> int:
        return int(disk.outputs.get("size", 0)) // GIB

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        return {"pool": self.options.pool}

    def check_deployed(self, plan: FleetPlan) -> None:
        check_disks(self, plan, grows=False)

    def check(self, plan: FleetPlan) -> None:
        refuse_snapshots(plan, self.name)
        if self.options.bridge and not (plan.network and self.options.gateway):
            raise UsageError(
                f"Nodes on the bridge {self.options.bridge} need planned addresses, and a gateway.",
                fix="Put `network` and `addresses_from` into the spec, and `gateway` into `fleet:libvirt`.",
            )
        if self.architecture == "aarch64" and not self.options.firmware:
            raise UsageError(
                "aarch64 starts from UEFI firmware, and `fleet:libvirt` names none.",
                fix='Name one: `firmware: "/usr/share/AAVMF/AAVMF_CODE.fd"`.',
            )
        used: dict[IPv4Interface, str] = {}
        for node in plan.nodes:
            self.shape_of(node)
            check_disk_count(node, _MOST_DISKS, "libvirt")
            if node.image:
                locked_disk(node.image, QEMU_DISK, "libvirt")
            if node.private is None:
                continue
            gateway = self.interface(node.private).gateway
            if other := used.get(node.private):
                raise UsageError(
                    f"The nodes {other} and {node.name} would have the same address, {node.private.ip}.",
                    fix="Plan the addresses in the spec: `network`, and `addresses_from` for each group.",
                )
            if node.private.ip == gateway:
                raise UsageError(f"{node.name} would have the gateway's address, {gateway}.")
            used[node.private] = node.name

    def check_stack(self, *, account: bool = True) -> None:
        """The provider says itself when it cannot connect, before anything is made."""

    def image(self, node: NodePlan) -> str:
        assert node.image is not None
        return node.image.disks[QEMU_DISK.name].uncompressed_sha256

    def prepare(self, image: LockedImage, progress: Progress | None = None) -> None:
        if image.disks[QEMU_DISK.name].remote:
            obtain(image.disks[QEMU_DISK.name], progress=progress)

    def shape_of(self, node: NodePlan) -> tuple[int, int]:
        """A node's virtual CPUs, and its memory in MiB."""
        return _SIZES.get(node.size) or custom_size(node)

    def trigger(self, node: NodePlan) -> str:
        # Beside Ignition: what the provider would change in a running domain, or pretend to.
        options = self.options.model_dump(mode="json", exclude={"cidr", "gateway"})
        disks = [disk.name for disk in node.disks]
        return digest([node.delivery.user_data, *self.shape_of(node), disks, str(node.private), options])

    def shape(self, node: NodePlan) -> dict[str, str]:
        cpus, memory = self.shape_of(node)
        shape: dict[str, object] = {
            "size": f"{cpus}x{memory}",
            **self.options.model_dump(mode="json", exclude={"cidr", "gateway"}),
            "network": "" if self.options.bridge else node.network or self.options.cidr,
            # It is part of the names of a node's domain and volumes.
            "the fleet's name": node.fleet,
        }
        return described(node, shape)

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Sequence[str] | None:
        """By its name, with ``virsh``, where that is installed. A volume that may be written in part goes."""
        if not shutil.which("virsh"):
            return None
        name, pool = str(inputs.get("name")), ["--pool", str(inputs.get("pool"))]
        if kind == self.machine_type:
            return self._virsh("domuuid", name).split()
        if kind == "libvirt:index/network:Network":
            return self._virsh("net-uuid", name).split()
        if keep:
            return self._virsh("vol-path", *pool, name).split()
        self._virsh("vol-delete", *pool, name)
        return ()

    def _virsh(self, *arguments: str) -> str:
        """What ``virsh`` prints; nothing if it fails, as for what is not there."""
        command = ["virsh", "--connect", self.uri, "--quiet", *arguments]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def wwn(disk: str) -> str:
    """A data disk's world wide name: 16 hexadecimal digits, of the form for names that nobody assigned (NAA 3)."""
    return "3" + hashlib.sha256(disk.encode()).hexdigest()[:15]
