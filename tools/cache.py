"""A cache of slow builds, outside the checkout, keyed by what went into them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleet"


def key_of(*inputs: Path | str) -> str:
    """A short digest over texts and over files (folders: every file below, with its name and whether it runs)."""
    digest = hashlib.sha256()
    for item in inputs:
        for name, content in _contents(item):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _contents(item: Path | str) -> Iterable[tuple[str, bytes]]:
    if isinstance(item, str):
        yield "", item.encode()
    elif item.is_dir():
        for path in sorted(p for p in item.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            yield f"{path.relative_to(item)}:{os.access(path, os.X_OK)}", path.read_bytes()
    else:
        yield item.name, item.read_bytes()


def built(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder ``<cache>/<name>/<key>``, built by ``build`` if it is not there.

    The build writes to a folder of its own that is renamed when it is whole, so a build that was killed leaves nothing
    that could be taken for a result. Two builders of one thing take turns. Results of other keys are removed.
    """
    home = cache_dir() / name
    home.mkdir(parents=True, exist_ok=True)
    result = home / key
    with locked(home / ".lock"):
        if not result.is_dir():
            scratch = home / f".{key}.partial"
            _remove(scratch)
            scratch.mkdir()
            build(scratch)
            for old in home.iterdir():
                if old.is_dir() and old != scratch:
                    _remove(old)
            scratch.rename(result)
    return result


def _remove(folder: Path) -> None:
    """Remove a folder, and first what a killed build has left mounted in it: the host's own /dev, for one."""
    if folder.exists():
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in reversed([point for point in mounted if Path(point).is_relative_to(folder)]):
            subprocess.run(["umount", "--lazy", point], check=True)
        shutil.rmtree(folder)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds a lock on a file, which is made, as soon as no other process has it; ``shared``: but for shared ones."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
