"""What containers share: pods, networks, volumes, images, builds, users."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fleet.model import PLAIN, Model
from fleet.workloads.container import ImageReference, NetworkUse, refuse_ports_of_the_host
from fleet.workloads.fields import Name, Port, SshKey, Text, UserName


class Pod(Model):
    """Containers that share one network namespace: they reach each other on localhost (podman-pod-create(1)).

    Attributes:
        networks: Networks it is in.
        ports: Published ports of its containers.
        add_hosts: More lines of ``/etc/hosts``: ``NAME:ADDRESS``.
        dns: Name servers in place of the network's.
        run_as: A user of the group whose rootless Podman runs it; its containers say the same.
    """

    networks: list[NetworkUse] = []
    ports: Annotated[list[Port], PLAIN] = []
    add_hosts: list[str] = []
    dns: list[IPv4Address | IPv6Address] = []
    run_as: Name | None = None

    @model_validator(mode="after")
    def _has_ports_of_its_own(self) -> Pod:
        refuse_ports_of_the_host(self.networks, self.ports)
        return self


class Subnet(Model):
    """An address range of a network. Written as its prefix, or in full.

    Attributes:
        prefix: Such as 10.89.1.0/24.
        gateway: The node's address in it; its first by default.
        range: The part that addresses are given from by themselves.
    """

    prefix: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None = None
    range: IPv4Network | IPv6Network | None = None

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        return {"prefix": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _inside(self) -> Subnet:
        if self.gateway is not None and self.gateway not in self.prefix:
            raise ValueError(f"the gateway {self.gateway} is not in {self.prefix}")
        if self.range is not None and not (
            self.range.version == self.prefix.version and self.range.subnet_of(self.prefix)  # type: ignore[arg-type]
        ):
            raise ValueError(f"the range {self.range} is not in {self.prefix}")
        return self


class Network(Model):
    """A network of containers on one node, in which they find each other by name (podman-network-create(1)).

    Attributes:
        subnets: Address ranges; Podman chooses one if there is none.
        internal: Nothing in it reaches the outside.
        dns: Whether it has name resolution.
        dns_servers: Name servers that answer what it does not know.
        ipv6: Give it an IPv6 range too.
        options: Options of the bridge driver, such as ``mtu``.
        labels: Its labels.
        run_as: A user of the group whose rootless Podman has it.
    """

    subnets: list[Subnet] = []
    internal: bool = False
    dns: bool = True
    dns_servers: list[IPv4Address | IPv6Address] = []
    ipv6: bool = False
    options: dict[str, Text] = {}
    labels: dict[str, Text] = {}
    run_as: Name | None = None


class Volume(Model):
    """A named volume (podman-volume-create(1)). It lies on the root disk: it goes with the node.

    Attributes:
        labels: Its labels.
        type: File system type of ``device``.
        device: What is mounted, for example "tmpfs".
        options: Mount options.
        run_as: A user of the group whose rootless Podman has it.
    """

    labels: dict[str, Text] = {}
    type: str = Field(default="", pattern=r"^[a-z0-9]*$")
    device: str = Field(default="", pattern=r"^\S*$")
    options: str = Field(default="", pattern=r"^\S*$")
    run_as: Name | None = None


class ImagePull(Model):
    """An image that is pulled by a unit of its own, before the containers that name it ``NAME.image``.

    Attributes:
        image: A fully qualified reference.
        auth_file: Path on the node of a file with registry credentials (containers-auth.json(5)).
        tls_verify: Whether the registry's certificate must be good.
        run_as: A user of the group whose rootless Podman pulls it.
    """

    image: ImageReference
    auth_file: str = Field(default="", pattern=r"^(/\S*)?$")
    tls_verify: bool = True
    run_as: Name | None = None


class Build(Model):
    """An image that the node builds, before the containers that name it ``NAME.build``.

    Attributes:
        context: A folder beside the spec; all files in it are put on the node.
        file: The Containerfile's path in it.
        tag: The image's reference; ``localhost/NAME`` by default.
        target: The stage to build; the last by default.
        environment: Variables of the build.
        args: Values of the Containerfile's ``ARG`` instructions.
        run_as: A user of the group whose rootless Podman builds it.
        outside: The folder, and links in it, may lead out of the project's folder.
    """

    context: str = Field(min_length=1)
    outside: bool = False
    file: str = "Containerfile"
    tag: str = Field(default="", pattern=r"^\S*$")
    target: str = Field(default="", pattern=r"^\S*$")
    environment: dict[str, Text] = {}
    args: dict[str, Text] = {}
    run_as: Name | None = None


class User(Model):
    """A user of the node for rootless containers; lingers, so that they run without anybody logged in.

    Attributes:
        uid: The user's number: the same on every node, since data disks keep it.
        groups: Further groups of the node, such as "video".
        ssh_authorized_keys: Public keys that may log in.
    """

    uid: int = Field(ge=1000, le=59999)
    groups: list[UserName] = []
    ssh_authorized_keys: list[SshKey] = []


Engine = Literal["podman", "docker"]
