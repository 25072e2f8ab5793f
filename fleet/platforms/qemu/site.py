"""What a stack on ``qemu`` declares: machines and the files of data disks. Nodes share nothing that is a resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from fleet import ssh
from fleet.dynamic.outputs import sealed
from fleet.images import QEMU_DISK
from fleet.plan import SSH_PORT, DiskPlan, FleetPlan, Needs, NodePlan, Watch
from fleet.platforms.base import Instance
from fleet.platforms.qemu import tokens
from fleet.platforms.qemu.platform import Qemu
from fleet.platforms.qemu.resource import DIGEST, QemuDisk, QemuMachine
from fleet.platforms.site import secret_options


class Site:
    """A stack's resources on this machine.

    Args:
        platform: The platform.
        plan: The fleet.
        opts: Options of every shared resource; there is none.
    """

    def __init__(self, platform: Qemu, plan: FleetPlan, opts: pulumi.ResourceOptions) -> None:
        self._platform = platform

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> str:
        return self._platform.host

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        """None: there is no zone to put them in."""

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> QemuDisk:
        props = {"path": self._platform.disk_path(node, disk), "size_gib": disk.size_gib}
        # Without the state's word, the file is where it was.
        fixed = [] if disk.existing or disk.deployed else ["path"]
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=fixed))
        return QemuDisk(f"{node.name}-{disk.name}", props, opts)

    def needs(self, node: NodePlan) -> Needs:
        assert node.image is not None
        return Needs(
            look=tokens.MISSING, argument=node.image.disks[QEMU_DISK.name].model_dump_json(exclude_defaults=True)
        )

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        platform = self._platform
        props = platform.props(node)
        props["ignition"] = sealed(node, props["ignition"])
        after = [*after, *disks.values()]
        machine = QemuMachine(
            node.name,
            props,
            pulumi.ResourceOptions.merge(
                secret_options(opts, node, [DIGEST]),
                pulumi.ResourceOptions(depends_on=after, delete_before_replace=True),
            ),
        )
        host, endpoints, folder = platform.host, platform.endpoints(node), platform.folder(node)
        return Instance(
            resources=[machine],
            id=machine.id,
            address=host,
            endpoints=endpoints,
            ssh=" ".join(ssh.command(host, endpoints[SSH_PORT][1], ssh.UNCHECKED)),
            console=str(folder / "console.log"),
            watch=Watch(tokens.WATCHER, pulumi.Output.concat(str(folder), " ", machine.id)),
            holds_config=True,
        )
