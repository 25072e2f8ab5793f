"""A node's containers and secrets as one snippet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.config import Snippet
from fleet.config.ignition import file, unit
from fleet.errors import FleetError
from fleet.workloads.container import Container
from fleet.workloads.quadlet import SECRETS_SERVICE, container_file

SECRETS_FOLDER = "/etc/fleet/secrets"


def workload_snippet(
    containers: Mapping[str, Container], *, secrets: Mapping[str, str] | None = None, name: str = "containers"
) -> Snippet:
    """Compile containers to Quadlet files, and the secrets they use to Podman secrets.

    Args:
        containers: By name; the name is the service's and the container's.
        secrets: Values by name. Each that a container uses becomes a file of mode 0600 and, before any container
            starts, a Podman secret.
        name: What errors call the snippet.

    Raises:
        FleetError: A dependency or secret is not there, or a value cannot exist on a node.
    """
    secrets = secrets or {}
    files: list[dict[str, Any]] = []
    units: list[dict[str, Any]] = []
    used: set[str] = set()
    for key, container in sorted(containers.items()):
        for other in container.depends_on:
            if other not in containers:
                raise FleetError(
                    f"Container {key} depends on {other}, which is not a container of the same group.",
                    fix=f"The group has {', '.join(sorted(containers))}.",
                )
        for use in container.secrets:
            if use.name not in secrets:
                raise FleetError(
                    f"Container {key} uses the secret {use.name}, which the spec does not define.",
                    fix="Define it under `secrets`.",
                )
            used.add(use.name)
        files.append(file(f"/etc/containers/systemd/{key}.container", container_file(key, container), mode=0o644))
    if containers:
        # Docker is socket-activated beside Podman on Fedora CoreOS; both writing firewall rules breaks containers.
        units.append({"name": "docker.socket", "mask": True})
    if any(container.auto_update for container in containers.values()):
        units.append({"name": "podman-auto-update.timer", "enabled": True})
    if used:
        files += [file(f"{SECRETS_FOLDER}/{key}", secrets[key], mode=0o600) for key in sorted(used)]
        units.append(unit(SECRETS_SERVICE, _SECRETS_UNIT.format(folder=SECRETS_FOLDER)))
    config: dict[str, Any] = {
        "ignition": {"version": "3.0.0"},
        "storage": {"files": files},
        "systemd": {"units": units},
    }
    return Snippet.from_ignition(name, config)


_SECRETS_UNIT = """\
[Unit]
Description=Give this node's secrets to Podman
RequiresMountsFor=/var/lib/containers

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -euc 'for f in {folder}/*; do podman secret create --replace "$${{f##*/}}" "$$f" >/dev/null; done'

[Install]
WantedBy=multi-user.target
"""
