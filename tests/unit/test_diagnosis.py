"""Where a node is, and why it is not ready, from its report."""

from __future__ import annotations

import pytest

from fleet.diagnosis import diagnose
from fleet.phases import Phase, phase
from fleet.plan.report import CAUSES, DiskReport, JobReport, Report, UnitReport

ANSWER = "http port 8080 /: status 503, not 200"
WELL = UnitReport(unit="web.service", name="web", kind="container", active="active", sub="running", seconds=900)
PULLING = UnitReport(unit="web.service", name="web", kind="container", active="activating", pulling=True)
STARTING = UnitReport(unit="db.service", name="db", kind="container", active="activating", sub="start")
SETTLING = WELL.model_copy(update={"seconds": 2.0})
DEVICE = JobReport(unit="dev-disk-fleet-data.device", type="start", state="running")


def container(**values: object) -> UnitReport:
    """The container ghost, failing."""
    ghost = {
        "unit": "ghost.service",
        "name": "ghost",
        "kind": "container",
        "active": "activating",
        "sub": "auto-restart",
    }
    return UnitReport.model_validate({**ghost, "restarts": 12, **values})


def report(*units: UnitReport, **values: object) -> Report:
    return Report.model_validate({"version": 1, "units": units, **values})


PHASES = [
    (report(WELL), Phase("probing", "probing", ANSWER)),
    (report(WELL, PULLING), Phase("pulling", "pulling the image of web")),
    (report(SETTLING), Phase("settling", "settling: web")),
    (report(STARTING, SETTLING), Phase("units", "starting db")),
    (report(STARTING, jobs=(DEVICE,)), Phase("units", "waiting for data disk data (/dev/disk/fleet/data)")),
    (report(STARTING, jobs=(DEVICE.model_copy(update={"state": "waiting"}),)), Phase("units", "starting db")),
    (report(PULLING, container()), Phase("failing", "container ghost restarts")),
]


@pytest.mark.parametrize(("answered", "expected"), PHASES, ids=range(len(PHASES)))
def test_a_report_says_where_a_node_is(answered: Report, expected: Phase) -> None:
    assert phase("", answered, settle=10, answer=ANSWER) == expected


def test_how_often_and_how_long_ago_is_no_change_of_phase() -> None:
    def told(restarts: int, seconds: float) -> Phase:
        unit = WELL.model_copy(update={"restarts": restarts, "seconds": seconds})
        return phase("", report(unit, container(restarts=restarts)), settle=10, answer=ANSWER)

    assert told(2, 1.0) == told(17, 8.0)


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_that_a_report_knows_is_told_with_what_to_do(cause: str) -> None:
    why = diagnose("", report(WELL, container(cause=cause)), settle=10, answer=ANSWER)
    assert why.cause.startswith("container ghost")
    assert CAUSES[cause] in why.cause
    assert why.fix
    assert "{" not in why.fix


def test_an_image_that_does_not_exist_is_said_in_the_first_words() -> None:
    why = diagnose("", report(PULLING, container(cause="image-unknown")), settle=10, answer=ANSWER)
    assert why.cause == (
        "container ghost: its image cannot be pulled: the registry has no such image or tag (manifest unknown)"
    )
    assert why.fix == "Correct `image` of ghost in the spec."


CAUSE = [
    (report(container(exit_code=3)), "container ghost restarts, 12 times: it exits with status 3"),
    (
        report(container(active="failed", sub="failed", result="start-limit-hit", restarts=0)),
        "container ghost failed (start-limit-hit)",
    ),
    (
        report(
            UnitReport(unit="init.service", name="init", kind="container", expect="done", active="failed", exit_code=1)
        ),
        "container init failed: it exits with status 1",
    ),
    (
        report(WELL.model_copy(update={"health": "unhealthy"})),
        "container web is unhealthy: its health check fails",
    ),
    (report(PULLING), "container web is still pulling its image"),
    (report(STARTING), "container db is starting"),
    (report(SETTLING), "container web is settling"),
    (report(STARTING, jobs=(DEVICE,)), "its data disk data is not there: no device /dev/disk/fleet/data"),
    (
        report(
            UnitReport(unit="var-db.mount", name="data", kind="mount", active="failed", result="exit-code"),
            container(),
        ),
        "its data disk data cannot be mounted (exit-code)",
    ),
    (
        report(container(), disks=(DiskReport(mount="/", size_bytes=10 << 30, used_bytes=10 << 30),)),
        "its root file system is full (10.0 of 10.0 GiB)",
    ),
    (
        report(container(), disks=(DiskReport(mount="/var/db", name="data", size_bytes=4 << 30, used_bytes=4 << 30),)),
        "its data disk data is full (4.0 of 4.0 GiB)",
    ),
    # What is full and does no harm is no cause.
    (report(WELL, disks=(DiskReport(mount="/", size_bytes=9, used_bytes=9),)), ANSWER),
    (report(WELL, failed=("x.service",)), ANSWER),
    # What others wait for is the cause of their waiting.
    (
        report(
            container(name="app", active="activating", sub="start", restarts=0),
            UnitReport(unit="app-network.service", name="app", kind="network", active="failed", result="exit-code"),
        ),
        "network app failed (exit-code)",
    ),
]


@pytest.mark.parametrize(("answered", "cause"), CAUSE, ids=range(len(CAUSE)))
def test_the_first_cause_in_a_report_is_told(answered: Report, cause: str) -> None:
    assert diagnose("", answered, settle=10, answer=ANSWER).cause == cause


JOURNALS = [
    (
        "Error: initializing source docker://r.example/ghost:1: reading manifest 1: manifest unknown",
        "image-unknown",
    ),
    ("Error: initializing source docker://r.example/ghost:1: unauthorized: denied", "image-denied"),
    (
        'Error: pinging container registry r.example: Get "https://r.example/v2/": dial tcp: no such host',
        "registry-unreachable",
    ),
    ("Error: pinging container registry r.example: x509: unknown authority", "registry-certificate"),
    ("toomanyrequests: You have reached your pull rate limit.", "registry-limit"),
    ("Error: writing blob: storing blob to file: write /var/tmp/x: no space left on device", "disk-full"),
    ("Error: rootlessport listen tcp 0.0.0.0:80: bind: address already in use", "port-in-use"),
    (
        "Error: crun: executable file `serv` not found in $PATH: No such file or directory: OCI runtime error",
        "command-unknown",
    ),
    ("exec /bin/app: exec format error", "architecture"),
    ('Error: no secret with name or id "pin": no such secret', "secret-missing"),
]


@pytest.mark.parametrize(("line", "cause"), JOURNALS)
def test_a_journal_tells_a_cause_that_the_report_has_no_word_for(line: str, cause: str) -> None:
    said = [
        "ghost.service: Scheduled restart job, restart counter is at 4.",
        "Starting ghost.service - Container ghost...",
        "Trying to pull r.example/ghost:1...",
        line,
        "2026-11-28 12:13:48.577003268 +0000 UTC m=+1.7 image pull-error  r.example/ghost:1 " + line,
        line,
        "ghost.service: Main process exited, code=exited, status=125/n/a",
        "ghost.service: Failed with result 'exit-code'.",
        "Failed to start ghost.service - Container ghost.",
    ]
    why = diagnose("", report(container()), settle=10, answer=ANSWER, journal=lambda unit: said)
    assert CAUSES[cause] in why.cause
    assert why.evidence == (line,)
    assert why.fix


def test_a_container_that_exits_shows_its_own_last_lines() -> None:
    said = [f"attempt {number}" for number in range(30)] + ["\x1b[31mgiving up\x1b[0m"]
    why = diagnose("", report(container(exit_code=3)), settle=10, answer=ANSWER, journal=lambda unit: said)
    assert why.evidence == (*(f"attempt {number}" for number in range(25, 30)), "giving up")


def test_a_long_line_is_cut() -> None:
    why = diagnose("", report(container()), settle=10, answer=ANSWER, journal=lambda unit: ["x" * 5000])
    assert max(map(len, why.evidence)) < 400


def test_what_else_is_not_well_is_named_beside_the_first_cause() -> None:
    flop = container(unit="flop.service", name="flop", exit_code=7, restarts=3)
    why = diagnose("", report(SETTLING, flop, container(cause="image-unknown")), settle=10, answer=ANSWER)
    assert why.cause == f"container ghost: its image cannot be pulled: {CAUSES['image-unknown']}"
    assert why.others == ("flop restarts, 3 times: it exits with status 7",)


def test_what_a_failing_health_check_kills_is_said_to_be() -> None:
    why = diagnose("", report(container(exit_code=137, health="starting")), settle=10, answer=ANSWER)
    assert why.cause == "container ghost restarts, 12 times: it is killed, as Podman does when its health check fails"
    why = diagnose("", report(container(exit_code=137)), settle=10, answer=ANSWER)
    assert why.cause == "container ghost restarts, 12 times: it is killed (status 137)"
