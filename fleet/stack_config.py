"""A stack's config, as everything reads it that knows no Pulumi."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from fleet.core_schema import Plain
from fleet.document import Document, Located, Location
from fleet.errors import FleetError, Position


class Secure(str):
    """A value of a stack's config that was set as a secret, in plain text, or what stands for it."""


ConfigReader = Callable[[str], str | None]
"""Gives the plain value of a key of the stack's config, such as "aws:region", or ``None`` where it is not set. One that
is a secret is :class:`Secure`."""


def no_config(key: str) -> None:
    """The config of no stack."""


def settings_file(folder: Path, stack: str) -> Path:
    """The file of a stack's config, which need not be there.

    Args:
        folder: Where the project keeps such files.
        stack: The stack's name; an organization and the project may stand before it.
    """
    return folder / f"Pulumi.{stack.rpartition('/')[2]}.yaml"


class StackOptions(Located):
    """A platform's options: ``fleet:<platform>`` of a stack's config.

    Errors name line and column of the stack's file where they stand in it; where they come from elsewhere (a default
    of ``Pulumi.yaml``, another folder for such files), the path of the key. A value is shown only if that file has it
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
            document = Document(settings_file(folder, stack), "stack's config", loader=Plain)
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
