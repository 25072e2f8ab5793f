"""Containers, secrets and data disks as the files and units of a node."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

from fleet.config import compose
from fleet.errors import FleetError
from fleet.plan.unit_name import escape_path
from fleet.workloads import Container, DataDisk, Workload, container_file, data_disk_snippet, workload_snippet
from tests.conftest import Folder, file_text

IMAGE = "docker.io/library/caddy:2"


def test_a_nul_is_refused_with_the_name_of_what_holds_it() -> None:
    with pytest.raises(FleetError, match="container x: environment A holds a NUL"):
        container_file("x", Container(image=IMAGE, environment={"A": "a\0b"}), Workload())


@pytest.mark.parametrize("tmpfs", ["/a\\", "/a\n[Service]", "/a "])
def test_a_value_that_would_break_out_of_its_line_is_refused(tmpfs: str) -> None:
    with pytest.raises(FleetError, match="cannot be written in a unit file"):
        container_file("x", Container(image=IMAGE, tmpfs=[tmpfs]), Workload())


def test_a_container_says_all_that_it_was_told() -> None:
    container = Container.model_validate(
        {
            "image": IMAGE,
            "entrypoint": ["/bin/sh", "-c"],
            "ports": ["127.0.0.1:9000:90/udp", 80],
            "user": "1000:1000",
            "drop_capabilities": ["all"],
            "add_capabilities": ["NET_BIND_SERVICE"],
            "read_only": True,
            "health": {"command": ["curl", "-f", "http://localhost"], "retries": 5},
            "restart": "on-failure",
            "depends_on": ["db"],
            "labels": {"a": "b c"},
            "auto_update": "registry",
            "pull": "newer",
            "memory": "512m",
            "cpus": 1.5,
            "pids": 100,
            "quadlet": {"Container": {"Sysctl": ["a=1", "b=2"]}, "Service": {"Nice": 5}},
        }
    )
    lines = container_file("x", container, Workload()).splitlines()
    for line in (
        'Entrypoint=["/bin/sh", "-c"]',
        "PublishPort=127.0.0.1:9000:90/udp",
        "PublishPort=80:80/tcp",
        "User=1000",
        "Group=1000",
        'DropCapability="all"',
        'AddCapability="NET_BIND_SERVICE"',
        "ReadOnly=true",
        'HealthCmd=["curl", "-f", "http://localhost"]',
        "HealthRetries=5",
        "Notify=healthy",
        "Restart=on-failure",
        "Requires=db.service",
        "After=db.service",
        'Label="a=b c"',
        "AutoUpdate=registry",
        "Pull=newer",
        "PodmanArgs=--memory=512m --cpus=1.5",
        "PidsLimit=100",
        "Sysctl=a=1",
        "Sysctl=b=2",
        "Nice=5",
    ):
        assert line in lines


def test_a_secret_is_a_file_of_root_and_a_podman_secret_before_its_container() -> None:
    container = Container.model_validate({"image": IMAGE, "secrets": ["token"]})
    config = compose([workload_snippet(Workload(containers={"app": container}), secrets={"token": "a&b#c"})])
    entry = next(e for e in config.tree["storage"]["files"] if e["path"] == "/etc/fleet/secrets/token")
    assert entry["mode"] == 0o600
    assert unquote(entry["contents"]["source"]) == "data:,a&b#c"
    quadlet = next(e for e in config.tree["storage"]["files"] if e["path"].endswith("app.container"))
    text = unquote(quadlet["contents"]["source"])
    assert "Requires=fleet-secrets.service" in text
    assert 'Secret="token,type=mount,target=token,uid=0,gid=0,mode=0400"' in text


def test_a_secret_or_dependency_that_is_not_there_is_refused() -> None:
    with pytest.raises(FleetError, match="the secret token, which the spec does not define"):
        workload_snippet(Workload.model_validate({"containers": {"app": {"image": IMAGE, "secrets": ["token"]}}}))
    with pytest.raises(ValidationError, match="depends on db, which is not a container"):
        Workload.model_validate({"containers": {"app": {"image": IMAGE, "depends_on": ["db"]}}})


def test_a_data_disk_is_formatted_only_if_empty_and_holds_the_boot_up_for_a_while_only() -> None:
    disk = DataDisk(size_gib=1, mount="/var/lib/my-site")
    units = compose([data_disk_snippet("site", disk, "/dev/disk/by-id/virtio-data-site")]).tree["systemd"]["units"]
    texts = {unit["name"]: unit["contents"] for unit in units if "contents" in unit}
    mount = texts["var-lib-my\\x2dsite.mount"]
    assert "Requires=fleet-makefs-site.service" in mount
    assert "systemd-makefs xfs /dev/disk/by-id/virtio-data-site" in texts["fleet-makefs-site.service"]
    # It comes before `local-fs.target` no more, and one unit, with a limit, has that wait.
    assert "Options=nofail\n" in mount
    wait = texts["fleet-await-site.service"]
    assert "Before=local-fs.target" in wait
    assert "timeout 120 /usr/bin/systemctl start /var/lib/my-site\n" in wait
    assert [name for name, text in texts.items() if "local-fs.target" in text] == ["fleet-await-site.service"]
    assert not any("RequiredBy" in text for text in texts.values())


@pytest.mark.parametrize("mount", ["/srv/site", "/", "/var", "var/lib", "/var/lib/", "/var/../etc", "/var/a b"])
def test_a_data_disk_outside_var_is_refused(mount: str) -> None:
    with pytest.raises(ValidationError, match="below /var"):
        DataDisk(size_gib=1, mount=mount)


@pytest.mark.parametrize(
    ("path", "unit"),
    [("/", "-"), ("/var/lib/a-b", r"var-lib-a\x2db"), ("/.a//b", r"\x2ea-b"), ("/é", r"\xc3\xa9")],
)
def test_paths_are_escaped_as_systemd_escape_does(path: str, unit: str) -> None:
    assert escape_path(path) == unit


def test_networks_are_made_one_after_the_other_for_each_user(folder: Folder) -> None:
    networks = "    networks: {a: {}, b: {}, mine: {run_as: app}, own: {run_as: app}}\n    users: {app: {uid: 2001}}\n"
    folder.write("fleet.yaml", (folder.path / "fleet.yaml").read_text() + networks)
    tree = json.loads(folder.fleet("render", "fleet.yaml", "--node", "web-0").out)
    place = "/etc/containers/systemd"
    assert "After=" not in file_text(tree, f"{place}/a.network")
    assert "After=a-network.service\n" in file_text(tree, f"{place}/b.network")
    assert "After=" not in file_text(tree, f"{place}/users/2001/mine.network")
    assert "After=mine-network.service\n" in file_text(tree, f"{place}/users/2001/own.network")
