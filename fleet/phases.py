"""Phases: where a new node is on its way to being ready.

A node's serial console tells of firmware, boot loader, kernel, Ignition and systemd, until the node's report
(:mod:`fleet.plan.report`) answers, which knows its containers; what is left then is what a probe says.
:func:`phase` puts them together, and :class:`Progress` says when a person wants to read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fleet import console
from fleet.plan.unit_name import AWAIT_DISK, escape_path

if TYPE_CHECKING:
    from fleet.plan.report import JobReport, Problem, Report

Step = Literal[
    "firmware", "boot loader", "kernel", "initramfs", "Ignition", "units", "started", "failing", "pulling", "settling",
    "probing",
]  # fmt: skip
"""In the order of a start."""

EVERY = 60.0
"""Seconds after which a phase that lasts is told again."""


@dataclass(frozen=True)
class Phase:
    """Where a node is.

    Attributes:
        step: Which part of its start.
        text: What it does, in words, such as "pulling the image of hello". Another text is another phase.
        note: What may change within a phase: how often, the last answer.
    """

    step: Step
    text: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.note}" if self.note else self.text


class Progress:
    """What is to be told of one node's phases while it is waited for: each change, and every minute what lasts."""

    def __init__(self) -> None:
        self._seen = set[tuple[str, str]]()
        self._told = 0.0

    def line(self, now: Phase, spent: float, limit: float) -> str:
        """What to tell; empty if there is nothing new.

        Args:
            now: Where the node is.
            spent: Seconds that it has been waited for.
            limit: Seconds that it has.
        """
        key = (now.step, now.text)
        # What goes to and fro, as a unit does that fails and is started again, is no news each time.
        if key in self._seen and spent - self._told < EVERY:
            return ""
        still = STILL if key in self._seen else ""
        self._seen.add(key)
        self._told = spent
        return f"{still}{now} ({spent:.0f} s of {limit:.0f} s)"


STILL = "still "
"""What a line begins with that tells no more than that time has passed."""


def read_progress(line: str) -> tuple[str, int, int] | None:
    """The phase, the seconds spent and the limit of a line of :meth:`Progress.line`; ``None`` for another line."""
    match = re.fullmatch(r"(.*) \((\d+) s of (\d+) s\)", line, flags=re.DOTALL)
    return (match[1].removeprefix(STILL), int(match[2]), int(match[3])) if match else None


def phase(text: str | None, report: Report | None, *, settle: float, answer: str) -> Phase:
    """Where a node is.

    Args:
        text: Its console, or the end of it; empty if nothing is on it yet; ``None`` if it cannot be read.
        report: Its report; ``None``: it does not answer.
        settle: Seconds that what is to run must have run, without a restart.
        answer: What was asked last, and the answer, such as "http port 8080 /: status 503, not 200"; empty if nothing
            was.
    """
    if report:
        return _reported(report, settle) or Phase("probing", "probing", answer)
    seen = of_console(text or "")
    if seen is None and text is not None and not console.lines(text):
        # Some platforms show it minutes late: the answer tells more then.
        return Phase("firmware", "starting, with nothing on its console yet", answer)
    if seen is None or seen.step == "started":
        return Phase("probing", "probing", answer)
    return seen


def _reported(report: Report, settle: float) -> Phase | None:
    problems = list(report.problems(settle))
    for problem in problems:
        if not problem.passing:
            return Phase("failing", f"{problem.unit.kind} {name_of(problem)} {_steady(problem.text)}")
    pulls = [name_of(problem) for problem in problems if problem.unit.pulling]
    if pulls:
        return Phase("pulling", f"pulling the image{'s' if pulls[1:] else ''} of {', '.join(pulls)}")
    if devices := [waited_for(job.unit) for job in running(report.jobs) if job.unit.endswith(".device")]:
        return Phase("units", f"waiting for {', '.join(devices)}")
    settling = [name_of(problem) for problem in problems if problem.text.startswith(("is settling", "restarted "))]
    others = [name_of(problem) for problem in problems if name_of(problem) not in settling]
    if others:
        return Phase("units", f"starting {', '.join(others)}")
    if settling:
        return Phase("settling", f"settling: {', '.join(settling)}")
    return None


def name_of(problem: Problem) -> str:
    """What a problem's unit is called in the spec, or in systemd if it has no name there."""
    return problem.unit.name or problem.unit.unit


def running(jobs: Sequence[JobReport]) -> list[JobReport]:
    """Jobs that start something, and that wait for no other one."""
    return [job for job in jobs if job.type == "start" and job.state == "running"]


def _steady(text: str) -> str:
    """A problem without its numbers that grow: how often, how long ago."""
    return re.sub(r", \d+ times|\d+ s ago", "", text)


_FIRMWARE = re.compile(r"^SeaBIOS|^iPXE|^BdsDxe:|\bTianoCore|^UEFI |^Booting from |^Boot(?:ing|able) .*(?:Disk|disk)")
_BOOT_LOADER = re.compile(
    r"\bGRUB\b|^ *Booting `|^Loading Linux|^Loading initial ramdisk|systemd-boot|^error: \.\./grub"
)
_KERNEL = re.compile(r"\bLinux version \d|^Decompressing Linux|^Booting the kernel|^\[ {4}\d\.\d{6}\] ")
"""What a kernel writes in the first ten seconds; later, it says no more of where the machine is."""
_INITRAMFS = re.compile(r"^Booting initrd of |^Welcome to .*(?:dracut|Initramfs)|Running in initrd|\bdracut-cmdline\b")
_STAGE = re.compile(
    r"\bignition\[\d+\]: Stage: ([a-z-]+)|\bStarting (?:ignition-[a-z-]+\.service - )?Ignition \(([a-z-]+)\)"
)
_FETCH = re.compile(r"\bignition\[\d+\]: (?:.*: )?((?:GET|PUT|HEAD) \S+): attempt #(\d+)")
_ROOT = re.compile(r"\bSwitching root\b|^Welcome to ")
_SYSTEMD = re.compile(r"^\[ *(?:OK|FAILED|DEPEND) *\] |^ {9}(?:Starting|Mounting|Expecting) |\bsystemd\[1\]: ")
_STARTED = re.compile(r"\blogin: ?$|Reached target (?:multi-user\.target|Multi-User System|graphical\.target)")
_EMERGENCY = re.compile(
    r"Reached target (?:emergency\.target|Emergency Mode)|You are in emergency mode|^Entering emergency"
)
_EXPECTED = re.compile(r"Expecting device .*?(/dev/\S+?)\.\.\.$")


def of_console(text: str) -> Phase | None:
    """Where a console says that its machine is; ``None`` if it says nothing.

    Args:
        text: The console, or the end of it.
    """
    now: Phase | None = None
    jobs, devices = dict[int, str](), list[str]()
    complete, _, last = text.rpartition("\n")
    # Of a line that is being written, only a prompt is all there.
    for line in console.lines(text if _STARTED.search(last) else complete):
        if match := _EXPECTED.search(line):
            devices.append(match[1])
        if job := console.running_job(line):
            jobs = {number: each for number, each in jobs.items() if number <= job.count}
            jobs[job.number] = job.text
        following = _next(line, now.step if now else None)
        if following and following != now:
            now, jobs = following, {}
    if now and jobs and now.step in ("units", "initramfs"):
        running_jobs = [_job_name(job) for _, job in sorted(jobs.items())]
        # What waits for a disk runs beside the job of the disk itself, which says more.
        others = [job for job in running_jobs if not _AWAIT.fullmatch(job)]
        names = dict.fromkeys(waited_for(job, devices) for job in others or running_jobs)
        return Phase(now.step, f"waiting for {', '.join(names)}")
    return now


def _next(line: str, step: str | None) -> Phase | None:
    """The phase that a line begins; ``None`` if it begins none."""
    before_root = step not in ("units", "started", "failing")
    if _BOOT_LOADER.search(line):
        return Phase("boot loader", "in its boot loader")
    if _FIRMWARE.search(line):
        return Phase("firmware", "in its firmware")
    if _EMERGENCY.search(line):
        return Phase("failing", "in emergency mode")
    if _INITRAMFS.search(line) and before_root and step != "Ignition":
        return Phase("initramfs", "in its initramfs")
    if (match := _STAGE.search(line)) and (match[1] or match[2]) != "umount":
        return Phase("Ignition", f"Ignition ({match[1] or match[2]})")
    if (match := _FETCH.search(line)) and step == "Ignition":
        return Phase("Ignition", "Ignition (fetch)", f"{match[1]}, attempt {match[2]}")
    if _STARTED.search(line):
        return Phase("started", "its units have started")
    if step != "started" and before_root and _ROOT.search(line) and not _INITRAMFS.search(line):
        return Phase("units", "starting its units")
    if step is None and (_SYSTEMD.search(line) or console.running_job(line)):
        early = re.search(r"initrd|dracut|sysroot|ignition", line)
        return Phase("initramfs", "in its initramfs") if early else Phase("units", "starting its units")
    if "Linux version" in line or (step in (None, "firmware", "boot loader") and _KERNEL.search(line)):
        return Phase("kernel", "starting its kernel")
    return None


def _job_name(job: str) -> str:
    """The unit, or its description, of what systemd says of a job; it may have lost its middle."""
    if match := re.fullmatch(r"Job (\S+) running", job):
        # The middle may have taken the slash behind the name along.
        name, slash, _ = match[1].rpartition("/")
        return name if slash else f"{match[1].partition('…')[0]}…"
    match = re.fullmatch(r"An? \w+ job is running for (.*)", job)
    return match[1] if match else job


_AWAIT = re.compile(rf"(?:Wait for data disk |{AWAIT_DISK})([a-z0-9-]*…?)(?:\.s.*)?")
_DISK = re.compile(
    r"/dev/disk/(?:fleet/|by-id/virtio-data-|by-id/scsi-0Google_PersistentDisk_)([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)"
)
"""The stable paths that platforms give to data disks (``disk_link`` of each); libvirt's hold no name."""


def disk_of(path: str) -> str:
    """The data disk, by its name in the spec, that a device's path is of; empty if that cannot be known."""
    match = _DISK.fullmatch(path)
    return match[1] if match else ""


def waited_for(unit: str, devices: Sequence[str] = ()) -> str:
    """What a job that runs waits for, in words.

    Args:
        unit: The unit's name, or its description, which may have lost its middle.
        devices: Paths of devices that the machine expects.
    """
    if match := _AWAIT.fullmatch(unit):
        return f"data disk {match[1]}"
    start, cut, end = unit.partition("…")
    for device in devices:
        escaped = f"{escape_path(device)}.device"
        fits = escaped.startswith(start) and escaped.endswith(end) if cut else unit in (escaped, device)
        if fits or (cut and device.startswith(start) and device.endswith(end)):
            return _device(device)
    if unit.endswith(".device") and not cut:
        return _device(_unescaped("/" + unit.removesuffix(".device").replace("-", "/")))
    return _device(unit) if unit.startswith("/dev/") else unit


def _device(path: str) -> str:
    name = disk_of(path)
    return f"data disk {name} ({path})" if name else f"the device {path}"


def _unescaped(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)
