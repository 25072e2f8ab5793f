"""Whether QEMU runs a node under KVM or emulates it (TCG), and how that is known. Nothing here knows Pulumi.

A ``/dev/kvm`` that opens proves nothing, and neither does firmware that speaks: nested KVM can run the firmware and
then hang in a boot loader or a kernel for good. So the first machine that is started under KVM is watched until a
kernel runs in it, and the answer is remembered in a file beside the cache of images. It holds for this kernel of the
host, this boot of it and this QEMU: after an update or another boot, KVM is tried anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from fleet.errors import FleetError, UsageError
from fleet.files import read_json

BINARY = "qemu-system-x86_64"
DEVICE = Path("/dev/kvm")
VARIABLE = "FLEET_QEMU_ACCELERATOR"
"""The environment variable that chooses for this host, whatever a stack says."""
WAIT_VARIABLE = "FLEET_KVM_WAIT"
"""The environment variable that holds another number of seconds than :data:`KERNEL_WAIT`."""

Choice = Literal["auto", "kvm", "tcg"]
KVM = ("-accel", "kvm", "-cpu", "host")
# Emulated, newer CPU models made guests panic in sched_clock_cpu, two boots of ten.
TCG = ("-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64")

KERNEL_WAIT = 30.0
"""Seconds in which a machine under KVM has to come to its kernel; where KVM works, it takes two to five."""
_FIRMWARE_WAIT = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# What boot loaders write has none of it: a time stamp of printk, the kernel's first line, systemd, a login prompt.
_KERNEL_WORDS = re.compile(rb"\[ *\d+\.\d{6}\]|Linux version \d|systemd\[1\]:|Reached target |\blogin: ")


@dataclass(frozen=True)
class Answer:
    """What is known about KVM on this host.

    Attributes:
        works: Whether it runs a guest; ``None`` while only a kernel can tell.
        why: How that is known, as the end of a sentence.
    """

    works: bool | None
    why: str


def chosen(option: Choice) -> Choice:
    """The choice that holds on this host: the environment variable's where it is set, else the stack's option.

    Raises:
        UsageError: The variable has no such value.
    """
    value = os.environ.get(VARIABLE) or option
    for choice in get_args(Choice):
        if value == choice:
            return cast(Choice, choice)
    raise UsageError(f"{VARIABLE} is {value!r}.", fix="It can be auto, kvm or tcg.")


def known() -> Answer:
    """What is known about KVM, without a machine: what is remembered, else what a tiny machine's firmware shows.

    Takes at most a few seconds.
    """
    return _remembered() or _firmware()


def require(answer: Answer) -> None:
    """For those who chose KVM.

    Raises:
        FleetError: It is known not to work.
    """
    if answer.works is False:
        anew = f"; to have KVM tried anew, remove {memory()}." if _remembered() == answer else "."
        raise FleetError(
            f"KVM is chosen as the accelerator, but does not work on this host: {answer.why}.",
            fix=f"Set `accelerator: auto` or `tcg` in the stack's `fleet:qemu`, or in {VARIABLE}{anew}",
        )


def kernel_wait() -> float:
    """Seconds in which a machine under KVM has to come to its kernel.

    Raises:
        UsageError: The environment variable holds no number.
    """
    value = os.environ.get(WAIT_VARIABLE) or str(KERNEL_WAIT)
    if not re.fullmatch(r"\d{1,4}(\.\d*)?", value):
        raise UsageError(f"{WAIT_VARIABLE} is {value!r}.", fix="It is a number of seconds.")
    return float(value)


def kernel_speaks(console: bytes) -> bool:
    """Whether a serial console shows that a kernel runs, and not only firmware and a boot loader."""
    return _KERNEL_WORDS.search(console) is not None


def memory() -> Path:
    """The file that remembers: ``$XDG_CACHE_HOME/fleet/kvm.json``."""
    import platformdirs  # no plan asks where

    return platformdirs.user_cache_path("fleet") / "kvm.json"


def remember(answer: Answer) -> None:
    """Keep an answer until the host boots anew. Where the cache cannot be written, it is asked again next time."""
    with contextlib.suppress(OSError):
        file = memory()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps({**_host(), "works": answer.works, "why": answer.why}, indent=1) + "\n")
        partial.replace(file)


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Lets one machine at a time find out whether KVM works; others wait for what it finds."""
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):
            memory().parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(opened.enter_context(memory().with_suffix(".lock").open("w")), fcntl.LOCK_EX)
        yield


def _host() -> dict[str, Any]:
    """What an answer holds for."""
    binary = shutil.which(BINARY)
    changed = Path(binary).stat().st_mtime_ns if binary else 0
    boot = _BOOT_ID.read_text().strip()
    return {"kernel": os.uname().release, "boot": boot, "qemu": f"{binary} {changed}"}


def _remembered() -> Answer | None:
    try:
        answer: dict[str, Any] = read_json(memory().read_bytes())
        if any(answer[key] != value for key, value in _host().items()):
            return None
        return Answer(bool(answer["works"]), str(answer["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _firmware() -> Answer:
    """What the firmware of a tiny machine under KVM shows; it takes QEMU a moment to refuse."""
    with tempfile.TemporaryDirectory() as scratch:
        log, errors = Path(scratch) / "firmware.log", Path(scratch) / "errors.log"
        command = [BINARY, *KVM, "-machine", "pc", "-m", "32", "-nodefaults", "-display", "none"]
        command += ["-chardev", f"file,id=log,path={log}", "-device", "isa-debugcon,iobase=0x402,chardev=log"]
        try:
            with errors.open("w") as stderr:
                probe = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        except OSError as error:
            return Answer(False, f"{BINARY} cannot be run: {error.strerror}")
        try:
            deadline = time.monotonic() + _FIRMWARE_WAIT
            while time.monotonic() < deadline:
                if probe.poll() is not None:
                    return Answer(False, refusal(errors.read_text(errors="replace"), probe.returncode))
                if log.exists() and log.stat().st_size:
                    return Answer(None, "firmware runs under it; whether a kernel does, the first node will tell")
                time.sleep(0.05)
            answer = Answer(False, f"not even firmware ran under it within {_FIRMWARE_WAIT:.0f} s")
            # A refusal takes QEMU a moment, and its reason may pass: it is asked again each time.
            remember(answer)
            return answer
        finally:
            probe.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                probe.wait(5)


def refusal(errors: str, status: int) -> str:
    """Why QEMU refused KVM, in a line, from what it wrote on standard error."""
    lines = [line.strip().removeprefix(f"{BINARY}: ").removeprefix("error: ") for line in errors.splitlines()]
    return f"QEMU refuses it ({next(filter(None, lines), f'status {status}').rstrip('.')})"
