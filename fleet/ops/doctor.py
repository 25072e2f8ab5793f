"""``fleet doctor``: what this machine lacks, and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from fleet import platforms
from fleet.config import _transpiler
from fleet.errors import FleetError
from fleet.ops.workspace import find_pulumi
from fleet.platforms.qemu import accelerator as qemu_accelerator
from fleet.platforms.qemu import network as qemu_network


@dataclass(frozen=True)
class Finding:
    """What was looked at.

    Attributes:
        subject: What.
        works: Whether it does; ``None``: it does, but could be better.
        text: What was seen, or the remedy.
    """

    subject: str
    works: bool | None
    text: str


def findings() -> Iterator[Finding]:
    """Look at all that fleet needs on this machine."""
    yield Finding("transpiler", *_transpiler_state())
    yield Finding("platforms", *_platforms_state())
    yield Finding("Pulumi CLI", *_pulumi_state())
    for host in ("pulumi-language-python", "pulumi-resource-pulumi-python"):
        where = shutil.which(host)
        yield Finding(host, bool(where), where or "install Pulumi's release archive, which brings it beside the CLI")
    for command, apt, dnf in (
        (qemu_accelerator.BINARY, "qemu-system-x86", "qemu-system-x86-core"),
        ("qemu-img", "qemu-utils", "qemu-img"),
        ("ssh", "openssh-client", "openssh-clients"),
    ):
        where = shutil.which(command)
        yield Finding(command, bool(where), where or _install(apt, dnf))
    if shutil.which(qemu_accelerator.BINARY):
        if old := qemu_network.lacking():
            yield Finding("QEMU's version", False, old)
        yield Finding("QEMU's accelerator", *_accelerator_state())


def _transpiler_state() -> tuple[bool, str]:
    try:
        _transpiler.shared()
    except FleetError as error:
        return False, str(error)
    return True, str(_transpiler.BINARY)


def _platforms_state() -> tuple[bool, str]:
    """Which platforms are installed, and what is wrong with those that cannot be used."""
    wrong = []
    for name in platforms.names():
        try:
            platforms.platform_class(name)
        except FleetError as error:
            wrong.append(str(error))
    return not wrong, " ".join(wrong) or ", ".join(platforms.names())


def _pulumi_state() -> tuple[bool, str]:
    try:
        find_pulumi()
    except FleetError:
        return (
            False,
            "see https://www.pulumi.com/docs/iac/download-install/, or `make demo` in fleet's repository builds it",
        )
    answer = subprocess.run(["pulumi", "version"], capture_output=True, text=True)
    return answer.returncode == 0, answer.stdout.strip() or answer.stderr.strip()


def _accelerator_state() -> tuple[bool | None, str]:
    """Which accelerator nodes of `qemu` are started with, and why."""
    try:
        choice = qemu_accelerator.chosen("auto")
    except FleetError as error:
        return False, str(error)
    if choice == "tcg":
        return None, f"{qemu_accelerator.VARIABLE} says tcg: QEMU emulates, and a boot takes a minute"
    setting = f"{qemu_accelerator.VARIABLE} says kvm; " if choice == "kvm" else ""
    answer = qemu_accelerator.known()
    if answer.works is not False:
        return True, f"{setting}kvm: {answer.why}"
    device = qemu_accelerator.DEVICE
    why = answer.why
    if not device.exists():
        why = f"there is no {device}"
    elif not os.access(device, os.R_OK | os.W_OK):
        why = f"this user may not use {device}: `sudo usermod -aG kvm $USER`, then log in anew"
    if choice == "kvm":
        return False, f"{setting}but it does not work: {why}"
    return None, f"tcg, since KVM does not work here: {why}; QEMU emulates, and a boot takes a minute"


def _install(apt: str, dnf: str) -> str:
    if shutil.which("apt-get"):
        return f"sudo apt-get install {apt}"
    return f"sudo dnf install {dnf}" if shutil.which("dnf") else f"install the package {apt} (its name in Debian)"
