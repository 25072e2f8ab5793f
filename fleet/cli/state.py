"""What a stack's state says of its nodes, and what the nodes themselves say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.cli.project import plain, urn_name
from fleet.components.gate import not_ready, reshaped
from fleet.components.record import RECORD, unpacked
from fleet.platforms.base import NodePlan, Peer, Platform

READY = "dynamic/fleet:Ready"
NODE = "fleet:components:Node"
GATE = "dynamic/fleet:Gate"


@dataclass(frozen=True)
class NodeStatus:
    """How a node is.

    Attributes:
        node: Its name.
        state: "ready", "not ready", "not made" or "to be removed".
        reason: Why it is not ready.
        outdated: Whether the spec has another config for it.
    """

    node: str
    state: str
    reason: str = ""
    outdated: bool = False


class Deployed:
    """The nodes of a state.

    Args:
        resources: The state's resources, secrets in plain text.
        platform: The stack's platform.

    Attributes:
        machines: Id of each node's machine, by the node's name.
        known: Names of all nodes that an update ever began to make.
        nodes: By name, what is known of each node: its config's ``digest``, and its ``config``, secrets masked; the
            ``shape`` of its machine.
    """

    def __init__(self, resources: Sequence[dict[str, Any]], platform: Platform) -> None:
        self._platform = platform
        there = [r for r in resources if not r.get("delete")]
        self.machines = {urn_name(r["urn"]): str(r["id"]) for r in there if r["type"] == platform.machine_type}
        gates = {urn_name(r["urn"]): plain(r.get("outputs", {})) for r in there if GATE in r["type"]}
        self.known = set(gates)
        self._gates = gates
        # As the gates have it: of the inputs, which are noted even where there is nothing to do.
        self._shapes = {urn_name(r["urn"]): plain(r.get("inputs", {})).get("shape") for r in there if GATE in r["type"]}
        self.nodes = {urn_name(r["urn"]): plain(r.get("outputs", {})) for r in there if r["type"] == NODE}
        self._record: dict[str, Any] = next((plain(r.get("outputs", {})) for r in there if RECORD in r["type"]), {})
        self._ready = {urn_name(r["urn"]) for r in there if READY in r["type"]}

    def changes(self, node: NodePlan) -> bool:
        """Whether an update would re-provision a node: another config or shape, or an image that it is to follow."""
        gate = self._gates.get(node.name, {})
        return (
            self.image_moves(node)
            or bool(gate.get("trigger") != self._platform.trigger(node))
            or bool(reshaped(self._shapes.get(node.name), self._platform.shape(node)))
        )

    def reshaped(self, node: NodePlan) -> list[str]:
        """What an update would re-provision a node for besides its config and image, in words."""
        old = self.nodes.get(node.name, {}).get("shape") or self._shapes.get(node.name) or {}
        new = self._platform.shape(node)
        return [f"{key} changed from {old[key] or 'none'} to {new[key] or 'none'}" for key in reshaped(old, new)]

    def image_moves(self, node: NodePlan) -> bool:
        """Whether an update would re-provision a node for its image's sake."""
        gate = self._gates.get(node.name)
        return bool(gate and node.follow_image and gate.get("image") != self._platform.image(node))

    def before_last_rollout(self) -> Mapping[str, tuple[str, str]] | None:
        """The configs to go back to, as :func:`~fleet.components.record.unpacked` has them; ``None``: none is known."""
        if "configs" not in self._record:
            return None
        last = unpacked(self._record["configs"])
        stopped = any(
            self.nodes[name].get("digest") != hashlib.sha256(ignition.encode()).hexdigest()
            for name, (ignition, _) in last.items()
            if name in self.nodes
        )
        if stopped:
            return last
        return unpacked(self._record["previous"]) if "previous" in self._record else None

    def peer(self, node: NodePlan) -> Peer:
        """How a node can be reached and asked, at its address in the state."""
        return self._platform.peer(node, str(self.nodes.get(node.name, {}).get("address", "")))

    def not_ready(self, nodes: Sequence[NodePlan], *, patience: float = 0) -> dict[str, str]:
        """Which nodes are not ready, and why.

        Args:
            nodes: Those that are asked, all at once.
            patience: Seconds for which nodes are asked again that were ready when they were made.
        """
        made = [node for node in nodes if node.name in self.machines and node.name in self.nodes]
        peers = [{"name": node.name, **self.peer(node).describe()} for node in made]
        ready = [peer for peer in peers if peer["name"] in self._ready]
        others = [peer for peer in peers if peer["name"] not in self._ready]
        reasons = {
            **{node.name: "it has no machine" for node in nodes if node not in made},
            **{peer["name"]: "it did not get ready in the last update" for peer in others},
            **not_ready(others),
            **not_ready(ready, patience=patience),
        }
        return {node.name: reasons[node.name] for node in nodes if node.name in reasons}

    def statuses(self, nodes: Sequence[NodePlan]) -> list[NodeStatus]:
        """How nodes are."""
        reasons = self.not_ready(nodes)

        def status(node: NodePlan) -> NodeStatus:
            if node.name not in self.machines:
                return NodeStatus(node.name, "not made", outdated=True)
            reason = reasons.get(node.name, "")
            return NodeStatus(node.name, "not ready" if reason else "ready", reason, self.changes(node))

        return [status(node) for node in nodes]
