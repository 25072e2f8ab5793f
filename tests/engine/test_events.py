"""The events of ``--json``, and the exit status of ``preview --detailed-exitcode``, on the real engine."""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import datetime
from typing import Any

from fleet.ops.events import EVENTS_VERSION, TYPES
from tests.conftest import Result
from tests.engine.places import CloudPlace, QemuPlace


def events(result: Result) -> list[dict[str, Any]]:
    """The events of a command, each of which is as it is documented; times never go back."""
    told = [json.loads(line) for line in result.out.splitlines()]
    for event in told:
        assert event["version"] == EVENTS_VERSION
        keys = [field.name for field in dataclasses.fields(TYPES[event["type"]])]
        assert list(event) == ["version", "type", "time", *keys]
    times = [datetime.fromisoformat(event["time"]) for event in told]
    assert all(before <= after for before, after in itertools.pairwise(times))
    return told


def of_node(told: list[dict[str, Any]], node: str) -> list[str]:
    return [event["type"] for event in told if event.get("node") == node]


def test_programs_are_told_of_a_rollout_as_it_goes(qemu: QemuPlace) -> None:
    qemu.write("one")
    previewed = qemu.fleet("preview", "--json", "--detailed-exitcode")
    assert previewed.status == 2, previewed
    told = events(previewed)
    assert [event["type"] for event in told] == ["begin", "planned", "planned", "summary"]
    assert (told[0]["command"], told[0]["stack"], told[0]["nodes"]) == ("preview", "test", ["web-0", "web-1"])
    assert told[-1]["changed"] is True
    assert told[-1]["counts"] == {"new": 2}

    up = qemu.fleet("up", "--json")
    assert up.status == 0, up
    told = events(up)
    assert told[0]["command"] == "up"
    for node in ("web-0", "web-1"):
        assert [kind for kind in of_node(told, node) if kind != "phase"] == ["planned", "starting", "waiting", "ready"]
    summary = next(event for event in told if event["type"] == "summary")
    assert [(each["node"], each["group"], each["result"]) for each in summary["nodes"]] == [
        (node, "web", "new") for node in ("web-0", "web-1")
    ]
    for index, each in enumerate(summary["nodes"]):
        assert each["seconds"] > 0
        assert each["endpoints"]["8080"] == qemu.page(f"web-{index}")
        assert each["ssh"].startswith("ssh ")

    same = qemu.fleet("preview", "--detailed-exitcode")
    assert same.status == 0, same
    assert "Nothing would change." in same.out
    assert qemu.fleet("preview").status == 0

    # What fails is told of its node, and at the end, as it is to people.
    qemu.write("sick")
    assert qemu.fleet("preview", "--detailed-exitcode").status == 2
    failed = qemu.fleet("up", "--json")
    assert failed.status == 1
    told = events(failed)
    assert of_node(told, "web-0")[-1] == "failed"
    assert of_node(told, "web-1")[-1:] in ([], ["planned"])
    assert told[-1]["type"] == "error"
    assert told[-1]["exit_status"] == 1
    assert failed.err == f"Error: {told[-1]['message']}\n"

    back = events(qemu.fleet("rollback", "--json"))
    assert back[0]["command"] == "rollback"
    assert next(event["counts"] for event in back if event["type"] == "summary") == {
        "re-provisioned": 1,
        "unchanged": 1,
    }

    gone = qemu.fleet("destroy", "--json")
    assert gone.status == 0, gone
    told = events(gone)
    assert {node: of_node(told, node) for node in ("web-0", "web-1")} == {
        node: ["planned", "stopping"] for node in ("web-0", "web-1")
    }
    summary = next(event for event in told if event["type"] == "summary")
    assert summary["counts"] == {"removed": 2}
    assert {event["disk"]: event["fate"] for event in told if event["type"] == "data-disk"} == {
        "web-0-site": "kept", "web-1-site": "kept",
    }  # fmt: skip


def test_people_see_a_rollout_end_in_a_line_a_node(aws: CloudPlace) -> None:
    aws.write("one", count=2)
    told = events(aws.fleet("up", "--json"))
    waiting = {event["node"]: event["address"] for event in told if event["type"] == "waiting"}
    assert waiting == {node: running.address for node, running in aws.running().items()}

    replaced = aws.stack.fleet("replace", "fleet.yaml", "web-1", "--stack", "test", "--yes", "--json")
    assert replaced.status == 0, replaced
    told = events(replaced)
    assert [kind for kind in of_node(told, "web-1") if kind != "phase"] == [
        "planned", "stopping", "starting", "waiting", "ready",
    ]  # fmt: skip
    assert of_node(told, "web-0") == []

    aws.write("one", count=3)
    up = aws.fleet("up")
    assert up.status == 0, up
    rows = [line.split() for line in up.out.partition("\nnode ")[2].splitlines()[1:4]]
    addresses = {node: running.address for node, running in aws.running().items()}
    assert [(row[0], row[1]) for row in rows] == [("web-0", "unchanged"), ("web-1", "unchanged"), ("web-2", "new")]
    assert all(addresses[row[0]] in row for row in rows)
    assert up.out.splitlines()[-1] == "`fleet ssh fleet.yaml web-0 --stack test` logs in."
