"""Secrets that are kept in a stack's config, which Pulumi encrypts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from fleet.errors import FleetError
from fleet.files import locked, write_whole
from fleet.stack_config import settings_file


def keep_secret(folder: Path, stack: str, key: str, make: Callable[[], str], stale: str | None) -> str:
    """Keep a generated secret in a stack's config, in place of a stale one if there is one; gives what is kept.

    It may have been generated since this process read the config: by another one, or, for the update of one command,
    by itself. So what is in the file counts, and from there until the secret is read back, no other process of fleet's
    on this machine has its turn.
    """
    from pulumi import automation  # slow to import, and seldom needed

    workspace = automation.LocalWorkspace(work_dir=str(folder))

    def kept() -> str | None:
        values = workspace.get_all_config(stack)
        return values[key].value if key in values and values[key].value != stale else None

    try:
        with locked(project_file(folder)):
            if (value := kept()) is not None:
                return value
            made = make()
            if settings_file(folder, stack).exists():
                _set_secret(folder, stack, key, made)
            else:
                # Pulumi.yaml may name another folder for it (``stackConfigDir``).
                set_secret(key, made, "--stack", stack, folder=folder)
            if kept() == made:
                return made
        reason = "what is in there is not what was put there"
    except (automation.CommandError, OSError) as error:
        lines = [line for line in str(error).splitlines() if line.strip().startswith("error:")]
        reason = lines[-1].partition("error:")[2].strip() if lines else getattr(error, "strerror", "Pulumi failed")
    raise FleetError(
        f"The secret {key}, which is to be generated, cannot be kept in the config of stack {stack}: {reason}.",
        fix="If its passphrase is missing, set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE.",
    )


def project_file(folder: Path) -> Path:
    """The file by which Pulumi knows a project."""
    names = [folder / f"Pulumi.{suffix}" for suffix in ("yaml", "yml", "json")]
    return next((file for file in names if file.exists()), names[0])


def set_secret(key: str, value: str, *options: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Set a secret in a stack's config as Pulumi's command does, which is not given it as an argument: every process of
    this machine can read those.

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
    from pulumi import automation

    command = ["pulumi", "config", "set", key, "--secret", "--non-interactive", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        # One newline at the end is taken off.
        input=f"{value}\n",
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise automation.CommandError(automation.CommandResult(done.stdout, done.stderr, done.returncode))


def _set_secret(folder: Path, stack: str, key: str, value: str) -> None:
    """Set a secret in a stack's config, whose file holds the only copy of others: Pulumi writes it in place, and a full
    disk would cut it off, so it is to write a copy, which is then put in the file's place.

    Raises:
        CommandError: Pulumi cannot.
        OSError: The disk is full, say.
    """
    config = settings_file(folder, stack)
    copy = config.with_name(f".{config.stem}.partial.yaml")
    try:
        write_whole(copy, config.read_text(encoding="utf-8"))
        set_secret(key, value, "--stack", stack, "--config-file", str(copy), folder=folder)
        write_whole(config, copy.read_text(encoding="utf-8"))
    finally:
        copy.unlink(missing_ok=True)
