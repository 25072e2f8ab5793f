"""The snippets that come with fleet, as a spec names them and as a node sees them."""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet.library import LIBRARY
from tests.conftest import Folder, file_text
from tests.judge import Judge

Refused = Callable[..., str]

ALL = """\
name: web
groups:
  web:
    count: 2
    snippets:
      - {use: hostname, domain: example.org}
      - use: static-network
        interface: ens3
        addresses: [10.0.0.10/24, 10.0.0.11/24]
        gateway: 10.0.0.1
        dns: [10.0.0.2, "fd00::2"]
        search: [example.org]
      - {use: time-zone, zone: Europe/Berlin}
      - {use: ssh-keys, keys: [ssh-ed25519 AAAA me@home]}
      - {use: ssh-hardening, allow_users: [core]}
      - {use: serial-autologin}
      - {use: sysctl, values: {vm.max_map_count: 262144}}
      - {use: zram}
      - use: zincati
        strategy: periodic
        windows: [{days: [Sat, Sun], start: "22:30", minutes: 60}]
        wariness: 0.5
      - {use: node-exporter, address: 127.0.0.1}
      - {use: podman-prune}
      - {use: metadata-guard}
"""


@pytest.fixture
def rendered(folder: Folder) -> list[dict[str, Any]]:
    folder.write("fleet.yaml", ALL)
    result = folder.fleet("render", "fleet.yaml")
    assert result.status == 0, result.err
    return [json.loads(line)["ignition"] for line in result.out.splitlines()]


def test_every_snippet_of_the_library_is_tried_here_and_documented() -> None:
    names = {kind.model_fields["use"].annotation.__args__[0] for kind in LIBRARY}  # type: ignore[union-attr]
    page = (Path(__file__).parents[2] / "docs/library.md").read_text()
    for name in names:
        assert f"use: {name}" in ALL
        assert f"`{name}`" in page


def test_each_node_has_its_own_name_and_address(rendered: list[dict[str, Any]]) -> None:
    assert [file_text(tree, "/etc/hostname") for tree in rendered] == ["web-0.example.org\n", "web-1.example.org\n"]
    keyfile = configparser.ConfigParser()
    keyfile.read_string(file_text(rendered[1], "/etc/NetworkManager/system-connections/fleet-ens3.nmconnection"))
    assert keyfile["connection"]["interface-name"] == "ens3"
    assert dict(keyfile["ipv4"]) == {
        "method": "manual", "address1": "10.0.0.11/24,10.0.0.1", "dns": "10.0.0.2;", "dns-search": "example.org;",
    }  # fmt: skip
    assert dict(keyfile["ipv6"]) == {"method": "auto", "dns": "fd00::2;"}


def test_zincati_reads_toml(rendered: list[dict[str, Any]], folder: Folder) -> None:
    assert tomllib.loads(file_text(rendered[0], "/etc/zincati/config.d/55-fleet.toml")) == {
        "updates": {
            "strategy": "periodic",
            "periodic": {
                "time_zone": "UTC",
                "window": [{"days": ["Sat", "Sun"], "start_time": "22:30", "length_minutes": 60}],
            },
        },
        "identity": {"rollout_wariness": 0.5},
    }
    for parameters, expected in (
        ("strategy: immediate", {"strategy": "immediate"}),
        ("strategy: 'off'", {"enabled": False}),
        (
            "strategy: fleet-lock, lock_url: 'http://10.0.0.9:8080'",
            {"strategy": "fleet_lock", "fleet_lock": {"base_url": "http://10.0.0.9:8080"}},
        ),
    ):
        folder.write("fleet.yaml", f"name: a\ngroups:\n  a:\n    snippets: [{{use: zincati, {parameters}}}]\n")
        tree = json.loads(folder.fleet("render", "fleet.yaml", "--node", "a-0").out)
        assert tomllib.loads(file_text(tree, "/etc/zincati/config.d/55-fleet.toml"))["updates"] == expected


def test_systemd_sshd_nft_and_podman_take_what_the_library_writes(rendered: list[dict[str, Any]], judge: Judge) -> None:
    judge.apply(json.dumps(rendered[0]))
    folder = judge.changes / "etc/systemd/system"
    units = {path.name: path.read_text() for path in folder.glob("*.*") if path.is_file() and not path.is_symlink()}
    assert units.keys() >= {"fleet-podman-prune.timer", "fleet-podman-prune.service", "fleet-metadata-guard.service"}
    assert judge.verify({**units, **judge.services()}) == ""
    exporter = judge.words(judge.services()["node-exporter.service"])
    assert "--pid=host" in exporter
    assert exporter[-2:] == ["--path.rootfs=/host", "--web.listen-address=127.0.0.1:9100"]

    sshd = judge.run("sh", "-c", "mkdir -p /run/sshd; sshd -T")
    assert sshd.returncode == 0, sshd.stderr
    settings = sshd.stdout.decode().splitlines()
    for line in ("passwordauthentication no", "permitrootlogin no", "maxauthtries 3", "allowusers core"):
        assert line in settings

    rules = judge.run("unshare", "--net", "sh", "-c", "nft -f /etc/fleet/metadata-guard.nft && nft list ruleset")
    assert rules.returncode == 0, rules.stderr
    assert "ip daddr 169.254.169.254 tcp dport != 53 reject" in rules.stdout.decode()
    assert (judge.changes / "etc/localtime").readlink() == Path("../usr/share/zoneinfo/Europe/Berlin")


@pytest.mark.parametrize(
    ("snippet", "wanted"),
    [
        ("{use: zincat, strategy: immediate}", "There is no 'zincat' to `use`. There are hostname, metadata-guard"),
        ("{use: zincati, stratgey: immediate}", "There is no key `stratgey`. Did you mean `strategy`?"),
        ("{use: zincati, strategy: periodic}", "needs at least one"),
        ("{use: zincati, strategy: periodic, windows: [{days: [Sa], start: '9:00', minutes: 1}]}", "`start`"),
        ("{use: hostname}", "one of `domain` or `names`"),
        ("{use: hostname, names: []}", "one of `domain` or `names`"),
        ("{use: static-network, interface: a, addresses: [10.0.0.1/24, 'fd00::1/64']}", "of one family"),
        ("{use: time-zone, zone: ../etc/passwd}", "`zone`"),
        ("{use: sysctl, values: {a: true}}", "put it in quotes"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_line(folder: Folder, refused: Refused, snippet: str, wanted: str) -> None:
    folder.write("fleet.yaml", f"name: web\ngroups:\n  web:\n    snippets:\n      - {snippet}\n")
    error = refused("validate", "fleet.yaml", status=2)
    assert "fleet.yaml:5:" in error
    assert wanted in error


def test_a_node_without_an_address_is_named(folder: Folder, refused: Refused) -> None:
    folder.write("fleet.yaml", ALL.replace("count: 2", "count: 3"))
    error = refused("validate", "fleet.yaml", status=2)
    assert error.startswith("Error: fleet.yaml:7:9: `addresses` has none for web-2: it has 2.")


def test_a_snippet_of_the_library_conflicts_unless_it_is_an_override(folder: Folder, refused: Refused) -> None:
    folder.edit("base.bu", "/etc/motd.d/fleet", "/etc/sysctl.d/90-fleet.conf")
    folder.edit("fleet.yaml", "[base.bu]", "[base.bu, {use: sysctl, values: {a.b: 1}}]")
    assert "sysctl" in refused("validate", "fleet.yaml", status=1)
    folder.edit("fleet.yaml", "values: {a.b: 1}}", "values: {a.b: 1}, override: true}")
    assert folder.fleet("validate", "fleet.yaml").status == 0
