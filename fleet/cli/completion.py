"""What shells complete: names of stacks and of nodes, read from the project's files alone.

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
    """Names of the nodes of a spec in YAML, as far as it says how many there are without variables.

    Args:
        context: What was typed before.
        incomplete: The beginning of the name.
    """
    import yaml

    from fleet.core_schema import Loader
    from fleet.errors import FleetError
    from fleet.files import read_text

    try:
        content = yaml.load(read_text(Path(context.params.get("spec") or ""), "spec"), Loader=Loader)
    except (FleetError, OSError, yaml.YAMLError):
        return []
    return [name for name in _names(content) if name.startswith(incomplete)]


def _names(spec: Any) -> Iterator[str]:
    groups = spec.get("groups") if isinstance(spec, dict) else None
    for name, group in (groups if isinstance(groups, dict) else {}).items():
        count = group.get("count", 1) if isinstance(group, dict) else 1
        for index in range(min(count, _MOST) if isinstance(count, int) else 1):
            yield f"{name}-{index}"
