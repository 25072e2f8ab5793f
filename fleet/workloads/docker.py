"""Containers as systemd services that run ``docker``, for groups whose engine it is.

Docker has no Quadlet. Each service runs its container in the foreground, so that systemd sees it end, and removes one
that an earlier, killed run left. A health check that notifies holds the start back until it is content. Docker does
nothing about a container that is not healthy, gives no secret as an environment variable, and updates no image.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from fleet.errors import FleetError
from fleet.workloads.container import Container
from fleet.workloads.quadlet import file_path, restart_policy
from fleet.workloads.quoting import line, word
from fleet.workloads.resources import Network
from fleet.workloads.workload import Workload

_DOCKER = "/usr/bin/docker"
_UNTIL_HEALTHY = (
    'until [ "$(/usr/bin/docker inspect --format {{{{.State.Health.Status}}}} {name})" = healthy ]; do sleep 1; done'
)


ENVIRONMENT_FILE = ".environment"
"""What the file of a container's variables is called, among its secrets; no secret can be called that."""


def units(
    workload: Workload, secrets_folder: str, environment_files: Mapping[str, str]
) -> Iterator[tuple[str, str, str, str]]:
    """Every unit of a workload: what it is of ("containers", "networks") and that one's name, its own name, its text.

    Args:
        workload: The workload; its engine is docker.
        secrets_folder: The folder that holds ``CONTAINER/SECRET`` for every secret that a container uses.
        environment_files: By container, a file on the node with more variables of its environment.

    Raises:
        FleetError: Docker cannot do what a container asks for, or a value cannot exist in a unit file.
    """
    for name, network in sorted(workload.networks.items()):
        yield "networks", name, f"{name}-network.service", _network_unit(name, network)
    for name, container in sorted(workload.containers.items()):
        _check(name, container)
        file = environment_files.get(name, "")
        yield "containers", name, f"{name}.service", _service_unit(name, container, workload, secrets_folder, file)


def _check(name: str, container: Container) -> None:
    extra = sorted(set(container.quadlet) - {"Unit", "Service", "Install"})
    health = container.health
    chosen = bool(health and "on_failure" in health.model_fields_set and health.on_failure != "none")
    for key, asked in (
        ("auto_update", container.auto_update),
        ("pull: newer", container.pull == "newer"),
        ("secrets of `type: env`", any(use.type == "env" for use in container.secrets)),
        ("quadlet: {Container: ...}", extra),
        ("pod", container.pod),
        ("health: {on_failure: ...}", chosen),
        ("networks: [pasta]", any(use.name == "pasta" for use in container.networks)),
    ):
        if asked:
            raise FleetError(
                f"Container {name} has `{key}`, which the engine docker cannot do.", fix="Take it out, or take podman."
            )


def _service_unit(
    name: str, container: Container, workload: Workload, secrets_folder: str, environment_file: str
) -> str:
    arguments = _arguments(name, container, workload, secrets_folder, environment_file)
    run = " ".join(word(part, f"container {name}") for part in arguments)
    after = ["docker.service", "network-online.target"]
    requires = ["docker.service"]
    needed = [f"{use.name}-network.service" for use in container.networks if use.name in workload.networks]
    needed += [f"{other}.service" for other in container.depends_on]
    lines = [
        "[Unit]",
        f"Description=Container {name}",
        "Wants=network-online.target",
        "StartLimitIntervalSec=0",
        *(f"Requires={unit}" for unit in requires + needed),
        *(f"After={unit}" for unit in after + needed),
    ]
    paths = [volume.partition(":")[0] for volume in container.volumes if volume.startswith("/")]
    lines += [f"RequiresMountsFor={word(path, f'container {name}: volumes')}" for path in paths]
    lines += _extra(container, "Unit")
    lines += ["", "[Service]"]
    if container.ends:
        lines.append("Type=oneshot")
    if container.oneshot:
        lines.append("RemainAfterExit=yes")
    lines += [
        *(f"{key}={value}" for key, value in restart_policy(container)),
        f"TimeoutStartSec={container.start_timeout}",
        f"ExecStartPre=-{_DOCKER} rm --force {name}",
        f"ExecStart={_DOCKER} {run}",
    ]
    if container.health and container.health.notify:
        lines.append(f"ExecStartPost=/bin/sh -c {word(_UNTIL_HEALTHY.format(name=name), name)}")
    if not container.ends:
        lines.append(f"ExecStop={_DOCKER} stop --time {container.stop_timeout} {name}")
        lines.append(f"TimeoutStopSec={container.stop_timeout + 30}")
    lines += _extra(container, "Service")
    if container.schedule is None:
        lines += ["", "[Install]", "WantedBy=multi-user.target", *_extra(container, "Install")]
    return "\n".join(lines) + "\n"


def _extra(container: Container, section: str) -> list[str]:
    found = []
    for key, value in container.quadlet.get(section, {}).items():  # type: ignore[call-overload]
        found += [f"{key}={line(item, key)}" for item in ([value] if isinstance(value, str) else value)]
    return found


def _arguments(
    name: str, container: Container, workload: Workload, secrets_folder: str, environment_file: str
) -> Iterator[str]:
    yield from ("run", "--rm", f"--name={name}", f"--pull={container.pull}")
    if container.entrypoint:
        yield f"--entrypoint={container.entrypoint[0]}"
    for key, value in sorted(container.environment.items()):
        yield f"--env={key}={value}"
    if environment_file:
        yield f"--env-file={environment_file}"
    for key, value in sorted(container.labels.items()):
        yield f"--label={key}={value}"
    for use in container.networks:
        options = [f"name={use.name}"] + [f"alias={alias}" for alias in use.aliases]
        options += [f"ip={use.ip}"] if use.ip else []
        options += [f"ip6={use.ip6}"] if use.ip6 else []
        yield "--network=" + (use.name if len(options) == 1 else ",".join(options))
    for port in container.ports:
        yield f"--publish={port}"
    for volume in container.volumes:
        yield f"--volume={volume}"
    for file in container.files:
        options = ["ro", file.label] if file.read_only else [file.label]
        yield f"--volume={file_path(name, file.target)}:{file.target}:{','.join(options)}"
    for secret in container.secrets:
        target = PurePosixPath("/run/secrets") / (secret.target or secret.name)
        yield f"--volume={secrets_folder}/{name}/{secret.name}:{target}:ro,z"
    tmpfs = list(container.tmpfs)
    if container.read_only:
        # As Podman does.
        tmpfs += [path for path in ("/run", "/tmp") if not any(item.partition(":")[0] == path for item in tmpfs)]
        yield "--read-only"
    for item in tmpfs:
        yield f"--tmpfs={item}"
    for flag, text in (
        ("user", container.user),
        ("workdir", container.working_dir),
        ("hostname", container.hostname),
        ("memory", container.memory),
        ("shm-size", container.shm_size),
        ("stop-signal", container.stop_signal),
        ("cpus", f"{container.cpus:g}" if container.cpus is not None else ""),
        ("pids-limit", str(container.pids or "")),
    ):
        if text:
            yield f"--{flag}={text}"
    for flag, values in (
        ("group-add", container.groups),
        ("add-host", container.add_hosts),
        ("dns", [str(server) for server in container.dns]),
        ("device", container.devices),
        ("cap-drop", container.drop_capabilities),
        ("cap-add", container.add_capabilities),
        ("sysctl", [f"{key}={value}" for key, value in sorted(container.sysctl.items())]),
        ("ulimit", container.ulimits),
    ):
        for value in values:
            yield f"--{flag}={value}"
    if container.no_new_privileges:
        yield "--security-opt=no-new-privileges"
    if container.init:
        yield "--init"
    if health := container.health:
        command = health.command if isinstance(health.command, str) else shlex.join(health.command)
        yield f"--health-cmd={command}"
        yield f"--health-interval={health.interval}"
        yield f"--health-timeout={health.timeout}"
        yield f"--health-retries={health.retries}"
        yield f"--health-start-period={health.start_period}"
    yield from container.arguments
    yield container.image
    yield from container.entrypoint[1:]
    yield from container.command


def _network_unit(name: str, network: Network) -> str:
    create = ["network", "create"]
    for subnet in network.subnets:
        create.append(f"--subnet={subnet.prefix}")
        create += [f"--gateway={subnet.gateway}"] if subnet.gateway is not None else []
        create += [f"--ip-range={subnet.range}"] if subnet.range is not None else []
    create += ["--internal"] if network.internal else []
    create += ["--ipv6"] if network.ipv6 else []
    create += [f"--opt={key}={value}" for key, value in sorted(network.options.items())]
    create += [f"--label={key}={value}" for key, value in sorted(network.labels.items())]
    if not network.dns or network.dns_servers:
        raise FleetError(f"Network {name} chooses its DNS, which the engine docker cannot do.", fix="Take it out.")
    command = " ".join(word(part, f"network {name}") for part in [*create, name])
    return (
        f"[Unit]\nDescription=Network {name}\nRequires=docker.service\nAfter=docker.service\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        # After a reboot it is there already.
        f"ExecStartPre=-{_DOCKER} network rm {name}\nExecStart={_DOCKER} {command}\n\n"
        f"[Install]\nWantedBy=multi-user.target\n"
    )
