"""Pulumi's CLI for development: PATH's, or its release, or one built from its Go module.

The release archive brings the Python hosts, ``pulumi-language-python`` and ``pulumi-resource-pulumi-python``. Where it
cannot be downloaded, the CLI is built from the module, which has none: it gets small ones, on the SDK's own servers, so
that plain ``pulumi up`` works with it too. Either way it is the version that ``tools/gomodules/pulumi`` pins.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tarfile
from pathlib import Path, PurePosixPath

import httpx

from tools import cache, go
from tools.steps import tell

MODULE = go.MODULES / "pulumi"
PACKAGE = "github.com/pulumi/pulumi/pkg/v3"
RELEASES = "https://get.pulumi.com/releases/sdk"
"""Where archives are: ``pulumi-v3.1.2-linux-x64.tar.gz``."""
CHECKSUMS = "https://github.com/pulumi/pulumi/releases/download"
"""Where their SHA-256 are, in another's hands than the archives: ``v3.1.2/pulumi-3.1.2-checksums.txt``."""
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
_PATIENCE = 10
"""Seconds for each step of an answer."""


def install(bin_dir: Path) -> Path:
    """Make ``pulumi`` and its Python hosts available in a virtual environment's ``bin``; returns the CLI."""
    cli = shutil.which("pulumi")
    if cli is None or Path(cli).parent == bin_dir:
        cli = str(bin_dir / "pulumi")
        if folder := release():
            for program in folder.iterdir():
                _link(bin_dir / program.name, program)
            return Path(cli)
        _link(bin_dir / "pulumi", built_cli())
    if not shutil.which("pulumi-language-python") or (bin_dir / "pulumi-language-python").exists():
        _script(
            bin_dir / "pulumi-language-python",
            f'PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{cache.ROOT}" '
            f'exec {sys.executable} -m tools.pulumi_hosts.language "$@"',
        )
        _script(bin_dir / "pulumi-resource-pulumi-python", f'exec {sys.executable} -u -m pulumi.dynamic "$@"')
    return Path(cli)


def release() -> Path | None:
    """The folder with the programs of Pulumi's release, in the cache; ``None`` where one is built instead.

    That is where the server cannot be reached, or one has been built already.

    Raises:
        SystemExit: What was downloaded is not what Pulumi has released.
    """
    version = go.pinned_version(MODULE, PACKAGE)
    name = f"pulumi-{version}-{sys.platform}-{_ARCHITECTURES.get(platform.machine(), platform.machine())}.tar.gz"
    home = cache.cache_dir()
    if not (home / "pulumi-release" / name).is_dir():
        if (home / "pulumi" / _build_key()).is_dir():
            return None
        tell(f"downloading {name}")
    try:
        return cache.built("pulumi-release", name, lambda out: _download(version, name, out))
    except httpx.HTTPError as error:
        print(f"Pulumi's release cannot be downloaded: {error or type(error).__name__}.")
        return None


def _download(version: str, name: str, out: Path) -> None:
    """Have a release's programs in a folder.

    Raises:
        httpx.HTTPError: A server cannot be reached, or has no such release.
        SystemExit: The archive's checksum is another one.
    """
    # An archive of 200 MB beside the cache, and not in memory.
    archive = out.with_suffix(".tar.gz")
    digest = hashlib.sha256()
    try:
        with httpx.Client(timeout=_PATIENCE, follow_redirects=True) as client:
            url = f"{CHECKSUMS}/{version}/pulumi-{version.removeprefix('v')}-checksums.txt"
            lines = client.get(url).raise_for_status().text.splitlines()
            expected = {words[1]: words[0] for words in map(str.split, lines) if len(words) == 2}
            with client.stream("GET", f"{RELEASES}/{name}") as answer, archive.open("wb") as file:
                answer.raise_for_status()
                for piece in answer.iter_bytes():
                    digest.update(piece)
                    file.write(piece)
        if digest.hexdigest() != expected.get(name):
            sys.exit(
                f"Error: {RELEASES}/{name} has another SHA-256 than {url} says, so it is not used. Try again later."
            )
        with tarfile.open(archive) as content:
            for member in content:
                # Programs are all there is in it, in a folder `pulumi`; whatever else its names say is not followed.
                if member.isfile() and (program := content.extractfile(member)):
                    path = out / PurePosixPath(member.name).name
                    with path.open("wb") as file:
                        shutil.copyfileobj(program, file)
                    path.chmod(0o755)
    finally:
        archive.unlink(missing_ok=True)


def built_cli() -> Path:
    """The CLI built from the module, in the cache."""
    key = _build_key()
    if not (cache.cache_dir() / "pulumi" / key).is_dir():
        tell("compiling it, since its release cannot be downloaded (about 4 min, once)")
    return cache.built("pulumi", key, _build) / "pulumi"


def _build_key() -> str:
    return cache.key_of(MODULE, Path(go.__file__))


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
