"""The rollout as a table."""

from __future__ import annotations

import io

from rich.console import Console

from fleet.cli.board import Board
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from tests.conftest import Folder


def test_a_terminal_shows_what_each_node_does_and_what_the_others_wait_for(folder: Folder) -> None:
    folder.edit("fleet.yaml", "count: 1", "count: 40")
    where = platform("qemu", project=folder.path, stack="test")
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(None, reveal=False), where, need_lock=False)
    shown = io.StringIO()
    with Board(Console(file=shown, force_terminal=True, width=100, color_system=None)) as board:
        board.begin(plan, [f"web-{index}" for index in range(1, 40)])
        board.say("web-1", "stopping")
        before = shown.getvalue()
        board.say("web-1", "ready after 5 s")
        board.say("web-2", "stopping")
        last = shown.getvalue().rpartition("web-2   stopping")[2]
    assert "web-0 " not in before
    assert "waits until web-2 is ready" in last
    assert "more that wait" in last
    assert "web-1 " not in last


def test_a_pipe_gets_lines_alone(folder: Folder) -> None:
    where = platform("qemu", project=folder.path, stack="test")
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(None, reveal=False), where, need_lock=False)
    shown = io.StringIO()
    with Board(Console(file=shown, width=100)) as board:
        board.begin(plan, ["web-0"])
        board.say("web-0", "stopping")
    assert shown.getvalue() == "web-0  stopping\n"


def test_time_that_passes_is_a_row_and_no_line(folder: Folder) -> None:
    where = platform("qemu", project=folder.path, stack="test")
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(None, reveal=False), where, need_lock=False)
    shown = io.StringIO()
    with Board(Console(file=shown, force_terminal=True, width=100, color_system=None)) as board:
        board.begin(plan, ["web-0"])
        board.say("web-0", "pulling the image of hello (4 s of 900 s)")
        first = shown.getvalue()
        board.say("web-0", "still pulling the image of hello (64 s of 900 s)")
    assert "4 s of 900 s" in first
    assert "still" not in shown.getvalue()
    assert "64 s of 900 s" in shown.getvalue()


def test_a_pipe_gets_a_line_for_what_lasts(folder: Folder) -> None:
    where = platform("qemu", project=folder.path, stack="test")
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(None, reveal=False), where, need_lock=False)
    shown = io.StringIO()
    with Board(Console(file=shown, width=100)) as board:
        board.begin(plan, ["web-0"])
        board.say("web-0", "still pulling the image of hello (64 s of 900 s)")
    assert shown.getvalue() == "web-0  still pulling the image of hello (64 s of 900 s)\n"
