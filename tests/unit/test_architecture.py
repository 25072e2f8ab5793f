"""The layers that people read about are the layers that are checked."""

from __future__ import annotations

import re
import tomllib

import fleet
from tools.cache import ROOT


def layers() -> list[list[str]]:
    """The layers of import-linter's contract, from the top, each with its parts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["id"] == "layers")
    return [re.split(r" [|:] ", layer) for layer in contract["layers"]]


def test_the_picture_in_the_docs_has_the_layers_of_the_contract() -> None:
    (picture,) = re.findall(r"^```layers\n(.*?)^```", (ROOT / "docs/architecture.md").read_text(), re.S | re.M)
    drawn = [re.split(" {2,}", line)[0] for line in picture.splitlines() if not line.startswith("---")]
    assert [re.split(r" [|:] ", layer) for layer in drawn] == layers()


def test_pulumi_is_forbidden_below_the_line_of_the_picture() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    below = text.partition("---- Pulumi")[2].partition("```")[0].splitlines()[1:]
    drawn = {f"fleet.{part}" for line in below for part in re.split(r" [|:] ", re.split(" {2,}", line)[0])}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["id"] == "pulumi")
    assert set(contract["source_modules"]) == drawn


def test_the_package_says_of_each_layer_what_it_is_from_the_bottom() -> None:
    assert fleet.__doc__
    named = re.findall(r":mod:`fleet\.(\w+)`", fleet.__doc__)
    expected = [set(layer) for layer in reversed(layers()[:-1])]
    position = 0
    for layer in expected:
        assert set(named[position : position + len(layer)]) == layer
        position += len(layer)
    assert position == len(named)
