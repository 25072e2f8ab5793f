"""One table for every platform: the same spec, the same changes, the same assertions, on the real engine.

QEMU's process is a stand-in, and so are the clouds; AWS's is moto's EC2 behind the provider.
"""

from __future__ import annotations

import hashlib
import json
import random
import re

import pytest

from fleet.dynamic.tokens import NODE
from tests.engine import reports
from tests.engine.cases import CLOUDS, SLOWLY, case
from tests.engine.on.aws import REGION, Aws
from tests.engine.places import STATELESS, CloudPlace, Place, cloud
from tests.engine.secrecy import digests, text_of
from tests.engine.stack import Stack, looked_at


def test_every_platform_does_the_same_with_the_same_spec(place: Place) -> None:
    place.write("one")
    assert place.fleet("up").status == 0
    first = place.running()
    assert sorted(first) == ["web-0", "web-1"]
    assert place.started() == ["web-0", "web-1"]
    disks = place.disks()
    assert len(disks) == 2
    assert sorted(disk for node in first.values() for disk in node.disks) == sorted(disks)
    # The state has a config where the platform is given it, and beside the node only if that is another one.
    nodes = [each["outputs"] for each in place.state()["resources"] if each["type"] == NODE]
    is_another = isinstance(place, CloudPlace) and place.cloud.package in ("aws", "digitalocean")
    assert [sorted({"config", "packed"} & node.keys()) for node in nodes] == [["packed"] * is_another] * 2

    # Nothing changed: nothing is done.
    assert "nothing changes" in place.fleet("up").out
    assert place.fleet("status").status == 0
    assert place.running() == first

    # One node by hand, with nothing changed.
    replaced = place.fleet("replace", "web-1")
    assert replaced.status == 0, replaced
    assert place.started() == ["web-1"]
    assert place.running()["web-0"] == first["web-0"]
    assert place.running()["web-1"].disks == first["web-1"].disks
    assert "nothing changes" in place.fleet("up").out

    # By hand again, when the spec has another config already: it keeps its own.
    place.write("two")
    assert re.search(r"-.*GREETING=one.*\n.*\+.*GREETING=two", place.fleet("diff").out)
    retained = place.fleet("replace", "web-1")
    assert retained.status == 0, retained
    assert "web-1  keeps its deployed config" in retained.out
    assert place.started() == ["web-1"]
    assert place.running()["web-1"].config == first["web-1"].config
    assert place.running()["web-1"].disks == first["web-1"].disks
    assert place.disks() == disks

    # Another config: each node is another machine, with the same disk and at the same address.
    changed = place.fleet("up")
    assert changed.status == 0, changed
    second = place.running()
    assert place.started() == ["web-0", "web-1"]
    for name, node in second.items():
        assert node.id != first[name].id
        assert node.address == first[name].address
        assert node.disks == first[name].disks
        assert "GREETING=two" in reports.text_of(node.config).replace("%22", "").replace("%20", " ")
    assert place.disks() == disks

    # More and fewer nodes: the others are not touched.
    place.write("two", count=3)
    assert place.fleet("up").status == 0
    assert place.started() == ["web-2"]
    place.write("two", count=1)
    assert place.fleet("up").status == 0
    assert place.started() == []
    assert place.running() == {"web-0": second["web-0"]}
    assert place.disks().items() >= disks.items()

    # Another image: nothing by itself, and all nodes if asked.
    place.lock("44.2")
    assert place.fleet("up").status == 0
    assert place.started() == []
    assert place.running() == {"web-0": second["web-0"]}
    assert place.fleet("up", "--new-image").status == 0
    third = place.running()["web-0"]
    assert place.started() == ["web-0"]
    assert third.image != second["web-0"].image
    assert (third.disks, third.address) == (second["web-0"].disks, second["web-0"].address)
    assert "nothing changes" in place.fleet("up").out

    # Nothing is left but data disks.
    gone = place.fleet("destroy", "--yes")
    assert gone.status == 0, gone
    assert gone.out.count("kept: ") == 1
    assert place.disks().items() >= disks.items()


def test_a_rollout_stops_at_a_node_whose_container_restarts_though_its_probe_answers(place: Place) -> None:
    reachable = "report_from: [127.0.0.0/8]\n"
    place.write("one", more=reachable)
    assert place.fleet("up").status == 0
    before = place.running()
    place.started()

    place.trouble("web-0", {"hello": reports.UNKNOWN_IMAGE})
    status = place.fleet("status")
    assert status.status == 1
    assert "hello restarts, 12 times" in status.out
    place.write("two", more=reachable)
    failed = place.fleet("up")
    assert failed.status == 1
    cause = "container hello: its image cannot be pulled: the registry has no such image or tag"
    assert f"Node web-0 is not ready after 8 s: {cause}" in failed.err
    assert place.started() == ["web-0"]
    assert place.running()["web-1"] == before["web-1"]

    # The same machine, once what it lacks is there.
    place.trouble("web-0", {})
    up = place.fleet("up")
    assert up.status == 0
    assert place.started() == ["web-1"], up
    assert place.fleet("status").status == 0


@pytest.mark.parametrize("name", [each for each in SLOWLY if each.values[0] not in ("libvirt", "qemu", "toy")])
def test_where_nobody_can_know_of_containers_probes_decide_and_that_is_told(name: str, stack: Stack) -> None:
    with cloud(name, stack) as place:
        place.lock("44.1")
        place.write("one", count=1)
        place.trouble("web-0", {"hello": reports.RESTARTS})
        up = place.fleet("up")
        assert up.status == 0, up
        assert "web-0  whether its containers run is not known: neither `report_from` nor `ssh_from`" in up.out + up.err
        assert place.fleet("status").status == 0


@pytest.mark.parametrize("place", SLOWLY, indirect=True)
def test_an_unready_node_holds_the_others_back_on_every_platform(place: Place) -> None:
    place.write("one", count=3)
    assert place.fleet("up").status == 0
    before = place.running()
    pages = [place.page(f"web-{index}") for index in range(3)]
    place.started()

    # The new config makes it so.
    place.write("sick", count=3)
    with looked_at(pages) as down:
        failed = place.fleet("up")
    assert failed.status == 1
    assert "Node web-0 is not ready: http port 8080 / timed out after 8 s" in failed.err
    assert place.started() == ["web-0"]
    assert place.running()["web-1"] == before["web-1"]
    assert place.fleet("up").status == 1
    assert place.started() == []
    place.write("well", count=3)
    with looked_at(pages) as later:
        assert place.fleet("up").status == 0
    assert place.started() == ["web-0", "web-1", "web-2"]
    assert max(down) == max(later) == 1
    assert {disk for node in place.running().values() for disk in node.disks} == set(place.disks())

    # It is so when a new config comes: it goes first.
    place.sicken("web-1")
    place.write("two", count=3)
    with looked_at([pages[0], pages[2]]) as down:
        failed = place.fleet("up")
    assert failed.status == 1
    assert "Not ready, so re-provisioned first: web-1." in failed.out
    assert place.started() == ["web-1"]
    assert max(down) == 0
    place.heal("web-1")
    assert place.fleet("up").status == 0
    assert place.started() == ["web-0", "web-2"]


@pytest.mark.parametrize("place", ["aws", "digitalocean"], indirect=True)
def test_stateless_nodes_surge_and_their_address_moves_only_to_a_machine_that_is_ready(place: CloudPlace) -> None:
    place.stack.write("fleet.yaml", STATELESS.format(count=3, more="", greeting="one"))
    assert place.fleet("up").status == 0
    first = place.running()
    place.started()

    # A new machine that is not ready leaves the old one where it is, and its address with it.
    place.stack.write("fleet.yaml", STATELESS.format(count=3, more="", greeting="sick"))
    assert place.fleet("up").status == 1
    assert place.started() == ["web-0"]
    assert {machine.id for machine in place.world.machines.values()} > {node.id for node in first.values()}
    for node in first.values():
        assert node.address in place.world.machines[node.id].addresses

    # Once it is well, all move, no address is ever without a ready machine, and no old machine is left.
    place.stack.write("fleet.yaml", STATELESS.format(count=3, more="", greeting="two"))
    with looked_at([f"{node.address}:8080" for node in first.values()]) as down:
        result = place.fleet("up")
    assert result.status == 0, result
    assert max(down) == 0
    second = place.running()
    assert {name: node.address for name, node in second.items()} == {name: node.address for name, node in first.items()}
    assert not {node.id for node in second.values()} & {node.id for node in first.values()}
    assert "nothing changes" in place.fleet("up").out


@pytest.mark.parametrize("place", ["aws", "gcp", "digitalocean"], indirect=True)
def test_a_snapshot_is_taken_before_each_re_provisioning_if_asked_and_kept(place: CloudPlace) -> None:
    place.write("one", count=1, disk=", snapshot: true")
    assert place.fleet("up").status == 0
    taken = len(place.world.snapshots)
    place.write("two", count=1, disk=", snapshot: true")
    assert place.fleet("up").status == 0
    assert place.world.snapshots[taken:] == list(place.disks())
    assert "nothing changes" in place.fleet("up").out


@pytest.mark.parametrize("place", CLOUDS, indirect=True)
def test_a_data_disk_that_was_left_is_taken_over(place: CloudPlace) -> None:
    place.write("one", count=1)
    assert place.fleet("up").status == 0
    (disk,) = place.disks()
    retained = place.fleet("destroy", "--yes")
    assert f"web-0-site kept: {disk}" in retained.out
    place.write("one", count=1)
    place.stack.edit(
        "fleet.yaml", "    count: 1\n", f"    count: 1\n    nodes: {{0: {{data_disks: {{site: {disk}}}}}}}\n"
    )
    taken = place.fleet("up")
    assert taken.status == 0, taken
    assert place.running()["web-0"].disks == {disk}
    assert list(place.disks()) == [disk]
    assert "nothing changes" in place.fleet("up").out


@pytest.mark.parametrize("platform", ["aws", "gcp"])
def test_a_config_that_is_too_large_for_user_data_goes_through_the_object_store(stack: Stack, platform: str) -> None:
    config = case(platform).text
    account = {"aws": "instance_profile: reader", "gcp": "service_account: reader@shop"}[platform]
    config += f"\n  fleet:{platform}: {{bucket: configs, {account}}}"
    noise = random.Random(0).randbytes(300_000).hex()
    stack.write(
        "large.bu",
        "variant: fcos\nversion: 1.6.0\nstorage: {files: [{path: /etc/large, contents: {inline: " + noise + "}}]}\n",
    )
    with cloud(platform, stack, config=config) as place:
        place.lock("44.1")
        if isinstance(place.cloud, Aws):
            place.cloud.s3.create_bucket(Bucket="configs", CreateBucketConfiguration={"LocationConstraint": REGION})
        secret = "secrets: {pin: {env: PIN}}\nvariables: {pin: {secret: pin}}\n"
        place.write("pin ${pin}", count=1, more=secret)
        stack.edit("fleet.yaml", "    count: 1", "    count: 1\n    snippets: [large.bu]")
        configs = []
        for pin in ("4711", "4712"):
            stack.environment["PIN"] = pin
            up = place.fleet("up")
            assert up.status == 0, up
            rendered = stack.fleet("render", "fleet.yaml", "--stack", "test", "--node", "web-0", "--reveal").out.strip()
            configs += [rendered, *(running.config for running in place.running().values())]
            assert not digests(configs, text_of(place.state())), "a PIN could be guessed"
        for running in place.running().values():
            stub = json.loads(running.config)["ignition"]["config"]
            # On AWS the stub itself names the data disks, so what it fetches is merged.
            stub = stub["merge"][0] if platform == "aws" else stub["replace"]
            scheme, _, rest = stub["source"].partition("://")
            bucket, _, key = rest.partition("/")
            assert (scheme, bucket) == ({"aws": "s3", "gcp": "gs"}[platform], "configs")
            if isinstance(place.cloud, Aws):
                stored = place.cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            else:
                (stored,) = (o["content"].encode() for o in place.cloud.of("BucketObject").values() if o["name"] == key)
            assert stub["verification"]["hash"] == "sha512-" + hashlib.sha512(stored).hexdigest()
            assert noise in stored.decode()
        assert "nothing changes" in place.fleet("up").out


@pytest.mark.parametrize(
    ("platform", "old", "new"),
    [("gcp", "labels: {a: b}", "tags: {a: b}"), ("digitalocean", "domain: x.org", "dns_zone: x.org")],
)
def test_an_option_gets_its_new_name_and_nothing_changes(stack: Stack, platform: str, old: str, new: str) -> None:
    config = case(platform).text
    options = "region: fra1, ssh_keys: ['1'], " if platform == "digitalocean" else ""
    config = "" if options else f"{config}\n  "
    with cloud(platform, stack, config=f"{config}fleet:{platform}: {{{options}{old}}}") as place:
        place.lock("44.1")
        place.write("one", count=1)
        first = place.fleet("up")
        assert first.status == 0, first
        assert first.err.count("The old name still works.") == 1
        plain = stack.pulumi("preview", "--stack", "test", "--non-interactive", "--expect-no-changes")
        assert plain.status == 0, plain
        assert (
            f"warning: `fleet:{platform}` in the config of stack test: `{old.partition(':')[0]}` is called" in plain.out
        )
        stack.edit("Pulumi.test.yaml", old, new)
        repeated = place.fleet("up")
        assert (repeated.status, "Warning" in repeated.err) == (0, False), repeated
        assert "nothing changes" in repeated.out
