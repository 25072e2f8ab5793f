"""The report as the node has it: a socket, a script that answers on it, and the list of what it tells of.

systemd listens on the report's port from early on, so that a node tells what it waits for while its workload starts,
and runs the script ``report.sh`` for every connection. The script is beside this module, with the comments that the
node's copy has not: user data has a limit, and a comment must not re-provision anybody's nodes.

A unit whose user or place a secret fills is not told of; then of jobs and failed units that are none of the list's the
type alone is told, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from importlib import resources
from typing import NamedTuple

from fleet.config import Snippet
from fleet.config.ignition import file, unit, unit_text
from fleet.plan.report import Expect, Kind
from fleet.plan.unit_name import escape_path
from fleet.workloads.confidential import Confidential, Place
from fleet.workloads.container import Container
from fleet.workloads.data_disks import DataDisk
from fleet.workloads.quadlet import SECRETS_SERVICE
from fleet.workloads.quadlet_units import started
from fleet.workloads.resources import CONTAINER, POD
from fleet.workloads.workload import Workload

_FOLDER = "/etc/fleet"
_KEPT = "fleet-report"
"""The folder below ``/run`` that answers are kept in."""


class _Told(NamedTuple):
    """A unit that the report tells of: a line of its list."""

    kind: Kind
    unit: str
    name: str
    user: str = "-"
    uid: str = "0"
    expect: Expect = "running"
    detail: str = "-"


def report_snippet(
    workload: Workload,
    disks: Mapping[str, DataDisk],
    *,
    port: int,
    confidential: Collection[Place] = (),
) -> Snippet:
    """The units and files with which a node tells how it is.

    Args:
        workload: What it runs.
        disks: Its data disks, by name.
        port: The port that it answers on.
        confidential: Where in the group that has both texts stand that hold a secret.
    """
    hidden = Confidential(confidential)
    told = _told(workload, disks, hidden)
    # systemd's own names of what is not told of may hold the secret: a mount's is its path, a user's manager's has the
    # user's number.
    names = "all" if {*told} >= {*_told(workload, disks, Confidential())} else "own"
    run = f"/bin/bash {_FOLDER}/report.sh {_FOLDER}/report.units /run/{_KEPT} {workload.engine} {names}"
    return Snippet.from_ignition(
        "report",
        {
            "ignition": {"version": "3.0.0"},
            "storage": {
                "files": [
                    file(f"{_FOLDER}/report.sh", script(), mode=0o755),
                    file(f"{_FOLDER}/report.units", "".join(" ".join(each) + "\n" for each in told), mode=0o644),
                ]
            },
            "systemd": {
                "units": [
                    unit("fleet-report.socket", _socket(port)),
                    {"name": "fleet-report@.service", "contents": _SERVICE.format(run=run, fences=_FENCES)},
                    {"name": "fleet-report-inspect.service", "contents": _INSPECT.format(run=run, fences=_FENCES)},
                ]
            },
        },
    )


def script() -> str:
    """The script that answers, as nodes have it: without comments and indentation."""
    text = resources.files(__package__).joinpath("report.sh").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


def _told(workload: Workload, disks: Mapping[str, DataDisk], hidden: Confidential) -> list[_Told]:
    return [
        *_disks(disks, hidden),
        *_secrets(workload, hidden),
        *_units(workload, hidden),
        *_quadlets(workload, hidden),
    ]


def _disks(disks: Mapping[str, DataDisk], hidden: Confidential) -> Iterator[_Told]:
    for name, disk in sorted(disks.items()):
        if not hidden.has("data_disks", name, "mount"):
            yield _Told("mount", f"{escape_path(disk.mount)}.mount", name, detail=disk.mount)


def _secrets(workload: Workload, hidden: Confidential) -> Iterator[_Told]:
    """The units that give secrets to Podman: the system's, and that of each user whose containers have some."""
    if workload.engine == "docker":
        return
    users = {
        container.run_as or ""
        for name, container in workload.containers.items()
        if container.secrets or hidden.variables(workload.engine, name, container)
    }
    users |= {unit.run_as or "" for unit in workload.units if unit.secrets}
    for user in sorted(users):
        if not _is_hidden(user, hidden):
            yield _Told("secrets", SECRETS_SERVICE, "secrets", *_owner(user, workload), "done")


def _units(workload: Workload, hidden: Confidential) -> Iterator[_Told]:
    for kind, things in workload.kinds():
        for name, thing in sorted(things.items()):
            user = thing.run_as or ""
            if hidden.has(kind.plural, name, "run_as") or _is_hidden(user, hidden):
                continue
            owner = _owner(user, workload)
            # What nothing of the workload uses is never started: networks, volumes, images and builds.
            expect: Expect = "running" if kind is POD else "on-demand"
            if kind is CONTAINER:
                expect = _expected(thing)
                if thing.schedule:
                    yield _Told("timer", f"{name}.timer", name, *owner)
            detail = "check" if kind is CONTAINER and thing.health else "-"
            yield _Told(kind.name, kind.service(name), name, *owner, expect, detail)  # type: ignore[arg-type]


def _quadlets(workload: Workload, hidden: Confidential) -> Iterator[_Told]:
    """The services of Quadlet files of the user's own; Podman knows containers by the names that these say."""
    reached = started(workload.units, "")
    for each in sorted(workload.units, key=lambda each: each.name):
        user = each.run_as or ""
        if _is_hidden(user, hidden):
            continue
        name, _ = each.resource
        known = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) is not None
        kind: Kind = each.kind if known or each.kind in ("image", "build") else "other"  # type: ignore[assignment]
        expect = each.expect if each.name in reached else "on-demand"
        detail = "check" if kind == "container" and each.value("HealthCmd") else "-"
        yield _Told(kind, each.service, name if known else each.stem, *_owner(user, workload), expect, detail)


def _owner(user: str, workload: Workload) -> tuple[str, str]:
    """A user's name and number."""
    return (user, str(workload.users[user].uid)) if user else ("-", "0")


def _is_hidden(user: str, hidden: Confidential) -> bool:
    return bool(user) and hidden.has("users", user, "uid")


def _expected(container: Container) -> Expect:
    if container.schedule:
        return "on-demand"
    if container.oneshot:
        return "done"
    return "may-end" if container.restart in ("no", "on-failure") else "running"


def _socket(port: int) -> str:
    return unit_text(
        {
            "Unit": [
                ("Description", "The node's report"),
                # Early: what local file systems wait for is among what it tells.
                ("DefaultDependencies", "no"),
                ("Conflicts", "shutdown.target"),
                ("Before", "shutdown.target sockets.target"),
            ],
            "Socket": [
                ("ListenStream", str(port)),
                ("BindIPv6Only", "both"),
                ("Accept", "yes"),
                ("MaxConnections", "16"),
                # One who keeps connections open keeps nobody else from asking.
                ("MaxConnectionsPerSource", "8"),
                # By default, many connections at once end the socket for good.
                ("TriggerLimitIntervalSec", "0"),
            ],
            "Install": [("WantedBy", "sockets.target")],
        }
    )


_FENCES = f"""\
StandardError=null
RuntimeDirectory={_KEPT}
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
UMask=0077
TimeoutStopSec=10
LogLevelMax=warning
TasksMax=256
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_TIME CAP_SYS_BOOT CAP_MKNOD CAP_NET_ADMIN
RestrictAddressFamilies=AF_UNIX AF_NETLINK
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
"""
"""They run podman and systemctl as root and as users, so they can be fenced in only as far as these need nothing of it.
No namespace of mounts among it: Podman's must be the node's."""

_SERVICE = """\
[Unit]
Description=The node's report, to one who asks
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
CollectMode=inactive-or-failed

[Service]
ExecStart=-{run}
StandardInput=socket
StandardOutput=socket
RuntimeMaxSec=120
{fences}"""

_INSPECT = """\
[Unit]
Description=What the node's report says of containers
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
StartLimitIntervalSec=0
CollectMode=inactive-or-failed

[Service]
Type=oneshot
ExecStart=-{run} inspect
StandardOutput=null
TimeoutStartSec=300
{fences}"""
