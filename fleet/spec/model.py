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
    WithJsonSchema,
    field_validator,
    model_validator,
)

from fleet.config.template import NAME, Scalar
from fleet.library import LIBRARY, LibrarySnippet
from fleet.model import PLAIN, PORT_NUMBER, SEALED, WRITTEN, MalformedError, Model, PlacedError, Shorthand
from fleet.plan import ANYWHERE, REPORT_PORT, SSH_PORT, DrainPlan, PortPlan, Probe, Rollout
from fleet.spec.versions import FIRST, Version
from fleet.workloads import DataDisk, DiskName, Name, Workload
from fleet.workloads.fields import Label, SshKey, Text

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

    Examples:
        path: base.bu
        variables: [greeting]
    """

    shorthand = "path"

    path: str = Field(min_length=1)
    outside: bool = False
    override: bool = False
    allow_warnings: bool = False
    variables: list[VariableName] = []


class QuadletRef(Shorthand):
    """A Quadlet file of your own, or a folder of them. Written as its path, or in full.

    Attributes:
        path: Relative to the spec's folder: ``NAME.container``, ``.pod``, ``.kube``, ``.network``, ``.volume``,
            ``.image`` or ``.build``; or a folder, of which all such files are taken, but none of folders in it.
        run_as: A user of the group whose rootless Podman runs it; root's runs it otherwise.
        variables: Variables of the spec that fill its placeholders. Without any, it has none, whatever it looks like.
        outside: It, and files that it names, may be outside of the project's folder.

    Examples:
        path: caddy.container
        run_as: app
        variables: [domain]
        outside: true
    """

    shorthand = "path"

    path: str = Field(min_length=1)
    run_as: Name | None = None
    variables: list[VariableName] = []
    outside: bool = False


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

    Examples:
        name: shop's authority
        days: 1825
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

    Examples:
        authority: authority
        names: [db.shop.internal, 10.77.0.10]
        days: 180
        renew_days: 30
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

    Examples:
        bytes: 24
        prefix: sk-
        suffix: "="
        authority: {name: shop}
        certificate: {authority: authority, names: [db.shop.internal]}
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
    """Where a secret's value comes from: exactly one of ``config``, ``file``, ``env``, ``sops``, ``age``, ``command``.

    Attributes:
        config: A key of the stack's config, set by ``pulumi config set --secret KEY``; "name" stands for
            ``<project>:name``.
        generate: Make it when it is first needed, and keep it, as a secret, in the stack's config: once and for all.
        file: A file beside the spec; its whole content, less one newline at its end.
        env: A variable of the environment that the command runs in.
        sops: A file beside the spec that sops encrypted; ``sops`` decrypts it, with the keys that it finds as always.
        key: Where the value is in the file of ``sops``: keys with dots between them, such as ``db.password``, and
            numbers, from 0, of a list's items. Without it, the whole file is the value.
        age: A file beside the spec that age encrypted; its whole content, less one newline at its end.
        identity: The file of age's identities, from the spec's folder; "~" is the user's home. By default, the one that
            ``AGE_IDENTITY`` or ``SOPS_AGE_KEY_FILE`` in the environment name, or sops' own, ``sops/age/keys.txt`` in
            ``~/.config``.
        command: The words of a command that prints the value, such as ``[pass, show, web/db]``; run in the spec's
            folder, without a shell. One newline at the end of what it prints is taken off.
        timeout: Seconds that ``sops``, ``age`` or the command may take, somebody's answer to a question included.
        outside: The file may be outside of the project's folder.

    Examples:
        config: db-password
        generate: {bytes: 24, encoding: hex}
        file: secrets/db.txt
        env: DB_PASSWORD
        sops: secrets.enc.yaml
        key: db.password
        age: secrets/db.age
        identity: ~/.age/key.txt
        command: [pass, show, web/db]
        timeout: 30
        outside: true
    """

    exactly_one = ("config", "file", "env", "sops", "age", "command")

    config: str = ""
    generate: Generate | None = None
    file: str = ""
    env: str = ""
    sops: str = ""
    key: str = Field(default="", pattern=r"^([^.]+(\.[^.]+)*)?$")
    age: str = ""
    identity: str = ""
    command: list[Text] = []
    timeout: int = Field(default=120, ge=1, le=3600)
    outside: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> SecretSource:
        """One source; `generate` needs `config`, `key` needs `sops`, `identity` needs `age`."""
        if sum(bool(getattr(self, source)) for source in self.exactly_one) != 1:
            raise ValueError(
                "a secret comes from one of `config: KEY`, `file: PATH`, `env: VARIABLE`, `sops: FILE`, `age: FILE` or "
                "`command: [PROGRAM, ...]`"
            )
        if self.generate and not self.config:
            raise ValueError("what is generated is kept in the stack's config: say `config: KEY` too")
        if self.key and not self.sops:
            raise ValueError("`key` is one of a file that sops encrypted: say `sops: FILE` too")
        if self.identity and not self.age:
            raise ValueError("`identity` is for a file that age encrypted: say `age: FILE` too; sops finds its own")
        if "timeout" in self.model_fields_set and not (self.sops or self.age or self.command):
            raise ValueError("`timeout` is for `sops`, `age` and `command`")
        if self.command and not self.command[0]:
            raise ValueError("the first word of `command` is the program")
        return self

    @property
    def files(self) -> list[str]:
        """Files of the spec's folder that it is kept in, as far as they are here."""
        return [path for path in (self.file, self.sops, self.age, self.identity) if path]


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
        output: The output of that stack, or a part of one, such as "nodes.db-0.address". One that is a secret there
            fills what is a secret here.
        default: What it is where ``config`` or ``env`` have nothing.

    Examples:
        value: 8080
        config: greeting
        env: GREETING
        secret: db-password
        stack: org/network/prod
        output: db_address
        default: hello
    """

    other_forms = ({"type": ["boolean", "number", "string"]},)

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
        """One source; `output` needs `stack`, `default` needs `config` or `env`; values are of the type."""
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

    Examples:
        lock: locks/stable.yaml
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

Cidr = Annotated[str, AfterValidator(_cidr), WithJsonSchema({"type": "string", "format": "ipvanynetwork"})]
"""A range of addresses, such as 203.0.113.0/24 or 2001:db8::/32."""


_GROUP_PORT = "({number})(?:/(tcp|udp))?"
"""The port and its protocol; ``{number}`` is how a port's number is written."""


class GroupPort(Model):
    """A port that something other than a container of the spec serves: 6443, "51820/udp", or {number, protocol, from}.

    Attributes:
        number: The port.
        protocol: "tcp" or "udp".
        sources: From where it can be reached, as CIDRs, on platforms that have a firewall; ``from`` in the spec. Nodes
            of the fleet reach one another at every port.

    Examples:
        number: 6443
        from: [203.0.113.0/24]
    """

    other_forms = (
        {"type": "integer", "minimum": 1, "maximum": 65535, "not": {"const": SSH_PORT}},
        {"type": "string", "pattern": f"^(?!0*{SSH_PORT}(?:/|$)){_GROUP_PORT.replace('{number}', PORT_NUMBER)}$"},
    )

    number: int = Field(ge=1, le=65535, json_schema_extra={"not": {"const": SSH_PORT}})
    protocol: Literal["tcp", "udp"] = "tcp"
    sources: list[Cidr] = Field(default=[*ANYWHERE], alias="from", min_length=1)

    @field_validator("number")
    @classmethod
    def _not_ssh(cls, number: int) -> int:
        """SSH's port, 22, is none of a group's."""
        if number == SSH_PORT:
            raise ValueError("port 22 is always there; `ssh_from` of the spec says from where it can be reached")
        return number

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"number": value}
        if isinstance(value, str):
            match = re.fullmatch(_GROUP_PORT.replace("{number}", "[0-9]+"), value)
            if match is None:
                raise MalformedError('a port is written 6443, "6443/tcp" or "51820/udp"')
            return {"number": int(match[1]), "protocol": match[2] or "tcp"}
        return value


class NodeReport(Model):
    """What a node tells of itself, over HTTP (docs/report.md). Written ``true``, ``false``, or in full.

    Attributes:
        port: The node's port.

    Examples:
        port: 7791
    """

    port: int = Field(default=REPORT_PORT, ge=1, le=65535, json_schema_extra={"not": {"const": SSH_PORT}})

    @field_validator("port")
    @classmethod
    def _not_ssh(cls, port: int) -> int:
        """The report is not at SSH's port, 22."""
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

    Examples:
        cidr: 10.77.0.0/24
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

    Examples:
        path: compose.yaml
        profiles: [production]
        folder: /var/lib/app
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

    Examples:
        snippets: [first.bu]
        data_disks: {db: vol-0123456789abcdef0}
    """

    snippets: Annotated[list[AnySnippet], SEALED] = []
    data_disks: Annotated[dict[DiskName, str], PLAIN] = {}


class Group(Workload):
    """Nodes that are alike: a workload, and the machines for it.

    Attributes:
        count: How many.
        snippets: Files, and snippets of the library, merged in this order.
        compose: A Compose file beside the spec, whose services, networks and volumes are added.
        quadlets: Quadlet files beside the spec, and folders of such, taken as they are.
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

    Examples:
        count: 3
        snippets: [base.bu, {use: zram}]
        compose: compose.yaml
        quadlets: [caddy.container, data.volume]
        data_disks: {db: {size_gib: 10, mount: /var/lib/db}}
        ports: [6443, "51820/udp"]
        ready: [{http: {port: 8080}}]
        ready_timeout: 600
        settle: 30
        addresses_from: 10
        capacity: 32
        nodes: {0: {snippets: [first.bu]}}
        rollout: {window: "25%", canary: true}
        drain: {function: "drains:leave"}
        after: [db]
        size: medium
        names: [www.example.org]
    """

    # A host name has 63 characters: the longest name of a group, a dash, and four digits.
    count: Annotated[int, PLAIN] = Field(default=1, ge=0, le=10_000)
    snippets: Annotated[list[AnySnippet], SEALED] = []
    compose: Annotated[ComposeRef | None, SEALED] = None
    quadlets: Annotated[list[QuadletRef], SEALED] = []
    data_disks: Annotated[dict[DiskName, DataDisk], SEALED] = {}
    ports: Annotated[list[GroupPort], PLAIN] = []
    ready: Annotated[list[Probe], SEALED] = []
    ready_timeout: Annotated[int, PLAIN] = Field(default=900, ge=1)
    settle: Annotated[
        float | None,
        BeforeValidator(_settled, json_schema_input_type=Literal[False] | Annotated[float, Field(ge=0)]),
        PLAIN,
    ] = Field(default=10, ge=0)
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
        published += [port for unit in self.units for port in unit.ports]
        ports = {(port.node, port.protocol): PortPlan(port.node, port.protocol) for port in published if port.public}
        # A port that is listed, too, is reachable as the list has it.
        for port in self.ports:
            ports[port.number, port.protocol] = PortPlan(port.number, port.protocol, tuple(port.sources))
        return set(ports.values())

    @model_validator(mode="after")
    def _overridden_nodes_exist(self) -> Group:
        """`nodes` names nodes, and data disks, that the group has."""
        for index, node in self.nodes.items():
            for disk in node.data_disks:
                if disk not in self.data_disks:
                    problem = f"`nodes` has data disk {disk} for {index}, but the group has no such disk"
                    raise PlacedError(problem, "nodes", index, "data_disks", disk)
            if not 0 <= index < self.count:
                problem = f"`nodes` has {index}, but the group's {self.count} are counted from 0"
                raise PlacedError(problem, "nodes", index)
        return self

    @field_validator("data_disks")
    @classmethod
    def _apart(cls, disks: dict[str, DataDisk]) -> dict[str, DataDisk]:
        """No two data disks have one mount point."""
        seen: dict[str, str] = {}
        for name, disk in disks.items():
            if disk.mount in seen:
                problem = f"{name} and {seen[disk.mount]} are both mounted at {disk.mount}"
                raise PlacedError(problem, name, "mount")
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

    Examples:
        version: 1
        name: shop
        image: {stream: stable}
        ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample me@laptop]
        secrets: {db-password: {config: db-password, generate: {bytes: 24}}}
        variables: {greeting: hello}
        network: {cidr: 10.77.0.0/24}
        ssh_from: [203.0.113.0/24]
        report: {port: 7791}
        report_from: [203.0.113.7/32]
        groups: {web: {count: 2, snippets: [base.bu]}}
    """

    version: Annotated[Version, PLAIN] = FIRST
    name: Annotated[Label, PLAIN]
    image: Annotated[Image, PLAIN] = Image()
    ssh_authorized_keys: Annotated[list[SshKey], SEALED] = []
    secrets: dict[SecretName, SecretSource] = {}
    variables: dict[VariableName, Variable] = {}
    network: Annotated[PrivateNetwork | None, PLAIN] = None
    ssh_from: Annotated[list[Cidr], PLAIN] = []
    report: Annotated[
        NodeReport | None, BeforeValidator(_switched, json_schema_input_type=StrictBool | NodeReport), PLAIN
    ] = NodeReport()
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
        """With a private network every group has `addresses_from`; groups' addresses are in the network, apart."""
        if self.network is None:
            for name, group in self.groups.items():
                if group.addresses_from is not None:
                    problem = "this needs a private network: `network: {cidr: 10.77.0.0/24}`"
                    raise PlacedError(problem, "groups", name, "addresses_from")
            return self
        owners: dict[int, str] = {}
        size = self.network.cidr.num_addresses
        for name, group in self.groups.items():
            if group.addresses_from is None:
                free = max(owners, default=9) + 1
                problem = f"the group {name} needs `addresses_from` in the private network; {free} is free"
                raise PlacedError(problem, "groups", name)
            if group.count > group.capacity:
                problem = f"the group {name} has {group.count} nodes, but a `capacity` of {group.capacity}"
                raise PlacedError(
                    problem, "groups", name, "capacity" if "capacity" in group.model_fields_set else "count"
                )
            for number in range(group.addresses_from, group.addresses_from + group.capacity):
                if number >= size - 1:
                    problem = f"the group {name} does not fit in {self.network.cidr}"
                    raise PlacedError(problem, "groups", name, "addresses_from")
                if other := owners.get(number):
                    problem = f"the groups {other} and {name} both have the address {self.network.cidr[number]}"
                    raise PlacedError(problem, "groups", name, "addresses_from")
                owners[number] = name
        return self

    @model_validator(mode="after")
    def _groups_in_order(self) -> FleetSpec:
        """`after` names other groups, and no two come after each other."""
        for name, group in self.groups.items():
            for index, other in enumerate(group.after):
                if other not in self.groups:
                    problem = f"the group {name} comes after {other}, which is no group"
                    raise PlacedError(problem, "groups", name, "after", index)
        try:
            list(TopologicalSorter({name: group.after for name, group in self.groups.items()}).static_order())
        except CycleError as error:
            circle = error.args[1]
            problem = f"groups come after one another in a circle: {', '.join(circle)}"
            raise PlacedError(problem, "groups", circle[0], "after") from None
        return self


def _as_document(model: Model) -> dict[str, Any]:
    """A model as the mapping that it is read from."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            # What is switched off is none in a model, and `false` in a document.
            return {key: False if item is None else plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    return dict(plain(model.model_dump(mode="json", by_alias=True, exclude_unset=True)))
