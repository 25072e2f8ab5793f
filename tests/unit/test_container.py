"""The image for CI: what its build takes from the tree, and that its steps are sound shell."""

from __future__ import annotations

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tools import container, tree
from tools.cache import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, each with the rest of its line, continued ones joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.M).replace("\\\n", "\n")
    pieces = re.split(r"^(?=[A-Z]+ )", text, flags=re.M)
    return [(name, rest.strip()) for name, _, rest in (piece.partition(" ") for piece in pieces if piece.strip())]


def of(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def ignored(name: str) -> bool:
    """Whether a build is not given a file: the last pattern that fits it or a folder of it decides."""
    answer = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            anywhere = pattern.startswith("**/")
            folders = (name, *map(str, Path(name).parents))
            places = (Path(each).name for each in folders) if anywhere else folders
            if any(fnmatch(each, pattern.removeprefix("**/")) for each in places):
                answer = not line.startswith("!")
    return answer


def test_a_build_is_given_what_the_wheel_is_made_of_and_no_tests_and_no_stacks() -> None:
    files = tree.files()
    built = [
        pattern.removeprefix("/").removesuffix("/**/*.py") for pattern in PROJECT["tool"]["hatch"]["build"]["include"]
    ]
    for name in files:
        if any(fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in built):
            assert not ignored(name), name
        if name.partition("/")[0] in ("tests", "stacks", "examples", ".ci"):
            assert ignored(name), name
    for name in (
        "LICENSE",
        "README.md",
        "requirements-dev.lock",
        "tools/container.py",
        "tools/gomodules/pulumi/go.mod",
    ):
        assert name in files
        assert not ignored(name), name
    for name in (".git/config", ".venv/bin/python", "fleet/config/fleet-transpiler", "fleet/__pycache__/x.pyc"):
        assert ignored(name), name


def test_the_labels_are_those_of_the_package_and_nothing_runs_as_root() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', "\n".join(of("LABEL"))))
    project = PROJECT["project"]
    assert (labels["version"], labels["licenses"]) == (project["version"], project["license"])
    # By number: Kubernetes sees that it is not root's.
    assert of("USER") == ["${USER_ID}"]
    assert dict(rest.split("=") for rest in of("ARG"))["USER_ID"].strip("0").isdecimal()
    assert of("ENTRYPOINT") == ['["fleet"]']


def test_the_page_about_the_image_names_its_arguments() -> None:
    page = (ROOT / "docs/guides/ci.md").read_text()
    declared = {rest.partition("=")[0] for rest in of("ARG")}
    assert set(re.findall(r"^- `([A-Z_]+)`: ", page, re.M)) == declared
    extras = PROJECT["project"]["optional-dependencies"]
    assert re.search(r"EXTRAS=(\w+)", page)[1] in extras  # type: ignore[index]


@pytest.mark.system
def test_the_steps_are_shell_without_a_fault() -> None:
    script = "\n".join(
        ["#!/bin/sh", "EXTRAS='' USER_ID='' PLUGINS=''", *(step.replace("\n", " \\\n") for step in of("RUN")), ""]
    )
    subprocess.run(["shellcheck", "--shell=sh", "-"], input=script, text=True, check=True)


def test_of_pulumis_release_what_python_needs_is_taken_and_without_one_the_build_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = tmp_path / "release"
    release.mkdir()
    python = {"pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"}
    for name in {*python, "pulumi-language-go", "pulumi-language-nodejs", "pulumi-watch"}:
        (release / name).write_text(name)
        (release / name).chmod(0o755)
    monkeypatch.setattr(container, "release", lambda: release)
    container.main(str(tmp_path / "out/pulumi"))
    programs = list((tmp_path / "out/pulumi").iterdir())
    assert {program.name for program in programs} == python
    assert all(program.stat().st_mode & 0o111 == 0o111 for program in programs)
    monkeypatch.setattr(container, "release", lambda: None)
    with pytest.raises(SystemExit, match="without Pulumi's release"):
        container.main(str(tmp_path / "other"))
