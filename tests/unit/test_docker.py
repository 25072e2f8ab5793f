"""Groups whose engine is Docker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fleet.config import compose
from fleet.errors import FleetError
from fleet.workloads import Workload, workload_snippet
from tests.judge import Judge, option
from tests.unit.test_judged import IMAGE, anything


def written(judge: Judge, secrets: dict[str, str] | None = None, **keys: Any) -> dict[str, str]:
    """The units of a workload, as Ignition wrote them."""
    workload = Workload.model_validate({"engine": "docker", **keys})
    judge.apply(compose([workload_snippet(workload, secrets=secrets)]).ignition)
    folder = judge.changes / "etc/systemd/system"
    return {path.name: path.read_text() for path in folder.glob("*.*") if path.is_file() and not path.is_symlink()}


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(anything, anything, anything)
def test_docker_gets_values_as_they_were_written(judge: Judge, value: str, argument: str, label: str) -> None:
    container = {"image": IMAGE, "environment": {"A": value}, "command": ["run", argument], "labels": {"l": label}}
    words = judge.words(written(judge, containers={"app": container})["app.service"])
    assert option(words, "--env") == [f"A={value}"]
    assert option(words, "--label") == [f"l={label}"]
    assert words[-3:] == [IMAGE, "run", argument]


def test_docker_services_wait_for_networks_secrets_and_health_and_podman_is_masked(judge: Judge) -> None:
    units = written(
        judge,
        secrets={"token": "t"},
        networks={"net": {"subnets": ["10.1.0.0/24"], "internal": True}},
        containers={
            "db": {
                "image": IMAGE,
                "networks": [{"name": "net", "ip": "10.1.0.5", "aliases": ["database"]}],
                "health": {"command": ["test", "-e", "/a b"]},
                "secrets": [{"name": "token", "uid": 10, "mode": "0400"}],
                "volumes": ["/var/lib/a b:/data:z"],
                "read_only": True,
            },
            "web": {"image": IMAGE, "depends_on": ["db"], "ports": ["80:80"]},
            "job": {"image": IMAGE, "schedule": "daily"},
        },
    )
    db = judge.words(units["db.service"])
    assert option(db, "--network") == ["name=net,alias=database,ip=10.1.0.5"]
    assert option(db, "--health-cmd") == ["test -e '/a b'"]
    assert "/etc/fleet/secrets/db/token:/run/secrets/token:ro,z" in option(db, "--volume")
    assert judge.owner("/etc/fleet/secrets/db/token") == 10
    assert option(db, "--tmpfs") == ["/run", "/tmp"]
    assert 'RequiresMountsFor="/var/lib/a b"' in units["db.service"]
    assert "Requires=net-network.service" in units["db.service"]
    assert "{{.State.Health.Status}}" in units["db.service"]
    assert "Requires=db.service" in units["web.service"]
    assert "OnCalendar=daily" in units["job.timer"]
    network = judge.words(units["net-network.service"])
    assert network == ["/usr/bin/docker", "network", "create", "--subnet=10.1.0.0/24", "--internal", "net"]
    assert (judge.changes / "etc/systemd/system/podman.socket").readlink().as_posix() == "/dev/null"
    # The image has no Docker; that is all that systemd may miss.
    for line in judge.verify(units).splitlines():
        assert "docker" in line, line


@pytest.mark.parametrize(
    "keys",
    [
        {"auto_update": "registry"},
        {"pull": "newer"},
        {"quadlet": {"Container": {"Mask": "/x"}}},
        {"secrets": [{"name": "token", "type": "env"}]},
    ],
)
def test_what_docker_cannot_do_is_refused(keys: dict[str, Any]) -> None:
    workload = Workload.model_validate({"engine": "docker", "containers": {"app": {"image": IMAGE, **keys}}})
    with pytest.raises(FleetError, match=r"Container app has .* which the engine docker cannot do"):
        workload_snippet(workload, secrets={"token": "t"})


def test_lines_for_the_unit_are_written_as_they_are_and_paths_as_systemd_reads_them(judge: Judge) -> None:
    app = {
        "image": IMAGE,
        "volumes": ["/var/lib/a$b%c:/data"],
        "quadlet": {"Service": {"ExecStartPre": ["/bin/echo %n $$A"]}, "Install": {"WantedBy": "other.target"}},
    }
    units = written(judge, containers={"app": app, "job": {**app, "schedule": "daily"}})
    for name in ("app.service", "job.service"):
        lines = units[name].splitlines()
        assert "ExecStartPre=/bin/echo %n $$A" in lines
        assert 'RequiresMountsFor="/var/lib/a$b%%c"' in lines
        assert "WantedBy=other.target" in lines
