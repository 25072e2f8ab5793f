"""Probes: what they ask, and what makes them content."""

from __future__ import annotations

import http.server
import json
import os
import shlex
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fleet.masking import Mask
from fleet.plan import Probe, probe_kinds
from fleet.probes import ASK, NotReadyError, ask, ask_all, wait


class Server:
    """An HTTP server on loopback whose answers a test chooses."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.bodies: list[str] = ["{}"]
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.bodies.pop(0) if len(outer.bodies) > 1 else outer.bodies[0]
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *values: object) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    def endpoint(self, _port: int) -> tuple[str, int]:
        return "127.0.0.1", self.server.server_address[1]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()


def probe(**kinds: Any) -> Probe:
    return Probe.model_validate(kinds)


def test_a_json_body_is_looked_into_by_path(server: Server) -> None:
    server.bodies = [json.dumps({"checks": [{"state": "up"}], "peers": 3})]
    ask(probe(http={"port": 1, "json": {"checks.0.state": "up", "peers": 3}}), "", server.endpoint)
    for path, expected, message in (
        ("checks.0.state", "down", '"up"'),
        ("checks.7.state", "up", "null"),
        ("peers.x", 1, "null"),
    ):
        with pytest.raises(NotReadyError, match=message):
            ask(probe(http={"port": 1, "json": {path: expected}}), "", server.endpoint)
    server.bodies = ["<html>"]
    with pytest.raises(NotReadyError, match="no JSON"):
        ask(probe(http={"port": 1, "json": {"a": 1}}), "", server.endpoint)


def test_successes_have_to_come_in_a_row(server: Server) -> None:
    server.bodies = ["good", "good", "bad", "good", "good", "good", "after"]
    wait([probe(http={"port": 1, "body": "good"}, successes=3, interval=0.01)], "", server.endpoint, timeout=5)
    assert server.bodies == ["after"]


def test_a_client_certificate_is_shown_and_the_authority_checked(tmp_path: Path) -> None:
    def certificate(name: str, *more: str) -> tuple[Path, Path]:
        key, cert = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", f"/CN={name}", "-keyout", key, "-out", cert, *more],
            check=True, capture_output=True,
        )  # fmt: skip
        return cert, key

    server_cert, server_key = certificate("server", "-addext", "subjectAltName=DNS:node.internal")
    client_cert, client_key = certificate("client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_cert)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(server_cert, server_key)
    server = Server(context)
    kinds = {"port": 1, "tls": True, "ca": server_cert.read_text(), "host": "node.internal"}
    shown = {"client_certificate": str(client_cert), "client_key": str(client_key)}
    ask(probe(http={**kinds, **shown}), "", server.endpoint)
    with pytest.raises(NotReadyError):
        ask(probe(http=kinds), "", server.endpoint)
    with pytest.raises(NotReadyError, match="certificate verify failed"):
        ask(probe(http={**kinds, **shown, "ca": client_cert.read_text()}), "", server.endpoint)
    server.server.shutdown()


def test_an_ssh_command_is_run_on_the_node_and_its_status_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "ssh"
    # As sshd does: the user's shell is given the command.
    stand_in.write_text(f'#!/bin/bash\necho "$*" >> {tmp_path}/log\nexec "$SHELL" -c "${{@: -1}}"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SHELL", "/bin/bash")
    command = f"[[ -e {tmp_path}/up ]] || {{ echo starting >&2; exit 3; }}"
    expected = probe(ssh={"command": command, "identity": "/key"})
    with pytest.raises(NotReadyError, match="status 3: starting"):
        ask(expected, "", lambda port: ("10.0.0.1", 2222))
    (tmp_path / "up").touch()
    ask(expected, "", lambda port: ("10.0.0.1", 2222))
    line = (tmp_path / "log").read_text().splitlines()[-1]
    assert line.startswith("-p 2222 -o BatchMode=yes")
    assert "-i /key core@10.0.0.1 --" in line
    assert str(tmp_path) not in line, "every process of the machine can read arguments"


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("true # that is all", 0),
        ("exit 7", 7),
        ("false\ntrue", 0),
        ("true; false", 1),
        ("cat; read line", 1),
        ("cat <<'END' | grep -Fq 'a $SHELL'\na $SHELL\nEND", 0),
        ("printf '%s' \"it's é\" | grep -q é", 0),
        ("if", 2),
        ("set -e; false; true", 1),
    ],
)
def test_an_ssh_command_is_a_script_whose_input_is_empty(
    shell: str, command: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "ssh"
    stand_in.write_text('#!/bin/bash\nexec "$SHELL" -c "${@: -1}"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SHELL", shell)
    if status == 0:
        ask(probe(ssh={"command": command}), "", lambda port: ("10.0.0.1", 22))
        return
    with pytest.raises(NotReadyError, match=f"^status {status}"):
        ask(probe(ssh={"command": command}), "", lambda port: ("10.0.0.1", 22))


PIN = "kestrel'81\"wren\\27"


def tell_the_pin(_address: str, _endpoint: object) -> None:
    raise RuntimeError(f"refused: {PIN!r}, {json.dumps(PIN)}")


@pytest.mark.parametrize(
    "kinds",
    [
        {"http": {"port": 1, "path": f"/?pin={PIN}", "status": 404}},
        {"http": {"port": 1, "body": PIN}},
        {"http": {"port": 1, "host": f"{PIN}\n"}},
        {"http": {"port": 1, "path": f"/\x00{PIN}"}},
        {"http": {"port": 1, "json": {PIN: 1}}},
        {"http": {"port": 1, "json": {"pin": f"not {PIN}"}}},
        {"http": {"port": 1, "json": {"pin.0": [PIN]}}},
        {"ssh": {"command": f"printf 'the pin is %s' {shlex.quote(PIN)} >&2; false"}},
        {"ssh": {"command": f"printf %s {shlex.quote(PIN)}; false"}, "successes": 10},
        {"function": f"{__name__}:tell_the_pin"},
    ],
)
@pytest.mark.parametrize("padding", [0, 190])
def test_nothing_that_a_probe_says_holds_a_secret(
    kinds: dict[str, Any], padding: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "ssh"
    stand_in.write_text('#!/bin/bash\nexec /bin/sh -c "${@: -1}"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    server.bodies = [json.dumps({"pin": "x" * padding + PIN})]
    expected = probe(interval=0.1, **kinds)
    mask = Mask({"pin": PIN})
    attempts: tuple[Callable[[], object], ...] = (
        lambda: ask_all([expected], "", server.endpoint, mask=mask),
        lambda: wait([expected], "", server.endpoint, timeout=0.15, mask=mask),
        lambda: wait([expected], "", server.endpoint, timeout=0.15, alive=lambda: False, mask=mask),
    )
    for attempt in attempts:
        with pytest.raises(NotReadyError) as raised:
            attempt()
        assert "kestrel" not in str(raised.value)
        assert "wren" not in str(raised.value)
        assert "(secret pin)" in str(raised.value)


def test_a_probe_is_of_one_kind() -> None:
    with pytest.raises(ValidationError, match="a probe is one of"):
        probe(http={"port": 1}, tcp={"port": 1})
    with pytest.raises(ValidationError, match="a probe is one of"):
        probe(successes=2)


def test_every_kind_of_probe_can_be_asked() -> None:
    assert set(ASK) == set(probe_kinds())


def test_a_timeout_says_what_the_node_answered_last(server: Server) -> None:
    request = probe(http={"port": 80, "status": 204}, interval=0.01)
    with pytest.raises(NotReadyError) as failed:
        wait([request], "127.0.0.1", server.endpoint, timeout=0.1)
    assert str(failed.value) == "http port 80 / timed out after 0.1 s; last response: status 200, not 204"
