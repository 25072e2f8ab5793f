"""Record: which configs a fleet had when all of it was last ready, and before that: what a rollback goes back to.

It is made and changed only after every node is ready, so a rollout that stopped half way leaves it as it was. A state's
own history would not do: not every backend keeps one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, UpdateResult

from fleet.dynamic import tokens
from fleet.dynamic.provider import DynamicResource, Provider

if TYPE_CHECKING:
    from fleet.plan import FleetPlan, NodePlan


class RecordProvider(Provider, name="fleet.components.record:RecordProvider"):
    """Keeps two generations: ``configs`` and ``previous``."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """A change where the digest of the configs differs."""
        # Not the configs themselves: their compressed bytes are another library's.
        return DiffResult(changes=olds["digest"] != news["digest"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Keep the first generation."""
        return CreateResult("record", props)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Keep the new configs, and those that they take the place of as ``previous``."""
        return UpdateResult({**news, "previous": olds["configs"]})


class Record(DynamicResource, token=tokens.RECORD, provider=RecordProvider):
    """The configs of a fleet's nodes, once all are ready.

    Args:
        plan: The fleet.
        after: What shows that the nodes are ready.
        opts: Resource options.
    """

    def __init__(self, plan: FleetPlan, *, after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions) -> None:
        nodes = list(plan.nodes)
        props: dict[str, Any] = {"digest": _digest(nodes), "configs": _packed(nodes)}
        if any(node.secret for node in nodes):
            props = {key: pulumi.Output.secret(value) for key, value in props.items()}
        super().__init__(
            plan.name,
            props,
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(after))),
        )


def _digest(nodes: Sequence[NodePlan]) -> str:
    digests = {node.name: node.config.digest for node in nodes}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _packed(nodes: Sequence[NodePlan]) -> str:
    """Nodes of a group differ little, and xz, unlike gzip, finds what is far apart."""
    configs = {node.name: [node.config.ignition, node.shown] for node in nodes}
    return base64.b64encode(lzma.compress(json.dumps(configs, sort_keys=True).encode())).decode()


def unpacked(text: str) -> Mapping[str, tuple[str, str]]:
    """By node: its Ignition config, and what may be shown of it.

    Args:
        text: ``configs`` or ``previous`` of a record.
    """
    configs = json.loads(lzma.decompress(base64.b64decode(text)))
    return {name: (ignition, shown) for name, (ignition, shown) in configs.items()}
