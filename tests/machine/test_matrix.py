"""examples/matrix with the real software: what users wrote outlives every node that served it."""

from __future__ import annotations

import json
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Folder
from tests.machine.conftest import ssh
from tools.matrix_image import matrix_image

pytestmark = pytest.mark.long

OFFSET = 23_000
DOMAIN = "matrix.localhost"
HOST = f"matrix.{DOMAIN}"
STACK = ("matrix.py", "--stack", "test")
SECRET = string.ascii_letters + string.digits + string.punctuation
SECRETS = ("db_password", "macaroon_key", "form_secret", "registration_secret", "backup_password")


@dataclass
class Server:
    """The stack in a folder, and the node as users and its administrator see it."""

    folder: Folder
    key: Path

    def up(self, **config: str) -> None:
        for name, value in config.items():
            assert self.folder.pulumi("config", "set", "--stack", "test", name, "--", value).status == 0
        result = self.folder.fleet("up", *STACK, "--yes")
        assert result.status == 0, result
        assert SECRET not in result.out + result.err

    def keep_secret(self, name: str, value: str) -> None:
        retained = self.folder.pulumi("config", "set", "--stack", "test", "--secret", name, "--", value)
        assert retained.status == 0, retained.err

    def ssh(self, command: str) -> str:
        ran = ssh(self.key, 2222 + OFFSET, command)
        assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
        return ran.stdout

    def ask(self, method: str, path: str, *, token: str = "", port: int = 8443, **rest: Any) -> httpx.Response:
        """A request to the API, through Caddy."""
        headers = {"Host": HOST, **({"Authorization": f"Bearer {token}"} if token else {}), **rest.pop("headers", {})}
        with httpx.Client(verify=False, trust_env=False, timeout=120) as client:
            answer = client.request(
                method,
                f"https://127.0.0.1:{port + OFFSET}{path}",
                headers=headers,
                extensions={"sni_hostname": HOST},
                **rest,
            )
        assert answer.status_code == 200, answer.text
        return answer

    def signing_key(self) -> Any:
        return self.ask("GET", "/_matrix/key/v2/server", port=8448).json()["verify_keys"]


@pytest.fixture
def server(folder: Folder, machines: Callable[[str], Folder], key: Path) -> Server:
    machines("{}")
    folder.take_example("matrix")
    folder.write(
        "Pulumi.test.yaml",
        "config:\n  fleet:platform: qemu\n"
        f"  fleet:qemu: {{port_offset: {OFFSET}, cpus: 2, memory_mib: 2048}}\n"
        f"  matrix:domain: {DOMAIN}\n  matrix:data_gib: 4\n  matrix:postgres: 15\n"
        f"  matrix:ssh_authorized_keys: [{key.with_suffix('.pub').read_text().strip()}]\n",
    )
    made = folder.fleet("image", "update", "matrix.py", "--file", str(matrix_image()))
    assert made.status == 0, made.err
    found = Server(folder, key)
    assert folder.pulumi("stack", "init", "test").status == 0
    for name in SECRETS:
        found.keep_secret(name, SECRET)
    return found


def test_users_rooms_media_and_keys_outlive_the_node_an_upgrade_and_the_disk(server: Server) -> None:
    server.up()
    keys = server.signing_key()
    assert list(keys) == ["ed25519:a_fleet"]
    server.ssh(
        "sudo podman exec synapse python3 -m synapse._scripts.register_new_matrix_user "
        "-c /etc/synapse/homeserver.yaml --user ada --password analytical --admin http://localhost:8008"
    )
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "ada"},
        "password": "analytical",
    }
    token = server.ask("POST", "/_matrix/client/v3/login", json=login).json()["access_token"]
    room = server.ask("POST", "/_matrix/client/v3/createRoom", token=token, json={"name": "engine"}).json()["room_id"]
    message = {"msgtype": "m.text", "body": "that which can be done"}
    path = f"/_matrix/client/v3/rooms/{room}"
    server.ask("PUT", f"{path}/send/m.room.message/1", token=token, json=message)
    uploaded = server.ask(
        "POST", "/_matrix/media/v3/upload", token=token, content=b"a note", headers={"Content-Type": "text/plain"}
    ).json()["content_uri"]
    media = uploaded.removeprefix("mxc://")

    def everything_is_there() -> None:
        history = server.ask("GET", f"{path}/messages?dir=b&limit=20", token=token).json()["chunk"]
        assert message in [event["content"] for event in history]
        assert server.ask("GET", f"/_matrix/client/v1/media/download/{media}", token=token).content == b"a note"
        assert server.signing_key() == keys

    everything_is_there()
    shown = server.ssh("ps -eo args; sudo podman inspect --all synapse postgres caddy; sudo podman logs synapse 2>&1")
    assert SECRET not in shown
    state = (server.folder.path / ".pulumi/stacks/matrix/test.json").read_text()
    assert SECRET not in state
    assert json.dumps(SECRET)[1:-1] not in state
    repeated = server.folder.fleet("preview", *STACK)
    assert "Nothing would change" in repeated.out, repeated

    # A config change and PostgreSQL's next major version, each a new node.
    machine = server.ssh("cat /proc/sys/kernel/random/boot_id")
    server.up(registration="true", workers="1")
    assert server.ssh("cat /proc/sys/kernel/random/boot_id") != machine
    everything_is_there()
    # Reading is the worker's: it goes on without Synapse's first process, with all that this one has written.
    server.ask("PUT", f"{path}/send/m.room.message/2", token=token, json={**message, "body": "to the worker"})
    deadline = time.monotonic() + 60
    while "to the worker" not in server.ask("GET", "/_matrix/client/v3/sync", token=token).text:
        assert time.monotonic() < deadline
    server.ssh("sudo podman pause synapse")
    assert "to the worker" in server.ask("GET", "/_matrix/client/v3/sync", token=token).text
    server.ssh("sudo podman unpause synapse")
    server.up(postgres="17")
    assert "17" in server.ssh("sudo podman exec postgres psql -U synapse -Atc 'show server_version'")
    assert server.ssh("sudo ls /var/lib/matrix/postgres").split() == ["15.old", "17"]
    everything_is_there()

    # A backup, and a new node with a disk that has nothing but the backup's repository.
    server.ssh("sudo systemctl start backup.service")
    server.ssh("sudo sh -c 'systemctl stop caddy synapse postgres && cd /var/lib/matrix && rm -r postgres media dump'")
    server.up(restore="latest")
    everything_is_there()
