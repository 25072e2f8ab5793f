"""``fleet new``: the files of a project, copied from ``fleet/templates``, and what makes it one's own.

They are files of the package, and listed by name in ``pyproject.toml``; the stack's file is its platform's. The
repository's own project, ``stacks/``, has the same ones, of which a test takes care: a project that is used holds
states, disks and configs beside them. In a new project the spec besides names its schema, for editors, which is written
beside it, and the SSH key that may log in.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fleet import platforms
from fleet.errors import FleetError, Position, UsageError
from fleet.files import read_text
from fleet.spec.schema import schema_text

SOURCE = resources.files("fleet") / "templates"
FILES = ("Pulumi.yaml", "__main__.py", "fleet.yaml", "base.bu")
SCHEMA_FILE = "fleet.schema.json"
STACK_FILE = "config:\n  fleet:platform: {platform}\n  fleet:spec: fleet.yaml\n"
"""A stack's config file, for a platform that brings none."""
IGNORED = "# What a stack keeps on this machine.\n.fleet/\n.pulumi/\n__pycache__/\n"
_USUAL_KEYS = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")
"""Names under which ssh looks for keys by itself (ssh(1), "-i"), the most recent kinds first."""
_NO_LOGIN = ("-cert-v01@openssh.com",)
"""How the types of what is no key to log in with end: a certificate, which is the key's, signed."""


@dataclass(frozen=True)
class PublicKey:
    """A public SSH key that may log in.

    Attributes:
        file: Where it was read.
        text: Its type, its bytes and its comment, on one line.
    """

    file: Path
    text: str


@dataclass(frozen=True)
class Begun:
    """A project that was written.

    Attributes:
        spec: The spec's path.
        stack: The name of its first stack.
        stack_file: The path of that stack's config.
        note: What the user has to do for the platform; empty if nothing.
    """

    spec: Path
    stack: str
    stack_file: Path
    note: str


def own_keys() -> list[PublicKey]:
    """The public keys in this user's ``~/.ssh``, those that ssh uses by itself first; a broken one is left out."""
    keys = []
    for file in sorted(Path.home().joinpath(".ssh").glob("*.pub"), key=_preference):
        with contextlib.suppress(UsageError):
            keys.append(read_key(file))
    return keys


def _preference(file: Path) -> tuple[int, str]:
    usual = _USUAL_KEYS.index(file.stem) if file.stem in _USUAL_KEYS else len(_USUAL_KEYS)
    return usual, file.name


def read_key(file: Path) -> PublicKey:
    """Read a public key, as ssh-keygen(1) writes them.

    Args:
        file: Its file.

    Raises:
        UsageError: It cannot be read, or is none: a private key, say.
    """
    text = read_text(file, "SSH key").strip()
    if "PRIVATE KEY" in text:
        raise UsageError(
            "This is a private key, which stays on this machine.",
            at=Position.of(file),
            fix=f"Name the public one: {file}.pub, if it was made with it.",
        )
    kind, _, rest = text.partition(" ")
    body, _, comment = rest.partition(" ")
    try:
        content = base64.b64decode(body, validate=True)
    except ValueError:
        content = b""
    # The bytes begin with their length and the key's type (RFC 4253, section 6.6).
    if not kind or kind.endswith(_NO_LOGIN) or content[4 : 4 + len(kind)] != kind.encode() or "\n" in text:
        raise UsageError(
            "This is no public SSH key.",
            at=Position.of(file),
            fix="It is one line, such as `ssh-ed25519 AAAA... me@home`; `ssh-keygen -t ed25519` makes one.",
        )
    # A comment is for people; one that could be read as a placeholder, or breaks the line, is left out.
    shown = f" {comment.strip()}" if re.fullmatch(r"[\w.@+:/() -]+", comment.strip()) else ""
    return PublicKey(file, f"{kind} {body}{shown}")


def begin(folder: Path, platform: str, key: PublicKey | None = None) -> Begun:
    """Write a project.

    Args:
        folder: Where; made if need be. Its name is the project's and the fleet's.
        platform: The platform of its first stack.
        key: Who may log in to its nodes; nobody by default.

    Raises:
        UsageError: The name is none for a project, there is no such platform, or the folder has such files already.
        FleetError: The files cannot be written.
    """
    check_name(folder)
    name = folder.resolve().name
    kind = platforms.platform_class(platform)
    stack, template = kind.first_stack or platform, kind.stack_file()
    stack_file, note = f"Pulumi.{stack}.yaml", ""
    if not template:
        template = STACK_FILE.format(platform=platform)
        note = (
            f"The platform {platform} brings no stack file to begin with. Set its options under `fleet:{platform}` in "
            f"{folder / stack_file}: {', '.join(kind.options_model.model_fields) or 'it has none'}."
        )
    texts = {file: (SOURCE / file).read_text(encoding="utf-8") for file in FILES}
    for file in ("Pulumi.yaml", "fleet.yaml"):
        texts[file] = re.sub("^name: .*", f"name: {name}", texts[file], count=1, flags=re.MULTILINE)
    login = f"ssh_authorized_keys:\n  - {json.dumps(key.text, ensure_ascii=False)}\n" if key else ""
    texts["fleet.yaml"] = f"# yaml-language-server: $schema={SCHEMA_FILE}\n" + re.sub(
        "^(?=groups:)", lambda _: login, texts["fleet.yaml"], count=1, flags=re.MULTILINE
    )
    texts |= {SCHEMA_FILE: schema_text(), stack_file: template, ".gitignore": IGNORED}
    for file in texts:
        if (folder / file).exists():
            raise UsageError(f"{folder / file} is there already; nothing was written.", fix="Take another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        # None of them was there before.
        for file in texts:
            with contextlib.suppress(OSError):
                (folder / file).unlink()
        raise FleetError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return Begun(folder / "fleet.yaml", stack, folder / stack_file, note)


def check_name(folder: Path) -> None:
    """Refuse a folder whose name cannot be a fleet's.

    Raises:
        UsageError: It cannot.
    """
    name = folder.resolve().name
    if not re.fullmatch("[a-z][a-z0-9-]*", name):
        raise UsageError(
            f"A fleet cannot be called {name!r}.", fix="Name the folder with lower-case letters, digits and hyphens."
        )
