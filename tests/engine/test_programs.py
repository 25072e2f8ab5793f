"""Users' own programs, with fleets beside other resources, on the real engine."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conftest import Result, file_text
from tests.engine.places import CloudPlace
from tests.engine.reports import text_of
from tests.engine.stack import OFFSET, Stack
from tools.cache import ROOT

STACK = ("--stack", "test")

SPEC = """\
version: 1
name: shop
groups:
  web:
    count: {count}
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {{GREETING: "{greeting}", DATABASE: "${{db}}"}}
    ready: [{{http: {{port: 8080}}, interval: 0.1}}]
    ready_timeout: 8
"""
PLAIN = """\
import pulumi

from fleet import Fleet

shop = Fleet("shop", "web.yaml", variables={"db": pulumi.Config().require("db")})
pulumi.export("address", shop.nodes["web-0"].address)
"""
ON_AWS = """\
import pulumi_aws as aws

from fleet import Fleet

database = aws.ec2.Eip("db", domain="vpc")
Fleet("shop", "web.yaml", variables={"db": database.public_ip})
"""


class Program(Stack):
    """A folder with a program, and the commands that its user types there."""

    def program(self, text: str, *, count: int = 2, greeting: str = "one") -> None:
        self.write("__main__.py", text)
        self.write("web.yaml", SPEC.format(count=count, greeting=greeting))

    def type(self, *words: str) -> Result:
        """Run a command in the folder; one that changes the stack is told that this is meant."""
        yes = ["--yes"] if words[0] in ("up", "replace", "destroy", "rollback") else []
        return self.fleet(*words, *STACK, *yes)

    def done(self, *words: str) -> str:
        """Run a command that works; gives its output."""
        ran = self.type(*words)
        assert ran.status == 0, ran
        return ran.out


def of(stack: Stack) -> Program:
    (stack.path / "fleet.yaml").unlink()
    program = Program(stack.path, stack.environment)
    program.log, program.tools = stack.log, stack.tools
    return program


@pytest.fixture
def program(stack: Stack) -> Program:
    with (stack.path / "Pulumi.test.yaml").open("a") as file:
        file.write("  db: 10.0.0.5\n")
    return of(stack)


@pytest.fixture
def aws_program(aws: CloudPlace) -> tuple[Program, CloudPlace]:
    return of(aws.stack), aws


def types(output: str) -> list[str]:
    return [json.loads(line)["type"] for line in output.splitlines()]


@pytest.mark.long
def test_commands_typed_in_a_programs_folder_run_the_program_or_read_its_state(program: Program) -> None:
    program.program(PLAIN)
    assert "`fleet ssh . web-0 --stack test` logs in." in program.done("up")
    assert len(program.started()) == 2
    same = program.type("preview", "--detailed-exitcode")
    assert (same.status, same.out) == (0, "Nothing would change.\n")
    assert "nothing changes" in program.done("up")

    program.program(PLAIN, greeting="two")
    preview = program.type("preview", "--detailed-exitcode", "--json")
    assert preview.status == 2, preview
    assert types(preview.out) == ["begin", "planned", "planned", "summary"]
    planned = json.loads(preview.out.splitlines()[1])
    assert planned["reasons"] == ["file /etc/containers/systemd/hello.container changed"]
    assert '+Environment="GREETING=two"' in program.done("diff")

    program.sicken("web-1")
    refused = program.type("replace", ".", "web-0")
    assert refused.status == 1
    assert "Node web-0 is left as it is: web-1 is not ready" in refused.err
    assert program.started() == []
    status = program.type("status")
    assert status.status == 1
    assert [line.split()[:2] for line in status.out.splitlines()[1:]] == [["web-0", "ready"], ["web-1", "not"]]
    sick = program.type("up")
    assert "Not ready, so re-provisioned first: web-1." in sick.out
    assert "Node web-1 is not ready" in sick.err
    assert "1 node untouched: web-0." in sick.err
    assert "`fleet up . --stack test` goes on from here" in sick.err
    assert len(program.started()) == 1
    program.heal("web-1")
    assert "re-provisioned" in program.done("up")
    assert len(program.started()) == 1

    program.program(PLAIN, greeting="three")
    as_deployed = program.type("replace", ".", "web-0")
    assert as_deployed.status == 1
    assert "the program has it otherwise by now" in as_deployed.err
    assert "1 re-provisioned, 1 unchanged" in program.done("replace", ".", "web-0", "--new-config")
    assert [json.loads(line)["command"] for line in program.done("history", ".", "--json").splitlines()] == [
        "fleet up",
        "fleet up",
        "fleet up",
        "fleet replace web-0 --new-config",
    ]
    rollback = program.type("rollback")
    assert rollback.status == 2
    assert "is made by a program" in rollback.err
    assert program.done("logs", ".", "web-0", "--console").strip().endswith(" says hello")
    program.done("view", "--export", "page.html")
    page = (program.path / "page.html").read_text()
    assert "web-1" in page
    assert "GREETING=three" in page
    assert "hello" in program.done("graph", ".", "--format", "mermaid")
    spec = program.type("up", "web.yaml")
    assert spec.status == 2
    assert "is made by a program, not by a spec alone" in spec.err
    assert "web: 2 removed." in program.done("destroy")


@pytest.mark.long
def test_the_address_of_a_resource_reaches_a_container_and_a_new_one_rolls_through_the_nodes(
    aws_program: tuple[Program, CloudPlace],
) -> None:
    program, place = aws_program
    program.program(ON_AWS)
    unknown = program.done("preview")
    assert "db (aws:ec2/eip:Eip): new" in unknown
    assert "web-0: not known yet: variable db" in unknown
    program.done("up")
    address = _database(place)
    assert place.started() == ["shop-web-0", "shop-web-1"]
    assert "nothing changes" in program.done("up")
    assert place.started() == []

    program.edit("__main__.py", 'Eip("db"', 'Eip("database"')
    preview = program.done("preview")
    assert "web-0  re-provision: not known yet: variable db" in preview
    updated = program.done("up")
    assert "web-0  re-provision: variable db changed" in updated
    assert place.started() == ["shop-web-0", "shop-web-1"]
    assert _database(place) not in ("", address)
    assert "variable db changed" in program.done("history", ".")


def _database(place: CloudPlace) -> str:
    """The address that the containers of all machines have."""
    (address,) = {
        text.partition("DATABASE=")[2].partition('"')[0]
        for machine in place.world.machines.values()
        for text in [file_text(json.loads(text_of(machine.user_data)), "/etc/containers/systemd/hello.container")]
    }
    return address


NETWORK = """\
import pulumi

pulumi.export("db_address", pulumi.Config().require("db"))
"""
REFERRING = """\
import pulumi

from fleet import Fleet

network = pulumi.StackReference("organization/network/prod")
Fleet("shop", "web.yaml", variables={"db": network.get_output("db_address")})
"""


@pytest.mark.long
def test_what_another_stack_exports_reaches_a_container(program: Program) -> None:
    url = f"file://{program.path}"
    program.write("network/__main__.py", NETWORK)
    program.write("network/Pulumi.yaml", f'name: network\nruntime: python\nbackend: {{url: "{url}"}}\n')
    network = Program(program.path / "network", program.environment)

    def export(address: str) -> None:
        network.write("Pulumi.prod.yaml", f"config:\n  network:db: {address}\n")
        if not (program.path / ".pulumi/stacks/network/prod.json").exists():
            assert network.pulumi("stack", "init", "prod").status == 0
        assert network.pulumi("up", "--yes", "--skip-preview", "--stack", "prod").status == 0

    export("10.0.0.6")
    program.program(REFERRING, count=1)
    program.done("up")
    assert '"DATABASE=10.0.0.6"' in _config(program)
    assert "Nothing would change." in program.done("preview")
    program.started()
    export("10.0.0.7")
    assert "web-0  re-provision: variable db changed" in program.done("preview")
    assert "1 re-provisioned" in program.done("up")
    assert '"DATABASE=10.0.0.7"' in _config(program)


def _config(program: Program) -> str:
    (file,) = program.path.glob(".fleet/*/nodes/*/config.ign")
    return file.read_text().replace("%20", " ").replace("%22", '"').replace("%3D", "=")


DISK = "    data_disks: {a: {size_gib: 1, mount: /var/a}}\n"
TWO = """\
from fleet import Fleet

variables = {{"db": "10.0.0.5"}}
Fleet("local", "web.yaml", platform="qemu", options={{"port_offset": {offset}}}, variables=variables)
Fleet("cloud", "web.yaml", platform="aws", options={{}}, variables=variables)
"""


@pytest.mark.long
def test_two_fleets_on_two_platforms_are_one_stack(aws_program: tuple[Program, CloudPlace]) -> None:
    program, place = aws_program
    program.program(TWO.format(offset=OFFSET), count=1)
    program.edit("web.yaml", "    ready: ", f"{DISK}    ready: ")
    up = program.done("up")
    assert "2 new" in up
    assert place.started() == ["cloud-web-0"]
    assert len(program.started()) == 1
    status = json.loads(program.done("status", "--json"))
    assert [(node["node"], node["state"]) for node in status["nodes"]] == [
        ("cloud/web-0", "ready"),
        ("local/web-0", "ready"),
    ]
    ambiguous = program.type("replace", ".", "web-0")
    assert ambiguous.status == 2
    assert "Say which: cloud/web-0, local/web-0." in ambiguous.err
    assert "1 re-provisioned, 1 unchanged" in program.done("replace", ".", "cloud/web-0")
    assert place.started() == ["cloud-web-0"]
    assert program.started() == []
    program.done("view", "--export", "page.html")
    assert "cloud/web-0" in (program.path / "page.html").read_text()
    gone = program.done("destroy")
    assert "2 removed" in gone
    assert re.findall(r"Data disk (\S+) kept", gone) == ["cloud/web-0-a", "local/web-0-a"]


GROWN = """\
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

from fleet import Fleet


class Provider(ResourceProvider):
    def create(self, props):
        return CreateResult("queue", {"address": "10.0.0.9"})


class Queue(Resource):
    address: pulumi.Output[str]

    def __init__(self, name):
        super().__init__(Provider(), name, {"address": None})


queue = Queue("queue")
shop = Fleet("shop", "web.yaml", variables={"db": DB})
"""


def declared(program: Program) -> dict[str, dict[str, Any]]:
    """The resources of the stack's state, by name."""
    (state,) = program.path.glob(".pulumi/stacks/*/test.json")
    resources = json.loads(state.read_text())["checkpoint"]["latest"]["resources"]
    return {f"{each['type'].rpartition(':')[2]} {each['urn'].rpartition('::')[2]}": each for each in resources}


@pytest.mark.long
def test_plain_pulumi_has_the_gates_and_the_order_of_fleet_and_a_replacement_touches_nothing_but_its_node(
    program: Program,
) -> None:
    def up() -> Result:
        return program.pulumi("up", "--yes", "--skip-preview", "--non-interactive", *STACK)

    program.program(PLAIN)
    assert program.pulumi("stack", "init", "--non-interactive", "test").status == 0
    assert up().status == 0
    assert sorted(program.started()) == ["web-0", "web-1"]

    # A sick peer holds the others.
    program.program(PLAIN, greeting="two")
    program.sicken("web-1")
    held = up()
    assert held.status != 0
    assert "web-1 is not ready" in held.out + held.err
    assert program.started() == []
    program.heal("web-1")
    assert up().status == 0
    assert program.started() == ["web-0", "web-1"]

    # One that does not get ready stops the rollout; what is mended goes first, and the run counts as one.
    program.program(PLAIN, greeting="sick")
    stopped = up()
    assert stopped.status != 0
    assert "web-0 is not ready" in stopped.out + stopped.err
    assert program.started() == ["web-0"]
    program.program(PLAIN, greeting="three")
    assert "Not ready, so re-provisioned first: web-0." in program.done("up")
    assert program.started() == ["web-0", "web-1"]
    rollouts = [json.loads(line) for line in program.done("history", ".", "--json").splitlines()]
    assert [(each["command"], each["result"]) for each in rollouts] == [
        ("pulumi up", "done"),
        ("pulumi up", "stopped"),
        ("pulumi up", "done"),
        ("pulumi up", "stopped"),
        ("fleet up", "done"),
    ]
    assert declared(program)["Record shop-shop"]["outputs"]["rollout"] == rollouts[-1]["number"]
    assert "nothing changes" in program.done("up")

    # What the program has gained since is not made with a node.
    program.program(GROWN.replace("DB", '"10.0.0.5"'), greeting="three")
    before = declared(program)
    assert "1 re-provisioned, 1 unchanged" in program.done("replace", "web-0")
    assert program.started() == ["web-0"]
    assert declared(program).keys() == before.keys()
    program.program(GROWN.replace("DB", "queue.address"), greeting="three")
    unknown = program.type("replace", "web-0", "--new-config")
    assert unknown.status == 1
    assert "db, which the fleet shop is given, is not known in this update" in unknown.err
    assert program.started() == []
    assert declared(program).keys() == before.keys()


SSH = """\
#!/bin/sh
printf '%s\\n' "$@"
"""


@pytest.mark.long
def test_data_disks_of_a_program_outlive_its_nodes_its_fleet_and_its_stack(program: Program) -> None:
    def with_disk(text: str) -> None:
        program.program(text, count=1)
        program.edit("web.yaml", "    ready: ", f"{DISK}    ready: ")

    with_disk(GROWN.replace("DB", '"10.0.0.5"'))
    program.done("up")
    (disk,) = program.path.glob(".fleet/*/**/*-a.qcow2")
    disk_id = disk.stat().st_ino
    (program.tools / "ssh").write_text(SSH)
    (program.tools / "ssh").chmod(0o755)
    words = program.done("ssh", "web-0", "uptime").splitlines()
    assert words[:2] == ["-p", str(OFFSET + 2222)]
    assert f"HostKeyAlias={declared(program)['QemuMachine shop-web-0']['id']}" in words
    assert words[-2:] == ["core@127.0.0.1", "uptime"]

    # A fleet that the program has no more goes, and nothing else.
    program.write("__main__.py", GROWN.partition("shop = ")[0])
    assert "web-0  remove" in program.done("preview")
    assert "1 removed" in program.done("up")
    assert program.done("status") == "Stack test has no nodes.\n"
    assert not [name for name in declared(program) if "shop" in name]
    assert "nothing changes" in program.done("up")
    assert disk.stat().st_ino == disk_id

    with_disk(GROWN.replace("DB", '"10.0.0.5"'))
    assert "1 new" in program.done("up")
    assert disk.stat().st_ino == disk_id
    gone = program.done("destroy")
    assert "web: 1 removed." in gone
    assert disk.stat().st_ino == disk_id
    assert f"Data disk web-0-a kept: {disk}" in gone
    assert [path for path in (program.path / ".fleet").rglob("*") if path.is_file()] == [disk]


PAGE = (ROOT / "docs/program.md").read_text()


@pytest.mark.long
def test_the_program_of_the_documentation_is_whole_and_its_commands_work_as_typed(aws: CloudPlace) -> None:
    program = of(aws.stack)
    files = re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in files] == ["Pulumi.yaml", "Pulumi.test.yaml", "web.yaml", "__main__.py"]
    for name, text in files:
        program.write(name, text)
    shown = re.findall(r"^\$ fleet (.*)$", PAGE, re.MULTILINE)
    told = {words: program.done(*words.split()) for words in shown}
    assert "web-0: not known yet: variable db" in told["preview"]
    assert "shop: 2 new." in told["up"]
    assert "shop: 2 removed." in told["destroy"]
    assert aws.started() == ["shop-web-0", "shop-web-1", "shop-web-0"]
    assert aws.cloud.resources == {}
