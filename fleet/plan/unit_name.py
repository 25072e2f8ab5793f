"""Names of systemd's units that stand for paths."""

from __future__ import annotations

import re

AWAIT_DISK = "fleet-await-"
"""What the names of units begin with that hold up a node's start until a data disk is mounted; its name follows."""


def escape_path(path: str) -> str:
    """A path as a unit's name has it (systemd-escape(1), ``--path``), without the suffix.

    Args:
        path: An absolute path.
    """
    escaped = ""
    for index, char in enumerate(re.sub("/+", "/", path).strip("/")):
        if char == "/":
            escaped += "-"
        elif re.match("[A-Za-z0-9:_.]", char) and not (char == "." and index == 0):
            escaped += char
        else:
            escaped += "".join(f"\\x{byte:02x}" for byte in char.encode())
    return escaped or "-"
