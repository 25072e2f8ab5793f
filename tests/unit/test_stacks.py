"""Which stack a command is about."""

from __future__ import annotations

import hashlib
import json

import pytest

from fleet.images import ImageLock, write_lock
from fleet.ops.stacks import current_stack
from fleet.project import Project
from tests.commands import COMMANDS, Command
from tests.conftest import Folder

FREE = {"migrate", "graph", "validate", "render", "image pin", "doctor"}
"""Commands that a stack is not needed for."""
OF_STACKS = [each for each in COMMANDS if "--stack" in each.options and str(each) not in FREE]


@pytest.fixture
def project(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A project without a stack, whose states are in its folder."""
    folder.write("Pulumi.yaml", 'name: web\nruntime: python\nbackend: {url: "file://.?metadata=skip"}\n')
    monkeypatch.setenv("PULUMI_HOME", folder.environment["PULUMI_HOME"])
    for name in ("PULUMI_STACK", "PULUMI_BACKEND_URL"):
        monkeypatch.delenv(name, raising=False)
        folder.environment.pop(name, None)
    return folder


def configure(project: Folder, *names: str) -> None:
    for name in names:
        project.write(f"Pulumi.{name}.yaml", "config:\n  fleet:platform: qemu\n")


def current(project: Folder) -> str:
    return current_stack(project.path / "fleet.yaml")


def test_the_only_stack_is_meant_whether_it_has_a_config_or_a_state(project: Folder) -> None:
    configure(project, "one")
    assert current(project) == "one"
    project.write(".pulumi/stacks/web/one.json", "{}")
    assert current(project) == "one"
    (project.path / "Pulumi.one.yaml").unlink()
    assert current(project) == "one"
    project.write(".pulumi/stacks/other/two.json", "{}")
    assert current(project) == "one"


@pytest.mark.parametrize("command", OF_STACKS, ids=str)
def test_every_command_lists_the_stacks_where_none_is_selected_and_none_is_named(
    project: Folder, command: Command
) -> None:
    configure(project, "two", "one")
    result = project.fleet(*command.called())
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("Error: Project web has several stacks, and none is selected: one, two. Name one")


@pytest.mark.parametrize("command", OF_STACKS, ids=str)
def test_every_command_says_how_a_project_gets_its_first_stack(project: Folder, command: Command) -> None:
    result = project.fleet(*command.called())
    assert (result.status, result.out) == (2, "")
    assert "Project web has no stack. One begins with its config, Pulumi.NAME.yaml" in result.err


@pytest.mark.system
@pytest.mark.parametrize("name", ["two", "organization/web/two"])
def test_what_pulumi_stack_select_chose_is_meant(project: Folder, name: str) -> None:
    for stack in ("one", "two"):
        assert project.pulumi("stack", "init", stack, "--no-select").status == 0
    assert project.pulumi("stack", "select", name).status == 0
    assert current(project) == "organization/web/two"
    # As for Pulumi, whose file it is: another project's selection is none of this one's.
    project.edit("Pulumi.yaml", "name: web", "name: shop")
    assert Project.around(project.path / "fleet.yaml").selected_stack("file://.?metadata=skip") == ""


@pytest.mark.system
def test_a_stack_that_was_selected_and_is_gone_is_not_meant(project: Folder) -> None:
    assert project.pulumi("stack", "init", "gone").status == 0
    (record,) = (project.path.parent / "pulumi-home/workspaces").iterdir()
    selected = json.loads(record.read_text())
    assert "gone" in str(selected)
    (project.path / ".pulumi/stacks/web/gone.json").unlink()
    (project.path / "Pulumi.gone.yaml").unlink(missing_ok=True)
    configure(project, "left")
    assert current(project) == "left"


def test_the_environment_comes_before_what_was_selected(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(project, "one", "two")
    monkeypatch.setenv("PULUMI_STACK", "two")
    assert current(project) == "two"


@pytest.mark.parametrize("text", ["", "[]", '{"stacks": []}', "null", '{"stack": '])
def test_a_record_of_selections_that_is_broken_selects_nothing(project: Folder, text: str) -> None:
    configure(project, "one")
    own = hashlib.sha1(str((project.path / "Pulumi.yaml").resolve()).encode()).hexdigest()
    name = f"web-{own}-workspace.json"
    record = project.path.parent / "pulumi-home/workspaces" / name
    record.parent.mkdir(parents=True)
    record.write_text(text)
    assert current(project) == "one"


@pytest.mark.system
@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if "--stack" in each.options and "spec" in each.required], ids=str
)
def test_a_mistyped_stack_is_refused_with_the_one_that_was_meant_and_makes_none(
    project: Folder, command: Command
) -> None:
    configure(project, "local", "production")
    # Even where the project itself says the platform of its stacks.
    project.write(
        "Pulumi.yaml",
        'name: web\nruntime: python\nbackend: {url: "file://.?metadata=skip"}\nconfig: {fleet:platform: qemu}\n',
    )
    write_lock(project.path / "image.lock.yaml", ImageLock(stream="stable", architectures={}))
    before = {path.name for path in project.path.iterdir()}
    result = project.fleet(*command.called("--stack=loacl"))
    assert result.status == 2, result
    assert "There is no stack loacl in project web. Did you mean `local`? Its stacks: local, production." in result.err
    assert {path.name for path in project.path.iterdir()} == before


@pytest.mark.system
@pytest.mark.parametrize(("how", "name"), [
    ("environment", "gone"),
    ("environment", "organization/web/gone"),
    ("environment", "organization/shop/left"),
    ("option", "organization/shop/left"),
])  # fmt: skip
@pytest.mark.parametrize("command", [each for each in OF_STACKS if "spec" in each.required], ids=str)
def test_a_stack_that_is_named_and_is_not_the_projects_is_refused_and_no_other_is_taken(
    project: Folder, command: Command, name: str, how: str
) -> None:
    configure(project, "left")
    write_lock(project.path / "image.lock.yaml", ImageLock(stream="stable", architectures={}))
    project.write(".pulumi/stacks/web/left.json", '{"version": 3, "checkpoint": {"stack": "organization/web/left"}}')
    state = project.path / ".pulumi/stacks/web/left.json"
    before = state.read_bytes()
    if how == "environment":
        project.environment["PULUMI_STACK"] = name
    result = project.fleet(*command.called(*([f"--stack={name}"] if how == "option" else [])))
    assert result.status == 2, result
    assert result.err.startswith(f"Error: There is no stack {name} in project web."), result
    assert result.err.count("\n") == 1
    assert state.read_bytes() == before
    assert not (project.path / ".pulumi/stacks/shop").exists()
