"""Machine configs: snippets merged to the one Ignition config of a node.

The merge is Ignition's own. Ignition lets the later of two values win and says nothing; here that is a *conflict*, and
an error, unless the later snippet is declared an override. Lists that Ignition appends (SSH keys, kernel arguments,
a file's ``append``) stay appended, and saying the same thing twice is no conflict.

The result is canonical: sorted keys, no white space, the lowest spec version that holds it. Its digest is the node's
identity, so the same snippets must give the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet.config import _transpiler
from fleet.config.entries import LISTS
from fleet.config.snippets import Snippet, load_all
from fleet.errors import FleetError, Position, Remedy
from fleet.plan import MachineConfig

NEWEST_SPEC = "3.6.0"
"""The newest stable Ignition spec that the transpiler writes."""

_KINDS = {
    **{f"{each.section}.{each.part}": each.kind for each in LISTS},
    # Lists whose entries are their own names.
    "kernelArguments.shouldExist": "kernel argument",
    "kernelArguments.shouldNotExist": "kernel argument",
}


def compose(snippets: Sequence[Snippet], *, max_spec: str = NEWEST_SPEC) -> MachineConfig:
    """Translate, merge and validate snippets, the earlier first.

    Args:
        snippets: At least one. Put what many nodes share last: the merge of a common tail is done once.
        max_spec: The newest Ignition spec that the image of the node reads.

    Raises:
        FleetError: A snippet is not valid, two snippets conflict, the merged config is not valid, or it needs a newer
            spec than ``max_spec``.
    """
    return compose_all([snippets], max_spec=max_spec)[0]


def compose_all(configs: Sequence[Sequence[Snippet]], *, max_spec: str = NEWEST_SPEC) -> list[MachineConfig]:
    """:func:`compose` for many nodes at once, which takes less time than one after the other."""
    load_all(snippet for snippets in configs for snippet in snippets)
    requests = [{"handles": [s.handle for s in snippets], "max_version": max_spec} for snippets in configs]
    replies = _transpiler.shared().calls("compose", requests)
    return [_composed(snippets, reply, max_spec) for snippets, reply in zip(configs, replies, strict=True)]


def _composed(snippets: Sequence[Snippet], reply: dict[str, Any], max_spec: str) -> MachineConfig:
    for loss in reply.get("losses", []):
        if not snippets[loss["winner"]].override:
            raise _conflict(snippets, loss)
    findings = [f for f in reply.get("report", []) if f["level"] == "error"]
    if findings:
        raise FleetError(
            "The snippets are valid one by one, but not together: " + "; ".join(map(_explained, findings)) + ".",
            at=_last_mention(snippets, findings[0].get("key", "")),
            fix="The snippets are " + ", ".join(s.name for s in snippets) + ".",
        )
    if "error" in reply:
        if "too new" in reply["error"]:
            raise FleetError(
                f"The config needs Ignition spec {reply['version']}, but the image reads {max_spec} at most.",
                fix="Lock a newer image, or use a lower Butane version in the snippets.",
            )
        raise FleetError(f"The config cannot be composed: {reply['error']}.")
    return MachineConfig(ignition=reply["config"], spec=reply["version"])


def _explained(finding: dict[str, Any]) -> str:
    path = finding.get("path", "$").removeprefix("$.")
    section = ".".join(path.split(".")[:2])
    about = f"the {_KINDS[section]} {finding['key']}" if section in _KINDS and "key" in finding else path
    return f"{finding['message']} (at {about})"


def _last_mention(snippets: Sequence[Snippet], key: str) -> Position | None:
    """The place of an entry in the last snippet that has it: the earlier ones were valid without."""
    places = [snippet.position_of(key) for snippet in snippets]
    return next((place for place in reversed(places) if place.line is not None), None)


def _conflict(snippets: Sequence[Snippet], loss: dict[str, Any]) -> FleetError:
    loser, winner = snippets[loss["loser"]], snippets[loss["winner"]]
    kind, key, field = loss["kind"], loss["key"], loss["field"]
    subject = f"the {_KINDS.get(kind, kind)} {key}".rstrip()
    aspect = {"": subject, "contents.source": f"the contents of {subject}"}.get(field, f"`{field}` of {subject}")
    return FleetError(
        f"{aspect[0].upper()}{aspect[1:]} is set here and, differently, in {loser.position_of(key)}.",
        at=winner.position_of(key),
        fix=Remedy.DECLARE_OVERRIDE,
    )
