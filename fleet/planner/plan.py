"""From a spec to the plan of every node. Pure: no Pulumi, no network, the same plan for the same input.

What the nodes of a group share (snippets, containers, data disks, SSH keys) is loaded once and merged last, so the
transpiler merges it once for the whole group; only a node's own part, its name, comes first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

from fleet.config import NEWEST_SPEC, Snippet, compose_all, deliver
from fleet.config.difference import file_texts
from fleet.config.ignition import file
from fleet.errors import FleetError, UsageError
from fleet.images import ImageLock, read_lock
from fleet.library import LibrarySnippet, MetadataGuard, NodeName, StaticNetwork
from fleet.plan import SSH_PORT, DiskPlan, FleetPlan, GroupPlan, MachineConfig, NodePlan, PlanningPlatform, PortPlan
from fleet.planner.network import hosts_snippet, interface_snippet, planned_address
from fleet.spec.loader import LoadedSpec, SpecFile
from fleet.spec.model import AnySnippet, FleetSpec, Group
from fleet.spec.python import SpecConfig
from fleet.spec.values import Resolver, Values, concealed
from fleet.workloads import data_disk_snippet, workload_snippet

_FIRST_UNPRIVILEGED_PORT = 1024


def plan_spec(
    path: Path,
    resolver: Resolver,
    platform: PlanningPlatform,
    *,
    need_lock: bool,
    node: str | None = None,
    new_image: bool = False,
    check: bool = True,
) -> FleetPlan:
    """Plan the nodes of a spec, with their secrets, and with what may be shown of them.

    It is planned twice: with masked secrets, for what may be shown and for errors, and with real ones.

    Args:
        path: The spec's file.
        resolver: Where its values come from.
        platform: Where the nodes are to run.
        need_lock: Whether the image lock has to be there.
        node: Plan only this node.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
        check: Whether the platform has to be able to make them; configs are the same without.

    Raises:
        FleetError: Anything is wrong with the spec, or the platform cannot do it; never holds a secret's value.
    """
    file = SpecFile(path, SpecConfig(platform.name, resolver.config))

    def planned(values: Values) -> FleetPlan:
        spec = file.load(values)
        lock = read_lock(spec.lock_path) if need_lock or spec.lock_path.exists() else None
        plan = plan_fleet(spec, platform, lock, node=node, new_image=new_image)
        if check:
            platform.check(plan)
        return plan

    masked: FleetPlan | None = None
    failure: FleetError | None = None
    try:
        masked = planned(file.values(replace(resolver, reveal=False)))
    except FleetError as error:
        # What stands for a secret may not be valid where the secret itself is.
        failure = error
    if not resolver.reveal or not file.secret:
        if masked is None:
            assert failure is not None
            raise failure
        return masked
    values = file.values(resolver)
    try:
        # What cannot be had is masked, and no secret.
        with concealed({name: value for name, value in values.secrets.items() if name not in values.unread}):
            real = planned(values)
            for name, reason in values.unread.items():
                other = file.values(replace(resolver, masks={name: f"(no secret {name})"}))
                real = _unread(real, planned(other), reason)
    except FleetError as error:
        # What is wrong with a mask is nothing to mend: the secret that it stands for is missing.
        absent = [reason for name, reason in values.unread.items() if f"(secret {name})" in str(failure or error)]
        raise (absent[0] if absent else failure or error) from None
    return _shown_as(real, masked, platform)


def _unread(plan: FleetPlan, other: FleetPlan, reason: FleetError) -> FleetPlan:
    """A plan that says which of its nodes have a secret that could not be read: those that are different in a plan with
    another mask.
    """
    masked = {node.name: node for node in other.nodes}

    def mark(node: NodePlan) -> NodePlan:
        # A secret that a node may have is no sign that it has it.
        other = replace(masked[node.name], hidden=node.hidden, unread=node.unread, unasked=node.unasked)
        if node == other:
            return node
        unasked = node.unasked if node.probes == other.probes else (*node.unasked, reason)
        return replace(node, unread=(*node.unread, reason), unasked=unasked)

    return plan.with_nodes(mark)


def _shown_as(real: FleetPlan, masked: FleetPlan | None, platform: PlanningPlatform) -> FleetPlan:
    """A plan whose nodes are secret where the masked plan of them is another."""
    shown = {node.name: node.config.ignition for node in masked.nodes} if masked else {}

    def mark(node: NodePlan) -> NodePlan:
        text = shown.get(node.name, "{}")
        if text == node.config.ignition:
            return replace(node, shown=text, secret=False)
        delivery = node.delivery
        if delivery.object:
            delivery = deliver(node.config, platform.limits, node=node.name, shown=text)
        return replace(node, shown=text, secret=True, delivery=delivery)

    return real.with_nodes(mark)


def plan_fleet(
    spec: LoadedSpec,
    platform: PlanningPlatform,
    lock: ImageLock | None,
    *,
    node: str | None = None,
    new_image: bool = False,
) -> FleetPlan:
    """Plan a loaded spec's nodes for a platform.

    Args:
        spec: The spec.
        platform: Where the nodes are to run.
        lock: The image lock; without one, nodes can be rendered but not made.
        node: Plan only this node, where one is all that is wanted.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.

    Raises:
        UsageError: There is no such node, or the spec forbids what ``new_image`` asks for.
        FleetError: A snippet, a conflict, or a probe of a port that cannot be reached. What the platform cannot do is
            for :meth:`~fleet.plan.PlanningPlatform.check` to say.
    """
    names = [f"{name}-{index}" for name, group in spec.fleet.groups.items() for index in range(group.count)]
    if node is not None and node not in names:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise UsageError(f"There is no node {node} in {spec.fleet.name}.", fix=f"The nodes are: {shown or 'none'}.")
    policy = spec.fleet.image.reprovision
    if new_image and policy == "never":
        raise UsageError(
            "The spec says that a new image never re-provisions nodes by itself.",
            at=spec.at("image", "reprovision"),
            fix="Say `on-request`, or leave it out.",
        )
    image = lock.image(platform.architecture) if lock else None
    max_spec = image.ignition_spec if image else NEWEST_SPEC
    groups: dict[str, GroupPlan] = {}
    ahead: tuple[tuple[str, tuple[PortPlan, ...]], ...] = ()
    for name, group in spec.fleet.groups.items():
        _check_probes(spec, name, group)
        shared = _shared(spec, name, _pinned(spec, name, group, lock), platform)
        ssh = PortPlan(SSH_PORT, sources=tuple(spec.fleet.ssh_from))
        ports = tuple(sorted({ssh, *group.reachable}))
        wanted = [index for index in range(group.count) if node in (None, f"{name}-{index}")]
        configs = compose_all(
            [_merged(spec, name, NodeName(f"{name}-{index}", index), shared, platform) for index in wanted],
            max_spec=max_spec,
        )
        for config in configs:
            _check_rootless_ports(spec, name, group, config)
            _check_disk_owners(spec, name, group, config)
        surge = _surges(spec, name, group, platform)
        nodes = tuple(
            NodePlan(
                name=f"{name}-{index}",
                group=name,
                index=index,
                config=config,
                delivery=deliver(config, platform.limits, node=f"{name}-{index}"),
                shown=config.ignition,
                secret=False,
                image=image,
                disks=_disks(group, index),
                ports=ports,
                probes=tuple(group.ready),
                hidden=spec.values.hidden(group.secrets),
                ready_timeout=group.ready_timeout,
                surge=surge,
                drain=group.drain,
                private=_private(spec.fleet, name, index, platform),
                follow_image=new_image or policy == "always",
                size=group.size,
                ahead=ahead,
                fleet=spec.fleet.name,
                network=spec.fleet.network.cidr if spec.fleet.network else None,
            )
            for index, config in zip(wanted, configs, strict=True)
        )
        ahead += ((name, ports if group.count else ()),)
        groups[name] = GroupPlan(
            name=name,
            nodes=nodes,
            count=group.count,
            rollout=group.rollout,
            after=tuple(group.after),
            names=tuple(group.names),
        )
    return FleetPlan(spec.fleet.name, groups, spec.fleet.network.cidr if spec.fleet.network else None)


def _pinned(spec: LoadedSpec, name: str, group: Group, lock: ImageLock | None) -> Group:
    """The group with the digests of the lock, if it has any; then it must have all."""
    if lock is None or not lock.containers:
        return group
    for where, reference in group.tags.items():
        if reference not in lock.containers:
            raise FleetError(
                f"The image lock has digests of containers' images, but none of {reference}.",
                at=spec.at("groups", name, *where, "image"),
                fix="Add it with `fleet image pin SPEC`.",
            )
    return group.pinned(lock.containers)


def _disks(group: Group, index: int) -> tuple[DiskPlan, ...]:
    taken = group.nodes[index].data_disks if index in group.nodes else {}
    return tuple(
        DiskPlan(name, disk.size_gib, disk.snapshot, taken.get(name, ""))
        for name, disk in sorted(group.data_disks.items())
    )


def _private(fleet: FleetSpec, group: str, index: int, platform: PlanningPlatform) -> IPv4Interface | None:
    return planned_address(fleet, group, index, platform) or platform.private(group, index)


def _surges(spec: LoadedSpec, name: str, group: Group, platform: PlanningPlatform) -> bool:
    """Whether new machines of a group are made before the old ones go."""
    fixed = spec.fleet.network is not None or any(isinstance(ref, StaticNetwork) for ref in group.snippets)
    reason = platform.cannot_surge(addressed=fixed)
    if not reason and group.data_disks:
        reason = "a data disk is attached to one machine at a time"
    if group.rollout.strategy == "surge" and reason:
        raise UsageError(
            f"The group {name} cannot surge: {reason}.",
            at=spec.at("groups", name, "rollout", "strategy"),
            fix="Take `recreate`.",
        )
    return not reason and group.rollout.strategy != "recreate"


def _check_probes(spec: LoadedSpec, name: str, group: Group) -> None:
    reachable = {port.number for port in group.reachable if port.protocol == "tcp"} | {SSH_PORT}
    for index, probe in enumerate(group.ready):
        if probe.port is not None and probe.port not in reachable:
            raise UsageError(
                f"The probe asks port {probe.port}, which nodes of {name} do not offer to the outside.",
                at=spec.at("groups", name, "ready", index),
                fix=f"Publish it from a container, or add `ports: [{probe.port}]` to the group.",
            )


def _check_rootless_ports(spec: LoadedSpec, name: str, group: Group, config: MachineConfig) -> None:
    """Refuse ports that a rootless Podman cannot have (ip_unprivileged_port_start, in the kernel's ip-sysctl)."""
    low = _FIRST_UNPRIVILEGED_PORT
    for kind, things in (("containers", group.containers), ("pods", group.pods)):
        for thing, what in things.items():
            ports = [port.node for port in what.ports if what.run_as and port.node < low]
            if not ports:
                continue
            for text in file_texts(config.tree, "/etc/sysctl.d/"):
                for value in re.findall(r"^\s*-?net[./]ipv4[./]ip_unprivileged_port_start\s*=\s*([0-9]+)", text, re.M):
                    low = int(value)
            if min(ports) < low:
                raise UsageError(
                    f"{thing} publishes port {min(ports)} of the node, but {what.run_as}'s rootless Podman can have "
                    f"ports from {low} up only.",
                    at=spec.at("groups", name, kind, thing, "ports"),
                    fix="Publish a higher one, or allow it: `{use: sysctl, values: "
                    f"{{net.ipv4.ip_unprivileged_port_start: {min(ports)}}}}}` among the group's `snippets`.",
                )


def _check_disk_owners(spec: LoadedSpec, name: str, group: Group, config: MachineConfig) -> None:
    """Refuse owners of data disks whom nodes do not know; a group can be one of the many of Fedora CoreOS."""
    users = {"root", "core", *(user["name"] for user in config.tree.get("passwd", {}).get("users", []))}
    for disk, what in group.data_disks.items():
        user = what.owner.partition(":")[0]
        if user and not user.isdigit() and user not in users:
            raise UsageError(
                f"The data disk {disk} belongs to {user}, but nodes of {name} have no such user.",
                at=spec.at("groups", name, "data_disks", disk, "owner"),
                fix=f"There are {', '.join(sorted(users))}; `users` of the group, and snippets, make others.",
            )


def _identity(name: str) -> Snippet:
    config = {
        "ignition": {"version": "3.0.0"},
        "storage": {"files": [file("/etc/hostname", f"{name}\n", mode=0o644, overwrite=True)]},
    }
    return Snippet.from_ignition(f"hostname of {name}", config)


def _merged(
    spec: LoadedSpec, group: str, node: NodeName, shared: Sequence[Snippet], platform: PlanningPlatform
) -> list[Snippet]:
    """The snippets of a node: its own part first, what is made for it alone last."""
    snippets = [_identity(node.name)]
    private = _private(spec.fleet, group, node.index, platform)
    interface = platform.interface(private) if private else None
    if private and interface:
        snippets.append(interface_snippet(node.name, private, interface))
    for index, ref in enumerate(spec.fleet.groups[group].snippets):
        if isinstance(ref, LibrarySnippet) and ref.per_node:
            snippets.append(_named(spec, ref, node, "groups", group, "snippets", index))
    snippets += shared
    override = spec.fleet.groups[group].nodes.get(node.index)
    written = _written_guards(spec, group, platform)
    if written and not written & {None, node.index} and _guard_wanted(spec.fleet.groups[group], platform):
        snippets.append(_metadata_guard())
    for index, ref in enumerate(override.snippets if override else ()):
        snippets.append(_named(spec, ref, node, "groups", group, "nodes", node.index, "snippets", index))
    return snippets


def _named(spec: LoadedSpec, ref: AnySnippet, node: NodeName, *where: str | int) -> Snippet:
    """The snippet that a part of the spec names."""
    at = spec.at(*where)
    if isinstance(ref, LibrarySnippet):
        try:
            return ref.snippet(node)
        except UsageError as error:
            raise UsageError(error.what, at=at, fix=error.fix) from None
    path = spec.boundary.check(spec.folder / ref.path, "The snippet", outside=ref.outside, at=at)
    if not path.exists():
        raise UsageError(f"There is no snippet {path}.", at=at)
    if missing := [each for each in ref.variables if each not in spec.values.variables]:
        raise UsageError(
            f"The snippet is given the variable {missing[0]}, which the spec does not define.",
            at=at,
            fix="Define it under `variables`.",
        )
    values = {each: spec.values.variables[each] for each in ref.variables}
    boundary = None if ref.outside else spec.boundary
    return Snippet.from_file(
        path, override=ref.override, allow_warnings=ref.allow_warnings, values=values, boundary=boundary
    )


def _shared(spec: LoadedSpec, name: str, group: Group, platform: PlanningPlatform) -> list[Snippet]:
    snippets = [_access(spec.fleet)] if spec.fleet.ssh_authorized_keys else []
    if spec.fleet.network:
        snippets.append(hosts_snippet(spec.fleet, platform))
    for disk, what in sorted(group.data_disks.items()):
        device, rule, services = platform.device(disk), platform.disk_rule(disk), group.services_on(what.mount)
        snippets.append(data_disk_snippet(disk, what, device, rule, services))
    if _guard_wanted(group, platform) and not _written_guards(spec, name, platform):
        snippets.append(_metadata_guard())
    # The group is its workload; one with nothing in it makes an empty snippet.
    kept_here = [spec.lock_path, *(spec.folder / each.file for each in spec.fleet.secrets.values() if each.file)]
    snippets.append(
        workload_snippet(
            group,
            secrets=spec.values.secrets,
            folder=spec.folder,
            boundary=spec.boundary,
            name=f"containers of {name}",
            mounts=[disk.mount for _, disk in sorted(group.data_disks.items())],
            confidential=frozenset(place[2:] for place in spec.confidential if place[:2] == ("groups", name)),
            apart_from=kept_here,
        )
    )
    # The user's own come last, so that one declared an override can replace anything that fleet wrote.
    for index, ref in enumerate(group.snippets):
        if not isinstance(ref, LibrarySnippet) or not ref.per_node:
            snippets.append(_named(spec, ref, NodeName(name, 0), "groups", name, "snippets", index))
    return snippets


def _guard_wanted(group: Group, platform: PlanningPlatform) -> bool:
    return group.metadata_guard and bool(platform.metadata_addresses)


def _metadata_guard() -> Snippet:
    return MetadataGuard(use="metadata-guard").snippet(NodeName("", 0))


def _written_guards(spec: LoadedSpec, name: str, platform: PlanningPlatform) -> set[int | None]:
    """Which nodes of a group have a metadata guard among their snippets, by their index; ``None`` for all.

    Raises:
        UsageError: One leaves the platform's metadata service open.
    """
    group = spec.fleet.groups[name]
    lists: list[tuple[int | None, tuple[str | int, ...], Sequence[AnySnippet]]] = [(None, (), group.snippets)]
    lists += [(index, ("nodes", index), node.snippets) for index, node in group.nodes.items()]
    written: set[int | None] = set()
    for node, where, refs in lists:
        for index, ref in enumerate(refs):
            if not isinstance(ref, MetadataGuard):
                continue
            written.add(node)
            if missing := [str(each) for each in platform.metadata_addresses if each not in ref.addresses]:
                raise UsageError(
                    f"The guard leaves out {' and '.join(missing)}, where {platform.name} has its metadata service.",
                    at=spec.at("groups", name, *where, "snippets", index),
                    fix="Leave `addresses` out, or add it.",
                )
    return written


def _access(fleet: FleetSpec) -> Snippet:
    users = [{"name": "core", "sshAuthorizedKeys": fleet.ssh_authorized_keys}]
    return Snippet.from_ignition(
        "ssh_authorized_keys of the spec", {"ignition": {"version": "3.0.0"}, "passwd": {"users": users}}
    )
