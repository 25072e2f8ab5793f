"""What platforms declare: the interfaces of that part of theirs, and how a machine is replaced as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pulumi

from fleet.dynamic.outputs import sealed
from fleet.errors import FleetError
from fleet.plan import DiskPlan, Needs, NodePlan, Watch
from fleet.platforms.base import Platform

NAME_TTL = 60
"""Seconds that others may remember a name's address. Addresses outlive nodes; a name moves when the fleet grows."""


@dataclass(frozen=True)
class Instance:
    """What a platform made of a node.

    Attributes:
        resources: What a later resource waits for.
        id: Changes exactly when the node is re-provisioned.
        address: The address that reaches this machine.
        endpoints: By TCP port of the node: host and port that reach it from here. Ports that are not named are
            reached at ``address`` under their own number.
        ssh: The command that logs in.
        console: Where its serial console can be read, in words or as a path.
        watch: How to look at it while it starts, if there is a way.
        hand_over: Declares that the node's address leads to this machine from now on; given what to wait for. ``None``
            where it leads there from the machine's start.
    """

    resources: Sequence[pulumi.Resource]
    id: pulumi.Output[str]
    address: pulumi.Input[str]
    endpoints: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    ssh: pulumi.Input[str] = ""
    console: pulumi.Input[str] = ""
    watch: Watch | None = None
    hand_over: Callable[[Sequence[pulumi.Resource]], pulumi.Resource] | None = None


class Site(Protocol):
    """A platform's part that declares resources, in one run of a program. Making one declares what nodes share."""

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        """Declare what reaches a node from outside, whichever machine it is at the time.

        Args:
            node: The plan.
            opts: Options to pass on; they set the parent.
        """
        ...

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        """Declare names in the DNS, where the stack's options say in which zone.

        Args:
            names: Full names.
            addresses: What :meth:`address` gave: each name leads to all of these.
            opts: Options to pass on; they set the parent.
        """
        ...

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Declare a data disk: kept when its node is re-provisioned and when the stack is destroyed.

        Disks that are taken over are declared before a node's others, which are made where those are.
        """
        ...

    def needs(self, node: NodePlan) -> Needs:
        """Look up what a new machine of a node needs, once for whatever several nodes need."""
        ...

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        """Declare the machine of a node, replaced as a whole whenever anything of it changes.

        Args:
            node: The plan.
            disks: What :meth:`data_disk` returned, by the disk's name.
            after: Resources that must be there first: the node's gate.
            opts: Options to pass on; they set the parent.
        """
        ...


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
