"""fleet: immutable Fedora CoreOS machines, declared as Butane snippets and containers, deployed by Pulumi.

The layers, each knowing only those before it:

- errors, files, masking, documents and what else is no part of the field: the modules beside this one.
- :mod:`fleet.plan`: the plan's words.
- :mod:`fleet.diagnosis`, :mod:`fleet.phases`: why a node is not ready, and where it is.
- :mod:`fleet.config`, :mod:`fleet.probes`: Ignition configs; asking whether a node is ready.
- :mod:`fleet.workloads`, :mod:`fleet.images`, :mod:`fleet.library`: containers, the operating system, ready snippets.
- :mod:`fleet.spec`: the declarative spec, its schema and its loader.
- :mod:`fleet.planner`: from the spec to the plan. No Pulumi up to here.
- :mod:`fleet.dynamic`: fleet's own Pulumi resources.
- :mod:`fleet.platforms`: each turns a node into one provider's resources.
- :mod:`fleet.components`: Node, DataDisk, NodeGroup, Fleet.
- :mod:`fleet.program`: the Pulumi program of a stack.
- :mod:`fleet.ops`: what commands do.
- :mod:`fleet.view`: the web page of ``fleet view``.
- :mod:`fleet.cli`: the ``fleet`` command.

Importing ``fleet`` imports none of them, and no cloud SDK: each name of the public API is looked up when it is first
used. What a program needs is here; other modules may change from release to release.
"""

from __future__ import annotations

import importlib

from fleet._moved import install

TYPE_CHECKING = False  # type checkers take it for true, as typing's, which takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Any

    from fleet.errors import FleetError, FleetWarning, UsageError
    from fleet.plan import DrainPlan, Probe, Rollout
    from fleet.platforms.aws.options import Options as AwsOptions
    from fleet.platforms.digitalocean.options import Options as DigitalOceanOptions
    from fleet.platforms.gcp.options import Options as GcpOptions
    from fleet.platforms.libvirt.options import Options as LibvirtOptions
    from fleet.platforms.options import PlatformOptions
    from fleet.platforms.qemu.options import Options as QemuOptions
    from fleet.program.component import Fleet, FleetNode
    from fleet.spec.model import (
        ComposeRef,
        FleetSpec,
        Generate,
        Group,
        GroupPort,
        Image,
        NodeOverride,
        NodeReport,
        PrivateNetwork,
        SecretSource,
        SnippetRef,
        Variable,
    )
    from fleet.workloads import DataDisk
    from fleet.workloads.container import Container
    from fleet.workloads.fields import Port
    from fleet.workloads.resources import Network, Pod, Volume

install()

_HOMES = {
    "fleet.errors": ("FleetError", "FleetWarning", "UsageError"),
    "fleet.plan": ("DrainPlan", "Probe", "Rollout"),
    "fleet.platforms.options": ("PlatformOptions",),
    "fleet.program.component": ("Fleet", "FleetNode"),
    "fleet.spec.model": (
        "ComposeRef",
        "FleetSpec",
        "Generate",
        "Group",
        "GroupPort",
        "Image",
        "NodeOverride",
        "NodeReport",
        "PrivateNetwork",
        "SecretSource",
        "SnippetRef",
        "Variable",
    ),
    "fleet.workloads": ("DataDisk",),
    "fleet.workloads.container": ("Container",),
    "fleet.workloads.fields": ("Port",),
    "fleet.workloads.resources": ("Network", "Pod", "Volume"),
}
"""Where the names of the public API are, beside the platforms' options."""
_OPTIONS = {
    "AwsOptions": "fleet.platforms.aws.options",
    "DigitalOceanOptions": "fleet.platforms.digitalocean.options",
    "GcpOptions": "fleet.platforms.gcp.options",
    "LibvirtOptions": "fleet.platforms.libvirt.options",
    "QemuOptions": "fleet.platforms.qemu.options",
}
"""The module that has a platform's options, by their name here."""

__all__ = [
    "AwsOptions",
    "ComposeRef",
    "Container",
    "DataDisk",
    "DigitalOceanOptions",
    "DrainPlan",
    "Fleet",
    "FleetError",
    "FleetNode",
    "FleetSpec",
    "FleetWarning",
    "GcpOptions",
    "Generate",
    "Group",
    "GroupPort",
    "Image",
    "LibvirtOptions",
    "Network",
    "NodeOverride",
    "NodeReport",
    "PlatformOptions",
    "Pod",
    "Port",
    "PrivateNetwork",
    "Probe",
    "QemuOptions",
    "Rollout",
    "SecretSource",
    "SnippetRef",
    "UsageError",
    "Variable",
    "Volume",
]


if not TYPE_CHECKING:
    # A type checker that knew of it would take any name.
    def __getattr__(name: str) -> Any:
        module = _OPTIONS.get(name) or next((home for home, names in _HOMES.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module), "Options" if name in _OPTIONS else name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
