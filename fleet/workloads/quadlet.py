"""Containers as Quadlet files (podman-systemd.unit(5))."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from fleet.workloads.container import Container, HealthCheck, SecretUse
from fleet.workloads.quoting import line, word

SECRETS_SERVICE = "fleet-secrets.service"
"""The unit that gives the node's secrets to Podman; containers that use one start after it."""

Section = list[tuple[str, str]]


def container_file(name: str, container: Container) -> str:
    """The text of ``<name>.container``.

    Raises:
        FleetError: A value cannot exist in a unit file or a process argument.
    """
    sections: dict[str, Section] = {
        "Unit": list(_unit(name, container)),
        "Container": list(_container(name, container)),
        "Service": [
            # Quadlet knows no unless-stopped; systemd's always does not restart what was stopped by hand.
            ("Restart", container.restart.replace("unless-stopped", "always")),
            ("TimeoutStartSec", str(container.start_timeout)),
        ],
        "Install": [("WantedBy", "multi-user.target")],
    }
    for section, extra in container.quadlet.items():
        for key, value in extra.items():
            for item in [value] if isinstance(value, str) else value:
                if "\n" in item or item.endswith("\\"):
                    line(item, f"container {name}: {key}")
                sections[section].append((key, item))
    return "\n".join(
        f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in entries)
        for section, entries in sections.items()
    )


def _unit(name: str, container: Container) -> Iterator[tuple[str, str]]:
    yield "Description", f"Container {name}"
    for other in container.depends_on:
        yield "Requires", f"{other}.service"
        yield "After", f"{other}.service"
    if container.secrets:
        yield "Requires", SECRETS_SERVICE
        yield "After", SECRETS_SERVICE
    # A pull needs the network to be there, not only to be starting.
    yield "Wants", "network-online.target"
    yield "After", "network-online.target"


def _container(name: str, container: Container) -> Iterator[tuple[str, str]]:
    def where(what: str) -> str:
        return f"container {name}: {what}"

    yield "ContainerName", name
    yield "Image", line(container.image, where("image"))
    yield "Pull", container.pull
    if container.entrypoint:
        # Podman reads a JSON array here; the key takes its line as it is.
        yield "Entrypoint", line(_json(container.entrypoint), where("entrypoint"))
    if container.command:
        yield "Exec", " ".join(word(argument, where("command")) for argument in container.command)
    for key, value in sorted(container.environment.items()):
        yield "Environment", word(f"{key}={value}", where(f"environment {key}"))
    for key, value in sorted(container.labels.items()):
        yield "Label", word(f"{key}={value}", where(f"label {key}"))
    for port in container.ports:
        yield "PublishPort", str(port)
    for volume in container.volumes:
        yield "Volume", line(volume, where("volume"))
    for secret in container.secrets:
        yield "Secret", word(_secret(secret), where(f"secret {secret.name}"))
    if container.user:
        user, _, group = container.user.partition(":")
        yield "User", line(user, where("user"))
        if group:
            yield "Group", line(group, where("user"))
    for capability in container.drop_capabilities:
        yield "DropCapability", line(capability, where("drop_capabilities"))
    for capability in container.add_capabilities:
        yield "AddCapability", line(capability, where("add_capabilities"))
    if container.read_only:
        yield "ReadOnly", "true"
    if container.auto_update:
        yield "AutoUpdate", container.auto_update
    if container.pids is not None:
        yield "PidsLimit", str(container.pids)
    yield "StopTimeout", str(container.stop_timeout)
    if container.health:
        yield from _health(name, container.health)
    limits = []
    if container.memory:
        limits.append(f"--memory={container.memory}")
    if container.cpus is not None:
        limits.append(f"--cpus={container.cpus:g}")
    if limits:
        yield "PodmanArgs", " ".join(limits)


def _health(name: str, health: HealthCheck) -> Iterator[tuple[str, str]]:
    command = health.command
    if isinstance(command, list) and len(command) == 1:
        # Podman takes a JSON array of one word for a shell line.
        command = shlex.join(command)
    words = ["CMD-SHELL", command] if isinstance(command, str) else command
    yield "HealthCmd", line(_json(words), f"container {name}: health command")
    for key, value in (
        ("HealthInterval", health.interval),
        ("HealthTimeout", health.timeout),
        ("HealthRetries", str(health.retries)),
        ("HealthStartPeriod", health.start_period),
        ("HealthOnFailure", health.on_failure),
    ):
        yield key, line(value, f"container {name}: {key}")
    if health.notify:
        yield "Notify", "healthy"


def _secret(secret: SecretUse) -> str:
    target = secret.target or secret.name
    if secret.type == "env":
        return f"{secret.name},type=env,target={target}"
    return f"{secret.name},type=mount,target={target},uid={secret.uid},gid={secret.gid},mode={secret.mode}"


def _json(words: list[str]) -> str:
    # Non-ASCII stays as it is; DEL is no JSON escape of its own but may not stand in a unit file.
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")
