"""The image lock of a program's fleets: ``fleet image lock FOLDER``."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet import images
from fleet.errors import UsageError
from fleet.ops.image_lock import Source, write_lock


def test_a_programs_folder_has_a_lock_without_any_spec_file(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(b"QFI\xfb" + bytes(508))
    written = write_lock(tmp_path, Source(file=disk), renew=False)
    assert written.path == tmp_path / "image.lock.yaml"
    assert images.read_lock(written.path) == written.lock
    with pytest.raises(UsageError, match="There is a lock already"):
        write_lock(tmp_path, Source(file=disk), renew=False)
    assert write_lock(tmp_path, Source(file=disk), renew=True).lock == written.lock


def test_a_folder_that_holds_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a folder without a Pulumi\.yaml\. Name a spec"):
        write_lock(tmp_path, Source(), renew=False)
    assert not list(tmp_path.iterdir())
