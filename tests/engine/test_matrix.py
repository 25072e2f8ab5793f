"""examples/matrix on every platform's stand-in, and what of it needs no machine."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.config import Snippet, compose, deliver
from fleet.plan import Limits
from tests.conftest import Folder, file_text
from tests.engine.cases import CLOUDS, as_config, case
from tests.engine.places import cloud
from tests.engine.stack import Stack

STACK = ("matrix.py", "--stack", "test")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=matrix", "-keyout", file, "-out", tmp_path / "certificate"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + (tmp_path / "certificate").read_text())
    return file


@pytest.mark.parametrize("platform", CLOUDS)
def test_the_server_is_one_node_whose_disk_address_and_secrets_stay(
    stack: Stack, certificate: Path, platform: str
) -> None:
    config = as_config({**case(platform).config, **case(platform).dns})
    config += "\n  matrix:domain: example.org\n  matrix:acme_staging: true\n"
    stack.take_example("matrix")
    with cloud(platform, stack, config=config, tls=certificate) as place:
        place.lock("44.1")
        up = stack.fleet("up", *STACK, "--yes")
        assert up.status == 0, up
        first = place.running()["matrix-0"]
        waiting = up.out.partition("ready after")[0]
        assert f"example.org, matrix.example.org, element.example.org: should resolve to {first.address}" in waiting
        for name in ("example.org", "matrix.example.org", "element.example.org"):
            assert f"{name}: should resolve to {first.address}" in up.out
        if case(platform).dns:
            records = [props for (kind, _), props in place.cloud.resources.items() if kind in RECORDS]
            assert len([record for record in records if first.address in json.dumps(record)]) == 3
        assert stack.secrets()
        assert not [value for value in stack.secrets().values() if value in place.state_file.read_text() + up.out]

        assert "nothing changes" in stack.fleet("up", *STACK, "--yes").out
        retained, disks = stack.secrets(), place.disks()
        stack.edit("Pulumi.test.yaml", "config:\n", "config:\n  matrix:postgres: 18\n")
        diff = stack.fleet("diff", *STACK)
        assert "-POSTGRES=17" in diff.out, diff
        assert "+POSTGRES=18" in diff.out
        changed = stack.fleet("up", *STACK, "--yes")
        assert changed.status == 0, changed
        second = place.running()["matrix-0"]
        assert second.id != first.id
        assert (second.address, second.disks) == (first.address, first.disks)
        assert (stack.secrets(), place.disks()) == (retained, disks)


RECORDS = ("Record", "RecordSet", "DnsRecord")


def rendered(folder: Folder, tmp_path: Path, platform: str = "aws", **config: Any) -> dict[str, Any]:
    """The node's config with a stack's config; every secret is masked."""
    folder.take_example("matrix")
    values = {"domain": "example.org", **config}
    settings = {"config": {f"matrix:{key}": value for key, value in values.items()}}
    folder.write("Pulumi.test.yaml", yaml.safe_dump(settings))
    assert folder.pulumi("stack", "init", "test").status == 0
    made = folder.fleet("render", *STACK, "--node", "matrix-0", "--platform", platform)
    assert made.status == 0, made
    tree: dict[str, Any] = json.loads(made.out)
    return tree


def test_what_is_switched_off_leaves_nothing_behind(folder: Folder, tmp_path: Path) -> None:
    tree = rendered(folder, tmp_path, federation=False, element=False)
    paths = {entry["path"] for entry in tree["storage"]["files"]}
    assert "/etc/containers/systemd/element.container" not in paths
    assert not [path for path in paths if "worker" in path or "valkey" in path]
    homeserver = yaml.safe_load(file_text(tree, "/etc/fleet/files/synapse/etc/synapse/homeserver.yaml"))
    assert homeserver["listeners"][0]["resources"] == [{"names": ["client"]}]
    assert homeserver["federation_domain_whitelist"] == []
    caddy = file_text(tree, "/etc/containers/systemd/caddy.container")
    assert "8448" not in caddy + file_text(tree, "/etc/fleet/files/caddy/etc/caddy/Caddyfile")


def test_calls_bridges_and_a_bucket_are_switched_on_by_config(folder: Folder, tmp_path: Path) -> None:
    folder.write("irc.yaml", "id: irc\n")
    tree = rendered(
        folder, tmp_path, turn=True, bridges=["irc.yaml"], registration=True, restore="latest",
        backup_repository="s3:https://s3.example.org/matrix", backup_s3_key="AKIA",
    )  # fmt: skip
    homeserver = yaml.safe_load(file_text(tree, "/etc/fleet/files/synapse/etc/synapse/homeserver.yaml"))
    assert homeserver["turn_uris"][0] == "turn:matrix.example.org:3478?transport=udp"
    assert homeserver["registration_requires_token"]
    assert homeserver["app_service_config_files"] == ["/etc/synapse/irc.yaml"]
    assert file_text(tree, "/etc/fleet/files/synapse/etc/synapse/irc.yaml") == "id: irc\n"
    backup = file_text(tree, "/etc/containers/systemd/backup.container")
    assert "backup-s3-secret,type=env,target=AWS_SECRET_ACCESS_KEY" in backup
    assert "/var/lib/matrix/backup" not in backup
    assert "ConditionDirectoryNotEmpty=!/var/lib/matrix/postgres" in file_text(
        tree, "/etc/containers/systemd/restore.container"
    )
    assert "static-auth-secret" not in file_text(tree, "/etc/fleet/files/coturn/etc/coturn/turn.conf")


def test_workers_take_reading_requests_off_the_first_process(folder: Folder, tmp_path: Path) -> None:
    tree = rendered(folder, tmp_path, workers=2)
    caddy = file_text(tree, "/etc/fleet/files/caddy/etc/caddy/Caddyfile")
    assert caddy.count("to worker-0:8008 worker-1:8008") == 2
    homeserver = yaml.safe_load(file_text(tree, "/etc/fleet/files/worker-1/etc/synapse/homeserver.yaml"))
    assert homeserver == yaml.safe_load(file_text(tree, "/etc/fleet/files/synapse/etc/synapse/homeserver.yaml"))
    worker = yaml.safe_load(file_text(tree, "/etc/fleet/files/worker-1/etc/synapse/worker.yaml"))
    assert worker["worker_name"] == "worker-1"
    assert "PublishPort" not in file_text(tree, "/etc/containers/systemd/worker-1.container")


def test_the_user_data_that_aws_takes_holds_the_whole_example(folder: Folder, tmp_path: Path) -> None:
    def random(mask: re.Match[str]) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(mask[0].encode()).digest()).decode()

    shown = json.dumps(rendered(folder, tmp_path))
    config = compose([Snippet("matrix", re.sub(r"\(secret(%20| )[\w-]+\)", random, shown), "ignition")])
    assert len(config.ignition) > 2 * 16_384
    assert len(deliver(config, Limits(raw=16_384, most=16_384), node="matrix-0").user_data) <= 16_384


def test_every_container_is_read_only_unprivileged_and_in_its_networks_alone(folder: Folder, tmp_path: Path) -> None:
    # All that the example has, which is more than AWS takes as user data.
    tree = rendered(folder, tmp_path, platform="digitalocean", turn=True, workers=1)
    networks = {}
    for entry in tree["storage"]["files"]:
        if entry["path"].endswith(".container"):
            lines = file_text(tree, entry["path"]).splitlines()
            name = Path(entry["path"]).stem
            networks[name] = {line.split("=")[1].removesuffix(".network") for line in lines if "Network=" in line}
            assert {"ReadOnly=true", "NoNewPrivileges=true", 'DropCapability="all"'} <= set(lines), name
    assert networks == {
        "caddy": {"web"},
        "synapse": {"web", "db", "workers"},
        "worker-0": {"web", "db", "workers"},
        "valkey": {"workers"},
        "postgres": {"db"},
        "element": {"web"},
        "backup": {"web"},
        "coturn": {"host"},
    }
