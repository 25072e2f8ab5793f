"""Containers and what they share as Quadlet files (podman-systemd.unit(5)).

Which key says a field is in the table of its model (:mod:`fleet.workloads.rendering`); here are the functions for those
that are special, and the units around. Which quoting a key takes is decided by how Podman's generator reads it
(``pkg/systemd/quadlet/quadlet.go``): as words, or as a line. What only a command line can say goes to ``PodmanArgs``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fleet.config.ignition import Entry, unit_text
from fleet.errors import FleetError
from fleet.model import Model
from fleet.workloads.container import PODMAN_NETWORKS, Container, FileMount, HealthCheck, SecretUse, volume_source
from fleet.workloads.quoting import line, unit_word, word
from fleet.workloads.rendering import Argument, Line, Special, Words, entries, keys
from fleet.workloads.resources import (
    BUILD,
    CONTAINER,
    IMAGE,
    NETWORK,
    POD,
    VOLUME,
    Build,
    ImagePull,
    Kind,
    Network,
    Pod,
)
from fleet.workloads.workload import Workload, below

SECRETS_SERVICE = "fleet-secrets.service"
"""The unit that gives the node's secrets to Podman; containers that use one start after it."""

FILES_FOLDER = "/etc/fleet/files"
BUILDS_FOLDER = "/etc/fleet/builds"


def quadlet_files(workload: Workload, mounts: Sequence[str] = ()) -> Iterator[tuple[Kind, str, str | None, str]]:
    """Every Quadlet file of a workload.

    The kind and name of what it is of, the user whose it is (``None``: root), its text.

    Args:
        workload: The workload.
        mounts: Where the node's data disks are mounted. What has data on one waits for it.

    Raises:
        FleetError: A value cannot exist in a unit file or a process argument.
    """
    earlier: dict[str | None, str] = {}
    for kind, things in workload.kinds():
        for name, thing in sorted(things.items()):
            if kind is CONTAINER:
                yield kind, name, thing.run_as, container_file(name, thing, workload, mounts)
                continue
            unit = [_about(kind, name)]
            if not thing.run_as:
                paths = [workload.storage, thing.device] if kind is VOLUME else [workload.storage]
                unit += _after_mounts(paths, mounts)
            if kind is NETWORK:
                # One after the other: of two that are made at once at the first boot, one now and then fails with
                # "network already exists", in spite of --ignore (Podman 5.4).
                if thing.run_as in earlier:
                    unit.append(("After", kind.service(earlier[thing.run_as])))
                earlier[thing.run_as] = name
            if kind in (IMAGE, BUILD):
                unit += _network_first()
            sections = {"Unit": unit, kind.section: list(_keys(kind, name, thing, workload))}
            if kind in (IMAGE, BUILD):
                sections["Service"] = _SLOW_START
            if kind is POD:
                sections["Install"] = install(thing.run_as)
            yield kind, name, thing.run_as, unit_text(sections)


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
        "Container": list(_keys(CONTAINER, name, container, workload)),
        "Service": list(service(container)),
    }
    if not container.run_as:
        sections["Unit"] += _after_mounts([workload.storage], mounts)
    if container.schedule is None:
        sections["Install"] = install(container.run_as)
    add_own_lines(name, container, sections)
    return unit_text(sections)


def add_own_lines(name: str, container: Container, sections: dict[str, list[Entry]]) -> None:
    """Add to a unit's sections what the container's ``quadlet`` has for them, as it is written.

    Raises:
        FleetError: A line is none.
    """
    for section, extra in container.quadlet.items():
        for key in extra:
            for item in container.lines(section, key):
                if "\n" in item or item.endswith("\\"):
                    line(item, f"container {name}: {key}")
                sections.setdefault(section, []).append((key, item))


def file_path(container: str, target: str) -> str:
    """Where on the node a file that is mounted in a container lies."""
    return f"{FILES_FOLDER}/{container}{target}"


def file_mount(container: str, file: FileMount) -> str:
    """How a file is mounted in a container, as an option of the engine's command says it: ``SOURCE:TARGET:OPTIONS``."""
    options = ["ro", file.label] if file.read_only else [file.label]
    return f"{file_path(container, file.target)}:{file.target}:{','.join(options)}"


def _after_mounts(paths: Iterable[str], mounts: Iterable[str]) -> list[Entry]:
    """What makes a unit wait for those of its paths that lie on data disks."""
    return [
        ("RequiresMountsFor", unit_word(path, "a path on a data disk"))
        for path in paths
        if any(below(path, mount) for mount in mounts)
    ]


_SLOW_START = [("TimeoutStartSec", "900")]
"""A first pull can outlast systemd's 90 s."""


def _about(kind: Kind, name: str) -> Entry:
    return "Description", f"{kind.about} {name}"


def install(user: str | None) -> list[Entry]:
    """What starts a service with the node.

    Args:
        user: Whose it is; ``None``: root's.
    """
    # A user's manager has no multi-user.target.
    return [("WantedBy", "default.target" if user else "multi-user.target")]


def _network_first() -> Iterator[Entry]:
    # A pull needs the network to be there, not only to be starting.
    yield "Wants", "network-online.target"
    yield "After", "network-online.target"


def _unit(name: str, container: Container) -> Iterator[Entry]:
    yield _about(CONTAINER, name)
    for other in container.depends_on:
        yield "Requires", CONTAINER.service(other)
        yield "After", CONTAINER.service(other)
    if container.secrets:
        yield "Requires", SECRETS_SERVICE
        yield "After", SECRETS_SERVICE
    for volume in container.volumes:
        source = volume_source(volume)
        if source.startswith("/") and not _plain(volume):
            yield "RequiresMountsFor", unit_word(source, f"container {name}: volumes")
    # It is restarted for as long as it takes: systemd itself gives up after five times in ten seconds, which a registry
    # that cannot be reached for a moment is enough for.
    yield "StartLimitIntervalSec", "0"
    if not container.run_as:
        # Quadlet itself makes a user's services wait for the network, which their manager knows nothing of.
        yield from _network_first()


def service(container: Container) -> Iterator[Entry]:
    """The entries of ``[Service]`` that every engine's have."""
    if container.ends:
        yield "Type", "oneshot"
    if container.oneshot:
        yield "RemainAfterExit", "yes"
    # systemd knows no unless-stopped; its always does not restart what was stopped by hand.
    restart = container.restart or ("no" if container.ends else "always")
    yield "Restart", restart.replace("unless-stopped", "always")
    if restart != "no":
        yield "RestartSec", "5"
    yield "TimeoutStartSec", str(container.start_timeout)


_RENAMED_BY_PODMAN = (NETWORK, VOLUME, POD, CONTAINER)
"""What Podman would call by another name than systemd's, were it not told."""


def _keys(kind: Kind, name: str, thing: Model, workload: Workload) -> Iterator[Entry]:
    """The section of a Quadlet file that is Podman's."""
    if kind in _RENAMED_BY_PODMAN:
        yield f"{kind.section}Name", name
    yield from _table_entries(f"{kind.name} {name}", name, thing, workload)


def _table_entries(what: str, name: str, thing: Model, workload: Workload) -> Iterator[Entry]:
    """What the table of a thing's model has for Quadlet."""
    for field, rendering in keys(type(thing)):
        match rendering.quadlet:
            case Line() | Words() | Argument() as plain:
                yield from entries(thing, field, plain, what)
            case Special():
                yield from _SPECIAL[type(thing), field](name, thing, workload)


def _pull(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    if not container.local_image:
        yield "Pull", container.pull


def _program(name: str, container: Container) -> tuple[list[str], list[str]]:
    """Entry point and command, as Podman's generator can give them."""
    entrypoint, command = container.entrypoint, container.command
    if "" not in command:
        return entrypoint, command
    # Podman's generator drops empty words of Exec=, but not of an entry point.
    if not entrypoint:
        raise FleetError(
            f"container {name}: command has an empty word, which Quadlet cannot give to an image's own entry point.",
            fix="Say what runs with `entrypoint` too.",
        )
    return [*entrypoint, *command], []


def _entrypoint(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    entrypoint, _ = _program(name, container)
    if entrypoint:
        # Podman reads a JSON array here; the key takes its line as it is.
        yield "Entrypoint", line(_json(entrypoint), f"container {name}: entrypoint")


def _command(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    _, command = _program(name, container)
    if command:
        yield "Exec", " ".join(word(argument, f"container {name}: command") for argument in command)


def _pod(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    if container.pod:
        yield "Pod", POD.file(container.pod)


def _networks(name: str, thing: Container | Pod, workload: Workload) -> Iterator[Entry]:
    for use in thing.networks:
        if use.name in PODMAN_NETWORKS and use.name not in workload.networks:
            yield "Network", use.name
            continue
        options = [f"ip={use.ip}"] if use.ip else []
        options += [f"ip6={use.ip6}"] if use.ip6 else []
        options += [f"alias={alias}" for alias in use.aliases]
        yield "Network", NETWORK.file(use.name) + (":" + ",".join(options) if options else "")


def _volumes(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    what = f"container {name}: volumes"
    for volume in container.volumes:
        source, _, rest = volume.partition(":")
        if source in workload.volumes:
            yield "Volume", line(f"{VOLUME.file(source)}:{rest}", what)
        elif _plain(volume):
            yield "Volume", volume
        else:
            # Quadlet would write the path into RequiresMountsFor= without quotes; `_unit` does it with them.
            yield "PodmanArgs", f"--volume {word(volume, what)}"


def _plain(volume: str) -> bool:
    """Whether a volume needs no quotes anywhere, and is not relative to the Quadlet file."""
    return re.fullmatch(r"[A-Za-z0-9/_][A-Za-z0-9/_.:,=+@-]*", volume) is not None


def _files(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    for file in container.files:
        yield "Volume", line(file_mount(name, file), f"container {name}: files")


def _secrets(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    for secret in container.secrets:
        yield "Secret", word(_secret(secret), f"container {name}: secret {secret.name}")


def _secret(secret: SecretUse) -> str:
    target = secret.target or secret.name
    if secret.type == "env":
        return f"{secret.name},type=env,target={target}"
    return f"{secret.name},type=mount,target={target},uid={secret.uid},gid={secret.gid},mode={secret.mode}"


def _user(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    """Both parts of ``user:group``. An error shows the whole: a part of a secret could not be told for one."""
    what = f"container {name}: user"
    user, _, group = container.user.partition(":")
    try:
        parts = {"User": line(user, what), "Group": line(group, what)}
    except FleetError:
        raise FleetError(
            f"{what} is {container.user!r}, which cannot be written in a unit file.",
            fix="Take out control characters, backslashes, and white space at the ends of user and group.",
        ) from None
    yield from ((key, text) for key, text in parts.items() if container.user and (text or key == "User"))


def _limits(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    limits = [f"--memory={container.memory}"] if container.memory else []
    limits += [f"--cpus={container.cpus:g}"] if container.cpus is not None else []
    if limits:
        yield "PodmanArgs", " ".join(limits)


def _health(name: str, container: Container, workload: Workload) -> Iterator[Entry]:
    if container.health:
        yield from _table_entries(f"container {name}: health", name, container.health, workload)


def _health_command(name: str, health: HealthCheck, workload: Workload) -> Iterator[Entry]:
    command = health.command
    if isinstance(command, list) and len(command) == 1:
        # Podman takes a JSON array of one word for a shell line.
        command = shlex.join(command)
    words = ["CMD-SHELL", command] if isinstance(command, str) else command
    yield "HealthCmd", line(_json(words), f"container {name}: health command")


def _notify(name: str, health: HealthCheck, workload: Workload) -> Iterator[Entry]:
    if health.notify:
        yield "Notify", "healthy"


def _json(words: list[str]) -> str:
    # Non-ASCII stays as it is; DEL is no JSON escape of its own but may not stand in a unit file.
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")


def _subnets(name: str, network: Network, workload: Workload) -> Iterator[Entry]:
    for subnet in network.subnets:
        yield "Subnet", str(subnet.prefix)
        if subnet.gateway is not None:
            yield "Gateway", str(subnet.gateway)
        if subnet.range is not None:
            yield "IPRange", str(subnet.range)


def _dns(name: str, network: Network, workload: Workload) -> Iterator[Entry]:
    if not network.dns:
        yield "DisableDNS", "true"


def _tls_verify(name: str, image: ImagePull, workload: Workload) -> Iterator[Entry]:
    if not image.tls_verify:
        yield "TLSVerify", "false"


def _tag(name: str, build: Build, workload: Workload) -> Iterator[Entry]:
    yield "ImageTag", line(build.tag or f"localhost/{name}:latest", f"build {name}: tag")


def _containerfile(name: str, build: Build, workload: Workload) -> Iterator[Entry]:
    yield "File", line(f"{BUILDS_FOLDER}/{name}/{build.file}", f"build {name}: file")


def _context(name: str, build: Build, workload: Workload) -> Iterator[Entry]:
    yield "SetWorkingDirectory", f"{BUILDS_FOLDER}/{name}"


_SPECIAL: Mapping[tuple[type[Model], str], Callable[[str, Any, Workload], Iterator[Entry]]] = {
    (Container, "pull"): _pull,
    (Container, "entrypoint"): _entrypoint,
    (Container, "command"): _command,
    (Container, "pod"): _pod,
    (Container, "networks"): _networks,
    (Container, "volumes"): _volumes,
    (Container, "files"): _files,
    (Container, "secrets"): _secrets,
    (Container, "user"): _user,
    (Container, "health"): _health,
    (Container, "memory"): _limits,
    (HealthCheck, "command"): _health_command,
    (HealthCheck, "notify"): _notify,
    (Pod, "networks"): _networks,
    (Network, "subnets"): _subnets,
    (Network, "dns"): _dns,
    (ImagePull, "tls_verify"): _tls_verify,
    (Build, "tag"): _tag,
    (Build, "file"): _containerfile,
    (Build, "context"): _context,
}
"""What writes the keys of a Quadlet file that the table calls special, from a thing's name, the thing, its workload."""
