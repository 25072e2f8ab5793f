"""Outputs that depend on no resource, and such as are secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

import pulumi
from pulumi.output import UNKNOWN

if TYPE_CHECKING:
    from fleet.plan import NodePlan

T = TypeVar("T")


def independent(value: Awaitable[T]) -> pulumi.Output[T]:
    """An output that is there as soon as a value is, known and no secret even in a preview.

    What reads it waits for the value, but depends on nothing that the value was made of.
    """
    known, secret = asyncio.Future[bool](), asyncio.Future[bool]()
    known.set_result(True)
    secret.set_result(False)
    return pulumi.Output(set(), asyncio.ensure_future(value), known, secret)


def unknown(*, secret: bool) -> pulumi.Output[Any]:
    """An output that has no value yet, as others' outputs have none in a preview.

    Args:
        secret: Whether it will be a secret.
    """

    async def as_it_is(value: T) -> T:
        return value

    return pulumi.Output(set(), as_it_is(UNKNOWN), as_it_is(False), as_it_is(secret))


def sealed(node: NodePlan, value: Any) -> Any:
    """A value that is made of a node's config: a Pulumi secret if the config holds one.

    That goes for a digest, too: with what is shown of a config, it would let short secrets be guessed. Of a config that
    is not known yet, nothing is.
    """
    if node.pending:
        return unknown(secret=node.secret)
    return pulumi.Output.secret(value) if node.secret else value
