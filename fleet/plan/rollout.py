"""How a change goes through a group: the spec's ``rollout``, which the plan has as it is.

A key is a field here, and what reads it: a method here, or :mod:`fleet.components.group`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from fleet.model import MalformedError, Model

_SHARE = "([1-9][0-9]?|100)%"


def _window(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, str) and re.fullmatch(_SHARE, value):
        return value
    shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    raise MalformedError(f'it should be a number from 1 up, or a share of the group such as "25%", but it is {shown}')


class Rollout(Model):
    """How a change goes through a group.

    Attributes:
        strategy: "recreate": the old machine goes, then the new one comes; "surge": the other way round. By default
            what the platform, data disks and fixed addresses allow: surge if they do.
        window: How many nodes may be down at once: a number, or a share of the group such as "25%", at least one.
        canary: The first node goes alone, whatever the window.
        order: Indices of the nodes that go first, in this order; the others follow in ascending order.
        pause: Seconds between one node's readiness and the next one's turn.

    Examples:
        window: "25%"
        order: [2, 0, 1]
        pause: 30
    """

    strategy: Literal["recreate", "surge"] | None = None
    window: Annotated[
        Any,
        AfterValidator(_window),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_SHARE}$"}]}),
    ] = 1
    canary: bool = False
    order: list[Annotated[int, Field(ge=0)]] = []
    pause: float = Field(default=0, ge=0)

    def most_down(self, count: int) -> int:
        """The window of a group of so many nodes."""
        if isinstance(self.window, str):
            return max(1, count * int(self.window.rstrip("%")) // 100)
        return int(self.window)

    def indices(self, count: int) -> tuple[int, ...]:
        """The order of a group of so many nodes."""
        return tuple(dict.fromkeys([*(index for index in self.order if index < count), *range(count)]))

    def waits_for(self, position: int, count: int) -> int | None:
        """The position in the order whose readiness the one at ``position`` waits for; ``None``: it begins.

        Args:
            position: From 0.
            count: How many nodes the group has.
        """
        behind = position - self.most_down(count)
        if self.canary and position > 0:
            behind = max(behind, 0)
        return behind if behind >= 0 else None
