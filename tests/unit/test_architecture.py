"""The layers that people read about are the layers that are checked."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import fleet
from fleet import platforms
from tools.cache import ROOT


def contract(name: str) -> dict[str, Any]:
    """One of import-linter's contracts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(each for each in contracts if each["id"] == name)


def layers() -> list[list[str]]:
    """The layers from the top, each with its parts."""
    return [re.split(r" [|:] ", layer) for layer in contract("layers")["layers"]]


def joined(picture: str) -> str:
    """The picture with a layer that is too long for a line in one."""
    return picture.replace(" :\n", " : ")


def test_the_picture_in_the_docs_has_the_layers_of_the_contract() -> None:
    (picture,) = re.findall(r"^```layers\n(.*?)^```", (ROOT / "docs/architecture.md").read_text(), re.S | re.M)
    drawn = [re.split(" {2,}", line)[0] for line in joined(picture).splitlines() if not line.startswith("---")]
    assert [re.split(r" [|:] ", layer) for layer in drawn] == layers()


def test_the_page_names_only_what_is_in_the_code() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    code = "\n".join(file.read_text() for file in (ROOT / "fleet").rglob("*.py"))
    defined = set(re.findall(r"^\s*(?:class|def) (\w+)", code, re.M))
    way = page.partition("## From a spec to machines")[2].split("```")[1]
    named = set(re.findall(r"\b(?:[a-z]+_[a-z_]+|[A-Z][a-z]+[A-Z]\w+)\b", way))
    assert len(named) > 5
    assert named - defined - OTHERS == set()
    places = re.findall(r"^- \*\*.+?\*\*: (.+(?:\n  .+)*)", page.partition("## Where to put what")[2], re.M)
    paths = {path for place in places for path in re.findall(r"`([\w/]+(?:/|\.py))`", place)}
    assert len(paths) > 10
    folders = (ROOT, ROOT / "fleet", ROOT / "fleet/workloads")
    assert [path for path in paths if not any((folder / path).exists() for folder in folders)] == []


OTHERS = {"CoreOS"}
"""Names that are no code of fleet's."""


def test_pulumi_is_forbidden_below_the_line_of_the_picture() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    below = joined(text.partition("---- Pulumi")[2].partition("```")[0]).splitlines()[1:]
    drawn = {f"fleet.{part}" for line in below for part in re.split(r" [|:] ", re.split(" {2,}", line)[0])}
    assert set(contract("pulumi")["source_modules"]) == drawn


def test_no_platform_is_left_out_of_those_that_may_not_import_each_other() -> None:
    assert set(contract("platforms")["modules"]) == {f"fleet.platforms.{name}" for name in platforms.names()}


def test_the_package_says_of_each_layer_what_it_is_from_the_bottom() -> None:
    assert fleet.__doc__
    named = re.findall(r":mod:`fleet\.(\w+)`", fleet.__doc__)
    expected = [set(layer) for layer in reversed(layers()[:-1])]
    position = 0
    for layer in expected:
        assert set(named[position : position + len(layer)]) == layer
        position += len(layer)
    assert position == len(named)
