"""Reading the topology of a spec, for ``fleet graph`` and ``fleet view``."""

from __future__ import annotations

from pathlib import Path

from fleet.dynamic.tokens import NODE
from fleet.ops import check
from fleet.ops.backend import Backend
from fleet.planner import plan_fleet
from fleet.program.exported import is_live, name_of, outputs
from fleet.program.topology import Topology, topology_of
from fleet.project import Project
from fleet.spec import Resolver, load_spec
from fleet.spec.loader import warn_of_no_version


def read_topology(spec: Path, *, platform: str | None = None, stack: str | None = None) -> Topology:
    """The topology of a spec, without a secret or a passphrase.

    With a stack it is for the stack's platform and options, with the addresses of nodes that are deployed where the
    stack's state is in files.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named.

    Raises:
        FleetError: Anything is wrong with the spec, or with the stack's config.
    """
    where, config = check.place(spec, platform=platform, stack=stack)
    loaded = load_spec(spec, Resolver(config), where.name)
    warn_of_no_version(loaded.document)
    plan = plan_fleet(loaded, where, None)
    addresses: dict[str, str] = {}
    if stack and (files := Backend.of_stack(Project.around(spec), stack)):
        addresses = {
            name_of(resource): str(outputs(resource).get("address") or "")
            for resource in files.resources()
            if resource["type"] == NODE and is_live(resource)
        }
    return topology_of(loaded.fleet, plan, where, addresses)
