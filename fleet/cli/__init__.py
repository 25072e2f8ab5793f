"""The ``fleet`` command line."""

from fleet.cli import status as status
from fleet.cli.app import main

__all__ = ["main"]
