"""Values of the secrets that a spec names."""

from __future__ import annotations

import os
from collections.abc import Callable

from fleet.errors import FleetError
from fleet.spec.loader import LoadedSpec
from fleet.spec.model import SecretSource

ConfigReader = Callable[[str], str | None]
"""Gives the plain value of a key of the stack's config, or ``None`` where it is not set."""


def resolve_secrets(spec: LoadedSpec, config: ConfigReader | None) -> dict[str, str]:
    """The plain values of a spec's secrets, by name.

    Args:
        spec: The spec.
        config: The stack's config; ``None`` where there is no stack.

    Raises:
        FleetError: One cannot be had; names it, never a value.
    """
    return {name: _resolve(spec, name, source, config) for name, source in spec.fleet.secrets.items()}


def masked_secrets(spec: LoadedSpec) -> dict[str, str]:
    """What stands for the secrets of a spec where they must not be shown."""
    return {name: f"(secret {name})" for name in spec.fleet.secrets}


def _resolve(spec: LoadedSpec, name: str, source: SecretSource, config: ConfigReader | None) -> str:
    at = spec.at("secrets", name)
    if source.env:
        value = os.environ.get(source.env)
        if value is None:
            raise FleetError(
                f"The secret {name} comes from the environment variable {source.env}, which is not set.", at=at
            )
        return value
    if source.file:
        path = spec.folder / source.file
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise FleetError(f"The secret {name} comes from {path}, which is not UTF-8 text.", at=at) from None
        except OSError as error:
            raise FleetError(f"The secret {name} comes from {path}: {error.strerror}.", at=at) from None
    value = config(source.config) if config else None
    if value is None:
        fix = f"Set it: `pulumi config set --secret {source.config}`." if config else "Name a stack with `--stack`."
        raise FleetError(
            f"The secret {name} comes from the stack's config, which has no {source.config}.", at=at, fix=fix
        )
    return value
