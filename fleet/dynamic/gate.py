"""Gate: the resource that keeps a node from being re-provisioned while too many of its peers are down.

A chain of nodes that wait for one another is not enough: with one node sick and a new config for all, the chain would
begin with a healthy one, and a quorum of three is lost. So each node's machine depends on a gate, whose *update*, which
comes when what re-provisions the node changes, asks the node's peers and fails if too few are ready; the node is then
left as it is, unless it is down itself. A gate's creation asks nobody, or a cluster could never be made.

What else makes a node another machine (:meth:`fleet.platforms.Platform.shape`) is an input that is compared with the
one of before in ``check``, and not in ``diff``: only ``check`` is given the inputs of before, and the engine notes new
inputs even where nothing is to be done. So a state that has none yet, as an earlier fleet wrote it, gets them unasked.

Before a machine is made, and so before the one that it replaces is stopped, the gate also makes sure that what the new
one needs is to be had (:class:`fleet.plan.Needs`); in a preview, too.

How the peers can be asked is no input of the gates but in a file, the group's roster, which the program writes and
gates read: in the inputs of each, the state would grow with the square of the group, and it is saved at every step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, UpdateResult

from fleet.dynamic import tokens
from fleet.dynamic.outputs import independent
from fleet.dynamic.provider import DynamicResource, Provider, known
from fleet.dynamic.ready import endpoints_of, watcher_of
from fleet.errors import FleetError
from fleet.files import write_private
from fleet.masking import Mask

if TYPE_CHECKING:
    from fleet.plan import Needs, Peer

PATIENCE = 20
"""Seconds that a peer may need to answer: one that has just been made ready may still be settling."""
_MOST_AT_ONCE = 256
"""Peers that are asked at once. Most of the time is waited: for a peer that does not answer, until its time-out."""
_ASKED_BY = ("address", "endpoints", "probes", "watch", "hidden", "report")
"""What of a peer decides how it is asked, and what its answer counts as."""


class GateProvider(Provider, name="fleet.components.gate:GateProvider"):
    """The provider of gates: checks a node's peers."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """A change where the node is re-provisioned, or where what is noted of its peers or its shape differs."""
        keys = ("trigger", "members", "down")
        changed = any(not known(news[key]) or olds.get(key) != news[key] for key in keys)
        if _begins(olds, news):
            _require(news, fetch=False)
        return DiffResult(changes=changed or bool(news.get("reshaped")) or _moves(olds, news))

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Compare the node's shape with the deployed one, and look up, in previews too, what a new machine needs."""
        news = {key: value for key, value in news.items() if key != "reshaped"}
        if changed := reshaped((olds or {}).get("shape"), news["shape"]):
            news["reshaped"] = changed
        if not olds or news.get("again"):
            _require(news, fetch=False)
        return CheckResult(news, [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Fetch what a new node's machine needs; its peers do not count on it yet."""
        _require(props, fetch=True)
        return CreateResult(props["node"], {**_outputs(props), "began": int(time.time())})

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Before the node is re-provisioned: fetch what its machine needs, pause, and ask its peers.

        The time at which its turn ``began`` is an output for the history alone.
        """
        if _begins(olds, news):
            _require(news, fetch=True)
            time.sleep(news["pause"])
            # A peer that is new is not there yet; one that is to go is no longer counted on.
            peers = json.loads(Path(news["roster"]).read_text(encoding="utf-8"))[: int(olds["members"])]
            self._check(news["node"], peers, int(news["down"]))
            return UpdateResult({**_outputs(news), "began": int(time.time())})
        # The node still has the image that it had.
        began = {"began": olds["began"]} if "began" in olds else {}
        return UpdateResult({**_outputs(news), **began, "image": olds.get("image")})

    def _check(self, node: str, peers: Sequence[Mapping[str, Any]], down: int) -> None:
        own = [peer for peer in peers if peer["name"] == node]
        others = [peer for peer in peers if peer["name"] != node]
        deadline = time.monotonic() + PATIENCE
        while True:
            sick = not_ready(others)
            # A new machine of a node that is down itself costs nothing, and may be what mends it.
            if len(sick) < down or not_ready(own):
                return
            if time.monotonic() >= deadline:
                break
            time.sleep(1)
        reasons = "; ".join(f"{name} is not ready ({answer})" for name, answer in sorted(sick.items()))
        raise FleetError(
            f"Node {node} is left as it is: {reasons}, and at most {down} of the group may be down at once.",
            fix=f"Mend {', '.join(sorted(sick))} first. If only the new config can, `fleet up` re-provisions what is "
            "sick first; so does `pulumi up` with " + " ".join(f"--target '**::{name}'" for name in sorted(sick)) + ".",
        )


def not_ready(peers: Sequence[Mapping[str, Any]], *, patience: float = 0) -> dict[str, str]:
    """Which nodes are not ready, and why; those that can be asked nothing always are.

    Args:
        peers: :meth:`fleet.plan.Peer.describe` of each, with values, and its ``name``.
        patience: Seconds for which nodes are asked again that are not ready: one that works hard is not sick.
    """
    deadline = time.monotonic() + patience
    left = [peer for peer in peers if peer["probes"] or peer.get("report") or peer.get("watch")]
    with ThreadPoolExecutor(min(max(1, len(left)), _MOST_AT_ONCE)) as pool:
        while True:
            answers = {
                peer["name"]: answer for peer, answer in zip(left, pool.map(_answer, left), strict=True) if answer
            }
            left = [peer for peer in left if peer["name"] in answers]
            if not left or time.monotonic() >= deadline:
                return answers
            time.sleep(1)


def reshaped(olds: Mapping[str, str] | None, news: Mapping[str, str]) -> list[str]:
    """What of a node's shape is different, as the keys of :meth:`fleet.platforms.Platform.shape`, in order.

    Args:
        olds: The shape of before; ``None`` where it is not known. What only one of the two has is no difference:
            another version of fleet may know more.
        news: The shape now.
    """
    return [key for key in news if olds and key in olds and olds[key] != news[key]]


def _outputs(props: Mapping[str, Any]) -> dict[str, Any]:
    """Of the inputs, what is compared with later ones: a state, which has both, is saved at every step."""
    return {key: props[key] for key in ("trigger", "image", "members", "down")}


def _begins(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether the node is about to be re-provisioned."""
    return bool(olds["trigger"] != news["trigger"] or news.get("reshaped") or _moves(olds, news))


def _require(props: Mapping[str, Any], *, fetch: bool) -> None:
    """Make sure that a machine can be made.

    Args:
        props: The gate's inputs.
        fetch: Get what takes long to get, too.

    Raises:
        FleetError: Something that it needs is not to be had.
    """
    missing, look = props.get("missing"), props.get("look")
    if not missing and look and known(look):
        missing = tokens.function(look["function"])(look["argument"], fetch)
    if missing and known(missing):
        raise FleetError(missing)


def _moves(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether another image re-provisions the node."""
    return bool(news["follow_image"] and olds.get("image") != news["image"])


def _answer(peer: Mapping[str, Any]) -> str:
    """Why a node is not ready, asked once as it is now and, if that is another way, as before; empty if it is ready."""
    answer, before = _asked(peer), peer.get("before")
    if not answer or before is None or all(peer.get(key) == before.get(key) for key in _ASKED_BY):
        return answer
    return _asked(before) and answer


def _asked(peer: Mapping[str, Any]) -> str:
    """Why a node is not ready, asked once; empty if it is ready."""
    from fleet.plan import Probe, ReportAccess
    from fleet.probes import NotReadyError, UnknownReportError, ask_all, ask_settled

    mask = Mask(peer.get("hidden") or {})
    watcher = watcher_of(peer.get("watch"))
    if watcher and not watcher.alive():
        return "it does not run"
    endpoint, access = endpoints_of(peer["address"], peer["endpoints"]), ReportAccess.read(peer.get("report"))
    try:
        ask_all(
            [Probe.model_validate(probe) for probe in peer["probes"]],
            peer["address"],
            endpoint,
            reaches=watcher.reaches if watcher else lambda port: True,
            mask=mask,
        )
        if access:
            ask_settled(access, peer["address"], endpoint, mask=mask)
    except NotReadyError as error:
        return str(error)
    except UnknownReportError:
        # Its probes have answered, and nobody here can know more.
        return ""
    return ""


class Roster:
    """How the nodes of a group can be asked, in a file that its owner alone can read: probes may hold secrets.

    Args:
        file: The file; its folder is made.
        peers: The nodes, in ascending order.
        answered: By name, how nodes that are deployed were asked when they became ready. A change of addresses, ports
            or probes reaches one node after the other, and until then a node answers as it did before.

    Attributes:
        members: How many they are.
        file: The file's path. What needs it waits until the file is written, but depends on none of the nodes.
    """

    members: int
    file: pulumi.Output[str]

    def __init__(self, file: Path, peers: Sequence[Peer], answered: Mapping[str, Mapping[str, Any]]) -> None:
        self.members = len(peers)

        def described(addresses: Sequence[str]) -> str:
            located = [replace(peer, address=address) for peer, address in zip(peers, addresses, strict=True)]
            entries = [{"name": peer.name, **peer.describe()} for peer in located]
            return json.dumps([{**e, "before": answered[e["name"]]} if e["name"] in answered else e for e in entries])

        text = pulumi.Output.all(*[peer.address for peer in peers]).apply(described)

        async def written() -> str:
            # In a preview nobody is asked, and addresses may not be known yet.
            if (content := await text.future()) and not pulumi.runtime.is_dry_run():
                try:
                    write_private(file, content)
                except OSError as error:
                    raise FleetError(f"{file} cannot be written: {error.strerror}.") from None
            return str(file)

        self.file = independent(written())


class Gate(DynamicResource, token=tokens.GATE, provider=GateProvider):
    """Guards the re-provisioning of a node.

    Args:
        node: The node's name.
        trigger: Changes when the node is re-provisioned, but for its image and what only its shape has.
        shape: As :meth:`fleet.platforms.Platform.shape`.
        image: Which image a new machine would get.
        follow_image: Whether another image re-provisions the node too.
        roster: The nodes of its group, itself among them.
        down: How many nodes of the group may be down at once, this one among them.
        pause: Seconds to wait before it is this node's turn.
        needs: What a new machine needs.
        again: Whether to re-provision the node even if nothing changes.
        opts: Resource options.
    """

    def __init__(
        self,
        node: str,
        *,
        trigger: pulumi.Input[str],
        shape: Mapping[str, str],
        image: str,
        follow_image: bool,
        roster: Roster,
        down: int,
        pause: float,
        needs: Needs,
        reprovision: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props: dict[str, Any] = {
            "node": node,
            "trigger": trigger,
            "shape": dict(shape),
            "image": image,
            "follow_image": follow_image,
            "down": down,
            "pause": pause,
            "members": roster.members,
            "roster": roster.file,
            **needs.describe(),
            **({"again": True} if reprovision else {}),
        }
        super().__init__(node, props, opts)
