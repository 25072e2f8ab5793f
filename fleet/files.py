"""Files: read if they are what a user may have written, written whole or not at all, by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet.errors import FleetError, Position, UsageError

OWN_FOLDER = ".fleet"
"""What a project's folder is called in which stacks keep, on this machine, what is not in their states."""


def private_folder(folder: Path) -> None:
    """Make a folder that its owner alone can look into, with its parents.

    Of one that is there the access of others is taken away; so it is of :data:`OWN_FOLDER`, if it lies in that, and of
    what is between.

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


MOST = 64 << 20
"""Bytes of a file that is read whole: many times what a config can have, and what any machine has room for."""

TEXT_MOST = 4 << 20
"""Bytes of a text: many times those of the longest spec, and what is parsed in some seconds."""


def irregular(path: Path) -> str:
    """Why a path names no file with content of its own, such as "a folder"; empty if it does.

    A pipe would be waited for, and a device may never end.

    Raises:
        OSError: There is nothing, or it cannot be looked at.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return ""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((what for is_kind, what in kinds if is_kind(mode)), "a device")


def read_bytes(
    path: Path, what: str, *, at: Position | None = None, kind: type[FleetError] = UsageError, most: int = MOST
) -> bytes:
    """The content of a file that a user named.

    Args:
        path: The file.
        what: What errors call it, such as "spec".
        at: Where errors say that it is; the file itself by default.
        kind: The errors' class.
        most: Bytes that it may have.

    Raises:
        FleetError: There is none, it is no file, it cannot be read, or it is larger.
    """
    at = at or Position.of(path)
    named = "" if at == Position.of(path) else f" {path}"
    try:
        if reason := irregular(path):
            raise kind(f"The {what}{named} is {reason}, not a file.", at=at)
        with path.open("rb") as content:
            data = content.read(most + 1)
    except FileNotFoundError:
        raise kind(f"There is no such {what}{named and ':'}{named}.", at=at) from None
    except (OSError, ValueError) as error:
        # ValueError: a path with a NUL.
        reason = getattr(error, "strerror", None) or str(error)
        raise kind(f"The {what}{named} cannot be read: {reason}.", at=at) from None
    if len(data) > most:
        raise kind(f"The {what}{named} is larger than {most >> 20} MiB, and too large to be one.", at=at)
    return data


def read_text(path: Path, what: str, *, at: Position | None = None, kind: type[FleetError] = UsageError) -> str:
    """The text of a file that a user named; each line ends with a line feed alone.

    Args:
        path: The file.
        what: What errors call it, such as "spec".
        at: Where errors say that it is; the file itself by default.
        kind: The errors' class.

    Raises:
        FleetError: As :func:`read_bytes`; or it is not text.
    """
    data = read_bytes(path, what, at=at, kind=kind, most=TEXT_MOST)
    named = "" if at in (None, Position.of(path)) else f" {path}"
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise kind(f"The {what}{named} is not UTF-8 text (byte {error.start}).", at=at or Position.of(path)) from None


def read_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: It is none, or is nested too deeply for any use.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_whole(file: Path, text: str, *, mode: int = 0o666) -> None:
    """Write a text file whole or not at all: after a crash, or on a full disk, it has its earlier contents.

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


def stack_folder(project: Path, stack: str) -> Path:
    """Where a stack keeps, on this machine, what is not in its state.

    Args:
        project: The Pulumi project's folder.
        stack: The stack's name.
    """
    return (project / OWN_FOLDER / stack).resolve()
