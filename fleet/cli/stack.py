"""``fleet preview``, ``up`` and ``destroy``: the Automation API around a planned fleet."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleet.cli.interrupted import settle
from fleet.cli.project import Project, Stack, is_data_disk, is_shared, kept_disks, translated, urn_name
from fleet.cli.report import NodeReport, Reporter, Say
from fleet.cli.state import Deployed, NodeStatus
from fleet.components.gate import PATIENCE
from fleet.components.ready import watcher_of
from fleet.config import MachineConfig, deliver
from fleet.errors import FleetError, UsageError
from fleet.images import Progress
from fleet.platforms import Platform
from fleet.platforms.base import NodePlan
from fleet.platforms.common import stack_folder
from fleet.probes import SSH_PORT
from fleet.spec import FleetPlan
from fleet.spec.deploy import deploy, plan_stack, stack_platform

KNOWN_HOSTS = "known_hosts"
"""Where the host keys of a stack's machines are kept, in its folder."""

Bar = Callable[[], contextlib.AbstractContextManager[Progress]]
"""Makes what shows how far a download is."""


class Session:
    """One command's work on a stack.

    Args:
        spec: The spec's file.
        stack: The stack's name.
        say: Shows a line about a node, or, with an empty subject, about all.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
        begin: Called with the plan and the names of nodes that are to change before an update begins.
    """

    def __init__(
        self,
        spec: Path,
        stack: str,
        say: Say,
        *,
        new_image: bool = False,
        begin: Callable[[FleetPlan, Sequence[str]], None] = lambda plan, changing: None,
    ) -> None:
        self._begin = begin
        self._spec, self._stack_name, self._say, self._new_image = spec, stack, say, new_image
        self._project = Project.around(spec)
        # Probes and drains name modules beside Pulumi.yaml; the engine's providers run there.
        sys.path.append(str(self._project.folder))

    def diff(self) -> dict[str, NodeReport]:
        """What would happen to every node, the planned ones first."""
        plan, reporter = self._previewed(lambda subject, text: None)
        planned = {node.name: reporter.nodes.get(node.name, NodeReport("unchanged")) for node in plan.nodes}
        return {**planned, **reporter.nodes}

    def preview(self) -> bool:
        """Say what would be done; returns whether anything would."""
        plan, reporter = self._previewed(self._say)
        changed = bool(reporter.operations - {"same"})
        self._say("", f"{plan.name} would have: {reporter.summary()}." if changed else "Nothing would change.")
        return changed

    def _previewed(self, say: Say) -> tuple[FleetPlan, Reporter]:
        stack, plan, platform = self._plan()
        reporter = Reporter(platform, plan, stack.resources, say, preview=True)
        with _failing(stack, reporter):
            stack.preview(reporter.event)
        return plan, reporter

    def up(self, bar: Bar) -> None:
        """Do it."""
        self._deploy(*self._plan(), bar)

    def rollback(self, bar: Bar) -> None:
        """Give every node back its config of before the last rollout, or, if that stopped half way, from before it.

        Raises:
            FleetError: There is nothing to go back to.
        """
        stack, plan, platform = self._plan()
        configs = Deployed(stack.resources, platform).before_last_rollout()
        if configs is None:
            raise FleetError(f"Stack {self._stack_name} has had one config only, so there is none to go back to.")

        def earlier(node: NodePlan) -> NodePlan:
            if node.name not in configs:
                return node
            ignition, shown = configs[node.name]
            config = MachineConfig(ignition, json.loads(ignition)["ignition"]["version"])
            delivery = deliver(config, platform.limits, node=node.name)
            return replace(node, config=config, delivery=delivery, shown=shown, secret=shown != ignition)

        plan = plan.with_nodes(earlier)
        platform.check(plan)
        self._program(stack, plan, platform)
        self._deploy(stack, plan, platform, bar)
        self._say("", "The spec still has the newer configs: mend it before the next `fleet up`.")

    def _deploy(self, stack: Stack, plan: FleetPlan, platform: Platform, bar: Bar) -> None:
        settle(stack, platform, self._say)
        deployed = Deployed(stack.resources, platform)
        changing = [node.name for node in plan.nodes if deployed.changes(node)]
        self._prepare(plan, platform, bar, needed=bool(changing))
        self._begin(plan, changing)
        reporter = Reporter(platform, plan, stack.resources, self._say, preview=False)
        with _failing(stack, reporter):
            if first := _sick_before_well(deployed, plan):
                self._say("", f"Not ready, so re-provisioned first: {', '.join(first)}.")
                targets = _targets(plan, first)
                stack.run(lambda: stack.automation.up(on_event=reporter.event, refresh=True, target=targets))
            stack.run(lambda: stack.automation.up(on_event=reporter.event, refresh=True))
        if reporter.counts:
            self._say("", f"{plan.name}: {reporter.summary()}.")
        else:
            same = reporter.operations <= {"same"}
            self._say("", f"{plan.name}: nothing changes." if same else f"{plan.name}: updated, {reporter.summary()}.")
        outputs = stack.outputs()
        for name, node in sorted(outputs.get("nodes", {}).items()):
            for port, endpoint in sorted(node.get("endpoints", {}).items(), key=lambda item: int(item[0])):
                self._say(name, f"port {port} at {endpoint}")
            self._say(name, node["ssh"])
        for name, addresses in sorted(outputs.get("names", {}).items()):
            self._say("", f"{name}: to lead to {', '.join(addresses)}")

    def destroy(self, *, delete_data_disks: bool) -> None:
        """Remove every node, and data disks if asked."""
        stack = Stack(self._project, self._stack_name, create=False)
        platform = stack_platform(stack.config.get, folder=self._project.folder, stack=stack.name)
        settle(stack, platform, self._say)
        disks = kept_disks(stack.resources)
        # What nodes share is kept for the sake of nodes, and goes with the last one.
        _release(stack, lambda resource: is_shared(resource) or (delete_data_disks and is_data_disk(resource)))
        reporter = Reporter(platform, None, stack.resources, self._say, preview=False)
        with _failing(stack, reporter):
            stack.run(lambda: stack.automation.destroy(on_event=reporter.event))
        self._say("", f"{self._project.name}: {reporter.summary()}.")
        folder = stack_folder(self._project.folder, stack.name)
        shutil.rmtree(folder / "rosters", ignore_errors=True)
        (folder / KNOWN_HOSTS).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # unless data disks are in it
        for name, place in disks:
            self._say("", f"Data disk {name} {'deleted' if delete_data_disks else 'kept'}: {place}")

    def replace(self, node: str, bar: Bar) -> None:
        """Re-provision one node as the spec has it, and touch no other.

        Raises:
            UsageError: There is no such node.
            FleetError: Too many of its peers are down.
        """
        stack, plan, platform = self._plan()
        settle(stack, platform, self._say)
        reporter = Reporter(platform, plan, stack.resources, self._say, preview=False)
        deployed = Deployed(stack.resources, platform)
        group = plan.groups[self._made(plan, deployed, node).group]
        down = deployed.not_ready([each for each in group.nodes if each.name != node], patience=PATIENCE)
        if len(down) >= group.window:
            raise FleetError(
                f"Node {node} is left as it is: "
                + "; ".join(f"{name} is not ready ({reason})" for name, reason in down.items())
                + f", and at most {group.window} of the group may be down at once."
            )
        # Its gate, too, is to make sure that a new machine can be made.
        plan = plan.with_nodes(lambda each: replace(each, again=each.name == node))
        self._program(stack, plan, platform)
        self._prepare(plan, platform, bar, needed=True)
        parts = [
            r["urn"] for r in stack.resources if r["type"] in platform.replaced_types and urn_name(r["urn"]) == node
        ]
        with _failing(stack, reporter):
            stack.run(
                lambda: stack.automation.up(
                    on_event=reporter.event, refresh=True, target=_targets(plan, [node]), replace=parts
                )
            )
        self._say("", f"{plan.name}: {reporter.summary()}.")

    def login(self, node: str, *, identity: Path | None) -> list[str]:
        """The command that logs in to a node as ``core``, whether it is ready or not.

        Host keys are kept by machine, not by address: a node that was re-provisioned has a new one, which is taken at
        first sight, while another key on the same machine is refused.

        Args:
            node: Its name.
            identity: A private key's file; by default what ssh finds.

        Raises:
            UsageError: There is no such node, or it has not been made.
        """
        stack, plan, platform = self._plan()
        deployed = Deployed(stack.resources, platform)
        place = deployed.peer(self._made(plan, deployed, node))
        host, port = place.endpoints.get(SSH_PORT, (place.address, SSH_PORT))
        folder = stack_folder(self._project.folder, stack.name)
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "HostKeyAlias": deployed.machines[node],
            "UserKnownHostsFile": f'"{folder / KNOWN_HOSTS}"',
            "StrictHostKeyChecking": "accept-new",
        }
        given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        key = ["-i", str(identity)] if identity else []
        return ["ssh", "-p", str(port), *given, *key, f"core@{host}"]

    def console(self, node: str) -> str:
        """The end of a node's serial console.

        Raises:
            UsageError: There is no such node, or it has not been made.
            FleetError: The platform shows consoles in another way; says which.
        """
        stack, plan, platform = self._plan()
        deployed = Deployed(stack.resources, platform)
        if watcher := watcher_of(deployed.peer(self._made(plan, deployed, node)).describe().get("watch")):
            return watcher.console()
        shown = stack.outputs().get("nodes", {}).get(node, {}).get("console")
        raise FleetError(
            f"fleet itself cannot read the consoles of {platform.name}.",
            fix=f"This shows it: {shown}." if shown else "Its own tools can.",
        )

    @staticmethod
    def _made(plan: FleetPlan, deployed: Deployed, node: str) -> NodePlan:
        found = next((each for each in plan.nodes if each.name == node), None)
        if found is None:
            raise UsageError(
                f"There is no node {node} in {plan.name}.", fix=f"There are: {', '.join(n.name for n in plan.nodes)}."
            )
        if node not in deployed.machines:
            raise UsageError(f"Node {node} has not been made yet.", fix="`fleet up` makes it.")
        return found

    def status(self) -> list[NodeStatus]:
        """How every node is, planned or deployed."""
        stack, plan, platform = self._plan()
        deployed = Deployed(stack.resources, platform)
        found = deployed.statuses(list(plan.nodes))
        planned = {node.name for node in plan.nodes}
        return found + [NodeStatus(name, "to be removed") for name in sorted(deployed.machines) if name not in planned]

    def _prepare(self, plan: FleetPlan, platform: Platform, bar: Bar, *, needed: bool) -> None:
        """Get the image, which nobody may miss where no machine is to be made."""
        with bar() as progress, contextlib.nullcontext() if needed else contextlib.suppress(FleetError):
            for image in {node.image.release: node.image for node in plan.nodes if node.image}.values():
                platform.prepare(image, progress)

    def _plan(self) -> tuple[Stack, FleetPlan, Platform]:
        """Plan before the engine starts, so that what is wrong with the spec is said at once, and the program is only
        to declare what is planned.
        """
        stack = Stack(self._project, self._stack_name, create=True)
        plan, platform = plan_stack(
            self._spec,
            stack.config.get,
            project=self._project.name,
            folder=self._project.folder,
            stack=stack.name,
            new_image=self._new_image,
        )
        self._program(stack, plan, platform)
        return stack, plan, platform

    def _program(self, stack: Stack, plan: FleetPlan, platform: Platform) -> None:
        async def program() -> None:
            await deploy(plan, platform, project=self._project.folder, stack=stack.name)

        stack.automation.workspace.program = program


def _sick_before_well(deployed: Deployed, plan: FleetPlan) -> list[str]:
    """Nodes that are not ready, where others would change too: a gate would hold those back."""
    first: list[str] = []
    for group in plan.groups.values():
        changing = {node.name for node in group.nodes if deployed.changes(node)}
        if not changing:
            continue
        sick = deployed.not_ready([node for node in group.nodes if node.name in deployed.known], patience=PATIENCE)
        if changing - sick.keys():
            first += [name for name in sick if name in changing or name not in deployed.machines]
    return first


def _targets(plan: FleetPlan, nodes: Sequence[str]) -> list[str]:
    """URN patterns of all that belongs to nodes."""
    names = list(nodes) + [
        f"{node.name}-{disk.name}" for node in plan.nodes if node.name in nodes for disk in node.disks
    ]
    return [f"**::{name}" for name in names]


@contextlib.contextmanager
def _failing(stack: Stack, reporter: Reporter) -> Iterator[None]:
    """What the resources said went wrong is the error, not how the engine ended."""
    try:
        with translated(stack):
            yield
    except FleetError as error:
        if reporter.errors and type(error) is FleetError:
            raise FleetError("\n".join(reporter.errors)) from None
        raise


def _release(stack: Stack, which: Callable[[dict[str, Any]], bool]) -> None:
    """Take back, in the state, the promise to keep some resources."""
    with translated(stack):
        state = stack.automation.export_stack()
        resources = (state.deployment or {}).get("resources") or []
        released = [resource for resource in resources if resource.get("retainOnDelete") and which(resource)]
        if released:
            for resource in released:
                del resource["retainOnDelete"]
            stack.automation.import_stack(state)
