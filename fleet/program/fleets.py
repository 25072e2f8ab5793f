"""The fleets of a stack's state: the one of a project's spec, or those that a user's program declares beside others.

Two fleets of a program may have nodes of the same names, so each resource of theirs is called after its fleet, too.
Here every fleet has its resources under its nodes' own names, and so whatever reads a state of one fleet reads it as
one of many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from fleet.dynamic.packing import pack, unpack
from fleet.dynamic.tokens import FLEET
from fleet.program.exported import Resource, name_of, outputs, pending_operations, resources_of, urn_name
from fleet.program.topology import Topology, as_json

SEPARATOR = "-"
"""Between a fleet's name and the name of what is called after it."""


SEVERAL = "/"
"""Between the name of a fleet and of a node, as users say them where a stack has several fleets."""


@dataclass(frozen=True)
class StateFleet:
    """A fleet of a state.

    Attributes:
        name: Its name in the program; empty: it is the one of the project's spec.
        resources: Its resources, under its nodes' own names.
        platform: Its platform's name; empty: the stack's config names it.
        options: Its platform's options.
        topology: What it was made of when the program last ran; ``None`` for a spec's.
    """

    name: str
    resources: Sequence[Resource]
    platform: str = ""
    options: Mapping[str, Any] | None = None
    topology: Topology | None = None


def about(platform: str, options: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
    """What a fleet of a program notes of itself in the state, as outputs of its component. No secret is in it.

    Args:
        platform: Its platform's name.
        options: Its platform's options.
        topology: What it is made of.
    """
    return {"platform": platform, "options": pack(dict(options)), "topology": pack(as_json(topology))}


def fleets_of(resources: Sequence[Resource]) -> list[StateFleet]:
    """The fleets of a state, by name.

    Args:
        resources: The state's resources.
    """
    components = [r for r in resources if r["type"] == FLEET and not r.get("delete")]
    made = {r["urn"]: outputs(r) for r in components if "platform" in outputs(r)}
    if not made:
        return [StateFleet("", list(resources))] if components else []
    return [
        StateFleet(
            urn_name(urn),
            list(_own(urn, resources)),
            str(noted["platform"]),
            unpack(noted["options"]),
            TypeAdapter(Topology).validate_python(unpack(noted["topology"])),
        )
        for urn, noted in sorted(made.items(), key=lambda each: urn_name(each[0]))
    ]


def own_state(fleet: str, deployment: Mapping[str, Any]) -> dict[str, Any]:
    """A state as far as it is a fleet's, under its nodes' own names.

    Args:
        fleet: The fleet's name in the program.
        deployment: The state, as ``pulumi stack export`` has it.
    """
    resources = resources_of(deployment)
    components = [r["urn"] for r in resources if r["type"] == FLEET and name_of(r) == fleet and not r.get("delete")]
    if not components:
        return {}
    own = list(_own(components[0], resources))
    parents = {components[0], *(r["urn"] for r in _below(components[0], resources))}
    pending = [
        {**operation, "resource": _renamed(fleet, operation["resource"])}
        for operation in pending_operations(deployment)
        if operation["resource"].get("parent") in parents
    ]
    return {"resources": own, "pending_operations": pending}


def platform_stack(stack: str, fleet: str) -> str:
    """What the platform of a fleet takes for the name of its stack: two fleets share no folder, tag or disk's name.

    Args:
        stack: The stack's name.
        fleet: The fleet's name in the program; empty for a spec's.
    """
    return program_name(stack, fleet) if fleet else stack


def own_name(fleet: str, name: str) -> str | None:
    """The name that a fleet itself has for what the program calls so; ``None``: it is none of the fleet's.

    Args:
        fleet: The fleet's name; empty for a spec's.
        name: A resource's name in the program.
    """
    if not fleet or name == fleet:
        return name
    return name.removeprefix(f"{fleet}{SEPARATOR}") if name.startswith(f"{fleet}{SEPARATOR}") else None


def said(fleet: str, name: str) -> str:
    """The name of a node or a group, as users say it where a stack has several fleets.

    Args:
        fleet: The fleet's name.
        name: Such as "web-0".
    """
    return f"{fleet}{SEVERAL}{name}"


def program_name(fleet: str, name: str) -> str:
    """The name in the program of what a fleet itself calls so.

    Args:
        fleet: The fleet's name; empty for a spec's.
        name: Such as "web-0".
    """
    return f"{fleet}{SEPARATOR}{name}" if fleet else name


def _own(fleet: str, resources: Sequence[Resource]) -> Iterator[Resource]:
    """A fleet's component and all below it, under their own names."""
    return (_renamed(urn_name(fleet), resource) for resource in _below(fleet, resources))


def _below(fleet: str, resources: Sequence[Resource]) -> Iterator[Resource]:
    """A fleet's component, by its URN, and all below it."""
    within = {fleet}
    for resource in resources:
        if resource["urn"] == fleet or resource.get("parent") in within:
            within.add(resource["urn"])
            yield resource


def _renamed(fleet: str, resource: Resource) -> Resource:
    """A copy of a fleet's resource under its own name, with the very outputs of the state."""
    place, _, _ = resource["urn"].rpartition("::")
    name = own_name(fleet, name_of(resource))
    return {**resource, "urn": f"{place}::{name_of(resource) if name is None else name}"}
