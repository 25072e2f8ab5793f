"""Amazon Web Services: EC2 instances in a VPC of the stack's own or an existing one.

Each node has an Elastic IP, which stays when the node is re-provisioned; metadata is IMDSv2 with a hop limit of 1, so
that containers on a bridge cannot read the user data; all disks are encrypted. Data disks are EBS volumes in the node's
availability zone. On Nitro instances a volume is found by its id, which no plan can know: the user data that an
instance is given is the planned config and a udev rule with the ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pulumi

from fleet.dynamic.outputs import sealed
from fleet.errors import UsageError
from fleet.plan import (
    DiskPlan,
    FleetPlan,
    Needs,
    NodePlan,
    Watch,
)
from fleet.platforms.aws import console
from fleet.platforms.aws.platform import DEVICES, Aws, with_disk_rules
from fleet.platforms.base import Instance
from fleet.platforms.lookups import Lookups, Sdk, image_gone, needs_of
from fleet.platforms.site import (
    NAME_TTL,
    disk_options,
    machine_options,
    one_place,
    packed_user_data,
    packing_ignored,
    secret_options,
    snapshot_options,
)

if TYPE_CHECKING:
    import pulumi_aws as aws
else:
    aws = Sdk("pulumi_aws", "aws")

FIXED = ("availabilityZone", "encrypted", "kmsKeyId", "snapshotId")
"""Inputs of a volume whose change makes a new one."""
_CHECKSUMS = [
    "etag", "checksumCrc32", "checksumCrc32c", "checksumCrc64nvme", "checksumSha1", "checksumSha256"
]  # fmt: skip
"""What the object store says of an object's content."""


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
            opts=disk_options(opts, self._platform, disk, FIXED),
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
        data: pulumi.Input[str] = packed_user_data(node)
        if disks:
            ids = pulumi.Output.all(**{name: disk.id for name, disk in disks.items()})
            data = ids.apply(lambda volume_ids: with_disk_rules(node.delivery.user_data, volume_ids))
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
                opts,
                node,
                trigger,
                after=before,
                image=["ami"],
                # Another volume is another rule, without which the machine would not find it.
                ignored=[] if disks else packing_ignored(node, "userData"),
                derived=["userData", "userDataBase64"],
            ),
        )
        resources: list[pulumi.Resource] = [machine]
        for device, disk in zip(DEVICES[: len(node.disks)], node.disks, strict=True):
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
            watch=Watch(
                console.CONSOLE,
                machine.id.apply(lambda instance: console.argument(platform.region, platform.profile, instance)),
                lives=False,
            ),
            # With rules for its disks, its user data is another config than what is planned.
            holds_config=not disks,
            hand_over=associate if elastic and node.surge else None,
        )


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


def instances(inputs: Mapping[str, Any]) -> pulumi.Output[Sequence[str]]:
    """The ids of instances that have the tags, and are in the subnet, of an instance's inputs."""
    return aws.ec2.get_instances_output(
        instance_tags=inputs["tags"],
        filters=[aws.ec2.GetInstancesFilterArgs(name="subnet-id", values=[inputs["subnetId"]])],
        instance_state_names=["pending", "running", "stopping", "stopped"],
    ).ids
