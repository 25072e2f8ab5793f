"""What `fleet doctor` looks at on this machine, in the words that all platforms share.

A check changes nothing, tells no secret, and may take its time: whoever runs it ends it after a while.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

LIMIT = 10.0
"""Seconds that a check, and each program or server that it asks, may take."""


@dataclass(frozen=True)
class Verdict:
    """What a check saw.

    Attributes:
        works: Whether it works; ``None``: it may, or could be better.
        text: What was seen, or what to do.
    """

    works: bool | None
    text: str


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        subject: What, in a few words.
        look: Looks at it.
    """

    subject: str
    look: Callable[[], Verdict]


def package(apt: str, dnf: str) -> str:
    """How to install a package of this system.

    Args:
        apt: Its name in Debian.
        dnf: Its name in Fedora.
    """
    if shutil.which("apt-get"):
        return f"sudo apt-get install {apt}"
    return f"sudo dnf install {dnf}" if shutil.which("dnf") else f"install the package {apt} (its name in Debian)"


def command(name: str, apt: str, dnf: str) -> Check:
    """Whether a command is on PATH.

    Args:
        name: The command.
        apt: The package that has it in Debian.
        dnf: The package that has it in Fedora.
    """

    def look() -> Verdict:
        where = shutil.which(name)
        return Verdict(bool(where), where or package(apt, dnf))

    return Check(name, look)


def sdk(module: str, extra: str) -> Check:
    """Whether a provider's SDK is installed.

    Args:
        module: Its Python module.
        extra: The extra of fleet's package that brings it.
    """
    name = module.replace("_", "-")

    def look() -> Verdict:
        if importlib.util.find_spec(module) is None:
            return Verdict(False, f"{name} is not installed: pip install 'fcos-fleet[{extra}]'")
        return Verdict(True, f"{name} {metadata.version(name)}")

    return Check("SDK", look)


def plugin(name: str, module: str) -> Check:
    """Whether the provider's plugin is there, which Pulumi itself keeps in ``~/.pulumi/plugins``.

    Args:
        name: The provider's name.
        module: The SDK's module, whose version is the plugin's.
    """
    folder = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi") / "plugins"

    def look() -> Verdict:
        if own := shutil.which(f"pulumi-resource-{name}"):
            return Verdict(True, own)
        there = sorted(
            found[1] for each in folder.glob(f"resource-{name}-v*")
            if (found := re.fullmatch(rf"resource-{re.escape(name)}-v(\d.*)", each.name)) and each.is_dir()
        )  # fmt: skip
        try:
            wanted = metadata.version(module.replace("_", "-"))
        except metadata.PackageNotFoundError:
            wanted = ""
        if wanted in there:
            return Verdict(True, f"{name} {wanted}")
        others = f" ({', '.join(there)} is there)" if there else ""
        which = f"{name} {wanted}".strip()
        how = f"the first update downloads it: `pulumi plugin install resource {which}`"
        return Verdict(None, f"{which} is not installed{others}; {how}")

    return Check("provider plugin", look)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program that only looks, in the system's own language of messages.

    Args:
        words: The program and its arguments; no secret is among them.

    Raises:
        TimeoutError: It takes too long.
    """
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{words[0]} did not end within {LIMIT:g} s") from None
