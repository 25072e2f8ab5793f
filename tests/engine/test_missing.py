"""Secrets that cannot be had are needed only by what deploys them."""

from __future__ import annotations

import json

from tests.conftest import STACK, Result
from tests.engine.stack import GROUP, Stack

SPEC = (
    "version: 1\nname: web\nsecrets:\n  admin: {env: ADMIN_TOKEN}\n  other: {file: token}\n"
    "variables: {admin: {secret: admin}}\ngroups:\n"
    + GROUP.format(name="web", count=2, port=8080, greeting="one").replace('"one"', '"one ${admin}"')
    + GROUP.format(name="plain", count=1, port=8081, greeting="one")
)


def test_what_deploys_no_secret_needs_none(stack: Stack) -> None:
    stack.write("fleet.yaml", SPEC)
    stack.write("token", "s3cret")
    result = stack.fleet("up", *STACK, "--yes", ADMIN_TOKEN="xyzzy")
    assert result.status == 0, result
    assert sorted(stack.started()) == ["plain-0", "web-0", "web-1"]
    (stack.path / "token").unlink()

    def fleet(command: str, *more: str) -> Result:
        yes = ("--yes",) if command in ("up", "replace", "rollback", "destroy") else ()
        return stack.fleet(command, *STACK, *yes, *more)

    status = fleet("status")
    assert status.status == 0, status
    assert "outdated" not in status.out
    missing = "The secret admin comes from the environment variable ADMIN_TOKEN, which is not set."
    assert f"{missing} It counts as unchanged." in status.err
    # No node has the other one.
    assert "token" not in status.err
    assert fleet("diff").out == "web-0  unchanged\nweb-1  unchanged\nplain-0  unchanged\n"
    assert "says hello" in stack.fleet("logs", "fleet.yaml", "web-0", "--stack", "test", "--console").out
    replaced = stack.fleet("replace", "fleet.yaml", "web-0", "--stack", "test", "--yes")
    assert replaced.status == 0, replaced
    assert "keeps its deployed config" not in replaced.out
    assert stack.started() == ["web-0"]
    assert "one xyzzy" in (stack.path / ".fleet/test/nodes/web-0/config.ign").read_text().replace("%20", " ")
    for command in ("up", "preview"):
        assert missing in fleet(command).err
    assert missing in stack.fleet("replace", "fleet.yaml", "web-0", "--stack", "test", "--yes", "--new-config").err

    # What else changes is seen.
    stack.edit("fleet.yaml", '"one ${admin}"', '"two ${admin}"')
    assert {node["node"]: node["fate"] for node in json.loads(fleet("diff", "--json").out)} == {
        "plain-0": "unchanged",
        "web-0": "re-provisioned",
        "web-1": "re-provisioned",
    }
    assert fleet("status").out.count("outdated") == 2
    replaced = stack.fleet("replace", "fleet.yaml", "web-1", "--stack", "test", "--yes")
    assert "web-1  keeps its deployed config" in replaced.out
    assert stack.started() == ["web-1"]
    # As if nothing had been tried.
    stack.edit("fleet.yaml", '"two ${admin}"', '"one ${admin}"')
    stack.write("token", "s3cret")
    assert "nothing changes" in stack.fleet("up", *STACK, "--yes", ADMIN_TOKEN="xyzzy").out
    assert fleet("destroy").status == 0
