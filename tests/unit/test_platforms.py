"""What platforms plan and refuse, without their SDKs and before anything is made."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.config import Snippet, compose
from fleet.dynamic.gate import reshaped
from fleet.errors import FleetError, FleetWarning, UsageError
from fleet.images import ImageLock, write_lock
from fleet.plan import Disk, FleetPlan, LockedImage
from fleet.planner import plan_spec
from fleet.platforms import names, platform, platform_class
from fleet.platforms.aws.platform import Aws, with_disk_rules
from fleet.platforms.options import COMMON
from fleet.platforms.qemu import machine as qemu_machine
from fleet.platforms.tags import Tags
from fleet.program.state import with_state
from fleet.spec import Resolver
from tests.conftest import Folder, file_text
from tests.engine.cases import case

CONFIG = {"aws:region": "eu-central-1", "gcp:project": "shop", "gcp:zone": "europe-west3-a"}
JOINED = {"id": "vpc-1", "subnets": {"a": "subnet-1", "b": "subnet-2"}}
PRIVATE = "network: {cidr: 10.7.0.0/24}\ngroups:\n  web:\n    addresses_from: "


def plan(folder: Folder, name: str, /, **options: object) -> FleetPlan:
    where = platform(name, options, project=folder.path, stack="test", config=CONFIG.get)
    return plan_spec(folder.path / "fleet.yaml", Resolver(), where, need_lock=True)


@pytest.fixture
def locked(folder: Folder) -> Folder:
    disk = Disk(location="https://example.org/x", sha256="0" * 64, uncompressed_sha256="0" * 64)
    image = LockedImage(
        release="44.1",
        ignition_spec="3.5.0",
        disks={"qemu": disk, "digitalocean": disk},
        images={
            "aws": {"eu-central-1": "ami-1"},
            "gcp": {"project": "fedora-coreos-cloud", "name": "fedora-coreos-44-1"},
        },
    )
    write_lock(folder.path / "image.lock.yaml", ImageLock(stream="stable", architectures={"x86_64": image}))
    return folder


@pytest.mark.parametrize(
    ("name", "options", "old", "new", "wanted"),
    [
        ("aws", {}, "count: 1", "size: huge", "There is no size 'huge' for web"),
        ("aws", {}, "groups:\n  web:\n", PRIVATE + "2\n", "AWS keeps 10.7.0.2, which is planned for web-0"),
        (
            "aws",
            {"zones": ["a", "b"]},
            "groups:\n  web:\n",
            PRIVATE + "239\n",
            "has no room for the planned address 246",
        ),
        ("aws", {"zones": ["a", "b"], "vpc": JOINED}, "groups:\n  web:\n", PRIVATE + "9\n", "of a VPC that is joined"),
        ("aws", {"zones": ["a", "c"], "vpc": JOINED}, "count: 1", "count: 1", "no subnet for zone c"),
        ("aws", {"cidr": "10.7.0.0/29"}, "count: 1", "count: 1", "no network of the size of 10.7.0.0/29"),
        ("aws", {"cidr": "10.7.0.0/27", "zones": ["a", "b", "c"]}, "count: 1", "count: 1", "subnets in 2 zones"),
        ("aws", {"bucket": "b"}, "count: 1", "count: 1", "No instance may read configs from the bucket b"),
        ("aws", {"public_addresses": False}, "count: 1", "count: 1", "reached at planned private ones"),
        ("aws", {"architecture": "aarch64"}, "count: 1", "count: 1", "no image for aarch64"),
        (
            "aws",
            {"colour": 1},
            "count: 1",
            "count: 1",
            "There is no key `colour`. The keys here are: architecture",
        ),
        ("gcp", {}, "groups:\n  web:\n", PRIVATE + "1\n", "Google Cloud keeps 10.7.0.1"),
        ("gcp", {"zones": ["europe-west3-a", "us-east1-b"]}, "count: 1", "count: 1", "are in several regions"),
        ("gcp", {}, "  web:\n", f"  {'w' * 50}:\n", "is too long: with zone and project"),
        ("gcp", {}, "count: 1", "rollout: {strategy: surge}", "cannot surge: its nodes have static addresses"),
        ("digitalocean", {}, "groups:\n  web:\n", PRIVATE + "10\n", "DigitalOcean gives no planned addresses"),
        ("digitalocean", {}, "count: 1", "data_disks: {a--b: {size_gib: 1, mount: /var/x}}", "no volume of the name"),
        ("libvirt", {"architecture": "aarch64"}, "count: 1", "count: 1", "no image for aarch64"),
        ("libvirt", {"bridge": "br0"}, "count: 1", "count: 1", "need planned addresses, and a gateway"),
        ("libvirt", {"cidr": "10.0.0.0/8"}, "count: 1", "count: 1", "`cidr` is a /16"),
        ("libvirt", {}, "count: 1", "size: 4x", "or CPUs and MiB"),
        ("libvirt", {}, "count: 1", "data_disks: {a: {size_gib: 1, mount: /var/x, snapshot: true}}", "no snapshots"),
        ("qemu", {}, "count: 1", "data_disks: {a: {size_gib: 1, mount: /var/x, snapshot: true}}", "no snapshots"),
    ],
)
def test_a_platform_refuses_what_it_cannot_do_before_anything_is_made(
    locked: Folder, name: str, options: dict[str, object], old: str, new: str, wanted: str
) -> None:
    locked.edit("fleet.yaml", old, new)
    with pytest.raises(FleetError) as caught:
        plan(locked, name, **options)
    assert wanted in str(caught.value)


@pytest.mark.parametrize("name", names())
def test_what_re_provisions_a_node_is_the_same_without_an_image_lock(locked: Folder, name: str) -> None:
    where = platform(
        name, case(name).config.get(f"fleet:{name}", {}), project=locked.path, stack="test", config=CONFIG.get
    )

    def triggers() -> list[tuple[str, object]]:
        planned = plan_spec(locked.path / "fleet.yaml", Resolver(), where, need_lock=False)
        return [(where.trigger(node), where.shape(node)) for node in planned.nodes]

    with_lock = triggers()
    (locked.path / "image.lock.yaml").unlink()
    assert triggers() == with_lock


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [
        ("aws", "small", 11),
        ("gcp", "small", 15),
        ("gcp", "large", 127),
        ("digitalocean", "small", 15),
        ("libvirt", "small", 14),
        ("qemu", "small", 27),
    ],
)
def test_more_data_disks_than_a_machine_can_have_are_refused(locked: Folder, name: str, size: str, most: int) -> None:
    def disks(count: int) -> str:
        listed = ", ".join(f"d{index}: {{size_gib: 1, mount: /var/d{index}}}" for index in range(count))
        return f"size: {size}\n    data_disks: {{{listed}}}"

    locked.edit("fleet.yaml", "count: 1", disks(most))
    assert len(next(plan(locked, name).nodes).disks) == most
    locked.edit("fleet.yaml", disks(most), disks(most + 1))
    with pytest.raises(FleetError, match=f"has {most} at most"):
        plan(locked, name)


@pytest.mark.system
def test_qemu_starts_with_as_many_data_disks_as_it_is_said_to(tmp_path: Path) -> None:
    """Beside the card of a private network; with one more than fits it does not start."""
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    disks = [qemu_machine.Attached(f"d{index}", str(shutil.copy(image, f"{image}{index}"))) for index in range(27)]

    def start(count: int) -> None:
        folder = tmp_path / f"node-{count}"
        machine = qemu_machine.Machine(
            name="web-0",
            ignition="{}",
            base=image,
            memory_mib=64,
            cpus=1,
            root_gib=1,
            bind="127.0.0.1",
            forwards=[],
            disks=disks[:count],
            private=("239.1.2.3:21000", "52:54:00:00:00:01"),
        )
        identity = qemu_machine.start(folder, machine, "tcg")
        os.kill(int((folder / "qemu.pid").read_text()), signal.SIGKILL)
        qemu_machine.stop(folder, identity)

    start(26)
    with pytest.raises(FleetError, match="no slot/function available"):
        start(27)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("aws", "pulumi config set aws:region"),
        ("gcp", "pulumi config set gcp:project"),
        ("digitalocean", "pulumi config set --secret digitalocean:token"),
    ],
)
def test_a_stack_that_does_not_say_where_is_refused(
    folder: Folder, name: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION", "GOOGLE_PROJECT", "GOOGLE_ZONE", "DIGITALOCEAN_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match=wanted):
        platform(name, project=folder.path, stack="test").check_stack()


@pytest.mark.slow
def test_planning_for_a_platform_needs_no_sdk(folder: Folder) -> None:
    program = (
        "import sys; from fleet.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in sys.modules if name.startswith('pulumi_')], file=sys.stderr)"
    )
    for name in names():
        result = subprocess.run(
            [sys.executable, "-c", program, "render", "fleet.yaml", "--node", "web-0", "--platform", name],
            cwd=folder.path,
            capture_output=True,
            text=True,
        )
        assert json.loads(result.stdout)["ignition"]["version"]
        assert result.stderr == "[]\n"


def said(name: str) -> dict[str, Any]:
    """The options of a stack on a platform."""
    return dict(case(name).config.get(f"fleet:{name}", {}))


MISTAKES: dict[str, tuple[dict[str, object], tuple[str, str], str]] = {
    "an unknown option": ({"colour": "red"}, ("", ""), "There is no key `colour`. The keys here are"),
    "an option of the wrong kind": ({"": [{"x": []}]}, ("", ""), ", but it is a list."),
    "an unknown size": ({}, ("count: 1", "size: huge"), "There is no size 'huge' for web"),
    "more data disks than a machine takes": (
        {},
        ("count: 1", "data_disks: {DISKS}"),
        "data disks, and a machine of the size",
    ),
    "a lock without its image": ({}, ("", ""), "The image lock (release 44.1) has no "),
    "an unknown platform": ({}, ("", ""), "There is no platform"),
}
"""A mistake: options, what in the spec becomes what, and what is said."""


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", names())
def test_the_same_mistake_has_the_same_exit_status_on_every_platform(locked: Folder, name: str, mistake: str) -> None:
    options, (old, new), expected = MISTAKES[mistake]
    # Whichever option is the platform's first: no option is such a list.
    options = {key or next(iter(platform_class(name).options_model.model_fields)): options[key] for key in options}
    disks = ", ".join(f"d{number}: {{size_gib: 1, mount: /var/d{number}}}" for number in range(128))
    locked.edit("fleet.yaml", old, new.replace("DISKS", disks))
    if mistake == "a lock without its image":
        image = LockedImage(release="44.1", ignition_spec="3.5.0")
        write_lock(locked.path / "image.lock.yaml", ImageLock(stream="stable", architectures={"x86_64": image}))
    with pytest.raises(UsageError) as refused:
        plan(locked, "vax" if mistake == "an unknown platform" else name, **{**said(name), **options})
    assert expected in str(refused.value)


@pytest.mark.parametrize("name", names())
def test_a_node_finds_each_of_its_data_disks_by_a_link_of_its_own(locked: Folder, name: str) -> None:
    where = platform(name, said(name), project=locked.path, stack="test", config=CONFIG.get)
    links = [where.disk_link(disk) for disk in ("a", "db", "site")]
    assert len({link.path for link in links}) == 3
    for link in links:
        assert link.path.startswith("/dev/disk/")
        # What a platform's own rule makes is not among udev's own links, and the other way round.
        assert link.path.startswith("/dev/disk/by-id/") or name == "aws" or link.rule
        assert link.rule == "" or link.rule.endswith(f', SYMLINK+="{link.path[5:]}"\n')


RENAMED = [(name, old, new) for name in names() for old, new in platform_class(name).options_model.renamed.items()]


@pytest.mark.parametrize(("name", "old", "new"), RENAMED)
def test_an_option_under_its_old_name_makes_the_same_nodes_and_is_warned_of(
    locked: Folder, name: str, old: str, new: str
) -> None:
    def nodes(**options: object) -> list[object]:
        where = platform(name, {**said(name), **options}, project=locked.path, stack="test", config=CONFIG.get)
        planned = plan_spec(locked.path / "fleet.yaml", Resolver(), where, need_lock=True)
        return [(where.trigger(node), where.shape(node), node.delivery, where.image(node)) for node in planned.nodes]

    value = case(name).other[new]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FleetWarning)
        expected = nodes(**{new: value})
    with pytest.warns(FleetWarning, match=f"`{old}` is called `{new}` now. The old name still works."):
        assert nodes(**{old: value}) == expected
    with pytest.raises(UsageError, match=f"`{old}` is the old name of `{new}`, and both are set. Remove `{old}`."):
        nodes(**{old: value, new: value})


@pytest.mark.parametrize(("name", "old", "new"), RENAMED)
def test_a_mistake_in_an_option_under_its_old_name_is_said_where_and_as_it_is_written(
    locked: Folder, name: str, old: str, new: str
) -> None:
    locked.make_project("{}")
    locked.write("Pulumi.test.yaml", f"config:\n  fleet:platform: {name}\n  fleet:{name}:\n    {old}: 3\n")
    with pytest.warns(FleetWarning), pytest.raises(UsageError) as refused:
        plan(locked, name, **{**said(name), old: 3})
    assert f"Pulumi.test.yaml:4:{len(old) + 7}: `{old}` " in str(refused.value)
    assert f"`{new}`" not in str(refused.value)
    (locked.path / "Pulumi.test.yaml").unlink()
    with pytest.warns(FleetWarning), pytest.raises(UsageError, match=f"stack test: {old}: `{old}` "):
        plan(locked, name, **{**said(name), old: 3})


def test_there_are_options_that_had_another_name() -> None:
    assert {("gcp", "labels", "tags"), ("gcp", "network", "vpc"), ("digitalocean", "domain", "dns_zone")} <= {*RENAMED}


@pytest.mark.parametrize("name", names())
def test_an_option_of_the_same_meaning_has_one_name_on_every_platform(name: str) -> None:
    options = {each: set(platform_class(each).options_model.model_fields) for each in names()}
    assert not options[name] & {word for words in COMMON.values() for word in words}
    shared = {option for each in names() if each != name for option in options[each] & options[name]}
    assert shared <= COMMON.keys()
    assert set(COMMON) <= set.union(*options.values())


@pytest.mark.parametrize(
    ("said", "meant"), [("labels", "tags"), ("network", "vpc"), ("zone", "zones"), ("arch", "architecture")]
)
def test_another_providers_word_for_an_option_is_answered_with_the_option(
    locked: Folder, said: str, meant: str
) -> None:
    with pytest.raises(UsageError) as refused:
        plan(locked, "aws", **{said: "x"})
    assert f"There is no key `{said}`. Did you mean `{meant}`?" in str(refused.value)


def test_a_command_warns_once_on_standard_error_and_goes_on(locked: Folder) -> None:
    locked.make_project("{}")
    locked.write("Pulumi.test.yaml", "config:\n  fleet:platform: gcp\n  fleet:gcp: {labels: {team: web}}\n")
    result = locked.fleet("validate", "fleet.yaml", "--stack", "test")
    assert result.status == 0, result
    assert result.err == (
        "Warning: `fleet:gcp` in the config of stack test: `labels` is called `tags` now. The old name still works.\n"
    )
    rendered = locked.fleet("render", "fleet.yaml", "--stack", "test", "--node", "web-0")
    assert json.loads(rendered.out)["ignition"]


@pytest.mark.parametrize("name", names())
def test_the_planning_part_of_a_platform_knows_neither_pulumi_nor_another_platform(name: str, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fleet.platforms import platform\n"
        f"platform({name!r}, project=Path(), stack='test')\n"
        "print(*sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert f"fleet.platforms.{name}.platform" in loaded
    others = [each for each in loaded if each.startswith(tuple(f"fleet.platforms.{n}" for n in names() if n != name))]
    assert [*others, *(each for each in loaded if each.split("_")[0] == "pulumi")] == []


def test_ebs_volumes_get_their_stable_paths_in_whole_configs_and_in_stubs() -> None:
    whole = '{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/x"}]}}'
    stub = '{"ignition":{"config":{"replace":{"compression":"gzip","source":"data:;base64,"}},"version":"3.1.0"}}'
    for text in (whole, stub):
        made = with_disk_rules(text, {"db": "vol-0a1b"})
        rules = file_text(json.loads(made), "/etc/udev/rules.d/90-fleet-data-disks.rules")
        assert 'ATTRS{serial}=="vol0a1b*", SYMLINK+="disk/fleet/db"' in rules
        assert compose([Snippet("made", made, "ignition")])
    assert json.loads(made)["ignition"]["config"]["merge"] == [{"compression": "gzip", "source": "data:;base64,"}]


def test_planned_addresses_on_aws_go_round_the_zones_each_in_the_part_of_its_zone(locked: Folder) -> None:
    zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    locked.edit("fleet.yaml", "groups:\n  web:\n", PRIVATE + "10\n    capacity: 7\n")
    locked.edit("fleet.yaml", "count: 1", "count: 7")
    where = platform("aws", {"zones": zones}, project=locked.path, stack="test", config=CONFIG.get)
    assert isinstance(where, Aws)
    nodes = list(plan(locked, "aws", zones=zones).nodes)
    parts = dict(zip(zones, ("10.7.0.0/26", "10.7.0.64/26", "10.7.0.128/26"), strict=True))
    assert [where.zone(node) for node in nodes] == [zones[number % 3] for number in range(10, 17)]
    addresses = [node.private.ip for node in nodes if node.private]
    assert len(set(addresses)) == 7
    for node, address in zip(nodes, addresses, strict=True):
        part = ip_network(parts[where.zone(node)])
        assert address in part
        # The first four and the last are AWS's own.
        assert address not in [part[0], part[1], part[2], part[3], part[-1]]
    hosts = file_text(nodes[0].config.tree, "/etc/hosts")
    assert [line.split()[0] for line in hosts.splitlines()[2:]] == list(map(str, addresses))

    # One zone has the addresses that it always had.
    alone = [str(node.private) for node in plan(locked, "aws", zones=zones[:1]).nodes]
    assert alone == [f"10.7.0.{number}/24" for number in range(10, 17)]


def subnets(**ranges: str) -> list[dict[str, object]]:
    """A state with the VPC 10.77.0.0/16 of the fleet ``web`` and subnets by the last letter of their zones."""
    fleet = "urn:pulumi:test::web::fleet:components:Fleet$"
    vpc: dict[str, object] = {"urn": f"{fleet}aws:ec2/vpc:Vpc::web", "type": "aws:ec2/vpc:Vpc", "id": "vpc-1",
           "outputs": {"cidrBlock": "10.77.0.0/16"}}  # fmt: skip
    return [vpc] + [
        {
            "urn": f"{fleet}aws:ec2/subnet:Subnet::web-eu-central-1{zone}",
            "type": "aws:ec2/subnet:Subnet",
            "id": f"subnet-{zone}",
            "outputs": {"availabilityZone": f"eu-central-1{zone}", "cidrBlock": part},
        }
        for zone, part in ranges.items()
    ]


def test_subnets_on_aws_keep_their_ranges_when_zones_come_and_go(locked: Folder) -> None:
    def ranges(zones: str, state: list[dict[str, object]]) -> dict[str, str]:
        options = {"zones": [f"eu-central-1{zone}" for zone in zones]}
        where = platform("aws", options, project=locked.path, stack="test", config=CONFIG.get)
        assert isinstance(where, Aws)
        expected = with_state(plan(locked, "aws", **options), state)
        where.check_deployed(expected)
        return {zone[-1]: str(part) for zone, part in where.ranges(expected).items()}

    assert ranges("a", []) == {"a": "10.77.0.0/20"}
    assert ranges("cab", subnets(a="10.77.0.0/20", b="10.77.16.0/20")) == {
        "c": "10.77.32.0/20", "a": "10.77.0.0/20", "b": "10.77.16.0/20",
    }  # fmt: skip
    # The range of one that goes is free only once it is gone.
    assert ranges("bc", subnets(a="10.77.0.0/20", b="10.77.16.0/20"))["c"] == "10.77.32.0/20"

    # A stack whose one subnet has all of the VPC, as they once had.
    whole = subnets(a="10.77.0.0/16")
    assert ranges("a", whole) == {"a": "10.77.0.0/16"}
    with pytest.raises(UsageError, match=r"no room for a subnet in zone eu-central-1b: 10\.77\.0\.0/16 is taken"):
        ranges("ab", whole)


def test_a_disk_that_is_taken_over_changes_nothing_more_once_it_is_there(locked: Folder) -> None:
    locked.edit("fleet.yaml", "count: 1", "data_disks: {db: {size_gib: 1, mount: /var/x}}")
    where = platform("aws", {"zones": ["eu-central-1a"]}, project=locked.path, stack="test", config=CONFIG.get)

    def shape(state: list[dict[str, object]]) -> dict[str, str]:
        (node,) = with_state(plan(locked, "aws", zones=["eu-central-1a"]), state).nodes
        return dict(where.shape(node))

    def volume(id_: str) -> list[dict[str, object]]:
        kind = "aws:ebs/volume:Volume"
        urn = f"urn:pulumi:test::web::fleet:components:Node$fleet:components:DataDisk${kind}::web-0-db"
        return [{"urn": urn, "type": kind, "id": id_, "outputs": {"availabilityZone": "eu-central-1b", "size": 1}}]

    own = shape(volume("vol-1"))
    locked.edit("fleet.yaml", "    data_disks", "    nodes: {0: {data_disks: {db: vol-2}}}\n    data_disks")
    started, there = shape([]), shape(volume("vol-2"))
    assert not reshaped(started, there)
    assert reshaped(own, shape(volume("vol-1"))) == ["data disk db"]
    locked.edit("fleet.yaml", "    nodes: {0: {data_disks: {db: vol-2}}}\n", "")
    assert not reshaped(there, shape(volume("vol-2")))


def test_zones_do_not_change_on_aws_where_addresses_are_planned(locked: Folder) -> None:
    locked.edit("fleet.yaml", "groups:\n  web:\n", PRIVATE.replace("10.7.0.0/24", "10.77.0.0/16") + "10\n")
    zones = {"zones": ["eu-central-1a", "eu-central-1b"]}
    where = platform("aws", zones, project=locked.path, stack="test", config=CONFIG.get)
    for state in (subnets(a="10.77.0.0/16"), subnets(b="10.77.0.0/17", a="10.77.128.0/17")):
        with pytest.raises(UsageError, match="which would move them"):
            where.check_deployed(with_state(plan(locked, "aws", **zones), state))
    where.check_deployed(with_state(plan(locked, "aws", **zones), subnets(a="10.77.0.0/17", b="10.77.128.0/17")))
    # Of four zones and of three, each has the same part, but not the same addresses of it.
    three = {"zones": ["eu-central-1a", "eu-central-1b", "eu-central-1c"]}
    state = subnets(a="10.77.0.0/18", b="10.77.64.0/18", c="10.77.128.0/18", d="10.77.192.0/18")
    where = platform("aws", three, project=locked.path, stack="test", config=CONFIG.get)
    with pytest.raises(UsageError, match="which would move them"):
        where.check_deployed(with_state(plan(locked, "aws", **three), state))


def test_libvirt_gives_every_node_an_address_of_its_own_that_other_groups_do_not_move(locked: Folder) -> None:
    alone = {node.name: node.private for node in plan(locked, "libvirt").nodes}
    locked.edit("fleet.yaml", "groups:\n", "groups:\n  db: {count: 2}\n")
    both = {node.name: node.private for node in plan(locked, "libvirt").nodes}
    assert both["web-0"] == alone["web-0"]
    assert len(set(both.values())) == 3
    config = next(node for node in plan(locked, "libvirt").nodes if node.name == "web-0").config.tree
    keyfile = file_text(config, "/etc/NetworkManager/system-connections/fleet-private.nmconnection")
    assert f"address1={both['web-0']}\ngateway=10.78.0.1\ndns=10.78.0.1;" in keyfile


OWNERS = st.tuples(*[st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9._-]{,99}", fullmatch=True)] * 2,
                   st.from_regex(r"[a-z]([a-z0-9-]{,61}[a-z0-9])?", fullmatch=True),
                   st.from_regex(r"([a-z]([a-z0-9-]{,56}[a-z0-9])?)?", fullmatch=True))  # fmt: skip


@given(OWNERS, OWNERS)
@example(("p", "prod", "web", "db"), ("p", "prod", "web-db", ""))
@example(("p", "prod", "web", "a-b"), ("p", "prod", "web-a", "b"))
@example(("p", "PROD", "web", "db"), ("p", "prod", "web", "db"))
@example(("p", "my.prod", "web", ""), ("p", "my_prod", "web", ""))
@example(("p", "prod", "web", "db"), ("q", "prod", "web", "db"))
def test_no_two_groups_of_all_projects_stacks_and_fleets_share_a_tag(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    def tag(project: str, stack: str, fleet: str, group: str) -> str:
        return Tags(project, stack, fleet, "").tag(group)

    assert (tag(*one) == tag(*other)) is (one == other)
    # What Google Cloud takes, DigitalOcean does, too.
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", tag(*one))
