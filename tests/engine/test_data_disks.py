"""Data disks never get a twin: whatever changes, each node's disk is the disk that it was, or nothing is touched."""

from __future__ import annotations

from tests.engine.places import Place, cloud
from tests.engine.stack import Stack

ZONES = "fleet:aws: {zones: [eu-central-1a, eu-central-1b]}"


def disks_of(place: Place) -> dict[str, frozenset[str]]:
    return {name: node.disks for name, node in place.running().items()}


def without_probes(place: Place, greeting: str, *, count: int = 2, more: str = "") -> None:
    """A spec whose nodes are ready at once."""
    place.write(greeting, count=count, more=more)
    place.stack.edit("fleet.yaml", "    ready: [{http: {port: 8080}}]\n", "")


def test_a_zone_more_on_aws_leaves_every_node_at_its_disk(stack: Stack) -> None:
    with cloud("aws", stack, config=f"aws:region: eu-central-1\n  {ZONES}") as place:
        place.lock("44.1")
        without_probes(place, "one", count=3)
        first = place.fleet("up")
        assert first.status == 0, first
        disks, there = disks_of(place), place.disks()
        place.started()

        stack.edit("Pulumi.test.yaml", "eu-central-1b]", "eu-central-1b, eu-central-1c]")
        more = place.fleet("up")
        assert more.status == 0, more
        assert (
            "Data disk web-2-site keeps its zone eu-central-1a: only a new disk could have eu-central-1c." in more.out
        )
        assert (place.started(), place.disks(), disks_of(place)) == ([], there, disks)

        # Another config, by plain Pulumi, with a zone less; a second disk of a node is made where the first one is.
        stack.edit("Pulumi.test.yaml", "eu-central-1a, eu-central-1b, ", "")
        without_probes(place, "two", count=3)
        stack.edit("fleet.yaml", "      site:", "      a: {size_gib: 1, mount: /var/a}\n      site:")
        plain = stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
        assert plain.status == 0, plain
        assert "Data disk web-1-site keeps its zone eu-central-1b" in plain.out + plain.err
        assert place.started() == ["web-0", "web-1", "web-2"]
        assert place.disks().items() >= there.items()
        assert {name: len(now - disks[name]) for name, now in disks_of(place).items()} == dict.fromkeys(disks, 1)
        assert all(disks_of(place)[name] >= disks[name] for name in disks)
        assert "nothing changes" in place.fleet("up").out
