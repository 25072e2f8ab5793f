"""The report: what a node says of itself, and what follows from it.

A node answers ``GET /`` on its report's port with a JSON document, which a shell script writes
(:mod:`fleet.workloads.report`). It holds words of systemd's, numbers and digests, no text of the journal, no
environment, no arguments: a report may be read by whoever reaches the port, so nothing in it is a secret. The document
has a ``version``; keys are added within a version, and none is removed or changes its meaning.

Here are the document's models, which ignore keys that they do not know, as a newer fleet's nodes may send, and the
judgement: :meth:`Report.problems` says what keeps a node from being well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

REPORT_PORT = 7790
"""The node's port, unless the spec takes another; IANA has assigned it to nobody."""
REPORT_VERSION = 1

Kind = Literal["container", "pod", "network", "volume", "image", "build", "secrets", "timer", "mount", "other"]
Expect = Literal["running", "may-end", "done", "on-demand"]
"""What a unit is to do: run for as long as the node does; run until it ends well; end well, once; or run when something
else, such as a timer, starts it."""


_LONGEST = 400
"""Characters of a text, as the script cuts it."""


def _plain(text: str) -> str:
    """A text as a terminal shows it on one line: who answers at the port may be somebody else."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text[:_LONGEST])


class _Reported(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="after")
    @classmethod
    def _shown(cls, value: Any) -> Any:
        if isinstance(value, str):
            return _plain(value)
        if isinstance(value, tuple):
            return tuple(_plain(each) if isinstance(each, str) else each for each in value)
        return value


class UnitReport(_Reported):
    """A unit of the workload.

    Attributes:
        unit: Its name in systemd, such as "hello.service".
        name: Its name in the spec: a container's, a pod's, a data disk's; of a Quadlet file of the user's own, its
            unit's, where the document has Podman's ("systemd-caddy").
        kind: What of the spec it is; "secrets" gives secrets to Podman.
        expect: What it is to do: "running", run for as long as the node does; "may-end", run until it ends well;
            "done", end well, once; "on-demand", run when something else, such as a timer, starts it.
        user: Whose it is, if it is rootless; empty for root's.
        load: systemd's LoadState: "loaded", "not-found", "bad-setting", "masked", ...; empty while its manager, such as
            a user's, does not run.
        active: systemd's ActiveState: "active", "activating", "inactive", "failed", "deactivating", "reloading".
        sub: systemd's SubState, such as "running", "auto-restart", "start".
        result: systemd's Result: "success", "exit-code", "signal", "timeout", "start-limit-hit", ...; empty for a kind
            of unit that has none.
        restarts: How often systemd has restarted it by itself since it was last started.
        exit_code: What its main process last ended with, 128 and the signal's number if one ended it; ``None``: it has
            not ended yet, or what it ended with is not known any more.
        seconds: Since its active state last changed; ``None``: it never has.
        health: "starting" (or not known yet), "healthy" or "unhealthy"; empty without a health check.
        image: The digest, ``sha256:...``, of the image that the container runs, with Docker the image's id; empty
            if there is no container.
        pulling: Whether it is starting and its image is not on the node yet.
        cause: Why it last failed, as far as there is a word for it; empty if not.
    """

    unit: str
    name: str = ""
    kind: Kind = "other"
    expect: Expect = "running"
    user: str = ""
    load: str = ""
    active: str = ""
    sub: str = ""
    result: str = ""
    restarts: int = 0
    exit_code: int | None = None
    seconds: float | None = None
    health: str = ""
    image: str = ""
    pulling: bool = False
    cause: str = ""


CAUSES = {
    "image-unknown": "the registry has no such image or tag (manifest unknown)",
    "image-denied": "the registry refuses access to the image (unauthorized)",
    "registry-unreachable": "the registry cannot be reached",
    "registry-certificate": "the registry's certificate is not trusted",
    "registry-limit": "the registry refuses more pulls for now (too many requests)",
    "disk-full": "the disk is full",
    "port-in-use": "a port that it publishes is in use",
    "command-unknown": "the image has no such command",
    "architecture": "the image is for another architecture",
    "out-of-memory": "it was out of memory",
    "secret-missing": "a secret that it uses is not there",
}
"""Why a container fails to start, in words of the report and of people. The node's script tells them from the journal's
text, of which nothing else leaves the node."""


class JobReport(_Reported):
    """A job of systemd's that has not ended: what the node is still starting.

    Attributes:
        unit: The unit's name.
        type: "start", "stop", ...
        state: "running" or "waiting".
    """

    unit: str
    type: str = ""
    state: str = ""


class DiskReport(_Reported):
    """A file system.

    Attributes:
        mount: Where it is mounted.
        name: The data disk's name in the spec; empty for the node's own.
        size_bytes: Its size.
        used_bytes: How much of it is in use.
    """

    mount: str
    name: str = ""
    size_bytes: int = 0
    used_bytes: int = 0


class UpdateReport(_Reported):
    """What Zincati, which updates Fedora CoreOS, is about to do.

    Attributes:
        state: Its unit's ActiveState; empty where there is no Zincati.
        status: Its own sentence about itself, from systemd's StatusText.
        staged: The release that is staged for the next start; "unknown" if Zincati does not name it; empty if none.
    """

    state: str = ""
    status: str = ""
    staged: str = ""


class Report(_Reported):
    """The document.

    Attributes:
        version: Of the document.
        node: The node's name.
        os: What /etc/os-release calls the system, such as "Fedora CoreOS".
        release: The release, such as "44.20260705.3.0".
        deployment: The checksum of the OSTree deployment that runs; empty where there is none.
        kernel: The kernel's release.
        boot_id: Changes at every start.
        uptime_seconds: Seconds since the start.
        system: What ``systemctl is-system-running`` says: "starting", "running", "degraded", ...
        update: What Zincati is about to do.
        units: Those of the workload.
        failed: Names of the system's other units that failed.
        jobs: What systemd has still to do.
        disks: The root file system, /var where that is another one, and data disks that are mounted.
    """

    version: int
    node: str = ""
    os: str = ""
    release: str = ""
    deployment: str = ""
    kernel: str = ""
    boot_id: str = ""
    uptime_seconds: float = 0
    system: str = ""
    update: UpdateReport = UpdateReport()
    units: tuple[UnitReport, ...] = ()
    failed: tuple[str, ...] = ()
    jobs: tuple[JobReport, ...] = ()
    disks: tuple[DiskReport, ...] = ()

    @property
    def containers(self) -> list[UnitReport]:
        """The units of containers, in order."""
        return [unit for unit in self.units if unit.kind == "container"]

    def problems(self, settle: float) -> Iterator[Problem]:
        """What keeps the node from being well.

        Args:
            settle: Seconds that what is to run must have run, without a restart.
        """
        waiting = {job.unit for job in self.jobs}
        for unit in self.units:
            if text := _ailing(unit, settle, waits=unit.unit in waiting):
                yield Problem(unit, *text)


@dataclass(frozen=True)
class Problem:
    """Why a unit is not as it is to be.

    Attributes:
        unit: Which.
        text: What it does, and why, in words, such as "restarts, 12 times: the registry has no such image or tag".
        passing: Whether it may pass by itself: it is still starting, pulling, or settling.
    """

    unit: UnitReport
    text: str
    passing: bool

    def __str__(self) -> str:
        return f"{self.unit.name or self.unit.unit} {self.text}"


def read_report(text: str) -> Report:
    """Read a report.

    Raises:
        ValueError: It is none, or of a version that this fleet does not know; says so.
    """
    try:
        report = Report.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"what answers is no report: {where + ': ' if where else ''}{first['msg']}") from None
    if report.version != REPORT_VERSION:
        raise ValueError(f"its report is of version {report.version}, which this fleet does not know")
    return report.model_copy(update={"units": tuple(map(_named, report.units))})


def _named(unit: UnitReport) -> UnitReport:
    """A unit by the name that people have for it."""
    ending = {"container": ".service", **{kind: f"-{kind}.service" for kind in ("pod", "network", "volume")}}
    end = ending.get(unit.kind)
    return unit.model_copy(update={"name": unit.unit.removesuffix(end)}) if end and unit.unit.endswith(end) else unit


_KILLED = 137
"""What a process exits with, as shells say it, that SIGKILL has ended; podman-run(1), ``--health-on-failure``."""


def _ailing(unit: UnitReport, settle: float, *, waits: bool) -> tuple[str, bool] | None:
    """What is wrong with a unit, and whether it may pass; ``None``: nothing.

    Args:
        unit: The unit.
        settle: As :meth:`Report.problems`.
        waits: Whether systemd has a job for it.
    """
    why = f": {CAUSES[unit.cause]}" if unit.cause in CAUSES else ""
    if not why and unit.exit_code == _KILLED:
        # Between two starts, nothing says whether it has a health check.
        why = f": it is killed{', as Podman does when its health check fails' if unit.health else ' (status 137)'}"
    elif not why and unit.exit_code:
        why = f": it exits with status {unit.exit_code}"
    times = f", {unit.restarts} times" if unit.restarts > 1 else ""
    if unit.expect == "on-demand":
        # Of a container that a timer runs, the last run is no matter of the node's: what others need is.
        failed = unit.active == "failed" and unit.kind != "container"
        return (f"failed{why or _result(unit)}", False) if failed else None
    if unit.load not in ("", "loaded"):
        return f"has no unit that systemd can start ({unit.load})", False
    if unit.active == "failed":
        return f"failed{why or _result(unit)}", False
    if unit.sub.startswith("auto-restart"):
        return f"restarts{times}{why}", False
    # A pull that follows a failed one is told of as what failed; and what ends is about to be restarted once more.
    if unit.active in ("activating", "deactivating") and unit.restarts and (unit.cause or not unit.pulling):
        return f"restarts{times}{why}", False
    if unit.pulling:
        return "pulls its image", True
    # With `notify`, a container is still being started until it is healthy.
    if unit.active in ("activating", "active", "reloading") and unit.health == "unhealthy":
        return "is unhealthy", False
    if unit.active in ("activating", "reloading", "deactivating"):
        return ("is starting" if unit.active == "activating" else f"is {unit.active}"), True
    if unit.active != "active":
        return _not_active(unit, why, waits=waits)
    if unit.health == "starting":
        return "has not passed its health check yet", True
    runs = unit.kind in ("container", "pod") and unit.expect != "done"
    if runs and unit.seconds is not None and unit.seconds < settle:
        return (f"restarted {unit.seconds:.0f} s ago{times}{why}", True) if unit.restarts else ("is settling", True)
    return None


def _not_active(unit: UnitReport, why: str, *, waits: bool) -> tuple[str, bool] | None:
    """What is wrong with a unit that has ended, or has not begun."""
    ended_well = unit.result == "success" and unit.exit_code == 0
    if waits:
        return "waits for its disk" if unit.kind == "mount" else "waits for what it needs", True
    if unit.active == "":
        return "is not known to systemd yet", True
    if unit.expect in ("done", "may-end") and ended_well:
        return None
    if unit.kind == "mount":
        return "is not mounted", False
    if unit.expect == "done":
        return f"has not run{why}", False
    return f"does not run{why}", False


def _result(unit: UnitReport) -> str:
    return f" ({unit.result})" if unit.result not in ("", "success") else ""
