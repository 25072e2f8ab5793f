"""``fleet new``: the files of a project, as the project in ``stacks/`` has them."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from fleet import platforms
from fleet.errors import FleetError, UsageError

SOURCE = Path(__file__).parent.parent / "scaffold"
FILES = ("Pulumi.yaml", "__main__.py", "fleet.yaml", "base.bu")
STACKS = {name: "local" if name == "qemu" else name for name in platforms.NAMES}
"""What a stack is called in the scaffold, by its platform."""
IGNORED = "# What a stack keeps on this machine.\n.fleet/\n.pulumi/\n__pycache__/\n"


def begin(folder: Path, platform: str) -> tuple[Path, str]:
    """Write a project.

    Args:
        folder: Where; made if need be. Its name is the project's and the fleet's.
        platform: The platform of its first stack.

    Returns:
        The spec's path, and the stack's name.

    Raises:
        UsageError: The name is none for a project, there is no such platform, or the folder has such files already.
        FleetError: The files cannot be written.
    """
    name = folder.resolve().name
    if not re.fullmatch("[a-z][a-z0-9-]*", name):
        raise UsageError(
            f"A fleet cannot be called {name!r}.", fix="Name the folder with lower-case letters, digits and hyphens."
        )
    if platform not in STACKS:
        raise UsageError(f"There is no platform {platform!r}.", fix=f"The platforms are: {', '.join(STACKS)}.")
    files = (*FILES, f"Pulumi.{STACKS[platform]}.yaml")
    for file in (*files, ".gitignore"):
        if (folder / file).exists():
            raise UsageError(f"{folder / file} is there already; nothing was written.", fix="Take another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(SOURCE / file, folder / file)
        for file in ("Pulumi.yaml", "fleet.yaml"):
            text = (folder / file).read_text(encoding="utf-8")
            (folder / file).write_text(re.sub("^name: .*", f"name: {name}", text), encoding="utf-8")
        (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    except OSError as error:
        # None of them was there before.
        for file in (*files, ".gitignore"):
            with contextlib.suppress(OSError):
                (folder / file).unlink()
        raise FleetError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return folder / "fleet.yaml", STACKS[platform]
