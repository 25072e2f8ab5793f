"""examples/nomad on every platform's stand-in, and what of it needs no machine."""

from __future__ import annotations

import json
from typing import Any

import hcl2
import pytest
import yaml

from tests.conftest import Folder, file_text
from tests.engine.cases import CLOUDS, case
from tests.engine.places import cloud
from tests.engine.stack import Stack, looked_at
from tools.cache import ROOT

EXAMPLE = ROOT / "examples/nomad"
STACK = ("nomad.py", "--stack", "test")
HEALTH = 4650
SERVERS = ["server-0", "server-1", "server-2"]
CONFIG = """
  nomad:servers: 3
  nomad:clients: 2
  nomad:nomad_image: registry.example.org/nomad:1.6
  nomad:api_from: [127.0.0.0/8]
"""


@pytest.mark.parametrize(
    # Names and addresses are each planned on one of these; what is the same on all, every platform's table shows.
    "platform",
    [pytest.param(name, marks=() if name in ("aws", "digitalocean") else pytest.mark.long) for name in CLOUDS],
)
def test_servers_roll_one_by_one_and_groups_change_apart(stack: Stack, platform: str) -> None:
    config = case(platform).text
    if platform == "digitalocean":
        config = config.replace("}", ", dns_zone: example.org}")
    # Every address of a stand-in's machine is one of loopback.
    config += CONFIG + ("" if platform == "digitalocean" else "  nomad:cidr: 127.77.0.0/24\n")
    stack.take_example("nomad")
    with cloud(platform, stack, config=config, port=HEALTH) as place:
        place.lock("44.1")
        up = stack.fleet("up", *STACK, "--yes")
        assert up.status == 0, up
        assert place.started() == [*SERVERS, "client-0", "client-1"]
        first = place.running()
        assert "nothing changes" in stack.fleet("up", *STACK, "--yes").out

        files = "storage: {files: [{path: /etc/motd.d/server, contents: {inline: a server}}]}"
        stack.write("server.bu", f"variant: fcos\nversion: 1.6.0\n{files}\n")
        stack.edit("Pulumi.test.yaml", "config:\n", "config:\n  nomad:server_snippets: [server.bu]\n")
        with looked_at([f"{first[name].address}:{HEALTH}" for name in SERVERS]) as down:
            changed = stack.fleet("up", *STACK, "--yes")
        assert changed.status == 0, changed
        assert place.started() == SERVERS
        assert max(down) == 1
        second = place.running()
        assert all(second[name].disks == first[name].disks for name in SERVERS)
        assert all(second[name] == first[name] for name in ("client-0", "client-1"))

        stack.edit("Pulumi.test.yaml", "config:\n", "config:\n  nomad:drain_seconds: 30\n")
        assert stack.fleet("up", *STACK, "--yes").status == 0
        assert sorted(place.started()) == ["client-0", "client-1"]
        assert all(place.running()[name] == second[name] for name in SERVERS)


def rendered(folder: Folder, node: str, **config: Any) -> dict[str, Any]:
    """A node's config with a stack's config, on AWS; every secret is masked."""
    folder.take_example("nomad")
    values = {"nomad_image": "registry.example.org/nomad:1.6", "api_from": ["203.0.113.0/24"], **config}
    settings = {"config": {f"nomad:{key}": value for key, value in values.items()}}
    folder.write("Pulumi.test.yaml", yaml.safe_dump(settings))
    made = folder.fleet("render", *STACK, "--node", node, "--platform", "aws")
    assert made.status == 0, made
    tree: dict[str, Any] = json.loads(made.out)
    return tree


def agent(tree: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file_text(tree, "/etc/fleet/files/nomad/etc/nomad/agent.json"))
    return found


def test_more_servers_change_no_servers_config(folder: Folder) -> None:
    three = rendered(folder, "server-0", servers=3)
    assert rendered(folder, "server-0", servers=5) == three
    assert agent(three)["server"]["bootstrap_expect"] == 3
    assert agent(rendered(folder, "server-0", servers=1))["server"]["bootstrap_expect"] == 1


def test_autopilot_waits_as_much_longer_for_a_server_as_raft_does(folder: Folder) -> None:
    for multiplier, threshold in ((1, "200ms"), (10, "2000ms")):
        settings = agent(rendered(folder, "server-0", raft_multiplier=multiplier))
        assert settings["server"]["raft_multiplier"] == multiplier
        assert settings["autopilot"]["last_contact_threshold"] == threshold


def test_no_two_servers_take_updates_on_the_same_day(folder: Folder) -> None:
    days = [
        next(line for line in file_text(tree, "/etc/zincati/config.d/55-fleet.toml").splitlines() if "days" in line)
        for tree in (rendered(folder, f"server-{index}", servers=5) for index in range(5))
    ]
    assert len(set(days)) == 5


def test_drivers_and_volumes_of_clients_come_from_the_config(folder: Folder) -> None:
    tree = rendered(folder, "client-0", drivers=["raw_exec"], host_volumes=["postgres"], client_gib=10)
    assert agent(tree)["plugin"]["raw_exec"] == {"config": {"enabled": True}}
    assert agent(tree)["client"]["host_volume"] == {"host-postgres": {"path": "/var/lib/volumes/postgres"}}
    quadlet = file_text(tree, "/etc/containers/systemd/nomad.container")
    assert "Volume=/var/lib/volumes/postgres:/var/lib/volumes/postgres" in quadlet
    paths = {entry["path"] for entry in tree["storage"]["files"]}
    assert "/etc/fleet/secrets/client-certificate" in paths
    assert not [path for path in paths if "acl-token" in path or "authority" in path or "gossip" in path]


def test_an_even_number_of_servers_and_an_open_api_are_refused(folder: Folder) -> None:
    rendered(folder, "server-0")
    settings = (folder.path / "Pulumi.test.yaml").read_text()
    folder.write("Pulumi.test.yaml", settings.replace("config:\n", "config:\n  nomad:servers: 4\n"))
    refused = folder.fleet("validate", *STACK, "--platform", "aws")
    assert "`servers` is 1, 3 or 5, not 4" in refused.err
    folder.write("Pulumi.test.yaml", settings.replace("- 203.0.113.0/24", "[]").replace("api_from:\n", "api_from:"))
    assert "`api_from` is empty" in folder.fleet("validate", *STACK, "--platform", "aws").err


def test_the_job_and_the_configs_parse(folder: Folder) -> None:
    job = hcl2.loads((EXAMPLE / "redis.nomad.hcl").read_text())
    assert job["job"]
    for node in ("server-0", "client-0"):
        assert agent(rendered(folder, node))["tls"]["verify_server_hostname"]
