"""The ``ssh`` command, as fleet runs it and shows it to users."""

from __future__ import annotations

from collections.abc import Mapping

UNCHECKED: Mapping[str, str] = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null"}
"""Options (ssh_config(5)) for addresses at which one machine comes after another: a new one has a new host key."""


def command(host: str, port: int, options: Mapping[str, str], *, user: str = "core", identity: str = "") -> list[str]:
    """The command that logs in.

    Args:
        host: Where.
        port: The port there.
        options: Options of ssh_config(5).
        user: As whom.
        identity: A private key's file; what ssh finds by default.
    """
    words = ["ssh", "-p", str(port)]
    for option, value in options.items():
        words += ["-o", f"{option}={value}"]
    return [*words, *(["-i", identity] if identity else []), f"{user}@{host}"]
