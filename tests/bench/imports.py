"""What a program that declares nodes on a platform imports, next to all of the largest SDK."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.cost import cost

# Modules are lazy: one is loaded when something of it is asked for.
WHOLE = (
    "import importlib, pkgutil, pulumi_aws\n"
    "for found in pkgutil.iter_modules(pulumi_aws.__path__, 'pulumi_aws.'):\n"
    "    if found.ispkg and not found.name.endswith('.config'):\n"
    "        getattr(importlib.import_module(found.name), 'x', None)"
)
PROGRAMS = {
    "pulumi_aws with all its modules": WHOLE,
    "a stack on AWS": "import fleet.program.deploy; from fleet.platforms.aws.site import aws; "
    "aws.ec2.Instance, aws.ebs.Volume, aws.s3.BucketObjectv2, aws.route53.Record",
    "a stack on libvirt": "import fleet.program.deploy; "
    "from fleet.platforms.libvirt.site import libvirt; libvirt.Domain",
    "a stack on qemu": "import fleet.program.deploy, fleet.platforms.qemu.site",
}


def main(scratch: Path) -> None:
    """Print the table."""
    print(f"\n{'imports':58}{'seconds':>9}{'ratio':>8}{'MiB':>8}{'ratio':>8}")
    first = None
    for what, code in PROGRAMS.items():
        measured = cost(scratch, sys.executable, "-c", code)
        first = first or measured
        print(
            f"{what:58}{measured.seconds:9.2f}{measured.seconds / first.seconds:8.3f}"
            f"{measured.mib:8.0f}{measured.mib / first.mib:8.3f}"
        )
