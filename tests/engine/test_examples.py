"""The stack files of the examples can be used as they are, up to what only their user can know."""

from __future__ import annotations

import pytest

from tests.engine.cases import CLOUDS
from tests.engine.places import cloud
from tests.engine.stack import Stack

NODES = {"matrix": ["matrix-0"], "nomad": ["client-0", "client-1", "client-2", "server-0", "server-1", "server-2"]}


@pytest.mark.parametrize("platform", CLOUDS)
def test_the_examples_can_be_previewed_on_their_own_stack_files(stack: Stack, platform: str) -> None:
    with cloud(platform, stack) as place:
        place.lock("44.1")
        for example, nodes in NODES.items():
            stack.take_example(example)
            settings = (stack.path / f"Pulumi.{platform}.yaml").read_text().replace("ssh_keys: []", 'ssh_keys: ["1"]')
            stack.write("Pulumi.test.yaml", settings)
            shown = stack.fleet("preview", f"{example}.py", "--stack", "test")
            assert shown.status == 0, shown
            new = sorted(line.split()[0] for line in shown.out.splitlines() if line.endswith("  new"))
            assert new == nodes
