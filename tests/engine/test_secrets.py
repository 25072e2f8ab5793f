"""Secrets that are generated once, on the real engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import FLEET, STACK
from tests.engine.stack import Stack

SPEC = """\
name: web
secrets:
  db: {config: db_password, generate: {}}
  key: {config: key, generate: {encoding: base64, prefix: "ed25519 0 "}}
groups:
  web:
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        secrets: [db, key]
    ready: [{http: {port: 8080}}]
"""


@pytest.mark.parametrize("command", ["fleet", "pulumi"])
def test_a_generated_secret_is_made_once_and_kept_in_the_config(stack: Stack, command: str) -> None:
    stack.write("fleet.yaml", SPEC)

    def up() -> None:
        plain = ("up", "--yes", "--stack", "test", "--non-interactive")
        done = stack.up() if command == "fleet" else stack.pulumi(*plain)
        assert done.status == 0, done
        assert not [value for value in stack.secrets().values() if value in done.out + done.err]

    assert stack.pulumi("stack", "init", "test").status == 0
    up()
    first = stack.secrets()
    assert set(first) == {"web:db_password", "web:key"}
    assert len(first["web:db_password"]) == 43
    assert first["web:key"].startswith("ed25519 0 ")
    state = (stack.path / ".pulumi/stacks/web/test.json").read_text()
    settings = (stack.path / "Pulumi.test.yaml").read_text()
    assert not [value for value in first.values() if value in state + settings]
    assert stack.started() == ["web-0"]
    up()
    assert stack.secrets() == first
    assert stack.started() == []


@pytest.mark.parametrize("made", [True, False])
def test_commands_at_once_make_a_stack_once_and_generate_its_secrets_once(stack: Stack, made: bool) -> None:
    stack.write("fleet.yaml", SPEC)
    assert not made or stack.pulumi("stack", "init", "test").status == 0
    commands = [["up", *STACK, "--yes"], ["preview", *STACK], ["up", *STACK, "--yes"], ["diff", *STACK]]
    running = [
        subprocess.Popen([FLEET, *words], cwd=stack.path, env=stack.environment, stdin=subprocess.DEVNULL)
        for words in commands
    ]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    shown = stack.fleet("render", *STACK, "--reveal", "--node", "web-0")
    assert (stack.path / ".fleet/test/nodes/web-0/config.ign").read_text() == shown.out.strip()
    assert set(stack.secrets()) == {"web:db_password", "web:key"}


CERTIFICATE = """\
  authority: {config: authority, generate: {authority: {name: shop}}}
  tls: {config: tls, generate: {certificate: {authority: authority, names: [web.internal], days: 100}}}
"""


def test_a_certificate_is_made_anew_before_it_ends_and_when_its_names_change(stack: Stack, tmp_path: Path) -> None:
    stack.write("fleet.yaml", SPEC.replace("  db:", CERTIFICATE + "  db:").replace("[db, key]", "[tls]"))
    assert stack.up().status == 0
    first = stack.secrets()
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(first["web:tls"])
    checked = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-verify_hostname", "web.internal", "-CAfile", bundle, bundle],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert stack.started() == ["web-0"]
    assert "nothing changes" in stack.up().out

    stack.edit("fleet.yaml", "days: 100", "days: 100, renew_days: 120")
    assert stack.up().status == 0
    second = stack.secrets()
    assert stack.started() == ["web-0"]
    assert second["web:tls"] != first["web:tls"]
    assert second["web:authority"] == first["web:authority"]

    stack.edit("fleet.yaml", "[web.internal], days: 100, renew_days: 120", "[shop.internal], days: 100")
    assert stack.up().status == 0
    assert stack.started() == ["web-0"]
    assert stack.secrets()["web:tls"] != second["web:tls"]


def test_what_is_no_authority_signs_nothing(stack: Stack) -> None:
    stack.write(
        "fleet.yaml", SPEC.replace("  db:", CERTIFICATE.replace("authority: authority", "authority: db") + "  db:")
    )
    failed = stack.up()
    assert failed.status == 1
    assert "The secret db cannot sign tls" in failed.err
    stack.edit("fleet.yaml", "authority: db", "authority: tls")
    assert "is to be signed by tls, which is no secret that is an authority" in stack.up().err
