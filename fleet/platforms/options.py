"""The options of a stack's platform: ``fleet:<platform>`` in its config.

What means the same has the same name on every platform, :data:`COMMON`. An option that is renamed keeps its old name,
in :attr:`PlatformOptions.renamed`: a stack that says it is what it was, and its user is told once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from fleet.core_schema import Plain
from fleet.document import Document, Located, Location
from fleet.errors import FleetError, FleetWarning, Position, UsageError
from fleet.model import Model
from fleet.project import Project

COMMON: Mapping[str, tuple[str, ...]] = {
    "architecture": ("arch",),
    "bucket": ("object_store", "storage_bucket"),
    "cidr": ("network_cidr", "range", "ip_range", "address_space"),
    "dns_zone": ("domain", "hosted_zone", "managed_zone"),
    "public_addresses": ("public_ips", "external_addresses", "floating_ips"),
    "root_size_gib": ("root_disk_gib", "boot_disk_size", "os_disk_size"),
    "spot": ("preemptible",),
    "tags": ("labels", "metadata"),
    "vpc": ("network", "vnet", "virtual_network"),
    "zones": ("availability_zones", "locations"),
}
"""Options that platforms share, and what users and providers call them besides."""


class PlatformOptions(Model):
    """The options of a platform.

    Attributes:
        renamed: Today's name of an option by each name of before.
    """

    renamed: ClassVar[Mapping[str, str]] = {}


M = TypeVar("M", bound=PlatformOptions)


def read_options(model: type[M], options: Mapping[str, Any], *, platform: str, stack: str, project: Path) -> M:
    """Read ``fleet:<platform>``. An option under an old name is a :class:`~fleet.errors.FleetWarning`.

    Args:
        model: What the options are.
        options: The options.
        platform: The platform's name.
        stack: The stack's name.
        project: The folder of the stack's project.

    Raises:
        UsageError: An option is wrong; names its place.
    """
    where = f"`fleet:{platform}` in the config of stack {stack}"
    current, written = dict(options), dict[str, str]()
    for old, new in model.renamed.items():
        if old not in current:
            continue
        if new in current:
            raise UsageError(f"{where}: `{old}` is the old name of `{new}`, and both are set.", fix=f"Remove `{old}`.")
        current[new], written[new] = current.pop(old), old
        warnings.warn(f"{where}: `{old}` is called `{new}` now. The old name still works.", FleetWarning, stacklevel=2)
    return StackOptions(platform, stack, project, written).read(model, current)


class StackOptions(Located):
    """A platform's options: ``fleet:<platform>`` of a stack's config.

    Errors name line and column of the stack's file where they stand in it; where they come from elsewhere (a default
    of ``Pulumi.yaml``, say), the path of the key. A value is shown only if that file has it in plain text.

    Args:
        platform: The platform's name.
        stack: The stack's name.
        folder: The project's.
        written: The name under which an option is written, by today's name, where that is another one.
    """

    what = "options of the platform"

    def __init__(self, platform: str, stack: str, folder: Path, written: Mapping[str, str]) -> None:
        self._written, self._stack, self._folder = written, stack, folder
        self._key = f"fleet:{platform}"
        self._source = f"{self._key} in the config of stack {stack}"
        self._document: Document | None = None
        self._value: Any = None

    def _invalid(self, model: type[BaseModel], details: list[ErrorDetails]) -> FleetError:
        # Only what is wrong needs its place: the files are read for nothing else.
        try:
            if project := Project.at(self._folder):
                document = Document(project.settings_file(self._stack), "stack's config", loader=Plain)
                self._value = document.value()["config"][self._key]
                if isinstance(self._value, dict):
                    self._document = document
        except (FleetError, KeyError, TypeError, yaml.YAMLError):
            pass  # What reads the config says what is wrong with it.
        self._by_path = self._document is None
        return super()._invalid(model, details)

    def _as_written(self, location: Location) -> Location:
        return [self._written.get(str(part), part) if index == 0 else part for index, part in enumerate(location)]

    def _at(self, location: Location, *, on_key: bool = False) -> Position:
        if self._document is None:
            return Position(self._source)
        return self._document._at(("config", self._key, *location), on_key=on_key)

    def _message(self, model: type[BaseModel], detail: ErrorDetails, location: Location) -> str:
        name = str(location[-1]) if location else ""
        meant = next((key for key, words in COMMON.items() if name in words and key in model.model_fields), None)
        if detail["type"] == "extra_forbidden" and meant:
            return f"There is no key `{name}`. Did you mean `{meant}`?"
        text = super()._message(model, detail, location)
        old = self._written.get(name) if len(location) == 1 else None
        return text.replace(f"`{name}`", f"`{old}`", 1) if old else text

    def _is_open(self, value: Any, location: Location) -> bool:
        written: Any = self._value if self._document else None
        for part in self._as_written(location):
            try:
                written = written[part]
            except (KeyError, IndexError, TypeError):
                return False
        return bool(written == value)
