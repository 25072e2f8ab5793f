"""A stack's config, as everything reads it that knows no Pulumi."""

from __future__ import annotations

from collections.abc import Callable


class Secure(str):
    """A value of a stack's config that was set as a secret, in plain text, or what stands for it."""


DEFAULT_PLATFORM = "qemu"
"""The platform of a spec without a stack."""
ConfigReader = Callable[[str], str | None]
"""Gives the plain value of a key of the stack's config, such as "aws:region", or ``None`` where it is not set. One that
is a secret is :class:`Secure`."""


def no_config(key: str) -> None:
    """The config of no stack."""
