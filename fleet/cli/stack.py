"""``fleet preview``, ``up`` and ``destroy``: the Automation API around a planned fleet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pulumi.automation import PreviewResult

from fleet.cli.project import Project, Stack, kept_disks, translated
from fleet.cli.report import NodeReport, Reporter, Say, stack_nodes
from fleet.errors import FleetError
from fleet.images import Progress
from fleet.platforms import Platform
from fleet.spec import FleetPlan
from fleet.spec.deploy import deploy, plan_stack, stack_platform


class Session:
    """One command's work on a stack.

    Args:
        spec: The spec's file.
        stack: The stack's name.
        say: Shows a line about a node, or, with an empty subject, about all.
    """

    def __init__(self, spec: Path, stack: str, say: Say) -> None:
        self._spec, self._stack_name, self._say = spec, stack, say
        self._project = Project.around(spec)

    def diff(self) -> dict[str, NodeReport]:
        """What would happen to every node, the planned ones first."""
        _, plan, reporter = self._previewed(lambda subject, text: None)
        planned = {node.name: reporter.nodes.get(node.name, NodeReport("unchanged")) for node in plan.nodes}
        return {**planned, **reporter.nodes}

    def preview(self) -> bool:
        """Say what would be done; returns whether anything would."""
        result, plan, reporter = self._previewed(self._say)
        changed = any(str(op) not in ("same", "OpType.SAME") for op, count in result.change_summary.items() if count)
        self._say("", f"{plan.name} would have: {reporter.summary()}." if changed else "Nothing would change.")
        return changed

    def _previewed(self, say: Say) -> tuple[PreviewResult, FleetPlan, Reporter]:
        stack, plan, platform = self._plan()
        reporter = Reporter(platform, plan, stack.resources, say, preview=True)
        with _failing(stack, reporter):
            return stack.automation.preview(on_event=reporter.event, refresh=True), plan, reporter

    def up(self, progress: Progress) -> None:
        """Do it."""
        stack, plan, platform = self._plan()
        for image in {node.image.release: node.image for node in plan.nodes if node.image}.values():
            platform.prepare(image, progress)
        reporter = Reporter(platform, plan, stack.resources, self._say, preview=False)
        with _failing(stack, reporter):
            result = stack.automation.up(on_event=reporter.event, refresh=True)
        if reporter.counts:
            self._say("", f"{plan.name}: {reporter.summary()}.")
        else:
            changes = result.summary.resource_changes or {}
            same = set(changes) <= {"same"}
            self._say("", f"{plan.name}: nothing changes." if same else f"{plan.name}: updated, {reporter.summary()}.")
        for name, node in sorted(stack_nodes(result.outputs).items()):
            for port, endpoint in sorted(node.get("endpoints", {}).items(), key=lambda item: int(item[0])):
                self._say(name, f"port {port} at {endpoint}")
            self._say(name, node["ssh"])

    def destroy(self, *, delete_data_disks: bool) -> None:
        """Remove every node, and data disks if asked."""
        stack = Stack(self._project, self._stack_name, create=False)
        platform = stack_platform(stack.config.get, folder=self._project.folder, stack=stack.name)
        disks = kept_disks(stack.resources)
        if delete_data_disks and disks:
            _release_disks(stack)
        reporter = Reporter(platform, None, stack.resources, self._say, preview=False)
        with _failing(stack, reporter):
            stack.automation.destroy(on_event=reporter.event)
        self._say("", f"{self._project.name}: {reporter.summary()}.")
        for name, place in disks:
            self._say("", f"Data disk {name} {'deleted' if delete_data_disks else 'kept'}: {place}")

    def _plan(self) -> tuple[Stack, FleetPlan, Platform]:
        """Plan before the engine starts, so that what is wrong with the spec is said at once, and the program is only
        to declare what is planned.
        """
        stack = Stack(self._project, self._stack_name, create=True)
        plan, platform = plan_stack(
            self._spec, stack.config.get, project=self._project.name, folder=self._project.folder, stack=stack.name
        )

        def program() -> None:
            deploy(plan, platform)

        stack.automation.workspace.program = program
        return stack, plan, platform


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


def _release_disks(stack: Stack) -> None:
    """Take back, in the state, the promise to keep data disks."""
    with translated(stack):
        state = stack.automation.export_stack()
        for resource in (state.deployment or {}).get("resources") or []:
            resource.pop("retainOnDelete", None)
        stack.automation.import_stack(state)
