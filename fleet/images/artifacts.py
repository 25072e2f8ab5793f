"""Artifacts in stream metadata, and where an image lock stores them. Each platform declares those that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet.images.web import refuse_plain
from fleet.plan import Disk


@dataclass(frozen=True)
class DiskArtifact:
    """A disk image to download: ``artifacts.NAME.formats.FORM.disk`` of an architecture, ``disks.NAME`` of a lock.

    Attributes:
        name: Fedora's name of it, such as "qemu".
        form: Its format, such as "qcow2.xz".
    """

    name: str
    form: str

    def locked(self, architecture: Mapping[str, Any]) -> Disk | None:
        """The lock's entry from an architecture's metadata; ``None`` if it has no such artifact.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: It is no stream metadata.
            FleetError: It would come over plain http.
        """
        if self.name not in architecture["artifacts"]:
            return None
        entry = architecture["artifacts"][self.name]["formats"][self.form]["disk"]
        disk = Disk(
            location=entry["location"],
            sha256=entry["sha256"],
            uncompressed_sha256=entry["uncompressed-sha256"],
            signature=entry.get("signature", ""),
        )
        for url in (disk.location, disk.signature_url):
            refuse_plain(url)
        return disk


@dataclass(frozen=True)
class PublishedImage:
    """An image that a provider already hosts: ``images.NAME`` of an architecture, ``NAME`` of a lock.

    Attributes:
        name: Fedora's name of the provider, such as "aws".
        keys: What tells it, such as "project" and "name"; all of it is text.
        by_region: It is another one in each region: the one key that tells it there.
    """

    name: str
    keys: tuple[str, ...] = ()
    by_region: str = ""

    def locked(self, architecture: Mapping[str, Any]) -> dict[str, str] | None:
        """The lock's entry from an architecture's metadata; ``None`` if it has no such image.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: It is no stream metadata.
        """
        entry = architecture["images"].get(self.name)
        if not entry:
            return None
        if self.by_region:
            return {region: each[self.by_region] for region, each in entry.get("regions", {}).items()}
        return {key: entry[key] for key in self.keys}


Artifact = DiskArtifact | PublishedImage

QEMU_DISK = DiskArtifact("qemu", "qcow2.xz")
"""The disk image for hypervisors that use qcow2 files."""
