"""Which local files a spec may put on a node: those of its project, and others where the spec says so.

A folder that somebody else has a hand in, such as a checkout, may hold a symbolic link to ``/etc/shadow``, or a path
with ``..`` in it; what that leads to would be in a config that many can read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import Position, UsageError
from fleet.project import project_file


@dataclass(frozen=True)
class Boundary:
    """A folder that files must be in, wherever symbolic links lead.

    Attributes:
        root: The folder.
    """

    root: Path

    @classmethod
    def of(cls, spec: Path) -> Boundary:
        """The folder of the Pulumi project that a spec belongs to, or the spec's own folder if there is none.

        Args:
            spec: The spec's file.
        """
        own = Path(os.path.realpath(spec)).parent
        return cls(next((folder for folder in (own, *own.parents) if project_file(folder)), own))

    def check(self, path: Path, what: str, *, outside: bool = False, at: Position | None = None) -> Path:
        """Return the path if it is inside the folder.

        Args:
            path: A path; what it names need not be there.
            what: What errors call it, such as "The snippet".
            outside: It may lead anywhere.
            at: Where the spec names it.

        Raises:
            UsageError: It leads out of the folder.
        """
        real = os.path.realpath(path)
        if not outside and not Path(real).is_relative_to(os.path.realpath(self.root)):
            raise self.refusal(f"{what} is {path}, which leads to {real}", at=at)
        return path

    def refusal(self, what: str, *, at: Position | None) -> UsageError:
        """The error for a path that leads out of the folder.

        Args:
            what: What leads where, as the beginning of a sentence.
            at: Where it is named.
        """
        return UsageError(
            f"{what}, outside of the project's folder {self.root}.",
            at=at,
            fix="Put it into the folder, or say `outside: true` beside it in the spec if that is meant.",
        )
