"""What layers say that know neither the spec nor the ``fleet`` command."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import FleetError, Remedy
from tools.cache import ROOT


def texts(file: Path) -> Iterator[str]:
    """The strings of a module but its documentation."""
    tree = ast.parse(file.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


@pytest.mark.parametrize("package", ["config", "images"])
def test_configs_and_images_name_no_commands(package: str) -> None:
    for file in sorted((ROOT / "fleet" / package).rglob("*.py")):
        for text in texts(file):
            # What users read in a lock is written for them.
            assert "`fleet " not in text or text.startswith("# "), file


def test_what_mends_an_error_is_read_in_words_and_known_by_its_kind() -> None:
    for remedy in Remedy:
        error = FleetError("It is wrong.", fix=remedy)
        assert error.remedy is remedy
        assert str(error) == f"It is wrong. {remedy.value}"
    error = FleetError("It is wrong.", fix="Mend it.")
    assert (error.remedy, str(error)) == (None, "It is wrong. Mend it.")
