"""Record: which configs a fleet had when all of it was last ready, and before that: what a rollback goes back to.

It is made and changed only after every node is ready, so a rollout that stopped half way leaves it as it was. A state's
own history would not do: not every backend keeps one.

The configs of a rollout are a *generation*. The last two are outputs of their own, ``configs`` and ``previous``, which
earlier fleets read, too; those before them are packed into one, ``older``, newest first, and the oldest go when there
are too many or they are too large. ``generations`` has the number of the rollout of each, from ``configs`` on; 0 where
it has none.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, UpdateResult

from fleet.dynamic import tokens
from fleet.dynamic.outputs import unknown
from fleet.dynamic.packing import pack, unpack
from fleet.dynamic.provider import DynamicResource, Provider

if TYPE_CHECKING:
    from fleet.plan import FleetPlan, NodePlan

MOST_GENERATIONS = 10
"""How many are kept."""
MOST_CHARACTERS = 2_000_000
"""How long all but the last two may be, packed."""
_MOST_NUMBERS = 100
BASELINE = 1
"""The rollout whose configs a record has that a fleet wrote which kept no history."""

Configs = Mapping[str, tuple[str, str]]
"""By node: its Ignition config, and what may be shown of it."""


class RecordProvider(Provider, name="fleet.components.record:RecordProvider"):
    """Keeps generations."""

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Leave the configs as they are packed where they are the same: the engine notes new inputs unasked."""
        if olds and olds.get("digest") == news["digest"]:
            news = {**news, "configs": olds["configs"]}
        return CheckResult(news, [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """A change where the digest of the configs differs, or a rollout of all nodes has ended."""
        # Not the configs themselves: their compressed bytes are another library's.
        return DiffResult(changes=olds["digest"] != news["digest"] or _ends(olds, news))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Keep the first generation."""
        outs: dict[str, Any] = {**props, **_ended(props), "generations": [_numbers(props)]}
        return CreateResult("record", outs)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Keep the new configs, and those that they take the place of."""
        before: dict[str, Any] = {key: olds[key] for key in ("previous", "older") if key in olds}
        numbers = numbers_of(olds)
        ended = _numbers(news) if _ends(olds, news) else []
        if olds["digest"] == news["digest"]:
            numbers = [[*ended, *numbers[0]][:_MOST_NUMBERS], *numbers[1:]]
            return UpdateResult({**news, **before, "configs": olds["configs"], "generations": numbers, **_ended(news)})
        numbers = [ended, *numbers][:MOST_GENERATIONS]
        outs: dict[str, Any] = {**news, "previous": olds["configs"], **_ended(news)}
        if "previous" in olds:
            older = [_halved(unpack(olds["previous"])), *(unpack(olds["older"]) if "older" in olds else [])]
            outs["older"], count = _bounded(older[: MOST_GENERATIONS - 2])
            numbers = numbers[: 2 + count]
        return UpdateResult({**outs, "generations": numbers})


class Record(DynamicResource, token=tokens.RECORD, provider=RecordProvider):
    """The configs of a fleet's nodes, once all are ready.

    Args:
        plan: The fleet.
        after: What shows that the nodes are ready.
        opts: Resource options.
    """

    def __init__(self, plan: FleetPlan, *, after: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions) -> None:
        nodes = list(plan.nodes)
        props: dict[str, Any] = {"digest": _digest(nodes), "configs": _packed(nodes)}
        if any(node.pending for node in nodes):
            props = {key: unknown(secret=any(node.secret for node in nodes)) for key in props}
        elif any(node.secret for node in nodes):
            props = {key: pulumi.Output.secret(value) for key, value in props.items()}
        depending = pulumi.ResourceOptions(depends_on=list(after))
        if plan.change:
            props["rollout"] = plan.change.whole
            # No input says that these are secrets, and whether one of them holds any is not looked up.
            depending.additional_secret_outputs = ["previous", "older"]
        super().__init__(plan.name, props, pulumi.ResourceOptions.merge(opts, depending))


def numbers_of(outputs: Mapping[str, Any]) -> list[list[int]]:
    """For each generation of a record, newest first, the numbers of its rollouts, newest first."""
    if "generations" in outputs:
        return [[int(number) for number in numbers] for numbers in outputs["generations"]]
    return [numbers for key, numbers in (("configs", [BASELINE]), ("previous", [])) if key in outputs]


def generations(outputs: Mapping[str, Any]) -> Iterator[tuple[Sequence[int], Configs]]:
    """The generations of a record, newest first, each with the numbers of its rollouts, newest first.

    Args:
        outputs: The record's, secrets in plain text.
    """
    numbers = iter(numbers_of(outputs))
    for key in ("configs", "previous"):
        if key in outputs:
            yield next(numbers, ()), unpacked(outputs[key])
    for configs in unpack(outputs["older"]) if "older" in outputs else ():
        yield next(numbers, ()), _read(configs)


def unpacked(text: str) -> Configs:
    """The configs of one generation.

    Args:
        text: ``configs`` or ``previous`` of a record.
    """
    return _read(unpack(text))


def _halved(configs: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Configs without what is shown of those of which all is."""
    return {name: texts[: len(set(texts))] for name, texts in configs.items()}


def _read(configs: Mapping[str, Sequence[str]]) -> Configs:
    return {name: (texts[0], texts[-1]) for name, texts in configs.items()}


def _ends(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether a rollout of all nodes has ended that had not when the record was last changed."""
    return "rollout" in news and int(olds.get("rollout", BASELINE)) != int(news["rollout"])


def _numbers(props: Mapping[str, Any]) -> list[int]:
    return [int(props["rollout"])] if props.get("rollout") else []


def _ended(props: Mapping[str, Any]) -> dict[str, int]:
    return {"ended": int(time.time())} if "rollout" in props else {}


def _bounded(older: list[Any]) -> tuple[str, int]:
    """Generations packed, and how many of them are kept."""
    while len(text := pack(older, quick=True)) > MOST_CHARACTERS and older:
        older = older[:-1]
    return text, len(older)


def _digest(nodes: Sequence[NodePlan]) -> str:
    digests = {node.name: node.config.digest for node in nodes}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _packed(nodes: Sequence[NodePlan]) -> str:
    return pack({node.name: [node.config.ignition, node.shown] for node in nodes}, quick=True)
