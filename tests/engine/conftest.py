"""A stack whose QEMU is a stand-in."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import SPEC, STACK, Folder, Result, in_turn, meanwhile

OFFSET = 10_000  # away from the machine tests, and below the ports that the kernel gives to clients
PROBE = """\
    ready:
      - http: {port: 8080}
    ready_timeout: 8
    data_disks:
      a: {size_gib: 1, mount: /var/a}
"""


def looked_at(places: Sequence[str]) -> AbstractContextManager[list[int]]:
    """Asks nodes meanwhile, over and over; gives a list of how many were down at each look.

    Args:
        places: Their addresses and ports.
    """

    def down(place: str) -> bool:
        try:
            urllib.request.urlopen(f"http://{place}/", timeout=1)
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            return True
        return False

    return meanwhile(lambda: sum(map(down, places)), pause=0.02)


class Stack(Folder):
    log: Path

    def spec(self, count: int, greeting: str) -> None:
        self.write("fleet.yaml", SPEC.format(count=count, greeting=greeting) + PROBE)

    def up(self) -> Result:
        return self.fleet("up", *STACK)

    def sicken(self, node: str) -> None:
        """Make a node answer 503, whatever its config, until it is healed."""
        (self.log.parent / f"sick-{node}").touch()

    def heal(self, node: str) -> None:
        (self.log.parent / f"sick-{node}").unlink()

    def started(self) -> list[str]:
        """The nodes started since the last question."""
        names = [line.split()[1] for line in self.log.read_text().splitlines()] if self.log.exists() else []
        self.log.write_text("")
        return names


@pytest.fixture(autouse=True)
def _alone(own_loopback: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with in_turn(tmp_path_factory, alone=False):
        yield


@pytest.fixture
def stack(folder: Folder, tmp_path: Path) -> Iterator[Stack]:
    tools = tmp_path / "bin"
    tools.mkdir()
    qemu = tools / "qemu-system-x86_64"
    qemu.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("qemu_stand_in.py")} "$@"\n')
    qemu.chmod(0o755)
    made = Stack(folder.path, {**folder.environment, "PATH": f"{tools}:{os.environ['PATH']}"})
    made.log = tmp_path / "log"
    made.environment["STAND_IN_LOG"] = str(made.log)
    made.make_project(f"{{port_offset: {OFFSET}}}")
    made.write("__main__.py", "from fleet.spec.deploy import main\n\nmain()\n")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", made.path / "base.qcow2", "1G"], check=True)
    assert made.fleet("image", "lock", "fleet.yaml", "--file", "base.qcow2").status == 0
    yield made
    made.fleet("destroy", *STACK, "--yes")
