"""``fleet new``: what it asks and tells."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.cli.options import Base
from fleet.cli.terminal import out
from fleet.errors import FleetError, UsageError
from fleet.stack_config import DEFAULT_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.ops.scaffold import PublicKey

_PATIENCE = 8
"""Seconds that the server of releases is waited for: whoever has no network gets the command for later."""

_PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
"""The environment variables that say the passphrase, or the file that has it."""


def new(
    folder: Annotated[Path, typer.Argument(help="Its folder; the folder's name is the fleet's.", show_default=False)],
    platform: Annotated[
        str | None,
        typer.Option(help="The platform, such as aws; without a terminal to ask, qemu.", show_default=False),
    ] = None,
    ssh_key: Annotated[
        Path | None,
        typer.Option(
            "--ssh-key",
            help="The public key that may log in; by default one of ~/.ssh.",
            show_default=False,
            readable=False,
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            help="A disk image of your own to run, in place of Fedora CoreOS's current release.",
            show_default=False,
            readable=False,
        ),
    ] = None,
    base_url: Base = "",
) -> None:
    """Create a fleet: a Pulumi project with a spec to edit, and say what to type next.

    At a terminal it asks for what no option says.
    """
    from fleet import platforms
    from fleet.ops import image_lock
    from fleet.ops.scaffold import begin, check_name, own_keys, read_key

    # Before anything is asked.
    check_name(folder)
    if image is not None and not image.is_file():
        raise UsageError(f"There is no disk image {image}.", fix="Name a file that is there.")
    interactive = sys.stdin.isatty()
    if platform is None:
        platform = _choose("Platform", platforms.names()) if interactive else DEFAULT_PLATFORM
    if image is not None:
        image_lock.check_file(platform)
    keys = [read_key(ssh_key)] if ssh_key else own_keys()
    key = keys[0] if ssh_key else _key(keys, interactive=interactive)
    begun = begin(folder, platform, key)
    spec = shlex.quote(str(begun.spec))
    _say(f"{begun.spec} is the spec: what the nodes run. {begun.stack_file} says where.")
    if key:
        _say(f"{key.file} may log in: it is in `ssh_authorized_keys`.")
    elif keys:
        _say("Nobody may log in; `ssh_authorized_keys` in the spec can name public keys.")
    else:
        _say(
            "Nobody may log in: there is no public SSH key in ~/.ssh. `ssh-keygen -t ed25519` makes one; put the line "
            "in ~/.ssh/id_ed25519.pub under `ssh_authorized_keys` in the spec."
        )
    if begun.note:
        _say(begun.note)
    if platform != DEFAULT_PLATFORM:
        _say(f"See that {begun.stack_file} is as you want it; `fleet doctor {spec}` checks this machine for it.")
    commands = [f"preview {spec}", f"up {spec}{'' if interactive else ' --yes'}", f"status {spec}"]
    try:
        source = image_lock.Source(image, base_url)
        written = image_lock.write_lock(begun.spec, source, renew=False, patience=_PATIENCE)
        _say(f"{written.path} locks the image: {written.releases[1]}.")
    except FleetError as error:
        mirror = f" --base-url {shlex.quote(base_url)}" if base_url != os.environ.get("FLEET_STREAM_URL", "") else ""
        mend = image_lock.remedy(error, platform).replace("SPEC", spec)
        _say(f"No image is locked yet. {error.what} {mend}".rstrip())
        commands[0] = f"image lock {spec}{mirror}"
    has_passphrase = any(name in os.environ for name in _PASSPHRASE)
    if not has_passphrase:
        asked = "`fleet up` asks for it, twice at first, unless" if interactive else "Without a terminal to ask for it,"
        _say(
            "A passphrase locks the secrets in the stack's config and state; it may be empty while there are none. "
            f"{asked} {' or '.join(_PASSPHRASE)} says it."
        )
    _say("Then type:")
    if not has_passphrase and not interactive:
        _say(f"  export {_PASSPHRASE[0]}=")
    # As it was called, where a shell would not find it.
    fleet = "fleet" if shutil.which("fleet") else shlex.quote(sys.argv[0])
    for command in commands:
        _say(f"  {fleet} {command}")


def _say(text: str) -> None:
    out.print(text, markup=False)


def _key(keys: Sequence[PublicKey], *, interactive: bool) -> PublicKey | None:
    """The key that is to log in."""
    if not keys:
        return None
    if not interactive:
        if len(keys) > 1:
            _say(f"Of {len(keys)} public keys in ~/.ssh, {keys[0].file.name} is taken; `--ssh-key` names another.")
        return keys[0]
    nobody = "none"
    names = [key.file.name for key in keys]
    chosen = _choose("SSH key of ~/.ssh that may log in", [*names, nobody])
    return None if chosen == nobody else keys[names.index(chosen)]


def _choose(question: str, choices: Sequence[str]) -> str:
    """Ask which one.

    Raises:
        UsageError: Nobody answers.
    """
    from rich.prompt import Prompt

    try:
        return Prompt.ask(question, choices=list(choices), default=choices[0], console=out)
    except EOFError:
        raise UsageError("Nothing was done.") from None
