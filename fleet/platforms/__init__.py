"""Platforms: each turns a planned node into one provider's resources. Only the one that a stack uses is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.errors import UsageError
from fleet.platforms.base import Platform

NAMES = ("qemu",)
"""The platforms, as ``fleet:platform`` names them."""


def platform(name: str, options: Mapping[str, Any] | None = None, *, project: Path, stack: str) -> Platform:
    """The platform of a stack.

    Args:
        name: One of :data:`NAMES`.
        options: The stack's ``fleet:<name>``; each platform documents its own.
        project: The folder that holds ``Pulumi.yaml``.
        stack: The stack's name.

    Raises:
        UsageError: There is no such platform, or an option is wrong.
    """
    if name not in NAMES:
        raise UsageError(f"There is no platform {name!r}.", fix=f"The platforms are: {', '.join(NAMES)}.")
    from fleet.platforms.qemu import Qemu

    return Qemu.from_options(options or {}, project=project, stack=stack)


__all__ = ["NAMES", "Platform", "platform"]
