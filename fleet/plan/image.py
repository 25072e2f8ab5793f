"""One release of the operating system, as the image lock pins it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fleet.model import Model

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Disk(Model):
    """A disk image to download, or one on this machine.

    Attributes:
        location: An https URL, or an absolute path. Names ending in ``.xz`` or ``.gz`` are decompressed.
        sha256: Of the file at that location.
        uncompressed_sha256: Of the disk image itself; the same as ``sha256`` where nothing is compressed.
        signature: The URL of its detached OpenPGP signature; by default the location and ``.sig``, as Fedora has it.
        keys: Public keys, armored, one of which has to have made the signature; empty for Fedora's.
        unsigned: It is used without a signature. One on this machine needs none.
    """

    location: str
    sha256: Sha256
    uncompressed_sha256: Sha256
    signature: str = ""
    keys: str = ""
    unsigned: bool = False

    @property
    def signature_url(self) -> str:
        """Where its signature is, if it is to be downloaded."""
        return self.signature or f"{self.location}.sig"

    @property
    def remote(self) -> bool:
        """Whether it is to be downloaded."""
        return self.location.startswith(("http://", "https://"))


class GcpImage(Model):
    """A Google Cloud image, by its exact name: a family would move by itself."""

    project: str
    name: str


class LockedImage(Model):
    """One release for one architecture.

    Attributes:
        release: For example "44.20260707.3.1"; "local" for a file of the user's own.
        ignition_spec: The newest Ignition spec that the image reads, for example "3.6.0".
        disks: By platform: "qemu" (libvirt uses it too) and "digitalocean".
        aws: AMI by region.
        gcp: Google Cloud's image, where there is one.
    """

    release: str
    ignition_spec: str
    disks: dict[str, Disk] = {}
    aws: dict[str, str] = {}
    gcp: GcpImage | None = None
