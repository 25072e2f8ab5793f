"""The embedded platform: one QEMU process a node, on this machine, no daemon and no account.

States name attributes of this package (:mod:`fleet.platforms.qemu.tokens`), which have modules of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.platforms.qemu.resource import DiskProvider, MachineProvider, missing

__all__ = ["DiskProvider", "MachineProvider", "missing"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fleet.platforms.qemu import resource

    return getattr(resource, name)
