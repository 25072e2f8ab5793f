"""Recovery after an interrupted update: resources whose outcome is unknown get into the state, or are removed.

Which those are, :mod:`fleet.program.interrupted` says. Before an update:

- fleet's own resources: every operation of theirs can be repeated, and a machine that is in no state can be ended.
- A provider's: the platform looks for it (:meth:`fleet.platforms.Platform.leftovers`), if need be with the provider's
  own functions, for which a program without resources is run. What exists is written into the state under its id: as
  what was to be created, so that the update goes on with it, or, where the state still has what it was to replace, as
  something to be deleted. Should it not exist after all, the refresh of the update takes it out.
- What no platform can look for is reported. What a program has beside its fleets is Pulumi's to say.
"""

from __future__ import annotations

import functools
import json
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pulumi import automation

from fleet.ops.engine import Engine
from fleet.ops.report import Say
from fleet.ops.workspace import PASSPHRASE, Stack, translated
from fleet.platforms import Platform
from fleet.program.exported import Resource, inputs, is_live, is_of_fleet, pending_operations
from fleet.program.interrupted import Interrupted, is_kept, not_searchable, platform_of
from fleet.program.secrets import set_secret


def recover_interrupted_update(stack: Stack, platforms: Sequence[Platform], say: Say) -> None:
    """Put resources whose outcome is unknown right, if the last update was interrupted.

    Args:
        stack: The stack; its resources are read anew.
        platforms: Where its fleets are.
        say: Told what may exist and cannot be looked for.

    Raises:
        FleetError: The state cannot be read or written.
    """
    with translated(stack):
        # Where another update is going on, what it has begun is no leftover: all is looked at anew when it has ended.
        state, stack.resources = stack.export(anew=False)
        if not pending_operations(state.deployment or {}):
            return
        for text in stack.run(lambda: _recover(stack, platforms)):
            say("", text)


def _recover(stack: Stack, platforms: Sequence[Platform]) -> list[str]:
    """Recover, and return the resources that cannot be looked up.

    Raises:
        ConcurrentUpdateError: Another update is going on.
    """
    state, resources = stack.export()
    stack.resources = resources
    deployment = dict(state.deployment or {})
    if not pending_operations(deployment):
        return []
    interrupted = Interrupted.of(deployment, *platforms)
    before = _content(deployment)
    unknown: list[str] = []
    # What is asked for may end a machine, which must not be one that another update is just creating.
    stack.check_free(state)
    if _content(_deployment(stack)) != before:
        return _recover(stack, platforms)
    for resource, ids in zip(interrupted.created, _ids(stack, platforms, interrupted.created), strict=True):
        if ids is None:
            unknown.append(not_searchable(resource))
        for id_ in ids or ():
            _adopt(resources, resource, id_)
    for resource, ids in zip(interrupted.changed, _ids(stack, platforms, interrupted.changed), strict=True):
        _correct(resources, resource, ids or ())
    if _content(_deployment(stack)) != before:
        return _recover(stack, platforms)
    others = [each for each in pending_operations(deployment) if not is_of_fleet(each["resource"])]
    recovered = {**deployment, "resources": resources, "pending_operations": others}
    stack.automation.import_stack(automation.Deployment(version=state.version, deployment=recovered))
    return unknown


def _deployment(stack: Stack) -> Mapping[str, Any]:
    """The state as it is now."""
    return stack.export()[0].deployment or {}


def _content(deployment: Mapping[str, Any]) -> str:
    """The resources and pending operations of a state, as text for comparison."""
    return json.dumps([deployment.get("resources") or [], deployment.get("pending_operations") or []], sort_keys=True)


def _ids(stack: Stack, platforms: Sequence[Platform], unknown: Sequence[Resource]) -> list[Sequence[str] | None]:
    """Per resource: the ids that may exist, or ``None`` if that is unknown."""
    answers = [
        platform_of(resource, platforms).leftovers(
            resource["type"], inputs(resource), keep=is_kept(resource, stack.resources)
        )
        for resource in unknown
    ]
    ids = [None if callable(answer) else answer for answer in answers]

    def program() -> None:
        for index, answer in enumerate(answers):
            if callable(answer):
                answer().apply(functools.partial(ids.__setitem__, index))

    if any(map(callable, answers)):
        packages = tuple(f"{platform.name}:" for platform in platforms)
        config = {key: value for key, value in stack.config.items() if key.startswith(packages)}
        _run(program, config, stack.engine)
    return ids


def _run(program: Callable[[], None], config: Mapping[str, str], engine: Engine) -> None:
    """Run a program that has no resources, in a stack of its own.

    A preview of the real one would go on to what is no longer declared, which is all, and is refused where disks are
    protected.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PULUMI_BACKEND_URL": f"file://{folder}", PASSPHRASE: secrets.token_hex()}
        asking = automation.create_stack(
            "lookup",
            project_name="lookup",
            program=program,
            opts=automation.LocalWorkspaceOptions(work_dir=folder, env_vars=environment, pulumi_command=engine),
        )
        for key, value in config.items():
            set_secret(key, value, "--stack", "lookup", folder=Path(folder), environment=environment)
        asking.preview()


def _adopt(resources: list[dict[str, Any]], created: Resource, id_: str) -> None:
    """Add a resource that was created to a state."""
    if any(r["type"] == created["type"] and r.get("id") == id_ for r in resources):
        return
    adopted = {**created, "id": id_, "outputs": created.get("inputs", {})}
    same = [index for index, r in enumerate(resources) if r["urn"] == created["urn"]]
    for index in same:
        # What was deleted first keeps its place in the state until the new one is created.
        if resources[index].get("pendingReplacement"):
            resources[index] = adopted
            return
    if any(is_live(resources[index]) for index in same):
        adopted["delete"] = True
    # After all that it needs, and before all that needs it.
    needed = {created.get("parent"), *created.get("dependencies", ()), created.get("provider", "").rpartition("::")[0]}
    places = [index for index, r in enumerate(resources) if r["urn"] in needed]
    resources.insert(max(places, default=-1) + 1, adopted)


def _correct(resources: list[dict[str, Any]], known: Resource, ids: Sequence[str]) -> None:
    """Correct the machine's id in a state if the recorded machine is gone."""
    for index, resource in enumerate(resources):
        if resource["urn"] == known["urn"] and is_live(resource) and ids and resource.get("id") not in ids:
            resources[index] = {**resource, "id": ids[0], "outputs": resource.get("inputs", {})}
            ids = ids[1:]
    for id_ in ids:
        _adopt(resources, known, id_)
