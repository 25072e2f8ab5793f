"""What machine tests share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.platforms.qemu import accelerator as qemu_accelerator
from tests.conftest import STACK, Folder, in_turn
from tools import machine_image


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with in_turn(tmp_path_factory, alone=True):
        # What builds images needs the network; those of the long tests are built in them.
        if "long" not in request.keywords:
            machine_image.machine_image()
            request.getfixturevalue("own_loopback")
        yield


@pytest.fixture
def machines(folder: Folder) -> Iterator[Callable[[str], Folder]]:
    """Makes the folder a project on qemu, with the given options; its machines are gone afterwards."""

    # Whether KVM works here is found out once, not by each test.
    cache = Path(folder.environment["XDG_CACHE_HOME"]) / "fleet"
    cache.mkdir(parents=True, exist_ok=True)
    answer, ours = qemu_accelerator.memory(), cache / qemu_accelerator.memory().name

    def make(options: str) -> Folder:
        folder.make_project(options)
        if answer.exists():
            shutil.copy(answer, ours)
        locked = folder.fleet("image", "lock", "fleet.yaml", "--file", str(machine_image.machine_image()))
        assert locked.status == 0, locked.err
        return folder

    yield make
    if ours.exists():
        shutil.copy(ours, answer)
    # An emulated machine takes most of a minute to power off, which is not what is tested here.
    for file in folder.path.rglob("qemu.pid"):
        # By its name, too: a process id alone may be another's by now.
        subprocess.run(["pkill", "-KILL", "--pidfile", file, "qemu-system"])
    folder.fleet("destroy", *STACK, "--yes", "--delete-data-disks")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key; its public one is beside it, with the suffix ``.pub``."""
    made = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made], check=True)
    return made


def ssh(key: Path, port: int, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as ``core`` on the node whose port 22 a port of loopback leads to."""
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    inputs = [part for option in options for part in ("-o", option)]
    return subprocess.run(
        ["ssh", "-i", key, "-p", str(port), *inputs, "core@127.0.0.1", command], capture_output=True, text=True
    )
