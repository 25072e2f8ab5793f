"""Commands that only look write nothing: no stack, no salt, no secret, no roster, no file of the project or a home."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.conftest import STACK, Result
from tests.engine.stack import Stack

SPEC = """\
version: 1
name: web
secrets:
  db: {config: db_password, generate: {}}
  authority: {config: authority, generate: {authority: {name: shop}}}
  tls: {config: tls, generate: {certificate: {authority: authority, names: [web.internal]}}}
  admin: {env: ADMIN_TOKEN}
groups:
  web:
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        secrets: [db, tls, admin]
    ready: [{http: {port: 8080}, interval: 0.1}]
    data_disks:
      a: {size_gib: 1, mount: /var/a}
"""
READING = {
    "validate": ["validate", *STACK],
    "render": ["render", *STACK],
    "render, with secrets": ["render", *STACK, "--reveal"],
    "preview": ["preview", *STACK],
    "diff": ["diff", *STACK],
    "status": ["status", *STACK],
    "ssh": ["ssh", "fleet.yaml", "web-0", "--stack", "test", "--", "true"],
    "logs": ["logs", "fleet.yaml", "web-0", "--stack", "test"],
    "console": ["logs", "fleet.yaml", "web-0", "--stack", "test", "--console"],
    "doctor": ["doctor"],
}
PULUMI = {"pulumi": ["pulumi", "preview", "--stack", "test", "--non-interactive"]}


def seen(*folders: Path) -> dict[str, tuple[int, int, str]]:
    """Time, mode and content of all that is in folders, and of the folders."""
    paths = [path for folder in folders for path in [folder, *folder.rglob("*")]]
    return {
        str(path): (
            path.lstat().st_mtime_ns,
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in paths
    }


@pytest.fixture
def home(stack: Stack, tmp_path: Path) -> Path:
    """A home with a cache; Pulumi's own folder, with its logs and plugins, is elsewhere."""
    folder = tmp_path / "home"
    folder.mkdir()
    stack.environment |= {"HOME": str(folder), "ADMIN_TOKEN": "xyzzy"}
    ssh = stack.tools / "ssh"
    ssh.write_text("#!/bin/sh\n")
    ssh.chmod(0o755)
    stack.write("fleet.yaml", SPEC)
    # The cache keeps the sum of an image that was read.
    assert stack.fleet("image", "download", "fleet.yaml").status == 0
    return folder


def unwritten(stack: Stack, home: Path, run: dict[str, list[str]]) -> dict[str, Result]:
    """Run commands, none of which may write anything; what each said."""
    places = (stack.path, home, Path(stack.environment["XDG_CACHE_HOME"]))
    message = {}
    for name, words in run.items():
        before = seen(*places)
        message[name] = stack.pulumi(*words[1:]) if words[0] == "pulumi" else stack.fleet(*words)
        after = seen(*places)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        assert not changed, (name, message[name])
    return message


def test_of_a_stack_that_has_not_been_made(stack: Stack, home: Path) -> None:
    message = unwritten(stack, home, READING)
    assert "web-0  new\n" in message["preview"].out
    assert message["diff"].out == "web-0  new\n"
    assert "not made" in message["status"].out
    for name in ("ssh", "logs", "console"):
        assert message[name].status == 2
        assert "There is no node web-0 in stack test." in message[name].err
    assert {name for name, result in message.items() if result.status == 0} >= {"validate", "render", "preview", "diff"}
    # Nor of one that was made, but never deployed.
    assert stack.pulumi("stack", "init", "test").status == 0
    message = unwritten(stack, home, {"preview": READING["preview"], "status": READING["status"], **PULUMI})
    assert "web-0  new\n" in message["preview"].out
    assert message["pulumi"].status == 0, message["pulumi"]
    assert stack.secrets() == {}


def test_of_a_stack_that_is_deployed(stack: Stack, home: Path) -> None:
    result = stack.up()
    assert result.status == 0, result
    retained = stack.secrets()
    message = unwritten(stack, home, {**READING, **PULUMI})
    assert not {name: result for name, result in message.items() if result.status and name != "doctor"}
    assert "Nothing would change." in message["preview"].out
    # One that is to be generated yet is a change.
    stack.edit("fleet.yaml", "  db:", "  more: {config: more, generate: {}}\n  db:")
    stack.edit("fleet.yaml", "[db,", "[more, db,")
    message = unwritten(stack, home, {name: READING[name] for name in ("preview", "diff", "status")})
    assert "web-0  re-provision: file /etc/containers/systemd/hello.container changed" in message["preview"].out
    assert "/etc/fleet/secrets/more" in message["diff"].out
    assert "outdated" in message["status"].out
    assert stack.secrets() == retained


def test_a_stack_that_is_not_there_is_named_beside_those_that_are(stack: Stack, home: Path) -> None:
    changing = {name: [name, *STACK, "--yes"] for name in ("up", "destroy", "rollback")}
    changing["replace"] = ["replace", "fleet.yaml", "web-0", "--stack", "test", "--yes"]
    commands = {**READING, **changing}
    del commands["doctor"]
    mistaken = {name: ["typo" if word == "test" else word for word in commands[name]] for name in commands}
    for name, result in unwritten(stack, home, mistaken).items():
        assert result.status == 2, (name, result)
        assert "There is no stack typo in project web." in result.err, name
        assert "Its stacks: test." in result.err, name
