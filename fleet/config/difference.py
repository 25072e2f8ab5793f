"""What differs between two Ignition configs, entry by entry: "file /etc/hostname changed", "unit web.service added"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

_LISTS = (
    ("storage", "files", "path", "file"),
    ("storage", "directories", "path", "directory"),
    ("storage", "links", "path", "link"),
    ("storage", "disks", "device", "disk"),
    ("storage", "raid", "name", "RAID array"),
    ("storage", "filesystems", "device", "file system"),
    ("storage", "luks", "name", "LUKS volume"),
    ("systemd", "units", "name", "unit"),
    ("passwd", "users", "name", "user"),
    ("passwd", "groups", "name", "group"),
)


@dataclass(frozen=True, order=True)
class Change:
    """One entry that differs.

    Attributes:
        kind: "file", "unit", "user", ..., or "kernel arguments" or "ignition" for the sections that are no lists.
        name: Its path or name; empty for a section.
        how: "added", "removed" or "changed".
    """

    kind: str
    name: str
    how: Literal["added", "removed", "changed"]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.how}" if self.name else f"{self.kind} {self.how}"


def changes(old: str, new: str) -> list[Change]:
    """The entries that differ between two configs, in the order of the sections, by name within one.

    Args:
        old: Ignition JSON.
        new: Ignition JSON.
    """
    before, after = dict(_entries(json.loads(old))), dict(_entries(json.loads(new)))
    found = []
    for kind, name in dict.fromkeys([*before, *after]):
        then, now = before.get((kind, name)), after.get((kind, name))
        if then != now:
            found.append(Change(kind, name, "added" if then is None else "removed" if now is None else "changed"))
    order = [kind for *_, kind in _LISTS]
    return sorted(found, key=lambda c: (order.index(c.kind) if c.kind in order else len(order), c.kind, c.name))


def _entries(tree: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    for section, part, key, kind in _LISTS:
        for entry in tree.get(section, {}).get(part, []):
            yield (kind, entry[key]), json.dumps(entry, sort_keys=True)
    for section, kind in (("kernelArguments", "kernel arguments"), ("ignition", "ignition")):
        content = {key: value for key, value in tree.get(section, {}).items() if key != "version"}
        if content:
            yield (kind, ""), json.dumps(content, sort_keys=True)
