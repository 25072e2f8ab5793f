"""How the resources of a fleet are called in a program that may have several fleets.

A platform names each resource after its node. A URN has the types of a resource's parents, and not their names, so two
fleets of one stack would both have the URN of ``web-0``. Pulumi has no option that renames what is below a component,
and a platform of another distribution knows nothing of other fleets: so the name is given where Pulumi takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pulumi


@contextmanager
def called_after(prefix: str) -> Iterator[None]:
    """A context in which the names of all resources that are declared begin with a prefix.

    Declaring is synchronous: no other part of the program declares anything meanwhile.

    Args:
        prefix: The prefix; empty: names stay as they are.
    """
    initialise = pulumi.Resource.__init__

    def called(self: pulumi.Resource, t: str, name: str, *args: Any, **kwargs: Any) -> None:
        initialise(self, t, f"{prefix}{name}", *args, **kwargs)

    if prefix:
        pulumi.Resource.__init__ = called  # type: ignore[method-assign]
    try:
        yield
    finally:
        pulumi.Resource.__init__ = initialise  # type: ignore[method-assign]
