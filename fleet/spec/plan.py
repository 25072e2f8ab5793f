"""From a spec to the plan of every node. Pure: no Pulumi, no network, the same plan for the same input.

What the nodes of a group share (snippets, containers, data disks, SSH keys) is loaded once and merged last, so the
transpiler merges it once for the whole group; only a node's own part, its name, comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.config import NEWEST_SPEC, Snippet, compose_all
from fleet.config.ignition import file
from fleet.errors import UsageError
from fleet.images import ImageLock
from fleet.platforms.base import SSH_PORT, DiskPlan, NodePlan, Platform, PortPlan
from fleet.spec.loader import LoadedSpec
from fleet.spec.model import FleetSpec, Group
from fleet.workloads import data_disk_snippet, workload_snippet


@dataclass(frozen=True)
class FleetPlan:
    """All nodes of a fleet.

    Attributes:
        name: The fleet's name.
        groups: The nodes of each group, ascending, by the group's name in the spec's order.
    """

    name: str
    groups: Mapping[str, tuple[NodePlan, ...]]

    @property
    def nodes(self) -> Iterator[NodePlan]:
        """All nodes, in order."""
        for nodes in self.groups.values():
            yield from nodes


def plan_fleet(
    spec: LoadedSpec, platform: Platform, lock: ImageLock | None, secrets: Mapping[str, str], *, node: str | None = None
) -> FleetPlan:
    """Plan a spec's nodes for a platform.

    Args:
        spec: The spec.
        platform: Where the nodes are to run.
        lock: The image lock; without one, nodes can be rendered but not made.
        secrets: Values by name.
        node: Plan only this node, where one is all that is wanted.

    Raises:
        UsageError: There is no such node.
        FleetError: A snippet, a conflict, or a probe of a port that cannot be reached. What the platform cannot do is
            for :meth:`~fleet.platforms.base.Platform.check` to say.
    """
    names = [f"{name}-{index}" for name, group in spec.fleet.groups.items() for index in range(group.count)]
    if node is not None and node not in names:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise UsageError(f"There is no node {node} in {spec.fleet.name}.", fix=f"The nodes are: {shown or 'none'}.")
    image = lock.image(platform.architecture) if lock else None
    max_spec = image.ignition_spec if image else NEWEST_SPEC
    groups: dict[str, tuple[NodePlan, ...]] = {}
    for name, group in spec.fleet.groups.items():
        _check_probes(spec, name, group)
        shared = _shared(spec, name, group, platform, secrets)
        secret = bool(group.secrets)
        ports = tuple(sorted({PortPlan(SSH_PORT), *group.reachable}))
        disks = tuple(DiskPlan(disk, what.size_gib) for disk, what in sorted(group.data_disks.items()))
        wanted = [index for index in range(group.count) if node in (None, f"{name}-{index}")]
        configs = compose_all([[_identity(f"{name}-{index}"), *shared] for index in wanted], max_spec=max_spec)
        groups[name] = tuple(
            NodePlan(
                name=f"{name}-{index}",
                group=name,
                index=index,
                config=config,
                secret=secret,
                image=image,
                disks=disks,
                ports=ports,
                probes=tuple(group.ready),
                ready_timeout=group.ready_timeout,
            )
            for index, config in zip(wanted, configs, strict=True)
        )
    return FleetPlan(name=spec.fleet.name, groups=groups)


def lock_path(spec: LoadedSpec) -> Path:
    """Where the spec's image lock is."""
    return spec.folder / spec.fleet.image.lock


def _check_probes(spec: LoadedSpec, name: str, group: Group) -> None:
    reachable = {port.number for port in group.reachable if port.protocol == "tcp"} | {SSH_PORT}
    for index, probe in enumerate(group.ready):
        if probe.port is not None and probe.port not in reachable:
            raise UsageError(
                f"The probe asks port {probe.port}, which nodes of {name} do not offer to the outside.",
                at=spec.at("groups", name, "ready", index),
                fix=f"Publish it from a container, or add `ports: [{probe.port}]` to the group.",
            )


def _identity(name: str) -> Snippet:
    config = {
        "ignition": {"version": "3.0.0"},
        "storage": {"files": [file("/etc/hostname", f"{name}\n", mode=0o644, overwrite=True)]},
    }
    return Snippet.from_ignition(f"hostname of {name}", config)


def _shared(spec: LoadedSpec, name: str, group: Group, platform: Platform, secrets: Mapping[str, str]) -> list[Snippet]:
    snippets = [_access(spec.fleet)] if spec.fleet.ssh_authorized_keys else []
    for disk, what in sorted(group.data_disks.items()):
        snippets.append(data_disk_snippet(disk, what, platform.device(disk)))
    # The group is its workload; one with nothing in it makes an empty snippet.
    snippets.append(workload_snippet(group, secrets=secrets, folder=spec.folder, name=f"containers of {name}"))
    # The user's own come last, so that one declared an override can replace anything that fleet wrote.
    for index, ref in enumerate(group.snippets):
        path = spec.folder / ref.path
        if not path.exists():
            raise UsageError(f"There is no snippet {path}.", at=spec.at("groups", name, "snippets", index))
        snippets.append(Snippet.from_file(path, override=ref.override, allow_warnings=ref.allow_warnings))
    return snippets


def _access(fleet: FleetSpec) -> Snippet:
    users = [{"name": "core", "sshAuthorizedKeys": fleet.ssh_authorized_keys}]
    return Snippet.from_ignition(
        "ssh_authorized_keys of the spec", {"ignition": {"version": "3.0.0"}, "passwd": {"users": users}}
    )
