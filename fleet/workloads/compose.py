"""Compose files (compose-spec) as workloads.

Keys that a node can honour are mapped; any other is an error that names it, since a key that is silently ignored is a
container that runs in another way than its author believes. Differences that remain are those between one machine and a
project: what Compose finds beside the file at run time is put on the node when it is provisioned.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from fleet.config.template import NAME, Scalar, ValueOf, fill_matches
from fleet.document import Document
from fleet.errors import FleetError, UsageError
from fleet.model import Model
from fleet.workloads.fields import Name, Port, Text

DEFAULT_NETWORK = "compose-default"
"""The network of services that name none: Compose gives them one in which they find each other by name."""

_REFERENCE = re.compile(rf"\$(?:(\$)|\{{({NAME})\}}|({NAME})|(.?))", re.DOTALL)


def _mapping(value: Any) -> Any:
    """``["A=1"]`` as ``{A: 1}``."""
    if isinstance(value, list):
        for item in value:
            if "=" not in str(item):
                raise ValueError(
                    f"{item!r} takes its value from the environment of a command that there is not; give it"
                )
        return dict(str(item).split("=", 1) for item in value)
    return {key: "" if item is None else item for key, item in value.items()} if isinstance(value, dict) else value


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _hosts(value: Any) -> Any:
    if isinstance(value, dict):
        return [f"{name}:{address}" for name, address in value.items()]
    return [item.replace("=", ":", 1) if isinstance(item, str) else item for item in _list(value)]


def _words(value: Any) -> Any:
    try:
        return shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"the command line cannot be split: {error}") from None


def _named(value: Any) -> Any:
    """``[a, b]`` as ``{a: {}, b: {}}``; a name without a value likewise."""
    if isinstance(value, list):
        return {name: {} for name in value}
    return {name: item or {} for name, item in value.items()} if isinstance(value, dict) else value


def _truth(value: Any) -> Any:
    """Labels and variables may be booleans in Compose, which writes them as YAML does."""
    if not isinstance(value, dict):
        return value
    return {key: str(item).lower() if isinstance(item, bool) else item for key, item in value.items()}


Pairs = Annotated[dict[str, Text], BeforeValidator(lambda value: _truth(_mapping(value)))]
Words = Annotated[list[Text], BeforeValidator(_words)]
Texts = Annotated[list[Text], BeforeValidator(_list)]


Restart = Annotated[
    str,
    # YAML 1.1 reads a bare `no` as false.
    BeforeValidator(lambda value: "no" if value is False else value),
    Field(pattern=r"^(no|always|on-failure(:\d+)?|unless-stopped)$"),
]


class _PortLong(Model):
    target: int
    published: Text = ""
    protocol: Literal["tcp", "udp"] = "tcp"
    host_ip: str = ""
    mode: Literal["host", "ingress"] = "ingress"
    name: str = ""


class _VolumeLong(Model):
    type: Literal["bind", "volume", "tmpfs"]
    source: str = ""
    target: str
    read_only: bool = False


class _Attachment(Model):
    aliases: list[str] = []
    ipv4_address: str | None = None
    ipv6_address: str | None = None


class _Dependency(Model):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"] = "service_started"
    restart: bool = False
    required: Literal[True] = True


class _HealthCheck(Model):
    test: Text | list[Text] | None = None
    interval: str = "30s"
    timeout: str = "30s"
    retries: int = 3
    start_period: str = "0s"
    disable: bool = False


class _Grant(Model):
    """A secret or config as a service uses it."""

    source: str
    target: str = ""
    uid: Text = "0"
    gid: Text = "0"
    mode: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class _Limits(Model):
    cpus: Text | float | None = None
    memory: Text = ""
    pids: int | None = None


class _Resources(Model):
    limits: _Limits = _Limits()


class _Deploy(Model):
    resources: _Resources = _Resources()


class _Service(Model):
    image: str
    container_name: str = ""
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Pairs = {}
    ports: list[Text | _PortLong] = []
    expose: list[Text] = []
    volumes: list[str | _VolumeLong] = []
    networks: Annotated[dict[str, _Attachment], BeforeValidator(_named)] = {}
    network_mode: Literal["host", "none", "bridge"] | None = None
    depends_on: Annotated[dict[str, _Dependency], BeforeValidator(_named)] = {}
    restart: Restart = "no"
    pull_policy: Literal["always", "missing", "if_not_present", "never"] = "missing"
    user: Text = ""
    group_add: list[Text] = []
    working_dir: str = ""
    hostname: str = ""
    extra_hosts: Annotated[list[str], BeforeValidator(_hosts)] = []
    dns: Texts = []
    devices: list[str] = []
    cap_add: list[str] = []
    cap_drop: list[str] = []
    security_opt: list[Literal["no-new-privileges:true", "no-new-privileges"]] = []
    read_only: bool = False
    init: bool = False
    sysctls: Pairs = {}
    ulimits: dict[str, int | dict[Literal["soft", "hard"], int]] = {}
    tmpfs: Texts = []
    labels: Pairs = {}
    mem_limit: Text = ""
    shm_size: Text = ""
    cpus: Text | float | None = None
    pids_limit: int | None = None
    deploy: _Deploy = _Deploy()
    stop_signal: str = ""
    stop_grace_period: str = "10s"
    healthcheck: _HealthCheck | None = None
    secrets: list[_Grant] = []
    configs: list[_Grant] = []


class _IpamConfig(Model):
    subnet: str
    gateway: str | None = None
    ip_range: str | None = None


class _Ipam(Model):
    config: list[_IpamConfig] = []


class _Network(Model):
    driver: Literal["bridge"] = "bridge"
    driver_opts: dict[str, Text] = {}
    internal: bool = False
    enable_ipv6: bool = False
    ipam: _Ipam = _Ipam()


class _VolumeOptions(Model):
    type: str = ""
    device: str = ""
    o: str = ""


class _Volume(Model):
    driver: Literal["local"] = "local"
    driver_opts: _VolumeOptions = _VolumeOptions()
    labels: Pairs = {}


class _Secret(Model):
    external: Literal[True]


class _Config(Model):
    file: str = ""
    content: str | None = None


Named = BeforeValidator(_named)


class ComposeFile(Model):
    """The keys of a Compose file that are understood."""

    version: Text = ""
    name: str = ""
    services: dict[Name, _Service] = Field(min_length=1)
    networks: Annotated[dict[Name, _Network], Named] = {}
    volumes: Annotated[dict[Name, _Volume], Named] = {}
    secrets: Annotated[dict[Name, _Secret], Named] = {}
    configs: dict[str, _Config] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_extensions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if not str(key).startswith("x-")}


def read_compose(path: Path, variables: Mapping[str, Scalar], *, base: Path) -> dict[str, Any]:
    """Read a Compose file as the value of a :class:`~fleet.workloads.Workload`.

    Args:
        path: The file.
        base: The folder that paths in the workload are to be relative to.
        variables: What ``${NAME}`` and ``$NAME`` stand for; ``$$`` is a dollar sign.

    Raises:
        FleetError: It is no Compose file, or has a key or value that cannot be mapped; names its place.
    """
    document = Document(path, "Compose file")
    fill_matches(document.root, _REFERENCE, lambda node: _reader(node, variables, document))
    file = document.read(ComposeFile, document.value())
    translation = _Translation(file, document, base)
    return translation.workload()


def _reader(node: yaml.ScalarNode, variables: Mapping[str, Scalar], document: Document) -> ValueOf:
    def value_of(match: re.Match[str]) -> Scalar:
        name = match[2] or match[3]
        if match[1]:
            return "$"
        if name not in variables:
            what = (
                f"`{match[0]}` names no variable" if name else f"`{match[0]}` is no reference that is understood here"
            )
            known = f"there are {', '.join(sorted(variables))}" if variables else "there are none"
            raise UsageError(
                f"{what}.",
                at=document.of(node),
                fix=f"Variables are those of the spec ({known}); a dollar sign itself is written `$$`.",
            )
        return variables[name]

    return value_of


class _Translation:
    """One Compose file on its way to a workload."""

    def __init__(self, file: ComposeFile, document: Document, base: Path) -> None:
        self.file, self.document, self.base = file, document, base

    def workload(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "containers": {name: self._container(name, service) for name, service in self.file.services.items()},
            "networks": {name: self._network(network) for name, network in self.file.networks.items()},
            "volumes": {
                name: {
                    "labels": volume.labels,
                    "type": volume.driver_opts.type,
                    "device": volume.driver_opts.device,
                    "options": volume.driver_opts.o,
                }
                for name, volume in self.file.volumes.items()
            },
        }
        for service in self.file.services.values():
            for other, dependency in service.depends_on.items():
                if dependency.condition == "service_completed_successfully" and other in made["containers"]:
                    made["containers"][other]["oneshot"] = True
        if any({"name": DEFAULT_NETWORK} in each.get("networks", []) for each in made["containers"].values()):
            made["networks"][DEFAULT_NETWORK] = {}
        return made

    def _fail(self, what: str, *where: str | int, fix: str = "") -> FleetError:
        return UsageError(what, at=self.document.at("services", *where), fix=fix)

    def _local(self, source: str) -> str:
        return os.path.relpath(self.document.path.parent / source, self.base)

    def _network(self, network: _Network) -> dict[str, Any]:
        return {
            "subnets": [
                {"prefix": each.subnet, "gateway": each.gateway, "range": each.ip_range} for each in network.ipam.config
            ],
            "internal": network.internal,
            "ipv6": network.enable_ipv6,
            "options": network.driver_opts,
        }

    def _container(self, name: str, service: _Service) -> dict[str, Any]:
        if service.container_name not in ("", name):
            raise self._fail(
                f"The container is to be called {service.container_name}, but a container has its service's name.",
                name, "container_name", fix="Rename the service, or take it out.",
            )  # fmt: skip
        limits = service.deploy.resources.limits
        cpus = service.cpus if service.cpus is not None else limits.cpus
        made: dict[str, Any] = {
            "image": _qualified(service.image),
            "command": service.command or [],
            "entrypoint": service.entrypoint or [],
            "environment": service.environment,
            "networks": self._networks(service),
            "ports": [_port(port) for port in service.ports],
            "secrets": [self._secret(name, index, grant) for index, grant in enumerate(service.secrets)],
            "user": service.user,
            "groups": service.group_add,
            "working_dir": service.working_dir,
            "hostname": service.hostname,
            "add_hosts": service.extra_hosts,
            "dns": service.dns,
            "devices": service.devices,
            "add_capabilities": service.cap_add,
            "drop_capabilities": service.cap_drop,
            "no_new_privileges": bool(service.security_opt),
            "read_only": service.read_only,
            "init": service.init,
            "sysctl": service.sysctls,
            "ulimits": [_ulimit(key, value) for key, value in service.ulimits.items()],
            "restart": service.restart.partition(":")[0],
            "depends_on": list(service.depends_on),
            "labels": service.labels,
            "pull": service.pull_policy.replace("if_not_present", "missing"),
            "memory": _memory(service.mem_limit or limits.memory),
            "shm_size": _memory(service.shm_size),
            "cpus": None if cpus is None else float(cpus),
            "pids": service.pids_limit or limits.pids,
            "stop_signal": service.stop_signal,
            "stop_timeout": self._seconds(service.stop_grace_period, name, "stop_grace_period"),
            "health": self._health(name, service),
            "tmpfs": list(service.tmpfs),
            "volumes": [],
            "files": [self._config(name, index, grant) for index, grant in enumerate(service.configs)],
        }
        for index, volume in enumerate(service.volumes):
            self._volume(made, name, index, volume)
        if service.network_mode == "host" and made["ports"]:
            raise self._fail("A service in the network of the node publishes no ports.", name, "ports")
        return made

    def _networks(self, service: _Service) -> list[dict[str, Any]]:
        if service.network_mode:
            return [{"name": service.network_mode}]
        if not service.networks:
            return [{"name": DEFAULT_NETWORK}]
        return [
            {"name": name, "ip": use.ipv4_address, "ip6": use.ipv6_address, "aliases": use.aliases}
            for name, use in service.networks.items()
        ]

    def _volume(self, made: dict[str, Any], name: str, index: int, volume: str | _VolumeLong) -> None:
        if isinstance(volume, _VolumeLong):
            source, target, options = volume.source, volume.target, ["ro"] if volume.read_only else []
            if volume.type == "tmpfs":
                made["tmpfs"].append(target)
                return
        else:
            source, _, rest = volume.partition(":")
            target, _, given = rest.partition(":")
            options = given.split(",") if given else []
            if not rest:
                raise self._fail(f"{volume!r} names no source: name a volume.", name, "volumes", index)
        if source.startswith((".", "~")):
            if not (self.document.path.parent / source).is_file():
                raise self._fail(
                    f"{source} is no file beside the Compose file.", name, "volumes", index,
                    fix="A single file can be mounted from there; for a folder name a path of the node or a volume.",
                )  # fmt: skip
            made["files"].append({"source": self._local(source), "target": target, "read_only": "ro" in options})
            return
        if not source.startswith("/") and source not in self.file.volumes:
            raise self._fail(
                f"The volume {source} is not among the file's `volumes`.", name, "volumes", index, fix="Name it there."
            )
        made["volumes"].append(":".join([source, target, *([",".join(options)] if options else [])]))

    def _secret(self, name: str, index: int, grant: _Grant) -> dict[str, Any]:
        if grant.source not in self.file.secrets:
            raise self._fail(
                f"The secret {grant.source} is not among the file's `secrets`.", name, "secrets", index,
                fix="Write `secrets: {NAME: {external: true}}`, and define it in the spec.",
            )  # fmt: skip
        made: dict[str, Any] = {"name": grant.source, "target": grant.target, "uid": grant.uid, "gid": grant.gid}
        if grant.mode:
            made["mode"] = _mode(grant.mode)
        return made

    def _config(self, name: str, index: int, grant: _Grant) -> dict[str, Any]:
        config = self.file.configs.get(grant.source)
        if config is None:
            raise self._fail(f"The config {grant.source} is not among the file's `configs`.", name, "configs", index)
        made: dict[str, Any] = {"target": grant.target or f"/{grant.source}", "mode": _mode(grant.mode or "0444")}
        return (
            {**made, "text": config.content}
            if config.content is not None
            else {**made, "source": self._local(config.file)}
        )

    def _health(self, name: str, service: _Service) -> dict[str, Any] | None:
        check = service.healthcheck
        if check is None or check.disable or check.test in (["NONE"], None):
            return None
        test = check.test
        if isinstance(test, list):
            kind, *words = test
            if kind not in ("CMD", "CMD-SHELL"):
                raise self._fail("A list begins with CMD, CMD-SHELL or NONE.", name, "healthcheck", "test")
            test = words if kind == "CMD" else " ".join(words)
        waited_for = any(
            other.depends_on.get(name, _Dependency()).condition == "service_healthy"
            for other in self.file.services.values()
        )
        return {
            "command": test,
            "interval": check.interval,
            "timeout": check.timeout,
            "retries": check.retries,
            "start_period": check.start_period,
            # Compose only looks; it never ends a container that is not healthy.
            "on_failure": "none",
            "notify": waited_for,
        }

    def _seconds(self, text: str, *where: str) -> int:
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
        if not match or not text:
            raise self._fail(f"{text!r} is no duration such as 1m30s.", *where)
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds


def _qualified(image: str) -> str:
    """A reference as Docker completes it."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _port(port: str | _PortLong) -> Any:
    if isinstance(port, str):
        return port
    return Port.model_validate(
        {
            "node": int(port.published or port.target),
            "container": port.target,
            "protocol": port.protocol,
            "address": port.host_ip,
        }
    ).model_dump()


def _ulimit(key: str, value: int | Mapping[Any, int]) -> str:
    if isinstance(value, int):
        return f"{key}={value}"
    return f"{key}={value.get('soft', value.get('hard'))}:{value.get('hard', value.get('soft'))}"


def _memory(text: str) -> str:
    """Compose knows "64M" and "1gb" too."""
    return re.sub(r"b$", "", text.lower()) if re.search(r"[kmg]b?$", text.lower()) else text


def _mode(text: str) -> str:
    """YAML 1.1 reads 0440 as the number 288; Compose means the octal text."""
    return f"{int(text):04o}" if not text.startswith("0") else text
