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

Importing ``fleet`` imports none of them, and no cloud SDK.
"""

from fleet._moved import install
from fleet.errors import FleetError

install()

__all__ = ["FleetError"]
