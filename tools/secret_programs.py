"""``sops`` and ``age`` for tests, built from their Go modules: the versions that ``tools/gomodules/secrets`` pins."""

from __future__ import annotations

from pathlib import Path

from tools import cache, go
from tools.steps import tell

MODULE = go.MODULES / "secrets"
PROGRAMS = {
    "age": "filippo.io/age/cmd/age",
    "age-keygen": "filippo.io/age/cmd/age-keygen",
    "sops": "github.com/getsops/sops/v3/cmd/sops",
}
"""Their packages, by name."""


def folder() -> Path:
    """The folder with the programs, in the cache; they are built if they are not there."""
    key = cache.key_of(MODULE, str(PROGRAMS))
    if not (cache.cache_dir() / "secret-programs" / key).is_dir():
        tell("compiling sops and age (some minutes, once)")
    return cache.built("secret-programs", key, _build)


def _build(out: Path) -> None:
    for name, package in PROGRAMS.items():
        go.build(MODULE, package, out / name, variables={}, cgo=False)
