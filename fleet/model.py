"""The base of everything that is read from what a user wrote."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen model that refuses keys it does not know, and numbers that are none (``.inf``, ``.nan``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
