"""Stacks that an earlier fleet has deployed: the project of each, with its state, in ``states/<platform>``.

They are what users have, but for what is new in data disks' units. A fleet of today takes them over without a change,
and reads all that their states name: type tokens, the providers that Pulumi has pickled into them, functions.

``pytest tests/engine/write_states.py`` writes them anew, which is for a new kind of resource, or a change that
re-provisions nodes on purpose and that CHANGELOG.md tells: the old ones are the test. In them, secrets of the state are
in plain text, times and places in programs are left out, and the project's folder is :data:`PROJECT`.

:func:`restore` puts one where it can be worked with. Machines are started under the ids that the state has; clouds
create once more what it names (:meth:`tests.engine.cloud.Cloud.restore`). Where the project's folder is, two inputs of
QEMU's machines and gates follow from it; they are computed as the earlier fleet did.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.engine.places import REGION, CloudPlace, Place
from tests.engine.stack import Stack

STATES = Path(__file__).with_name("states")
PLATFORMS = sorted(folder.name for folder in STATES.iterdir())
"""Those that the earlier fleet had; one that came since has no state of it."""
PROJECT = "@PROJECT@"
STATE = ".pulumi/stacks/web/test.json"
PIN = "hunter4711"
"""The secret that is in the environment."""
ENVELOPE = "4dabf18193072939515e22adb298388d"
"""The key by which Pulumi knows what is a secret in a state."""
_NO_REASON = ("image", "follow_image", "accelerator", "__provider")
"""Inputs of a QEMU machine that are no part of its trigger."""
_PASSING = ("created", "modified", "sourcePosition", "stackTrace")
"""What a state says of a resource that is different each time, or wherever the code is."""

NETWORK = "network: {cidr: 127.78.0.0/24}\n"
SPEC = """\
name: web
ssh_from: ["203.0.113.0/24"]
secrets:
  pin: {env: PIN}
  db: {config: db_password, generate: {}}
variables: {pin: {secret: pin}}
@NETWORK@groups:
  web:
    count: 2
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {GREETING: "@GREETING@"}
        secrets: [db]
    ready:
      - {http: {port: 8080, path: "/${pin}"}, interval: 0.1}
      - {ssh: {command: "true ${pin}"}, interval: 0.1}
    ready_timeout: 8
    names: [web.example.org]
@WEB@  db:
    count: 1
    snippets: [@SNIPPET@]
    containers:
      store:
        image: docker.io/library/postgres:17
        ports: ["8080:5432"]
        environment: {GREETING: "@GREETING@"}
    data_disks:
      data: {size_gib: 1, mount: /var/db@DISK@}
    ready: [{http: {port: 8080}, interval: 0.1}]
    ready_timeout: 8
    drain: {function: "drains:drain"}
    after: [web]
@DB@"""
PROGRAMS = {
    "__main__.py": "from fleet.spec.deploy import main\n\nmain()\n",
    "drains.py": """\
import os


def drain(node, address):
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(f"0 drained-{node}\\n")
""",
}
"""What the earlier projects have of Python. Where their program imports from is as fixed as what the state names."""
NOISE = random.Random(0).randbytes(13_000).hex()
"""What does not fit into user data, however it is packed."""
LARGE = "variant: fcos\nversion: 1.6.0\nstorage: {files: [{path: /etc/large, contents: {inline: " + NOISE + "}}]}\n"
ADDRESSED = {
    "@NETWORK@": NETWORK,
    "@WEB@": "    addresses_from: 20\n    capacity: 4\n",
    "@DB@": "    addresses_from: 30\n    capacity: 4\n",
}
SNAPSHOT = {"@DISK@": ", snapshot: true"}
WORDS: Mapping[str, Mapping[str, str]] = {
    "qemu": ADDRESSED,
    "aws": {**SNAPSHOT, "@SNIPPET@": "base.bu, large.bu"},
    "gcp": {**ADDRESSED, **SNAPSHOT},
    "digitalocean": SNAPSHOT,
    "libvirt": ADDRESSED,
}
"""By platform: what the spec says where all that it has is to be in the state."""
CONFIG = {
    "aws": f"aws:region: {REGION}\n  fleet:aws: {{dns_zone: Z1, bucket: configs, instance_profile: reader}}",
    "gcp": "gcp:project: shop\n  gcp:zone: europe-west3-a\n  fleet:gcp: {dns_zone: home}",
    "digitalocean": 'fleet:digitalocean: {region: fra1, ssh_keys: ["1"], domain: example.org}',
    "libvirt": "fleet:libvirt: {}",
}
FILES = ("Pulumi.yaml", "Pulumi.test.yaml", "fleet.yaml", "image.lock.yaml", "base.bu", "large.bu")


def spec(platform: str, greeting: str) -> str:
    """The spec of a platform's stack."""
    text = SPEC
    words = {"@NETWORK@": "", "@WEB@": "", "@DB@": "", "@DISK@": "", "@SNIPPET@": "base.bu", **WORDS[platform]}
    for word, meaning in {**words, "@GREETING@": greeting}.items():
        text = text.replace(word, meaning)
    return text


def prepare(place: Place) -> None:
    """What is beside a stack, on the machine and in the cloud, before it is deployed."""
    stack = place.stack
    stack.environment["PIN"] = PIN
    for name, text in PROGRAMS.items():
        stack.write(name, text)
    ssh = stack.tools / "ssh"
    ssh.write_text("#!/bin/sh\n")
    ssh.chmod(0o755)
    if isinstance(place, CloudPlace) and place.cloud.package == "aws":
        place.cloud.s3.create_bucket(Bucket="configs", CreateBucketConfiguration={"LocationConstraint": REGION})  # type: ignore[attr-defined]


def save(platform: str, place: Place) -> None:
    """Keep a deployed stack as ``states/<platform>``."""
    stack, folder = place.stack, STATES / platform
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in FILES:
        if (stack.path / name).exists():
            (folder / name).write_text((stack.path / name).read_text().replace(str(stack.path), PROJECT))
    state = json.loads(place.state_file.read_text())
    state["checkpoint"]["latest"]["resources"] = resources_of(stack)
    text = json.dumps(_lasting(state), indent=1, sort_keys=True).replace(str(stack.path), PROJECT)
    assert str(stack.path.parent) not in text
    (folder / "state.json").write_text(text + "\n")
    assert located(text, stack.path) == json.loads(text.replace(PROJECT, str(stack.path)))


def restore(platform: str, place: Place) -> list[dict[str, Any]]:
    """Put the stack that was kept in ``states/<platform>`` in the place of a new one, with all that it has running;
    gives the resources of its state, with secrets as a state has them in plain text.
    """
    stack, folder = place.stack, STATES / platform
    # Its image file is there.
    place.lock("44.1")
    for file in folder.iterdir():
        if file.name in FILES:
            stack.write(file.name, file.read_text().replace(PROJECT, str(stack.path)))
    text = (folder / "state.json").read_text()
    # QEMU's machines are known by their ids among all processes of this host.
    for identity in sorted(set(re.findall(r'"((?:web|db)-\d-[0-9a-f]{8})"', text))):
        text = text.replace(identity, f"{identity[:-8]}{secrets.token_hex(4)}")
    state = located(text, stack.path)
    stack.write(STATE, json.dumps(state))
    stack.write(".pulumi/meta.yaml", "version: 1\n")
    prepare(place)
    resources: list[dict[str, Any]] = state["checkpoint"]["latest"]["resources"]
    if isinstance(place, CloudPlace):
        place.cloud.restore(plain(resources))
    else:
        _start(stack, plain(resources))
    return resources


def resources_of(stack: Stack) -> list[dict[str, Any]]:
    """The resources of a stack's state, with secrets in plain text."""
    exported = stack.pulumi("stack", "export", "--stack", "test", "--show-secrets")
    assert exported.status == 0, exported
    resources: list[dict[str, Any]] = json.loads(exported.out)["deployment"]["resources"]
    return resources


def by_urn(resources: list[dict[str, Any]]) -> dict[str, Any]:
    """What a state says of each resource, without what may be different each time: the order of dependencies, too."""
    listed = _lasting(resources)
    for resource in listed:
        # Of what a provider's check has left out, the engine notes what it would have been made of.
        if "propertyDependencies" in resource:
            inputs = resource.get("inputs", {})
            resource["propertyDependencies"] = {
                k: v for k, v in resource["propertyDependencies"].items() if k in inputs
            }
        for dependencies in (resource.get("dependencies"), *resource.get("propertyDependencies", {}).values()):
            (dependencies or []).sort()
    named = {each["urn"]: each for each in listed}
    assert len(named) == len(listed)
    return named


def located(text: str, folder: Path) -> dict[str, Any]:
    """A kept state, as the earlier fleet would have written it in another folder."""
    state: dict[str, Any] = json.loads(text.replace(PROJECT, str(folder)))
    triggers = {}
    for machine in _of(state, "QemuMachine"):
        own = hashlib.sha256(str(Path(machine["inputs"]["folder"]).parents[1]).encode()).digest()
        port = 20000 + int.from_bytes(own[3:5], "big") % 10000
        for part in ("inputs", "outputs"):
            machine[part]["private"][0] = f"239.{own[0]}.{own[1]}.{own[2]}:{port}"
        properties = {key: value for key, value in plain(machine["inputs"]).items() if key not in _NO_REASON}
        triggers[_name(machine)] = hashlib.sha256(json.dumps(properties, sort_keys=True).encode()).hexdigest()
    for gate in _of(state, "Gate"):
        if trigger := triggers.get(_name(gate)):
            for part in ("inputs", "outputs"):
                secret = isinstance(gate[part]["trigger"], dict)
                gate[part]["trigger"] = sealed(trigger) if secret else trigger
    return state


def plain(value: Any) -> Any:
    """A part of a state, with secrets as what they are."""
    if isinstance(value, dict):
        if ENVELOPE in value:
            return json.loads(value["plaintext"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def sealed(value: Any) -> dict[str, str]:
    """A secret in a state."""
    return {ENVELOPE: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(value)}


def _start(stack: Stack, resources: list[dict[str, Any]]) -> None:
    for resource in resources:
        inputs = resource.get("inputs", {})
        if resource["type"].endswith(":QemuDisk"):
            disk = Path(inputs["path"])
            disk.parent.mkdir(parents=True, exist_ok=True)
            size = f"{inputs['size_gib']}G"
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, size], check=True)
        elif resource["type"].endswith(":QemuMachine"):
            folder = Path(inputs["folder"])
            folder.mkdir(parents=True)
            (folder / "node.json").write_text(json.dumps({"id": resource["id"]}))
            (folder / "config.ign").write_text(inputs["ignition"])
            base = str(Path(inputs["image"]["location"]))
            root = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, "root.qcow2"]
            subprocess.run(["qemu-img", *root], cwd=folder, check=True)
            forwards = [f"hostfwd={kind}:{inputs['bind']}:{host}-:{port}" for kind, host, port in inputs["forwards"]]
            ports = ",".join(forwards)
            command = [stack.tools / "qemu-system-x86_64", "-name", resource["id"], "-accel", "tcg", "-netdev", ports]
            subprocess.run(command, cwd=folder, env=stack.environment, check=True)
    stack.started()


def _lasting(state: Any) -> Any:
    if isinstance(state, dict):
        retained = {key: _lasting(value) for key, value in state.items() if key not in _PASSING}
        return {**retained, "time": "2026-01-01T00:00:00Z"} if "time" in retained and "magic" in retained else retained
    return [_lasting(item) for item in state] if isinstance(state, list) else state


def _of(state: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    resources = state["checkpoint"]["latest"]["resources"]
    yield from (each for each in resources if each["type"] == f"pulumi-python:dynamic/fleet:{kind}")


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rpartition("::")[2]
