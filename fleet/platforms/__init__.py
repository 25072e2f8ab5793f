"""Platforms: each turns a planned node into one provider's resources. Only the one that a stack uses is imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.errors import UsageError
from fleet.platforms.base import Platform
from fleet.stack_config import ConfigReader, no_config

NAMES = ("qemu", "libvirt", "aws", "gcp", "digitalocean")
"""The platforms, as ``fleet:platform`` names them."""


def platform(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    project: Path,
    stack: str,
    config: ConfigReader = no_config,
) -> Platform:
    """The platform of a stack.

    Args:
        name: One of :data:`NAMES`.
        options: The stack's ``fleet:<name>``; each platform documents its own.
        project: The folder that holds ``Pulumi.yaml``.
        stack: The stack's name.
        config: Reads the stack's config, for what a provider has there, such as "aws:region".

    Raises:
        UsageError: There is no such platform, or an option is wrong.
    """
    if name not in NAMES:
        raise UsageError(f"There is no platform {name!r}.", fix=f"The platforms are: {', '.join(NAMES)}.")
    module = importlib.import_module(f"fleet.platforms.{name}")
    made: Platform = module.PLATFORM.from_options(options or {}, project=project, stack=stack, config=config)
    return made


__all__ = ["NAMES", "Platform", "platform"]
