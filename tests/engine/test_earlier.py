"""Stacks that an earlier fleet has deployed are taken over by this one as they are, if their nodes tell no reports."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.engine import earlier
from tests.engine.places import CloudPlace, Place, cloud
from tests.engine.stack import Stack

NODES = ("db-0", "web-0", "web-1")


@pytest.fixture
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def earlier_place(platform: str, request: pytest.FixtureRequest, stack: Stack) -> Iterator[Place]:
    """A place whose stack is to be that of ``states/<platform>``."""
    if platform == "qemu":
        yield request.getfixturevalue("qemu")
        return
    with cloud(platform, stack) as place:
        yield place


@pytest.mark.parametrize("platform", earlier.PLATFORMS, indirect=True)
def test_a_stack_of_an_earlier_fleet_stays_as_it_is_until_it_is_destroyed(platform: str, earlier_place: Place) -> None:
    place, stack = earlier_place, earlier_place.stack
    before = earlier.by_urn(earlier.restore(platform, place))
    running, disks = place.running(), place.disks()
    assert tuple(sorted(running)) == NODES
    whole = (stack.path / "fleet.yaml").read_text()
    if platform == "qemu":
        told = place.fleet("preview")
        for node in NODES:
            assert f"{node}  re-provision: " in told.out, told
        assert "/etc/fleet/report.sh" in told.out
    # What nodes have had from this fleet on is left out.
    stack.write("fleet.yaml", f"report: false\n{whole}")
    if platform == "qemu":
        # The same on every platform, and all of it is what `up` begins with.
        previewed = place.fleet("preview")
        assert "Nothing would change." in previewed.out, previewed
        plain = stack.pulumi("preview", "--diff", "--expect-no-changes", "--stack", "test", "--non-interactive")
        assert plain.status == 0, plain
        fates = {node["node"]: node["fate"] for node in json.loads(place.fleet("diff", "--json").out)}
        assert fates == dict.fromkeys(NODES, "unchanged")
    status = place.fleet("status")
    assert status.status == 0, status
    assert "outdated" not in status.out

    up = place.fleet("up")
    assert "nothing changes" in up.out, up
    assert place.started() == []
    assert place.running() == running
    assert place.disks() == disks
    # Nor is anything of it written in another way from now on.
    assert earlier.by_urn(earlier.resources_of(stack)) == before

    gone = place.fleet("destroy")
    assert gone.status == 0, gone
    assert "Data disk db-0-data kept: " in gone.out
    assert "drained-db-0" in stack.log.read_text()
    assert place.disks() == disks
    assert not (place.world.machines if isinstance(place, CloudPlace) else place.running())
