"""Looking at a stack over and over, as a page does that follows it: its spec, its state, its nodes.

Nothing is written: the state is exported from a copy, or read from its service, which needs no lock; nodes are asked
as ``fleet status`` asks them. What takes long, or has others work, is done only where something may have changed: the
spec is planned anew when a file of its project is another one, the state is exported when it was written, and nodes are
asked every :data:`ASK_SECONDS`, all at once, in a thread of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fleet import console
from fleet.config.difference import entries
from fleet.dynamic.ready import watcher_of
from fleet.errors import FleetError, unexpected
from fleet.ops.backend import Update
from fleet.ops.fleets import ProgramFleets, program_fleets
from fleet.ops.progress import Stage, stages
from fleet.ops.state import Deployed
from fleet.ops.topology import read_topology
from fleet.ops.ui import Ui
from fleet.ops.workspace import Stack, translated
from fleet.phases import Phase, phase
from fleet.plan import FleetPlan, NodePlan, Report
from fleet.program.exported import pending_operations, resources_of
from fleet.program.stack_plan import plan_stack
from fleet.program.state import with_state
from fleet.program.topology import Topology
from fleet.project import Project

ASK_SECONDS = 4.0
"""Between two times that nodes are asked."""
EXPORT_SECONDS = 3.0
"""Between two exports of a state in a service, where nothing tells whether it was written."""
QUIET_SECONDS = 20.0
"""Without a step, after which an update of a stack in a service counts as over."""
_MOST_FILES = 5000
"""Of a project that are looked at for changes."""


@dataclass(frozen=True)
class Answer:
    """What a node answered.

    Attributes:
        machine: The machine that was asked.
        when: Seconds since 1970.
        reason: Why it is not ready; empty if it is.
        report: Its report, or why there is none.
        phase: Where it is on its way, if it is starting.
    """

    machine: str
    when: float
    reason: str = ""
    report: Report | str = ""
    phase: Phase | None = None


@dataclass(frozen=True)
class Observation:
    """A stack at a moment.

    Attributes:
        topology: What the spec says.
        plan: The same, planned with what the state has.
        deployment: The state.
        deployed: Its nodes.
        stages: Where every node is that the state knows of.
        changing: By name, of nodes that are planned and have a machine: whether an update would re-provision it.
        update: The update that is going on; ``None``: none is, as far as is known.
        answers: By name, what each node answered last.
        trouble: What keeps all of this from being newer, and what ails the platform, a paragraph; empty if nothing.
    """

    topology: Topology
    plan: FleetPlan
    deployment: Mapping[str, Any]
    deployed: Deployed | ProgramFleets
    stages: Mapping[str, Stage]
    changing: Mapping[str, bool]
    update: Update | None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    trouble: str = ""


_WorkedOut = tuple[Topology, FleetPlan, Deployed | ProgramFleets, Mapping[str, bool], Mapping[str, Stage]]
"""What :meth:`Observer._work_out` gives."""


class Observer:
    """Looks at a stack. It may be asked by several threads at once.

    Args:
        spec: The spec's file.
        stack: The stack's name.
        ui: Asked for a passphrase.
        clock: Seconds since 1970.

    Raises:
        FleetError: Anything is wrong with the spec or the stack: what is wrong later on is in what is observed.
    """

    def __init__(self, spec: Path, stack: str, ui: Ui, *, clock: Callable[[], float] = time.time) -> None:
        self.spec, self.stack_name, self._ui, self._clock = spec, stack, ui, clock
        self._project = Project.around(spec)
        # Probes name modules beside Pulumi.yaml.
        if str(self._project.folder) not in sys.path:
            sys.path.append(str(self._project.folder))
        self._lock = threading.Lock()
        self._files: object = None
        self._exported_at = self._changed_at = self._asked_at = self._since = 0.0
        self._deployment: dict[str, Any] = {}
        self._update: Update | None = None
        self._answers: dict[str, Answer] = {}
        self._worked_out: tuple[tuple[object, ...], _WorkedOut] | None = None
        self._asking: threading.Thread | None = None
        self._child: subprocess.Popen[str] | None = None
        self._trouble = {"spec": "", "state": "", "platform": ""}
        self._open()
        self._plan_anew()
        self._export()

    def look(self, *, wait: bool = False) -> Observation:
        """The stack as it is now, with what nodes have answered until now.

        Args:
            wait: Ask the nodes now, and wait for what they answer.
        """
        with self._lock:
            for part, renew in (("spec", self._renew_plan), ("state", self._renew_state)):
                try:
                    renew()
                    self._trouble[part] = ""
                except FleetError as error:
                    self._trouble[part] = str(error)
                except (OSError, ValueError) as error:
                    self._trouble[part] = unexpected(error)
            topology, plan, deployed, changing, known = self._work_out()
            starting = {name for name, stage in known.items() if stage.phase == "starting"}
            if wait:
                self._ask(plan, deployed, starting)
            elif self._clock() - self._asked_at >= ASK_SECONDS and not (self._asking and self._asking.is_alive()):
                self._asked_at = self._clock()
                self._asking = threading.Thread(target=self._ask, args=(plan, deployed, starting), daemon=True)
                self._asking.start()
            return Observation(
                topology,
                plan,
                self._deployment,
                deployed,
                known,
                changing,
                self._going_on(),
                {name: each for name, each in self._answers.items() if each.machine == deployed.machines.get(name)},
                " ".join(filter(None, self._trouble.values())),
            )

    def _work_out(self) -> _WorkedOut:
        """What follows from the plan and the state, for as long as both stay the same: in a large fleet, it takes time.

        Returns:
            The topology; the plan with what the state has; the state's nodes; what of them would change; their stages.
        """
        made_of = (self._plan, self._deployment)
        if self._worked_out and all(a is b for a, b in zip(self._worked_out[0], made_of, strict=True)):
            return self._worked_out[1]
        resources = resources_of(self._deployment)
        plan = with_state(self._plan, resources)
        deployed = Deployed(resources, self._platform)
        changing = {node.name: deployed.changes(node) for node in plan.nodes if node.name in deployed.machines}
        known = stages(self._deployment, self._platform.machine_type)
        self._worked_out = made_of, (self._topology, plan, deployed, changing, known)
        return self._worked_out[1]

    def config(self, node: str) -> list[tuple[str, str, str]]:
        """The kind, name and text of each entry of a node's deployed config, secrets masked; empty if there is none."""
        config = self._work_out()[2].configs.get(node)
        return list(entries(config)) if config else []

    def console(self, node: str) -> tuple[str, str]:
        """The end of a node's serial console, secrets masked; and, where there is none, why."""
        deployed = self._work_out()[2]
        if node not in deployed.machines:
            return "", "It has no machine."
        try:
            mask = self._mask(deployed, node)
        except FleetError as error:
            return "", str(error)
        text = self._read_console(deployed, node)
        if text is None:
            return "", f"Consoles of {self._topology.platform} cannot be read from here."
        return console.masked(text, mask), ""

    def changes(self) -> list[dict[str, Any]]:
        """What an update would do to each node, secrets masked, as ``fleet diff --json`` has it.

        A process of its own finds out: it has an engine, of which there is one in a process.

        Raises:
            FleetError: It cannot be found out.
        """
        arguments = ["diff", str(self.spec), "--stack", self.stack_name, "--json"]
        command = [sys.executable, "-c", "from fleet.cli import main; main()", *arguments]
        self._child = child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        output, errors = child.communicate()
        if child.returncode:
            raise FleetError(errors.strip().removeprefix("Error: ") or f"`fleet diff` ended with {child.returncode}.")
        return list(json.loads(output))

    def login(self, node: str) -> str:
        """The command that logs in to a node."""
        return shlex.join(["fleet", "ssh", str(self.spec), node, "--stack", self.stack_name])

    def close(self) -> None:
        """End what is being found out."""
        if self._child and self._child.poll() is None:
            self._child.terminate()

    def _open(self) -> None:
        self._stack = Stack(self._project, self.stack_name, "read", self._ui)
        with translated(self._stack):
            self._exists = self._stack.exists

    def _plan_anew(self) -> None:
        stack = self._stack
        self._plan, self._platform = plan_stack(
            self.spec,
            stack.config.get,
            project=self._project.name,
            folder=self._project.folder,
            stack=stack.short_name,
            full_name=stack.name,
            secrets="at hand",
            need_lock=False,
        )
        self._topology = read_topology(self.spec, stack=self.stack_name)
        self._files = self._stamp()

    def _renew_plan(self) -> None:
        if (stamp := self._stamp()) == self._files:
            return
        try:
            self._open()
            self._plan_anew()
        finally:
            # A mistake is told once for each state of the files, or the spec would be planned in every turn.
            self._files = stamp
        self._exported_at = 0.0

    def _stamp(self) -> object:
        """What tells whether any file of the project is another one, hidden ones and their folders left out."""
        found: list[tuple[str, int, int]] = []
        for folder, folders, files in os.walk(self._project.folder):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__", "node_modules")))
            for name in sorted(files):
                if len(found) >= _MOST_FILES:
                    return found
                if not name.startswith("."):
                    with contextlib.suppress(OSError):
                        status = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 (thousands, every second)
                        found.append((os.path.join(folder, name), status.st_mtime_ns, status.st_size))  # noqa: PTH118
        return found

    def _renew_state(self) -> None:
        if not self._exists:
            with translated(self._stack):
                if not self._stack.exists:
                    return
            # Its secrets are locked now, by what may have to be asked for.
            self._open()
            self._exported_at = 0.0
        self._export()

    def _export(self) -> None:
        is_due = self._clock() - self._exported_at >= EXPORT_SECONDS
        self._update = self._stack.going_on()
        with translated(self._stack):
            if not self._exists or not (self._stack.look_again() if self._stack.in_files else is_due):
                return
            state, _ = self._stack.export()
        deployment = dict(state.deployment or {})
        self._exported_at = self._clock()
        if self._deployment and deployment != self._deployment:
            self._changed_at = self._clock()
        self._deployment = deployment

    def _going_on(self) -> Update | None:
        if self._stack.in_files:
            return self._update
        # A service tells nobody of its locks. Steps show in the state.
        since = self._clock() - self._changed_at
        if pending_operations(self._deployment) or since < QUIET_SECONDS:
            self._since = self._since or self._clock()
            return Update("", self._since)
        self._since = 0.0
        return None

    def _ailing(self) -> str:
        return self._platform.ailing()

    def _mask(self, deployed: Deployed | ProgramFleets, node: str) -> Callable[[str], str]:
        return deployed.mask(node, next((each for each in self._plan.nodes if each.name == node), None))

    def _phase_shown(self, deployed: Deployed | ProgramFleets, node: str) -> str | None:
        """The end of a console that tells a phase; ``None`` where it, or a secret that may be in it, is not known."""
        try:
            text = self._read_console(deployed, node)
            return None if text is None else self._mask(deployed, node)(text)
        except FleetError:
            return None

    def _read_console(self, deployed: Deployed | ProgramFleets, node: str) -> str | None:
        """The end of a console, as it is; ``None`` if nothing here can read it."""
        watcher = watcher_of(deployed.peer(node).describe().get("watch"))
        if watcher is None:
            return None
        try:
            return watcher.console()
        except (FleetError, OSError):
            return None

    def _ask(self, plan: FleetPlan, deployed: Deployed | ProgramFleets, starting: Collection[str]) -> None:
        """Ask nodes, all at once: what starts tells by its console where it is, long before it answers."""
        nodes = [node for node in plan.nodes if node.name in deployed.machines]
        before = self._answers
        self._trouble["platform"] = self._ailing()
        consoles = {node.name: self._phase_shown(deployed, node.name) for node in nodes if node.name in starting}
        if consoles:
            told = {name: before[name] for name in before if name not in consoles}
            self._answers = told | {
                node.name: self._answer(node, deployed, consoles, before.get(node.name))
                for node in nodes
                if node.name in consoles
            }
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(deployed.not_ready, nodes), pool.submit(deployed.reports, nodes)
            reasons, reports = asked[0].result(), asked[1].result()
        when = self._clock()
        answers = [
            Answer(deployed.machines[node.name], when, reasons.get(node.name, ""), reports.get(node.name, ""))
            for node in nodes
        ]
        self._answers = {
            node.name: self._answer(node, deployed, consoles, answer)
            for node, answer in zip(nodes, answers, strict=True)
        }

    def _answer(
        self,
        node: NodePlan,
        deployed: Deployed | ProgramFleets,
        consoles: Mapping[str, str | None],
        answer: Answer | None,
    ) -> Answer:
        """What a node answered, with where it is, if it is starting."""
        machine = deployed.machines[node.name]
        if answer is None or answer.machine != machine:
            answer = Answer(machine, self._clock())
        if node.name not in consoles:
            return answer
        report = answer.report if isinstance(answer.report, Report) else None
        return replace(
            answer,
            phase=phase(consoles[node.name], report, settle=node.settle or 0, answer=answer.reason),
        )


class ProgramObserver(Observer):
    """Looks at a stack that a program makes. The program is not run: what nodes are to be is as it last said.

    Args:
        spec: The program's folder.
        stack: The stack's name.
        ui: Asked for a passphrase.
        clock: Seconds since 1970.

    Raises:
        FleetError: Anything is wrong with the stack.
    """

    def _plan_anew(self) -> None:
        self._files = self._stamp()
        self._fleets = ProgramFleets(self._project.name, [])
        self._plan, self._topology = self._fleets.plan, self._fleets.topology

    def _work_out(self) -> _WorkedOut:
        if self._worked_out and self._worked_out[0][0] is self._deployment:
            return self._worked_out[1]
        fleets = program_fleets(
            resources_of(self._deployment),
            self._stack.config.get,
            folder=self._project.folder,
            stack=self._stack.short_name,
        )
        self._fleets = known = ProgramFleets(self._project.name, fleets)
        self._plan, self._topology = known.plan, known.topology
        worked_out: _WorkedOut = (known.topology, known.plan, known, {}, known.stages(self._deployment))
        self._worked_out = (self._deployment,), worked_out
        return worked_out

    def _ailing(self) -> str:
        return self._fleets.ailing()


def observer(spec: Path, stack: str, ui: Ui) -> Observer:
    """What looks at a stack.

    Args:
        spec: The spec's file, or the program's folder.
        stack: The stack's name.
        ui: Asked for a passphrase.

    Raises:
        FleetError: Anything is wrong with the spec or the stack.
    """
    return (ProgramObserver if spec.is_dir() else Observer)(spec, stack, ui)
