"""The status of nodes: what a stack's state records, and what the nodes answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from fleet.config import deliver
from fleet.config.difference import UNKNOWN, host_name
from fleet.dynamic.gate import not_ready, reshaped
from fleet.dynamic.ready import endpoints_of
from fleet.dynamic.record import Configs, generations
from fleet.dynamic.tokens import READY, RECORD
from fleet.errors import FleetError
from fleet.masking import Mask
from fleet.plan import MachineConfig, NodePlan, Peer, Probe, Report, ReportAccess
from fleet.platforms.base import Platform, report_access
from fleet.probes import NotReadyError, UnknownReportError, ask_report
from fleet.program.changes import Compared
from fleet.program.exported import Resource, inputs, outputs
from fleet.program.state import readinesses

_NONE: Mapping[str, str] = {}
_CONCURRENT_REPORTS = 32


class Silence(str):
    """Why a node has no report though there is a way to ask it: it does not answer, and so is not well."""


class Deployed(Compared):
    """The nodes of a state.

    Args:
        resources: The state's resources, secrets in plain text.
        platform: The stack's platform.
    """

    def __init__(self, resources: Sequence[Resource], platform: Platform) -> None:
        super().__init__(resources, platform)
        machines, readies = self._of_type(platform.machine_type), self._of_type(READY)
        self._machines = {name: outputs(r) for name, r in machines.items()}
        self._created = {name: r.get("created") for name, r in (machines | readies).items()}
        self._record: dict[str, Any] = next(map(outputs, self._of_type(RECORD).values()), {})
        self._ready = {name: outputs(r) for name, r in readies.items()}
        self._became_ready = readinesses(resources)
        # Of the inputs, too: another way to a report is noted where there is nothing to do.
        self._reports = {name: ReportAccess.read(inputs(r).get("report")) for name, r in readies.items()}

    def changes(self, node: NodePlan) -> bool:
        """Whether an update would re-provision a node: another config or shape, or an image that it is to follow.

        A secret that could not be read counts as unchanged.
        """
        if not node.unread:
            return self.image_moves(node) or self.differs(node)
        if self.outdated(node):
            return True
        if restored := self.restored(node):
            return self.image_moves(restored) or self.differs(restored)
        return self.image_moves(node) or bool(reshaped(self._shapes.get(node.name), self._platform.shape(node)))

    def outdated(self, node: NodePlan) -> bool:
        """Whether the spec has another config for a node than the one that it is deployed with.

        A secret that could not be read counts as unchanged.
        """
        if node.unread:
            return self.configs.get(node.name) not in (node.shown, UNKNOWN)
        restored = self.restored(node)
        return restored is None or restored.config.digest != node.config.digest

    @cached_property
    def generations(self) -> Sequence[tuple[Sequence[int], Configs]]:
        """The configs of past rollouts, as :func:`~fleet.dynamic.record.generations` has them."""
        return list(generations(self._record))

    def before_last_rollout(self) -> tuple[Sequence[int], Configs] | None:
        """The generation to go back to; ``None``: none is known.

        They are those of before the last rollout, or, if one stopped half way, those that all nodes had before it. One
        that stopped while it gave nodes those of before is a rollback, which goes on.
        """
        if not self.generations:
            return None
        last, before, *_ = *self.generations, None
        others = [name for name, (ignition, _) in last[1].items() if self._differs(name, ignition)]
        if others and not (
            before and not any(self._differs(name, before[1].get(name, ("", ""))[0]) for name in others)
        ):
            return last
        return before

    def _differs(self, name: str, ignition: str) -> bool:
        """Whether a node is deployed with another config."""
        return name in self.nodes and self.nodes[name].get("digest") != _digest(ignition)

    def restored(self, node: NodePlan) -> NodePlan | None:
        """A planned node with its deployed config, and the probes that it passed with that config.

        All else is as planned. ``None``: its config is neither recorded nor the planned one.

        What a node has is known by its digest: after a rollout that stopped half way, some nodes have the new config
        and others the recorded one, and after a rollback all have an earlier one than the spec.
        """
        digest = self.nodes.get(node.name, {}).get("digest")
        probes, hidden = self._probes(node.name, node.probes), self.hidden(node.name, node.hidden)
        unread = () if node.name in self._ready else node.unasked
        if digest == node.config.digest:
            return replace(node, probes=probes, hidden=hidden, unread=unread, unasked=unread)
        for _, configs in self.generations:
            config = configs.get(node.name)
            if config and _digest(config[0]) == digest:
                earlier = with_config(node, config, self._platform)
                return replace(earlier, probes=probes, hidden=hidden, unread=unread, unasked=unread)
        return None

    def before(self, node: NodePlan, config: tuple[str, str]) -> NodePlan:
        """A planned node with an earlier config, which may hold secrets that it has now and that cannot be read.

        Args:
            node: The node.
            config: As :func:`with_config`.

        Raises:
            FleetError: As there.
        """
        hidden = {**self.hidden(node.name, {}), **node.hidden}
        return replace(with_config(node, config, self._platform), hidden=hidden)

    def _probes(self, name: str, otherwise: Sequence[Probe]) -> Sequence[Probe]:
        """The probes that a node answered when it became ready; others if it has not become so."""
        if name not in self._ready:
            return otherwise
        return [Probe.model_validate(probe) for probe in self._ready[name]["probes"]]

    def hidden(self, name: str, otherwise: Mapping[str, str] = _NONE) -> Mapping[str, str]:
        """The secrets that a node had when it became ready; others if that is not known."""
        return dict(self._ready.get(name, {}).get("hidden") or otherwise)

    def became_ready(self, name: str) -> bool:
        """Whether a node's machine is one that became ready."""
        return name in self._became_ready

    def mask(self, name: str, planned: NodePlan | None) -> Callable[[str], str]:
        """What takes secrets out of what a node's machine has written: those of its readiness, and those of the spec.

        Args:
            name: The node's name; it has a machine.
            planned: The node as planned; ``None`` if the spec does not have it, or cannot be read.

        Raises:
            FleetError: The machine has not become ready, and which secrets it has cannot be known.
        """
        if not self.became_ready(name):
            if planned is None:
                raise FleetError(
                    f"The console of {name} may hold secrets, and which ones is not known: it has not become ready, "
                    "and the spec, if there is one, does not have it."
                )
            if planned.unread:
                raise FleetError(f"The console of {name} may hold a secret that cannot be read. {planned.unread[0]}")
        # Both values of a secret that has changed since.
        had, has = Mask(self.hidden(name, {})), Mask(planned.hidden if planned else {})
        return lambda text: has(had(text))

    def peer(
        self,
        name: str,
        probes: Sequence[Probe] = (),
        hidden: Mapping[str, str] = _NONE,
        report: ReportAccess | None = None,
    ) -> Peer:
        """How a deployed node can be reached and asked.

        It is at the address and the ports, and by the probes, that it was deployed with, which the spec and the stack's
        options may have changed since.

        Args:
            name: The node's name; it has a machine.
            probes: What to ask one that has not become ready yet.
            hidden: Its secrets, if the state does not know them.
            report: How the report of one can be had that has not become ready yet.
        """
        address = str(self.nodes.get(name, {}).get("address", ""))
        peer = self._platform.deployed_peer(name, address, self._machines[name], self._probes(name, probes))
        access = self._reports.get(name, report)
        if access and not access.host:
            # An earlier fleet has not noted it.
            shown = str(self.nodes.get(name, {}).get("config") or "")
            access = replace(access, host=host_name(shown) if shown.startswith("{") else "")
        return replace(peer, hidden=self.hidden(name, hidden), report=access)

    def _planned_peer(self, node: NodePlan) -> Peer:
        """How a deployed node can be asked, as planned where it has not become ready yet."""
        return self.peer(node.name, node.probes, node.hidden, report_access(self._platform, node))

    def reports(self, nodes: Sequence[NodePlan]) -> dict[str, Report | str]:
        """What nodes say of themselves, asked all at once; why that is not known of those that say nothing.

        Args:
            nodes: Those that are asked; what has no machine is left out. Of one that could be asked and does not
                answer, the reason is a :class:`Silence`.
        """
        asked = [node for node in nodes if node.name in self.machines and node.name in self.nodes]
        with ThreadPoolExecutor(_CONCURRENT_REPORTS) as pool:
            answers = pool.map(lambda node: report_of(self._planned_peer(node)), asked)
            return {node.name: answer for node, answer in zip(asked, answers, strict=True)}

    def not_ready(self, nodes: Sequence[NodePlan], *, patience: float = 0, by_report: bool = True) -> dict[str, str]:
        """Which nodes are not ready, and why.

        Args:
            nodes: Those that are asked, all at once.
            patience: Seconds for which nodes are asked again that were ready when they were made.
            by_report: Whether their reports are asked, too.
        """
        deployed = [node for node in nodes if node.name in self.machines and node.name in self.nodes]
        peers = [{"name": node.name, **self._planned_peer(node).describe()} for node in deployed]
        if not by_report:
            peers = [{**peer, "report": None} for peer in peers]
        ready = [peer for peer in peers if peer["name"] in self._ready]
        others = [peer for peer in peers if peer["name"] not in self._ready]
        with ThreadPoolExecutor(1) as beside:
            answers = beside.submit(not_ready, others)
            reasons = {
                **{node.name: "it has no machine" for node in nodes if node not in deployed},
                **{peer["name"]: "it did not get ready in the last update" for peer in others},
                **not_ready(ready, patience=patience),
                **answers.result(),
            }
        return {node.name: reasons[node.name] for node in nodes if node.name in reasons}

    def asked(self, nodes: Sequence[NodePlan]) -> tuple[dict[str, str], dict[str, Report | str]]:
        """What nodes answer now, all asked at once.

        Args:
            nodes: Those that are asked.

        Returns:
            Why nodes are not ready, as far as their machines and their probes show it; and :meth:`reports`.
        """
        with ThreadPoolExecutor(1) as other:
            reports = other.submit(self.reports, nodes)
            return self.not_ready(nodes, by_report=False), reports.result()

    def since(self, name: str) -> float | None:
        """When a node became ready, or, if it has not, when its machine was made, in seconds since the epoch.

        ``None``: there is no such node, or an engine made it that did not note when.
        """
        created = self._created.get(name)
        return datetime.fromisoformat(str(created)).timestamp() if created else None


def report_of(peer: Peer) -> Report | str:
    """What a node says of itself, or why that is not known; a :class:`Silence` if it could be asked."""
    if peer.report is None:
        return "it has none: the spec says `report: false`, or an earlier fleet made the node"
    address = str(peer.address)
    described = peer.describe()
    try:
        return ask_report(
            peer.report, address, endpoints_of(address, described["endpoints"]), mask=Mask(dict(peer.hidden))
        )
    except NotReadyError as error:
        return Silence(error)
    except UnknownReportError as error:
        return str(error)


def with_config(node: NodePlan, config: tuple[str, str], platform: Platform) -> NodePlan:
    """A planned node with a recorded config.

    Args:
        node: The node.
        config: Its Ignition config, and what may be shown of it.
        platform: The stack's platform.

    Raises:
        FleetError: The platform does not take a config of its size any more.
    """
    ignition, shown = config
    machine = MachineConfig(ignition, json.loads(ignition)["ignition"]["version"])
    secret = shown != ignition
    delivery = deliver(machine, platform.limits, node=node.name, shown=shown if secret else "")
    return replace(node, config=machine, delivery=delivery, shown=shown, secret=secret, unread=node.unasked)


def _digest(ignition: str) -> str:
    """The digest of a config, as :attr:`fleet.plan.MachineConfig.digest` has it."""
    return hashlib.sha256(ignition.encode()).hexdigest()
