"""Platforms of other people's packages: found by their entry points, and no harm to anybody else."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from fleet import platforms
from fleet.errors import FleetError, unexpected
from tests.conftest import Folder, Result, file_text, install_toy

BROKEN = {
    "import nothing_at_all": "cannot be imported: ModuleNotFoundError: No module named 'nothing_at_all'.",
    "def": "cannot be imported: SyntaxError: ",
    "raise RuntimeError('two\\nlines')": "cannot be imported: RuntimeError: two lines.",
    "": "cannot be imported: AttributeError: ",
    "import sys; sys.exit(3)": "cannot be imported: SystemExit: 3.",
    "from fleet.platforms.qemu.platform import Qemu\nclass Box(Qemu):\n    name, artifacts = 'box', property(list)": (
        "is none for this fleet: box:Box has no `artifacts`."
    ),
    "class Box: pass": "is none for this fleet: box:Box has no `name`.",
    "from fleet.platforms.qemu.platform import Qemu as Box": "is none for this fleet: box:Box calls itself 'qemu'.",
}


def package(folder: Path, name: str, entry: str) -> None:
    """Have a Python package be installed in a folder, as far as its metadata goes."""
    metadata = folder / f"{name.replace('-', '_')}-2.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text(f"[fleet.platforms]\n{entry}\n")


def one_paragraph(result: Result, status: int) -> str:
    assert (result.status, result.err.count("\n"), result.err[:7]) == (status, 1, "Error: "), result
    return result.err


@pytest.mark.parametrize("code", BROKEN)
def test_a_platform_that_cannot_be_imported_is_one_paragraph(folder: Folder, other: Path, code: str) -> None:
    package(other, "fleet-box", "box = box:Box")
    (other / "box.py").write_text(code + "\n")
    message = one_paragraph(folder.fleet("validate", "fleet.yaml", "--platform", "box"), 1)
    assert "The platform 'box', of the Python package fleet-box 2.0, " in message
    assert BROKEN[code] in message


def test_a_broken_platform_hurts_no_other_and_the_doctor_names_it(folder: Folder, other: Path) -> None:
    package(other, "fleet-box", "box = box:Box")
    assert one_paragraph(folder.fleet("new", "site", "--platform", "box"), 1).endswith("another release of it.\n")
    assert not (folder.path / "site").exists()
    assert folder.fleet("validate", "fleet.yaml").status == 0
    doctor = folder.fleet("doctor")
    assert doctor.status == 1
    assert (
        "missing  platforms: The platform 'box', of the Python package fleet-box 2.0, cannot be imported" in doctor.out
    )


def test_a_lock_keeps_what_the_other_platforms_need_whatever_a_broken_one_does(folder: Folder, other: Path) -> None:
    for index, code in enumerate(BROKEN):
        package(other, f"fleet-box{index}", f"box{index} = box{index}:Box")
        (other / f"box{index}.py").write_text(code.replace("'box'", f"'box{index}'") + "\n")
    code = "from fleet import platforms; print(len(platforms.names()), len(platforms.artifacts()))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=folder.environment)
    assert asked.stdout == f"{len(platforms.names()) + len(BROKEN)} {len(platforms.artifacts())}\n", asked.stderr


def test_two_packages_with_one_platform_are_both_named(folder: Folder, other: Path) -> None:
    package(other, "fleet-one", "qemu = one:One")
    message = one_paragraph(folder.fleet("validate", "fleet.yaml", "--platform", "qemu"), 1)
    assert message.startswith("Error: Several Python packages bring a platform 'qemu': fcos-fleet 0")
    assert ", fleet-one 2.0. Uninstall all of them but one.\n" in message
    assert folder.fleet("validate", "fleet.yaml", "--platform", "aws").status == 0


def test_a_platform_of_another_package_is_planned_for_like_any(folder: Folder, other: Path) -> None:
    install_toy(other)
    assert "toy" in one_paragraph(folder.fleet("validate", "fleet.yaml", "--platform", "vax"), 2)
    valid = folder.fleet("validate", "fleet.yaml", "--platform", "toy")
    assert valid.status == 0, valid
    folder.edit("fleet.yaml", "    count: 1\n", "    count: 1\n    data_disks: {a: {size_gib: 1, mount: /var/a}}\n")
    rendered = folder.fleet("render", "fleet.yaml", "--node", "web-0", "--platform", "toy")
    assert rendered.status == 0, rendered
    assert "toy-a" in json.dumps(json.loads(rendered.out))
    assert file_text(json.loads(rendered.out), "/etc/hostname") == "web-0\n"


def test_a_new_fleet_on_a_platform_without_a_stack_file_says_what_is_to_be_set(folder: Folder, other: Path) -> None:
    install_toy(other)
    started = folder.fleet("new", "site", "--platform", "toy")
    assert started.status == 0, started
    assert (
        "The platform toy brings no stack file to begin with. Set its options under `fleet:toy` in "
        "site/Pulumi.toy.yaml: folder, architecture.\n"
    ) in started.out
    assert (folder.path / "site/Pulumi.toy.yaml").read_text() == (
        "config:\n  fleet:platform: toy\n  fleet:spec: fleet.yaml\n"
    )
    assert folder.fleet("validate", "site/fleet.yaml", "--stack", "toy").status == 0


def test_platforms_are_looked_for_only_when_one_is_asked_for(folder: Folder) -> None:
    program = (
        "import importlib.metadata as metadata, sys\n"
        "real = metadata.entry_points\n"
        "def entry_points(**wanted):\n"
        "    assert wanted.get('group') != 'fleet.platforms'\n"
        "    return real(**wanted)\n"
        "metadata.entry_points = entry_points\n"
        "import fleet.cli; sys.argv[1:] = ['--help']; fleet.cli.main()"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=folder.path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_fleet_whose_metadata_is_older_than_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "_entries", dict)
    with pytest.raises(FleetError, match="No platform is installed, not even fleet's own"):
        platforms.platform_class("aws")


def test_a_bug_in_a_fleet_that_is_not_installed_is_still_said_in_a_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata.Distribution, "discover", lambda **_: iter(()))
    said = unexpected(ValueError("with a secret"))
    assert said.startswith("This is a bug of fleet: ValueError. Please report it to whom you have fleet from, with ")
    assert "secret" not in said.removesuffix("since a secret may be in it.")
