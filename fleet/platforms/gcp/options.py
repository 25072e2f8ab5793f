"""The options of ``gcp``."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import ClassVar, Literal

from pydantic import Field

from fleet.model import Model
from fleet.platforms.options import PlatformOptions


class Join(Model):
    """An existing network.

    Attributes:
        network: Its name or self link.
        subnetwork: The name or self link of its subnetwork in the stack's region.

    Examples:
        network: shop
        subnetwork: shop-nodes
    """

    network: str
    subnetwork: str


class Options(PlatformOptions):
    """The stack's ``fleet:gcp``.

    Project and zone are the stack's ``gcp:project`` and ``gcp:zone``, or GOOGLE_PROJECT and GOOGLE_ZONE.

    Attributes:
        architecture: "x86_64" or "aarch64".
        zones: Zones of one region; nodes are spread over them by their index. ``gcp:zone`` by default.
        cidr: The subnetwork's range, where the spec plans no addresses.
        vpc: An existing network to join.
        public_addresses: Whether nodes have static external addresses. Without, they are reached by their private ones.
        root_size_gib: A node's root disk in GiB.
        disk_type: The type of data disks.
        service_account: E-mail address of the service account that nodes act as; none by default.
        spot: Spot instances.
        bucket: A bucket for configs that are larger than metadata can be; the service account must read it.
        dns_zone: The name of a managed zone of Cloud DNS, for the groups' names.
        tags: Labels that are put on every resource that has labels.

    Examples:
        zones: [europe-west3-a]
        cidr: 10.20.0.0/16
        vpc: {network: shop, subnetwork: shop-nodes}
        root_size_gib: 20
        disk_type: pd-ssd
        service_account: nodes@shop.iam.gserviceaccount.com
        bucket: shop-configs
        dns_zone: shop
        tags: {team: shop}
    """

    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    zones: list[str] = []
    cidr: IPv4Network = IPv4Network("10.77.0.0/16")
    vpc: Join | None = None
    public_addresses: bool = True
    root_size_gib: int = Field(default=16, ge=10)
    disk_type: str = "pd-balanced"
    service_account: str = ""
    spot: bool = False
    bucket: str = ""
    dns_zone: str = ""
    tags: dict[str, str] = {}
    renamed: ClassVar[Mapping[str, str]] = {"labels": "tags", "network": "vpc"}
