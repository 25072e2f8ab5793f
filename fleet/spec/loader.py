"""Reading a spec, one way.

The document, where its values come from, the values, the whole with its places filled, checked. What comes out, a
:class:`LoadedSpec`, says all that planning asks; nothing is read again.

A secret is *marked*: loading notes which secrets fill which place (:attr:`LoadedSpec.marks`), by filling the document
with marks in the place of secrets and looking where they come out, a Compose file's containers included. The marks, and
no likeness of texts, say what planning keeps secret (:mod:`fleet.planner.secrecy`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fleet.boundary import Boundary
from fleet.config.template import NAME, Scalar, fill_nodes
from fleet.document import Document, fields_at
from fleet.errors import FleetError, FleetWarning, Position, UsageError
from fleet.hints import nearest
from fleet.model import Secrecy
from fleet.spec import python as program
from fleet.spec.model import ComposeRef, FleetSpec, Group, Image, ImageHead, QuadletRef, SecretSource, SnippetRef
from fleet.spec.python import SpecConfig
from fleet.spec.values import Head, Resolver, Values, concealed, mask
from fleet.spec.versions import FIRST, VERSION_KEY
from fleet.stack_config import DEFAULT_PLATFORM, ConfigReader
from fleet.workloads import Workload
from fleet.workloads.quadlet_units import QuadletUnit, read_units

Location = tuple[str | int, ...]

Marks = Mapping[Location, frozenset[str]]
"""Names of the secrets that fill a place of a spec, such as ``("groups", "web", "containers", "app", "environment",
"TOKEN")``; of what a Compose file brings, where the group has it. A place stands for all below it."""


@dataclass(frozen=True)
class LoadedSpec:
    """A spec and where it came from.

    Attributes:
        fleet: What it says, variables filled in.
        values: The secrets and variables.
        document: For the positions of errors.
        marks: Which secrets stand where.
        masked: The same spec with masks in the places of its secrets, if it has any, and is valid with them.
    """

    fleet: FleetSpec
    values: Values
    document: Document
    marks: Marks = field(default_factory=dict)
    masked: LoadedSpec | None = None

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

    def secrets_in(self, *location: str | int) -> frozenset[str]:
        """Names of the secrets that fill a part of the spec, or that of which it is a part."""
        # What a user wrote as a number or in quotes is one key.
        path = [str(part) for part in location]

        def meets(place: Location) -> bool:
            return all(str(one) == other for one, other in zip(place, path, strict=False))

        return frozenset().union(*(names for place, names in self.marks.items() if meets(place)))


def load_spec(
    path: Path, resolver: Resolver, platform: str, *, version: int | None = None, text: str | None = None
) -> LoadedSpec:
    """Read a spec, find its values, fill them in, and check the whole.

    Args:
        path: The spec's file: YAML, or Python (see :mod:`fleet.spec.python`).
        resolver: Where its values come from.
        platform: The platform's name, for a spec in Python.
        version: Read it as if it were of this version.
        text: The spec, if a program has made it; nothing is read from ``path``, whose folder its paths start in.

    Raises:
        UsageError: It cannot be read, does not say what a spec can say, or has a secret where that would be in plain
            text.
        FleetError: A value cannot be had, or a placeholder names no variable. No error holds a secret's value.
    """
    source = _Source(path, SpecConfig(platform, resolver.config), version, resolver, text)
    values = source.values()
    if not values.revealed or not values.secrets:
        return source.load(values)
    failure: FleetError | None = None
    masked: LoadedSpec | None = None
    try:
        masked = source.load(values.masked())
    except FleetError as error:
        # A mask may not be valid where the secret itself is.
        failure = error
    try:
        with concealed(values.plain):
            return replace(source.load(values), masked=masked)
    except FleetError as error:
        raise error_to_report(error, failure, values) from None


def read_as_written(path: Path) -> FleetSpec:
    """A spec with its placeholders, and without what its Compose files say.

    Args:
        path: Its file.

    Raises:
        UsageError: It cannot be read, or does not say what a spec can say.
    """
    document = _document(path, SpecConfig(DEFAULT_PLATFORM, None))
    return document.read(FleetSpec, document.value())


def warn_of_no_version(document: Document) -> None:
    """Say that a spec is of the first version for want of one.

    Warns:
        FleetWarning: It says no version.
    """
    if _version_of(document) is not None:
        return
    path = document.path
    fix = f"Write `{VERSION_KEY}: {FIRST}` as its first key, as `fleet migrate {path.name} --write` does"
    if path.suffix == program.SUFFIX:
        fix = f'Have `spec` return `"{VERSION_KEY}": {FIRST}` too'
    warnings.warn(
        f"{document.at()}: The spec has no `{VERSION_KEY}`, and so is of version {FIRST}. {fix}; nothing changes.",
        FleetWarning,
        stacklevel=3,
    )


def load_version(path: Path, platform: str, config: ConfigReader | None) -> int | None:
    """The version that a spec says it is of; ``None`` where it says none, and so is of the first.

    Args:
        path: The spec's file.
        platform: The platform's name, for a spec in Python.
        config: Reads the stack's config, for a spec in Python; ``None`` where there is no stack.

    Raises:
        UsageError: It cannot be read, or this fleet does not know the version.
    """
    return _version_of(_document(path, SpecConfig(platform, config)))


def _version_of(document: Document) -> int | None:
    value = document.value()
    if not isinstance(value, dict) or VERSION_KEY not in value:
        return None
    return document.read(Head, {VERSION_KEY: value[VERSION_KEY]}).version


def error_to_report(error: FleetError, masked: FleetError | None, values: Values) -> FleetError:
    """What to say of a spec that is wrong.

    Args:
        error: What is wrong with it.
        masked: What is wrong with it where masks are in the places of secrets, which shows what is there.
        values: Its values.
    """
    # What is wrong with a mask is nothing to mend: the secret that it stands for is missing.
    absent = [reason for name, reason in values.unread.items() if mask(name) in str(masked or error)]
    return absent[0] if absent else masked or error


class _Source:
    """A spec whose values are not known yet.

    Args:
        path: Its file.
        config: What a spec in Python is given.
        version: Read it as if it were of this version.
        resolver: Where its values come from.
        text: As in :func:`load_spec`.

    Raises:
        UsageError: It cannot be read, is not YAML, is of a version that this fleet does not know, or says in a wrong
            way where its values come from.
    """

    def __init__(
        self, path: Path, config: SpecConfig, version: int | None, resolver: Resolver, text: str | None
    ) -> None:
        self._document = _document(path, config) if text is None else Document(path, "spec", text)
        self._version = version
        # First, since what else a newer fleet's spec says may be nothing that this one knows.
        _version_of(self._document)
        value = self._document.value()
        keys = value if isinstance(value, dict) else {}
        head = self._document.read(Head, {key: keys[key] for key in Head.model_fields if key in keys})
        self._written, self._passed, self._used = head, resolver, set[str]()
        self._resolver = resolver.with_references(head, self._document.at)
        passed = self._resolver.variables, self._resolver.secrets
        self._head = head.with_secure(config.is_secret).with_passed(*passed)
        self._all_marks: Marks | None = None

    def values(self) -> Values:
        """Find its values.

        Raises:
            FleetError: One cannot be had.
        """
        return self._resolver.resolve(self._head, self._document.path.parent, self._document.at)

    def load(self, values: Values) -> LoadedSpec:
        """Fill in values and check the whole.

        Raises:
            UsageError: It does not say what a spec can say, or has a secret where that would be in plain text.
            FleetError: A placeholder names no variable.
        """
        document, value = self._filled(values.variables)
        # Before what they fill is checked, which is not to be read as a mistake in the secret.
        _check_open(document, self._marks(values), values)
        _add_compose_files(document, value, values)
        spec = document.read(FleetSpec, value)
        if self._version is not None:
            spec = spec.model_copy(update={"version": self._version})
        if self._all_marks is None:
            self._all_marks = self._marks_with_compose_files(values)
        _check_open(document, self._all_marks, values)
        spec = _with_quadlets(spec, values, document)
        self._check_passed(spec)
        return LoadedSpec(spec, values, document, self._all_marks)

    def _check_passed(self, spec: FleetSpec) -> None:
        """Refuse a value that a program passes under a name that the spec does not know.

        Raises:
            UsageError: The spec neither declares nor uses the name.
        """
        if not self._passed.passed:
            return
        head, groups = self._written, spec.groups.values()
        certificates = [each.generate.certificate for each in head.secrets.values() if each.generate]
        known = {
            "variable": {*head.variables, *self._used, *_given_to_files(spec)},
            "secret": {
                *head.secrets,
                *(variable.secret for variable in head.variables.values() if variable.secret),
                *(certificate.authority for certificate in certificates if certificate),
                *(name for group in groups for name in group.secrets),
            },
        }
        if any(group.compose for group in groups):
            # What a Compose file says may depend on a variable that fills nothing: `${NAME:+text}`.
            known["variable"].update(self._passed.variables)
        for kind, other, passed in (
            ("variable", "secret", self._passed.variables),
            ("secret", "variable", self._passed.secrets),
        ):
            for name in sorted(passed.keys() - known[kind]):
                fix = f"It is a {other} there: pass it in `{other}s`." if name in known[other] else ""
                listed = ", ".join(sorted(known[kind])) or "none"
                raise UsageError(
                    f"The program passes the {kind} {name}, which the spec neither declares nor uses.",
                    at=self._document.at(),
                    fix=fix or nearest(name, known[kind]) or f"The {kind}s there are: {listed}.",
                )

    def _filled(self, variables: Mapping[str, Scalar]) -> tuple[Document, Any]:
        """The document with its variables, and its value."""
        document = self._document.copy()
        if self._head.variables:
            assert isinstance(document.root, yaml.MappingNode)
            for key, part in document.root.value:
                if key.value not in Head.model_fields:
                    self._used |= fill_nodes(part, variables, document.of)
        return document, document.value()

    def _marked(self, values: Values) -> tuple[Document, Any]:
        """The document with marks in the places of secrets, and its value."""
        return self._filled(_with_marks(values).variables)

    def _marks(self, values: Values) -> Marks:
        """Where secrets stand in the document itself."""
        return dict(_places(self._marked(values)[1], values)) if values.filling else {}

    def _marks_with_compose_files(self, values: Values) -> Marks:
        """Where secrets stand in the document and in what Compose files bring."""
        if not values.filling:
            return {}
        document, value = self._marked(values)
        marks = dict(_places(value, values))
        try:
            _add_compose_files(document, value, _with_marks(values))
        except FleetError:
            # A mark is nothing that may stand there: all that these groups run may hold any of the secrets.
            every = frozenset(values.filling.values())
            composed = [name for name, group in value["groups"].items() if group.get("compose")]
            marks |= {("groups", name, kind): every for name in composed for kind in Workload.model_fields}
        return {**marks, **dict(_places(value, values))}


def _document(path: Path, config: SpecConfig) -> Document:
    return program.run(path, config) if path.suffix == program.SUFFIX else Document(path, "spec")


_MARK = "\ue000"
"""A character for private use, which nobody has in a spec."""


def _with_marks(values: Values) -> Values:
    """Values with a mark in the place of each variable that is a secret, to find where it goes."""
    marks = {variable: f"{_MARK}{variable}{_MARK}" for variable in values.filling}
    return replace(values, variables={**values.variables, **marks})


def _places(value: Any, values: Values, where: Location = ()) -> Iterator[tuple[Location, frozenset[str]]]:
    """The places of texts that hold a mark, and the secrets of these.

    A Compose file can have a variable in a key, too, such as in a list of labels: the key, with its mark, is then the
    end of the place.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _places(item, values, (*where, key))
            yield from _secrets_of(key, values, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, values, (*where, index))
    else:
        yield from _secrets_of(value, values, where)


def _secrets_of(text: Any, values: Values, where: Location) -> Iterator[tuple[Location, frozenset[str]]]:
    if isinstance(text, str) and _MARK in text:
        variables = re.findall(f"{_MARK}({NAME}){_MARK}", text)
        yield where, frozenset(values.filling[variable] for variable in variables)


def _check_open(document: Document, places: Marks, values: Values) -> None:
    """Refuse secrets where they would be in plain text, and others' outputs where they would shape the fleet.

    Raises:
        UsageError: One is there.
    """
    for place in sorted(places, key=repr):
        key, mark = secrecy_of(place)
        if mark is Secrecy.PLAIN and not places[place] & values.secrets.keys():
            raise UsageError(
                f"The {', '.join(sorted(places[place]))} fills `{key}`, which shapes the fleet, and comes from another "
                "resource's output, which may not be known until that is made.",
                at=document.at(*place),
                fix="Write a plain value there.",
            )
        if mark is Secrecy.PLAIN:
            raise UsageError(
                f"A variable that is a secret fills `{key}`, which is in plain text in the stack's state, at the "
                "platform's, or among the arguments of processes.",
                at=document.at(*place),
                fix="Write it there, or take a variable that is no secret.",
            )


def secrecy_of(place: Location) -> tuple[str, Secrecy | None]:
    """What becomes of a text at a place of a spec, and the key of the field that says so; ``None`` where none does."""
    secrecy: tuple[str, Secrecy | None] = ("", None)
    for key, info in fields_at(FleetSpec, place):
        secrecy = next(((key, mark) for mark in info.metadata if isinstance(mark, Secrecy)), secrecy)
    return secrecy


def _add_compose_files(document: Document, value: Any, values: Values) -> None:
    """Put what groups' Compose files say into the groups, before these are checked as a whole."""
    groups = value.get("groups") if isinstance(value, dict) else None
    for name, group in groups.items() if isinstance(groups, dict) else ():
        try:
            file = ComposeRef.model_validate(group.get("compose") if isinstance(group, dict) else None)
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


def _with_quadlets(spec: FleetSpec, values: Values, document: Document) -> FleetSpec:
    """The spec with the Quadlet files that its groups name."""
    groups = {
        name: group.with_units([*_quadlet_units(name, group, values, document)]) if group.quadlets else group
        for name, group in spec.groups.items()
    }
    for name, group in groups.items():
        for unit, problem, fix in group.unit_problems():
            raise UsageError(f"{problem}.", at=document.at("groups", name, "quadlets", unit.index), fix=fix)
    return spec.model_copy(update={"groups": groups})


def _quadlet_units(name: str, group: Group, values: Values, document: Document) -> Iterator[QuadletUnit]:
    boundary = Boundary.of(document.path)
    for index, ref in enumerate(group.quadlets):
        at = document.at("groups", name, "quadlets", index)
        check_variables("Quadlet file", ref.variables, values, at)

        secret = [each for each in ref.variables if each in values.filling]

        def read(values: Values, masked: Sequence[str], ref: QuadletRef = ref, place: int = index) -> list[QuadletUnit]:
            return read_units(
                document.path.parent / ref.path,
                boundary=None if ref.outside else boundary,
                at=document.at("groups", name, "quadlets", place),
                index=place,
                run_as=ref.run_as,
                values={each: values.variables[each] for each in ref.variables},
                filling=frozenset(values.filling[each] for each in ref.variables if each in values.filling),
                masked=masked,
            )

        for unit in read(_with_marks(values), secret) if secret else ():
            for entry in unit.content.entries:
                if entry.key in ("PublishPort", "ServiceName") and _MARK in entry.value:
                    raise UsageError(
                        f"A variable that is a secret fills `{entry.key}`, which is in plain text in the state.",
                        at=entry.at,
                        fix="Write it there, or take a variable that is no secret.",
                    )
        yield from read(values, [] if values.revealed else secret)


def check_variables(what: str, variables: Iterable[str], values: Values, at: Position) -> None:
    """Refuse variables for a file that the spec does not define.

    Args:
        what: What errors call the file.
        variables: Their names.
        values: The spec's.
        at: Where the spec names the file.

    Raises:
        UsageError: One is not there.
    """
    if missing := [each for each in variables if each not in values.variables]:
        raise UsageError(
            f"The {what} is given the variable {missing[0]}, which the spec does not define.",
            at=at,
            fix="Define it under `variables`.",
        )


def _given_to_files(spec: FleetSpec) -> set[str]:
    """The variables that snippets and Quadlet files of a spec are given."""
    files: list[Any] = []
    for group in spec.groups.values():
        files += [*group.snippets, *group.quadlets, *(each for node in group.nodes.values() for each in node.snippets)]
    return {name for file in files if isinstance(file, SnippetRef | QuadletRef) for name in file.variables}


def _names(things: Any) -> frozenset[str]:
    return frozenset(things) if isinstance(things, dict) else frozenset()


def load_image(path: Path | str) -> tuple[Image, Path]:
    """What a spec says of the operating system's image, and where its image lock is; needs no values.

    Raises:
        UsageError: It cannot be read, or says it in a wrong way.
    """
    document = _document(Path(path), SpecConfig(DEFAULT_PLATFORM, None))
    image = document.read(ImageHead, document.value()).image
    warn_of_no_version(document)
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
    groups = _groups(path, platform, resolver)
    return {tag for group in groups for tag in group.tags.values()}


def load_references(path: Path, platform: str, resolver: Resolver) -> set[str]:
    """References of all container images that a spec names, by a tag or a digest.

    Args:
        path: The spec's file.
        platform: The platform's name, for a spec in Python.
        resolver: Where its values come from.

    Raises:
        FleetError: Anything is wrong with the spec.
    """
    groups = _groups(path, platform, resolver)
    named = {container.image for group in groups for container in group.containers.values()}
    named |= {image.image for group in groups for image in group.images.values()}
    named |= {unit.image for group in groups for unit in group.units if unit.image}
    return named | {image for group in groups for unit in group.units for image in unit.kube_images}


def load_sources(path: Path, platform: str, resolver: Resolver) -> Mapping[str, SecretSource]:
    """Where a spec's secrets come from, by name.

    Args:
        path: The spec's file.
        platform: The platform's name, for a spec in Python.
        resolver: Where its values come from.

    Raises:
        FleetError: Anything is wrong with the spec.
    """
    return load_spec(path, resolver, platform).fleet.secrets


def _groups(path: Path, platform: str, resolver: Resolver) -> Iterable[Group]:
    spec = load_spec(path, resolver, platform)
    warn_of_no_version(spec.document)
    return spec.fleet.groups.values()
