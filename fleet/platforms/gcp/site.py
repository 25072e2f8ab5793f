"""Google Cloud: Compute Engine instances in a network of the stack's own or an existing one.

Each node has a static external address, which stays when the node is re-provisioned. The image is the exact one of the
image lock, never a family. The provider would change a running instance's metadata, which Ignition never reads again:
the trigger replaces it instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi

from fleet.dynamic.outputs import sealed
from fleet.plan import (
    ANYWHERE,
    DiskPlan,
    FleetPlan,
    Needs,
    NodePlan,
    Watch,
)
from fleet.platforms.base import Instance
from fleet.platforms.gcp import console
from fleet.platforms.gcp.platform import Gcp
from fleet.platforms.lookups import Lookups, Sdk, image_gone, needs_of
from fleet.platforms.shapes import digest
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
from fleet.platforms.tags import Tags

if TYPE_CHECKING:
    import pulumi_gcp as gcp
else:
    gcp = Sdk("pulumi_gcp", "gcp")

_TAG = r"[a-z]([a-z0-9-]{,61}[a-z0-9])?"
"""What a network tag is (VPC documentation, "Add network tags")."""
FIXED = ("image", "name", "project", "snapshot", "type", "zone")
"""Inputs of a disk whose change makes a new one."""


class Site:
    """A stack's resources on Google Cloud. Making one declares the network and the firewall.

    Args:
        platform: The platform.
        plan: The fleet.
        opts: Options of every shared resource.
    """

    def __init__(self, platform: Gcp, plan: FleetPlan, opts: pulumi.ResourceOptions) -> None:
        self._platform, self._options, self._fleet = platform, platform.options, plan.name
        self._labels = {**self._options.tags, "fleet": plan.name, "stack": platform.stack.lower()}
        self._addresses: dict[str, gcp.compute.Address] = {}
        self._zones: dict[str, pulumi.Input[str]] = {}
        self._lookups = Lookups(gcp, opts)
        cidr = str(plan.network or self._options.cidr)
        if self._options.vpc:
            network: pulumi.Input[str] = self._options.vpc.network
            self._subnetwork: pulumi.Input[str] = self._options.vpc.subnetwork
        else:
            declared = gcp.compute.Network(plan.name, auto_create_subnetworks=False, opts=opts)
            network = declared.id
            self._subnetwork = gcp.compute.Subnetwork(
                plan.name, network=declared.id, ip_cidr_range=cidr, region=platform.region, opts=opts
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
        address = gcp.compute.Address(node.name, region=self._platform.region, labels=self._labels, opts=opts)
        self._addresses[node.name] = address
        return address.address

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
        resource = gcp.compute.Disk(
            f"{node.name}-{disk.name}",
            zone=self._zones.get(node.name, self._platform.zone(node)),
            size=disk.size_gib,
            type=self._options.disk_type,
            labels=self._labels,
            opts=disk_options(opts, self._platform, disk, FIXED),
        )
        if disk.existing:
            self._zones[node.name] = resource.zone
        return resource

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
        locked = self._platform.locked(node)
        name, project = locked["name"], locked["project"]
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
                "user-data": sealed(node, packed_user_data(node)),
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
                ignored=packing_ignored(node, 'metadata["user-data"]'),
                # The provider stops a machine to change these, and refuses to unless told that it may
                # (resource_compute_instance.go, `allow_stopping_for_update`).
                replaces=["networkInterfaces[*].network", "networkInterfaces[*].subnetwork"],
                derived=["metadataFingerprint"],
            ),
        )
        private = machine.network_interfaces.apply(lambda interfaces: str(interfaces[0].network_ip))
        address: pulumi.Output[str] = static.address if static else private
        return Instance(
            resources=[machine],
            id=machine.instance_id,
            address=address,
            ssh=pulumi.Output.concat("ssh core@", address),
            console=pulumi.Output.concat(
                "gcloud compute instances get-serial-port-output ", machine.name, " --zone ", zone
            ),
            watch=Watch(
                console.CONSOLE,
                pulumi.Output.all(machine.project, machine.zone, machine.name).apply(
                    lambda place: console.argument(*place)
                ),
                lives=False,
            ),
            holds_config=True,
        )
