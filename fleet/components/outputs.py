"""Outputs that depend on no resource."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pulumi

T = TypeVar("T")


def independent(value: Awaitable[T]) -> pulumi.Output[T]:
    """An output that is there as soon as a value is, known and no secret even in a preview.

    What reads it waits for the value, but depends on nothing that the value was made of.
    """
    known, secret = asyncio.Future[bool](), asyncio.Future[bool]()
    known.set_result(True)
    secret.set_result(False)
    return pulumi.Output(set(), asyncio.ensure_future(value), known, secret)
