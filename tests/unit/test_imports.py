"""What the command line imports before it knows which command is meant."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        ("fleet.cli", ("typer", "rich", "fleet.errors")),
        (
            "fleet.cli.app",
            ("rich", "pulumi", "pydantic", "httpx", "yaml", "cryptography", "fleet.images", "fleet.platforms"),
        ),
        ("fleet.program.stack_plan", ("pulumi",)),
        ("fleet.program.exported", ("pulumi", "pydantic")),
    ],
)
def test_what_takes_long_to_import_waits_for_what_needs_it(module: str, needless: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not set(needless) & set(loaded)
