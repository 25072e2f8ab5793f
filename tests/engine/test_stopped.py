"""Updates that are asked to stop, and providers whose engine is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import FLEET, STACK
from tests.engine.places import QemuPlace
from tests.engine.stack import GROUP
from tests.engine.test_killed import change, processes, repaired

NODES = ["web-0", "web-1", "web-2"]


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Command:
    """A command in a session of its own, whose output goes to files."""

    def __init__(self, place: QemuPlace, *command: str | Path) -> None:
        self.output = place.stack.log.with_name("output")
        with self.output.open("w") as output:
            self._process = subprocess.Popen(
                command,
                cwd=place.stack.path,
                env={**place.stack.environment, "PATH": f"{place.stack.environment['PATH']}:{FLEET.parent}"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def status(self) -> int:
        return self._process.wait(60)

    def left(self, *, of: str = "") -> list[tuple[int, str]]:
        """The processes that are left of it, or of a part."""
        return [(pid, arguments) for pid, arguments in processes(self._process.pid) if of in arguments]


@contextlib.contextmanager
def held(place: QemuPlace, *command: str | Path, says: str = "") -> Iterator[Command]:
    """Run a command to where the new machine of web-0 runs and is not ready, or to where it says something; the machine
    is ready after the context.
    """
    hold = place.stack.log.with_name("hold")
    hold.touch()
    place.started()
    running = Command(place, *command)
    try:
        until(lambda: says in running.output.read_text() if says else "web-0" in place.stack.log.read_text())
        yield running
    finally:
        hold.unlink()


def locks(place: QemuPlace) -> list[Path]:
    return [file for file in (place.stack.path / ".pulumi/locks").rglob("*") if file.is_file()]


def test_a_signal_ends_an_update_after_the_step_that_is_going_on(qemu: QemuPlace) -> None:
    change(qemu, "one")
    assert qemu.fleet("up").status == 0
    disks = qemu.disks()
    # A node whose machine was removed gets its new one.
    for number, says in ((signal.SIGTERM, "web-0  stopping"), (signal.SIGHUP, ""), (signal.SIGINT, "")):
        change(qemu, f"held-{number}")
        with held(qemu, FLEET, "up", *STACK, "--yes", says=says) as update:
            update.send(number)
            until(lambda: "Stopping after the step" in update.output.read_text())
        assert update.status() == 128 + number, update.output.read_text()
        message = update.output.read_text()
        assert "web-0  ready after" in message
        assert "Stopped; the same command goes on from here." in message
        assert not update.left()
        assert not locks(qemu)
        assert not qemu.state().get("pending_operations")
        assert qemu.started() == ["web-0"]
        assert f"held-{number}" in qemu.running()["web-0"].config
        assert f"held-{number}" not in qemu.running()["web-1"].config
    repaired(qemu, disks, "stopped")
    assert qemu.started() == ["web-1", "web-2"]


def test_a_second_signal_ends_all_at_once_without_a_traceback(qemu: QemuPlace) -> None:
    change(qemu, "one")
    assert qemu.fleet("up").status == 0
    disks = qemu.disks()
    change(qemu, "held")
    with held(qemu, FLEET, "up", *STACK, "--yes") as update:
        update.send(signal.SIGTERM)
        until(lambda: "Stopping after the step" in update.output.read_text())
        update.send(signal.SIGTERM)
        assert update.status() == 128 + signal.SIGTERM
        assert not update.left()
        assert "Traceback" not in update.output.read_text()
        assert "Stopped at once" in update.output.read_text()
    repaired(qemu, disks, "stopped at once")


DRAINED = """\
    drain: {function: 'draining:drain', timeout: 600}
    ready_timeout: 600
"""


@pytest.mark.parametrize("part", ["the engine", "the provider"])
def test_what_a_provider_does_ends_when_its_engine_is_gone(qemu: QemuPlace, part: str) -> None:
    qemu.stack.write(
        "draining.py",
        "import pathlib, subprocess\n\n\ndef drain(node, address):\n"
        "    if not pathlib.Path('drained').exists():\n"
        "        pathlib.Path('draining').touch()\n"
        "        subprocess.run(['sleep', '1234'])\n",
    )
    pulumi = ("pulumi", "up", "--yes", "--skip-preview", "--stack", "test")
    assert qemu.stack.pulumi("stack", "init", "test").status == 0

    def write(greeting: str) -> None:
        group = GROUP.format(name="web", count=1, port=8080, greeting=greeting)
        qemu.stack.write(
            "fleet.yaml", "version: 1\nname: web\ngroups:\n" + group.replace("    ready_timeout: 8\n", DRAINED)
        )

    def kill(update: Command) -> None:
        for pid, _ in update.left(of="pulumi up" if part == "the engine" else "-m pulumi.dynamic"):
            os.kill(pid, signal.SIGKILL)

    write("held")
    with held(qemu, *pulumi) as update:
        until(lambda: update.left(of="-m pulumi.dynamic"))
        kill(update)
        until(lambda: not update.left(of="-m pulumi.dynamic"))
    repeated = qemu.fleet("up")
    assert repeated.status == 0, repeated

    write("two")
    update = Command(qemu, *pulumi)
    until((qemu.stack.path / "draining").exists)
    until(lambda: update.left(of="sleep 1234"))
    kill(update)
    until(lambda: not update.left(of="sleep 1234"))
    until(lambda: not update.left(of="multiprocessing"))
    until(lambda: not update.left(of="-m pulumi.dynamic"))
    for pid, _ in update.left():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    (qemu.stack.path / "drained").touch()
    last = qemu.fleet("up")
    assert last.status == 0, last
    assert "web-0  ready after" in last.out
