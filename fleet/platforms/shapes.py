"""What a node's machine is, in words and numbers: sizes, addresses, the shape that re-provisions it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from fleet.errors import UsageError
from fleet.plan import NodePlan


def digest(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def named_size(node: NodePlan, sizes: Mapping[str, str], own: str) -> str:
    """The platform's word for a node's size.

    Args:
        node: The node.
        sizes: The platform's words for small, medium and large.
        own: A pattern of the platform's words.

    Raises:
        UsageError: It is none.
    """
    size = sizes.get(node.size, node.size)
    if not re.fullmatch(own, size):
        raise UsageError(
            f"There is no size {node.size!r} for {node.group}.",
            fix=f"The sizes are {', '.join(sizes)}, or the platform's own, such as {sizes['small']}.",
        )
    return size


def custom_size(node: NodePlan) -> tuple[int, int]:
    """CPUs and MiB of a size such as "4x8192".

    Raises:
        UsageError: It is none.
    """
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d{2,6})", node.size)
    if match is None:
        raise UsageError(
            f"There is no size {node.size!r} for {node.group}.",
            fix='The sizes are small, medium, large, or CPUs and MiB such as "4x8192".',
        )
    return int(match[1]), int(match[2])


def address_mac(address: IPv4Address) -> str:
    """A MAC address made of an IPv4 address: locally administered, and unique in the address's network."""
    return "52:54:" + ":".join(f"{byte:02x}" for byte in address.packed)


def slot(network: IPv4Network, group: str, index: int) -> IPv4Interface:
    """An address in a /16 for a node whose spec plans none: the same whatever other groups there are.

    Two groups may, rarely, be given the same slot; whoever uses this has to look.
    """
    third = 1 + int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % 254
    return IPv4Interface((network.network_address + 256 * third + 1 + index, network.prefixlen))


_OF_THE_ZONE = ("zone", "vpc")


def described(node: NodePlan, shape: Mapping[str, object]) -> dict[str, str]:
    """A node's shape as text, with what is of every platform's: the address and the data disks.

    Args:
        node: The node.
        shape: What the platform adds; ``None`` and empty texts stand for what is not there.
    """
    whole = {**shape, "address": node.private, "data disks": ", ".join(disk.name for disk in node.disks)}
    # Google Cloud takes the last part of an id for all of it.
    whole |= {
        f"data disk {disk.name}": (disk.existing if disk.moves else disk.deployed.id).rpartition("/")[2]
        for disk in node.disks
        if disk.deployed
    }
    if any(disk.existing and (disk.moves or not disk.deployed) for disk in node.disks):
        # Only the disk that is taken over tells where that is.
        whole = {key: value for key, value in whole.items() if key not in _OF_THE_ZONE}
    return {key: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in whole.items()}  # fmt: skip
