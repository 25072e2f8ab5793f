"""The ``fleet`` command line."""

import fleet.cli.view  # noqa: F401 (adds its command)
from fleet.cli.app import main

__all__ = ["main"]
