"""The packages of all platforms: what ``make wheels`` builds."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from hatch_build import TARGETS
from tools import wheels
from tools.cache import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HERE = "linux-x86_64"
MAGIC = {"linux": b"\x7fELF", "macos": b"\xcf\xfa\xed\xfe"}
"""What the binary of each begins with."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_bill_of_materials_names_what_is_linked_and_what_is_asked_for_in_the_same_bytes_each_time(name: str) -> None:
    text = wheels.bill_of_materials(TARGETS[name], PROJECT)
    assert text == wheels.bill_of_materials(TARGETS[name], PROJECT)
    bom = json.loads(text)
    assert bom["metadata"]["component"]["purl"] == f"pkg:pypi/fcos-fleet@{PROJECT['version']}"
    purls = [part["purl"] for part in bom["components"]]
    assert any(purl.startswith("pkg:golang/github.com/coreos/butane@v") for purl in purls)
    assert "pkg:pypi/pulumi" in purls
    assert sorted(each["ref"] for each in bom["dependencies"] if "dependsOn" in each) == ["fcos-fleet"]


@pytest.mark.long
def test_every_platforms_wheel_is_the_same_bytes_each_time_and_installs_without_go(tmp_path: Path) -> None:
    files = wheels.build(tmp_path / "one")
    assert len(files) == 1 + len(TARGETS)
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    again = wheels.build(tmp_path / "another")
    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in again} == digests
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    for name, target in TARGETS.items():
        (file,) = [file for file in files if file.name.endswith(f"-{target.platform}.whl")]
        with zipfile.ZipFile(file) as wheel:
            assert wheel.read("fleet/config/fleet-transpiler").startswith(MAGIC[name.partition("-")[0]])
            (bom,) = [each for each in wheel.namelist() if ".dist-info/sboms/" in each]
            assert json.loads(wheel.read(bom))["metadata"]["component"]["name"] == "fcos-fleet"

    (file,) = [file for file in files if file.name.endswith(f"-{TARGETS[HERE].platform}.whl")]
    venv.create(tmp_path / "venv", with_pip=True)
    program = tmp_path / "venv/bin"
    # Only what the environment itself has is on PATH: no Go, no compiler.
    environment = {"PATH": str(program), "HOME": str(tmp_path)}
    install: list[str | Path] = [program / "python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:", file]
    subprocess.run(install, check=True, env=environment)
    for name in ("fleet.yaml", "base.bu"):
        (tmp_path / name).write_text((ROOT / "stacks" / name).read_text())
    command: list[str | Path] = [program / "fleet", "render", "fleet.yaml", "--node", "web-0"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["ignition"]["version"].startswith("3.")


@pytest.mark.long
def test_the_servers_wheels_are_whole(tmp_path: Path) -> None:
    files = wheels.build_server(tmp_path)
    assert len(files) == len(TARGETS)
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    for file in files:
        with zipfile.ZipFile(file) as wheel:
            names = {name.partition(".data/")[2] for name in wheel.namelist()}
        assert {"scripts/fleet-state", "data/share/doc/fcos-fleet-state/NOTICES.txt"} <= names
