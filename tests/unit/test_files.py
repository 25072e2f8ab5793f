"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from fleet.files import write_whole


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
