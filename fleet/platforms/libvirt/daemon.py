"""Whether libvirt answers, and has the storage pool: asked by virsh, or, without it, by its socket alone."""

from __future__ import annotations

import shutil
import socket
from urllib.parse import urlsplit

from fleet.platforms.diagnosis import LIMIT, Verdict, package, run

SOCKETS = ("/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock")
"""Where the daemons of the system listen (libvirtd(8), virtqemud(8), "FILES")."""


def daemon(uri: str, pool: str) -> Verdict:
    """What libvirt answers.

    Args:
        uri: Where it is.
        pool: The name of the storage pool that it is to have.
    """
    if shutil.which("virsh"):
        answer = run("virsh", "--quiet", "--connect", uri, "pool-info", pool)
        if answer.returncode == 0:
            return Verdict(True, f"{shown(uri)} has the pool {pool}")
        reason = " ".join(answer.stderr.replace("error:", "").split()).rstrip(".")
        if "Storage pool not found" in reason or "no storage pool" in reason:
            return Verdict(
                False,
                f"{shown(uri)} has no pool {pool}: `virsh pool-define-as {pool} dir --target /var/lib/libvirt/images`, "
                f"then `virsh pool-start {pool}`; or name another one, `pool` of `fleet:libvirt`",
            )
        return Verdict(False, f"{shown(uri)} does not answer: {reason}")
    parts = urlsplit(uri)
    if parts.hostname or parts.path != "/system":
        return Verdict(None, f"not tried: virsh would ask {shown(uri)}; {package('libvirt-clients', 'libvirt-client')}")
    for path in SOCKETS:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT / 2)
            try:
                client.connect(path)
            except PermissionError:
                return Verdict(
                    False, f"this user may not use {path}: `sudo usermod -aG libvirt $USER`, then log in anew"
                )
            except OSError:
                continue
            return Verdict(True, f"{path} answers; whether it has the pool {pool} only virsh would say")
    return Verdict(False, f"no daemon listens: {package('libvirt-daemon-system', 'libvirt-daemon')}")


def shown(uri: str) -> str:
    """A URI without a user and a password, and without parameters, which may name a key."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
