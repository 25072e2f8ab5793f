"""How often each command runs Pulumi's, which costs as much as all that a small fleet needs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.commands import COMMANDS, Command
from tests.conftest import FLEET
from tests.engine.stack import PROBE, Stack

OWN = {"preview", "diff", "up", "replace", "rollback", "destroy"}
"""The commands that have the engine do something: one run is that."""

MOST = {
    # The state, whose earlier configs are encrypted, and a secret of the config are read where a command needs them.
    **dict.fromkeys(["preview", "diff", "up", "replace", "rollback", "status", "view"], 2),
    # The state is written once, without the promise to keep what goes.
    "destroy": 2,
    **dict.fromkeys(["ssh", "logs", "validate", "render"], 1),
}
"""The most runs beside that one, by command. Of all others: none."""

SPEC = """\
version: 1
name: web
secrets:
  token: {{config: token}}
groups:
  web:
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {{GREETING: "{greeting}"}}
        secrets: [token]
"""

PROVIDER = "pulumi-resource-pulumi-python"
"""What the engine runs for dynamic resources."""

ENDING = ("up", "replace", "rollback", "destroy")
"""What is run in the end, in this order: it changes the stack."""
ELSEWHERE = {"doctor", "new", "image update", "image digests", "image download", "image lock", "image pin"}
"""Commands about no stack: they look at this machine, write files or ask the network."""


class Counted(Stack):
    """A stack whose ``pulumi`` notes what it was run for."""

    def note_runs(self) -> None:
        for name in ("pulumi", PROVIDER):
            program = shutil.which(name, path=f"{FLEET.parent}:{self.environment['PATH']}")
            noting = self.tools / name
            noting.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.tools}/runs\nexec {program} "$@"\n')
            noting.chmod(0o755)
        # Without its own folder there, `fleet` would look into it first.
        self.environment["PATH"] = f"{self.environment['PATH']}:{FLEET.parent}"
        for name in ("ssh", "xdg-open"):
            (self.tools / name).write_text("#!/bin/sh\n")
            (self.tools / name).chmod(0o755)

    def runs(self, *words: str) -> list[str]:
        """What Pulumi is run for by a command."""
        file = self.tools / "runs"
        file.write_text("")
        result = self.fleet(*words)
        assert result.status == 0, result
        return file.read_text().splitlines()


@pytest.fixture
def counted(stack: Stack) -> Counted:
    """A stack of one node with a secret, deployed."""
    created = Counted(stack.path, stack.environment)
    created.log, created.tools = stack.log, stack.tools
    created.note_runs()
    created.write("fleet.yaml", SPEC.format(greeting="one") + PROBE)
    assert created.pulumi("stack", "init", "test", "--no-select").status == 0
    assert created.pulumi("config", "set", "--secret", "token", "a word", "--stack", "test").status == 0
    assert created.fleet("up", "fleet.yaml", "--stack", "test", "--yes").status == 0
    return created


def check(counted: Counted, command: Command) -> None:
    """Run a command, and see what it runs."""
    name = str(command)
    ran = counted.runs(*command.called("--stack=test"))
    providers = [line for line in ran if line.startswith(PROVIDER)]
    # Of a refresh first, the engine starts two.
    assert len(providers) <= (2 if name in ENDING else 0), (name, ran)
    engine = [line for line in ran if re.search(r" (preview|up|destroy) ", line)]
    assert len(engine) == (name in OWN), (name, ran)
    others = [line for line in ran if line not in (*engine, *providers)]
    assert len(others) <= MOST.get(name, 0), (name, others)
    # None is run twice for the same, and none selects a stack, which its user has done.
    assert len({*others}) == len(others), (name, others)
    assert not [line for line in others if " select" in line], (name, others)
    assert not (Path(counted.environment["PULUMI_HOME"]) / "workspaces").exists()


COMMANDS_OF_STACKS = {str(command): command for command in COMMANDS if str(command) not in ELSEWHERE}


def test_commands_of_every_day_run_pulumi_as_seldom_as_they_can(counted: Counted) -> None:
    for name in ("preview", "status", "ssh", "logs", "up"):
        check(counted, COMMANDS_OF_STACKS[name])


@pytest.mark.long
def test_all_commands_run_pulumi_as_seldom_as_they_can(counted: Counted) -> None:
    for name in [*(each for each in COMMANDS_OF_STACKS if each not in ENDING), *ENDING]:
        if name == "up":
            counted.write("fleet.yaml", SPEC.format(greeting="two") + PROBE)
        check(counted, COMMANDS_OF_STACKS[name])
