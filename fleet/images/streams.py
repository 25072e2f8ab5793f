"""Fedora CoreOS stream metadata (https://docs.fedoraproject.org/en-US/fedora-coreos/stream-metadata/)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fleet.errors import FleetError, Remedy
from fleet.images.kept import digest, unfit
from fleet.images.lock import ImageLock
from fleet.images.web import fetch, refuse_plain, translated
from fleet.plan import Disk, GcpImage, LockedImage

DEFAULT_BASE_URL = "https://builds.coreos.fedoraproject.org"
STREAMS = ("stable", "testing", "next")
ARCHITECTURES = ("x86_64", "aarch64")
_MOST = 16 << 20
"""Bytes of stream metadata that are read; that of all platforms and architectures has 62 KiB."""

_COMPRESSED_DISKS = {"qemu": "qcow2.xz", "digitalocean": "qcow2.gz"}

_SPEC_BY_FEDORA = ((44, "3.6.0"), (41, "3.5.0"), (38, "3.4.0"))
"""Which Ignition spec a Fedora release's images read, newest first. From the release notes of Ignition (3.6.0 with
2.26, 3.5.0 with 2.20, 3.4.0 with 2.15) and the Ignition that each Fedora shipped with."""


def lock_stream(stream: str, *, base_url: str = DEFAULT_BASE_URL, timeout: float = 20) -> ImageLock:
    """Lock the current release of a stream.

    Args:
        stream: "stable", "testing" or "next".
        base_url: The server, and what stands before ``/streams/<stream>.json`` on it.
        timeout: Seconds to wait for each step of the answer.

    Raises:
        FleetError: The server cannot be reached or does not answer with stream metadata.
    """
    url = f"{base_url.rstrip('/')}/streams/{stream}.json"
    try:
        with translated(url, refused=f"The streams are {', '.join(STREAMS)}.", failed=Remedy.LOCK_FILE):
            text = fetch(url, most=_MOST, timeout=timeout)
        return parse_stream(json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FleetError(f"What {url} answers is no stream metadata ({reason}).") from None


def parse_stream(metadata: dict[str, Any]) -> ImageLock:
    """The part of stream metadata that a lock holds.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: It is no stream metadata.
        FleetError: An image would come over plain http.
    """
    return ImageLock(
        stream=metadata["stream"],
        architectures={
            name: _image(metadata["architectures"][name]) for name in ARCHITECTURES if name in metadata["architectures"]
        },
    )


def _image(architecture: dict[str, Any]) -> LockedImage:
    artifacts, images = architecture["artifacts"], architecture["images"]
    release = artifacts["qemu"]["release"]
    gcp = images.get("gcp")
    return LockedImage(
        release=release,
        ignition_spec=spec_of(release),
        disks={
            platform: _disk(artifacts[platform]["formats"][form]["disk"])
            for platform, form in _COMPRESSED_DISKS.items()
            if platform in artifacts
        },
        aws={region: entry["image"] for region, entry in images.get("aws", {}).get("regions", {}).items()},
        gcp=GcpImage(project=gcp["project"], name=gcp["name"]) if gcp else None,
    )


def _disk(entry: dict[str, str]) -> Disk:
    disk = Disk(
        location=entry["location"],
        sha256=entry["sha256"],
        uncompressed_sha256=entry["uncompressed-sha256"],
        signature=entry.get("signature", ""),
    )
    for url in (disk.location, disk.signature_url):
        refuse_plain(url)
    return disk


def spec_of(release: str) -> str:
    """The newest Ignition spec that a release reads.

    Raises:
        ValueError: It is too old, or no release.
    """
    major = int(release.split(".")[0])
    for fedora, spec in _SPEC_BY_FEDORA:
        if major >= fedora:
            return spec
    raise ValueError(f"release {release} is older than Fedora {_SPEC_BY_FEDORA[-1][0]}")


def lock_file(image: Path, architecture: str, *, ignition_spec: str) -> ImageLock:
    """Lock a disk image on this machine.

    Raises:
        FleetError: It cannot be read.
    """
    image = Path(os.path.realpath(image))
    try:
        if reason := unfit(image):
            raise FleetError(f"{image} is no image: {reason}.")
        sha256 = digest(image, lambda step, done, total: None)
    except OSError as error:
        raise FleetError(f"The image {image} cannot be read: {error.strerror}.") from None
    if image.suffix in {".xz", ".gz"}:
        raise FleetError(f"The image {image} is compressed.", fix=f"Decompress it first: `unxz {image.name}`.")
    disk = Disk(location=str(image), sha256=sha256, uncompressed_sha256=sha256)
    return ImageLock(
        stream="local",
        architectures={architecture: LockedImage(release="local", ignition_spec=ignition_spec, disks={"qemu": disk})},
    )
