"""How often each command runs Pulumi's, which costs as much as all that a small fleet needs."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.commands import COMMANDS
from tests.conftest import FLEET
from tests.engine.stack import PROBE, Stack

OWN = {"preview", "diff", "up", "replace", "rollback", "destroy"}
"""The commands that have the engine do something: one run is that."""

MOST = {
    # The state, whose earlier configs are encrypted, and a secret of the config are read where a command needs them.
    "preview": (1, 2),
    "diff": (1, 2),
    "up": (1, 2),
    "replace": (1, 2),
    "rollback": (1, 2),
    # The state is written once, without the promise to keep what goes.
    "destroy": (2, 2),
    "status": (1, 2),
    "ssh": (1, 1),
    "logs": (1, 1),
    "view": (1, 2),
    "validate": (0, 1),
    "render": (0, 1),
}
"""The most runs beside that one, by command: without a secret in the spec, and with one. Of all others: none."""

SPEC = """\
version: 1
name: web
{secrets}
groups:
  web:
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {{GREETING: "{greeting}"}}
        secrets: [{secret}]
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


@pytest.mark.parametrize("secret", ["", "token"])
def test_each_command_runs_pulumi_as_seldom_as_it_can(stack: Stack, secret: str) -> None:
    counted = Counted(stack.path, stack.environment)
    counted.log, counted.tools = stack.log, stack.tools
    counted.note_runs()
    declared = f"secrets: {{{secret}: {{config: {secret}}}}}" if secret else ""

    def write(greeting: str) -> None:
        counted.write("fleet.yaml", SPEC.format(greeting=greeting, secrets=declared, secret=secret) + PROBE)

    assert counted.pulumi("stack", "init", "test", "--no-select").status == 0
    assert counted.pulumi("config", "set", "--secret", "token", "a word", "--stack", "test").status == 0
    for greeting in ("one", "two"):
        write(greeting)
        assert counted.fleet("up", "fleet.yaml", "--stack", "test", "--yes").status == 0
    commands = {str(command): command for command in COMMANDS if str(command) not in ELSEWHERE}
    order = [*(each for each in commands if each not in ENDING), *ENDING]
    others: dict[str, list[str]] = {}
    for name in order:
        if name == "up":
            write("three")
        ran = counted.runs(*commands[name].called("--stack=test"))
        providers = [line for line in ran if line.startswith(PROVIDER)]
        # Of a refresh first, the engine starts two.
        assert len(providers) <= (2 if name in ENDING else 0), (name, ran)
        engine = [line for line in ran if re.search(r" (preview|up|destroy) ", line)]
        assert len(engine) == (name in OWN), (name, ran)
        others[name] = [line for line in ran if line not in (*engine, *providers)]
    allowed = {name: MOST.get(name, (0, 0))[bool(secret)] for name in others}
    assert {name: lines for name, lines in others.items() if len(lines) > allowed[name]} == {}
    # No command is run twice for the same, and none selects a stack, which its user has done.
    assert {name: lines for name, lines in others.items() if max(Counter(lines).values(), default=0) > 1} == {}
    assert not [line for lines in others.values() for line in lines if "select" in line and "--no-select" not in line]
    assert not (Path(counted.environment["PULUMI_HOME"]) / "workspaces").exists()
