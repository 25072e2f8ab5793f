"""The options of ``digitalocean``."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import ClassVar

from pydantic import Field

from fleet.platforms.options import PlatformOptions


class Options(PlatformOptions):
    """The stack's ``fleet:digitalocean``. The token is the stack's ``digitalocean:token``, or DIGITALOCEAN_TOKEN.

    Attributes:
        region: Such as "fra1".
        ssh_keys: Ids or fingerprints of keys in the account, at least one: DigitalOcean makes no droplet of a custom
            image without. The keys that may log in are those of the spec.
        cidr: The VPC's range.
        vpc: The UUID of an existing VPC to join.
        dns_zone: A domain in the account, for the groups' names; ``<node>.<fleet>.<domain>`` leads to each node's
            private address.
        tags: Put on every droplet and volume.

    Examples:
        region: fra1
        ssh_keys: ["12345678"]
        cidr: 10.20.0.0/16
        vpc: 5a4981aa-9653-4bd1-bef5-d6bff52042e4
        dns_zone: example.org
        tags: [shop]
    """

    region: str = ""
    ssh_keys: list[str] = []
    cidr: IPv4Network = IPv4Network("10.77.0.0/16")
    vpc: str = Field(default="", pattern=r"^[0-9a-f-]*$")
    dns_zone: str = ""
    tags: list[str] = []
    renamed: ClassVar[Mapping[str, str]] = {"domain": "dns_zone"}
