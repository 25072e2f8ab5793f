"""The spec's version: what a newer version renders otherwise re-provisions only whoever moves to it."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.cli.app import app
from fleet.config import Snippet
from fleet.errors import FleetWarning, UsageError
from fleet.ops.migrate import migration, write_version
from fleet.planner import plan_spec
from fleet.planner.renderer import RENDERERS
from fleet.platforms import platform
from fleet.spec import FleetSpec, Resolver
from fleet.spec.versions import VERSIONS, SpecVersion
from fleet.workloads import workload_snippet
from tests.conftest import SPEC, Folder
from tools.cache import ROOT

UNVERSIONED = SPEC.format(count=2, greeting="hello").replace("version: 1\n", "")


def configs(spec: Path) -> dict[str, str]:
    where = platform("qemu", project=spec.parent, stack="test")
    plan = plan_spec(spec, Resolver(), where, need_lock=False)
    return {node.name: node.config.ignition for node in plan.nodes}


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version 2, in which the units of containers say one thing more."""

    def workload(group: Any, *, mark: str, **rest: Any) -> Snippet:
        containers = {
            name: container.model_copy(update={"labels": {**container.labels, "mark": mark}})
            for name, container in group.containers.items()
        }
        return workload_snippet(group.model_copy(update={"containers": containers}), **rest)

    monkeypatch.setitem(VERSIONS, 2, SpecVersion(("Containers have a label `mark`.",), released=False))
    monkeypatch.setitem(RENDERERS, 2, replace(RENDERERS[1], workload=partial(workload, mark="new")))


TWO_GROUPS = """\
version: 1
name: web
groups:
  web:
    count: 2
    containers:
      hello: {image: docker.io/library/caddy:2}
  bare: {}
"""


@pytest.mark.usefixtures("second")
def test_a_newer_version_changes_no_node_of_a_spec_of_an_older_one(folder: Folder) -> None:
    spec = folder.write("fleet.yaml", TWO_GROUPS)
    before = configs(spec)
    assert "mark" not in "".join(before.values())
    move = migration(spec, platform=None, stack=None, to=None)
    assert (move.version, move.to, move.count, move.news) == (1, 2, 3, VERSIONS[2].changes)
    assert {name: [str(change) for change in changes] for name, changes in move.nodes.items()} == {
        name: ["file /etc/containers/systemd/hello.container changed"] for name in ("web-0", "web-1")
    }
    assert configs(spec) == before
    write_version(spec, 2)
    after = configs(spec)
    assert {name for name in after if after[name] != before[name]} == {"web-0", "web-1"}
    assert migration(spec, platform=None, stack=None, to=1).nodes.keys() == move.nodes.keys()
    write_version(spec, 1)
    assert configs(spec) == before


@pytest.mark.usefixtures("second")
def test_migrate_says_node_by_node_what_would_be_re_provisioned_and_writes_the_version_when_told(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = folder.write("fleet.yaml", TWO_GROUPS)
    monkeypatch.chdir(folder.path)

    def migrate(*options: str) -> list[str]:
        app(["migrate", "fleet.yaml", *options], standalone_mode=False)
        return capsys.readouterr().out.splitlines()

    told = [
        "Containers have a label `mark`.",
        "web-0  would be re-provisioned",
        "  file /etc/containers/systemd/hello.container changed",
        "web-1  would be re-provisioned",
        "  file /etc/containers/systemd/hello.container changed",
        "fleet.yaml, from version 1 to 2: 2 of 3 nodes would be re-provisioned.",
    ]
    assert migrate() == [*told, "`--write` writes `version: 2`."]
    assert spec.read_text() == TWO_GROUPS
    assert migrate("--to", "1") == ["fleet.yaml is of version 1; nothing to migrate."]
    assert migrate("--write") == [*told, "fleet.yaml: `version: 2` written; `fleet up` re-provisions them."]
    assert spec.read_text() == TWO_GROUPS.replace("version: 1", "version: 2")
    assert migrate() == ["fleet.yaml is of version 2, the newest; nothing to migrate."]


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("part", sorted(vars(RENDERERS[1])))
def test_each_part_of_the_rendering_can_differ_by_version(
    folder: Folder, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = folder.write("fleet.yaml", EVERY_PART)
    where = platform("aws", {}, project=folder.path, stack="test", config={"aws:region": "eu-central-1"}.get)
    if part == "interface":
        where = platform("qemu", project=folder.path, stack="test")
    called: list[str] = []

    def spied(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        called.append(part)
        return function(*arguments, **keywords)

    older = getattr(RENDERERS[1], part)
    monkeypatch.setitem(RENDERERS, 2, replace(RENDERERS[1], **{part: partial(spied, older)}))
    for version in (1, 2):
        assert not called
        plan_spec(spec, Resolver(), where, need_lock=False, check=False, version=version)
    assert called


EVERY_PART = """\
version: 1
name: web
ssh_authorized_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk k"]
network: {cidr: 10.77.0.0/24}
groups:
  web:
    addresses_from: 10
    containers: {hello: {image: docker.io/library/caddy:2}}
    data_disks: {site: {size_gib: 1, mount: /var/lib/site}}
    snippets: [{use: time-zone, zone: UTC}]
"""


def test_every_version_has_a_renderer_and_none_is_left_out() -> None:
    assert list(VERSIONS) == list(range(1, len(VERSIONS) + 1))
    assert RENDERERS.keys() == VERSIONS.keys()
    assert FleetSpec.model_json_schema()["properties"]["version"]["enum"] == [*VERSIONS]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("2", "this fleet knows version 1; version 2 is of a newer fleet"),
        ("0", "there is no version 0; this fleet knows version 1"),
        ("'1'", "should be a whole number"),
        ("1.0", "should be a whole number"),
        ("true", "should be a whole number"),
        ("${one}", "should be a whole number"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "render", "migrate", "image download"])
def test_a_version_that_this_fleet_does_not_know_is_refused_with_its_place(
    folder: Folder, refused: Callable[..., str], command: str, written: str, said: str
) -> None:
    # What a newer fleet knows besides is not to be blamed for it.
    folder.write(
        "fleet.yaml", f"name: web\nversion: {written}\nvariables: {{one: 1, new: {{newer: key}}}}\ngroups: 7\n"
    )
    error = refused(*command.split(), "fleet.yaml", status=2)
    assert error.startswith("Error: fleet.yaml:2:10: `version`"), error
    assert said in error
    assert error.count("\n") == 1


def test_a_spec_without_a_version_is_of_the_first_and_told_so_once_on_standard_error(folder: Folder) -> None:
    folder.write("fleet.yaml", "# The fleet.\n" + UNVERSIONED)
    warning = (
        "Warning: fleet.yaml:2:1: The spec has no `version`, and so is of version 1. Write `version: 1` as its first "
        "key, as `fleet migrate fleet.yaml --write` does; nothing changes.\n"
    )
    without = folder.fleet("render", "fleet.yaml")
    assert (without.status, without.err) == (0, warning)
    assert [json.loads(line)["node"] for line in without.out.splitlines()] == ["web-0", "web-1"]
    assert folder.fleet("validate", "fleet.yaml").err == warning
    drawn = folder.fleet("graph", "fleet.yaml", "--format", "mermaid")
    assert (drawn.status, drawn.err) == (0, warning)
    # Of one that has no lock yet, and so comes to nothing.
    assert folder.fleet("image", "pin", "fleet.yaml").err.startswith(warning + "Error: ")
    moved = folder.fleet("migrate", "fleet.yaml")
    assert (moved.status, moved.err) == (0, "")
    assert moved.out.splitlines() == [
        "fleet.yaml is of version 1, the newest; nothing to migrate.",
        "It does not say so: `--write` writes `version: 1`, which changes no node.",
    ]
    written = folder.fleet("migrate", "fleet.yaml", "--write")
    assert written.out.splitlines()[1:] == ["fleet.yaml: `version: 1` written, which changes no node."]
    assert (folder.path / "fleet.yaml").read_text() == "# The fleet.\nversion: 1\n" + UNVERSIONED
    rendered = folder.fleet("render", "fleet.yaml")
    assert (rendered.out, rendered.err) == (without.out, "")


def test_a_spec_in_python_says_its_version_as_one_in_yaml_does(folder: Folder, refused: Callable[..., str]) -> None:
    text = "def spec(config):\n    return {'name': 'web', 'groups': {'web': {}}}\n"
    folder.write("spec.py", text)
    told = folder.fleet("render", "spec.py")
    assert told.err == (
        'Warning: spec.py: The spec has no `version`, and so is of version 1. Have `spec` return `"version": 1` too; '
        "nothing changes.\n"
    )
    assert refused("migrate", "spec.py", "--write", status=2) == (
        'Error: spec.py is a program, which fleet does not change. Have its function `spec` return `"version": 1`.\n'
    )
    folder.write("spec.py", text.replace("{'name'", "{'version': 1, 'name'"))
    said = folder.fleet("render", "spec.py")
    assert (said.out, said.err) == (told.out, "")
    folder.write("spec.py", text.replace("{'name'", "{'version': 2, 'name'"))
    assert "this fleet knows version 1; version 2 is of a newer fleet" in refused("render", "spec.py", status=2)


def shown_specs() -> dict[str, str]:
    """Whole specs of the documentation, the examples and the templates, by where they are."""
    specs = {}
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]:
        for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S)):
            if re.search(r"^name:", text, re.M) and re.search(r"^groups:", text, re.M):
                specs[f"{page.relative_to(ROOT)}, {number}"] = text
    for pattern in ("stacks/*.yaml", "examples/*/*.yaml", "fleet/templates/*.yaml", "examples/*/*.py"):
        for file in ROOT.glob(pattern):
            if re.search(r"^groups:|^ +\"groups\":", text := file.read_text(), re.M):
                specs[str(file.relative_to(ROOT))] = text
    return specs


def test_every_spec_that_users_are_shown_says_the_newest_version_before_all_else() -> None:
    specs = shown_specs()
    assert {
        "docs/spec.md, 0",
        "stacks/fleet.yaml",
        "fleet/templates/fleet.yaml",
        "examples/nomad/nomad.py",
    } <= specs.keys()
    for where, text in specs.items():
        keys = re.findall(r"^(?: +\")?(version|name|groups)\"?: *(\w*)", text, re.M)
        assert keys[0] == ("version", str(max(VERSIONS))), where


def test_who_plans_in_a_program_is_warned_too(folder: Folder) -> None:
    spec = folder.write("fleet.yaml", UNVERSIONED)
    with pytest.warns(FleetWarning, match="The spec has no `version`"):
        configs(spec)
    write_version(spec, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        configs(spec)


FORMS = {
    "a block": (
        "name: web # the fleet\n\ngroups: {web: {}}\n",
        "VERSION\nname: web # the fleet\n\ngroups: {web: {}}\n",
    ),
    "a schema's line first": (
        "# yaml-language-server: $schema=x\n---\n# A fleet.\nname: web\ngroups: {web: {}}\n",
        "# yaml-language-server: $schema=x\n---\n# A fleet.\nVERSION\nname: web\ngroups: {web: {}}\n",
    ),
    "in one line": ("{name: web, groups: {web: {}}}", "{VERSION, name: web, groups: {web: {}}}"),
    "JSON": (
        '{\n  "name": "web",\n  "groups": {"web": {}}\n}\n',
        '{\n  "version": 1, "name": "web",\n  "groups": {"web": {}}\n}\n',
    ),
    "with a directive": (
        "%YAML 1.2\n---\nname: web\ngroups: {web: {}}",
        "%YAML 1.2\n---\nVERSION\nname: web\ngroups: {web: {}}",
    ),
    "in the line of its start": (
        "--- {name: web, groups: {web: {}}}\n",
        "--- {VERSION, name: web, groups: {web: {}}}\n",
    ),
    "indented": ("  name: web\n  groups:\n    web: {}\n", "  VERSION\n  name: web\n  groups:\n    web: {}\n"),
    "with a byte order mark": ("\ufeffname: web\ngroups: {web: {}}\n", "\ufeffVERSION\nname: web\ngroups: {web: {}}\n"),
    "lines of another system": (
        "# A fleet.\r\nname: web\r\ngroups: {web: {}}\r\n",
        "# A fleet.\r\nVERSION\r\nname: web\r\ngroups: {web: {}}\r\n",
    ),
    "quoted": ('\'name\': "web"\n"groups": {web: {}}\n', 'VERSION\n\'name\': "web"\n"groups": {web: {}}\n'),
    "with an anchor": ("&all\nname: web\ngroups: {web: {}}\n", "&all\nVERSION\nname: web\ngroups: {web: {}}\n"),
    "ended": ("name: web\ngroups: {web: {}}\n...\n", "VERSION\nname: web\ngroups: {web: {}}\n...\n"),
    "another version": (
        "name: web\nversion:   2   # of the spec\ngroups: {web: {}}\n",
        "name: web\nversion:   1   # of the spec\ngroups: {web: {}}\n",
    ),
    "another version, quoted": (
        'name: web\n"version": 2\ngroups: {web: {}}\n',
        'name: web\n"version": 1\ngroups: {web: {}}\n',
    ),
    "another version, in one line": (
        "{name: web, version: 2, groups: {web: {}}}\n",
        "{name: web, VERSION, groups: {web: {}}}\n",
    ),
}


@pytest.mark.parametrize(("text", "expected"), FORMS.values(), ids=FORMS)
def test_writing_the_version_leaves_everything_else_as_it_is_written(folder: Folder, text: str, expected: str) -> None:
    spec = folder.path / "fleet.yaml"
    spec.write_bytes(text.encode())
    write_version(spec, 1)
    written = spec.read_bytes().decode()
    assert written == expected.replace("VERSION", "version: 1")
    assert yaml.safe_load(written) == {**yaml.safe_load(text), "version": 1}


@pytest.mark.parametrize("text", ["? name\n: web\n", "- a\n", "7\n", "{}\n"])
def test_a_version_that_cannot_be_written_leaves_the_file_as_it_is(folder: Folder, text: str) -> None:
    spec = folder.write("fleet.yaml", text)
    with pytest.raises(UsageError, match=r"fleet\.yaml:1:"):
        write_version(spec, 1)
    assert spec.read_text() == text
