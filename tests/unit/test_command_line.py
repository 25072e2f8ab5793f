"""The command line's own: versions, completion, the manual."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

import fleet.cli  # noqa: F401 (adds every command)
from fleet.cli.app import app
from fleet.dynamic.tokens import FLEET as FLEET_TYPE
from fleet.dynamic.tokens import NODE
from fleet.program.fleets import about
from fleet.program.topology import Topology
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
    # The spec may be left out.
    assert completed(folder, "fleet ssh web") == ["web-0", "web-1"]
    assert completed(folder, "fleet replace fl") == ["fleet.yaml"]
    assert completed(folder, "fleet history ") == ["fleet.yaml"]


def state_of(*fleets: str) -> str:
    """The state of a program's stack with two nodes in each of its fleets."""
    resources: list[dict[str, Any]] = []
    for name in fleets:
        urn = f"urn:pulumi:test::web::{FLEET_TYPE}::{name}"
        noted = about("qemu", {}, Topology(1, name, "qemu", ()))
        resources.append({"urn": urn, "type": FLEET_TYPE, "outputs": noted})
        resources += [
            {"urn": f"urn:pulumi:test::web::{FLEET_TYPE}${NODE}::{name}-web-{index}", "type": NODE, "parent": urn}
            for index in range(2)
        ]
    return json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}})


@pytest.mark.slow
def test_a_shell_completes_the_nodes_of_a_programs_stack(folder: Folder) -> None:
    (folder.path / "fleet.yaml").unlink()
    folder.write("Pulumi.yaml", 'name: web\nruntime: python\nbackend: {url: "file://."}\n')
    folder.write(".pulumi/stacks/web/test.json", state_of("shop"))
    assert completed(folder, "fleet ssh . ") == ["web-0", "web-1"]
    assert completed(folder, "fleet logs web-1") == ["web-1"]
    folder.write(".pulumi/stacks/web/test.json", state_of("shop", "cart"))
    nodes = ["cart/web-0", "cart/web-1", "shop/web-0", "shop/web-1"]
    assert completed(folder, "fleet replace . ") == nodes
    assert completed(folder, "fleet ssh --stack test ") == nodes


CLICK = typer.main.get_command(app)
BEHIND = [
    command
    for name, command in CLICK.commands.items()  # type: ignore[attr-defined]
    if [each.name for each in command.params if each.param_type_name == "argument"][:1] == ["spec"]
    and len([each for each in command.params if each.param_type_name == "argument"]) > 1
]
"""Commands with arguments behind the spec."""


def test_commands_of_a_node_and_the_history_take_arguments_behind_the_spec() -> None:
    assert {command.name for command in BEHIND} == {"ssh", "logs", "replace", "history"}
    assert {str(each) for each in COMMANDS if "node" in each.required} == {"ssh", "logs", "replace"}


@pytest.mark.parametrize("command", BEHIND, ids=lambda command: str(command.name))
def test_the_spec_may_be_left_out_before_other_arguments(
    folder: Folder, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path)
    folder.write("site/Pulumi.yaml", "name: site\nruntime: python\n")
    (folder.path / "web-1").mkdir()
    (folder.path / "plain").mkdir()
    _, second, *others = [each.name for each in command.params if each.param_type_name == "argument"]

    def read(*words: str) -> list[Any]:
        context = command.make_context(command.name, list(words), resilient_parsing=True)
        rest = context.params[others[0]] if others else None
        spec = context.params["spec"]
        return [
            None if spec is None else str(spec),
            context.params[second],
            list(rest or ()) if others == ["command"] else rest,
        ]

    none: Any = [] if others == ["command"] else None
    for word in ("3",) if second == "number" else ("web-0", "shop/web-0", "web-1", "mistyped"):
        value: Any = int(word) if second == "number" else word
        assert read(word) == [None, value, none]
        assert read("--stack", "test", word) == [None, value, none]
        for spec in ("fleet.yaml", ".", "site", "plain", "../elsewhere", "gone.yaml", "gone.py", str(folder.path)):
            assert read(spec, word) == [str(Path(spec)), value, none]
        if others:
            more = ["uptime"] if others == ["command"] else "uptime"
            assert read(word, "uptime") == [None, value, more]
            assert read("fleet.yaml", word, "uptime") == ["fleet.yaml", value, more]
    if others == ["command"]:
        assert read("web-0", "--", "ls", "-l", "fleet.yaml") == [None, "web-0", ["ls", "-l", "fleet.yaml"]]


def test_what_is_too_much_is_an_error_and_a_spec_alone_is_no_node(folder: Folder) -> None:
    folder.make_project("{}")
    for words in (("logs", "web-0", "app", "more"), ("replace", "web-0", "web-1")):
        refused = folder.fleet(*words)
        assert refused.status == 2
        assert "unexpected extra argument" in refused.err
    assert "Missing argument" in folder.fleet("ssh", "fleet.yaml").err


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
    assert requests == {'.\\"', ".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".RI", ".I", ".BR", ".br"}
