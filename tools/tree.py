"""The files of this tree: what git has, and what is new and not ignored."""

from __future__ import annotations

import subprocess

from tools import cache


def files(*patterns: str) -> list[str]:
    """Their paths from the root, in order; without those that are gone.

    Args:
        patterns: Git's patterns of those that are wanted, such as "*.md"; none: all.
    """
    # The tree may be another user's than who asks, as in a container.
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=cache.ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (cache.ROOT / name).is_file()]
