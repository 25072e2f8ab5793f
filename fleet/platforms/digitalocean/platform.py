"""DigitalOcean: droplets in a VPC of the stack's own or an existing one.

There is no published image of Fedora CoreOS: the locked release is imported as a custom image, which can take 15
minutes, once for each release. Custom images have neither IPv6 nor an address of one's choice in the VPC; names lead to
the nodes instead, where the stack names a domain. Each node has a reserved IP, which stays when it is re-provisioned.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.errors import UsageError
from fleet.images import DiskArtifact
from fleet.plan import (
    DiskLink,
    DiskPlan,
    FleetPlan,
    Limits,
    NodePlan,
    StateEntry,
)
from fleet.platforms.base import BasePlatform, Leftovers
from fleet.platforms.checks import check_disk_count, check_disks, locked_disk
from fleet.platforms.diagnosis import Check, plugin, sdk
from fleet.platforms.digitalocean.account import account
from fleet.platforms.digitalocean.options import Options
from fleet.platforms.options import read_options
from fleet.platforms.shapes import described, digest, named_size
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    pass

_MOST = 65536
"""Bytes of user data (DigitalOcean API reference, "Create a New Droplet")."""
_MOST_DISKS = 15
"""Volumes of a droplet (DigitalOcean API reference, "Attach a Block Storage Volume to a Droplet")."""
DISK = DiskArtifact("digitalocean", "qcow2.gz")
_SIZES = {"small": "s-1vcpu-2gb", "medium": "s-2vcpu-4gb", "large": "s-4vcpu-8gb"}


IDEMPOTENT_CREATES = {
    "digitalocean:index/reservedIpAssignment:ReservedIpAssignment",
    "digitalocean:index/tag:Tag",
    "digitalocean:index/volumeAttachment:VolumeAttachment",
}
"""Resources whose creation can be repeated."""


class DigitalOcean(BasePlatform):
    """The platform ``digitalocean``.

    Args:
        options: The stack's options.
        token: Whether there is one.
        stack: The stack's name.
    """

    name = "digitalocean"
    options_model = Options
    artifacts = (DISK,)
    architecture = "x86_64"
    machine_type = "digitalocean:index/droplet:Droplet"
    replaced_types = (machine_type,)
    rule_types = ("digitalocean:index/tag:Tag", "digitalocean:index/firewall:Firewall")
    metadata_addresses = (IPv4Address("169.254.169.254"),)
    image_types = ("digitalocean:index/customImage:CustomImage",)
    # There is a store, but no way to keep an object of it from others that Ignition could pass.
    limits = Limits(raw=_MOST, most=_MOST)

    def __init__(self, options: Options, token: bool, stack: str) -> None:
        self.options, self._token, self.stack = options, token, stack

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], *, project: Path, stack: str, config: ConfigReader = no_config
    ) -> DigitalOcean:
        """Read ``fleet:digitalocean``.

        Raises:
            UsageError: An option is wrong.
        """
        read = read_options(Options, options, platform="digitalocean", stack=stack, project=project)
        token = config("digitalocean:token") or os.environ.get("DIGITALOCEAN_TOKEN", "")
        return cls(read, bool(token), stack)

    def checks(self, config: ConfigReader) -> Sequence[Check]:
        look = Check("credentials", lambda: account(config))
        return (sdk("pulumi_digitalocean", "digitalocean"), plugin("digitalocean", "pulumi_digitalocean"), look)

    def cannot_surge(self, *, addressed: bool) -> str:
        return ""

    def disk_link(self, disk: str) -> DiskLink:
        # A volume's serial number ends with the volume's name.
        return DiskLink(f"/dev/disk/fleet/{disk}", f'ENV{{ID_SERIAL}}=="0DO_Volume_*--{disk}"')

    @property
    def place(self) -> str:
        return self.options.region

    def place_of(self, disk: StateEntry) -> str:
        return str(disk.outputs.get("region", disk.place))

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        return {}

    def check_deployed(self, plan: FleetPlan) -> None:
        check_disks(self, plan)

    def volume(self, node: NodePlan, disk: DiskPlan) -> str:
        """The name of a volume, by whose end the node finds it: lower-case letters, digits and dashes."""
        return f"{self.stack.lower()}-{node.name}--{disk.name}"

    def check(self, plan: FleetPlan) -> None:
        if plan.network:
            raise UsageError(
                "DigitalOcean gives no planned addresses to machines of a custom image, which Fedora CoreOS is.",
                fix="Take `network` out of the spec, and name a `dns_zone` in `fleet:digitalocean` for names.",
            )
        zone = self.options.dns_zone
        for name in [name for group in plan.groups.values() for name in group.names]:
            if zone and name != zone and not name.endswith(f".{zone}"):
                raise UsageError(f"The name {name} is not in {zone}, the `dns_zone` of `fleet:digitalocean`.")
        for node in plan.nodes:
            self.size(node)
            check_disk_count(node, _MOST_DISKS, "DigitalOcean")
            for disk in node.disks:
                name = self.volume(node, disk)
                if "--" in disk.name or not re.fullmatch(r"[a-z][a-z0-9-]{,63}", name):
                    raise UsageError(
                        f"DigitalOcean has no volume of the name {name}, for data disk {disk.name} of {node.name}.",
                        fix="Take shorter names of letters, digits and single dashes.",
                    )
            if node.image:
                locked_disk(node.image, DISK, "DigitalOcean")

    def check_stack(self, *, account: bool = True) -> None:
        if account and not self._token:
            raise UsageError(
                f"Stack {self.stack} has no token for DigitalOcean.",
                fix="Set it: `pulumi config set --secret digitalocean:token ...`, or DIGITALOCEAN_TOKEN.",
            )
        for key in ("region", "ssh_keys"):
            if not getattr(self.options, key):
                raise UsageError(
                    f"`fleet:digitalocean` of stack {self.stack} has no `{key}`.",
                    fix=f"Set it: `pulumi config set --path fleet:digitalocean.{key}"
                    + ("[0] ...`." if key == "ssh_keys" else " fra1`."),
                )

    def image(self, node: NodePlan) -> str:
        assert node.image is not None
        return node.image.disks[DISK.name].sha256

    def size(self, node: NodePlan) -> str:
        """A droplet's size."""
        return named_size(node, _SIZES, r"[a-z0-9]+-[a-z0-9-]+")

    def trigger(self, node: NodePlan) -> str:
        # The provider would resize a running droplet.
        return digest([node.delivery.user_data, self.size(node), [disk.name for disk in node.disks]])

    def shape(self, node: NodePlan) -> dict[str, str]:
        options = self.options
        shape: dict[str, object] = {
            "size": self.size(node),
            "region": options.region,
            "vpc": options.vpc,
            # A VPC of the stack's own is of the fleet's name.
            "network": "" if options.vpc else options.cidr,
            "the fleet's name": "" if options.vpc else node.fleet,
        }
        return described(node, shape)

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Leftovers:
        """Droplets by their names and tags, in the stack's network.

        Another stack may well have the same names, and be in the same network if that was there before.
        """
        if kind == self.machine_type:
            return lambda: self._declaring().droplets(inputs)
        return () if kind in IDEMPOTENT_CREATES else None
