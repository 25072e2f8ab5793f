"""Stacks on the real engine, whose QEMU or cloud is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.platforms import names
from tests.conftest import Folder, in_turn
from tests.engine.places import CloudPlace, Place, QemuPlace, cloud
from tests.engine.stack import OFFSET, Stack


@pytest.fixture(autouse=True)
def _alone(own_loopback: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with in_turn(tmp_path_factory, alone=False):
        yield


@pytest.fixture
def stack(folder: Folder, tmp_path: Path) -> Iterator[Stack]:
    tools = tmp_path / "bin"
    tools.mkdir()
    qemu = tools / "qemu-system-x86_64"
    stand_in = Path(__file__).with_name("qemu_stand_in.py")
    qemu.write_text(f'#!/bin/sh\nPYTHONPATH={stand_in.parents[2]} exec {sys.executable} {stand_in} "$@"\n')
    qemu.chmod(0o755)
    created = Stack(folder.path, {**folder.environment, "PATH": f"{tools}:{os.environ['PATH']}"})
    created.log, created.tools = tmp_path / "log", tools
    created.environment["STAND_IN_LOG"] = str(created.log)
    created.environment["FLEET_QEMU_ACCELERATOR"] = "tcg"
    created.make_project(f"{{port_offset: {OFFSET}}}")
    created.write("__main__.py", "from fleet.program import main\n\nmain()\n")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", created.path / "base.qcow2", "1G"], check=True)
    assert created.fleet("image", "lock", "fleet.yaml", "--file", "base.qcow2").status == 0
    yield created
    for running in ("qemu_stand_in.py", "qemu_switch.py"):
        for process in created.running(running):
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def qemu(stack: Stack) -> QemuPlace:
    instance = QemuPlace(stack)
    instance.lock("44.1")
    return instance


@pytest.fixture(params=names())
def place(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Place]:
    if request.param == "qemu":
        yield request.getfixturevalue("qemu")
        return
    with cloud(request.param, stack) as instance:
        instance.lock("44.1")
        yield instance


@pytest.fixture
def aws(stack: Stack) -> Iterator[CloudPlace]:
    with cloud("aws", stack) as instance:
        instance.lock("44.1")
        yield instance
