"""What ``fleet status`` shows of nodes, by what they report."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console

from fleet.cli import status as cli
from fleet.cli.status import table
from fleet.dynamic.tokens import GATE, NODE, READY
from fleet.errors import FleetError
from fleet.model import attributes
from fleet.ops.session import Session
from fleet.ops.signals import Stopped
from fleet.ops.state import Deployed, Silence
from fleet.ops.status import ContainerStatus, FleetStatus, NodeStatus, State, status_of
from fleet.plan import Disk, LockedImage, NodePlan
from fleet.plan.report import CAUSES, Report
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from tests.conftest import Folder

NOW = 1_800_000_000.0
WELL = {"active": "active", "sub": "running", "load": "loaded", "result": "success", "seconds": 3600.0}
GHOST = {**WELL, "active": "activating", "sub": "auto-restart", "restarts": 12, "cause": "image-unknown"}


def report(*units: Mapping[str, Any], **more: Any) -> Report:
    """A report whose units are well but for what is said of them."""
    whole = [{"kind": "container", **WELL, "unit": f"{unit['name']}.service", **unit} for unit in units]
    return Report.model_validate(
        {"version": 1, "release": "44.20260705.3.0", "uptime_seconds": 60, "units": whole, **more}
    )


@pytest.fixture
def node(folder: Folder) -> NodePlan:
    where = platform("qemu", project=folder.path, stack="test")
    (planned,) = plan_spec(folder.path / "fleet.yaml", Resolver(), where, need_lock=False).nodes
    disk = Disk(location="/44.1.qcow2", sha256="ab" * 32, uncompressed_sha256="ab" * 32)
    return dataclasses.replace(planned, image=LockedImage(release="44.1", ignition_spec="3.5.0", disks={"qemu": disk}))


@pytest.fixture
def deployed(folder: Folder, node: NodePlan) -> Deployed:
    """A stack in which the node is as it is planned, and became ready two hours ago."""
    where = platform("qemu", project=folder.path, stack="test")

    def resource(kind: str, **outputs: Any) -> dict[str, Any]:
        urn = f"urn:pulumi:test::web::{kind}::web-0"
        return {"urn": urn, "type": kind, "id": "web-0-1", "outputs": outputs, "created": "2027-01-15T06:00:00Z"}

    shape = where.shape(node)
    gate = resource(GATE, trigger=where.trigger(node), shape=shape) | {"inputs": {"shape": shape}}
    ready = resource(READY, instance="web-0-1", address="127.0.0.1", endpoints={}, probes=[])
    machine = resource(where.machine_type)
    return Deployed(
        [gate, ready, machine, resource(NODE, digest=node.config.digest, config=node.shown, address="127.0.0.1")], where
    )


def shown(node: NodePlan, deployed: Deployed, told: Report | str, answer: str = "") -> NodeStatus:
    exported = {"address": "127.0.0.1", "endpoints": {"8080": "127.0.0.1:8080", "22": "127.0.0.1:2222"}}
    return status_of(node, deployed, answer, told, exported, now=NOW)


def line(status: NodeStatus) -> str:
    """The line of a node, its columns two spaces apart."""
    return re.sub(" {2,}", "  ", [str(each) for each in table(FleetStatus("web", "test", (status,)))][1])


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    (GHOST, "0/1: ghost restarts, 12 times: the registry has no such image or tag (manifest unknown)"),
    *[({**GHOST, "cause": cause}, f"0/1: ghost restarts, 12 times: {text}") for cause, text in CAUSES.items()],
    ({**GHOST, "cause": "", "exit_code": 3}, "0/1: ghost restarts, 12 times: it exits with status 3"),
    ({"active": "failed", "sub": "failed", "result": "timeout"}, "0/1: ghost failed (timeout)"),
    ({"active": "activating", "sub": "start", "pulling": True}, "0/1: ghost pulls its image"),
    ({"active": "activating", "sub": "start"}, "0/1: ghost is starting"),
    ({"health": "unhealthy"}, "0/1: ghost is unhealthy"),
    ({"health": "starting"}, "0/1: ghost has not passed its health check yet"),
    ({"seconds": 2.0}, "0/1: ghost is settling"),
    ({"seconds": 2.0, "restarts": 3}, "0/1: ghost restarted 2 s ago, 3 times"),
    ({"kind": "mount", "active": "inactive", "sub": "dead"}, "-: data disk ghost "),
    ({"kind": "timer", "active": "failed"}, "-: timer ghost failed"),
    ({"kind": "pod", "active": "failed"}, "-: pod ghost failed"),
]


@pytest.mark.parametrize(("unit", "text"), PROBLEMS, ids=[text for _, text in PROBLEMS])
def test_a_node_is_not_ready_while_its_workload_is_not_well(
    unit: dict[str, Any], text: str, node: NodePlan, deployed: Deployed
) -> None:
    status = shown(node, deployed, report({"name": "ghost", **unit}))
    assert (status.state, status.reason) == ("not ready", "")
    assert status.workload.startswith(text)
    assert not FleetStatus("web", "test", (status,)).well
    for container in status.containers:
        assert not container.well
        assert f"ghost {container.problem}" == status.problems[0]


def test_a_node_whose_workload_runs_is_ready_and_shown_in_a_line(node: NodePlan, deployed: Deployed) -> None:
    units = [{"name": name} for name in ("caddy", "element", "synapse")]
    job = {"name": "backup", "expect": "on-demand", "active": "inactive", "sub": "dead"}
    status = shown(node, deployed, report(*units, job, update={"staged": "45.1"}))
    assert (status.state, status.config, status.workload, status.age_seconds) == ("ready", "current", "4/4", 7200)
    assert FleetStatus("web", "test", (status,)).well
    assert line(status) == "web-0  ready  current  44.20260705.3.0 (45.1 staged)  127.0.0.1  2 h  4/4"
    ailing = shown(node, deployed, report(*units, {"name": "ghost", **GHOST}), "http port 8080 /: status 503, not 200")
    assert line(ailing) == (
        "web-0  not ready  current  44.20260705.3.0  127.0.0.1  2 h  3/4: ghost restarts, 12 times: the registry has "
        "no such image or tag (manifest unknown); http port 8080 /: status 503, not 200"
    )


def test_what_cannot_be_known_is_said_and_makes_nothing_unwell(node: NodePlan, deployed: Deployed) -> None:
    status = shown(node, deployed, "report_from is empty, and SSH refused the key")
    assert (status.state, status.report, status.containers) == ("ready", None, ())
    assert line(status).endswith("  -  127.0.0.1  2 h  not known: report_from is empty, and SSH refused the key")
    # But one that could be asked, and does not answer, is down.
    silent = shown(node, deployed, Silence("its report does not answer: timed out"))
    assert (silent.state, silent.reason) == ("not ready", "its report does not answer: timed out")
    assert line(silent).count("timed out") == 1


def test_where_the_spec_leaves_readiness_to_the_probes_so_does_the_state(node: NodePlan, deployed: Deployed) -> None:
    lenient = dataclasses.replace(node, settle=None)
    status = shown(lenient, deployed, report({"name": "ghost", **GHOST}, {"name": "young", "seconds": 1}))
    assert status.state == "ready"
    assert status.workload.startswith("1/2: ghost restarts")


def test_a_node_that_was_never_made_is_not_outdated(node: NodePlan, folder: Folder) -> None:
    nothing = Deployed([], platform("qemu", project=folder.path, stack="test"))
    status = status_of(node, nothing, "it has no machine", None, {}, now=NOW)
    assert (status.state, status.config, status.age_seconds) == ("not made", "-", None)
    assert line(status) == "web-0  not made  -  -  -  -  -"


def test_a_node_whose_machine_is_gone_for_now_was_made(node: NodePlan, folder: Folder) -> None:
    gate = {"urn": f"urn:pulumi:test::web::{GATE}::web-0", "type": GATE, "outputs": {}}
    stopped = Deployed([gate], platform("qemu", project=folder.path, stack="test"))
    answers, reports = stopped.asked([node])
    status = status_of(node, stopped, answers["web-0"], reports.get("web-0"), {}, now=NOW)
    assert (status.state, status.reason) == ("not ready", "it has no machine")
    assert line(status) == "web-0  not ready  -  -  -  -  it has no machine"


def test_a_stack_without_nodes_is_said_to_have_none() -> None:
    assert [str(each) for each in table(FleetStatus("web", "test", ()))] == ["Stack test has no nodes."]


def test_several_groups_have_a_line_each_above_their_nodes() -> None:
    states: tuple[State, ...] = get_args(State)
    nodes = [NodeStatus(f"{group}-{i}", group, state) for group in ("db", "web") for i, state in enumerate(states)]
    lines = [str(each) for each in table(FleetStatus("web", "test", tuple(nodes)))]
    assert [each.split()[0] for each in lines] == [
        "node", "db:", *(f"db-{i}" for i in range(4)), "web:", *(f"web-{i}" for i in range(4)),
    ]  # fmt: skip
    assert lines[1] == "db: 1 of 4 ready"


@pytest.mark.parametrize("kind", [NodeStatus, ContainerStatus])
def test_every_key_of_the_document_is_explained(kind: type[Any]) -> None:
    assert list(attributes(kind)) == [each.name for each in dataclasses.fields(kind)]


def test_the_document_has_the_whole_report(node: NodePlan, deployed: Deployed) -> None:
    told = report({"name": "hello", "image": "sha256:ab"}, disks=[{"mount": "/", "size_bytes": 10}])
    status = FleetStatus("web", "test", (shown(node, deployed, told), NodeStatus("web-1", "web", "not made")))
    document = json.loads(json.dumps(status.document()))
    assert list(document) == ["version", "fleet", "stack", "well", "nodes"]
    first, second = document["nodes"]
    assert Report.model_validate(first["report"]) == told
    assert first["containers"][0]["image"] == "sha256:ab"
    assert second["report"] is None
    assert document["well"] is False


@pytest.mark.parametrize("terminal", [True, False])
def test_watching_goes_on_when_a_look_fails_and_ends_with_ctrl_c(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [NodeStatus("web-0", "web", "ready"), NodeStatus("web-0", "web", "not ready", "x" * 100)]
    looks: list[NodeStatus | FleetError | Stopped] = [nodes[0], FleetError("The stack is busy."), nodes[1], Stopped(2)]
    standard, errors = io.StringIO(), io.StringIO()
    console = Console(file=standard, force_terminal=terminal, width=60, soft_wrap=True, color_system=None)
    monkeypatch.setattr(cli, "out", console)
    monkeypatch.setattr(cli, "err", Console(file=errors, width=60))
    monkeypatch.setattr(cli, "_PAUSE", 0.0)

    def look(*_: object) -> FleetStatus:
        each = looks.pop(0)
        if not isinstance(each, NodeStatus):
            raise each
        return FleetStatus("web", "test", (each,))

    monkeypatch.setattr(Session, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(Session, "status", look)
    with pytest.raises(Stopped):
        cli.status(Path("fleet.yaml"), "test", watch=True)
    said = standard.getvalue()
    assert said.index("web-0  ready") < said.rindex("web-0  not ready")
    assert ("The stack is busy." in said) == terminal
    assert ("The stack is busy." in errors.getvalue()) == (not terminal)
    # In place, no line is longer than the terminal; a pipe has all of it.
    assert ("x" * 100 in said) == (not terminal)
