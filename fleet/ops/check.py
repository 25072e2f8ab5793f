"""``fleet validate`` and ``fleet render``: a spec's nodes, without Pulumi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fleet import platforms
from fleet.errors import UsageError
from fleet.ops.ui import Ui
from fleet.planner import plan_spec
from fleet.program.references import References
from fleet.program.stack_plan import stack_platform
from fleet.project import Project, short_name
from fleet.spec import Resolver
from fleet.spec.values import Passed
from fleet.stack_config import DEFAULT_PLATFORM

Place = tuple[platforms.Platform, Resolver]
"""A platform, and where a spec's values come from."""


def validate(spec: Path, *, platform: str | None, stack: str | None) -> list[str]:
    """Check a spec, its snippets and every node's merged config.

    With a stack, for its platform and options, as a preview would, but without what that needs to look at the stack: no
    secret and no passphrase, no image lock, no region or credentials. What is deployed is looked at where the stack's
    state is in files; outputs of other stacks are read if the spec takes any.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named.

    Returns:
        The nodes' names.

    Raises:
        FleetError: Something is wrong.
    """
    where, resolver = place(spec, platform=platform, stack=stack)
    if stack:
        where.check_stack(account=False)
    plan = plan_spec(spec, resolver, where, need_lock=False)
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
        where, resolver = _of_stack(project, stack, Stack(project, stack, "read", ui).config, platform, reveal=True)
    else:
        where, resolver = place(spec, platform=platform, stack=stack)
    # This machine may not have as many ports as nodes would take under QEMU: their configs can be had all the same.
    plan = plan_spec(spec, replace(resolver, reveal=reveal), where, need_lock=False, node=node, check=False)
    for each in plan.nodes:
        yield each.name, each.config.ignition


def place(spec: Path, *, platform: str | None, stack: str | None) -> Place:
    """Where a spec's nodes are to run, and where its values come from: of a stack that is named, its config's file.

    Secrets are replaced by a text that says so. Outputs of other stacks are read when they are asked for, in the
    project's backend; without a stack, they are not known.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named; its config says which platform, and with which options.

    Raises:
        UsageError: The stack is on another platform, or its config is wrong.
    """
    if not stack:
        return platforms.platform(platform or DEFAULT_PLATFORM, project=spec.parent, stack="local"), Resolver()
    project = Project.around(spec)
    return _of_stack(project, stack, project.plain_config(stack), platform, reveal=False)


def _of_stack(project: Project, stack: str, config: Mapping[str, str], platform: str | None, *, reveal: bool) -> Place:
    # What a stack's config does not say yet.
    values = {**({"fleet:platform": platform} if platform else {}), **config}
    where = stack_platform(values.get, folder=project.folder, stack=short_name(stack))
    if platform not in (None, where.name):
        raise UsageError(f"Stack {stack} is on {where.name}, not on {platform}.", fix="Leave out `--platform`.")
    references = References(project.folder, reveal=reveal)

    def output(other: str, name: str) -> Passed:
        from fleet.ops.workspace import use_pulumi  # slow to import, and seldom needed

        use_pulumi(project)
        return references.output(other, name)

    return where, Resolver(lambda key: values.get(project.full_key(key)), references=output)
