"""The history of rollouts, on the real engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import STACK, Folder
from tests.engine import earlier
from tests.engine.places import QemuPlace
from tests.engine.stack import Stack

PLAIN = ("--stack", "test", "--non-interactive")


def history(stack: Folder) -> list[dict[str, Any]]:
    shown = stack.fleet("history", *STACK, "--json")
    assert shown.status == 0, shown
    return [json.loads(line) for line in shown.out.splitlines()]


def unchanged(stack: Stack) -> None:
    """Nothing is to be done, whoever looks, and nothing of that is noted."""
    before = history(stack)
    preview = stack.pulumi("preview", "--expect-no-changes", *PLAIN)
    assert preview.status == 0, preview
    assert "nothing changes" in stack.up().out
    assert history(stack) == before
    assert stack.started() == []


def test_every_rollout_stays_in_the_history_whoever_ran_it_and_however_it_ended(stack: Stack, tmp_path: Path) -> None:
    assert "has not been made yet" in stack.fleet("history", *STACK).err
    stack.spec(2, "one")
    assert stack.up().status == 0
    stack.spec(2, "two")
    plain = stack.pulumi("up", "--yes", *PLAIN)
    assert plain.status == 0, plain
    stack.started()
    unchanged(stack)
    stack.spec(2, "sick")
    failed = stack.up()
    assert failed.status == 1
    stack.spec(2, "two")
    assert stack.up().status == 0
    assert stack.started() == ["web-0", "web-0"]
    unchanged(stack)

    refused = stack.fleet("rollback", *STACK, "--yes", "--to", "3")
    assert refused.status == 1
    assert "The configs of rollout 3 of stack test are not kept. Kept are those of 1, 2, 4:" in refused.err
    assert stack.started() == []
    back = stack.fleet("rollback", *STACK, "--yes", "--to", "1")
    assert back.status == 0, back
    assert "Back to the configs of rollout 1 of 20" in back.out
    assert stack.started() == ["web-0", "web-1"]
    assert "one" in (stack.path / ".fleet/test/nodes/web-1/config.ign").read_text()
    stack.spec(2, "one")
    unchanged(stack)

    listed = history(stack)
    assert [(each["number"], each["command"], each["result"]) for each in listed] == [
        (1, "fleet up", "done"),
        (2, "pulumi up", "done"),
        (3, "fleet up", "stopped"),
        (4, "fleet up", "done"),
        (5, "fleet rollback --to 1", "done"),
    ]
    assert [each["configs_kept"] for each in listed] == [True, True, False, True, True]
    assert {each["who"].partition("@")[0] for each in listed} == {"root"}
    assert [each["back_to"] for each in listed] == [None, None, None, None, 1]
    reasons = ["file /etc/containers/systemd/hello.container changed"]
    both = [("web-0", "re-provisioned", reasons), ("web-1", "re-provisioned", reasons)]
    said = [[(node["node"], node["fate"], node["reasons"]) for node in each["nodes"]] for each in listed]
    assert said == [[("web-0", "new", []), ("web-1", "new", [])], both, both, both[:1], both]
    for each in listed:
        times = [each["began"], *(each_time for node in each["nodes"] for each_time in (node["began"], node["ready"]))]
        if each["number"] == 3:
            assert each["stopped_at"] == "web-0"
            assert each["reason"].startswith("Node web-0 is not ready: http port 8080")
            assert [time is None for time in times] == [False, False, True, True, True]
            assert each["ended"] is None
        else:
            # Nodes come one after the other.
            assert times == sorted(times)
            assert times[-1] <= each["ended"]

    table = stack.fleet("history", *STACK).out
    assert "web-0, web-1: re-provisioned: file /etc/containers/systemd/hello.container changed" in table
    assert "stopped at web-0: http port 8080" in table
    assert "back to 1; web-0, web-1: re-provisioned" in table
    one = stack.fleet("history", "fleet.yaml", "3", "--stack", "test").out
    assert one.startswith("Rollout 3: stopped at web-0: http port 8080")
    assert "web-1  untouched  re-provisioned: file" in one
    missing = stack.fleet("history", "fleet.yaml", "9", "--stack", "test")
    assert (missing.status, "It has 1, 2, 3, 4, 5." in missing.err) == (2, True)

    # The state is all that another machine needs: no passphrase, nor what this one has of the stack beside it.
    environment = {key: value for key, value in stack.environment.items() if key != "PULUMI_CONFIG_PASSPHRASE"}
    other = Folder(tmp_path / "other", {**environment, "PULUMI_BACKEND_URL": f"file://{stack.path}"})
    other.path.mkdir()
    for name in ("Pulumi.yaml", "Pulumi.test.yaml", "fleet.yaml"):
        shutil.copy(stack.path / name, other.path)
    assert history(other) == listed


def test_a_stack_of_an_earlier_fleet_gets_a_history_when_something_changes(qemu: QemuPlace) -> None:
    earlier.restore("qemu", qemu)
    stack = qemu.stack
    # What renders as it did then.
    stack.edit("fleet.yaml", "name: web\n", "name: web\nreport: false\n")
    assert [(each["number"], each["nodes"]) for each in history(stack)] == [(1, [])]
    assert qemu.fleet("replace", "web-1").status == 0
    assert stack.started() == ["web-1"]
    unchanged(stack)
    stack.edit("fleet.yaml", '"two"', '"three"')
    # Single nodes, as the error of a gate tells those who run plain Pulumi.
    targeted = stack.pulumi("up", "--yes", "--target", "**::db-0", *PLAIN)
    assert targeted.status == 0, targeted
    assert qemu.fleet("up").status == 0
    assert stack.started() == ["drained-db-0", "db-0", "web-0", "web-1"]
    unchanged(stack)
    assert [(each["command"], [node["node"] for node in each["nodes"]]) for each in history(stack)] == [
        ("", []),
        ("fleet replace web-1", ["web-1"]),
        ("", ["db-0"]),
        ("fleet up", ["web-0", "web-1"]),
    ]
    assert {each["result"] for each in history(stack)} == {"done"}
    assert qemu.fleet("rollback", "--to", "1").status == 0
    assert history(stack)[-1]["back_to"] == 1
