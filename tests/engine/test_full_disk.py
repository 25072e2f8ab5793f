"""Disks that were full, and machines that went down: files that are empty, or cut off, or under a temporary name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import FLEET, STACK, Result, small_disk
from tests.engine.places import CloudPlace, Place, QemuPlace
from tests.engine.test_killed import repaired
from tests.engine.test_stopped import held

AN_HOUR_AGO = time.time() - 3600


def old(file: Path) -> None:
    os.utime(file, (AN_HOUR_AGO, AN_HOUR_AGO))


def emptied(file: Path) -> None:
    file.write_bytes(b"")
    old(file)


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    old(file)


def under_a_temporary_name(file: Path) -> None:
    for name, text in (("18f3a0b1c2d3e4f5", b""), ("18f3a0b1c2d3e4f6", file.read_bytes())):
        temporary = file.with_name(f"{file.name}.{name}.tmp")
        temporary.write_bytes(text)
        old(temporary)


DAMAGES = (emptied, halved, under_a_temporary_name)


def lock(place: Place, name: str, text: str) -> None:
    file = place.stack.path / ".pulumi/locks/organization/web/test" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    old(file)


def files(place: Place) -> list[Path]:
    return sorted(file for file in (place.stack.path / ".pulumi").rglob("*") if file.is_file())


def unchanged(place: Place, command: Callable[[], Result], why: object) -> None:
    before = place.running(), place.disks()
    result = command()
    assert result.status == 0, (why, result)
    assert (place.running(), place.disks()) == before, why


def test_every_file_of_a_backend_may_be_cut_off(qemu: QemuPlace) -> None:
    for greeting in ("one", "two"):
        qemu.write(greeting, count=1)
        assert qemu.fleet("up").status == 0
    is_state = {qemu.state_file}
    for damage in DAMAGES:
        for file in set(files(qemu)) - is_state:
            damage(file)
        for name in ("1.json", "2.json.18f3a.tmp"):
            lock(qemu, name, "" if damage is emptied else '{"pid": 1, "use')
        unchanged(qemu, lambda: qemu.fleet("up"), damage.__name__)
        history = qemu.stack.pulumi("stack", "history", "--stack", "test")
        assert history.status == 0, (damage.__name__, history)
    # Then what is there of earlier states is the last update's.
    for damage in DAMAGES:
        damage(qemu.state_file)
        unchanged(qemu, lambda: qemu.fleet("up"), damage.__name__)
    emptied(qemu.state_file)
    lock(qemu, "1.json", "")
    destroyed = qemu.fleet("destroy", "--yes")
    assert destroyed.status == 0, destroyed
    assert "The state of stack test was cut off." in destroyed.err
    assert not qemu.running()


@pytest.mark.long
def test_each_file_of_a_backend_may_be_cut_off(qemu: QemuPlace) -> None:
    qemu.stack.environment["PULUMI_DIY_BACKEND_GZIP"] = "true"
    for greeting in ("one", "two"):
        qemu.write(greeting, count=1)
        assert qemu.fleet("up").status == 0
    for file in files(qemu):
        for damage in DAMAGES:
            if file.exists():
                damage(file)
                unchanged(qemu, lambda: qemu.fleet("up"), (file, damage.__name__))


def test_a_compressed_state_that_was_cut_off_is_replaced_by_the_one_before(qemu: QemuPlace) -> None:
    qemu.stack.environment["PULUMI_DIY_BACKEND_GZIP"] = "true"
    qemu.write("one", count=1)
    assert qemu.fleet("up").status == 0
    (state,) = qemu.stack.path.glob(".pulumi/stacks/web/test.json.gz")
    halved(state)
    repeated = qemu.fleet("up")
    assert repeated.status == 0, repeated
    assert "The state of stack test was cut off." in repeated.err
    assert "nothing changes" in repeated.out or "updated" in repeated.out
    assert "re-provision" not in repeated.out
    assert list(qemu.running()) == ["web-0"]


def test_machines_that_an_older_state_does_not_know_are_looked_for(aws: CloudPlace) -> None:
    aws.write("one", count=2)
    assert aws.fleet("up").status == 0
    earlier, disks = aws.state_file.read_bytes(), aws.disks()
    aws.write("two", count=2)
    assert aws.fleet("up").status == 0
    assert len(aws.world.machines) == 2
    emptied(aws.state_file)
    for folder in ("backups", "history"):
        shutil.rmtree(aws.stack.path / ".pulumi" / folder)
    aws.state_file.with_name("test.json.bak").write_bytes(earlier)
    result = aws.fleet("up")
    assert result.status == 0, result
    assert "The state of stack test was cut off." in result.err
    # An attachment is nothing of its own, but a fact about two things that are.
    assert not [each for each in aws.orphans() if not each.startswith(("VolumeAttachment ", "EipAssociation "))]
    assert len(aws.world.machines) == 2
    assert aws.disks() == disks
    assert "nothing changes" in aws.fleet("up").out


def test_a_state_of_which_nothing_whole_is_left_is_an_error_that_says_so(qemu: QemuPlace) -> None:
    qemu.write("one", count=1)
    assert qemu.fleet("up").status == 0
    retained = qemu.state_file.read_bytes()
    for file in files(qemu):
        if ".json" in file.name:
            emptied(file)
    for command in (["up"], ["destroy", "--yes"]):
        failed = qemu.fleet(*command)
        assert failed.status == 1
        assert failed.err.startswith("Error: The state of stack test was cut off")
    qemu.state_file.write_bytes(retained)


def test_a_machine_whose_notes_were_cut_off_is_still_the_nodes(qemu: QemuPlace) -> None:
    qemu.write("one", count=1)
    assert qemu.fleet("up").status == 0
    first = qemu.running()
    notes = qemu.stack.path / ".fleet/test/nodes/web-0/node.json"
    for damage in (emptied, halved):
        damage(notes)
        repeated = qemu.fleet("up")
        assert "nothing changes" in repeated.out, repeated
        assert qemu.running() == first
    qemu.write("two", count=1)
    emptied(notes)
    assert qemu.fleet("up").status == 0
    assert not qemu.orphans()
    assert qemu.running() != first


@pytest.fixture
def fills(qemu: QemuPlace) -> Iterator[list[Callable[[], Path]]]:
    """The stack's files are on small disks of their own; what fills them."""
    with small_disk(qemu.stack.path / ".pulumi", "8m") as state, small_disk(qemu.stack.path / ".fleet", "8m") as disks:
        yield [state, disks]
        qemu.fleet("destroy", "--yes")


def test_an_update_whose_disk_was_full_is_repaired_by_the_next(
    qemu: QemuPlace, fills: list[Callable[[], Path]]
) -> None:
    qemu.write("one", count=3)
    qemu.stack.edit("fleet.yaml", "ready_timeout: 8", "ready_timeout: 60")
    assert qemu.fleet("up").status == 0
    disks = qemu.disks()
    qemu.stack.edit("fleet.yaml", "one", "held")
    with held(qemu, FLEET, "up", *STACK, "--yes") as update:
        filled = [fill() for fill in fills]
    # The engine tries to save its state for half a minute.
    time.sleep(3)
    for pid, _ in update.left():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    full = qemu.fleet("up")
    assert full.status == 1, full
    assert "no space left on device" in full.err.lower(), full
    for file in filled:
        file.unlink()
    repaired(qemu, disks, "full")
