"""Amazon Web Services: EC2 instances in a VPC of the stack's own or an existing one.

Each node has an Elastic IP, which stays when the node is re-provisioned; metadata is IMDSv2 with a hop limit of 1, so
that containers on a bridge cannot read the user data; all disks are encrypted. Data disks are EBS volumes in the node's
availability zone. On Nitro instances a volume is found by its id, which no plan can know: the user data that an
instance is given is the planned config and a udev rule with the ids.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pulumi
from pydantic import Field

from fleet.config.ignition import file
from fleet.dynamic.outputs import sealed
from fleet.errors import UsageError
from fleet.model import Model
from fleet.plan import DiskPlan, FleetPlan, Limits, Needs, NodePlan, StateEntry
from fleet.platforms.base import Instance, Leftovers
from fleet.platforms.common import (
    NAME_TTL,
    Lookups,
    ProviderPlatform,
    Sdk,
    check_addresses,
    check_disk_count,
    check_disks,
    check_reachable,
    described,
    digest,
    disk_options,
    image_gone,
    machine_options,
    named_size,
    needs_of,
    one_place,
    read_options,
    secret_options,
    snapshot_options,
)
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    import pulumi_aws as aws
else:
    aws = Sdk("pulumi_aws", "aws")

_CHECKSUMS = [
    "etag", "checksumCrc32", "checksumCrc32c", "checksumCrc64nvme", "checksumSha1", "checksumSha256"
]  # fmt: skip
"""What the object store says of an object's content."""
_MOST = 16384
"""Bytes of user data, before base64 (EC2 User Guide, "Run commands when you launch an EC2 instance")."""
_RULE_ROOM = 512
"""Bytes left for the udev rule of a data disk."""
_SIZES = {
    "x86_64": {"small": "t3.small", "medium": "t3.medium", "large": "t3.large"},
    "aarch64": {"small": "t4g.small", "medium": "t4g.medium", "large": "t4g.large"},
}
_KEPT_LOW, _KEPT_HIGH = 4, 1
"""Addresses at the ends of a subnet that AWS keeps for itself (VPC User Guide, "Subnet sizing")."""
_LARGEST, _SMALLEST = 16, 28
"""Prefix lengths of VPCs and subnets (the same page)."""
_ZONES = 16
"""Into how many subnets of one size a VPC without planned addresses is cut, if it is large enough."""
_FIXED = ("availabilityZone", "encrypted", "kmsKeyId", "snapshotId")
"""Inputs of a volume whose change makes a new one."""
_DEVICES = [f"/dev/sd{letter}" for letter in "fghijklmnop"]
"""Names that volumes are attached under (EC2 User Guide, "Device names for volumes": those recommended for EBS)."""
_RULES = "/etc/udev/rules.d/90-fleet-data-disks.rules"


class Join(Model):
    """An existing VPC.

    Attributes:
        id: Its id, such as "vpc-0123".
        subnets: Ids of public subnets by availability zone.
    """

    id: str = Field(pattern=r"^vpc-\w+$")
    subnets: dict[str, str] = Field(min_length=1)


class Options(Model):
    """The stack's ``fleet:aws``. The region is the stack's ``aws:region``, or AWS_REGION.

    Attributes:
        architecture: "x86_64" or "aarch64".
        zones: Availability zones; nodes are spread over them by their index, or by their planned addresses' numbers.
            The region's "a" by default.
        cidr: The VPC's range, where the spec plans no addresses.
        vpc: An existing VPC to join.
        public_addresses: Whether nodes have Elastic IPs. Without, they are reached by their private addresses.
        root_size_gib: A node's root disk in GiB.
        instance_profile: Name of an IAM instance profile.
        spot: Spot instances.
        dns_zone: The id of a hosted zone of Route 53, for the groups' names.
        bucket: An S3 bucket for configs that are larger than user data can be; the instance profile must read it.
        tags: Put on every resource.
    """

    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    zones: list[str] = []
    cidr: IPv4Network = IPv4Network("10.77.0.0/16")
    vpc: Join | None = None
    public_addresses: bool = True
    root_size_gib: int = Field(default=16, ge=10)
    instance_profile: str = ""
    spot: bool = False
    dns_zone: str = ""
    bucket: str = ""
    tags: dict[str, str] = {}


_AGAIN = {
    "aws:ec2/eipAssociation:EipAssociation",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:ec2/volumeAttachment:VolumeAttachment",
    "aws:s3/bucketObjectv2:BucketObjectv2",
}
"""What the provider can make once more if it is there: it attaches nothing twice, and overwrites the rest."""


class Aws(ProviderPlatform):
    """The platform ``aws``.

    Args:
        options: The stack's options.
        region: Where; empty if the stack does not say.
        stack: The stack's name.
    """

    name = "aws"
    machine_type = "aws:ec2/instance:Instance"
    replaced_types = (machine_type,)
    metadata_addresses = (IPv4Address("169.254.169.254"), IPv6Address("fd00:ec2::254"))

    def __init__(self, options: Options, region: str, stack: str) -> None:
        self.options, self.region, self.stack = options, region, stack
        self.architecture = options.architecture
        self.zones = options.zones or (list(options.vpc.subnets) if options.vpc else [f"{region}a"])
        store = f"s3://{options.bucket}/fleet/{stack}/" if options.bucket else ""
        self.limits = Limits(raw=_MOST - _RULE_ROOM, most=_MOST - _RULE_ROOM, store=store)

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
        return cls(read, config("aws:region") or next(filter(None, variables), ""), stack)

    def cannot_surge(self, *, addressed: bool) -> str:
        return "its nodes have planned private addresses" if addressed else ""

    def device(self, disk: str) -> str:
        return f"/dev/disk/fleet/{disk}"

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
        """In one zone, the address at the number. In several, numbers go round the zones, each of which has its part of
        the range: a subnet is in one zone.
        """
        if len(self.zones) == 1:
            return network[number]
        part = list(self._slices(network).values())[number % len(self.zones)]
        place = _KEPT_LOW + number // len(self.zones)
        if place >= part.num_addresses - _KEPT_HIGH:
            most = len(self.zones) * (part.num_addresses - _KEPT_LOW - _KEPT_HIGH)
            raise UsageError(
                f"Divided among {len(self.zones)} zones, {network} has no room for the planned address {number}: each "
                f"zone has {part.num_addresses}, of which AWS keeps {_KEPT_LOW + _KEPT_HIGH} for itself.",
                fix=f"Take a larger `network`, or `addresses_from` and `capacity` that end below {most}.",
            )
        return part[place]

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        return {"availabilityZone": self._new_zone(node)}

    def ranges(self, plan: FleetPlan) -> dict[str, IPv4Network]:
        """The range of the subnet of each zone that the stack's own VPC has: every zone that is named, and those where
        data disks are. A subnet that is deployed keeps its range, whatever zones come and go.

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
            check_addresses(plan, low=_KEPT_LOW, high=_KEPT_HIGH, platform="AWS")
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
            check_disk_count(node, len(_DEVICES), "AWS")
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
        if self.region not in node.image.aws:
            raise UsageError(
                f"The image lock (release {node.image.release}) has no AMI for the region {self.region}.",
                fix=f"It has: {', '.join(sorted(node.image.aws)) or 'none'}.",
            )
        return node.image.aws[self.region]

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

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Leftovers:
        """Instances by their tags, in the stack's subnet: another stack may well have the same names, and be in the
        subnet, too, if that was there before.
        """
        if kind == self.machine_type:
            return lambda: (
                aws.ec2.get_instances_output(
                    instance_tags=inputs["tags"],
                    filters=[aws.ec2.GetInstancesFilterArgs(name="subnet-id", values=[inputs["subnetId"]])],
                    instance_state_names=["pending", "running", "stopping", "stopped"],
                ).ids
            )
        return () if kind in _AGAIN else None

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Site:
        return Site(self, plan, opts)


class Site:
    """A stack's resources on AWS. Making one declares the network and the firewall.

    Args:
        platform: The platform.
        plan: The fleet.
        opts: Options of every shared resource.
    """

    def __init__(self, platform: Aws, plan: FleetPlan, opts: pulumi.ResourceOptions) -> None:
        self._platform, self._fleet, self._opts = platform, plan.name, opts
        self._options = platform.options
        self._addresses: dict[str, aws.ec2.Eip] = {}
        self._zones: dict[str, pulumi.Input[str]] = {}
        self._lookups = Lookups(aws, opts)
        join = self._options.vpc
        if join:
            vpc: pulumi.Input[str] = join.id
            self._subnets: Mapping[str, pulumi.Input[str]] = join.subnets
            self._routes: list[pulumi.Resource] = []
        else:
            vpc = self._network(plan.network or self._options.cidr, platform.ranges(plan))
        # Nodes reach one another at every port, and everything outside.
        every: dict[str, Any] = {"protocol": "-1", "from_port": 0, "to_port": 0}
        self._members = aws.ec2.SecurityGroup(
            plan.name,
            vpc_id=vpc,
            description=f"Nodes of {plan.name}",
            ingress=[aws.ec2.SecurityGroupIngressArgs(**every, self=True)],
            egress=[aws.ec2.SecurityGroupEgressArgs(**every, cidr_blocks=["0.0.0.0/0"])],
            tags=self._tags(plan.name),
            opts=opts,
        )
        self._firewalls = {
            group.name: aws.ec2.SecurityGroup(
                f"{plan.name}-{group.name}",
                vpc_id=vpc,
                description=f"Ports of {group.name} in {plan.name}",
                ingress=_ingress(group.nodes[0]),
                tags=self._tags(f"{plan.name}-{group.name}"),
                opts=opts,
            )
            for group in plan.groups.values()
            if group.nodes
        }

    def _tags(self, name: str) -> dict[str, str]:
        return {**self._options.tags, "Name": name, "fleet": self._fleet, "stack": self._platform.stack}

    def _network(self, cidr: IPv4Network, ranges: Mapping[str, IPv4Network]) -> pulumi.Input[str]:
        name, opts = self._fleet, self._opts
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=str(cidr),
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._tags(name),
            opts=opts,
        )
        gateway = aws.ec2.InternetGateway(name, vpc_id=vpc.id, tags=self._tags(name), opts=opts)
        table = aws.ec2.RouteTable(
            name,
            vpc_id=vpc.id,
            routes=[aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=gateway.id)],
            tags=self._tags(name),
            opts=opts,
        )
        self._routes = []
        subnets = {}
        for zone, part in ranges.items():
            subnet = aws.ec2.Subnet(
                f"{name}-{zone}",
                vpc_id=vpc.id,
                cidr_block=str(part),
                availability_zone=zone,
                tags=self._tags(f"{name}-{zone}"),
                # One that is deployed keeps its range, for another would take the machines along.
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["cidrBlock"])),
            )
            subnets[zone] = subnet.id
            self._routes.append(
                aws.ec2.RouteTableAssociation(f"{name}-{zone}", route_table_id=table.id, subnet_id=subnet.id, opts=opts)
            )
        self._subnets = subnets
        return vpc.id

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        if not self._options.public_addresses:
            assert node.private is not None
            return str(node.private.ip)
        self._addresses[node.name] = aws.ec2.Eip(node.name, domain="vpc", tags=self._tags(node.name), opts=opts)
        return self._addresses[node.name].public_ip

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        for name in names if self._options.dns_zone else ():
            aws.route53.Record(
                name,
                zone_id=self._options.dns_zone,
                name=name,
                type="A",
                ttl=NAME_TTL,
                records=list(addresses),
                opts=opts,
            )

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        volume = aws.ebs.Volume(
            f"{node.name}-{disk.name}",
            availability_zone=self._zones.get(node.name, self._platform.zone(node)),
            size=disk.size_gib,
            type="gp3",
            encrypted=True,
            tags=self._tags(f"{node.name}-{disk.name}"),
            opts=disk_options(opts, self._platform, disk, _FIXED),
        )
        if disk.existing:
            self._zones[node.name] = volume.availability_zone
        return volume

    def _zone(self, node: NodePlan, disks: Mapping[str, Any]) -> pulumi.Input[str]:
        """The zone of a node's machine: that of its data disks, whatever it was that put them there."""
        if not disks:
            return self._platform.zone(node)
        return pulumi.Output.all(*[disk.availability_zone for disk in disks.values()]).apply(
            lambda zones: one_place(node.name, zones)
        )

    def _subnet(self, node: NodePlan, zone: str) -> pulumi.Input[str]:
        if zone not in self._subnets:
            raise UsageError(
                f"The data disks of {node.name} are in zone {zone}, where the stack has no subnet.",
                fix=f"Add {zone} to `zones` of `fleet:aws`.",
            )
        return self._subnets[zone]

    def needs(self, node: NodePlan) -> Needs:
        image, size, zone = self._platform.image(node), self._platform.size(node), self._platform.zone(node)
        assert node.image is not None
        region = self._platform.region
        return needs_of(
            [
                self._lookups.ask(
                    f"the AMI {image} in {region}",
                    "aws:ec2/getAmi:getAmi",
                    # Two years after its release, a public AMI counts as deprecated, and serves as well.
                    {"filters": [{"name": "image-id", "values": [image]}], "includeDeprecated": True},
                    lambda result: "",
                    absent="returned no results",
                    missing=image_gone(node.image, f"the AMI {image} in {region}"),
                ),
                self._lookups.ask(
                    f"the size {size} in {zone}",
                    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings",
                    {
                        "filters": [
                            {"name": "instance-type", "values": [size]},
                            {"name": "location", "values": [zone]},
                        ],
                        "locationType": "availability-zone",
                    },
                    lambda result: (
                        ""
                        if size in result["instanceTypes"]
                        else f"AWS has no {size} in {zone}, so no machine is stopped for one. Take another `size` "
                        "in the spec, or other `zones` in `fleet:aws`."
                    ),
                ),
            ]
        )

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        platform, options = self._platform, self._options
        trigger = platform.trigger(node)
        zone = pulumi.Output.from_input(self._zone(node, disks))
        before: list[pulumi.Resource] = [*after, *self._routes]
        for disk in node.disks:
            if disk.snapshot:
                before.append(
                    aws.ebs.Snapshot(
                        f"{node.name}-{disk.name}",
                        volume_id=disks[disk.name].id,
                        tags=self._tags(f"{node.name}-{disk.name}"),
                        opts=snapshot_options(opts, node, trigger, after),
                    )
                )
        if node.delivery.upload:
            before.append(
                aws.s3.BucketObjectv2(
                    node.name,
                    bucket=options.bucket,
                    key=f"fleet/{platform.stack}/{node.delivery.object}",
                    content=sealed(node, node.delivery.upload),
                    opts=secret_options(opts, node, _CHECKSUMS),
                )
            )
        data: pulumi.Input[str] = node.delivery.user_data
        if disks:
            ids = pulumi.Output.all(**{name: disk.id for name, disk in disks.items()})
            data = ids.apply(lambda found: with_disk_rules(node.delivery.user_data, found))
        spot = aws.ec2.InstanceInstanceMarketOptionsArgs(
            market_type="spot",
            spot_options=aws.ec2.InstanceInstanceMarketOptionsSpotOptionsArgs(
                instance_interruption_behavior="terminate", spot_instance_type="one-time"
            ),
        )
        machine = aws.ec2.Instance(
            node.name,
            ami=platform.image(node),
            instance_type=platform.size(node),
            availability_zone=zone,
            subnet_id=zone.apply(lambda name: self._subnet(node, name)),
            private_ip=str(node.private.ip) if node.private else None,
            vpc_security_group_ids=[self._members.id, self._firewalls[node.group].id],
            # Until the Elastic IP is there, and for a machine that surges.
            associate_public_ip_address=options.public_addresses,
            user_data=sealed(node, data),
            user_data_replace_on_change=True,
            iam_instance_profile=options.instance_profile or None,
            instance_market_options=spot if options.spot else None,
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                volume_size=options.root_size_gib, volume_type="gp3", encrypted=True, delete_on_termination=True
            ),
            # One stack's instances are looked for by their tags, which no other's may have.
            tags={**self._tags(node.name), "group": node.group, "fleet-project": pulumi.get_project()},
            opts=machine_options(
                opts, node, trigger, after=before, image=["ami"], derived=["userData", "userDataBase64"]
            ),
        )
        resources: list[pulumi.Resource] = [machine]
        for device, disk in zip(_DEVICES[: len(node.disks)], node.disks, strict=True):
            resources.append(
                aws.ec2.VolumeAttachment(
                    f"{node.name}-{disk.name}",
                    device_name=device,
                    instance_id=machine.id,
                    volume_id=disks[disk.name].id,
                    # A volume that is in use is detached only when nothing is written to it any more.
                    stop_instance_before_detaching=True,
                    opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
                )
            )
        elastic = self._addresses.get(node.name)

        def associate(after: Sequence[pulumi.Resource]) -> pulumi.Resource:
            assert elastic is not None
            return aws.ec2.EipAssociation(
                node.name,
                allocation_id=elastic.allocation_id,
                instance_id=machine.id,
                allow_reassociation=True,
                opts=pulumi.ResourceOptions.merge(
                    opts, pulumi.ResourceOptions(depends_on=list(after), delete_before_replace=not node.surge)
                ),
            )

        address: pulumi.Output[str] = machine.public_ip if elastic else machine.private_ip
        if elastic and not node.surge:
            resources.append(associate([]))
            address = elastic.public_ip
        return Instance(
            resources=resources,
            id=machine.id,
            address=address,
            ssh=pulumi.Output.concat("ssh core@", elastic.public_ip if elastic else address),
            console=pulumi.Output.concat(
                f"aws ec2 get-console-output --latest --output text --region {platform.region} --instance-id ",
                machine.id,
            ),
            hand_over=associate if elastic and node.surge else None,
        )


def _bits(network: IPv4Network) -> int:
    """By how many bits the prefixes of a VPC's subnets are longer than its own."""
    return max(0, min(_ZONES.bit_length() - 1, _SMALLEST - network.prefixlen))


def _ingress(node: NodePlan) -> list[aws.ec2.SecurityGroupIngressArgs]:
    """The rules for a group's ports."""
    return [
        aws.ec2.SecurityGroupIngressArgs(
            protocol=port.protocol,
            from_port=port.number,
            to_port=port.number,
            cidr_blocks=[source for source in port.sources if ":" not in source],
            ipv6_cidr_blocks=[source for source in port.sources if ":" in source],
        )
        for port in node.ports
        if port.sources
    ]


def with_disk_rules(user_data: str, volumes: Mapping[str, str]) -> str:
    """User data that also gives data disks their stable paths.

    Args:
        user_data: As planned: a whole config, or a stub.
        volumes: Ids of EBS volumes by the data disk's name. An NVMe disk's serial number is the id without its dash
            (EC2 User Guide, "Map NVMe disks to volumes").
    """
    rules = "".join(
        f'SUBSYSTEM=="block", ENV{{DEVTYPE}}=="disk", ATTRS{{serial}}=="{re.sub("-", "", volume)}*", '
        f'SYMLINK+="disk/fleet/{name}"\n'
        for name, volume in sorted(volumes.items())
    )
    config = json.loads(user_data)
    inner = config["ignition"].get("config", {})
    if "replace" in inner:
        # What is replaced cannot be added to; what is merged can.
        config["ignition"]["config"] = {"merge": [inner["replace"]]}
    files = config.setdefault("storage", {}).setdefault("files", [])
    files.append(file(_RULES, rules, mode=0o644))
    return json.dumps(config, sort_keys=True, separators=(",", ":"))


PLATFORM = Aws
