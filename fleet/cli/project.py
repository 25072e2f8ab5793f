"""A stack as the Automation API sees it: the project around a spec, its backend, its passphrase, its state.

``fleet`` and plain ``pulumi`` in the project's folder work on the same state: same project, stack, backend, resources.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pulumi import automation
from pulumi.automation._stack import StackInitMode

from fleet.cli.backend import Backend, is_engine
from fleet.cli.engine import Engine, Listener, end_idle_providers
from fleet.core_schema import Plain
from fleet.errors import FleetError, Position, UsageError
from fleet.files import read_json, read_text
from fleet.platforms.state import is_data_disk

T = TypeVar("T")
LOCK_PATIENCE = 20
"""Seconds to wait for another update of the stack to end."""

PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"


@dataclass(frozen=True)
class Project:
    """A folder with a ``Pulumi.yaml``.

    Attributes:
        folder: The folder.
        name: The project's name.
        backend: The URL of where state is kept, if the file says it.
        settings: The folder of the stacks' config files.
        config: The config that the file itself gives to all stacks, as YAML has it.
    """

    folder: Path
    name: str
    backend: str
    settings: Path
    config: Mapping[str, Any]

    @classmethod
    def around(cls, spec: Path) -> Project:
        """The project whose folder, or a folder below it, holds a spec.

        Raises:
            UsageError: There is none, or its file is no Pulumi project.
        """
        own = Path(os.path.realpath(spec)).parent
        for folder in [own, *own.parents]:
            file = folder / "Pulumi.yaml"
            if file.exists():
                try:
                    content = yaml.load(read_text(file, "project file"), Loader=Plain)
                    return cls(
                        folder,
                        str(content["name"]),
                        str((content.get("backend") or {}).get("url") or ""),
                        folder / str(content.get("stackConfigDir") or "."),
                        dict(content.get("config") or {}),
                    )
                except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
                    raise UsageError("This is no Pulumi project file.", at=Position.of(file)) from None
        raise UsageError(
            f"There is no Pulumi.yaml beside {spec.name} or above it, so it belongs to no Pulumi project.",
            fix="Make one that says `name: " + own.name + "` and `runtime: python`.",
        )

    def plain_config(self, stack: str) -> dict[str, str]:
        """A stack's config by full key, as Pulumi gives it, but read from the files alone: without Pulumi, the stack's
        state or its passphrase. In the place of each secret, which is not needed, stands a text that says so.

        Args:
            stack: The stack's name.

        Raises:
            UsageError: There is no such file, or it cannot be read.
        """
        file = self.settings / f"Pulumi.{stack}.yaml"
        try:
            node = yaml.compose(read_text(file, "stack's config"), Loader=Plain)
            content = dict(node.value) if isinstance(node, yaml.MappingNode) else {}
            own = next((value for key, value in content.items() if key.value == "config"), None)
            entries = own.value if isinstance(own, yaml.MappingNode) else []
            # A scalar is the text that was written, whatever type YAML would make of it.
            values = {
                self.full_key(str(key.value)): value.value
                if isinstance(value, yaml.ScalarNode)
                else _constructed(value)
                for key, value in entries
            }
        except yaml.YAMLError:
            raise UsageError("This is no config file of a Pulumi stack.", at=Position.of(file)) from None
        except UsageError:
            if file.exists():
                raise
            raise UsageError(
                f"There is no {file.name} in {file.parent}, so stack {stack} has no config.",
                fix="Name another stack, or write one: its `fleet:platform` says where the nodes are.",
            ) from None
        for key, value in self.config.items():
            declared = value if isinstance(value, dict) else {"value": value}
            if (default := declared.get("value", declared.get("default"))) is not None:
                values.setdefault(self.full_key(str(key)), default)
        return {key: _config_text(key, value) for key, value in values.items()}

    def files(self, stack: str) -> Backend | None:
        """The files that hold a stack's state; ``None`` if a service has it.

        Args:
            stack: The stack's name.
        """
        url = os.environ.get("PULUMI_BACKEND_URL") or self.backend or _login() or f"file://{self.folder}"
        return Backend.of(url, beside=self.folder, project=self.name, stack=stack)

    def full_key(self, key: str) -> str:
        """A key of the config; one without a colon is the project's."""
        return key if ":" in key else f"{self.name}:{key}"


def _constructed(node: yaml.Node) -> Any:
    """What YAML makes of a part of a document."""
    loader = Plain("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _config_text(key: str, value: Any) -> str:
    """A value of a stack's config as Pulumi gives it: a text as it is, all else as JSON."""

    def opened(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {"secure"}:
                return f"(secret {key})"
            return {str(name): opened(item) for name, item in value.items()}
        return [opened(item) for item in value] if isinstance(value, list) else value

    value = opened(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


class Stack:
    """A stack of a project, selected, and made first if need be.

    Args:
        project: The project.
        name: The stack's name.
        create: Make it if it is not there.

    Raises:
        FleetError: Pulumi is not installed, the passphrase is missing or wrong, or the stack is not there.
    """

    def __init__(self, project: Project, name: str, *, create: bool) -> None:
        self.project, self.name = project, name
        find_pulumi()
        if not (os.environ.get("PULUMI_BACKEND_URL") or project.backend or _login()):
            os.environ["PULUMI_BACKEND_URL"] = f"file://{project.folder}?metadata=skip"
        end_idle_providers()
        self._files = project.files(name)
        if self._files:
            # Not on standard output, which may be a config, or JSON.
            self._files.mend(lambda text: print(text, file=sys.stderr))
        _ask_passphrase(project, name)
        # A Pulumi.yaml that is there is used as it is: its runtime only matters to plain `pulumi`.
        with translated(self):
            self.engine = Engine()
            workspace = automation.LocalWorkspace(
                work_dir=str(project.folder), program=_nothing, pulumi_command=self.engine
            )
            self.automation = _QuickStack(
                name, workspace, StackInitMode.CREATE_OR_SELECT if create else StackInitMode.SELECT
            )
            self.config = {key: value.value for key, value in self.automation.get_all_config().items()}

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
                time.sleep(0.2)

    def preview(self, event: Listener) -> None:
        """Preview an update.

        Args:
            event: Told what would be done.
        """
        workspace = self.automation.workspace
        given = workspace.env_vars
        # The engine brings a state up to date at each step of a preview too, which nobody keeps: half of its work.
        workspace.env_vars = {**given, "PULUMI_SKIP_CHECKPOINTS": "true"}
        try:
            self.run(lambda: self.automation.preview(on_event=self.engine.hearing(event), refresh=True))
        finally:
            workspace.env_vars = given

    def up(self, event: Listener, *, target: list[str] | None = None, replace: list[str] | None = None) -> None:
        """Update the stack.

        Args:
            event: Told what is done.
            target: URN patterns of the only resources to touch.
            replace: URNs of resources to replace in any case.
        """
        heard = self.engine.hearing(event)
        self.run(lambda: self.automation.up(on_event=heard, refresh=True, target=target, replace=replace))

    def destroy(self, event: Listener) -> None:
        """Remove all resources.

        Args:
            event: Told what is done.
        """
        self.run(lambda: self.automation.destroy(on_event=self.engine.hearing(event)))

    @cached_property
    def resources(self) -> list[dict[str, Any]]:
        """The resources of the state as it was at the first access, secrets in plain text: for comparing only."""
        return self.export()[1]

    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs as they are now, secrets in plain text."""
        with translated(self):
            resources = self.export()[1]
        return next((plain(r.get("outputs", {})) for r in resources if r["type"] == "pulumi:pulumi:Stack"), {})

    def export(self) -> tuple[automation.Deployment, list[dict[str, Any]]]:
        """The state, and its resources, secrets in plain text."""
        state = self.run(self.automation.export_stack)
        return state, list((state.deployment or {}).get("resources") or [])


class _QuickStack(automation.Stack):
    """The Automation API's stack, without what it asks the CLI for after each update: the outputs, twice, and the
    history. Each takes as long as an update of a few nodes, and fleet has what it needs from the engine's events.
    """

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool = False) -> automation.UpdateSummary:
        return automation.UpdateSummary(
            kind="update", start_time=datetime.min, message="", environment={}, config={}, result="succeeded"
        )


def kept_disks(resources: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Name and place of every data disk in a state."""
    return [(urn_name(r["urn"]), r.get("id", "")) for r in resources if is_data_disk(r) and r.get("retainOnDelete")]


def plain(value: Any) -> Any:
    """A value from an exported state with Pulumi's secret envelopes opened."""
    if isinstance(value, dict):
        if value.get("4dabf18193072939515e22adb298388d") == "1b47061264138c4ac30d75fd1eb44270":
            return json.loads(value["plaintext"]) if "plaintext" in value else None
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def urn_name(urn: str) -> str:
    """A resource's name in its URN."""
    return urn.rpartition("::")[2]


def _nothing() -> None:
    """The program until there is one."""


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


def _login() -> str:
    """The backend that ``pulumi login`` chose."""
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    try:
        return str(read_json((home / "credentials.json").read_bytes()).get("current") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _ask_passphrase(project: Project, stack: str) -> None:
    if any(name in os.environ for name in (PASSPHRASE, f"{PASSPHRASE}_FILE")):
        return
    settings = project.folder / f"Pulumi.{stack}.yaml"
    try:
        content = yaml.load(read_text(settings, "stack's config"), Loader=Plain) or {}
    except (UsageError, yaml.YAMLError):
        content = {}
    if content.get("secretsprovider", "passphrase") != "passphrase":
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"The secrets of stack {stack} are locked with a passphrase, and there is no terminal to ask for it.",
            fix=f"Set {PASSPHRASE}, or {PASSPHRASE}_FILE.",
        )
    phrase = getpass.getpass(f"Passphrase of stack {stack} (empty is allowed): ")
    if "encryptionsalt" not in content and getpass.getpass("The same again, since it is new: ") != phrase:
        raise UsageError("The two passphrases differ; nothing was done.")
    os.environ[PASSPHRASE] = phrase


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
        return UsageError(
            f"There is no stack {stack.name} in project {stack.project.name}.", fix="`fleet up` makes it."
        )
    if "incorrect passphrase" in text:
        return UsageError(f"The passphrase of stack {stack.name} is another one.", fix=f"Set {PASSPHRASE} right.")
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
