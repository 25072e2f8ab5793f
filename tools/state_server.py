"""The server of `fleet state serve` for development, built from ``state/``."""

from __future__ import annotations

from pathlib import Path

from tools import cache, go

MODULE = cache.ROOT / "state"


def built() -> Path:
    """The program, in the cache."""
    sources = [file for file in sorted(MODULE.iterdir()) if file.suffix in (".go", ".mod", ".sum")]
    key = cache.key_of(*sources, Path(go.__file__))
    return cache.built("state", key, _build) / "fleet-state"


def _build(out: Path) -> None:
    go.build(MODULE, ".", out / "fleet-state", variables={}, cgo=False)
