"""What an update that was killed leaves behind: things begun of which nobody knows whether they were done.

The engine notes in the state what it begins, and what is still noted there when the next update starts may or may not
have been done. What was being changed or removed the next update finds out, since fleet's updates refresh. What was
being *made* it cannot know of: there may be a machine that runs and costs, has the node's address and its disks, and is
in no state. So before an update:

- fleet's own resources: every operation of theirs can be done again, and a machine that nobody knows of can be ended.
- A provider's: the platform looks for it (:meth:`fleet.platforms.Platform.leftovers`), if need be with the provider's
  own functions, for which a program without resources is run. What it finds goes into the state under its id: as what
  was to be made, so that the update goes on with it, or, where the state still has what it was to replace, as something
  to be removed. Should it not be there after all, the refresh takes it out again.
- What no platform can look for is said.
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

from fleet.dynamic import tokens
from fleet.ops.engine import Engine
from fleet.ops.report import Say
from fleet.ops.workspace import PASSPHRASE, Stack, translated, urn_name
from fleet.platforms import Platform
from fleet.program.secrets import set_secret
from fleet.program.state import is_data_disk, plain


def settle(stack: Stack, platform: Platform, say: Say) -> None:
    """Clear up after an update that was killed.

    Args:
        stack: The stack; its resources are read anew.
        platform: Where it is.
        say: Told what may have been left and cannot be looked for.

    Raises:
        FleetError: The state cannot be read or written.
    """
    with translated(stack):
        # Where another update is going on, what it has begun is no leftover: all is looked at anew when it has ended.
        for text in stack.run(lambda: _settled(stack, platform)):
            say("", text)


def _settled(stack: Stack, platform: Platform) -> list[str]:
    """Clear up; gives what cannot be looked for.

    Raises:
        ConcurrentUpdateError: Another update is going on.
    """
    state, resources = stack.export()
    stack.resources = resources
    deployment = dict(state.deployment or {})
    pending = deployment.get("pending_operations") or []
    if not pending:
        return []
    before = json.dumps([resources, pending], sort_keys=True)
    unknown: list[str] = []
    begun = [operation["resource"] for operation in pending if operation["type"] == "creating"]
    asked = [r for r in begun if r["type"] == platform.machine_type or _of_a_provider(r)]
    # What is asked for may end a machine, which must not be one that another update is just making.
    stack.check_free(state)
    if _content(stack) != before:
        return _settled(stack, platform)
    for resource, found in zip(asked, _found(stack, platform, asked), strict=True):
        if found is None:
            unknown.append(_unknown(resource))
        for id_ in found or ():
            _take(resources, resource, id_)
    # Of a machine that was being changed, or is in a state of before (:mod:`fleet.ops.backend`), there may be
    # another one by now.
    unsure = [
        operation["resource"]
        for operation in pending
        if operation["type"] == "updating" and operation["resource"]["type"] == platform.machine_type
    ]
    for resource, ids in zip(unsure, _found(stack, platform, unsure), strict=True):
        _correct(resources, resource, ids or ())
    if _content(stack) != before:
        return _settled(stack, platform)
    settled = {**deployment, "resources": resources, "pending_operations": []}
    stack.automation.import_stack(automation.Deployment(version=state.version, deployment=settled))
    return unknown


def _content(stack: Stack) -> str:
    """What a state has of resources, as it is now."""
    state, resources = stack.export()
    return json.dumps([resources, (state.deployment or {}).get("pending_operations") or []], sort_keys=True)


def _found(stack: Stack, platform: Platform, begun: Sequence[dict[str, Any]]) -> list[Sequence[str] | None]:
    """By resource: the ids of what there is of it, or ``None`` if that cannot be known."""
    live = {r["urn"] for r in stack.resources if _live(r)}
    answers = [
        platform.leftovers(
            resource["type"],
            plain(resource.get("inputs", {})),
            keep=is_data_disk(resource) or resource["urn"] in live,
        )
        for resource in begun
    ]
    found = [None if callable(answer) else answer for answer in answers]

    def program() -> None:
        for index, answer in enumerate(answers):
            if callable(answer):
                answer().apply(functools.partial(found.__setitem__, index))

    if any(map(callable, answers)):
        config = {key: value for key, value in stack.config.items() if key.startswith(f"{platform.name}:")}
        _run(program, config, stack.engine)
    return found


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


def _take(resources: list[dict[str, Any]], begun: Mapping[str, Any], id_: str) -> None:
    """Put what was found into a state."""
    if any(r["type"] == begun["type"] and r.get("id") == id_ for r in resources):
        return
    taken = {**begun, "id": id_, "outputs": begun.get("inputs", {})}
    same = [index for index, r in enumerate(resources) if r["urn"] == begun["urn"]]
    for index in same:
        # What was removed first keeps its place in the state until the new one is made.
        if resources[index].get("pendingReplacement"):
            resources[index] = taken
            return
    if any(_live(resources[index]) for index in same):
        taken["delete"] = True
    # After all that it needs, and before all that needs it.
    needed = {begun.get("parent"), *begun.get("dependencies", ()), begun.get("provider", "").rpartition("::")[0]}
    places = [index for index, r in enumerate(resources) if r["urn"] in needed]
    resources.insert(max(places, default=-1) + 1, taken)


def _correct(resources: list[dict[str, Any]], known: Mapping[str, Any], ids: Sequence[str]) -> None:
    """Have a state say which machine there is, if the one that it has is gone."""
    for index, resource in enumerate(resources):
        if resource["urn"] == known["urn"] and _live(resource) and ids and resource.get("id") not in ids:
            resources[index] = {**resource, "id": ids[0], "outputs": resource.get("inputs", {})}
            ids = ids[1:]
    for id_ in ids:
        _take(resources, known, id_)


def _of_a_provider(resource: Mapping[str, Any]) -> bool:
    """Whether a resource is outside of Pulumi, and none of fleet's own."""
    return bool(resource.get("custom")) and not resource["type"].startswith((tokens.OWN, "pulumi:providers:"))


def _live(resource: Mapping[str, Any]) -> bool:
    """Whether a resource of a state is there, as far as the engine knows, and is to stay."""
    return not resource.get("delete") and not resource.get("pendingReplacement")


def _unknown(resource: Mapping[str, Any]) -> str:
    inputs = plain(resource.get("inputs", {}))
    name = inputs.get("name") or urn_name(resource["urn"])
    return (
        f"The last update was cut off while it made {resource['type']} {name}. If it is there, it is in no state and "
        "nothing uses it: look for it, and remove it."
    )
