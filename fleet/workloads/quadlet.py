"""Containers and what they share as Quadlet files (podman-systemd.unit(5)).

Which quoting a key takes is decided by how Podman's generator reads it (``pkg/systemd/quadlet/quadlet.go``): as words,
or as a line. What only a command line can say goes to ``PodmanArgs``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fleet.errors import FleetError
from fleet.workloads.container import PODMAN_NETWORKS, Container, HealthCheck, NetworkUse, SecretUse
from fleet.workloads.quoting import line, unit_word, word
from fleet.workloads.resources import Build, ImagePull, Network, Pod, Volume
from fleet.workloads.workload import Workload, below

SECRETS_SERVICE = "fleet-secrets.service"
"""The unit that gives the node's secrets to Podman; containers that use one start after it."""

FILES_FOLDER = "/etc/fleet/files"
BUILDS_FOLDER = "/etc/fleet/builds"

Entry = tuple[str, str]


def quadlet_files(workload: Workload, mounts: Sequence[str] = ()) -> Iterator[tuple[str, str | None, str]]:
    """Every Quadlet file of a workload: its name, the user whose it is (``None``: root), and its text.

    Args:
        workload: The workload.
        mounts: Where the node's data disks are mounted. What has data on one waits for it.

    Raises:
        FleetError: A value cannot exist in a unit file or a process argument.
    """
    sections: dict[str, Iterable[Entry]]
    before: dict[str | None, str] = {}

    def stored(user: str | None) -> list[Entry]:
        return [] if user else _after_mounts([workload.storage], mounts)

    for name, network in sorted(workload.networks.items()):
        unit = [_about("Network", name), *stored(network.run_as)]
        # One after the other: of two that are made at once at the first boot, one now and then fails with "network
        # already exists", in spite of --ignore (Podman 5.4).
        if network.run_as in before:
            unit.append(("After", f"{before[network.run_as]}-network.service"))
        before[network.run_as] = name
        yield f"{name}.network", network.run_as, _text({"Unit": unit, "Network": _network(name, network)})
    for name, volume in sorted(workload.volumes.items()):
        device = [] if volume.run_as else _after_mounts([volume.device], mounts)
        sections = {"Unit": [_about("Volume", name), *stored(volume.run_as), *device], "Volume": _volume(name, volume)}
        yield f"{name}.volume", volume.run_as, _text(sections)
    for name, image in sorted(workload.images.items()):
        unit = [_about("Image", name), *stored(image.run_as), *_network_first()]
        yield f"{name}.image", image.run_as, _text({"Unit": unit, "Image": _image(name, image), "Service": _SLOW_START})
    for name, build in sorted(workload.builds.items()):
        unit = [_about("Build of image", name), *stored(build.run_as), *_network_first()]
        yield f"{name}.build", build.run_as, _text({"Unit": unit, "Build": _build(name, build), "Service": _SLOW_START})
    for name, pod in sorted(workload.pods.items()):
        unit = [_about("Pod", name), *stored(pod.run_as)]
        sections = {"Unit": unit, "Pod": _pod(name, pod, workload), "Install": _install(pod.run_as)}
        yield f"{name}.pod", pod.run_as, _text(sections)
    for name, container in sorted(workload.containers.items()):
        yield f"{name}.container", container.run_as, container_file(name, container, workload, mounts)


def container_file(name: str, container: Container, workload: Workload, mounts: Sequence[str] = ()) -> str:
    """The text of ``<name>.container``.

    Args:
        name: The container's name.
        container: What it is.
        workload: The workload it belongs to, where its networks and volumes are looked up.
        mounts: Where the node's data disks are mounted.

    Raises:
        FleetError: A value cannot exist in a unit file or a process argument.
    """
    sections: dict[str, list[Entry]] = {
        "Unit": list(_unit(name, container)),
        "Container": list(_container(name, container, workload)),
        "Service": list(_service(container)),
    }
    if not container.run_as:
        sections["Unit"] += _after_mounts([workload.storage], mounts)
    if container.schedule is None:
        sections["Install"] = _install(container.run_as)
    for section, extra in container.quadlet.items():
        for key, value in extra.items():
            for item in [value] if isinstance(value, str) else value:
                if "\n" in item or item.endswith("\\"):
                    line(item, f"container {name}: {key}")
                sections.setdefault(section, []).append((key, item))
    return _text(sections)


def file_path(container: str, target: str) -> str:
    """Where on the node a file that is mounted in a container lies."""
    return f"{FILES_FOLDER}/{container}{target}"


def _after_mounts(paths: Iterable[str], mounts: Iterable[str]) -> list[Entry]:
    """What makes a unit wait for those of its paths that lie on data disks."""
    return [
        ("RequiresMountsFor", unit_word(path, "a path on a data disk"))
        for path in paths
        if any(below(path, mount) for mount in mounts)
    ]


_SLOW_START = [("TimeoutStartSec", "900")]
"""A first pull can outlast systemd's 90 s."""


def _text(sections: Mapping[str, Iterable[Entry]]) -> str:
    return "\n".join(
        f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in entries)
        for section, entries in sections.items()
    )


def _about(kind: str, name: str) -> Entry:
    return "Description", f"{kind} {name}"


def _install(user: str | None) -> list[Entry]:
    # A user's manager has no multi-user.target.
    return [("WantedBy", "default.target" if user else "multi-user.target")]


def _network_first() -> Iterator[Entry]:
    # A pull needs the network to be there, not only to be starting.
    yield "Wants", "network-online.target"
    yield "After", "network-online.target"


def _unit(name: str, container: Container) -> Iterator[Entry]:
    yield _about("Container", name)
    for other in container.depends_on:
        yield "Requires", f"{other}.service"
        yield "After", f"{other}.service"
    if container.secrets:
        yield "Requires", SECRETS_SERVICE
        yield "After", SECRETS_SERVICE
    for volume in container.volumes:
        source = volume.partition(":")[0]
        if source.startswith("/") and not _plain(volume):
            yield "RequiresMountsFor", unit_word(source, f"container {name}: volumes")
    yield "StartLimitIntervalSec", "0"
    if not container.run_as:
        # Quadlet itself makes a user's services wait for the network, which their manager knows nothing of.
        yield from _network_first()


def _service(container: Container) -> Iterator[Entry]:
    if container.ends:
        yield "Type", "oneshot"
    if container.oneshot:
        yield "RemainAfterExit", "yes"
    yield from restart_policy(container)
    yield "TimeoutStartSec", str(container.start_timeout)


def restart_policy(container: Container) -> Iterator[Entry]:
    """How systemd restarts the service: for as long as it takes.

    systemd itself gives up after five times in ten seconds, which a registry that cannot be reached for a moment is
    enough for.
    """
    # systemd knows no unless-stopped; its always does not restart what was stopped by hand.
    restart = container.restart or ("no" if container.ends else "always")
    yield "Restart", restart.replace("unless-stopped", "always")
    if restart != "no":
        yield "RestartSec", "5"


def _container(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    def where(what: str) -> str:
        return f"container {name}: {what}"

    def lines(key: str, values: Iterable[object], what: str) -> Iterator[Entry]:
        for value in values:
            yield key, line(str(value), where(what))

    def words(key: str, values: Iterable[str], what: str) -> Iterator[Entry]:
        for value in values:
            yield key, word(value, where(what))

    yield "ContainerName", name
    yield "Image", line(container.image, where("image"))
    if not container.local_image:
        yield "Pull", container.pull
    entrypoint, command = container.entrypoint, container.command
    if "" in command:
        # Podman's generator drops empty words of Exec=, but not of an entry point.
        if not entrypoint:
            raise FleetError(
                f"{where('command')} has an empty word, which Quadlet cannot give to an image's own entry point.",
                fix="Say what runs with `entrypoint` too.",
            )
        entrypoint, command = [*entrypoint, *command], []
    if entrypoint:
        # Podman reads a JSON array here; the key takes its line as it is.
        yield "Entrypoint", line(_json(entrypoint), where("entrypoint"))
    if command:
        yield "Exec", " ".join(word(argument, where("command")) for argument in command)
    for key, value in sorted(container.environment.items()):
        yield "Environment", word(f"{key}={value}", where(f"environment {key}"))
    for key, value in sorted(container.labels.items()):
        yield "Label", word(f"{key}={value}", where(f"label {key}"))
    if container.pod:
        yield "Pod", f"{container.pod}.pod"
    yield from _networks(container.networks, workload)
    yield from lines("PublishPort", container.ports, "ports")
    for volume in container.volumes:
        yield from _volume_use(volume, workload, where("volumes"))
    for file in container.files:
        options = ",".join(["ro", file.label] if file.read_only else [file.label])
        yield "Volume", line(f"{file_path(name, file.target)}:{file.target}:{options}", where("files"))
    yield from lines("Tmpfs", container.tmpfs, "tmpfs")
    for secret in container.secrets:
        yield "Secret", word(_secret(secret), where(f"secret {secret.name}"))
    if container.user:
        user, _, group = _user(container.user, where("user"))
        yield "User", user
        if group:
            yield "Group", group
    yield from lines("GroupAdd", container.groups, "groups")
    if container.working_dir:
        yield "WorkingDir", line(container.working_dir, where("working_dir"))
    if container.hostname:
        yield "HostName", container.hostname
    yield from lines("AddHost", container.add_hosts, "add_hosts")
    yield from lines("DNS", container.dns, "dns")
    yield from words("AddDevice", container.devices, "devices")
    yield from words("DropCapability", container.drop_capabilities, "drop_capabilities")
    yield from words("AddCapability", container.add_capabilities, "add_capabilities")
    for key, flag in (
        ("NoNewPrivileges", container.no_new_privileges),
        ("ReadOnly", container.read_only),
        ("RunInit", container.init),
    ):
        if flag:
            yield key, "true"
    yield from words("Sysctl", (f"{key}={value}" for key, value in sorted(container.sysctl.items())), "sysctl")
    yield from lines("Ulimit", container.ulimits, "ulimits")
    if container.auto_update:
        yield "AutoUpdate", container.auto_update
    if container.pids is not None:
        yield "PidsLimit", str(container.pids)
    if container.shm_size:
        yield "ShmSize", container.shm_size
    if container.stop_signal:
        yield "StopSignal", container.stop_signal
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
    yield from words("PodmanArgs", container.arguments, "arguments")


def _user(user: str, what: str) -> tuple[str, str, str]:
    """The parts of ``user:group``. An error shows the whole: a part of a secret could not be told for one."""
    parts = user.partition(":")
    try:
        name, group = line(parts[0], what), line(parts[2], what)
    except FleetError:
        raise FleetError(
            f"{what} is {user!r}, which cannot be written in a unit file.",
            fix="Take out control characters, backslashes, and white space at the ends of user and group.",
        ) from None
    return name, parts[1], group


def _networks(uses: Iterable[NetworkUse], workload: Workload) -> Iterator[Entry]:
    for use in uses:
        if use.name in PODMAN_NETWORKS and use.name not in workload.networks:
            yield "Network", use.name
            continue
        options = [f"ip={use.ip}"] if use.ip else []
        options += [f"ip6={use.ip6}"] if use.ip6 else []
        options += [f"alias={alias}" for alias in use.aliases]
        yield "Network", f"{use.name}.network" + (":" + ",".join(options) if options else "")


def _volume_use(volume: str, workload: Workload, what: str) -> Iterator[Entry]:
    source, _, rest = volume.partition(":")
    if source in workload.volumes:
        yield "Volume", line(f"{source}.volume:{rest}", what)
    elif _plain(volume):
        yield "Volume", volume
    else:
        # Quadlet would write the path into RequiresMountsFor= without quotes; `_unit` does it with them.
        yield "PodmanArgs", f"--volume {word(volume, what)}"


def _plain(volume: str) -> bool:
    """Whether a volume needs no quotes anywhere, and is not relative to the Quadlet file."""
    return re.fullmatch(r"[A-Za-z0-9/_][A-Za-z0-9/_.:,=+@-]*", volume) is not None


def _health(name: str, health: HealthCheck) -> Iterator[Entry]:
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


def _pod(name: str, pod: Pod, workload: Workload) -> Iterator[Entry]:
    yield "PodName", name
    yield from _networks(pod.networks, workload)
    for port in pod.ports:
        yield "PublishPort", str(port)
    for host in pod.add_hosts:
        yield "AddHost", line(host, f"pod {name}: add_hosts")
    for server in pod.dns:
        yield "DNS", str(server)


def _network(name: str, network: Network) -> Iterator[Entry]:
    yield "NetworkName", name
    for subnet in network.subnets:
        yield "Subnet", str(subnet.prefix)
        if subnet.gateway is not None:
            yield "Gateway", str(subnet.gateway)
        if subnet.range is not None:
            yield "IPRange", str(subnet.range)
    if network.internal:
        yield "Internal", "true"
    if not network.dns:
        yield "DisableDNS", "true"
    for server in network.dns_servers:
        yield "DNS", str(server)
    if network.ipv6:
        yield "IPv6", "true"
    for key, value in sorted(network.options.items()):
        yield "Options", line(f"{key}={value}", f"network {name}: options")
    for key, value in sorted(network.labels.items()):
        yield "Label", word(f"{key}={value}", f"network {name}: label {key}")


def _volume(name: str, volume: Volume) -> Iterator[Entry]:
    yield "VolumeName", name
    for key, value in sorted(volume.labels.items()):
        yield "Label", word(f"{key}={value}", f"volume {name}: label {key}")
    for key, text in (("Type", volume.type), ("Device", volume.device), ("Options", volume.options)):
        if text:
            yield key, line(text, f"volume {name}: {key}")


def _image(name: str, image: ImagePull) -> Iterator[Entry]:
    yield "Image", line(image.image, f"image {name}")
    if image.auth_file:
        yield "AuthFile", line(image.auth_file, f"image {name}: auth_file")
    if not image.tls_verify:
        yield "TLSVerify", "false"


def _build(name: str, build: Build) -> Iterator[Entry]:
    folder = f"{BUILDS_FOLDER}/{name}"
    yield "ImageTag", line(build.tag or f"localhost/{name}:latest", f"build {name}: tag")
    yield "File", line(f"{folder}/{build.file}", f"build {name}: file")
    yield "SetWorkingDirectory", folder
    if build.target:
        yield "Target", line(build.target, f"build {name}: target")
    for key, value in sorted(build.environment.items()):
        yield "Environment", word(f"{key}={value}", f"build {name}: environment {key}")
    for key, value in sorted(build.args.items()):
        # A key of its own, BuildArg=, came only with Podman 5.7.
        yield "PodmanArgs", word(f"--build-arg={key}={value}", f"build {name}: args {key}")
