"""``fleet validate --stack``: what it passes, a preview passes, and the other way round."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fleet.cli.app import app
from fleet.errors import FleetError
from fleet.images import ImageLock, write_lock
from fleet.plan import Disk, LockedImage
from fleet.program.stack_plan import plan_stack
from fleet.project import Project
from tests.conftest import Folder

CONFIG: dict[str, dict[str, object]] = {
    "qemu": {},
    "libvirt": {},
    "aws": {"aws:region": "eu-central-1"},
    "gcp": {"gcp:project": "shop", "gcp:zone": "europe-west3-a"},
    "digitalocean": {"fleet:digitalocean": {"region": "fra1", "ssh_keys": ["1"]}},
}
DISK = "data_disks: {%s: {size_gib: 1, mount: /var/x%s}}"
SPECS = [
    {},
    {"count: 1": "size: huge"},
    {"count: 1": 'size: "4x8192"'},
    {"count: 1": "size: t3.micro"},
    {"count: 1": "count: 70"},
    {"count: 1": DISK % ("site", "")},
    {"count: 1": DISK % ("a--b", "")},
    {"count: 1": DISK % ("site", ", snapshot: true")},
    {"count: 1": "rollout: {strategy: surge}"},
    {"count: 1": "names: [www.example.com]"},
    {"  web:\n": f"  {'w' * 50}:\n"},
    {"groups:\n  web:\n": "network: {cidr: 10.7.0.0/24}\ngroups:\n  web:\n    addresses_from: 1\n"},
    {"groups:\n": "groups:\n  db: {count: 2, ports: [8080]}\n"},
]
OPTIONS: list[dict[str, object]] = [
    {},
    {"colour": 1},
    {"root_size_gib": 5},
    {"public_addresses": False},
    {"zones": ["europe-west3-a", "us-east1-b"]},
    {"architecture": "aarch64"},
    {"bridge": "br0"},
    {"dns_zone": "example.org"},
    {"host_ports": {"web-0:22": 8080}},
    {"ssh_keys": []},
]


@pytest.fixture
def locked(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "GOOGLE_PROJECT", "GOOGLE_ZONE", "DIGITALOCEAN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
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
    both = {"x86_64": image, "aarch64": image}
    write_lock(folder.path / "image.lock.yaml", ImageLock(stream="stable", architectures=both))
    folder.make_project("{}")
    return folder


def stack_file(platform: str, options: dict[str, object]) -> str:
    config = {"fleet:platform": platform, **CONFIG[platform]}
    own = config.get(f"fleet:{platform}", {})
    assert isinstance(own, dict)
    return yaml.safe_dump({"config": {**config, f"fleet:{platform}": {**own, **options}}})


def mistakes() -> Iterator[tuple[dict[str, str], dict[str, object]]]:
    """One in the spec, one in the options, or one in each."""
    return itertools.product(SPECS, OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("platform", list(CONFIG))
def test_validate_refuses_exactly_what_a_preview_refuses(
    locked: Folder, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, text = locked.path / "fleet.yaml", (locked.path / "fleet.yaml").read_text()

    def validated() -> str:
        monkeypatch.delenv("DIGITALOCEAN_TOKEN", raising=False)
        result = CliRunner().invoke(app, ["validate", str(spec), "--stack", "test"])
        assert result.exception is None or isinstance(result.exception, FleetError), result.exception
        return str(result.exception or "")

    def previewed() -> str:
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", "a-token")
        config = Project.around(spec).plain_config("test")
        try:
            plan_stack(spec, config.get, project="web", folder=locked.path, stack="test")
        except FleetError as error:
            return str(error)
        return ""

    refused, passed = 0, 0
    for changes, options in mistakes():
        changed = text
        for old, new in changes.items():
            assert old in changed
            changed = changed.replace(old, new)
        locked.write("fleet.yaml", changed)
        locked.write("Pulumi.test.yaml", stack_file(platform, options))
        message = validated()
        assert message == previewed(), (changes, options)
        refused, passed = refused + bool(message), passed + (not message)
    assert refused > 30
    assert passed > 5


def test_validate_needs_neither_secrets_nor_passphrase_nor_lock_nor_pulumi(
    folder: Folder, refused: Callable[..., str], tmp_path: Path
) -> None:
    folder.make_project("{}")
    folder.edit(
        "fleet.yaml",
        "groups:",
        "secrets: {key: {env: KEY}, other: {config: other}}\nvariables: {a: {config: a}}\ngroups:",
    )
    folder.write(
        "Pulumi.test.yaml",
        "encryptionsalt: v1:x\nconfig:\n  fleet:platform: aws\n  fleet:aws: {zones: [eu-central-1a]}\n  web:a: 1\n"
        "  web:other:\n    secure: v1:y\n",
    )
    folder.edit("fleet.yaml", "count: 1", "count: ${a}\n    size: t3.micro")
    del folder.environment["PULUMI_CONFIG_PASSPHRASE"]
    bare = {"PATH": str(tmp_path)}
    result = folder.fleet("validate", "fleet.yaml", "--stack", "test", **bare)
    assert (result.status, result.out) == (0, "fleet.yaml: valid; nodes: web-0.\n"), result
    # As the stack's platform has it, and no other.
    folder.edit("fleet.yaml", "t3.micro", "4x8192")
    assert "such as t3.small" in refused("validate", "fleet.yaml", "--stack", "test", status=2, **bare)
    other = refused("validate", "fleet.yaml", "--stack", "test", "--platform", "qemu", status=2, **bare)
    assert "Stack test is on aws, not on qemu. Leave out `--platform`." in other
    missing = refused("validate", "fleet.yaml", "--stack", "tset", status=2, **bare)
    assert "There is no stack tset in project web. Did you mean `test`? Its stacks: test." in missing


@pytest.mark.system
def test_a_stacks_config_is_read_as_pulumi_reads_it(folder: Folder) -> None:
    folder.write(
        "Pulumi.yaml",
        'name: web\nruntime: python\nbackend: {url: "file://."}\n'
        "config:\n  size: {default: small}\n  aws:region: {value: eu-central-1}\n  count: {default: 3}\n",
    )
    folder.write(
        "Pulumi.test.yaml",
        "config:\n  fleet:platform: qemu\n  web:count: 2\n  web:share: 1.50\n  web:flag: true\n  web:word: yes\n"
        '  web:text: "007"\n  web:list: [a, 1, true]\n  web:folded: >-\n    one\n    two\n'
        "  fleet:qemu: {port_offset: 100, host_ports: {web-0:22: 17}}\n",
    )
    assert folder.pulumi("stack", "init", "test").status == 0
    shown = folder.pulumi("config", "--json", "--stack", "test")
    assert shown.status == 0, shown
    real = {key: entry["value"] for key, entry in json.loads(shown.out).items()}
    read = Project.around(folder.path / "fleet.yaml").plain_config("test")

    def meant(text: str) -> object:
        return json.loads(text) if text.startswith(("{", "[")) else text

    assert {key: meant(value) for key, value in read.items()} == {key: meant(value) for key, value in real.items()}


def test_a_disk_that_the_state_knows_is_judged_without_pulumi_or_a_passphrase(folder: Folder) -> None:
    folder.make_project("{}")
    folder.edit("fleet.yaml", "    count: 1\n", "    count: 1\n    data_disks: {site: {size_gib: 1, mount: /var/x}}\n")
    components = "urn:pulumi:test::web::fleet:components:Node$fleet:components:DataDisk"
    kind = "pulumi-python:dynamic/fleet:QemuDisk"
    path = str(folder.write("web-0-site.qcow2", ""))
    outputs = {"path": path, "size_gib": 2}
    disk = {"urn": f"{components}${kind}::web-0-site", "type": kind, "id": path, "outputs": outputs}
    state = {"version": 3, "checkpoint": {"latest": {"resources": [disk]}}}
    folder.write(".pulumi/stacks/web/test.json", json.dumps(state))
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PATH"):
        folder.environment.pop(name)
    refused = folder.fleet("validate", "fleet.yaml", "--stack", "test")
    assert refused.status == 2
    assert "Data disk web-0-site has 2 GiB and cannot shrink to 1 GiB." in refused.err
    folder.edit("fleet.yaml", "size_gib: 1", "size_gib: 2")
    assert folder.fleet("validate", "fleet.yaml", "--stack", "test").status == 0
    assert [file.name for file in (folder.path / ".pulumi").rglob("*") if file.is_file()] == ["test.json"]
