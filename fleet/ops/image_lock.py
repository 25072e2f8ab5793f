"""``fleet image``: which image a fleet runs, in the image lock beside its spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet import images, platforms
from fleet.errors import FleetError, Remedy, UsageError
from fleet.ops.check import place
from fleet.ops.deadline import DeadlineError, within
from fleet.ops.ui import Ui
from fleet.project import project_file
from fleet.spec import load_image, load_tags
from fleet.spec.model import Image


@dataclass(frozen=True)
class Source:
    """What to lock.

    Attributes:
        file: A disk image on this machine in place of a stream.
        base_url: The server of the stream metadata; empty for Fedora's.
        keys: A file of OpenPGP public keys that sign images; by default those of the lock before, or Fedora's.
        unsigned: Use images without a signature; ``None``: as the lock before has it.
    """

    file: Path | None = None
    base_url: str = ""
    keys: Path | None = None
    unsigned: bool | None = None


@dataclass(frozen=True)
class Written:
    """An image lock that was written, or would say the same as before.

    Attributes:
        path: Its file.
        lock: What it says.
        before: What it said before; ``None`` if there was none.
    """

    path: Path
    lock: images.ImageLock
    before: images.ImageLock | None

    @property
    def releases(self) -> tuple[str, str]:
        """The releases before and now; the first is empty where there was none, or it is the same."""
        before, now = _release(self.before) if self.before else "", _release(self.lock)
        return before if before != now else "", now


def write_lock(spec: Path, source: Source, *, renew: bool, patience: float | None = None) -> Written:
    """Lock the current release of a spec's stream, or an image of the user's own.

    Args:
        spec: The spec; or the folder of a program, for what its fleets have by default.
        source: What to lock.
        renew: There may be a lock already.
        patience: Seconds for the server to answer; by default as long as it goes on.

    Raises:
        UsageError: There is a lock, or the source contradicts itself.
        FleetError: The release cannot be looked up, or the lock not be read or written.
    """
    image, path = _image_of(spec)
    if path.exists() and not renew:
        raise UsageError(f"There is a lock already: {path}.", fix="`fleet image update` moves it to a newer release.")
    if source.file and (source.keys or source.unsigned is not None):
        raise UsageError("An image on this machine is used without a signature.", fix="Leave out the other options.")
    before = images.read_lock(path) if path.exists() else None
    trusted = images.read_keys(source.keys) if source.keys else before.keys if before else ""
    if source.file:
        from fleet.config import NEWEST_SPEC

        lock = images.lock_file(source.file, "x86_64", ignition_spec=NEWEST_SPEC)
    else:
        lock = _current(image.stream, source.base_url or images.DEFAULT_BASE_URL, patience)
        unsigned = source.unsigned if source.unsigned is not None else bool(before and before.unsigned)
        lock = lock.model_copy(update={"keys": trusted, "unsigned": unsigned})
    if before:
        lock = lock.model_copy(update={"containers": before.containers})
    if lock != before:
        images.write_lock(path, lock)
    return Written(path, lock, before)


def check_file(platform: str) -> None:
    """Refuse a disk image of the user's own on a platform whose machines start from images that it has itself.

    Args:
        platform: The platform's name.

    Raises:
        UsageError: There is no such platform, or its machines cannot start from a file of this machine.
    """
    if not _takes_files(platform):
        raise UsageError(
            f"Machines of {platform} cannot start from a disk image on this machine.",
            fix="Leave out `--image`: the current release of Fedora CoreOS is locked.",
        )


def remedy(error: FleetError, platform: str) -> str:
    """How to mend what kept an image from being locked, on a platform.

    Args:
        error: The error.
        platform: The platform's name.
    """
    offline = error.remedy is Remedy.LOCK_FILE and not _takes_files(platform)
    return Remedy.LOCK_ONLINE.value if offline else error.fix


def _image_of(spec: Path) -> tuple[Image, Path]:
    """What a spec says of the operating system's image, and its lock.

    A program's fleets are known only when it runs: its folder stands for their default lock, and a lock that is there
    says which stream it follows.
    """
    if not spec.is_dir():
        return load_image(spec)
    if not project_file(spec):
        raise UsageError(
            f"{spec} is a folder without a Pulumi.yaml.", fix="Name a spec, or the folder of a Pulumi program."
        )
    image = Image()
    path = spec / image.lock
    if path.exists() and (stream := images.read_lock(path).stream) in images.STREAMS:
        image = Image.model_validate({"stream": stream})
    return image, path


def _takes_files(platform: str) -> bool:
    return images.QEMU_DISK in platforms.platform_class(platform).artifacts


def _current(stream: str, base_url: str, patience: float | None) -> images.ImageLock:
    """The lock of a stream's current release.

    Raises:
        FleetError: It cannot be had, or not within the time.
    """
    needed = platforms.artifacts()
    if patience is None:
        return images.lock_stream(stream, needed, base_url=base_url)
    try:
        # No time-out of a request is one of looking up the server's name.
        return within(patience, lambda: images.lock_stream(stream, needed, base_url=base_url, timeout=patience))
    except DeadlineError:
        raise FleetError(f"{base_url} did not answer within {patience:g} s.", fix=Remedy.LOCK_FILE) from None


def pin(
    spec: Path, *, platform: str | None, stack: str | None, update: bool
) -> tuple[Path, Mapping[str, str], Mapping[str, str]]:
    """Lock the digest of every image that containers name by a tag.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named.
        update: Renew the digests that are locked already, too.

    Returns:
        The lock's file, and the digests by image, before and now.

    Raises:
        FleetError: A digest cannot be looked up, or the lock not be read or written.
    """
    _, path = load_image(spec)
    lock = images.read_lock(path)
    where, resolver = place(spec, platform=platform, stack=stack)
    tags = load_tags(spec, where.name, resolver)
    unchanged = {} if update else {tag: lock.containers[tag] for tag in tags & lock.containers.keys()}
    pins = {**unchanged, **images.current_digests(tags - unchanged.keys())}
    images.write_lock(path, lock.model_copy(update={"containers": pins}))
    return path, lock.containers, pins


def download(spec: Path, ui: Ui) -> Path:
    """Download the locked disk image for qemu, and check it.

    Args:
        spec: The spec.
        ui: Shows how far it is, and is told of an image that was broken.

    Raises:
        FleetError: It cannot be had, or there is none.
    """
    lock = images.read_lock(_image_of(spec)[1])
    disk = lock.image("x86_64").disks.get(images.QEMU_DISK.name)
    if disk is None:
        raise FleetError("The image lock has no disk image for qemu.")
    with ui.download() as progress:
        return images.obtain(disk, progress=progress, say=ui.warn)


def _release(lock: images.ImageLock) -> str:
    return ", ".join(sorted({image.release for image in lock.architectures.values()}))
