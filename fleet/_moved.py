"""Modules under the names that they had before: in the programs of users' projects, and in the states of their stacks.

Pulumi pickles the providers of dynamic resources into a state by the names of their modules, and projects that
``fleet new`` wrote import their ``main`` by one. So a module that moves leaves its old name in :data:`MOVED`, for ever.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False  # as typing's; what types alone need takes long to import

TYPE_CHECKING = False  # as typing has it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from types import ModuleType
else:
    Loader = object

MOVED = {
    "fleet.components.drain": "fleet.dynamic.drain",
    "fleet.components.gate": "fleet.dynamic.gate",
    "fleet.components.provider": "fleet.dynamic.provider",
    "fleet.components.ready": "fleet.dynamic.ready",
    "fleet.components.record": "fleet.dynamic.record",
    "fleet.platforms.qemu_accelerator": "fleet.platforms.qemu.accelerator",
    "fleet.platforms.qemu_machine": "fleet.platforms.qemu.machine",
    "fleet.platforms.qemu_network": "fleet.platforms.qemu.network",
    "fleet.platforms.qemu_switch": "fleet.platforms.qemu.qemu_switch",
    "fleet.spec.deploy": "fleet.program.deploy",
}
"""Today's name by each name of before."""


class _Finder:
    """Finds a module that moved; asked only for names that nothing else has."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, _Loader(MOVED[name])) if name in MOVED else None


class _Loader(Loader):
    """Gives the one module under its second name: what is pickled by either is the same."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It ran under its own name; the import system has put the second one's in here.
        module.__spec__ = self._own


def install() -> None:
    """Make the old names importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
