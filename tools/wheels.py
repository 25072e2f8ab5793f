"""The packages: ``make wheels`` builds ``dist/``, a wheel for each kind of machine and the source distribution, and
wheels of the server of states, a distribution of its own.

The Go binary is cross-compiled without C, so one machine builds them all. What is packed is what git has, in a folder
of its own: the binary of this tree stays. The same sources give the same bytes, wherever and whenever they are built.
Each wheel carries its bill of materials (CycloneDX, PEP 770): the Go modules that are linked into it with their
versions, and what it asks of PyPI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from hatch_build import TARGETS, Go, Target
from tools import cache, tree
from tools.go import go

DIST = "dist"
_EPOCH = 1_580_601_600
"""The time that Hatchling gives to all files of an archive."""


def bill_of_materials(target: Target, project: dict[str, Any]) -> str:
    """What is in a wheel, as CycloneDX's JSON: the same bytes every time.

    Args:
        target: Whose wheel.
        project: The table ``project`` of ``pyproject.toml``.
    """
    name, version = project["name"], project["version"]
    root = Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION,
        purl=PackageURL("pypi", None, name, version),
        bom_ref=name,
        licenses=[LicenseExpression(project["license"])],
    )
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"pkg:pypi/{name}@{version}#{target.platform}"))
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(_EPOCH, UTC)
    parts = []
    for path, release in Go(go(), cache.ROOT / "transpiler", target).modules().items():
        place, _, last = path.rpartition("/")
        purl = PackageURL("golang", place, last, release)
        parts.append(Component(name=path, version=release, type=ComponentType.LIBRARY, purl=purl, bom_ref=path))
    for text in project["dependencies"]:
        asked = Requirement(text)
        parts.append(
            Component(
                name=asked.name,
                type=ComponentType.LIBRARY,
                purl=PackageURL("pypi", None, asked.name.lower()),
                bom_ref=f"pypi:{asked.name}",
                properties=[Property(name="requires", value=str(asked.specifier))],
            )
        )
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(root, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1)


def build(out: Path, names: Sequence[str] = tuple(TARGETS)) -> list[Path]:
    """Build the source distribution and wheels.

    Args:
        out: Where to.
        names: For which of :data:`hatch_build.TARGETS`.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((cache.ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in tree.files():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(cache.ROOT / name, copy / name)
        _hatch(copy, out, "sdist", {})
        for name in names:
            (copy / "fleet.cdx.json").write_text(bill_of_materials(TARGETS[name], project))
            _hatch(copy, out, "wheel", {"FLEET_WHEEL": name, "FLEET_SBOM": "fleet.cdx.json"})
    prefix = f"{project['name'].replace('-', '_')}-{project['version']}"
    return sorted(file for file in out.iterdir() if file.name.startswith(prefix))


def build_server(out: Path, names: Sequence[str] = tuple(TARGETS)) -> list[Path]:
    """Build wheels of ``fcos-fleet-state``, the server of `fleet state serve`.

    Args:
        out: Where to.
        names: For which of :data:`hatch_build.TARGETS`.

    Returns:
        The files.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in tree.files("hatch_build.py", "state/*"):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(cache.ROOT / name, Path(folder) / name)
        for name in names:
            _hatch(Path(folder) / "state", out, "wheel", {"FLEET_WHEEL": name})
    return sorted(out.glob("fcos_fleet_state-*.whl"))


def _hatch(folder: Path, out: Path, kind: str, environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(out)],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(go()).parent}:{os.environ['PATH']}", **environment},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main() -> None:
    """Build all of them, have twine check them, and say how large they are."""
    out = cache.ROOT / DIST
    shutil.rmtree(out, ignore_errors=True)
    files = [*build(out), *build_server(out)]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    for file in files:
        print(f"{file.stat().st_size / 1e6:5.1f} MB  {file.relative_to(cache.ROOT)}")


if __name__ == "__main__":
    main()
