"""A planned fleet as Pulumi resources, and the whole program of a stack that is described by a spec."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pulumi
from pulumi.runtime import config as runtime_config

from fleet import platforms
from fleet.components.group import Fleet
from fleet.errors import FleetError, FleetWarning, UsageError, unexpected
from fleet.files import read_json, stack_folder
from fleet.plan import FleetPlan
from fleet.planner import plan_spec
from fleet.platforms.base import Platform
from fleet.program.secrets import keep_secret
from fleet.program.state import is_encrypted, is_readiness, kept, with_state
from fleet.spec.values import Keep, Resolver
from fleet.stack_config import ConfigReader, Secure

DEFAULT_SPEC = "fleet.yaml"


async def deploy(plan: FleetPlan, platform: Platform, *, project: Path, stack: str) -> Fleet:
    """Declare a fleet, and export what its nodes offer as the stack output ``nodes``, and the addresses that its names
    in the DNS are to lead to as ``names``. For a program that :func:`pulumi.run` runs.

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


Secrets = Literal["generate", "imagine", "known"]
"""What is done with a spec's secrets: each is found, and what is to be generated is, and kept; or is made up, which
leaves nothing behind; or those are taken that can be found, and others masked (:attr:`NodePlan.unread`)."""


def plan_stack(
    spec_file: Path,
    config: ConfigReader,
    *,
    project: str,
    folder: Path,
    stack: str,
    full_name: str = "",
    new_image: bool = False,
    secrets: Secrets = "generate",
) -> tuple[FleetPlan, Platform]:
    """Plan what a stack's config and spec say.

    Args:
        spec_file: The spec.
        config: The stack's config, by full key, such as "fleet:platform".
        project: The Pulumi project's name.
        folder: Its folder.
        stack: The stack's name.
        full_name: The same with its organization and project, where the backend has such.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
        secrets: What is done with secrets.

    Raises:
        FleetError: Anything is wrong with them.
    """
    platform = stack_platform(config, folder=folder, stack=stack)
    platform.check_stack()

    def full(key: str) -> str:
        return key if ":" in key else f"{project}:{key}"

    def generate(key: str, make: Callable[[], str], stale: str | None) -> str:
        return keep_secret(folder, full_name or stack, full(key), make, stale)

    def imagine(key: str, make: Callable[[], str], stale: str | None) -> str:
        return make()

    keep: Keep | None = {"generate": generate, "imagine": imagine}.get(secrets)
    resolver = Resolver(lambda key: config(full(key)), reveal=True, lenient=secrets == "known", keep=keep)
    return plan_spec(spec_file, resolver, platform, need_lock=True, new_image=new_image), platform


def stack_platform(config: ConfigReader, *, folder: Path, stack: str) -> Platform:
    """The platform that a stack's config names.

    Raises:
        UsageError: It names none, or one with wrong options.
    """
    name = config("fleet:platform")
    if not name:
        raise UsageError(
            f"The config of stack {stack} names no platform.",
            fix=f"Set it: `pulumi config set fleet:platform PLATFORM`, one of {', '.join(platforms.names())}.",
        )
    text = config(f"fleet:{name}")
    try:
        options: Mapping[str, Any] = read_json(text) if text else {}
    except ValueError:
        options = {}
    if not isinstance(options, dict) or (text and not options and text.strip() != "{}"):
        raise UsageError(
            f"`fleet:{name}` in the config of stack {stack} should be a mapping of options.",
            fix=f"Set one: `pulumi config set --path fleet:{name}.OPTION VALUE`.",
        )
    return platforms.platform(name, options, project=folder, stack=stack, config=config)


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


def _state(folder: Path, stack: str) -> list[dict[str, Any]]:
    """The resources of a stack's state, as they are before its update. Secrets in it stay encrypted unless nodes are
    asked with them.

    Raises:
        FleetError: It cannot be read.
    """
    resources = _exported(folder, stack)
    if any(is_readiness(resource) and is_encrypted(resource.get("outputs")) for resource in resources):
        # The passphrase may have been typed, and then only Pulumi itself has it.
        with contextlib.suppress(FleetError):
            return _exported(folder, stack, "--show-secrets")
    return resources


def _exported(folder: Path, stack: str, *options: str) -> list[dict[str, Any]]:
    command = ["pulumi", "stack", "export", "--stack", stack, "--non-interactive", *options]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            return list((json.loads(done.stdout).get("deployment") or {}).get("resources") or [])
        reason = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
    except (OSError, ValueError) as error:
        reason = [str(error)]
    raise FleetError(
        f"The state of stack {stack}, which says where its data disks are, cannot be read: {reason[0]}.",
        fix=f"See that `{' '.join(command)}` works in {folder}.",
    )


async def _program() -> None:
    folder = Path(pulumi.runtime.get_root_directory())
    given = runtime_config.CONFIG.get() or runtime_config.get_config_env()
    values = {key: Secure(value) if runtime_config.is_config_secret(key) else value for key, value in given.items()}
    try:
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always", FleetWarning)
            plan, platform = plan_stack(
                folder / (values.get("fleet:spec") or DEFAULT_SPEC),
                values.get,
                project=pulumi.get_project(),
                folder=folder,
                stack=pulumi.get_stack(),
                full_name=_full_name(),
                secrets="imagine" if pulumi.runtime.is_dry_run() else "generate",
            )
        for each in noted:
            pulumi.log.warn(str(each.message))
        plan = with_state(plan, _state(folder, _full_name()))
        platform.check_deployed(plan)
        for line in kept(plan, platform):
            pulumi.log.warn(line)
        if not pulumi.runtime.is_dry_run():
            platform.repair()
        await deploy(plan, platform, project=folder, stack=pulumi.get_stack())
    except FleetError as error:
        raise pulumi.RunError(str(error)) from None
    except Exception as error:
        raise pulumi.RunError(unexpected(error)) from None
