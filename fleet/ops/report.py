"""An update as a person wants to read it: by node, and why, not by resource.

The engine decides what is done; its events say so. The reason for a re-provisioning is found by comparing what the
state held for the node's machine with what is planned.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pulumi.automation import DiagnosticEvent, EngineEvent, StepEventMetadata

from fleet.config.difference import Change, changes
from fleet.dynamic.provider import NOTE
from fleet.dynamic.tokens import READY
from fleet.ops.state import Deployed
from fleet.plan import FleetPlan
from fleet.platforms import Platform
from fleet.program.exported import Resource, is_shared, name_of, urn_name

_SHOWN_CHANGES = 6
_EXPLAINED = ("ignition", "image", "ami", "userData", "metadata", "coreosIgnition", "__provider")
"""Inputs of machines that are the config or the image, of which more is known than that they change."""
_ENDINGS = ("update failed", "preview failed", "update canceled", "preview canceled", "Resource monitor has terminated")
_PROGRAM_STOPPED = re.compile(r"python inline source runtime error: (context canceled|Resource monitor has terminated)")
"""What the program says when the engine has ended before it, with its stack of calls."""

Fate = Literal["new", "re-provisioned", "removed", "unchanged"]


@dataclass(frozen=True)
class NodeReport:
    """What happens to a node.

    Attributes:
        fate: What.
        reasons: Why, if it is re-provisioned.
        changes: What differs between its deployed config and the planned one, secrets masked.
    """

    fate: Fate
    reasons: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        word = {"re-provisioned": "re-provision", "removed": "remove"}.get(self.fate, self.fate)
        return f"{word}: {', '.join(self.reasons)}" if self.reasons else word


Say = Callable[[str, str], None]
"""Shows a line about a node: its name, and what happens to it."""


class Reporter:
    """Turns the events of one update into lines.

    Args:
        platform: The stack's platform.
        plan: What is planned; ``None`` when all is destroyed.
        before: The state's resources before the update.
        say: Shows a line.
        preview: Nothing is done; say what would be.

    Attributes:
        preview: As given.
        nodes: What happens to each node that something happens to, in order.
        errors: The engine's and the providers' errors, in order, each once.
        operations: What the engine did with resources: "same", "update", "create", ...; known at the end.
    """

    def __init__(
        self, platform: Platform, plan: FleetPlan | None, before: Sequence[Resource], say: Say, *, preview: bool
    ) -> None:
        self._machine, self._say, self.preview = platform.machine_type, say, preview
        self._image_types = tuple(platform.image_types)
        self._planned = {node.name: node for node in plan.nodes} if plan else {}
        groups = plan.groups.values() if plan else ()
        self._names = {node.name: group.names for group in groups for node in group.nodes}
        self._before = {name_of(r): r for r in before if r["type"] == self._machine and not r.get("delete")}
        self._state = Deployed(before, platform)
        self._deployed = self._state.nodes
        self.nodes: dict[str, NodeReport] = {}
        self._since: dict[str, float] = {}
        self.errors: list[str] = []
        self.operations: set[str] = set()

    def event(self, event: EngineEvent) -> None:
        """Take one event of the engine."""
        if event.resource_pre_event:
            self._begins(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            self._done(event.res_outputs_event.metadata)
        elif event.summary_event:
            self.operations |= {op for op, count in event.summary_event.resource_changes.items() if count}
        elif event.diagnostic_event and event.diagnostic_event.severity == "error":
            self._diagnose(event.diagnostic_event)
        elif event.diagnostic_event:
            # What else comes from providers is theirs to know.
            text = clean(event.diagnostic_event.message)
            if text.startswith(NOTE):
                self._say("", text.removeprefix(NOTE))

    def _begins(self, step: StepEventMetadata) -> None:
        name, op = urn_name(step.urn), str(step.op.value)
        if step.type == self._machine:
            self._announce(name, op, list(step.diffs or []))
            if not self.preview:
                if op in ("delete-replaced", "delete"):
                    self._say(name, "stopping")
                elif op in ("create", "create-replacement"):
                    self._say(name, "starting from a fresh image")
        elif step.type == READY and op in ("create", "create-replacement") and not self.preview:
            self._since[name] = time.monotonic()
            self._say(name, "started; waiting until it is ready")
            names = self._names.get(name)
            if names and self.nodes.get(name) == NodeReport("new"):
                # What it waits for may be that its names resolve to it.
                inputs = step.new.inputs if step.new else None
                self._say("", f"{', '.join(names)}: should resolve to {(inputs or {}).get('address', 'it')}")

    @property
    def counts(self) -> Counter[str]:
        """How many nodes have which fate, without those that nothing happens to."""
        return Counter(node.fate for node in self.nodes.values())

    def _announce(self, name: str, op: str, diffs: list[str]) -> None:
        fates: dict[str, Fate] = {"create": "new", "replace": "re-provisioned", "create-replacement": "re-provisioned",
                                  "delete-replaced": "re-provisioned", "delete": "removed"}  # fmt: skip
        fate = fates.get(op)
        if fate is None or name in self.nodes:
            return
        if fate == "new" and name in self._before:
            self.nodes[name] = NodeReport("re-provisioned", ("it no longer runs",), tuple(self._changes(name)))
        elif fate == "re-provisioned":
            changed = tuple(self._changes(name))
            self.nodes[name] = NodeReport(fate, tuple(self._reasons(name, changed, diffs)), changed)
        else:
            self.nodes[name] = NodeReport(fate)
        self._say(name, str(self.nodes[name]))

    def _changes(self, name: str) -> list[Change]:
        deployed, node = self._deployed.get(name, {}), self._planned.get(name)
        return changes(deployed["config"], node.shown) if node and deployed.get("config") else []

    def _reasons(self, name: str, changed: Sequence[Change], diffs: list[str]) -> Sequence[str]:
        reasons = list(self._planned_reasons(name, changed))
        if not reasons or not self._deployed.get(name, {}).get("shape"):
            # More is not known, since an earlier fleet wrote the state, say, than what the provider calls it.
            reasons += [f"{key} changed" for key in diffs if key not in _EXPLAINED]
        if not reasons:
            node = self._planned.get(name)
            reasons.append("as asked" if node and node.reprovision else "what its machine is made of changed")
        return reasons

    def _planned_reasons(self, name: str, changed: Sequence[Change]) -> Iterator[str]:
        yield from map(str, changed[:_SHOWN_CHANGES])
        if len(changed) > _SHOWN_CHANGES:
            yield f"and {len(changed) - _SHOWN_CHANGES} more"
        node, deployed = self._planned.get(name), self._deployed.get(name, {})
        if not changed and node and deployed.get("digest") != node.config.digest:
            yield "a secret in its config changed" if node.secret else "its config changed"
        if node and self._state.image_moves(node):
            yield "a new image"
        if node:
            yield from self._state.reshaped(node)

    def _done(self, step: StepEventMetadata) -> None:
        name, op = urn_name(step.urn), str(step.op.value)
        if step.type == READY and op in ("create", "create-replacement") and name in self._since:
            self._say(name, f"ready after {time.monotonic() - self._since.pop(name):.0f} s")

    def _diagnose(self, event: DiagnosticEvent) -> None:
        text = clean(event.message)
        # The engine's own words for its end repeat, or hide, what the resource said.
        if text and text not in self.errors and not text.startswith(_ENDINGS) and not _PROGRAM_STOPPED.match(text):
            if event.urn and is_shared({"urn": event.urn}) and event.urn.split("::")[2].endswith(self._image_types):
                text += "\nIf the locked image is gone upstream, lock a newer one with `fleet image update`."
            self.errors.append(text)

    def summary(self) -> str:
        """One line about all nodes."""
        unchanged = len(self._planned) - self.counts["new"] - self.counts["re-provisioned"]
        parts = [f"{count} {fate}" for fate, count in sorted(self.counts.items())]
        if unchanged > 0:
            parts.append(f"{unchanged} unchanged")
        return ", ".join(parts) or "no nodes"


def clean(message: str) -> str:
    """An engine's message without colour marks and without what the dynamic provider's transport puts around it."""
    text = re.sub(r"<\{%[^%]*%\}>", "", message).strip()
    text = re.sub(r"^error: ", "", text)
    # A provider's check that failed.
    text = re.sub(r"^\S+ resource '[^']*' has a problem: ", "", text)
    text = re.sub(r"^.*?Exception calling application: ", "", text, flags=re.DOTALL)
    match = re.search(r"(?:^|\n|: )(?:[\w.]+\.)?(?:FleetError|UsageError): (.*)", text, flags=re.DOTALL)
    return (match[1] if match else text).strip()
