"""What stacks have, as ``pulumi stack export`` gives it: a stack's own state, and the outputs of others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.errors import FleetError
from fleet.program.exported import STACK, is_encrypted, plain, resources_of
from fleet.spec.values import Passed


def export(folder: Path, stack: str, *options: str, why: str = "") -> dict[str, Any]:
    """A stack's state, as one run of Pulumi's command gives it.

    Args:
        folder: The project's folder, which says in which backend it is.
        stack: The stack.
        options: More of the command's arguments.
        why: What the state says that is needed, for the error.

    Raises:
        FleetError: It cannot be read.
    """
    command = ["pulumi", "stack", "export", "--stack", stack, "--non-interactive", *options]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if result.returncode == 0:
            return dict(json.loads(result.stdout).get("deployment") or {})
        reason = result.stderr.strip().splitlines()[-1:] or [f"status {result.returncode}"]
    except (OSError, ValueError) as error:
        reason = [str(error)]
    raise FleetError(
        f"The state of stack {stack}, {why}cannot be read: {reason[0]}."
        if why
        else f"The state of stack {stack} cannot be read: {reason[0]}.",
        fix=f"See that `{' '.join(command)}` works in {folder}.",
    )


class References:
    """The outputs of other stacks. Each stack is read once, and its secrets only if one of them is asked for.

    Args:
        folder: The project's folder.
        reveal: Read secrets; else their values are empty, and no passphrase is needed.
    """

    def __init__(self, folder: Path, *, reveal: bool = True) -> None:
        self._folder, self._reveal = folder, reveal
        self._outputs: dict[str, Mapping[str, Any]] = {}

    def output(self, stack: str, name: str) -> Passed:
        """An output.

        Args:
            stack: The stack.
            name: The output's name; or, of a part of it, the keys that lead there, with dots: ``nodes.db-0.address``.

        Raises:
            FleetError: The stack cannot be read, has no such output, or one that is no text, number or boolean.
        """
        outputs = self._of(stack)
        value = _at(outputs, name)
        if value is None:
            raise FleetError(
                f"Stack {stack} has no output {name}. It has: {', '.join(sorted(outputs)) or 'none'}.",
                fix="Correct the name, or deploy that stack first.",
            )
        is_secret = is_encrypted(value)
        if is_secret and not self._reveal:
            return Passed("", is_secret)
        if is_secret:
            value = _at(plain(self._of(stack, "--show-secrets")), name)
        if not isinstance(value, str | int | float | bool):
            raise FleetError(f"The output {name} of stack {stack} is no text, number or boolean.")
        return Passed(value, is_secret)

    def _of(self, stack: str, *options: str) -> Mapping[str, Any]:
        key = " ".join((stack, *options))
        if key not in self._outputs:
            resources = resources_of(export(self._folder, stack, *options))
            root = next((each for each in resources if each["type"] == STACK), {})
            self._outputs[key] = dict(root.get("outputs") or {})
        return self._outputs[key]


def _at(outputs: Mapping[str, Any], name: str) -> Any:
    """An output, or a part of one; what is encrypted as a whole stands for its parts. ``None``: there is none."""
    if name in outputs:
        return outputs[name]
    value: Any = outputs
    for key in name.split("."):
        if not isinstance(value, Mapping):
            return None
        if key not in value:
            return value if plain(value) is None else None
        value = value[key]
    return value
