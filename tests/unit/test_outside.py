"""Nothing outside of the project's folder reaches a node, unless the spec says so where it names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.plan import FleetPlan
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from tests.conftest import Folder

CONTENT = "c0ntent of somebody else's file"
BUTANE = "variant: fcos\nversion: 1.6.0\n"
FILE = "storage: {{files: [{{path: /etc/x, contents: {{local: {0}}}}}]}}\n"
UNIT = "systemd: {{units: [{{name: x.service, contents_local: {0}}}]}}\n"
KEYS = "passwd: {{users: [{{name: core, ssh_authorized_keys_local: [{0}]}}]}}\n"
COMPOSE = "services: {web: {image: docker.io/library/caddy:2}}\n"
CONTAINER = "containers: {web: {image: docker.io/library/caddy:2, "

WAYS: dict[str, tuple[str, str]] = {
    "snippet": (
        "snippets: [{{path: {0}, outside: {1}}}]",
        BUTANE + FILE.format("x").replace("local: x", f'inline: "{CONTENT}"'),
    ),
    "local file of a snippet": ("snippets: [{{path: file.bu, outside: {1}}}]", ""),
    "local unit of a snippet": ("snippets: [{{path: unit.bu, outside: {1}}}]", ""),
    "local keys of a snippet": ("snippets: [{{path: keys.bu, outside: {1}}}]", ""),
    "Compose file": ("compose: {{path: {0}, outside: {1}}}", COMPOSE),
    "file of a container": (
        CONTAINER.replace("{", "{{") + "files: [{{source: {0}, target: /x, outside: {1}}}]}}}}",
        CONTENT,
    ),
    "secret": (CONTAINER.replace("{", "{{") + "secrets: [s]}}}}", CONTENT),
    "build": ("builds: {{web: {{context: {0}, outside: {1}}}}}", ""),
    "file in a build": ("builds: {{web: {{context: context, outside: {1}}}}}", ""),
}


def plan(folder: Folder, name: str = "fleet.yaml") -> FleetPlan:
    where = platform("qemu", project=folder.path, stack="test")
    return plan_spec(folder.path / name, Resolver(reveal=True), where, need_lock=False)


def prepare(folder: Folder, way: str, name: str, outside: str) -> None:
    """Write a spec that names something by a path, in one of the ways."""
    group, _ = WAYS[way]
    secrets = f"secrets: {{s: {{file: {name}, outside: {outside}}}}}\n" if way == "secret" else ""
    folder.write("fleet.yaml", f"name: web\n{secrets}groups:\n  web:\n    {group.format(name, outside)}\n")
    for kind, text in (("file", FILE), ("unit", UNIT), ("keys", KEYS)):
        folder.write(f"{kind}.bu", BUTANE + text.format("link"))


def place(folder: Folder, way: str) -> Path:
    """Make what is outside, and the links to it; what the spec's path is to lead to."""
    elsewhere = folder.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "beside").write_text(CONTENT)
    if way == "build":
        (elsewhere / "Containerfile").write_text(f"FROM scratch\n# {CONTENT}\n")
        return elsewhere
    if way == "file in a build":
        (folder.path / "context").mkdir()
        (folder.path / "context" / "Containerfile").write_text("FROM scratch\n")
        (folder.path / "context" / "link").symlink_to(elsewhere / "beside")
    file = elsewhere / "web.bu"
    content = {"local keys of a snippet": "ssh-ed25519 AAAA " + CONTENT}
    file.write_text(content.get(way) or WAYS[way][1] or f"[Unit]\nDescription={CONTENT}\n")
    (folder.path / "link").symlink_to(file)
    return file


ONLY_LINKS = {way for way in WAYS if "of a snippet" in way} | {"file in a build"}
"""Their paths are not in the spec, and what names them takes no path that leaves its folder."""


@pytest.mark.parametrize(
    ("way", "by"),
    [(way, by) for way in WAYS for by in ("dots", "link", "absolute") if by == "link" or way not in ONLY_LINKS],
)
def test_what_is_outside_of_the_project_is_taken_only_where_the_spec_says_so(folder: Folder, way: str, by: str) -> None:
    target = place(folder, way)
    if way == "build":
        (folder.path / "link").symlink_to(target)
    name = {"dots": f"../elsewhere/{target.name}" if way != "build" else "../elsewhere", "absolute": str(target)}
    prepare(folder, way, name.get(by, "link"), "false")
    with pytest.raises(UsageError) as caught:
        plan(folder)
    assert "outside of the project's folder" in str(caught.value)
    assert "`outside: true`" in str(caught.value)
    assert CONTENT not in str(caught.value)

    prepare(folder, way, name.get(by, "link"), "true")
    assert list(plan(folder).nodes)


@pytest.mark.parametrize(
    "text",
    [
        FILE.format("link").replace("local", '"\\x6cocal"'),
        FILE.format("!!binary bGluaw=="),
        FILE.format("link") + "---\nvariant: fcos\n",
        "x: &x {{local: link}}\n".format() + FILE.replace("{{local: {0}}}", "*x").format(),
        "x: &x link\n" + FILE.format("*x"),
    ],
    ids=["escaped", "binary", "two documents", "alias of a mapping", "alias of a path"],
)
def test_no_way_of_writing_yaml_leads_a_local_file_out_of_the_project(folder: Folder, text: str) -> None:
    place(folder, "local file of a snippet")
    prepare(folder, "local file of a snippet", "link", "false")
    folder.write("file.bu", BUTANE + text)
    with pytest.raises(UsageError) as caught:
        plan(folder)
    assert "outside of the project's folder" in str(caught.value)
    assert CONTENT not in str(caught.value)


def test_a_spec_below_the_projects_folder_may_name_files_above_its_own(folder: Folder) -> None:
    folder.make_project("{}")
    folder.write("specs/fleet.yaml", (folder.path / "fleet.yaml").read_text().replace("base.bu", "../base.bu"))
    assert list(plan(folder, "specs/fleet.yaml").nodes)


COMPOSE_WAYS: dict[str, tuple[str, str]] = {
    "include": ("include: ['{0}']\n", f'services: {{web: {{image: x/y, labels: ["{CONTENT}"]}}}}\n'),
    "include with more": (
        "include: [{path: ['{0}'], project_directory: .}]\n",
        f'services: {{web: {{image: x/y, labels: ["{CONTENT}"]}}}}\n',
    ),
    "env file of an include": (
        "include: [{path: inside.yaml, env_file: '{0}'}]\n",
        f"A={CONTENT.replace(' ', '-')}\n",
    ),
    "extends": (
        "services: {web: {image: x/y, extends: {file: '{0}', service: base}}}\n",
        f'services: {{base: {{labels: ["{CONTENT}"]}}}}\n',
    ),
    "env file": ("services: {web: {image: x/y, env_file: '{0}'}}\n", f"A={CONTENT.replace(' ', '-')}\n"),
    "second env file": (
        "services: {web: {image: x/y, env_file: [{path: '{0}', required: false}]}}\n",
        f"A={CONTENT.replace(' ', '-')}\n",
    ),
    "config": (
        "services: {web: {image: x/y, configs: [c]}}\nconfigs: {c: {file: '{0}'}}\n",
        CONTENT,
    ),
    "mounted file": ("services: {web: {image: x/y, volumes: ['{0}:/x:ro']}}\n", CONTENT),
    "no file of a list": ("services: {web: {image: x/y, env_file: ['{0}']}}\n", f"{CONTENT}\x00=\n"),
}


@pytest.mark.parametrize(
    ("way", "by"),
    # A mount's absolute path is one of the node.
    [
        (way, by)
        for way in COMPOSE_WAYS
        for by in ("dots", "link", "absolute")
        if (way, by) != ("mounted file", "absolute")
    ],
)
def test_what_a_compose_file_names_outside_is_taken_only_where_the_spec_says_so(
    folder: Folder, way: str, by: str
) -> None:
    text, content = COMPOSE_WAYS[way]
    elsewhere = folder.path.parent / "elsewhere"
    elsewhere.mkdir()
    file = elsewhere / "file.yaml"
    file.write_text(content)
    (folder.path / "link").symlink_to(file)
    name = {"dots": "../elsewhere/file.yaml", "link": "./link", "absolute": str(file)}[by]
    folder.write("inside.yaml", "services: {web: {image: x/y, labels: ['${A}']}}\n")
    folder.write("compose.yaml", text.replace("{0}", name))
    for outside in ("false", "true"):
        spec = f"name: web\ngroups: {{web: {{compose: {{path: compose.yaml, outside: {outside}}}}}}}\n"
        folder.write("fleet.yaml", spec)
        if outside == "true" and way != "no file of a list":
            assert list(plan(folder).nodes)
            continue
        with pytest.raises(UsageError) as caught:
            plan(folder)
        assert ("outside of the project's folder" in str(caught.value)) == (outside == "false")
        assert CONTENT not in str(caught.value)


def test_the_env_file_beside_a_compose_file_must_not_lead_outside(folder: Folder) -> None:
    (folder.path.parent / "env").write_text("A=1\n")
    (folder.path / ".env").symlink_to(folder.path.parent / "env")
    folder.write("compose.yaml", "services: {web: {image: 'x/y:${A}'}}\n")
    folder.write("fleet.yaml", "name: web\ngroups: {web: {compose: compose.yaml}}\n")
    with pytest.raises(UsageError, match="outside of the project's folder"):
        plan(folder)


def test_a_compose_file_sees_nothing_of_the_environment(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_TEST_VARIABLE", "leaked")
    monkeypatch.setenv("COMPOSE_PROFILES", "other")
    folder.write("fleet.yaml", "name: web\ngroups: {web: {compose: compose.yaml}}\n")
    folder.write(
        "compose.yaml",
        "services:\n  web: {image: 'x/y', environment: {A: '${FLEET_TEST_VARIABLE:-default}', B: '${HOME:-none}'}}\n"
        "  other: {image: x/y, profiles: [other]}\n",
    )
    config = next(iter(plan(folder).nodes)).config.ignition
    assert "A=default" in config
    assert "B=none" in config
    assert "other.container" not in config
