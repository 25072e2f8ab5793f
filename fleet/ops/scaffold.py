"""``fleet new``: the files of a project, copied from ``fleet/templates``.

They are files of the package, and listed by name in ``pyproject.toml``; the stack's file is its platform's. The
repository's own project, ``stacks/``, has the same ones, of which a test takes care: a project that is used holds
states, disks and configs beside them.
"""

from __future__ import annotations

import contextlib
import re
from importlib import resources
from pathlib import Path

from fleet import platforms
from fleet.errors import FleetError, UsageError

SOURCE = resources.files("fleet") / "templates"
FILES = ("Pulumi.yaml", "__main__.py", "fleet.yaml", "base.bu")
STACK_FILE = "config:\n  fleet:platform: {platform}\n  fleet:spec: fleet.yaml\n"
"""A stack's config file, for a platform that brings none."""
IGNORED = "# What a stack keeps on this machine.\n.fleet/\n.pulumi/\n__pycache__/\n"


def begin(folder: Path, platform: str) -> tuple[Path, str, str]:
    """Write a project.

    Args:
        folder: Where; made if need be. Its name is the project's and the fleet's.
        platform: The platform of its first stack.

    Returns:
        The spec's path, the stack's name, and what the user has to do for the platform; empty if nothing.

    Raises:
        UsageError: The name is none for a project, there is no such platform, or the folder has such files already.
        FleetError: The files cannot be written.
    """
    name = folder.resolve().name
    if not re.fullmatch("[a-z][a-z0-9-]*", name):
        raise UsageError(
            f"A fleet cannot be called {name!r}.", fix="Name the folder with lower-case letters, digits and hyphens."
        )
    kind = platforms.platform_class(platform)
    stack, template = kind.first_stack or platform, kind.stack_file()
    stack_file, note = f"Pulumi.{stack}.yaml", ""
    if not template:
        template = STACK_FILE.format(platform=platform)
        note = (
            f"The platform {platform} brings no stack file to begin with. Set its options under `fleet:{platform}` in "
            f"{folder / stack_file}: {', '.join(kind.options_model.model_fields) or 'it has none'}."
        )
    files = (*FILES, stack_file, ".gitignore")
    for file in files:
        if (folder / file).exists():
            raise UsageError(f"{folder / file} is there already; nothing was written.", fix="Take another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            (folder / file).write_bytes((SOURCE / file).read_bytes())
        (folder / stack_file).write_text(template, encoding="utf-8")
        for file in ("Pulumi.yaml", "fleet.yaml"):
            text = (folder / file).read_text(encoding="utf-8")
            (folder / file).write_text(re.sub("^name: .*", f"name: {name}", text), encoding="utf-8")
        (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    except OSError as error:
        # None of them was there before.
        for file in files:
            with contextlib.suppress(OSError):
                (folder / file).unlink()
        raise FleetError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return folder / "fleet.yaml", stack, note
