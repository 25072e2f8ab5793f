"""Secrets that are kept in a stack's config, which Pulumi encrypts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fleet.errors import FleetError
from fleet.files import locked, write_whole
from fleet.project import Project


def keep_secret(folder: Path, stack: str, key: str, make: Callable[[], str], stale: str | None) -> str:
    """Keep a generated secret in a stack's config, in place of a stale one if there is one; gives what is kept.

    It may have been generated since this process read the config: by another one, or, for the update of one command,
    by itself. So what is in the file counts, and from there until the secret is read back, no other process of fleet's
    on this machine has its turn.
    """
    from pulumi import automation  # slow to import, and seldom needed

    project = Project.around(folder / "any")
    settings = project.settings_file(stack)

    def stored() -> str | None:
        command = ["pulumi", "config", "--show-secrets", "--json", "--non-interactive", "--stack", stack]
        value = json.loads(_run(command, folder)).get(key, {}).get("value")
        return value if value != stale else None

    try:
        with locked(project.file):
            if (value := stored()) is not None:
                return value
            generated = make()
            if settings.exists():
                _set_secret(folder, stack, settings, key, generated)
            else:
                set_secret(key, generated, "--stack", stack, folder=folder)
            if stored() == generated:
                return generated
        reason = "what is in there is not what was put there"
    except (automation.CommandError, OSError) as error:
        lines = [line for line in str(error).splitlines() if line.strip().startswith("error:")]
        reason = lines[-1].partition("error:")[2].strip() if lines else getattr(error, "strerror", "Pulumi failed")
    raise FleetError(
        f"The secret {key}, which is to be generated, cannot be kept in the config of stack {stack}: {reason}.",
        fix="If its passphrase is missing, set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE.",
    )


def set_secret(key: str, value: str, *options: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Set a secret in a stack's config as Pulumi's command does.

    The command is not given it as an argument: every process of this machine can read those.

    Args:
        key: Its key.
        value: The secret.
        options: More of the command's arguments, such as which stack.
        folder: The project's folder.
        environment: Variables beside this process's.

    Raises:
        CommandError: Pulumi cannot.
        OSError: It cannot be run.
    """
    command = ["pulumi", "config", "set", key, "--secret", "--non-interactive", *options]
    # One newline at the end is taken off.
    _run(command, folder, f"{value}\n", environment)


def _run(command: Sequence[str], folder: Path, text: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Run a command of Pulumi's with a text as its standard input; gives what it prints.

    Raises:
        CommandError: Pulumi cannot.
        OSError: It cannot be run.
    """
    from pulumi import automation

    result = subprocess.run(
        command,
        cwd=folder,
        input=text,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **(environment or {})},
    )
    if result.returncode:
        raise automation.CommandError(automation.CommandResult(result.stdout, result.stderr, result.returncode))
    return result.stdout


def _set_secret(folder: Path, stack: str, settings: Path, key: str, value: str) -> None:
    """Set a secret in a stack's config, whose file holds the only copy of others.

    Pulumi writes it in place, and a full disk would cut it off, so it is to write a copy, which is then put in the
    file's place.

    Raises:
        CommandError: Pulumi cannot.
        OSError: The disk is full, say.
    """
    copy = settings.with_name(f".{settings.stem}.partial{settings.suffix}")
    try:
        write_whole(copy, settings.read_text(encoding="utf-8"))
        set_secret(key, value, "--stack", stack, "--config-file", str(copy), folder=folder)
        write_whole(settings, copy.read_text(encoding="utf-8"))
    finally:
        copy.unlink(missing_ok=True)
