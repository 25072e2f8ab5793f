"""``python -m tools.demo_image SPEC``: lock what the demo's nodes run, as a step of :mod:`tools.demo`.

That is Fedora CoreOS's current release, or, where its server cannot be reached, the stand-in machine image.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fleet import images, platforms
from fleet.errors import FleetError
from fleet.spec import load_image
from tools import packages
from tools.steps import tell


def main(spec: Path) -> None:
    _, path = load_image(spec)
    if path.exists() and all(
        disk.remote or Path(disk.location).exists()
        for image in images.read_lock(path).architectures.values()
        for disk in image.disks.values()
    ):
        tell(f"as {path.name} has it")
        return
    try:
        lock = images.lock_stream("stable", platforms.artifacts(), timeout=10)
        tell(lock.image("x86_64").release)
    except FleetError as error:
        print(error.what)
        tell("its server cannot be reached, so a stand-in of Debian packages is built (some minutes, once)")
        packages.ensure("image")
        from tools.machine_image import IGNITION_SPEC, machine_image

        lock = images.lock_file(machine_image(), "x86_64", ignition_spec=IGNITION_SPEC)
    images.write_lock(path, lock)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FleetError as error:
        sys.exit(f"Error: {error}")
