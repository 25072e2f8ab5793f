"""The ``fleet`` command line."""

from fleet.cli import graph
from fleet.cli.app import main

__all__ = ["graph", "main"]
