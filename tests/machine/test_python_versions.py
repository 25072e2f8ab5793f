"""The wheel on Debian trixie's Python: the same spec gives the same bytes there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Folder
from tests.unit.test_compose import COMPOSE, SPEC
from tests.unit.test_library import ALL
from tools import cache
from tools.machine_image.build import SUITE, bootstrap

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with the wheel installed for its own Python."""
    packages = ("python3", "python3-venv", "ca-certificates")
    archive = cache.built(
        "python-rootfs", cache.key_of(SUITE, *packages), lambda out: bootstrap(packages, out / "rootfs.tar")
    )
    root = tmp_path_factory.mktemp("trixie")
    subprocess.run(["tar", "-C", root, "-xpf", archive / "rootfs.tar"], check=True)
    wheels = root / "wheels"
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, cache.ROOT], check=True)
    wheel = next(wheels.glob("fcos_fleet-*.whl"))
    subprocess.run(
        [*pip, "download", "--quiet", "--only-binary=:all:", "--python-version=3.13", "--dest", wheels, wheel],
        check=True,
    )
    install = "python3 -m venv /venv && /venv/bin/pip install --quiet --no-index --find-links /wheels fcos-fleet"
    subprocess.run(["chroot", root, "sh", "-ec", install], check=True)
    return root


@pytest.mark.parametrize("text", [ALL, SPEC.replace("groups:", "secrets: {token: {env: TOKEN}}\ngroups:")])
def test_python_3_13_renders_the_same_bytes(folder: Folder, trixie: Path, text: str) -> None:
    folder.write("fleet.yaml", text)
    folder.write("deploy/docker-compose.yml", COMPOSE)
    folder.write("deploy/Caddyfile", ":80\n")
    shutil.copytree(folder.path, trixie / "spec", dirs_exist_ok=True)
    output = subprocess.run(
        ["chroot", trixie, "env", "-C", "/spec", "TOKEN=t&#\\", "/venv/bin/fleet", "render", "fleet.yaml", "--reveal"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == folder.fleet("render", "fleet.yaml", "--reveal", TOKEN="t&#\\").out
