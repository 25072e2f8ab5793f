"""A real machine, the real engine: boot, page, data, change, re-provision, data kept; then what goes wrong.

One CPU a machine: an emulated kernel with more sometimes panics when the host is busy.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import STACK, Folder
from tools.cache import ROOT

pytestmark = pytest.mark.machine

OFFSET = 20_000
URL = f"http://127.0.0.1:{8080 + OFFSET}/"


@pytest.fixture
def stack(folder: Folder, machines: Callable[[str], Folder]) -> Folder:
    """The repository's own stack, in a folder of its own and with ports of its own."""
    for name in ("fleet.yaml", "base.bu"):
        folder.write(name, (ROOT / "stacks" / name).read_text())
    return machines(f"{{port_offset: {OFFSET}, cpus: 1}}")


def page(path: str = "") -> str:
    return httpx.get(URL + path, trust_env=False, timeout=10).text


def processes(folder: Folder) -> int:
    output = subprocess.run(["pgrep", "-fc", f"^qemu-system.*file={folder.path}"], capture_output=True, text=True)
    return int(output.stdout)


def test_a_change_re_provisions_the_node_and_keeps_its_data(stack: Folder, key: Path) -> None:
    public = key.with_suffix(".pub").read_text().strip()
    stack.edit("fleet.yaml", "name: web\n", f"name: web\nssh_authorized_keys: [{public}]\n")
    first = stack.fleet("up", *STACK, "--yes")
    assert first.status == 0, first
    assert page() == "hello"
    assert len(page("provisioned.txt").splitlines()) == 1

    repeated = stack.fleet("up", *STACK, "--yes")
    assert "web: nothing changes." in repeated.out
    there = ("fleet.yaml", "web-0", "--stack", "test", "--identity", str(key))
    assert stack.fleet("ssh", *there, "--", "cat /etc/hostname").out == "web-0\n"
    assert "serving initial configuration" in stack.fleet("logs", *there[:2], "hello", *there[2:]).out

    greeting = 'x "y" $HOME 100% é'
    stack.edit("fleet.yaml", '"hello"', f"'{greeting}'")
    preview = stack.fleet("preview", *STACK)
    assert "re-provision: file /etc/containers/systemd/hello.container changed" in preview.out
    assert page() == "hello"
    changed = stack.fleet("up", *STACK, "--yes")
    assert re.search(r"web-0 +ready after \d+ s", changed.out), changed
    assert page() == greeting
    assert stack.fleet("ssh", *there, "--", "exit 7").status == 7
    assert len(page("provisioned.txt").splitlines()) == 2
    assert processes(stack) == 1

    # A node that died is seen as gone, and comes back with its data.
    subprocess.run(["pkill", "-9", "-f", f"^qemu-system.*file={stack.path}"], check=True)
    assert "re-provision: it no longer runs" in stack.fleet("up", *STACK, "--yes").out
    assert len(page("provisioned.txt").splitlines()) == 3

    gone = stack.fleet("destroy", *STACK, "--yes")
    disk = stack.path / ".fleet/test/disks/web-0-site.qcow2"
    assert f"Data disk web-0-site kept: {disk}" in gone.out
    assert processes(stack) == 0
    assert [p for p in (stack.path / ".fleet").rglob("*") if p.is_file()] == [disk]


def test_a_node_that_does_not_get_ready_stops_the_update_with_where_it_is(stack: Folder) -> None:
    stack.edit("fleet.yaml", "path: /}", "path: /, status: 418}\n    ready_timeout: 40")
    failed = stack.fleet("up", *STACK, "--yes")
    assert failed.status == 1
    assert "Node web-0 is not ready" in failed.err
    assert "timed out after 40 s; last response: " in failed.err
    # What is told on the way there: firmware and Ignition from the console, and what the report says.
    assert re.search(r"^web-0  (Ignition \(|in its initramfs|starting its (kernel|units))", failed.out, re.M), (
        failed.out
    )
    assert len(failed.err.splitlines()) < 15
    assert "\x1b" not in failed.err
