"""Files: read with limits, written atomically, and locked between processes."""

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
"""The folder of a project for stacks' local data that is not in their states."""


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can read, with its parents.

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
    """:func:`write_whole` a file that only its owner can read, whatever its mode was before, in a private folder.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    private_folder(file.parent)
    with contextlib.suppress(FileNotFoundError):
        file.chmod(0o600)
    write_whole(file, text, mode=0o600)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """A context that holds an exclusive lock on a file among the processes of this machine; the file is not changed.

    Args:
        file: The file. It is there, and nobody puts another in its place.

    Raises:
        OSError: It cannot be locked.
    """
    # A network file system locks only what is open for writing.
    with file.open("r+b" if os.access(file, os.W_OK) else "rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


MOST = 64 << 20
"""Maximum bytes of a file that is read whole: many times the size of any config, and small for any machine's memory."""

TEXT_MOST = 4 << 20
"""Maximum bytes of a text: many times the longest spec, and parsed in a few seconds."""


def irregular(path: Path) -> str:
    """Why a path is not a regular file, such as "a folder"; empty if it is one.

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
    location = "" if at == Position.of(path) else f" {path}"
    try:
        if reason := irregular(path):
            raise kind(f"The {what}{location} is {reason}, not a file.", at=at)
        with path.open("rb") as content:
            data = content.read(most + 1)
    except FileNotFoundError:
        raise kind(f"There is no such {what}{location and ':'}{location}.", at=at) from None
    except (OSError, ValueError) as error:
        # ValueError: a path with a NUL.
        reason = getattr(error, "strerror", None) or str(error)
        raise kind(f"The {what}{location} cannot be read: {reason}.", at=at) from None
    if len(data) > most:
        raise kind(f"The {what}{location} is larger than {most >> 20} MiB, and too large to be one.", at=at)
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
    location = "" if at in (None, Position.of(path)) else f" {path}"
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise kind(
            f"The {what}{location} is not UTF-8 text (byte {error.start}).", at=at or Position.of(path)
        ) from None


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8.

    It cannot where it has half of a surrogate pair, as an escape of YAML's or JSON's gives, or as Python has bytes of
    the environment that are no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It is none, or is nested too deeply for any use.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_whole(file: Path, text: str, *, mode: int = 0o666) -> None:
    """Write a text file atomically: after a crash, or on a full disk, it still has its earlier contents.

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
    """The folder of a stack's local data that is not in its state.

    Args:
        project: The Pulumi project's folder.
        stack: The stack's name.
    """
    return (project / OWN_FOLDER / stack).resolve()


_SOCKET_PATH_MOST = 103
"""Maximum bytes of a socket's path: macOS has the fewest, 104 with a zero at the end (unix(4))."""


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """A context with a temporary folder for sockets, which only its owner can enter.

    It is in the usual place unless that, from which macOS and CIs have long paths, is too long for a socket's.

    Raises:
        OSError: It cannot be made.
    """
    import tempfile  # slow to import

    prefix = "fleet-"
    # A slash, eight random characters, a slash, and a short name.
    longest = os.fsencode(tempfile.gettempdir() + f"/{prefix}12345678/12345678")
    place = None if len(longest) <= _SOCKET_PATH_MOST else "/tmp"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as folder:
        yield Path(folder)
