"""What platforms share: reading their options, sizes by name, and how a machine is replaced as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from fleet.errors import FleetError, UsageError
from fleet.images import LockedImage, Progress
from fleet.model import Model
from fleet.platforms.base import DiskPlan, FleetPlan, Interface, Needs, NodePlan, Peer

if TYPE_CHECKING:
    import pulumi

M = TypeVar("M", bound=Model)

ConfigReader = Callable[[str], str | None]
"""Gives the plain value of a key of the stack's config, such as "aws:region", or ``None`` where it is not set."""


NAME_TTL = 60
"""Seconds that others may remember a name's address. Addresses outlive nodes; a name moves when the fleet grows."""


def no_config(key: str) -> None:
    """The config of no stack."""


def stack_folder(project: Path, stack: str) -> Path:
    """Where a stack keeps, on this machine, what is not in its state.

    Args:
        project: The Pulumi project's folder.
        stack: The stack's name.
    """
    return (project / ".fleet" / stack).resolve()


def read_options(model: type[M], options: Mapping[str, Any], *, platform: str, stack: str) -> M:
    """Read ``fleet:<platform>``.

    Raises:
        UsageError: An option is wrong.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = "There is no such option" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(
            f"`fleet:{platform}` in the config of stack {stack}: `{key}`: {what}.",
            fix=f"The options are {', '.join(model.model_fields)}.",
        ) from None


def digest(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sealed(node: NodePlan, value: Any) -> Any:
    """A value that is made of a node's config: a Pulumi secret if the config holds one.

    That goes for a digest, too: with what is shown of a config, it would let short secrets be guessed.
    """
    import pulumi

    return pulumi.Output.secret(value) if node.secret else value


def with_prefix(*parts: str) -> str:
    """A name within what fleet's stacks share, such as a project's tags: "fleet-<part>-<part>", in lower case."""
    return "-".join(filter(None, ("fleet", *parts))).lower()


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
    """
    import pulumi

    return pulumi.ResourceOptions.merge(
        opts,
        pulumi.ResourceOptions(
            depends_on=list(after),
            delete_before_replace=not node.surge,
            replacement_trigger=sealed(node, trigger),
            ignore_changes=[*([] if node.follow_image else image), *ignored],
            replace_on_changes=list(replaces),
        ),
    )


def disk_options(opts: pulumi.ResourceOptions, disk: DiskPlan) -> pulumi.ResourceOptions:
    """Options for a data disk: one that exists already is taken over, and keeps its name."""
    import pulumi

    if not disk.existing:
        return opts
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(import_=disk.existing, ignore_changes=["name"]))


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


def described(node: NodePlan, shape: Mapping[str, object]) -> dict[str, str]:
    """A node's shape as text, with what is of every platform's: the address and the data disks.

    Args:
        node: The node.
        shape: What the platform adds; ``None`` and empty texts stand for what is not there.
    """
    whole = {**shape, "address": node.private, "data disks": ", ".join(disk.name for disk in node.disks)}
    whole |= {f"data disk {disk.name}": disk.existing for disk in node.disks}
    return {key: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in whole.items()}  # fmt: skip


class ProviderPlatform:
    """What platforms whose machines are a provider's resources have in common; each says what is different with it."""

    image_types: tuple[str, ...] = ()

    def disk_rule(self, disk: str) -> str:
        """None: the disk has its path by itself."""
        return ""

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
        """Why a thing is not to be had, as :attr:`~fleet.platforms.base.Needs.missing`; empty if it is, or if that
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
    from fleet.components.outputs import independent

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
