"""Reading a spec: the document, the values that fill it, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fleet.boundary import Boundary
from fleet.config.template import Scalar, fill_nodes
from fleet.document import Document
from fleet.errors import FleetError, Position, UsageError
from fleet.spec import python as program
from fleet.spec.model import ComposeRef, FleetSpec, Image, ImageHead
from fleet.spec.python import SpecConfig
from fleet.spec.values import Head, Resolver, Values
from fleet.stack_config import DEFAULT_PLATFORM


@dataclass(frozen=True)
class LoadedSpec:
    """A spec and where it came from.

    Attributes:
        fleet: What it says, variables filled in.
        values: The secrets and variables.
        document: For the positions of errors.
        confidential: Where values stand that a secret fills, such as ``("groups", "web", "containers", "app",
            "environment", "TOKEN")``; of what a Compose file brings, where the group has it.
    """

    fleet: FleetSpec
    values: Values
    document: Document
    confidential: frozenset[Location] = frozenset()

    @property
    def folder(self) -> Path:
        """Relative paths in the spec start here."""
        return self.document.path.parent

    @property
    def boundary(self) -> Boundary:
        """What its files have to be in."""
        return Boundary.of(self.document.path)

    @property
    def lock_path(self) -> Path:
        """Where its image lock is."""
        return self.folder / self.fleet.image.lock

    def at(self, *location: str | int) -> Position:
        """Where a part of the spec stands, such as ``at("groups", "web", "ready", 0)``."""
        return self.document.at(*location)


def _document(path: Path, config: SpecConfig) -> Document:
    return program.run(path, config) if path.suffix == program.SUFFIX else Document(path, "spec")


class SpecFile:
    """A spec whose values are not known yet.

    Args:
        path: Its file: YAML, or Python (see :mod:`fleet.spec.python`).
        config: What a spec in Python is given.

    Raises:
        UsageError: It cannot be read, is not YAML, or says in a wrong way where its values come from.
    """

    def __init__(self, path: Path | str, config: SpecConfig) -> None:
        self._document = _document(Path(path), config)
        value = self._document.value()
        given = value if isinstance(value, dict) else {}
        head = self._document.read(Head, {key: given[key] for key in Head.model_fields if key in given})
        self._head = head.with_secure(config.is_secret)

    @property
    def secret(self) -> bool:
        """Whether it has any secret."""
        return bool(self._head.secrets)

    def values(self, resolver: Resolver) -> Values:
        """Find its values.

        Raises:
            FleetError: One cannot be had.
        """
        return resolver.resolve(self._head, self._document.path.parent, self._document.at)

    def load(self, values: Values) -> LoadedSpec:
        """Fill in values and check the whole.

        Raises:
            UsageError: It does not say what a spec can say, or has a secret where that would be in plain text.
            FleetError: A placeholder names no variable.
        """
        document, value = self._filled(values.variables)
        if marks := self._marks:
            # Before what they fill is checked, which is not to be read as a mistake in the secret.
            _check_open(document, _marked(self._filled({**values.variables, **marks})[1]))
        _add_compose_files(document, value, values)
        spec = document.read(FleetSpec, value)
        confidential = self._confidential(values)
        _check_open(document, confidential)
        return LoadedSpec(spec, values, document, confidential)

    @property
    def _marks(self) -> dict[str, str]:
        """What stands for each variable that is a secret, to find where it goes."""
        return {name: _MARK for name, variable in self._head.variables.items() if variable.secret}

    def _filled(self, variables: Mapping[str, Scalar]) -> tuple[Document, Any]:
        """The document with its variables, and its value."""
        document = self._document.copy()
        if self._head.variables:
            assert isinstance(document.root, yaml.MappingNode)
            for key, part in document.root.value:
                if key.value not in Head.model_fields:
                    fill_nodes(part, variables, document.of)
        return document, document.value()

    def _confidential(self, values: Values) -> frozenset[Location]:
        """Where secrets stand: where a mark does, if it is in the place of each."""
        if not self._marks:
            return frozenset()
        marked = replace(values, variables={**values.variables, **self._marks})
        document, value = self._filled(marked.variables)
        places = set(_marked(value))
        try:
            _add_compose_files(document, value, marked)
        except FleetError:
            # The mark is nothing that may stand there: all of these groups may hold a secret.
            places |= {("groups", name) for name, group in value["groups"].items() if group.get("compose")}
        return frozenset(places | set(_marked(value)))


Location = tuple[str | int, ...]
_MARK = "\ue000secret\ue000"
"""Characters for private use, which nobody has in a spec."""


def _marked(value: Any, where: Location = ()) -> Iterator[Location]:
    """The places of texts that hold the mark."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _marked(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _marked(item, (*where, index))
    elif isinstance(value, str) and _MARK in value:
        yield where


_ANY = "*"
_OPEN: tuple[Location, ...] = (
    ("name",),
    ("image",),
    ("network",),
    ("ssh_from",),
    *(
        ("groups", _ANY, key)
        for key in (
            "count", "ports", "ready_timeout", "addresses_from", "capacity", "rollout", "drain", "after", "size",
            "names", "metadata_guard",
        )
    ),
    ("groups", _ANY, "data_disks", _ANY, "size_gib"),
    ("groups", _ANY, "data_disks", _ANY, "snapshot"),
    ("groups", _ANY, "nodes", _ANY, "data_disks"),
    ("groups", _ANY, "containers", _ANY, "ports"),
    ("groups", _ANY, "pods", _ANY, "ports"),
    ("groups", _ANY, "ready", _ANY, "ssh", "user"),
    ("groups", _ANY, "ready", _ANY, "ssh", "identity"),
)  # fmt: skip
"""Parts of a spec that are in plain text in the stack's state, at the platform's, or among a process's arguments."""


def _check_open(document: Document, places: Iterable[Location]) -> None:
    """Refuse secrets where they would be in plain text.

    Raises:
        UsageError: One is there.
    """
    for place in sorted(places, key=repr):
        for part in _OPEN:
            if len(place) >= len(part) and all(one in (_ANY, other) for one, other in zip(part, place, strict=False)):
                raise UsageError(
                    f"A variable that is a secret fills `{part[-1] if part[-1] != _ANY else part[-2]}`, which is in "
                    "plain text in the stack's state, at the platform's, or among the arguments of processes.",
                    at=document.at(*place),
                    fix="Write it there, or take a variable that is no secret.",
                )


def _add_compose_files(document: Document, value: Any, values: Values) -> None:
    """Put what groups' Compose files say into the groups, before these are checked as a whole."""
    groups = value.get("groups") if isinstance(value, dict) else None
    for name, group in groups.items() if isinstance(groups, dict) else ():
        given = group.get("compose") if isinstance(group, dict) else None
        try:
            file = ComposeRef.model_validate(given)
        except ValidationError:
            continue  # None, or what the whole spec's check refuses with its place.
        at = document.at("groups", name, "compose")
        boundary = Boundary.of(document.path)
        path = boundary.check(document.path.parent / file.path, "The Compose file", outside=file.outside, at=at)
        if not path.exists():
            raise UsageError(f"There is no Compose file {path}.", at=at)
        # Slow to import, and seldom needed.
        from fleet.workloads.compose import read_compose
        from fleet.workloads.compose_project import Surroundings

        around = Surroundings(
            base=document.path.parent,
            boundary=None if file.outside else boundary,
            variables=values.variables,
            secrets=values.secrets.keys(),
            networks=_names(group.get("networks")),
            volumes=_names(group.get("volumes")),
            engine=group.get("engine", "podman"),
            profiles=file.profiles,
            folder=file.folder,
        )
        for kind, added in read_compose(path, around).items():
            own = group.get(kind) or {}
            if isinstance(own, dict):
                for both in sorted(own.keys() & added.keys()):
                    raise UsageError(
                        f"`{kind}` has {both}, and so has {path}.",
                        at=document.at("groups", name, kind, both),
                        fix="Rename one, or take it out.",
                    )
                group[kind] = {**added, **own}


def _names(things: Any) -> frozenset[str]:
    return frozenset(things) if isinstance(things, dict) else frozenset()


def load_image(path: Path | str) -> tuple[Image, Path]:
    """What a spec says of the operating system's image, and where its image lock is; needs no values.

    Raises:
        UsageError: It cannot be read, or says it in a wrong way.
    """
    document = _document(Path(path), SpecConfig(DEFAULT_PLATFORM, None))
    image = document.read(ImageHead, document.value()).image
    return image, document.path.parent / image.lock


def load_tags(path: Path, platform: str, resolver: Resolver) -> set[str]:
    """References of container images that a spec names by a tag.

    Args:
        path: The spec's file.
        platform: The platform's name, for a spec in Python.
        resolver: Where its values come from.

    Raises:
        FleetError: Anything is wrong with the spec.
    """
    file = SpecFile(path, SpecConfig(platform, resolver.config))
    groups = file.load(file.values(resolver)).fleet.groups.values()
    return {tag for group in groups for tag in group.tags.values()}
