"""The ``fleet`` command line."""

import fleet.cli.graph
import fleet.cli.view  # noqa: F401 (each adds its command)
from fleet.cli.app import main

__all__ = ["main"]
