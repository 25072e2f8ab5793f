"""One table for every platform: the same spec, the same changes, the same assertions, on the real engine.

QEMU's process is a stand-in, and so are the clouds; AWS's is moto's EC2 behind the provider.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from fleet.images import Disk, ImageLock, LockedImage, write_lock
from fleet.images.lock import GcpImage
from tests.conftest import STACK, Result
from tests.engine.cloud import PORT, Cloud, DigitalOcean, Gcp, Libvirt, World, serving
from tests.engine.cloud_aws import Aws
from tests.engine.conftest import Stack, looked_at

REGION = "eu-central-1"
CLOUDS: dict[str, tuple[type[Cloud], str]] = {
    "aws": (Aws, f"aws:region: {REGION}"),
    "gcp": (Gcp, "gcp:project: shop\n  gcp:zone: europe-west3-a"),
    "digitalocean": (DigitalOcean, 'fleet:digitalocean: {region: fra1, ssh_keys: ["1"]}'),
    "libvirt": (Libvirt, "fleet:libvirt: {cidr: 127.78.0.0/16}"),
}

STATELESS = """\
name: web
{more}groups:
  web:
    count: {count}
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {{GREETING: "{greeting}"}}
    ready: [{{http: {{port: 8080}}}}]
    ready_timeout: 8
"""
SPEC = (
    STATELESS
    + """\
    data_disks:
      site: {{size_gib: 1, mount: /var/site{disk}}}
"""
)


@dataclass(frozen=True)
class Running:
    """A machine as a user sees it from outside."""

    id: str
    address: str
    config: str
    image: str
    disks: frozenset[str]


class Place(Protocol):
    """A stack on a platform, and what is there."""

    def write(self, greeting: str, *, count: int = 2, more: str = "", disk: str = "") -> None: ...
    def lock(self, release: str) -> None: ...
    def fleet(self, command: str, *arguments: str) -> Result: ...
    def running(self) -> dict[str, Running]: ...
    def disks(self) -> dict[str, int]: ...
    def started(self) -> list[str]: ...


class _Place:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def write(self, greeting: str, *, count: int = 2, more: str = "", disk: str = "") -> None:
        self.stack.write("fleet.yaml", SPEC.format(count=count, greeting=greeting, more=more, disk=disk))

    def lock(self, release: str) -> None:
        base = self.stack.path / f"{release}.qcow2"
        base.write_bytes((self.stack.path / "base.qcow2").read_bytes() + release.encode())
        digest = hashlib.sha256(base.read_bytes()).hexdigest()
        disk = Disk(location=str(base), sha256=digest, uncompressed_sha256=digest)
        remote = disk.model_copy(update={"location": f"https://example.org/{release}.qcow2.gz"})
        image = LockedImage(
            release=release,
            ignition_spec="3.5.0",
            disks={"qemu": disk, "digitalocean": remote},
            aws={REGION: f"ami-{digest[:17]}"},
            gcp=GcpImage(project="fedora-coreos-cloud", name=f"fedora-coreos-{release.replace('.', '-')}"),
        )
        write_lock(self.stack.path / "image.lock.yaml", ImageLock(stream="stable", architectures={"x86_64": image}))

    def fleet(self, command: str, *arguments: str) -> Result:
        return self.stack.fleet(command, *STACK, *arguments)


class QemuPlace(_Place):
    def running(self) -> dict[str, Running]:
        found = {}
        for folder in (self.stack.path / ".fleet/test/nodes").glob("*"):
            index = int(folder.name.rpartition("-")[2])
            disks = (self.stack.path / ".fleet/test/disks").glob(f"{folder.name}-*")
            found[folder.name] = Running(
                (folder / "qemu.pid").read_text(),
                str(8080 + 1000 * index),
                (folder / "config.ign").read_text(),
                self._image(folder),
                frozenset(disk.name for disk in disks),
            )
        return found

    def _image(self, folder: Path) -> str:
        root = next(folder.glob("*.qcow2"))
        return root.read_bytes()[:4096].split(b".qcow2")[0][-12:].decode(errors="replace")

    def disks(self) -> dict[str, int]:
        folder = self.stack.path / ".fleet/test/disks"
        return {disk.name: disk.stat().st_ino for disk in folder.iterdir()} if folder.exists() else {}

    def started(self) -> list[str]:
        return self.stack.started()


class CloudPlace(_Place):
    def __init__(self, stack: Stack, world: World, cloud: Cloud) -> None:
        super().__init__(stack)
        self.world, self.cloud = world, cloud

    @property
    def state(self) -> Path:
        """The file with the stack's state."""
        (found,) = self.stack.path.glob(".pulumi/stacks/*/test.json")
        return found

    def running(self) -> dict[str, Running]:
        outputs = json.loads(self.state.read_text())["checkpoint"]["latest"]
        shown = next(r for r in outputs["resources"] if r["type"] == "pulumi:pulumi:Stack")["outputs"]["nodes"]
        found = {}
        for machine in self.world.machines.values():
            address = shown[machine.node]["address"]
            assert address in machine.addresses, (machine, address)
            found[machine.node] = Running(
                machine.id, address, machine.user_data, machine.image, frozenset(machine.disks)
            )
        assert len(found) == len(self.world.machines)
        return found

    def disks(self) -> dict[str, int]:
        return dict(self.world.disks)

    def started(self) -> list[str]:
        return self.world.started()


@pytest.fixture(params=["qemu", *CLOUDS])
def place(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Place]:
    if request.param == "qemu":
        made: _Place = QemuPlace(stack)
        made.lock("44.1")
        yield made
        return
    with cloud(request.param, stack) as there:
        there.lock("44.1")
        yield there


@pytest.fixture
def aws(stack: Stack) -> Iterator[CloudPlace]:
    with cloud("aws", stack) as there:
        there.lock("44.1")
        yield there


class cloud:  # noqa: N801  (used like a function)
    """A stack on a cloud's stand-in."""

    def __init__(self, name: str, stack: Stack, *, config: str = "", tls: Path | None = None, port: int = PORT) -> None:
        self._kind, given = CLOUDS[name]
        self._config = config or given
        self._name, self._stack = name, stack
        self._world = World(tls, port)

    def __enter__(self) -> CloudPlace:
        self._cloud = self._kind(self._world)
        self._serving = serving(self._cloud)
        self._stack.environment["PULUMI_DEBUG_PROVIDERS"] = self._serving.__enter__()
        self._stack.environment["DIGITALOCEAN_TOKEN"] = "a-token"
        self._stack.write("Pulumi.test.yaml", f"config:\n  fleet:platform: {self._name}\n  {self._config}\n")
        return CloudPlace(self._stack, self._world, self._cloud)

    def __exit__(self, *_: object) -> None:
        self._stack.fleet("destroy", *STACK, "--yes")
        self._serving.__exit__(None, None, None)
        self._cloud.close()
        self._world.close()


def test_every_platform_does_the_same_with_the_same_spec(place: Place) -> None:
    place.write("one")
    assert place.fleet("up").status == 0
    first = place.running()
    assert sorted(first) == ["web-0", "web-1"]
    assert place.started() == ["web-0", "web-1"]
    disks = place.disks()
    assert len(disks) == 2
    assert sorted(disk for node in first.values() for disk in node.disks) == sorted(disks)

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

    # Another config: each node is another machine, with the same disk and at the same address.
    place.write("two")
    changed = place.fleet("up")
    assert changed.status == 0, changed
    second = place.running()
    assert place.started() == ["web-0", "web-1"]
    for name, node in second.items():
        assert node.id != first[name].id
        assert node.address == first[name].address
        assert node.disks == first[name].disks
        assert "GREETING=two" in node.config.replace("%22", "").replace("%20", " ")
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


def test_an_unready_node_stops_a_rollout_on_every_platform(place: Place) -> None:
    place.write("one")
    assert place.fleet("up").status == 0
    before = place.running()
    place.started()
    place.write("sick")
    failed = place.fleet("up")
    assert failed.status == 1
    assert "Node web-0 is not ready: http port 8080 / was not content within 8 s" in failed.err
    assert place.started() == ["web-0"]
    assert place.running()["web-1"] == before["web-1"]
    assert place.fleet("up").status == 1
    assert place.started() == []
    place.write("well")
    assert place.fleet("up").status == 0
    assert place.started() == ["web-0", "web-1"]
    assert {disk for node in place.running().values() for disk in node.disks} == set(place.disks())


def test_stateless_nodes_surge_and_their_address_moves_only_to_a_machine_that_is_ready(aws: CloudPlace) -> None:
    aws.stack.write("fleet.yaml", STATELESS.format(count=3, more="", greeting="one"))
    assert aws.fleet("up").status == 0
    first = aws.running()
    aws.started()

    # A new machine that is not ready leaves the old one where it is, and its address with it.
    aws.stack.write("fleet.yaml", STATELESS.format(count=3, more="", greeting="sick"))
    assert aws.fleet("up").status == 1
    assert aws.started() == ["web-0"]
    assert {machine.id for machine in aws.world.machines.values()} > {node.id for node in first.values()}
    for node in first.values():
        assert node.address in aws.world.machines[node.id].addresses

    # Once it is well, all move, no address is ever without a ready machine, and no old machine is left.
    aws.stack.write("fleet.yaml", STATELESS.format(count=3, more="", greeting="two"))
    with looked_at([f"{node.address}:8080" for node in first.values()]) as down:
        done = aws.fleet("up")
    assert done.status == 0, done
    assert max(down) == 0
    second = aws.running()
    assert {name: node.address for name, node in second.items()} == {name: node.address for name, node in first.items()}
    assert not {node.id for node in second.values()} & {node.id for node in first.values()}
    assert "nothing changes" in aws.fleet("up").out


def test_a_snapshot_is_taken_before_each_re_provisioning_if_asked_and_kept(aws: CloudPlace) -> None:
    aws.write("one", count=1, disk=", snapshot: true")
    assert aws.fleet("up").status == 0
    taken = len(aws.world.snapshots)
    aws.write("two", count=1, disk=", snapshot: true")
    assert aws.fleet("up").status == 0
    assert aws.world.snapshots[taken:] == list(aws.disks())
    assert "nothing changes" in aws.fleet("up").out


def test_a_data_disk_that_was_left_is_taken_over(aws: CloudPlace) -> None:
    aws.write("one", count=1)
    assert aws.fleet("up").status == 0
    (disk,) = aws.disks()
    kept = aws.fleet("destroy", "--yes")
    assert f"web-0-site kept: {disk}" in kept.out
    aws.write("one", count=1)
    aws.stack.edit(
        "fleet.yaml", "    count: 1\n", f"    count: 1\n    nodes: {{0: {{data_disks: {{site: {disk}}}}}}}\n"
    )
    taken = aws.fleet("up")
    assert taken.status == 0, taken
    assert aws.running()["web-0"].disks == {disk}
    assert list(aws.disks()) == [disk]
    assert "nothing changes" in aws.fleet("up").out


@pytest.mark.parametrize("platform", ["aws", "gcp"])
def test_a_config_that_is_too_large_for_user_data_goes_through_the_object_store(stack: Stack, platform: str) -> None:
    _, config = CLOUDS[platform]
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
        place.write("one")
        stack.edit("fleet.yaml", "    count: 2", "    count: 2\n    snippets: [large.bu]")
        up = place.fleet("up")
        assert up.status == 0, up
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
