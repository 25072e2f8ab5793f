"""``fleet validate`` and ``fleet render``: a spec's nodes, without Pulumi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fleet import platforms
from fleet.errors import UsageError
from fleet.ops.ui import Ui
from fleet.planner import plan_spec
from fleet.program.stack_plan import stack_platform
from fleet.project import Project, short_name
from fleet.spec import Resolver
from fleet.stack_config import DEFAULT_PLATFORM, ConfigReader

Place = tuple[platforms.Platform, ConfigReader | None]
"""A platform, and what reads the stack's config, where there is a stack."""


def validate(spec: Path, *, platform: str | None, stack: str | None) -> list[str]:
    """Check a spec, its snippets and every node's merged config.

    With a stack, for its platform and options, as a preview would, but without what that needs to look at the stack: no
    secret and no passphrase, no image lock, no region or credentials. What is deployed is looked at where the stack's
    state is in files.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named.

    Returns:
        The nodes' names.

    Raises:
        FleetError: Something is wrong.
    """
    where, config = place(spec, platform=platform, stack=stack)
    if stack:
        where.check_stack(account=False)
    plan = plan_spec(spec, Resolver(config), where, need_lock=False)
    if stack:
        from fleet.ops.backend import Backend
        from fleet.program.state import with_state

        files = Backend.of_stack(Project.around(spec), stack)
        where.check_deployed(with_state(plan, files.resources() if files else []))
    return [node.name for node in plan.nodes]


def render(
    spec: Path, ui: Ui, *, node: str | None, platform: str | None, stack: str | None, reveal: bool
) -> Iterator[tuple[str, str]]:
    """The name and the Ignition config of every node, or of one.

    Args:
        spec: The spec.
        ui: Asks for the stack's passphrase, where secrets are to be revealed.
        node: The only node, if one is named.
        platform: The platform, if it is named.
        stack: The stack, if one is named.
        reveal: Secrets in plain text; else they are masked.

    Raises:
        FleetError: Something is wrong.
    """
    if stack and reveal:
        from fleet.ops.workspace import Stack  # slow to import: it brings Pulumi

        project = Project.around(spec)
        where, config = _of_stack(project, stack, Stack(project, stack, "read", ui).config, platform)
    else:
        where, config = place(spec, platform=platform, stack=stack)
    # This machine may not have as many ports as nodes would take under QEMU: their configs can be had all the same.
    plan = plan_spec(spec, Resolver(config, reveal=reveal), where, need_lock=False, node=node, check=False)
    for each in plan.nodes:
        yield each.name, each.config.ignition


def place(spec: Path, *, platform: str | None, stack: str | None) -> Place:
    """Where a spec's nodes are to run, and the config of the stack, where one is named, as its file has it.

    Secrets are replaced by a text that says so.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named; its config says which platform, and with which options.

    Raises:
        UsageError: The stack is on another platform, or its config is wrong.
    """
    if not stack:
        return platforms.platform(platform or DEFAULT_PLATFORM, project=spec.parent, stack="local"), None
    project = Project.around(spec)
    return _of_stack(project, stack, project.plain_config(stack), platform)


def _of_stack(project: Project, stack: str, config: Mapping[str, str], platform: str | None) -> Place:
    # What a stack's config does not say yet.
    values = {**({"fleet:platform": platform} if platform else {}), **config}
    where = stack_platform(values.get, folder=project.folder, stack=short_name(stack))
    if platform not in (None, where.name):
        raise UsageError(f"Stack {stack} is on {where.name}, not on {platform}.", fix="Leave out `--platform`.")
    return where, lambda key: values.get(project.full_key(key))
