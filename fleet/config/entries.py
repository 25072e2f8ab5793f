"""The lists of an Ignition config whose entries have names; Ignition merges them entry by entry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EntryList:
    """One list of a config.

    Attributes:
        section: Where it is, such as "storage".
        part: Its key there, such as "files".
        key: The field that names an entry, such as "path".
        kind: What people call an entry, such as "file".
    """

    section: str
    part: str
    key: str
    kind: str


LISTS = (
    EntryList("storage", "files", "path", "file"),
    EntryList("storage", "directories", "path", "directory"),
    EntryList("storage", "links", "path", "link"),
    EntryList("storage", "disks", "device", "disk"),
    EntryList("storage", "raid", "name", "RAID array"),
    EntryList("storage", "filesystems", "device", "file system"),
    EntryList("storage", "luks", "name", "LUKS volume"),
    EntryList("systemd", "units", "name", "unit"),
    EntryList("passwd", "users", "name", "user"),
    EntryList("passwd", "groups", "name", "group"),
)
"""In display order."""
