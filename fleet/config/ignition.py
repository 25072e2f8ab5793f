"""Small builders for the Ignition entries that fleet itself writes (spec 3.0)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

Entry = tuple[str, str]
"""A key of a unit file, and its value as it is written."""

_DATA_URL_SAFE = ";/?:@&=+$,-_.!~*'()"
"""The reserved and unreserved characters of RFC 2397 and RFC 2396, which Ignition's data URL reader takes unescaped."""


def file(path: str, content: str | bytes, *, mode: int, overwrite: bool = False) -> dict[str, Any]:
    """A regular file owned by root. ``mode`` is a number, for example ``0o644``."""
    entry: dict[str, Any] = {"path": path, "mode": mode, "contents": {"source": data_url(content)}}
    if overwrite:
        entry["overwrite"] = True
    return entry


def unit(name: str, contents: str, *, enabled: bool = True) -> dict[str, Any]:
    """A systemd unit; enabling it needs an ``[Install]`` section."""
    return {"name": name, "contents": contents, "enabled": enabled}


def drop_in(name: str, contents: str) -> dict[str, Any]:
    """A drop-in for a system unit.

    Args:
        name: The unit's.
        contents: The text of the drop-in (systemd.unit(5)).
    """
    return {"name": name, "dropins": [{"name": "50-fleet.conf", "contents": contents}]}


def timer_text(description: str, *entries: Entry) -> str:
    """The text of a timer that starts with the node (systemd.timer(5)).

    Args:
        description: For people.
        entries: Those of ``[Timer]``.
    """
    return unit_text(
        {"Unit": [("Description", description)], "Timer": entries, "Install": [("WantedBy", "timers.target")]}
    )


def unit_text(sections: Mapping[str, Iterable[Entry]]) -> str:
    """The text of a unit file (systemd.syntax(7)).

    Args:
        sections: The entries of each section, in their order; values are quoted already.
    """
    return "\n".join(
        f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in entries)
        for section, entries in sections.items()
    )


def data_url(content: str | bytes) -> str:
    """Content as a ``data:`` URL. Text is percent-encoded: readable in a diff, and it compresses well."""
    raw = content.encode() if isinstance(content, str) else content
    try:
        return "data:," + quote(raw.decode(), safe=_DATA_URL_SAFE)
    except UnicodeDecodeError:
        return "data:;base64," + b64encode(raw).decode()


def keyfile(name: str, sections: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A NetworkManager connection as a keyfile (nm-settings-keyfile(5)).

    Args:
        name: The connection's name.
        sections: Lines by section, beside those that say its name and that it is Ethernet's.
    """
    sections = {**sections, "connection": [f"id={name}", "type=ethernet", *sections.get("connection", ())]}
    order = ["connection", *(section for section in sections if section != "connection")]
    text = "\n".join(f"[{section}]\n" + "".join(f"{line}\n" for line in sections[section]) for section in order)
    # NetworkManager ignores one that others may read.
    return file(f"/etc/NetworkManager/system-connections/{name}.nmconnection", text, mode=0o600)
