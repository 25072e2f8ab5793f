"""What shells complete: names of stacks and of nodes, read from the project's files alone, and files of specs.

A shell waits for each answer, so nothing is loaded that a plan would need; what cannot be read completes to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

_MOST = 200
"""Nodes of a group that are offered."""


def stacks(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the stacks of the spec's project.

    Args:
        context: What was typed before.
        incomplete: The beginning of the name.
    """
    from fleet.errors import FleetError
    from fleet.project import Project

    try:
        names = Project.around(Path(context.params.get("spec") or "fleet.yaml")).stacks
    except (FleetError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def nodes(context: typer.Context, incomplete: str) -> list[str]:
    """Names of nodes.

    Of a spec in YAML they are those that it says without variables; of a program's stack, those that its state has,
    where that is in files.

    Args:
        context: What was typed before.
        incomplete: The beginning of the name.
    """
    from fleet.errors import FleetError
    from fleet.ops.stacks import current_source

    try:
        source = Path(context.params.get("spec") or current_source())
        names = _deployed(source, str(context.params.get("stack") or "")) if source.is_dir() else _written(source)
    except (FleetError, OSError, ValueError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def sources(context: typer.Context, incomplete: str) -> list[str]:
    """Files and folders that may be a spec, and, as it may be left out, names of nodes where one comes next.

    Args:
        context: What was typed before.
        incomplete: The beginning of the word.
    """
    if context.params.get("node"):
        return []
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        paths = []
    specs = [path for path in paths if path.suffix in (".yaml", ".py") and not path.name.startswith("Pulumi.")]
    files = [f"{path}/" if path.is_dir() else str(path) for path in paths if path.is_dir() or path in specs]
    has_node = any(each.name == "node" for each in context.command.params)
    return [*(nodes(context, incomplete) if has_node else ()), *(name for name in files if name.startswith(incomplete))]


def _deployed(folder: Path, stack: str) -> list[str]:
    """The nodes of a program's stack."""
    from fleet.dynamic.tokens import NODE
    from fleet.ops.backend import Backend
    from fleet.ops.stacks import current_stack
    from fleet.program.exported import is_live, name_of
    from fleet.program.fleets import fleets_of, said
    from fleet.project import Project

    files = Backend.of_stack(Project.around(folder), stack or current_stack(folder))
    fleets = fleets_of(files.resources()) if files else []
    return [
        said(fleet.name, name_of(each)) if len(fleets) > 1 else name_of(each)
        for fleet in fleets
        for each in fleet.resources
        if each["type"] == NODE and is_live(each)
    ]


def _written(spec: Path) -> list[str]:
    """The nodes of a spec in YAML."""
    import yaml

    from fleet.core_schema import Loader
    from fleet.files import read_text

    try:
        return list(_names(yaml.load(read_text(spec, "spec"), Loader=Loader)))
    except yaml.YAMLError:
        return []


def _names(spec: Any) -> Iterator[str]:
    groups = spec.get("groups") if isinstance(spec, dict) else None
    for name, group in (groups if isinstance(groups, dict) else {}).items():
        count = group.get("count", 1) if isinstance(group, dict) else 1
        for index in range(min(count, _MOST) if isinstance(count, int) else 1):
            yield f"{name}-{index}"
