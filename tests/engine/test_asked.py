"""No machine is replaced unasked: every option of a platform and every key of the spec, changed to another value.

What is changed is generated from the models, and what replaces a machine is in the facts of the providers' schemas. An
option or a key that is new has to get a value here, where none can be derived.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

from fleet.dynamic.gate import reshaped
from fleet.images import read_lock, write_lock
from fleet.plan import NodePlan
from fleet.planner import plan_spec
from fleet.platforms import names, platform_class
from fleet.platforms import platform as platform_of
from fleet.platforms.base import Platform
from fleet.spec import Resolver
from fleet.spec.model import FleetSpec, Group
from fleet.workloads import Workload
from tests.engine.cases import QUADLET, case
from tests.engine.cloud import FACTS
from tests.engine.places import Place, QemuPlace
from tests.engine.stack import OFFSET

FLEET_KEYS: dict[str, Any] = {
    "name": "shop",
    "image": {"reprovision": "always"},
    "ssh_authorized_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWvfMYo3MSA/K6q8D86r me"],
    "network": {"cidr": "127.80.0.0/16"},
    "ssh_from": ["203.0.113.0/24"],
    "report": {"port": 7791},
    "report_from": ["203.0.113.0/24"],
    "secrets": {"token": {"env": "TOKEN"}},
    "variables": {"greeting": "hello"},
}
GROUP_KEYS: dict[str, Any] = {
    "count": 2,
    "containers": {"hello": {"image": "docker.io/library/caddy:2", "environment": {"GREETING": "two"}}},
    "snippets": [{"use": "time-zone", "zone": "Europe/Berlin"}],
    "compose": "compose.yaml",
    "quadlets": ["two.container"],
    "data_disks": {"site": {"size_gib": 1, "mount": "/var/site"}},
    "ports": [8080, 9443],
    "ready": [{"http": {"port": 8080, "path": "/other"}, "interval": 0.1}],
    "ready_timeout": 9,
    "settle": 1,
    "addresses_from": 10,
    "capacity": 17,
    "nodes": {0: {"snippets": [{"use": "sysctl", "values": {"vm.swappiness": "1"}}]}},
    "rollout": {"pause": 0.1},
    "drain": {"function": "drains:drain"},
    "after": ["db"],
    "size": "large",
    "names": ["web.example.org"],
    "metadata_guard": False,
}
TOGETHER = {
    ("group", "addresses_from"): {("fleet", "network")},
    ("fleet", "network"): {("group", "addresses_from")},
    ("option", "bucket"): {("option", "instance_profile"), ("option", "service_account")},
}
"""Options and keys that need other ones."""

GROUP: dict[str, Any] = {
    "count": 2,
    "containers": {"hello": {"image": "docker.io/library/caddy:2", "environment": {"GREETING": "one"}}},
    "ports": [8080],
    "ready": [{"http": {"port": 8080}, "interval": 0.1}],
    "ready_timeout": 8,
}


@dataclass(frozen=True)
class Change:
    """A change of one option, or of one key of the spec: where, and the new value."""

    where: Literal["option", "fleet", "group"]
    key: str
    value: Any


def options_of(name: str) -> Iterator[Change]:
    """Another value for each option of a platform."""
    for key, field in platform_class(name).options_model.model_fields.items():
        if key in case(name).other:
            value = case(name).other[key]
        elif field.annotation is bool:
            value = not field.default
        elif field.annotation is int:
            value = field.default + 1
        elif field.annotation is IPv4Network:
            value = "127.81.0.0/16"
        elif get_origin(field.annotation) is Literal:
            value = next(word for word in get_args(field.annotation) if word != field.default)
        else:
            pytest.fail(f"{name} has a new option, {key}: give it another value in its case, tests/engine/on")
        yield Change("option", key, value)


def keys() -> Iterator[Change]:
    """Another value for each key of the spec. Those of a workload make the config; one stands for all of them."""
    parts: list[tuple[Literal["fleet", "group"], Any, dict[str, Any]]] = [
        ("fleet", FleetSpec.model_fields.keys() - {"groups", "version"}, FLEET_KEYS),
        ("group", Group.model_fields.keys() - Workload.model_fields.keys() | {"containers"}, GROUP_KEYS),
    ]
    for where, fields, values in parts:
        assert fields == values.keys(), f"give what is new another value: {fields ^ values.keys()}"
        for key, value in values.items():
            yield Change(where, key, value)


class Changing:
    """A stack whose options and spec are changed."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name, self.folder = place, name, place.stack.path
        place.stack.environment["TOKEN"] = "a-secret"
        lock = read_lock(self.folder / "image.lock.yaml")
        both = dict.fromkeys(("x86_64", "aarch64"), lock.architectures["x86_64"])
        write_lock(self.folder / "image.lock.yaml", lock.model_copy(update={"architectures": both}))
        self.write([])

    def write(self, changes: list[Change]) -> None:
        """The baseline with changes."""
        config = {"fleet:platform": self.name, **case(self.name).config}
        options = dict(config.get(f"fleet:{self.name}", {}))
        spec: dict[str, Any] = {"name": "web"}
        group = dict(GROUP)
        for change in changes:
            {"option": options, "fleet": spec, "group": group}[change.where][change.key] = change.value
            if change.key == "after":
                spec["groups"] = {"db": {"count": 0}}
        config[f"fleet:{self.name}"] = options
        spec["groups"] = {"web": group, **spec.get("groups", {})}
        settings = {"encryptionsalt": salt} if (salt := self._salt()) else {}
        self.place.stack.write("Pulumi.test.yaml", yaml.safe_dump({**settings, "config": config}))
        self.place.stack.write("fleet.yaml", yaml.safe_dump(spec))
        self.place.stack.write("compose.yaml", "services: {one: {image: docker.io/library/caddy:2}}\n")
        self.place.stack.write("two.container", QUADLET)
        self.place.stack.write("drains.py", "def drain(node, address):\n    pass\n")
        self._options = {key: value for key, value in config.items() if not key.startswith("fleet:")}, options

    def _salt(self) -> str:
        content = yaml.safe_load((self.folder / "Pulumi.test.yaml").read_text())
        return str(content.get("encryptionsalt") or "")

    def plan(self) -> tuple[Platform, list[NodePlan]]:
        """The plan as it is written."""
        config, options = self._options
        where = platform_of(self.name, options, project=self.folder, stack="test", config=config.get)
        plan = plan_spec(self.folder / "fleet.yaml", Resolver(), where, need_lock=True, check=False)
        return where, list(plan.nodes)

    def preview(self) -> list[dict[str, Any]]:
        """What the engine would do."""
        result = self.place.stack.pulumi("preview", "--json", "--stack", "test", "--non-interactive")
        assert result.status == 0, result.out[-1500:]
        steps: list[dict[str, Any]] = json.loads(result.out)["steps"]
        return steps


@pytest.mark.parametrize("place", names(), indirect=True)
def test_no_option_and_no_key_of_the_spec_replaces_a_machine_unasked_and_without_a_reason(
    place: Place, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["place"]
    stack = Changing(place, name)
    up = place.fleet("up")
    assert up.status == 0, up
    platform, (first, _) = stack.plan()
    replaced = set(platform.replaced_types)

    # What of each change, alone, is said to re-provision the first node.
    gated: dict[tuple[str, str], tuple[Change, set[str]]] = {}
    calm: list[Change] = []
    every = [each for each in [*options_of(name), *keys()] if each.key not in case(name).refused]
    for change in every:
        others = TOGETHER.get((change.where, change.key), set())
        stack.write([*(each for each in every if (each.where, each.key) in others), change])
        other, (node, *_) = stack.plan()
        words = set(reshaped(platform.shape(first), other.shape(node)))
        if node.config.digest != first.config.digest:
            words.add("config")
        if other.trigger(node) != platform.trigger(first):
            assert words, f"{change} re-provisions nodes, and no reason would be shown"
        if words:
            gated[change.where, change.key] = change, words
        else:
            calm.append(change)

    # All that is said to re-provision none, at once: it does not.
    stack.write(calm)
    steps = stack.preview()
    assert not [step for step in steps if _type(step) in replaced and step["op"] not in ("same", "update")], calm

    # All the rest: the gates are asked, and each change is a reason.
    changed: set[str] = set()
    masked = {at for at in gated if at[1] in case(name).masked}
    for batch in (gated.keys() - masked, masked):
        if not batch:
            continue
        stack.write([change for at, (change, _) in gated.items() if at in batch])
        steps = stack.preview()
        for node_name in ("web-0", "web-1"):
            own = {_type(step): step for step in steps if step["urn"].endswith(f"::{node_name}")}
            assert own[platform.machine_type]["op"] in ("replace", "create-replacement", "delete-replaced"), batch
            assert own["pulumi-python:dynamic/fleet:Gate"]["op"] == "update", batch
        shown = {node["node"]: node for node in json.loads(place.fleet("diff", "--json").out)}["web-0"]["reasons"]
        for at in batch:
            for word in gated[at][1] - {"config"}:
                assert any(reason.startswith(f"{word} changed") for reason in shown), (at, word, shown)
        assert shown, batch
        for step in steps:
            if _type(step) == platform.machine_type and "newState" in step:
                changed |= _differences(step.get("oldState", {}).get("inputs", {}), step["newState"]["inputs"])

    # Every input for which the provider replaces a machine was among what changed.
    if name != "qemu":
        facts = json.loads((FACTS / f"{name}.json").read_text())["resources"][platform.machine_type]["inputs"]
        machine = next(r for r in place.state()["resources"] if r["type"] == platform.machine_type)
        left = {key for key in machine["inputs"] if facts.get(key, {}).get("replaces")} - changed
        assert left == set(case(name).unchanged), "what changes these, and is the gate asked then?"

    # A peer is sick: nothing is touched.
    place.started()
    running = place.running()
    place.sicken("web-1")
    stack.write([change for change in every if change.key == case(name).hard])
    refused = place.stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
    assert refused.status != 0
    assert "Node web-0 is left as it is: web-1 is not ready" in refused.out
    assert place.started() == []
    assert place.running() == running
    place.heal("web-1")
    stack.write([])


def _type(step: Mapping[str, Any]) -> str:
    return str(step["urn"].split("::")[2].rpartition("$")[2])


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


def test_a_state_of_an_earlier_fleet_notes_its_nodes_shapes_and_nothing_changes(qemu: QemuPlace) -> None:
    qemu.write("one", count=1)
    assert qemu.fleet("up").status == 0
    qemu.started()
    state = json.loads(qemu.state_file.read_text())
    for resource in state["checkpoint"]["latest"]["resources"]:
        for part in ("inputs", "outputs"):
            for key in ("shape", "missing", "look"):
                resource.get(part, {}).pop(key, None)
    qemu.state_file.write_text(json.dumps(state))
    assert "nothing changes" in qemu.fleet("up").out
    qemu.stack.edit("Pulumi.test.yaml", f"port_offset: {OFFSET}", f"port_offset: {OFFSET}, root_size_gib: 11")
    assert "web-0  re-provision: root_size_gib changed from 10 to 11\n" in qemu.fleet("preview").out
    assert qemu.started() == []


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        ("qemu", f"port_offset: {OFFSET}", f"port_offset: {OFFSET + 300}"),
        ("libvirt", "cidr: 127.78.0.0/16", "cidr: 127.79.0.0/16"),
    ],
    indirect=["place"],
)
def test_peers_are_asked_where_they_are_deployed_though_their_addresses_are_to_change(
    place: Place, old: str, new: str
) -> None:
    place.write("one", count=3)
    assert place.fleet("up").status == 0
    place.started()
    place.sicken("web-1")
    place.stack.edit("Pulumi.test.yaml", old, new)
    refused = place.stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
    assert refused.status != 0
    assert "Node web-0 is left as it is: web-1 is not ready" in refused.out
    assert place.started() == []
    place.heal("web-1")
    moved = place.stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
    assert moved.status == 0, moved
    assert place.started() == ["web-0", "web-1", "web-2"]
