"""``python -m tools.container FOLDER``: have the programs of Pulumi's release that Python needs in a folder.

A step of ``Containerfile``. Of the hosts for other languages, which are most of the release, fleet uses none.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tools.pulumi_hosts import release


def main(folder: str) -> None:
    """Copy them."""
    programs = release()
    if not programs:
        sys.exit("Error: the image cannot be built without Pulumi's release. See that get.pulumi.com is reached.")
    Path(folder).mkdir(parents=True)
    for program in programs.iterdir():
        if program.name == "pulumi" or "python" in program.name:
            shutil.copy2(program, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
