"""Which files of a folder of the project go to a node: of a build's, those that Podman would copy there.

What an ignore file excludes is nothing that a build on the node could use, since Podman honours the same file there; on
the node it would only make the config larger, and re-provision nodes for nothing. What fleet and Pulumi keep beside a
spec changes with every update, and may hold what is nobody's business on a node: it never goes there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from fleet.config import not_ignored
from fleet.errors import FleetError, Position
from fleet.files import OWN_FOLDER, read_text

_OWN_FOLDERS = frozenset((OWN_FOLDER, ".pulumi"))
_STACK_FILE = re.compile(r"Pulumi\..+\.(ya?ml|json)(\.partial)?")
_BY_DEFAULT = "**/.git\n"
"""Every command of Git's changes it. An ignore file has it nevertheless by ``!.git``."""


class Excluded:
    """What fleet and Pulumi keep: ``.fleet``, ``.pulumi``, ``Pulumi.<stack>.yaml``, and files that the spec names.

    Args:
        files: Those files, such as the image lock.
    """

    def __init__(self, files: Collection[Path]) -> None:
        self._files = frozenset(map(os.path.realpath, files))

    def has(self, folder: Path, path: Path) -> bool:
        """Whether a path in a folder is among it."""
        return (
            not _OWN_FOLDERS.isdisjoint(path.relative_to(folder).parts)
            or bool(_STACK_FILE.fullmatch(path.name))
            or os.path.realpath(path) in self._files
        )


def ignore_file(context: Path, containerfile: str) -> str:
    """The ignore file that Podman takes for a build, relative to its folder; empty if there is none.

    Args:
        context: The folder.
        containerfile: The Containerfile's path in it.
    """
    # Podman's order (buildah, pkg/parse, ContainerIgnoreFile).
    own = (f"{containerfile}.dockerignore", f"{containerfile}.containerignore")
    return next((name for name in (*own, ".containerignore", ".dockerignore") if (context / name).exists()), "")


def built_from(context: Path, containerfile: str, ignoring: str, names: Sequence[str]) -> list[str]:
    """Those of a folder's files that a build on the node needs.

    The Containerfile and the ignore file are among them whatever the latter says, since Podman reads both.

    Args:
        context: The folder.
        containerfile: The Containerfile's path in it.
        ignoring: The ignore file's; empty if there is none.
        names: Of the files, relative to the folder.

    Raises:
        FleetError: The ignore file cannot be read.
    """
    at = context / ignoring
    text = read_text(at, "ignore file", kind=FleetError) if ignoring else ""
    included = set(
        not_ignored(_BY_DEFAULT + text.removeprefix("\ufeff"), names, at=Position.of(at) if ignoring else None)
    )
    included |= {os.path.normpath(name) for name in (containerfile, ignoring) if name}
    return [name for name in names if name in included]
