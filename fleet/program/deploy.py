"""A planned fleet as Pulumi resources, and the whole program of a stack that is described by a spec."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shlex
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config

from fleet.components.group import Fleet
from fleet.dynamic.tokens import READY
from fleet.errors import FleetError, FleetWarning, unexpected
from fleet.files import stack_folder
from fleet.plan import FleetPlan
from fleet.platforms.base import Platform
from fleet.program.changes import Compared
from fleet.program.exported import is_encrypted, resources_of
from fleet.program.history import with_change
from fleet.program.interrupted import check_interrupted
from fleet.program.order import Answer, Order, ordered, tell
from fleet.program.stack_plan import plan_stack
from fleet.program.state import immutable_settings, with_state
from fleet.stack_config import Secure

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
    pulumi.run(_program)


def _full_name() -> str:
    """The program's stack as every backend knows it: with its organization, where there are such."""
    organization = pulumi.get_organization()
    # What backends say that know none.
    if organization == "organization":
        return pulumi.get_stack()
    return f"{organization}/{pulumi.get_project()}/{pulumi.get_stack()}"


def _state(folder: Path, stack: str) -> dict[str, Any]:
    """A stack's state, as it is before its update.

    Secrets in it stay encrypted unless nodes are asked with them.

    Raises:
        FleetError: It cannot be read.
    """
    state = _exported(folder, stack)
    if any(each["type"] == READY and is_encrypted(each.get("outputs")) for each in resources_of(state)):
        # The passphrase may have been typed, and then only Pulumi itself has it.
        with contextlib.suppress(FleetError):
            return _exported(folder, stack, "--show-secrets")
    return state


def _exported(folder: Path, stack: str, *options: str) -> dict[str, Any]:
    command = ["pulumi", "stack", "export", "--stack", stack, "--non-interactive", *options]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if result.returncode == 0:
            return dict(json.loads(result.stdout).get("deployment") or {})
        reason = result.stderr.strip().splitlines()[-1:] or [f"status {result.returncode}"]
    except (OSError, ValueError) as error:
        reason = [str(error)]
    raise FleetError(
        f"The state of stack {stack}, which says where its data disks are, cannot be read: {reason[0]}.",
        fix=f"See that `{' '.join(command)}` works in {folder}.",
    )


async def _program() -> None:
    folder = Path(pulumi.runtime.get_root_directory())
    config = runtime_config.CONFIG.get() or runtime_config.get_config_env()
    values = {key: Secure(value) if runtime_config.is_config_secret(key) else value for key, value in config.items()}
    spec = values.get("fleet:spec") or DEFAULT_SPEC
    preview = pulumi.runtime.is_dry_run()
    try:
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always", FleetWarning)
            plan, platform = plan_stack(
                folder / spec,
                values.get,
                project=pulumi.get_project(),
                folder=folder,
                stack=pulumi.get_stack(),
                full_name=_full_name(),
                secrets="imagine" if preview else "generate",
            )
        for each in noted:
            pulumi.log.warn(str(each.message))
        state = _state(folder, _full_name())
        recover = f"fleet up {shlex.quote(spec)} --stack {shlex.quote(pulumi.get_stack())}"
        for line in await check_interrupted(state, platform, command=recover, preview=preview):
            pulumi.log.warn(line)
        plan = with_state(plan, resources_of(state))
        platform.check_deployed(plan)
        for line in immutable_settings(plan, platform):
            pulumi.log.warn(line)
        if not preview:
            platform.repair()
        order = Order.current()
        if order:
            plan = ordered(order, "", plan, Compared(resources_of(state), platform))
        plan = with_change(
            plan,
            platform,
            resources_of(state),
            run=order.run if order else secrets.token_hex(8),
            command=order.command if order else "pulumi up",
            only=order.only("") if order else None,
        )
        if order:
            await asyncio.to_thread(tell, order, Answer("", "", {}, plan))
        await deploy(plan, platform, project=folder, stack=pulumi.get_stack())
    except FleetError as error:
        raise pulumi.RunError(str(error)) from None
    except Exception as error:
        raise pulumi.RunError(unexpected(error)) from None
