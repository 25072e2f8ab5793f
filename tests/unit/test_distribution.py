"""The distribution's name, which is not the import's: `fleet` is another project in the package index."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

import fleet.config  # noqa: F401  (before its own distribution is out of sight)
from fleet.errors import DISTRIBUTION, installed
from fleet.ops.version import versions
from tools import tree
from tools.cache import ROOT


def test_the_name_is_the_one_of_the_metadata() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == DISTRIBUTION


def test_no_text_tells_anyone_to_install_the_other_project() -> None:
    wrong = []
    for name in tree.files():
        file = ROOT / name
        if file.suffix in (".py", ".md", ".1", ".yaml", ".yml", ".toml", ".html", ".js"):
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                # A name that ends before, with quotes, an extra or a release; `pip uninstall fleet` is meant.
                if re.search(r"""(?<!un)install [^`]*?(?<![\w/.-])["']?fleet(?=[\["'`=]|\s*$)""", line):
                    wrong.append(f"{name}:{number}: {line.strip()}")
    assert not wrong


def older(folder: Path, name: str, command: str) -> Path:
    """A folder with the metadata of a distribution, as pip writes it."""
    info = folder / f"{name.replace('-', '_')}-9.8.7.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.8.7\n")
    (info / "entry_points.txt").write_text(f"[console_scripts]\nfleet = {command}\n")
    return folder


@pytest.mark.parametrize(
    ("name", "command", "shown"),
    [
        ("fcos-fleet", "fleet.cli:main", "fleet 9.8.7"),
        ("fleet", "fleet.cli:main", "fleet 9.8.7"),
        ("fleet", "fleet.main:run", "fleet (not installed)"),
    ],
)
def test_the_version_is_that_of_fleet_under_its_name_or_its_earlier_one_and_never_another_projects(
    name: str, command: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(older(tmp_path, name, command))])
    assert versions()[0] == shown
    assert (installed() is not None) == (shown != "fleet (not installed)")
