"""A real machine on which some containers are well and some are not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.conftest import STACK, Folder

pytestmark = [pytest.mark.machine, pytest.mark.long]

OFFSET = 27_000

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
WELL = SPEC.format(image="docker.io/library/busybox:1", ends="true", check=0, once=0, limit=300)


@pytest.fixture
def stack(folder: Folder, machines: Callable[[str], Folder]) -> Folder:
    folder.environment["FLEET_QEMU_ACCELERATOR"] = "tcg"
    folder.write("fleet.yaml", AILING)
    return machines(f"{{port_offset: {OFFSET}, cpus: 1}}")


def test_up_and_status_name_each_container_that_is_not_well_and_its_cause(stack: Folder) -> None:
    up = stack.fleet("up", *STACK, "--yes")
    print(up.out, up.err, sep="\n-----\n")
    assert up.status == 1
    # The cause comes first, and all of it is a screen.
    first = up.err.splitlines()[0]
    assert first.startswith("Error: Node web-0 is not ready after 300 s: container ghost: its image cannot be pulled: ")
    assert "once failed: it exits with status 3" in up.err
    assert "sick is unhealthy" in up.err
    assert len(up.err.splitlines()) < 24
    assert "\x1b" not in up.out + up.err

    # What restarts is up again every now and then.
    def told() -> tuple[int, str, dict[str, str]]:
        status = stack.fleet("status", *STACK, "--json")
        (node,) = json.loads(status.out)["nodes"]
        return status.status, node["state"], {each["name"]: each["problem"] for each in node["containers"]}

    status, state, problems = told()
    print(problems)
    assert (status, state) == (1, "not ready")
    assert problems["hello"] == ""
    assert re.fullmatch(r"restarts, \d+ times: the registry cannot be reached", problems["ghost"])
    assert re.search(r"restart.*, \d+ times: it exits with status 7", problems["flop"])
    assert problems["sick"] == "is unhealthy"
    assert problems["once"] == "failed: it exits with status 3"
    assert re.search("it is killed|health check yet|starting", problems["late"])

    stack.write("fleet.yaml", WELL)
    mended = stack.fleet("up", *STACK, "--yes", "--json")
    print(mended.out, mended.err)
    assert mended.status == 0
    assert told() == (0, "ready", dict.fromkeys(problems, ""))
    events = [json.loads(line) for line in mended.out.splitlines()]
    (ready,) = [event for event in events if event["type"] == "ready"]
    print(ready)
