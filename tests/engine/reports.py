"""Reports of stand-ins: what a node would tell that has an Ignition config, and runs well but for what a test says.

It is read from the config, as a node's script reads it: which units there are, and at which port it answers.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

Troubles = Mapping[str, Mapping[str, Any]]
"""By a unit's name in the spec, what its report has other than one that is well: :class:`fleet.plan.UnitReport`."""

RESTARTS = {"active": "activating", "sub": "auto-restart", "result": "exit-code", "restarts": 12, "exit_code": 1}
"""A container that ends again and again."""
UNKNOWN_IMAGE = {**RESTARTS, "exit_code": 125, "cause": "image-unknown", "image": ""}
PULLS = {"active": "activating", "sub": "start", "pulling": True, "image": "", "seconds": 1.0}
UNHEALTHY = {"health": "unhealthy"}
FAILED = {"active": "failed", "sub": "failed", "result": "exit-code", "exit_code": 3, "seconds": 5.0}
SETTLES = {"seconds": 1.0}

_RUNS = {"active": "active", "sub": "running"}
_ENDED = {"active": "active", "sub": "exited", "exit_code": 0}
_STATES = {"timer": {"active": "active", "sub": "waiting"}, "mount": {"active": "active", "sub": "mounted"}}


def port_of(config: str) -> int | None:
    """The port of the report of a node that has a config; ``None`` if it has no report."""
    for unit in _whole(config).get("systemd", {}).get("units", []):
        if unit["name"] == "fleet-report.socket":
            return int(re.findall(r"^ListenStream=(\d+)$", unit["contents"], re.M)[0])
    return None


def report_of(config: str, node: str, troubles: Troubles) -> dict[str, Any]:
    """The report of a node.

    Args:
        config: Its Ignition config.
        node: Its name.
        troubles: What is not well.
    """
    files = {each["path"]: each for each in _whole(config)["storage"]["files"]}
    listed = content(files["/etc/fleet/report.units"]["contents"]).decode()
    units, disks = [], [{"mount": "/", "size_bytes": 10 << 30, "used_bytes": 3 << 30}]
    for line in listed.splitlines():
        kind, unit, name, user, _, expect, mount = line.split()
        state = _STATES.get(kind, _RUNS if expect in ("running", "may-end") else _ENDED)
        if kind == "container" and expect == "on-demand":
            state = {"active": "inactive", "sub": "dead", "exit_code": 0}
        facts = {"load": "loaded", "result": "success", "restarts": 0, "seconds": 3600.0, **state}
        if kind == "container":
            facts["image"] = "sha256:" + "ab" * 32
        owner = "" if user == "-" else user
        named = {"unit": unit, "name": name, "kind": kind, "expect": expect, "user": owner}
        units.append({**named, **facts, **troubles.get(name, {})})
        if kind == "mount":
            disks.append({"mount": mount, "name": name, "size_bytes": 1 << 30, "used_bytes": 1 << 20})
    return {
        "version": 1,
        "node": content(files["/etc/hostname"]["contents"]).decode().strip(),
        "os": "Fedora CoreOS",
        "release": "44.1",
        "deployment": "cd" * 32,
        "kernel": "6.18.4",
        "boot_id": f"00000000-0000-4000-8000-{len(node):012x}",
        "uptime_seconds": 3660.0,
        "system": "running",
        "update": {"state": "active", "status": "periodically polling for updates", "staged": ""},
        "units": units,
        "failed": [],
        "jobs": [],
        "disks": disks,
    }


def text_of(config: str) -> str:
    """A config's text, with what a stub names in its place."""
    return json.dumps(_whole(config))


def _whole(config: str) -> dict[str, Any]:
    """A config, with what a stub names in its place; what is not inside it, in an object store, is left out."""
    tree: dict[str, Any] = json.loads(config)
    named = tree["ignition"].get("config", {})
    for each in [*filter(None, [named.get("replace")]), *named.get("merge", [])]:
        if each["source"].startswith("data:"):
            return _whole(content(each).decode())
    return tree


def content(resource: Mapping[str, Any]) -> bytes:
    """What a ``data:`` URL of a config holds."""
    kind, _, data = resource["source"].removeprefix("data:").partition(",")
    raw = base64.b64decode(data) if kind.endswith(";base64") else unquote_to_bytes(data)
    return gzip.decompress(raw) if resource.get("compression") == "gzip" else raw
