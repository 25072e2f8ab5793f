"""What a node's next machine needs is looked up before the machine that it replaces is stopped."""

from __future__ import annotations

import pytest

from tests.conftest import Result
from tests.engine.cases import SLOWLY
from tests.engine.places import STATELESS, CloudPlace, Place


def write(place: Place, greeting: str, *more: str) -> None:
    lines = "".join(f"    {line}\n" for line in more)
    place.stack.write("fleet.yaml", STATELESS.format(count=2, more="", greeting=greeting) + lines)


def pulumi(place: Place, *arguments: str) -> Result:
    return place.stack.pulumi(*arguments, "--stack", "test", "--non-interactive")


@pytest.mark.parametrize("place", SLOWLY, indirect=True)
def test_no_machine_is_stopped_while_the_image_of_the_next_is_gone(place: Place) -> None:
    write(place, "one", "rollout: {strategy: recreate}")
    assert place.fleet("up").status == 0
    first = place.running()
    place.started()

    # Gone upstream: nothing changes.
    place.lose("44.1")
    same = place.fleet("up")
    assert "nothing changes" in same.out, same
    place.lose_copy()
    still = pulumi(place, "preview", "--expect-no-changes")
    assert still.status == 0, still

    # With something to do, nothing is done.
    write(place, "two", "rollout: {strategy: recreate}")
    for result in (
        pulumi(place, "preview"),
        pulumi(place, "up", "--yes"),
        place.fleet("replace", "web-1"),
        place.fleet("up"),
    ):
        assert result.status != 0, result
        assert "fleet image update" in result.out + result.err, result
    assert place.started() == []
    assert place.running() == first

    place.find("44.1")
    healed = place.fleet("up")
    assert healed.status == 0, healed
    assert place.started() == ["web-0", "web-1"]
    assert "nothing changes" in place.fleet("up").out


def test_a_size_that_its_zone_has_not_stops_no_machine_and_each_thing_is_looked_up_once(aws: CloudPlace) -> None:
    write(aws, "one")
    assert aws.fleet("up").status == 0
    aws.started()
    write(aws, "one", "size: m7i.large")
    aws.world.asked.clear()
    assert pulumi(aws, "preview").status == 0
    assert sorted(aws.world.asked) == ["getAmi", "getInstanceTypeOfferings"]
    aws.world.gone.add("m7i.large")
    refused = aws.fleet("up")
    assert refused.status == 1
    assert "AWS has no m7i.large in eu-central-1a" in refused.err
    assert aws.started() == []


def test_what_cannot_be_looked_up_stops_no_machine_and_hinders_no_update_that_makes_none(aws: CloudPlace) -> None:
    write(aws, "one")
    assert aws.fleet("up").status == 0
    aws.started()
    aws.world.broken = "UnauthorizedOperation: You are not authorized to perform: ec2:DescribeImages"
    assert "nothing changes" in aws.fleet("up").out
    write(aws, "two")
    refused = aws.fleet("up")
    assert refused.status == 1
    assert "ec2:DescribeImages" in refused.err
    assert aws.started() == []


@pytest.mark.parametrize("place", ["digitalocean", "gcp"], indirect=True)
def test_a_size_that_is_not_offered_stops_no_machine(place: CloudPlace) -> None:
    write(place, "one", "rollout: {strategy: recreate}")
    assert place.fleet("up").status == 0
    place.started()
    size = {"digitalocean": "m-2vcpu-16gb", "gcp": "n2-standard-2"}[place.cloud.package]
    write(place, "one", "rollout: {strategy: recreate}", f"size: {size}")
    place.world.gone.add(size)
    refused = place.fleet("preview")
    assert refused.status == 1
    assert f" has no {size} in " in refused.err
    assert "`size`" in refused.err
