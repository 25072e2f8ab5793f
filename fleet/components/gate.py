"""Gate: the resource that keeps a node from being re-provisioned while too many of its peers are down.

A chain of nodes that wait for one another is not enough: with one node sick and a new config for all, the chain would
begin with a healthy one, and a quorum of three is lost. So each node's machine depends on a gate, whose *update*, which
comes when what re-provisions the node changes, asks the node's peers and fails if too few are ready; the node is then
left as it is. A gate's creation asks nobody, or a cluster could never be made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from fleet.components.provider import Provider, known
from fleet.components.ready import endpoints_of, watcher_of
from fleet.errors import FleetError
from fleet.platforms.base import Peer
from fleet.probes import NotReadyError, Probe, ask_all

PATIENCE = 20
"""Seconds that a peer may need to answer: one that has just been made ready may still be settling."""


class GateProvider(Provider):
    """Asks."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        keys = ("trigger", "peers", "down")
        changed = any(not known(news[key]) or olds.get(key) != news[key] for key in keys)
        return DiffResult(changes=changed or _moves(olds, news))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["node"], props)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        if olds["trigger"] != news["trigger"] or _moves(olds, news):
            time.sleep(news["pause"])
            # A peer that is new is not there yet; one that is to go is no longer counted on.
            peers = {name: peer for name, peer in olds["peers"].items() if name in news["peers"]}
            self._check(news["node"], peers, int(news["down"]))
            return UpdateResult(news)
        # The node still has the image that it had.
        return UpdateResult({**news, "image": olds.get("image")})

    def _check(self, node: str, peers: Mapping[str, Any], down: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            sick = {}
            for name, peer in peers.items():
                try:
                    ask_peer(peer)
                except NotReadyError as error:
                    sick[name] = str(error)
            if len(sick) < down:
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


def _moves(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether another image re-provisions the node."""
    return bool(news["follow_image"] and olds.get("image") != news["image"])


def ask_peer(peer: Mapping[str, Any]) -> None:
    """Ask a node once.

    Args:
        peer: :meth:`fleet.platforms.base.Peer.describe`, with values.

    Raises:
        NotReadyError: It is not ready; says why.
    """
    watcher = watcher_of(peer.get("watch"))
    if watcher and not watcher.alive():
        raise NotReadyError("it does not run")
    ask_all(
        [Probe.model_validate(probe) for probe in peer["probes"]],
        peer["address"],
        endpoints_of(peer["address"], peer["endpoints"]),
        reaches=watcher.reaches if watcher else lambda port: True,
    )


class Gate(Resource, module="fleet", name="Gate"):
    """What stands before the re-provisioning of a node.

    Args:
        node: The node's name.
        trigger: Changes exactly when the node is re-provisioned, but for its image.
        image: Which image a new machine would get.
        follow_image: Whether another image re-provisions the node too.
        peers: The other nodes of its group.
        down: How many nodes of the group may be down at once, this one among them.
        pause: Seconds to wait before it is this node's turn.
        opts: Resource options.
    """

    def __init__(
        self,
        node: str,
        *,
        trigger: pulumi.Input[str],
        image: str,
        follow_image: bool,
        peers: Sequence[Peer],
        down: int,
        pause: float,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props: dict[str, Any] = {
            "node": node,
            "trigger": trigger,
            "image": image,
            "follow_image": follow_image,
            "down": down,
            "pause": pause,
            "peers": {peer.name: peer.describe() for peer in peers if peer.probes},
        }
        super().__init__(GateProvider(), node, props, opts)
