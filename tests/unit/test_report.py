"""The report: what follows from it, how it is asked for, and what readiness makes of it."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fleet import platforms
from fleet.dynamic.gate import not_ready
from fleet.dynamic.ready import ReadyProvider
from fleet.errors import FleetError
from fleet.masking import Mask
from fleet.ops.state import Silence, report_of
from fleet.plan import Peer, Probe, Report, ReportAccess, UnitReport, read_report
from fleet.plan.report import CAUSES, REPORT_VERSION, DiskReport, JobReport, UpdateReport
from fleet.planner import plan_spec
from fleet.platforms.base import report_access
from fleet.probes import NotReadyError, Turn, UnknownReportError, ask, ask_report, read_journal, wait
from fleet.spec import Resolver

UP: dict[str, Any] = {"load": "loaded", "active": "active", "sub": "running", "result": "success", "seconds": 60.0}
ENDED: dict[str, Any] = {**UP, "active": "inactive", "sub": "dead", "exit_code": 0}
STARTS = {**UP, "active": "activating", "sub": "start"}
DIES = {**STARTS, "sub": "auto-restart", "result": "exit-code", "restarts": 12, "exit_code": 1}
FAILED = {**UP, "active": "failed", "sub": "failed", "result": "exit-code", "exit_code": 4}


def unit(**facts: Any) -> dict[str, Any]:
    return {"unit": "ghost.service", "name": "ghost", "kind": "container", **facts}


def report(*units: dict[str, Any], **rest: Any) -> Report:
    return Report.model_validate({"version": 1, "units": units, **rest})


@pytest.mark.parametrize(("facts", "problem", "passing"), [
    (UP, None, None),
    ({**UP, "health": "healthy"}, None, None),
    ({**UP, "seconds": 3.0}, "ghost is settling", True),
    ({**UP, "seconds": 3.4, "restarts": 1}, "ghost restarted 3 s ago", True),
    ({**UP, "seconds": 60.0, "restarts": 5}, None, None),
    ({**UP, "health": "unhealthy"}, "ghost is unhealthy", False),
    ({**UP, "health": "starting"}, "ghost has not passed its health check yet", True),
    (STARTS, "ghost is starting", True),
    ({**STARTS, "health": "starting"}, "ghost is starting", True),
    ({**STARTS, "health": "unhealthy"}, "ghost is unhealthy", False),
    ({**STARTS, "sub": "start-post", "health": "unhealthy"}, "ghost is unhealthy", False),
    ({**STARTS, "active": "reloading", "sub": "reload", "health": "unhealthy"}, "ghost is unhealthy", False),
    ({**STARTS, "active": "deactivating", "sub": "stop", "health": "unhealthy"}, "ghost is deactivating", True),
    ({**STARTS, "pulling": True}, "ghost pulls its image", True),
    ({**STARTS, "pulling": True, "restarts": 1}, "ghost pulls its image", True),
    ({**STARTS, "pulling": True, "restarts": 2, "cause": "image-denied"},
     f"ghost restarts, 2 times: {CAUSES['image-denied']}", False),
    ({**STARTS, "restarts": 2}, "ghost restarts, 2 times", False),
    ({**STARTS, "active": "deactivating", "sub": "stop-post", "restarts": 2}, "ghost restarts, 2 times", False),
    ({**STARTS, "active": "deactivating", "sub": "stop-post"}, "ghost is deactivating", True),
    (DIES, "ghost restarts, 12 times: it exits with status 1", False),
    ({**DIES, "cause": "image-unknown"}, f"ghost restarts, 12 times: {CAUSES['image-unknown']}", False),
    (FAILED, "ghost failed: it exits with status 4", False),
    ({**FAILED, "result": "timeout", "exit_code": None}, "ghost failed (timeout)", False),
    (ENDED, "ghost does not run", False),
    ({**ENDED, "expect": "may-end"}, None, None),
    ({**ENDED, "expect": "may-end", "exit_code": None}, "ghost does not run", False),
    ({**UP, "expect": "may-end", "seconds": 1.0}, "ghost is settling", True),
    ({**UP, "sub": "exited", "expect": "done", "seconds": 1.0}, None, None),
    ({**STARTS, "expect": "done"}, "ghost is starting", True),
    ({**FAILED, "expect": "done"}, "ghost failed: it exits with status 4", False),
    ({**ENDED, "expect": "done", "exit_code": None}, "ghost has not run", False),
    ({**FAILED, "expect": "on-demand"}, None, None),
    ({**ENDED, "expect": "on-demand"}, None, None),
    ({**FAILED, "expect": "on-demand", "kind": "network"}, "ghost failed: it exits with status 4", False),
    ({**ENDED, "kind": "mount"}, "ghost is not mounted", False),
    ({**UP, "kind": "mount", "sub": "mounted", "seconds": 1.0}, None, None),
    ({**UP, "kind": "timer", "sub": "waiting", "seconds": 1.0}, None, None),
    ({"load": "not-found", "active": "inactive"}, "ghost has no unit that systemd can start (not-found)", False),
    ({}, "ghost is not known to systemd yet", True),
])  # fmt: skip
def test_what_keeps_a_node_from_being_well(facts: dict[str, Any], problem: str | None, passing: bool | None) -> None:
    problems = list(report(unit(**facts)).problems(10))
    assert [(str(each), each.passing) for each in problems] == ([(problem, passing)] if problem else [])


def test_a_unit_that_systemd_has_yet_to_start_waits() -> None:
    job = JobReport(unit="ghost.service", type="start", state="waiting")
    for kind, what in (("container", "what it needs"), ("mount", "its disk")):
        waiting = report(unit(**ENDED, kind=kind), jobs=[job])
        assert [(str(each), each.passing) for each in waiting.problems(10)] == [(f"ghost waits for {what}", True)]


WORDS = st.sampled_from(
    ["", "active", "activating", "inactive", "failed", "loaded", "success", "auto-restart", "start"]
)


@given(st.builds(
    UnitReport,
    unit=st.just("a.service"),
    kind=st.just("container"),
    load=st.sampled_from(["", "loaded"]),
    active=WORDS,
    sub=WORDS,
    result=WORDS,
    restarts=st.integers(0, 9),
    exit_code=st.none() | st.integers(0, 255),
    seconds=st.none() | st.floats(0, 99),
    health=st.sampled_from(["", "starting", "healthy", "unhealthy"]),
    pulling=st.booleans(),
))  # fmt: skip
def test_whatever_a_container_tells_only_one_that_runs_is_well(told: UnitReport) -> None:
    problems = list(Report(version=1, units=(told,)).problems(10))
    if not problems:
        assert told.active == "active"
        assert not told.sub.startswith("auto-restart")
        assert told.health in ("", "healthy")
        assert told.seconds is None or told.seconds >= 10


@pytest.mark.parametrize(("kind", "unit", "podmans", "name"), [
    ("container", "caddy.service", "systemd-caddy", "caddy"),
    ("container", "caddy.service", "front", "caddy"),
    ("pod", "web-pod.service", "systemd-web", "web"),
    ("network", "own-network.service", "systemd-own", "own"),
    ("volume", "data-volume.service", "systemd-data", "data"),
    ("pod", "web.service", "web", "web"),
    ("mount", "var-data.mount", "data", "data"),
    ("secrets", "fleet-secrets.service", "", ""),
])  # fmt: skip
def test_what_a_quadlet_file_makes_is_called_by_its_unit(kind: str, unit: str, podmans: str, name: str) -> None:
    document = {"version": REPORT_VERSION, "units": [{"kind": kind, "unit": unit, "name": podmans}]}
    assert [each.name for each in read_report(json.dumps(document)).units] == [name]


def test_a_report_of_a_later_fleet_is_read_as_far_as_it_is_known() -> None:
    assert read_report('{"version": 1, "node": "web-0", "colour": "red"}').node == "web-0"
    with pytest.raises(ValueError, match="of version 2, which this fleet does not know"):
        read_report('{"version": 2}')
    with pytest.raises(ValueError, match=r"what answers is no report"):
        read_report("<html>")
    assert REPORT_VERSION == 1


class Teller:
    """A node's report on loopback: what :attr:`documents` has, the last one over and over."""

    def __init__(self) -> None:
        self.documents: list[str] = [report().model_dump_json()]
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = outer.documents.pop(0) if len(outer.documents) > 1 else outer.documents[0]
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *values: object) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    def tell(self, *units: dict[str, Any]) -> None:
        """Tell this, once more than what is to be told already."""
        self.documents.append(report(*units).model_dump_json())

    def endpoint(self, _port: int) -> tuple[str, int]:
        return "127.0.0.1", self.server.server_address[1]


@pytest.fixture
def teller() -> Iterator[Teller]:
    instance = Teller()
    yield instance
    instance.server.shutdown()
    instance.server.server_close()


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts an ``ssh`` on PATH that runs a script; gives the file to which the script may write its arguments."""

    def put(script: str) -> Path:
        (tmp_path / "ssh").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/arguments\n{script}\n')
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return tmp_path / "arguments"

    return put


DIRECT = ReportAccess(7790, 10.0, direct=True, ssh=False)
BY_SSH = ReportAccess(7790, 10.0, direct=False, ssh=True)
EITHER = ReportAccess(7790, 10.0, direct=True, ssh=True)
CLOSED = ReportAccess(7790, 10.0, direct=False, ssh=False)
NOBODY = ("127.0.0.1", 9)


def test_a_report_is_asked_for_at_its_port(teller: Teller) -> None:
    teller.documents = [report(unit(**UP), node="web-0").model_dump_json()]
    answer = ask_report(DIRECT, "127.0.0.1", teller.endpoint)
    assert (answer.node, [each.name for each in answer.containers]) == ("web-0", ["ghost"])


def test_a_report_is_asked_for_over_ssh_where_its_port_is_closed(ssh: Callable[[str], Path]) -> None:
    arguments = ssh(f"echo '{report(node='web-0').model_dump_json()}'")
    for access in (BY_SSH, EITHER):
        assert ask_report(access, "127.0.0.1", lambda port: NOBODY).node == "web-0"
    asked = arguments.read_text()
    assert "BatchMode=yes" in asked
    assert asked.rstrip().endswith(
        "core@127.0.0.1 -- curl --silent --show-error --fail --max-time 20 http://127.0.0.1:7790/"
    )


REFUSED = "echo 'core@127.0.0.1: Permission denied (publickey).' >&2; exit 255"


def test_that_nothing_can_be_known_is_told_apart_from_a_node_that_does_not_answer(
    teller: Teller, ssh: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(access: ReportAccess) -> str:
        ask_report(access, "127.0.0.1", lambda port: NOBODY)
        return ""

    with pytest.raises(UnknownReportError, match="neither `report_from` nor `ssh_from`"):
        asked(CLOSED)
    with pytest.raises(NotReadyError, match=r"its report does not answer: .*refused"):
        asked(DIRECT)
    ssh(REFUSED)
    with pytest.raises(UnknownReportError, match=r"lets in no key of this machine \(core@127.0.0.1: Permission denied"):
        asked(BY_SSH)
    with pytest.raises(NotReadyError, match=r"its report does not answer: .*refused.*no key"):
        asked(EITHER)
    ssh("echo 'ssh: connect to host 127.0.0.1 port 9: Connection refused' >&2; exit 255")
    with pytest.raises(NotReadyError, match=r"its report does not answer: .*Connection refused"):
        asked(BY_SSH)
    ssh("echo 'curl: (7) Failed to connect to 127.0.0.1 port 7790' >&2; exit 7")
    with pytest.raises(NotReadyError, match="its report does not answer: curl"):
        asked(BY_SSH)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnknownReportError, match="no `ssh` command here"):
        asked(BY_SSH)


@pytest.mark.parametrize(("body", "status", "answer"), [
    ("hunter4711", 200, "what answers is no report"),
    ('{"version": 9}', 200, "of version 9"),
    ("{}", 503, "its report does not answer: status 503"),
    ("x" * (5 << 20), 200, "its answer is too long"),
    ("[" * 100_000, 200, "what answers is no report"),
    ('{"version": 1, "units": ' + "[" * 100_000 + "]" * 100_000 + "}", 200, "what answers is no report"),
    ('{"version": ' + "9" * 10_000 + "}", 200, "what answers is no report"),
    ('{"version": 1, "uptime_seconds": 1e999}', 200, "what answers is no report"),
    ('{"version": 1, "node": "\\ud800"}', 200, "what answers is no report"),
    ('["version", 1]', 200, "what answers is no report"),
    ("null", 200, "what answers is no report"),
    ("", 200, "what answers is no report"),
])  # fmt: skip
def test_what_is_no_report_is_refused_and_not_shown(teller: Teller, body: str, status: int, answer: str) -> None:
    teller.documents, teller.status = [body], status
    with pytest.raises(NotReadyError, match=answer) as refused:
        ask_report(DIRECT, "127.0.0.1", teller.endpoint, mask=Mask({"pin": "hunter4711"}))
    assert "hunter4711" not in str(refused.value)


def test_what_a_node_says_over_ssh_controls_no_terminal(ssh: Callable[[str], Path]) -> None:
    ssh(r"printf 'curl\033]0;b\007: \033[31mfailed\033[0m\r\n' | tee /dev/stderr; exit 7")
    probe = Probe.model_validate({"ssh": {"command": "true"}})
    for answer in (
        lambda: ask_report(BY_SSH, "127.0.0.1", lambda port: NOBODY),
        lambda: ask(probe, "127.0.0.1", lambda port: NOBODY),
    ):
        with pytest.raises(NotReadyError, match=r"curl: failed$"):
            answer()
    ssh(r"printf '\033[31mError\033[0m: x\r\n'")
    assert read_journal(lambda port: NOBODY, UnitReport(unit="ghost.service")) == ["Error: x"]


@contextlib.contextmanager
def _dribbling(first: bytes) -> Iterator[Callable[[int], tuple[str, int]]]:
    """A server that sends a beginning, and then a byte now and then without an end."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(first)
                    while not over.wait(0.05):
                        connection.sendall(b"a")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield lambda port: listener.getsockname()
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.parametrize("first", [
    b"",
    b"HTTP/1.1 200 OK\r\nX-",
    b"HTTP/1.1 200 OK\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{",
])  # fmt: skip
def test_an_answer_that_never_ends_is_given_up(first: bytes) -> None:
    with _dribbling(first) as endpoint:
        with pytest.raises(NotReadyError, match=r"^its report does not answer: no whole answer in 0.5 s$"):
            ask_report(DIRECT, "127.0.0.1", endpoint, timeout=0.5)
        probe = Probe.model_validate({"http": {"port": 1, "body": "ready"}})
        with pytest.raises(NotReadyError, match=r"^no whole answer in 0.5 s$"):
            ask(probe, "127.0.0.1", endpoint, timeout=0.5)


def _strings(model: type[BaseModel]) -> Iterator[str]:
    return (name for name, field in model.model_fields.items() if field.annotation is str)


@pytest.mark.parametrize("model", [Report, UnitReport, JobReport, DiskReport, UpdateReport])
def test_no_text_of_a_report_controls_a_terminal_or_begins_a_line(model: type[BaseModel]) -> None:
    hostile = "a\x1b]0;b\x07\x9b31m\r\nweb-1  ready\u202e\u2028" + "x" * 5000
    required = {"version": 1, "unit": "u", "mount": "m"}
    told = model.model_validate_json(json.dumps({**required, **dict.fromkeys(_strings(model), hostile)}))
    for name in _strings(model):
        text = getattr(told, name)
        assert text.isprintable()
        assert text.startswith("a")
        assert len(text) <= 400
    (failed,) = Report.model_validate_json(json.dumps({"version": 1, "failed": [hostile]})).failed
    assert failed.isprintable()


def waited(teller: Teller, *probes: dict[str, Any], access: ReportAccess = DIRECT, timeout: float = 30) -> list[Turn]:
    turns: list[Turn] = []
    models = [Probe.model_validate(each) for each in probes]
    wait(models, "127.0.0.1", teller.endpoint, timeout=timeout, report=access, progress=turns.append)
    return turns


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_AGAIN", "_AGAIN_BY_SSH"):
        monkeypatch.setattr(f"fleet.probes.{name}", 0.01)


def test_a_node_is_ready_when_all_that_is_to_run_has_settled(teller: Teller) -> None:
    teller.documents.clear()
    for facts in ({**STARTS, "pulling": True}, STARTS, {**UP, "seconds": 2.0}, {**UP, "seconds": 11.0}):
        teller.tell(unit(**facts))
    turns = waited(teller)
    assert [turn.answer for turn in turns] == ["ghost pulls its image", "ghost is starting", "ghost is settling"]
    assert [turn.report.units[0].sub for turn in turns if turn.report] == ["start", "start", "running"]


def test_a_container_that_restarts_keeps_a_node_from_being_ready_though_its_probe_answers(teller: Teller) -> None:
    teller.documents.clear()
    teller.tell(unit(**DIES, cause="image-unknown"))
    with pytest.raises(NotReadyError) as error:
        waited(teller, {"http": {"port": 1}}, timeout=0.3)
    assert str(error.value).startswith(f"ghost restarts, 12 times: {CAUSES['image-unknown']}; timed out after 0.3 s")
    assert error.value.report
    assert error.value.report.units[0].restarts == 12


def test_what_does_not_run_leads_where_a_probe_is_not_answered(teller: Teller) -> None:
    teller.documents.clear()
    teller.tell(unit(**DIES), unit(**{**STARTS, "unit": "late.service", "name": "late"}))
    with pytest.raises(NotReadyError) as error:
        waited(teller, {"http": {"port": 1, "status": 204}, "interval": 0.05}, timeout=4)
    assert str(error.value) == (
        "ghost restarts, 12 times: it exits with status 1; late is starting; http port 1 / timed out after 4 s; last "
        "response: status 200, not 204"
    )


def test_a_node_that_pulls_images_has_twice_the_time(teller: Teller) -> None:
    teller.documents.clear()
    teller.tell(unit(**{**STARTS, "pulling": True}))
    with pytest.raises(NotReadyError, match=r"ghost pulls its image; timed out after 4 s"):
        waited(teller, timeout=2)
    teller.documents.clear()
    teller.tell(unit(**{**STARTS, "pulling": True, "restarts": 1, "cause": "image-denied"}))
    with pytest.raises(NotReadyError, match=r"timed out after 2 s"):
        waited(teller, timeout=2)


def test_where_nothing_can_be_known_probes_alone_decide_and_that_is_told(teller: Teller) -> None:
    told: list[str] = []
    wait([], "127.0.0.1", teller.endpoint, timeout=5, report=CLOSED, unknown=told.append)
    assert told == ["neither `report_from` nor `ssh_from` of the spec lets anybody in"]


def test_without_settling_a_report_decides_nothing(teller: Teller) -> None:
    teller.documents.clear()
    teller.tell(unit(**DIES))
    assert waited(teller, {"http": {"port": 1}}, access=ReportAccess(7790, None, direct=True, ssh=False)) == []


def test_gates_ask_the_report_of_nodes_with_and_without_probes(teller: Teller) -> None:
    def asked(access: ReportAccess | None, *probes: dict[str, Any]) -> dict[str, str]:
        models = [Probe.model_validate(each) for each in probes]
        peer = Peer("web-0", "127.0.0.1", {7790: teller.endpoint(0), 1: teller.endpoint(0)}, models, report=access)
        return not_ready([{"name": "web-0", **peer.describe()}])

    teller.documents.clear()
    teller.tell(unit(**DIES))
    reason = {"web-0": "ghost restarts, 12 times: it exits with status 1"}
    assert asked(DIRECT) == asked(DIRECT, {"http": {"port": 1}}) == reason
    assert asked(None, {"http": {"port": 1}}) == asked(CLOSED, {"http": {"port": 1}}) == asked(CLOSED) == {}
    assert asked(ReportAccess(7790, None, direct=True, ssh=False)) == {}
    teller.documents = [json.dumps({"version": 1, "units": [unit(**UP)]})]
    assert asked(DIRECT) == {}


NAMED = replace(DIRECT, host="web-0")
WRONG = r"the machine at 127\.0\.0\.1:\d+ says that it is web-1, not web-0"


def reads(kind: str, teller: Teller, access: ReportAccess) -> str:
    """What keeps a node from being ready, or from having a report, in the words of one of those that read reports."""
    settled = replace(access, settle=0)
    peer = {"name": "web-0", **Peer("web-0", "127.0.0.1", {7790: teller.endpoint(0)}, [], report=settled).describe()}
    try:
        if kind == "report":
            ask_report(access, "127.0.0.1", teller.endpoint)
        elif kind == "wait":
            waited(teller, timeout=0.1, access=settled)
        elif kind == "ready":
            ReadyProvider().create({**peer, "node": "web-0", "instance": "i-1", "timeout": 0.1})
        elif kind == "gate":
            return not_ready([peer]).get("web-0", "")
        elif kind == "status":
            answer = report_of(Peer("web-0", "127.0.0.1", {7790: teller.endpoint(0)}, [], report=access))
            return str(answer) if isinstance(answer, Silence) else ""
    except (NotReadyError, FleetError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["report", "wait", "ready", "gate", "status"])
def test_nobody_takes_another_machines_report_for_a_nodes(kind: str, teller: Teller) -> None:
    teller.documents = [report(unit(**UP), node="web-1").model_dump_json()]
    assert re.search(WRONG, reads(kind, teller, NAMED))
    # What the state of an earlier fleet has says nothing of names.
    assert reads(kind, teller, DIRECT) == ""
    for own in ({}, {"node": "web-0"}, {"node": "WEB-0"}):
        teller.documents = [report(unit(**UP), **own).model_dump_json()]
        assert reads(kind, teller, NAMED) == ""


def test_a_report_over_ssh_is_of_the_node_too(ssh: Callable[[str], Path]) -> None:
    ssh(f"echo '{report(node='web-1').model_dump_json()}'")
    with pytest.raises(NotReadyError, match=r"the machine at 127\.0\.0\.1:9 says that it is web-1"):
        ask_report(replace(BY_SSH, host="web-0"), "127.0.0.1", lambda port: NOBODY)


HOSTS: list[tuple[list[Any], str, str]] = [
    ([], "", "web-0"),
    ([{"use": "hostname", "domain": "example.org"}], "", "web-0.example.org"),
    ([{"use": "hostname", "names": ["alpha"]}], "", "alpha"),
    ([{"path": "name.bu", "override": True}], "{inline: beta}", "beta"),
    ([{"path": "name.bu", "override": True}], "{source: 'https://example.org/name'}", ""),
    ([{"path": "name.bu", "override": True}], f"{{inline: {'a' * 65}}}", ""),
    ([{"path": "name.bu", "override": True}], "{inline: a b}", ""),
    ([{"path": "name.bu", "override": True, "variables": ["pin"]}], '{inline: "${pin}"}', ""),
]


@pytest.mark.parametrize("name", platforms.names())
@pytest.mark.parametrize(("snippets", "contents", "host"), HOSTS)
def test_every_platform_expects_the_host_name_that_the_config_gives(
    name: str, snippets: list[Any], contents: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIN", "hunter4711")
    spec = {
        "version": 1, "name": "shop", "secrets": {"pin": {"env": "PIN"}}, "variables": {"pin": {"secret": "pin"}},
        "groups": {"web": {"count": 1, "snippets": snippets}},
    }  # fmt: skip
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(spec))
    entry = f"{{path: /etc/hostname, overwrite: true, contents: {contents}}}"
    (tmp_path / "name.bu").write_text(f"variant: fcos\nversion: 1.6.0\nstorage: {{files: [{entry}]}}\n")
    platform = platforms.platform(name, {}, project=tmp_path, stack="test")
    plan = plan_spec(tmp_path / "fleet.yaml", Resolver(), platform, need_lock=False, check=False)
    (node,) = plan.nodes
    access = report_access(platform, node)
    assert access is not None
    assert access.host == host


def test_a_state_of_an_earlier_fleet_is_not_written_anew_for_the_host_name() -> None:
    old = {"instance": "i-1", "watch": {}, "report": DIRECT.describe()}
    news = {**old, "report": NAMED.describe()}
    assert ReadyProvider().check(old, news).inputs == old
    assert ReadyProvider().check({**old, "instance": "i-0"}, news).inputs == news
    assert ReadyProvider().check(news, news).inputs == news


def test_how_a_report_can_be_had_is_read_as_it_was_noted() -> None:
    for access in (
        NAMED,
        DIRECT,
        BY_SSH,
        ReportAccess(1, None, direct=False, ssh=True),
        ReportAccess(2, 0.0, True, True),
    ):
        assert ReportAccess.read(json.loads(json.dumps(access.describe()))) == access
    assert ReportAccess.read(None) is None
    assert "report" not in Peer("web-0", "", {}, []).describe()
