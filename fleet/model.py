"""The base of all models of user input."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

WRITTEN: dict[str, Any] = {"written": True}
"""The context of a model that is read from a document, where nothing stands for what Python says as ``None``."""


class Model(BaseModel):
    """A frozen model that refuses unknown keys and non-finite numbers (``.inf``, ``.nan``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Shorthand(Model):
    """A model that can be written in full, or in short as the value of one of its fields.

    Attributes:
        shorthand: That field's name.
    """

    shorthand: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, value: Any) -> Any:
        return {cls.shorthand: value} if isinstance(value, str) else value


class Secrecy(Enum):
    """Whether a field may hold a secret: a mark of a model's field, in its ``Annotated`` type.

    It holds for all below the field, unless a field there says otherwise.
    """

    PLAIN = "plain"
    """It is in plain text in the stack's state, at the platform's, or among the arguments of processes: no secret may
    fill it."""
    SEALED = "sealed"
    """It is kept as a secret if a secret fills it."""


PLAIN, SEALED = Secrecy.PLAIN, Secrecy.SEALED


def attributes(model: type[Any]) -> dict[str, str]:
    """What the docstrings of a class, and of those that it extends, say of its fields.

    Args:
        model: A model, or another class with a section ``Attributes``.
    """
    about: dict[str, str] = {}
    for each in reversed(model.__mro__):
        _, _, section = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")
        pairs = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
        about |= {name: re.sub(r"\s+", " ", text).replace("``", "`") for name, text in pairs}
    fields = getattr(model, "model_fields", about)
    return {name: text for name, text in about.items() if name in fields}
