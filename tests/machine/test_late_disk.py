"""A real machine whose data disk is attached minutes after its services wanted it, taken away, and attached again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from qemu.qmp import QMPClient

from fleet.phases import read_progress
from tests.conftest import FLEET, STACK, Folder
from tools.cache import ROOT

pytestmark = [pytest.mark.machine, pytest.mark.long]

OFFSET = 26_000
PATIENCE = 300
"""Seconds for what takes an emulated machine some: more than enough, since nothing here is about speed."""
LATE = 180
"""Seconds that `up` has waited for the node when its disk is attached: more than the node's start waits for it."""

WITHOUT_DATA_DISKS = """\
#!/usr/bin/env python3
import os, sys
kept, words = [], iter(sys.argv[1:])
for word in words:
    value = next(words) if word in ("-drive", "-device") else None
    if value is None:
        kept.append(word)
    elif "data0" not in value:
        kept += [word, value]
os.execv({qemu!r}, ["qemu-system-x86_64", *kept])
"""
"""A QEMU that leaves data disks out, as a cloud does that attaches them later."""


@pytest.fixture
def stack(folder: Folder, machines: Callable[[str], Folder], tmp_path: Path) -> Folder:
    for name in ("fleet.yaml", "base.bu"):
        folder.write(name, (ROOT / "stacks" / name).read_text())
    folder.edit("fleet.yaml", "path: /}", "path: /}\n    ready_timeout: 1200")
    tools = tmp_path / "bin"
    tools.mkdir()
    wrapper = tools / "qemu-system-x86_64"
    wrapper.write_text(WITHOUT_DATA_DISKS.format(qemu=shutil.which("qemu-system-x86_64")))
    wrapper.chmod(0o755)
    # What KVM does under this QEMU is nothing to remember for the real one.
    folder.environment["FLEET_QEMU_ACCELERATOR"] = "tcg"
    folder.environment["PATH"] = f"{tools}:{folder.environment['PATH']}"
    return machines(f"{{port_offset: {OFFSET}, cpus: 1}}")


@contextlib.contextmanager
def updating(stack: Folder) -> Iterator[Iterator[dict[str, Any]]]:
    """Runs ``fleet up``; yields its events as they come. It is stopped where nobody waits for its end."""
    with subprocess.Popen(
        [FLEET, "up", *STACK, "--yes", "--json"],
        cwd=stack.path, env=stack.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            yield map(json.loads, process.stdout)
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
        # What it has still to say is nobody's, but has to go somewhere.
        process.communicate()
        assert process.returncode == 0


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def serves() -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{8080 + OFFSET}/", trust_env=False, timeout=5).text == "hello"
    except httpx.HTTPError:
        return False


def speaks_ssh() -> bool:
    try:
        with socket.create_connection(("127.0.0.1", 2222 + OFFSET), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def test_a_disk_that_comes_late_starts_what_waits_for_it_and_so_does_one_that_comes_back(stack: Folder) -> None:
    node = stack.path / ".fleet/test/nodes/web-0"
    disk = stack.path / ".fleet/test/disks/web-0-site.qcow2"

    def qmp(*commands: tuple[str, Mapping[str, object]]) -> None:
        async def run() -> None:
            client = QMPClient("test")
            await client.connect("qmp.sock")
            for command, arguments in commands:
                await client.execute(command, arguments)
            await client.disconnect()

        with contextlib.chdir(node):  # a socket's path can be too long
            asyncio.run(run())

    backing = {"driver": "qcow2", "file": {"driver": "file", "filename": str(disk)}}
    attach = ("device_add", {"driver": "virtio-blk-pci", "id": "late", "drive": "late", "serial": "data-site"})

    phases: list[str] = []
    is_late = False
    with updating(stack) as events:
        for event in events:
            if event["type"] == "phase":
                phase, seconds, _ = read_progress(event["phase"]) or (event["phase"], 0, 0)
                phases.append(phase)
                if seconds < LATE or is_late:
                    continue
                is_late = True
                # Whoever waits reads what for.
                assert phase.startswith("waiting for data disk site"), phases
                # The rest of the node has started without it by now, and what needs it has not.
                until(speaks_ssh, "SSH starts without the disk")
                assert not serves()
                status = stack.fleet("status", *STACK)
                assert status.status == 1
                assert "site waits for its disk; hello waits for what it needs" in status.out, status
                qmp(("blockdev-add", {"node-name": "late", **backing}), attach)
            elif event["type"] in ("ready", "failed", "error"):
                break
    assert is_late, phases
    assert event["type"] == "ready", (event, phases)
    # systemd has said on the console for how long it would wait.
    assert b"/ no limit" in (node / "console.log").read_bytes()
    assert serves()
    # From the disk on, the node waits for nothing but its container.
    since = phases[max(index for index, phase in enumerate(phases) if "data disk" in phase) + 1 :]
    assert all(phase.startswith(("starting ", "pulling ", "settling: hello", "probing")) for phase in since), phases

    qmp(("device_del", {"id": "late"}))
    # Until all has stopped: what systemd still stops when the disk is back, it does not start again.
    gone = "site is not mounted; hello does not run"
    until(lambda: gone in stack.fleet("status", *STACK).out, "the container ends with its disk")
    assert not serves()
    qmp(attach)
    until(serves, "the container comes back with its disk")
    until(lambda: stack.fleet("status", *STACK).status == 0, "the node is well again")
    page = httpx.get(f"http://127.0.0.1:{8080 + OFFSET}/provisioned.txt", trust_env=False, timeout=10)
    assert len(page.text.splitlines()) == 1
