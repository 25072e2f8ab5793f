"""What an update changes of nodes, and why: what a stack's state has of them, compared with what is planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet.config.difference import UNKNOWN, Change, changes
from fleet.dynamic.gate import reshaped
from fleet.dynamic.tokens import GATE, NODE
from fleet.plan import NodePlan
from fleet.platforms.base import Platform
from fleet.program.exported import Configs, Resource, inputs, name_of, outputs

_SHOWN_CHANGES = 6


class Compared:
    """The nodes of a state, to compare with planned ones.

    Args:
        resources: The state's resources, secrets in plain text if they are known.
        platform: The stack's platform.

    Attributes:
        machines: Id of each node's machine, by the node's name.
        interrupted: Names of nodes whose machine is gone, and whose next one is still to be made.
        known: Names of all nodes that an update ever began to make.
        nodes: By name, what is known of each node: its config's ``digest``, the ``shape`` of its machine.
        configs: By name, each node's config, secrets masked, as far as it is known.
    """

    def __init__(self, resources: Sequence[Resource], platform: Platform) -> None:
        self._platform = platform
        self._current = [r for r in resources if not r.get("delete")]
        gates = self._of_type(GATE)
        machines = self._of_type(platform.machine_type)
        self.machines = {name: str(r["id"]) for name, r in machines.items()}
        self.interrupted = {name for name, r in machines.items() if r.get("pendingReplacement")}
        self.known = set(gates)
        self._gates = {name: outputs(r) for name, r in gates.items()}
        # As the gates have it: of the inputs, which are noted even where there is nothing to do.
        self._shapes = {name: inputs(r).get("shape") for name, r in gates.items()}
        self.configs = Configs(resources)
        self.nodes = {name: outputs(r) for name, r in self._of_type(NODE).items()}

    def _of_type(self, kind: str) -> dict[str, Resource]:
        return {name_of(r): r for r in self._current if r["type"] == kind}

    def differs(self, node: NodePlan) -> bool:
        """Whether anything but its image re-provisions a node: its config, its size, its ports, its disks' names.

        Where secrets of the state are encrypted, a config in which nothing but a secret differs counts as unchanged.
        """
        trigger = self._gates.get(node.name, {}).get("trigger", "")
        if node.pending:
            return True
        if trigger is None:
            shown = self.configs.get(node.name)
            changed = shown not in (node.shown, UNKNOWN, None)
        else:
            changed = trigger != self._platform.trigger(node)
        return bool(changed or reshaped(self._shapes.get(node.name), self._platform.shape(node)))

    def reshaped(self, node: NodePlan) -> list[str]:
        """What an update would re-provision a node for besides its config and image, in words."""
        old = self.nodes.get(node.name, {}).get("shape") or self._shapes.get(node.name) or {}
        new = self._platform.shape(node)
        return [f"{key} changed from {old[key] or 'none'} to {new[key] or 'none'}" for key in reshaped(old, new)]

    def image_moves(self, node: NodePlan) -> bool:
        """Whether an update would re-provision a node for its image's sake. Without an image lock, none is known to."""
        gate = self._gates.get(node.name)
        return bool(gate and node.image and node.follow_image and gate.get("image") != self._platform.image(node))

    def config_changes(self, node: NodePlan) -> list[Change]:
        """What differs between a node's deployed config and the planned one, secrets masked."""
        deployed = self.configs.get(node.name)
        return changes(deployed, node.shown) if deployed else []

    def reasons(self, node: NodePlan, changed: Sequence[Change]) -> Iterator[str]:
        """Why an update re-provisions a node, as far as the plan tells.

        Args:
            node: The node.
            changed: Its :meth:`config_changes`.
        """
        if node.pending:
            yield f"not known yet: {', '.join(node.pending)}"
            return
        # Where they are encrypted, and the passphrase is Pulumi's alone, it is not known.
        before = self.nodes.get(node.name, {}).get("outputs") or {}
        yield from (f"{mark} changed" for mark, value in node.outputs.items() if before.get(mark, value) != value)
        yield from map(str, changed[:_SHOWN_CHANGES])
        if len(changed) > _SHOWN_CHANGES:
            yield f"and {len(changed) - _SHOWN_CHANGES} more"
        digest = self.nodes.get(node.name, {}).get("digest")
        if not changed and digest != node.config.digest:
            yield "a secret in its config changed" if node.secret else "its config changed"
        if self.image_moves(node):
            yield "a new image"
        yield from self.reshaped(node)
