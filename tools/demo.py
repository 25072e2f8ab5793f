"""``make demo``: the stack in ``stacks/`` under QEMU, from nothing to an answering page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from fleet import images, platforms
from fleet.errors import FleetError
from fleet.spec import load_image
from tools import cache, packages

SPEC = cache.ROOT / "stacks" / "fleet.yaml"
URL = "http://127.0.0.1:8080/"
FLEET = Path(sys.executable).with_name("fleet")


def main() -> None:
    # The demo has no secrets, so an empty passphrase will do.
    os.environ.setdefault("PULUMI_CONFIG_PASSPHRASE", "")
    os.chdir(cache.ROOT)
    try:
        _lock_image()
        result = subprocess.run([FLEET, "up", SPEC.relative_to(cache.ROOT), "--stack", "local", "--yes"])
        if result.returncode:
            sys.exit(result.returncode)
        page = httpx.get(URL, trust_env=False).text
        diary = httpx.get(f"{URL}provisioned.txt", trust_env=False).text
    except (FleetError, httpx.HTTPError) as error:
        sys.exit(f"Error: {error}")
    print(_NEXT.format(url=URL, page=page, count=len(diary.splitlines()), passphrase=_passphrase_hint()))


def _lock_image() -> None:
    """Lock Fedora CoreOS's current release; where its server cannot be reached, the stand-in machine image."""
    _, path = load_image(SPEC)
    if path.exists() and all(
        disk.remote or Path(disk.location).exists()
        for image in images.read_lock(path).architectures.values()
        for disk in image.disks.values()
    ):
        return
    try:
        lock = images.lock_stream("stable", platforms.artifacts(), timeout=10)
        print("Locked Fedora CoreOS", lock.image("x86_64").release)
    except FleetError as error:
        print(error.what)
        print("So the demo builds a stand-in: Debian packages and the real Ignition, booting as Fedora CoreOS does.")
        print("That takes some minutes, once.", flush=True)
        packages.ensure("image")
        from tools.machine_image import IGNITION_SPEC, machine_image

        lock = images.lock_file(machine_image(), "x86_64", ignition_spec=IGNITION_SPEC)
    images.write_lock(path, lock)


def _passphrase_hint() -> str:
    return (
        "export PULUMI_CONFIG_PASSPHRASE=   # empty: this stack has no secrets\n  "
        if not os.environ["PULUMI_CONFIG_PASSPHRASE"]
        else ""
    )


_NEXT = """
{url} answers: {page}
{url}provisioned.txt is on the data disk and has {count} line(s), one for each time that the node was provisioned.

Change it: edit GREETING in stacks/fleet.yaml, then
  {passphrase}.venv/bin/fleet preview stacks/fleet.yaml --stack local
  .venv/bin/fleet up stacks/fleet.yaml --stack local
The node is stopped and a new one is started from a fresh image with the new config; its data disk stays.
The same with Pulumi alone: (cd stacks && PATH=$PWD/../.venv/bin:$PATH pulumi up --stack local)

Remove it, but not its data:
  .venv/bin/fleet destroy stacks/fleet.yaml --stack local"""

main()
