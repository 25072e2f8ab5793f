"""The ``fleet`` command line."""

from fleet.cli import doctor, graph, history, migrate, new, schema, state, status, version, view
from fleet.cli.app import main

__all__ = ["doctor", "graph", "history", "main", "migrate", "new", "schema", "state", "status", "version", "view"]
