"""Probes: what must be true of a new node before the rollout goes on.

Pure data and the polling of it; :class:`fleet.components.Ready` is the resource that does it during an update.
"""

from __future__ import annotations

import importlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from fleet import ssh
from fleet.files import read_json
from fleet.plan import SSH_PORT, HttpProbe, Probe, SshProbe


class NotReadyError(Exception):
    """What a probe found instead of readiness."""


Endpoint = Callable[[int], tuple[str, int]]
"""Turns a port of the node into the host and port that reach it from here."""


Mask = Callable[[str], str]
"""Takes secrets out of a text: out of what a probe is and of what a node answers, which may say what it was asked."""

_ANSWER_SECONDS = 10.0
"""For one answer: a node that works hard may need several."""

Reaches = Callable[[int], bool]
"""Whether the TCP connection from a local port has arrived in the node: what forwards ports may accept it first."""


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
    try:
        if probe.tcp:
            with socket.create_connection(endpoint(probe.tcp.port), timeout) as connection:
                if not reaches(connection.getsockname()[1]):
                    raise NotReadyError("the node does not accept the connection")
        elif probe.http:
            _ask_http(probe.http, endpoint(probe.http.port), timeout, mask)
        elif probe.ssh:
            _ask_ssh(probe.ssh, endpoint(SSH_PORT), mask)
        else:
            module, _, name = probe.function.partition(":")
            getattr(importlib.import_module(module), name)(address, endpoint)
    except NotReadyError:
        raise
    except OSError as error:
        raise NotReadyError(mask(str(error)) or type(error).__name__) from None
    except Exception as error:
        if not probe.function:
            raise
        raise NotReadyError(mask(f"{type(error).__name__}: {error}")) from None


_SHOWN = 200
"""Characters of an answer that are shown."""


def _ask_http(probe: HttpProbe, endpoint: tuple[str, int], timeout: float, mask: Mask) -> None:
    import httpx  # slow to import, and most runs ask nobody

    host, port = endpoint
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
        with httpx.Client(verify=verify, timeout=timeout, trust_env=False) as client:
            answer = client.get(f"{scheme}://{host}:{port}{probe.path}", headers=headers, extensions=extensions)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotReadyError(mask(str(error)) or type(error).__name__) from None
    if answer.status_code != probe.status:
        raise NotReadyError(f"status {answer.status_code}, not {probe.status}")
    if probe.body not in answer.text:
        raise NotReadyError(f"the body does not contain {mask(probe.body)!r}: {mask(answer.text)[:_SHOWN]!r}")
    for path, wanted in probe.json_values.items():
        value = _at(answer.text, path, mask)
        if value != wanted:
            shown = mask(json.dumps(value))[:_SHOWN]
            raise NotReadyError(f"`{mask(path)}` is {shown}, not {mask(json.dumps(wanted))}")


def _at(text: str, path: str, mask: Mask) -> Any:
    """What stands at a path of a JSON document; ``None`` if nothing does."""
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


def _ask_ssh(probe: SshProbe, endpoint: tuple[str, int], mask: Mask) -> None:
    host, port = endpoint
    options = {"BatchMode": "yes", **ssh.UNCHECKED, "ConnectTimeout": "5", "LogLevel": "ERROR"}
    command = ssh.command(host, port, options, user=probe.user, identity=probe.identity)
    try:
        done = subprocess.run(
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
        raise NotReadyError(f"it did not end within {_SSH_SECONDS} s") from None
    if done.returncode:
        said = mask(done.stderr.strip() or done.stdout.strip()).splitlines()
        raise NotReadyError(f"status {done.returncode}" + (f": {said[-1][:_SHOWN]}" if said else ""))


_SHELL = 'exec "${SHELL:-/bin/sh}" -s'
"""The user's own shell, as sshd would run it, but one that reads what it is to do."""
_SSH_SECONDS = 30


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
        NotReadyError: One is not content; says which, and what it said.
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
    """Ask until every probe is content, one after the other.

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
        good, last = 0, ""
        while True:
            try:
                left = deadline - time.monotonic()
                answer_seconds = max(1.0, min(_ANSWER_SECONDS, left))
                ask(probe, address, endpoint, timeout=answer_seconds, reaches=reaches, mask=mask)
                good += 1
            except NotReadyError as error:
                good, last = 0, str(error)
            if good == probe.successes:
                break
            if not alive():
                raise NotReadyError(f"the machine is no longer running; {mask(str(probe))} last said: {last}")
            if time.monotonic() + probe.interval > deadline:
                raise NotReadyError(f"{mask(str(probe))} was not content within {timeout:g} s; it last said: {last}")
            time.sleep(probe.interval)
