"""Rollouts that have begun: what the history of a stack has of each, and what an update adds to it.

A stack's state keeps them as JSON (:meth:`PastRollout.describe`), and ``fleet history --json`` prints the same words.
Keys are added, and none is removed or changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeVar

Fate = Literal["new", "re-provisioned", "removed", "waited for"]
"""What a rollout does with a node. "waited for": nothing of it changes, but it was not ready when the rollout began."""
Result = Literal["done", "stopped", "running"]

T = TypeVar("T")


@dataclass(frozen=True)
class NodeChange:
    """What a rollout does with a node.

    Attributes:
        node: The node's name.
        fate: What.
        reasons: Why, in the words of ``fleet diff``.
        image: The release of Fedora CoreOS that its machine gets; empty where it gets none.
        surge: Its new machine is made before the old one goes.
        began: Unix time, in seconds, at which its turn came; ``None``: it has not, or is not known.
        ready: At which it was ready; ``None`` likewise.
        is_done: Whether it is as it is to be.
    """

    node: str
    fate: Fate
    reasons: tuple[str, ...] = ()
    image: str = ""
    surge: bool = False
    began: int | None = None
    ready: int | None = None
    is_done: bool = False


@dataclass(frozen=True)
class DiskChange:
    """A data disk that a rollout grows.

    Attributes:
        disk: Its name, with its node's.
        before: Its size in GiB.
        after: The same, then.
    """

    disk: str
    before: int
    after: int


@dataclass(frozen=True)
class PastRollout:
    """A rollout that has begun.

    Attributes:
        number: From 1, in the order of their beginnings.
        began: Unix time, in seconds; 0 if it is not known.
        who: Who began it, such as "core@host"; empty if it is not known.
        commit: The commit of the project's Git repository, with "+changes" if files differ from it; empty without one.
        command: Such as "fleet up"; empty if it is not known.
        back_to: The rollout whose configs it gives back; ``None`` if it is no rollback.
        nodes: What it does with nodes, in the order of their turns.
        disks: Data disks that it grows.
        result: How it ended.
        ended: Unix time, in seconds, at which all was done; ``None``: it was not, or is not known.
        stopped_at: The node that it stopped at; empty if it did not, or not at a node.
        reason: Why it stopped, if that is known.
    """

    number: int
    began: int = 0
    who: str = ""
    commit: str = ""
    command: str = ""
    back_to: int | None = None
    nodes: tuple[NodeChange, ...] = ()
    disks: tuple[DiskChange, ...] = ()
    result: Result = "stopped"
    ended: int | None = None
    stopped_at: str = ""
    reason: str = ""

    def describe(self) -> dict[str, Any]:
        """As values of JSON."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> PastRollout:
        """From values of JSON, of which those that a later fleet has added are left out."""
        rollout = _read(cls, values)
        nodes = (_read(NodeChange, node) for node in values.get("nodes", ()))
        disks = (_read(DiskChange, disk) for disk in values.get("disks", ()))
        return replace(
            rollout, nodes=tuple(replace(node, reasons=tuple(node.reasons)) for node in nodes), disks=tuple(disks)
        )


@dataclass(frozen=True)
class Change:
    """What an update adds to the history of its stack.

    Attributes:
        settled: The last rollouts of the history as they turned out.
        rollout: The one that begins now, as far as the program knows it; ``None``: no node is touched.
        whole: The number of the last rollout of all nodes, this one if it is such.
        run: Tells this run of a command from others: one that updates the stack twice has begun one rollout.
    """

    settled: tuple[PastRollout, ...]
    rollout: PastRollout | None
    whole: int
    run: str


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in values.items() if key in names})
