"""From a spec to the plan of every node. Pure: no Pulumi, no network, the same plan for the same input.

One way: the spec is loaded, filled and checked (:func:`fleet.spec.load_spec`); each group's snippets are listed
(:mod:`fleet.planner.snippets`) and composed; what is secret is marked (:mod:`fleet.planner.secrecy`); the platform
says whether it can make the whole.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

from fleet.config import NEWEST_SPEC, Snippet
from fleet.config.difference import file_texts
from fleet.errors import FleetError, FleetWarning, UsageError
from fleet.images import ImageLock, read_lock
from fleet.library import NodeName, StaticNetwork
from fleet.plan import SSH_PORT, DiskPlan, FleetPlan, GroupPlan, MachineConfig, NodePlan, PlanningPlatform, PortPlan
from fleet.planner.functions import check_function
from fleet.planner.network import private_address
from fleet.planner.renderer import RENDERERS
from fleet.planner.secrecy import with_outputs, with_secrecy
from fleet.planner.snippets import node_snippets, shared_snippets
from fleet.project import Project
from fleet.spec import LoadedSpec, Resolver, load_spec
from fleet.spec.loader import error_to_report, warn_of_no_version
from fleet.spec.model import Group
from fleet.spec.values import concealed
from fleet.workloads.container import Container
from fleet.workloads.quadlet_units import RUNNING, QuadletUnit, started
from fleet.workloads.resources import Pod

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
    version: int | None = None,
    text: str | None = None,
) -> FleetPlan:
    """Plan the nodes of a spec, with their secrets, and with what may be shown of them.

    Args:
        path: The spec's file.
        resolver: Where its values come from.
        platform: Where the nodes are to run.
        need_lock: Whether the image lock has to be there.
        node: Plan only this node.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
        check: Whether the platform has to be able to make them, and what a rollout calls has to be there; configs are
            the same without.
        version: As if the spec were of this version.
        text: The spec, if a program has made it (:func:`fleet.spec.load_spec`).

    Warns:
        FleetWarning: The spec says no version, and ``version`` none either; a file that a probe takes is not there.

    Raises:
        FleetError: Anything is wrong with the spec, or the platform cannot do it; never holds a secret's value.
    """
    spec = load_spec(path, resolver, platform.name, version=version, text=text)
    plan = plan_loaded(spec, platform, need_lock=need_lock, node=node, new_image=new_image, check=check)
    if version is None:
        warn_of_no_version(spec.document)
    return plan


def plan_loaded(
    spec: LoadedSpec,
    platform: PlanningPlatform,
    *,
    need_lock: bool,
    node: str | None = None,
    new_image: bool = False,
    check: bool = True,
) -> FleetPlan:
    """Plan the nodes of a loaded spec, with the image lock beside it, as :func:`plan_spec` does.

    Args:
        spec: The spec.
        platform: Where the nodes are to run.
        need_lock: Whether the image lock has to be there.
        node: Plan only this node.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
        check: Whether the platform has to be able to make them.

    Raises:
        FleetError: As :func:`plan_spec`.
    """

    def planned(spec: LoadedSpec) -> FleetPlan:
        lock = read_lock(spec.lock_path) if need_lock or spec.lock_path.exists() else None
        plan = plan_fleet(spec, platform, lock, node=node, new_image=new_image)
        if check:
            _check_named(spec)
            platform.check(plan)
        return plan

    try:
        with concealed(spec.values.plain):
            return planned(spec)
    except FleetError as error:
        failure: FleetError | None = None
        if spec.masked:
            # What is wrong may show more where masks are in the places of secrets.
            try:
                planned(spec.masked)
            except FleetError as other:
                failure = other
        raise error_to_report(error, failure, spec.values) from None


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
    render = RENDERERS[spec.fleet.version]
    names = [f"{name}-{index}" for name, group in spec.fleet.groups.items() for index in range(group.count)]
    if node is not None and node not in names:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
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

    def selected_indices(group: str) -> list[int]:
        return [index for index in range(spec.fleet.groups[group].count) if node in (None, f"{group}-{index}")]

    def remake(spec: LoadedSpec, name: str) -> dict[str, list[Snippet]]:
        group = _pinned(spec, name, spec.fleet.groups[name], lock)
        shared = shared_snippets(spec, name, group, platform)
        nodes = [NodeName(f"{name}-{index}", index) for index in selected_indices(name)]
        return {each.name: node_snippets(spec, name, each, shared, platform) for each in nodes}

    def check(spec: LoadedSpec, name: str, config: MachineConfig) -> None:
        _check_rootless_ports(spec, name, spec.fleet.groups[name], config)
        _check_disk_owners(spec, name, spec.fleet.groups[name], config)
        _check_quadlets(spec, name, spec.fleet.groups[name], config)

    groups: dict[str, GroupPlan] = {}
    snippets: dict[str, list[Snippet]] = {}
    ahead: tuple[tuple[str, tuple[PortPlan, ...]], ...] = ()
    for name, group in spec.fleet.groups.items():
        _check_probes(spec, name, group)
        ssh = PortPlan(SSH_PORT, sources=tuple(spec.fleet.ssh_from))
        report = _report_port(spec, name, group)
        ports = tuple(sorted({ssh, *report, *group.reachable}))
        listed = remake(spec, name)
        snippets |= listed
        configs = render.compose_all(list(listed.values()), max_spec=max_spec)
        for config in configs:
            check(spec, name, config)
        surge = _surges(spec, name, group, platform)
        nodes = tuple(
            NodePlan(
                name=f"{name}-{index}",
                group=name,
                index=index,
                config=config,
                delivery=render.deliver(config, platform.limits, node=f"{name}-{index}"),
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
                private=private_address(spec.fleet, name, index, platform),
                follow_image=new_image or policy == "always",
                report=report[0].number if report else None,
                settle=group.settle,
                size=group.size,
                ahead=ahead,
                fleet=spec.fleet.name,
                network=spec.fleet.network.cidr if spec.fleet.network else None,
            )
            for index, config in zip(selected_indices(name), configs, strict=True)
        )
        # The report's is in nobody's way.
        others = tuple(port for port in ports if port not in report)
        ahead += ((name, others if group.count else ()),)
        groups[name] = GroupPlan(
            name=name,
            nodes=nodes,
            count=group.count,
            rollout=group.rollout,
            after=tuple(group.after),
            names=tuple(group.names),
        )
    plan = FleetPlan(spec.fleet.name, groups, spec.fleet.network.cidr if spec.fleet.network else None)
    return with_outputs(with_secrecy(plan, spec, snippets, remake, check, platform, max_spec), spec, snippets)


def _pinned(spec: LoadedSpec, name: str, group: Group, lock: ImageLock | None) -> Group:
    """The group with the digests of the lock, if it has any; then it must have all.

    Warns:
        FleetWarning: An image stands where the lock pins none.

    Raises:
        FleetError: The lock has no digest of an image.
    """
    if lock is None or not lock.containers:
        return group
    places = {("quadlets", unit.name): ("quadlets", unit.index) for unit in group.units}
    for where, reference in group.tags.items():
        if reference not in lock.containers:
            raise FleetError(
                f"The image lock has digests of containers' images, but none of {reference}.",
                at=spec.at("groups", name, *places.get(where, where), "image"),
                fix="Add it with `fleet image pin SPEC`.",
            )
    for unit in group.units:
        moving = [image for image in unit.kube_images if "@" not in image and not image.startswith("localhost/")]
        if moving:
            warnings.warn(
                f"{spec.at('groups', name, 'quadlets', unit.index)}: The image lock pins the images of containers, but "
                f"not those in the YAML of {unit.name}: {', '.join(moving)}. Write them with a digest, "
                "`NAME@sha256:...`.",
                FleetWarning,
                stacklevel=2,
            )
    return group.pinned(lock.containers)


def _disks(group: Group, index: int) -> tuple[DiskPlan, ...]:
    existing = group.nodes[index].data_disks if index in group.nodes else {}
    return tuple(
        DiskPlan(name, disk.size_gib, disk.snapshot, existing.get(name, ""))
        for name, disk in sorted(group.data_disks.items())
    )


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


def _report_port(spec: LoadedSpec, name: str, group: Group) -> list[PortPlan]:
    """The port of the report of a group's nodes, if they have one.

    Raises:
        UsageError: The group has something else at that port.
    """
    if not spec.fleet.report:
        return []
    number = spec.fleet.report.port
    taken: list[tuple[tuple[str | int, ...], str, int, str]] = []
    for kind, things in (("containers", group.containers), ("pods", group.pods)):
        for thing, what in things.items():
            taken += [((kind, thing, "ports"), f"{thing} publishes", port.node, port.protocol) for port in what.ports]
    for unit in group.units:
        taken += [(("quadlets", unit.index), f"{unit.name} publishes", port.node, port.protocol) for port in unit.ports]
    for index, port in enumerate(group.ports):
        taken.append((("ports", index), f"nodes of {name} have", port.number, port.protocol))
    for where, who, used, protocol in taken:
        if (used, protocol) == (number, "tcp"):
            raise UsageError(
                f"{who} port {number} of the node, where the node's report is.",
                at=spec.at("groups", name, *where),
                fix=f"Choose another, or another for the report: `report: {{port: {number + 1}}}`, beside `groups`.",
            )
    return [PortPlan(number, sources=tuple(spec.fleet.report_from))]


def _check_probes(spec: LoadedSpec, name: str, group: Group) -> None:
    reachable = {port.number for port in group.reachable if port.protocol == "tcp"} | {SSH_PORT}
    for index, probe in enumerate(group.ready):
        if probe.port is not None and probe.port not in reachable:
            raise UsageError(
                f"The probe asks port {probe.port}, which nodes of {name} do not offer to the outside.",
                at=spec.at("groups", name, "ready", index),
                fix=f"Publish it from a container, or add `ports: [{probe.port}]` to the group.",
            )


def _check_named(spec: LoadedSpec) -> None:
    """Make sure that what the spec names of this machine is there, which is looked up in the middle of a rollout.

    Warns:
        FleetWarning: A file that a probe takes is not there; it may be where nodes are deployed from.

    Raises:
        UsageError: A function is not there.
    """
    for name, group in spec.fleet.groups.items():
        named: list[tuple[tuple[str | int, ...], str, str]] = []
        if group.drain:
            named.append((("drain", "function"), group.drain.function, "the node's name and its address"))
        for index, probe in enumerate(group.ready):
            about = "the node's address, and what turns a port of it into host and port"
            if probe.function:
                named.append((("ready", index, "function"), probe.function, about))
        for where, function, arguments in named:
            at = spec.at("groups", name, *where)
            check_function(function, _project_folder(spec), arguments=arguments, at=at)
        for index, probe in enumerate(group.ready):
            for kind, key in (("http", "client_certificate"), ("http", "client_key"), ("ssh", "identity")):
                file = getattr(getattr(probe, kind), key, "")
                # Pulumi's providers, which ask, run in the project's folder.
                if file and not (_project_folder(spec) / Path(file).expanduser()).is_file():
                    at = spec.at("groups", name, "ready", index, kind, key)
                    warnings.warn(
                        f"{at}: There is no file {file} on this machine, which the probe of nodes of {name} takes.",
                        FleetWarning,
                        stacklevel=2,
                    )


def _project_folder(spec: LoadedSpec) -> Path:
    """The folder in which Pulumi runs; the spec's own, where that is in no project."""
    try:
        return Project.around(spec.document.path).folder
    except UsageError:
        return spec.document.path.parent


def _check_rootless_ports(spec: LoadedSpec, name: str, group: Group, config: MachineConfig) -> None:
    """Refuse ports that a rootless Podman cannot have (ip_unprivileged_port_start, in the kernel's ip-sysctl)."""
    low = _FIRST_UNPRIVILEGED_PORT
    publishing: list[tuple[tuple[str | int, ...], str, Container | Pod | QuadletUnit]] = [
        ((kind, thing, "ports"), thing, what)
        for kind, things in (("containers", group.containers), ("pods", group.pods))
        for thing, what in things.items()
    ]
    publishing += [(("quadlets", unit.index), unit.name, unit) for unit in group.units]
    for where, thing, what in publishing:
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
                at=spec.at("groups", name, *where),
                fix="Publish a higher one, or allow it: `{use: sysctl, values: "
                f"{{net.ipv4.ip_unprivileged_port_start: {min(ports)}}}}}` among the group's `snippets`.",
            )


def _check_quadlets(spec: LoadedSpec, name: str, group: Group, config: MachineConfig) -> None:
    """Refuse units of snippets that would hide a Quadlet file's service; say of one that nothing starts.

    Warns:
        FleetWarning: Nothing starts it.

    Raises:
        UsageError: A unit has the name of its service.
    """
    if not group.units:
        return
    systemd = config.tree.get("systemd", {}).get("units", [])
    own = {unit["name"] for unit in systemd if unit.get("contents")}
    texts = json.dumps(systemd) + "".join(file_texts(config.tree, "/etc/systemd/"))
    reached = started(group.units, texts)
    for unit in group.units:
        at = spec.at("groups", name, "quadlets", unit.index)
        if unit.service in own and not unit.run_as:
            raise UsageError(
                f"The service of {unit.name}, {unit.service}, is a unit of a snippet, too, and that would hide it.",
                at=at,
                fix="Rename one.",
            )
        if unit.kind in RUNNING and unit.name not in reached:
            target = "default.target" if unit.run_as else "multi-user.target"
            warnings.warn(
                f"{at}: Nothing starts {unit.name}, which has no `[Install]` section. Add one with "
                f"`WantedBy={target}`, or a timer or a service that starts it.",
                FleetWarning,
                stacklevel=2,
            )


def _check_disk_owners(spec: LoadedSpec, name: str, group: Group, config: MachineConfig) -> None:
    """Refuse owners of data disks whom nodes do not know; a group can be one of the many of Fedora CoreOS."""
    if not group.data_disks:
        return  # A whole config is read for it, and kept.
    users = {"root", "core", *(user["name"] for user in config.tree.get("passwd", {}).get("users", []))}
    for disk, what in group.data_disks.items():
        user = what.owner.partition(":")[0]
        if user and not user.isdigit() and user not in users:
            raise UsageError(
                f"The data disk {disk} belongs to {user}, but nodes of {name} have no such user.",
                at=spec.at("groups", name, "data_disks", disk, "owner"),
                fix=f"There are {', '.join(sorted(users))}; `users` of the group, and snippets, make others.",
            )
