"""Three real machines: their private network, and a rolling change that a client hardly notices."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import STACK, Folder

pytestmark = pytest.mark.machine

OFFSET = 22_000
COUNT = 3

SPEC = """\
name: trio
ssh_authorized_keys: ["{key}"]
network: {{cidr: 10.77.0.0/24}}
groups:
  web:
    count: 3
    addresses_from: 10
    containers:
      hello:
        image: docker.io/library/busybox:1
        entrypoint: [sh, -c, 'mkdir /out; echo "$GREETING" > /out/index.html; exec httpd -f -p 80 -h /out']
        ports: ["8080:80"]
        environment: {{GREETING: "{greeting}"}}
    ready: [{{http: {{port: 8080, path: /}}}}]
    ready_timeout: 300
"""


def pages() -> list[str | None]:
    def get(index: int) -> str | None:
        try:
            return httpx.get(
                f"http://127.0.0.1:{8080 + 1000 * index + OFFSET}/", trust_env=False, timeout=5
            ).text.strip()
        except httpx.HTTPError:
            return None

    return [get(index) for index in range(COUNT)]


def ssh(key: Path, index: int, command: str) -> str:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    return subprocess.run(
        ["ssh", "-i", key, "-p", str(2222 + 1000 * index + OFFSET), *(part for o in options for part in ("-o", o)),
         "core@127.0.0.1", command],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True,
    ).stdout  # fmt: skip


def test_a_rolling_change_has_one_machine_down_at_a_time(
    folder: Folder, machines: Callable[[str], Folder], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    folder.write("fleet.yaml", SPEC.format(key=public, greeting="one"))
    stack = machines(f"{{port_offset: {OFFSET}, cpus: 1, memory_mib: 640}}")
    up = stack.fleet("up", *STACK)
    assert up.status == 0, up
    assert pages() == ["one"] * COUNT

    # Planned addresses and names, from the first boot on.
    assert ssh(key, 0, "curl --silent http://web-1:8080/").strip() == "one"
    assert ssh(key, 2, "curl --silent http://10.77.0.10:8080/").strip() == "one"

    folder.write("fleet.yaml", SPEC.format(key=public, greeting="two"))
    seen: list[list[str | None]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(pages())
            time.sleep(0.5)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        changed = stack.fleet("up", *STACK)
    finally:
        over.set()
        watcher.join()
    assert changed.status == 0, changed
    assert pages() == ["two"] * COUNT
    assert max(look.count(None) for look in seen) == 1
    assert ssh(key, 1, "curl --silent http://web-2:8080/").strip() == "two"
