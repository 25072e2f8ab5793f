"""The text of a serial console, as a person can read it.

What a machine writes there is for a terminal: colours, a cursor that goes back to redraw the line of a job that runs,
the same event once from systemd and once from the journal. And when a stage fails, Ignition writes the whole merged
config, files and all (``internal/exec/engine.go`` of github.com/coreos/ignition), which may hold secrets in any form:
those lines are never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_ESCAPES = re.compile(
    # ECMA-48: control sequences; operating system commands, with or without their end; other escapes of one character.
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1b\x1c-\x1f\x7f]"
)
_STAMP = re.compile(r"^\[ *\d+\.\d{6}\] ")
"""The time that printk writes."""
_DUMP = re.compile(r"\bignition\[\d+\]: (?: |[{}\]]|Full config:)")
"""A line of the config that Ignition writes when it fails; its messages begin with a word."""
_DATA = re.compile(r"\bdata:[^\s\"']*,[^\s\"']*")
_QUERY = re.compile(r"(\bhttps?://[^\s\"'?]+)\?[^\s\"']*?(?=:?(?:[\s\"']|$))")
"""The query of a URL, which may be the signature by which it may be read."""
_SPINNER = re.compile(r"^\[[ *]{3,6}\] (?:\((\d+) of (\d+)\) )?(.*?) \([^()]* / [^()]*\)$")
"""What systemd draws while a job runs for long (``manager_print_jobs_in_progress`` in its ``src/core/manager.c``)."""


def lines(text: str) -> list[str]:
    """The lines of a console without what only a terminal needs, and without configs.

    Args:
        text: What the machine wrote, or its end; the first line may have lost its beginning.
    """
    plain = _ESCAPES.sub("", text).replace("\r", "\n")
    kept = (line.rstrip() for line in plain.split("\n"))
    return [_harmless(line) for line in kept if line and not _DUMP.search(line)]


def masked(text: str, mask: Callable[[str], str]) -> str:
    """The lines of a console, without secrets.

    Args:
        text: As for :func:`lines`.
        mask: Takes secrets out of a text.
    """
    # Before, since a line's form may be all that shows one; and after, of one that escapes stood in.
    return mask("\n".join(lines(mask(text))))


def tail(text: str, count: int) -> list[str]:
    """The last lines of a console, each event once.

    Args:
        text: As for :func:`lines`.
        count: How many lines at most.
    """
    shown: dict[str, str] = {}
    for line in lines(text):
        key = event(line)
        # What is said again is said where it was said last.
        shown.pop(key, None)
        shown[key] = line
    return list(shown.values())[-count:] if count else []


def event(line: str) -> str:
    """What a line says, without when: printk's time, who said it, how long a job has been running.

    Args:
        line: One of :func:`lines`.
    """
    text = _STAMP.sub("", line)
    text = re.sub(r"^systemd\[1\]: ", "", text)
    text = re.sub(r"^\[ *(OK|FAILED|DEPEND|WARN|INFO|TIME) *\] ", "", text)
    if job := running_job(text):
        # What is in place of a long name's middle moves as the time beside it grows.
        return job.text.partition("…")[0]
    return " ".join(text.split())


@dataclass(frozen=True)
class RunningJob:
    """A job of systemd's that has been running for seconds; where there are several, it shows one after the other.

    Attributes:
        text: What systemd says of it, without for how long: "A start job is running for web", "Job web.service/start
            running". A long name has lost its middle, and an ellipsis is there.
        number: Which of those that run, from 1.
        count: How many run.
    """

    text: str
    number: int
    count: int


def running_job(line: str) -> RunningJob | None:
    """The job that a line tells of; ``None`` for another line.

    Args:
        line: One of :func:`lines`.
    """
    match = _SPINNER.match(line)
    return RunningJob(match[3], int(match[1] or 1), int(match[2] or 1)) if match else None


def _harmless(line: str) -> str:
    return _QUERY.sub(r"\1?...", _DATA.sub("data:...", line))
