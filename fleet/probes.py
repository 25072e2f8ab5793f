"""Asking probes (:mod:`fleet.plan.probe`): what must be true of a new node before the rollout goes on.

:class:`fleet.dynamic.ready.Ready` is the resource that waits for them during an update. :data:`ASK` has a function for
each kind of probe.
"""

from __future__ import annotations

import importlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet import ssh
from fleet.files import read_json
from fleet.plan.probe import SSH_PORT, HttpProbe, Probe, SshProbe, TcpProbe


class NotReadyError(Exception):
    """A node does not answer a probe, or not as wanted; says how it answered."""


Endpoint = Callable[[int], tuple[str, int]]
"""Turns a port of the node into the host and port that reach it from here."""


Mask = Callable[[str], str]
"""Takes secrets out of a text: out of what a probe is and of what a node answers, which may say what it was asked."""

Reaches = Callable[[int], bool]
"""Whether the TCP connection from a local port has arrived in the node: what forwards ports may accept it first."""

_ANSWER_SECONDS = 10.0
"""For one answer: a node that works hard may need several."""
_SHOWN = 200
"""Characters of an answer that are shown."""


@dataclass(frozen=True)
class Target:
    """A node as probes ask it.

    Attributes:
        address: Its address, for functions.
        endpoint: How to reach a port of it.
        timeout: Seconds to wait for an answer.
        reaches: Asked about the connection of a TCP probe.
        mask: Takes secrets out of what is said.
    """

    address: str
    endpoint: Endpoint
    timeout: float = _ANSWER_SECONDS
    reaches: Reaches = lambda port: True
    mask: Mask = str


def ask(
    probe: Probe,
    address: str,
    endpoint: Endpoint,
    *,
    timeout: float = _ANSWER_SECONDS,
    reaches: Reaches = lambda port: True,
    mask: Mask = str,
) -> None:
    """Ask once.

    Args:
        probe: What to ask.
        address: The node's address, for functions.
        endpoint: How to reach a port of the node.
        timeout: Seconds to wait for an answer.
        reaches: Asked about the connection of a TCP probe.
        mask: Takes secrets out of what is said.

    Raises:
        NotReadyError: The node did not answer, or not as wanted.
    """
    target = Target(address, endpoint, timeout, reaches, mask)
    try:
        ASK[probe.kind](getattr(probe, probe.kind), target)
    except NotReadyError:
        raise
    except OSError as error:
        raise NotReadyError(mask(str(error)) or type(error).__name__) from None


def _ask_tcp(probe: TcpProbe, target: Target) -> None:
    with socket.create_connection(target.endpoint(probe.port), target.timeout) as connection:
        if not target.reaches(connection.getsockname()[1]):
            raise NotReadyError("the node does not accept the connection")


def _ask_function(function: str, target: Target) -> None:
    module, _, name = function.partition(":")
    try:
        getattr(importlib.import_module(module), name)(target.address, target.endpoint)
    except (NotReadyError, OSError):
        raise
    except Exception as error:
        raise NotReadyError(target.mask(f"{type(error).__name__}: {error}")) from None


def _ask_http(probe: HttpProbe, target: Target) -> None:
    import httpx  # slow to import, and most runs ask nobody

    mask = target.mask
    host, port = target.endpoint(probe.port)
    # Without TLS nobody's certificates have to be read, which takes longer than the question.
    verify: Any = probe.verify and probe.tls
    if probe.ca or probe.client_certificate:
        verify = ssl.create_default_context(cadata=probe.ca or None)
        if not probe.verify:
            verify.check_hostname, verify.verify_mode = False, ssl.CERT_NONE
    if probe.client_certificate:
        verify.load_cert_chain(probe.client_certificate, probe.client_key or None)
    headers = {"Host": probe.host} if probe.host else {}
    extensions = {"sni_hostname": probe.host} if probe.host and probe.tls else {}
    scheme = "https" if probe.tls else "http"
    # trust_env off: a proxy for the internet does not reach the fleet's own nodes.
    try:
        with httpx.Client(verify=verify, timeout=target.timeout, trust_env=False) as client:
            answer = client.get(f"{scheme}://{host}:{port}{probe.path}", headers=headers, extensions=extensions)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotReadyError(mask(str(error)) or type(error).__name__) from None
    if answer.status_code != probe.status:
        raise NotReadyError(f"status {answer.status_code}, not {probe.status}")
    if probe.body not in answer.text:
        raise NotReadyError(f"the body does not contain {mask(probe.body)!r}: {mask(answer.text)[:_SHOWN]!r}")
    for path, expected in probe.json_values.items():
        value = _at(answer.text, path, mask)
        if value != expected:
            shown = mask(json.dumps(value))[:_SHOWN]
            raise NotReadyError(f"`{mask(path)}` is {shown}, not {mask(json.dumps(expected))}")


def _at(text: str, path: str, mask: Mask) -> Any:
    """The value at a path of a JSON document; ``None`` if there is none."""
    try:
        value = read_json(text)
    except ValueError:
        raise NotReadyError(f"the body is no JSON: {mask(text)[:_SHOWN]!r}") from None
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _ask_ssh(probe: SshProbe, target: Target) -> None:
    host, port = target.endpoint(SSH_PORT)
    options = {"BatchMode": "yes", **ssh.UNCHECKED, "ConnectTimeout": "5", "LogLevel": "ERROR"}
    command = ssh.command(host, port, options, user=probe.user, identity=probe.identity)
    try:
        result = subprocess.run(
            [*command, "--", _SHELL],
            capture_output=True,
            # Not as an argument, which every process of this machine, and of the node, can read. The shell has read all
            # of it before it runs any, so a command that reads its input finds that empty, and takes nothing away.
            input=f"{{ {probe.command}\n}} </dev/null\n",
            encoding="utf-8",
            errors="replace",
            timeout=_SSH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NotReadyError(f"the command timed out after {_SSH_SECONDS} s") from None
    if result.returncode:
        output = target.mask(result.stderr.strip() or result.stdout.strip()).splitlines()
        raise NotReadyError(f"status {result.returncode}" + (f": {output[-1][:_SHOWN]}" if output else ""))


_SHELL = 'exec "${SHELL:-/bin/sh}" -s'
"""The user's own shell, as sshd would run it, but one that reads what it is to do."""
_SSH_SECONDS = 30

ASK: Mapping[str, Callable[[Any, Target], None]] = {
    "tcp": _ask_tcp,
    "http": _ask_http,
    "ssh": _ask_ssh,
    "function": _ask_function,
}
"""What asks, by the kind of probe; called with the kind's value. It returns if the node answers as wanted, and raises
:class:`NotReadyError`, or :class:`OSError`, otherwise."""


def ask_all(
    probes: Sequence[Probe],
    address: str,
    endpoint: Endpoint,
    *,
    reaches: Reaches = lambda port: True,
    mask: Mask = str,
) -> None:
    """Ask every probe once; the arguments are those of :func:`ask`.

    Raises:
        NotReadyError: One is not answered as wanted; says which, and how it was answered.
    """
    for probe in probes:
        try:
            ask(probe, address, endpoint, reaches=reaches, mask=mask)
        except NotReadyError as error:
            raise NotReadyError(f"{mask(str(probe))}: {error}") from None


def wait(
    probes: Sequence[Probe],
    address: str,
    endpoint: Endpoint,
    *,
    timeout: float,
    alive: Callable[[], bool] = lambda: True,
    reaches: Reaches = lambda port: True,
    mask: Mask = str,
) -> None:
    """Ask until every probe is answered as wanted, one after the other.

    Args:
        probes: In order.
        address: The node's address.
        endpoint: How to reach a port of the node.
        timeout: Seconds for all of them together.
        alive: Asked between questions; waiting for a node that is gone is pointless.
        reaches: See :func:`ask`.
        mask: See :func:`ask`.

    Raises:
        NotReadyError: Time is up, or the node is gone; says which probe, and its last answer.
    """
    deadline = time.monotonic() + timeout
    for probe in probes:
        in_a_row, last = 0, ""
        while True:
            try:
                left = deadline - time.monotonic()
                answer_seconds = max(1.0, min(_ANSWER_SECONDS, left))
                ask(probe, address, endpoint, timeout=answer_seconds, reaches=reaches, mask=mask)
                in_a_row += 1
            except NotReadyError as error:
                in_a_row, last = 0, str(error)
            if in_a_row == probe.successes:
                break
            if not alive():
                raise NotReadyError(f"the machine is no longer running; last response of {mask(str(probe))}: {last}")
            if time.monotonic() + probe.interval > deadline:
                raise NotReadyError(f"{mask(str(probe))} timed out after {timeout:g} s; last response: {last}")
            time.sleep(probe.interval)
