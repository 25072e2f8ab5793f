"""The spec: a whole fleet in one YAML document."""

from __future__ import annotations

import os
import re
import secrets
import typing
import uuid
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fleet.config.template import NAME, Scalar
from fleet.library import LIBRARY, LibrarySnippet
from fleet.model import PLAIN, SEALED, WRITTEN, Model, Shorthand
from fleet.plan import ANYWHERE, REPORT_PORT, SSH_PORT, DrainPlan, PortPlan, Probe, Rollout
from fleet.spec.versions import FIRST, Version
from fleet.workloads import DataDisk, DiskName, Name, Workload
from fleet.workloads.fields import Label, SshKey

Strict = StrictBool | StrictInt | StrictFloat | StrictStr

SecretName = Name
VariableName = Annotated[str, Field(pattern=f"^{NAME}$")]


class SnippetRef(Shorthand):
    """A snippet's file. Written as its path, or in full.

    Attributes:
        path: Relative to the spec's folder. Butane (``.bu``, ``.yaml``) or Ignition JSON (``.ign``, ``.json``).
        override: Its values may replace those of earlier snippets.
        allow_warnings: Butane's warnings about it are not errors.
        variables: Variables of the spec that fill its placeholders. Without any, it has none, whatever it looks like.
        outside: It, and local files that it names, may be outside of the project's folder.
    """

    shorthand = "path"

    path: str = Field(min_length=1)
    outside: bool = False
    override: bool = False
    allow_warnings: bool = False
    variables: list[VariableName] = []


def _kind_of(value: Any) -> str:
    if isinstance(value, LibrarySnippet):
        return value.use
    return str(value["use"]) if isinstance(value, dict) and "use" in value else "path"


if TYPE_CHECKING:
    AnySnippet = SnippetRef | LibrarySnippet
else:
    AnySnippet = Annotated[
        Union[(
            Annotated[SnippetRef, Tag("path")],
            *(Annotated[kind, Tag(typing.get_args(kind.model_fields["use"].annotation)[0])] for kind in LIBRARY),
        )],
        Discriminator(_kind_of),
    ]  # fmt: skip
"""A file, or a snippet of the library."""


class Authority(Model):
    """An authority of the fleet's own: its key and certificate, in PEM.

    Attributes:
        name: Its common name.
        days: How long it is valid. When it ends, it and all that it signed are made anew by hand: unset their keys.
    """

    name: str = Field(min_length=1, max_length=64)
    days: int = Field(default=3650, ge=1)


class Certificate(Model):
    """A certificate for servers and clients: its key, it, and its authority's certificate, in PEM.

    Attributes:
        authority: The secret that is the authority.
        names: DNS names and IP addresses that it is for.
        days: How long it is valid.
        renew_days: When fewer are left, the next update makes another one, and so re-provisions the nodes that have it.
    """

    authority: SecretName
    names: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:*_-]+$")]] = Field(min_length=1)
    days: int = Field(default=365, ge=2)
    renew_days: int = Field(default=90, ge=1)


class Generate(Model):
    """How a secret's value is made where the stack's config has none: random bytes, written as text, or a certificate.

    Attributes:
        bytes: How many.
        encoding: "hex", "base64", "base64url" without padding, or "uuid", of 16 bytes.
        prefix: Text before it.
        suffix: Text after it.
        authority: Make a certificate authority instead.
        certificate: Make a certificate instead.
    """

    bytes: int = Field(default=32, ge=16, le=1024)
    encoding: Literal["hex", "base64", "base64url", "uuid"] = "base64url"
    prefix: str = ""
    suffix: str = ""
    authority: Authority | None = None
    certificate: Certificate | None = None

    def text(self) -> str:
        """A new random text."""
        raw = secrets.token_bytes(self.bytes)
        forms: dict[str, Callable[[], str]] = {
            "hex": raw.hex,
            "base64": lambda: b64encode(raw).decode(),
            "base64url": lambda: urlsafe_b64encode(raw).decode().rstrip("="),
            "uuid": lambda: str(uuid.UUID(bytes=raw[:16], version=4)),
        }
        return self.prefix + forms[self.encoding]() + self.suffix


class SecretSource(Model):
    """Where a secret's value comes from: exactly one of ``config``, ``file`` and ``env``.

    Attributes:
        config: A key of the stack's config, set by ``pulumi config set --secret KEY``; "name" stands for
            ``<project>:name``.
        generate: Make it when it is first needed, and keep it, as a secret, in the stack's config: once and for all.
        file: A file beside the spec; its whole content, less one newline at its end.
        env: A variable of the environment that the command runs in.
        outside: The file may be outside of the project's folder.
    """

    config: str = ""
    generate: Generate | None = None
    file: str = ""
    env: str = ""
    outside: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> SecretSource:
        if sum(map(bool, (self.config, self.file, self.env))) != 1:
            raise ValueError("a secret comes from one of `config: KEY`, `file: PATH` or `env: VARIABLE`")
        if self.generate and not self.config:
            raise ValueError("what is generated is kept in the stack's config: say `config: KEY` too")
        return self


class Variable(Model):
    """A value that ``${name}`` stands for. Written as the value, or in full.

    Exactly one of ``value``, ``config``, ``env``, ``secret`` and ``stack`` says where it comes from.

    Attributes:
        type: What it is; a value given here says so itself.
        value: The value.
        config: A key of the stack's config; "name" stands for ``<project>:name``.
        env: A variable of the environment that the command runs in.
        secret: A secret of the spec; always a string. What it fills is a secret too.
        stack: Another stack of the same backend, as ``pulumi stack ls`` names it, or ``organization/project/stack``.
        output: The output of that stack. One that is a secret there fills what is a secret here.
        default: What it is where ``config`` or ``env`` have nothing.
    """

    type: Literal["string", "integer", "number", "boolean"] = "string"
    value: Strict | None = None
    config: str = ""
    env: str = ""
    secret: str = ""
    stack: str = ""
    output: str = ""
    default: Strict | None = None

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, dict) and "value" not in value:
            return value
        literal = value["value"] if isinstance(value, dict) else value
        kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
        kind = next((word for type_, word in kinds.items() if isinstance(literal, type_)), None)
        if kind is None:
            raise ValueError("a variable is a string, a number or a boolean")
        rest = value if isinstance(value, dict) else {"value": value}
        return {"type": kind, **rest}

    @model_validator(mode="after")
    def _one_source(self) -> Variable:
        if sum((self.value is not None, *map(bool, (self.config, self.env, self.secret, self.stack)))) != 1:
            raise ValueError(
                "a variable is one of a value, `config: KEY`, `env: VARIABLE`, `secret: NAME` or `stack: STACK` with "
                "`output: NAME`"
            )
        if bool(self.stack) != bool(self.output):
            raise ValueError("an output of another stack is `stack: STACK` with `output: NAME`")
        if self.default is not None and not (self.config or self.env):
            raise ValueError("a default is for what comes from `config` or `env`")
        if self.secret and self.type != "string":
            raise ValueError("a secret is a string")
        for literal in (self.value, self.default):
            if literal is not None and not isinstance(literal, _TYPES[self.type]):
                raise ValueError(f"should be of type {self.type}, but is {literal!r}")
        return self

    def read(self, text: str) -> Scalar:
        """The value that a text of the config or environment means.

        Raises:
            ValueError: None of the variable's type.
        """
        if self.type == "boolean":
            if text not in ("true", "false"):
                raise ValueError(text)
            return text == "true"
        readers: dict[str, Callable[[str], Scalar]] = {"integer": int, "number": float}
        return readers.get(self.type, str)(text)


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)
}  # fmt: skip


class Image(Model):
    """The operating system's image.

    Attributes:
        stream: Which stream of Fedora CoreOS `fleet image lock` and `update` follow.
        lock: The image lock's path, relative to the spec's folder.
        reprovision: Whether a newer locked image re-provisions nodes by itself: "never", "on-request" (`fleet up
            --new-image`) or "always". Fedora CoreOS updates itself, and every new node gets the locked image anyway.
    """

    stream: Literal["stable", "testing", "next"] = "stable"
    lock: str = "image.lock.yaml"
    reprovision: Literal["never", "on-request", "always"] = "on-request"


class ImageHead(Model):
    """A spec, as far as commands on the image read it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Version = FIRST
    image: Image = Image()


def _cidr(value: str) -> str:
    return str(ip_network(value))


DnsName = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$", max_length=253)]
"""A full name in the DNS, in lower case, without a dot at its end."""

Cidr = Annotated[str, AfterValidator(_cidr)]
"""A range of addresses, such as 203.0.113.0/24 or 2001:db8::/32."""


class GroupPort(Model):
    """A port that something other than a container of the spec serves: 6443, "51820/udp", or {number, protocol, from}.

    Attributes:
        number: The port.
        protocol: "tcp" or "udp".
        sources: From where it can be reached, as CIDRs, on platforms that have a firewall; ``from`` in the spec. Nodes
            of the fleet reach one another at every port.
    """

    number: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"
    sources: list[Cidr] = Field(default=[*ANYWHERE], alias="from", min_length=1)

    @field_validator("number")
    @classmethod
    def _not_ssh(cls, number: int) -> int:
        if number == SSH_PORT:
            raise ValueError("port 22 is always there; `ssh_from` of the spec says from where it can be reached")
        return number

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"number": value}
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]+)(?:/(tcp|udp))?", value)
            if match is None:
                raise ValueError('a port is written 6443, "6443/tcp" or "51820/udp"')
            return {"number": int(match[1]), "protocol": match[2] or "tcp"}
        return value


class NodeReport(Model):
    """What a node tells of itself, over HTTP (docs/report.md). Written ``true``, ``false``, or in full.

    Attributes:
        port: The node's port.
    """

    port: int = Field(default=REPORT_PORT, ge=1, le=65535)

    @field_validator("port")
    @classmethod
    def _not_ssh(cls, port: int) -> int:
        if port == SSH_PORT:
            raise ValueError(f"port {SSH_PORT} of the node is SSH's: choose another")
        return port


def _switched(value: Any, info: ValidationInfo) -> Any:
    """``true`` and ``false`` as what they stand for."""
    if isinstance(value, bool):
        return {} if value else None
    if value is None and info.context is WRITTEN:
        raise ValueError("the report is `true`, `false` or `{port: NUMBER}`")
    return value


def _settled(value: Any, info: ValidationInfo) -> Any:
    """``false`` as what it stands for; YAML's ``true`` is no number."""
    if value is True or (value is None and info.context is WRITTEN):
        raise ValueError("is a number of seconds, or `false`")
    return None if value is False else value


class PrivateNetwork(Model):
    """A network between the fleet's nodes.

    Attributes:
        cidr: Its address range, such as 10.77.0.0/24.
    """

    cidr: IPv4Network


class ComposeRef(Shorthand):
    """A Compose file. Written as its path, or in full.

    Attributes:
        path: Relative to the spec's folder.
        profiles: Profiles whose services are run, beside those that have none.
        folder: Where on the node the relative folders lie that services mount, such as "./data": an absolute path,
            for example a data disk's mount point.
        outside: It, and files that it names, may be outside of the project's folder.
    """

    shorthand = "path"

    path: str = Field(min_length=1)
    profiles: list[str] = []
    folder: str = Field(default="", pattern=r"^(/[^:\s]*[^/:\s])?$")
    outside: bool = False


class NodeOverride(Model):
    """What one node of a group has beside the others.

    Attributes:
        snippets: Merged after the group's.
        data_disks: By a data disk's name, the platform's name of a disk that is there already, to take over: one that
            another node, or a stack that was destroyed, has left.
    """

    snippets: Annotated[list[AnySnippet], SEALED] = []
    data_disks: Annotated[dict[DiskName, str], PLAIN] = {}


class Group(Workload):
    """Nodes that are alike: a workload, and the machines for it.

    Attributes:
        count: How many.
        snippets: Files, and snippets of the library, merged in this order.
        compose: A Compose file beside the spec, whose services, networks and volumes are added.
        data_disks: By name; each node has its own.
        ports: Ports reachable from outside the node beside those that containers publish and SSH's.
        ready: Probes, asked in order; a rollout goes on only when all are content.
        ready_timeout: Seconds that it may take until a node is ready, from its start; twice as many while it pulls
            images.
        settle: Seconds that every container that is to run must have run, without a restart, before a node is ready;
            ``false``: a node is ready when its probes are content, whatever its report says.
        addresses_from: Where the group's addresses in the private network begin, counted from the network's own: in
            10.77.0.0/24, 10 gives node 0 the address 10.77.0.10, node 1 10.77.0.11, ...
        capacity: How many addresses, and names, are set aside for the group. Growing up to it changes no other node.
        nodes: What single nodes have beside, by their index.
        rollout: How a change goes through the nodes.
        drain: What is done before a node's machine goes.
        after: Groups that are made, and change, before this one.
        size: "small", "medium", "large", or the platform's own word for a kind of machine.
        names: Names in the DNS that are to lead to the group's nodes. Where the stack's platform options name a zone,
            they are records of it; elsewhere the stack's output ``names`` says which ones to make.
        metadata_guard: On platforms whose metadata service has the node's config, and so its secrets, whether
            containers and users other than root are kept from it, as the library's snippet ``metadata-guard`` does.
            One that is among the snippets takes the place of this.
    """

    count: Annotated[int, PLAIN] = Field(default=1, ge=0, le=1000)
    snippets: Annotated[list[AnySnippet], SEALED] = []
    compose: Annotated[ComposeRef | None, SEALED] = None
    data_disks: Annotated[dict[DiskName, DataDisk], SEALED] = {}
    ports: Annotated[list[GroupPort], PLAIN] = []
    ready: Annotated[list[Probe], SEALED] = []
    ready_timeout: Annotated[int, PLAIN] = Field(default=900, ge=1)
    settle: Annotated[float | None, BeforeValidator(_settled), PLAIN] = Field(default=10, ge=0)
    addresses_from: Annotated[int | None, PLAIN] = Field(default=None, ge=1)
    capacity: Annotated[int, PLAIN] = Field(default=16, ge=1)
    nodes: dict[int, NodeOverride] = {}
    rollout: Annotated[Rollout, PLAIN] = Rollout()
    drain: Annotated[DrainPlan | None, PLAIN] = None
    after: Annotated[list[Label], PLAIN] = []
    size: Annotated[str, PLAIN] = "small"
    names: Annotated[list[DnsName], PLAIN] = []
    metadata_guard: Annotated[bool, PLAIN] = True

    @property
    def reachable(self) -> set[PortPlan]:
        """Ports reachable from outside, without SSH's."""
        published = [port for container in self.containers.values() for port in container.ports]
        published += [port for pod in self.pods.values() for port in pod.ports]
        ports = {(port.node, port.protocol): PortPlan(port.node, port.protocol) for port in published if port.public}
        # A port that is listed, too, is reachable as the list has it.
        for port in self.ports:
            ports[port.number, port.protocol] = PortPlan(port.number, port.protocol, tuple(port.sources))
        return set(ports.values())

    @model_validator(mode="after")
    def _overridden_nodes_exist(self) -> Group:
        for index, node in self.nodes.items():
            for disk in node.data_disks:
                if disk not in self.data_disks:
                    raise ValueError(f"`nodes` has data disk {disk} for {index}, but the group has no such disk")
            if not 0 <= index < self.count:
                raise ValueError(f"`nodes` has {index}, but the group's {self.count} are counted from 0")
        return self

    @field_validator("data_disks")
    @classmethod
    def _apart(cls, disks: dict[str, DataDisk]) -> dict[str, DataDisk]:
        seen: dict[str, str] = {}
        for name, disk in disks.items():
            if disk.mount in seen:
                raise ValueError(f"{name} and {seen[disk.mount]} are both mounted at {disk.mount}")
            seen[disk.mount] = name
        return disks


GroupName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,56}[a-z0-9])?$")]
"""A DNS label that begins with a letter and leaves room for ``-<index>``."""


class FleetSpec(Model):
    """The document.

    Attributes:
        version: Of the spec. What a spec of a version renders to is frozen: no newer fleet changes it. By convention
            the first key; 1 where it is left out, which is warned of.
        name: The fleet's name.
        image: The operating system's image.
        ssh_authorized_keys: Public keys that may log in as ``core`` on every node.
        secrets: By the name under which containers use them.
        variables: By the name under which ``${name}`` stands for them, in the spec's own values and in snippets that
            list them.
        network: The private network; none by default.
        ssh_from: From where SSH is allowed, as CIDRs, on platforms that have a firewall; from nowhere by default.
        report: Whether nodes tell over HTTP how they are, and at which of their ports.
        report_from: From where the report can be reached, as CIDRs, on platforms that have a firewall; from nowhere by
            default. Nodes of the fleet reach one another at every port.
        groups: By name.
    """

    version: Annotated[Version, PLAIN] = FIRST
    name: Annotated[Label, PLAIN]
    image: Annotated[Image, PLAIN] = Image()
    ssh_authorized_keys: Annotated[list[SshKey], SEALED] = []
    secrets: dict[SecretName, SecretSource] = {}
    variables: dict[VariableName, Variable] = {}
    network: Annotated[PrivateNetwork | None, PLAIN] = None
    ssh_from: Annotated[list[Cidr], PLAIN] = []
    report: Annotated[NodeReport | None, BeforeValidator(_switched), PLAIN] = NodeReport()
    report_from: Annotated[list[Cidr], PLAIN] = []
    groups: dict[GroupName, Group] = Field(min_length=1)

    _file: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FleetSpec:
        """Read a spec for a program, which may change it by ``model_copy`` before it gives it to a fleet.

        Placeholders stay as they are, and a Compose file stays a name, until the fleet is planned. What is no text,
        such as a count, has to be plain; a spec with placeholders there is given to ``Fleet`` by its path.

        Args:
            path: Its file, YAML or Python. Relative paths in the spec start in its folder.

        Raises:
            UsageError: It cannot be read, or does not say what a spec can say.
        """
        from fleet.spec.loader import read_as_written

        spec = read_as_written(Path(path))
        spec._file = Path(path).absolute()
        return spec

    def written(self, folder: Path) -> tuple[Path, str | None]:
        """The spec as a document.

        Args:
            folder: Where relative paths start in a spec that was not loaded.

        Returns:
            Its path, and its text; ``None``: what the file has.
        """
        if self._file and FleetSpec.load(self._file) == self:
            return self._file, None
        from fleet.spec.python import text_of

        return self._file or folder / "spec", text_of(_as_document(self))

    @model_validator(mode="after")
    def _addresses_apart(self) -> FleetSpec:
        if self.network is None:
            if any(group.addresses_from is not None for group in self.groups.values()):
                raise ValueError("`addresses_from` needs a private network: `network: {cidr: 10.77.0.0/24}`")
            return self
        owners: dict[int, str] = {}
        size = self.network.cidr.num_addresses
        for name, group in self.groups.items():
            if group.addresses_from is None:
                free = max(owners, default=9) + 1
                raise ValueError(f"the group {name} needs `addresses_from` in the private network; {free} is free")
            if group.count > group.capacity:
                raise ValueError(f"the group {name} has {group.count} nodes, but a `capacity` of {group.capacity}")
            for number in range(group.addresses_from, group.addresses_from + group.capacity):
                if number >= size - 1:
                    raise ValueError(f"the group {name} does not fit in {self.network.cidr}")
                if other := owners.get(number):
                    raise ValueError(f"the groups {other} and {name} both have the address {self.network.cidr[number]}")
                owners[number] = name
        return self

    @model_validator(mode="after")
    def _groups_in_order(self) -> FleetSpec:
        for name, group in self.groups.items():
            for other in group.after:
                if other not in self.groups:
                    raise ValueError(f"the group {name} comes after {other}, which is no group")
        try:
            list(TopologicalSorter({name: group.after for name, group in self.groups.items()}).static_order())
        except CycleError as error:
            raise ValueError(f"groups come after one another in a circle: {', '.join(error.args[1])}") from None
        return self


def _as_document(model: Model) -> dict[str, Any]:
    """A model as the mapping that it is read from."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            # What is switched off is none in a model, and `false` in a document.
            return {key: False if item is None else plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    return dict(plain(model.model_dump(mode="json", by_alias=True, exclude_unset=True)))
