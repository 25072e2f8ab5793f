"""What fleet generates, judged by the programs that read it on a node: Ignition, Podman's generator, systemd."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.config import Snippet, compose
from fleet.errors import FleetError
from fleet.workloads import Container, DataDisk, Workload, container_file, data_disk_snippet, workload_snippet
from tests.judge import Judge, option
from tests.unit.test_refused_early import CALENDAR_EVENTS, NO_CALENDAR_EVENTS

IMAGE = "docker.io/library/busybox:1"

NASTY = [
    *("", " ", "two  words ", "tab\t", "line\nline\n", "end\\", "\\\\", "\\n", '"', "'", 'it\'s "so"', "--flag"),
    *("$HOME ${HOME} $$", "%", "%%n", "100% \\% %h", "a&b#c|d/e\\f;g<h>i`j`", "é ü 漢 😀", "\x01\x1f\x7f\x81", "="),
    *("#comment", "[Service]", "{{.ID}}", "\u2028\ufeff"),
]

anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x80")) | st.sampled_from(NASTY)
words = anything.filter(bool)
slow = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def command(judge: Judge, **keys: Any) -> list[str]:
    """The words of the command that Podman is run with for a container."""
    container = Container.model_validate({"image": IMAGE, **keys})
    services = judge.generate({"x.container": container_file("x", container, Workload())})
    return judge.words(services["x.service"])


@slow
@given(anything, words, anything)
def test_environment_command_and_label_arrive_as_they_were_written(
    judge: Judge, value: str, argument: str, label: str
) -> None:
    made = command(judge, environment={"A": value}, command=["run", argument], labels={"l": label})
    assert option(made, "--env") == [f"A={value}"]
    assert f"l={label}" in option(made, "--label")
    assert made[-3:] == [IMAGE, "run", argument]


@slow
@given(st.lists(words, min_size=1), st.lists(words))
def test_entrypoint_and_health_command_arrive_as_they_were_written(
    judge: Judge, entrypoint: list[str], check: list[str]
) -> None:
    made = command(judge, entrypoint=entrypoint, health={"command": ["test", "-f", *check]})
    assert json.loads(option(made, "--entrypoint")[0]) == entrypoint
    assert json.loads(option(made, "--health-cmd")[0]) == ["test", "-f", *check]


@slow
@given(anything.map(lambda text: "/" + text.replace(":", "")), words.map(lambda text: "/" + text.replace(":", "")))
def test_the_paths_of_a_volume_arrive_as_they_were_written(judge: Judge, source: str, target: str) -> None:
    made = command(judge, volumes=[f"{source}:{target}"])
    assert option(made, "-v", "--volume") == [f"{source}:{target}"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(anything, st.binary())
def test_secrets_and_files_arrive_as_they_were_written(
    judge: Judge, tmp_path_factory: pytest.TempPathFactory, text: str, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("spec")
    (folder / "blob").write_bytes(content)
    workload = Workload.model_validate(
        {
            "containers": {
                "app": {
                    "image": IMAGE,
                    "secrets": ["token"],
                    "files": [{"source": "blob", "target": "/blob"}, {"text": text, "target": "/text", "mode": "0600"}],
                }
            }
        }
    )
    judge.apply(compose([workload_snippet(workload, secrets={"token": text}, folder=folder)]).ignition)
    assert judge.content("/etc/fleet/secrets/token") == text.encode()
    assert judge.content("/etc/fleet/files/app/text") == text.encode()
    assert judge.content("/etc/fleet/files/app/blob") == content


def test_an_empty_word_reaches_an_entrypoint_and_is_refused_for_the_images_own(judge: Judge) -> None:
    made = command(judge, entrypoint=["/bin/x"], command=["a", ""])
    assert json.loads(option(made, "--entrypoint")[0]) == ["/bin/x", "a", ""]
    with pytest.raises(FleetError, match="container x: command has an empty word"):
        command(judge, command=["a", ""])


def disk_snippet(workload: Workload, mount: str) -> Snippet:
    """A data disk, mounted for a workload."""
    disk, device = DataDisk(size_gib=1, mount=mount), "/dev/disk/by-id/virtio-data-site"
    return data_disk_snippet("site", disk, device, services=workload.services_on(mount))


def system_units(judge: Judge) -> dict[str, str]:
    """The system's units of a node: what Podman's generator makes, and what was written, with its drop-ins."""
    folder = judge.changes / "etc/systemd/system"
    units = judge.services()
    for path in folder.glob("*.*"):
        if path.is_file() and not path.is_symlink():
            units[path.name] = path.read_text()
    for path in folder.glob("*.d/*.conf"):
        name = path.parent.name.removesuffix(".d")
        units[name] = units.get(name, "") + path.read_text()
    return units


def values(text: str, *keys: str) -> set[str]:
    """The words that keys of a unit have."""
    lines = (line.partition("=") for line in text.splitlines())
    return {word for key, _, words in lines if key in keys for word in shlex.split(words)}


def started_with_the_node(units: dict[str, str], mount: str) -> set[str]:
    """The services that start at boot and cannot while a mount is missing, as systemd would see it."""
    needing: set[str] = set()
    while True:
        more = {
            name
            for name, text in units.items()
            if name.endswith(".service")
            and (
                any(f"{path}/".startswith(f"{mount}/") for path in values(text, "RequiresMountsFor"))
                or values(text, "Requires", "BindsTo") & needing
            )
        }
        if more == needing:
            break
        needing = more
    return {name for name in needing if "WantedBy=multi-user.target" in units[name]}


def test_a_disk_that_comes_late_or_comes_back_brings_all_that_waits_for_it(judge: Judge) -> None:
    containers: dict[str, Any] = {
        "db": {"image": IMAGE, "volumes": ["/var/lib/site/db:/db"]},
        "web": {"image": IMAGE, "depends_on": ["db"]},
        "proxy": {"image": IMAGE, "depends_on": ["web"]},
        "named": {"image": IMAGE, "volumes": ["on-disk:/data"]},
        "own": {"image": IMAGE, "quadlet": {"Container": {"Mount": "type=bind,source=/var/lib/site/own,target=/own"}}},
        "podded": {"image": IMAGE, "pod": "front", "volumes": ["/var/lib/site:/srv"]},
        "once": {"image": IMAGE, "oneshot": True, "volumes": ["/var/lib/site:/srv"]},
        "nightly": {"image": IMAGE, "schedule": "daily", "volumes": ["/var/lib/site:/srv"]},
        "beside": {"image": IMAGE, "volumes": ["/var/lib/sites:/srv"]},
        "mine": {"image": IMAGE, "run_as": "app", "volumes": ["/var/lib/site/mine:/srv"]},
        "bound": {"image": IMAGE, "run_as": "other", "volumes": ["theirs:/data"]},
        "apart": {"image": IMAGE, "run_as": "third", "volumes": ["/var/lib/sites:/srv"]},
    }
    workload = Workload.model_validate(
        {
            "containers": containers,
            "pods": {"front": {}},
            "volumes": {
                "on-disk": {"device": "/var/lib/site/named", "type": "none", "options": "bind"},
                "theirs": {"device": "/var/lib/site/theirs", "type": "none", "options": "bind", "run_as": "other"},
            },
            "users": {"app": {"uid": 2001}, "other": {"uid": 2002}, "third": {"uid": 2003}},
        }
    )
    mount = "/var/lib/site"
    judge.apply(compose([workload_snippet(workload, mounts=[mount]), disk_snippet(workload, mount)]).ignition)
    units = system_units(judge)
    device = units[r"dev-disk-by\x2did-virtio\x2ddata\x2dsite.device"]
    assert values(device, "JobRunningTimeoutSec") == {"infinity"}
    assert values(device, "Wants") == {"var-lib-site.mount"}
    waiting = started_with_the_node(units, mount)
    assert {f"{name}.service" for name in ("db", "web", "proxy", "named", "own", "podded", "once")} <= waiting
    assert "on-disk-volume.service" in values(units["named.service"], "Requires")
    managers = {"user@2001.service", "user@2002.service"}
    assert values(units["var-lib-site.mount"], "Wants") - waiting == {"systemd-growfs@var-lib-site.service", *managers}
    assert waiting <= values(units["var-lib-site.mount"], "Wants")
    for manager in managers:
        assert values(units.pop(manager), "RequiresMountsFor") == {mount}
    assert "user@2003.service" not in units
    assert judge.verify(units) == ""

    mine = judge.services("/etc/containers/systemd/users/2001", user=True)["mine.service"]
    assert judge.verify({"mine.service": mine}, user=True) == ""


def test_a_user_whose_home_lies_on_a_data_disk_waits_for_it(judge: Judge) -> None:
    mount = "/var/home/app"
    workload = Workload.model_validate(
        {"containers": {"mine": {"image": IMAGE, "run_as": "app"}}, "users": {"app": {"uid": 2001}}}
    )
    judge.apply(compose([workload_snippet(workload, mounts=[mount]), disk_snippet(workload, mount)]).ignition)
    units = system_units(judge)
    assert values(units["user@2001.service"], "RequiresMountsFor") == {mount}
    assert "user@2001.service" in values(units["var-home-app.mount"], "Wants")


@pytest.mark.parametrize(
    ("owner", "mode", "commands"),
    [
        ("app", "", ["/usr/bin/chown --no-dereference app: /var/lib/site"]),
        ("app:video", "0750", ["/usr/bin/chown --no-dereference app:video /var/lib/site",
                               "/usr/bin/chmod 0750 /var/lib/site"]),
        ("999:999", "1777", ["/usr/bin/chown --no-dereference 999:999 /var/lib/site",
                             "/usr/bin/chmod 1777 /var/lib/site"]),
        ("", "700", ["/usr/bin/chmod 700 /var/lib/site"]),
    ],
)  # fmt: skip
def test_a_data_disk_has_its_owner_before_what_needs_it_starts(
    judge: Judge, owner: str, mode: str, commands: list[str]
) -> None:
    mount = "/var/lib/site"
    workload = Workload.model_validate(
        {
            "containers": {
                "db": {"image": IMAGE, "volumes": ["/var/lib/site:/db"]},
                "mine": {"image": IMAGE, "run_as": "app", "volumes": ["/var/lib/site/mine:/srv"]},
            },
            "users": {"app": {"uid": 2001}},
        }
    )
    disk = DataDisk(size_gib=1, mount=mount, owner=owner, mode=mode)
    snippet = data_disk_snippet("site", disk, "/dev/vdb", services=workload.services_on(mount))
    judge.apply(compose([workload_snippet(workload, mounts=[mount]), snippet]).ignition)
    units = system_units(judge)
    unit = units["fleet-owner-site.service"]
    assert [line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart=")] == commands
    assert values(unit, "Before") == {"db.service", "user@2001.service"}
    assert values(unit, "RequiresMountsFor") == {mount}
    assert "fleet-owner-site.service" in values(units["var-lib-site.mount"], "Wants")
    assert judge.verify({name: text for name, text in units.items() if not name.startswith("user@")}) == ""
    for command in commands:
        place = judge.changes / "var/lib/site"
        place.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            assert judge.run(*command.split()).returncode == 0
    status = place.stat()
    assert status.st_uid == {"app": 2001, "999": 999, "": 0}[owner.partition(":")[0]]
    assert not mode or f"{status.st_mode & 0o7777:o}" == mode.lstrip("0")


@pytest.mark.parametrize(("engine", "storage"), [("podman", "/var/lib/containers"), ("docker", "/var/lib/docker")])
def test_an_engine_whose_images_lie_on_a_data_disk_waits_for_it(judge: Judge, engine: str, storage: str) -> None:
    workload = Workload.model_validate(
        {"engine": engine, "containers": {"app": {"image": IMAGE, "networks": ["net"]}}, "networks": {"net": {}}}
    )
    judge.apply(compose([workload_snippet(workload, mounts=[storage]), disk_snippet(workload, storage)]).ignition)
    units = system_units(judge)
    assert "app.service" in started_with_the_node(units, storage)
    mount = next(text for name, text in units.items() if name.endswith(".mount"))
    assert "app.service" in values(mount, "Wants")
    engines = units["docker.service"] if engine == "docker" else units["net-network.service"]
    assert storage in values(engines, "RequiresMountsFor")


EVERYTHING: dict[str, Any] = {
    "pods": {"front": {"ports": ["8080:80"], "networks": [{"name": "net", "ip": "10.89.9.9"}]}},
    "networks": {
        "net": {
            "subnets": [{"prefix": "10.89.9.0/24", "gateway": "10.89.9.1", "range": "10.89.9.128/25"}],
            "internal": True,
            "dns_servers": ["10.89.9.2"],
            "options": {"mtu": 1400},
        },
        "mine": {"run_as": "app"},
    },
    "volumes": {"data": {"labels": {"a": "b c"}}, "fast": {"type": "tmpfs", "device": "tmpfs", "options": "size=1m"}},
    "images": {"tools": {"image": "docker.io/library/caddy:2"}},
    "users": {"app": {"uid": 2001}},
    "containers": {
        "db": {
            "image": IMAGE,
            "networks": [{"name": "net", "ip": "10.89.9.5", "aliases": ["database"]}],
            "volumes": ["data:/var/lib/db:Z", "fast:/tmp", "/var/lib/site:/srv:ro,z", "/with space:/with space"],
            "health": {"command": "test -e /run/up"},
            "secrets": ["token", {"name": "key", "type": "env", "target": "KEY"}],
            "read_only": True,
            "tmpfs": ["/run:size=1m"],
            "user": "10:10",
            "groups": [11],
            "working_dir": "/srv",
            "hostname": "db.example.org",
            "add_hosts": ["a:10.0.0.1"],
            "dns": ["10.0.0.2"],
            "devices": ["/dev/null"],
            "drop_capabilities": ["all"],
            "add_capabilities": ["CHOWN", "SETUID"],
            "no_new_privileges": True,
            "init": True,
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": 80},
            "ulimits": ["nofile=1000:2000"],
            "memory": "64m",
            "shm_size": "1m",
            "cpus": 0.5,
            "pids": 10,
            "stop_signal": "SIGINT",
            "auto_update": "registry",
            "labels": {"x": "y z"},
        },
        "web": {
            "image": "tools.image",
            "pod": "front",
            "depends_on": ["db", "setup"],
            "files": [{"text": "x", "target": "/etc/web.conf"}],
        },
        "setup": {"image": IMAGE, "oneshot": True, "command": ["true"]},
        "clean": {"image": IMAGE, "schedule": {"calendar": "daily", "random_delay": "5min"}, "command": ["true"]},
        "mine": {
            "image": IMAGE,
            "run_as": "app",
            "networks": ["mine"],
            "secrets": ["token"],
            "auto_update": "local",
            "files": [{"text": "x", "target": "/etc/mine.conf", "mode": "0600"}],
        },
        "cron": {"image": IMAGE, "run_as": "app", "schedule": "hourly"},
    },
}


@pytest.fixture(scope="module")
def everything(judge: Judge) -> Judge:
    """A node whose workload uses all that a workload can, as Ignition wrote it."""
    workload = Workload.model_validate(EVERYTHING)
    config = compose(
        [
            workload_snippet(workload, secrets={"token": "t", "key": "k"}, mounts=["/var/lib/site"]),
            disk_snippet(workload, "/var/lib/site"),
        ]
    )
    judge.apply(config.ignition)
    return judge


def test_every_unit_of_a_large_workload_passes_the_generator_and_systemd(everything: Judge) -> None:
    services = everything.services()
    assert services.keys() >= {
        "db.service", "web.service", "setup.service", "clean.service", "front-pod.service", "net-network.service",
        "data-volume.service", "fast-volume.service", "tools-image.service",
    }  # fmt: skip
    written = {
        path.name: path.read_text()
        for path in (everything.changes / "etc/systemd/system").iterdir()
        if path.suffix in {".service", ".timer", ".mount"} and path.is_file() and not path.is_symlink()
    }
    assert written.keys() >= {"clean.timer", "fleet-secrets.service", "var-lib-site.mount"}
    assert everything.verify({**services, **written}) == ""


def test_the_units_of_a_rootless_user_pass_the_generator_and_systemd(everything: Judge) -> None:
    services = everything.services("/etc/containers/systemd/users/2001", user=True)
    assert services.keys() == {"mine.service", "cron.service", "mine-network.service"}
    helpers = {
        name: everything.content(f"/etc/systemd/user/{name}").decode()
        for name in ("cron.timer", "fleet-secrets.service")
    }
    assert everything.verify({**services, **helpers}, user=True) == ""


def test_a_rootless_user_lingers_and_owns_what_it_reads(everything: Judge) -> None:
    assert everything.content("/var/lib/systemd/linger/app") == b""
    for path in (
        "/etc/fleet/user-secrets/2001/token",
        "/etc/fleet/user-secrets/2001",
        "/etc/fleet/files/mine/etc/mine.conf",
    ):
        assert everything.owner(path) == 2001
    assert everything.owner("/etc/fleet/secrets/token") == 0
    expected = everything.changes / "etc/systemd/user"
    assert (expected / "default.target.wants/fleet-secrets.service").is_symlink()
    assert (expected / "timers.target.wants/podman-auto-update.timer").readlink().is_absolute()


def test_a_workload_says_what_it_was_told(everything: Judge) -> None:
    db = everything.words(everything.services()["db.service"])
    assert option(db, "--network") == ["net:ip=10.89.9.5,alias=database"]
    assert option(db, "--secret") == ["token,type=mount,target=token,uid=0,gid=0,mode=0400", "key,type=env,target=KEY"]
    assert set(option(db, "-v", "--volume")) == {
        "data:/var/lib/db:Z", "fast:/tmp", "/var/lib/site:/srv:ro,z", "/with space:/with space",
    }  # fmt: skip
    for name, value in {
        "--user": "10:10",
        "--workdir": "/srv",
        "--hostname": "db.example.org",
        "--add-host": "a:10.0.0.1",
        "--dns": "10.0.0.2",
        "--device": "/dev/null",
        "--cap-drop": "all",
        "--ulimit": "nofile=1000:2000",
        "--memory": "64m",
        "--shm-size": "1m",
        "--cpus": "0.5",
        "--pids-limit": "10",
        "--stop-signal": "SIGINT",
        "--tmpfs": "/run:size=1m",
        "--group-add": "11",
    }.items():
        assert option(db, name) == [value], (name, db)
    web = everything.services()["web.service"]
    assert "Requires=db.service" in web
    assert "docker.io/library/caddy:2" in everything.words(web)
    assert "Type=oneshot" in everything.services()["setup.service"]
    assert "WantedBy" not in everything.services()["clean.service"]


def test_calendar_events_are_taken_and_refused_as_systemd_does(judge: Judge) -> None:
    for event in (*CALENDAR_EVENTS, *NO_CALENDAR_EVENTS):
        status = judge.run("systemd-analyze", "calendar", "--", event).returncode
        assert (status != 0) == (event in NO_CALENDAR_EVENTS), (event, status)
