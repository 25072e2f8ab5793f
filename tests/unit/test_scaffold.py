"""A fleet's first files, by `fleet new`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.platforms import names
from tests.conftest import Folder, small_disk


@pytest.mark.parametrize("platform", names())
def test_a_new_fleet_is_a_valid_project_on_its_platform(folder: Folder, platform: str) -> None:
    created = folder.fleet("new", "site", "--platform", platform)
    assert created.status == 0, created.err
    stack = "local" if platform == "qemu" else platform
    assert f"fleet up site/fleet.yaml --stack {stack}" in created.out
    site = folder.path / "site"
    assert {file.name for file in site.iterdir()} == {
        ".gitignore", "Pulumi.yaml", f"Pulumi.{stack}.yaml", "__main__.py", "base.bu", "fleet.yaml",
    }  # fmt: skip
    assert (site / "Pulumi.yaml").read_text().startswith("name: site\n")
    valid = folder.fleet("validate", "site/fleet.yaml", "--platform", platform)
    assert valid.status == 0, valid.err


def test_nothing_that_is_there_is_overwritten(folder: Folder) -> None:
    mine = folder.write("site/fleet.yaml", "mine")
    refused = folder.fleet("new", "site")
    assert refused.status == 2
    assert f"{Path('site/fleet.yaml')} is there already; nothing was written" in refused.err
    assert mine.read_text() == "mine"
    assert [file.name for file in mine.parent.iterdir()] == ["fleet.yaml"]


@pytest.mark.parametrize("arguments", [("My Site",), ("site", "--platform", "azure")])
def test_a_name_or_platform_that_cannot_be_is_refused(folder: Folder, arguments: tuple[str, ...]) -> None:
    assert folder.fleet("new", *arguments).status == 2
    assert not (folder.path / arguments[0]).exists()


@pytest.mark.system
def test_on_a_full_disk_nothing_is_begun(folder: Folder) -> None:
    folder.path.mkdir(exist_ok=True)
    with small_disk(folder.path / "site", "8k") as fill:
        room = fill()
        refused = folder.fleet("new", "site")
        assert refused.status == 1
        assert "site cannot be written: No space left on device." in refused.err
        assert list((folder.path / "site").iterdir()) == [room]
        room.unlink()
