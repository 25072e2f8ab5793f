"""Values that a spec takes from elsewhere: secrets and variables."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict

from fleet.boundary import Boundary
from fleet.config.template import Scalar
from fleet.errors import FleetError, Position, UsageError
from fleet.files import is_unicode, read_text
from fleet.masking import Mask
from fleet.model import Model
from fleet.spec.model import Certificate, Generate, SecretName, SecretSource, Variable, VariableName
from fleet.spec.sources import NotAskedError, Programs, program_of
from fleet.spec.versions import FIRST, Version
from fleet.stack_config import ConfigReader, Secure

Keep = Callable[[str, Callable[[], str], str | None], str]
"""See :attr:`Resolver.keep`."""

At = Callable[..., Position]
"""Gives the position of a part of the spec."""


class Head(Model):
    """The part of a spec that says its version and where values come from; read before the rest, which they fill."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Version = FIRST
    secrets: dict[SecretName, SecretSource] = {}
    variables: dict[VariableName, Variable] = {}

    def with_secure(self, is_secret: Callable[[str], bool]) -> Head:
        """The head whose texts that are secrets in the stack's config are secrets of the spec, too.

        Args:
            is_secret: Whether the config has a secret under a key.
        """
        secrets, variables = dict(self.secrets), dict(self.variables)
        for name, variable in self.variables.items():
            if variable.config and variable.type == "string" and is_secret(variable.config):
                # Nothing in a spec can have this name.
                secret = f"{variable.config} of the config"
                secrets[secret] = SecretSource(config=variable.config)
                variables[name] = Variable(secret=secret)
        return self.model_copy(update={"secrets": secrets, "variables": variables})

    def with_passed(self, variables: Mapping[str, Passed], secrets: Mapping[str, Passed]) -> Head:
        """The head with the values that a program passes, in the place of where the spec has them from.

        Args:
            variables: Variables by name, of the spec or beside its own.
            secrets: Secrets, likewise.

        Raises:
            UsageError: A value is not of the type that the spec says.
        """
        sources, filled = dict(self.secrets), dict(self.variables)
        for name in secrets:
            sources[name] = _PASSED
        for name, passed in variables.items():
            if passed.is_secret:
                sources[mark_of(name)] = _PASSED
                filled[name] = Variable(secret=mark_of(name))
                continue
            declared, value = self.variables.get(name), passed.value
            try:
                if declared and declared.type != "string" and not passed.is_known:
                    value = _STANDING[declared.type]
                elif declared and declared.type != "string" and isinstance(value, str):
                    value = declared.read(value)
                filled[name] = Variable.model_validate(
                    {"value": value, **({"type": declared.type} if declared else {})}
                )
            except ValueError:
                kind = declared.type if declared else "string"
                raise UsageError(f"The variable {name} should be of type {kind}, but is {value!r}.") from None
        return self.model_copy(update={"secrets": sources, "variables": filled})


_STANDING: Mapping[str, Scalar] = {"integer": 1, "number": 1.0, "boolean": True}
"""What stands for a value that is not known yet, where it is no text."""
_PASSED = SecretSource(config="-")
"""The source of a secret that a program passes: it is never read."""


@dataclass(frozen=True)
class Passed:
    """A value that a program passes to a spec, or that another stack's output has.

    Attributes:
        value: The value; of one that is not known, what stands for it in a preview.
        is_secret: What it fills is a secret.
        is_known: Whether it has a value yet; in a preview, another resource's output may have none.
        is_output: It came from another resource, and may fill nothing that shapes the fleet.
    """

    value: Scalar
    is_secret: bool = False
    is_known: bool = True
    is_output: bool = True


_VARIABLE = "variable "


def mark_of(variable: str) -> str:
    """What a variable that a program passes is called among the marks of a spec, where a secret has its name."""
    return f"{_VARIABLE}{variable}"


def said(mark: str) -> str:
    """What a mark is called in a sentence: "variable db", "secret token"."""
    return mark if mark.startswith(_VARIABLE) else f"secret {mark}"


def mask(secret: str) -> str:
    """What is shown in the place of a secret, by its name."""
    return f"(secret {secret})"


@dataclass(frozen=True)
class Values:
    """The values of a spec.

    Attributes:
        secrets: By name: the plain text, or what stands for it where it must not be shown, or cannot be had.
        variables: By name.
        filling: By the variable: the secrets that variables are.
        unread: Why a secret cannot be had, by its name.
        revealed: Secrets are in plain text, as far as they can be had.
        outputs: The values that come from other resources' outputs, by their marks: "variable db", or a secret's name.
        pending: The marks of those of them that are not known yet.
    """

    secrets: Mapping[str, str]
    variables: Mapping[str, Scalar]
    filling: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, FleetError] = field(default_factory=dict)
    revealed: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()

    @property
    def plain(self) -> dict[str, str]:
        """Secrets in plain text, by name. A mask is no secret."""
        return {name: value for name, value in self.secrets.items() if self.revealed and name not in self.unread}

    def masked(self) -> Values:
        """The same with masks in the places of all secrets."""
        return replace(
            self,
            secrets={name: mask(name) for name in self.secrets},
            variables={
                **self.variables,
                **{name: mask(secret) for name, secret in self.filling.items() if secret in self.secrets},
            },
            revealed=False,
        )

    def hidden(self, used: Collection[str]) -> dict[str, str]:
        """What may be somewhere on a node, as far as it can be had: the secrets that variables are, and others.

        What is not known yet is no secret.


        Args:
            used: Their names.
        """
        names = ({*used, *self.filling.values()} & self.secrets.keys()) - self.unread.keys() - self.pending
        return {name: value for name, value in self.secrets.items() if value and name in names}


@dataclass(frozen=True)
class Resolver:
    """How a spec's values are found.

    Attributes:
        config: The stack's config; ``None`` where there is no stack.
        reveal: Read secrets. Otherwise each is masked, and need not be there.
        lenient: A secret that cannot be had is masked, too.
        ask: Run the programs that tell secrets (:mod:`fleet.spec.sources`); otherwise these secrets cannot be had.
        keep: Keeps a secret that was generated in the stack's config: given its key, what makes it, and a value that it
            is to replace, returns it. Any other value that is there already is returned as it is. ``None`` where
            nothing may be generated.
        variables: The variables that a program passes.
        secrets: The secrets that it does.
        references: Reads another stack's output, by the stack's and the output's name; ``None``: those are not known.
    """

    config: ConfigReader | None = None
    reveal: bool = False
    lenient: bool = False
    ask: bool = True
    keep: Keep | None = None
    variables: Mapping[str, Passed] = field(default_factory=dict)
    secrets: Mapping[str, Passed] = field(default_factory=dict)
    references: Callable[[str, str], Passed] | None = None

    def with_references(self, head: Head, at: At) -> Resolver:
        """A resolver that has the outputs of other stacks, too, as if a program passed them.

        Args:
            head: Says which.
            at: Where parts of the spec stand.

        Raises:
            FleetError: One cannot be read.
        """
        found: dict[str, Passed] = {}
        for name, variable in head.variables.items():
            if not variable.stack or name in self.variables:
                continue
            if self.references is None:
                found[name] = Passed(f"not-known-yet-{name}", is_known=False)
                continue
            try:
                found[name] = self.references(variable.stack, variable.output)
            except FleetError as error:
                raise type(error)(error.what, at=error.at or at("variables", name), fix=error.fix) from None
        return replace(self, variables={**found, **self.variables})

    @property
    def passed(self) -> dict[str, Passed]:
        """All that a program passes, by their marks."""
        return {**{mark_of(name): passed for name, passed in self.variables.items()}, **self.secrets}

    def resolve(self, head: Head, folder: Path, at: At) -> Values:
        """Find all values.

        Raises:
            FleetError: One cannot be had, or is not of its type; names it, never a secret's value.
        """
        secrets = {name: mask(name) for name in head.secrets}
        unread: Mapping[str, FleetError] = {}
        if self.reveal:
            read, unread = _Secrets(self, head, folder, at).all()
            secrets.update(read)
        variables = {
            name: _unicode(
                self._variable(name, variable, secrets, at("variables", name)),
                f"The variable {name}",
                at("variables", name),
            )
            for name, variable in head.variables.items()
        }
        filling = {name: variable.secret for name, variable in head.variables.items() if variable.secret}
        outputs = {name: passed for name, passed in self.passed.items() if passed.is_output}
        filling |= {name: mark_of(name) for name in self.variables if name not in filling and mark_of(name) in outputs}
        return Values(
            secrets,
            variables,
            filling,
            unread,
            self.reveal,
            {name: str(passed.value) for name, passed in outputs.items()},
            frozenset(name for name, passed in outputs.items() if not passed.is_known),
        )

    def secret(self, name: str, source: SecretSource, programs: Programs, folder: Path, at: Position) -> str:
        """The value of a secret that is not generated.

        Raises:
            FleetError: It cannot be had.
        """
        what = f"The secret {name}"
        if program := program_of(source):
            if not self.ask:
                raise NotAskedError(f"{what} comes from {program}, which this command does not run.", at=at)
            return programs.tell(name, source, at)
        if source.env:
            return self._environment(what, source.env, at)
        if source.file:
            path = Boundary.of(folder / "spec").check(folder / source.file, what, outside=source.outside, at=at)
            return read_text(path, f"file of the secret {name}", at=at, kind=FleetError).removesuffix("\n")
        return self._configured(what, source.config, at, secret=True)

    def _variable(self, name: str, variable: Variable, secrets: Mapping[str, str], at: Position) -> Scalar:
        if variable.value is not None:
            return variable.value
        if variable.secret:
            if variable.secret not in secrets:
                raise FleetError(
                    f"The variable {name} is the secret {variable.secret}, which the spec does not define.",
                    at=at,
                    fix="Define it under `secrets`.",
                )
            return secrets[variable.secret]
        what = f"The variable {name}"
        try:
            if variable.env:
                text = self._environment(what, variable.env, at)
            else:
                text = self._configured(what, variable.config, at, secret=False)
        except FleetError:
            if variable.default is None:
                raise
            return variable.default
        try:
            return variable.read(text)
        except ValueError:
            shown = "a secret" if self.config and isinstance(self.config(variable.config), Secure) else repr(text)
            raise FleetError(f"{what} should be of type {variable.type}, but is {shown}.", at=at) from None

    def _environment(self, what: str, variable: str, at: Position) -> str:
        value = os.environ.get(variable)
        if value is None:
            raise FleetError(f"{what} comes from the environment variable {variable}, which is not set.", at=at)
        return value

    def _configured(self, what: str, key: str, at: Position, *, secret: bool) -> str:
        value = self.config(key) if self.config else None
        if value is None:
            command = f"pulumi config set {'--secret ' if secret else ''}{key}"
            fix = (
                f"Set it: `{command}`, after `pulumi stack init` where the stack is new."
                if self.config
                else "Name a stack with `--stack`."
            )
            raise FleetError(f"{what} comes from the stack's config, which has no {key}.", at=at, fix=fix)
        return str(value)


class _Secrets:
    """The secrets of a spec, each found when it is first asked for: a certificate needs its authority."""

    def __init__(self, resolver: Resolver, head: Head, folder: Path, at: At) -> None:
        self._resolver, self._head, self._folder, self._at = resolver, head, folder, at
        self._known: dict[str, str] = {}
        self._passed = resolver.passed
        self._programs = Programs(folder)

    def all(self) -> tuple[dict[str, str], dict[str, FleetError]]:
        """Those that can be had, and why others cannot, if that may be."""
        unread: dict[str, FleetError] = {}
        for name in self._head.secrets:
            try:
                self._get(name)
            except FleetError as error:
                if not self._resolver.lenient:
                    raise
                unread[name] = error
        return self._known, unread

    def _get(self, name: str) -> str:
        if name not in self._known:
            at = self._at("secrets", name)
            self._known[name] = _unicode(self._read(name, at), f"The secret {name}", at)
        return self._known[name]

    def _read(self, name: str, at: Position) -> str:
        if name in self._passed:
            return str(self._passed[name].value)
        source = self._head.secrets[name]
        if source.generate and self._resolver.config:
            return self._generated(name, source.config, source.generate, at)
        return self._resolver.secret(name, source, self._programs, self._folder, at)

    def _generated(self, name: str, key: str, generate: Generate, at: Position) -> str:
        assert self._resolver.config is not None
        make: Callable[[], str] = generate.text
        stored = self._resolver.config(key)
        stale = False
        if generate.authority:
            make = functools.partial(_certificates().new_authority, generate.authority.name, generate.authority.days)
        elif generate.certificate:
            certificate = generate.certificate
            authority = self._authority(name, certificate.authority, at)
            make = functools.partial(self._issue, name, authority, certificate, at)
            stale = stored is not None and not _certificates().is_current(
                stored, certificate.names, certificate.renew_days, authority
            )
        # Where nothing may be generated, what is deployed is looked at, and that has the one of before.
        if stored is not None and not (stale and self._resolver.keep):
            return stored
        if self._resolver.keep is None:
            raise FleetError(f"The secret {name} is not generated yet.", at=at, fix="`fleet up` does so.")
        return self._resolver.keep(key, make, stored)

    def _authority(self, name: str, authority: str, at: Position) -> str:
        source = self._head.secrets.get(authority)
        if source is None or (source.generate and source.generate.certificate):
            raise UsageError(
                f"The secret {name} is to be signed by {authority}, which is no secret that is an authority.",
                at=at,
                fix=f"Define it: `{authority}: {{config: KEY, generate: {{authority: {{name: NAME}}}}}}`.",
            )
        return self._get(authority)

    def _issue(self, name: str, authority: str, certificate: Certificate, at: Position) -> str:
        try:
            return str(_certificates().issue(authority, certificate.names, certificate.days))
        except ValueError as error:
            raise FleetError(
                f"The secret {certificate.authority} cannot sign {name}: {error}.",
                at=at,
                fix="It has to be the PEM of one private key and of its certificate.",
            ) from None


V = TypeVar("V", bound=Scalar)


def _unicode(value: V, what: str, at: Position) -> V:
    """A value that can be written into a config.

    Raises:
        FleetError: It is a text that is no Unicode.
    """
    if isinstance(value, str) and not is_unicode(value):
        raise FleetError(
            f"{what} is no UTF-8 text.",
            at=at,
            fix="A value is text: encode what is none, as base64 for one.",
        )
    return value


def _certificates() -> types.ModuleType:
    """The module, which is slow to import and seldom needed."""
    return importlib.import_module("fleet.spec.certificates")


@contextlib.contextmanager
def concealed(secrets: Mapping[str, str]) -> Iterator[None]:
    """A context in which no error holds a secret's value, in whatever form."""
    try:
        yield
    except FleetError as error:
        error.hide(Mask(secrets))
        raise error from None
