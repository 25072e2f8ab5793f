"""The journal of a node: which of its lines a name means."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from fleet.errors import UsageError
from fleet.hints import nearest

_FIELDS = ("_SYSTEMD_UNIT", "UNIT", "_SYSTEMD_USER_UNIT", "USER_UNIT")
"""What a service wrote, and what systemd says of it; root's and users' (systemd.journal-fields(7))."""
_DOCKER = re.compile(r"^Description=Container (\S+)$", re.MULTILINE)


def containers(config: str) -> list[str]:
    """The containers that a node has, by their names in the spec, in order.

    Args:
        config: Its Ignition config, secrets masked; empty if that is not known.
    """
    if not config:
        return []
    tree = json.loads(config)

    def named() -> Iterator[str]:
        for file in tree.get("storage", {}).get("files", []):
            path = PurePosixPath(file["path"])
            if path.suffix == ".container":
                yield path.stem
        for unit in tree.get("systemd", {}).get("units", []):
            if (match := _DOCKER.search(unit.get("contents") or "")) and unit["name"] == f"{match[1]}.service":
                yield match[1]

    return sorted(set(named()))


def journal(name: str, known: list[str], node: str, *, follow: bool, lines: int) -> str:
    """The command line that shows what a name means, for the node's shell.

    Args:
        name: A container, also as Podman calls that of a Quadlet file ("systemd-caddy"); a unit, with its suffix;
            empty: everything.
        known: The node's containers; none: they are not known.
        node: The node's name.
        follow: Go on as more comes.
        lines: How many of the last ones.

    Raises:
        UsageError: The node has no such container.
    """
    command = ["journalctl", "--no-pager", f"--lines={lines}", *(["--follow"] if follow else [])]
    if not name:
        return shlex.join(["sudo", *command])
    if name not in known and name.removeprefix("systemd-") in known:
        name = name.removeprefix("systemd-")
    unit = name if "." in name else f"{name}.service"
    whole = [word for field in _FIELDS for word in (f"{field}={unit}", "+")][:-1]
    if name not in known:
        if known and "." not in name:
            has = ", ".join(known)
            raise UsageError(
                f"Node {node} has no container {name}.",
                fix=f"{nearest(name, known)} It has: {has}. Another unit is named with its suffix: `{unit}`.".lstrip(),
            )
        return shlex.join(["sudo", *command, *whole])
    # A container's own lines come from conmon (Podman), or by Docker's log driver.
    own = [f"CONTAINER_NAME={name}"]
    for field in ("_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT"):
        own += ["+", "_COMM=conmon", f"{field}={unit}"]
    any_own = shlex.join(["journalctl", "--quiet", "--output=cat", "--lines=1", *own])
    shown = f"exec {shlex.join([*command, *own])}"
    script = f'if [ -n "$({any_own})" ]; then {shown}; fi; exec {shlex.join([*command, *whole])}'
    return shlex.join(["sudo", "sh", "-c", script])
