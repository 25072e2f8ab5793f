"""Reading the topology of a spec, or of a program's fleets, for ``fleet graph`` and ``fleet view``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fleet.dynamic.tokens import NODE
from fleet.errors import UsageError
from fleet.ops import check
from fleet.ops.backend import Backend
from fleet.planner import plan_fleet
from fleet.program.exported import is_live, name_of, outputs, resources_of
from fleet.program.fleets import fleets_of, said
from fleet.program.topology import Topology, called, together, topology_of, with_addresses
from fleet.project import Project
from fleet.spec import load_spec
from fleet.spec.loader import warn_of_no_version


def read_topology(spec: Path, *, platform: str | None = None, stack: str | None = None) -> Topology:
    """The topology of a spec, without a secret or a passphrase.

    That of a program is what its fleets have noted in the state of a stack, which has to be named.

    With a stack it is for the stack's platform and options, with the addresses of nodes that are deployed where the
    stack's state is in files.

    Args:
        spec: The spec, or the program's folder.
        platform: The platform, if it is named.
        stack: The stack, if one is named.

    Raises:
        FleetError: Anything is wrong with the spec, or with the stack's config.
    """
    if spec.is_dir():
        return _of_program(spec, stack)
    where, resolver = check.place(spec, platform=platform, stack=stack)
    loaded = load_spec(spec, resolver, where.name)
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


def _of_program(folder: Path, stack: str | None) -> Topology:
    from fleet.ops.workspace import sealed_state  # slow to import: it brings Pulumi

    project = Project.around(folder)
    if not stack:
        raise UsageError("What a program's fleets are is in the state of its stack.", fix="Name it: `--stack NAME`.")
    state, _ = sealed_state(project, stack)
    fleets = fleets_of(resources_of(state))
    known = []
    for fleet in fleets:
        if fleet.topology is None:
            raise UsageError(
                f"What the fleet of stack {stack} is made of is in its spec, and not in its state.",
                fix="Name the spec.",
            )
        addresses = {
            name_of(resource): str(outputs(resource).get("address") or "")
            for resource in fleet.resources
            if resource["type"] == NODE and is_live(resource)
        }
        shown = with_addresses(fleet.topology, addresses)
        several = len(fleets) > 1
        known.append(called(shown, partial(said, fleet.name)) if several else shown)
    if not known:
        raise UsageError(f"Stack {stack} has no fleet yet.", fix="`fleet up` makes what the program declares.")
    return together(project.name, known)
