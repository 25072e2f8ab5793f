"""What the command line imports before it knows which command is meant."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.test_tokens import PROVIDERS

DESCRIBING = {"pydantic", "httpx", "cryptography", "fleet.plan", "fleet.config", "fleet.images", "fleet.platforms.base"}
"""What describes nodes, asks them, and gets images."""


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


@pytest.mark.parametrize(("module", "name"), sorted(PROVIDERS.values()))
def test_a_provider_in_its_own_process_imports_what_it_needs_once_it_does_something(module: str, name: str) -> None:
    code = f"import sys; from {module} import {name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not DESCRIBING & set(loaded)


PLANNED = "version: 1\nname: web\ngroups: {web: {containers: {hello: {image: 'docker.io/library/caddy:2'}}}}\n"


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (("--help",), ("typer", "rich", "typing", "pathlib", "fleet.errors")),
        (("image", "--help"), ("typer", "rich", "typing", "pathlib", "fleet.errors")),
        (("--version",), ("typer", "rich", "pydantic", "yaml", "pulumi")),
        (("up", "--help"), ("pulumi", "yaml", "fleet.ops.session")),
        (("validate", "fleet.yaml"), ("pulumi", "rich", "httpx", "asyncio", "platformdirs", "fleet.ops.events")),
        (("render", "fleet.yaml"), ("pulumi", "rich", "httpx", "asyncio", "platformdirs")),
        (("schema",), ("pulumi", "rich", "httpx", "asyncio", "fleet.planner")),
    ],
    ids=" ".join,
)
def test_a_command_imports_what_it_needs(arguments: Sequence[str], needless: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(PLANNED)
    code = (
        "import sys; from fleet.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'fleet'\n{code}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout
    assert not set(needless) & set(result.stderr.splitlines()[-1].split())
