"""``fleet doctor``: what this machine lacks, and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

from rich.console import Console

from fleet.config import _transpiler
from fleet.errors import FleetError
from fleet.ops.workspace import find_pulumi
from fleet.platforms import qemu_accelerator, qemu_network

Finding = tuple[str, bool | None, str]
"""What was looked at; whether it is well (``None``: well enough, but could be better); what was seen, or the remedy."""


def examine(out: Console) -> bool:
    """Print findings; returns whether nothing is missing."""
    well = True
    for what, state, text in _findings():
        mark = {True: "[green]ok[/green]     ", None: "[yellow]slow[/yellow]   ", False: "[red]missing[/red]"}[state]
        out.print(f"{mark}  {what}: {text}")
        well = well and state is not False
    return well


def _findings() -> Iterator[Finding]:
    yield "transpiler", *_transpiler_state()
    yield "Pulumi CLI", *_pulumi_state()
    for host in ("pulumi-language-python", "pulumi-resource-pulumi-python"):
        where = shutil.which(host)
        yield host, bool(where), where or "install Pulumi's release archive, which brings it beside the CLI"
    for command, apt, dnf in (
        (qemu_accelerator.BINARY, "qemu-system-x86", "qemu-system-x86-core"),
        ("qemu-img", "qemu-utils", "qemu-img"),
        ("ssh", "openssh-client", "openssh-clients"),
    ):
        where = shutil.which(command)
        yield command, bool(where), where or _install(apt, dnf)
    if shutil.which(qemu_accelerator.BINARY):
        if old := qemu_network.lacking():
            yield "QEMU's version", False, old
        yield "QEMU's accelerator", *_accelerator_state()


def _transpiler_state() -> tuple[bool, str]:
    try:
        _transpiler.shared()
    except FleetError as error:
        return False, str(error)
    return True, str(_transpiler.BINARY)


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
    said = f"{qemu_accelerator.VARIABLE} says kvm; " if choice == "kvm" else ""
    answer = qemu_accelerator.known()
    if answer.works is not False:
        return True, f"{said}kvm: {answer.why}"
    device = qemu_accelerator.DEVICE
    why = answer.why
    if not device.exists():
        why = f"there is no {device}"
    elif not os.access(device, os.R_OK | os.W_OK):
        why = f"this user may not use {device}: `sudo usermod -aG kvm $USER`, then log in anew"
    if choice == "kvm":
        return False, f"{said}but it does not work: {why}"
    return None, f"tcg, since KVM does not work here: {why}; QEMU emulates, and a boot takes a minute"


def _install(apt: str, dnf: str) -> str:
    if shutil.which("apt-get"):
        return f"sudo apt-get install {apt}"
    return f"sudo dnf install {dnf}" if shutil.which("dnf") else f"install the package {apt} (its name in Debian)"
