"""Commands that change a stack ask first, or are told that it is meant."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.conftest import FLEET, STACK, Folder

CHANGING = [("up", *STACK), ("rollback", *STACK), ("replace", "fleet.yaml", "web-0", *STACK[1:]), ("destroy", *STACK)]


@pytest.mark.parametrize("command", CHANGING, ids=lambda command: str(command[0]))
def test_without_a_terminal_what_changes_a_stack_wants_to_be_told_that_it_is_meant(
    folder: Folder, refused: Callable[..., str], command: tuple[str, ...]
) -> None:
    folder.make_project("{}")
    before = sorted(folder.path.rglob("*"))
    error = refused(*command, status=2)
    assert error == "Error: There is no terminal to ask whether this is meant. Say `--yes` if it is.\n"
    assert sorted(folder.path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", CHANGING[1:], ids=lambda command: str(command[0]))
def test_a_no_at_the_terminal_leaves_the_stack_as_it_is(folder: Folder, command: tuple[str, ...]) -> None:
    folder.make_project("{}")
    before = sorted(folder.path.rglob("*"))
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"n\n")
        result = subprocess.run(
            [FLEET, *command], cwd=folder.path, env=folder.environment, stdin=theirs, capture_output=True, text=True
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (result.returncode, result.stderr) == (2, "Error: Nothing was done.\n")
    assert "stack test" in result.stdout
    assert sorted(folder.path.rglob("*")) == before
