"""What the sites of platforms share: how a machine is replaced as a whole, how a data disk is kept."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from fleet.config import packed
from fleet.dynamic.outputs import sealed
from fleet.errors import FleetError
from fleet.plan import DiskPlan, NodePlan
from fleet.platforms.base import Platform

NAME_TTL = 60
"""Seconds that others may remember a name's address. Addresses outlive nodes; a name moves when the fleet grows."""


def machine_options(
    opts: pulumi.ResourceOptions,
    node: NodePlan,
    trigger: str,
    *,
    after: Sequence[pulumi.Resource],
    image: Sequence[str] = (),
    ignored: Sequence[str] = (),
    replaces: Sequence[str] = (),
    derived: Sequence[str] = (),
) -> pulumi.ResourceOptions:
    """Options for a resource of a provider that holds first-boot state: replaced whenever the trigger changes.

    Args:
        opts: To begin with.
        node: The node.
        trigger: :meth:`~fleet.platforms.base.Platform.trigger`.
        after: Resources to wait for.
        image: The inputs that name the image. A change of them alone does nothing unless the node follows images; when
            it is replaced anyway, the engine takes the new ones (`ignore_changes` does not apply to a replacement).
        ignored: Other inputs whose change alone does nothing.
        replaces: Inputs that the provider would change by stopping the machine.
        derived: As in :func:`secret_options`.
    """
    return pulumi.ResourceOptions.merge(
        secret_options(opts, node, derived),
        pulumi.ResourceOptions(
            depends_on=list(after),
            delete_before_replace=not node.surge,
            replacement_trigger=sealed(node, trigger),
            ignore_changes=[*([] if node.follow_image else image), *ignored],
            replace_on_changes=list(replaces),
        ),
    )


def packed_user_data(node: NodePlan) -> str:
    """A node's user data as its platform is given it: compressed, where that is shorter.

    A node that an earlier fleet has deployed with the same config keeps what it was given.
    """
    return node.delivery.user_data if node.shown_in_state else packed(node.delivery.user_data)


def packing_ignored(node: NodePlan, user_data: str) -> list[str]:
    """Inputs whose change alone does nothing: user data, when it is packed in another way.

    What is in it is in the trigger.

    Args:
        node: The node.
        user_data: The input that :func:`packed_user_data` is.
    """
    return [] if node.shown_in_state else [user_data]


def secret_options(opts: pulumi.ResourceOptions, node: NodePlan, derived: Sequence[str]) -> pulumi.ResourceOptions:
    """Options for a resource that is given a node's config.

    Args:
        opts: To begin with.
        node: The node.
        derived: Outputs that the provider makes of the config, such as a checksum: as telling as the digest that
            :func:`sealed` is about.
    """
    secret = list(derived) if node.secret else None
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=secret))


def disk_options(
    opts: pulumi.ResourceOptions, platform: Platform, disk: DiskPlan, fixed: Sequence[str]
) -> pulumi.ResourceOptions:
    """Options for a data disk: whatever changes, it is never replaced; one that exists already is taken over as it is.

    Args:
        opts: To begin with.
        platform: Where.
        disk: The disk.
        fixed: The inputs whose change the provider answers with a new disk, an empty one.
    """
    # One that was grown by other means must not shrink: some providers would make a new one for that.
    size = ["size"] if disk.deployed and disk.size_gib <= platform.disk_size(disk.deployed) else []
    return pulumi.ResourceOptions.merge(
        opts,
        pulumi.ResourceOptions(import_=disk.existing or None, ignore_changes=list(dict.fromkeys([*fixed, *size]))),
    )


def snapshot_options(
    opts: pulumi.ResourceOptions, node: NodePlan, trigger: str, after: Sequence[pulumi.Resource]
) -> pulumi.ResourceOptions:
    """Options for a snapshot: a new one before each re-provisioning, the old ones kept."""
    return pulumi.ResourceOptions.merge(
        opts,
        pulumi.ResourceOptions(
            depends_on=list(after),
            retain_on_delete=True,
            replacement_trigger=sealed(node, trigger),
        ),
    )


def one_place(node: str, places: Sequence[str]) -> str:
    """The place of all data disks of a node, to which its machine goes.

    Raises:
        FleetError: They are in several.
    """
    if len(set(places)) > 1:
        raise FleetError(
            f"The data disks of {node} are in several places, {', '.join(sorted(set(places)))}; a machine is in one.",
            fix="Take over disks of one place, or make copies of the others there.",
        )
    return places[0]
