"""The ``fleet`` command line."""

from fleet.cli import doctor, graph, history, new, status, version, view
from fleet.cli.app import main

__all__ = ["doctor", "graph", "history", "main", "new", "status", "version", "view"]
