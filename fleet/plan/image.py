"""One release of the operating system, as the image lock pins it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

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


class LockedImage(Model):
    """One release for one architecture. In a lock file, each of :attr:`images` is a key beside the others.

    Attributes:
        release: For example "44.20260707.3.1"; "local" for a file of the user's own.
        ignition_spec: The newest Ignition spec that the image reads, for example "3.6.0".
        disks: By Fedora's name of the artifact: "qemu" is what every hypervisor starts that takes a qcow2 file.
        images: What tells images that a provider has already, by Fedora's name of the provider, such as
            ``{"gcp": {"project": ..., "name": ...}}`` or, by region, ``{"aws": {"eu-central-1": "ami-..."}}``.
    """

    release: str
    ignition_spec: str
    disks: dict[str, Disk] = {}
    images: dict[str, dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        own = {key: value for key, value in content.items() if key in cls.model_fields}
        images = {key: value for key, value in content.items() if key not in own}
        if isinstance(listed := own.get("images", {}), dict):
            own["images"] = {**listed, **images}
        return own

    @model_serializer(mode="wrap")
    def _spread(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        return {**content.pop("images", {}), **content}
