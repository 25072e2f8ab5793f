"""What a stack declares: files, of a dynamic resource."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, UpdateResult

from fleet.dynamic.outputs import sealed
from fleet.dynamic.provider import DynamicResource, Provider
from fleet.plan import DiskPlan, FleetPlan, Needs, NodePlan
from fleet.platforms.base import Instance
from fleet.platforms.site import secret_options
from fleet_toy.platform import Toy


class FileProvider(Provider, name="fleet_toy.site:FileProvider"):
    """Files."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [key for key in news if key != "__provider" and olds.get(key) != news[key]]
        replaces = [key for key in changed if key != "size"]
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        path = Path(props["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(props["content"])
        return CreateResult(secrets.token_hex(4), props)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        Path(props["path"]).unlink(missing_ok=True)


class Disk(DynamicResource, token="pulumi-python:dynamic/toy:Disk", provider=FileProvider):
    """A data disk."""


class Machine(DynamicResource, token="pulumi-python:dynamic/toy:Machine", provider=FileProvider):
    """A machine."""


class Site:
    """A stack's resources."""

    def __init__(self, platform: Toy, plan: FleetPlan, opts: pulumi.ResourceOptions) -> None:
        self._platform = platform

    def address(self, node: NodePlan, opts: pulumi.ResourceOptions) -> str:
        return "127.0.0.1"

    def names(self, names: Sequence[str], addresses: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        """None."""

    def data_disk(self, node: NodePlan, disk: DiskPlan, opts: pulumi.ResourceOptions) -> Disk:
        name = f"{node.name}-{disk.name}"
        props = {"path": str(self._platform.folder / f"{name}.disk"), "content": "", "size": disk.size_gib}
        return Disk(name, props, opts)

    def needs(self, node: NodePlan) -> Needs:
        return Needs()

    def instance(
        self, node: NodePlan, disks: Mapping[str, Any], after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> Instance:
        path = str(self._platform.folder / f"{node.name}.ign")
        config = sealed(node, node.delivery.user_data)
        props = {"path": path, "content": config, "trigger": sealed(node, self._platform.trigger(node))}
        opts = pulumi.ResourceOptions.merge(
            secret_options(opts, node, []),
            pulumi.ResourceOptions(depends_on=[*after, *disks.values()], delete_before_replace=True),
        )
        machine = Machine(node.name, props, opts)
        return Instance(resources=[machine], id=machine.id, address="127.0.0.1", console=path)
