"""Which files of a folder here reach a node: what a build there uses, and nothing of what fleet and Pulumi keep."""

from __future__ import annotations

import json

import pytest

from fleet.errors import FleetError
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from tests.conftest import Folder

HELLO = "containers: {hello: {image: hello.build}}"
BUILD = f"builds: {{hello: {{context: .}}}}, {HELLO}"
FILES = "containers: {hello: {image: docker.io/library/x, files: [{source: ., target: /src}]}}"
COMPOSE = "compose: compose.yaml"
STATE = (
    ".fleet/local/roster.json",
    ".pulumi/stacks/web/local.json",
    "app/.fleet/local/known_hosts",
    "app/.pulumi/history/x.json",
    "Pulumi.local.yaml",
    "app/Pulumi.prod.yaml",
    "pins.yaml",
    "token.txt",
)
LOCK = f"""\
stream: local
architectures:
  x86_64:
    release: "1"
    ignition_spec: 3.5.0
    disks: {{qemu: {{location: /image, sha256: {"a" * 64}, uncompressed_sha256: {"a" * 64}}}}}
"""
KEPT = ("Containerfile", "app/main.py", "app/Pulumi.yaml", "app/fleet.txt", ".env")


def put(folder: Folder, *names: str) -> None:
    for name in names:
        folder.write(name, f"of {name}")


def spec(folder: Folder, group: str) -> None:
    (folder.path / "base.bu").unlink(missing_ok=True)
    put(folder, "token.txt")
    folder.write("Pulumi.yaml", "name: web\nruntime: python\n")
    folder.write(
        "fleet.yaml",
        "name: web\nimage: {lock: pins.yaml}\nsecrets: {token: {file: token.txt}}\n"
        f"groups: {{web: {{{group}}}}}\n",
    )


def config(folder: Folder) -> str:
    """The node's config."""
    where = platform("qemu", project=folder.path, stack="local")
    return next(
        iter(plan_spec(folder.path / "fleet.yaml", Resolver(reveal=True), where, need_lock=False).nodes)
    ).config.ignition


def on_node(folder: Folder, at: str) -> set[str]:
    """The files below a folder of the node."""
    files = json.loads(config(folder))["storage"]["files"]
    return {file["path"].removeprefix(at) for file in files if file["path"].startswith(at)}


def built(folder: Folder) -> set[str]:
    return on_node(folder, "/etc/fleet/builds/hello/")


@pytest.mark.parametrize(
    ("group", "at"),
    [
        (BUILD, "/etc/fleet/builds/hello/"),
        (COMPOSE, "/etc/fleet/builds/hello/"),
        (FILES, "/etc/fleet/files/hello/src/"),
    ],
)  # fmt: skip
def test_what_fleet_and_pulumi_keep_is_in_no_folder_that_goes_to_a_node(folder: Folder, group: str, at: str) -> None:
    spec(folder, group)
    folder.write("compose.yaml", "services: {hello: {build: {context: ., dockerfile: Containerfile}}}\n")
    put(folder, *STATE, *KEPT[:-1])
    folder.write("pins.yaml", LOCK)
    folder.write(".env", "A=b\n")
    assert on_node(folder, at) == {*KEPT, "fleet.yaml", "Pulumi.yaml", "compose.yaml"}


def test_what_has_changed_in_a_stacks_own_files_changes_no_node(folder: Folder) -> None:
    spec(folder, BUILD)
    put(folder, "Containerfile")
    before = config(folder)
    put(folder, *STATE[:-2], ".git/index", "app/.git")
    folder.write("pins.yaml", LOCK)
    assert config(folder) == before


IGNORED = """\
# A comment
/secret
**/*.pem
build/
!build/kept.txt
  spaced.txt

node_modules
"""


@pytest.mark.parametrize("name", [".dockerignore", ".containerignore", "Containerfile.dockerignore"])
def test_an_ignore_file_is_honoured_as_podman_does_on_the_node(folder: Folder, name: str) -> None:
    spec(folder, BUILD)
    put(folder, "Containerfile", "secret/a", "x/secret", "x/y/a.pem", "build/a", "build/kept.txt", "spaced.txt")
    put(folder, "node_modules/a/b", "x/node_modules/a", "xsecret")
    folder.write(name, IGNORED)
    assert built(folder) - {"fleet.yaml", "Pulumi.yaml"} == {
        "Containerfile", name, "x/secret", "build/kept.txt", "x/node_modules/a", "xsecret",
    }  # fmt: skip


def test_the_containerfile_and_the_ignore_file_are_there_though_they_are_ignored(folder: Folder) -> None:
    spec(folder, BUILD)
    put(folder, "Containerfile", "main.py", "other.py")
    folder.write(".dockerignore", "*\n!main.py\n")
    assert built(folder) == {"Containerfile", ".dockerignore", "main.py"}


def test_the_ignore_file_that_counts_is_podmans_choice(folder: Folder) -> None:
    spec(folder, BUILD)
    put(folder, "Containerfile", "a", "b", "c")
    folder.write(".dockerignore", "a\n")
    folder.write(".containerignore", "b\n")
    assert not {"b"} & built(folder) >= {"a", "c"}
    folder.write("Containerfile.containerignore", "c\n")
    assert built(folder) >= {"a", "b"}
    assert "c" not in built(folder)


def test_git_goes_along_only_if_an_ignore_file_says_so(folder: Folder) -> None:
    spec(folder, BUILD)
    put(folder, "Containerfile", ".git/HEAD", "sub/.git", ".gitignore", ".github/x")
    assert built(folder) >= {".gitignore", ".github/x"}
    assert not {".git/HEAD", "sub/.git"} & built(folder)
    folder.write(".dockerignore", "!.git\n")
    assert ".git/HEAD" in built(folder)


def test_what_is_ignored_may_be_of_any_kind_and_lead_anywhere(folder: Folder) -> None:
    spec(folder, BUILD)
    put(folder, "Containerfile")
    (folder.path / "run").mkdir()
    (folder.path / "run" / "gone").symlink_to("nowhere")
    with pytest.raises(FleetError, match="no such file"):
        built(folder)
    (folder.path / "run" / "link").symlink_to("/etc/shadow")
    folder.write(".dockerignore", "run\n")
    assert not {name for name in built(folder) if name.startswith("run/")}


def test_a_broken_pattern_is_an_error_that_names_the_file(folder: Folder) -> None:
    spec(folder, BUILD)
    put(folder, "Containerfile")
    folder.write(".dockerignore", "a\n[\n")
    with pytest.raises(FleetError, match=r"\.dockerignore.*\["):
        built(folder)


@pytest.mark.parametrize("file", ["../Containerfile", "{}/Containerfile"])
def test_a_containerfile_that_no_node_would_have_is_refused(folder: Folder, file: str) -> None:
    file = file.format(folder.path)
    spec(folder, f"builds: {{hello: {{context: app, file: {file}}}}}, {HELLO}")
    put(folder, "Containerfile", "app/main.py")
    with pytest.raises(FleetError, match="is not in"):
        built(folder)
