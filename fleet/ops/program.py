"""A command's work on a stack that a user's own program makes, with fleets beside other resources.

What only looks at nodes, or logs in to them, reads the stack's state: what a program's fleets note there is all that it
takes. What changes the stack has Pulumi run the program, which may be in a virtual environment of its own. Its fleets
say what they plan (:mod:`fleet.program.order`), and so nodes that are sick go first, and what happens to nodes is told,
as with a spec.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from pulumi.automation import EngineEvent

from fleet.dynamic.gate import PATIENCE
from fleet.dynamic.tokens import FLEET, NODE
from fleet.errors import FleetError, UsageError, release, unexpected
from fleet.files import socket_folder, stack_folder
from fleet.ops.events import Begin, Event, NodeResult, Note, Summary, Warned
from fleet.ops.fleets import ProgramFleet, place, platform_of, program_fleets
from fleet.ops.history import noting
from fleet.ops.recovery import recover_interrupted_update
from fleet.ops.report import NodeReport, Previewed, Reporter, Reports, Tell, clean, without_marks
from fleet.ops.session import Session, failing, not_ready_first, spare_peers, targets_of
from fleet.ops.state import Deployed
from fleet.ops.status import FleetStatus, statuses
from fleet.ops.tracebacks import in_short
from fleet.ops.workspace import Stack, retained_disks
from fleet.plan import FleetPlan
from fleet.platforms import Platform
from fleet.program.exported import STACK, is_data_disk, is_of_fleet, name_of, urn_name
from fleet.program.fleets import SEVERAL, own_name, platform_stack, program_name, said
from fleet.program.history import REPLACE
from fleet.program.order import Answer, Order, confirm, read

_OF_PLUGIN = re.compile(r"using pulumi-\S+ from ")
"""What the engine says of plugins that it does not have from Pulumi's own place."""


class ProgramReporter:
    """Tells what happens to the nodes of all fleets of a program, and to what it has beside them.

    Args:
        fleets: Those of the state.
        tell: Takes the events.
        folder: The program's.
        preview: Nothing is done; tell what would be.

    Attributes:
        preview: As given.
        errors: As of :class:`fleet.ops.report.Reporter`.
        plans: By fleet, what it plans.
        others: The URNs of what the program has beside its fleets.
    """

    def __init__(self, fleets: Sequence[ProgramFleet], tell: Tell, folder: Path, *, preview: bool) -> None:
        self._tell, self._folder, self.preview = tell, folder, preview
        self._fleets = {fleet.name: fleet for fleet in fleets}
        self._reporters: dict[str, Reporter] = {}
        self._changed = False
        self.errors: list[str] = []
        self.plans: dict[str, FleetPlan] = {}
        self.others: dict[str, None] = {}
        for fleet in fleets:
            self._reporters[fleet.name] = self._reporter(fleet.name, fleet.platform, None)

    def answered(self, answer: Answer, platform: Platform) -> None:
        """Take what a fleet plans."""
        self.plans[answer.fleet] = answer.plan
        self._reporters[answer.fleet] = self._reporter(answer.fleet, platform, answer)

    def shown(self, fleet: str, node: str) -> str:
        """A node's name, as users say it."""
        return said(fleet, node) if len({*self._fleets, *self.plans}) > 1 and fleet and node else node

    def event(self, event: EngineEvent) -> None:
        """Take one event of the engine."""
        if event.summary_event:
            changes = event.summary_event.resource_changes
            self._changed |= any(count and str(op) != "same" for op, count in changes.items())
            return
        step = event.resource_pre_event or event.res_outputs_event
        urn = step.metadata.urn if step else event.diagnostic_event.urn if event.diagnostic_event else ""
        reporter = self._reporter_of(urn or "")
        if reporter:
            before = len(reporter.errors)
            reporter.event(event)
            self.errors += [text for text in reporter.errors[before:] if text not in self.errors]
        elif event.resource_pre_event:
            self._other(event.resource_pre_event.metadata)
        elif event.diagnostic_event:
            self._diagnosed(event.diagnostic_event.severity, event.diagnostic_event.message, urn or "")

    @property
    def nodes(self) -> dict[str, NodeReport]:
        """As of :class:`fleet.ops.report.Reporter`, all planned nodes first."""
        planned = {
            self.shown(fleet, node.name): NodeReport("unchanged")
            for fleet, plan in sorted(self.plans.items())
            for node in plan.nodes
        }
        told = {
            self.shown(fleet, name): node
            for fleet, reporter in sorted(self._reporters.items())
            for name, node in reporter.nodes.items()
        }
        return planned | told

    def after_failure(self, spec: Path, stack: str) -> list[str]:
        """As :meth:`Reporter.after_failure`."""
        lines: list[str] = []
        for reporter in self._reporters.values():
            lines += [line for line in reporter.after_failure(spec, stack) if line not in lines]
        return lines

    def summary(self, command: str, fleet: str, exported: Mapping[str, Any] | None = None) -> Summary:
        """As :meth:`Reporter.summary`.

        Args:
            command: The command's name.
            fleet: The program's name.
            exported: By fleet, what is known of each of its nodes after it.
        """
        counts: dict[str, int] = {}
        results: list[NodeResult] = []
        for name, reporter in sorted(self._reporters.items()):
            part = reporter.summary(command, name, {"nodes": (exported or {}).get(name) or {}})
            for fate, count in part.counts.items():
                counts[fate] = counts.get(fate, 0) + count
            results += [
                replace(each, node=self.shown(name, each.node), group=self.shown(name, each.group))
                for each in part.nodes
            ]
        order = ("new", "re-provisioned", "removed")
        listed = {**{key: counts[key] for key in sorted(counts, key=lambda key: (key not in order, key))}}
        return Summary(command, fleet, self._changed or any(key in counts for key in order), listed, tuple(results))

    def _reporter(self, fleet: str, platform: Platform, answer: Answer | None) -> Reporter:
        def tell(event: Event) -> None:
            node = getattr(event, "node", "")
            self._tell(replace(event, node=self.shown(fleet, node)) if node else event)  # type: ignore[call-arg]

        def named(urn: str) -> str:
            name = own_name(fleet, urn_name(urn))
            return urn_name(urn) if name is None else name

        before = self._fleets[fleet].resources if fleet in self._fleets else ()
        plan = answer.plan if answer else None
        return Reporter(platform, plan, before, tell, preview=self.preview, name=named)

    def _reporter_of(self, urn: str) -> Reporter | None:
        """That of the fleet that a resource is a part of; of several whose names it could have, of the longest one."""
        kind, name = urn.rpartition("::")[0].rpartition("::")[2], urn_name(urn)
        if not is_of_fleet({"urn": urn}) and not kind.endswith(FLEET):
            return None
        names = [fleet for fleet in self._reporters if own_name(fleet, name) is not None]
        return self._reporters[max(names, key=len)] if names else None

    def _other(self, step: Any) -> None:
        """A step of what the program has beside its fleets."""
        kind, op = str(step.type), str(step.op.value)
        if kind == STACK or kind.startswith("pulumi:providers:"):
            return
        if op not in ("delete", "delete-replaced", "discard"):
            self.others[step.urn] = None
        words = {"create": "new", "update": "update", "replace": "replace", "delete": "remove"}
        if op in words:
            self._tell(Note("", f"{urn_name(step.urn)} ({kind}): {words[op]}"))

    def _diagnosed(self, severity: str, message: str, urn: str) -> None:
        text = clean(in_short(without_marks(message), self._folder) if severity == "error" else message)
        if severity == "error":
            # Where a fleet's part failed, how the program ended says nothing more, or the same behind other words.
            if text and not any(text.endswith(known) for known in self.errors) and not _is_ending(text):
                self.errors.append(f"{urn_name(urn)}: {text}" if urn and urn.split("::")[2] != STACK else text)
        elif not text or _OF_PLUGIN.match(text):
            return
        elif severity == "warning":
            self._tell(Warned(text))
        elif severity.startswith("info"):
            # What the program prints.
            self._tell(Note("", text))


class ProgramSession(Session):
    """One command's work on a stack that a program makes.

    Args:
        spec: The program's folder, which holds its ``Pulumi.yaml``.
        stack: The stack's name.
        ui: Shows what is done.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
    """

    def diff(self) -> dict[str, NodeReport]:
        """What would happen to every node, the planned ones first."""
        return self._looked(lambda event: None).nodes

    def preview(self) -> Previewed:
        """Show what would change."""
        stack = Stack(self._project, self._stack_name, "read", self._ui)
        self._ui.event(Begin("preview", self._project.name, stack.name))
        reporter = self._looked(self._ui.event, stack)
        summary = reporter.summary("preview", self._project.name)
        self._ui.event(summary)
        return Previewed(summary, reporter.nodes)

    def up(self) -> None:
        """Run the program."""
        stack = Stack(self._project, self._stack_name, "make", self._ui)
        self._ui.event(Begin("up", self._project.name, stack.name))
        self._mend(stack)
        fleets = self._fleets(stack)
        reporter = ProgramReporter(fleets, self._ui.event, self._project.folder, preview=False)
        first = self._sick_first(stack, fleets)
        order = Order(self._begun.command, self._begun.run, "", release(), new_image=self._new_image)
        with (
            noting(stack, self._begun, lambda: reporter.plans.values()),
            self._running(stack, order, reporter, self._begin_fleet(reporter, fleets)),
            failing(stack, reporter, self._ui.say, spec=self._spec),
        ):
            if first:
                stack.up(reporter.event, target=first)
            stack.up(reporter.event)
        self._finish("up", stack, reporter)

    def rollback(self, to: int | None = None) -> NoReturn:
        """Refuse: what a node's config is made of is the program's.

        Raises:
            UsageError: Says what to do instead.
        """
        raise UsageError(
            f"Stack {self._stack_name} is made by a program, which decides what its nodes are: there is no rollback "
            "that the next `fleet up` would not take back.",
            fix="Check out the program of before, say with `git`, and run `fleet up`: nodes get back the configs that "
            "it makes, one by one.",
        )

    def replace(self, node: str, *, new_config: bool = False) -> None:
        """Re-provision one node, and touch nothing else of the stack, nor its data disks.

        Args:
            node: Its name.
            new_config: As the program has it now; else only if that is how it is deployed.

        Raises:
            UsageError: There is no such node.
            FleetError: Too many of its peers are down; or the program has another config for it.
        """
        stack = Stack(self._project, self._stack_name, "change", self._ui)
        self._ui.event(Begin("replace", self._project.name, stack.name, (node,)))
        self._mend(stack)
        fleets = self._fleets(stack)
        fleet, name = self._find(stack, fleets, node)
        command = f"{REPLACE} {node}{' --new-config' if new_config else ''}"
        self._begun = replace(self._begun, command=command, only=frozenset({name}))
        spare_peers(fleet.deployed, fleet.plan.groups[place(name)[0]], name, called=node)
        order = Order(
            command,
            self._begun.run,
            "",
            release(),
            fleet=fleet.name,
            node=name,
            new_config=new_config,
        )
        called = program_name(fleet.name, name)
        kinds = fleet.platform.replaced_types
        parts = [r["urn"] for r in stack.resources if r["type"] in kinds and name_of(r) == called]
        # Disks that the program adds are in its plan alone, those that are attached are in the state.
        plan = self._plans(stack, fleets, order).plans.get(fleet.name, fleet.plan) if new_config else fleet.plan
        attached = [r["urn"] for r in stack.resources if str(r.get("parent")).endswith(f"{NODE}::{called}")]
        targets = targets_of(plan, fleet.platform, [name], disks=new_config, fleet=fleet.name)
        targets += [urn for urn in attached if not is_data_disk({"urn": urn})]
        reporter = ProgramReporter(fleets, self._ui.event, self._project.folder, preview=False)
        with (
            noting(stack, self._begun, lambda: reporter.plans.values()),
            self._running(stack, order, reporter, self._begin_fleet(reporter, fleets)),
            failing(stack, reporter, self._ui.say, spec=self._spec, stopped="`fleet status` shows how the node is"),
        ):
            stack.up(reporter.event, target=targets, replace=parts)
        self._finish("replace", stack, reporter)

    def status(self) -> FleetStatus:
        """How every node is that is deployed. What the program would change is not looked at: it is not run."""
        stack = Stack(self._project, self._stack_name, "read", self._ui)
        fleets = self._fleets(stack)
        shown = []
        for fleet in fleets:
            if ailing := fleet.platform.ailing():
                self._ui.warn(ailing)
            nodes = statuses(
                list(fleet.plan.nodes), fleet.deployed, fleet.exported(), now=time.time(), with_changes=False
            )
            several = len(fleets) > 1
            shown += [
                replace(
                    each,
                    node=said(fleet.name, each.node) if several else each.node,
                    group=said(fleet.name, each.group) if several else each.group,
                )
                for each in nodes
            ]
        return FleetStatus(self._project.name, stack.name, tuple(shown))

    def _looked(self, tell: Tell, stack: Stack | None = None) -> ProgramReporter:
        stack = stack or Stack(self._project, self._stack_name, "read", self._ui)
        reporter = ProgramReporter(self._fleets(stack), tell, self._project.folder, preview=True)
        order = Order(self._begun.command, self._begun.run, "", release(), new_image=self._new_image)
        with self._running(stack, order, reporter), failing(stack, reporter, self._ui.say):
            stack.preview(reporter.event)
        return reporter

    def _sick_first(self, stack: Stack, fleets: Sequence[ProgramFleet]) -> list[str]:
        """What to update before all else: URN patterns of nodes that are not ready, and of what is no fleet's.

        A gate would hold back the others that change, too. Whether there are such, a preview tells, which takes a run
        of the program: it is made only where a node is not ready.
        """
        sick = [fleet for fleet in fleets if fleet.deployed.not_ready(list(fleet.plan.nodes), patience=PATIENCE)]
        if not sick:
            return []
        order = Order(self._begun.command, self._begun.run, "", release(), new_image=self._new_image)
        looked = self._plans(stack, fleets, order)
        targets: list[str] = []
        for fleet in sick:
            plan = looked.plans.get(fleet.name)
            if plan and (first := not_ready_first(fleet.deployed, plan)):
                names = ", ".join(looked.shown(fleet.name, name) for name in first)
                self._ui.say("", f"Not ready, so re-provisioned first: {names}.")
                targets += targets_of(plan, fleet.platform, first, fleet=fleet.name)
        return [*looked.others, *targets] if targets else []

    def _plans(self, stack: Stack, fleets: Sequence[ProgramFleet], order: Order) -> ProgramReporter:
        """What the program would do, by a preview of which nothing is shown."""
        looked = ProgramReporter(fleets, lambda event: None, self._project.folder, preview=True)
        with self._running(stack, order, looked), failing(stack, looked, self._ui.say):
            stack.preview(looked.event)
        return looked

    def _mend(self, stack: Stack) -> None:
        """Mend what nodes need and what a killed update left, before anything is changed."""
        where = self._platforms(stack)
        for platform in where:
            platform.repair()
        if where:
            recover_interrupted_update(stack, where, self._ui.say)

    def _finish(self, command: str, stack: Stack, reporter: ProgramReporter) -> None:
        stack.resources = stack.export()[1]
        fleets = self._fleets(stack)
        exported = {fleet.name: fleet.exported() for fleet in fleets}
        self._ui.event(reporter.summary(command, self._project.name, exported))
        nodes = [
            reporter.shown(fleet, node.name) for fleet, plan in sorted(reporter.plans.items()) for node in plan.nodes
        ]
        for node in nodes[:1] if command == "up" else ():
            self._ui.say("", f"`fleet ssh {self._spec} {node} --stack {stack.name}` logs in.")

    def _begin_fleet(
        self, reporter: ProgramReporter, fleets: Sequence[ProgramFleet]
    ) -> Callable[[Answer, Platform], None]:
        """What is done as soon as a fleet has planned, before it declares anything."""
        state = {fleet.name: fleet for fleet in fleets}

        def begin(answer: Answer, platform: Platform) -> None:
            known = state.get(answer.fleet)
            deployed = known.deployed if known else Deployed((), platform)
            changing = [node.name for node in answer.plan.nodes if deployed.changes(node)]
            self._prepare(answer.plan, platform, needed=bool(changing))
            shown = answer.plan.with_nodes(lambda node: replace(node, name=reporter.shown(answer.fleet, node.name)))
            self._ui.begin(shown, [reporter.shown(answer.fleet, name) for name in changing])

        return begin

    @contextlib.contextmanager
    def _running(
        self,
        stack: Stack,
        order: Order,
        reporter: ProgramReporter,
        begin: Callable[[Answer, Platform], None] = lambda answer, platform: None,
    ) -> Iterator[None]:
        """A context in which Pulumi runs the program, whose fleets tell a reporter what they plan."""

        def answered(answer: Answer) -> None:
            platform = platform_of(
                answer.platform,
                answer.options,
                stack.config.get,
                folder=self._project.folder,
                stack=platform_stack(stack.short_name, answer.fleet),
            )
            reporter.answered(answer, platform)
            begin(answer, platform)

        with _listening(answered) as (path, trouble):
            stack.run_program(replace(order, socket=path).environment())
            try:
                yield
            except FleetError:
                if trouble:
                    raise trouble[0] from None
                raise

    def _fleets(self, stack: Stack) -> list[ProgramFleet]:
        return program_fleets(stack.resources, stack.config.get, folder=self._project.folder, stack=stack.short_name)

    def _disks(self, stack: Stack) -> Sequence[tuple[str, str]]:
        fleets = self._fleets(stack)
        several = len(fleets) > 1
        return [
            (said(fleet.name, name) if several else name, location)
            for fleet in fleets
            for name, location in retained_disks(fleet.resources)
        ]

    def _platforms(self, stack: Stack) -> Sequence[Platform]:
        return [fleet.platform for fleet in self._fleets(stack)]

    def _folders(self, stack: Stack) -> Sequence[Path]:
        names = [platform_stack(stack.short_name, fleet.name) for fleet in self._fleets(stack)]
        return [stack_folder(self._project.folder, name) for name in dict.fromkeys([*names, stack.short_name])]

    def _removing(self, stack: Stack, platforms: Sequence[Platform]) -> Reports:
        return ProgramReporter(self._fleets(stack), self._ui.event, self._project.folder, preview=False)

    def _deployed(self, node: str) -> tuple[Stack, Platform, Deployed, str]:
        stack = Stack(self._project, self._stack_name, "read", self._ui)
        fleet, name = self._find(stack, self._fleets(stack), node)
        return stack, fleet.platform, fleet.deployed, name

    def _planned(self, stack: Stack, node: str, *, needed: bool) -> None:
        """What the program has for a node is not known: it is not run to show something."""

    @staticmethod
    def _find(stack: Stack, fleets: Sequence[ProgramFleet], node: str) -> tuple[ProgramFleet, str]:
        """The fleet that a node belongs to, and the node's name in it.

        Args:
            stack: The stack.
            fleets: Those of its state.
            node: The node's name; its fleet's, and :data:`SEVERAL`, may stand before it, and have to where several
                fleets have a node of the name.

        Raises:
            UsageError: There is no such node, or more than one.
        """
        fleet_name, _, name = node.rpartition(SEVERAL)
        among = [fleet for fleet in fleets if fleet_name in ("", fleet.name) and name in fleet.deployed.machines]
        if len(among) == 1:
            return among[0], name
        if among:
            names = ", ".join(said(fleet.name, name) for fleet in among)
            raise UsageError(f"Stack {stack.name} has several nodes {node}.", fix=f"Say which: {names}.")
        several = len(fleets) > 1
        known = [
            said(fleet.name, each) if several else each for fleet in fleets for each in sorted(fleet.deployed.machines)
        ]
        raise UsageError(
            f"There is no node {node} in stack {stack.name}.",
            fix=f"It has: {', '.join(known) or 'none'}. `fleet up` makes what the program adds.",
        )


@contextlib.contextmanager
def _listening(answered: Callable[[Answer], None]) -> Iterator[tuple[str, list[FleetError]]]:
    """A context in which fleets of a program can answer; gives the socket's path, and what was wrong with answers."""
    trouble: list[FleetError] = []
    ended = threading.Event()
    with socket_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(folder / "plans")
        listener.bind(path)
        listener.listen()

        def listen() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if ended.is_set():
                        return
                    try:
                        _hear(connection, answered)
                    except FleetError as error:
                        trouble.append(error)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield path, trouble
        finally:
            # What wakes a thread in `accept` on every system is a connection.
            ended.set()
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(path)
            thread.join()


def _hear(connection: socket.socket, answered: Callable[[Answer], None]) -> None:
    """Take one answer, and let the program go on. A program that was not heard sees so for itself.

    Raises:
        FleetError: The answer cannot be read, or taken; whatever else is wrong with it is one, too, so that the next
            fleet, which would wait for ever, is listened to.
    """
    try:
        answer = read(connection)
    except OSError:
        return
    try:
        answered(answer)
    except FleetError:
        raise
    except Exception as error:
        raise FleetError(unexpected(error)) from None
    with contextlib.suppress(OSError):
        confirm(connection)


def _is_ending(text: str) -> bool:
    """Whether an error only says that the program ended, as it does when a part of it failed."""
    return text.startswith(("update failed", "preview failed", "update canceled", "preview canceled")) or (
        "Resource monitor has terminated" in text or "an unhandled error occurred: Program exited" in text
    )
