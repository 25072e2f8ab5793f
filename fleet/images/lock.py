"""The image lock: which Fedora CoreOS release a fleet runs, and which container images, in a file of its own.

The lock holds all that any platform needs to find its image (a download with checksums, an AMI for each region, a
Google Cloud image's name), so a run with a lock asks no server, and a new release upstream changes nothing until
``fleet image update`` writes a new lock. Once ``fleet image pin`` was used, it also holds the digest of every container
image that the fleet pulls: a tag that is moved upstream changes nothing either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from fleet.core_schema import Plain
from fleet.document import Document
from fleet.errors import FleetError, Position, Remedy, UsageError
from fleet.files import write_whole
from fleet.images.web import refuse_plain
from fleet.model import Model
from fleet.plan import LockedImage

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ImageLock(Model):
    """The whole lock.

    Attributes:
        stream: "stable", "testing" or "next"; "local" for a file of the user's own.
        architectures: By "x86_64" and "aarch64".
        containers: Digests of container images, by the references that the spec says; empty: they are not locked.
        keys: Public keys, armored, that sign the images in place of Fedora's.
        unsigned: The images are used without a signature.
    """

    stream: str
    architectures: dict[str, LockedImage]
    containers: dict[str, Digest] = {}
    keys: str = ""
    unsigned: bool = False

    def image(self, architecture: str) -> LockedImage:
        """The image for an architecture.

        Raises:
            FleetError: The lock has none.
        """
        try:
            image = self.architectures[architecture]
        except KeyError:
            have = ", ".join(sorted(self.architectures)) or "none"
            raise FleetError(
                f"The image lock has no image for {architecture} (it has: {have}).",
                fix=Remedy.LOCK_ARCHITECTURE,
            ) from None
        trust = {"keys": self.keys, "unsigned": self.unsigned}
        return image.model_copy(
            update={"disks": {platform: disk.model_copy(update=trust) for platform, disk in image.disks.items()}}
        )


def read_lock(path: Path) -> ImageLock:
    """Read a lock file.

    Raises:
        FleetError: There is none.
        UsageError: It cannot be read, or is not a lock; names the place in it.
    """
    if not (path.exists() or path.is_symlink()):
        raise FleetError(
            "There is no image lock, so nothing says which release of Fedora CoreOS to run.",
            at=Position.of(path),
            fix=Remedy.WRITE_LOCK,
        )
    # PyYAML writes it, as YAML 1.1.
    document = Document(path, "image lock", loader=Plain)
    try:
        lock = document.read(ImageLock, document.value())
    except UsageError as error:
        raise UsageError(error.what, at=error.at, fix=Remedy.WRITE_LOCK_ANEW) from None
    for disk in [disk for image in lock.architectures.values() for disk in image.disks.values() if disk.remote]:
        # Some platforms hand the URL on, and nobody would notice.
        refuse_plain(disk.location)
    return lock


def write_lock(path: Path, lock: ImageLock) -> None:
    """Write a lock file, whole or not at all.

    Raises:
        FleetError: It cannot be written, as on a full disk; it is as it was.
    """
    text = (
        "# Which Fedora CoreOS release this fleet runs, and which container images. Written by `fleet image lock`,\n"
        "# `update` and `pin`; commit it: without it, machines of one fleet could differ.\n"
        + yaml.safe_dump(lock.model_dump(exclude_defaults=True), sort_keys=True, width=120)
    )
    try:
        write_whole(path, text)
    except OSError as error:
        raise FleetError(f"The image lock cannot be written: {error.strerror}.", at=Position.of(path)) from None
