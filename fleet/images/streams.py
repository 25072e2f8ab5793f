"""Fedora CoreOS stream metadata (https://docs.fedoraproject.org/en-US/fedora-coreos/stream-metadata/)."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fleet.errors import FleetError, Remedy
from fleet.images.artifacts import QEMU_DISK, Artifact
from fleet.images.kept import digest, unfit
from fleet.images.lock import ImageLock
from fleet.images.web import fetch, translated
from fleet.plan import Disk, LockedImage

DEFAULT_BASE_URL = "https://builds.coreos.fedoraproject.org"
STREAMS = ("stable", "testing", "next")
ARCHITECTURES = ("x86_64", "aarch64")
_MOST = 16 << 20
"""Bytes of stream metadata that are read; that of all platforms and architectures has 62 KiB."""

_SPEC_BY_FEDORA = ((44, "3.6.0"), (41, "3.5.0"), (38, "3.4.0"))
"""The Ignition spec that the images of each Fedora release support, newest first. From the release notes of Ignition
(3.6.0 with 2.26, 3.5.0 with 2.20, 3.4.0 with 2.15) and the Ignition that each Fedora shipped with."""


def lock_stream(
    stream: str, artifacts: Collection[Artifact], *, base_url: str = DEFAULT_BASE_URL, timeout: float = 20
) -> ImageLock:
    """Lock the current release of a stream.

    Args:
        stream: "stable", "testing" or "next".
        artifacts: What to lock.
        base_url: The server, and what stands before ``/streams/<stream>.json`` on it.
        timeout: Seconds to wait for each step of the answer.

    Raises:
        FleetError: The server cannot be reached or does not answer with stream metadata.
    """
    url = f"{base_url.rstrip('/')}/streams/{stream}.json"
    try:
        with translated(url, refused=f"The streams are {', '.join(STREAMS)}.", failed=Remedy.LOCK_FILE):
            text = fetch(url, most=_MOST, timeout=timeout)
        return parse_stream(json.loads(text), artifacts)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, StopIteration) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FleetError(f"What {url} answers is no stream metadata ({reason}).") from None


def parse_stream(metadata: dict[str, Any], artifacts: Collection[Artifact]) -> ImageLock:
    """The part of stream metadata that a lock holds.

    Args:
        metadata: The metadata.
        artifacts: What to lock.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: It is no stream metadata.
        FleetError: An image would come over plain http.
    """
    return ImageLock(
        stream=metadata["stream"],
        architectures={
            name: _image(metadata["architectures"][name], artifacts)
            for name in ARCHITECTURES
            if name in metadata["architectures"]
        },
    )


def _image(architecture: dict[str, Any], artifacts: Collection[Artifact]) -> LockedImage:
    # Fedora gives one release of all artifacts at a time.
    release = next(iter(architecture["artifacts"].values()))["release"]
    if QEMU_DISK.name in architecture["artifacts"]:
        release = architecture["artifacts"][QEMU_DISK.name]["release"]
    locked = {artifact.name: artifact.locked(architecture) for artifact in artifacts}
    return LockedImage(
        release=release,
        ignition_spec=spec_of(release),
        disks={name: each for name, each in locked.items() if isinstance(each, Disk)},
        images={name: each for name, each in locked.items() if isinstance(each, dict) and each},
    )


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
        architectures={
            architecture: LockedImage(release="local", ignition_spec=ignition_spec, disks={QEMU_DISK.name: disk})
        },
    )
