"""What a stack's state names of fleet: types of resources, the providers of fleet's own ones, functions.

States outlive releases, so none of this may ever change, wherever it is that code moves to. Today's names are those
of the first release: a stack can be taken over by a later fleet, and back, and nothing of it is written anew. Three
things of fleet are in a state:

- *Types*. The constants below; a platform with resources of its own has a module ``tokens`` for theirs.
- *Providers*. Pulumi keeps with each dynamic resource a pickle of its provider, which a later fleet reads when the
  resource goes. It is :func:`pickled`, the name of a class and nothing else, and does not depend on where the class is
  today, nor on the version of Python or of the library that would pickle it.
- *Functions* that look at machines. They are :func:`named` where they are defined, and :func:`function` finds them.

A name is a module, a colon, and an attribute. The module has to be importable for ever: one that moved is in
:data:`fleet._moved.MOVED`, and one that became a package has its attributes still. A platform of another
distribution does the same, with names of its own package.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, TypeVar

from fleet.errors import FleetError

FLEET = "fleet:components:Fleet"
GROUP = "fleet:components:NodeGroup"
NODE = "fleet:components:Node"
DATA_DISK = "fleet:components:DataDisk"
"""Components."""

DYNAMIC = "pulumi-python:dynamic/"
"""What the types of dynamic resources begin with."""
OWN = f"{DYNAMIC}fleet:"
"""What those of fleet's own begin with, its platforms' among them."""
DRAIN = f"{OWN}Drain"
GATE = f"{OWN}Gate"
HISTORY = f"{OWN}History"
READY = f"{OWN}Ready"
RECORD = f"{OWN}Record"

PROVIDER = "__provider"
"""The input of a dynamic resource by which Pulumi finds its provider."""
PLATFORMS = "fleet.platforms"
"""The group of entry points by which platforms are found: their packages may be named in states, beside fleet."""

F = TypeVar("F", bound=Callable[..., Any])
_NAMES = "__named_in_states__"


def is_within(resource: Mapping[str, Any], component: str) -> bool:
    """Whether a resource of a state belongs to a component of a type, however deep.

    Args:
        resource: The resource.
        component: Such as :data:`NODE`.
    """
    return f"{component}$" in resource["urn"]


def pickled(provider: str) -> str:
    """A provider that has nothing but its class, as Pulumi keeps it in a state: a pickle in base64.

    The bytes are those of pickle's protocol 4 (``pickletools`` of Python shows them), which every Python reads.

    Args:
        provider: The class' name in states.
    """
    module, _, name = provider.partition(":")
    words = b"".join(b"\x8c" + bytes([len(word)]) + word + b"\x94" for word in (module.encode(), name.encode()))
    # The global of that name; an empty tuple; the class called with it: each but the tuple is kept in pickle's memory.
    frame = words + b"\x93\x94)\x81\x94."
    return base64.b64encode(b"\x80\x04\x95" + len(frame).to_bytes(8, "little") + frame).decode()


def named(name: str) -> Callable[[F], F]:
    """Declares a function or a class as what states name so.

    Args:
        name: Its name in states.
    """

    def declared(thing: F) -> F:
        setattr(thing, _NAMES, name)
        return thing

    return declared


def function(name: str) -> Callable[..., Any]:
    """What a state names. Nothing else is ever called for a state's sake than what is :func:`named`.

    Args:
        name: The name in the state.

    Raises:
        FleetError: There is no such thing.
    """
    module, _, attribute = name.partition(":")
    if module.partition(".")[0] in _packages(module):
        try:
            thing = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            thing = None
        if callable(thing) and getattr(thing, _NAMES, "") == name:
            return thing  # type: ignore[no-any-return]
    raise FleetError(
        f"The stack's state names {name}, which is nothing that this fleet, or a platform that is installed, has.",
        fix="Install the release of fleet, or of the platform's package, by which the stack was last updated.",
    )


def _packages(module: str) -> set[str]:
    """Whose names may be in states. Others' are looked up only where one may be meant."""
    if module.partition(".")[0] == "fleet":
        return {"fleet"}
    return {entry.module.partition(".")[0] for entry in metadata.entry_points(group=PLATFORMS)}
