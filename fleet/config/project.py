"""Compose projects, read by the transpiler."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.config import _transpiler
from fleet.errors import FleetError


def read_project(path: Path, root: Path | None, variables: Mapping[str, str]) -> dict[str, Any]:
    """Read a Compose file and the files that it refers to.

    Args:
        path: The file, absolute.
        root: What files have to be in, wherever symbolic links lead; ``None``: anything.
        variables: What ``${NAME}`` stands for.

    Returns:
        ``model``, in compose-go's canonical form, and ``places`` of its parts; or ``problems``
        (``transpiler/project.go``).

    Raises:
        FleetError: The transpiler is missing or died.
    """
    reply = _transpiler.shared().call(
        "project", path=str(path), root=str(root) if root else "", variables=dict(variables)
    )
    if "error" in reply:
        raise FleetError(f"The Compose file {path} cannot be read: {reply['error']}.")
    return reply
