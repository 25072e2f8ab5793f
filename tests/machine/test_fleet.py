"""Three real machines: their private network, and a rolling change that a client hardly notices."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import STACK, Folder, meanwhile
from tests.machine.conftest import ssh

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


class Host(http.server.BaseHTTPRequestHandler):
    """A server of this host's, for itself."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the host")

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Such a server, at a port of every address."""
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Host) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def asked_on(key: Path, index: int, url: str) -> str:
    """What a node gets for a URL."""
    return ssh(key, 2222 + 1000 * index + OFFSET, f"curl --silent {url}").stdout.strip()


def test_a_rolling_change_has_one_machine_down_at_a_time(
    folder: Folder, machines: Callable[[str], Folder], key: Path
) -> None:
    public = key.with_suffix(".pub").read_text().strip()
    folder.write("fleet.yaml", SPEC.format(key=public, greeting="one"))
    stack = machines(f"{{port_offset: {OFFSET}, cpus: 1, memory_mib: 640}}")
    up = stack.fleet("up", *STACK, "--yes")
    assert up.status == 0, up
    assert pages() == ["one"] * COUNT

    # Planned addresses and names, from the first boot on.
    assert asked_on(key, 0, "http://web-1:8080/") == "one"
    assert asked_on(key, 2, "http://10.77.0.10:8080/") == "one"

    # The network's process is nobody's machine: killed, it is started again, and nothing else is.
    network = stack.path / ".fleet/test/network"
    os.kill(int((network / "process").read_text().split()[1]), signal.SIGKILL)
    repeated = stack.fleet("up", *STACK, "--yes")
    assert "nothing changes" in repeated.out, repeated
    assert pages() == ["one"] * COUNT
    assert asked_on(key, 0, "http://web-1:8080/") == "one"

    # What a node sends goes to the world, but not to this host's loopback.
    subprocess.run(["ip", "address", "add", "198.51.100.7/32", "dev", "lo"], check=True)
    with serving() as port:
        assert asked_on(key, 0, f"http://198.51.100.7:{port}/") == "the host"
        for address in ("10.0.2.2", "10.0.2.3", "10.0.2.4", "10.0.2.255"):
            assert asked_on(key, 0, f"--max-time 3 http://{address}:{port}/") == ""

    folder.write("fleet.yaml", SPEC.format(key=public, greeting="two"))
    with meanwhile(pages, pause=0.5) as seen:
        changed = stack.fleet("up", *STACK, "--yes")
    assert changed.status == 0, changed
    assert pages() == ["two"] * COUNT
    assert max(look.count(None) for look in seen) == 1
    assert asked_on(key, 1, "http://web-2:8080/") == "two"
