"""Signatures of images: OpenPGP, detached, by the keys of Fedora or by others that the image lock holds.

A checksum that comes from the server that has the image proves only that both were changed together. Fedora signs
every image that it releases, and stream metadata names the signature of each. The keys in ``fedora-signing-keys.asc``
are those that coreos-installer 0.27 carries; they come with this package, not from a server.

The library is pysequoia, Sequoia's: it needs no program and no key ring of the user's, reads files of any size by
mapping them, and refuses weak digests. It judges a key as of the time at which a signature says that it was made, so
that what a key signed before it expired stays valid; whether a key holds today is asked here as well, since whoever has
got hold of an old key can date a signature back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.errors import FleetError, Position, Remedy
from fleet.files import read_text

if TYPE_CHECKING:
    from pysequoia import Cert

FEDORA_KEYS = Path(__file__).with_name("fedora-signing-keys.asc")
"""Public keys, armored."""


def read_keys(file: Path) -> str:
    """Keys from a file that a user names, armored.

    Args:
        file: OpenPGP public keys, as ``gpg --armor --export`` writes them.

    Raises:
        FleetError: It cannot be read, or holds none that can be used.
    """
    text = read_text(file, "file of keys")
    try:
        _usable(text or " ")  # none at all would be Fedora's
    except FleetError as error:
        raise FleetError(error.what, at=Position.of(file), fix=error.fix) from None
    return text


def fingerprints(keys: str) -> list[str]:
    """The fingerprints of keys that may sign today, lower-case hexadecimal, in the order of the keys.

    Args:
        keys: Public keys, armored; empty for Fedora's.

    Raises:
        FleetError: There is none.
    """
    return [certificate.fingerprint for certificate in _usable(keys)]


def verify(file: Path, signature: bytes, keys: str, what: str) -> str:
    """Verify a detached signature of a file.

    Args:
        file: The file.
        signature: The signature, armored or not.
        keys: Public keys, armored, one of which has to have made it; empty for Fedora's.
        what: What errors call the file.

    Returns:
        The fingerprint of the key.

    Raises:
        FleetError: The signature is none of the file by one of the keys, or none at all.
    """
    import pysequoia  # slow to import, and most runs verify nothing

    usable = _usable(keys)
    try:
        parsed = pysequoia.Sig.from_bytes(signature)
        valid = pysequoia.verify(file=str(file), store=lambda _: usable, signature=parsed).valid_sigs
    except Exception:  # the library has no kinds of errors
        valid = []
    if not valid:
        raise FleetError(
            f"The signature of {what} is not valid: none of the keys "
            f"{', '.join(certificate.fingerprint[-16:].upper() for certificate in usable)} has signed this content.",
            fix=Remedy.DISTRUST_SIGNATURE,
        )
    return str(valid[0].certificate)


def _usable(keys: str) -> list[Cert]:
    import pysequoia

    try:
        certificates = pysequoia.Cert.split_bytes((keys or FEDORA_KEYS.read_text()).encode())
    except Exception:  # the library has no kinds of errors
        certificates = []
    usable = [certificate for certificate in certificates if _holds(certificate)]
    if not usable:
        raise FleetError(
            "Of the keys that are to have signed the image, none can be used: they are no OpenPGP public keys, or have "
            "expired, or were revoked.",
            fix=Remedy.NAME_KEYS,
        )
    return usable


def _holds(certificate: Cert) -> bool:
    try:
        expires = certificate.expiration
        return not certificate.is_revoked and (expires is None or expires > datetime.now(UTC))
    except Exception:  # a key whose own signature is too weak to say anything
        return False
