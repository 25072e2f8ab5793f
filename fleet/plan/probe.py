"""Probes: what must be true of a new node before the rollout goes on.

A kind of probe is a model here, which says what is asked and how it is called in messages, a field of :class:`Probe`,
and a function in :data:`fleet.probes.ASK`, which asks. Nothing else lists the kinds.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from fleet.model import PLAIN, Model

SSH_PORT = 22


class TcpProbe(Model):
    """A TCP port of the node takes connections.

    Attributes:
        port: The node's port.

    Examples:
        port: 5432
    """

    port: int = Field(ge=1, le=65535)

    def __str__(self) -> str:
        return f"tcp port {self.port}"


class HttpProbe(Model):
    r"""An HTTP(S) request to the node gets the expected response.

    Attributes:
        port: The node's port.
        path: Path and query.
        status: The status wanted.
        body: Text that the body must contain; empty for any body.
        json_values: What the body, which is JSON, must hold, by path: "checks.0.state" is the ``state`` of the first of
            ``checks``.
        tls: Use HTTPS.
        verify: Check the certificate. Without that any will do, such as one of an authority that the node itself made.
        ca: PEM text of the authority to trust; empty for the system's.
        client_certificate: A PEM file on this machine with the certificate, and its chain, to show.
        client_key: A PEM file on this machine with its key.
        host: Host header, and TLS server name; the node's address by default.

    Examples:
        port: 8080
        path: /healthz
        status: 204
        body: ok
        json: {checks.0.state: passing}
        ca: "-----BEGIN CERTIFICATE-----\n..."
        client_certificate: client.crt
        client_key: client.key
        host: www.example.org
    """

    port: int = Field(ge=1, le=65535)
    path: str = Field(default="/", pattern=r"^/")
    status: int = Field(default=200, ge=100, le=599)
    body: str = ""
    json_values: dict[str, JsonValue] = Field(default={}, alias="json")
    tls: bool = False
    verify: bool = True
    ca: str = ""
    client_certificate: str = ""
    client_key: str = ""
    host: str = ""

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'} port {self.port} {self.path}"


class SshProbe(Model):
    """A command that is run on the node by ``ssh`` exits with status 0; the caller's own keys or agent let it in.

    Attributes:
        command: The command line.
        user: As whom.
        identity: A private key's file on this machine; empty for ssh's own choice.

    Examples:
        command: systemctl is-active --quiet nomad
        user: core
        identity: ~/.ssh/id_ed25519
    """

    command: str = Field(min_length=1)
    user: Annotated[str, PLAIN] = Field(default="core", pattern=r"^[a-z_][a-z0-9_-]*$")
    identity: Annotated[str, PLAIN] = ""

    def __str__(self) -> str:
        return f"ssh `{self.command}`"


class Probe(Model):
    """One probe: exactly one of its kinds is set.

    Attributes:
        tcp: A TCP port of the node takes connections.
        http: An HTTP(S) request to the node gets the expected response.
        ssh: A command that is run on the node by ``ssh`` exits with status 0.
        function: ``module:function`` of a module beside ``Pulumi.yaml``, or of one that is installed. Called with the
            node's address, and with a function that turns a port of the node into the host and port that reach it from
            here; it returns when the node is ready and raises otherwise.
        successes: How many answers in a row must be as wanted.
        interval: Seconds between two questions.

    Examples:
        tcp: {port: 5432}
        http: {port: 8080, path: /healthz}
        ssh: {command: systemctl is-active --quiet nomad}
        function: probes:has_leader
        successes: 3
        interval: 5
    """

    exactly_one = ("tcp", "http", "ssh", "function")

    tcp: TcpProbe | None = None
    http: HttpProbe | None = None
    ssh: SshProbe | None = None
    function: str = Field(default="", pattern=r"^(\w+(\.\w+)*:\w+)?$")

    successes: int = Field(default=1, ge=1)
    interval: float = Field(default=2, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Probe:
        """One of the kinds."""
        if sum(bool(getattr(self, kind)) for kind in probe_kinds()) != 1:
            *others, last = (f"`{kind}: {_EXAMPLES.get(kind, '{...}')}`" for kind in probe_kinds())
            raise ValueError(f"a probe is one of {', '.join(others)} or {last}")
        return self

    @property
    def kind(self) -> str:
        """Which of its kinds is set: one of :func:`probe_kinds`."""
        return next(kind for kind in probe_kinds() if getattr(self, kind))

    @property
    def port(self) -> int | None:
        """The node's port that it asks; ``None`` where it asks none of its own."""
        return getattr(getattr(self, self.kind), "port", None)

    def __str__(self) -> str:
        return str(getattr(self, self.kind))


def probe_kinds() -> list[str]:
    """The kinds of probes: the fields of :class:`Probe` that say what is asked."""
    return list(Probe.exactly_one)


_EXAMPLES = {"function": "module:function"}
"""What stands in messages as the value of a kind that is no mapping."""
