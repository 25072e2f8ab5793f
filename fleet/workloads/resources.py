"""What containers share: pods, networks, volumes, images, builds, users; and what each kind is called in units.

The models are tables of keys, as :class:`~fleet.workloads.Container` is; :mod:`fleet.workloads.rendering` says how they
are read.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from fleet.model import PLAIN, Model, Shorthand
from fleet.workloads.container import ImageReference, NetworkUse, refuse_ports_of_the_host
from fleet.workloads.fields import Name, Port, SshKey, Text, UserName
from fleet.workloads.rendering import Argument, Elsewhere, Key, Line, Option, Refused, Rendering, Special, Words

_NO_PODS = (
    Refused("Docker has no pods."),
    Refused("Compose has no pods; `network_mode: service:NAME` shares a network."),
)
_NO_VOLUMES = Refused("Docker makes a volume when it is first used, without options.")
_NO_IMAGES = Refused("Docker pulls what containers name."), Refused("Compose pulls what services name.")
_NO_BUILDS = Refused("Docker has no unit that builds: build the image elsewhere.")
_NO_USERS = Refused("Docker has a daemon of root's alone."), Refused("Compose knows no rootless users.")
_OF_USER = Elsewhere("the folder of its file")
_ON_NODE = Elsewhere("files on the node")


class Pod(Model):
    """Containers that share one network namespace: they reach each other on localhost (podman-pod-create(1)).

    Attributes:
        networks: Networks it is in.
        ports: Published ports of its containers.
        add_hosts: More lines of ``/etc/hosts``: ``NAME:ADDRESS``.
        dns: Name servers in place of the network's.
        run_as: A user of the group whose rootless Podman runs it; its containers say the same.

    Examples:
        networks: [backend]
        ports: ["8080:80"]
        add_hosts: ["db:10.77.0.10"]
        dns: [9.9.9.9]
        run_as: app
    """

    networks: Annotated[list[NetworkUse], Rendering(Special("Network"), *_NO_PODS)] = []
    ports: Annotated[list[Port], PLAIN, Rendering(Line("PublishPort"), *_NO_PODS)] = []
    add_hosts: Annotated[list[str], Rendering(Line("AddHost"), *_NO_PODS)] = []
    dns: Annotated[list[IPv4Address | IPv6Address], Rendering(Line("DNS"), *_NO_PODS)] = []
    run_as: Annotated[Name | None, Rendering(_OF_USER, *_NO_PODS)] = None

    @model_validator(mode="after")
    def _has_ports_of_its_own(self) -> Self:
        """A pod in the network `host` or `none` publishes no ports."""
        refuse_ports_of_the_host(self.networks, self.ports)
        return self


class Subnet(Shorthand):
    """An address range of a network. Written as its prefix, or in full.

    Attributes:
        prefix: Such as 10.89.1.0/24.
        gateway: The node's address in it; its first by default.
        range: The part that addresses are given from by themselves.

    Examples:
        prefix: 10.89.1.0/24
        gateway: 10.89.1.1
        range: 10.89.1.128/25
    """

    shorthand = "prefix"

    prefix: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None = None
    range: IPv4Network | IPv6Network | None = None

    @model_validator(mode="after")
    def _inside(self) -> Self:
        """Gateway and range are in the prefix."""
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

    Examples:
        subnets: [10.89.1.0/24]
        dns_servers: [9.9.9.9]
        options: {mtu: 1400}
        labels: {org.example.team: shop}
        run_as: app
    """

    subnets: Annotated[
        list[Subnet],
        Rendering(Special("Subnet Gateway IPRange"), Special("--subnet --gateway --ip-range"), Special("ipam")),
    ] = []
    internal: Annotated[bool, Rendering(Line("Internal"), Option("--internal"), Key("internal"))] = False
    dns: Annotated[
        bool,
        Rendering(
            Special("DisableDNS"),
            Refused("Docker's networks always resolve names."),
            Refused("Compose has no such key."),
        ),
    ] = True
    dns_servers: Annotated[
        list[IPv4Address | IPv6Address],
        Rendering(Line("DNS"), Refused("Say `dns` of the containers."), Refused("Say `dns` of the services.")),
    ] = []
    ipv6: Annotated[bool, Rendering(Line("IPv6"), Option("--ipv6"), Key("enable_ipv6"))] = False
    options: Annotated[dict[str, Text], Rendering(Line("Options"), Option("--opt"), Special("driver_opts"))] = {}
    labels: Annotated[dict[str, Text], Rendering(Words("Label"), Option("--label"), Key("labels"))] = {}
    run_as: Annotated[Name | None, Rendering(_OF_USER, *_NO_USERS)] = None


class Volume(Model):
    """A named volume (podman-volume-create(1)). It lies on the root disk: it goes with the node.

    Attributes:
        labels: Its labels.
        type: File system type of ``device``.
        device: What is mounted, for example "tmpfs".
        options: Mount options.
        run_as: A user of the group whose rootless Podman has it.

    Examples:
        labels: {org.example.team: shop}
        type: tmpfs
        device: tmpfs
        options: size=64m
        run_as: app
    """

    labels: Annotated[dict[str, Text], Rendering(Words("Label"), _NO_VOLUMES, Key("labels"))] = {}
    type: Annotated[
        str, Field(pattern=r"^[a-z0-9]*$"), Rendering(Line("Type"), _NO_VOLUMES, Special("driver_opts"))
    ] = ""
    device: Annotated[str, Field(pattern=r"^\S*$"), Rendering(Line("Device"), _NO_VOLUMES, Special("driver_opts"))] = ""
    options: Annotated[
        str, Field(pattern=r"^\S*$"), Rendering(Line("Options"), _NO_VOLUMES, Special("driver_opts"))
    ] = ""
    run_as: Annotated[Name | None, Rendering(_OF_USER, *_NO_USERS)] = None


class ImagePull(Model):
    """An image that is pulled by a unit of its own, before the containers that name it ``NAME.image``.

    Attributes:
        image: A fully qualified reference.
        auth_file: Path on the node of a file with registry credentials (containers-auth.json(5)).
        tls_verify: Whether the registry's certificate must be good.
        run_as: A user of the group whose rootless Podman pulls it.

    Examples:
        image: registry.example.org/shop/app:1.4
        auth_file: /etc/containers/auth.json
        run_as: app
    """

    image: Annotated[ImageReference, Rendering(Line("Image"), *_NO_IMAGES)]
    auth_file: Annotated[str, Field(pattern=r"^(/\S*)?$"), Rendering(Line("AuthFile"), *_NO_IMAGES)] = ""
    tls_verify: Annotated[bool, Rendering(Special("TLSVerify"), *_NO_IMAGES)] = True
    run_as: Annotated[Name | None, Rendering(_OF_USER, *_NO_IMAGES)] = None


class Build(Model):
    """An image that the node builds, before the containers that name it ``NAME.build``.

    Attributes:
        tag: The image's reference; ``localhost/NAME`` by default.
        file: The Containerfile's path in the folder.
        context: A folder beside the spec; all files in it are put on the node.
        outside: The folder, and links in it, may lead out of the project's folder.
        target: The stage to build; the last by default.
        environment: Variables of the build.
        args: Values of the Containerfile's ``ARG`` instructions.
        run_as: A user of the group whose rootless Podman builds it.

    Examples:
        tag: localhost/app:1
        file: Containerfile.prod
        context: app
        target: runtime
        environment: {HTTP_PROXY: "http://10.77.0.5:3128"}
        args: {VERSION: "1.4"}
        run_as: app
    """

    tag: Annotated[str, Field(pattern=r"^\S*$"), Rendering(Special("ImageTag"), _NO_BUILDS, Special("image"))] = ""
    file: Annotated[str, Rendering(Special("File"), _NO_BUILDS, Special("dockerfile"))] = "Containerfile"
    context: Annotated[
        str, Field(min_length=1), Rendering(Special("SetWorkingDirectory"), _NO_BUILDS, Special("context"))
    ]
    outside: Annotated[bool, Rendering(_ON_NODE, _NO_BUILDS, Special("context"))] = False
    target: Annotated[str, Field(pattern=r"^\S*$"), Rendering(Line("Target"), _NO_BUILDS, Key("target"))] = ""
    environment: Annotated[
        dict[str, Text], Rendering(Words("Environment"), _NO_BUILDS, Refused("Compose has no such key: say `args`."))
    ] = {}
    # A key of its own, BuildArg=, came only with Podman 5.7.
    args: Annotated[dict[str, Text], Rendering(Argument("--build-arg"), _NO_BUILDS, Special("args"))] = {}
    run_as: Annotated[Name | None, Rendering(_OF_USER, *_NO_USERS)] = None


class User(Model):
    """A user of the node for rootless containers; lingers, so that they run without anybody logged in.

    Attributes:
        uid: The user's number: the same on every node, since data disks keep it.
        groups: Further groups of the node, such as "video".
        ssh_authorized_keys: Public keys that may log in.

    Examples:
        uid: 1001
        groups: [video]
        ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample me@laptop]
    """

    uid: int = Field(ge=1000, le=59999)
    groups: list[UserName] = []
    ssh_authorized_keys: list[SshKey] = []


Engine = Literal["podman", "docker"]


class Kind(NamedTuple):
    """A kind of what a workload has, and what is written for it.

    Attributes:
        name: In the singular, such as "network": the ending of its Quadlet file, too.
        about: What ``Description=`` calls it.
        suffix: Of the service that Podman's generator makes of a Quadlet file (podman-systemd.unit(5)).
    """

    name: str
    about: str
    suffix: str

    @property
    def plural(self) -> str:
        """The workload's key for them."""
        return f"{self.name}s"

    @property
    def section(self) -> str:
        """The section of the Quadlet file that is Podman's."""
        return self.name.capitalize()

    def file(self, name: str) -> str:
        """The Quadlet file of one, and what another Quadlet file names it by."""
        return f"{name}.{self.name}"

    def service(self, name: str) -> str:
        """The service of one."""
        return f"{name}{self.suffix}.service"


CONTAINER = Kind("container", "Container", "")
POD = Kind("pod", "Pod", "-pod")
NETWORK = Kind("network", "Network", "-network")
VOLUME = Kind("volume", "Volume", "-volume")
IMAGE = Kind("image", "Image", "-image")
BUILD = Kind("build", "Build of image", "-build")

KINDS = (NETWORK, VOLUME, IMAGE, BUILD, POD, CONTAINER)
"""All, in the order of their files in a node's config."""
ON_DOCKER = (CONTAINER, NETWORK)
"""Those that a group whose engine is Docker can have."""
