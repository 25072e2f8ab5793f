"""What planning asks of a platform: facts about it, known without its provider's SDK."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from typing import Protocol

from fleet.plan.config import Limits
from fleet.plan.machine import DiskLink, Interface
from fleet.plan.node import FleetPlan


class PlanningPlatform(Protocol):
    """A platform, as planning sees it."""

    @property
    def name(self) -> str:
        """As ``fleet:platform`` names it."""
        ...

    @property
    def architecture(self) -> str:
        """Of the nodes: "x86_64" or "aarch64"."""
        ...

    @property
    def limits(self) -> Limits:
        """How large user data may be."""
        ...

    @property
    def metadata_addresses(self) -> Collection[IPv4Address | IPv6Address]:
        """Where nodes find the platform's metadata service; empty where that does not have their user data."""
        ...

    def cannot_surge(self, *, addressed: bool) -> str:
        """Why an old and a new machine of one node cannot be there at once; empty if they can.

        Args:
            addressed: The nodes have planned addresses.
        """
        ...

    def disk_link(self, disk: str) -> DiskLink:
        """How a node finds one of its data disks.

        Args:
            disk: The disk's name in the spec.
        """
        ...

    def private(self, group: str, index: int) -> IPv4Interface | None:
        """The address that a node has where the spec plans none; ``None`` where the platform's network gives it one."""
        ...

    def interface(self, address: IPv4Interface) -> Interface | None:
        """A node's private interface, where the node has to give it its planned address itself.

        ``None`` where the platform's network does.
        """
        ...

    def planned_address(self, network: IPv4Network, number: int) -> IPv4Address:
        """The planned address of a number.

        Args:
            network: The range of the planned addresses.
            number: Counted from the range's first address.

        Raises:
            UsageError: The range has no room for it.
        """
        ...

    def check(self, plan: FleetPlan) -> None:
        """Refuse what the platform cannot do.

        Raises:
            FleetError: Says what, and what to change.
        """
        ...
