"""Pulumi's CLI for development: PATH's, or one built from its Go module, with stand-ins for what the module lacks.

The module has no ``pulumi-language-python`` and no ``pulumi-resource-pulumi-python``, which the release archives bring.
A CLI that was built gets small ones, on the SDK's own servers, so that plain ``pulumi up`` works with it too.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tools import cache, go

MODULE = go.MODULES / "pulumi"
PACKAGE = "github.com/pulumi/pulumi/pkg/v3"


def install(bin_dir: Path) -> Path:
    """Make ``pulumi`` and its Python hosts available in a virtual environment's ``bin``; returns the CLI."""
    cli = shutil.which("pulumi")
    if cli is None or Path(cli).parent == bin_dir:
        cli = str(bin_dir / "pulumi")
        _link(bin_dir / "pulumi", built_cli())
    if not shutil.which("pulumi-language-python") or (bin_dir / "pulumi-language-python").exists():
        _script(
            bin_dir / "pulumi-language-python",
            f'PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{cache.ROOT}" '
            f'exec {sys.executable} -m tools.pulumi_hosts.language "$@"',
        )
        _script(bin_dir / "pulumi-resource-pulumi-python", f'exec {sys.executable} -u -m pulumi.dynamic "$@"')
    return Path(cli)


def built_cli() -> Path:
    """The CLI built from the module, in the cache."""
    return cache.built("pulumi", cache.key_of(MODULE, Path(go.__file__)), _build) / "pulumi"


def _build(out: Path) -> None:
    go.build(
        MODULE,
        f"{PACKAGE}/cmd/pulumi",
        out / "pulumi",
        # Without its version the Automation API rejects the CLI.
        variables={"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": go.pinned_version(MODULE, PACKAGE)},
        cgo=False,
    )


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _script(path: Path, line: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
