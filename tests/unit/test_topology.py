"""The topology: what pictures and pages of a fleet show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet import platforms
from fleet.errors import FleetError
from fleet.ops.topology import read_topology
from fleet.planner import plan_fleet
from fleet.program.topology import Topology, as_json, topology_of, with_states
from fleet.spec import Resolver, load_spec
from tests.conftest import Folder
from tests.unit.test_secrets_in_errors import PLACES, document

WHOLE = """\
name: shop
network: {cidr: 10.7.0.0/24}
ssh_from: [203.0.113.0/24]
secrets: {db: {env: DB}}
groups:
  db:
    count: 2
    addresses_from: 10
    containers:
      postgres:
        image: docker.io/library/postgres:17
        ports: ["5432:5432", "127.0.0.1:9187:9187"]
        volumes: ["/var/lib/db/17:/pgdata:Z", "/etc/db:/etc/db:ro", "cache:/cache"]
        secrets: [db]
        health: {command: pg_isready}
      dump:
        image: docker.io/library/postgres:17
        schedule: daily
        depends_on: [postgres]
    data_disks:
      data: {size_gib: 8, mount: /var/lib/db, snapshot: true}
    nodes: {1: {snippets: [{use: zram}], data_disks: {data: vol-1}}}
  web:
    count: 3
    addresses_from: 40
    after: [db]
    rollout: {window: 2, canary: true}
    names: [www.example.com]
    snippets: [base.bu, {use: ssh-hardening}]
    ports: [{number: 9100, from: [10.0.0.0/8]}, "51820/udp"]
    users: {app: {uid: 1500}}
    networks: {front: {subnets: [10.89.1.0/24], run_as: app}, back: {internal: true}}
    pods: {edge: {networks: [back], ports: ["80:8080"]}}
    builds: {site: {context: site}}
    containers:
      caddy: {image: docker.io/library/caddy:2, pod: edge}
      site: {image: site.build, pod: edge}
      app: {image: docker.io/example/app:1, networks: [front], run_as: app, oneshot: true}
"""


@pytest.fixture
def whole(folder: Folder) -> Folder:
    folder.write("fleet.yaml", WHOLE)
    folder.write("site/Containerfile", "FROM scratch\n")
    return folder


def shown(topology: Topology) -> dict[str, Any]:
    """What the JSON has, which must be JSON."""
    tree: dict[str, Any] = json.loads(json.dumps(as_json(topology)))
    return tree


def test_a_topology_has_what_a_spec_says(whole: Folder) -> None:
    tree = shown(read_topology(whole.path / "fleet.yaml", platform="aws"))
    assert (tree["version"], tree["name"], tree["platform"], tree["network"]) == (1, "shop", "aws", "10.7.0.0/24")
    db, web = tree["groups"]
    assert [node["name"] for node in db["nodes"] + web["nodes"]] == ["db-0", "db-1", "web-0", "web-1", "web-2"]
    assert [node["private"] for node in db["nodes"]] == ["10.7.0.10", "10.7.0.11"]
    assert db["nodes"][0]["snippets"] == []
    assert db["nodes"][1]["snippets"] == ["zram"]
    assert db["nodes"][1]["takes_over"] == {"data": "vol-1"}
    assert db["disks"] == [
        {"name": "data", "size_gib": 8, "mount": "/var/lib/db", "format": "xfs", "snapshot": True}
    ]  # fmt: skip
    postgres, dump = db["containers"]
    assert postgres["secrets"] == ["db"]
    assert postgres["health"]
    assert [(mount["kind"], mount["disk"]) for mount in postgres["mounts"]] == [
        ("disk", "data"), ("path", ""), ("volume", "")
    ]  # fmt: skip
    assert db["volumes"] == ["cache"]
    assert (dump["role"], dump["schedule"], dump["after"]) == ("timer", "daily", ["postgres"])
    assert (web["after"], web["window"], web["canary"], web["names"]) == (["db"], 2, True, ["www.example.com"])
    assert web["snippets"] == ["base.bu", "ssh-hardening"]
    assert web["pods"] == [
        {"name": "edge", "containers": ["caddy", "site"], "networks": ["back"], "published": ["80:8080/tcp"],
         "user": ""}
    ]  # fmt: skip
    front, back = web["networks"]
    assert (front["subnets"], front["internal"], front["members"]) == (["10.89.1.0/24"], False, ["app"])
    assert (back["subnets"], back["internal"], back["members"]) == ([], True, ["edge"])
    assert [(each["image"], each["built"], each["role"], each["user"]) for each in web["containers"]] == [
        ("docker.io/library/caddy:2", False, "service", ""),
        ("site", True, "service", ""),
        ("docker.io/example/app:1", False, "oneshot", "app"),
    ]
    assert db["guard"]


def reach(folder: Folder, platform: str, group: int) -> dict[str, tuple[str, str, list[str]]]:
    where = platforms.platform(platform, {}, project=folder.path, stack="test")
    spec = load_spec(folder.path / "fleet.yaml", Resolver(), platform)
    tree = shown(topology_of(spec.fleet, plan_fleet(spec, where, None), where))
    return {
        f"{port['number']}/{port['protocol']}": (port["use"], port["name"], port["reach"])
        for port in tree["groups"][group]["ports"]
    }


def test_a_port_says_what_serves_it_and_who_may_reach_it(whole: Folder) -> None:
    assert reach(whole, "aws", 0) == {
        "22/tcp": ("ssh", "", ["203.0.113.0/24"]),
        "7790/tcp": ("report", "", []),
        "5432/tcp": ("container", "postgres", ["anywhere"]),
    }
    assert reach(whole, "aws", 1) == {
        "22/tcp": ("ssh", "", ["203.0.113.0/24"]),
        "7790/tcp": ("report", "", []),
        "80/tcp": ("pod", "edge", ["anywhere"]),
        "9100/tcp": ("other", "", ["10.0.0.0/8"]),
        "51820/udp": ("other", "", ["anywhere"]),
    }
    whole.edit("fleet.yaml", "ssh_from: [203.0.113.0/24]\n", "")
    assert reach(whole, "aws", 0)["22/tcp"] == ("ssh", "", [])
    # Sources are for platforms that have a firewall.
    assert reach(whole, "qemu", 1)["9100/tcp"] == ("other", "", ["this machine"])
    assert reach(whole, "libvirt", 1)["9100/tcp"] == ("other", "", ["the host"])


def test_a_node_under_qemu_says_where_the_host_has_its_ports(whole: Folder) -> None:
    whole.make_project("{port_offset: 2000, bind: 0.0.0.0}")
    topology = read_topology(whole.path / "fleet.yaml", stack="test")
    second = topology.groups[1].nodes[1]
    assert [(each.number, each.protocol, each.host, each.port) for each in second.endpoints] == [
        (22, "tcp", "127.0.0.1", 5322),
        (80, "tcp", "127.0.0.1", 11080),
        (7790, "tcp", "127.0.0.1", 10890),
        (9100, "tcp", "127.0.0.1", 12100),
        (51820, "udp", "127.0.0.1", 54820),
    ]
    reach = {port.use: port.reach for port in topology.groups[1].ports}
    assert reach["pod"] == reach["ssh"] == ("whoever reaches this machine",)
    # The report is for the host's loopback address alone.
    assert reach["report"] == ("this machine",)


def test_a_group_without_nodes_has_its_ports(whole: Folder) -> None:
    whole.edit("fleet.yaml", "    count: 3\n", "    count: 0\n")
    web = read_topology(whole.path / "fleet.yaml", platform="aws").groups[1]
    assert (web.count, web.nodes) == (0, ())
    assert [port.number for port in web.ports] == [80, 9100, 51820]


def test_states_are_those_of_their_nodes(whole: Folder) -> None:
    topology = read_topology(whole.path / "fleet.yaml")
    noted = with_states(topology, {"web-1": ("not ready", "it has no machine")})
    assert {node.name: (node.state, node.reason) for node in noted.nodes if node.state} == {
        "web-1": ("not ready", "it has no machine")
    }
    assert with_states(noted, {"web-1": ("", "")}) == topology


@pytest.mark.slow
def test_no_secret_is_in_a_topology_whatever_it_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S", "kestrel81")
    (tmp_path / "Containerfile").touch()
    masked = 0
    for place in PLACES:
        for form in ("${s}", "/${s}:/x"):
            (tmp_path / "fleet.yaml").write_text(json.dumps(document(place, form)))
            try:
                text = json.dumps(as_json(read_topology(tmp_path / "fleet.yaml")))
            except FleetError as error:
                text = str(error)
            assert "kestrel" not in text, place
            masked += "(secret s)" in text
    assert masked
