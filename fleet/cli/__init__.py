"""The ``fleet`` command line."""

from fleet.cli import doctor, graph, new, status, version, view
from fleet.cli.app import main

__all__ = ["doctor", "graph", "main", "new", "status", "version", "view"]
