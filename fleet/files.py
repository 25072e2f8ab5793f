"""Files that are written whole or not at all, and by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

OWN_FOLDER = ".fleet"
"""What a project's folder is called in which stacks keep, on this machine, what is not in their states."""


def private_folder(folder: Path) -> None:
    """Make a folder that its owner alone can look into, and what it lies in that is not there. Of one that is there the
    access of others is taken away; so it is of :data:`OWN_FOLDER`, if it lies in that, and of what is between.

    Raises:
        OSError: It cannot be made.
    """
    levels = [folder, *folder.parents]
    for level in reversed(levels):
        if not level.is_dir():
            with contextlib.suppress(FileExistsError):
                level.mkdir(mode=0o700)
    own = next((index for index, level in enumerate(levels) if level.name == OWN_FOLDER), 0)
    for level in levels[: own + 1]:
        if level.stat().st_mode & 0o077:
            level.chmod(0o700)


def write_private(file: Path, text: str) -> None:
    """:func:`write_whole` a file that its owner alone can read, whatever it was before, in a folder likewise.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    private_folder(file.parent)
    with contextlib.suppress(FileNotFoundError):
        file.chmod(0o600)
    write_whole(file, text, mode=0o600)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """A context that no other process of this machine is in for the same file, which stays as it is.

    Args:
        file: The file. It is there, and nobody puts another in its place.

    Raises:
        OSError: It cannot be locked.
    """
    # A network file system locks only what is open for writing.
    with file.open("r+b" if os.access(file, os.W_OK) else "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def write_whole(file: Path, text: str, *, mode: int = 0o666) -> None:
    """Write a text file so that whoever reads it, after a crash or on a full disk too, sees all of it, or what was
    there before.

    Args:
        file: The file, or a link to it. Its folder is there.
        text: Its content.
        mode: Its permissions, before the umask, from its first byte on; those of a file that is there stay.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    file = Path(os.path.realpath(file))
    scratch = file.with_name(f"{file.name}.partial")
    scratch.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as out:
            if file.exists():
                os.fchmod(out.fileno(), file.stat().st_mode & 0o777)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(file)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
