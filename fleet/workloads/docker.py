"""Containers as systemd services that run ``docker``, for groups whose engine it is.

Docker has no Quadlet. Each service runs its container in the foreground, so that systemd sees it end, and removes one
that an earlier, killed run left. A health check that notifies holds the start back until it is content. Docker does
nothing about a container that is not healthy, gives no secret as an environment variable, and updates no image.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from fleet.config.ignition import Entry, unit_text
from fleet.workloads.container import Container, HealthCheck, volume_source
from fleet.workloads.quadlet import add_own_lines, file_mount, install, service
from fleet.workloads.quoting import unit_word, word
from fleet.workloads.rendering import Option, Special, docker_cannot, keys, options, refuse_for_docker
from fleet.workloads.resources import CONTAINER, NETWORK, Kind, Network
from fleet.workloads.workload import Workload

_DOCKER = "/usr/bin/docker"
_UNTIL_HEALTHY = (
    'until [ "$(/usr/bin/docker inspect --format {{{{.State.Health.Status}}}} {name})" = healthy ]; do sleep 1; done'
)


ENVIRONMENT_FILE = ".environment"
"""What the file of a container's variables is called, among its secrets; no secret can be called that."""


def units(
    workload: Workload, secrets_folder: str, environment_files: Mapping[str, str]
) -> Iterator[tuple[Kind, str, str]]:
    """Every unit of a workload: of which kind and whose name it is, and its text.

    Args:
        workload: The workload; its engine is docker.
        secrets_folder: The folder that holds ``CONTAINER/SECRET`` for every secret that a container uses.
        environment_files: By container, a file on the node with more variables of its environment.

    Raises:
        FleetError: Docker cannot do what a container asks for, or a value cannot exist in a unit file.
    """
    for name, network in sorted(workload.networks.items()):
        refuse_for_docker(network, f"Network {name}")
        yield NETWORK, name, _network_unit(name, network)
    for name, container in sorted(workload.containers.items()):
        _refuse(name, container)
        run = _Run(name, container, f"{secrets_folder}/{name}", environment_files.get(name, ""))
        yield CONTAINER, name, _service_unit(run, workload)


def _refuse(name: str, container: Container) -> None:
    """Refuse what Docker cannot do, of keys of which it can do the rest too."""
    refuse_for_docker(container, f"Container {name}")
    health = container.health
    chosen = bool(health and "on_failure" in health.model_fields_set and health.on_failure != "none")
    for key, is_set, why in (
        ("pull: newer", container.pull == "newer", "Docker has `always`, `missing` and `never`."),
        (
            "secrets of `type: env`",
            any(use.type == "env" for use in container.secrets),
            "Docker gives a secret as a file.",
        ),
        ("quadlet: {Container: ...}", "Container" in container.quadlet, "Docker has no Quadlet."),
        ("health: {on_failure: ...}", chosen, "Docker does nothing about a container that is not healthy."),
        ("networks: [pasta]", any(use.name == "pasta" for use in container.networks), "pasta is Podman's."),
    ):
        if is_set:
            raise docker_cannot(f"Container {name}", key, why)


class _Run:
    """A container that is run.

    Args:
        name: Its name.
        container: What it is.
        secrets: The folder on the node with its secrets.
        environment: A file on the node with more variables; empty if there is none.
    """

    def __init__(self, name: str, container: Container, secrets: str, environment: str) -> None:
        self.name, self.container, self.secrets, self.environment = name, container, secrets, environment


def _service_unit(run: _Run, workload: Workload) -> str:
    name, container = run.name, run.container
    command = " ".join(word(part, f"container {name}") for part in _command(run))
    needed = [NETWORK.service(use.name) for use in container.networks if use.name in workload.networks]
    needed += [CONTAINER.service(other) for other in container.depends_on]
    paths = [volume_source(volume) for volume in container.volumes if volume.startswith("/")]
    sections: dict[str, list[Entry]] = {
        "Unit": [
            ("Description", f"Container {name}"),
            ("Wants", "network-online.target"),
            ("StartLimitIntervalSec", "0"),
            *(("Requires", unit) for unit in ["docker.service", *needed]),
            *(("After", unit) for unit in ["docker.service", "network-online.target", *needed]),
            *(("RequiresMountsFor", unit_word(path, f"container {name}: volumes")) for path in paths),
        ],
        "Service": [
            *service(container),
            ("ExecStartPre", f"-{_DOCKER} rm --force {name}"),
            ("ExecStart", f"{_DOCKER} {command}"),
        ],
    }
    if container.health and container.health.notify:
        until = word(_UNTIL_HEALTHY.format(name=name), name)
        sections["Service"].append(("ExecStartPost", f"/bin/sh -c {until}"))
    if not container.ends:
        sections["Service"] += [
            ("ExecStop", f"{_DOCKER} stop --time {container.stop_timeout} {name}"),
            ("TimeoutStopSec", str(container.stop_timeout + 30)),
        ]
    if container.schedule is None:
        sections["Install"] = install(None)
    add_own_lines(name, container, sections)
    return unit_text(sections)


_ORDER = (
    *("pull", "entrypoint", "environment", "labels", "networks", "ports", "volumes", "files", "secrets", "read_only"),
    *("tmpfs", "user", "working_dir", "hostname", "memory", "shm_size", "stop_signal", "cpus", "pids", "groups"),
    *("add_hosts", "dns", "devices", "drop_capabilities", "add_capabilities", "sysctl", "ulimits"),
    *("no_new_privileges", "init", "health"),
)
"""The order of options on a command line, which is part of what nodes run: another re-provisions them. Fields that are
not among these come after them, in the order of the table; then the user's own options, the image, and its command."""


def _command(run: _Run) -> Iterator[str]:
    yield from ("run", "--rm", f"--name={run.name}")
    rows = dict(keys(Container))
    for field in dict.fromkeys((*_ORDER, *rows)):
        if field not in _LAST:
            match rows[field].docker:
                case Option() as option:
                    yield from options(run.container, field, option)
                case Special():
                    yield from _SPECIAL[field](run)
    for field in _LAST:
        yield from _SPECIAL[field](run)


def _environment(run: _Run) -> Iterator[str]:
    yield from options(run.container, "environment", Option("--env"))
    if run.environment:
        yield f"--env-file={run.environment}"


def _networks(run: _Run) -> Iterator[str]:
    for use in run.container.networks:
        parts = [f"name={use.name}"] + [f"alias={alias}" for alias in use.aliases]
        parts += [f"ip={use.ip}"] if use.ip else []
        parts += [f"ip6={use.ip6}"] if use.ip6 else []
        yield "--network=" + (use.name if len(parts) == 1 else ",".join(parts))


def _files(run: _Run) -> Iterator[str]:
    for file in run.container.files:
        yield f"--volume={file_mount(run.name, file)}"


def _secrets(run: _Run) -> Iterator[str]:
    for secret in run.container.secrets:
        target = PurePosixPath("/run/secrets") / (secret.target or secret.name)
        yield f"--volume={run.secrets}/{secret.name}:{target}:ro,z"


def _tmpfs(run: _Run) -> Iterator[str]:
    mounted = list(run.container.tmpfs)
    if run.container.read_only:
        # As Podman does.
        mounted += [path for path in ("/run", "/tmp") if not any(item.partition(":")[0] == path for item in mounted)]
    yield from (f"--tmpfs={item}" for item in mounted)


def _health(run: _Run) -> Iterator[str]:
    if health := run.container.health:
        command = health.command if isinstance(health.command, str) else shlex.join(health.command)
        yield f"--health-cmd={command}"
        for field, rendering in keys(HealthCheck):
            if isinstance(rendering.docker, Option):
                yield from options(health, field, rendering.docker)


_SPECIAL: Mapping[str, Callable[[_Run], Iterator[str]]] = {
    "entrypoint": lambda run: (f"--entrypoint={word}" for word in run.container.entrypoint[:1]),
    "environment": _environment,
    "networks": _networks,
    "files": _files,
    "secrets": _secrets,
    "tmpfs": _tmpfs,
    "health": _health,
    "arguments": lambda run: iter(run.container.arguments),
    "image": lambda run: iter([run.container.image]),
    "command": lambda run: iter([*run.container.entrypoint[1:], *run.container.command]),
}
"""What writes the options that the table calls special, by field."""
_LAST = ("arguments", "image", "command")


def _network_unit(name: str, network: Network) -> str:
    create = ["network", "create"]
    for field, rendering in keys(Network):
        match rendering.docker:
            case Option() as option:
                create += options(network, field, option)
            case Special():
                create += _subnets(network)
    command = " ".join(word(part, f"network {name}") for part in [*create, name])
    return unit_text(
        {
            "Unit": [("Description", f"Network {name}"), ("Requires", "docker.service"), ("After", "docker.service")],
            "Service": [
                ("Type", "oneshot"),
                ("RemainAfterExit", "yes"),
                # After a reboot it is there already.
                ("ExecStartPre", f"-{_DOCKER} network rm {name}"),
                ("ExecStart", f"{_DOCKER} {command}"),
            ],
            "Install": install(None),
        }
    )


def _subnets(network: Network) -> Iterator[str]:
    for subnet in network.subnets:
        yield f"--subnet={subnet.prefix}"
        if subnet.gateway is not None:
            yield f"--gateway={subnet.gateway}"
        if subnet.range is not None:
            yield f"--ip-range={subnet.range}"
