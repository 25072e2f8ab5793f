"""`fleet` commands on a stack that a user's own program makes, typed in the program's folder."""

from __future__ import annotations

import json

import pytest

from tests.engine.stack import Stack

STACK = ("--stack", "test")


@pytest.fixture
def program(stack: Stack) -> Stack:
    """A project whose program deploys a spec that no stack and no default names."""
    stack.spec(2, "one")
    (stack.path / "fleet.yaml").rename(stack.path / "web.yaml")
    program = "import os\n\nfrom fleet.program import deploy\n\ndeploy.DEFAULT_SPEC = 'web.yaml'\ndeploy.main()\n"
    stack.write("__main__.py", program)
    return stack


@pytest.mark.long
def test_commands_typed_in_a_programs_folder_run_the_program_or_read_its_state(program: Stack) -> None:
    nothing = program.fleet("status", *STACK)
    assert nothing.status == 0, nothing
    first = program.fleet("up", *STACK, "--yes")
    assert first.status == 0, first
    assert "`fleet ssh . web-0 --stack test` logs in." in first.out
    assert program.started() == ["web-0", "web-1"]
    same = program.fleet("preview", *STACK, "--detailed-exitcode")
    assert (same.status, same.out) == (0, "Nothing would change.\n")

    program.edit("web.yaml", '"one"', '"two"')
    preview = program.fleet("preview", *STACK, "--detailed-exitcode", "--json")
    assert preview.status == 2, preview
    events = [json.loads(line) for line in preview.out.splitlines()]
    assert [event["type"] for event in events] == ["begin", "planned", "planned", "summary"]
    assert events[1]["reasons"] == ["file /etc/containers/systemd/hello.container changed"]
    assert '+Environment="GREETING=two"' in program.fleet("diff", *STACK).out

    program.sicken("web-1")
    refused = program.fleet("replace", ".", "web-0", *STACK, "--yes")
    assert refused.status == 1
    assert "Node web-0 is left as it is: web-1 is not ready" in refused.err
    assert program.started() == []
    status = program.fleet("status", *STACK)
    assert status.status == 1
    assert [line.split()[:2] for line in status.out.splitlines()[1:]] == [["web-0", "ready"], ["web-1", "not"]]
    sick = program.fleet("up", *STACK, "--yes")
    assert "Not ready, so re-provisioned first: web-1." in sick.out
    assert "Node web-1 is not ready" in sick.err
    assert "1 node untouched: web-0." in sick.err
    assert program.started() == ["web-1"]
    program.heal("web-1")
    healed = program.fleet("up", *STACK, "--yes")
    assert healed.status == 0, healed
    assert program.started() == ["web-0"]

    program.edit("web.yaml", '"two"', '"three"')
    as_deployed = program.fleet("replace", ".", "web-0", *STACK, "--yes")
    assert as_deployed.status == 1
    assert "the program has it otherwise by now" in as_deployed.err
    assert program.fleet("replace", ".", "web-0", "--new-config", *STACK, "--yes").status == 0
    assert program.started() == ["web-0"]
    history = program.fleet("history", ".", *STACK, "--json")
    assert [json.loads(line)["command"] for line in history.out.splitlines()] == [
        "fleet up",
        "fleet up",
        "fleet up",
        "fleet replace web-0 --new-config",
    ]
    rollback = program.fleet("rollback", *STACK, "--yes")
    assert rollback.status == 2
    assert "is made by a program" in rollback.err
    assert program.fleet("logs", ".", "web-0", "--console", *STACK).out.strip().endswith(" says hello")

    assert program.fleet("view", *STACK, "--export", "page.html").status == 0
    page = (program.path / "page.html").read_text()
    assert "web-1" in page
    assert "GREETING=three" in page

    gone = program.fleet("destroy", *STACK, "--yes")
    assert gone.status == 0, gone
    assert "web: 2 removed." in gone.out
    assert "Data disk web-0-a kept" in gone.out
