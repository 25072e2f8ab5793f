"""From a stack's config and spec to the plan of its nodes, and its platform. No Pulumi here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from fleet import platforms
from fleet.errors import UsageError
from fleet.files import read_json
from fleet.plan import FleetPlan
from fleet.planner import plan_spec
from fleet.platforms.base import Platform
from fleet.program.references import References
from fleet.program.secrets import keep_secret
from fleet.spec.values import Keep, Passed, Resolver
from fleet.stack_config import ConfigReader

Secrets = Literal["generate", "imagine", "known", "at hand"]
"""What is done with a spec's secrets: each is looked up, and what is to be generated is, and kept; or is made up,
which leaves nothing behind; or those are taken that can be had, and others masked (:attr:`NodePlan.unread`); or, of
these, those that no program has to tell (:mod:`fleet.spec.sources`)."""


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
    need_lock: bool = True,
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
        need_lock: Whether the image lock has to be there.

    Raises:
        FleetError: Anything is wrong with them.
    """
    platform = stack_platform(config, folder=folder, stack=stack)
    platform.check_stack()
    resolver = stack_resolver(config, project=project, folder=folder, stack=full_name or stack, secrets=secrets)
    return plan_spec(spec_file, resolver, platform, need_lock=need_lock, new_image=new_image), platform


def stack_resolver(
    config: ConfigReader,
    *,
    project: str,
    folder: Path,
    stack: str,
    secrets: Secrets,
    variables: Mapping[str, Passed] | None = None,
    passed: Mapping[str, Passed] | None = None,
    references: References | None = None,
) -> Resolver:
    """Where the values of a stack's specs come from.

    Args:
        config: The stack's config, by full key.
        project: The Pulumi project's name.
        folder: Its folder.
        stack: The stack's full name.
        secrets: What is done with secrets.
        variables: The variables that a program passes.
        passed: The secrets that it does.
        references: What has read outputs of other stacks already.
    """

    def full(key: str) -> str:
        return key if ":" in key else f"{project}:{key}"

    def generate(key: str, make: Callable[[], str], stale: str | None) -> str:
        return keep_secret(folder, stack, full(key), make, stale)

    def imagine(key: str, make: Callable[[], str], stale: str | None) -> str:
        return make()

    keep: Keep | None = {"generate": generate, "imagine": imagine}.get(secrets)
    return Resolver(
        lambda key: config(full(key)),
        reveal=True,
        lenient=secrets in ("known", "at hand"),
        ask=secrets != "at hand",
        keep=keep,
        variables=variables or {},
        secrets=passed or {},
        references=(references or References(folder)).output,
    )


def stack_platform(config: ConfigReader, *, folder: Path, stack: str) -> Platform:
    """The platform that a stack's config names.

    Raises:
        UsageError: It names none, or one with wrong options.
    """
    name, options = platform_options(config, stack=stack)
    return platforms.platform(name, options, project=folder, stack=stack, config=config)


def platform_options(config: ConfigReader, *, stack: str, platform: str | None = None) -> tuple[str, Mapping[str, Any]]:
    """The name of the platform that a stack's config names, and its options there.

    Args:
        config: The stack's config.
        stack: The stack's name.
        platform: The platform, where the program names it.

    Raises:
        UsageError: The config names none, or has no options but something else.
    """
    name = platform or config("fleet:platform")
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
    return name, options
