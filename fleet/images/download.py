"""Disk images on this machine: downloaded once, checked, decompressed, kept in a cache.

A download goes to a ``.part`` file that is never used as an image: it is continued by the next try, whatever ended
this one. Only when its SHA-256 is the locked one is it decompressed, to another partial file, which gets its final
name when its own SHA-256 is right. A process that is killed at any point leaves nothing that could be taken for an
image.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import lzma
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

import platformdirs

from fleet.errors import FleetError
from fleet.images.lock import Disk

_CHUNK = 1 << 20
_TRIES = 5

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the bytes done and the bytes in all (``None``: unknown)."""


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/fleet/images``."""
    return platformdirs.user_cache_path("fleet") / "images"


def obtain(disk: Disk, *, cache: Path | None = None, progress: Progress | None = None, timeout: float = 60) -> Path:
    """The disk image as a file on this machine, downloaded if need be.

    Args:
        disk: From the image lock.
        cache: Where images are kept; :func:`default_cache` by default.
        progress: Told how far it is.
        timeout: Seconds without a byte before the connection counts as dead.

    Raises:
        FleetError: The server cannot be reached, a checksum is wrong, or the disk is full.
    """
    report = progress or (lambda step, done, total: None)
    if not disk.remote:
        return _local(disk, report)
    cache = cache or default_cache()
    name, final = _name(disk), _final(disk, cache)
    if final.exists():
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with _locked(final.parent / "lock"):
            if not final.exists():
                part = final.parent / f"{name}.part"
                _download(disk, part, report, timeout)
                _unpack(disk, name, part, final, report)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(final.parent).free >> 20
            raise FleetError(
                f"The disk is full: {final.parent} has {free} MiB left, too little for {name}.",
                fix="Make room there, or set XDG_CACHE_HOME to a folder on a larger disk, and run the command again: "
                "the download goes on where it stopped.",
            ) from None
        raise FleetError(f"The image cannot be kept in {final.parent}: {error.strerror or error}.") from None
    return final


def look_for(disk: Disk, *, cache: Path | None = None, timeout: float = 20) -> None:
    """Make sure that :func:`obtain` has a disk image to get, without getting it.

    Args:
        disk: From the image lock.
        cache: As for :func:`obtain`.
        timeout: Seconds that the server may take to answer.

    Raises:
        FleetError: There is no such file, or the server does not offer it.
    """
    if not disk.remote:
        try:
            Path(disk.location).open("rb").close()
        except OSError as error:
            raise _unreadable(Path(disk.location), error) from None
        return
    if _final(disk, cache or default_cache()).exists():
        return
    import httpx  # slow to import, and most runs look for nothing

    try:
        httpx.head(disk.location, timeout=timeout, follow_redirects=True).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise _refused(disk, error.response.status_code) from None
    except httpx.TransportError as error:
        raise FleetError(
            f"The server of the locked image {disk.location} cannot be reached ({error or type(error).__name__}).",
            fix="Check the network and run the command again.",
        ) from None


def _name(disk: Disk) -> str:
    return Path(urlsplit(disk.location).path).name


def _final(disk: Disk, cache: Path) -> Path:
    """Where a disk image is kept."""
    return cache / disk.uncompressed_sha256 / _name(disk).removesuffix(".xz").removesuffix(".gz")


def _refused(disk: Disk, status: int) -> FleetError:
    return FleetError(
        f"The server answered {status} for {disk.location}.",
        fix="Old releases are removed upstream; lock a newer one with `fleet image update`.",
    )


def _unreadable(path: Path, error: OSError) -> FleetError:
    return FleetError(
        f"The locked image {path} cannot be read: {error.strerror}.",
        fix="Put it back, or write a new lock with `fleet image update`.",
    )


def _local(disk: Disk, report: Progress) -> Path:
    path = Path(disk.location)
    try:
        size = path.stat().st_size
        with path.open("rb") as content:
            digest = hashlib.sha256()
            for chunk in iter(lambda: content.read(_CHUNK), b""):
                digest.update(chunk)
                report("checking", content.tell(), size)
    except OSError as error:
        raise _unreadable(path, error) from None
    _check(digest.hexdigest(), disk.sha256, str(path))
    return path


def _download(disk: Disk, part: Path, report: Progress, timeout: float) -> None:
    """Bring ``part`` to its full length, going on where an earlier try stopped, and check it."""
    import httpx  # slow to import, and most runs download nothing

    for attempt in range(1, _TRIES + 1):
        try:
            _stream(disk.location, part, report, timeout)
            break
        except httpx.HTTPStatusError as error:
            raise _refused(disk, error.response.status_code) from None
        except httpx.TransportError as error:
            if attempt == _TRIES:
                raise FleetError(
                    f"The download of {disk.location} broke off {_TRIES} times ({error or type(error).__name__}).",
                    fix="Check the network and run the command again: it goes on where it stopped.",
                ) from None
    with part.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    try:
        _check(digest, disk.sha256, disk.location)
    except FleetError:
        part.unlink()  # going on from wrong bytes would never end well
        raise


def _stream(url: str, part: Path, report: Progress, timeout: float) -> None:
    import httpx

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing; the checksum will tell
        answer.raise_for_status()
        if answer.status_code != httpx.codes.PARTIAL_CONTENT:
            have = 0  # the server cannot resume
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as out:
            # As it comes in: a fixed chunk size would drop what had arrived when the connection breaks.
            for chunk in answer.iter_raw():
                out.write(chunk)
                have += len(chunk)
                report("downloading", have, total)


def _unpack(disk: Disk, name: str, part: Path, final: Path, report: Progress) -> None:
    scratch = final.parent / f"{final.name}.partial"
    digest = hashlib.sha256()
    size = part.stat().st_size
    decompressor = _decompressor(name)
    with part.open("rb") as source, scratch.open("wb") as out:
        for chunk in iter(lambda: source.read(_CHUNK), b""):
            try:
                plain = decompressor(chunk)
            except (lzma.LZMAError, zlib.error, EOFError) as error:
                raise FleetError(f"{disk.location} cannot be decompressed ({error}).") from None
            digest.update(plain)
            _write_sparse(out, plain)
            report("decompressing", source.tell(), size)
        out.truncate()
        # From its final name on, it counts as whole, after a power failure too.
        out.flush()
        os.fsync(out.fileno())
    try:
        _check(digest.hexdigest(), disk.uncompressed_sha256, f"{disk.location}, decompressed,")
    except FleetError:
        scratch.unlink()
        raise
    scratch.replace(final)
    part.unlink()


class _Decompress(Protocol):
    def __call__(self, data: bytes, /) -> bytes: ...


def _decompressor(name: str) -> _Decompress:
    if name.endswith(".xz"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress
    if name.endswith(".gz"):
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress
    return lambda data: data


def _write_sparse(out: BinaryIO, data: bytes) -> None:
    """Write, leaving a hole where all is zero."""
    if data.count(0) == len(data):
        out.seek(len(data), 1)
    else:
        out.write(data)


def _check(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise FleetError(
            f"The checksum of {what} is wrong: its SHA-256 is {found}, the image lock says {wanted}.",
            fix="Do not use this image. Try again; if it stays wrong, the server or the lock was tampered with.",
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
