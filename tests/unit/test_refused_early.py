"""What could only fail on the node, hours later and in its journal alone, is refused when the spec is read."""

from __future__ import annotations

import itertools
import json
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from fleet.core_schema import Dumper, Loader
from fleet.errors import FleetError
from fleet.library import LIBRARY, LibrarySnippet, NodeName
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from fleet.workloads import User
from fleet.workloads.times import GO_DURATION, TIME_SPAN, calendar_event, from_cron
from tests.conftest import Folder, file_text

IMAGE = "docker.io/library/caddy:2"
WIDE = "\N{FULLWIDTH DIGIT EIGHT}\N{FULLWIDTH DIGIT ONE}"


def plan(folder: Folder, group: str, *, name: str = "fleet.yaml") -> dict[str, Any]:
    """Ignition's config of the one node of a group, given in YAML below ``web:``."""
    folder.write(name, f"name: web\ngroups:\n  web:\n{group}")
    where = platform("qemu", project=folder.path, stack="test")
    (node,) = plan_spec(folder.path / name, Resolver(), where, need_lock=False).nodes
    return node.config.tree


def refusal(folder: Folder, group: str) -> str:
    with pytest.raises(FleetError) as caught:
        plan(folder, group)
    return str(caught.value)


def containers(**each: str) -> str:
    return "    containers:\n" + "".join(f"      {name}: {{image: {IMAGE}, {keys}}}\n" for name, keys in each.items())


@pytest.mark.parametrize("name", ["sshd", "docker", "zincati", "fleet-secrets", "systemd-networkd", "rpm-ostreed"])
def test_a_container_cannot_replace_a_service_of_the_system(folder: Folder, name: str) -> None:
    output = refusal(folder, containers(**{name: "init: true"}))
    assert f"the container {name} would replace {name}.service" in output
    assert "call it another name" in output


def test_pods_and_volumes_are_judged_by_the_services_that_they_become(folder: Folder) -> None:
    assert plan(folder, containers(user="init: true") + "    volumes: {docker: {}}\n")
    output = refusal(folder, "    networks: {nm-cloud: {}}\n    volumes: {fleet: {}}\n")
    assert "the volume fleet would replace fleet-volume.service" in output


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (
            containers(a='ports: ["8080:80"]', b='ports: ["127.0.0.1:8080:81"]'),
            "the container a and the container b both publish port 8080/tcp",
        ),
        (containers(a='ports: ["8080:80", "8080:81"]'), "the container a publishes port 8080/tcp of the node twice"),
        (containers(a='ports: ["22:22"]'), "the container a publishes port 22 of the node, which is SSH's"),
        (containers(a='networks: [host], ports: ["80:80"]'), "nothing can be published from the network host"),
        (
            "    networks: {n: {subnets: [10.89.1.0/24]}}\n"
            + containers(a="networks: [{name: n, ip: 10.89.1.5}]", b="networks: [{name: n, ip: 10.89.1.5}]"),
            "the container a and the container b both have the address 10.89.1.5 in the network n",
        ),
        (
            "    users: {app: {uid: 1001}}\n" + containers(a='run_as: app, ports: ["80:80"]'),
            "a publishes port 80 of the node, but app's rootless Podman can have ports from 1024 up only",
        ),
        (containers(a='volumes: ["./x:/y"]'), "'./x:/y' begins with a path that is relative"),
        (containers(a='volumes: ["~/x:/y"]'), "'~/x:/y' begins with a path that is relative"),
        (containers(a='volumes: ["%h/x:/y"]'), "'%h/x:/y' begins with a path that is relative"),
        (containers(a='volumes: ["x/z:/y"]'), "'x/z:/y' begins with a path that is relative"),
        (containers(a='schedule: "every day at noon"'), "is no calendar event of systemd"),
        (containers(a='schedule: "0 3 * * *"'), 'write "*-*-* 03:00:00"'),
        (containers(a='schedule: {calendar: daily, random_delay: "a bit"}'), "is no span of time"),
        (containers(a='health: {command: "true", interval: "30"}'), '\'30\' is no duration with units: write "30s"'),
        (containers(a="quadlet: {Container: {Privileged: 'true'}}"), "Podman knows no key Privileged in [Container]"),
        (containers(a="quadlet: {Container: {publishport: '1'}}"), "did you mean PublishPort?"),
        (containers(a="quadlet: {Service: {User: app}}"), "Podman allows no User in [Service]"),
        ("    data_disks: {d: {size_gib: 1, mount: /var/d, owner: nobody-here}}\n", "have no such user"),
        ("    data_disks: {d: {size_gib: 1, mount: /var/d, owner: 'a b'}}\n", "'a b' is no owner"),
        ("    data_disks: {d: {size_gib: 1, mount: /var/d, mode: 488}}\n", "`mode` should be text"),
        ("    data_disks: {d: {size_gib: 1, mount: /var/d, mode: rwx}}\n", "'rwx' are no permission bits"),
        (containers(a="arguments: [privileged]"), "'privileged' is no option"),
        (containers(a="cpus: .inf"), "`cpus` should be a finite number"),
        ("    rollout: {pause: .nan}\n", "`pause` should be a finite number"),
        (containers(a=f'ports: ["{WIDE}:80"]'), "a port is written"),
        (f"    ports: ['{WIDE}']\n", "a port is written"),
        ("    users: {app: {uid: 1001}}\n" + containers(a="user: app"), "say `run_as: app`"),
        ("    snippets: [{use: node-exporter, image: node-exporter}]\n", "name the registry too"),
        ("    snippets: [{use: metadata-guard, addresses: [169.254.169]}]\n", "should be an IPv4 address"),
    ],
)  # fmt: skip
def test_what_only_the_node_would_find_wrong_is_refused(folder: Folder, spec: str, wanted: str) -> None:
    assert wanted in refusal(folder, spec)


@pytest.mark.parametrize("owner", ["root", "core", "app", "made:video", "1000", "0:0"])
def test_a_data_disk_belongs_to_any_user_whom_the_node_knows(folder: Folder, owner: str) -> None:
    folder.write("made.bu", "variant: fcos\nversion: 1.6.0\npasswd: {users: [{name: made}]}\n")
    disk = f"    data_disks: {{d: {{size_gib: 1, mount: /var/d, owner: '{owner}', mode: '2770'}}}}\n"
    assert plan(folder, "    snippets: [made.bu]\n    users: {app: {uid: 2001}}\n" + disk)


def test_what_looks_like_it_but_works_is_taken(folder: Folder) -> None:
    plan(
        folder, containers(a='ports: ["127.0.0.1:8080:80"]', b='ports: ["127.0.0.2:8080:80", "127.0.0.1:8080:80/udp"]')
    )
    low = "    users: {app: {uid: 1001}}\n" + containers(a='run_as: app, ports: ["80:80"]')
    plan(folder, low + "    snippets: [{use: sysctl, values: {net.ipv4.ip_unprivileged_port_start: 80}}]\n")
    folder.write(
        "low.bu",
        "variant: fcos\nversion: 1.6.0\nstorage: {files: [{path: /etc/sysctl.d/90-low.conf, contents: {inline: "
        '"net/ipv4/ip_unprivileged_port_start = 0\\n"}}]}\n',
    )
    plan(folder, low + "    snippets: [low.bu]\n")
    plan(folder, "    users: {app: {uid: 1001}}\n" + containers(a="run_as: app", b="user: app"))
    plan(folder, containers(a='volumes: ["/a%b:/x", "data:/y"], quadlet: {Container: {Mask: /proc/x}, Unit: {X-Y: z}}'))


def test_a_spec_is_read_as_yaml_1_2_as_butane_reads_its_snippets(folder: Folder) -> None:
    tree = plan(
        folder,
        f"    containers:\n      a:\n        image: {IMAGE}\n        ports: [20:22]\n        environment:\n"
        "          {MASK: 022, YES: yes, TIME: 12:30:45, VERSION: 1.10, LARGE: 1e3, HEX: 0x1F, DAY: 2026-01-02}\n",
    )
    unit = file_text(tree, "/etc/containers/systemd/a.container")
    assert "PublishPort=20:22/tcp" in unit
    for pair in (
        "MASK=022",
        "YES=yes",
        "TIME=12:30:45",
        "VERSION=1.10",
        "LARGE=1e3",
        "HEX=0x1F",
        "DAY=2026-01-02",
    ):
        assert f'Environment="{pair}"' in unit


@example("\x85")
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_a_spec_in_python_says_in_yaml_what_it_returned(value: Any) -> None:
    assert yaml.load(yaml.dump(value, Dumper=Dumper), Loader=Loader) == value


SNIPPETS: dict[str, dict[str, Any]] = {
    "hostname": {"names": ["web.example.org"]},
    "static-network": {"interface": "ens3", "addresses": ["10.0.0.1/24"], "search": ["example.org"]},
    "time-zone": {"zone": "Europe/Berlin"},
    "ssh-keys": {"keys": ["ssh-ed25519 AAAA me"]},
    "ssh-hardening": {"allow_users": ["core"]},
    "serial-autologin": {},
    "sysctl": {"values": {"vm.swappiness": "1"}},
    "zram": {},
    "zincati": {"strategy": "fleet-lock", "lock_url": "http://lock"},
    "node-exporter": {"collectors": ["--collector.systemd"], "address": "127.0.0.1"},
    "podman-prune": {},
    "metadata-guard": {"addresses": ["169.254.169.254"]},
}
"""The parameters of each snippet that are no numbers or words of a list."""

EVIL = "\nPermitRootLogin yes"


def _of(kind: type[LibrarySnippet]) -> str:
    return str(typing.get_args(kind.model_fields["use"].annotation)[0])


def _broken(value: Any) -> list[Any]:
    """The value with a line break in it, at every place that it can have one."""
    if isinstance(value, str):
        return [value + EVIL, value.replace("\n", "") + "\r" + EVIL[1:]]
    if isinstance(value, list):
        return [[*value[:i], bad, *value[i + 1 :]] for i in range(len(value)) for bad in _broken(value[i])]
    if isinstance(value, dict):
        ways = [{**value, key: bad} for key in value for bad in _broken(value[key])]
        return ways + [{bad: value[key]} for key in value for bad in _broken(key)]
    return []


def _cases() -> list[tuple[type[LibrarySnippet], dict[str, Any]]]:
    cases = []
    for kind in LIBRARY:
        given_ = {"use": _of(kind), **SNIPPETS[_of(kind)]}
        whole = {
            **{name: field.default for name, field in kind.model_fields.items() if isinstance(field.default, str)},
            **given_,
        }
        for key in whole.keys() - {"use"}:
            cases += [(kind, {**given_, key: bad}) for bad in _broken(whole[key])]
    return cases


def test_no_parameter_of_a_library_snippet_ends_the_line_that_it_is_written_in() -> None:
    cases = _cases()
    assert {_of(kind) for kind, _ in cases} >= SNIPPETS.keys() - {"metadata-guard"}
    for kind, parameters in cases:
        try:
            snippet = kind.model_validate(parameters).snippet(NodeName("web-0", 0))
        except ValidationError:
            continue
        tree = json.loads(snippet.text)
        texts = [file_text(tree, entry["path"]) for entry in tree.get("storage", {}).get("files", [])]
        texts += [unit.get("contents", "") for unit in tree.get("systemd", {}).get("units", [])]
        lines = itertools.chain.from_iterable(text.replace("\r", "\n").split("\n") for text in texts)
        assert "PermitRootLogin yes" not in {line.strip() for line in lines} - {""}, parameters


@pytest.mark.parametrize(
    "keys", [{"groups": ["video\nroot"]}, {"ssh_authorized_keys": ["ssh-ed25519 AAAA\nssh-rsa B x"]}]
)
def test_no_property_of_a_user_ends_its_line(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        User.model_validate({"uid": 1001, **keys})


CALENDAR_EVENTS = (
    "daily", "Weekly", "bi-annually", "Mon *-*-* 03:00", "Sat,Sun 4:00", "Mon..Fri 22:30", "Mon-Fri 22:30",
    "*:0/10", "*-*-1,15 00:00:00", "*-02~03", "2026-11-28 12:00 Europe/Berlin", "hourly UTC", "Mon", "03:00",
    "12..12:00", "*:*:0.5/10",
)  # fmt: skip
NO_CALENDAR_EVENTS = (
    "every day at noon", "0 3 * * *", "@daily", "noon", "3", "25:00", "Mon..", "Fri..Mon", "*/2:00", "*-13-01",
    "*-*-32", "*:0/0", " 3:00", "", "*-*~31", "12:", "20..10:00",
)  # fmt: skip
"""The judge asks systemd itself about these."""


@pytest.mark.parametrize("event", CALENDAR_EVENTS)
def test_calendar_events_are_read_as_systemd_does(event: str) -> None:
    assert calendar_event(event) == event


@pytest.mark.parametrize("event", NO_CALENDAR_EVENTS)
def test_what_systemd_does_not_read_is_no_calendar_event(event: str) -> None:
    with pytest.raises(ValueError, match=r"systemd\.time\(7\)"):
        calendar_event(event)


@pytest.mark.parametrize(
    ("cron", "event"),
    [
        ("0 3 * * *", "*-*-* 03:00:00"),
        ("*/15 * * * *", "*-*-* *:0/15:00"),
        ("30 2 1 * *", "*-*-01 02:30:00"),
        ("0 0 * * 0", "Sun *-*-* 00:00:00"),
        ("0 0 * * 7", "Sun *-*-* 00:00:00"),
        ("5 4 * * mon-fri", "Mon..Fri *-*-* 04:05:00"),
        ("0 9-17/2 * jan,jul *", "*-01,07-* 09..17/2:00:00"),
        ("@daily", "daily"),
        ("0 0 1 * 1", None),  # cron: on the first, and on Mondays
        ("0 0 * * 5-1", None),
        ("61 0 * * *", None),
        ("@reboot", None),
    ],
)
def test_a_line_of_a_crontab_is_answered_with_its_calendar_event(cron: str, event: str | None) -> None:
    assert from_cron(cron) == event


def test_durations_are_read_as_systemd_and_go_do() -> None:
    for span in ("0", "15min", "1h 30min", "2.5h", "infinity"):
        assert TIME_SPAN.read(span) == span
    for span in ("", "soon", "5 parsecs"):
        with pytest.raises(ValueError, match="no span of time"):
            TIME_SPAN.read(span)
    for duration in ("30s", "1m30s", "1.5h", "disable", "0"):
        assert GO_DURATION.read(duration) == duration
    for duration in ("30", "1 m", "5min", ""):
        with pytest.raises(ValueError, match="no duration with units"):
            GO_DURATION.read(duration)


@pytest.mark.parametrize(
    ("spec", "wanted", "harm"),
    [
        (containers(a="timer: daily"), "Did you mean `schedule`?", "image"),
        (containers(a="privileged: true"), "`add_capabilities`, `devices`", "Did you mean `no_new_privileges`"),
        ("    networks: {n: {external: true}}\n", "leave the key out", "Did you mean `internal`"),
        (containers(a="env: {A: b}"), "Did you mean `environment`?", ""),
        (containers(a="cap_add: [x]"), "Did you mean `add_capabilities`?", ""),
        (containers(a="publish: ['80:80']"), "Did you mean `ports`?", ""),
        ("    services: {}\n", "Did you mean `containers`?", ""),
        ("    replicas: 3\n", "Did you mean `count`?", ""),
        ("    instance_type: t3.small\n", "Did you mean `size`?", ""),
        (containers(a="environmnet: {A: b}"), "Did you mean `environment`?", ""),
        (containers(a="memory: 256M"), 'write "256m"', ""),
        (containers(a="memory: 2GiB"), 'write "2g"', ""),
        ("    zzz: 1\n", "The keys here are: ", "Did you mean"),
    ],
)
def test_hints_know_the_words_of_the_field_before_nearness(folder: Folder, spec: str, wanted: str, harm: str) -> None:
    output = refusal(folder, spec)
    assert wanted in output
    assert not harm or harm not in output.partition(": There is no key")[2].partition("The keys here")[0]


def test_every_mistake_has_a_line_of_its_own_with_its_place(folder: Folder, tmp_path: Path) -> None:
    output = refusal(folder, "    count: x\n    colour: red\n    replicas: 3\n")
    lines = output.splitlines()
    assert [line.split(": ")[0].rpartition("/")[2] for line in lines] == [
        "fleet.yaml:4:12", "fleet.yaml:5:5", "fleet.yaml:6:5",
    ]  # fmt: skip
