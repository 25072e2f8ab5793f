"""A real machine on which some containers are well and some are not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

from tests.conftest import STACK, Folder

pytestmark = [pytest.mark.machine, pytest.mark.long]

OFFSET = 27_000
PATIENCE = 300
"""Seconds for what takes an emulated machine some: more than enough, since nothing here is about speed."""

SPEC = """\
version: 1
name: ward
groups:
  web:
    count: 1
    containers:
      hello:
        image: docker.io/library/busybox:1
        entrypoint: [sh, -c, 'mkdir /out; echo hello > /out/index.html; exec httpd -f -p 80 -h /out']
        ports: ["8080:80"]
      ghost:
        image: {image}
        entrypoint: [sleep, infinity]
      flop:
        image: docker.io/library/busybox:1
        entrypoint: [sh, -c, '{ends}; exec sleep infinity']
      sick:
        image: docker.io/library/busybox:1
        entrypoint: [sleep, infinity]
        health: {{command: [sh, -c, "exit {check}"], interval: 5s, on_failure: none, notify: false}}
      late:
        image: docker.io/library/busybox:1
        entrypoint: [sleep, infinity]
        health: {{command: [sh, -c, "exit {check}"], interval: 5s}}
      once:
        image: docker.io/library/busybox:1
        entrypoint: [sh, -c, "exit {once}"]
        oneshot: true
    ready: [{{http: {{port: 8080, path: /}}}}]
    ready_timeout: {limit}
"""
AILING = SPEC.format(image="registry.invalid/ghost:1", ends="exit 7", check=1, once=3, limit=300)
WELL = SPEC.format(image="docker.io/library/busybox:1", ends="true", check=0, once=0, limit=600)


@pytest.fixture
def stack(folder: Folder, machines: Callable[[str], Folder]) -> Folder:
    folder.environment["FLEET_QEMU_ACCELERATOR"] = "tcg"
    folder.write("fleet.yaml", AILING)
    return machines(f"{{port_offset: {OFFSET}, cpus: 1}}")


def told(stack: Folder) -> tuple[int, str, dict[str, str]]:
    """The status of ``fleet status``, the node's state, and the problem of each container that its report tells of."""
    status = stack.fleet("status", *STACK, "--json")
    (node,) = json.loads(status.out)["nodes"]
    return status.status, node["state"], {each["name"]: each["problem"] for each in node["containers"]}


def test_up_and_status_name_each_container_that_is_not_well_and_its_cause(stack: Folder) -> None:
    up = stack.fleet("up", *STACK, "--yes")
    assert up.status == 1
    # The cause comes first, and all of it is a screen.
    first = up.err.splitlines()[0]
    assert first.startswith("Error: Node web-0 is not ready after 300 s: container ghost: its image cannot be pulled: ")
    assert len(up.err.splitlines()) < 24
    assert "\x1b" not in up.out + up.err
    # What restarts is up again every now and then, and a busy machine takes its time to know more.
    wanted = {
        "flop": r"restart.*, \d+ times: it exits with status 7",
        "ghost": r"restarts, \d+ times: the registry cannot be reached",
        "hello": "",
        "late": r"restart.* it is killed.*",
        "once": "failed: it exits with status 3",
        "sick": "is unhealthy",
    }
    seen, problems = set[str](), dict[str, str]()
    deadline = time.monotonic() + PATIENCE
    while seen != wanted.keys():
        assert time.monotonic() < deadline, (seen, problems)
        status, state, problems = told(stack)
        assert (status, state) == (1, "not ready")
        assert problems.keys() in (wanted.keys(), set())
        seen |= {name for name, problem in problems.items() if re.fullmatch(wanted[name], problem)}

    stack.write("fleet.yaml", WELL)
    mended = stack.fleet("up", *STACK, "--yes")
    assert mended.status == 0, mended
    assert told(stack) == (0, "ready", dict.fromkeys(wanted, ""))
