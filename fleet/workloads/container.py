"""What a container is, in the words of Podman and Compose."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fleet.model import Model


def _scalar_to_text(value: Any) -> Any:
    """YAML reads `PORT: 80` as a number and `DEBUG: true` as a boolean; a container only knows text."""
    if isinstance(value, bool):
        raise ValueError("is a boolean in YAML; put it in quotes to say which text is meant")
    return str(value) if isinstance(value, int) else value


Text = Annotated[str, BeforeValidator(_scalar_to_text)]
"""A string; an integer in YAML is taken as its digits."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS label: lower-case letters, digits and dashes, 63 characters at most."""

_PORT = re.compile(
    r"^(?:(?P<address>\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]):)?(?:(?P<node>\d+):)?(?P<container>\d+)"
    r"(?:/(?P<protocol>tcp|udp))?$"
)


class Port(Model):
    """A port of the container, published on the node. Written ``[ADDRESS:][NODE_PORT:]CONTAINER_PORT[/tcp|/udp]``.

    Attributes:
        node: Port on the node, 1 to 65535.
        container: Port in the container, 1 to 65535.
        protocol: "tcp" or "udp".
        address: The node's address to listen on; empty for all. A port on a loopback address is not reachable from
            outside, so no firewall opens it.
    """

    node: int = Field(ge=1, le=65535)
    container: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"
    address: str = ""

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return value
        match = _PORT.match(value)
        if match is None:
            raise ValueError('a port is written "8080:80", "8080:80/udp" or "127.0.0.1:8080:80"')
        container = int(match["container"])
        return {
            "node": int(match["node"] or container),
            "container": container,
            "protocol": match["protocol"] or "tcp",
            "address": match["address"] or "",
        }

    @property
    def public(self) -> bool:
        """Whether it is reachable from outside the node."""
        return not self.address.startswith(("127.", "[::1]"))

    def __str__(self) -> str:
        return f"{self.address}{':' if self.address else ''}{self.node}:{self.container}/{self.protocol}"


class HealthCheck(Model):
    """How Podman tells whether the container is well (podman-run(1), ``--health-*``).

    Attributes:
        command: A shell command line, or the words of a command that runs without a shell; run in the container.
        interval: Time between checks, a Go duration such as "30s"; "disable" for none but the first.
        timeout: Time that one check may take.
        retries: Failures in a row that make it unhealthy.
        start_period: Time after the start in which failures do not count.
        on_failure: What Podman does with an unhealthy container.
        notify: The service counts as started only once the container is healthy (``Notify=healthy``), so what
            depends on it waits for that.
    """

    command: str | list[str]
    interval: str = "30s"
    timeout: str = "30s"
    retries: int = Field(default=3, ge=1)
    start_period: str = "0s"
    on_failure: Literal["none", "kill", "restart", "stop"] = "kill"
    notify: bool = True


class SecretUse(Model):
    """A secret as the container sees it. Written as its name, or in full.

    Attributes:
        name: The secret's name.
        type: A file in the container, or an environment variable.
        target: The file's path (a bare name is below ``/run/secrets``) or the variable's name; the secret's name by
            default.
        mode: The file's mode, an octal text such as "0400".
        uid: The file's owner.
        gid: The file's group.
    """

    name: Name
    type: Literal["mount", "env"] = "mount"
    target: str = ""
    mode: str = Field(default="0400", pattern=r"^0?[0-7]{3}$")
    uid: int = Field(default=0, ge=0)
    gid: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Container(Model):
    """One container, run as a systemd service of the same name.

    Attributes:
        image: A fully qualified reference: registry, repository and tag or digest.
        command: Words that replace the image's command.
        entrypoint: Words that replace the image's entry point.
        environment: Variables; values arrive character for character.
        ports: Published ports.
        volumes: ``SOURCE:TARGET[:OPTIONS]`` as in podman-run(1): a path of the node or a volume's name, the path in
            the container, and options such as ``ro,z``. A service whose volumes lie on a data disk waits for its mount.
        secrets: Secrets of the spec that it uses.
        user: User, or ``user:group``, in the container.
        add_capabilities: Capabilities beyond the default set.
        drop_capabilities: Capabilities to take away; "all" for each.
        read_only: Its root file system cannot be written; ``/tmp`` and ``/run`` are tmpfs.
        health: A health check.
        restart: systemd's ``Restart=``.
        depends_on: Containers of the same node that must be started (and healthy, if they notify) before it.
        labels: Labels of the container.
        auto_update: Have podman-auto-update.timer pull newer images ("registry") or take newer local ones ("local").
        pull: When Podman pulls the image.
        memory: Limit, such as "512m".
        cpus: Limit in CPUs, such as 1.5.
        pids: Limit of processes.
        stop_timeout: Seconds from the stop signal to the kill signal.
        start_timeout: Seconds that a start, with the first pull, may take.
        quadlet: More keys for the Quadlet file, by section: ``{Container: {Sysctl: ...}, Service: {...}}``. A value
            is a line or a list of lines, written as it is.
    """

    image: str = Field(pattern=r"^[^\s]+$")
    command: list[Text] = []
    entrypoint: list[Text] = []
    environment: dict[str, Text] = {}
    ports: list[Port] = []
    volumes: list[str] = []
    secrets: list[SecretUse] = []
    user: Text = ""
    add_capabilities: list[str] = []
    drop_capabilities: list[str] = []
    read_only: bool = False
    health: HealthCheck | None = None
    restart: Literal["no", "on-failure", "always", "unless-stopped"] = "always"
    depends_on: list[Name] = []
    labels: dict[str, Text] = {}
    auto_update: Literal["registry", "local"] | None = None
    pull: Literal["always", "missing", "never", "newer"] = "missing"
    memory: Text = Field(default="", pattern=r"^(\d+[bkmg]?)?$")
    cpus: float | None = Field(default=None, gt=0)
    pids: int | None = Field(default=None, ge=1)
    stop_timeout: int = Field(default=10, ge=0)
    start_timeout: int = Field(default=900, ge=1)
    quadlet: dict[Literal["Unit", "Container", "Service", "Install"], dict[str, Text | list[Text]]] = {}

    @field_validator("image")
    @classmethod
    def _fully_qualified(cls, image: str) -> str:
        registry, slash, _ = image.partition("/")
        if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
            raise ValueError(f"name the registry too, as in docker.io/library/{image}: short names depend on the node")
        return image

    @field_validator("environment")
    @classmethod
    def _variable_names(cls, environment: dict[str, str]) -> dict[str, str]:
        for name in environment:
            if not name or "=" in name or any(c.isspace() or c < " " for c in name):
                raise ValueError(f"{name!r} is no name of an environment variable")
        return environment

    @field_validator("volumes")
    @classmethod
    def _volume_form(cls, volumes: list[str]) -> list[str]:
        for volume in volumes:
            source, colon, rest = volume.partition(":")
            if not source or not colon or not rest.startswith("/") or rest.count(":") > 1:
                raise ValueError(f"{volume!r} is no volume: write SOURCE:/TARGET or SOURCE:/TARGET:OPTIONS")
        return volumes
