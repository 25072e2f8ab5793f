"""The options of ``toy``."""

from __future__ import annotations

from fleet.platforms.options import PlatformOptions


class Options(PlatformOptions):
    """The stack's ``fleet:toy``.

    Attributes:
        folder: Where machines and disks are, relative to the project's.
        architecture: "x86_64" or "aarch64".
    """

    folder: str = "toys"
    architecture: str = "x86_64"
