"""What of a planned fleet is secret, and what may be shown of it.

Secrecy is carried, not inferred. The loader marks the places of a spec that secrets fill
(:attr:`fleet.spec.LoadedSpec.marks`); each snippet carries the names of the secrets that it is made with
(:attr:`fleet.config.Snippet.secrets`); a node's config is secret only if one of its snippets has some. No value is
looked for in any text, so a short one hides nothing else, and one that was escaped, cut or encoded is not missed.

The nodes are planned once, with real values. Of a config with a secret, a second one is composed for people to see:
its marked snippets are made again from the spec with masks, ``(secret NAME)``, in the places of secrets; the others
are the same. Marks go as far as to the transpiler, and cannot go through it. Butane and Ignition check what is in a
value (a URL, a mode, a device's path), so a value with marks around it is refused where the bare one is right; Butane
encodes what goes into files; and neither says which part of its input an output comes from: Butane's public function
for all variants gives no translation map. Looking for the values in what comes out would be inference again.

A mask may not be valid where a secret is, such as in a URL or in a port of a Compose file. Then the config is shown
entry by entry: entries that marked snippets have no part in, since the others alone give the same, are shown as they
are; of the rest, the name and which secrets they are made with. All nodes of such a fleet count as secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet.config import Snippet
from fleet.config.difference import UNKNOWN
from fleet.config.entries import LISTS
from fleet.errors import FleetError
from fleet.plan import FleetPlan, MachineConfig, NodePlan, PlanningPlatform
from fleet.planner.renderer import RENDERERS
from fleet.spec import LoadedSpec
from fleet.spec.values import said

Remake = Callable[[LoadedSpec, str], Mapping[str, Sequence[Snippet]]]
"""Makes the snippets of a group's nodes from a spec; by the nodes' names."""

Check = Callable[[LoadedSpec, str, MachineConfig], None]
"""Refuses a config of a node of a group."""


@dataclass(frozen=True)
class _Shown:
    """What is shown of nodes.

    Attributes:
        texts: Their configs, by name.
        compared: A config with masks could be made of all of them.
    """

    texts: Mapping[str, str]
    compared: bool


def with_secrecy(
    plan: FleetPlan,
    spec: LoadedSpec,
    snippets: Mapping[str, Sequence[Snippet]],
    remake: Remake,
    check: Check,
    platform: PlanningPlatform,
    max_spec: str,
) -> FleetPlan:
    """A plan whose nodes say whether they hold secrets, what may be shown of them, and which secrets could not be read.

    Args:
        plan: The plan, as if it had no secrets.
        spec: The spec.
        snippets: What each node's config is made of.
        remake: Makes the snippets again.
        check: What configs have passed, and one with masks has to pass, too: that it did not is in objects' names.
        platform: Where the nodes are to run.
        max_spec: The newest Ignition spec that the image reads.
    """
    if not spec.values.revealed or not spec.values.secrets:
        return plan
    groups = [
        _shown(spec, name, group.nodes, snippets, remake, check, max_spec)
        if _may_hold_secrets(spec, name, [snippets[node.name] for node in group.nodes])
        else _Shown({node.name: node.config.ignition for node in group.nodes}, compared=True)
        for name, group in plan.groups.items()
    ]
    texts = {name: text for group in groups for name, text in group.texts.items()}
    compared = spec.masked is not None and all(group.compared for group in groups)

    def mark(node: NodePlan) -> NodePlan:
        text, delivery = texts[node.name], node.delivery
        secret = not compared or text != node.config.ignition
        if secret and delivery.object:
            # Nodes have the object's name in their user data, so it stays what an earlier fleet called it.
            delivery = RENDERERS[spec.fleet.version].deliver(
                node.config, platform.limits, node=node.name, shown=text if compared else UNKNOWN
            )
        probe_secrets = spec.secrets_in("groups", node.group, "ready")
        used = probe_secrets.union(*(snippet.secrets for snippet in snippets[node.name]))
        unread = spec.values.unread
        return replace(
            node,
            shown=text,
            secret=secret,
            delivery=delivery,
            unread=tuple(reason for name, reason in unread.items() if name in used),
            unasked=tuple(reason for name, reason in unread.items() if name in probe_secrets),
        )

    return plan.with_nodes(mark)


def with_outputs(plan: FleetPlan, spec: LoadedSpec, snippets: Mapping[str, Sequence[Snippet]]) -> FleetPlan:
    """A plan whose nodes say which of others' outputs they hold, and which of these are not known yet.

    Args:
        plan: The plan.
        spec: The spec.
        snippets: What each node's config is made of.
    """
    values = spec.values
    if not values.outputs:
        return plan

    def noted(node: NodePlan) -> NodePlan:
        used = spec.secrets_in("groups", node.group, "ready").union(*(each.secrets for each in snippets[node.name]))
        if spec.fleet.groups[node.group].compose:
            # What a Compose file says may depend on a variable that fills nothing.
            used |= frozenset(values.filling.values())
        marks = sorted(used & values.outputs.keys())
        return replace(
            node,
            outputs={said(mark): values.outputs[mark] for mark in marks},
            pending=tuple(said(mark) for mark in marks if mark in values.pending),
        )

    return plan.with_nodes(noted)


def _may_hold_secrets(spec: LoadedSpec, group: str, snippets: Iterable[Sequence[Snippet]]) -> bool:
    # What a Compose file says may depend on a variable that fills nothing: `${NAME:+text}`.
    compose = bool(spec.fleet.groups[group].compose and spec.values.filling)
    return compose or any(snippet.secrets for each in snippets for snippet in each)


def _shown(
    spec: LoadedSpec,
    group: str,
    nodes: Sequence[NodePlan],
    snippets: Mapping[str, Sequence[Snippet]],
    remake: Remake,
    check: Check,
    max_spec: str,
) -> _Shown:
    """What may be shown of a group's nodes."""
    if spec.masked:
        try:
            masked = remake(spec.masked, group)
            # What has no secret is loaded already.
            lists = [
                [one if one == other else other for one, other in zip(snippets[name], masked[name], strict=True)]
                for name in (node.name for node in nodes)
            ]
            configs = RENDERERS[spec.fleet.version].compose_all(lists, max_spec=max_spec)
            for config in configs:
                check(spec.masked, group, config)
            texts = {node.name: config.ignition for node, config in zip(nodes, configs, strict=True)}
            return _Shown(texts, compared=True)
        except FleetError:
            pass
    texts = {node.name: _by_entry(node.config, snippets[node.name], spec, max_spec) for node in nodes}
    return _Shown(texts, compared=False)


def _by_entry(config: MachineConfig, snippets: Sequence[Snippet], spec: LoadedSpec, max_spec: str) -> str:
    """A config without the entries that snippets with secrets have a part in."""
    secrets = frozenset().union(*(snippet.secrets for snippet in snippets))
    if not secrets:
        return config.ignition
    try:
        plain_snippets = [snippet for snippet in snippets if not snippet.secrets]
        (others,) = RENDERERS[spec.fleet.version].compose_all([plain_snippets], max_spec=max_spec)
        plain: Mapping[str, Any] = others.tree
    except FleetError:
        plain = {}
    hidden = f"(secret {', '.join(sorted(secrets))})"
    lists = {(each.section, each.part): each.key for each in LISTS}
    names = _Names([value for name, value in spec.values.plain.items() if name in secrets])
    tree: dict[str, Any] = {}
    for section, parts in config.tree.items():
        tree[section] = {}
        for part, value in parts.items():
            beside = plain.get(section, {}).get(part)
            if value == beside or (section, part) == ("ignition", "version"):
                tree[section][part] = value
            elif key := lists.get((section, part)):
                shown = {entry[key]: entry for entry in beside or ()}
                tree[section][part] = [
                    entry
                    if shown.get(entry[key]) == entry
                    else {key: names.shown(entry[key], hidden), "contents": hidden}
                    for entry in value
                ]
            else:
                tree[section][part] = hidden
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class _Names:
    """Names of entries, which show a secret only where one fills them.

    Whatever makes a name of a value (a unit's name of a path, systemd.unit(5)) changes no letters and digits, so that
    these are compared.

    Args:
        values: Of the secrets.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._bare = [_bare(value) for value in values]

    def shown(self, name: str, hidden: str) -> str:
        """The name, or ``hidden`` if it may hold a secret."""
        bare = _bare(name)
        return hidden if any(value in bare for value in self._bare) else name


def _bare(text: str) -> str:
    plain = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r"[^a-z0-9]", "", plain.casefold())
