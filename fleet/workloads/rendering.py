"""How the keys of a workload are rendered: for Podman in a Quadlet file, for Docker on a command line, and in Compose.

A field of :class:`~fleet.workloads.Container`, :class:`~fleet.workloads.Network` and their like is declared once: its
type and, in a :class:`Rendering`, the word that each of the three uses, or why it has none. The model is the table:
:func:`keys` goes through it, and what reads Compose files, writes units and writes the reference
(``docs/reference/containers.md``) goes by that. So a new key is one line of its model. Only where one of the three has
no plain word (:class:`Special`) does that one's module have a function for it, by the field's name:
:mod:`~fleet.workloads.quadlet`, :mod:`~fleet.workloads.docker`, :mod:`~fleet.workloads.compose`.

What is written follows from the value (:func:`texts`): nothing for one that is empty, ``true`` or the bare option for a
boolean, an entry for each item of a list, ``KEY=VALUE`` for each of a mapping, sorted.

The order of a model's fields is the order of lines in its Quadlet file. It is part of what nodes run, who are
re-provisioned if it changes. A new key may stand anywhere: it changes only the files in which it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fleet.config.ignition import Entry
from fleet.errors import FleetError
from fleet.model import Model
from fleet.workloads.quoting import line, word


class Way:
    """How one of the three expresses a field.

    Args:
        word: The key, option or keys; or in words, why not or where else.
        but: Which of the values cannot be expressed, in words; the engine's module checks it.
    """

    # Plain classes: dataclasses are made at every start of the program, and these ten would take 3 ms.
    __slots__ = ("but", "word")
    __match_args__ = ("word",)

    def __init__(self, word: str, but: str = "") -> None:
        self.word, self.but = word, but

    def __str__(self) -> str:
        """As the reference shows it."""
        return f"`{self.word}`" + (f"; {self.but}" if self.but else "")


class Line(Way):
    """A key of a Quadlet file that takes its line as it is (``pkg/systemd/quadlet/quadlet.go`` in Podman)."""


class Words(Way):
    """A key of a Quadlet file that is split into words, each of which is quoted."""


class Argument(Way):
    """An option of Podman's command for which Quadlet has no key; it goes to ``PodmanArgs=``."""

    def __str__(self) -> str:
        return f"`PodmanArgs={self.word}`"


class Option(Way):
    """An option of Docker's command, with its dashes."""


class Key(Way):
    """A key of a Compose file whose value is the field's, as compose-go writes it out."""


class Special(Way):
    """Keys or options, apart by spaces, that a function of the one's module writes, or reads.

    To the first of a Compose file's point errors about the field.
    """

    def __str__(self) -> str:
        return ", ".join(f"`{each}`" for each in self.word.split()) + (f"; {self.but}" if self.but else "")


class Elsewhere(Way):
    """Not among the keys or options of the thing itself: in the unit around it, or in another file; says where."""

    def __str__(self) -> str:
        return self.word


class Refused(Way):
    """It cannot be expressed; a sentence says why. With Docker, setting it is an error."""

    def __str__(self) -> str:
        return f"no: {self.word}"


class Rendering:
    """How a field is rendered for each of the three.

    Args:
        quadlet: In Podman's Quadlet file.
        docker: On Docker's command line.
        compose: In a Compose file.
    """

    __slots__ = ("compose", "docker", "quadlet")

    def __init__(
        self,
        quadlet: Line | Words | Argument | Special | Elsewhere,
        docker: Option | Special | Elsewhere | Refused,
        compose: Key | Special | Elsewhere | Refused,
    ) -> None:
        self.quadlet, self.docker, self.compose = quadlet, docker, compose


@cache
def keys(model: type[Model]) -> tuple[tuple[str, Rendering], ...]:
    """The fields of a model and how each is rendered, in the order of its Quadlet file.

    Args:
        model: A model of the table.
    """
    return tuple(
        (name, rendering)
        for name, field in model.model_fields.items()
        for rendering in field.metadata
        if isinstance(rendering, Rendering)
    )


def texts(value: Any) -> Iterator[tuple[str, str]]:
    """The texts that a value is written as, and for each what errors call it beside the field's name.

    Args:
        value: A field's.
    """
    if value is None or value is False or value == "":
        return
    if value is True:
        yield "", "true"
    elif isinstance(value, Mapping):
        for key, text in sorted(value.items()):
            yield f" {key}", f"{key}={text}"
    elif isinstance(value, list):
        for item in value:
            yield "", str(item)
    else:
        yield "", f"{value:g}" if isinstance(value, float) else str(value)


def entries(thing: Model, field: str, rendering: Line | Words | Argument, what: str) -> Iterator[Entry]:
    """The entries of a Quadlet file for a field.

    Args:
        thing: What has the field.
        field: Its name.
        rendering: How it is rendered.
        what: What errors call the thing.

    Raises:
        FleetError: A value cannot exist in a unit file or a process argument.
    """
    for more, text in texts(getattr(thing, field)):
        where = f"{what}: {field}{more}"
        match rendering:
            case Line(key):
                yield key, line(text, where)
            case Words(key):
                yield key, word(text, where)
            case Argument(option):
                yield "PodmanArgs", word(f"{option}={text}", where)


def options(thing: Model, field: str, rendering: Option) -> Iterator[str]:
    """The words of Docker's command for a field.

    Args:
        thing: What has the field.
        field: Its name.
        rendering: How it is rendered.
    """
    for _, text in texts(getattr(thing, field)):
        yield rendering.word if getattr(thing, field) is True else f"{rendering.word}={text}"


def refuse_for_docker(thing: Model, what: str) -> None:
    """Refuse fields that Docker does not support.

    Args:
        thing: A container or a network of a group whose engine is Docker.
        what: What errors call it, such as "Container app".

    Raises:
        FleetError: It asks for something that Docker cannot do; says why.
    """
    for field, rendering in keys(type(thing)):
        is_set = getattr(thing, field) != type(thing).model_fields[field].get_default(call_default_factory=True)
        if is_set and isinstance(rendering.docker, Refused):
            raise docker_cannot(what, field, rendering.docker.word)


def docker_cannot(what: str, key: str, why: str) -> FleetError:
    """The error about a field that Docker does not support.

    Args:
        what: What asks for it, such as "Container app".
        key: By which key.
        why: A whole sentence.
    """
    return FleetError(
        f"{what} has `{key}`, which the engine docker cannot do. {why}", fix="Take it out, or take podman."
    )
