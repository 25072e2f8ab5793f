"""A Pulumi project on this machine: where its files are, what its stacks are called, what its config files say.

Everything here is read from the files alone, without Pulumi.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fleet.core_schema import Plain
from fleet.errors import Position, UsageError
from fleet.files import read_json, read_text
from fleet.hints import nearest
from fleet.stack_config import Secure

PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")
"""What Pulumi calls the file of a project (``sdk/go/common/workspace`` of github.com/pulumi/pulumi)."""


def project_file(folder: Path) -> Path | None:
    """The file that makes a folder a Pulumi project; ``None`` if it is none."""
    return next((folder / name for name in PROJECT_FILES if (folder / name).is_file()), None)


def short_name(stack: str) -> str:
    """A stack's name without the organization and the project that may stand before it.

    Args:
        stack: Its name, such as "dev" or "acme/web/dev".
    """
    return stack.rpartition("/")[2]


@dataclass(frozen=True)
class Project:
    """A folder with a project file, ``Pulumi.yaml``.

    Attributes:
        folder: The folder.
        file: The project file.
        name: The project's name.
        backend: The URL of where state is kept, if the file says it.
        settings: The folder of the stacks' config files.
        config: The config that the file itself gives to all stacks, as YAML has it.
    """

    folder: Path
    file: Path
    name: str
    backend: str
    settings: Path
    config: Mapping[str, Any]

    @classmethod
    def at(cls, folder: Path) -> Project | None:
        """The project of a folder; ``None`` if the folder has no project file.

        Raises:
            UsageError: The file is no Pulumi project.
        """
        file = project_file(folder)
        if file is None:
            return None
        try:
            content = yaml.load(read_text(file, "project file"), Loader=Plain)
            return cls(
                folder,
                file,
                str(content["name"]),
                str((content.get("backend") or {}).get("url") or ""),
                folder / str(content.get("stackConfigDir") or "."),
                dict(content.get("config") or {}),
            )
        except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
            raise UsageError("This is not a Pulumi project file.", at=Position.of(file)) from None

    @classmethod
    def around(cls, spec: Path) -> Project:
        """The project whose folder, or a folder below it, holds a spec, or is the folder of a program.

        Raises:
            UsageError: There is none, or its file is no Pulumi project.
        """
        own = Path(os.path.realpath(spec))
        own = own if own.is_dir() else own.parent
        for folder in (own, *own.parents):
            if project := cls.at(folder):
                return project
        raise UsageError(
            f"There is no Pulumi.yaml beside {spec.name} or above it, so it belongs to no Pulumi project.",
            fix="Make one that says `name: " + own.name + "` and `runtime: python`.",
        )

    def settings_file(self, stack: str) -> Path:
        """The file of a stack's config, which need not exist.

        Args:
            stack: The stack's name; an organization and the project may stand before it.
        """
        return self.settings / f"Pulumi.{short_name(stack)}{self.file.suffix}"

    @property
    def stacks(self) -> set[str]:
        """Names of the stacks that have a config file."""
        suffix = self.file.suffix
        return {file.name[len("Pulumi.") : -len(suffix)] for file in self.settings.glob(f"Pulumi.?*{suffix}")}

    def selected_stack(self, backend: str) -> str:
        """The stack that was selected with ``pulumi stack select``; empty if none was.

        Pulumi keeps it in a file of its own for each project and backend (``pkg/workspace/workspace.go`` and
        ``settings.go``, ``pkg/backend/state/stacks.go`` of github.com/pulumi/pulumi). It may have been removed since.

        Args:
            backend: The URL of where the project's states are.
        """
        home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
        own = hashlib.sha1(os.fsencode(os.path.realpath(self.file)), usedforsecurity=False).hexdigest()
        try:
            content = read_json((home / "workspaces" / f"{self.name}-{own}-workspace.json").read_bytes())
            by_backend = content.get("stacks") or {}
            return str(by_backend.get(backend) or content.get("stack") or "")
        except (OSError, ValueError, AttributeError):
            return ""

    def full_key(self, key: str) -> str:
        """A key of the config; one without a colon is the project's."""
        return key if ":" in key else f"{self.name}:{key}"

    def plain_config(self, stack: str) -> dict[str, str]:
        """A stack's config by full key, as Pulumi gives it, but read from the files alone.

        Without Pulumi, the stack's state or its passphrase. In the place of each secret, which is not needed,
        stands a text that says so.

        Args:
            stack: The stack's name.

        Raises:
            UsageError: There is no such file, or it cannot be read.
        """
        if not self.may_have(stack):
            raise self.no_stack(stack)
        file = self.settings_file(stack)
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
            raise UsageError("This is not the config file of a Pulumi stack.", at=Position.of(file)) from None
        except UsageError:
            if file.exists():
                raise
            raise self.no_stack(stack) from None
        for key, value in self.config.items():
            declared = value if isinstance(value, dict) else {"value": value}
            if (default := declared.get("value", declared.get("default"))) is not None:
                values.setdefault(self.full_key(str(key)), default)
        return {key: _config_text(key, value) for key, value in values.items()}

    def may_have(self, stack: str) -> bool:
        """Whether a stack's name is not that of another project's, as "organization/PROJECT/STACK" may be."""
        return stack.count("/") < 2 or stack.split("/")[-2] == self.name

    def no_stack(self, stack: str, others: Collection[str] = ()) -> UsageError:
        """The error that a stack does not exist.

        Args:
            stack: Its name.
            others: Names of stacks that exist, besides those that have a config file.
        """
        file = self.settings_file(stack)
        if file.exists() and self.may_have(stack):
            return UsageError(
                f"Stack {stack} of project {self.name} has not been made yet.", fix="`fleet up` makes it."
            )
        names = {*self.stacks, *others}
        meant = nearest(stack, names)
        return UsageError(
            f"There is no stack {stack} in project {self.name}.",
            fix=f"{meant}{' ' if meant else ''}Its stacks: {', '.join(sorted(names)) or 'none'}. A new one begins with "
            f"its config, {file.name}, whose `fleet:platform` says where the nodes are; `fleet up` makes it.",
        )


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

    shown = opened(value)
    text = shown if isinstance(shown, str) else json.dumps(shown, separators=(",", ":"), default=str)
    return text if shown == value else Secure(text)
