"""Who is kept from a cloud's metadata service, and from when on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.planner import plan_spec
from fleet.platforms import names, platform
from fleet.spec import Resolver
from tests.conftest import Folder, file_text
from tests.judge import Judge

ENDPOINTS = {"aws": "fd00:ec2::254", "gcp": "fd20:ce::254", "digitalocean": ""}
"""The platforms whose metadata service has user data, and where it is over IPv6."""
V4 = "169.254.169.254"
RULES = "/etc/fleet/metadata-guard.nft"

SPEC = """\
name: web
groups:
  web:
    count: 2
"""

EVERY_KIND = """\
name: web
groups:
  web:
    containers:
      bridged: {image: docker.io/library/busybox:1}
      on-the-node: {image: docker.io/library/busybox:1, networks: [host]}
      in-a-pod: {image: docker.io/library/busybox:1, pod: together}
      at-times: {image: docker.io/library/busybox:1, schedule: daily}
      rootless: {image: docker.io/library/busybox:1, run_as: app}
    pods: {together: {}}
    users: {app: {uid: 1001}}
"""


def trees(folder: Folder, name: str, spec: str) -> list[dict[str, Any]]:
    """The configs of a spec's nodes on a platform."""
    folder.write("fleet.yaml", spec)
    where = platform(name, {}, project=folder.path, stack="test")
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(), where, need_lock=False, check=False)
    return [json.loads(node.config.ignition) for node in plan.nodes]


def paths(tree: dict[str, Any]) -> set[str]:
    return {file["path"] for file in tree["storage"]["files"]}


@pytest.mark.parametrize("name", names())
def test_a_cloud_whose_metadata_has_the_config_is_guarded_unless_the_spec_says_no(folder: Folder, name: str) -> None:
    for tree in trees(folder, name, SPEC):
        assert (RULES in paths(tree)) is (name in ENDPOINTS)
        for address in (V4, ENDPOINTS.get(name)):
            if name in ENDPOINTS and address:
                assert f" {address} " in file_text(tree, RULES)
    for tree in trees(folder, name, SPEC + "    metadata_guard: false\n"):
        assert RULES not in paths(tree)


@pytest.mark.parametrize("name", names())
def test_a_guard_among_the_snippets_takes_the_place_of_the_platforms(folder: Folder, name: str) -> None:
    more = f"addresses: [{V4}, 'fd00:ec2::254', 'fd20:ce::254', 10.9.9.9]"
    ours = f"[{{use: metadata-guard, {more}}}]"
    for tree in trees(folder, name, SPEC + f"    snippets: {ours}\n"):
        assert "10.9.9.9" in file_text(tree, RULES)
    first, second = trees(folder, name, SPEC + f"    nodes: {{1: {{snippets: {ours}}}}}\n")
    assert "10.9.9.9" in file_text(second, RULES)
    assert (RULES in paths(first)) is (name in ENDPOINTS)
    if RULES in paths(first):
        assert "10.9.9.9" not in file_text(first, RULES)


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("where", ["    snippets: {}\n", "    nodes: {{1: {{snippets: {}}}}}\n"])
def test_a_guard_that_leaves_the_platforms_service_open_is_refused(folder: Folder, name: str, where: str) -> None:
    spec = SPEC + where.format("[{use: metadata-guard, addresses: [169.254.169.253]}]")
    with pytest.raises(Exception, match=rf"fleet.yaml:5:.* leaves out {V4}") as refused:
        trees(folder, name, spec)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169", "169.254.169.254/32", "169.254.169.254:80", "metadata.google.internal", "''", "2852039166"),
        *(
            "fe80::1%eth0",
            "fd00:ec2::254%1",
            "::ffff:169.254.169.254",
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
        ),
        *("ff02::1", "0251.0376.0251.0376", "169.254.169.254\\n", "null", "true"),
    ],
)
def test_an_address_that_guards_nothing_or_that_nft_cannot_read_is_refused(folder: Folder, address: str) -> None:
    written = address if address in ("''", "2852039166", "null", "true") else json.dumps(address).replace("\\\\", "\\")
    folder.write("fleet.yaml", SPEC + f"    snippets: [{{use: metadata-guard, addresses: [{written}]}}]\n")
    result = folder.fleet("validate", "fleet.yaml")
    assert result.status == 2
    assert "fleet.yaml:5:" in result.err
    assert "address" in result.err
    assert "Traceback" not in result.err


def test_a_guard_of_no_address_is_refused(folder: Folder) -> None:
    folder.write("fleet.yaml", SPEC + "    snippets: [{use: metadata-guard, addresses: []}]\n")
    result = folder.fleet("validate", "fleet.yaml")
    assert (result.status, "fleet.yaml:5:" in result.err) == (2, True)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_no_container_of_any_kind_starts_before_the_rules_or_without_them(
    folder: Folder, judge: Judge, name: str
) -> None:
    (tree,) = trees(folder, name, EVERY_KIND)
    judge.apply(json.dumps(tree))
    services = judge.services()
    # A user's container is started by the user's manager, and those that Docker or Podman's API start by them.
    assert "podman run" in services.pop("rootless.service")
    running = {unit: text for unit, text in services.items() if "podman run" in text or "podman pod start" in text}
    assert {unit.removesuffix(".service") for unit in running} == {
        "bridged", "on-the-node", "in-a-pod", "at-times", "together-pod",
    }  # fmt: skip
    for unit in ("user@1000.service", "docker.service", "podman.service", "podman-restart.service"):
        folder_of = judge.changes / "etc/systemd/system" / (unit.replace("@1000", "@") + ".d")
        running[unit] = "".join(path.read_text() for path in sorted(folder_of.glob("*.conf")))
    for unit, text in running.items():
        for key in ("Requires", "After"):
            expected = [line for line in text.splitlines() if line.startswith(f"{key}=")]
            assert any("fleet-metadata-guard.service" in line.split("=")[1].split() for line in expected), (unit, key)

    guard = "fleet-metadata-guard.service"
    assert judge.verify({guard: judge.content(f"/etc/systemd/system/{guard}").decode(), **services}) == ""


def test_docker_that_a_snippet_masks_is_no_conflict(folder: Folder) -> None:
    folder.write("mask.bu", "variant: fcos\nversion: 1.5.0\nsystemd: {units: [{name: docker.service, mask: true}]}\n")
    for tree in trees(folder, "gcp", SPEC + "    snippets: [mask.bu]\n"):
        assert RULES in paths(tree)


_NODE = """
exec 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
ip link set lo up
# A container's network: a bridge, as Podman's and Docker's, whose packets the node forwards. And the cloud's.
mkdir -p /run/netns
for place in container:10.88.0:fd88: cloud:10.99.0:fd99:; do
  name=${place%%:*} rest=${place#*:}; v4=${rest%%:*} v6=${rest#*:}
  ip netns add $name
  ip link add $name type veth peer name eth0 netns $name
  ip address add $v4.1/24 dev $name
  ip -6 address add $v6:1/64 dev $name nodad
  ip link set $name up
  ip -n $name link set lo up
  ip -n $name link set eth0 up
  ip -n $name address add $v4.2/24 dev eth0
  ip -n $name -6 address add $v6:2/64 dev eth0 nodad
  ip -n $name route add default via $v4.1
  ip -n $name -6 route add default via $v6:1
done
for address in $SERVICES; do
  case $address in *:*) peer=fd99::2;; *) peer=10.99.0.2;; esac
  ip -n cloud address add $address dev lo nodad
  ip route add $address via $peer
done
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
mkdir -p /srv/www && echo user-data >/srv/www/index.html
for port in 80 443 53; do ip netns exec cloud busybox httpd -p [::]:$port -h /srv/www; done
ask() {
  for port in 80 443 53; do
    case $2 in *:*) at="[$2]:$port";; *) at="$2:$port";; esac
    echo "$1 $2 $port $($3 curl --silent --max-time 5 "http://$at/" || echo refused)"
  done
}
ask_all() {
  for address in $SERVICES; do
    ask $1root $address
    ask $1user $address "setpriv --reuid 1000 --regid 1000 --clear-groups"
    ask $1container $address "ip netns exec container"
  done
}
ask_all open:
nft --file /etc/fleet/metadata-guard.nft || exit
ask_all guarded:
# Loaded twice, as by a restart of the unit, they are the same.
nft --file /etc/fleet/metadata-guard.nft || exit
nft list table inet fleet_metadata_guard | grep -c reject
"""


@pytest.mark.parametrize("name", ENDPOINTS)
def test_only_root_on_the_node_reads_the_metadata_once_the_rules_are_loaded(
    folder: Folder, judge: Judge, name: str
) -> None:
    (tree,) = trees(folder, name, EVERY_KIND)
    judge.apply(json.dumps(tree))
    services = [address for address in (V4, ENDPOINTS[name]) if address]
    result = judge.run("unshare", "--net", "sh", "-c", _NODE, SERVICES=" ".join(services))
    message = result.stdout.decode().splitlines()
    for address in services:
        for who in ("root", "user", "container"):
            for port in (80, 443, 53):
                assert f"open:{who} {address} {port} user-data" in message, message
                # On Google Cloud it is the name server, too.
                allowed = who == "root" or port == 53
                assert f"guarded:{who} {address} {port} {'user-data' if allowed else 'refused'}" in message, message
    assert message[-1] == "6", message
