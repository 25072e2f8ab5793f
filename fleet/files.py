"""Files that are written whole or not at all, and by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


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
