"""Who may log in, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fleet.config.ignition import file
from fleet.library.base import LibrarySnippet, NodeName
from fleet.workloads.fields import SshKey, Word


def authorized_keys(user: str, keys: Sequence[str]) -> dict[str, Any]:
    """The section of an Ignition config that lets keys log in as a user."""
    return {"passwd": {"users": [{"name": user, "sshAuthorizedKeys": list(keys)}]}}


class SshKeys(LibrarySnippet):
    """Public keys that may log in.

    Attributes:
        user: As whom; ``core`` may use sudo.
        keys: The keys.

    Examples:
        user: core
        keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample me@laptop]
    """

    use: Literal["ssh-keys"]
    user: str = Field(default="core", pattern=r"^[a-z_][a-z0-9_-]*$")
    keys: list[SshKey] = Field(min_length=1)

    def _sections(self, node: NodeName) -> dict[str, Any]:
        return authorized_keys(self.user, self.keys)


class SshHardening(LibrarySnippet):
    """Keys only, no root, nothing forwarded (sshd_config(5)).

    Attributes:
        allow_users: Only these may log in; everybody who has a key if there is none.
        tcp_forwarding: Whether tunnels are allowed, which a jump host needs.
        max_auth_tries: Attempts a connection has.

    Examples:
        allow_users: [core]
        max_auth_tries: 3
    """

    use: Literal["ssh-hardening"]
    allow_users: list[Word] = []
    tcp_forwarding: bool = False
    max_auth_tries: int = Field(default=3, ge=1)

    def _sections(self, node: NodeName) -> dict[str, Any]:
        lines = [
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin no",
            "X11Forwarding no",
            "AllowAgentForwarding no",
            f"AllowTcpForwarding {'yes' if self.tcp_forwarding else 'no'}",
            f"MaxAuthTries {self.max_auth_tries}",
        ]
        if self.allow_users:
            lines.append("AllowUsers " + " ".join(self.allow_users))
        # The first value that sshd reads is the one that counts, so it sorts before the system's own files.
        text = "".join(f"{line}\n" for line in lines)
        return {"storage": {"files": [file("/etc/ssh/sshd_config.d/00-fleet.conf", text, mode=0o600)]}}


class SerialAutologin(LibrarySnippet):
    """Log a user in on the serial console without a password: for debugging only.

    Attributes:
        user: Who is logged in.
        console: The terminal.

    Examples:
        user: core
        console: ttyS0
    """

    use: Literal["serial-autologin"]
    user: str = Field(default="core", pattern=r"^[a-z_][a-z0-9_-]*$")
    console: str = Field(default="ttyS0", pattern=r"^tty[A-Za-z0-9]+$")

    def _sections(self, node: NodeName) -> dict[str, Any]:
        # The empty ExecStart= takes the unit's own one away.
        text = f"[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin {self.user} --noclear %I $TERM\n"
        dropin = {"name": "fleet-autologin.conf", "contents": text}
        return {"systemd": {"units": [{"name": f"serial-getty@{self.console}.service", "dropins": [dropin]}]}}
