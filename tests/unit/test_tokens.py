"""What states name of fleet. A list here that has to be changed means that states of today are not read any more."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dill
import pytest

from fleet.dynamic import tokens
from fleet.dynamic.drain import Drain
from fleet.dynamic.gate import Gate
from fleet.dynamic.provider import DynamicResource
from fleet.dynamic.ready import Ready
from fleet.dynamic.record import Record
from fleet.errors import FleetError
from fleet.platforms.qemu.resource import QemuDisk, QemuMachine

STATES = Path(__file__).parent.parent / "engine/states"
PROVIDERS = {
    "pulumi-python:dynamic/fleet:Drain": ("fleet.components.drain", "DrainProvider"),
    "pulumi-python:dynamic/fleet:Gate": ("fleet.components.gate", "GateProvider"),
    "pulumi-python:dynamic/fleet:QemuDisk": ("fleet.platforms.qemu", "DiskProvider"),
    "pulumi-python:dynamic/fleet:QemuMachine": ("fleet.platforms.qemu", "MachineProvider"),
    "pulumi-python:dynamic/fleet:Ready": ("fleet.components.ready", "ReadyProvider"),
    "pulumi-python:dynamic/fleet:Record": ("fleet.components.record", "RecordProvider"),
}
"""By type: the module and the class that the pickle of the provider names."""
FUNCTIONS = {
    "fleet.platforms.aws.console:Console",
    "fleet.platforms.gcp.console:Console",
    "fleet.platforms.libvirt.console:Console",
    "fleet.platforms.libvirt:missing",
    "fleet.platforms.qemu:missing",
    "fleet.platforms.qemu_machine:Standing",
    "fleet.platforms.qemu_machine:Watcher",
}
OUTPUTS = {
    "fleet:components:DataDisk": {"place"},
    "fleet:components:Fleet": set(),
    "fleet:components:Node": {"address", "config", "digest", "shape"},
    "fleet:components:NodeGroup": set(),
    "pulumi-python:dynamic/fleet:Drain": {"address", "function", "instance", "node", "timeout", "watch"},
    "pulumi-python:dynamic/fleet:Gate": {
        "down", "follow_image", "image", "look", "members", "missing", "node", "pause", "roster", "shape", "trigger",
    },
    "pulumi-python:dynamic/fleet:QemuDisk": {"path", "size_gib"},
    "pulumi-python:dynamic/fleet:QemuMachine": {
        "accelerator", "bind", "cpus", "digest", "disks", "folder", "follow_image", "forwards", "image", "memory_mib",
        "name", "private", "root_size_gib",
    },
    "pulumi-python:dynamic/fleet:Ready": {
        "address", "endpoints", "hidden", "instance", "node", "probes", "timeout", "watch",
    },
    "pulumi-python:dynamic/fleet:Record": {"configs", "digest", "previous"},
}  # fmt: skip
"""By type: the names of outputs. ``tests/engine/test_earlier.py`` sees that what is written now is as in the states."""
OWN: list[type[DynamicResource]] = [Drain, Gate, QemuDisk, QemuMachine, Ready, Record]


def kept() -> Iterator[dict[str, Any]]:
    """All resources of all kept states that are fleet's own."""
    for file in sorted(STATES.glob("*/state.json")):
        for resource in json.loads(file.read_text())["checkpoint"]["latest"]["resources"]:
            if resource["type"].startswith(("fleet:", tokens.OWN)):
                yield resource


def test_states_name_these_types_and_outputs() -> None:
    outputs: dict[str, set[str]] = {}
    for resource in kept():
        outputs.setdefault(resource["type"], set()).update(resource.get("outputs", {}).keys() - {tokens.PROVIDER})
    assert outputs == OUTPUTS
    ours = {value for name, value in vars(tokens).items() if name.isupper() and str(value).startswith("fleet:")}
    assert ours | {kind.state_type for kind in OWN} == OUTPUTS.keys()
    assert {tokens.DRAIN, tokens.GATE, tokens.READY, tokens.RECORD} < PROVIDERS.keys()


def test_every_resource_of_fleet_s_own_names_its_provider_as_states_do() -> None:
    assert {kind.state_type for kind in DynamicResource.__subclasses__() if kind.__module__.startswith("fleet.")} == (
        PROVIDERS.keys()
    )
    written = {kind.state_type: kind.state_provider for kind in OWN}
    for resource in kept():
        if resource["type"] in PROVIDERS:
            assert resource["inputs"][tokens.PROVIDER] == written[resource["type"]]
            assert resource["outputs"][tokens.PROVIDER] == written[resource["type"]]
    for type_, (module, name) in PROVIDERS.items():
        assert written[type_] == tokens.pickled(f"{module}:{name}")
        assert type(dill.loads(base64.b64decode(written[type_]))).__name__ == name


def test_states_name_these_functions_and_they_are_there() -> None:
    named = {
        resource[part][key]["function"]
        for resource in kept()
        for part in ("inputs", "outputs")
        for key in ("look", "watch")
        if key in resource.get(part, {})
    }
    assert named < FUNCTIONS
    for name in FUNCTIONS:
        assert callable(tokens.function(name))


@pytest.mark.parametrize(
    "name", ["os:system", "fleet.files:write_whole", "fleet.platforms.qemu:DiskProvider", "fleet.nothing:here", "fleet"]
)
def test_nothing_else_is_called_for_a_state_s_sake(name: str) -> None:
    with pytest.raises(FleetError, match="nothing that this fleet, or a platform that is installed, has"):
        tokens.function(name)


ACME = """
from fleet.dynamic.provider import DynamicResource, Provider
from fleet.dynamic.tokens import named


class DiskProvider(Provider, name="acme_fleet:DiskProvider"):
    def update(self, _id, _olds, news):
        return UpdateResult(news)


class Disk(DynamicResource, token="pulumi-python:dynamic/acme:Disk", provider=DiskProvider):
    pass


@named("acme_fleet:missing")
def missing(argument, fetch):
    return argument


def other(argument, fetch):
    return argument
"""


def test_a_platform_of_another_distribution_has_resources_and_functions_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_fleet.py").write_text(ACME)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FleetError):
        tokens.function("acme_fleet:missing")
    assert "acme_fleet" not in sys.modules, "what is no platform's is not even imported"
    info = tmp_path / "acme_fleet-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-fleet\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{tokens.PLATFORMS}]\nacme = acme_fleet:Acme\n")
    assert tokens.function("acme_fleet:missing")("no image", False) == "no image"
    with pytest.raises(FleetError):
        tokens.function("acme_fleet:other")
    disk = sys.modules["acme_fleet"].Disk
    assert isinstance(dill.loads(base64.b64decode(disk.state_provider)), sys.modules["acme_fleet"].DiskProvider)
    monkeypatch.delitem(sys.modules, "acme_fleet")
