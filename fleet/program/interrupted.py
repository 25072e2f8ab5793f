"""Operations of an interrupted update whose outcome is unknown.

The engine notes in the state each operation that it begins. What is still noted there when the next update starts may
or may not have happened. A refresh finds out what became of a change or a deletion, not of a creation: there may be a
machine that runs and costs, has the node's address and its disks, and is in no state.

Both ways to update a stack ask the platform what a creation may have left (:meth:`fleet.platforms.Platform.leftovers`):

- ``fleet up`` writes it into the state before the update (:mod:`fleet.ops.recovery`).
- The program of plain ``pulumi up`` runs within the update and cannot edit the state (:func:`check_interrupted`). It
  ends machines of fleet's own that nothing knows of; where something of a provider's may exist that is not in the
  state, it stops before anything is touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.errors import FleetError
from fleet.platforms import Platform
from fleet.platforms.base import Leftovers
from fleet.program.exported import (
    Resource,
    inputs,
    is_data_disk,
    is_live,
    is_of_cloud,
    is_of_fleet,
    name_of,
    pending_operations,
    resources_of,
)


@dataclass(frozen=True)
class Interrupted:
    """The operations of a state whose outcome only the platform can tell.

    Attributes:
        created: Resources whose creation began: machines, and what a provider makes.
        changed: Machines that were being changed, or are in a state of before (:mod:`fleet.ops.backend`), so that the
            node's machine may be another one by now.
    """

    created: Sequence[Resource]
    changed: Sequence[Resource]

    @classmethod
    def of(cls, deployment: Mapping[str, Any], *platforms: Platform) -> Interrupted:
        """Those of a state, without what a program has beside its fleets.

        Args:
            deployment: The state.
            platforms: Where its fleets are.
        """
        machines = {platform.machine_type for platform in platforms}
        operations = [(operation["type"], operation["resource"]) for operation in pending_operations(deployment)]
        pending = [(kind, resource) for kind, resource in operations if is_of_fleet(resource)]
        return cls(
            [r for kind, r in pending if kind == "creating" and (r["type"] in machines or is_of_cloud(r))],
            [r for kind, r in pending if kind == "updating" and r["type"] in machines],
        )


def platform_of(resource: Resource, platforms: Sequence[Platform]) -> Platform:
    """The platform that a fleet's resource is on.

    Args:
        resource: The resource.
        platforms: Those of a state's fleets.
    """
    kind = str(resource["type"])
    of_machine = [platform for platform in platforms if kind == platform.machine_type]
    of_package = [platform for platform in platforms if kind.startswith(f"{platform.name}:")]
    return [*of_machine, *of_package, *platforms][0]


def is_kept(resource: Resource, resources: Sequence[Resource]) -> bool:
    """Whether nothing with a resource's name may be removed: it is a data disk, or the state has the resource.

    Args:
        resource: The resource whose creation began.
        resources: The state's.
    """
    return is_data_disk(resource) or any(each["urn"] == resource["urn"] and is_live(each) for each in resources)


def not_searchable(resource: Resource) -> str:
    """The message for a creation that no platform can look up.

    Args:
        resource: The resource whose creation began.
    """
    return (
        f"The last update was interrupted while it created {_title(resource)}, which fleet cannot look for. If it "
        "exists, it is in no state and nothing uses it: find it, and delete it."
    )


async def check_interrupted(
    deployment: Mapping[str, Any], platform: Platform, *, command: str, preview: bool
) -> list[str]:
    """Check, within a Pulumi program, that an update may proceed after an interrupted one.

    Args:
        deployment: The state as it was before the update.
        platform: The stack's platform.
        command: The command that recovers the stack.
        preview: Nothing may be ended.

    Returns:
        What to warn of, a paragraph each.

    Raises:
        FleetError: Something may exist that is not in the state; names the command.
    """
    interrupted, resources = Interrupted.of(deployment, platform), resources_of(deployment)
    warnings: list[str] = []
    for resource in (*interrupted.created, *interrupted.changed):
        if not is_of_cloud(resource):
            if not preview:
                # fleet's own machine, which is ended where the state does not have it.
                keep = is_kept(resource, resources)
                await asyncio.to_thread(platform.leftovers, resource["type"], inputs(resource), keep=keep)
            continue
        ids = await _ids(await asyncio.to_thread(platform.leftovers, resource["type"], inputs(resource), keep=True))
        if ids is None:
            warnings.append(not_searchable(resource))
        elif set(ids) - {each.get("id") for each in resources if each["type"] == resource["type"]}:
            raise FleetError(
                f"The last update was interrupted, and whether {_title(resource)} was created is unknown: it may exist "
                "without being in the state, which a program cannot change.",
                fix=f"Run `{command}`, which recovers the stack and goes on; from then on `pulumi up` works, too.",
            )
    return warnings


async def _ids(answer: Leftovers) -> Sequence[str] | None:
    if not callable(answer):
        return answer
    return list(await answer().future() or ())


def _title(resource: Resource) -> str:
    """A resource's type and the name that its provider knows it by."""
    return f"{resource['type']} {inputs(resource).get('name') or name_of(resource)}"
