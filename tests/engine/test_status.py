"""``fleet status``, of nodes that tell how they are."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

from tests.conftest import FLEET, STACK
from tests.engine.places import CloudPlace, QemuPlace
from tests.engine.reports import RESTARTS, UNKNOWN_IMAGE


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()[1:]]


def test_status_shows_what_runs_on_every_node(qemu: QemuPlace) -> None:
    qemu.write("one")
    before = qemu.fleet("status")
    assert before.status == 1
    assert rows(before.out) == [[f"web-{i}", "not", "made", "-", "-", "-", "-", "-"] for i in (0, 1)]

    up = qemu.fleet("up")
    assert up.status == 0, up
    well = qemu.fleet("status")
    assert well.status == 0, well
    for index, row in enumerate(rows(well.out)):
        assert row[:5] == [f"web-{index}", "ready", "current", "44.1", "127.0.0.1"]
        assert row[-1] == "1/1"

    def told() -> tuple[int, dict[str, Any]]:
        result = qemu.fleet("status", "--json")
        return result.status, json.loads(result.out)

    status, document = told()
    assert (status, document["version"], document["stack"], document["well"]) == (0, 1, "test", True)
    first = document["nodes"][0]
    assert (first["node"], first["state"], first["config"], first["release"]) == ("web-0", "ready", "current", "44.1")
    assert first["endpoints"]["8080"] == qemu.page("web-0")
    assert 0 < first["age_seconds"] < 3600
    assert {unit["name"] for unit in first["report"]["units"]} >= {"hello", "site"}

    # Its probe answers, and yet it is not well.
    qemu.trouble("web-1", {"hello": RESTARTS})
    ailing = qemu.fleet("status")
    assert ailing.status == 1
    assert rows(ailing.out)[0][:3] == ["web-0", "ready", "current"]
    assert rows(ailing.out)[1][:4] == ["web-1", "not", "ready", "current"]
    assert ailing.out.splitlines()[2].endswith("0/1: hello restarts, 12 times: it exits with status 1")
    qemu.trouble("web-1", {"hello": UNKNOWN_IMAGE})
    drawn = qemu.fleet("graph", "--live", "--format", "dot")
    assert drawn.out.count("not ready") == 1, drawn
    assert "not ready" not in qemu.fleet("graph", "--format", "dot").out
    status, document = told()
    assert (status, document["well"]) == (1, False)
    (container,) = document["nodes"][1]["containers"]
    assert container["problem"] == "restarts, 12 times: the registry has no such image or tag (manifest unknown)"
    assert (container["well"], container["restarts"], container["exit_code"]) == (False, 12, 125)

    # Its probe does not answer, its containers run, and the spec has another config for it and no longer the other.
    qemu.trouble("web-1", {})
    qemu.sicken("web-0")
    qemu.write("two", count=1)
    sick = qemu.fleet("status")
    assert sick.status == 1
    assert rows(sick.out)[0][:4] == ["web-0", "not", "ready", "outdated"]
    assert "1/1; http port 8080 /: status 503, not 200" in sick.out
    assert rows(sick.out)[1][:4] == ["web-1", "to", "be", "removed"]


def test_status_says_where_containers_cannot_be_known_and_watches(aws: CloudPlace) -> None:
    aws.write("one", count=1)
    up = aws.fleet("up")
    assert up.status == 0, up
    shown = aws.fleet("status")
    assert shown.status == 0, shown
    assert "not known: " in shown.out
    (node,) = json.loads(aws.fleet("status", "--json").out)["nodes"]
    assert (node["state"], node["report"]) == ("ready", None)
    assert "report_from" in node["unknown"]

    watching = subprocess.Popen(
        [FLEET, "status", *STACK, "--watch", "--json"],
        cwd=aws.stack.path, env=aws.stack.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout
    assert json.loads(watching.stdout.readline())["well"] is True
    aws.sicken("web-0")
    while json.loads(watching.stdout.readline())["well"]:
        pass
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate()
    assert (watching.returncode, said) == (130, "")
