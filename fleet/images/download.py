"""Local disk images: downloaded once, verified, decompressed and cached.

A download goes to a ``.part`` file that is never used as an image: it is continued by the next try, whatever ended
this one. Only when its SHA-256 is the locked one, and its signature (:mod:`fleet.images.signature`) is valid, is it
decompressed, to another partial file, which gets its final name when its own SHA-256 is right and it is on the disk. A
process that is killed at any point leaves nothing that could be taken for an image.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import lzma
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from fleet.errors import FleetError, Remedy
from fleet.images.kept import digest, fault, keep, unfit
from fleet.images.signature import fingerprints, verify
from fleet.images.web import client, fetch, translated
from fleet.plan import Disk

_CHUNK = 1 << 20
_TRIES = 5
_SIGNATURE_MOST = 64 << 10
"""Maximum bytes of a signature; real ones have a few hundred."""

LIMIT = "FLEET_IMAGE_MAX_GIB"
"""The environment variable for the maximum size of an image in GiB, downloaded or unpacked; 64 by default."""

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the bytes done and the bytes in all (``None``: unknown)."""


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/fleet/images``."""
    import platformdirs  # no plan asks where

    return platformdirs.user_cache_path("fleet") / "images"


Say = Callable[[str], None]
"""Called with a message for the user."""


def obtain(
    disk: Disk,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    timeout: float = 60,
) -> Path:
    """Return the disk image as a local file, downloading it if needed.

    One that is here is looked at before it is used: it is read again if anything about the file has changed since it
    was found right. One that is broken is downloaded anew.

    Args:
        disk: From the image lock.
        cache: Where images are kept; :func:`default_cache` by default.
        progress: Told how far it is.
        say: Told that an image was broken; by default, that is said on standard error.
        timeout: Seconds without a byte before the connection counts as dead.

    Raises:
        FleetError: The server cannot be reached, a checksum or the signature is wrong, an image of the user's own has
            changed, or the disk is full.
    """
    report = progress or _nothing
    cache = cache or default_cache()
    if not disk.remote:
        return _own(disk, cache, report)
    final = _final(disk, cache)
    try:
        if not _fault(disk, final, report):
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        with _locked(final.parent / "lock"):
            if reason := _fault(disk, final, report):
                if reason != _MISSING:
                    (say or _on_stderr)(f"The image {final} is not used: {reason}. It is downloaded anew.")
                    _remove(final)
                _download(disk, final, report, timeout)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(final.parent).free >> 20
            raise FleetError(
                f"The disk is full: {final.parent} has {free} MiB left, too little for {_name(disk)}.",
                fix="Make room there, or set XDG_CACHE_HOME to a folder on a larger disk, and run the command again: "
                "the download goes on where it stopped.",
            ) from None
        raise FleetError(f"The image cannot be kept in {final.parent}: {error.strerror or error}.") from None
    return final


def look_for(disk: Disk, *, cache: Path | None = None, timeout: float = 20) -> None:
    """Check that a disk image and its signature are available to :func:`obtain`, without downloading them.

    Args:
        disk: From the image lock.
        cache: As for :func:`obtain`.
        timeout: Seconds that the server may take to answer.

    Raises:
        FleetError: There is no such file, or the server does not offer it.
    """
    cache = cache or default_cache()
    if not disk.remote:
        _own(disk, cache, _nothing)
        return
    # One that cannot be looked at is for obtain to tell of.
    with contextlib.suppress(OSError):
        if not _fault(disk, _final(disk, cache), _nothing):
            return
    with client(timeout) as asking:
        with translated(disk.location, refused=Remedy.LOCK_NEWER):
            asking.head(disk.location).raise_for_status()
        if not disk.unsigned:
            with _requesting_signature(disk):
                asking.head(disk.signature_url).raise_for_status()


def _nothing(step: str, done: int, total: int | None) -> None:
    """Ignore progress."""


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def _name(disk: Disk) -> str:
    return Path(urlsplit(disk.location).path).name


def _final(disk: Disk, cache: Path) -> Path:
    """The path of a disk image in the cache."""
    return cache / disk.uncompressed_sha256 / _name(disk).removesuffix(".xz").removesuffix(".gz")


def _note(final: Path) -> Path:
    return final.with_name(f"{final.name}.checked")


_MISSING = "it is not there"


def _fault(disk: Disk, final: Path, report: Progress) -> str:
    """Why a downloaded image cannot be used as it is; empty if it can."""
    signers = None if disk.unsigned else fingerprints(disk.keys)
    try:
        return fault(final, disk.uncompressed_sha256, _note(final), signers=signers, report=report)
    except FileNotFoundError:
        return _MISSING


def _remove(path: Path) -> None:
    """Remove an image from the cache. A machine with an overlay on it continues with its open file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _requesting_signature(disk: Disk) -> AbstractContextManager[None]:
    """A context that translates the errors of requesting an image's signature."""
    what = f", the signature of {disk.location}, and without it nothing says who made the image"
    return translated(disk.signature_url, what=what, refused=Remedy.LOCK_NEWER_OR_UNSIGNED)


def _own(disk: Disk, cache: Path, report: Progress) -> Path:
    """The user's own image, if it is the locked one."""
    path = Path(disk.location)
    note = cache / "checked" / hashlib.sha256(os.fsencode(path)).hexdigest()
    try:
        reason = fault(path, disk.sha256, note, report=report)
    except OSError as error:
        raise FleetError(
            f"The locked image {path} cannot be read: {error.strerror}.",
            fix=Remedy.RESTORE_FILE,
        ) from None
    if reason:
        raise FleetError(
            f"{path} is not the image that is locked: {reason}.",
            fix=Remedy.RESTORE_OR_LOCK_FILE,
        )
    return path


def _download(disk: Disk, final: Path, report: Progress, timeout: float) -> None:
    """Download, verify and unpack an image into the cache; resumes an earlier attempt."""
    name = _name(disk)
    part = final.parent / f"{name}.part"
    # First: that it is missing is better known before some hundred megabytes are here.
    signature = b"" if disk.unsigned else _signature(disk, timeout)
    _complete(disk, part, report, timeout)
    try:
        _check(digest(part, report), disk.sha256, disk.location)
        signer = "" if disk.unsigned else verify(part, signature, disk.keys, disk.location)
        _unpack(disk, name, part, final, report)
    except FleetError:
        part.unlink()  # going on from wrong bytes would never end well
        raise
    keep(final, disk.uncompressed_sha256, _note(final), signer=signer)
    part.unlink()


def _signature(disk: Disk, timeout: float) -> bytes:
    with _requesting_signature(disk):
        return fetch(disk.signature_url, most=_SIGNATURE_MOST, timeout=timeout)


def _complete(disk: Disk, part: Path, report: Progress, timeout: float) -> None:
    """Download the rest of ``part``."""
    import httpx  # slow to import, and most runs download nothing

    if part.exists() and unfit(part):
        _remove(part)
    with translated(disk.location, refused=Remedy.LOCK_NEWER, failed=Remedy.RESUME_DOWNLOAD):
        for attempt in range(1, _TRIES + 1):
            try:
                _stream(disk.location, part, report, timeout)
                return
            except httpx.HTTPStatusError:
                raise
            except httpx.HTTPError as error:
                if attempt == _TRIES:
                    text = f"it broke off {_TRIES} times ({error or type(error).__name__})"
                    raise httpx.HTTPError(text) from None


def _stream(url: str, part: Path, report: Progress, timeout: float) -> None:
    import httpx

    have = part.stat().st_size if part.exists() else 0
    most = _limit()
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client(timeout) as asking, asking.stream("GET", url, headers=headers) as answer:
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
                have += len(chunk)
                if have > most:
                    out.truncate(0)
                    raise _too_large(url, most)
                out.write(chunk)
                report("downloading", have, total)


def _limit() -> int:
    """The maximum bytes of an image.

    Raises:
        FleetError: The environment says something else than a number.
    """
    text = os.environ.get(LIMIT, "64")
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 20):
        raise FleetError(f"{LIMIT} should be a number of GiB, but is {text!r}.", fix="Set it right, or unset it.")
    return int(text) << 30


def _too_large(what: str, most: int) -> FleetError:
    return FleetError(
        f"{what} has more than {most >> 30} GiB, which no image of Fedora CoreOS has.",
        fix=f"Do not use this image. If it is an image of your own, allow more: {LIMIT}.",
    )


def _unpack(disk: Disk, name: str, part: Path, final: Path, report: Progress) -> None:
    """Unpack a download into the cache, durably: once it is there, it is complete even after a power failure."""
    scratch = final.parent / f"{final.name}.partial"
    what = f"{disk.location}, decompressed,"
    content_digest = hashlib.sha256()
    size = part.stat().st_size
    written, most = 0, _limit()
    try:
        with part.open("rb") as source, scratch.open("wb") as out:
            for plain in _plain(source, name, disk.location):
                if not written:
                    most = min(most, _stated(plain, most))
                written += len(plain)
                if written > most:
                    raise _too_large(what, most) if most == _limit() else _more_than_stated(what, most)
                content_digest.update(plain)
                _write_sparse(out, plain)
                report("decompressing", source.tell(), size)
            out.truncate()
            out.flush()
            os.fsync(out.fileno())
        _check(content_digest.hexdigest(), disk.uncompressed_sha256, what)
    except FleetError:
        scratch.unlink()
        raise
    scratch.replace(final)
    folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _plain(source: BinaryIO, name: str, what: str) -> Iterator[bytes]:
    """The unpacked content of a download, in chunks of at most :data:`_CHUNK` bytes, whatever the compression ratio."""
    try:
        if name.endswith(".xz"):
            xz = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            while not xz.eof:
                packed = source.read(_CHUNK) if xz.needs_input else b""
                if not packed and xz.needs_input:
                    raise EOFError("it ends too early")
                yield xz.decompress(packed, _CHUNK)
        elif name.endswith(".gz"):
            gz = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not gz.eof:
                packed = gz.unconsumed_tail or source.read(_CHUNK)
                plain = gz.decompress(packed, _CHUNK)
                if not packed and not plain:
                    raise EOFError("it ends too early")
                yield plain
        else:
            while packed := source.read(_CHUNK):
                yield packed
    except (lzma.LZMAError, zlib.error, EOFError) as error:
        raise FleetError(f"{what} cannot be decompressed ({error}).") from None


_QCOW2 = struct.Struct(">4sIQIIQ")
"""Of a qcow2 file's header: magic, version, backing file's offset and its name's size, cluster bits, virtual size
(docs/interop/qcow2.rst of github.com/qemu/qemu)."""


def _stated(begin: bytes, otherwise: int) -> int:
    """The maximum size in bytes that a disk image's header states.

    A qcow2 file holds each cluster of its disk once at most, and tables that take a sixty-fourth of it at the very
    most, with clusters of 512 bytes.
    """
    if len(begin) < _QCOW2.size or not begin.startswith(b"QFI\xfb"):
        return otherwise
    virtual = int(_QCOW2.unpack_from(begin)[-1])
    return virtual + virtual // 64 + (16 << 20)


def _more_than_stated(what: str, most: int) -> FleetError:
    return FleetError(
        f"{what} has more bytes than its own header says: more than {most}.",
        fix="Do not use this image: the server or the lock was tampered with.",
    )


def _write_sparse(out: BinaryIO, data: bytes) -> None:
    """Write sparsely: zeros become holes."""
    if data.count(0) == len(data):
        out.seek(len(data), 1)
    else:
        out.write(data)


def _check(actual: str, expected: str, what: str) -> None:
    if actual != expected:
        raise FleetError(
            f"The checksum of {what} is wrong: its SHA-256 is {actual}, the image lock says {expected}.",
            fix="Do not use this image. Try again; if it stays wrong, the server or the lock was tampered with.",
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
