"""DigitalOcean: droplets in a VPC of the stack's own or an existing one.

There is no published image of Fedora CoreOS: the locked release is imported as a custom image, which can take 15
minutes, once for each release. Custom images have neither IPv6 nor an address of one's choice in the VPC; names lead to
the nodes instead, where the stack names a domain. Each node has a reserved IP, which stays when it is re-provisioned.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pydantic import Field

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
    Tags,
    check_disk_count,
    check_disks,
    described,
    digest,
    disk_options,
    machine_options,
    named_size,
    needs_of,
    read_options,
    snapshot_options,
)
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    import pulumi_digitalocean as digitalocean
else:
    digitalocean = Sdk("pulumi_digitalocean", "digitalocean")

_MOST = 65536
"""Bytes of user data (DigitalOcean API reference, "Create a New Droplet")."""
_TAG = r"[a-z0-9:_-]{1,255}"
"""What a tag is (DigitalOcean API reference, "Create a New Tag"), in lower case."""
_MOST_DISKS = 15
"""Volumes of a droplet (DigitalOcean API reference, "Attach a Block Storage Volume to a Droplet")."""
_FIXED = ("description", "initialFilesystemLabel", "initialFilesystemType", "name", "region", "snapshotId")
"""Inputs of a volume whose change makes a new one."""
_SIZES = {"small": "s-1vcpu-2gb", "medium": "s-2vcpu-4gb", "large": "s-4vcpu-8gb"}


class Options(Model):
    """The stack's ``fleet:digitalocean``. The token is the stack's ``digitalocean:token``, or DIGITALOCEAN_TOKEN.

    Attributes:
        region: Such as "fra1".
        ssh_keys: Ids or fingerprints of keys in the account, at least one: DigitalOcean makes no droplet of a custom
            image without. The keys that may log in are those of the spec.
        cidr: The VPC's range.
        vpc: The UUID of an existing VPC to join.
        domain: A domain in the account, for the groups' names; ``<node>.<fleet>.<domain>`` leads to each node's private
            address.
        tags: Put on every droplet and volume.
    """

    region: str = ""
    ssh_keys: list[str] = []
    cidr: IPv4Network = IPv4Network("10.77.0.0/16")
    vpc: str = Field(default="", pattern=r"^[0-9a-f-]*$")
    domain: str = ""
    tags: list[str] = []


_AGAIN = {
    "digitalocean:index/reservedIpAssignment:ReservedIpAssignment",
    "digitalocean:index/tag:Tag",
    "digitalocean:index/volumeAttachment:VolumeAttachment",
}
"""What the provider can make once more if it is there."""


class DigitalOcean(ProviderPlatform):
    """The platform ``digitalocean``.

    Args:
        options: The stack's options.
        token: Whether there is one.
        stack: The stack's name.
    """

    name = "digitalocean"
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

    def cannot_surge(self, *, addressed: bool) -> str:
        return ""

    def device(self, disk: str) -> str:
        return f"/dev/disk/fleet/{disk}"

    def disk_rule(self, disk: str) -> str:
        # A volume's serial number ends with the volume's name.
        return (
            f'SUBSYSTEM=="block", ENV{{DEVTYPE}}=="disk", ENV{{ID_SERIAL}}=="0DO_Volume_*--{disk}", '
            f'SYMLINK+="disk/fleet/{disk}"\n'
        )

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
                fix="Take `network` out of the spec, and name a `domain` in `fleet:digitalocean` for names.",
            )
        for name in [name for group in plan.groups.values() for name in group.names]:
            if self.options.domain and name != self.options.domain and not name.endswith(f".{self.options.domain}"):
                raise UsageError(f"The name {name} is not in the domain {self.options.domain} of `fleet:digitalocean`.")
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
            if node.image and "digitalocean" not in node.image.disks:
                raise UsageError(f"The image lock (release {node.image.release}) has no image for DigitalOcean.")

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
        return node.image.disks["digitalocean"].sha256

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
        """Droplets by their names and tags, in the stack's network: another stack may well have the same names, and be
        in the same network if that was there before.
        """
        tags = {tag.lower() for tag in inputs.get("tags", ())}

        def droplets() -> pulumi.Output[Sequence[str]]:
            named = digitalocean.GetDropletsFilterArgs(key="name", values=[inputs["name"]])
            joined = digitalocean.GetDropletsFilterArgs(key="vpc_uuid", values=[inputs["vpcUuid"]])
            there = digitalocean.get_droplets_output(filters=[named, joined]).droplets
            return there.apply(lambda found: [str(each.id) for each in found if tags <= set(map(str.lower, each.tags))])

        if kind == self.machine_type:
            return droplets
        return () if kind in _AGAIN else None

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Site:
        return Site(self, plan, opts)


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
                url=image.disks["digitalocean"].location,
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
        domain = self._options.domain
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
            opts=disk_options(opts, self._platform, disk, _FIXED),
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
            user_data=sealed(node, node.delivery.user_data),
            # The agents are for other systems; a droplet that is shut down has written its volumes.
            monitoring=False,
            droplet_agent=False,
            graceful_shutdown=True,
            # The provider replaces a droplet for another key, which is written to it once: not worth a machine.
            opts=machine_options(opts, node, trigger, after=before, image=["image"], ignored=["sshKeys"]),
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
        if options.domain:
            digitalocean.DnsRecord(
                node.name,
                domain=options.domain,
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


PLATFORM = DigitalOcean
