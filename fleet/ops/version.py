"""``fleet --version``: releases of fleet, and of what makes its configs and deploys them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata, resources

from fleet.errors import installed

_NOTICES = "fleet-transpiler.NOTICES.txt"
"""Beside the transpiler: the modules that are linked into it, by path and version (``hatch_build.py``)."""
_LINKED = {"Butane": "github.com/coreos/butane", "Ignition": "github.com/coreos/ignition/v2"}


def text() -> str:
    """What ``fleet --version`` prints.

    Nothing is started for it: the transpiler's notices name what is linked into it.
    """
    own, *others = versions()
    return f"{own}\n{', '.join(others)}\n"


def versions() -> Sequence[str]:
    """Names and versions: fleet's own first. What is not there is left out."""
    own = installed()
    shown = [f"fleet {own.version if own else '(not installed)'}"]
    try:
        shown.append(f"Pulumi SDK {metadata.version('pulumi')}")
    except metadata.PackageNotFoundError:
        shown.append("Pulumi SDK (not installed)")
    try:
        notices = resources.files("fleet").joinpath("config", _NOTICES).read_text(encoding="utf-8")
    except OSError:
        notices = ""
    for name, module in _LINKED.items():
        if found := re.search(rf"^{re.escape(module)} v(\S+): ", notices, re.MULTILINE):
            shown.append(f"{name} {found[1]}")
    return shown
