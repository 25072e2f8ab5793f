"""Asking nodes: their probes (:mod:`fleet.plan.probe`), and their reports (:mod:`fleet.plan.report`).

:class:`fleet.dynamic.ready.Ready` is the resource that waits for them during an update. :data:`ASK` has a function for
each kind of probe.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import shlex
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleet import console, ssh
from fleet.files import read_json
from fleet.plan.machine import ReportAccess
from fleet.plan.probe import SSH_PORT, HttpProbe, Probe, SshProbe, TcpProbe
from fleet.plan.report import Report, UnitReport, read_report

if TYPE_CHECKING:
    import httpx


class NotReadyError(Exception):
    """A node does not answer a probe, or not as wanted; says how it answered.

    Args:
        answer: How.
        report: The node's report, if it has answered with one.

    Attributes:
        report: As given.
    """

    def __init__(self, answer: str, report: Report | None = None) -> None:
        super().__init__(answer)
        self.report = report


class UnknownReportError(Exception):
    """A node's report cannot be had from here, so nothing is known of its containers; says why."""


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
_LARGEST_BODY = 4 << 20
"""Bytes of an answer that are read."""


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
    url = f"{'https' if probe.tls else 'http'}://{host}:{port}{probe.path}"
    try:
        with _stream(url, target.timeout, verify=verify, headers=headers, extensions=extensions) as answer:
            if answer.status_code != probe.status:
                raise NotReadyError(f"status {answer.status_code}, not {probe.status}")
            # What nobody asks about may be of any length.
            body = _body(answer) if probe.body or probe.json_values else b""
            text = body.decode(answer.encoding or "utf-8", "replace")
    except (NotReadyError, LookupError) as error:
        raise NotReadyError(mask(str(error))) from None
    if probe.body not in text:
        raise NotReadyError(f"the body does not contain {mask(probe.body)!r}: {mask(text)[:_SHOWN]!r}")
    for path, expected in probe.json_values.items():
        value = _at(text, path, mask)
        if value != expected:
            shown = mask(json.dumps(value))[:_SHOWN]
            raise NotReadyError(f"`{mask(path)}` is {shown}, not {mask(json.dumps(expected))}")


@contextlib.contextmanager
def _stream(
    url: str,
    timeout: float,
    *,
    connect: float | None = None,
    verify: Any = False,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Iterator[httpx.Response]:
    """The response to a GET, whose head and body have to come in time.

    Args:
        url: What is asked for.
        timeout: Seconds for the whole; those of httpx's are for each piece, and who sends one now and then never ends.
        connect: Seconds to connect in, if these are fewer.
        verify: As httpx has it.
        headers: Of the request.
        extensions: As httpx has them.

    Raises:
        NotReadyError: There is none, or it does not end in time.
    """
    import httpx  # slow to import, and most runs ask nobody

    connections: list[socket.socket] = []
    is_over = threading.Event()

    def trace(event: str, facts: Mapping[str, Any]) -> None:
        # The names of the events are httpcore's (its page "Extensions", "trace").
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connections[:] = [facts["return_value"].get_extra_info("socket")]

    def end() -> None:
        is_over.set()
        for connection in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(timeout, end)
    timer.daemon = True
    limits = httpx.Timeout(timeout, connect=min(connect or timeout, timeout))
    timer.start()
    # trust_env off: a proxy for the internet does not reach the fleet's own nodes.
    try:
        with (
            httpx.Client(verify=verify, timeout=limits, trust_env=False) as client,
            client.stream("GET", url, headers=headers, extensions={**(extensions or {}), "trace": trace}) as answer,
        ):
            yield answer
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        failure = str(error) or type(error).__name__
        raise NotReadyError(f"no whole answer in {timeout:g} s" if is_over.is_set() else failure) from None
    finally:
        timer.cancel()
    if is_over.is_set():
        raise NotReadyError(f"no whole answer in {timeout:g} s")


def _body(answer: httpx.Response) -> bytes:
    """The body of a response.

    Raises:
        NotReadyError: It is too long.
    """
    body = b""
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise NotReadyError("its answer is too long")
    return body


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
        output = console.lines(target.mask(result.stderr.strip() or result.stdout.strip()))
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


_REPORT_SECONDS = 20.0
"""For a report: a node that works hard gathers it slowly."""
_CONNECT_SECONDS = 5.0


def ask_report(
    access: ReportAccess, address: str, endpoint: Endpoint, *, timeout: float = _REPORT_SECONDS, mask: Mask = str
) -> Report:
    """Ask a node for its report: over HTTP where its port can be reached, else over SSH.

    Args:
        access: How it can be had.
        address: The node's address.
        endpoint: How to reach a port of the node.
        timeout: Seconds to wait for an answer.
        mask: Takes secrets out of what is said.

    Raises:
        UnknownReportError: There is no way to it from here; says why.
        NotReadyError: It does not answer, though there is a way, or answers with something else, such as the report
            of another machine; says how.
    """
    if not access.direct and not access.ssh:
        raise UnknownReportError("neither `report_from` nor `ssh_from` of the spec lets anybody in")
    text: str | None = None
    reason = ""
    host, port = endpoint(access.port)
    if access.direct:
        try:
            text = _fetch(f"http://{host}:{port}/", timeout)
        except NotReadyError as error:
            if not access.ssh:
                raise NotReadyError(f"its report does not answer: {mask(str(error))}") from None
            reason = str(error)
    if text is None:
        host, port = endpoint(SSH_PORT)
        try:
            text = _fetch_by_ssh(host, port, access.port)
        except UnknownReportError as error:
            if reason:
                raise NotReadyError(f"its report does not answer: {mask(reason)}; and {mask(str(error))}") from None
            raise UnknownReportError(mask(str(error))) from None
        except NotReadyError as error:
            raise NotReadyError(f"its report does not answer: {mask(reason or str(error))}") from None
    try:
        report = read_report(text)
    except ValueError as error:
        raise NotReadyError(mask(str(error))) from None
    if access.host and report.node and report.node.lower() != access.host.lower():
        place = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
        raise NotReadyError(mask(f"the machine at {place} says that it is {report.node}, not {access.host}"))
    return report


def _fetch(url: str, timeout: float) -> str:
    with _stream(url, timeout, connect=_CONNECT_SECONDS) as answer:
        if answer.status_code != 200:
            raise NotReadyError(f"status {answer.status_code}")
        return _body(answer).decode("utf-8", "replace")


def _fetch_by_ssh(host: str, port: int, report_port: int) -> str:
    options = {"BatchMode": "yes", **ssh.UNCHECKED, "ConnectTimeout": "5", "LogLevel": "ERROR"}
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "20", f"http://127.0.0.1:{report_port}/"]
    try:
        result = subprocess.run(
            [*ssh.command(host, port, options), "--", *command],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=_SSH_SECONDS,
        )
    except FileNotFoundError:
        raise UnknownReportError("it is asked for over SSH, and there is no `ssh` command here") from None
    except subprocess.TimeoutExpired:
        raise NotReadyError(f"SSH timed out after {_SSH_SECONDS} s") from None
    said = (console.lines(result.stderr) or [f"status {result.returncode}"])[-1][:_SHOWN]
    if result.returncode == _SSH_FAILED and "permission denied" in said.lower():
        raise UnknownReportError(f"it is asked for over SSH, which lets in no key of this machine ({said})")
    if result.returncode:
        raise NotReadyError(said)
    return result.stdout


_SSH_FAILED = 255
"""The exit status of ssh(1) where it is not the command's."""


def ask_settled(access: ReportAccess, address: str, endpoint: Endpoint, *, mask: Mask = str) -> Report | None:
    """Ask a node's report whether all that is to run does.

    Returns:
        The report; ``None`` where readiness is not judged by it.

    Raises:
        UnknownReportError: As :func:`ask_report`.
        NotReadyError: As there, or something does not run as it is to; says what, first what will not pass by itself.
    """
    if access.settle is None:
        return None
    report = ask_report(access, address, endpoint, mask=mask)
    if ailing := _ailing(report, access.settle):
        raise NotReadyError(mask(ailing), report)
    return report


def _ailing(report: Report, settle: float) -> str:
    """What a report says that is not well, in words; empty if all is."""
    problems = sorted(report.problems(settle), key=lambda problem: problem.passing)
    more = f", and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
    return "; ".join(map(str, problems[:_TOLD])) + more


_TOLD = 3
"""Problems that are told of; the rest is counted."""


@dataclass(frozen=True)
class Turn:
    """How a node is each time it was asked while it is waited for.

    Attributes:
        answer: Why it is not ready: the last answer to the probe, or what its report says that is not well.
        report: Its report, as far as it has answered with one.
        seconds: How long it has been waited for.
        limit: Seconds that it may take.
    """

    answer: str
    report: Report | None
    seconds: float
    limit: float


def wait(
    probes: Sequence[Probe],
    address: str,
    endpoint: Endpoint,
    *,
    timeout: float,
    alive: Callable[[], bool] = lambda: True,
    reaches: Reaches = lambda port: True,
    mask: Mask = str,
    report: ReportAccess | None = None,
    unknown: Callable[[str], None] = lambda why: None,
    progress: Callable[[Turn], None] = lambda turn: None,
) -> None:
    """Ask until every probe is answered as wanted, one after the other, and all that is to run does.

    Args:
        probes: In order.
        address: The node's address.
        endpoint: How to reach a port of the node.
        timeout: Seconds for all of them together; twice as many for as long as the node pulls images.
        alive: Asked between questions; waiting for a node that is gone is pointless.
        reaches: See :func:`ask`.
        mask: See :func:`ask`.
        report: How its report can be had, if it has one.
        unknown: Told, once, why it cannot be known whether all runs; the probes alone have to do then.
        progress: Told after every question that was not answered as wanted.

    Raises:
        NotReadyError: Time is up, or the node is gone; says what does not run, which probe, and its last answer.
    """
    waiting = _Waiting(address, endpoint, timeout, alive, mask, report, progress)
    with waiting:
        for probe in probes:
            what, in_a_row, last = mask(str(probe)), 0, ""
            while True:
                try:
                    answer_seconds = max(1.0, min(_ANSWER_SECONDS, waiting.left))
                    ask(probe, address, endpoint, timeout=answer_seconds, reaches=reaches, mask=mask)
                    in_a_row += 1
                except NotReadyError as error:
                    in_a_row, last = 0, str(error)
                if in_a_row == probe.successes:
                    break
                waiting.pause(probe.interval, last, f"{what} timed out after {{}} s; last response: {last}", what)
    while report:
        try:
            ask_settled(report, address, endpoint, mask=mask)
        except UnknownReportError as error:
            unknown(str(error))
        except NotReadyError as error:
            waiting.report = error.report
            last = str(error)
            waiting.pause(_AGAIN if report.direct else _AGAIN_BY_SSH, last, f"{last}; timed out after {{}} s", "")
            continue
        return


_AGAIN = 1.0
"""Seconds between two questions for a report."""
_AGAIN_BY_SSH = 5.0


class _Waiting:
    """The time that a node is waited for. Meanwhile its report is asked for, in a thread, beside its probes.

    Args:
        address: As :func:`wait`, as are the others.
    """

    def __init__(
        self,
        address: str,
        endpoint: Endpoint,
        timeout: float,
        alive: Callable[[], bool],
        mask: Mask,
        access: ReportAccess | None,
        progress: Callable[[Turn], None],
    ) -> None:
        self._begin = time.monotonic()
        self._timeout, self._alive, self._mask, self._progress = timeout, alive, mask, progress
        self._access = access
        self._ask = lambda: ask_report(access, address, endpoint) if access else None
        self._pool: ThreadPoolExecutor | None = None
        self._asked: Future[Report | None] | None = None
        self._due = 0.0
        self.report: Report | None = None

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=False)

    @property
    def limit(self) -> float:
        """Seconds for the whole."""
        pulling = self.report and any(unit.pulling and not unit.cause for unit in self.report.units)
        return self._timeout * 2 if pulling else self._timeout

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.limit - (time.monotonic() - self._begin)

    def pause(self, seconds: float, answer: str, failure: str, probe: str) -> None:
        """Wait until it is time for the next question.

        Args:
            seconds: How long.
            answer: The last answer.
            failure: What to say if time is up; ``{}`` stands for the seconds that it took.
            probe: What was asked; empty: the report.

        Raises:
            NotReadyError: The node is gone, or time is up.
        """
        if probe:
            self._look()
        self._progress(Turn(self._mask(answer), self.report, time.monotonic() - self._begin, self.limit))
        if not self._alive():
            last = f"; last response of {probe}: {answer}" if probe else f"; {answer}"
            raise NotReadyError(f"the machine is no longer running{last}", self.report)
        if self.left < seconds:
            failure = failure.replace("{}", f"{self.limit:g}")
            ailing = _ailing(self.report, self._access.settle or 0) if probe and self.report and self._access else ""
            raise NotReadyError(f"{self._mask(ailing)}; {failure}" if ailing else failure, self.report)
        time.sleep(seconds)

    def _look(self) -> None:
        """Take the answer to the last question for the report, if there is one by now, and ask the next."""
        if self._access is None:
            return
        if self._asked and self._asked.done():
            self._due = time.monotonic() + (_AGAIN if self._access.direct else _AGAIN_BY_SSH)
            with contextlib.suppress(NotReadyError, UnknownReportError):
                self.report = self._asked.result()
            self._asked = None
        if self._asked is None and time.monotonic() >= self._due:
            self._pool = self._pool or ThreadPoolExecutor(1)
            self._asked = self._pool.submit(self._ask)


def read_journal(endpoint: Endpoint, unit: UnitReport, lines: int = 20) -> list[str]:
    """The end of a unit's journal, by SSH; none where that does not let in.

    Args:
        endpoint: How to reach a port of the node.
        unit: The unit.
        lines: How many lines at most.
    """
    match = f"_SYSTEMD_USER_UNIT={unit.unit}" if unit.user else f"--unit={unit.unit}"
    journal = ["sudo", "journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={lines}", match]
    options = {"BatchMode": "yes", **ssh.UNCHECKED, "ConnectTimeout": "5", "LogLevel": "ERROR"}
    try:
        done = subprocess.run(
            [*ssh.command(*endpoint(SSH_PORT), options), "--", shlex.join(journal)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=_SSH_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [] if done.returncode else console.lines(done.stdout)
