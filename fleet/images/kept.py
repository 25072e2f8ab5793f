"""Whether a file on this machine is still the image that it was.

An image's SHA-256 takes seconds, and every machine that is made asks for one. So the file that was found right is
noted with its size and times, and read again only when one of them has changed. The note is no proof against somebody
who can write to the user's files; it is against disks, tools and accidents.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from fleet.files import irregular, write_whole

_CHUNK = 1 << 20


def fault(
    path: Path,
    sha256: str,
    note: Path,
    *,
    signers: Collection[str] | None = None,
    report: Callable[[str, int, int | None], None],
) -> str:
    """Why a file is not an image that was verified before; empty if it is.

    Args:
        path: The file.
        sha256: What its SHA-256 should be.
        note: Where it is noted.
        signers: Fingerprints, one of which has to be noted as having signed it; ``None``: any, or none.
        report: Told how far it is, as :data:`fleet.images.Progress`.

    Raises:
        OSError: It cannot be read.
    """
    if reason := unfit(path):
        return reason
    noted = _noted(note)
    if signers is not None and noted.get("signer") not in signers:
        return "its signature was not verified"
    if noted.get("sha256") == sha256 and noted.get("file") == _looks(path):
        return ""
    # Before it is read: what changes meanwhile is read again the next time.
    looks = _looks(path)
    have = digest(path, report)
    if have != sha256:
        return f"its SHA-256 is {have}, and should be {sha256}"
    _write(note, {"sha256": sha256, "file": looks, "signer": noted.get("signer", "")})
    return ""


def keep(path: Path, sha256: str, note: Path, *, signer: str) -> None:
    """Record that a file was verified.

    Args:
        path: The file.
        sha256: Its SHA-256.
        note: Where to note it.
        signer: The fingerprint of the key that signed what it was made of; empty for none.
    """
    _write(note, {"sha256": sha256, "file": _looks(path), "signer": signer})


def unfit(path: Path) -> str:
    """Why a path cannot be an image file; empty if it can.

    Raises:
        OSError: There is nothing, or it cannot be looked at.
    """
    if reason := irregular(path):
        return f"it is {reason}"
    return "" if path.stat().st_size else "it is empty"


def digest(path: Path, report: Callable[[str, int, int | None], None]) -> str:
    """The SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    content_digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            content_digest.update(chunk)
            report("checking", content.tell(), size)
    return content_digest.hexdigest()


def _looks(path: Path) -> list[int]:
    status = path.stat()
    # The time of the last change of the file's data or attributes: tools set the other one back.
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _noted(note: Path) -> dict[str, Any]:
    try:
        content = json.loads(note.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(note: Path, content: dict[str, Any]) -> None:
    # Without the note, the file is read again the next time.
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps(content))
