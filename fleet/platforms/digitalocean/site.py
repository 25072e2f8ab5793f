"""DigitalOcean: droplets in a VPC of the stack's own or an existing one.

There is no published image of Fedora CoreOS: the locked release is imported as a custom image, which can take 15
minutes, once for each release. Custom images have neither IPv6 nor an address of one's choice in the VPC; names lead to
the nodes instead, where the stack names a domain. Each node has a reserved IP, which stays when it is re-provisioned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi

from fleet.dynamic.outputs import sealed
from fleet.plan import (
    DiskPlan,
    FleetPlan,
    Needs,
    NodePlan,
)
from fleet.platforms.base import Instance
from fleet.platforms.digitalocean.platform import DISK, DigitalOcean
from fleet.platforms.lookups import Lookups, Sdk, needs_of
from fleet.platforms.site import (
    NAME_TTL,
    disk_options,
    machine_options,
    packed_user_data,
    packing_ignored,
    snapshot_options,
)
from fleet.platforms.tags import Tags

if TYPE_CHECKING:
    import pulumi_digitalocean as digitalocean
else:
    digitalocean = Sdk("pulumi_digitalocean", "digitalocean")

_TAG = r"[a-z0-9:_-]{1,255}"
"""What a tag is (DigitalOcean API reference, "Create a New Tag"), in lower case."""
FIXED = ("description", "initialFilesystemLabel", "initialFilesystemType", "name", "region", "snapshotId")
"""Inputs of a volume whose change makes a new one."""


class Site:
    """A stack's resources on DigitalOcean. Making one declares the image, the network and the firewall.

    Args:
        platform: The platform.
        plan: The fleet.
        opts: Options of every shared resource.
    """

    def __init__(self, platform: DigitalOcean, plan: FleetPlan, opts: pulumi.ResourceOptions) -> None:
        self._platform, self._options, self._fleet = platform, platform.options, plan.name
        self._addresses: dict[str, digitalocean.ReservedIp] = {}
        self._lookups = Lookups(digitalocean, opts)
        region = self._options.region
        image = next((node.image for node in plan.nodes if node.image), None)
        if image:
            self._image = digitalocean.CustomImage(
                plan.name,
                name=f"fedora-coreos-{image.release}",
                url=image.disks[DISK.name].location,
                regions=[region],
                distribution="Fedora",
                opts=opts,
            )
        if self._options.vpc:
            self._vpc: pulumi.Input[str] = self._options.vpc
        else:
            self._vpc = digitalocean.Vpc(plan.name, region=region, ip_range=str(self._options.cidr), opts=opts).id
        tags = Tags(pulumi.get_project(), platform.stack, plan.name, _TAG)

        def declared(group: str = "") -> list[pulumi.Input[str]]:
            """The tag of a group, or of all, and the earlier one."""
            return [digitalocean.Tag(tag, name=tag, opts=opts).name for tag in (tags.tag(group), *tags.earlier(group))]

        everyone = declared()
        self._tags: dict[str, list[pulumi.Input[str]]] = {}
        self._firewalls: dict[str, pulumi.Resource] = {}
        for group in plan.groups.values():
            members = declared(group.name)
            self._tags[group.name] = [everyone[0], members[0], *self._options.tags]
            if group.nodes:
                self._firewalls[group.name] = digitalocean.Firewall(
                    f"{plan.name}-{group.name}",
                    tags=members,
                    inbound_rules=_inbound(group.nodes[0], everyone),
                    outbound_rules=[
                        digitalocean.FirewallOutboundRuleArgs(
                            protocol=protocol,
                            port_range=None if protocol == "icmp" else "1-65535",
                            destination_addresses=["0.0.0.0/0", "::/0"],
                        )
                        for protocol in ("tcp", "udp", "icmp")
                    ],
                    opts=opts,
                )

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        self._addresses[node.name] = digitalocean.ReservedIp(node.name, region=self._options.region, opts=opts)
        return self._addresses[node.name].ip_address

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        domain = self._options.dns_zone
        for name in names if domain else ():
            short = name.removesuffix(domain).removesuffix(".") or "@"
            for index, address in enumerate(addresses):
                digitalocean.DnsRecord(
                    f"{name}-{index}", domain=domain, type="A", name=short, value=address, ttl=NAME_TTL, opts=opts
                )

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        return digitalocean.Volume(
            f"{node.name}-{disk.name}",
            # The node finds a volume by its name, so this is not the provider's choice.
            name=self._platform.volume(node, disk),
            region=self._options.region,
            size=disk.size_gib,
            tags=self._options.tags,
            opts=disk_options(opts, self._platform, disk, FIXED),
        )

    def needs(self, node: NodePlan) -> Needs:
        size, region = self._platform.size(node), self._options.region

        def judge(result: Mapping[str, Any]) -> str:
            offered = [each for each in result["sizes"] if each["available"] and region in each["regions"]]
            return (
                ""
                if offered
                else f"DigitalOcean has no {size} in {region}, so no machine is stopped for one there. Take another "
                "`size` in the spec, or another `region` in `fleet:digitalocean`."
            )

        assert node.image is not None
        return needs_of(
            [
                self._lookups.ask(
                    "the custom image",
                    "digitalocean:index/getImage:getImage",
                    {"id": self._image.image_id},
                    lambda result: "",
                    absent="404|not (be )?found",
                    missing=f"The custom image of release {node.image.release} is not in the account any more, so no "
                    "machine can be made from it, and none is stopped. `fleet up` imports it again, and so does "
                    "`pulumi up --refresh`; if it is gone upstream, too, lock a newer one with `fleet image update`.",
                ),
                self._lookups.ask(
                    f"the size {size}",
                    "digitalocean:index/getSizes:getSizes",
                    {"filters": [{"key": "slug", "values": [size]}]},
                    judge,
                ),
            ]
        )

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        platform, options = self._platform, self._options
        trigger = platform.trigger(node)
        # A droplet without a firewall is open, and one that changes its tags must find the rules changed already.
        before: list[pulumi.Resource] = [*after, *self._firewalls.values()]
        for disk in node.disks:
            if disk.snapshot:
                before.append(
                    digitalocean.VolumeSnapshot(
                        f"{node.name}-{disk.name}",
                        volume_id=disks[disk.name].id,
                        opts=snapshot_options(opts, node, trigger, after),
                    )
                )
        machine = digitalocean.Droplet(
            node.name,
            name=node.name,
            image=self._image.image_id.apply(str),
            region=options.region,
            size=platform.size(node),
            ssh_keys=options.ssh_keys,
            vpc_uuid=self._vpc,
            tags=self._tags[node.group],
            user_data=sealed(node, packed_user_data(node)),
            # The agents are for other systems; a droplet that is shut down has written its volumes.
            monitoring=False,
            droplet_agent=False,
            graceful_shutdown=True,
            # The provider replaces a droplet for another key, which is written to it once: not worth a machine.
            opts=machine_options(
                opts,
                node,
                trigger,
                after=before,
                image=["image"],
                ignored=["sshKeys", *packing_ignored(node, "userData")],
            ),
        )
        resources: list[pulumi.Resource] = [machine]
        droplet = machine.id.apply(int)
        replaced = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True))
        for disk in node.disks:
            resources.append(
                digitalocean.VolumeAttachment(
                    f"{node.name}-{disk.name}", droplet_id=droplet, volume_id=disks[disk.name].id, opts=replaced
                )
            )
        if options.dns_zone:
            digitalocean.DnsRecord(
                node.name,
                domain=options.dns_zone,
                type="A",
                name=f"{node.name}.{self._fleet}",
                value=machine.ipv4_address_private,
                ttl=NAME_TTL,
                opts=opts,
            )
        reserved = self._addresses[node.name]

        def assign(after: Sequence[pulumi.Resource]) -> pulumi.Resource:
            # It can go from one droplet to another at once: the provider takes an address away only from the droplet
            # that it gave it to (resource_reserved_ip_assignment.go).
            return digitalocean.ReservedIpAssignment(
                node.name,
                ip_address=reserved.ip_address,
                droplet_id=droplet,
                opts=pulumi.ResourceOptions.merge(
                    opts, pulumi.ResourceOptions(depends_on=list(after), delete_before_replace=not node.surge)
                ),
            )

        address: pulumi.Output[str] = machine.ipv4_address
        if not node.surge:
            resources.append(assign([]))
            address = reserved.ip_address
        return Instance(
            resources=resources,
            id=machine.id,
            address=address,
            ssh=pulumi.Output.concat("ssh core@", reserved.ip_address),
            console=pulumi.Output.concat("https://cloud.digitalocean.com/droplets/", machine.id, "/console"),
            # The provider has a hash of the user data in its place, which a refresh leaves among the inputs
            # (resource_droplet.go, `HashStringStateFunc`).
            holds_config=False,
            hand_over=assign if node.surge else None,
        )


def _inbound(node: NodePlan, everyone: Sequence[pulumi.Input[str]]) -> list[digitalocean.FirewallInboundRuleArgs]:
    """The rules for a group's ports; nodes of the fleet reach one another at every one."""
    rules = [
        digitalocean.FirewallInboundRuleArgs(
            protocol=port.protocol, port_range=str(port.number), source_addresses=list(port.sources)
        )
        for port in node.ports
        if port.sources
    ]
    for protocol in ("tcp", "udp", "icmp"):
        rules.append(
            digitalocean.FirewallInboundRuleArgs(
                protocol=protocol, port_range=None if protocol == "icmp" else "1-65535", source_tags=list(everyone)
            )
        )
    return rules


def droplets(inputs: Mapping[str, Any]) -> pulumi.Output[Sequence[str]]:
    """The ids of droplets that have the name and the tags, and are in the VPC, of a droplet's inputs."""
    tags = {tag.lower() for tag in inputs.get("tags", ())}
    by_name = digitalocean.GetDropletsFilterArgs(key="name", values=[inputs["name"]])
    joined = digitalocean.GetDropletsFilterArgs(key="vpc_uuid", values=[inputs["vpcUuid"]])
    listed = digitalocean.get_droplets_output(filters=[by_name, joined]).droplets
    return listed.apply(lambda all_: [str(each.id) for each in all_ if tags <= set(map(str.lower, each.tags))])
