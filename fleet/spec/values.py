"""Values that a spec takes from elsewhere: secrets and variables."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ConfigDict

from fleet.config.template import Scalar
from fleet.errors import FleetError, Position
from fleet.model import Model
from fleet.platforms.common import ConfigReader
from fleet.spec.model import SecretName, SecretSource, Variable, VariableName

Keep = Callable[[str, Callable[[], str]], str]
"""See :attr:`Resolver.keep`."""

At = Callable[..., Position]
"""Gives the position of a part of the spec."""


class Head(Model):
    """The part of a spec that says where values come from; read before the rest, which they fill."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    secrets: dict[SecretName, SecretSource] = {}
    variables: dict[VariableName, Variable] = {}


@dataclass(frozen=True)
class Values:
    """The values of a spec.

    Attributes:
        secrets: By name: the plain text, or what stands for it where it must not be shown.
        variables: By name.
    """

    secrets: Mapping[str, str]
    variables: Mapping[str, Scalar]


@dataclass(frozen=True)
class Resolver:
    """How a spec's values are found.

    Attributes:
        config: The stack's config; ``None`` where there is no stack.
        reveal: Read secrets. Otherwise each is ``(secret NAME)``, and need not be there.
        keep: Keeps a secret that was generated in the stack's config: given its key and what makes it, returns it. What
            is there already is returned as it is. ``None`` where nothing may be generated.
    """

    config: ConfigReader | None = None
    reveal: bool = False
    keep: Keep | None = None

    def resolve(self, head: Head, folder: Path, at: At) -> Values:
        """Find all values.

        Raises:
            FleetError: One cannot be had, or is not of its type; names it, never a secret's value.
        """
        secrets = {
            name: self._secret(name, source, folder, at("secrets", name)) if self.reveal else f"(secret {name})"
            for name, source in head.secrets.items()
        }
        variables = {
            name: self._variable(name, variable, secrets, at("variables", name))
            for name, variable in head.variables.items()
        }
        return Values(secrets, variables)

    def _secret(self, name: str, source: SecretSource, folder: Path, at: Position) -> str:
        what = f"The secret {name}"
        if source.env:
            return self._environment(what, source.env, at)
        if source.file:
            path = folder / source.file
            try:
                return path.read_text(encoding="utf-8").removesuffix("\n")
            except UnicodeDecodeError:
                raise FleetError(f"{what} comes from {path}, which is not UTF-8 text.", at=at) from None
            except OSError as error:
                raise FleetError(f"{what} comes from {path}: {error.strerror}.", at=at) from None
        if source.generate and self.config and self.config(source.config) is None:
            if self.keep is None:
                raise FleetError(f"{what} is not generated yet.", at=at, fix="`fleet up` does so.")
            return self.keep(source.config, source.generate.make)
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
            raise FleetError(f"{what} should be of type {variable.type}, but is {text!r}.", at=at) from None

    def _environment(self, what: str, variable: str, at: Position) -> str:
        value = os.environ.get(variable)
        if value is None:
            raise FleetError(f"{what} comes from the environment variable {variable}, which is not set.", at=at)
        return value

    def _configured(self, what: str, key: str, at: Position, *, secret: bool) -> str:
        value = self.config(key) if self.config else None
        if value is None:
            command = f"pulumi config set {'--secret ' if secret else ''}{key}"
            fix = f"Set it: `{command}`." if self.config else "Name a stack with `--stack`."
            raise FleetError(f"{what} comes from the stack's config, which has no {key}.", at=at, fix=fix)
        return value


@contextlib.contextmanager
def concealed(secrets: Mapping[str, str]) -> Iterator[None]:
    """A context in which no error holds a secret's value, however it is quoted."""
    try:
        yield
    except FleetError as error:
        what, fix, at = error.what, error.fix, error.at
        for name, value in sorted(secrets.items(), key=lambda item: -len(item[1])):
            for form in {value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value), quote(value, safe="")}:
                if form:
                    what, fix = (text.replace(form, f"(secret {name})") for text in (what, fix))
        raise type(error)(what, at=at, fix=fix) from None
