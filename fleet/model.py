"""The base of everything that is read from what a user wrote."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class Model(BaseModel):
    """A frozen model that refuses keys it does not know, and numbers that are none (``.inf``, ``.nan``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Shorthand(Model):
    """A model that is written in full, or as the text of one of its fields.

    Attributes:
        shorthand: That field's name.
    """

    shorthand: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, value: Any) -> Any:
        return {cls.shorthand: value} if isinstance(value, str) else value


class Secrecy(Enum):
    """What becomes of a text that a user wrote: a mark of a model's field, in its ``Annotated`` type.

    It holds for all below the field, unless a field there says otherwise.
    """

    PLAIN = "plain"
    """It is in plain text in the stack's state, at the platform's, or among the arguments of processes: no secret may
    fill it."""
    SEALED = "sealed"
    """It is kept as a secret if a secret fills it."""


PLAIN, SEALED = Secrecy.PLAIN, Secrecy.SEALED
