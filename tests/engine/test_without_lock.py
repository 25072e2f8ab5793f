"""An image lock is asked for only by what makes machines of the image that it names."""

from __future__ import annotations

import pytest

from tests.commands import COMMANDS, Command
from tests.conftest import Folder
from tests.engine.stack import Stack

NEEDING = {"preview", "diff", "up", "replace", "rollback", "image pin", "image download"}
"""Commands that are about which machines an update would make, or about the lock itself."""
MISSING = "There is no image lock"
WRITING = {"image lock", "image update"}
"""Commands that write one, of what a server says."""


def _call(folder: Folder, command: Command) -> tuple[int, str]:
    result = folder.fleet(*command.called("--stack=test"), FLEET_STREAM_URL="https://127.0.0.1:1")
    return result.status, result.err


@pytest.mark.parametrize("command", [each for each in COMMANDS if str(each) not in WRITING], ids=str)
def test_of_a_stack_that_has_not_been_made(stack: Stack, command: Command) -> None:
    (stack.path / "image.lock.yaml").unlink()
    status, text = _call(stack, command)
    # What needs a stack says that this has not been made yet, before it looks for the lock.
    asks = str(command) in NEEDING - {"replace", "rollback"}
    assert (MISSING in text) == asks, text
    assert not asks or (status == 1 and "`fleet image lock SPEC`" in text)


def test_of_a_stack_that_is_deployed(stack: Stack) -> None:
    assert stack.up().status == 0
    (stack.path / "image.lock.yaml").unlink()
    destroying = [each for each in COMMANDS if str(each) == "destroy"]
    others = [each for each in COMMANDS if str(each) not in WRITING | {"destroy"}]
    for command in [*others, *destroying]:
        status, text = _call(stack, command)
        assert (MISSING in text) == (str(command) in NEEDING), (command, text)
        if str(command) in ("status", "destroy", "render", "validate"):
            assert status == 0, (command, text)
