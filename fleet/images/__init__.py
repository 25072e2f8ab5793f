"""Images: Fedora CoreOS stream metadata and downloads, container digests, the image lock. Nothing here knows Pulumi.

Each name is looked up when it is first used: a plan needs the lock alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.images.artifacts import QEMU_DISK, Artifact, DiskArtifact, PublishedImage
    from fleet.images.download import Progress, default_cache, look_for, obtain
    from fleet.images.lock import ImageLock, read_lock, write_lock
    from fleet.images.registry import current_digests
    from fleet.images.signature import read_keys
    from fleet.images.streams import DEFAULT_BASE_URL, STREAMS, lock_file, lock_stream, parse_stream

_HOMES = {
    "fleet.images.artifacts": (
        "QEMU_DISK",
        "Artifact",
        "DiskArtifact",
        "PublishedImage",
    ),
    "fleet.images.download": (
        "Progress",
        "default_cache",
        "look_for",
        "obtain",
    ),
    "fleet.images.lock": (
        "ImageLock",
        "read_lock",
        "write_lock",
    ),
    "fleet.images.registry": ("current_digests",),
    "fleet.images.signature": ("read_keys",),
    "fleet.images.streams": (
        "DEFAULT_BASE_URL",
        "STREAMS",
        "lock_file",
        "lock_stream",
        "parse_stream",
    ),
}
"""Where each name is."""

__all__ = [
    "DEFAULT_BASE_URL",
    "QEMU_DISK",
    "STREAMS",
    "Artifact",
    "DiskArtifact",
    "ImageLock",
    "Progress",
    "PublishedImage",
    "current_digests",
    "default_cache",
    "lock_file",
    "lock_stream",
    "look_for",
    "obtain",
    "parse_stream",
    "read_keys",
    "read_lock",
    "write_lock",
]


if not TYPE_CHECKING:
    # A type checker that knew of it would take any name.
    def __getattr__(name: str) -> Any:
        module = next((home for home, names in _HOMES.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(importlib.import_module(module), name)
        return value
