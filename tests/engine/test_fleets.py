"""Groups of nodes on the real engine: who goes when, who holds whom back, and that nothing is ever lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

from tests.conftest import FLEET, STACK
from tests.engine.stack import GROUP, OFFSET, Stack, looked_at


def group(count: int, greeting: str, *more: str, name: str = "web", port: int = 8080) -> str:
    return GROUP.format(count=count, greeting=greeting, name=name, port=port) + "".join(
        f"    {line}\n" for line in more
    )


def write(stack: Stack, *groups: str) -> None:
    stack.write("fleet.yaml", "version: 1\nname: web\ngroups:\n" + "".join(groups))


def watched(count: int) -> contextlib.AbstractContextManager[list[int]]:
    return looked_at([f"127.0.0.1:{8080 + 1000 * index + OFFSET}" for index in range(count)])


def test_of_five_nodes_one_is_down_at_a_time(stack: Stack) -> None:
    write(stack, group(5, "one"))
    assert stack.up().status == 0
    assert stack.started() == [f"web-{index}" for index in range(5)]
    assert "nothing changes" in stack.up().out

    write(stack, group(5, "two"))
    with watched(5) as down:
        assert stack.up().status == 0
    assert max(down) == 1
    assert stack.started() == [f"web-{index}" for index in range(5)]


def test_an_unready_third_node_stops_the_rollout_until_it_is_well(stack: Stack) -> None:
    override = "nodes: {2: {snippets: [{path: sick.bu}]}}"
    files = "storage: {files: [{path: /etc/sick, contents: {inline: x}}]}\n"
    stack.write("sick.bu", f"variant: fcos\nversion: 1.6.0\n{files}")
    write(stack, group(5, "one"))
    assert stack.up().status == 0
    stack.started()
    write(stack, group(5, "two", override))
    with watched(5) as down:
        failed = stack.up()
    assert failed.status == 1
    assert (
        "Node web-2 is not ready: http port 8080 / timed out after 8 s; last response: status 503, not 200"
        in failed.err
    )
    assert "2 nodes untouched: web-3, web-4." in failed.err
    assert "`fleet logs fleet.yaml web-2 --stack test` shows more" in failed.err
    assert max(down) == 1
    assert stack.started() == ["web-0", "web-1", "web-2"]
    repeated = stack.up()
    assert repeated.status == 1
    assert stack.started() == []
    write(stack, group(5, "two"))
    healed = stack.up()
    assert healed.status == 0, healed
    assert stack.started() == ["web-2", "web-3", "web-4"]


def test_a_window_of_two_has_two_down_at_most_and_a_canary_goes_alone(stack: Stack) -> None:
    write(stack, group(5, "one", "rollout: {window: 40%, canary: true, order: [3]}"))
    assert stack.up().status == 0
    stack.started()
    write(stack, group(5, "two", "rollout: {window: 40%, canary: true, order: [3]}"))
    with watched(5) as down:
        assert stack.up().status == 0
    assert max(down) <= 2
    order = stack.started()
    assert order[0] == "web-3"
    assert sorted(order[1:3]) == ["web-0", "web-1"]
    assert sorted(order[3:]) == ["web-2", "web-4"]


def test_a_sick_node_and_a_new_config_never_cost_a_second_node(stack: Stack) -> None:
    write(stack, group(3, "one"))
    assert stack.up().status == 0
    stack.started()
    stack.sicken("web-1")
    write(stack, group(3, "two"))
    plain = stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
    assert plain.status != 0
    assert "Node web-0 is left as it is: web-1 is not ready (http port 8080 /: status 503, not 200)" in plain.out
    assert "--target '**::web-1'" in plain.out
    assert stack.started() == []

    status = stack.fleet("status", *STACK)
    assert status.status == 1
    assert [line.split()[:3] for line in status.out.splitlines()[1:]] == [
        ["web-0", "ready", "outdated"], ["web-1", "not", "ready"], ["web-2", "ready", "outdated"],
    ]  # fmt: skip

    # The sick one goes first; while it does not get well, no other is touched.
    failed = stack.up()
    assert failed.status == 1
    assert "Not ready, so re-provisioned first: web-1." in failed.out
    assert stack.started() == ["web-1"]
    assert stack.up().status == 1
    assert stack.started() == []
    stack.heal("web-1")
    assert stack.up().status == 0
    assert stack.started() == ["web-0", "web-2"]
    assert stack.fleet("status", *STACK).status == 0


def test_a_node_that_answers_late_is_not_taken_for_sick(stack: Stack) -> None:
    write(stack, group(2, "one"))
    assert stack.up().status == 0
    stack.started()
    stack.sicken("web-1")
    write(stack, group(2, "two"))
    late = threading.Timer(12, stack.heal, ["web-1"])
    late.start()
    changed = stack.up()
    late.join()
    assert changed.status == 0, changed
    assert "re-provisioned first" not in changed.out
    assert stack.started() == ["web-0", "web-1"]


def test_a_config_that_never_worked_can_be_mended(stack: Stack) -> None:
    files = "storage: {files: [{path: /etc/sick, contents: {inline: x}}]}\n"
    stack.write("sick.bu", f"variant: fcos\nversion: 1.6.0\n{files}")
    write(stack, group(3, "one", "snippets: [sick.bu]"))
    assert stack.up().status == 1
    assert stack.started() == ["web-0"]
    # Its peers are not ready either, since they have never been made.
    write(stack, group(3, "one"))
    mended = stack.up()
    assert mended.status == 0, mended
    assert stack.started() == ["web-0", "web-1", "web-2"]


def test_scaling_adds_and_removes_from_the_highest_index_and_touches_no_other(stack: Stack) -> None:
    write(stack, group(2, "one"))
    assert stack.up().status == 0
    stack.started()
    write(stack, group(4, "one"))
    assert stack.up().status == 0
    assert stack.started() == ["web-2", "web-3"]
    write(stack, group(1, "one"))
    down = stack.up()
    assert "3 removed, 1 unchanged" in down.out
    assert stack.started() == []
    # More nodes and a new config at once: what is new is no peer yet.
    write(stack, group(3, "two"))
    assert stack.up().status == 0
    assert stack.started() == ["web-0", "web-1", "web-2"]


def test_a_group_that_comes_after_another_waits_for_it_and_changes_without_it(stack: Stack) -> None:
    write(stack, group(2, "one", "after: [server]"), group(2, "one", name="server", port=8180))
    stack.edit("fleet.yaml", "  server:\n", "  server:\n    rollout: {window: 2}\n")
    stack.write("Pulumi.test.yaml", (stack.path / "Pulumi.test.yaml").read_text().replace(
        f"port_offset: {OFFSET}", f'port_offset: {OFFSET}, host_ports: {{"server-0:22": 17222, "server-1:22": 19222}}'
    ))  # fmt: skip
    result = stack.up()
    assert result.status == 0, result
    started = stack.started()
    assert sorted(started[:2]) == ["server-0", "server-1"]
    assert started[2:] == ["web-0", "web-1"]
    line = '"8080:80"]\n        environment: {GREETING: "%s"}'
    stack.edit("fleet.yaml", line % "one", line % "two")
    assert stack.up().status == 0
    assert stack.started() == ["web-0", "web-1"]


def test_a_node_is_drained_before_it_goes_and_stays_if_it_cannot_be(stack: Stack) -> None:
    stack.write(
        "draining.py",
        "import os, pathlib\n\n\ndef drain(node, address):\n"
        "    if pathlib.Path(os.environ['STAND_IN_LOG']).with_name('busy').exists():\n"
        "        raise RuntimeError('jobs are running')\n"
        "    with open(os.environ['STAND_IN_LOG'], 'a') as log:\n        log.write(f'0 drained-{node}\\n')\n",
    )
    write(stack, group(2, "one", "drain: {function: 'draining:drain'}"))
    assert stack.up().status == 0
    stack.started()
    write(stack, group(2, "two", "drain: {function: 'draining:drain'}"))
    busy = stack.log.with_name("busy")
    busy.touch()
    failed = stack.up()
    assert failed.status == 1
    assert "Node web-0 cannot be drained by draining:drain: RuntimeError: jobs are running" in failed.err
    assert stack.started() == []
    busy.unlink()
    assert stack.up().status == 0
    assert stack.started() == ["drained-web-0", "web-0", "drained-web-1", "web-1"]


def test_one_node_is_replaced_by_hand_if_its_peers_are_well(stack: Stack) -> None:
    write(stack, group(2, "one"))
    assert stack.up().status == 0
    stack.started()
    assert stack.fleet("replace", "fleet.yaml", "web-1", "--stack", "test", "--yes").status == 0
    assert stack.started() == ["web-1"]
    stack.sicken("web-0")
    refused = stack.fleet("replace", "fleet.yaml", "web-1", "--stack", "test", "--yes")
    assert refused.status == 1
    assert "web-0 is not ready" in refused.err
    assert stack.started() == []


def test_a_node_that_is_down_itself_is_replaced_whatever_its_peers_are(stack: Stack) -> None:
    write(stack, group(3, "one"))
    assert stack.up().status == 0
    stack.started()
    stack.sicken("web-0")
    for pid in [pid for pid, line in stack.running("qemu").items() if "-name web-1-" in line]:
        os.kill(pid, signal.SIGKILL)
    replaced = stack.fleet("replace", "fleet.yaml", "web-1", "--stack", "test", "--yes")
    assert replaced.status == 0, replaced
    assert stack.started() == ["web-1"]
    refused = stack.fleet("replace", "fleet.yaml", "web-2", "--stack", "test", "--yes")
    assert refused.status == 1
    assert "Node web-2 is left as it is: web-0 is not ready" in refused.err
    assert "Replace web-0 first" in refused.err
    write(stack, group(3, "two"))
    renewed = stack.fleet("replace", "fleet.yaml", "web-0", "--stack", "test", "--yes", "--new-config")
    assert renewed.status == 1, renewed  # it is sick whatever its config
    assert stack.started() == ["web-0"]


def test_a_second_update_waits_for_the_first_and_then_says_who_holds_the_stack(stack: Stack) -> None:
    write(stack, group(1, "sick"))
    stack.edit("fleet.yaml", "ready_timeout: 8", "ready_timeout: 40")
    first = subprocess.Popen(
        [FLEET, "up", *STACK, "--yes"],
        cwd=stack.path, env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    locks = stack.path / ".pulumi/locks"
    deadline = time.monotonic() + 120
    while not list(locks.rglob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = stack.up()
    assert second.status == 1
    assert "Another update of stack test is going on" in second.err
    stack.edit("fleet.yaml", "sick", "well")
    stack.edit("fleet.yaml", "ready_timeout: 40", "ready_timeout: 8")
    # The first has not ended yet; the third update has it wait until it has.
    third = stack.up()
    assert third.status == 0, third
    first.wait()
