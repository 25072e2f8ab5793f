"""Updates that are killed: the next one repairs everything, on every platform."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.conftest import FLEET, STACK
from tests.engine.cases import SLOWLY
from tests.engine.places import STATELESS, CloudPlace, Place, QemuPlace
from tests.engine.stack import Stack

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
PARTS = {
    "engine": "pulumi --non-interactive up ",
    "program": "fleet up ",
    "provider": "-m pulumi.dynamic",
}


def processes(session: int) -> Iterator[tuple[int, str]]:
    """Number and command line of every process of a session that runs; one that has ended may wait to be collected."""
    output = subprocess.run(["ps", "-eo", "pid,sess,args"], capture_output=True, text=True).stdout
    for line in output.splitlines()[1:]:
        pid, of, arguments = line.split(None, 2)
        if int(of) == session and not arguments.endswith("<defunct>"):
            yield int(pid), arguments


def providers_left(session: int) -> list[str]:
    """The providers of a session that are left after they have had time to notice that their engine is gone."""
    deadline = time.monotonic() + 30
    while left := [arguments for _, arguments in processes(session) if PARTS["provider"] in arguments]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.1)
    return []


def killed(stack: Stack, part: str, delay: float, number: int) -> tuple[int, float | None]:
    """Start an update and send a part of it a signal after a while, or as soon after as there is one.

    Returns:
        Its session, and how many seconds it took if it ended before there was anything to kill.
    """
    update = subprocess.Popen(
        [FLEET, "up", *STACK, "--yes"],
        cwd=stack.path,
        env=stack.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    begin = time.monotonic()
    time.sleep(delay)
    while not (pids := [pid for pid, arguments in processes(update.pid) if PARTS[part] in arguments]):
        if update.poll() is not None:
            return update.pid, time.monotonic() - begin
        time.sleep(0.05)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        update.wait(30)
    return update.pid, None


def change(place: Place, greeting: str) -> None:
    place.write(greeting, count=3)
    # All nodes are well: a slow machine is no reason to stop.
    place.stack.edit("fleet.yaml", "ready_timeout: 8", "ready_timeout: 60")


def repaired(place: Place, disks: dict[str, int], why: object) -> None:
    """The next update makes all well, and leaves nothing behind."""
    result = place.fleet("up")
    assert result.status == 0, (why, result)
    state = place.state()
    assert not state.get("pending_operations"), why
    assert not [r for r in state["resources"] if r.get("delete")], why
    assert sorted(place.running()) == ["web-0", "web-1", "web-2"], why
    assert not place.orphans(), why
    assert place.disks() == disks, why
    assert "nothing changes" in place.fleet("up").out, why


def converges(place: Place, rounds: int, seed: int) -> None:
    source = random.Random(seed)
    change(place, "one")
    begin = time.monotonic()
    assert place.fleet("up").status == 0
    length = time.monotonic() - begin
    disks = place.disks()
    kills = 0
    for number in range(4 * rounds):
        part, by = source.choice(sorted(PARTS)), source.choice(SIGNALS)
        delay = source.uniform(0.1, length)
        change(place, f"round {number}")
        session, ended = killed(place.stack, part, delay, by)
        if ended is not None:
            # A later update may well be quicker than the first.
            length = min(length, ended)
            continue
        repaired(place, disks, (part, by.name, delay))
        assert not providers_left(session), (part, by.name, delay)
        kills += 1
        if kills == rounds:
            return
    pytest.fail(f"only {kills} of {rounds} updates were still going on when they were to be killed")


def begun(place: Place, *, forgotten: bool) -> None:
    """Have the state say that the last update was cut off while it made the machine of web-1.

    Args:
        place: Where.
        forgotten: The machine is not in the state but the one before it, removed; else another update came since.
    """
    state = json.loads(place.state_file.read_text())
    latest = state["checkpoint"]["latest"]
    (machine,) = (r for r in latest["resources"] if r["type"] in MACHINES and r["urn"].endswith("::web-1"))
    operation = {key: value for key, value in machine.items() if key not in ("id", "outputs")}
    latest["pending_operations"] = [{"resource": operation, "type": "creating"}]
    if forgotten:
        machine.update(id="an-earlier-one", pendingReplacement=True)
    place.state_file.write_text(json.dumps(state))


def plain_pulumi_recovers_or_names_what_does(place: Place) -> None:
    """A program cannot write into the state, but can end a machine of fleet's own."""
    place.started()
    if isinstance(place, QemuPlace):
        before = place.running()
        result = place.stack.pulumi("preview", "--stack", "test", "--non-interactive")
        assert result.status == 0, result.out
        assert place.running() == before
        result = place.stack.pulumi("up", "--yes", "--skip-preview", "--stack", "test", "--non-interactive")
        assert result.status == 0, result.out
        assert place.started() == ["web-1"]
    else:
        result = place.stack.pulumi("up", "--yes", "--skip-preview", "--stack", "test", "--non-interactive")
        assert result.status != 0, result.out
        message = " ".join(result.out.split())
        assert "The last update was interrupted, and whether" in message, result.out
        assert "Run `fleet up fleet.yaml --stack test`, which recovers the stack" in message, result.out
        assert "Traceback" not in result.out + result.err
        assert place.started() == []
    assert len(place.running()) == 3


MACHINES = {
    "pulumi-python:dynamic/fleet:QemuMachine",
    "aws:ec2/instance:Instance",
    "gcp:compute/instance:Instance",
    "digitalocean:index/droplet:Droplet",
    "libvirt:index/domain:Domain",
}


@pytest.mark.parametrize("place", SLOWLY, indirect=True)
def test_a_machine_whose_making_was_cut_off_is_not_left_behind(place: Place) -> None:
    change(place, "one")
    assert place.fleet("up").status == 0
    first, disks = place.running(), place.disks()
    begun(place, forgotten=True)
    plain_pulumi_recovers_or_names_what_does(place)
    repaired(place, disks, "cut off")
    second = place.running()
    assert second["web-0"] == first["web-0"]
    assert second["web-1"].disks == first["web-1"].disks

    # A note that is older than what has been made since harms no machine.
    begun(place, forgotten=False)
    repaired(place, disks, "noted")
    assert place.running() == second


@pytest.mark.parametrize("place", ["aws", "digitalocean"], indirect=True)
def test_a_new_machine_that_was_cut_off_beside_the_old_one_is_removed_and_no_other_stacks(place: CloudPlace) -> None:
    place.stack.write("fleet.yaml", STATELESS.format(count=2, more="", greeting="one"))
    assert place.fleet("up").status == 0
    first = place.running()
    begun(place, forgotten=False)
    kind, tags = {
        "aws": ("Instance", {"fleet-project": "shop"}),
        "digitalocean": ("Droplet", ["fleet-test-web-0123456789abcdef", "fleet-test-web-web-0123456789abcdef"]),
    }[place.cloud.package]
    old = place.cloud.resources[kind, first["web-1"].id]
    inputs = {key: value for key, value in old.items() if not key.startswith(("privateIp", "publicIp", "ipv4"))}
    place.cloud.create(kind, "web-1", inputs)
    # Another project's of the same names, in a network that both have joined.
    others = {**inputs["tags"], **tags} if isinstance(tags, dict) else tags
    neighbour, _ = place.cloud.create(kind, "web-1", {**inputs, "tags": others})
    assert len(place.world.machines) == 4
    result = place.fleet("up")
    assert result.status == 0, result
    assert neighbour in place.world.machines
    place.cloud.delete(kind, neighbour)
    assert place.running() == first
    assert not place.orphans()
    assert "nothing changes" in place.fleet("up").out


def test_a_state_is_read_whose_metadata_was_cut_off(qemu: QemuPlace) -> None:
    qemu.write("one", count=1)
    assert qemu.fleet("up").status == 0
    files = list((qemu.stack.path / ".pulumi").rglob("*.attrs"))
    assert qemu.state_file.with_name("test.json.attrs") in files
    for file in files:
        file.write_text("")
    repeated = qemu.fleet("up")
    assert repeated.status == 0, repeated
    assert "nothing changes" in repeated.out


def test_an_update_that_is_killed_is_repaired_by_the_next(qemu: QemuPlace) -> None:
    converges(qemu, rounds=4, seed=1)


@pytest.mark.long
def test_an_update_that_is_killed_at_any_of_fifty_moments_is_repaired_by_the_next(place: Place) -> None:
    converges(place, rounds=50, seed=2)
