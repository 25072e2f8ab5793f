"""The status of a fleet: how every node is, from what a stack's state records, what nodes answer, and their reports.

``fleet status --json`` prints :meth:`FleetStatus.document`, which ``docs/reference/status.md`` explains; that page is
made from the classes here. The document has a ``version``: within one, keys are added, and none is removed or changes
its meaning. Nothing in it is a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from fleet.ops.state import Deployed, Silence
from fleet.plan import NodePlan
from fleet.plan.report import Problem, Report, UnitReport

STATUS_VERSION = 1

State = Literal["ready", "not ready", "not made", "to be removed"]
Config = Literal["current", "outdated", "-"]


@dataclass(frozen=True)
class ContainerStatus:
    """How a container is, as its node's report has it.

    Attributes:
        name: Its name in the spec.
        well: Whether it does what it is to do.
        problem: What is wrong with it, such as "restarts, 12 times: it exits with status 1"; empty if nothing is.
        passing: Whether that may pass by itself, as it is starting, pulling its image, or settling.
        unit: Its unit in systemd.
        active: The unit's ActiveState, such as "active".
        restarts: How often systemd has restarted it.
        exit_code: What it last ended with; `null` if that is not known.
        health: "starting", "healthy" or "unhealthy"; empty without a health check.
        image: The digest of the image that it runs; empty if it does not run.
    """

    name: str
    well: bool
    problem: str
    passing: bool
    unit: str
    active: str
    restarts: int
    exit_code: int | None
    health: str
    image: str


@dataclass(frozen=True)
class NodeStatus:
    """How a node is.

    Attributes:
        node: Its name.
        group: Its group's name.
        state: "ready"; "not ready"; "not made", though the spec has it; "to be removed", since the spec has it no
            longer. A node is ready if its probes answer and, as far as that is known, all of its workload does what it
            is to do.
        reason: Why it is not ready, as far as its probes and its machine show it; empty if these are well.
        config: "current"; "outdated" if an update would re-provision the node; "-" if there is nothing to compare, as
            for a program's stack, since the program is not run.
        containers: Its containers, as its report has them.
        problems: What its report shows to be wrong, each in words: of containers, and of pods, timers, data disks and
            what else the workload is made of.
        unknown: Why there is no report, or none that says how its containers are; empty if there is one.
        release: The release of the operating system that it runs; empty if that is not known.
        staged: The release that it starts with next time; empty if it is the same.
        address: Its address; empty if that is not known.
        endpoints: By port of the node, the host and port that reach it from outside, such as "127.0.0.1:8080".
        ssh: The command that logs in to it; empty if that is not known.
        age_seconds: Seconds since it became ready, or, if it has not, since its machine was made; `null` if that is not
            known.
        report: The whole report; `null` if there is none.
    """

    node: str
    group: str
    state: State
    reason: str = ""
    config: Config = "-"
    containers: tuple[ContainerStatus, ...] = ()
    problems: tuple[str, ...] = ()
    unknown: str = ""
    release: str = ""
    staged: str = ""
    address: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    ssh: str = ""
    age_seconds: float | None = None
    report: Report | None = None

    @property
    def workload(self) -> str:
        """How its containers are, in words: "3/4: ghost restarts, 12 times", "not known: ...", "-"."""
        if self.unknown:
            return f"not known: {self.unknown}"
        if self.report is None:
            return "-"
        well = sum(container.well for container in self.containers)
        count = f"{well}/{len(self.containers)}" if self.containers else "-"
        return f"{count}: {'; '.join(self.problems)}" if self.problems else count


@dataclass(frozen=True)
class FleetStatus:
    """How a fleet is.

    Attributes:
        fleet: The fleet's name.
        stack: The stack's name.
        nodes: The planned nodes, group by group, then those that are to be removed.
    """

    fleet: str
    stack: str
    nodes: tuple[NodeStatus, ...]

    @property
    def well(self) -> bool:
        """Whether every node is ready."""
        return all(node.state == "ready" for node in self.nodes)

    def document(self) -> dict[str, Any]:
        """The status as JSON's words."""
        nodes = []
        for node in self.nodes:
            words = {each.name: getattr(node, each.name) for each in fields(node)}
            words["containers"] = [asdict(container) for container in node.containers]
            words["report"] = node.report and node.report.model_dump(mode="json")
            nodes.append(words)
        return {
            "version": STATUS_VERSION, "fleet": self.fleet, "stack": self.stack, "well": self.well, "nodes": nodes,
        }  # fmt: skip


def statuses(
    nodes: Sequence[NodePlan],
    deployed: Deployed,
    exported: Mapping[str, Any],
    *,
    now: float,
    with_changes: bool = True,
) -> tuple[NodeStatus, ...]:
    """How nodes are, which are asked now, all at once.

    Args:
        nodes: The planned ones. A secret of theirs that could not be read counts as unchanged.
        deployed: What the state has.
        exported: What the stack exports of each node.
        now: The time, in seconds since the epoch.
        with_changes: Whether it is known what is planned, and so whether an update would re-provision nodes.
    """
    answers, reports = deployed.asked(nodes)
    planned = [
        status_of(
            node,
            deployed,
            answers.get(node.name, ""),
            reports.get(node.name),
            exported.get(node.name) or {},
            now=now,
            with_changes=with_changes,
        )
        for node in nodes
    ]
    others = sorted(deployed.machines.keys() - {node.name for node in nodes})
    removed = [
        NodeStatus(
            name,
            name.rpartition("-")[0],
            "to be removed",
            age_seconds=_age(deployed, name, now),
            **_place(deployed, name, exported.get(name) or {}),
        )
        for name in others
    ]
    return (*planned, *removed)


def status_of(
    node: NodePlan,
    deployed: Deployed,
    answer: str,
    report: Report | str | None,
    exported: Mapping[str, Any],
    *,
    now: float,
    with_changes: bool = True,
) -> NodeStatus:
    """How a planned node is.

    Args:
        node: The node.
        deployed: What the state has.
        answer: Why it is not ready as far as its probes and its machine show it; empty if these are well.
        report: Its report, or why there is none; ``None`` if it was not asked.
        exported: What the stack exports of it.
        now: The time, in seconds since the epoch.
        with_changes: As :func:`statuses`.
    """
    if node.name not in deployed.machines:
        if node.name in deployed.known:
            # It is just being re-provisioned, or an update stopped half way.
            return NodeStatus(node.name, node.group, "not ready", answer)
        return NodeStatus(node.name, node.group, "not made")
    if isinstance(report, Silence) and not answer and node.settle is not None:
        answer = str(report)
    told = report if isinstance(report, Report) else None
    problems = {problem.unit: problem for problem in told.problems(node.settle or 0)} if told else {}
    # With `settle: false`, what the report shows is told, and readiness is left to the probes.
    ailing = bool(problems) and node.settle is not None
    return NodeStatus(
        node.name,
        node.group,
        "not ready" if answer or ailing else "ready",
        answer,
        ("outdated" if deployed.changes(node) else "current") if with_changes else "-",
        tuple(_container(unit, problems.get(unit)) for unit in told.containers) if told else (),
        tuple(_words(problem) for problem in problems.values()),
        str(report) if isinstance(report, str) else "",
        told.release if told else "",
        told.update.staged if told else "",
        age_seconds=_age(deployed, node.name, now, told),
        report=told,
        **_place(deployed, node.name, exported),
    )


def _container(unit: UnitReport, problem: Problem | None) -> ContainerStatus:
    return ContainerStatus(
        unit.name,
        problem is None,
        problem.text if problem else "",
        bool(problem and problem.passing),
        unit.unit,
        unit.active,
        unit.restarts,
        unit.exit_code,
        unit.health,
        unit.image,
    )


def _words(problem: Problem) -> str:
    """A problem; what is no container is called what it is."""
    kind = {"mount": "data disk", "secrets": "", "other": ""}.get(problem.unit.kind, problem.unit.kind)
    return str(problem) if kind in ("", "container") else f"{kind} {problem}"


def _place(deployed: Deployed, name: str, exported: Mapping[str, Any]) -> dict[str, Any]:
    """Where a deployed node is: what the stack exports, or, of one that has not become ready, what its parts say."""
    endpoints = exported.get("endpoints") or {
        str(port): f"{host}:{number}" for port, (host, number) in deployed.peer(name).endpoints.items()
    }
    return {
        "address": str(exported.get("address") or deployed.nodes.get(name, {}).get("address") or ""),
        "endpoints": {port: str(endpoints[port]) for port in sorted(endpoints, key=int)},
        "ssh": str(exported.get("ssh") or ""),
    }


def _age(deployed: Deployed, name: str, now: float, report: Report | None = None) -> float | None:
    since = deployed.since(name)
    if since is not None:
        return max(round(now - since, 1), 0)
    return report.uptime_seconds if report else None
