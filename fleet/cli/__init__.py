"""The ``fleet`` command line."""

from fleet.cli import migrate as migrate
from fleet.cli.app import main

__all__ = ["main"]
