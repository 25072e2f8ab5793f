"""``fleet image``: the operating system's image, and the containers'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.app import Folded
from fleet.cli.options import Base, ConfigOf, PlatformOf, Spec
from fleet.cli.terminal import Terminal, out

image = typer.Typer(
    cls=Folded,
    help="The operating system's image, its release and download; digests of containers' images.",
    no_args_is_help=True,
    add_completion=False,
)

File = Annotated[
    Path | None,
    typer.Option("--file", help="A disk image of your own instead of a stream.", show_default=False, readable=False),
]
KeysOf = Annotated[
    Path | None,
    typer.Option(
        "--keys", help="OpenPGP public keys that sign images, in place of Fedora's.", show_default=False, readable=False
    ),
]
Unsigned = Annotated[
    bool | None,
    typer.Option("--unsigned/--signed", help="Use images without a signature: checksums alone.", show_default=False),
]


@image.command("lock")
def image_lock(
    spec: Spec,
    file: File = None,
    base_url: Base = "",
    keys: KeysOf = None,
    unsigned: Unsigned = None,
) -> None:
    """Write the image lock, unless there is one. A program's folder will do, for fleets that no file describes."""
    _write_lock(spec, file, base_url, keys, unsigned, renew=False)


@image.command("update")
def image_update(
    spec: Spec,
    file: File = None,
    base_url: Base = "",
    keys: KeysOf = None,
    unsigned: Unsigned = None,
) -> None:
    """Lock the stream's current release. Nodes take it when next re-provisioned, or with `fleet up --new-image`.

    Whose signatures count stays as the lock has it.
    """
    _write_lock(spec, file, base_url, keys, unsigned, renew=True)


@image.command("pin")
def image_pin(
    spec: Spec,
    platform: PlatformOf = None,
    stack: ConfigOf = None,
    update: Annotated[bool, typer.Option("--update", help="Renew the digests that are locked already, too.")] = False,
) -> None:
    """Lock the digest of every image that containers name by a tag, so that it never moves by itself."""
    from fleet.ops import image_lock

    path, before, pins = image_lock.pin(spec, platform=platform, stack=stack, update=update)
    for tag in sorted(pins.keys() | before.keys()):
        if (now := pins.get(tag)) != before.get(tag):
            out.print(f"{tag}  {now or 'not used any more'}")
    out.print(f"{path}: {len(pins)} container images locked.")


@image.command("download")
def image_download(spec: Spec) -> None:
    """Download the locked disk image for qemu, check it, and print its path."""
    from fleet.ops import image_lock

    print(image_lock.download(spec, Terminal()))


def _write_lock(
    spec: Path, file: Path | None, base_url: str, keys: Path | None, unsigned: bool | None, *, renew: bool
) -> None:
    from fleet.ops import image_lock

    written = image_lock.write_lock(spec, image_lock.Source(file, base_url, keys, unsigned), renew=renew)
    path, lock = written.path, written.lock
    before, now = written.releases
    if written.before == lock:
        out.print(f"{path}: nothing newer than {now}.")
        return
    trust = "; used without a signature" if lock.unsigned else "; signed by keys of your own" if lock.keys else ""
    out.print(f"{path}: {f'{before} → ' if before else ''}{now} ({lock.stream}{trust}).")
