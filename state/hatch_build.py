"""Hatch build hook of ``fcos-fleet-state``: builds the server into the wheel, as fleet's own does the transpiler."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import hatch_build as fleet_build  # it is beside the folder, not in a package

PROGRAM = "fleet-state"


class ServerHook(BuildHookInterface[Any]):
    """Builds the module in this folder, and tags the wheel with the platform it is for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the program and its notices."""
        go_program = shutil.which("go")
        if go_program is None:
            sys.exit("Error: the server cannot be built: there is no Go on PATH. Install Go 1.26 or later.")
        target = fleet_build.TARGETS[os.environ["FLEET_WHEEL"]] if "FLEET_WHEEL" in os.environ else None
        out = Path(self.root, "build")
        out.mkdir(exist_ok=True)
        go = fleet_build.Go(go_program, Path(self.root), target)
        go.run("build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(out / PROGRAM), ".")
        (out / "NOTICES.txt").write_text(go.notices(PROGRAM), encoding="utf-8")
        build_data["tag"] = f"py3-none-{target.platform if target else next(sys_tags()).platform}"
