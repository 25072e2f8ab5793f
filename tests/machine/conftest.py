"""What machine tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import STACK, Folder
from tools import machine_image


@pytest.fixture
def machines(folder: Folder) -> Iterator[Callable[[str], Folder]]:
    """Makes the folder a project on qemu, with the given options; its machines are gone afterwards."""

    def make(options: str) -> Folder:
        folder.make_project(options)
        locked = folder.fleet("image", "lock", "fleet.yaml", "--file", str(machine_image.machine_image()))
        assert locked.status == 0, locked.err
        return folder

    yield make
    folder.fleet("destroy", *STACK, "--yes", "--delete-data-disks")
