"""Data disks never get a twin: whatever changes, each node's disk is the disk that it was, or nothing is touched."""

from __future__ import annotations

import copy
import importlib
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pydantic.fields import FieldInfo

from fleet import platforms
from fleet.errors import FleetError
from fleet.model import Model
from fleet.plan import FleetPlan
from fleet.planner import plan_spec
from fleet.platforms import Platform, names
from fleet.program.state import with_state
from fleet.spec import Resolver
from fleet.spec.model import FleetSpec, Group, NodeOverride
from fleet.workloads import DataDisk
from tests.engine.cases import CLOUDS, QUADLET, case
from tests.engine.cloud import FACTS
from tests.engine.places import Place, QemuPlace, cloud
from tests.engine.stack import Stack

REGION = "eu-central-1"
ZONES = f"aws:region: {REGION}\n  fleet:aws: {{zones: [eu-central-1a, eu-central-1b]}}"
VALUES: dict[str, dict[str, Any]] = {
    "FleetSpec": {
        "name": "shop", "image": {"reprovision": "always"}, "ssh_authorized_keys": ["ssh-ed25519 AAAA me"],
        "secrets": {"token": {"env": "PATH"}}, "variables": {"colour": "red"}, "network": {"cidr": "127.77.0.0/24"},
        "ssh_from": ["127.0.0.0/8"], "report": False, "report_from": ["127.0.0.0/8"],
    },
    "Group": {
        "containers": {"hello": {"image": "docker.io/library/caddy:3"}}, "pods": {"pod": {}}, "networks": {"net": {}},
        "volumes": {"vol": {}}, "images": {}, "builds": {}, "users": {}, "snippets": ["base.bu"], "compose": "",
        "quadlets": ["two.container"],
        "ports": [8090], "ready": [], "addresses_from": None, "drain": {"function": "draining:drain"}, "after": [],
        "size": "medium", "names": ["web.example.org"], "rollout": {"strategy": "recreate"}, "count": 2, "settle": 20,
    },
    "DataDisk": {"size_gib": [3, 1], "mount": "/var/elsewhere", "owner": "core", "mode": "0750"},
    "NodeOverride": {"snippets": ["base.bu"], "data_disks": {"site": "/of/another"}},
}  # fmt: skip
"""Valid values that are not the default, where none can be made of a field's type; a list for ``size_gib``: each."""
COMPANIONS: dict[str, dict[str, Any]] = {"network": {"addresses_from": 10}}
"""What a group has to have beside another value of a field."""
REFUSED_LATER = ("NodeOverride.data_disks", "fleet:qemu.state_dir")
"""A disk to take over that does not exist, which only the platform knows, and a folder that is moved while the machine
in it has the ports: refused in a preview, too, but by the engine."""
WALKED = {"groups", "data_disks", "nodes", "version"}
"""Fields whose models have an entry of their own; of versions of the spec, there is one."""
BASE: dict[str, Any] = {
    "version": 1,
    "name": "web",
    # The stand-in for QEMU ends by itself where it has nothing to serve.
    "groups": {"web": {"ports": [8080], "data_disks": {"site": {"size_gib": 2, "mount": "/var/site"}}}},
}

Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""Changes a spec, and a stack's config."""


def other(values: Mapping[str, Any], owner: str, name: str, field: FieldInfo) -> list[Any]:
    """Other valid values of a model's field: those that are known, or what its type has.

    Raises:
        LookupError: None is known: add one to :data:`VALUES`, or to the platform's case.
    """
    if name in values:
        value = values[name]
        return list(value) if name == "size_gib" else [value]
    if field.annotation is bool:
        return [not field.default]
    if field.annotation is int and isinstance(field.default, int):
        return [field.default + 1]
    if typing.get_origin(field.annotation) is typing.Literal:
        return [next(value for value in typing.get_args(field.annotation) if value != field.default)]
    raise LookupError(f"no other value is known for {name} of {owner}")


def changes(platform: str) -> Iterator[tuple[str, Change]]:
    """A change of each field of the options and of the spec, and of each key of the provider's config."""
    options: type[Model] = platforms.platform_class(platform).options_model
    key = f"fleet:{platform}"
    for name, field in options.model_fields.items():
        for value in other(case(platform).other_for_disks, platform, name, field):
            yield f"{key}.{name}", _in_options(key, name, value)
    places: list[tuple[type[Model], Callable[[dict[str, Any]], dict[str, Any]]]] = [
        (FleetSpec, lambda spec: spec),
        (Group, lambda spec: spec["groups"]["web"]),
        (DataDisk, lambda spec: spec["groups"]["web"]["data_disks"]["site"]),
        (NodeOverride, lambda spec: spec["groups"]["web"].setdefault("nodes", {}).setdefault(0, {})),
    ]
    for model, place in places:
        for name, field in model.model_fields.items():
            if name in WALKED and model is not NodeOverride:
                continue
            for value in other(VALUES[model.__name__], model.__name__, name, field):
                yield f"{model.__name__}.{name} = {value}", _in_spec(place, name, value)
    for name, values in case(platform).other_config.items():
        for value in values:
            yield f"{name} = {value}", _in_config(name, value)


def _in_options(key: str, name: str, value: object) -> Change:
    return lambda _, config: config.setdefault(key, {}).update({name: value})


def _in_config(name: str, value: object) -> Change:
    return lambda _, config: config.update({name: value})


def _in_spec(place: Callable[[dict[str, Any]], dict[str, Any]], name: str, value: object) -> Change:
    def change(spec: dict[str, Any], _: dict[str, Any]) -> None:
        place(spec).update({name: value})
        spec["groups"]["web"].update(COMPANIONS.get(name, {}))

    return change


class Recorder:
    """Stands for a provider's SDK: keeps what is declared, by the resource's name."""

    def __init__(self, seen: dict[str, Mapping[str, Any]]) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> Recorder:
        return Recorder(self._seen)

    def __call__(self, /, *arguments: Any, **inputs: Any) -> Recorder:
        if arguments and isinstance(arguments[0], str):
            values = inputs or (arguments[1] if len(arguments) > 1 else {})
            self._seen[arguments[0]] = {key: value for key, value in values.items() if key != "opts"}
        return Recorder(self._seen)


def planned(stack: Stack, platform: str, config: dict[str, Any]) -> tuple[FleetPlan, Platform]:
    """What the folder's spec plans with a stack's config."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    where = platforms.platform(
        platform, config.get(f"fleet:{platform}"), project=stack.path, stack="test", config=texts.get
    )
    return plan_spec(stack.path / "fleet.yaml", Resolver(), where, need_lock=True), where


def registered(stack: Stack, platform: str, config: dict[str, Any], patch: pytest.MonkeyPatch) -> Any:
    """The inputs of the data disks of a spec, and their options, without a state."""
    plan, where = planned(stack, platform, config)
    seen: dict[str, Mapping[str, Any]] = {}
    module = f"fleet.platforms.{platform}.site"
    patch.setattr(f"{module}.{'QemuDisk' if platform == 'qemu' else platform}", Recorder(seen))
    site = where.site(plan, pulumi.ResourceOptions())
    seen.clear()
    for node in plan.nodes:
        for disk in node.disks:
            options = f"existing {disk.existing}"
            site.data_disk(node, disk, pulumi.ResourceOptions())
            seen[f"{node.name}-{disk.name}"] = {**seen[f"{node.name}-{disk.name}"], "": options}
    patch.undo()
    return seen


def refusal(plan: FleetPlan, where: Platform, state: list[dict[str, Any]]) -> FleetError | None:
    """Why what is deployed cannot become what is planned."""
    try:
        where.check_deployed(with_state(plan, state))
    except FleetError as error:
        return error
    return None


def disks_of(place: Place) -> dict[str, frozenset[str]]:
    """The disks that each node's machine has."""
    if isinstance(place, QemuPlace):
        machines = [r["outputs"] for r in place.state()["resources"] if r["type"].endswith("QemuMachine")]
        return {machine["name"]: frozenset(Path(path).name for _, path in machine["disks"]) for machine in machines}
    return {name: node.disks for name, node in place.running().items()}


@pytest.mark.parametrize("place", names(), indirect=True)
def test_no_option_and_no_key_of_a_spec_makes_a_second_data_disk(
    place: Place, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, stack = request.node.callspec.params["place"], place.stack

    def write(*wanted: Change) -> dict[str, Any]:
        spec, config = copy.deepcopy(BASE), copy.deepcopy(dict(case(platform).config))
        for change in wanted:
            change(spec, config)
        stack.write("fleet.yaml", yaml.safe_dump(spec))
        stack.write("two.container", QUADLET)
        stack.write("Pulumi.test.yaml", yaml.safe_dump({"config": {"fleet:platform": platform, **config}}))
        return config

    before = registered(stack, platform, write(), monkeypatch)
    reaching: dict[str, Change] = {}
    for name, change in changes(platform):
        config = write(change)
        try:
            after = registered(stack, platform, config, monkeypatch)
        except FleetError:
            # Refused in itself, whatever is deployed.
            continue
        finally:
            monkeypatch.undo()
        if name.partition(" ")[0] in case(platform).config or any(after.get(disk) != before[disk] for disk in before):
            reaching[name] = change
    # What is known to reach a disk, so that this does not pass for want of a change.
    assert {"DataDisk.size_gib = 3", "DataDisk.size_gib = 1", "NodeOverride.data_disks = {'site': '/of/another'}"} <= (
        reaching.keys()
    )

    write()
    up = place.fleet("up")
    assert up.status == 0, up
    disks, running, attached = place.disks(), place.running(), disks_of(place)
    place.started()
    accepted, state = [], place.state()["resources"]
    for name, change in reaching.items():
        error = refusal(*planned(stack, platform, write(change)), state)
        if error:
            shown = place.fleet("preview")
            assert (shown.status, shown.err) == (error.exit_code, f"Error: {error}\n")
        elif name.startswith(REFUSED_LATER):
            assert place.fleet("preview").err.count("Error: ") == 1
        else:
            accepted.append(change)
        assert (set(place.disks()), place.running()) == (set(disks), running), name
    assert accepted or platform == "libvirt"
    write(*accepted)
    result = place.fleet("up")
    assert result.status == 0, (result, list(reaching))
    assert set(place.disks()) == set(disks)
    assert disks_of(place) == attached
    assert "nothing changes" in place.fleet("up").out
    write()


@pytest.mark.parametrize("platform", CLOUDS)
def test_every_input_that_would_make_a_new_disk_is_ignored(platform: str) -> None:
    facts = json.loads((Path(FACTS) / f"{platform}.json").read_text())["resources"][case(platform).disk_type]["inputs"]
    module = importlib.import_module(f"fleet.platforms.{platform}.site")
    assert {name for name, fact in facts.items() if fact.get("replaces")} <= set(module.FIXED)


def test_a_zone_more_on_aws_leaves_every_node_at_its_disk(stack: Stack) -> None:
    with cloud("aws", stack, config=ZONES) as place:
        place.lock("44.1")
        write(place, "one")
        first = place.fleet("up")
        assert first.status == 0, first
        disks, before = disks_of(place), place.disks()
        place.started()

        stack.edit("Pulumi.test.yaml", "eu-central-1b]", "eu-central-1b, eu-central-1c]")
        more = place.fleet("up")
        assert more.status == 0, more
        assert (
            "Data disk web-2-site keeps its zone eu-central-1a: only a new disk could have eu-central-1c." in more.out
        )
        assert (place.started(), place.disks(), disks_of(place)) == ([], before, disks)

        # Another config, by plain Pulumi, with a zone less; a second disk of a node is made where the first one is.
        stack.edit("Pulumi.test.yaml", "eu-central-1a, eu-central-1b, ", "")
        write(place, "two")
        stack.edit("fleet.yaml", "      site:", "      a: {size_gib: 1, mount: /var/a}\n      site:")
        plain = stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
        assert plain.status == 0, plain
        assert "Data disk web-1-site keeps its zone eu-central-1b" in plain.out + plain.err
        assert place.started() == ["web-0", "web-1", "web-2"]
        assert place.disks().items() >= before.items()
        assert {name: len(now - disks[name]) for name, now in disks_of(place).items()} == dict.fromkeys(disks, 1)
        assert all(disks_of(place)[name] >= disks[name] for name in disks)
        assert "nothing changes" in place.fleet("up").out


def write(place: Place, greeting: str, *, count: int = 3) -> None:
    """A spec whose nodes are ready at once."""
    place.write(greeting, count=count)
    place.stack.edit("fleet.yaml", "    ready: [{http: {port: 8080}, interval: 0.1}]\n", "")


@pytest.mark.parametrize(("place", "grown"), [("libvirt", "cannot grow it to 2 GiB"), ("gcp", "")], indirect=["place"])
def test_a_size_that_a_disk_cannot_have_is_refused_before_anything_is_stopped(place: Place, grown: str) -> None:
    write(place, "one", count=1)
    assert place.fleet("up").status == 0
    disks, running = place.disks(), place.running()
    place.started()
    write(place, "two", count=1)
    place.stack.edit("fleet.yaml", "size_gib: 1", "size_gib: 2")
    if not grown:
        assert place.fleet("up").status == 0
        assert set(place.disks()) == set(disks)
        running = place.running()
        place.started()
        write(place, "three", count=1)
        grown = "has 2 GiB and cannot shrink to 1 GiB"
    for refused in (place.fleet("preview").err, place.fleet("up").err):
        assert f"Data disk web-0-site has {'1' if 'grow' in grown else '2'} GiB" in refused
        assert grown in refused
    plain = place.stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
    assert plain.status != 0
    assert grown in plain.out + plain.err
    assert "Traceback" not in plain.out + plain.err
    assert (place.started(), place.running(), set(place.disks())) == ([], running, set(disks))
