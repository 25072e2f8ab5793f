"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.files import private_folder, write_private, write_whole


def test_a_file_that_is_written_anew_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("one")
    file.chmod(0o600)
    link.symlink_to(file)
    write_whole(link, "two")
    assert link.is_symlink()
    assert file.read_text() == "two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("there", [False, True])
def test_what_a_stack_keeps_is_for_its_owner_alone_though_it_was_for_all_before(there: bool, tmp_path: Path) -> None:
    file = tmp_path / "project" / ".fleet" / "local" / "rosters" / "web.json"
    if there:
        file.parent.mkdir(parents=True)
        file.write_text("before")
        file.chmod(0o644)
    (tmp_path / "project").mkdir(exist_ok=True)
    (tmp_path / "project").chmod(0o755)
    write_private(file, "secret")
    assert file.read_text() == "secret"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (file, *file.parents[:4])}
    assert modes == {"web.json": 0o600, "rosters": 0o700, "local": 0o700, ".fleet": 0o700, "project": 0o755}


def test_a_folder_of_the_users_own_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    private_folder(tmp_path / "mine" / "state" / "disks")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "mine" / "state" / "disks").stat().st_mode & 0o777 == 0o700
