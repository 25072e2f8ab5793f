"""What a stack's state has of a plan, so that nodes go where their data disks are and what is there is left alone.

A state is a list of resources, as ``pulumi stack export`` gives it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fleet.plan import FleetPlan, NodePlan, StateEntry
from fleet.platforms.base import Platform

_ANSWERED = ("address", "endpoints", "probes", "watch", "hidden")
"""What a readiness has of how its node is asked."""
_WORDS = {"availabilityZone": "zone", "encrypted": "encryption", "size_gib": "size"}
"""Words for inputs of data disks whose names say less."""


def is_data_disk(resource: Mapping[str, Any]) -> bool:
    """Whether a resource of a state is a data disk."""
    return "fleet:components:DataDisk$" in resource["urn"]


def is_readiness(resource: Mapping[str, Any]) -> bool:
    """Whether a resource of a state is a node's readiness."""
    return str(resource["type"]).endswith("dynamic/fleet:Ready")


_SECRET = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
"""What a secret in a state is known by (``sdk/go/common/resource/sig`` of github.com/pulumi/pulumi)."""


def plain(value: Any) -> Any:
    """A value of a state with secrets in plain text opened; ``None`` stands for what is encrypted."""
    if isinstance(value, dict):
        if value.get(_SECRET[0]) == _SECRET[1]:
            return json.loads(value["plaintext"]) if "plaintext" in value else None
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def is_encrypted(value: Any) -> bool:
    """Whether anything in a value of a state is encrypted."""
    if isinstance(value, dict):
        if value.get(_SECRET[0]) == _SECRET[1]:
            return "plaintext" not in value
        return any(map(is_encrypted, value.values()))
    return isinstance(value, list) and any(map(is_encrypted, value))


def is_shared(resource: Mapping[str, Any]) -> bool:
    """Whether a resource of a state is one that all nodes share."""
    return bool(re.search(r"fleet:components:Fleet\$(?!fleet:)", resource["urn"]))


def with_state(plan: FleetPlan, resources: Sequence[Mapping[str, Any]]) -> FleetPlan:
    """A plan that knows what of it is deployed.

    Args:
        plan: The plan.
        resources: The state's resources. Where secrets in them are encrypted, it is not known how nodes with such were
            asked.
    """
    live = [resource for resource in resources if not resource.get("delete") and resource.get("id")]
    places = {r["urn"]: r.get("outputs", {}).get("place", "") for r in resources if _is_component(r)}
    disks = {_name(r): _entry(r, str(places.get(r.get("parent"), ""))) for r in live if is_data_disk(r)}
    readies = {_name(r): plain(r.get("outputs", {})) for r in live if is_readiness(r)}
    # What was ready may be gone: a readiness stays in the state until its node's next machine is ready. It and the
    # drain have their machine's id.
    others = [r for r in live if not r["type"].endswith(("dynamic/fleet:Ready", "dynamic/fleet:Drain"))]
    machines = {(_name(r), str(id_)) for r in others for id_ in (r["id"], r.get("outputs", {}).get("instanceId"))}

    def known(node: NodePlan) -> NodePlan:
        attached = tuple(replace(disk, deployed=disks.get(f"{node.name}-{disk.name}")) for disk in node.disks)
        ready = readies.get(node.name, {})
        answered = {key: ready[key] for key in _ANSWERED if key in ready}
        asked = answered.get("probes") is not None and _is_there(node, ready, machines)
        return replace(node, disks=attached, answered=answered if asked else None)

    return replace(plan.with_nodes(known), deployed=tuple(_entry(r) for r in live if is_shared(r)))


def kept(plan: FleetPlan, platform: Platform) -> Iterator[str]:
    """What data disks keep, though the spec or the stack's options want it otherwise: a sentence each.

    Args:
        plan: One that knows the state.
        platform: The stack's platform.
    """
    for node in plan.nodes:
        for disk in node.disks:
            if disk.deployed is None or disk.existing:
                continue  # What is taken over is as it is.
            for key, wanted in platform.new_disk(node, disk).items():
                has = disk.deployed.outputs.get(key)
                if has is not None and has != wanted:
                    yield (
                        f"Data disk {node.name}-{disk.name} keeps its {_WORDS.get(key, key)} {has}: only a new disk "
                        f"could have {wanted}."
                    )


def _is_there(node: NodePlan, ready: Mapping[str, Any], machines: Collection[tuple[str, str]]) -> bool:
    """Whether the machine that became ready is still the node's."""
    return (node.name, str(ready.get("instance"))) in machines


def _is_component(resource: Mapping[str, Any]) -> bool:
    return bool(resource["type"] == "fleet:components:DataDisk")


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rpartition("::")[2]


def _entry(resource: Mapping[str, Any], place: str = "") -> StateEntry:
    outputs = resource.get("outputs") or resource.get("inputs") or {}
    return StateEntry(resource["type"], _name(resource), str(resource["id"]), outputs, place)
