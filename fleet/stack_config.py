"""A stack's config, for layers that do not know Pulumi."""

from __future__ import annotations

from collections.abc import Callable


class Secure(str):
    """A value that the stack's config has as a secret, in plain text or as a placeholder."""


DEFAULT_PLATFORM = "qemu"
"""The platform of a spec without a stack."""
ConfigReader = Callable[[str], str | None]
"""Returns the plain value of a key of the stack's config, such as "aws:region", or ``None`` where it is not set.
One that is a secret is :class:`Secure`."""


def no_config(key: str) -> None:
    """The config reader where there is no stack: every key is unset."""
