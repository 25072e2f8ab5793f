"""The options of a stack's platform: ``fleet:<platform>`` in its config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fleet.core_schema import Plain
from fleet.document import Document, Located, Location
from fleet.errors import FleetError, Position
from fleet.model import Model
from fleet.project import Project

M = TypeVar("M", bound=Model)


def read_options(model: type[M], options: Mapping[str, Any], *, platform: str, stack: str, project: Path) -> M:
    """Read ``fleet:<platform>``.

    Args:
        model: What the options are.
        options: The options.
        platform: The platform's name.
        stack: The stack's name.
        project: The folder of the stack's project.

    Raises:
        UsageError: An option is wrong; names its place.
    """
    return StackOptions(platform, stack, project).read(model, dict(options))


class StackOptions(Located):
    """A platform's options: ``fleet:<platform>`` of a stack's config.

    Errors name line and column of the stack's file where they stand in it; where they come from elsewhere (a default
    of ``Pulumi.yaml``, say), the path of the key. A value is shown only if that file has it
    in plain text.

    Args:
        platform: The platform's name.
        stack: The stack's name.
        folder: The project's.
    """

    what = "options of the platform"

    def __init__(self, platform: str, stack: str, folder: Path) -> None:
        self._key = f"fleet:{platform}"
        self._source = f"{self._key} in the config of stack {stack}"
        self._document: Document | None = None
        self._value: Any = None
        try:
            if project := Project.at(folder):
                document = Document(project.settings_file(stack), "stack's config", loader=Plain)
                self._value = document.value()["config"][self._key]
                if isinstance(self._value, dict):
                    self._document = document
        except (FleetError, KeyError, TypeError, yaml.YAMLError):
            pass  # What reads the config says what is wrong with it.
        self._by_path = self._document is None

    def _at(self, location: Location, *, on_key: bool = False) -> Position:
        if self._document is None:
            return Position(self._source)
        return self._document._at(("config", self._key, *location), on_key=on_key)

    def _is_open(self, value: Any, location: Location) -> bool:
        written: Any = self._value if self._document else None
        for part in location:
            try:
                written = written[part]
            except (KeyError, IndexError, TypeError):
                return False
        return bool(written == value)
