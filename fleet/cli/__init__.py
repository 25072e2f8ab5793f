"""The ``fleet`` command line."""

from fleet.cli.app import main

__all__ = ["main"]
