"""Images: Fedora CoreOS stream metadata and downloads, container digests, the image lock. Nothing here knows Pulumi."""

from fleet.images.download import Progress, default_cache, look_for, obtain
from fleet.images.lock import ImageLock, read_lock, write_lock
from fleet.images.registry import current_digests
from fleet.images.signature import read_keys
from fleet.images.streams import DEFAULT_BASE_URL, STREAMS, lock_file, lock_stream, parse_stream

__all__ = [
    "DEFAULT_BASE_URL",
    "STREAMS",
    "ImageLock",
    "Progress",
    "current_digests",
    "default_cache",
    "lock_file",
    "lock_stream",
    "look_for",
    "obtain",
    "parse_stream",
    "read_keys",
    "read_lock",
    "write_lock",
]
