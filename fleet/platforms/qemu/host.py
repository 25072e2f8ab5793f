"""What `fleet doctor` looks at where nodes run under this machine's own QEMU."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from fleet.errors import FleetError
from fleet.platforms.diagnosis import Check, Verdict, command
from fleet.platforms.qemu import accelerator, network


def host_checks() -> Sequence[Check]:
    """The system; QEMU, its version, its accelerator."""
    if sys.platform != "linux":
        return [Check("system", lambda: Verdict(False, "nodes run on Linux alone"))]
    checks = [command(accelerator.BINARY, "qemu-system-x86", "qemu-system-x86-core"),
              command("qemu-img", "qemu-utils", "qemu-img")]  # fmt: skip
    if shutil.which(accelerator.BINARY):
        checks += [Check("QEMU's version", _version), Check("QEMU's accelerator", _accelerator)]
    return checks


def _version() -> Verdict:
    old = network.lacking()
    return Verdict(not old, old or "new enough")


def _accelerator() -> Verdict:
    """Which accelerator nodes are started with, and why."""
    try:
        choice = accelerator.chosen("auto")
    except FleetError as error:
        return Verdict(False, str(error))
    if choice == "tcg":
        return Verdict(None, f"{accelerator.VARIABLE} says tcg: QEMU emulates, and a boot takes a minute")
    setting = f"{accelerator.VARIABLE} says kvm; " if choice == "kvm" else ""
    answer = accelerator.known()
    if answer.works is not False:
        return Verdict(True, f"{setting}kvm: {answer.why}")
    device = accelerator.DEVICE
    why = answer.why
    if not device.exists():
        why = f"there is no {device}"
    elif not os.access(device, os.R_OK | os.W_OK):
        why = f"this user may not use {device}: `sudo usermod -aG kvm $USER`, then log in anew"
    if choice == "kvm":
        return Verdict(False, f"{setting}but it does not work: {why}")
    return Verdict(None, f"tcg, since KVM does not work here: {why}; QEMU emulates, and a boot takes a minute")
