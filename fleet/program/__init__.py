"""The Pulumi program of a stack that a spec describes: :func:`main` is all of it."""

from fleet.program.deploy import main

__all__ = ["main"]
