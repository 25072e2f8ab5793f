"""The YAML language server that editors use, from npm, as ``package-lock.json`` beside this pins it with hashes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools.cache import built, key_of

_HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json")


def command() -> list[str]:
    """The command that serves on standard input and output; what it needs is installed in the cache first."""
    folder = built("language-server", key_of(*(_HERE / name for name in _FILES)), _install)
    return ["node", str(folder / "node_modules/yaml-language-server/bin/yaml-language-server"), "--stdio"]


def _install(folder: Path) -> None:
    for name in _FILES:
        shutil.copy(_HERE / name, folder)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, timeout=300
    )
