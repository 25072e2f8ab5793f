"""libvirt: domains on this machine or another, by the provider of upstream's 0.8 line; its schema is known here alone.

A node is a domain, its root volume and its Ignition volume, replaced together. Its MAC address is made of its planned
address, and the planned address is written into the node: a lease of DHCP would not outlive a new machine-id. The base
volume holds the image; root volumes are overlays of it, so a base volume is never deleted while the stack stands.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi

from fleet.dynamic.outputs import independent, sealed
from fleet.dynamic.tokens import named
from fleet.errors import FleetError
from fleet.images import QEMU_DISK, obtain
from fleet.plan import (
    DiskPlan,
    FleetPlan,
    Needs,
    NodePlan,
    Watch,
)
from fleet.platforms.base import Instance
from fleet.platforms.libvirt import console
from fleet.platforms.libvirt.platform import GIB, Libvirt, wwn
from fleet.platforms.lookups import Sdk
from fleet.platforms.site import disk_options, machine_options, packed_user_data, packing_ignored

if TYPE_CHECKING:
    import pulumi_libvirt as libvirt
else:
    libvirt = Sdk("pulumi_libvirt", "libvirt")

MISSING = "fleet.platforms.libvirt:missing"
"""What states have for :func:`missing`; it may never change."""
FIXED = (
    "baseVolumeId", "baseVolumeName", "baseVolumePool", "format", "name", "pool", "size", "source", "xml",
)  # fmt: skip
"""Inputs of a volume whose change makes a new one: all."""


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
            disk = image.disks[QEMU_DISK.name]
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
            size=disk.size_gib * GIB,
            format="qcow2",
            opts=disk_options(opts, self._platform, disk, FIXED),
        )

    def needs(self, node: NodePlan) -> Needs:
        """The provider has no function that would look; ``virsh`` has, where that is installed."""

        async def unobtainable() -> str:
            # In a preview, a base volume without an id is yet to be made of the image.
            return "" if await self._base.id.is_known() else self._unobtainable

        place = {"uri": self._platform.uri, "pool": self._options.pool}
        return Needs(
            independent(unobtainable()),
            MISSING,
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
            size=options.root_size_gib * GIB,
            format="qcow2",
            opts=replaced,
        )
        ignition = libvirt.Ignition(
            node.name,
            name=f"{self._prefix}-{node.name}.ign",
            pool=options.pool,
            content=sealed(node, packed_user_data(node)),
            # One after the other: whichever of two goes first takes the domain with it, and the other would not wait.
            opts=machine_options(opts, node, trigger, after=[*after, root], ignored=packing_ignored(node, "content")),
        )
        cpus, memory = platform.shape_of(node)
        attached = [libvirt.DomainDiskArgs(volume_id=root.id)] + [
            libvirt.DomainDiskArgs(volume_id=disks[disk.name].id, scsi=True, wwn=wwn(disk.name)) for disk in node.disks
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
            watch=Watch(
                console.CONSOLE,
                machine.id.apply(lambda domain: console.argument(platform.uri, domain)),
                lives=False,
            ),
            holds_config=True,
        )


@named(MISSING)
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
