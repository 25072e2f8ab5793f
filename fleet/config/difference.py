"""What differs between two Ignition configs, entry by entry: "file /etc/hostname changed", "unit web.service added".

An entry is shown as a person would write it: its properties, a line each, then the text of its contents.
"""

from __future__ import annotations

import base64
import difflib
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from fleet.config.entries import LISTS

UNKNOWN = "{}"
"""Placeholder that earlier versions of fleet stored in a state for a config that they could not show."""


@dataclass(frozen=True, order=True)
class Change:
    """One entry that differs.

    Attributes:
        kind: "file", "unit", "user", ..., or "kernel arguments" or "ignition" for the sections that are no lists.
        name: Its path or name; empty for a section.
        how: "added", "removed" or "changed".
        diff: Lines of a unified diff, without a header.
    """

    kind: str
    name: str
    how: Literal["added", "removed", "changed"]
    diff: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.how}" if self.name else f"{self.kind} {self.how}"


def changes(old: str, new: str) -> list[Change]:
    """The entries that differ between two configs, in the order of the sections, by name within one.

    Args:
        old: Ignition JSON; or :data:`UNKNOWN`, from which nothing is known to differ.
        new: Ignition JSON.
    """
    if old == UNKNOWN:
        return []
    before, after = dict(_entries(json.loads(old))), dict(_entries(json.loads(new)))
    differing = []
    for kind, name in dict.fromkeys([*before, *after]):
        then, now = before.get((kind, name)), after.get((kind, name))
        if then != now:
            how: Literal["added", "removed", "changed"]
            how = "added" if then is None else "removed" if now is None else "changed"
            lines = difflib.unified_diff(_shown(then), _shown(now), lineterm="")
            differing.append(Change(kind, name, how, tuple(lines)[2:]))
    order = [each.kind for each in LISTS]
    return sorted(differing, key=lambda c: (order.index(c.kind) if c.kind in order else len(order), c.kind, c.name))


def entries(config: str) -> Iterator[tuple[str, str, str]]:
    """The kind, the name and the text of each entry of a config, as a person would write it, in the config's order.

    Args:
        config: Ignition JSON; or :data:`UNKNOWN`, of which none is known.
    """
    if config != UNKNOWN:
        for (kind, name), entry in _entries(json.loads(config)):
            yield kind, name, "\n".join(_shown(entry))


def _entries(tree: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for each in LISTS:
        for entry in tree.get(each.section, {}).get(each.part, []):
            yield (each.kind, entry[each.key]), entry
    for section, kind in (("kernelArguments", "kernel arguments"), ("ignition", "ignition")):
        content = {key: value for key, value in tree.get(section, {}).items() if key != "version"}
        if content:
            yield (kind, ""), content


def _shown(entry: dict[str, Any] | None) -> list[str]:
    """An entry as lines."""
    if entry is None:
        return []
    lines: list[str] = []
    texts: list[str] = []
    for key, value in sorted(entry.items()):
        if key in ("path", "name"):
            continue
        if key == "mode":
            lines.append(f"mode: {value:04o}")
        elif key == "contents":
            texts += _contents(value)
        elif key == "append":
            for part in value:
                texts += ["append:", *_contents(part)]
        elif key == "dropins":
            for dropin in value:
                texts += [f"drop-in {dropin['name']}:", *dropin.get("contents", "").splitlines()]
        else:
            lines.append(f"{key}: {value if isinstance(value, str) else json.dumps(value, sort_keys=True)}")
    return [*lines, *texts]


def _contents(value: str | dict[str, Any]) -> list[str]:
    """The text of a unit, or of a resource as far as it is in the config."""
    if isinstance(value, str):
        return value.splitlines()
    source: str = value.get("source") or ""
    rest = {key: item for key, item in value.items() if key not in ("source", "compression")}
    lines = [f"{key}: {json.dumps(item, sort_keys=True)}" for key, item in sorted(rest.items())]
    if not source.startswith("data:"):
        return [*lines, f"source: {source}"]
    raw = _inline(value)
    try:
        return [*lines, *raw.decode().splitlines()]
    except UnicodeDecodeError:
        # What is no text is told apart by its hash.
        return [*lines, f"binary, {len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()}"]


def _inline(contents: Mapping[str, Any]) -> bytes:
    """The content of a resource whose source is a ``data:`` URL; undecoded if it cannot be decoded."""
    meta, _, data = contents["source"].removeprefix("data:").partition(",")
    raw = unquote_to_bytes(data)
    try:
        if meta.endswith(";base64"):
            raw = base64.b64decode(raw)
        return gzip.decompress(raw) if contents.get("compression") == "gzip" else raw
    except (ValueError, OSError, EOFError):
        return raw


def host_name(ignition: str) -> str:
    """The host name that an Ignition config gives a node; empty where it brings none, or one that is masked.

    A kernel takes 64 characters (uname(2)), so a longer one is none.

    Args:
        ignition: The config, or what may be shown of it.
    """
    for text in _texts(json.loads(ignition), "/etc/hostname".__eq__):
        # hostname(5): a comment, or the name, in a line.
        names = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if names and re.fullmatch(r"[A-Za-z0-9.-]{1,64}", names[0]):
            return names[0]
    return ""


def file_texts(tree: Mapping[str, Any], folder: str) -> Iterator[str]:
    """The texts of the files in a folder that an Ignition config brings itself.

    Args:
        tree: The config, as parsed JSON.
        folder: Such as "/etc/sysctl.d/".
    """
    yield from _texts(tree, lambda path: path.startswith(folder))


def _texts(tree: Mapping[str, Any], wanted: Callable[[str], bool]) -> Iterator[str]:
    for entry in tree.get("storage", {}).get("files", []):
        contents = entry.get("contents", {})
        if wanted(entry["path"]) and (contents.get("source") or "").startswith("data:"):
            yield _inline(contents).decode("utf-8", "replace")
