"""libvirt: domains on this machine or another, by the provider of upstream's 0.8 line; its schema is known here alone.

A node is a domain, its root volume and its Ignition volume, replaced together. Its MAC address is made of its planned
address, and the planned address is written into the node: a lease of DHCP would not outlive a new machine-id. The base
volume holds the image; root volumes are overlays of it, so a base volume is never deleted while the stack stands.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pulumi
from pydantic import Field

from fleet.dynamic.outputs import independent, sealed
from fleet.errors import FleetError, UsageError
from fleet.images import Progress, obtain
from fleet.model import Model
from fleet.plan import DiskPlan, FleetPlan, Interface, Limits, LockedImage, Needs, NodePlan, StateEntry
from fleet.platforms.base import Instance
from fleet.platforms.common import (
    ProviderPlatform,
    Sdk,
    address_mac,
    check_disk_count,
    check_disks,
    custom_size,
    described,
    digest,
    disk_options,
    machine_options,
    read_options,
    refuse_snapshots,
    slot,
)
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    import pulumi_libvirt as libvirt
else:
    libvirt = Sdk("pulumi_libvirt", "libvirt")

_GIB = 1 << 30
_SIZES = {"small": (2, 2048), "medium": (2, 4096), "large": (4, 8192)}
_MOST_DISKS = 14
"""Data disks of a domain: the provider makes one virtio-scsi controller, and numbers disks from the root disk on;
libvirt puts number 15 and later ones on further controllers, of a kind that Fedora CoreOS may not know (domain_conf.c,
virDomainDiskDefAssignAddress)."""
_FIXED = (
    "baseVolumeId", "baseVolumeName", "baseVolumePool", "format", "name", "pool", "size", "source", "xml",
)  # fmt: skip
"""Inputs of a volume whose change makes a new one: all."""
_DEFAULT_URI = "qemu:///system"


class Options(Model):
    """The stack's ``fleet:libvirt``. The URI is the stack's ``libvirt:uri``, or LIBVIRT_DEFAULT_URI.

    Attributes:
        pool: The storage pool for all volumes.
        cidr: The range of the stack's NAT network, where the spec plans no addresses; a /16.
        bridge: A bridge of the host to put nodes on, instead of a network of the stack's own; the spec's network is
            then the bridge's, and ``gateway`` has to be named.
        gateway: The gateway, which answers DNS queries too; the first address of the range by default.
        architecture: "x86_64" or "aarch64".
        type: "kvm", or "qemu" where the host has no KVM.
        root_size_gib: A node's root disk in GiB.
        machine: The machine type, such as "q35" or "virt"; libvirt's default if empty.
        firmware: Path of a firmware on the host; aarch64 needs one, such as "/usr/share/AAVMF/AAVMF_CODE.fd".
        emulator: Path of QEMU on the host; libvirt's choice if empty.
    """

    pool: str = "default"
    cidr: IPv4Network = IPv4Network("10.78.0.0/16")
    bridge: str = ""
    gateway: IPv4Address | None = None
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    type: Literal["kvm", "qemu"] = "kvm"
    root_size_gib: int = Field(default=16, ge=10)
    machine: str = ""
    firmware: str = ""
    emulator: str = ""


class Libvirt(ProviderPlatform):
    """The platform ``libvirt``.

    Args:
        options: The stack's options.
        uri: The connection.
        stack: The stack's name.
    """

    name = "libvirt"
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

    def cannot_surge(self, *, addressed: bool) -> str:
        return "on libvirt every node has a planned address"

    def device(self, disk: str) -> str:
        return f"/dev/disk/by-id/wwn-0x{_wwn(disk)}"

    def private(self, group: str, index: int) -> IPv4Interface | None:
        return None if self.options.bridge else slot(self.options.cidr, group, index)

    def interface(self, address: IPv4Interface) -> Interface:
        return Interface(address_mac(address.ip), self.options.gateway or address.network.network_address + 1)

    @property
    def place(self) -> str:
        """The host and its daemon, whoever connects and in whatever way."""
        parts = urlsplit(self.uri)
        return f"{parts.scheme.partition('+')[0]}://{parts.hostname or ''}{parts.path}"

    def disk_size(self, disk: StateEntry) -> int:
        return int(disk.outputs.get("size", 0)) // _GIB

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
            if node.image and "qemu" not in node.image.disks:
                raise UsageError(f"The image lock (release {node.image.release}) has no disk image for libvirt.")
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
        return node.image.disks["qemu"].uncompressed_sha256

    def prepare(self, image: LockedImage, progress: Progress | None = None) -> None:
        if image.disks["qemu"].remote:
            obtain(image.disks["qemu"], progress=progress)

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

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Site:
        return Site(self, plan, opts)


class Site:
    """A stack's resources on libvirt. Making one declares the base volume and the network.

    Args:
        platform: The platform.
        plan: The fleet.
        opts: Options of every shared resource.
    """

    def __init__(self, platform: Libvirt, plan: FleetPlan, opts: pulumi.ResourceOptions) -> None:
        self._platform, self._options = platform, platform.options
        # Of a pool alone, the first address of a name is taken by whoever asks first: names carry the stack's.
        self._prefix = f"{plan.name}-{platform.stack}"
        image = next((node.image for node in plan.nodes if node.image), None)
        if image:
            disk = image.disks["qemu"]
            self._unobtainable, source = "", disk.location
            try:
                source = str(obtain(disk, say=pulumi.log.warn))
            except FleetError as error:
                # Where the base volume is in the pool, nobody needs it.
                self._unobtainable = str(error)
            self._base = libvirt.Volume(
                # Named by the provider: one that was kept must not be in the way of a new one.
                f"{self._prefix}-{disk.uncompressed_sha256[:12]}",
                pool=self._options.pool,
                source=source,
                format="qcow2",
                opts=pulumi.ResourceOptions.merge(
                    opts,
                    # Where the image was kept when it was uploaded makes no difference.
                    pulumi.ResourceOptions(retain_on_delete=True, ignore_changes=["source"]),
                ),
            )
        self._network: libvirt.Network | None = None
        if not self._options.bridge:
            self._network = libvirt.Network(
                # Named by the provider: with a name of its own, another range would take the network away from under
                # all nodes at once before there is the new one.
                plan.name,
                mode="nat",
                addresses=[str(plan.network or self._options.cidr)],
                # Nodes bring their addresses; the network's own server answers DNS queries alone.
                dhcp=libvirt.NetworkDhcpArgs(enabled=False),
                dns=libvirt.NetworkDnsArgs(enabled=True),
                autostart=True,
                # The provider reads back `enabled: true` whatever there is (resource_libvirt_network.go). A network
                # that an earlier fleet named keeps its name.
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["dhcp", "name"])),
            )

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        assert node.private is not None
        return str(node.private.ip)

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        """None: there is no zone to put them in."""

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        return libvirt.Volume(
            f"{node.name}-{disk.name}",
            name=f"{self._prefix}-{node.name}-{disk.name}.qcow2",
            pool=self._options.pool,
            size=disk.size_gib * _GIB,
            format="qcow2",
            opts=disk_options(opts, self._platform, disk, _FIXED),
        )

    def needs(self, node: NodePlan) -> Needs:
        """The provider has no function that would look; ``virsh`` has, where that is installed."""

        async def unobtainable() -> str:
            # In a preview, a base volume without an id is yet to be made of the image.
            return "" if await self._base.id.is_known() else self._unobtainable

        place = {"uri": self._platform.uri, "pool": self._options.pool}
        return Needs(
            independent(unobtainable()),
            "fleet.platforms.libvirt:missing",
            self._base.id.apply(lambda volume: json.dumps({**place, "volume": volume})),
        )

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        platform, options = self._platform, self._options
        assert node.private is not None
        trigger = platform.trigger(node)
        replaced = machine_options(opts, node, trigger, after=after, image=["baseVolumeId"])
        root = libvirt.Volume(
            node.name,
            name=f"{self._prefix}-{node.name}.qcow2",
            pool=options.pool,
            base_volume_id=self._base.id,
            size=options.root_size_gib * _GIB,
            format="qcow2",
            opts=replaced,
        )
        ignition = libvirt.Ignition(
            node.name,
            name=f"{self._prefix}-{node.name}.ign",
            pool=options.pool,
            content=sealed(node, node.delivery.user_data),
            # One after the other: whichever of two goes first takes the domain with it, and the other would not wait.
            opts=machine_options(opts, node, trigger, after=[*after, root]),
        )
        cpus, memory = platform.shape_of(node)
        attached = [libvirt.DomainDiskArgs(volume_id=root.id)] + [
            libvirt.DomainDiskArgs(volume_id=disks[disk.name].id, scsi=True, wwn=_wwn(disk.name)) for disk in node.disks
        ]
        machine = libvirt.Domain(
            node.name,
            name=f"{self._prefix}-{node.name}",
            type=options.type,
            arch=options.architecture,
            vcpu=cpus,
            memory=memory,
            cpu=libvirt.DomainCpuArgs(mode="host-passthrough") if options.type == "kvm" else None,
            machine=options.machine or None,
            firmware=options.firmware or None,
            emulator=options.emulator or None,
            coreos_ignition=ignition.id,
            disks=attached,
            network_interfaces=[
                libvirt.DomainNetworkInterfaceArgs(
                    network_id=self._network.id if self._network else None,
                    bridge=options.bridge or None,
                    mac=platform.interface(node.private).mac.upper(),
                    hostname=node.name,
                )
            ],
            consoles=[libvirt.DomainConsoleArgs(type="pty", target_type="serial", target_port="0")],
            autostart=True,
            running=True,
            opts=machine_options(opts, node, trigger, after=after),
        )
        address = str(node.private.ip)
        return Instance(
            resources=[machine],
            id=machine.id,
            address=address,
            ssh=f"ssh core@{address}",
            console=f"virsh --connect {platform.uri} console {self._prefix}-{node.name}",
        )


def missing(argument: str, fetch: bool) -> str:
    """Look for what a new domain needs in its pool, with ``virsh``: :class:`~fleet.plan.Needs`.

    Args:
        argument: JSON: ``uri``, ``pool``, and the id of the base ``volume``.
        fetch: There is nothing that takes long.
    """
    place = json.loads(argument)
    if not shutil.which("virsh"):
        return ""
    command = ["virsh", "--connect", place["uri"], "--quiet", "vol-info", "--pool", place["pool"], place["volume"]]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return ""
    reason = " ".join(done.stderr.replace("error:", " ").split()).rstrip(".")
    return (
        f"The base volume {place['volume']} is not to be had in the pool {place['pool']}, so no machine is stopped: "
        f"{reason}. `fleet up` uploads it again, and so does `pulumi up --refresh`; if its image is gone upstream, "
        "lock a newer one with `fleet image update`."
    )


def _wwn(disk: str) -> str:
    """A data disk's world wide name: 16 hexadecimal digits, of the form for names that nobody assigned (NAA 3)."""
    return "3" + hashlib.sha256(disk.encode()).hexdigest()[:15]


PLATFORM = Libvirt
