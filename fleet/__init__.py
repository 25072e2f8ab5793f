"""fleet: immutable Fedora CoreOS machines, declared as Butane snippets and containers, deployed by Pulumi.

The layers, each knowing only those before it:

- :mod:`fleet.config`, :mod:`fleet.workloads`, :mod:`fleet.images`: pure; no Pulumi.
- :mod:`fleet.platforms`: one module that turns a node into a provider's resources.
- :mod:`fleet.components`: Node, DataDisk, Ready and what is made of them.
- :mod:`fleet.spec`: the declarative YAML.
- :mod:`fleet.cli`: the ``fleet`` command.

Importing ``fleet`` imports none of them, and no cloud SDK.
"""

from fleet.errors import FleetError

__all__ = ["FleetError"]
