"""What ``fleet`` exits with, and what that means: one table, for the commands, the manual and the reference."""

from __future__ import annotations

import signal
import sys

from fleet.errors import FleetError, UsageError
from fleet.ops.signals import Stopped

FAILED = FleetError.exit_code
REFUSED = UsageError.exit_code
UNWELL = 1
MISSING = 1
CHANGES = 2

DETAILED = "--detailed-exitcode"
"""The option of ``preview`` that has it tell by its status whether something would change."""

TABLE: tuple[tuple[int | None, str, str], ...] = (
    (0, "", "The command has done what it was asked."),
    (0, "fleet status", "Every node is ready."),
    (0, "fleet doctor", "Nothing is missing."),
    (0, f"fleet preview {DETAILED}", "Nothing would change."),
    (FAILED, "", "It failed; the error on standard error says what, why, and what to do."),
    (UNWELL, "fleet status", "A node is not ready, is yet to be made, or is to be removed."),
    (MISSING, "fleet doctor", "Something is missing."),
    (FAILED, f"fleet preview {DETAILED}", "Whatever is wrong, wrong usage included."),
    (REFUSED, "", "The command line, the spec or the stack's config is wrong, or nobody said yes. Nothing was done."),
    (CHANGES, f"fleet preview {DETAILED}", "Something would change."),
    *(
        (Stopped(number).exit_code, "", f"{number.name} stopped it{how}.")
        for number, how in (
            (signal.SIGHUP, ", as when a terminal goes"),
            (signal.SIGINT, ", as Ctrl-C sends it"),
            (signal.SIGTERM, ", as CI and systemd send it"),
        )
    ),
    (None, "fleet ssh", "That of ssh(1), which it becomes: the command's own, or 255 where SSH does not get through."),
    (None, "fleet logs", "That of ssh(1), too, but with `--console`."),
)
"""Each status, the command that it is of (empty: of all others, too), and its meaning. A status of ``None`` is another
program's."""


def exit_status(code: int) -> int:
    """The exit status of an error: with ``--detailed-exitcode``, 2 says that something would change, and nothing else.

    Args:
        code: The error's own.
    """
    # Of an option that is not there, say, nothing has been parsed when it is an error.
    return FAILED if code == REFUSED and DETAILED in sys.argv else code
