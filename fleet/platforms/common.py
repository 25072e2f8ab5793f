"""What platforms share: reading their options, sizes by name, and how a machine is replaced as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fleet.dynamic.outputs import sealed
from fleet.errors import FleetError, UsageError
from fleet.images import Progress
from fleet.model import Model
from fleet.plan import DiskPlan, FleetPlan, Interface, LockedImage, Needs, NodePlan, Peer, Probe, StateEntry
from fleet.platforms.base import Platform
from fleet.stack_config import StackOptions

if TYPE_CHECKING:
    import pulumi

M = TypeVar("M", bound=Model)


NAME_TTL = 60
"""Seconds that others may remember a name's address. Addresses outlive nodes; a name moves when the fleet grows."""


def read_options(model: type[M], options: Mapping[str, Any], *, platform: str, stack: str, project: Path) -> M:
    """Read ``fleet:<platform>``.

    Raises:
        UsageError: An option is wrong; names its place.
    """
    return StackOptions(platform, stack, project).read(model, dict(options))


def digest(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Tags:
    """The tags by which a firewall's rules find machines, in an account or a network that others share.

    A machine has the fleet's tag and its group's, which no other group, fleet, stack or project has. One that was
    deployed by an earlier release has stack, fleet and group joined by dashes instead, in lower case, which others may
    have, too. It gets its new tags in place, at its turn in the rollout. So that no machine is without its rules or cut
    off from its peers meanwhile, rules go by the earlier tags as well, and change before any machine does.

    Attributes:
        project: The Pulumi project's name.
        stack: The stack's name.
        fleet: The fleet's name.
        valid: A pattern of what the platform takes as a tag.
    """

    project: str
    stack: str
    fleet: str
    valid: str

    def tag(self, group: str = "") -> str:
        """The tag of a group's machines, or of all of the fleet's: up to 63 lower-case letters, digits and dashes,
        beginning with a letter. It is readable as far as there is room, and ends with a digest of the four names.
        """
        shown = re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, (self.stack, self.fleet, group))).lower())
        known = digest([self.project, self.stack, self.fleet, group])[:_TAG_DIGEST]
        return f"fleet-{shown[: 63 - len('fleet--') - _TAG_DIGEST].strip('-')}-{known}"

    def earlier(self, group: str = "") -> list[str]:
        """The earlier tag, if the platform took it."""
        tag = "-".join(filter(None, ("fleet", self.stack, self.fleet, group))).lower()
        return [tag] if re.fullmatch(self.valid, tag) else []


_TAG_DIGEST = 16
"""Hexadecimal digits: with a million groups in an account, two have the same ones with a chance of 1 in 10**7."""


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


def slot(network: IPv4Network, group: str, index: int) -> IPv4Interface:
    """An address in a /16 for a node whose spec plans none: the same whatever other groups there are.

    Two groups may, rarely, be given the same slot; whoever uses this has to look.
    """
    third = 1 + int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % 254
    return IPv4Interface((network.network_address + 256 * third + 1 + index, network.prefixlen))


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
    import pulumi

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
    import pulumi

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
    import pulumi

    # One that was grown by other means must not shrink: some providers would make a new one for that.
    size = ["size"] if disk.deployed and disk.size_gib <= platform.disk_size(disk.deployed) else []
    return pulumi.ResourceOptions.merge(
        opts,
        pulumi.ResourceOptions(import_=disk.existing or None, ignore_changes=list(dict.fromkeys([*fixed, *size]))),
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


def snapshot_options(
    opts: pulumi.ResourceOptions, node: NodePlan, trigger: str, after: Sequence[pulumi.Resource]
) -> pulumi.ResourceOptions:
    """Options for a snapshot: a new one before each re-provisioning, the old ones kept."""
    import pulumi

    return pulumi.ResourceOptions.merge(
        opts,
        pulumi.ResourceOptions(
            depends_on=list(after),
            retain_on_delete=True,
            replacement_trigger=sealed(node, trigger),
        ),
    )


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


class ProviderPlatform:
    """What platforms whose machines are a provider's resources have in common; each says what is different with it."""

    rule_types: tuple[str, ...] = ()
    image_types: tuple[str, ...] = ()
    metadata_addresses: tuple[IPv4Address | IPv6Address, ...] = ()

    def disk_rule(self, disk: str) -> str:
        """None: the disk has its path by itself."""
        return ""

    @property
    def place(self) -> str:
        """Each platform says its own."""
        raise NotImplementedError

    def place_of(self, disk: StateEntry) -> str:
        """As it was written down."""
        return disk.place

    def repair(self) -> None:
        """Nothing: what nodes need is resources."""

    def ailing(self) -> str:
        """Nothing."""
        return ""

    def planned_address(self, network: IPv4Network, number: int) -> IPv4Address:
        """The address at the number."""
        return network[number]

    def disk_size(self, disk: StateEntry) -> int:
        """As the resource has it."""
        return int(disk.outputs.get("size", 0))

    def private(self, group: str, index: int) -> IPv4Interface | None:
        """None: the platform's network gives addresses."""
        return None

    def interface(self, address: IPv4Interface) -> Interface | None:
        """None: the platform's network gives nodes their planned addresses, too."""
        return None

    def prepare(self, image: LockedImage, progress: Progress | None = None) -> None:
        """Nothing has to be fetched to this machine."""

    def peer(self, node: NodePlan, address: pulumi.Input[str]) -> Peer:
        """At its address."""
        return Peer(node.name, address, {}, node.probes)

    def deployed_peer(self, name: str, address: str, machine: Mapping[str, Any], probes: Sequence[Probe]) -> Peer:
        """At its address."""
        return Peer(name, address, {}, probes)


class Lookups:
    """What a provider says of what machines need, each asked once in a run of a program.

    Args:
        sdk: The provider's SDK.
        opts: Options of resources that the provider makes.
    """

    def __init__(self, sdk: Any, opts: pulumi.ResourceOptions) -> None:
        self._sdk, self._parent = sdk, opts.parent
        self._answers: dict[str, asyncio.Future[str]] = {}

    def ask(
        self,
        what: str,
        function: str,
        arguments: Mapping[str, Any],
        judge: Callable[[Mapping[str, Any]], str],
        *,
        absent: str = "(?!)",
        missing: str = "",
    ) -> asyncio.Future[str]:
        """Why a thing is not to be had, as :attr:`~fleet.plan.Needs.missing`; empty if it is, or if that
        cannot be known yet.

        Args:
            what: The thing, in words; asked for once.
            function: The provider's function, such as "aws:ec2/getAmi:getAmi".
            arguments: Its arguments.
            judge: Given the function's result, as the provider returns it.
            absent: A pattern of the error with which the function says that there is no such thing.
            missing: What is then missing.
        """
        if what not in self._answers:
            answer = self._asked(what, function, arguments, judge, absent, missing)
            self._answers[what] = asyncio.ensure_future(answer)
        return self._answers[what]

    async def _asked(
        self,
        what: str,
        function: str,
        arguments: Mapping[str, Any],
        judge: Callable[[Mapping[str, Any]], str],
        absent: str,
        missing: str,
    ) -> str:
        import pulumi
        from pulumi.runtime import invoke_async

        defaults = self._sdk._utilities.get_invoke_opts_defaults()
        try:
            result = await invoke_async(
                function,
                dict(arguments),
                pulumi.InvokeOptions.merge(defaults, pulumi.InvokeOptions(parent=self._parent)),
            )
        except Exception as error:  # the engine's, of no type of their own
            reason = " ".join(str(error).split())
            if re.search(absent, reason):
                return missing
            return (
                f"Whether there is {what} cannot be found out, so no machine is stopped: {reason.rstrip('.')}. "
                "If a permission is missing, docs/platforms.md lists what is needed."
            )
        return "" if result is None else judge(result)


def needs_of(answers: Sequence[asyncio.Future[str]]) -> Needs:
    """What a node needs, of what was looked up for it."""
    from fleet.dynamic.outputs import independent

    async def missing() -> str:
        return " ".join(filter(None, [await answer for answer in answers]))

    return Needs(independent(missing()))


def image_gone(image: LockedImage, what: str) -> str:
    """That a locked image is not there any more, and what to do."""
    return (
        f"The locked image, {what} (release {image.release}), is not there any more, so no machine can be made of it, "
        "and none is stopped. Lock a newer one with `fleet image update`."
    )


class Sdk:
    """A provider's SDK, imported when first used: planning needs none, and each is large.

    Args:
        module: The Python module.
        extra: The extra of fleet's package that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        self._module, self._extra = module, extra

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(importlib.import_module(self._module), name)
        except ModuleNotFoundError as error:
            if error.name != self._module:
                raise
            raise FleetError(
                f"The platform needs the Python package {self._module.replace('_', '-')}, which is not installed.",
                fix=f"Install it: `pip install 'fleet[{self._extra}]'`.",
            ) from None
