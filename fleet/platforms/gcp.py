"""Google Cloud: Compute Engine instances in a network of the stack's own or an existing one.

Each node has a static external address, which stays when the node is re-provisioned. The image is the exact one of the
image lock, never a family. The provider would change a running instance's metadata, which Ignition never reads again:
the trigger replaces it instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pulumi
from pydantic import Field

from fleet.dynamic.outputs import sealed
from fleet.errors import UsageError
from fleet.model import Model
from fleet.plan import ANYWHERE, DiskPlan, FleetPlan, Limits, Needs, NodePlan, StateEntry
from fleet.platforms.base import Instance
from fleet.platforms.common import (
    NAME_TTL,
    Lookups,
    ProviderPlatform,
    Sdk,
    Tags,
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
    import pulumi_gcp as gcp
else:
    gcp = Sdk("pulumi_gcp", "gcp")

_MOST = 262144
"""Bytes of a metadata value (Compute Engine documentation, "Limits" of VM metadata)."""
_SIZES = {
    "x86_64": {"small": "e2-small", "medium": "e2-medium", "large": "e2-standard-2"},
    "aarch64": {"small": "t2a-standard-1", "medium": "t2a-standard-2", "large": "t2a-standard-4"},
}
_TAG = r"[a-z]([a-z0-9-]{,61}[a-z0-9])?"
"""What a network tag is (VPC documentation, "Add network tags")."""
_MOST_DISKS = 127
_MOST_DISKS_SHARED = 15
_SHARED_CORE = r"f1-micro|g1-small|e2-(micro|small|medium)"
"""Disks of an instance beside its root disk; one with a shared core has fewer (Compute Engine documentation, "About
Persistent Disk", maximum capacity: 128 and 16 in all)."""
_FIXED = ("image", "name", "project", "snapshot", "type", "zone")
"""Inputs of a disk whose change makes a new one."""
_LONGEST = 63
"""Characters of the node's name, zone and project together, beyond which the instance's own idea of its name is wrong
(coreos/afterburn#509)."""


class Join(Model):
    """An existing network.

    Attributes:
        network: Its name or self link.
        subnetwork: The name or self link of its subnetwork in the stack's region.
    """

    network: str
    subnetwork: str


class Options(Model):
    """The stack's ``fleet:gcp``. Project and zone are the stack's ``gcp:project`` and ``gcp:zone``, or GOOGLE_PROJECT
    and GOOGLE_ZONE.

    Attributes:
        architecture: "x86_64" or "aarch64".
        zones: Zones of one region; nodes are spread over them by their index. ``gcp:zone`` by default.
        cidr: The subnetwork's range, where the spec plans no addresses.
        network: An existing network to join.
        public_addresses: Whether nodes have static external addresses. Without, they are reached by their private ones.
        root_size_gib: A node's root disk in GiB.
        disk_type: The type of data disks.
        service_account: E-mail address of the service account that nodes act as; none by default.
        spot: Spot instances.
        bucket: A bucket for configs that are larger than metadata can be; the service account must read it.
        dns_zone: The name of a managed zone of Cloud DNS, for the groups' names.
        labels: Put on every resource that has labels.
    """

    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    zones: list[str] = []
    cidr: IPv4Network = IPv4Network("10.77.0.0/16")
    network: Join | None = None
    public_addresses: bool = True
    root_size_gib: int = Field(default=16, ge=10)
    disk_type: str = "pd-balanced"
    service_account: str = ""
    spot: bool = False
    bucket: str = ""
    dns_zone: str = ""
    labels: dict[str, str] = {}


_IDS = {
    "gcp:compute/address:Address": "projects/{project}/regions/{region}/addresses/{name}",
    "gcp:compute/disk:Disk": "projects/{project}/zones/{zone}/disks/{name}",
    "gcp:compute/firewall:Firewall": "projects/{project}/global/firewalls/{name}",
    "gcp:compute/instance:Instance": "projects/{project}/zones/{zone}/instances/{name}",
    "gcp:compute/network:Network": "projects/{project}/global/networks/{name}",
    "gcp:compute/snapshot:Snapshot": "projects/{project}/global/snapshots/{name}",
    "gcp:compute/subnetwork:Subnetwork": "projects/{project}/regions/{region}/subnetworks/{name}",
}
"""What ids of resources look like (the Import section of each in the Pulumi Registry)."""


class Gcp(ProviderPlatform):
    """The platform ``gcp``.

    Args:
        options: The stack's options.
        project: The Google Cloud project; empty if the stack does not say.
        zones: Where.
        stack: The stack's name.
    """

    name = "gcp"
    machine_type = "gcp:compute/instance:Instance"
    replaced_types = (machine_type,)
    rule_types = ("gcp:compute/firewall:Firewall",)
    metadata_addresses = (IPv4Address("169.254.169.254"), IPv6Address("fd20:ce::254"))

    def __init__(self, options: Options, project: str, zones: Sequence[str], stack: str) -> None:
        self.options, self.project, self.zones, self.stack = options, project, zones, stack
        self.architecture = options.architecture
        store = f"gs://{options.bucket}/fleet/{stack}/" if options.bucket else ""
        self.limits = Limits(raw=_MOST, most=_MOST, store=store)

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], *, project: Path, stack: str, config: ConfigReader = no_config
    ) -> Gcp:
        """Read ``fleet:gcp``.

        Raises:
            UsageError: An option is wrong.
        """
        read = read_options(Options, options, platform="gcp", stack=stack, project=project)
        cloud_project = config("gcp:project") or os.environ.get("GOOGLE_PROJECT", "")
        zone = config("gcp:zone") or os.environ.get("GOOGLE_ZONE", "")
        return cls(read, cloud_project, read.zones or ([zone] if zone else []), stack)

    @property
    def region(self) -> str:
        """The region of the zones."""
        return self.zones[0].rpartition("-")[0] if self.zones else ""

    def cannot_surge(self, *, addressed: bool) -> str:
        if addressed:
            return "its nodes have planned private addresses"
        # A static address is a part of the instance, not of something between.
        return "its nodes have static addresses" if self.options.public_addresses else ""

    def device(self, disk: str) -> str:
        # By udev's own rules; the links that begin with google- need a package of Google's.
        return f"/dev/disk/by-id/scsi-0Google_PersistentDisk_{disk}"

    @property
    def place(self) -> str:
        return f"{self.project}/{self.region}" if self.project and self.region else ""

    def place_of(self, disk: StateEntry) -> str:
        match = re.fullmatch(r"projects/([^/]+)/zones/([^/]+)-[^/-]+/disks/[^/]+", disk.id)
        return f"{match[1]}/{match[2]}" if match else disk.place

    def zone(self, node: NodePlan) -> str:
        """A node's zone: where its data disks are, or by its index."""
        zones = [disk.deployed.outputs["zone"] for disk in node.disks if disk.deployed and not disk.moves]
        return str(zones[0]) if zones else self._new_zone(node)

    def _new_zone(self, node: NodePlan) -> str:
        return self.zones[node.index % len(self.zones)]

    def new_disk(self, node: NodePlan, disk: DiskPlan) -> Mapping[str, Any]:
        return {"zone": self._new_zone(node), "type": self.options.disk_type}

    def check_deployed(self, plan: FleetPlan) -> None:
        check_disks(self, plan)

    def check(self, plan: FleetPlan) -> None:
        # Network, gateway; second-to-last, broadcast (VPC documentation, "Unusable addresses in IPv4 subnet ranges").
        check_addresses(plan, low=2, high=2, platform="Google Cloud")
        if len({zone.rpartition("-")[0] for zone in self.zones}) > 1:
            raise UsageError(
                f"The zones {', '.join(self.zones)} are in several regions.", fix="A stack is in one region."
            )
        if self.options.bucket and not self.options.service_account:
            raise UsageError(
                f"No instance may read configs from the bucket {self.options.bucket}.",
                fix="Name a `service_account` that may, in `fleet:gcp`.",
            )
        if not self.options.public_addresses:
            check_reachable(plan, self.name)
        for node in plan.nodes:
            shared = re.fullmatch(_SHARED_CORE, self.size(node))
            check_disk_count(node, _MOST_DISKS_SHARED if shared else _MOST_DISKS, "Google Cloud")
            if node.image:
                self.image(node)
            if self.zones and len(node.name + self.zone(node) + self.project) > _LONGEST:
                raise UsageError(
                    f"The name {node.name} is too long: with zone and project it has more than {_LONGEST} characters.",
                    fix="Give the group a shorter name.",
                )

    def check_stack(self, *, account: bool = True) -> None:
        for what, value in (("project", self.project), ("zone", self.zones)):
            if account and not value:
                raise UsageError(
                    f"Nothing says in which {what} of Google Cloud stack {self.stack} is.",
                    fix=f"Say it: `pulumi config set gcp:{what} ...`.",
                )

    def size(self, node: NodePlan) -> str:
        """A node's machine type."""
        return named_size(node, _SIZES[self.architecture], r"[a-z0-9]+-[a-z0-9-]+")

    def image(self, node: NodePlan) -> str:
        assert node.image is not None
        if node.image.gcp is None:
            raise UsageError(
                f"The image lock (release {node.image.release}) has no image for Google Cloud on {self.architecture}.",
                fix="Take another architecture, or another stream.",
            )
        return f"projects/{node.image.gcp.project}/global/images/{node.image.gcp.name}"

    def trigger(self, node: NodePlan) -> str:
        # Beside the metadata, what the provider would change by stopping the instance, or not at all.
        options = self.options
        shape = [self.size(node), options.root_size_gib, options.service_account, options.spot]
        disks = [disk.name for disk in node.disks]
        return digest([node.delivery.user_data, *shape, disks, str(node.private or ""), options.public_addresses])

    def shape(self, node: NodePlan) -> dict[str, str]:
        options, join = self.options, self.options.network
        shape: dict[str, object] = {
            "size": self.size(node),
            "project": self.project,
            "zone": self.zone(node),
            "root_size_gib": options.root_size_gib,
            "service_account": options.service_account,
            "spot": options.spot,
            "public_addresses": options.public_addresses,
            # The subnetwork is of the network, which is of the fleet's name.
            "network": f"{join.network}, {join.subnetwork}" if join else node.network or options.cidr,
            "the fleet's name": "" if join else node.fleet,
        }
        return described(node, shape)

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Sequence[str] | None:
        """By its name, which its id is made of."""
        if kind in _IDS:
            return [_IDS[kind].format(**{"project": self.project, **inputs})]
        return () if kind == "gcp:storage/bucketObject:BucketObject" else None

    def site(self, plan: FleetPlan, opts: pulumi.ResourceOptions) -> Site:
        return Site(self, plan, opts)


class Site:
    """A stack's resources on Google Cloud. Making one declares the network and the firewall.

    Args:
        platform: The platform.
        plan: The fleet.
        opts: Options of every shared resource.
    """

    def __init__(self, platform: Gcp, plan: FleetPlan, opts: pulumi.ResourceOptions) -> None:
        self._platform, self._options, self._fleet = platform, platform.options, plan.name
        self._labels = {**self._options.labels, "fleet": plan.name, "stack": platform.stack.lower()}
        self._addresses: dict[str, gcp.compute.Address] = {}
        self._zones: dict[str, pulumi.Input[str]] = {}
        self._lookups = Lookups(gcp, opts)
        cidr = str(plan.network or self._options.cidr)
        if self._options.network:
            network: pulumi.Input[str] = self._options.network.network
            self._subnetwork: pulumi.Input[str] = self._options.network.subnetwork
        else:
            made = gcp.compute.Network(plan.name, auto_create_subnetworks=False, opts=opts)
            network = made.id
            self._subnetwork = gcp.compute.Subnetwork(
                plan.name, network=made.id, ip_cidr_range=cidr, region=platform.region, opts=opts
            ).id
        self._tags = Tags(pulumi.get_project(), platform.stack, plan.name, _TAG)
        everyone = [self._tags.tag(), *self._tags.earlier()]
        # Nodes reach one another at every port; a network lets everything out by itself.
        self._firewalls: list[pulumi.Resource] = [
            gcp.compute.Firewall(
                plan.name,
                network=network,
                source_tags=everyone,
                target_tags=everyone,
                allows=[gcp.compute.FirewallAllowArgs(protocol="all")],
                opts=opts,
            )
        ]
        for group in plan.groups.values():
            if group.nodes:
                self._firewall(group.name, group.nodes[0], network, opts)

    def _firewall(self, group: str, node: NodePlan, network: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
        # A rule has sources of one kind of address.
        by_source: dict[tuple[str, ...], list[gcp.compute.FirewallAllowArgs]] = {}
        for port in node.ports:
            for version in (False, True):
                sources = tuple(source for source in port.sources if (":" in source) is version)
                # The networks that fleet makes have no IPv6.
                if sources and not (version and port.sources == ANYWHERE):
                    allow = gcp.compute.FirewallAllowArgs(protocol=port.protocol, ports=[str(port.number)])
                    by_source.setdefault(sources, []).append(allow)
        for sources, allows in by_source.items():
            self._firewalls.append(
                gcp.compute.Firewall(
                    f"{self._fleet}-{group}" + ("" if sources == ANYWHERE[:1] else f"-{digest(sources)[:8]}"),
                    network=network,
                    source_ranges=list(sources),
                    target_tags=[self._tags.tag(group), *self._tags.earlier(group)],
                    allows=allows,
                    opts=opts,
                )
            )

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        if not self._options.public_addresses:
            assert node.private is not None
            return str(node.private.ip)
        made = gcp.compute.Address(node.name, region=self._platform.region, labels=self._labels, opts=opts)
        self._addresses[node.name] = made
        return made.address

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        for name in names if self._options.dns_zone else ():
            gcp.dns.RecordSet(
                name,
                managed_zone=self._options.dns_zone,
                name=f"{name}.",
                type="A",
                ttl=NAME_TTL,
                rrdatas=list(addresses),
                opts=opts,
            )

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        made = gcp.compute.Disk(
            f"{node.name}-{disk.name}",
            zone=self._zones.get(node.name, self._platform.zone(node)),
            size=disk.size_gib,
            type=self._options.disk_type,
            labels=self._labels,
            opts=disk_options(opts, self._platform, disk, _FIXED),
        )
        if disk.existing:
            self._zones[node.name] = made.zone
        return made

    def _zone(self, node: NodePlan, disks: Mapping[str, Any]) -> pulumi.Input[str]:
        """The zone of a node's machine: that of its data disks, whatever it was that put them there."""
        if not disks:
            return self._platform.zone(node)
        return pulumi.Output.all(*[disk.zone for disk in disks.values()]).apply(
            lambda zones: one_place(node.name, zones)
        )

    def needs(self, node: NodePlan) -> Needs:
        size, zone = self._platform.size(node), self._platform.zone(node)
        assert node.image is not None
        assert node.image.gcp is not None
        name, project = node.image.gcp.name, node.image.gcp.project
        answers = [
            self._lookups.ask(
                f"the image {name} in {project}",
                "gcp:compute/getImage:getImage",
                {"name": name, "project": project},
                lambda result: "",
                absent="404|not ?found",
                missing=image_gone(node.image, f"{name} in {project}"),
            )
        ]
        # A custom machine type is in no list.
        if "custom" not in size:
            lacks = (
                f"Google Cloud has no {size} in {zone}, so no machine is stopped for one there. Take another `size` in "
                "the spec, or other `zones` in `fleet:gcp`."
            )
            answers.append(
                self._lookups.ask(
                    f"the size {size} in {zone}",
                    "gcp:compute/getMachineTypes:getMachineTypes",
                    {"zone": zone, "filter": f'name = "{size}"'},
                    lambda result: "" if result["machineTypes"] else lacks,
                    absent="404|not ?found",
                    missing=lacks,
                )
            )
        return needs_of(answers)

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        platform, options = self._platform, self._options
        trigger, zone = platform.trigger(node), self._zone(node, disks)
        # An instance that changes its tags must find the rules changed already.
        before: list[pulumi.Resource] = [*after, *self._firewalls]
        for disk in node.disks:
            if disk.snapshot:
                before.append(
                    gcp.compute.Snapshot(
                        f"{node.name}-{disk.name}",
                        source_disk=disks[disk.name].id,
                        zone=zone,
                        labels=self._labels,
                        opts=snapshot_options(opts, node, trigger, after),
                    )
                )
        if node.delivery.upload:
            before.append(
                gcp.storage.BucketObject(
                    node.name,
                    bucket=options.bucket,
                    name=f"fleet/{platform.stack}/{node.delivery.object}",
                    content=sealed(node, node.delivery.upload),
                    # One with a secret keeps its name, which the provider must not remove after it made the new one.
                    opts=pulumi.ResourceOptions.merge(
                        secret_options(opts, node, ["md5hash", "md5hexhash", "detectMd5hash", "crc32c"]),
                        pulumi.ResourceOptions(delete_before_replace=node.secret),
                    ),
                )
            )
        static = self._addresses.get(node.name)
        account = gcp.compute.InstanceServiceAccountArgs(
            email=options.service_account, scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
        spot = gcp.compute.InstanceSchedulingArgs(
            provisioning_model="SPOT", preemptible=True, automatic_restart=False, instance_termination_action="STOP"
        )
        machine = gcp.compute.Instance(
            node.name,
            zone=zone,
            machine_type=platform.size(node),
            boot_disk=gcp.compute.InstanceBootDiskArgs(
                initialize_params=gcp.compute.InstanceBootDiskInitializeParamsArgs(
                    image=platform.image(node), size=options.root_size_gib, type="pd-balanced"
                )
            ),
            attached_disks=[
                gcp.compute.InstanceAttachedDiskArgs(source=disks[disk.name].id, device_name=disk.name)
                for disk in node.disks
            ],
            network_interfaces=[
                gcp.compute.InstanceNetworkInterfaceArgs(
                    subnetwork=self._subnetwork,
                    network_ip=str(node.private.ip) if node.private else None,
                    access_configs=[gcp.compute.InstanceNetworkInterfaceAccessConfigArgs(nat_ip=static.address)]
                    if static
                    else [],
                )
            ],
            metadata={
                "user-data": sealed(node, node.delivery.user_data),
                # Afterburn puts the project's keys on a node otherwise, and whoever may set them may log in to all.
                "block-project-ssh-keys": "true",
            },
            service_account=account if options.service_account else None,
            scheduling=spot if options.spot else None,
            tags=[self._tags.tag(), self._tags.tag(node.group)],
            labels={**self._labels, "group": node.group},
            opts=machine_options(
                opts,
                node,
                trigger,
                after=before,
                image=["bootDisk.initializeParams.image"],
                # The provider stops a machine to change these, and refuses to unless told that it may
                # (resource_compute_instance.go, `allow_stopping_for_update`).
                replaces=["networkInterfaces[*].network", "networkInterfaces[*].subnetwork"],
                derived=["metadataFingerprint"],
            ),
        )
        private = machine.network_interfaces.apply(lambda found: str(found[0].network_ip))
        address: pulumi.Output[str] = static.address if static else private
        return Instance(
            resources=[machine],
            id=machine.instance_id,
            address=address,
            ssh=pulumi.Output.concat("ssh core@", address),
            console=pulumi.Output.concat(
                "gcloud compute instances get-serial-port-output ", machine.name, " --zone ", zone
            ),
        )


PLATFORM = Gcp
