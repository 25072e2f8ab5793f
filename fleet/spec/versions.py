"""Versions of the spec: a newer fleet re-provisions nobody.

A spec says ``version: 1``. What a spec of a version renders to, every byte of every node's config and of its user data,
is frozen with the release that brings the version: no later fleet changes it. Whatever has to change it comes with the
next version, which a spec takes when its owner says so; ``fleet migrate`` shows first what that re-provisions.

What is such a change: any that makes other bytes of a spec that was valid before. Another line in a unit, another
default, another order, a file more; an update of Butane, Ignition or compose-go in the transpiler that writes something
else, or of the Go module ``klauspost/compress``: files and user data are gzip, whose bytes are its. What is none: a new
key of the spec, which renders nothing where it is left out; a spec that was refused and is not now; what is not in a
config, such as errors, reports and rollouts.

The stored specs of each version, in ``tests/unit/frozen``, use every field of the models, and are stored with what they
render to. A test compares the bytes. Only additions are right: a new key comes with a new stored spec
(``python -m tools.freeze``), which changes none that is there.

How a version is added:

1. Add it to :data:`VERSIONS`, with what it changes, in sentences for users, and ``released=False``.
2. Write the new rendering beside the old one, as a parameter of the function that renders or as another function; have
   :data:`fleet.planner.renderer.RENDERERS` name it for the new version. Compose files are read in
   :mod:`fleet.spec.loader`, which knows the version too. Where a Go library writes other bytes, the transpiler has to
   keep both releases of it, or write what the older one did, and :attr:`fleet.planner.renderer.Renderer.compose_all`
   tells it which.
3. Copy the stored specs to a folder of the version, with its number in them, and store what they render to:
   ``python -m tools.freeze``. While the version is not released, ``--again`` stores it anew.
4. Say it in ``CHANGELOG.md``, with **Spec version N** in bold, and in ``docs/spec.md``. Have ``templates/fleet.yaml``,
   ``stacks`` and the examples say it.
5. Set ``released=True`` before the release, and never back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, StrictInt, WithJsonSchema


@dataclass(frozen=True)
class SpecVersion:
    """A version of the spec.

    Attributes:
        changes: What nodes get by it that is not as in the version before, a sentence each.
        released: What it renders to is frozen; until then, its stored configs may be written anew.
    """

    changes: tuple[str, ...]
    released: bool


VERSION_KEY = "version"
"""The key of a spec that says which version it is of."""

FIRST = 1
"""The version of a spec that names none."""

VERSIONS: dict[int, SpecVersion] = {
    FIRST: SpecVersion(changes=(), released=False),
}
"""All, by number, without a gap."""


def newest() -> int:
    """The newest version."""
    return max(VERSIONS)


def known(number: int) -> int:
    """The number, if this fleet knows the version.

    Raises:
        ValueError: It does not.
    """
    if number in VERSIONS:
        return number
    versions = f"version {FIRST}" if newest() == FIRST else f"versions {FIRST} to {newest()}"
    if number > newest():
        raise ValueError(f"this fleet knows {versions}; version {number} is of a newer fleet, so install that")
    raise ValueError(f"there is no version {number}; this fleet knows {versions}")


Version = Annotated[
    StrictInt,
    AfterValidator(known),
    WithJsonSchema({"type": "integer", "enum": sorted(VERSIONS)}),
]
"""The number of a version of the spec."""
