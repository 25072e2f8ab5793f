"""Small builders for the Ignition entries that fleet itself writes (spec 3.0)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

_DATA_URL_SAFE = ";/?:@&=+$,-_.!~*'()"
"""The reserved and unreserved characters of RFC 2397 and RFC 2396, which Ignition's data URL reader takes unescaped."""


def file(path: str, text: str, *, mode: int, overwrite: bool = False) -> dict[str, Any]:
    """A regular file of root's. ``mode`` is the number, for example ``0o644``."""
    entry: dict[str, Any] = {"path": path, "mode": mode, "contents": {"source": data_url(text)}}
    if overwrite:
        entry["overwrite"] = True
    return entry


def unit(name: str, contents: str, *, enabled: bool = True) -> dict[str, Any]:
    """A systemd unit; enabling it needs an ``[Install]`` section."""
    return {"name": name, "contents": contents, "enabled": enabled}


def data_url(text: str) -> str:
    """Text as a ``data:`` URL, percent-encoded: readable in a diff, and it compresses well."""
    return "data:," + quote(text, safe=_DATA_URL_SAFE)
