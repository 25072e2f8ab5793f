"""The Pulumi program of a stack that a spec describes: :func:`main` is all of it.

The rest of it knows a project's files and its stacks' states, and is imported without Pulumi, which ``main`` brings.
"""

from __future__ import annotations

from typing import Any

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    if name == "main":
        from fleet.program.deploy import main

        return main
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
