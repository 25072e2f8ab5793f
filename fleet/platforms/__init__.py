"""Platforms: each turns a planned node into one provider's resources.

A platform is a Python package, of fleet's or of somebody else's: an entry point of the group ``fleet.platforms``, whose
name is the platform's and whose object is its class (:class:`fleet.platforms.base.PlatformClass`). Only the one that a
stack uses is imported, so that a broken one hurts nobody else.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.dynamic import tokens
from fleet.errors import FleetError, UsageError
from fleet.platforms.base import Platform, PlatformClass
from fleet.stack_config import DEFAULT_PLATFORM, ConfigReader, no_config

if TYPE_CHECKING:
    from fleet.images import Artifact

_FACE: Mapping[str, Any] = {
    "name": str,
    "options_model": type,
    "artifacts": Collection,
    "first_stack": str,
    "from_options": Callable,
}
"""What every command may ask of a platform's class (:class:`fleet.platforms.base.PlatformClass`)."""


@functools.cache
def _entries() -> Mapping[str, list[EntryPoint]]:
    """The entry points by name. Looking for them reads the metadata of all installed packages, once."""
    entries: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=tokens.PLATFORMS):
        entries.setdefault(entry.name, []).append(entry)
    return entries


def names() -> tuple[str, ...]:
    """The installed platforms, as ``fleet:platform`` names them: the default one, then the others by name."""
    return tuple(sorted(_entries(), key=lambda name: (name != DEFAULT_PLATFORM, name)))


def platform_class(name: str) -> type[PlatformClass]:
    """The class of a platform.

    Args:
        name: One of :func:`names`.

    Raises:
        UsageError: There is no such platform.
        FleetError: There is none at all, several packages bring it, or it cannot be imported.
    """
    entries = _entries().get(name, [])
    if not names():
        raise FleetError(
            "No platform is installed, not even fleet's own: the installed package's metadata is older than its code.",
            fix="Install it again: `pip install --force-reinstall fcos-fleet`.",
        )
    if not entries:
        raise UsageError(f"There is no platform {name!r}.", fix=f"The platforms are: {', '.join(names())}.")
    if len(entries) > 1:
        packages = sorted(map(_package, entries))
        raise FleetError(
            f"Several Python packages bring a platform {name!r}: {', '.join(packages)}.",
            fix="Uninstall all of them but one.",
        )
    (entry,) = entries
    try:
        loaded: type[PlatformClass] = entry.load()
    # Whatever a module of somebody else's raises when it is imported, `sys.exit()` included.
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise FleetError(
            f"The platform {name!r}, of the Python package {_package(entry)}, cannot be imported: "
            f"{type(error).__name__}{f': {reason}' if reason else ''}.",
            fix="Install what it needs, or another release of it.",
        ) from error
    lacking = [each for each, kind in _FACE.items() if not isinstance(getattr(loaded, each, None), kind)]
    if lacking or loaded.name != name:
        what = f"has no `{lacking[0]}`" if lacking else f"calls itself {loaded.name!r}"
        raise FleetError(
            f"The platform {name!r}, of the Python package {_package(entry)}, is none for this fleet: {entry.value} "
            f"{what}.",
            fix="Install another release of it.",
        )
    return loaded


def artifacts() -> tuple[Artifact, ...]:
    """What the installed platforms need of stream metadata; one that cannot be imported needs nothing."""
    needed: dict[Artifact, None] = {}
    for name in names():
        with contextlib.suppress(FleetError):
            needed.update(dict.fromkeys(platform_class(name).artifacts))
    return tuple(needed)


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


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
        name: One of :func:`names`.
        options: The stack's ``fleet:<name>``; each platform documents its own.
        project: The folder that holds ``Pulumi.yaml``.
        stack: The stack's name.
        config: Reads the stack's config, for what a provider has there, such as "aws:region".

    Raises:
        UsageError: There is no such platform, or an option is wrong.
        FleetError: The platform cannot be used; :func:`platform_class` says when.
    """
    return platform_class(name).from_options(options or {}, project=project, stack=stack, config=config)


__all__ = ["Platform", "artifacts", "names", "platform", "platform_class"]
