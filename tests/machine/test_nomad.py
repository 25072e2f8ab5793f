"""examples/nomad with real servers: it forms by itself, rolls without losing quorum, and stops at what is broken."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Folder, meanwhile
from tests.machine.conftest import ssh
from tools.nomad_image import REFERENCE, nomad_image

pytestmark = pytest.mark.long

OFFSET = 24_000
STACK = ("nomad.py", "--stack", "test")
SERVERS = range(3)
CLIENT = {22: 2722 + OFFSET, 4646: 4746 + OFFSET, 4650: 4750 + OFFSET}


@dataclass
class Cluster:
    """The stack in a folder, and the cluster as its operators see it."""

    folder: Folder
    key: Path

    def up(self) -> None:
        result = self.folder.fleet("up", *STACK, "--yes")
        assert result.status == 0, result.err

    def ask(self, path: str, *, server: int = 0, token: str | None = None) -> Any:
        headers = {"X-Nomad-Token": self.folder.secrets()["nomad:acl_token"] if token is None else token}
        with httpx.Client(verify=False, trust_env=False, timeout=30, headers=headers) as client:
            answer = client.get(f"https://127.0.0.1:{4646 + 1000 * server + OFFSET}/v1/{path}")
        answer.raise_for_status()
        return answer.json()

    def ssh(self, port: int, command: str) -> subprocess.CompletedProcess[str]:
        return ssh(self.key, port, command)

    def boots(self) -> list[str]:
        """What tells one machine of each server from the next."""
        command = "cat /proc/sys/kernel/random/boot_id"
        return [self.ssh(2222 + 1000 * server + OFFSET, command).stdout for server in SERVERS]

    def watched(self) -> AbstractContextManager[list[int]]:
        """Asks meanwhile how many servers serve, over and over: all at once, since a busy machine's answer takes
        seconds. A server answers for itself, also while a leader is elected.
        """

        def serves(server: int) -> bool:
            try:
                url = f"https://127.0.0.1:{4646 + 1000 * server + OFFSET}/v1/status/peers?stale"
                # The peers are two for a time: the leader strikes off a server that is gone.
                return len(httpx.get(url, trust_env=False, timeout=20, verify=False).json()) >= 2
            except (httpx.HTTPError, ValueError):
                return False

        def look() -> int:
            with ThreadPoolExecutor(len(SERVERS)) as pool:
                return sum(pool.map(serves, SERVERS))

        return meanwhile(look, pause=1)

    def eventually(self, found: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 180
        while not found():
            assert time.monotonic() < deadline
            time.sleep(3)


@pytest.fixture
def cluster(folder: Folder, machines: Callable[[str], Folder], key: Path) -> Cluster:
    machines("{}")
    folder.take_example("nomad")
    ports = ", ".join(f'"client-0:{port}": {host}' for port, host in CLIENT.items())
    folder.write(
        "Pulumi.test.yaml",
        "config:\n  fleet:platform: qemu\n"
        f"  fleet:qemu: {{port_offset: {OFFSET}, cpus: 1, memory_mib: 896, host_ports: {{{ports}}}}}\n"
        f"  nomad:nomad_image: {REFERENCE}\n  nomad:servers: 3\n  nomad:clients: 1\n  nomad:ready_seconds: 600\n"
        "  nomad:drain_seconds: 5\n  nomad:raft_multiplier: 10\n"
        f"  nomad:ssh_authorized_keys: [{key.with_suffix('.pub').read_text().strip()}]\n",
    )
    made = folder.fleet("image", "update", "nomad.py", "--file", str(nomad_image()))
    assert made.status == 0, made.err
    return Cluster(folder, key)


def test_a_cluster_forms_by_itself_and_rolls_without_losing_its_quorum(cluster: Cluster) -> None:
    cluster.up()
    peers = cluster.ask("status/peers")
    assert sorted(peers) == [f"10.77.0.{10 + server}:4647" for server in SERVERS]
    cluster.eventually(lambda: [node["Status"] for node in cluster.ask("nodes")] == ["ready"])
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        cluster.ask("nodes", token="")

    first = cluster.boots()
    client = cluster.ssh(CLIENT[22], "cat /proc/sys/kernel/random/boot_id").stdout
    files = "storage: {files: [{path: /etc/motd.d/server, contents: {inline: a server}}]}"
    cluster.folder.write("server.bu", f"variant: fcos\nversion: 1.6.0\n{files}\n")
    cluster.folder.edit("Pulumi.test.yaml", "config:\n", "config:\n  nomad:server_snippets: [server.bu]\n")
    with cluster.watched() as serving:
        cluster.up()
    assert min(serving) == 2
    second = cluster.boots()
    assert not set(first) & set(second)
    assert cluster.ssh(CLIENT[22], "cat /proc/sys/kernel/random/boot_id").stdout == client
    assert sorted(cluster.ask("status/peers")) == sorted(peers)
    health = cluster.ask("operator/autopilot/health")
    assert [server["Voter"] for server in health["Servers"]] == [True] * 3
    assert cluster.ask("acl/token/self")["Type"] == "management"

    # An agent that does not start: the first server stays down, and the others as they were.
    broken = "systemd: {units: [{name: nomad.service, dropins: [{name: 10-broken.conf, contents: "
    unit = '"[Service]\\nExecStartPre=/usr/bin/false\\n"}]}]}'
    cluster.folder.write("server.bu", f"variant: fcos\nversion: 1.6.0\n{broken}{unit}\n")
    assert cluster.folder.pulumi("config", "set", "--stack", "test", "ready_seconds", "120").status == 0
    with cluster.watched() as serving:
        stopped = cluster.folder.fleet("up", *STACK, "--yes")
    assert stopped.status == 1
    assert "Node server-0 is not ready" in stopped.err
    assert min(serving) == 2
    assert cluster.boots()[1:] == second[1:]
