"""A real machine whose data disk is attached after its services wanted it, taken away, and attached again."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from qemu.qmp import QMPClient

from tests.conftest import STACK, Folder
from tools.cache import ROOT

pytestmark = [pytest.mark.machine, pytest.mark.long]

OFFSET = 26_000
PATIENCE = 300
"""Seconds for what takes an emulated machine some: more than enough, since nothing here is about speed."""

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
    folder.edit("fleet.yaml", "path: /}", "path: /}\n    ready_timeout: 10")
    tools = tmp_path / "bin"
    tools.mkdir()
    wrapper = tools / "qemu-system-x86_64"
    wrapper.write_text(WITHOUT_DATA_DISKS.format(qemu=shutil.which("qemu-system-x86_64")))
    wrapper.chmod(0o755)
    # What KVM does under this QEMU is nothing to remember for the real one.
    folder.environment["FLEET_QEMU_ACCELERATOR"] = "tcg"
    folder.environment["PATH"] = f"{tools}:{folder.environment['PATH']}"
    return machines(f"{{port_offset: {OFFSET}, cpus: 1}}")


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

    up = stack.fleet("up", *STACK, "--yes")
    assert up.status == 1
    assert "Node web-0 is not ready" in up.err
    # systemd says on the console what it waits for, and for how long it will.
    console = node / "console.log"
    until(lambda: b"/ no limit" in console.read_bytes(), "systemd waits for the disk")
    assert not serves()
    # The rest of the node waits for it for two minutes, and starts without it then.
    until(speaks_ssh, "SSH starts without the disk")
    assert not serves()
    status = stack.fleet("status", *STACK)
    assert status.status == 1
    assert "site waits for its disk; hello waits for what it needs" in status.out, status

    qmp(("blockdev-add", {"node-name": "late", **backing}), attach)
    until(serves, "the container starts when the disk comes")
    assert stack.fleet("up", *STACK, "--yes").status == 0

    qmp(("device_del", {"id": "late"}))
    until(lambda: not serves(), "the container ends with its disk")
    qmp(attach)
    until(serves, "the container comes back with its disk")
    page = httpx.get(f"http://127.0.0.1:{8080 + OFFSET}/provisioned.txt", trust_env=False, timeout=10)
    assert len(page.text.splitlines()) == 1
