"""Variables that are outputs of other stacks: which commands read them, and that nothing else of those is needed."""

from __future__ import annotations

import json

import pytest

from fleet.images import ImageLock, write_lock
from tests.commands import COMMANDS, Command
from tests.conftest import Folder

SPEC = """\
version: 1
name: web
variables:
  db: {stack: organization/network/prod, output: db_address}
  password: {stack: organization/network/prod, output: password}
groups:
  web:
    containers:
      app: {image: docker.io/library/caddy:2, environment: {DB: "${db}", PASSWORD: "${password}"}}
"""
NOT_READ = {
    "ssh": "reads the state alone",
    "logs": "reads the state alone",
    "history": "reads the state alone",
    "destroy": "needs no spec",
    "doctor": "looks at this machine",
    "migrate": "compares two versions, of which there is one",
}
"""Commands with a spec and a stack that do not plan, and what they do."""
READ = [each for each in COMMANDS if {"spec"} <= set(each.required) and "--stack" in each.options]


@pytest.fixture
def project(folder: Folder) -> Folder:
    """A project beside the state of another one, which has an address and an encrypted password."""
    url = f"file://{folder.path}"
    folder.environment.pop("PULUMI_BACKEND_URL", None)
    folder.write("Pulumi.yaml", f'name: web\nruntime: python\nbackend: {{url: "{url}"}}\n')
    folder.write("Pulumi.test.yaml", "config:\n  fleet:platform: qemu\n")
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:none"}
    state = {
        "manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""},
        "secrets_providers": {"type": "passphrase", "state": {"salt": "v1:AAAAAAAAAAA=:v1:AAAAAAAAAAAAAAAA:none"}},
        "resources": [
            {
                "urn": "urn:pulumi:prod::network::pulumi:pulumi:Stack::network-prod",
                "custom": False,
                "type": "pulumi:pulumi:Stack",
                "outputs": {"db_address": "10.9.8.7", "password": secret},
            }
        ],
    }
    checkpoint = {"version": 3, "checkpoint": {"stack": "organization/network/prod", "latest": state}}
    folder.write(".pulumi/meta.yaml", "version: 1\n")
    folder.write(".pulumi/stacks/network/prod.json", json.dumps(checkpoint))
    made = {"version": 3, "checkpoint": {"stack": "organization/web/test"}}
    folder.write(".pulumi/stacks/web/test.json", json.dumps(made))
    folder.write("fleet.yaml", SPEC)
    return folder


@pytest.mark.system
@pytest.mark.parametrize("command", [each for each in READ if str(each) not in NOT_READ], ids=str)
def test_every_command_that_plans_for_a_stack_reads_what_other_stacks_have(project: Folder, command: Command) -> None:
    write_lock(project.path / "image.lock.yaml", ImageLock(stream="stable", architectures={}))
    project.edit("fleet.yaml", "output: db_address", "output: db_adress")
    refused = project.fleet(*command.called("--stack=test"))
    assert refused.status == 1, refused
    assert refused.err == (
        "Error: fleet.yaml:4:3: Stack organization/network/prod has no output db_adress. It has: db_address, "
        "password. Correct the name, or deploy that stack first.\n"
    )


@pytest.mark.system
def test_a_spec_is_rendered_with_the_values_and_its_secrets_stay_masked(project: Folder) -> None:
    for key in [key for key in project.environment if key.startswith("PULUMI_CONFIG_PASSPHRASE")]:
        del project.environment[key]
    rendered = project.fleet("render", "fleet.yaml", "--stack", "test", "--node", "web-0")
    assert rendered.status == 0, rendered
    assert "DB%3D10.9.8.7" in rendered.out or "DB=10.9.8.7" in rendered.out
    assert "(secret%20variable%20password)" in rendered.out
    assert project.fleet("validate", "fleet.yaml", "--stack", "test").status == 0
    drawn = project.fleet("graph", "fleet.yaml", "--stack", "test", "--format", "dot")
    assert drawn.status == 0, drawn


@pytest.mark.parametrize("command", [each for each in READ if str(each) in ("validate", "render", "graph")], ids=str)
def test_without_a_stack_nothing_is_read(project: Folder, command: Command) -> None:
    # It would be said.
    project.edit("fleet.yaml", "output: db_address", "output: db_adress")
    shown = project.fleet(*command.called())
    assert (shown.status, shown.err) == (0, "")
