"""What the command line imports before it knows which command is meant."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.test_tokens import PROVIDERS

DESCRIBING = {"pydantic", "httpx", "cryptography", "fleet.plan", "fleet.config", "fleet.images", "fleet.platforms.base"}
"""What describes nodes, asks them, and gets images."""


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        ("fleet.cli", ("pulumi", "pydantic", "httpx", "yaml", "cryptography", "fleet.images", "fleet.platforms")),
        ("fleet.program.stack_plan", ("pulumi",)),
        ("fleet.program.exported", ("pulumi", "pydantic")),
    ],
)
def test_what_takes_long_to_import_waits_for_what_needs_it(module: str, needless: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not set(needless) & set(loaded)


@pytest.mark.parametrize(("module", "name"), sorted(PROVIDERS.values()))
def test_a_provider_in_its_own_process_imports_what_it_needs_once_it_does_something(module: str, name: str) -> None:
    code = f"import sys; from {module} import {name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not DESCRIBING & set(loaded)
