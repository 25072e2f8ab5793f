"""libvirt: domains on this machine or another, by the provider of upstream's 0.8 line; its schema is known here alone.

States name the attribute ``missing`` of this package (:data:`fleet.platforms.libvirt.site.MISSING`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.platforms.libvirt.site import missing

__all__ = ["missing"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fleet.platforms.libvirt import site

    return getattr(site, name)
