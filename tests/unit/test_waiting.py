"""What is told of a node that is waited for: whatever its console does, and without its secrets."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from fleet.dynamic.waiting import Waiting
from fleet.errors import FleetError
from fleet.masking import Mask
from fleet.plan.report import Report, UnitReport
from fleet.probes import NotReadyError, Turn

SECRET = "hunter4711-canary"
ANSWER = "http port 8080 / timed out after 8 s; last response: connection refused"
IGNITION_FAILS = (Path(__file__).with_name("data") / "consoles/ignition-fails.txt").read_bytes().decode()


class Console:
    """A watcher that shows a text, or raises."""

    def __init__(self, text: str | Exception) -> None:
        self.text, self.closed = text, False

    def alive(self) -> bool:
        return True

    def reaches(self, local_port: int) -> bool:
        return True

    def console(self) -> str:
        if isinstance(self.text, Exception):
            raise self.text
        return self.text

    def close(self) -> None:
        self.closed = True


def waiting(console: Console | None, **values: object) -> Waiting:
    return Waiting("web-0", console, settle=10, mask=Mask({"pin": SECRET}), **values)  # type: ignore[arg-type]


def turn(seconds: float, report: Report | None = None) -> Turn:
    return Turn("connection refused", report, seconds, 600)


def test_each_phase_is_a_line_that_begins_with_the_nodes_name(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console("SeaBIOS (version 1.16.2)\r\n")
    with waiting(console) as node:
        node.turn(turn(0))
        node.turn(turn(2))
        console.text = "[    0.000000] Linux version 6\r\n[   12.1] ignition[700]: Stage: fetch\r\n"
        node.turn(turn(4))
        node.turn(turn(66))
    assert capsys.readouterr().err.splitlines() == [
        "fleet: web-0: in its firmware (0 s of 600 s)",
        "fleet: web-0: Ignition (fetch) (4 s of 600 s)",
        "fleet: web-0: still Ignition (fetch) (66 s of 600 s)",
    ]
    assert console.closed


@pytest.mark.parametrize("error", [FleetError("It cannot be read."), RuntimeError("boom"), OSError("gone")])
def test_a_console_that_cannot_be_read_is_no_matter_of_the_nodes(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with waiting(Console(error)) as node:
        node.turn(turn(0))
        assert str(node.failure(NotReadyError(ANSWER))) == f"Node web-0 is not ready: {ANSWER}."
    assert capsys.readouterr().err == "fleet: web-0: probing: connection refused (0 s of 600 s)\n"


def test_nobody_waits_for_a_console_that_does_not_answer() -> None:
    class Slow(Console):
        def console(self) -> str:
            time.sleep(30)
            return ""

    begin = time.monotonic()
    with waiting(Slow("")) as node:
        for seconds in range(3):
            node.turn(turn(seconds))
    assert time.monotonic() - begin < 30


def test_the_failure_is_one_screen_with_the_cause_first() -> None:
    with waiting(Console(IGNITION_FAILS)) as node:
        node.turn(turn(8))
        lines = str(node.failure(NotReadyError(ANSWER))).splitlines()
    assert lines[0].startswith("Node web-0 is not ready after 600 s: Ignition (files) failed: failed to create files: ")
    assert lines[0].endswith("write it with `overwrite: true` in its snippet.")
    assert lines[-1] == f"  {ANSWER}"
    assert len(lines) < 12


def test_no_secret_is_in_what_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    encoded = base64.b64encode(SECRET.encode()).decode()
    text = IGNITION_FAILS.replace("data:,hello", f"data:;base64,{encoded}").replace("overwrite is false", SECRET)
    unit = UnitReport(unit="app.service", name="app", kind="container", active="failed", result="exit-code")
    report = Report(version=1, units=(unit,))
    said = [f"password {SECRET} is wrong", encoded, f"{'x' * 290}{SECRET}"]
    with waiting(Console(text), journal=lambda unit: said) as node:
        node.turn(turn(0))
        node.turn(turn(1, report))
        failures = [node.failure(NotReadyError(f"{ANSWER}: {SECRET}", each)) for each in (None, report)]
    shown = "\n".join([*map(str, failures), capsys.readouterr().err])
    assert SECRET[:8] not in shown
    assert encoded not in shown
    assert "(secret pin)" in shown
    assert "password (secret pin) is wrong" in str(failures[1])


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        ("app failed (exit-code); timed out after 8 s", []),
        (f"app failed (exit-code); {ANSWER}", [f"  {ANSWER}"]),
    ],
)
def test_what_the_report_says_is_said_once(answer: str, evidence: list[str]) -> None:
    unit = UnitReport(unit="app.service", name="app", kind="container", active="failed", result="exit-code")
    with waiting(None) as node:
        node.turn(turn(8))
        lines = str(node.failure(NotReadyError(answer, Report(version=1, units=(unit,))))).splitlines()
    assert lines == ["Node web-0 is not ready after 600 s: container app failed (exit-code).", *evidence]
