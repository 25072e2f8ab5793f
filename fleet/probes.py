"""Probes: what must be true of a new node before the rollout goes on.

Pure data and the polling of it; :class:`fleet.components.Ready` is the resource that does it during an update.
"""

from __future__ import annotations

import http.client
import importlib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from pydantic import Field, model_validator

from fleet.model import Model


class TcpProbe(Model):
    """A TCP port of the node takes connections.

    Attributes:
        port: The node's port.
    """

    port: int = Field(ge=1, le=65535)


class HttpProbe(Model):
    """An HTTP(S) request to the node is answered as wanted.

    Attributes:
        port: The node's port.
        path: Path and query.
        status: The status wanted.
        body: Text that the body must contain; empty for any body.
        tls: Use HTTPS.
        ca: PEM text of the authority to trust; empty for the system's.
        host: Host header, and TLS server name; the node's address by default.
    """

    port: int = Field(ge=1, le=65535)
    path: str = Field(default="/", pattern=r"^/")
    status: int = Field(default=200, ge=100, le=599)
    body: str = ""
    tls: bool = False
    ca: str = ""
    host: str = ""


class Probe(Model):
    """One probe: exactly one of its kinds is set.

    Attributes:
        tcp: See :class:`TcpProbe`.
        http: See :class:`HttpProbe`.
        function: ``module:function``, called with the node's address; it returns when the node is ready and raises
            otherwise.
    """

    tcp: TcpProbe | None = None
    http: HttpProbe | None = None
    function: str = Field(default="", pattern=r"^(\w+(\.\w+)*:\w+)?$")

    @model_validator(mode="after")
    def _one_kind(self) -> Probe:
        if sum(map(bool, (self.tcp, self.http, self.function))) != 1:
            raise ValueError("a probe is one of `http: {...}`, `tcp: {...}` or `function: module:function`")
        return self

    @property
    def port(self) -> int | None:
        """The node's port that it asks; ``None`` for a function."""
        kind = self.tcp or self.http
        return kind.port if kind else None

    def __str__(self) -> str:
        if self.http:
            return f"{'https' if self.http.tls else 'http'} port {self.http.port} {self.http.path}"
        return f"tcp port {self.tcp.port}" if self.tcp else self.function


class NotReadyError(Exception):
    """What a probe found instead of readiness."""


Endpoint = Callable[[int], tuple[str, int]]
"""Turns a port of the node into the host and port that reach it from here."""


Reaches = Callable[[int], bool]
"""Whether the TCP connection from a local port has arrived in the node: what forwards ports may accept it first."""


def ask(
    probe: Probe, address: str, endpoint: Endpoint, *, timeout: float = 5, reaches: Reaches = lambda port: True
) -> None:
    """Ask once.

    Args:
        probe: What to ask.
        address: The node's address, for functions.
        endpoint: How to reach a port of the node.
        timeout: Seconds to wait for an answer.
        reaches: Asked about the connection of a TCP probe.

    Raises:
        NotReadyError: The node did not answer, or not as wanted.
    """
    try:
        if probe.tcp:
            with socket.create_connection(endpoint(probe.tcp.port), timeout) as connection:
                if not reaches(connection.getsockname()[1]):
                    raise NotReadyError("the node does not accept the connection")
        elif probe.http:
            _ask_http(probe.http, endpoint(probe.http.port), timeout)
        else:
            module, _, name = probe.function.partition(":")
            getattr(importlib.import_module(module), name)(address)
    except NotReadyError:
        raise
    except (OSError, httpx.HTTPError, http.client.HTTPException) as error:
        raise NotReadyError(str(error) or type(error).__name__) from None
    except Exception as error:
        if not probe.function:
            raise
        raise NotReadyError(f"{type(error).__name__}: {error}") from None


def _ask_http(probe: HttpProbe, endpoint: tuple[str, int], timeout: float) -> None:
    host, port = endpoint
    verify: Any = ssl.create_default_context(cadata=probe.ca) if probe.ca else True
    headers = {"Host": probe.host} if probe.host else {}
    extensions = {"sni_hostname": probe.host} if probe.host and probe.tls else {}
    scheme = "https" if probe.tls else "http"
    # trust_env off: a proxy for the internet does not reach the fleet's own nodes.
    with httpx.Client(verify=verify, timeout=timeout, trust_env=False) as client:
        answer = client.get(f"{scheme}://{host}:{port}{probe.path}", headers=headers, extensions=extensions)
    if answer.status_code != probe.status:
        raise NotReadyError(f"status {answer.status_code}, not {probe.status}")
    if probe.body not in answer.text:
        raise NotReadyError(f"the body does not contain {probe.body!r}: {answer.text[:200]!r}")


def ask_all(probes: Sequence[Probe], address: str, endpoint: Endpoint, *, reaches: Reaches = lambda port: True) -> None:
    """Ask every probe once.

    Raises:
        NotReadyError: One is not content; says which, and what it said.
    """
    for probe in probes:
        try:
            ask(probe, address, endpoint, reaches=reaches)
        except NotReadyError as error:
            raise NotReadyError(f"{probe}: {error}") from None


def wait(
    probes: Sequence[Probe],
    address: str,
    endpoint: Endpoint,
    *,
    timeout: float,
    interval: float = 2,
    alive: Callable[[], bool] = lambda: True,
    reaches: Reaches = lambda port: True,
) -> None:
    """Ask until every probe is content, one after the other.

    Args:
        probes: In order.
        address: The node's address.
        endpoint: How to reach a port of the node.
        timeout: Seconds for all of them together.
        interval: Seconds between questions.
        alive: Asked between questions; waiting for a node that is gone is pointless.
        reaches: See :func:`ask`.

    Raises:
        NotReadyError: Time is up, or the node is gone; says which probe, and its last answer.
    """
    deadline = time.monotonic() + timeout
    for probe in probes:
        while True:
            try:
                left = deadline - time.monotonic()
                ask(probe, address, endpoint, timeout=max(1.0, min(5.0, left)), reaches=reaches)
                break
            except NotReadyError as error:
                last = str(error)
            if not alive():
                raise NotReadyError(f"the machine is no longer running; {probe} last said: {last}")
            if time.monotonic() + interval > deadline:
                raise NotReadyError(f"{probe} was not content within {timeout:g} s; it last said: {last}")
            time.sleep(interval)
