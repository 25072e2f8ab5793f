"""A command's work on a stack (``fleet preview``, ``up``, ``destroy``): the Automation API around a planned fleet."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

from fleet import console, ssh
from fleet.dynamic import tokens
from fleet.dynamic.gate import PATIENCE
from fleet.dynamic.ready import watcher_of
from fleet.dynamic.record import Configs
from fleet.errors import FleetError, UsageError
from fleet.files import private_folder, stack_folder
from fleet.ops import logs
from fleet.ops.events import Begin, DataDisk, Event, Names, Note
from fleet.ops.history import Begun, noting, utc
from fleet.ops.recovery import recover_interrupted_update
from fleet.ops.report import NodeReport, Previewed, Reporter, Reports, Say, Tell
from fleet.ops.signals import Stopped
from fleet.ops.state import Deployed
from fleet.ops.status import FleetStatus, statuses
from fleet.ops.ui import Ui
from fleet.ops.workspace import Access, Stack, retained_disks, translated
from fleet.plan import SSH_PORT, FleetPlan, GroupPlan, NodePlan
from fleet.platforms import Platform
from fleet.program.debug import drop_debug
from fleet.program.deploy import deploy
from fleet.program.exported import Resource, is_data_disk, is_shared, name_of, stack_outputs
from fleet.program.fleets import fleets_of, program_name
from fleet.program.history import REPLACE, History, with_change
from fleet.program.stack_plan import Secrets, plan_stack, stack_platform
from fleet.program.state import immutable_settings, with_state
from fleet.project import Project
from fleet.spec.sources import NotAskedError


def session(spec: Path, stack: str, ui: Ui, *, new_image: bool = False) -> Session:
    """A command's work on a stack, which a spec describes or a program makes.

    Args:
        spec: The spec's file, or the program's folder.
        stack: The stack's name.
        ui: Shows what is done.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
    """
    if spec.is_dir():
        from fleet.ops.program import ProgramSession

        return ProgramSession(spec, stack, ui, new_image=new_image)
    return Session(spec, stack, ui, new_image=new_image)


KNOWN_HOSTS = "known_hosts"
"""Where the host keys of a stack's machines are kept, in its folder."""


class Session:
    """One command's work on a stack.

    Args:
        spec: The spec's file.
        stack: The stack's name.
        ui: Shows what is done.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
    """

    def __init__(self, spec: Path, stack: str, ui: Ui, *, new_image: bool = False) -> None:
        self._spec, self._stack_name, self._ui, self._new_image = spec, stack, ui, new_image
        self._project = Project.around(spec)
        self._begun = Begun("fleet up")
        # Probes and drains name modules beside Pulumi.yaml; the engine's providers run there.
        sys.path.append(str(self._project.folder))

    def diff(self) -> dict[str, NodeReport]:
        """What would happen to every node, the planned ones first. A secret that cannot be had counts as unchanged.

        Raises:
            FleetError: One cannot be had, and whether it is all that changes is not known.
        """
        return _nodes_of(*self._previewed(lambda event: None, "known"))

    def preview(self) -> Previewed:
        """Show what would change."""
        plan, reporter = self._previewed(self._ui.event, "imagine")
        summary = reporter.summary("preview", plan.name)
        self._ui.event(summary)
        return Previewed(summary, _nodes_of(plan, reporter))

    def _previewed(self, tell: Tell, secrets: Secrets) -> tuple[FleetPlan, Reporter]:
        stack, plan, platform = self._plan("read", secrets)
        deployed = Deployed(stack.resources, platform)
        plan = plan.with_nodes(lambda node: _as_far_as_known(node, deployed))
        self._program(stack, plan, platform)
        tell(_begin("preview", stack, plan))
        self._check_deployed(plan, platform, lambda subject, text: tell(Note(subject, text)))
        reporter = Reporter(platform, plan, stack.resources, tell, preview=True)
        with failing(stack, reporter, self._ui.say):
            stack.preview(reporter.event)
        return plan, reporter

    def up(self) -> None:
        """Deploy the plan."""
        stack, plan, platform = self._plan("make", "generate")
        self._ui.event(_begin("up", stack, plan))
        self._deploy("up", stack, plan, platform)

    def rollback(self, to: int | None = None) -> None:
        """Give every node back its config of an earlier rollout.

        A node that had none then keeps the one that it has. No node is made for the spec's sake, or removed.

        Args:
            to: The number of the rollout; by default the one before the last, or, if that stopped half way, the one
                from before it.

        Raises:
            FleetError: There is nothing to go back to, or it is not kept, or the spec has no longer all nodes that are
                deployed.
        """
        stack, plan, platform = self._plan("change", "at hand")
        self._ui.event(_begin("rollback", stack, plan))
        deployed = Deployed(stack.resources, platform)
        number, configs = self._generation(stack, deployed, to)
        command = "fleet rollback" if to is None else f"fleet rollback --to {to}"
        self._begun = replace(self._begun, command=command, back_to=number)
        if gone := sorted(deployed.machines.keys() - {node.name for node in plan.nodes}):
            raise FleetError(
                f"A rollback would remove {', '.join(gone)}: deployed, but not in the spec any more.",
                fix="Put them back into the spec, or let `fleet up` remove them first.",
            )

        def earlier(node: NodePlan) -> NodePlan:
            if node.name in configs:
                return deployed.before(node, configs[node.name])
            return deployed.restored(node) or node

        planned = {node.name for node in plan.nodes}
        if lost := sorted(configs.keys() - planned):
            self._ui.say("", f"Not in the spec any more, so not made again: {', '.join(lost)}.")
        plan = plan.only(deployed.known | configs.keys()).with_nodes(earlier)
        _need_all_secrets(plan.nodes)
        platform.check(plan)
        self._program(stack, plan, platform)
        self._deploy("rollback", stack, plan, platform)
        self._ui.say("", "The spec still has the newer configs: change it back before the next `fleet up`.")

    def _generation(self, stack: Stack, deployed: Deployed, to: int | None) -> tuple[int | None, Configs]:
        """The configs to go back to, and the number of their rollout; ``None`` if it has none.

        Raises:
            FleetError: They are not kept.
        """
        history = History(stack.resources)
        if to is None:
            generation = deployed.before_last_rollout()
            if generation is None:
                raise FleetError(f"Stack {self._stack_name} has had one config only, so there is none to go back to.")
        else:
            generation = next((each for each in deployed.generations if to in each[0]), None)
            if generation is None:
                raise FleetError(
                    f"The configs of rollout {to} of stack {self._stack_name} are not kept.",
                    fix=f"Kept are those of {', '.join(map(str, history.kept)) or 'none'}: the last rollouts of "
                    "all nodes that were done. `fleet history` lists all.",
                )
        numbers, configs = generation
        number = to or next(iter(numbers), None)
        rollout = next((each for each in history.rollouts if each.number == number), None)
        if rollout:
            began = f" of {utc(rollout.began)}" if rollout.began else ""
            self._ui.say("", f"Back to the configs of rollout {rollout.number}{began}.")
        return number, configs

    def _deploy(self, command: str, stack: Stack, plan: FleetPlan, platform: Platform) -> None:
        self._check_deployed(plan, platform, self._ui.say)
        platform.repair()
        plan = self._recovered(stack, plan, platform)
        deployed = Deployed(stack.resources, platform)
        changing = [node.name for node in plan.nodes if deployed.changes(node)]
        self._prepare(plan, platform, needed=bool(changing))
        self._ui.begin(plan, changing)
        reporter = Reporter(platform, plan, stack.resources, self._ui.event, preview=False)
        with noting(stack, self._begun, lambda: [plan]), failing(stack, reporter, self._ui.say, spec=self._spec):
            if first := not_ready_first(deployed, plan):
                self._ui.say("", f"Not ready, so re-provisioned first: {', '.join(first)}.")
                stack.up(reporter.event, target=targets_of(plan, platform, first))
            stack.up(reporter.event)
        outputs = stack.outputs()
        self._ui.event(reporter.summary(command, plan.name, outputs))
        for name, addresses in sorted(outputs.get("names", {}).items()):
            self._ui.event(Names((name,), tuple(addresses)))
        for node in list(plan.nodes)[:1]:
            words = shlex.join(["fleet", "ssh", str(self._spec), node.name, "--stack", stack.name])
            self._ui.say("", f"`{words}` logs in.")

    def destroy(self, *, delete_data_disks: bool) -> None:
        """Remove every node, and data disks if asked."""
        stack = Stack(self._project, self._stack_name, "change", self._ui)
        platforms = self._platforms(stack)
        self._ui.event(Begin("destroy", self._project.name, stack.name))
        recover_interrupted_update(stack, platforms, self._ui.say)
        disks = self._disks(stack)
        # What nodes share is kept for the sake of nodes, and goes with the last one.
        _release(stack, lambda resource: is_shared(resource) or (delete_data_disks and is_data_disk(resource)))
        folders = self._folders(stack)
        reporter = self._removing(stack, platforms)
        with failing(stack, reporter, self._ui.say):
            stack.destroy(reporter.event)
        self._ui.event(reporter.summary("destroy", self._project.name))
        for folder in folders:
            shutil.rmtree(folder / "rosters", ignore_errors=True)
            (folder / KNOWN_HOSTS).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()  # unless data disks are in it
        for name, place in disks:
            self._ui.event(DataDisk(name, "deleted" if delete_data_disks else "kept", place))

    def _disks(self, stack: Stack) -> Sequence[tuple[str, str]]:
        """Name, as users say it, and location of every data disk that the stack has."""
        return retained_disks(stack.resources)

    def _platforms(self, stack: Stack) -> Sequence[Platform]:
        """The platforms of the stack's fleets, without one twice."""
        return [stack_platform(stack.config.get, folder=self._project.folder, stack=stack.short_name)]

    def _folders(self, stack: Stack) -> Sequence[Path]:
        """Where files of the stack's are, as long as it has nodes."""
        return [stack_folder(self._project.folder, stack.short_name)]

    def _removing(self, stack: Stack, platforms: Sequence[Platform]) -> Reports:
        """What tells of the removal of all that is deployed."""
        return Reporter(platforms[0], None, stack.resources, self._ui.event, preview=False)

    def replace(self, node: str, *, new_config: bool = False) -> None:
        """Re-provision one node as it is deployed, and touch no other, nor its data disks.

        The image is the locked one, as in every re-provisioning. What is changed in place, such as a cloud's labels,
        is as the stack's options have it.

        Args:
            node: Its name.
            new_config: As the spec and the stack's options have it, instead.

        Raises:
            UsageError: There is no such node.
            FleetError: Too many of its peers are down; or what is deployed is not known, or cannot be had any more.
        """
        command = f"{REPLACE} {node}{' --new-config' if new_config else ''}"
        self._begun = replace(self._begun, command=command, only=frozenset({node}))
        stack, plan, platform = self._plan("change", "generate" if new_config else "at hand")
        self._ui.event(_begin("replace", stack, plan))
        self._check_deployed(plan, platform, self._ui.say)
        platform.repair()
        plan = self._recovered(stack, plan, platform)
        deployed = Deployed(stack.resources, platform)
        target = self._deployed_node(plan, deployed, node)
        if not new_config:
            target = self._as_deployed(target, deployed)
            _need_all_secrets([target])
            # Of the others, it matters how they are asked.
            plan = plan.with_nodes(lambda each: (deployed.restored(each) if each.unread else None) or each)
        # Its gate, too, is to make sure that a new machine can be made.
        target = replace(target, reprovision=True)
        # A node that the spec has added since is no peer yet, nor is it made here.
        plan = plan.only(deployed.known).with_nodes(lambda each: target if each.name == node else each)
        self._program(stack, plan, platform)
        reporter = Reporter(platform, plan, stack.resources, self._ui.event, preview=False)
        spare_peers(deployed, plan.groups[target.group], node)
        self._prepare(plan, platform, needed=True)
        parts = [r["urn"] for r in stack.resources if r["type"] in platform.replaced_types and name_of(r) == node]
        targets = targets_of(plan, platform, [node], disks=new_config)
        shown = "`fleet status` shows how the node is"
        with (
            noting(stack, self._begun, lambda: [plan]),
            failing(stack, reporter, self._ui.say, spec=self._spec, stopped=shown),
        ):
            stack.up(reporter.event, target=targets, replace=parts)
        self._ui.event(reporter.summary("replace", plan.name, stack.outputs()))

    def _as_deployed(self, node: NodePlan, deployed: Deployed) -> NodePlan:
        """A planned node as it is deployed.

        Raises:
            FleetError: That is not known, or cannot be had any more.
        """
        fix = "`fleet up` applies the spec to all nodes, `fleet replace --new-config` to this one alone."
        restored = deployed.restored(node)
        if restored is None:
            raise FleetError(
                f"The config that node {node.name} has is neither the spec's nor one of those of rollouts that are "
                "kept, so it cannot be restored.",
                fix=fix,
            )
        if deployed.differs(restored):
            raise FleetError(
                f"Node {node.name} cannot be re-provisioned as it is deployed: the spec or the stack's options have "
                "changed more of it than its config, such as its size, its ports, or the names of its data disks.",
                fix=fix,
            )
        if deployed.outdated(node):
            self._ui.say(node.name, "keeps its deployed config; the spec has another, which `--new-config` would take")
        return restored

    def login(self, node: str, command: Sequence[str] = (), *, identity: Path | None = None) -> list[str]:
        """The command that logs in to a node as ``core``, whether it is ready or not, and runs what is said there.

        Host keys are kept by machine, not by address: a node that was re-provisioned has a new one, which is taken at
        first sight, while another key on the same machine is refused.

        Args:
            node: Its name.
            command: What to run in place of a shell.
            identity: A private key's file; by default what ssh chooses.

        Raises:
            UsageError: There is no such node.
        """
        stack, _, deployed, name = self._deployed(node)
        return self._login(stack, deployed, name, command, identity)

    def _login(
        self, stack: Stack, deployed: Deployed, node: str, command: Sequence[str], identity: Path | None
    ) -> list[str]:
        place = deployed.peer(node)
        host, port = place.endpoints.get(SSH_PORT, (place.address, SSH_PORT))
        folder = stack_folder(self._project.folder, stack.short_name)
        private_folder(folder)
        options = {
            "HostKeyAlias": deployed.machines[node],
            "UserKnownHostsFile": f'"{folder / KNOWN_HOSTS}"',
            "StrictHostKeyChecking": "accept-new",
        }
        return [*ssh.command(str(host), port, options, identity=str(identity or "")), *command]

    def logs(self, node: str, service: str = "", *, follow: bool, lines: int, identity: Path | None) -> list[str]:
        """The command that shows a node's journal.

        Args:
            node: Its name.
            service: A container, whose own lines come first, systemd's of it only where there are none; or a unit with
                its suffix. All by default.
            follow: Go on as more comes.
            lines: How many of the last ones.
            identity: As in :meth:`login`.

        Raises:
            UsageError: There is no such node, or it has no such container.
        """
        stack, _, deployed, name = self._deployed(node)
        known = logs.containers(deployed.configs.get(name, ""))
        shown = logs.journal(service, known, name, follow=follow, lines=lines)
        return self._login(stack, deployed, name, [shown], identity)

    def console(self, node: str, lines: int) -> str:
        """The end of a node's serial console, secrets masked.

        Args:
            node: Its name.
            lines: How many of the last ones; what is redrawn over and over is one.

        Raises:
            UsageError: There is no such node.
            FleetError: It cannot be read, or the platform shows consoles in another way; says which.
        """
        stack, platform, deployed, node = self._deployed(node)
        peer = deployed.peer(node)
        text, why = "", f"fleet itself cannot read the consoles of {platform.name}."
        if watcher := watcher_of(peer.describe().get("watch")):
            why = f"The console of {node} has nothing to show."
            try:
                text = watcher.console()
            except FleetError as error:
                why = str(error)
        if text:
            mask = deployed.mask(node, self._planned(stack, node, needed=not deployed.became_ready(node)))
            return "\n".join(console.tail(console.masked(text, mask), lines))
        shown = stack.outputs().get("nodes", {}).get(node, {}).get("console")
        raise FleetError(
            why,
            fix=f"This shows it: {shown}." if shown else "Its own tools can.",
        )

    def _planned(self, stack: Stack, node: str, *, needed: bool) -> NodePlan | None:
        """A node as planned, with those secrets that can be read; ``None`` if the spec does not have it.

        Args:
            stack: The stack.
            node: Its name.
            needed: Whether a spec that cannot be read is an error.

        Raises:
            FleetError: The spec cannot be read.
        """
        try:
            plan, _ = self._plan_of(stack, "known", need_lock=False)
        except FleetError:
            if needed:
                raise
            return None
        return next((each for each in plan.nodes if each.name == node), None)

    def _deployed(self, node: str) -> tuple[Stack, Platform, Deployed, str]:
        """What is deployed, for what is done with a node as it is: the spec may have changed since, or be broken.

        Args:
            node: The node's name, as users say it.

        Returns:
            The stack; where the node is; the nodes of its fleet; and its name there.

        Raises:
            UsageError: The stack, or the node in it, is not there.
        """
        stack = Stack(self._project, self._stack_name, "read", self._ui)
        platform = stack_platform(stack.config.get, folder=self._project.folder, stack=stack.short_name)
        deployed = Deployed(stack.resources, platform)
        if node not in deployed.machines:
            raise UsageError(
                f"There is no node {node} in stack {stack.name}.",
                fix=f"It has: {', '.join(sorted(deployed.machines)) or 'none'}. `fleet up` makes what the spec adds.",
            )
        return stack, platform, deployed, node

    @staticmethod
    def _deployed_node(plan: FleetPlan, deployed: Deployed, node: str) -> NodePlan:
        planned = next((each for each in plan.nodes if each.name == node), None)
        if planned is None:
            raise UsageError(
                f"There is no node {node} in {plan.name}.", fix=f"There are: {', '.join(n.name for n in plan.nodes)}."
            )
        if node not in deployed.machines:
            raise UsageError(f"Node {node} has not been made yet.", fix="`fleet up` makes it.")
        return planned

    def status(self) -> FleetStatus:
        """How every node is, planned or deployed. A secret that cannot be had counts as unchanged."""
        stack, plan, platform = self._plan("read", "at hand", need_lock=False)
        for error in {str(error): error for node in plan.nodes for error in node.unread}.values():
            if not isinstance(error, NotAskedError):
                self._ui.warn(f"{error} It counts as unchanged.")
        if ailing := platform.ailing():
            self._ui.warn(ailing)
        deployed = Deployed(stack.resources, platform)
        exported = stack_outputs(stack.resources).get("nodes") or {}
        return FleetStatus(plan.name, stack.name, statuses(list(plan.nodes), deployed, exported, now=time.time()))

    def _prepare(self, plan: FleetPlan, platform: Platform, *, needed: bool) -> None:
        """Get the image, which nobody may miss where no machine is to be made."""
        with self._ui.download() as progress, contextlib.nullcontext() if needed else contextlib.suppress(FleetError):
            for image in {node.image.release: node.image for node in plan.nodes if node.image}.values():
                platform.prepare(image, progress)

    def _plan(self, access: Access, secrets: Secrets, *, need_lock: bool = True) -> tuple[Stack, FleetPlan, Platform]:
        """Plan before the engine starts.

        So what is wrong with the spec is said at once, and the program only declares what is planned.
        """
        stack = Stack(self._project, self._stack_name, access, self._ui)
        if any(fleet.name for fleet in fleets_of(stack.resources)):
            raise UsageError(
                f"Stack {stack.name} is made by a program, not by a spec alone: {self._spec} would remove all else.",
                fix=f"Name the program's folder in the spec's place: {self._project.folder}.",
            )
        plan, platform = self._plan_of(stack, secrets, need_lock=need_lock)
        plan = with_state(plan, stack.resources)
        self._program(stack, plan, platform)
        return stack, plan, platform

    def _plan_of(self, stack: Stack, secrets: Secrets, *, need_lock: bool) -> tuple[FleetPlan, Platform]:
        return plan_stack(
            self._spec,
            stack.config.get,
            project=self._project.name,
            folder=self._project.folder,
            stack=stack.short_name,
            full_name=stack.name,
            new_image=self._new_image,
            secrets=secrets,
            need_lock=need_lock,
        )

    @staticmethod
    def _check_deployed(plan: FleetPlan, platform: Platform, say: Say) -> None:
        platform.check_deployed(plan)
        for line in immutable_settings(plan, platform):
            say("", line)

    def _recovered(self, stack: Stack, plan: FleetPlan, platform: Platform) -> FleetPlan:
        """The plan once what a killed update left is in the state, which may be a data disk."""
        recover_interrupted_update(stack, [platform], self._ui.say)
        plan = with_state(plan, stack.resources)
        platform.check_deployed(plan)
        self._program(stack, plan, platform)
        return plan

    def _program(self, stack: Stack, plan: FleetPlan, platform: Platform) -> None:
        begun = self._begun

        async def program() -> None:
            # The engine is not asked to show them.
            drop_debug()
            changed = with_change(plan, platform, stack.resources, **asdict(begun))
            await deploy(changed, platform, project=self._project.folder, stack=stack.short_name)

        stack.automation.workspace.program = program


def _begin(command: str, stack: Stack, plan: FleetPlan) -> Event:
    return Begin(command, plan.name, stack.name, tuple(node.name for node in plan.nodes))


def become(command: list[str]) -> NoReturn:
    """Run a command in place of this process.

    Raises:
        FleetError: It cannot be run.
    """
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise FleetError(f"ssh cannot be run: {error.strerror}.", fix="Install OpenSSH's client.") from None


def _as_far_as_known(node: NodePlan, deployed: Deployed) -> NodePlan:
    """A planned node; if secrets of it cannot be had, and nothing else of its config changes, with the deployed one.

    Raises:
        FleetError: The deployed config is not known any more.
    """
    if not node.unread or deployed.outdated(node):
        return node
    restored = deployed.restored(node)
    if restored is None:
        raise node.unread[0]
    return restored


def _need_all_secrets(nodes: Iterable[NodePlan]) -> None:
    """Refuse to deploy a mask in a secret's place.

    Raises:
        FleetError: A secret could not be had.
    """
    for node in nodes:
        for error in node.unread:
            raise error


def _nodes_of(plan: FleetPlan, reporter: Reporter) -> dict[str, NodeReport]:
    """What would happen to every node, the planned ones first."""
    planned = {node.name: reporter.nodes.get(node.name, NodeReport("unchanged")) for node in plan.nodes}
    return {**planned, **reporter.nodes}


def not_ready_first(deployed: Deployed, plan: FleetPlan) -> list[str]:
    """Nodes that are not ready, where others would change too: a gate would hold those back."""
    first: list[str] = []
    for group in plan.groups.values():
        changing = {node.name for node in group.nodes if deployed.changes(node)}
        if not changing:
            continue
        down = deployed.not_ready([node for node in group.nodes if node.name in deployed.known], patience=PATIENCE)
        if changing - down.keys():
            first += [name for name in down if name in changing or name not in deployed.machines]
    return first


def spare_peers(deployed: Deployed, group: GroupPlan, node: str, *, called: str = "") -> None:
    """Refuse to take down a node while too many of its peers are down; one that is down itself takes down no more.

    Args:
        deployed: What is deployed.
        group: The node's group, as it is deployed.
        node: The node's name.
        called: What errors call it, where that is not its name.

    Raises:
        FleetError: Too many are down.
    """
    down = deployed.not_ready([each for each in group.nodes if each.name != node], patience=PATIENCE)
    if len(down) < group.window or deployed.not_ready([each for each in group.nodes if each.name == node]):
        return
    raise FleetError(
        f"Node {called or node} is left as it is: "
        + "; ".join(f"{name} is not ready ({reason})" for name, reason in down.items())
        + f", and at most {group.window} of the group may be down at once.",
        fix=f"Replace {', '.join(down)} first: a node that is down itself may be.",
    )


def targets_of(
    plan: FleetPlan, platform: Platform, nodes: Sequence[str], *, disks: bool = True, fleet: str = ""
) -> list[str]:
    """URN patterns of all that belongs to nodes, of the rules that their tags need, and the history.

    Args:
        plan: The fleet.
        platform: Where it is.
        nodes: Their names.
        disks: Whether their data disks are among it, or only what attaches them.
        fleet: The fleet's name in a program, which its resources are called after; empty for a spec's.
    """

    def called(name: str) -> str:
        return program_name(fleet, name)

    # A `*` is of one part of a type, which a disk's component adds some to (pulumi, pkg/resource/deploy/target.go).
    where = "**" if disks else f"**${tokens.NODE}$*:*:*"
    attached = [f"{node.name}-{disk.name}" for node in plan.nodes if node.name in nodes for disk in node.disks]
    shared = [f"**{tokens.FLEET}${kind}::{called('*')}" for kind in (*platform.rule_types, tokens.HISTORY)]
    return [*shared, *(f"**::{called(name)}" for name in nodes), *(f"{where}::{called(name)}" for name in attached)]


@contextlib.contextmanager
def failing(
    stack: Stack,
    reporter: Reports,
    say: Say,
    *,
    spec: Path | None = None,
    stopped: str = "the same command goes on from here",
) -> Iterator[None]:
    """What the resources said went wrong is the error, not how the engine ended; of a stop, both is said.

    Args:
        stack: The stack.
        reporter: What the engine's events were told.
        say: Shows a line.
        spec: The spec, for the commands that the error names; ``None``: it names none.
        stopped: What comes after a stop.
    """
    try:
        with translated(stack):
            yield
    except Stopped:
        for text in reporter.errors:
            say("", f"Error: {text}")
        if not reporter.preview:
            say("", f"Stopped; {stopped}.")
        raise
    except FleetError as error:
        if reporter.errors and type(error) is FleetError:
            after = reporter.after_failure(spec, stack.name) if spec else []
            raise FleetError("\n".join([*reporter.errors, *after])) from None
        raise


def _release(stack: Stack, which: Callable[[Resource], bool]) -> None:
    """Take back, in the state, the promise to keep some resources."""
    with translated(stack):
        state, resources = stack.export()
        released = [resource for resource in resources if resource.get("retainOnDelete") and which(resource)]
        if released:
            for resource in released:
                del resource["retainOnDelete"]
            stack.automation.import_stack(state)
