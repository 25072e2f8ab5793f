"""The options of ``aws``."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Literal

from pydantic import Field

from fleet.model import Model
from fleet.platforms.options import PlatformOptions


class Join(Model):
    """An existing VPC.

    Attributes:
        id: Its id, such as "vpc-0123".
        subnets: Ids of public subnets by availability zone.

    Examples:
        id: vpc-0123
        subnets: {eu-central-1a: subnet-0123}
    """

    id: str = Field(pattern=r"^vpc-\w+$")
    subnets: dict[str, str] = Field(min_length=1)


class Options(PlatformOptions):
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

    Examples:
        zones: [eu-central-1a, eu-central-1b]
        cidr: 10.20.0.0/16
        vpc: {id: vpc-0123, subnets: {eu-central-1a: subnet-0123}}
        root_size_gib: 20
        instance_profile: shop-nodes
        dns_zone: Z0123456789ABCDEFGHIJ
        bucket: shop-configs
        tags: {team: shop}
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
