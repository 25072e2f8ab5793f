"""What planning asks of the platform, without Pulumi."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.images import QEMU_DISK
from fleet.plan import DiskLink, DiskPlan, FleetPlan, Limits, NodePlan
from fleet.platforms.base import BasePlatform
from fleet.platforms.checks import check_disk_count, check_disks, locked_disk, refuse_snapshots
from fleet.platforms.options import read_options
from fleet.platforms.shapes import custom_size, described, digest
from fleet.stack_config import ConfigReader, no_config
from fleet_toy.options import Options

_SIZES = {"small": (1, 1024), "medium": (2, 2048), "large": (4, 4096)}


class Toy(BasePlatform):
    """The platform ``toy``.

    Args:
        options: The stack's options.
        folder: Where machines and disks are, absolute.
    """

    name = "toy"
    options_model = Options
    artifacts = (QEMU_DISK,)
    machine_type = "pulumi-python:dynamic/toy:Machine"
    replaced_types = (machine_type,)
    limits = Limits(raw=None, most=None)
    place = ""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.architecture = options.architecture

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], *, project: Path, stack: str, config: ConfigReader = no_config
    ) -> Toy:
        read = read_options(Options, options, platform="toy", stack=stack, project=project)
        return cls(read, (project / read.folder).resolve())

    def cannot_surge(self, *, addressed: bool) -> str:
        return "toys have one file a node"

    def disk_link(self, disk: str) -> DiskLink:
        return DiskLink(f"/dev/disk/by-id/toy-{disk}")

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        return {}

    def check(self, plan: FleetPlan) -> None:
        refuse_snapshots(plan, self.name)
        for node in plan.nodes:
            self.size(node)
            check_disk_count(node, 100, self.name)
            if node.image:
                locked_disk(node.image, QEMU_DISK, self.name)

    def check_deployed(self, plan: FleetPlan) -> None:
        check_disks(self, plan)

    def check_stack(self, *, account: bool = True) -> None:
        """Nothing has to be told."""

    def size(self, node: NodePlan) -> tuple[int, int]:
        """A node's CPUs, and its memory in MiB."""
        return _SIZES.get(node.size) or custom_size(node)

    def image(self, node: NodePlan) -> str:
        assert node.image is not None
        return node.image.disks[QEMU_DISK.name].uncompressed_sha256

    def trigger(self, node: NodePlan) -> str:
        return digest([node.delivery.user_data, *self.size(node), [disk.name for disk in node.disks]])

    def shape(self, node: NodePlan) -> dict[str, str]:
        return described(node, {"size": "{}x{}".format(*self.size(node)), "folder": self.folder})

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> tuple[str, ...]:
        """None: a file that is written twice is written once."""
        return ()
