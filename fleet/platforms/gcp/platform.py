"""Google Cloud: Compute Engine instances in a network of the stack's own or an existing one.

Each node has a static external address, which stays when the node is re-provisioned. The image is the exact one of the
image lock, never a family. The provider would change a running instance's metadata, which Ignition never reads again:
the trigger replaces it instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from fleet.platforms.base import BasePlatform
from fleet.platforms.checks import check_addresses, check_disk_count, check_disks, check_reachable
from fleet.platforms.diagnosis import Check, plugin, sdk
from fleet.platforms.gcp import console
from fleet.platforms.gcp.account import access
from fleet.platforms.gcp.options import Options
from fleet.platforms.options import read_options
from fleet.platforms.shapes import described, digest, named_size
from fleet.stack_config import ConfigReader, no_config

if TYPE_CHECKING:
    pass

IMAGE = PublishedImage("gcp", keys=("project", "name"))
_MOST = 262144
"""Bytes of a metadata value (Compute Engine documentation, "Limits" of VM metadata)."""
_SIZES = {
    "x86_64": {"small": "e2-small", "medium": "e2-medium", "large": "e2-standard-2"},
    "aarch64": {"small": "t2a-standard-1", "medium": "t2a-standard-2", "large": "t2a-standard-4"},
}
_MOST_DISKS = 127
_MOST_DISKS_SHARED = 15
_SHARED_CORE = r"f1-micro|g1-small|e2-(micro|small|medium)"
"""Disks of an instance beside its root disk; one with a shared core has fewer (Compute Engine documentation, "About
Persistent Disk", maximum capacity: 128 and 16 in all)."""
_LONGEST = 63
"""Characters of the node's name, zone and project together, beyond which the instance's own idea of its name is wrong
(coreos/afterburn#509)."""


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


class Gcp(BasePlatform):
    """The platform ``gcp``.

    Args:
        options: The stack's options.
        project: The Google Cloud project; empty if the stack does not say.
        zones: Where.
        stack: The stack's name.
    """

    name = "gcp"
    options_model = Options
    artifacts = (IMAGE,)
    machine_type = "gcp:compute/instance:Instance"
    replaced_types = (machine_type,)
    rule_types = ("gcp:compute/firewall:Firewall",)
    metadata_addresses = (IPv4Address("169.254.169.254"), IPv6Address("fd20:ce::254"))

    def __init__(self, options: Options, project: str, zones: Sequence[str], stack: str) -> None:
        self.options, self.project, self.zones, self.stack = options, project, zones, stack
        self.architecture = options.architecture
        store = f"gs://{options.bucket}/fleet/{stack}/" if options.bucket else ""
        self.limits = Limits(raw=_MOST, most=_MOST, store=store, option="bucket")

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

    def checks(self, config: ConfigReader) -> Sequence[Check]:
        look = Check("credentials", lambda: access(config, self.project))
        return (sdk("pulumi_gcp", "gcp"), plugin("gcp", "pulumi_gcp"), look)

    def cannot_surge(self, *, addressed: bool) -> str:
        if addressed:
            return "its nodes have planned private addresses"
        # A static address is a part of the instance, not of something between.
        return "its nodes have static addresses" if self.options.public_addresses else ""

    def disk_link(self, disk: str) -> DiskLink:
        # By udev's own rules; the links that begin with google- need a package of Google's.
        return DiskLink(f"/dev/disk/by-id/scsi-0Google_PersistentDisk_{disk}")

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
        image = self.locked(node)
        return f"projects/{image['project']}/global/images/{image['name']}"

    def locked(self, node: NodePlan) -> Mapping[str, str]:
        """The ``project`` and the ``name`` of a node's image.

        Raises:
            UsageError: The lock has none.
        """
        assert node.image is not None
        if IMAGE.name not in node.image.images:
            raise UsageError(
                f"The image lock (release {node.image.release}) has no image for Google Cloud on {self.architecture}.",
                fix="Take another architecture, or another stream.",
            )
        return node.image.images[IMAGE.name]

    def trigger(self, node: NodePlan) -> str:
        # Beside the metadata, what the provider would change by stopping the instance, or not at all.
        options = self.options
        shape = [self.size(node), options.root_size_gib, options.service_account, options.spot]
        disks = [disk.name for disk in node.disks]
        return digest([node.delivery.user_data, *shape, disks, str(node.private or ""), options.public_addresses])

    def shape(self, node: NodePlan) -> dict[str, str]:
        options, join = self.options, self.options.vpc
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

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """At its address, with its console."""
        shown = console.argument(*(str(machine.get(key, "")) for key in ("project", "zone", "name")))
        return Peer(name, address, {}, probes, Watch(console.CONSOLE, shown, lives=False))

    def leftovers(self, kind: str, inputs: Mapping[str, Any], *, keep: bool) -> Sequence[str] | None:
        """By its name, which its id is made of."""
        if kind in _IDS:
            return [_IDS[kind].format(**{"project": self.project, **inputs})]
        return () if kind == "gcp:storage/bucketObject:BucketObject" else None
