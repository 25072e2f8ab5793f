"""The tags by which firewalls find machines, on the real engine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.engine.places import CloudPlace

MACHINE = {"digitalocean": "Droplet", "gcp": "Instance"}


def unprotected(place: CloudPlace) -> list[str]:
    """What is wrong with the firewalls around the machines that there are."""
    rules = list(map(_rule, place.cloud.of("Firewall").values()))
    machines = [set(each["tags"]) for each in place.cloud.of(MACHINE[place.cloud.package]).values()]
    wrong = []
    for tags in machines:
        mine = [rule for rule in rules if rule["targets"] & tags]
        if not any(rule["open"] for rule in mine):
            wrong.append(f"no rule opens the ports of {tags}")
        wrong += [
            f"{tags} does not let {peer} in" for peer in machines if not any(rule["sources"] & peer for rule in mine)
        ]
    return wrong


def _rule(firewall: dict[str, Any]) -> dict[str, Any]:
    """On both platforms: the tags of whom it protects, those of whom it lets in, and whether it opens ports to all."""
    inbound = firewall.get("inboundRules", [])
    return {
        "targets": {*firewall.get("tags", []), *firewall.get("targetTags", [])},
        "sources": {tag for rule in [firewall, *inbound] for tag in rule.get("sourceTags", [])},
        "open": any(rule.get("sourceAddresses") or rule.get("sourceRanges") for rule in [firewall, *inbound]),
    }


def as_deployed_earlier(place: CloudPlace, earlier: dict[str, str]) -> None:
    """Put a stack where an earlier release left it.

    Args:
        place: The stack.
        earlier: The earlier tag for each of today's.
    """

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {changed(key): changed(item) for key, item in value.items()}
        if isinstance(value, list):
            items = [changed(item) for item in value]
            return [item for index, item in enumerate(items) if item not in items[:index]]
        for tag, old in earlier.items() if isinstance(value, str) else ():
            value = value.replace(tag, old)
        return value

    state = changed(json.loads(place.state_file.read_text()))
    latest = state["checkpoint"]["latest"]
    latest["resources"] = list({r["urn"]: r for r in latest["resources"]}.values())
    place.state_file.write_text(json.dumps(state))
    place.cloud.resources = {(kind, changed(id_)): changed(p) for (kind, id_), p in place.cloud.resources.items()}


def watch(place: CloudPlace) -> list[str]:
    """Look at the firewalls after whatever the engine has done; gives a list of what was wrong."""
    wrong: list[str] = []

    def looking(name: str) -> None:
        operation = getattr(place.cloud, name)

        def done(*arguments: Any) -> Any:
            result = operation(*arguments)
            wrong.extend(f"after {name} {arguments[:2]}: {each}" for each in unprotected(place))
            return result

        setattr(place.cloud, name, done)

    for name in ("create", "update", "delete"):
        looking(name)
    return wrong


def tags(place: CloudPlace) -> Iterable[tuple[str, ...]]:
    return (tuple(each["tags"]) for each in place.cloud.of(MACHINE[place.cloud.package]).values())


@pytest.mark.parametrize("place", list(MACHINE), indirect=True)
def test_machines_of_an_earlier_release_get_their_tags_without_ever_being_without_their_firewall(
    place: CloudPlace,
) -> None:
    place.write("one")
    assert place.fleet("up").status == 0
    (today,) = set(tags(place))
    assert not unprotected(place)
    earlier = dict(zip(today, ("fleet-test-web", "fleet-test-web-web"), strict=True))
    as_deployed_earlier(place, earlier)
    assert set(tags(place)) == {tuple(earlier.values())}
    place.started()

    # One that is replaced alone has the new tags beside one with the earlier ones.
    wrong = watch(place)
    replaced = place.fleet("replace", "web-0")
    assert replaced.status == 0, replaced
    assert place.started() == ["web-0"]
    assert sorted(tags(place)) == sorted([today, tuple(earlier.values())])
    # One that is sick goes first, alone, and holds the other back.
    place.sicken("web-1")
    place.write("two")
    first = place.fleet("up")
    assert "Not ready, so re-provisioned first: web-1." in first.out
    assert place.started() == ["web-1"]
    place.heal("web-1")
    result = place.fleet("up")
    assert result.status == 0, result
    assert place.started() == ["web-0"]
    assert set(tags(place)) == {today}
    assert not wrong
    assert "nothing changes" in place.fleet("up").out
