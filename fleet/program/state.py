"""What a stack's state has of a plan, so that nodes go where their data disks are, and what is deployed stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fleet.dynamic.tokens import DATA_DISK, DRAIN, NODE, READY
from fleet.plan import FleetPlan, NodePlan, StateEntry
from fleet.platforms.base import Platform
from fleet.program.exported import Resource, inputs, is_data_disk, is_live, is_shared, name_of, outputs

_ANSWERED = ("address", "endpoints", "probes", "watch", "hidden", "report")
"""What a readiness has of how its node is asked."""
_WORDS = {"availabilityZone": "zone", "encrypted": "encryption", "size_gib": "size"}
"""Words for inputs of data disks whose names say less."""


def with_state(plan: FleetPlan, resources: Sequence[Resource]) -> FleetPlan:
    """A plan that knows what of it is deployed.

    Args:
        plan: The plan.
        resources: The state's resources. Where secrets in them are encrypted, it is not known how nodes with such were
            asked.
    """
    live = [resource for resource in resources if not resource.get("delete") and resource.get("id")]
    places = {r["urn"]: r.get("outputs", {}).get("place", "") for r in resources if r["type"] == DATA_DISK}
    disks = {name_of(r): _entry(r, str(places.get(r.get("parent"), ""))) for r in live if is_data_disk(r)}
    readies = readinesses(resources)
    shown = {name_of(r): r.get("outputs", {}).get("config") for r in resources if r["type"] == NODE and is_live(r)}

    def known(node: NodePlan) -> NodePlan:
        attached = tuple(replace(disk, deployed=disks.get(f"{node.name}-{disk.name}")) for disk in node.disks)
        ready = readies.get(node.name, {})
        answered = {key: ready[key] for key in _ANSWERED if key in ready}
        has_answered = answered.get("probes") is not None
        return replace(
            node,
            disks=attached,
            answered=answered if has_answered else None,
            shown_in_state=shown.get(node.name) == node.shown,
        )

    return replace(plan.with_nodes(known), deployed=tuple(_entry(r) for r in live if is_shared(r)))


def readinesses(resources: Sequence[Resource]) -> dict[str, dict[str, Any]]:
    """By name, the outputs of the readiness of each node whose machine is still the one that became ready.

    A readiness stays in the state until its node's next machine is ready.

    Args:
        resources: The state's resources.
    """
    live = [resource for resource in resources if not resource.get("delete") and resource.get("id")]
    # A readiness and a drain have their machine's id themselves.
    others = [r for r in live if r["type"] not in (READY, DRAIN)]
    machines = {(name_of(r), str(id_)) for r in others for id_ in (r["id"], r.get("outputs", {}).get("instanceId"))}
    # How a report can be had is noted among the inputs, whenever it changes, without a resource's update.
    readies = {name_of(r): {**outputs(r), **_report(r)} for r in live if r["type"] == READY}
    return {name: ready for name, ready in readies.items() if (name, str(ready.get("instance"))) in machines}


def immutable_settings(plan: FleetPlan, platform: Platform) -> Iterator[str]:
    """Settings of data disks that cannot change in place, though the spec or the options changed: a sentence each.

    Args:
        plan: One that knows the state.
        platform: The stack's platform.
    """
    for node in plan.nodes:
        for disk in node.disks:
            if disk.deployed is None or disk.existing:
                continue  # What is taken over is as it is.
            for key, desired in platform.new_disk(node, disk).items():
                has = disk.deployed.outputs.get(key)
                if has is not None and has != desired:
                    yield (
                        f"Data disk {node.name}-{disk.name} keeps its {_WORDS.get(key, key)} {has}: only a new disk "
                        f"could have {desired}."
                    )


def _report(ready: Resource) -> dict[str, Any]:
    report = inputs(ready).get("report")
    return {"report": report} if report else {}


def _entry(resource: Resource, place: str = "") -> StateEntry:
    # As the state has them, secrets in their envelopes.
    attributes = resource.get("outputs") or resource.get("inputs") or {}
    return StateEntry(resource["type"], name_of(resource), str(resource["id"]), attributes, place)
