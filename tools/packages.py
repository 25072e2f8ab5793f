"""System packages that development needs: installed as root or with sudo, else the exact command is printed.

Run by the system's Python before there is a virtual environment, so the standard library is all it uses.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

NEEDS = {
    "base": (
        # what must be there: command or file; then the packages of apt and of dnf that bring it
        ("ensurepip", "python3-venv", "python3-pip"),
        ("qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86-core"),
        ("qemu-img", "qemu-utils", "qemu-img"),
        ("ssh", "openssh-client", "openssh-clients"),
        ("git", "git", "git"),
    ),
    "image": (
        ("mmdebstrap", "mmdebstrap", "mmdebstrap"),
        ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring", "debian-keyring"),
        ("sfdisk", "fdisk", "util-linux"),
        ("mke2fs", "e2fsprogs", "e2fsprogs"),
        ("ssh-keygen", "openssh-client", "openssh"),
        ("gcc", "gcc", "gcc"),
        ("/usr/include/blkid/blkid.h", "libblkid-dev libc6-dev", "libblkid-devel"),
        ("xz", "xz-utils", "xz"),
        ("shellcheck", "shellcheck", "ShellCheck"),
        ("journalctl", "systemd", "systemd"),
    ),
    "editor": (("npm", "nodejs npm", "nodejs npm"),),
    "browser": (
        ("chromium" if shutil.which("apt-get") else "chromium-browser", "chromium", "chromium"),
        ("dot", "graphviz", "graphviz"),
    ),
    "backends": (("pg_createcluster" if shutil.which("apt-get") else "postgres", "postgresql", "postgresql-server"),),
}


def _is_installed(what: str) -> bool:
    if what.startswith("/"):
        return os.path.exists(what)  # noqa: PTH110  (no need for more)
    if what == "ensurepip":
        return importlib.util.find_spec(what) is not None
    return shutil.which(what, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def ensure(*groups: str) -> None:
    """Install what is missing of some groups; exits with a message where that cannot be done."""
    missing = [need for group in groups for need in NEEDS[group] if not _is_installed(need[0])]
    if not missing:
        return
    if shutil.which("apt-get"):
        packages = sorted({name for _, apt, _ in missing for name in apt.split()})
        commands = [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        ]
    elif shutil.which("dnf"):
        packages = sorted({name for *_, dnf in missing for name in dnf.split()})
        commands = [["dnf", "install", "-y", "-q", *packages]]
    else:
        sys.exit(
            f"Error: neither apt-get nor dnf is here; install by hand what brings {', '.join(m[0] for m in missing)}."
        )
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    shown = " && ".join("sudo " + " ".join(command) for command in commands)
    if sudo and (not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode):
        sys.exit(
            f"Error: packages are missing, and this user may not install them. Run this, then try again:\n  {shown}"
        )
    print(f"Installing packages: {' '.join(packages)}", flush=True)
    for command in commands:
        # A mirror may fail once; apt itself tries again only within a connection.
        for attempt in range(3):
            result = subprocess.run(
                [*sudo, *command], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL
            )
            if result.returncode == 0:
                break
            if attempt == 2:
                sys.exit(f"Error: `{' '.join(command)}` failed (status {result.returncode}). Mend that and try again.")


if __name__ == "__main__":
    ensure(*sys.argv[1:])
