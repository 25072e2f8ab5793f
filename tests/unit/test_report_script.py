"""The node's report as its script writes it: the real script, with systemd, Podman and the journal stood in for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fleet.plan import Report, UnitReport, read_report
from fleet.plan.report import CAUSES
from fleet.workloads import DataDisk, Workload, report_snippet
from fleet.workloads.report import script
from tools.cache import ROOT

SCRIPT = ROOT / "fleet" / "workloads" / "report.sh"
COMMANDS = {
    # A block a unit, in the order asked, as systemctl(1) prints it; of what it does not know, that it is not there.
    "systemctl": """\
who=system
case $1 in --user) who=$(cat "$FAKE/as" 2>/dev/null || echo nobody); shift ;; --system) shift ;; esac
echo "$who $*" >> "$FAKE/asked"
case $1 in
show)
    case $2 in *SystemState*)
        printf 'SystemState=starting\\nNFailedUnits=%s\\n' "$(cat "$FAKE/failed" 2>/dev/null | wc -l)"
        printf 'NJobs=%s\\n' "$(cat "$FAKE/jobs-system" 2>/dev/null | wc -l)"
        exit
    esac
    shift 2; first=1
    for unit in "$@"; do
        [ "$unit" = -- ] && continue
        [ -n "$first" ] || echo
        first=
        cat "$FAKE/units/$who/$unit" 2>/dev/null || printf 'LoadState=not-found\\nActiveState=inactive\\n'
    done ;;
list-jobs) cat "$FAKE/jobs-$who" 2>/dev/null ;;
list-units) cat "$FAKE/failed" 2>/dev/null ;;
esac
""",
    "podman": 'echo "podman $*" >> "$FAKE/asked"; cat "$FAKE/containers" 2>/dev/null; exit 125\n',
    "docker": 'echo "docker $*" >> "$FAKE/asked"; cat "$FAKE/containers" 2>/dev/null\n',
    # Matches within an alternative all hold, as journalctl(1) says; a line of the stand-in's journal is `MATCHES|TEXT`.
    "journalctl": """\
echo "journalctl $*" >> "$FAKE/asked"
while IFS='|' read -r fields text; do
    holds=1
    for match in "$@" +; do
        case $match in
        +) [ -n "$holds" ] && { echo "$text"; break; }; holds=1 ;;
        *=*) case " $fields " in *" $match "*) ;; *) holds= ;; esac ;;
        esac
    done
done < "$FAKE/journal"
""",
    # Runs what it is given, and lets the stand-in for systemctl know as whom.
    "runuser": 'echo "$2" > "$FAKE/as"; shift 3; "$@"; status=$?; rm -f "$FAKE/as"; exit $status\n',
}
DIGEST = "sha256:" + "5f" * 32
UP = {"ActiveState": "active", "SubState": "running", "Result": "success", "NRestarts": "0", "ExecMainCode": "0"}
RESTARTING = {
    "ActiveState": "activating",
    "SubState": "auto-restart",
    "Result": "exit-code",
    "NRestarts": "12",
    "ExecMainCode": "1",
    "ExecMainStatus": "125",
}


class Node:
    """A node whose workload is listed as fleet lists it, and whose commands are stand-ins."""

    def __init__(
        self,
        folder: Path,
        workload: Mapping[str, Any],
        disks: Mapping[str, DataDisk],
        hidden: Collection[tuple[str, ...]] = (),
    ) -> None:
        self.folder, self.fake = folder, folder / "fake"
        (folder / "bin").mkdir()
        for name, text in COMMANDS.items():
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}")
            (folder / "bin" / name).chmod(0o755)
        (self.fake / "units").mkdir(parents=True)
        model = Workload.model_validate(workload)
        snippet = json.loads(report_snippet(model, disks, port=7790, confidential=hidden).text)
        for entry in snippet["storage"]["files"]:
            text = unquote(entry["contents"]["source"].removeprefix("data:,"))
            (folder / entry["path"].rpartition("/")[2]).write_text(text)
        (service,) = [u for u in snippet["systemd"]["units"] if u["name"] == "fleet-report@.service"]
        self.arguments = re.findall(r"^ExecStart=.* (\S+) (\S+)$", service["contents"], re.M)[0]

    def unit(self, name: str, facts: Mapping[str, str], user: str = "system") -> None:
        file = self.fake / "units" / user / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"{key}={text}\n" for key, text in {"LoadState": "loaded", **facts}.items()))

    def write(self, name: str, text: str) -> None:
        (self.fake / name).write_text(text)

    @property
    def asked(self) -> list[str]:
        return (self.fake / "asked").read_text().splitlines()

    def answer(self, request: str = "GET / HTTP/1.1\r\nHost: node\r\n\r\n") -> tuple[str, str]:
        """The head and the body of the response."""
        head, _, body = self._run(request).partition("\r\n\r\n")
        if head:
            assert f"Content-Length: {len(body.encode())}" in head
        return head, body

    def inspect(self) -> None:
        """What a service of systemd's does beside."""
        self._run("", "inspect")

    def _run(self, text: str, *mode: str) -> str:
        command = [
            "bash",
            "report.sh",
            str(self.folder / "report.units"),
            str(self.folder / "run"),
            *self.arguments,
            *mode,
        ]
        environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "FAKE": str(self.fake)}
        (self.folder / "run").mkdir(exist_ok=True)
        result = subprocess.run(
            command, cwd=self.folder, env=environment, input=text.encode(), capture_output=True, timeout=60
        )
        return result.stdout.decode()

    def journal(self, *lines: str, unit: str = "ghost.service") -> None:
        """What the engine has written to its standard error for a unit, and systemd about it, the newest first."""
        by_engine, by_systemd = f"_SYSTEMD_UNIT={unit} _UID=0 _TRANSPORT=stdout", f"UNIT={unit} _UID=0 _PID=1"
        lines_of = [f"{by_systemd if line.startswith(unit) else by_engine}|{line}\n" for line in lines]
        self.write("journal", "".join(lines_of))

    def report(self) -> Report:
        """The report once what it asks to be inspected has been."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        self.answer()
        if any("start --no-block fleet-report-inspect.service" in line for line in self.asked):
            self.inspect()
        (self.folder / "run" / "answer").unlink()
        head, body = self.answer()
        assert head.startswith("HTTP/1.0 200 ")
        return read_report(body)

    def told(self, unit: str) -> UnitReport:
        (found,) = [each for each in self.report().units if each.unit == unit]
        return found


WORKLOAD: dict[str, Any] = {
    "containers": {
        "hello": {"image": "docker.io/library/caddy:2", "secrets": ["pin"], "networks": ["lan"]},
        "ghost": {"image": "docker.io/library/ghost:none"},
        "once": {"image": "docker.io/library/busybox:1", "oneshot": True},
        "task": {"image": "docker.io/library/busybox:1", "restart": "on-failure"},
        "nightly": {"image": "docker.io/library/busybox:1", "schedule": "daily"},
        "own": {"image": "docker.io/library/busybox:1", "run_as": "app"},
    },
    "pods": {"group": {}},
    "networks": {"lan": {}},
    "volumes": {"data": {}},
    "images": {"base": {"image": "docker.io/library/debian:13"}},
    "users": {"app": {"uid": 1001}},
}
DISKS = {"site": DataDisk(size_gib=1, mount="/var/lib/my-site")}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path, WORKLOAD, DISKS)


def test_every_unit_of_a_workload_is_told_of_with_what_it_is_to_do(node: Node) -> None:
    assert {(u.kind, u.unit, u.name, u.user, u.expect) for u in node.report().units} == {
        ("mount", r"var-lib-my\x2dsite.mount", "site", "", "running"),
        ("secrets", "fleet-secrets.service", "secrets", "", "done"),
        ("network", "lan-network.service", "lan", "", "on-demand"),
        ("volume", "data-volume.service", "data", "", "on-demand"),
        ("image", "base-image.service", "base", "", "on-demand"),
        ("pod", "group-pod.service", "group", "", "running"),
        ("container", "hello.service", "hello", "", "running"),
        ("container", "ghost.service", "ghost", "", "running"),
        ("container", "once.service", "once", "", "done"),
        ("container", "task.service", "task", "", "may-end"),
        ("timer", "nightly.timer", "nightly", "", "running"),
        ("container", "nightly.service", "nightly", "", "on-demand"),
        ("container", "own.service", "own", "app", "running"),
    }


def test_a_container_that_runs_is_told_of_with_its_health_and_image(node: Node) -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    node.unit("hello.service", {**UP, "StateChangeTimestampMonotonic": str(int((uptime - 30) * 1e6))})
    node.write("containers", f"hello,{DIGEST},healthy\n")
    hello = node.told("hello.service")
    assert (hello.load, hello.active, hello.sub, hello.health) == ("loaded", "active", "running", "healthy")
    assert (hello.image, hello.restarts, hello.exit_code, hello.cause) == (DIGEST, 0, None, "")
    assert hello.seconds
    assert hello.seconds >= 30


@pytest.mark.parametrize(("line", "cause"), [
    ("Error: initializing source docker://ghost:none: reading manifest none in docker.io/x/ghost: manifest unknown",
     "image-unknown"),
    ("Error: docker.io/library/ghost:none: image not known", "image-unknown"),
    ("docker: Error response from daemon: manifest for ghost:none not found: manifest unknown", "image-unknown"),
    ("Error: reading manifest latest in docker.io/x/y: requested access to the resource is denied", "image-denied"),
    ("Error: unable to retrieve auth token: invalid username/password: unauthorized: authentication required",
     "image-denied"),
    ("docker: Error response from daemon: pull access denied for x, repository does not exist", "image-denied"),
    ("Error: pinging container registry r.example: Get \"https://r.example/v2/\": dial tcp: lookup r: no such host",
     "registry-unreachable"),
    ("Error: pinging container registry r: Get \"https://r/v2/\": tls: failed to verify certificate: x509: unknown",
     "registry-certificate"),
    ("Error: reading manifest 2 in docker.io/library/caddy: toomanyrequests: You have reached your limit",
     "registry-limit"),
    ("Error: writing blob: storing blob to file: write /var/tmp/x: no space left on device", "disk-full"),
    ("Error: unable to start container: rootlessport listen tcp 0.0.0.0:80: bind: address already in use",
     "port-in-use"),
    ("docker: Error response from daemon: driver failed: Bind for 0.0.0.0:80 failed: port is already allocated",
     "port-in-use"),
    ("Error: crun: executable file `nosuch` not found in $PATH: No such file or directory: OCI runtime attempted",
     "command-unknown"),
    ("Error: choosing an image from manifest list docker://x: no image found in image index for architecture arm64",
     "architecture"),
    ("Error: crun: cannot allocate memory: OCI runtime error", "out-of-memory"),
    ("Error: no secret with name or id \"pin\": no such secret", "secret-missing"),
])  # fmt: skip
def test_why_a_container_fails_leaves_the_node_as_a_word(node: Node, line: str, cause: str) -> None:
    node.unit("ghost.service", RESTARTING)
    node.journal("ghost.service: Main process exited, code=exited, status=125/n/a", line, "Usage: ...")
    ghost = node.told("ghost.service")
    _, body = node.answer()
    assert (ghost.restarts, ghost.exit_code, ghost.cause) == (12, 125, cause)
    assert cause in CAUSES
    assert line[:20] not in body


def test_what_a_container_prints_is_no_cause(node: Node) -> None:
    node.unit("ghost.service", RESTARTING)
    node.journal("manifest unknown", "secret: dial tcp: connection refused")
    assert node.told("ghost.service").cause == ""


def test_a_container_that_restarts_says_how_it_last_ended_while_it_runs_again(node: Node) -> None:
    node.unit("ghost.service", {**UP, "NRestarts": "3"})
    node.journal("ghost.service: Main process exited, code=exited, status=7/NOTRUNNING")
    ghost = node.told("ghost.service")
    assert (ghost.active, ghost.restarts, ghost.exit_code) == ("active", 3, 7)


def test_a_signal_and_a_lack_of_memory_are_told(node: Node) -> None:
    killed = {**RESTARTING, "Result": "oom-kill", "ExecMainCode": "2", "ExecMainStatus": "9"}
    node.unit("ghost.service", killed)
    ghost = node.told("ghost.service")
    assert (ghost.exit_code, ghost.cause) == (137, "out-of-memory")


def test_a_container_without_its_image_is_pulling_and_one_that_podman_has_is_not(node: Node) -> None:
    starting = {**UP, "ActiveState": "activating", "SubState": "start"}
    node.unit("ghost.service", starting)
    node.unit("hello.service", starting)
    node.unit("base-image.service", starting)
    node.unit("lan-network.service", starting)
    node.write("containers", f"hello,{DIGEST},starting\n")
    pulling = {unit.unit for unit in node.report().units if unit.pulling}
    assert pulling == {"ghost.service", "base-image.service"}


def test_podman_is_not_called_before_a_container_has_been_started(node: Node) -> None:
    # It would open the storage before the disk is mounted that it is to be on.
    node.unit("ghost.service", RESTARTING)
    node.report()
    assert not [line for line in node.asked if line.startswith("podman")]
    node.unit("hello.service", UP)
    node.report()
    assert [line.split()[-1] for line in node.asked if line.startswith("podman")] == ["hello"]


def test_a_users_units_are_asked_of_the_users_manager(node: Node) -> None:
    node.unit("own.service", UP, user="app")
    node.write("containers", f"own,{DIGEST},\n")
    node.write("jobs-app", "3 own.service start waiting\n")
    own = node.told("own.service")
    assert (own.active, own.user, own.image) == ("active", "app", DIGEST)
    node.unit("own.service", {"ActiveState": "inactive", "SubState": "dead"}, user="app")
    assert [job.unit for job in node.report().jobs] == ["own.service"]


def test_why_a_users_container_fails_is_told_of_that_users(node: Node) -> None:
    node.unit("own.service", RESTARTING, user="app")
    node.unit("ghost.service", RESTARTING)
    entries = [
        "_SYSTEMD_USER_UNIT=init.scope USER_UNIT=own.service _UID=1001|own.service: code=exited, status=127/n",
        '_SYSTEMD_USER_UNIT=own.service _UID=1001 _TRANSPORT=stdout|Error: executable file "x" not found in $PATH',
        "_SYSTEMD_UNIT=ghost.service _UID=0 _TRANSPORT=stdout|Error: x: image not known",
        "_SYSTEMD_UNIT=own.service _UID=0 _TRANSPORT=stdout|Error: x: unauthorized",
        "_SYSTEMD_USER_UNIT=ghost.service _UID=1001 _TRANSPORT=stdout|Error: x: unauthorized",
    ]
    node.write("journal", "".join(f"{entry}\n" for entry in entries))
    assert (node.told("own.service").cause, node.told("ghost.service").cause) == ("command-unknown", "image-unknown")


def test_a_health_check_counts_as_starting_until_podman_has_told(tmp_path: Path) -> None:
    checked = {"image": "docker.io/library/caddy:2", "health": {"command": "true"}}
    node = Node(tmp_path, {"containers": {"web": checked}}, {})
    node.unit("web.service", {**UP, "InvocationID": "a" * 32})
    node.write("containers", f"web,{DIGEST},healthy\n")
    (web,) = read_report(node.answer()[1]).units
    assert (web.health, web.image) == ("starting", "")
    assert node.told("web.service").health == "healthy"
    # What was told of an earlier run is not of this one.
    node.unit("web.service", {**UP, "InvocationID": "b" * 32})
    (node.folder / "run" / "answer").unlink()
    (web,) = read_report(node.answer()[1]).units
    assert (web.health, web.image) == ("starting", "")


def test_a_node_that_runs_well_is_not_inspected_over_and_over(node: Node) -> None:
    def begun() -> int:
        return sum(" start --no-block fleet-report-inspect.service" in line for line in node.asked)

    for name in ("hello", "ghost"):
        node.unit(f"{name}.service", {**UP, "InvocationID": "a" * 32})
    node.write("containers", f"hello,{DIGEST},\nghost,{DIGEST},\n")
    node.report()
    assert begun() == 1
    # As if that had been long ago.
    notes = node.folder / "run" / "notes"
    notes.write_text(re.sub(r'\[(at|took)\]="\d+"', r'[\1]="0"', notes.read_text()))
    (node.folder / "run" / "answer").unlink()
    assert read_report(node.answer()[1]).containers
    assert begun() == 1


def test_jobs_failed_units_and_disks_are_told(node: Node) -> None:
    node.unit(r"var-lib-my\x2dsite.mount", {"ActiveState": "inactive", "SubState": "dead"})
    node.write("jobs-system", "1 multi-user.target start waiting\n7 fleet-report@1.service start running\n")
    node.write("failed", "ghost.service loaded failed failed A\nother.service loaded failed failed Other\n")
    report = node.report()
    assert [(job.unit, job.type, job.state) for job in report.jobs] == [("multi-user.target", "start", "waiting")]
    assert report.failed == ("other.service",)
    assert [disk.mount for disk in report.disks][:1] == ["/"]
    assert "site" not in [disk.name for disk in report.disks]
    assert (report.system, report.boot_id) == ("starting", Path("/proc/sys/kernel/random/boot_id").read_text().strip())


HOSTILE = [
    "x[$(touch $FAKE/taken)]",
    "$(touch $FAKE/taken)",
    "`touch $FAKE/taken`",
    "a[$(touch $FAKE/taken)0]+1",
    '1, "version": 2',
    "08",
    "-1",
    "9" * 40,
    "1 1",
    "",
    "]",
    "x[$(touch $FAKE/taken)]=7",
    "x" * 3_000,
]
"""What a user's manager may answer: a container that has broken out of its fence has that user's processes."""


NUMBERS = ("NRestarts", "ExecMainCode", "ExecMainStatus", "StateChangeTimestampMonotonic")


@pytest.mark.parametrize("active", ["active", "activating", "failed", "hostile"])
@pytest.mark.parametrize("what", ["numbers", "texts", "keys"])
def test_nothing_that_a_users_manager_answers_is_evaluated_or_ends_the_report(
    tmp_path: Path, active: str, what: str
) -> None:
    users = {f"u{number}": text for number, text in enumerate(HOSTILE)}
    workload = {
        "containers": {f"own-{user}": {"image": "docker.io/library/busybox:1", "run_as": user} for user in users},
        "users": {user: {"uid": 1001 + number} for number, user in enumerate(users)},
    }
    node = Node(tmp_path, workload, {})
    for user, text in users.items():
        honest = {**UP, "ActiveState": text if active == "hostile" else active, "NRestarts": "1", "ExecMainCode": "2"}
        facts = {
            "numbers": {**honest, **dict.fromkeys(NUMBERS, text)},
            "texts": {
                **honest,
                **dict.fromkeys(("LoadState", "SubState", "Result", "InvocationID", "StatusText"), text),
            },
            "keys": {text: "0", "": "1", **honest},
        }
        node.unit(f"own-{user}.service", facts[what], user=user)
        node.write(f"jobs-{user}", f"{text} {text} {text} {text}\n")
    node.write("containers", "".join(f"{text},{text},{text}\n{text}{text}\n" for text in HOSTILE))
    report = node.report()
    assert not (node.fake / "taken").exists()
    assert {unit.user for unit in report.units} == {*users}
    assert report.boot_id
    for property_ in NUMBERS:
        assert any(property_ in line for line in node.asked)


def test_what_zincati_is_about_to_do_is_told(node: Node) -> None:
    node.unit("zincati.service", {"ActiveState": "active", "StatusText": 'update staged: "44.20260801.3.0"; waiting'})
    update = node.report().update
    assert (update.state, update.status) == ("active", 'update staged: "44.20260801.3.0"; waiting')


def test_any_text_of_the_nodes_is_valid_json(node: Node) -> None:
    node.unit("zincati.service", {"ActiveState": "active", "StatusText": 'a "b" \\ c\x07 \xe9 $(id) `id` %s \\n'})
    assert node.report().update.status == 'a "b" \\ c  $(id) `id` %s \\n'


def test_answers_are_kept_for_two_seconds(node: Node) -> None:
    node.report()
    before = len(node.asked)
    first, second = node.answer(), node.answer()
    assert first == second
    assert len(node.asked) == before


@pytest.mark.parametrize(("request_", "status"), [
    ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405"),
    ("HEAD / HTTP/1.1\r\n\r\n", "405"),
    ("GET /../etc/shadow HTTP/1.1\r\n\r\n", "404"),
    ("GET /?$(id) HTTP/1.1\r\n\r\n", "404"),
    ("GET / HTTP/1.0\r\n\r\n", "200"),
    ("GET / HTTP/1.1\nHost: node\n\n", "200"),
    (f"{'A' * 100_000}", "405"),
])  # fmt: skip
def test_only_the_report_is_answered(node: Node, request_: str, status: str) -> None:
    head, _ = node.answer(request_)
    assert head.split(" ")[1:2] in ([status], [] if len(request_) > 50_000 else [status])


def test_a_request_that_never_ends_is_given_up(node: Node) -> None:
    head, _ = node.answer("GET / HTTP/1.1\r\n" + "X: y\r\n" * 50)
    assert head == ""


def test_docker_is_asked_where_it_is_the_engine(tmp_path: Path) -> None:
    node = Node(tmp_path, {"engine": "docker", "containers": {"web": {"image": "docker.io/library/caddy:2"}}}, {})
    node.unit("web.service", UP)
    node.write("containers", f"/web,{DIGEST},unhealthy\n")
    web = node.told("web.service")
    assert (web.health, web.image) == ("unhealthy", DIGEST)
    assert not [line for line in node.asked if line.startswith("podman")]


def test_what_a_secret_names_is_not_told() -> None:
    def told(*hidden: tuple[str, ...]) -> set[str]:
        kept = {key: value for key, value in WORKLOAD.items() if key in ("containers", "networks", "users")}
        snippet = report_snippet(Workload.model_validate(kept), DISKS, port=7790, confidential=hidden)
        (units,) = [f for f in json.loads(snippet.text)["storage"]["files"] if f["path"].endswith(".units")]
        return {line.split()[1] for line in unquote(units["contents"]["source"]).partition(",")[2].splitlines()}

    whole, disk = told(), r"var-lib-my\x2dsite.mount"
    assert whole - told(("data_disks", "site", "mount")) == {disk}
    assert whole - told(("data_disks",)) == {disk}
    assert whole - told(("containers", "own", "run_as")) == {"own.service"}
    assert whole - told(("users", "app")) == {"own.service"}
    assert whole == told(("containers", "own", "image"), ("containers", "hello", "environment", "A"))


HIDDEN: list[tuple[str, ...]] = [
    ("data_disks", "site", "mount"),
    ("users", "app"),
    ("containers", "own", "run_as"),
]
MOUNT, MANAGER = r"var-lib-my\x2dsite.mount", "user@1001.service"


@pytest.mark.parametrize("place", HIDDEN)
def test_what_a_secret_names_is_in_no_job_and_no_failed_unit(tmp_path: Path, place: tuple[str, ...]) -> None:
    own = WORKLOAD["containers"]["own"]
    workload = {**WORKLOAD, "containers": {**WORKLOAD["containers"], "second": own}}

    def told(*hidden: tuple[str, ...]) -> tuple[Report, str]:
        (tmp_path / str(len(hidden))).mkdir()
        node = Node(tmp_path / str(len(hidden)), workload, DISKS, hidden)
        lines = [f"{number} {unit} start waiting\n" for number, unit in enumerate((MOUNT, MANAGER, "ghost.service"))]
        node.write("jobs-system", "".join(lines))
        node.write("jobs-app", "1 own.service start running\n2 second.service start waiting\n")
        node.write("failed", f"{MOUNT} loaded failed failed A\n{MANAGER} loaded failed failed B\n")
        report = node.report()
        return report, report.model_dump_json()

    whole, _ = told()
    assert {MANAGER, MOUNT, "own.service", "ghost.service"} < {job.unit for job in whole.jobs}
    assert whole.failed == (MANAGER,)
    report, text = told(place)
    assert "ghost.service" in {job.unit for job in report.jobs}
    assert "?.service" in report.failed
    assert "1001" not in text
    assert ("x2dsite" if place[0] == "data_disks" else "own.service") not in text


def test_a_node_that_runs_well_answers_with_few_processes(node: Node) -> None:
    for name in ("stat", "flock", "env", "timeout", "readlink", "mv", "date"):
        command = node.folder / "bin" / name
        command.write_text(f'#!/bin/sh\necho "{name}" >> "$FAKE/ran"\nexec {shutil.which(name)} "$@"\n')
        command.chmod(0o755)
    known = {**UP, "InvocationID": "a" * 32}
    node.unit("own.service", known, user="app")
    for name in ("hello", "ghost", "task"):
        node.unit(f"{name}.service", known)
    node.write("containers", "".join(f"{name},{DIGEST},\n" for name in ("hello", "ghost", "task", "own")))
    node.report()
    (node.folder / "run" / "answer").unlink()
    before = len(node.asked)
    node.write("ran", "")
    assert node.answer()[1] == node.answer()[1]
    # The system's manager, its units, and those of the one user.
    asked = sorted(line.partition(" --property")[0] for line in node.asked[before:])
    assert asked == ["app show", "system show", "system show"]
    ran = (node.fake / "ran").read_text().split()
    assert sorted(ran) == ["env", "flock", "stat", "timeout"]


def test_nodes_have_the_script_without_its_comments(tmp_path: Path) -> None:
    assert "#" not in "".join(line[:1] for line in script().splitlines())
    assert subprocess.run(["bash", "-n"], input=script(), text=True, capture_output=True).stderr == ""


@pytest.mark.system
def test_the_real_journalctl_takes_what_it_is_asked(node: Node, tmp_path: Path) -> None:
    node.unit("ghost.service", RESTARTING)
    node.unit("own.service", RESTARTING, user="app")
    node.report()
    asked = [line.split()[1:] for line in node.asked if line.startswith("journalctl ")]
    assert len(asked) == 2
    for arguments in asked:
        read = subprocess.run(
            ["journalctl", "--directory", tmp_path, *arguments], capture_output=True, text=True, timeout=60
        )
        # There is no journal here: options that it cannot read are another error.
        assert "No such boot ID" in read.stderr


@pytest.mark.system
def test_shellcheck_finds_nothing_in_the_script() -> None:
    checked = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True)
    assert checked.stdout == ""
    assert checked.returncode == 0
