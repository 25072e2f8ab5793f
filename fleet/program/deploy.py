"""The whole program of a stack that is described by a spec."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pulumi

from fleet.components.group import Fleet
from fleet.errors import FleetError, unexpected
from fleet.files import stack_folder
from fleet.plan import FleetPlan
from fleet.platforms.base import Platform
from fleet.program.debug import gather_debug
from fleet.program.running import Running
from fleet.program.stack_plan import plan_stack

DEFAULT_SPEC = "fleet.yaml"


async def deploy(plan: FleetPlan, platform: Platform, *, project: Path, stack: str) -> Fleet:
    """Declare a fleet, for a program that :func:`pulumi.run` runs.

    Its stack outputs are ``nodes``, what its nodes offer, and ``names``, the addresses that its names in the DNS are to
    lead to.

    Args:
        plan: What.
        platform: Where.
        project: The Pulumi project's folder.
        stack: The stack's name.
    """
    fleet = Fleet(platform, plan, folder=stack_folder(project, stack))
    pulumi.export("nodes", {name: node.describe() for name, node in fleet.nodes.items()})
    if fleet.names:
        pulumi.export("names", dict(fleet.names))
    # Registrations begin now. Where none has begun when the program ends, Pulumi waits for all of its outputs instead,
    # for all of them anew whenever there is one more: with a hundred nodes, half of the program's time.
    await asyncio.sleep(0)
    return fleet


def main() -> None:
    """The Pulumi program of a project that a spec describes: ``fleet:spec`` names it, ``fleet.yaml`` by default.

    Raises:
        pulumi.RunError: Something is wrong with the stack's config or the spec; Pulumi shows the message alone.
    """
    gather_debug()
    pulumi.run(_program)


async def _program() -> None:
    try:
        run = Running()
        spec = run.config("fleet:spec") or DEFAULT_SPEC
        with run.warning():
            plan, platform = plan_stack(
                run.folder / spec,
                run.config,
                project=pulumi.get_project(),
                folder=run.folder,
                stack=pulumi.get_stack(),
                full_name=run.stack,
                new_image=run.new_image,
                secrets=run.secrets,
            )
        recover = f"fleet up {shlex.quote(spec)} --stack {shlex.quote(pulumi.get_stack())}"
        plan = await run.checked(plan, platform, recover=recover)
        await deploy(plan, platform, project=run.folder, stack=pulumi.get_stack())
    except FleetError as error:
        raise pulumi.RunError(str(error)) from None
    except Exception as error:
        raise pulumi.RunError(unexpected(error)) from None
