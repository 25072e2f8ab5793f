"""Checks that platforms share, run before anything is created."""

from __future__ import annotations

from fleet.errors import UsageError
from fleet.images import DiskArtifact
from fleet.plan import Disk, FleetPlan, LockedImage, NodePlan
from fleet.platforms.base import Platform


def refuse_snapshots(plan: FleetPlan, platform: str) -> None:
    """For platforms without: refuse data disks that want them.

    Raises:
        UsageError: There is one.
    """
    for node in plan.nodes:
        for disk in node.disks:
            if disk.snapshot:
                raise UsageError(
                    f"{platform} takes no snapshots, but data disk {disk.name} of {node.group} is to have them.",
                    fix="Take `snapshot` out, and back its files up from within.",
                )


def locked_disk(image: LockedImage, artifact: DiskArtifact, platform: str) -> Disk:
    """A disk image that a platform needs.

    Args:
        image: The locked image.
        artifact: Which.
        platform: The platform's name, for people.

    Raises:
        UsageError: The lock has none.
    """
    if artifact.name not in image.disks:
        raise UsageError(
            f"The image lock (release {image.release}) has no disk image for {platform}.",
            fix="Lock one of Fedora's releases with `fleet image update`.",
        )
    return image.disks[artifact.name]


def check_disk_count(node: NodePlan, most: int, platform: str) -> None:
    """Refuse a node with more data disks than its machine can have.

    Raises:
        UsageError: It has.
    """
    if len(node.disks) > most:
        raise UsageError(
            f"The nodes of {node.group} are to have {len(node.disks)} data disks, and a machine of the size "
            f"{node.size} on {platform} has {most} at most.",
            fix="Take fewer and larger disks, or spread them over several groups.",
        )


def check_addresses(plan: FleetPlan, *, low: int, high: int, platform: str) -> None:
    """For clouds that keep addresses of a network for themselves: refuse a plan that uses them.

    Args:
        plan: The fleet.
        low: How many at the range's beginning.
        high: How many at its end.
        platform: Its name.

    Raises:
        UsageError: A node is planned to have one.
    """
    for node in plan.nodes:
        if plan.network is None or node.private is None:
            continue
        number = int(node.private.ip) - int(plan.network.network_address)
        if not low <= number < plan.network.num_addresses - high:
            raise UsageError(
                f"{platform} keeps {node.private.ip}, which is planned for {node.name}, for itself.",
                fix=f"Let `addresses_from` begin at {low} or later, {high} before the range's end.",
            )


def check_reachable(plan: FleetPlan, platform: str) -> None:
    """For nodes without public addresses: refuse a plan in which nobody can know their private ones.

    Raises:
        UsageError: It is one.
    """
    if not plan.network:
        raise UsageError(
            "Without public addresses, nodes are reached at planned private ones, and the spec plans none.",
            fix=f"Put `network` into the spec, or take `public_addresses: false` out of `fleet:{platform}`.",
        )


def check_disks(platform: Platform, plan: FleetPlan, *, grows: bool = True) -> None:
    """Refuse what would make a second disk for one that is deployed, or cannot be done with it.

    Args:
        platform: The stack's platform.
        plan: One that knows the state.
        grows: Whether disks can grow.

    Raises:
        UsageError: There is such a change.
    """
    for node in plan.nodes:
        for disk in node.disks:
            if disk.deployed is None or disk.moves:
                continue
            name, size = f"{node.name}-{disk.name}", platform.disk_size(disk.deployed)
            place = platform.place_of(disk.deployed)
            if place and platform.place and place != platform.place:
                raise UsageError(
                    f"Data disk {name} is at {place}, and the stack's config now says {platform.place}, where its node "
                    "cannot reach it.",
                    fix="Set that back; for another place, make another stack.",
                )
            if disk.size_gib < size:
                raise UsageError(
                    f"Data disk {name} has {size} GiB and cannot shrink to {disk.size_gib} GiB.",
                    fix=f"Set its `size_gib` to {size}.",
                )
            if disk.size_gib > size and not grows:
                raise UsageError(
                    f"Data disk {name} has {size} GiB, and the provider of {platform.name} cannot grow it to "
                    f"{disk.size_gib} GiB without making a new, empty one.",
                    fix=f"Set its `size_gib` to {size}, and add another data disk for what needs more room.",
                )
