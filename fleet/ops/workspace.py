"""A stack as the Automation API sees it: the project around a spec, its backend, its passphrase, its state.

``fleet`` and plain ``pulumi`` in the project's folder work on the same state: same project, stack, backend, resources.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pulumi import automation
from pulumi.automation._stack import StackInitMode

from fleet.core_schema import Plain
from fleet.errors import FleetError, UsageError
from fleet.files import locked, read_text
from fleet.ops.backend import Backend, Update, backend_of, backend_url, is_in_service, logged_in_backend
from fleet.ops.engine import Engine, Listener, end_idle_providers
from fleet.ops.providers import served
from fleet.ops.reading import Config, StateReader
from fleet.ops.state_server import has_journal
from fleet.ops.ui import Ui
from fleet.processes import is_engine
from fleet.program.exported import STACK, Resource, is_data_disk, name_of, resources_of, stack_outputs
from fleet.project import Project, short_name
from fleet.stack_config import Secure

T = TypeVar("T")
LOCK_PATIENCE = 20
"""Seconds to wait for another update of the stack to end."""

PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"

_HIDDEN = "[secret]"
"""What the engine's events have in the place of a secret (``pkg/engine/events.go`` of github.com/pulumi/pulumi)."""

_NO_STATES: Mapping[str, str] = {"PULUMI_SKIP_CHECKPOINTS": "true"}
"""Has an engine bring no whole state up to date at its steps; what goes to a journal, it writes all the same."""

Access = Literal["read", "change", "make"]
"""What a command does with a stack: see :class:`Stack`."""


class Stack:
    """A stack of a project, for one command's work.

    A command that only looks gets copies: of the stack's config file, and, where the backend is one of files, of the
    state. So whatever Pulumi would write there, such as a salt, it writes to them. Where there is the config file of a
    stack that has not been made yet, such a command sees a stack without resources.

    Args:
        project: The project.
        name: The stack's name.
        access: "read": look at it; "change": it has to exist; "make": make it first if need be.
        ui: Asked for a passphrase, and told what was mended.

    Attributes:
        name: As given.
        config: The stack's config by full key, secrets in plain text; of a wrong passphrase, whoever reads the first
            secret hears.

    Raises:
        FleetError: Pulumi is not installed, or the passphrase is missing.
        UsageError: The stack is not there.
    """

    def __init__(self, project: Project, name: str, access: Access, ui: Ui) -> None:
        self.project, self.name, self._ui = project, name, ui
        if not project.may_have(name):
            raise project.no_stack(name)
        use_pulumi(project)
        end_idle_providers()
        self._files = Backend.of_stack(project, name)
        self._settings = project.settings_file(name)
        self._stamp: object = None
        self._copy: Path | None = None
        self._outputs: Mapping[str, Any] | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="fleet-") if access == "read" else None
        self.engine = Engine()
        # A Pulumi.yaml that is there is used as it is: its runtime only matters to plain `pulumi`.
        workspace = automation.LocalWorkspace(
            work_dir=str(project.folder), program=_nothing, pulumi_command=self.engine
        )
        self.automation = _QuickStack(name, workspace)
        self._reader = StateReader(
            lambda *options: self.run(lambda: self._pulumi("stack", "export", *options)), self._files
        )
        with translated(self):
            if self._scratch:
                self._look(Path(self._scratch.name))
            else:
                self._take(make=access == "make")
            self.config = self._read_config()

    def _look(self, scratch: Path) -> None:
        """Have all that follows work on copies."""
        has_settings = self._settings.exists()
        copy = scratch / self._settings.name
        copy.write_bytes(self._settings.read_bytes() if has_settings else b"")
        self._settings = copy
        environment: dict[str, str] = {}
        exists = self._files.exists if self._files else self._exists()
        if not exists and not has_settings:
            raise self._missing()
        if self._files:
            environment["PULUMI_BACKEND_URL"] = self._files.copied_to(scratch)
            self._reader.files = self._files.copy_in(scratch)
        elif not exists:
            environment["PULUMI_BACKEND_URL"] = backend_of(scratch, self.project.name, f"{self.short_name}.json")
            self._reader.files = Backend(scratch / ".pulumi", self.project.name, self.short_name)
            self.automation.name = self.short_name
        if exists or _locked_by(self._settings):
            self._ask_passphrase()
        else:
            # What there is to lock is thrown away.
            environment[PASSPHRASE] = ""
        self.automation.workspace.env_vars = environment

    def look_again(self) -> bool:
        """Have :attr:`resources` and :meth:`export` give the state as it is now, of a stack that is only looked at.

        Returns:
            Whether it may be another one than it was.
        """
        if not self._files or not self._scratch:
            self.__dict__.pop("resources", None)
            return True
        if (stamp := self._files.stamp) == self._stamp:
            return False
        self._stamp = stamp
        before, copy = self._copy, Path(tempfile.mkdtemp(dir=self._scratch.name))
        workspace = self.automation.workspace
        workspace.env_vars = {**workspace.env_vars, "PULUMI_BACKEND_URL": self._files.copied_to(copy)}
        self._copy, self._reader.files = copy, self._files.copy_in(copy)
        if before:
            shutil.rmtree(before, ignore_errors=True)
        self.__dict__.pop("resources", None)
        return True

    @property
    def in_files(self) -> bool:
        """Whether the backend is one of files."""
        return self._files is not None

    @property
    def exists(self) -> bool:
        """Whether the stack has been made."""
        return self._exists()

    def going_on(self) -> Update | None:
        """The update that is going on, where the backend is one of files; elsewhere that cannot be looked at."""
        return self._files.update() if self._files else None

    def _take(self, *, make: bool) -> None:
        """Have the stack be there, and be whole."""
        # What begins a stack is its config file, even an empty one: a mistyped name has none.
        if not self._settings.exists() and not self._exists():
            raise self._missing()
        if self._files:
            self._files.mend(self._ui.warn)
        if self._files and not make and not self._files.exists:
            raise self._missing()
        self._ask_passphrase()
        if self._exists():
            return
        if not make:
            raise self._missing()
        # Two that made it at once would each write a salt, and lock its secrets with another key.
        # Which one is selected is for the project's users to say.
        with locked(self.project.file), contextlib.suppress(automation.StackAlreadyExistsError):
            self._pulumi_of_all("stack", "init", self.name, "--no-select")

    def _read_config(self) -> Mapping[str, str]:
        """The config. Of one that says all in its file, the command reads the secrets alone."""
        if not _says_all(self.project.settings_file(self.name)):
            return self._whole_config()
        return Config(self.project.plain_config(self.name), self._whole_config)

    def _whole_config(self) -> dict[str, str]:
        """The config as Pulumi's command has it."""
        copied = ("--config-file", str(self._settings)) if self._scratch else ()
        with translated(self):
            shown = self.run(lambda: self._pulumi("config", "--show-secrets", "--json", *copied))
        return {
            key: Secure(entry["value"]) if entry["secret"] else entry["value"]
            for key, entry in json.loads(shown).items()
        }

    def _exists(self) -> bool:
        """Whether there is such a stack."""
        if self._files:
            return self._files.exists
        try:
            self._reader.read(is_open=self._is_unlocked, anew=False)
        except automation.StackNotFoundError:
            return False
        return True

    @property
    def _is_unlocked(self) -> bool:
        """Whether it is known by now that no passphrase has to be asked for."""
        if any(name in os.environ for name in (PASSPHRASE, f"{PASSPHRASE}_FILE")):
            return True
        return (_locked_by(self._settings) or ("service" if is_in_service(self.project) else "passphrase")) != (
            "passphrase"
        )

    def _pulumi(self, *words: str) -> str:
        """Run a command of Pulumi's about this stack; gives what it prints."""
        return self._pulumi_of_all(*words, "--stack", self.automation.name)

    @property
    def short_name(self) -> str:
        """The name without an organization and a project."""
        return short_name(self.name)

    def _missing(self) -> UsageError:
        try:
            listed = [] if self._files else json.loads(self._pulumi_of_all("stack", "ls", "--json"))
        except (automation.CommandError, ValueError):
            listed = []
        return self.project.no_stack(
            self.name, {*(each["name"] for each in listed), *(self._files.stacks if self._files else ())}
        )

    def _pulumi_of_all(self, *words: str) -> str:
        workspace = self.automation.workspace
        return self.engine.run(list(words), workspace.work_dir, workspace.env_vars).stdout

    def _ask_passphrase(self) -> None:
        """Ask for the passphrase, if one is needed and it is not in the environment."""
        if self._is_unlocked or not self._needs_passphrase():
            return
        phrase = self._ui.passphrase(f"Passphrase of stack {self.name} (empty is allowed): ")
        if phrase is None:
            raise UsageError(
                f"The secrets of stack {self.name} are locked with a passphrase, and there is no terminal to ask for "
                "it.",
                fix=f"Set {PASSPHRASE}, or {PASSPHRASE}_FILE.",
            )
        is_new = _locked_by(self._settings) != "passphrase" and not self._exists()
        if is_new and self._ui.passphrase("The same again, since it is new: ") != phrase:
            raise UsageError("The two passphrases differ; nothing was done.")
        os.environ[PASSPHRASE] = phrase

    def _needs_passphrase(self) -> bool:
        """Whether a passphrase locks the secrets: the stack's config file says so, else its state, else its backend."""
        provider = _locked_by(self._settings)
        if not provider and not is_in_service(self.project):
            try:
                provider = (
                    self._files.secrets_provider
                    if self._files
                    else str((self._sealed().get("secrets_providers") or {}).get("type") or "")
                )
            except automation.StackNotFoundError:
                provider = ""
        return (provider or ("service" if is_in_service(self.project) else "passphrase")) == "passphrase"

    def _sealed(self) -> Mapping[str, Any]:
        """The state; secrets in it may be encrypted."""
        return self._reader.read(is_open=False, anew=False).deployment

    def run(self, operation: Callable[[], T]) -> T:
        """Run an operation of the Automation API when the stack is free.

        A lock whose holder was killed on this machine is taken away. One whose holder lives is waited for, but not
        long: an engine whose program was killed still ends the step that it is at.
        """
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                return operation()
            except automation.ConcurrentUpdateError as error:
                holder = re.search(r"@(\S+) \(pid (\d+)\)", str(error))
                if self._files:
                    self._files.free()
                elif holder and holder[1] == socket.gethostname() and not is_engine(int(holder[2])):
                    self.automation.cancel()
                if time.monotonic() > deadline:
                    raise
            except automation.CommandError as error:
                # Of the metadata beside a file, Pulumi writes nothing whole at once: another command is just at it.
                if not self._files or "load checkpoint: EOF" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def check_free(self, state: automation.Deployment) -> None:
        """Make sure that no update of the stack is going on.

        Args:
            state: The state as it was just now.

        Raises:
            ConcurrentUpdateError: One is.
        """
        if not self._files:
            # Locks cannot be looked at. A refresh of what is not there takes one, and fails; it forgets what was begun.
            nothing = f"urn:pulumi:{self.short_name}::{self.project.name}::fleet:nothing:Nothing::nothing"
            try:
                self._pulumi("refresh", "--yes", "--skip-preview", "--target", nothing)
            except automation.ConcurrentUpdateError:
                raise
            except automation.CommandError:
                pass
            if self.export()[1] == resources_of(state.deployment or {}):
                self.automation.import_stack(state)
            return
        self._files.free()
        if holder := self._files.holder():
            text = f"error: the stack is currently locked by {holder}"
            raise automation.ConcurrentUpdateError(automation.CommandResult("", text, 255))

    def run_program(self, environment: Mapping[str, str]) -> None:
        """Have Pulumi run the project's own program from now on, in place of one of fleet's.

        Args:
            environment: Environment variables for it.
        """
        workspace = self.automation.workspace
        workspace.program = None
        workspace.env_vars = {**workspace.env_vars, **environment}

    def preview(self, event: Listener) -> None:
        """Preview an update.

        Args:
            event: Told what would be done.
        """
        heard, file = self.engine.hearing(event), str(self._settings)
        # Nobody keeps the state that is brought up to date at each step of a preview, too: half of the engine's work.
        variables = _NO_STATES
        with contextlib.ExitStack() as meanwhile:
            # A program of its own may be of another virtual environment, and so may its providers.
            if self.automation.workspace.program is not None:
                variables = {**variables, **meanwhile.enter_context(served(self.project.name))}
            meanwhile.enter_context(self._told(variables))
            self.run(lambda: self.automation.preview(on_event=heard, refresh=True, config_file=file))

    def up(self, event: Listener, *, target: list[str] | None = None, replace: list[str] | None = None) -> None:
        """Update the stack.

        Args:
            event: Told what is done.
            target: URN patterns of the only resources to touch.
            replace: URNs of resources to replace in any case; one that turns out to be gone is made anew.
        """
        self._outputs = None
        heard = self.engine.hearing(self._noting_outputs(event))
        # The engine refuses to replace what the refresh has just removed from the state, unless a pattern names it
        # (pulumi, pkg/resource/deploy/deployment_executor.go, `checkTargets`).
        patterns = replace and [urn.replace("urn:pulumi:", "urn:*:", 1) for urn in replace]
        with self._told(_NO_STATES if self._has_journal else {}):
            self.run(lambda: self.automation.up(on_event=heard, refresh=True, target=target, replace=patterns))

    def _noting_outputs(self, then: Listener) -> Listener:
        """A listener that notes the stack's outputs, unless there are secrets among them, which events do not have."""

        def hear(event: automation.EngineEvent) -> None:
            step = event.res_outputs_event.metadata if event.res_outputs_event else None
            if step and step.type == STACK and step.new:
                outputs = dict(step.new.outputs or {})
                self._outputs = None if _HIDDEN in json.dumps(outputs) else outputs
            then(event)

        return hear

    def destroy(self, event: Listener) -> None:
        """Remove all resources.

        Args:
            event: Told what is done.
        """
        with self._told(_NO_STATES if self._has_journal else {}):
            self.run(lambda: self.automation.destroy(on_event=self.engine.hearing(event)))

    @cached_property
    def _has_journal(self) -> bool:
        """Whether an update writes what it does step by step to a journal."""
        workspace = self.automation.workspace
        return has_journal(
            backend_url(self.project), lambda: self.engine.run(["version"], workspace.work_dir, {}).stdout
        )

    @contextlib.contextmanager
    def _told(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Have the engine, meanwhile, have more environment variables."""
        workspace = self.automation.workspace
        before = workspace.env_vars
        workspace.env_vars = {**before, **variables}
        try:
            yield
        finally:
            workspace.env_vars = before

    @cached_property
    def resources(self) -> list[dict[str, Any]]:
        """The resources of the state as it was at the first access, secrets in plain text: for comparing only."""
        return self.export(anew=False)[1]

    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs after the update that was made last, secrets in plain text."""
        if self._outputs is not None:
            return self._outputs
        return stack_outputs(self.export()[1])

    def export(self, *, anew: bool = True) -> tuple[automation.Deployment, list[dict[str, Any]]]:
        """The state, and its resources, secrets in plain text.

        Args:
            anew: It is to be as it is now; else it may be as it was when it was last read.

        Raises:
            FleetError: It cannot be read; the passphrase is wrong, say.
        """
        with translated(self):
            state = self._reader.read(is_open=True, anew=anew)
        deployment = automation.Deployment(version=state.version, deployment=state.deployment)
        return deployment, resources_of(state.deployment)


def sealed_state(project: Project, name: str) -> tuple[Mapping[str, Any], bool]:
    """A stack's state with its secrets encrypted, so that no passphrase is needed; and whether it is being updated.

    Args:
        project: The project.
        name: The stack's name.

    Raises:
        UsageError: The stack is not there.
        FleetError: Its state cannot be read.
    """
    files = Backend.of_stack(project, name)
    if not project.may_have(name):
        raise project.no_stack(name, files.stacks if files else ())
    if files:
        if not files.exists:
            raise project.no_stack(name, files.stacks)
        return {"resources": files.resources()}, files.update() is not None
    find_pulumi()
    engine, folder = Engine(), str(project.folder)
    try:
        exported = engine.run(["stack", "export", "--stack", name], folder, {}).stdout
        listed = engine.run(["stack", "ls", "--json"], folder, {}).stdout
    except automation.StackNotFoundError:
        raise project.no_stack(name) from None
    except automation.CommandError as error:
        raise FleetError(f"Pulumi failed: {_reason(str(error))}.") from None
    updating = {short_name(each["name"]) for each in json.loads(listed) if each.get("updateInProgress")}
    return dict(json.loads(exported).get("deployment") or {}), short_name(name) in updating


class _QuickStack(automation.Stack):
    """The Automation API's stack, without what it asks the CLI for after each update.

    That is the outputs, twice, and the history. Each takes as long as an update of a few nodes, and fleet has what it
    needs from the engine's events. Nor is it selected, for whatever else its user does in the project: every command
    names it.
    """

    def __init__(self, name: str, workspace: automation.LocalWorkspace) -> None:
        self.name, self.workspace, self._mode = name, workspace, StackInitMode.SELECT

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool = False) -> automation.UpdateSummary:
        return automation.UpdateSummary(
            kind="update", start_time=datetime.min, message="", environment={}, config={}, result="succeeded"
        )


def retained_disks(resources: Sequence[Resource]) -> list[tuple[str, str]]:
    """Name and location of every data disk in a state."""
    return [(name_of(r), r.get("id", "")) for r in resources if is_data_disk(r) and r.get("retainOnDelete")]


def _nothing() -> None:
    """The program until there is one."""


def use_pulumi(project: Project) -> None:
    """Have Pulumi's command be found, and the states of a project that names no backend be in its folder.

    Args:
        project: The project.

    Raises:
        FleetError: The Pulumi CLI is not there.
    """
    find_pulumi()
    if not (os.environ.get("PULUMI_BACKEND_URL") or project.backend or logged_in_backend()):
        os.environ["PULUMI_BACKEND_URL"] = f"file://{project.folder}?metadata=skip"


def find_pulumi() -> None:
    """Put on PATH what a virtual environment brings, even when it is not active.

    Raises:
        FleetError: The Pulumi CLI is not there.
    """
    beside = str(Path(sys.executable).parent)
    if beside not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = beside + os.pathsep + os.environ.get("PATH", "")
    if not shutil.which("pulumi"):
        raise FleetError("The Pulumi CLI is not on PATH.", fix="`fleet doctor` says how to get it.")
    os.environ.setdefault("PULUMI_SKIP_UPDATE_CHECK", "true")
    # What a stack's config file does not say of its secrets' key, its state may.
    os.environ.setdefault("PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER", "true")


def _locked_by(settings: Path) -> str:
    """What a stack's config file says that locks its secrets: "passphrase", or a URL such as "awskms://...".

    Empty if it does not say so, and the state or the backend decides.
    """
    content = _content(settings)
    if not content:
        return ""
    provider = str(content.get("secretsprovider") or "default")
    return provider if provider != "default" else "passphrase" if "encryptionsalt" in content else ""


def _content(settings: Path) -> dict[str, Any] | None:
    """What a stack's config file says; ``None``: it is not there, or it is none."""
    try:
        content = yaml.load(read_text(settings, "stack's config"), Loader=Plain)
    except (UsageError, yaml.YAMLError):
        return None
    return {} if content is None else content if isinstance(content, dict) else None


def _says_all(settings: Path) -> bool:
    """Whether a stack's config file is there, and imports nothing from elsewhere (``environment``, Pulumi ESC)."""
    return (content := _content(settings)) is not None and "environment" not in content


class translated:  # noqa: N801  (used like a function)
    """A context in which the Automation API's errors become fleet's.

    Args:
        stack: The stack that is worked on.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, automation.CommandError | automation.InvalidVersionError):
            raise _readable(error, self._stack) from None


def _readable(error: Exception, stack: Stack) -> FleetError:
    text = str(error)
    if isinstance(error, automation.ConcurrentUpdateError):
        return FleetError(
            f"Another update of stack {stack.name} is going on, or one was killed: {_reason(text)}.",
            fix=f"Wait for it. If its process is gone, free the stack with `pulumi cancel --stack {stack.name}` in "
            f"{stack.project.folder}.",
        )
    if isinstance(error, automation.StackNotFoundError):
        return stack.project.no_stack(stack.name)
    if "incorrect passphrase" in text:
        return UsageError(f"The passphrase of stack {stack.name} is wrong.", fix=f"Set {PASSPHRASE} to the right one.")
    return FleetError(f"Pulumi failed: {_reason(text)}.")


def _reason(text: str) -> str:
    lines = list(_error_lines(text))
    return " ".join(lines).rstrip(".") if lines else text.strip().splitlines()[-1].strip()


def _error_lines(text: str) -> Iterator[str]:
    """What the CLI wrote as an error, without its labels."""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("error:"):
            yield stripped.removeprefix("error:").strip()
