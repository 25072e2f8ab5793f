"""An update as a person wants to read it: by node, and why, not by resource.

The engine decides what is done; its events say so. The reason for a re-provisioning is found by comparing what the
state held for the node's machine with what is planned.
"""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pulumi.automation import DiagnosticEvent, EngineEvent, StepEventMetadata

from fleet.config.difference import Change
from fleet.dynamic.provider import NOTE
from fleet.dynamic.tokens import READY
from fleet.ops import events
from fleet.ops.events import Event, Fate, NodeResult, Summary
from fleet.ops.state import Deployed
from fleet.plan import FleetPlan
from fleet.platforms import Platform
from fleet.program.exported import Resource, is_shared, name_of, urn_name

_EXPLAINED = ("ignition", "image", "ami", "userData", "metadata", "coreosIgnition", "__provider")
"""Inputs of machines that are the config or the image, of which more is known than that they change."""
_NAMED = 8
"""Nodes that are named, of those that were left alone."""
_EARLY = re.compile(r"Ignition \(|kernel panicked|emergency mode|data disk|console says|waits for the device")
"""What is said of a node that SSH may not reach."""
_ENDINGS = ("update failed", "preview failed", "update canceled", "preview canceled", "Resource monitor has terminated")
_PROGRAM_STOPPED = re.compile(r"python inline source runtime error: (context canceled|Resource monitor has terminated)")
"""What the program says when the engine has ended before it, with its stack of calls."""


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
        return events.Planned("", self.fate, self.reasons).text


@dataclass(frozen=True)
class Previewed:
    """What a preview has shown.

    Attributes:
        summary: What it came to.
        nodes: What would happen to each node, the planned ones first.
    """

    summary: Summary
    nodes: Mapping[str, NodeReport]


Say = Callable[[str, str], None]
"""Shows a line about a node: its name, and what happens to it."""
Tell = Callable[[Event], None]
"""Takes an event."""


class Reports(Protocol):
    """What the engine's events of one update are told, and what is known of it then."""

    preview: bool
    errors: list[str]

    def event(self, event: EngineEvent) -> None:
        """Take one event of the engine."""
        ...

    def after_failure(self, spec: Path, stack: str) -> list[str]:
        """As :meth:`Reporter.after_failure`."""
        ...

    def summary(self, command: str, fleet: str, exported: Mapping[str, Any] | None = None) -> Summary:
        """As :meth:`Reporter.summary`."""
        ...


class Reporter:
    """Turns the engine's events of one update into fleet's (:mod:`fleet.ops.events`).

    Args:
        platform: The stack's platform.
        plan: What is planned; ``None`` when all is destroyed.
        before: The state's resources before the update.
        tell: Takes the events.
        preview: Nothing is done; tell what would be.
        name: Gives the name in the plan of what a URN names.

    Attributes:
        preview: As given.
        nodes: What happens to each node that something happens to, in order.
        errors: The engine's and the providers' errors, in order, each once.
        operations: What the engine did with resources: "same", "update", "create", ...; known at the end.
    """

    def __init__(
        self,
        platform: Platform,
        plan: FleetPlan | None,
        before: Sequence[Resource],
        tell: Tell,
        *,
        preview: bool,
        name: Callable[[str], str] = urn_name,
    ) -> None:
        self._machine, self._tell, self.preview = platform.machine_type, tell, preview
        self._name = name
        self._image_types = tuple(platform.image_types)
        self._planned = {node.name: node for node in plan.nodes} if plan else {}
        groups = plan.groups.values() if plan else ()
        self._names = {node.name: group.names for group in groups for node in group.nodes}
        self._before = {name_of(r): r for r in before if r["type"] == self._machine and not r.get("delete")}
        self._state = Deployed(before, platform)
        self._deployed = self._state.nodes
        self.nodes: dict[str, NodeReport] = {}
        self._began: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self.errors: list[str] = []
        self._not_ready: dict[str, str] = {}
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
                self._noted(text.removeprefix(NOTE))

    def _begins(self, step: StepEventMetadata) -> None:
        name, op = self._name(step.urn), str(step.op.value)
        if step.type == self._machine:
            self._announce(name, op, list(step.diffs or []))
            if not self.preview:
                # Of a surge, the old machine goes once the new one is ready.
                if name not in self._seconds:
                    self._began.setdefault(name, time.monotonic())
                if op in ("delete-replaced", "delete"):
                    self._tell(events.Stopping(name))
                elif op in ("create", "create-replacement"):
                    self._tell(events.Starting(name))
        elif step.type == READY and op in ("create", "create-replacement") and not self.preview:
            self._since[name] = time.monotonic()
            inputs: Mapping[str, Any] = (step.new.inputs if step.new else None) or {}
            address = inputs.get("address")
            self._tell(events.Waiting(name, address if isinstance(address, str) else ""))
            names = self._names.get(name)
            if names and self.nodes.get(name) == NodeReport("new"):
                # What it waits for may be that its names resolve to it.
                self._tell(events.Names(tuple(names), (str(inputs.get("address", "it")),)))

    def _noted(self, text: str) -> None:
        """A note of a provider's, which begins with a node's name if it is about one."""
        node, colon, rest = text.partition(": ")
        if colon and node in self._planned:
            self._tell(events.Phase(node, rest))
        else:
            self._tell(events.Note("", text))

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
        report = self.nodes[name]
        self._tell(events.Planned(name, report.fate, report.reasons))

    def _changes(self, name: str) -> list[Change]:
        node = self._planned.get(name)
        return self._state.config_changes(node) if node else []

    def _reasons(self, name: str, changed: Sequence[Change], diffs: list[str]) -> Sequence[str]:
        node = self._planned.get(name)
        reasons = list(self._state.reasons(node, changed)) if node else []
        if not reasons or not self._deployed.get(name, {}).get("shape"):
            # More is not known, since an earlier fleet wrote the state, say, than what the provider calls it.
            reasons += [f"{key} changed" for key in diffs if key not in _EXPLAINED]
        if not reasons:
            reasons.append("as asked" if node and node.reprovision else "what its machine is made of changed")
        return reasons

    def _done(self, step: StepEventMetadata) -> None:
        name, op = self._name(step.urn), str(step.op.value)
        if step.type == READY and op in ("create", "create-replacement") and name in self._since:
            now = time.monotonic()
            since = self._since.pop(name)
            self._seconds[name] = now - self._began.get(name, since)
            self._tell(events.Ready(name, round(now - since, 1)))

    def _diagnose(self, event: DiagnosticEvent) -> None:
        text = clean(event.message)
        # The engine's own words for its end repeat, or hide, what the resource said.
        if text and text not in self.errors and not text.startswith(_ENDINGS) and not _PROGRAM_STOPPED.match(text):
            if event.urn and is_shared({"urn": event.urn}) and event.urn.split("::")[2].endswith(self._image_types):
                text += "\nIf the locked image is gone upstream, lock a newer one with `fleet image update`."
            self.errors.append(text)
            node = self._name(event.urn) if event.urn else ""
            if node and text.startswith(f"Node {node} is not ready"):
                self._not_ready.setdefault(node, text)
            if node in self._planned or node in self._before:
                self._tell(events.Failed(node, text))

    def after_failure(self, spec: Path, stack: str) -> list[str]:
        """What was left alone when an update failed, and what to type next: lines.

        Args:
            spec: The spec, as the user wrote its path.
            stack: The stack's name.
        """
        lines = []
        waiting = [name for name in self._planned if name not in self.nodes]
        for text, names in (
            ("untouched", [name for name in waiting if name in self._before]),
            ("not made yet", [name for name in waiting if name not in self._before]),
        ):
            if names:
                more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                count = f"{len(names)} node{'s' if len(names) > 1 else ''} {text}"
                lines.append(f"{count}: {', '.join(names[:_NAMED])}{more}.")
        if self._not_ready:
            node, text = next(iter(self._not_ready.items()))
            container = re.search(r": container ([^\s:]+)", text)
            words = [container[1]] if container else ["--console"] if _EARLY.search(text) else []
            look = shlex.join(["fleet", "logs", str(spec), node, *words, "--stack", stack])
            again = shlex.join(["fleet", "up", str(spec), "--stack", stack])
            lines.append(f"Next: `{look}` shows more; `{again}` goes on from here.")
        return lines

    def summary(self, command: str, fleet: str, exported: Mapping[str, Any] | None = None) -> Summary:
        """What has become of all nodes.

        Args:
            command: The command's name.
            fleet: The fleet's name.
            exported: The stack's outputs after it, which say where nodes are.
        """
        unchanged = len(self._planned) - self.counts["new"] - self.counts["re-provisioned"]
        counts: dict[str, int] = dict(sorted(self.counts.items()))
        if unchanged > 0:
            counts["unchanged"] = unchanged
        shown = (exported or {}).get("nodes") or {}
        groups = {name: node.group for name, node in self._planned.items()}
        removed = [name for name in self.nodes if name not in self._planned]
        results = tuple(self._result(name, groups.get(name), shown.get(name) or {}) for name in [*groups, *removed])
        return Summary(command, fleet, bool(self.counts or self.operations - {"same"}), counts, results)

    def _result(self, name: str, group: str | None, exported: Mapping[str, Any]) -> NodeResult:
        """What has become of a node.

        Args:
            name: Its name.
            group: Its group's; ``None``: the spec has it no longer.
            exported: What the stack exports of it.
        """
        fate = self.nodes[name].fate if name in self.nodes else "unchanged"
        seconds = self._seconds.get(name)
        endpoints: Mapping[str, Any] = exported.get("endpoints") or {}
        return NodeResult(
            name,
            name.rpartition("-")[0] if group is None else group,
            fate,
            seconds if seconds is None else round(seconds, 1),
            str(exported.get("address") or ""),
            {port: str(endpoints[port]) for port in sorted(endpoints, key=int)},
            str(exported.get("ssh") or ""),
        )


def clean(message: str) -> str:
    """An engine's message without colour marks and without what the dynamic provider's transport puts around it."""
    text = without_marks(message)
    # A provider's check that failed.
    text = re.sub(r"^\S+ resource '[^']*' has a problem: ", "", text)
    text = re.sub(r"^.*?Exception calling application: ", "", text, flags=re.DOTALL)
    match = re.search(r"(?:^|\n|: )(?:[\w.]+\.)?(?:FleetError|UsageError): (.*)", text, flags=re.DOTALL)
    return (match[1] if match else text).strip()


def without_marks(message: str) -> str:
    """An engine's message without colour marks, and the word "error" before it."""
    return re.sub(r"^error: ", "", re.sub(r"<\{%[^%]*%\}>", "", message).strip())
