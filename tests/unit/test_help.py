"""The help of ``fleet`` and of its groups, which is laid out without Typer and Rich, next to theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer
from typer import rich_utils
from typer.testing import CliRunner

from fleet.cli import help as quick
from fleet.cli.app import app
from tests.conftest import Folder

GROUPS = sorted(quick.pages())
Cell = tuple[str, frozenset[str]]


def by_typer(words: str, width: int, monkeypatch: pytest.MonkeyPatch, *, colours: bool = False) -> str:
    """What Typer and Rich show."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(rich_utils, "FORCE_TERMINAL", colours)
    monkeypatch.setattr(rich_utils, "COLOR_SYSTEM", "standard" if colours else None)
    result = CliRunner().invoke(app, [*words.split(), "--help"], prog_name="fleet", color=colours)
    assert result.exit_code == 0
    return result.output


def cells(text: str) -> Iterator[Cell]:
    """The characters of a text with how each is shown; of a blank, that is not seen."""
    style: frozenset[str] = frozenset()
    for sequence, character in re.findall(r"\x1b\[([\d;]*)m|([^\x1b])", text):
        if character:
            yield character, frozenset() if character.isspace() else style
        else:
            style = frozenset(sequence.split(";")) - {"0", ""}


def test_every_group_of_commands_has_a_page() -> None:
    groups = [name for name, command in typer.main.get_command(app).commands.items() if hasattr(command, "commands")]  # type: ignore[attr-defined]
    assert sorted(["", *groups]) == GROUPS


@pytest.mark.parametrize("words", GROUPS)
@pytest.mark.parametrize("width", [*range(60, 140, 9), 80, 200])
def test_a_page_is_what_typer_shows(words: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    page = quick.pages()[words]
    assert quick.laid_out(page, width, colours=False) == by_typer(words, width, monkeypatch)


@pytest.mark.parametrize("words", GROUPS)
@pytest.mark.parametrize("width", [60, 100])
def test_a_page_has_the_colours_that_typer_gives_it(words: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = quick.laid_out(quick.pages()[words], width, colours=True)
    theirs = by_typer(words, width, monkeypatch, colours=True)
    assert "\x1b[" in theirs
    assert list(cells(ours)) == list(cells(theirs))


@pytest.mark.parametrize("variable", ["TYPER_USE_RICH", "FORCE_COLOR", "NO_COLOR", "TERMINAL_WIDTH"])
def test_what_changes_the_look_of_help_is_left_to_typer(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "0")
    assert quick.shown(["/usr/bin/fleet", "--help"]) is None


@pytest.mark.parametrize("arguments", [["--help", "up"], ["up", "--help"], ["image", "lock", "--help"], ["-h"], []])
def test_what_asks_for_no_groups_page_is_left_to_typer(arguments: list[str]) -> None:
    assert quick.shown(["/usr/bin/fleet", *arguments]) is None


@pytest.mark.parametrize("words", GROUPS)
def test_the_command_shows_the_page(words: str, folder: Folder) -> None:
    shown = folder.fleet(*words.split(), "--help")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out == quick.laid_out(quick.pages()[words], 80, colours=False)
