"""What of a Compose file's canonical model can be mapped, and why the rest cannot.

The model is compose-go's (``transpiler/project.go``): variables are filled in, other files merged, short forms written
out, relative paths absolute behind :data:`BESIDE_FILE`. Every key here is one that :mod:`fleet.workloads.compose` maps.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fleet.model import Model
from fleet.workloads.fields import Text

BESIDE_FILE = "/.beside-compose-file"
"""Begins a path that is relative to a Compose file; the absolute path on this machine follows."""


def _pairs(value: Any) -> Any:
    """``["A=1", "B"]`` as ``{A: 1, B: ""}``; booleans and what is empty as texts."""
    if isinstance(value, list):
        value = dict(str(item).partition("=")[::2] for item in value)
    if not isinstance(value, dict):
        return value
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def _booleans(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: str(item).lower() if isinstance(item, bool) else item for key, item in value.items()}


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _hosts(value: Any) -> Any:
    if isinstance(value, dict):
        return [f"{name}:{address}" for name, each in value.items() for address in _list(each)]
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


Pairs = Annotated[dict[str, Text], BeforeValidator(_pairs)]
Words = Annotated[list[Text], BeforeValidator(_words)]
Texts = Annotated[list[Text], BeforeValidator(_list)]
Named = BeforeValidator(_named)
Size = Text | int


class PortUse(Model):
    """A published port; a range is written out."""

    target: int
    published: Text = ""
    protocol: Literal["tcp", "udp"] = "tcp"
    host_ip: str = ""
    mode: Literal["host", "ingress"] = "ingress"
    name: str = ""
    app_protocol: str = ""


class BindOptions(Model):
    """How a folder of the host is mounted."""

    propagation: str = ""
    create_host_path: bool = True
    selinux: Literal["", "z", "Z"] = ""


class VolumeOptions(Model):
    """How a named volume is mounted."""

    nocopy: bool = False


class TmpfsOptions(Model):
    """Size and mode of a file system in memory."""

    size: Size = ""
    mode: Text = ""


class Mount(Model):
    """What is mounted in a service; ``written`` is the short form, where it is written so."""

    type: Literal["bind", "volume", "tmpfs"]
    source: str = ""
    target: str
    read_only: bool = False
    consistency: str = ""
    bind: BindOptions = BindOptions()
    volume: VolumeOptions = VolumeOptions()
    tmpfs: TmpfsOptions = TmpfsOptions()
    written: str = Field(default="", alias="x-fleet-written")


class Attachment(Model):
    """How a service is attached to a network."""

    aliases: list[str] = []
    ipv4_address: str | None = None
    ipv6_address: str | None = None


class Dependency(Model):
    """What of another service has to be true before a service starts."""

    condition: Literal["service_started", "service_healthy", "service_completed_successfully"] = "service_started"
    restart: bool = False
    required: bool = True


class Check(Model):
    """A health check; Compose's defaults where it says nothing."""

    test: Text | list[Text] | None = None
    interval: str = "30s"
    timeout: str = "30s"
    retries: int = 3
    start_period: str = "0s"
    disable: bool = False


class Grant(Model):
    """A secret or config as a service uses it."""

    source: str
    target: str = ""
    uid: Text = "0"
    gid: Text = "0"
    mode: Text | None = None


class Limits(Model):
    """What a service may use at most, under ``deploy``."""

    cpus: Text | float | None = None
    memory: Text = ""
    pids: int | None = None


class DeviceRequest(Model):
    """Devices by capability, such as GPUs."""

    capabilities: list[str] = []
    driver: str = ""
    count: Text | int | None = None
    device_ids: list[Text] = []


class Reservations(Model):
    """What is set aside for a service, under ``deploy``."""

    memory: Text = ""
    devices: list[DeviceRequest] = []


class Resources(Model):
    """``deploy.resources``."""

    limits: Limits = Limits()
    reservations: Reservations = Reservations()


class RestartPolicy(Model):
    """When a service is restarted, under ``deploy``; its ``restart`` says the same in short."""

    condition: Literal["none", "any", "on-failure"] = "any"
    delay: str = ""
    max_attempts: int | None = None


class Deploy(Model):
    """``deploy``, as far as one node can do it: a single replica."""

    mode: Literal["replicated", "global"] = "replicated"
    replicas: Literal[1] = 1
    resources: Resources = Resources()
    restart_policy: RestartPolicy | None = None


class Logging(Model):
    """Where a service's output goes."""

    driver: Literal["json-file", "local", "journald", "none", ""] = ""
    options: Pairs = {}


class BuildUse(Model):
    """What an image is built of."""

    context: str = ""
    dockerfile: str = ""
    target: str = ""
    args: Annotated[dict[str, Text | None], BeforeValidator(_booleans)] = {}


class DeviceUse(Model):
    """A device of the host; ``written`` is the short form, where it is written so."""

    source: str
    target: str = ""
    permissions: str = ""
    written: str = Field(default="", alias="x-fleet-written")


class Service(Model):
    """A service: one container."""

    image: str = ""
    build: BuildUse | None = None
    container_name: str = ""
    profiles: list[str] = []
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Annotated[dict[str, Text | None], BeforeValidator(_booleans)] = {}
    ports: list[PortUse] = []
    expose: list[Text] = []
    volumes: list[Mount] = []
    networks: Annotated[dict[str, Attachment], Named] = {}
    network_mode: str = ""
    depends_on: Annotated[dict[str, Dependency], Named] = {}
    links: list[str] = []
    restart: str = Field(default="no", pattern=r"^(no|always|on-failure(:[0-9]+)?|unless-stopped)$")
    pull_policy: Literal["always", "missing", "if_not_present", "never", "build"] = "missing"
    user: Text = ""
    group_add: list[Text] = []
    working_dir: str = ""
    hostname: str = ""
    extra_hosts: Annotated[list[str], BeforeValidator(_hosts)] = []
    dns: Texts = []
    dns_search: Texts = []
    dns_opt: list[str] = []
    devices: list[DeviceUse] = []
    device_cgroup_rules: list[str] = []
    gpus: list[DeviceRequest] = []
    cap_add: list[str] = []
    cap_drop: list[str] = []
    security_opt: list[str] = []
    privileged: bool = False
    read_only: bool = False
    init: bool = False
    tty: bool = False
    stdin_open: bool = False
    sysctls: Pairs = {}
    ulimits: dict[str, int | dict[Literal["soft", "hard"], int]] = {}
    tmpfs: Texts = []
    labels: Pairs = {}
    annotations: Pairs = {}
    logging: Logging = Logging()
    mem_limit: Size = ""
    mem_reservation: Size = ""
    memswap_limit: Size = ""
    mem_swappiness: Size = ""
    shm_size: Size = ""
    cpus: Text | float | None = None
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpuset: Text = ""
    pids_limit: int | None = None
    oom_score_adj: int | None = None
    oom_kill_disable: bool = False
    ipc: str = ""
    pid: str = ""
    uts: str = ""
    userns_mode: str = ""
    cgroup: str = ""
    cgroup_parent: str = ""
    platform: str = ""
    deploy: Deploy = Deploy()
    scale: Literal[1] = 1
    stop_signal: str = ""
    stop_grace_period: str = "10s"
    healthcheck: Check | None = None
    secrets: list[Grant] = []
    configs: list[Grant] = []
    attach: bool = True
    develop: Any = None


class IpamConfig(Model):
    """A range of addresses of a network."""

    subnet: str
    gateway: str | None = None
    ip_range: str | None = None


class Ipam(Model):
    """Addresses of a network."""

    driver: Literal["default"] = "default"
    config: list[IpamConfig] = []


class NetworkUse(Model):
    """A network of the project, or, with ``external``, one of the group's."""

    name: str = ""
    external: bool = False
    driver: Literal["bridge", "default"] = "bridge"
    driver_opts: Pairs = {}
    attachable: bool = True
    internal: bool = False
    labels: Pairs = {}
    enable_ipv4: Literal[True] = True
    enable_ipv6: bool = False
    ipam: Ipam = Ipam()


class DriverOptions(Model):
    """What a named volume mounts in its place."""

    type: str = ""
    device: str = ""
    o: str = ""


class VolumeUse(Model):
    """A named volume of the project, or, with ``external``, one of the group's."""

    name: str = ""
    external: bool = False
    driver: Literal["local"] = "local"
    driver_opts: DriverOptions = DriverOptions()
    labels: Pairs = {}


class SecretDefinition(Model):
    """A secret that services name; it has to be ``external``, since its value is one of the spec's."""

    name: str = ""
    external: bool = False
    file: str = ""
    environment: str = ""


class ConfigDefinition(Model):
    """A file that services name: one beside the Compose file, or its text."""

    file: str = ""
    content: str | None = None


class ComposeFile(Model):
    """The keys of a Compose project that are understood."""

    name: str = ""
    services: dict[str, Service] = Field(min_length=1)
    networks: Annotated[dict[str, NetworkUse], Named] = {}
    volumes: Annotated[dict[str, VolumeUse], Named] = {}
    secrets: Annotated[dict[str, SecretDefinition], Named] = {}
    configs: dict[str, ConfigDefinition] = {}


REASONS: dict[str, str] = {
    "additional_contexts": "Builds have one folder.",
    "aux_addresses": "Podman sets no addresses aside: give `ip_range`.",
    "blkio_config": "Limits of a container are memory, CPUs and processes.",
    "cache_from": "Nodes are new, and build once.",
    "cache_to": "Nodes are new, and build once.",
    "cpu_count": "It is for Windows: say `cpus`.",
    "cpu_percent": "It is for Windows: say `cpus`.",
    "cpu_rt_period": "Fedora CoreOS schedules nothing in real time.",
    "cpu_rt_runtime": "Fedora CoreOS schedules nothing in real time.",
    "credential_spec": "It is for Windows.",
    "dockerfile_inline": "Write it to a file beside the Compose file, and name it with `dockerfile`.",
    "domainname": "Podman has none: write the whole name in `hostname`.",
    "endpoint_mode": "It is for Swarm.",
    "environment": "Write `content` or `file`.",
    "external": "Nodes are new, and have no configs: write `content` or `file`.",
    "external_links": "Nodes are new: give the container, and say `networks` and `aliases`.",
    "interface_name": "Podman chooses the names of interfaces.",
    "isolation": "It is for Windows.",
    "jobs": "What is to end is a container of the group with `oneshot` or `schedule`.",
    "label_file": "Write the labels under `labels`.",
    "labels": "They are labels of no container here.",
    "mac_address": "Addresses are given by Podman.",
    "models": "Run the model's server as a service.",
    "placement": "Where containers run is said by the spec's groups.",
    "post_start": "Have the image's entry point do it, or a service with `service_completed_successfully`.",
    "pre_start": "Have a service do it on which this one depends, with `service_completed_successfully`.",
    "pre_stop": "Have the program do it when it is told to stop.",
    "priority": "Podman attaches a container to all of its networks alike.",
    "provider": "Nothing on a node runs providers.",
    "pull_refresh_after": "A new node pulls; later `auto_update` of the group's containers does it.",
    "recursive": "Podman's own way is taken: leave it out.",
    "rollback_config": "`fleet rollback` does it.",
    "runtime": "Podman runs every container with the node's own: for a GPU say `gpus` or `devices`.",
    "ssh": "Nodes have no SSH agent.",
    "start_interval": "Podman checks at one interval: leave it out, or give a shorter `interval`.",
    "storage_opt": "Podman sets none for a single container.",
    "subpath": "Mount the whole volume, or a folder of the node.",
    "umask": "Set it in the entry point.",
    "update_config": "`rollout` of the spec's group says how a change goes through the nodes.",
    "use_api_socket": "Nodes have no Docker.",
    "volumes_from": "Name the volumes.",
    "window": "systemd restarts a service whenever it ends.",
}
"""By a key that Compose has and that is not mapped: what to do instead."""
