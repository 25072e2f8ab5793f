"""Fleets as components of a user's own program, beside other resources, with these resources' outputs as values."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.conftest import Result
from tests.engine.stack import OFFSET, Stack

DATABASE = '''\
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class DatabaseProvider(ResourceProvider):
    """Knows its address when it is made, or moved, and not before."""

    def diff(self, _id, olds, news):
        return DiffResult(changes=olds["zone"] != news["zone"])

    def create(self, props):
        return CreateResult("db", self.made(props))

    def update(self, _id, olds, news):
        return UpdateResult(self.made(news))

    def made(self, props):
        zone = props["zone"]
        return {"zone": zone, "address": f"db.{zone}.example", "password": f"pass-of-{zone}"}


class Database(Resource):
    address: pulumi.Output[str]
    password: pulumi.Output[str]

    def __init__(self, name, zone, opts=None):
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["password"]))
        super().__init__(DatabaseProvider(), name, {"zone": zone, "address": None, "password": None}, opts)
'''
PROGRAM = """\
import pulumi
from database import Database

from fleet import Container, DataDisk, Fleet, FleetSpec, Group, Port, Probe

db = Database("main", "ZONE")
spec = FleetSpec(
    version=1,
    name="web",
    groups={
        "web": Group(
            count=2,
            containers={
                "hello": Container(
                    image="docker.io/library/caddy:2",
                    ports=[Port(node=8080, container=80)],
                    environment={"DB": "${db}"},
                )
            },
            data_disks={"a": DataDisk(size_gib=1, mount="/var/a")},
            ready=[Probe.model_validate({"http": {"port": 8080}, "interval": 0.1})],
            ready_timeout=8,
        ),
        "idle": Group(count=1),
    },
)
fleet = Fleet("shop", spec, variables={"db": db.address})
pulumi.export("address", fleet.nodes["web-0"].address)
pulumi.export("endpoints", fleet.nodes["web-0"].endpoints)
pulumi.export("ready", fleet.ready)
pulumi.export("names", fleet.names)
"""


@pytest.fixture
def program(stack: Stack) -> Stack:
    """A project whose program has a database, and a fleet that is given its address."""
    (stack.path / "fleet.yaml").unlink()
    stack.write("database.py", DATABASE)
    stack.write("__main__.py", PROGRAM.replace("ZONE", "one"))
    assert stack.pulumi("stack", "init", "test", "--non-interactive").status == 0
    return stack


def up(stack: Stack) -> Result:
    return stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive", "--skip-preview")


def preview(stack: Stack, *options: str) -> Result:
    return stack.pulumi("preview", "--stack", "test", "--non-interactive", *options)


def exported(stack: Stack) -> Any:
    return json.loads(stack.pulumi("stack", "output", "--json", "--stack", "test").out)


def state(stack: Stack) -> str:
    return stack.pulumi("stack", "export", "--stack", "test").out


def test_the_address_of_a_database_reaches_nodes_in_one_go_and_rolls_them_when_it_changes(program: Stack) -> None:
    first_look = preview(program)
    assert first_look.status == 0, first_look
    assert "web-1: not known yet: variable db" in first_look.out
    assert "idle-0: not known yet" not in first_look.out
    first = up(program)
    assert first.status == 0, first
    assert sorted(program.started()) == ["idle-0", "web-0", "web-1"]
    assert exported(program)["address"] == "127.0.0.1"
    assert exported(program)["endpoints"]["8080"] == f"127.0.0.1:{8080 + OFFSET}"
    assert exported(program)["ready"] == ["web-0", "web-1", "idle-0"]
    assert "db.one.example" in state(program)

    again = up(program)
    assert again.status == 0, again
    assert "unchanged" in again.out
    assert program.started() == []
    assert preview(program, "--expect-no-changes").status == 0

    program.edit("__main__.py", '"one"', '"two"')
    second_look = preview(program)
    assert "web-0: not known yet: variable db" in second_look.out, second_look
    second = up(program)
    assert second.status == 0, second
    # The node that does not have the address stays.
    assert program.started() == ["web-0", "web-1"]
    history = json.loads(program.fleet("history", ".", "--json", "--stack", "test").out.splitlines()[-1])
    assert history["nodes"][0]["reasons"][0] == "variable db changed"


SECRETS = """\
import pulumi
from database import Database

from fleet import Fleet, FleetSpec, QemuOptions

db = Database("main", "one")
spec = FleetSpec.load("web.yaml")
shop = Fleet(
    "shop",
    spec,
    variables={"password": db.password, "plain": pulumi.Output.secret("a-secret-of-the-program")},
    secrets={"token": db.password.apply(lambda text: f"token-{text}")},
)
more = spec.model_copy(update={"groups": {"web": spec.groups["web"].model_copy(update={"count": 1})}})
logs = Fleet(
    "logs",
    more,
    platform=QemuOptions(port_offset=OFFSET),
    variables={"password": "not-a-secret", "plain": "text"},
    secrets={"token": "another-token"},
    opts=pulumi.ResourceOptions(depends_on=[db]),
)
pulumi.export("ready", [shop.ready, logs.ready])
"""
SPEC = """\
version: 1
name: web
groups:
  web:
    count: 2
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {PASSWORD: "${password}", PLAIN: "${plain}"}
        secrets: [token]
    data_disks:
      a: {size_gib: 1, mount: /var/a}
    ready: [{http: {port: 8080}, interval: 0.1}]
    ready_timeout: 8
"""


@pytest.mark.long
def test_secret_outputs_are_secrets_end_to_end_and_two_fleets_of_one_stack_are_apart(program: Stack) -> None:
    program.write("web.yaml", SPEC)
    program.write("__main__.py", SECRETS.replace("OFFSET", str(OFFSET + 5000)))
    looked = preview(program)
    assert looked.status == 0, looked
    assert "not known yet: secret token, variable password" in looked.out + looked.err
    first = up(program)
    assert first.status == 0, first
    assert sorted(program.started()) == ["web-0", "web-0", "web-1"]
    shown = state(program) + looked.out + looked.err + first.out + first.err
    for secret in ("pass-of-one", "a-secret-of-the-program", "another-token"):
        assert secret not in shown
        assert base64.b64encode(secret.encode()).decode()[:-4] not in shown
    names = {each["urn"].rpartition("::")[2] for each in json.loads(state(program))["deployment"]["resources"]}
    assert {"shop", "shop-web", "shop-web-0", "shop-web-0-a", "logs-web-0", "logs-web-0-a"} <= names
    configs = sorted((program.path / ".fleet").glob("test-*/nodes/*/config.ign"))
    assert any("pass-of-one" in _texts(config) for config in configs)
    again = up(program)
    assert again.status == 0, again
    assert program.started() == []

    # Only the fleet that the change is of rolls.
    program.edit("__main__.py", "not-a-secret", "another-value")
    assert up(program).status == 0
    assert program.started() == ["web-0"]
    gone = program.pulumi("destroy", "--yes", "--stack", "test", "--non-interactive", "--skip-preview")
    assert gone.status == 0, gone
    # Data disks are kept, each fleet's own.
    assert len(list((program.path / ".fleet").rglob("web-0-a.qcow2"))) == 2


def _texts(config: Path) -> str:
    tree = json.loads(config.read_text())
    return "".join(unquote(each.get("contents", {}).get("source", "")) for each in tree["storage"]["files"])


def test_what_shapes_a_fleet_is_plain_and_mistakes_are_one_paragraph(program: Stack) -> None:
    written = SPEC.replace("count: 2", "count: ${number}")
    program.write("web.yaml", written)
    program.write(
        "__main__.py",
        """\
import pulumi
from database import Database

from fleet import Fleet

Fleet("shop", "web.yaml", variables={"number": pulumi.Output.from_input("2"), "password": "a", "plain": "b"})
""",
    )
    refused = preview(program)
    assert refused.status != 0
    assert "web.yaml:5:12: The variable number fills `count`, which shapes the fleet" in refused.out + refused.err
    assert "Traceback" not in refused.out + refused.err
    program.edit("__main__.py", 'pulumi.Output.from_input("2")', "2")
    # An output that fails is no bug of fleet's, and what failed after it is no news.
    program.edit("__main__.py", '"a"', 'pulumi.Output.from_input("a").apply(lambda _: {}["no such key"])')
    failed = preview(program)
    assert failed.status != 0
    assert "KeyError: 'no such key'" in failed.out + failed.err
    assert "bug of fleet" not in failed.out + failed.err
    assert "never awaited" not in failed.out + failed.err
    program.edit("__main__.py", 'pulumi.Output.from_input("a").apply(lambda _: {}["no such key"])', '"a"')
    program.edit("web.yaml", "secrets: [token]", "read_only: true")
    plain = preview(program)
    assert plain.status == 0, plain
    assert "shop-web-1" in plain.out
