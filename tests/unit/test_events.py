"""The events of commands, and what commands print of them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from fleet.cli.stream import Stream
from fleet.cli.table import span
from fleet.cli.terminal import results
from fleet.errors import FleetError, UsageError
from fleet.model import attributes
from fleet.ops import events
from fleet.ops.events import TYPES, Event, NodeResult, Summary
from fleet.ops.signals import Stopped
from tests.conftest import STACK, Folder

NOON = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_every_type_of_event_has_its_keys_explained(kind: type[Event]) -> None:
    assert list(attributes(kind)) == [each.name for each in dataclasses.fields(kind)]


def test_a_document_begins_with_version_type_and_time() -> None:
    document = events.Ready("web-0", 41.26).document(NOON)
    assert list(document.items()) == [
        ("version", 1), ("type", "ready"), ("time", "2026-11-25T12:00:00.123Z"), ("node", "web-0"), ("seconds", 41.26),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "changed", "counts", "text"),
    [
        ("preview", False, {"unchanged": 2}, "Nothing would change."),
        ("preview", True, {"new": 1, "unchanged": 2}, "Preview of web: 1 new, 2 unchanged."),
        ("preview", True, {"unchanged": 2}, "Preview of web: 2 unchanged."),
        ("up", False, {"unchanged": 2}, "web: nothing changes."),
        ("up", True, {"unchanged": 2}, "web: updated, 2 unchanged."),
        ("up", True, {"re-provisioned": 2}, "web: 2 re-provisioned."),
        ("up", False, {}, "web: nothing changes."),
        ("destroy", True, {"removed": 3}, "web: 3 removed."),
        ("destroy", False, {}, "web: no nodes."),
    ],
)
def test_a_summary_is_one_line(command: str, changed: bool, counts: dict[str, int], text: str) -> None:
    assert Summary(command, "web", changed, counts).text == text


def test_a_rollout_ends_with_a_line_a_node() -> None:
    web = {"22": "127.0.0.1:2222", "8080": "127.0.0.1:8080", "443": "gate.example:443"}
    shown = [
        *results(
            [
                NodeResult("web-0", "web", "re-provisioned", 125.3, "127.0.0.1", web, "ssh core@127.0.0.1"),
                NodeResult("web-10", "web", "unchanged", None, "127.0.0.1", {}),
                NodeResult("old-0", "old", "removed"),
            ]
        )
    ]
    assert [str(line) for line in shown] == [
        "node    result          time       address    ports",
        "web-0   re-provisioned  2 min 5 s  127.0.0.1  22→2222 8080 443→gate.example:443",
        "web-10  unchanged       -          127.0.0.1",
        "old-0   removed         -          -",
    ]


def test_the_table_of_a_large_fleet_has_what_changed_and_counts_the_rest() -> None:
    nodes = [NodeResult(f"web-{i}", "web", "new" if i >= 170 else "unchanged", 1) for i in range(200)]
    shown = [str(line) for line in results(nodes)]
    assert len(shown) == 1 + 30 + 1
    assert shown[-1] == "and 170 more that are unchanged"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (0, "0 s"), (5.4, "5 s"), (59.6, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (3660, "1 h 1 min"),
        (90_000, "1 d 1 h"), (1e6, "11 d 13 h"),
    ],
)  # fmt: skip
def test_a_length_of_time_is_said_in_two_units(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


ERRORS: list[tuple[BaseException, str, int]] = [
    (FleetError("It fails.", fix="Mend it."), "It fails. Mend it.", 1),
    (UsageError("That is wrong."), "That is wrong.", 2),
    (Stopped(15), "Stopped by SIGTERM.", 143),
]


@pytest.mark.parametrize(("error", "message", "status"), ERRORS, ids=lambda each: type(each).__name__)
def test_an_error_is_the_last_event_of_its_stream(
    error: BaseException, message: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with Stream() as stream:
            stream.say("web-0", "stays")
            stream.warn("It is late.")
            raise error

    with pytest.raises(type(error)):
        fail()
    note, warned, last = lines(capsys.readouterr().out)
    assert (note["type"], note["node"], note["message"]) == ("note", "web-0", "stays")
    assert (warned["type"], warned["message"]) == ("warning", "It is late.")
    assert (last["type"], last["message"], last["exit_status"]) == ("error", message, status)


def test_a_download_is_told_at_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with Stream() as stream, stream.download() as progress:
        for done in range(1001):
            progress("downloading", done, 1000)
        progress("decompressing", 5, None)
        progress("decompressing", 9, None)
    shown = [(each["step"], each["bytes_done"]) for each in lines(capsys.readouterr().out)]
    assert shown == [*(("downloading", done) for done in range(0, 1001, 100)), ("decompressing", 5)]


_READER_GOES = """
import os, sys
from fleet.cli.stream import Stream
with Stream() as stream:
    stream.say("", "before")
    sys.stdin.readline()
    stream.say("", "after")
    stream.say("", "and after that")
sys.stderr.write("done")
"""


def test_a_command_goes_on_when_nobody_reads_its_events_any_more() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _READER_GOES],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    assert process.stderr
    assert "before" in process.stdout.readline()
    process.stdout.close()
    process.stdin.write(os.linesep)
    process.stdin.flush()
    assert process.stderr.read() == "done"
    assert process.wait() == 0
    process.stdin.close()
    process.stderr.close()


@pytest.mark.parametrize(
    "command", [["up"], ["destroy"], ["rollback"], ["replace", "web-0"]], ids=lambda words: str(words[0])
)
def test_a_command_that_changes_something_and_tells_programs_wants_to_be_told_yes(
    command: list[str], folder: Folder
) -> None:
    folder.make_project("{}")
    result = folder.fleet(command[0], "fleet.yaml", *command[1:], *STACK[1:], "--json")
    assert result.status == 2
    (event,) = lines(result.out)
    assert (event["type"], event["exit_status"]) == ("error", 2)
    assert "Say `--yes` if it is." in str(event["message"])
    assert result.err == f"Error: {event['message']}\n"


@pytest.mark.parametrize(
    "words",
    [["fleet.yaml", "--stack", "test", "--no-such-option"], ["fleet.yaml", "--stack", "test", "--new-image=3"],
     ["no-such-file.yaml", "--stack", "test"], ["broken.yaml", "--stack", "test"]],
    ids=["option", "value", "file", "spec"],
)  # fmt: skip
def test_with_a_detailed_exit_status_no_mistake_is_taken_for_a_change(
    words: list[str], folder: Folder, refused: Callable[..., str]
) -> None:
    folder.make_project("{}")
    folder.write("broken.yaml", "name: web\ncuont: 3\n")
    plain = folder.fleet("preview", *words)
    assert plain.status == 2, plain
    detailed = folder.fleet("preview", *words, "--detailed-exitcode")
    assert (detailed.status, detailed.out, detailed.err) == (1, plain.out, plain.err)
    told = folder.fleet("preview", *words, "--detailed-exitcode", "--json")
    assert told.status == 1
    assert [(each["type"], each["exit_status"]) for each in lines(told.out)] in ([], [("error", 1)])
