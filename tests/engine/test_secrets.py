"""Secrets that are generated once, on the real engine."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.conftest import STACK
from tests.engine.conftest import Stack

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
        if command == "fleet":
            done = stack.up()
            assert done.status == 0, done
            shown = done.out + done.err
        else:
            pulumi = ("pulumi", "up", "--yes", "--stack", "test", "--non-interactive")
            ran = subprocess.run(pulumi, cwd=stack.path, env=stack.environment, capture_output=True, text=True)
            assert ran.returncode == 0, ran.stdout
            shown = ran.stdout + ran.stderr
        assert not [value for value in values().values() if value in shown]

    def values() -> dict[str, str]:
        config = ("pulumi", "config", "--show-secrets", "--json", "--stack", "test")
        ran = subprocess.run(config, cwd=stack.path, env=stack.environment, capture_output=True, text=True, check=True)
        return {key: entry["value"] for key, entry in json.loads(ran.stdout).items() if entry["secret"]}

    subprocess.run(["pulumi", "stack", "init", "test"], cwd=stack.path, env=stack.environment, check=True)
    up()
    first = values()
    assert set(first) == {"web:db_password", "web:key"}
    assert len(first["web:db_password"]) == 43
    assert first["web:key"].startswith("ed25519 0 ")
    state = (stack.path / ".pulumi/stacks/web/test.json").read_text()
    settings = (stack.path / "Pulumi.test.yaml").read_text()
    assert not [value for value in first.values() if value in state + settings]
    assert stack.started() == ["web-0"]
    up()
    assert values() == first
    assert stack.started() == []


def test_a_preview_of_one_that_is_not_there_yet_keeps_it_too(stack: Stack) -> None:
    stack.write("fleet.yaml", SPEC)
    assert stack.fleet("preview", *STACK).status == 0
    kept = (stack.path / "Pulumi.test.yaml").read_text()
    assert "web:db_password" in kept
    assert stack.up().status == 0
    assert (stack.path / "Pulumi.test.yaml").read_text() == kept
