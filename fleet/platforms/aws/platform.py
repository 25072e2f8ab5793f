"""Amazon Web Services: EC2 instances in a VPC of the stack's own or an existing one.

Each node has an Elastic IP, which stays when the node is re-provisioned; metadata is IMDSv2 with a hop limit of 1, so
that containers on a bridge cannot read the user data; all disks are encrypted. Data disks are EBS volumes in the node's
availability zone. On Nitro instances a volume is found by its id, which no plan can know: the user data that an
instance is given is the planned config and a udev rule with the ids.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.config.ignition import file
from fleet.errors import UsageError
from fleet.images import PublishedImage
from fleet.plan import (
    DiskLink,
    DiskPlan,
    FleetPlan,
    Limits,
    NodePlan,
    Peer,
    Probe,
    StateEntry,
    Watch,
)
from fleet.platforms.aws import console
from fleet.platforms.aws.account import identity
from fleet.platforms.aws.options import Options
from fleet.platforms.base import BasePlatform, Leftovers
from fleet.platforms.checks import check_addresses, check_disk_count, check_disks, check_reachable
from fleet.platforms.diagnosis import Check, plugin, sdk
from fleet.platforms.options import read_options
from fleet.platforms.shapes import described, digest, named_size
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    pass

AMI = PublishedImage("aws", by_region="image")
_MOST = 16384
"""Bytes of user data, before base64 (EC2 User Guide, "Run commands when you launch an EC2 instance")."""
_RULE_ROOM = 512
"""Bytes left for the udev rule of a data disk."""
_SIZES = {
    "x86_64": {"small": "t3.small", "medium": "t3.medium", "large": "t3.large"},
    "aarch64": {"small": "t4g.small", "medium": "t4g.medium", "large": "t4g.large"},
}
_RESERVED_LOW, _RESERVED_HIGH = 4, 1
"""Addresses at the ends of a subnet that AWS keeps for itself (VPC User Guide, "Subnet sizing")."""
_LARGEST, _SMALLEST = 16, 28
"""Prefix lengths of VPCs and subnets (the same page)."""
_ZONES = 16
"""Into how many subnets of one size a VPC without planned addresses is cut, if it is large enough."""
DEVICES = [f"/dev/sd{letter}" for letter in "fghijklmnop"]
"""Names that volumes are attached under (EC2 User Guide, "Device names for volumes": those recommended for EBS)."""
_RULES = "/etc/udev/rules.d/90-fleet-data-disks.rules"


IDEMPOTENT_CREATES = {
    "aws:ec2/eipAssociation:EipAssociation",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:ec2/volumeAttachment:VolumeAttachment",
    "aws:s3/bucketObjectv2:BucketObjectv2",
}
"""Resources whose creation can be repeated: an attachment is not made twice, and the rest is overwritten."""


class Aws(BasePlatform):
    """The platform ``aws``.

    Args:
        options: The stack's options.
        region: Where; empty if the stack does not say.
        stack: The stack's name.
        profile: The profile of the AWS configuration that the stack names; empty for the environment's.
    """

    name = "aws"
    options_model = Options
    artifacts = (AMI,)
    machine_type = "aws:ec2/instance:Instance"
    replaced_types = (machine_type,)
    metadata_addresses = (IPv4Address("169.254.169.254"), IPv6Address("fd00:ec2::254"))

    def __init__(self, options: Options, region: str, stack: str, profile: str = "") -> None:
        self.options, self.region, self.stack, self.profile = options, region, stack, profile
        self.architecture = options.architecture
        self.zones = options.zones or (list(options.vpc.subnets) if options.vpc else [f"{region}a"])
        store = f"s3://{options.bucket}/fleet/{stack}/" if options.bucket else ""
        self.limits = Limits(raw=_MOST - _RULE_ROOM, most=_MOST - _RULE_ROOM, store=store, option="bucket")

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], *, project: Path, stack: str, config: ConfigReader = no_config
    ) -> Aws:
        """Read ``fleet:aws``.

        Raises:
            UsageError: An option is wrong.
        """
        read = read_options(Options, options, platform="aws", stack=stack, project=project)
        variables = (os.environ.get(name, "") for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))
        return cls(read, config("aws:region") or next(filter(None, variables), ""), stack, config("aws:profile") or "")

    def checks(self, config: ConfigReader) -> Sequence[Check]:
        look = Check("credentials", lambda: identity(config, self.region))
        return (sdk("pulumi_aws", "aws"), plugin("aws", "pulumi_aws"), look)

    def cannot_surge(self, *, addressed: bool) -> str:
        return "its nodes have planned private addresses" if addressed else ""

    def disk_link(self, disk: str) -> DiskLink:
        # What tells the disk is known only when there is one: its rule is added to the user data then.
        return _link(disk)

    @property
    def place(self) -> str:
        return self.region

    def place_of(self, disk: StateEntry) -> str:
        zone = str(disk.outputs.get("availabilityZone", ""))
        return self.region if zone.startswith(self.region) else zone.rstrip("abcdefghijklmnopqrstuvwxyz")

    def zone(self, node: NodePlan) -> str:
        """A node's availability zone: where its data disks are, or as it is planned."""
        zones = [d.deployed.outputs["availabilityZone"] for d in node.disks if d.deployed and not d.moves]
        return str(zones[0]) if zones else self._new_zone(node)

    def _new_zone(self, node: NodePlan) -> str:
        if node.private is None or len(self.zones) == 1:
            return self.zones[node.index % len(self.zones)]
        slices = self._slices(node.private.network)
        return next(zone for zone, part in slices.items() if node.private.ip in part)

    def _slices(self, network: IPv4Network) -> dict[str, IPv4Network]:
        """The part of the planned addresses' range that each zone has.

        Raises:
            UsageError: The range is too small.
        """
        bits = (len(self.zones) - 1).bit_length()
        if network.prefixlen + bits > _SMALLEST:
            raise UsageError(
                f"{network} cannot be divided among {len(self.zones)} zones: AWS has no subnet smaller than "
                f"/{_SMALLEST}.",
                fix="Take a larger `network`, or fewer zones.",
            )
        return dict(zip(self.zones, islice(network.subnets(prefixlen_diff=bits), len(self.zones)), strict=True))

    def planned_address(self, network: IPv4Network, number: int) -> IPv4Address:
        """In one zone, the address at the number.

        In several, numbers go round the zones, each of which has its part of the range: a subnet is in one
        zone.
        """
        if len(self.zones) == 1:
            return network[number]
        part = list(self._slices(network).values())[number % len(self.zones)]
        place = _RESERVED_LOW + number // len(self.zones)
        if place >= part.num_addresses - _RESERVED_HIGH:
            most = len(self.zones) * (part.num_addresses - _RESERVED_LOW - _RESERVED_HIGH)
            raise UsageError(
                f"Divided among {len(self.zones)} zones, {network} has no room for the planned address {number}: each "
                f"zone has {part.num_addresses}, of which AWS keeps {_RESERVED_LOW + _RESERVED_HIGH} for itself.",
                fix=f"Take a larger `network`, or `addresses_from` and `capacity` that end below {most}.",
            )
        return part[place]

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        return {"availabilityZone": self._new_zone(node)}

    def ranges(self, plan: FleetPlan) -> dict[str, IPv4Network]:
        """The range of the subnet of each zone that the stack's own VPC has.

        Every zone that is named, and those where data disks are. A subnet that is deployed keeps its range,
        whatever zones come and go.

        Raises:
            UsageError: There is no room.
        """
        network = plan.network or self.options.cidr
        zones = list(dict.fromkeys([*self.zones, *(self.zone(node) for node in plan.nodes if node.disks)]))
        deployed = self._deployed_ranges(plan, network)
        if plan.network:
            planned = self._slices(network)
            # Other zones in the same parts would not do: addresses go round the zones by how many there are.
            if deployed and deployed != planned:
                has = ", ".join(f"{zone} ({part})" for zone, part in deployed.items())
                raise UsageError(
                    f"The planned addresses of {network} are divided among the zones {has}, and `zones` of `fleet:aws` "
                    f"are now {', '.join(self.zones)}, which would move them.",
                    fix="Set `zones` back: where a spec plans addresses, they cannot change any more.",
                )
            return planned
        free = network.subnets(prefixlen_diff=_bits(network))
        ranges = {}
        for zone in zones:
            part = deployed.get(zone) or next((p for p in free if not any(map(p.overlaps, deployed.values()))), None)
            if part is None:
                raise UsageError(
                    f"The VPC's range {network} has no room for a subnet in zone {zone}: "
                    f"{', '.join(map(str, deployed.values()))} is taken.",
                    fix="Leave `zones` as they were, or join a VPC of your own with `vpc`.",
                )
            ranges[zone] = part
        return ranges

    def _deployed_ranges(self, plan: FleetPlan, network: IPv4Network) -> dict[str, IPv4Network]:
        """The ranges of deployed subnets by zone; none where the VPC is to be another one."""
        own = {entry.name: entry.outputs for entry in plan.deployed if entry.kind == "aws:ec2/vpc:Vpc"}
        if own.get(plan.name, {}).get("cidrBlock") != str(network):
            return {}
        subnets = [entry.outputs for entry in plan.deployed if entry.kind == "aws:ec2/subnet:Subnet"]
        return {subnet["availabilityZone"]: IPv4Network(subnet["cidrBlock"]) for subnet in subnets}

    def check_deployed(self, plan: FleetPlan) -> None:
        check_disks(self, plan)
        if not self.region:
            return  # It is only validated, and zones are not known.
        for node in plan.nodes:
            zone = self.zone(node)
            if self.options.vpc and zone not in self.options.vpc.subnets:
                raise UsageError(
                    f"The data disks of {node.name} are in zone {zone}, for which `vpc` names no subnet.",
                    fix="Name one in `subnets`.",
                )
            if node.private and zone != self._new_zone(node):
                raise UsageError(
                    f"The data disks of {node.name} are in zone {zone}, and its planned address, {node.private.ip}, "
                    f"is in zone {self._new_zone(node)}.",
                    fix="Set `zones` back: where a spec plans addresses, they cannot change any more.",
                )
        if not self.options.vpc:
            self.ranges(plan)

    def check(self, plan: FleetPlan) -> None:
        network = plan.network or self.options.cidr
        if not self.options.vpc and not _LARGEST <= network.prefixlen <= _SMALLEST:
            raise UsageError(f"AWS has no network of the size of {network}.", fix=f"Take /{_LARGEST} to /{_SMALLEST}.")
        if len(self.zones) == 1:
            # In several, no number is an address that AWS keeps.
            check_addresses(plan, low=_RESERVED_LOW, high=_RESERVED_HIGH, platform="AWS")
        elif plan.network and self.options.vpc:
            raise UsageError(
                "A subnet of AWS is in one availability zone, so planned addresses cannot be in several zones of a VPC "
                "that is joined.",
                fix="Name one zone in `fleet:aws`, or take `network` out of the spec.",
            )
        elif not self.options.vpc and not plan.network and len(self.zones) > 1 << _bits(network):
            raise UsageError(
                f"{network} has room for subnets in {1 << _bits(network)} zones, and `fleet:aws` names "
                f"{len(self.zones)}.",
                fix="Take a larger `cidr`, or fewer zones.",
            )
        subnets = self.options.vpc.subnets if self.options.vpc else self.zones
        for zone in self.zones:
            if zone not in subnets:
                raise UsageError(f"`vpc` of `fleet:aws` names no subnet for zone {zone}.", fix="Name it in `subnets`.")
        if self.options.bucket and not self.options.instance_profile:
            raise UsageError(
                f"No instance may read configs from the bucket {self.options.bucket}.",
                fix="Name an `instance_profile` that may, in `fleet:aws`.",
            )
        if not self.options.public_addresses:
            check_reachable(plan, self.name)
        for node in plan.nodes:
            self.size(node)
            check_disk_count(node, len(DEVICES), "AWS")
            if self.region and node.image:
                self.image(node)

    def check_stack(self, *, account: bool = True) -> None:
        if account and not self.region:
            raise UsageError(
                f"Nothing says in which region of AWS stack {self.stack} is.",
                fix="Say it: `pulumi config set aws:region eu-central-1`.",
            )

    def size(self, node: NodePlan) -> str:
        """A node's instance type."""
        return named_size(node, _SIZES[self.architecture], r"[a-z0-9-]+\.[a-z0-9-]+")

    def image(self, node: NodePlan) -> str:
        assert node.image is not None
        images = node.image.images.get(AMI.name, {})
        if self.region not in images:
            raise UsageError(
                f"The image lock (release {node.image.release}) has no AMI for the region {self.region}.",
                fix=f"It has: {', '.join(sorted(images)) or 'none'}.",
            )
        return images[self.region]

    def trigger(self, node: NodePlan) -> str:
        # Beside the user data, what the provider would change by stopping the instance, or not at all.
        options = self.options
        # A node is where its data disks are, which no option changes.
        zone = [] if node.disks else [self.zone(node)]
        shape = [self.size(node), *zone, options.root_size_gib, options.instance_profile, options.spot]
        disks = [disk.name for disk in node.disks]
        return digest([node.delivery.user_data, *shape, disks, str(node.private or ""), options.public_addresses])

    def shape(self, node: NodePlan) -> dict[str, str]:
        options, join = self.options, self.options.vpc
        shape: dict[str, object] = {
            "size": self.size(node),
            "region": self.region,
            "zone": self.zone(node),
            "root_size_gib": options.root_size_gib,
            "instance_profile": options.instance_profile,
            "spot": options.spot,
            "public_addresses": options.public_addresses,
            # The subnet is of the VPC, which is of the fleet's name.
            "vpc": f"{join.id}, subnet {join.subnets.get(self.zone(node), '')}" if join else "",
            "network": "" if join else node.network or options.cidr,
            "the fleet's name": "" if join else node.fleet,
        }
        return described(node, shape)

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """At its address, with its console."""
        shown = console.argument(self.region, self.profile, str(machine.get("id", "")))
        return Peer(name, address, {}, probes, Watch(console.CONSOLE, shown, lives=False))

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Leftovers:
        """Instances by their tags, in the stack's subnet.

        Another stack may well have the same names, and be in the subnet, too, if that was there before.
        """
        if kind == self.machine_type:
            return lambda: self._declaring().instances(inputs)
        return () if kind in IDEMPOTENT_CREATES else None


def _bits(network: IPv4Network) -> int:
    """By how many bits the prefixes of a VPC's subnets are longer than its own."""
    return max(0, min(_ZONES.bit_length() - 1, _SMALLEST - network.prefixlen))


def _link(disk: str, volume: str = "") -> DiskLink:
    """How a node finds a data disk, once its EBS volume is known.

    An NVMe disk's serial number is the volume's id without its dash (EC2 User Guide, "Map NVMe disks to volumes").
    """
    return DiskLink(f"/dev/disk/fleet/{disk}", f'ATTRS{{serial}}=="{volume.replace("-", "")}*"' if volume else "")


def with_disk_rules(user_data: str, volumes: Mapping[str, str]) -> str:
    """User data that also gives data disks their stable paths.

    Args:
        user_data: As planned: a whole config, or a stub.
        volumes: Ids of EBS volumes by the data disk's name.
    """
    rules = "".join(_link(name, volume).rule for name, volume in sorted(volumes.items()))
    config = json.loads(user_data)
    inner = config["ignition"].get("config", {})
    if "replace" in inner:
        # What is replaced cannot be added to; what is merged can.
        config["ignition"]["config"] = {"merge": [inner["replace"]]}
    files = config.setdefault("storage", {}).setdefault("files", [])
    files.append(file(_RULES, rules, mode=0o644))
    return json.dumps(config, sort_keys=True, separators=(",", ":"))
