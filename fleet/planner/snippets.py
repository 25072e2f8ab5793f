"""Which snippets a node's config is made of, in their order.

What the nodes of a group share (snippets, containers, data disks, SSH keys) is loaded once and merged last, so the
transpiler merges it once for the whole group; only a node's own part, its name, comes first.

Each snippet carries the names of the secrets that it is made with (:attr:`fleet.config.Snippet.secrets`): of those that
fill the part of the spec that it stands for (:meth:`fleet.spec.LoadedSpec.secrets_in`), those that fill variables of
its file, and those that containers use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleet.config import Snippet
from fleet.errors import UsageError
from fleet.library import LibrarySnippet, MetadataGuard, NodeName
from fleet.plan import PlanningPlatform
from fleet.planner.network import private_address
from fleet.planner.renderer import RENDERERS, Renderer
from fleet.spec import LoadedSpec
from fleet.spec.loader import check_variables
from fleet.spec.model import AnySnippet, Group
from fleet.workloads import Workload


def node_snippets(
    spec: LoadedSpec, group: str, node: NodeName, shared: Sequence[Snippet], platform: PlanningPlatform
) -> list[Snippet]:
    """The snippets of a node: its own part first, what is made for it alone last.

    Args:
        spec: The spec.
        group: The node's group.
        node: The node.
        shared: :func:`shared_snippets` of the group.
        platform: Where it is to run.

    Raises:
        FleetError: One cannot be made.
    """
    render = RENDERERS[spec.fleet.version]
    snippets = [render.hostname(node.name)]
    private = private_address(spec.fleet, group, node.index, platform)
    interface = platform.interface(private) if private else None
    if private and interface:
        snippets.append(render.interface(node.name, private, interface))
    for index, ref in enumerate(spec.fleet.groups[group].snippets):
        if isinstance(ref, LibrarySnippet) and ref.per_node:
            snippets.append(_named(spec, ref, node, "groups", group, "snippets", index))
    snippets += shared
    override = spec.fleet.groups[group].nodes.get(node.index)
    written = _written_guards(spec, group, platform)
    if written and not written & {None, node.index} and _guard_wanted(spec.fleet.groups[group], platform):
        snippets.append(_metadata_guard(render))
    for index, ref in enumerate(override.snippets if override else ()):
        snippets.append(_named(spec, ref, node, "groups", group, "nodes", node.index, "snippets", index))
    return snippets


def _named(spec: LoadedSpec, ref: AnySnippet, node: NodeName, *where: str | int) -> Snippet:
    """The snippet that a part of the spec names."""
    at, secrets = spec.at(*where), spec.secrets_in(*where)
    if isinstance(ref, LibrarySnippet):
        try:
            return replace(RENDERERS[spec.fleet.version].library(ref, node), secrets=secrets)
        except UsageError as error:
            raise UsageError(error.what, at=at, fix=error.fix) from None
    path = spec.boundary.check(spec.folder / ref.path, "The snippet", outside=ref.outside, at=at)
    if not path.exists():
        raise UsageError(f"There is no snippet {path}.", at=at)
    check_variables("snippet", ref.variables, spec.values, at)
    values = {each: spec.values.variables[each] for each in ref.variables}
    boundary = None if ref.outside else spec.boundary
    snippet = Snippet.from_file(
        path, override=ref.override, allow_warnings=ref.allow_warnings, values=values, boundary=boundary
    )
    filling = {spec.values.filling[each] for each in ref.variables if each in spec.values.filling}
    return replace(snippet, secrets=secrets | filling)


def shared_snippets(spec: LoadedSpec, name: str, group: Group, platform: PlanningPlatform) -> list[Snippet]:
    """The snippets that all nodes of a group have, beside those that are made for each.

    Args:
        spec: The spec.
        name: The group's name.
        group: The group, with the digests of the image lock.
        platform: Where the nodes are to run.

    Raises:
        FleetError: One cannot be made.
    """
    render = RENDERERS[spec.fleet.version]
    snippets = []
    if spec.fleet.ssh_authorized_keys:
        access = render.access(spec.fleet.ssh_authorized_keys)
        snippets.append(replace(access, secrets=spec.secrets_in("ssh_authorized_keys")))
    if spec.fleet.network:
        snippets.append(render.hosts(spec.fleet, platform))
    filling = frozenset().union(
        *(spec.secrets_in("groups", name, kind) for kind in (*Workload.model_fields, "quadlets")),
        *(unit.filling for unit in group.units),
    )
    for disk, what in sorted(group.data_disks.items()):
        link, services = platform.disk_link(disk), group.services_on(what.mount)
        # Where containers' data lies says which services wait for the disk.
        secrets = filling | spec.secrets_in("groups", name, "data_disks", disk)
        snippets.append(replace(render.data_disk(disk, what, link.path, link.rule, services), secrets=secrets))
    if _guard_wanted(group, platform) and not _written_guards(spec, name, platform):
        snippets.append(_metadata_guard(render))
    # What others' outputs fill is rendered as any other text.
    known = spec.values.secrets.keys()
    marks = spec.marks.items()
    confidential = frozenset(place[2:] for place, by in marks if place[:2] == ("groups", name) and by & known)
    # The group is its workload; one with nothing in it makes an empty snippet.
    excluded_files = [spec.lock_path]
    excluded_files += [spec.folder / path for each in spec.fleet.secrets.values() for path in each.files]
    workload = render.workload(
        group,
        secrets=spec.values.secrets,
        folder=spec.folder,
        boundary=spec.boundary,
        name=f"containers of {name}",
        mounts=[disk.mount for _, disk in sorted(group.data_disks.items())],
        confidential=confidential,
        excluded_files=excluded_files,
    )
    snippets.append(replace(workload, secrets=filling | group.secrets))
    if spec.fleet.report:
        report = render.report(group, group.data_disks, port=spec.fleet.report.port, confidential=confidential)
        on_disks = spec.secrets_in("groups", name, "data_disks")
        snippets.append(replace(report, secrets=filling | on_disks))
    # The user's own come last, so that one declared an override can replace anything that fleet wrote.
    for index, ref in enumerate(group.snippets):
        if not isinstance(ref, LibrarySnippet) or not ref.per_node:
            snippets.append(_named(spec, ref, NodeName(name, 0), "groups", name, "snippets", index))
    return snippets


def _guard_wanted(group: Group, platform: PlanningPlatform) -> bool:
    return group.metadata_guard and bool(platform.metadata_addresses)


def _metadata_guard(render: Renderer) -> Snippet:
    return render.library(MetadataGuard(use="metadata-guard"), NodeName("", 0))


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
