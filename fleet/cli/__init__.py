"""The ``fleet`` command line."""

from fleet.cli import doctor as doctor
from fleet.cli import new as new
from fleet.cli import status as status
from fleet.cli import version as version
from fleet.cli.app import main

__all__ = ["main"]
