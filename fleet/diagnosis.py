"""Diagnosis: why a node is not ready, from what is known of it: the first cause, not all that followed from it.

The causes are asked for in the order in which a node starts: a kernel that panics runs no Ignition, an Ignition that
fails starts no units, a data disk that is not there keeps its container from running. The report
(:mod:`fleet.plan.report`) has a word for what it knows of a container's failure; the console, or the unit's journal
where SSH reaches it, has the lines that show it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fleet import console
from fleet.phases import disk_of, of_console, waited_for
from fleet.plan.report import CAUSES, Problem, Report, UnitReport

_EVIDENCE = 6
"""Lines."""
_WIDEST = 300
"""Characters of a line of evidence, and of a cause."""
_FULL = 0.98
"""Of a file system; ext4 and XFS keep some of it to themselves."""

Journal = Callable[[UnitReport], Sequence[str]]
"""The last lines of a unit's journal; none where they cannot be had."""


@dataclass(frozen=True)
class Diagnosis:
    """Why a node is not ready.

    Attributes:
        cause: The end of a sentence, without its full stop.
        fix: What to do, in sentences; empty where that is not known.
        evidence: Lines that show it.
        others: What else on the node does not do what it is to do, and will not by itself.
        known: Whether it is a cause, and not only what was answered last.
    """

    cause: str
    fix: str = ""
    evidence: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    known: bool = True


def diagnose(
    text: str, report: Report | None, *, settle: float, answer: str, journal: Journal = lambda unit: ()
) -> Diagnosis:
    """Why a node is not ready.

    Args:
        text: Its console, or the end of it, secrets masked; empty if it cannot be read.
        report: Its report; ``None``: it does not answer.
        settle: Seconds that what is to run must have run, without a restart.
        answer: What was asked last, and the answer; the cause where nothing else is known.
        journal: Reads a unit's journal, secrets masked.
    """
    causes = _causes(text, report, settle, journal)
    diagnosis = next(causes, None) or _unknown(text, report, answer)
    return replace(
        diagnosis,
        cause=_clipped(diagnosis.cause),
        evidence=tuple(map(_clipped, diagnosis.evidence[-_EVIDENCE:])),
        others=tuple(map(_clipped, diagnosis.others)),
    )


def _causes(text: str, report: Report | None, settle: float, journal: Journal) -> Iterator[Diagnosis]:
    lines = console.lines(text)
    if report is None:
        # A node that reports has left all of this behind.
        yield from _panic(lines)
        yield from _ignition(lines)
        yield from _emergency(lines)
        yield from _device(text)
        yield from _failed_unit(lines)
        yield from _fetching(text)
        return
    problems = list(report.problems(settle))
    yield from _full_disk(report, problems)
    yield from _missing_disk(report)
    # What others wait for comes first in the report, but whatever may pass by itself is seldom the cause.
    problems.sort(key=lambda each: (each.passing, each.unit.kind == "container", each.unit.cause not in CAUSES))
    for problem in problems:
        others = tuple(str(each) for each in problems if each is not problem and not each.passing)
        yield replace(_problem(problem, journal), others=others)


# The console.


def _panic(lines: Sequence[str]) -> Iterator[Diagnosis]:
    for index, line in enumerate(lines):
        if match := re.search(r"Kernel panic - not syncing: (.*)", line):
            fix = ""
            if "No working init" in line or "Unable to mount root" in line:
                fix = "The image is damaged, or not one for this machine: check the image lock."
            elif "Out of memory" in line or "out of memory" in line:
                fix = "Give the node more memory: a larger `size` of its group."
            yield Diagnosis(f"its kernel panicked: {match[1]}", fix, tuple(lines[max(0, index - 4) : index + 1]))


_IGNITION = {
    r"exists there already and overwrite is false": (
        "A file of the spec is there already on the image: write it with `overwrite: true` in its snippet."
    ),
    r"not of the correct type|filesystem wipe was not requested|volume wipe was not requested": (
        "What is on the disk is not what the config expects. Ignition wipes it only with `wipe_filesystem: true`, "
        "which loses what is on it; a disk with data is declared under `data_disks`."
    ),
    r"unsupported config version|invalid config version": (
        "The image's Ignition is older than the config: lock a newer release with `fleet image update`, or use an "
        "earlier `version` in the snippets."
    ),
    r"hash verification failed": ("What was downloaded is not what `verification` says: correct the URL or the hash."),
    r"no such host|network is unreachable|connection refused|i/o timeout|context deadline exceeded|timed out": (
        "The node cannot reach what the config names: check the URL, the network's way out, and DNS."
    ),
    r"\b40[13]\b|Forbidden|AccessDenied": ("The node may not read what the config names: check its permissions."),
    r"\b404\b|NoSuchKey|resource not found": "What the config names is not there: check the URL.",
    r"no space left on device": "The root disk is too small for the config: set a larger `root_size_gib`.",
    r"no such device|failed to wait on .* devs|device .*does not exist": (
        "A disk that a snippet names is not there: check its path; data disks are declared under `data_disks`."
    ),
}
"""What Ignition's errors say (``internal/exec`` of github.com/coreos/ignition), and what to do."""


_TROUBLE = re.compile(r"\[failed\] |^(?:error at|failed to|merging|couldn't|reading state)")
_STAGE_FAILED = re.compile(r"Failed to start (?:ignition-[a-z-]+\.service - )?(Ignition \([a-z-]+\))")


def _ignition(lines: Sequence[str]) -> Iterator[Diagnosis]:
    said = [_message(line) for line in lines if re.search(r"\bignition\[\d+\]: |\bCRITICAL *: ", line)]
    details = tuple(dict.fromkeys(each for each in said if _TROUBLE.search(each)))
    last = next((each for each in reversed(said) if each.startswith("Ignition failed: ")), "")
    failed = next((match for match in map(_STAGE_FAILED.search, lines) if match), None)
    if not last and not failed:
        return
    stages = [each.removeprefix("Stage: ") for each in said if each.startswith("Stage: ") and "umount" not in each]
    stage = failed[1] if failed else f"Ignition ({stages[-1]})" if stages else "Ignition"
    reason = _shortened(last.removeprefix("Ignition failed: ")) or next(iter(details), "")
    evidence = tuple(each for each in details if reason not in each and each not in reason)
    fix = _ignition_fix(" ".join([last, *details]))
    yield Diagnosis(f"{stage} failed" + (f": {reason}" if reason else ""), fix, evidence)


def _ignition_fix(text: str) -> str:
    return next((fix for pattern, fix in _IGNITION.items() if re.search(pattern, text, re.IGNORECASE)), "")


def _shortened(reason: str) -> str:
    """An error of Go's without the layers that say the same once more."""
    parts = list(dict.fromkeys(reason.split(": ")))
    return ": ".join(parts)


def _message(line: str) -> str:
    return re.sub(r"^.*?(?:\bignition\[\d+\]: |\bCRITICAL *: )", "", line)


def _emergency(lines: Sequence[str]) -> Iterator[Diagnosis]:
    if not any(re.search(r"emergency\.target|Emergency Mode|emergency mode", line) for line in lines):
        return
    failed = _failures(lines)
    why = f" because {_name(failed[0])} failed" if failed else ""
    yield Diagnosis(
        f"it went into emergency mode{why}",
        "The serial console has its shell; `fleet logs --console` shows what led there.",
        tuple(
            console.event(line) for line in lines if re.search(r"Failed to |Timed out waiting|Dependency failed", line)
        ),
    )


def _troubles(lines: Sequence[str]) -> tuple[str, ...]:
    """What systemd says that went wrong, each once."""
    troubles = (line for line in lines if re.search(r"Failed to start |Timed out waiting|Dependency failed", line))
    return tuple(dict.fromkeys(map(console.event, troubles)))


def _device(text: str) -> Iterator[Diagnosis]:
    lines = console.lines(text)
    for line in lines:
        if match := re.search(r"Timed out waiting for device .*?(/dev/[^\s.]+(?:\.[^\s.]+)*)", line):
            yield _no_device(match[1], (console.event(line),))
    now = of_console(text)
    if now and now.step in ("units", "initramfs") and (match := re.search(r"(/dev/[^\s),]+)", now.text)):
        yield _no_device(match[1])


def _no_device(path: str, evidence: tuple[str, ...] = ()) -> Diagnosis:
    disk = disk_of(path)
    if not disk:
        return Diagnosis(f"it waits for the device {path}, which is not there", "", evidence)
    return Diagnosis(
        f"its data disk {disk} is not there: no device {path}",
        "It starts by itself once the disk is attached: see whether the platform has the disk, and to which machine it "
        "is attached.",
        evidence,
    )


def _failures(lines: Sequence[str]) -> list[str]:
    """Units that failed, by name or description, in order, each once."""
    matches = (re.search(r"Failed to (?:start|mount|activate(?: swap)?) (.*?)\.?$", line) for line in lines)
    return list(dict.fromkeys(match[1] for match in matches if match and "…" not in match[1]))


def _name(described: str) -> str:
    """The unit of a line that has both its name and its description."""
    return described.partition(" - ")[0]


def _failed_unit(lines: Sequence[str]) -> Iterator[Diagnosis]:
    for line in lines:
        if match := re.search(r"Out of memory: Killed process \d+ \(([^)]*)\)", line):
            yield Diagnosis(
                f"it was out of memory, and its kernel killed {match[1]}",
                "Give the node more memory, a larger `size` of its group, or limit the container's `memory`.",
                (console.event(line),),
            )
    for failed in _failures(lines):
        # What the system itself has of units may fail without harm; the report would know.
        if match := re.search(r"\bContainer (\S+)$", failed):
            name = match[1]
            begin = re.compile(rf"^.*?\b{re.escape(name)}(?:\[\d+\]|\.service): ")
            said = _own_words([begin.sub("", line) for line in lines if begin.search(line)])
            cause, fix = _known(" ".join(said), name)
            yield Diagnosis(f"container {name}" + (f": {cause}" if cause else " failed"), fix, tuple(said))


def _fetching(text: str) -> Iterator[Diagnosis]:
    now = of_console(text)
    if now and now.step == "Ignition" and now.note:
        said = [_message(line) for line in console.lines(text) if re.search(r"\bignition\[\d+\]: ", line)]
        yield Diagnosis(
            f"{now.text} still tries {now.note}",
            _ignition_fix(" ".join(said)),
            tuple(dict.fromkeys(each for each in said if "error" in each.lower())),
        )


# The report.


def _full_disk(report: Report, problems: Sequence[Problem]) -> Iterator[Diagnosis]:
    if not any(not problem.passing for problem in problems):
        return
    for disk in report.disks:
        if disk.size_bytes and disk.used_bytes >= _FULL * disk.size_bytes:
            what = f"its data disk {disk.name}" if disk.name else "its root file system"
            more = f"`size_gib` of {disk.name}" if disk.name else "`root_size_gib` in the stack's config"
            used = f"{disk.used_bytes / (1 << 30):.1f} of {disk.size_bytes / (1 << 30):.1f} GiB"
            yield Diagnosis(f"{what} is full ({used})", f"Set a larger {more}.", tuple(map(str, problems)))


def _missing_disk(report: Report) -> Iterator[Diagnosis]:
    devices = [job.unit for job in report.jobs if job.unit.endswith(".device") and job.type == "start"]
    for device in devices:
        if match := re.search(r"/dev/[^\s)]+", waited_for(device)):
            yield _no_device(match[0])
    for unit in report.units:
        if unit.kind == "mount" and unit.active == "failed":
            yield Diagnosis(f"its data disk {unit.name} cannot be mounted ({unit.result or unit.sub})")


_FIXES = {
    "image-unknown": "Correct `image` of {name} in the spec.",
    "image-denied": "Give the node the registry's credentials, or correct `image` of {name}.",
    "registry-unreachable": "Check the registry's name, and the node's DNS and way out.",
    "registry-certificate": "Give the node the authority's certificate, in `/etc/pki/ca-trust/source/anchors`.",
    "registry-limit": "Wait and run the command again, log in to the registry, or use a mirror.",
    "disk-full": "Set a larger disk.",
    "port-in-use": "Take another port in `ports` of {name}: two containers cannot have one.",
    "command-unknown": "Correct `command` or `entrypoint` of {name}.",
    "architecture": "Take an image for the node's architecture, or another `architecture` in the stack's config.",
    "out-of-memory": "Raise `memory` of {name}, or take a larger `size` for its group.",
    "secret-missing": "Name it in `secrets` of {name}.",
}
"""What to do, by the word of :data:`~fleet.plan.report.CAUSES`."""
_IMAGE = ("image-unknown", "image-denied", "registry-unreachable", "registry-certificate", "registry-limit")
"""Causes for which there is no image."""


def _problem(problem: Problem, journal: Journal) -> Diagnosis:
    unit = problem.unit
    what = f"{unit.kind} {unit.name}" if unit.name and unit.kind != "other" else unit.unit
    evidence = tuple(_own_words(journal(unit)))
    name = unit.name or unit.unit
    if problem.passing:
        text = "is still pulling its image" if unit.pulling else problem.text
        return Diagnosis(f"{what} {text}", evidence=evidence)
    fix = _FIXES.get(unit.cause, "").format(name=name)
    if unit.cause in _IMAGE:
        return Diagnosis(f"{what}: its image cannot be pulled: {CAUSES[unit.cause]}", fix, evidence)
    if unit.health == "unhealthy" and unit.active == "active":
        return Diagnosis(
            f"{what} is unhealthy: its health check fails",
            f"See what `health` of {name} runs, and what {name} says.",
            evidence,
        )
    text = problem.text
    if unit.cause not in CAUSES:
        cause, fix = _known(" ".join(evidence), name)
        text += f": {cause}" if cause else ""
    return Diagnosis(f"{what} {text}", fix, evidence)


_KNOWN = (
    ("image-unknown", r"manifest unknown|name unknown|repository .* not found|tag .* not found"),
    ("registry-limit", r"toomanyrequests|429 Too Many|pull rate limit"),
    ("image-denied", r"unauthorized|authentication required|denied: |403 Forbidden"),
    ("registry-certificate", r"x509: "),
    (
        "registry-unreachable",
        r"(?:pinging container registry|initializing source|registry).*(?:no such host|refused|timeout|unreachable)",
    ),
    ("disk-full", r"no space left on device"),
    ("port-in-use", r"address already in use|port is already allocated"),
    ("command-unknown", r"executable file .*not found|exec: .*no such file|No such file or directory: OCI"),
    ("architecture", r"exec format error|no image found in .* for architecture"),
    ("secret-missing", r"no secret with name or id|no such secret"),
)
"""By cause: what Podman, Docker and their runtimes say."""


def _known(text: str, name: str) -> tuple[str, str]:
    """The cause that lines of a container tell, and what to do; both empty if they tell none that is known."""
    for cause, pattern in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            words = f"its image cannot be pulled: {CAUSES[cause]}" if cause in _IMAGE else CAUSES[cause]
            return words, _FIXES[cause].format(name=name)
    return "", ""


_NOISE = re.compile(
    r"^(?:Started|Starting|Stopped|Stopping|Scheduled restart job|Deactivated successfully|Consumed |Trying to pull|"
    r"Pulling image|Getting image source|Copying (?:blob|config)|Writing manifest|Storing signatures|-- )"
    r"|^\S+\.service: |^Failed to start |^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+\d{4} |^[0-9a-f]{64}$"
    r"|^Main process exited|^Failed with result"
)
"""What systemd, and Podman's log of events, say of a container; its own words are the rest."""


def _own_words(lines: Sequence[str]) -> list[str]:
    """The lines that are a container's own, or Podman's errors, each once; all of them where there are no such."""
    kept = [line for line in (each.strip() for each in console.lines("\n".join(lines))) if line]
    own = [line for line in kept if not _NOISE.search(line)]
    return list(dict.fromkeys(reversed(own or kept)))[::-1]


# Where nothing is known.


def _unknown(text: str, report: Report | None, answer: str) -> Diagnosis:
    """What was answered last; what else failed may have nothing to do with it."""
    if report:
        return Diagnosis(answer, evidence=tuple(f"{unit} failed" for unit in report.failed), known=False)
    now = of_console(text)
    evidence = (*_troubles(console.lines(text)), *console.tail(text, 3))
    if now and now.step not in ("started", "units"):
        return Diagnosis(f"{answer}; its console says that it is {_doing(now.text)}", evidence=evidence, known=False)
    return Diagnosis(answer, evidence=evidence, known=False)


def _doing(text: str) -> str:
    return f"in {text}" if text.startswith("Ignition") else text


def _clipped(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _WIDEST else f"{line[:_WIDEST]}..."
