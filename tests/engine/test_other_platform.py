"""A platform of somebody else's package, on the real engine."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import STACK, file_text, install_toy
from tests.engine.stack import Stack

SPEC = """\
version: 1
name: web
groups:
  web:
    count: 2
    snippets: [base.bu]
    ports: [8080]
    data_disks: {site: {size_gib: 1, mount: /var/site}}
"""


def test_a_platform_of_another_package_makes_replaces_and_removes_nodes(other: Path, stack: Stack) -> None:
    install_toy(other)
    stack.write("fleet.yaml", SPEC)
    stack.write("Pulumi.test.yaml", "config:\n  fleet:platform: toy\n  fleet:toy: {folder: toys}\n")
    toys = stack.path / "toys"
    shown = stack.fleet("preview", *STACK)
    assert shown.status == 0, shown
    assert not toys.exists()

    made = stack.up()
    assert made.status == 0, made
    first = {file.name: file.read_text() for file in toys.iterdir()}
    assert first.keys() == {"web-0.ign", "web-1.ign", "web-0-site.disk", "web-1-site.disk"}
    assert file_text(json.loads(first["web-1.ign"]), "/etc/hostname") == "web-1\n"
    assert "nothing changes" in stack.up().out
    (toys / "web-0-site.disk").write_text("data")

    stack.edit("base.bu", "hello", "hello again")
    repeated = stack.up()
    assert repeated.status == 0, repeated
    assert "web-0  re-provision: file /etc/motd.d/fleet changed" in repeated.out
    assert "web: 2 re-provisioned." in repeated.out
    assert file_text(json.loads((toys / "web-0.ign").read_text()), "/etc/motd.d/fleet") == "hello again"
    plain = stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive", "--expect-no-changes")
    assert plain.status == 0, plain

    gone = stack.fleet("destroy", *STACK, "--yes")
    assert gone.status == 0, gone
    assert {file.name for file in toys.iterdir()} == {"web-0-site.disk", "web-1-site.disk"}
    assert (toys / "web-0-site.disk").read_text() == "data"
