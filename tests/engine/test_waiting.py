"""What `up` shows while nodes are waited for, and when that was in vain."""

from __future__ import annotations

from tests.conftest import FLEET, STACK
from tests.engine.places import QemuPlace
from tests.engine.reports import FAILED, PULLS, RESTARTS, UNHEALTHY, UNKNOWN_IMAGE, Troubles
from tests.engine.stack import GROUP, Stack
from tests.engine.test_stopped import Command, until

TROUBLES: Troubles = {"image": UNKNOWN_IMAGE, "exits": RESTARTS, "ailing": UNHEALTHY, "once": FAILED}
"""By group: what its node's container does."""
FIRST_LINES = {
    "image": "container hello: its image cannot be pulled: the registry has no such image or tag (manifest unknown). "
    "Correct `image` of hello in the spec.",
    "exits": "container hello restarts, 12 times: it exits with status 1.",
    "ailing": "container hello is unhealthy: its health check fails. See what `health` of hello runs, and what hello "
    "says.",
    "once": "container hello failed: it exits with status 3.",
}


def write(stack: Stack, greeting: str) -> None:
    groups = [
        GROUP.format(name=name, port=8080, count=1, greeting=greeting).replace("timeout: 8", "timeout: 3")
        for name in TROUBLES
    ]
    stack.write("fleet.yaml", "version: 1\nname: web\ngroups:\n" + "".join(groups))


def test_the_cause_is_the_first_line_and_what_pulls_is_waited_for(stack: Stack) -> None:
    write(stack, "one")
    for name, wrong in TROUBLES.items():
        stack.trouble(f"{name}-0", {"hello": wrong})
    failed = stack.up()
    assert failed.status == 1
    lines = failed.err.strip().removeprefix("Error: ").splitlines()
    for name, line in FIRST_LINES.items():
        assert f"Node {name}-0 is not ready after 3 s: {line}" in lines, failed.err
    # The report has said all of it, in a line each.
    assert len(lines) == len(TROUBLES) + 1
    # No node is left that nothing was done to; what to type next is the last line, for the first that failed.
    assert "untouched" not in failed.err
    node = lines[0].split()[1]
    assert lines[-1] == (
        f"Next: `fleet logs fleet.yaml {node} hello --stack test` shows more; `fleet up fleet.yaml --stack test` goes "
        "on from here."
    )
    # Without a terminal, each change is a line, and what lasts is not told over and over.
    told = [line for line in failed.out.splitlines() if "container hello restarts" in line and "exits-0" in line]
    assert len(told) == 1
    assert "s of 3 s)" in told[0]

    for name in TROUBLES:
        stack.trouble(f"{name}-0", {"hello": PULLS} if name == "image" else {})
    stack.edit("fleet.yaml", "ready_timeout: 3", "ready_timeout: 90")
    running = Command(QemuPlace(stack), FLEET, "up", *STACK, "--yes")
    until(lambda: "image-0  pulling the image of hello (" in running.output.read_text())
    stack.trouble("image-0", {})
    assert running.status() == 0, running.output.read_text()
    assert running.output.read_text().count("pulling the image of hello") == 1
