"""The command line's own: versions, completion, the manual."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.commands import COMMANDS, Command
from tests.conftest import FLEET, Folder
from tools.cache import ROOT
from tools.manual import manual

PAGE = manual()


def completed(folder: Folder, line: str) -> list[str]:
    """What bash is offered for the last word of a line."""
    words = {"_FLEET_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    result = subprocess.run(
        [FLEET], cwd=folder.path, env={**folder.environment, **words}, capture_output=True, text=True
    )
    assert result.stderr == ""
    return result.stdout.split()


def test_the_version_names_what_makes_configs(folder: Folder) -> None:
    shown = folder.fleet("--version")
    assert shown.status == 0
    modules = (ROOT / "transpiler/go.mod").read_text()
    butane = re.search(r"github.com/coreos/butane v(\S+)", modules)
    ignition = re.search(r"github.com/coreos/ignition/v2 v(\S+)", modules)
    assert butane
    assert ignition
    assert re.fullmatch(
        rf"fleet \S+\nPulumi SDK 3\.\S+, Butane {re.escape(butane[1])}, Ignition {re.escape(ignition[1])}\n", shown.out
    )


@pytest.mark.slow
def test_a_shell_completes_commands_stacks_and_nodes(folder: Folder) -> None:
    folder.write("Pulumi.yaml", "name: web\nruntime: python\n")
    for stack in ("local", "london", "paris"):
        folder.write(f"Pulumi.{stack}.yaml", "config: {}\n")
    folder.edit("fleet.yaml", "count: 1", "count: 2")
    assert completed(folder, "fleet statu") == ["status"]
    assert completed(folder, "fleet up fleet.yaml --stack lo") == ["local", "london"]
    assert completed(folder, "fleet validate fleet.yaml --stack p") == ["paris"]
    assert completed(folder, "fleet ssh fleet.yaml ") == ["web-0", "web-1"]
    assert completed(folder, "fleet logs fleet.yaml web-1") == ["web-1"]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "groups: [", "groups: 1", "groups: {web: }", "groups: {web: {count: '${n}'}}"])
def test_a_spec_that_is_being_written_completes_to_what_it_says(folder: Folder, text: str) -> None:
    folder.write("fleet.yaml", text)
    assert completed(folder, "fleet ssh fleet.yaml ") in ([], ["web-0"])
    assert completed(folder, "fleet ssh nowhere.yaml ") == []
    assert completed(folder, "fleet up fleet.yaml --stack ") == []


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_manual_has_every_command_with_its_options(command: Command) -> None:
    _, _, section = PAGE.partition(f".SS fleet {str(command).replace('-', chr(92) + '-')} ")
    section = re.split(r"^\.S[SH] ", section, flags=re.MULTILINE)[0]
    assert section
    for option in command.options - {"--help"}:
        assert f"\\fB{option.replace('-', chr(92) + '-')}\\fR" in section, option


def test_no_text_of_the_manual_is_taken_for_a_request() -> None:
    requests = {line.split()[0] for line in PAGE.splitlines() if line.startswith((".", "'"))}
    assert requests == {'.\\"', ".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".RI", ".I", ".BR"}
