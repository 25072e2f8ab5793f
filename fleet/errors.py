"""The one kind of error that users see.

A :class:`FleetError` is one paragraph: where, what, how to mend it. The command line prints it and exits with its
``exit_code``; a Pulumi program lets it end the update. Everything else that escapes is a bug in fleet, or what the
machine refuses (:class:`OSError`); :func:`unexpected` says either in a paragraph, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution


@dataclass(frozen=True)
class Position:
    """A position in a file that the user wrote.

    Attributes:
        source: A file's path, or a name in words for text that is in no file ("group web").
        line: From 1; ``None`` where it is unknown.
        column: From 1; ``None`` where it is unknown.
    """

    source: str
    line: int | None = None
    column: int | None = None

    @classmethod
    def of(cls, path: Path, line: int | None = None, column: int | None = None) -> Position:
        """A position in a file, its path relative to the working folder where that is shorter."""
        try:
            shown = Path(os.path.realpath(path)).relative_to(Path.cwd())
        except ValueError:
            shown = path
        return cls(str(shown), line, column)

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)


class Remedy(Enum):
    """How to fix an error from a layer that knows neither the spec nor the ``fleet`` command.

    Such a layer names the kind of remedy, and the value is what users read, in the words of the spec and of the
    command.
    """

    CHECK_NETWORK = "Check the network and run the command again."
    RESUME_DOWNLOAD = "Check the network and run the command again: it goes on where it stopped."
    WRITE_LOCK = "Write one with `fleet image lock SPEC` (for a spec in a program: its folder), and commit it."
    WRITE_LOCK_ANEW = "Write a new one with `fleet image update SPEC`."
    LOCK_ARCHITECTURE = "Write a new lock with `fleet image update`."
    LOCK_FILE = (
        "Check the network; `--base-url` names a mirror. For qemu and libvirt, an image file that you have can be "
        "locked, too: `fleet image lock SPEC --file IMAGE.qcow2`."
    )
    LOCK_ONLINE = "Check the network, and lock one: `fleet image lock SPEC`; its `--base-url` names a mirror."
    LOCK_NEWER = "Old releases are removed upstream; lock a newer one with `fleet image update`."
    LOCK_NEWER_OR_UNSIGNED = (
        "Old releases are removed upstream; lock a newer one with `fleet image update`. An image that nobody signs is "
        "used if the lock says so: `fleet image update SPEC --unsigned`."
    )
    RESTORE_FILE = "Put it back, or write a new lock with `fleet image update`."
    RESTORE_OR_LOCK_FILE = (
        "Put that one back, or, if this one is meant, lock it: `fleet image update SPEC --file FILE`."
    )
    NAME_KEYS = "Name others: `fleet image update SPEC --keys FILE`."
    DISTRUST_SIGNATURE = (
        "Do not use this image. If it is an old release, lock a newer one with `fleet image update`; if others than "
        "Fedora sign it, name their keys: `fleet image update SPEC --keys FILE`."
    )
    ALLOW_WARNINGS = "What Butane warns of is seldom meant; if it is, name the snippet with `allow_warnings: true`."
    DECLARE_OVERRIDE = "Take one of them out, or declare the later snippet an override: `{path: ..., override: true}`."
    USE_VARIABLE = "Take it out of the snippet's `variables`, or use it."


class FleetError(Exception):
    """An error that the user can fix.

    Args:
        what: What is wrong, in a sentence or two, without a secret in it.
        at: Where it is wrong.
        fix: How to mend it, in words or as a kind.

    Attributes:
        exit_code: What a command exits with: 1 (failed), or 2 in :class:`UsageError`.
        remedy: The kind of what mends it, where it was named as one.
    """

    exit_code = 1

    def __init__(self, what: str, *, at: Position | None = None, fix: str | Remedy = "") -> None:
        self.remedy = fix if isinstance(fix, Remedy) else None
        self.what, self.at, self.fix = _ended(what), at, _ended(fix.value if isinstance(fix, Remedy) else fix)
        super().__init__(self.what)

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.at}:" if self.at else "", self.what, self.fix)))

    def hide(self, mask: Callable[[str], str]) -> None:
        """Mask secrets in its texts.

        Args:
            mask: Takes them out of a text.
        """
        self.what, self.fix = mask(self.what), mask(self.fix)
        if self.at:
            self.at = replace(self.at, source=mask(self.at.source))
        self.args = (self.what,)


def _ended(text: str) -> str:
    """A text whose sentences end once: what is put before an end mark, such as another's message, may have one."""
    text = re.sub(r"([?!])\.(?=\s|$)", r"\1", text)
    return re.sub(r"(?:(?<=[^\s./])\.|:)\.(?=\s|$)", ".", text)


class UsageError(FleetError):
    """The command or its input is invalid; nothing was attempted."""

    exit_code = 2


class FleetWarning(UserWarning):
    """A problem that can be fixed later. Commands show it on standard error, ``pulumi up`` as a warning; each once."""


DISTRIBUTION = "fcos-fleet"
"""What the package is called on PyPI, where ``fleet`` is somebody else's."""

DEBUG = "FLEET_DEBUG"
"""The environment variable that, when set, makes unexpected errors show their traceback."""


def unexpected(error: BaseException) -> str:
    """One paragraph for the user about an error that is not a :class:`FleetError`.

    What the error itself says is left out unless :data:`DEBUG` is set: nobody has seen to it that no secret is in it.

    Args:
        error: What was raised.
    """
    if os.environ.get(DEBUG):
        return "".join(traceback.format_exception(error)).rstrip()
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}. {DEBUG}=1 in the environment shows where that came from."
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "fleet" in Path(frame.filename).parts] or frames
    where = f", line {own[-1].lineno} of {Path(own[-1].filename).name}" if own else ""
    return (
        f"This is a bug of fleet{release()}: {type(error).__name__}{where}. Please report it{_where_to_report()}, "
        f"with what you did, and with the traceback that {DEBUG}=1 in the environment shows; look it through before, "
        "since a secret may be in it."
    )


def installed() -> Distribution | None:
    """The metadata of the distribution that fleet is installed as; ``None`` if it runs without being installed.

    One that was installed under the earlier name, ``fleet``, counts if its command is this package's: another project
    has that name in the package index.
    """
    from importlib import metadata  # slow to import, and seldom needed

    for name in (DISTRIBUTION, "fleet"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            own = metadata.distribution(name)
            if name == DISTRIBUTION or any(entry.value == "fleet.cli:main" for entry in own.entry_points):
                return own
    return None


def release() -> str:
    """The installed release, with a blank before it; empty if it is not known."""
    # Nothing that says what is wrong may fail, and it may be that fleet is not installed.
    own = installed()
    return f" {own.version}" if own else ""


def _where_to_report() -> str:
    """The issue tracker's URL, from the package's metadata (``[project.urls]`` of ``pyproject.toml``, "Issues")."""
    own = installed()
    entries = own.metadata.get_all("Project-URL") if own else None
    urls = dict(entry.split(", ", 1) for entry in entries or ())
    return f" at {urls['Issues']}" if "Issues" in urls else " to whom you have fleet from"
