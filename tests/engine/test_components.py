"""Fleets as components of a user's own program, beside other resources, with these resources' outputs as values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Result
from tests.engine.stack import OFFSET, Stack

DATABASE = '''\
import os
from pathlib import Path

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class DatabaseProvider(ResourceProvider):
    """Knows its address when it is made, or moved, and not before."""

    def diff(self, _id, olds, news):
        return DiffResult(changes=olds["zone"] != news["zone"])

    def create(self, props):
        return CreateResult("db", {**props, "address": f"db.{props['zone']}.example", "password": f"pw-{props['zone']}"})

    def update(self, _id, olds, news):
        return UpdateResult({**news, "address": f"db.{news['zone']}.example", "password": f"pw-{news['zone']}"})


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
