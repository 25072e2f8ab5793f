"""Small builders for the Ignition entries that fleet itself writes (spec 3.0)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote

_DATA_URL_SAFE = ";/?:@&=+$,-_.!~*'()"
"""The reserved and unreserved characters of RFC 2397 and RFC 2396, which Ignition's data URL reader takes unescaped."""


def file(path: str, content: str | bytes, *, mode: int, overwrite: bool = False) -> dict[str, Any]:
    """A regular file of root's. ``mode`` is the number, for example ``0o644``."""
    entry: dict[str, Any] = {"path": path, "mode": mode, "contents": {"source": data_url(content)}}
    if overwrite:
        entry["overwrite"] = True
    return entry


def hostname(name: str) -> dict[str, Any]:
    """The file that gives a node its host name. Afterburn may have written it before Ignition comes to it."""
    return file("/etc/hostname", f"{name}\n", mode=0o644, overwrite=True)


def keyfile(connection: str, text: str) -> dict[str, Any]:
    """A connection of NetworkManager's (nm-settings-keyfile(5)), which ignores one that others may read."""
    return file(f"/etc/NetworkManager/system-connections/{connection}.nmconnection", text, mode=0o600)


def unit(name: str, contents: str, *, enabled: bool = True) -> dict[str, Any]:
    """A systemd unit; enabling it needs an ``[Install]`` section."""
    return {"name": name, "contents": contents, "enabled": enabled}


def data_url(content: str | bytes) -> str:
    """Content as a ``data:`` URL. Text is percent-encoded: readable in a diff, and it compresses well."""
    raw = content.encode() if isinstance(content, str) else content
    try:
        return "data:," + quote(raw.decode(), safe=_DATA_URL_SAFE)
    except UnicodeDecodeError:
        return "data:;base64," + b64encode(raw).decode()
