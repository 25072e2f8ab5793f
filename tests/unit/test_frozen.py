"""What a spec of a version renders to is frozen: stored specs use every field of the models; the bytes are compared."""

from __future__ import annotations

import json
import re
import shutil
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fleet.config.difference import changes
from fleet.errors import FleetError
from fleet.planner import plan_spec
from fleet.platforms import names, platform, platform_class
from fleet.spec import FleetSpec, Resolver, load_spec
from fleet.spec.versions import VERSIONS, SpecVersion
from tools import freeze
from tools.cache import ROOT

STORED = [(version, folder) for version in VERSIONS for folder in freeze.specs(freeze.folder_of(version))]
NEWEST = freeze.folder_of(max(VERSIONS))


@cache
def stored(version: int) -> Mapping[freeze.Key, dict[str, str]]:
    return freeze.stored(freeze.folder_of(version))


@pytest.mark.parametrize(("version", "folder"), STORED, ids=lambda value: getattr(value, "name", f"v{value}"))
def test_a_stored_spec_renders_to_the_stored_bytes(version: int, folder: Path, tmp_path: Path) -> None:
    # Elsewhere: where a project lies is in no config.
    copy = tmp_path / "copy"
    shutil.copytree(folder.parent, copy)
    now = dict(freeze.rendered(copy / folder.name))
    before = {key: entry for key, entry in stored(version).items() if key[0] == folder.name}
    assert before, "store it: `python -m tools.freeze`"
    assert sorted(now) == sorted(before)
    for key, entry in before.items():
        where = f"{' '.join(key)}: it has to stay as it is; what changes it comes with a new version of the spec"
        differing = [f"{each}\n" + "\n".join(each.diff) for each in changes(entry["config"], now[key]["config"])]
        assert not differing, f"{where}\n{differing[0]}"
        for part in ("config", "digest", "user_data"):
            assert now[key][part] == entry[part], f"{where} ({part})"


@pytest.mark.parametrize(("version", "folder"), STORED, ids=lambda value: getattr(value, "name", f"v{value}"))
def test_a_stored_spec_says_its_version(version: int, folder: Path) -> None:
    assert (folder / "fleet.yaml").read_text().startswith(f"version: {version}\n")


def test_a_stored_config_is_of_a_spec_that_is_there() -> None:
    for version in VERSIONS:
        assert {key[0] for key in stored(version)} == {each.name for each in freeze.specs(freeze.folder_of(version))}


def test_stored_specs_are_rendered_for_every_platform_and_engine() -> None:
    assert set(names()) == set(freeze.PLATFORMS) == {key[1] for key in stored(max(VERSIONS))}
    engines = {group.engine for spec in loaded() for group in spec.groups.values()}
    assert engines == {"podman", "docker"}


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "aws": {
        "architecture": "aarch64",
        "zones": ["eu-central-1b"],
        "cidr": "10.90.0.0/16",
        "vpc": {"id": "vpc-1", "subnets": {"eu-central-1a": "subnet-1"}},
        "public_addresses": False,
        "root_size_gib": 20,
        "instance_profile": "shop",
        "spot": True,
        "dns_zone": "example.org",
        "bucket": "configs",
        "tags": {"a": "b"},
    },
    "digitalocean": {
        "region": "ams3",
        "ssh_keys": ["12"],
        "cidr": "10.90.0.0/16",
        "vpc": "00000000-0000-4000-8000-000000000000",
        "dns_zone": "example.org",
        "tags": ["a"],
    },
    "gcp": {
        "architecture": "aarch64",
        "zones": ["europe-west3-b"],
        "cidr": "10.90.0.0/16",
        "vpc": {"network": "shop", "subnetwork": "shop"},
        "public_addresses": False,
        "root_size_gib": 20,
        "disk_type": "pd-ssd",
        "service_account": "shop@example.org",
        "spot": True,
        "bucket": "configs",
        "dns_zone": "example",
        "tags": {"a": "b"},
    },
    "libvirt": {
        "pool": "shop",
        "cidr": "10.90.0.0/16",
        "bridge": "br0",
        "gateway": "192.168.5.254",
        "architecture": "aarch64",
        "type": "qemu",
        "root_size_gib": 20,
        "machine": "q35",
        "firmware": "/firmware",
        "emulator": "/emulator",
    },
    "qemu": {
        "state_dir": "/machines",
        "bind": "127.0.0.2",
        "memory_mib": 2048,
        "cpus": 1,
        "root_size_gib": 20,
        "port_offset": 1,
        "host_ports": {"web-0:22": 3022},
        "accelerator": "tcg",
    },
}
"""Of every option of a platform a value that is not its default."""


def outcome(folder: Path, name: str, options: Mapping[str, Any]) -> list[str] | str:
    """User data that a stored spec has with options of a platform, or why it cannot be planned."""
    usual, config = freeze.PLATFORMS[name]
    where = platform(name, {**usual, **options}, project=folder, stack="frozen", config=config.get)
    resolver = Resolver({"token": "t0ken"}.get, reveal=True)
    try:
        plan = plan_spec(folder / "fleet.yaml", resolver, where, need_lock=False, check=False)
    except FleetError as error:
        return str(error)
    return [node.delivery.user_data for node in plan.nodes]


@pytest.mark.parametrize("name", names())
def test_there_is_a_stored_spec_for_every_option_of_a_platform_that_changes_user_data(name: str) -> None:
    assert OPTIONS[name].keys() == platform_class(name).options_model.model_fields.keys()
    frozen: set[str] = set()
    for folder in freeze.specs(NEWEST):
        if (file := folder / "values.json").exists():
            frozen |= json.loads(file.read_text()).get("platforms", {}).get(name, {}).keys()
    folders = [NEWEST / each for each in ("nat", "bridged", "store")]
    usual = [outcome(folder, name, {}) for folder in folders]
    assert list in map(type, usual)
    needed = {
        option
        for option, value in OPTIONS[name].items()
        if [outcome(folder, name, {option: value}) for folder in folders] != usual
    }
    assert needed == frozen


@cache
def loaded() -> tuple[FleetSpec, ...]:
    """The stored specs of the newest version."""
    specs = []
    with pytest.MonkeyPatch.context() as patch:
        for folder in freeze.specs(NEWEST):
            file = folder / "values.json"
            values = json.loads(file.read_text()) if file.exists() else {}
            for name, value in freeze.environment(folder).items():
                patch.setenv(name, value)
            specs.append(load_spec(folder / "fleet.yaml", freeze.resolver_of(values), "qemu").fleet)
    return tuple(specs)


def kinds(annotation: Any) -> Iterator[type[BaseModel] | str]:
    """What a value of a field can be: models; each word of a choice, true and false, and types of scalars, by name."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from kinds(arguments[0])
    elif origin in (typing.Union, types.UnionType, list, dict):
        for argument in arguments:
            yield from kinds(argument)
    elif origin is typing.Literal:
        yield from map(repr, arguments)
    elif annotation is bool:
        yield from ("True", "False")
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif isinstance(annotation, type) and annotation not in (type(None), Any):
        yield annotation.__name__


def wanted(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """Every field of a model, and of those in it, and with it every kind of value that it can have."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}"
        for kind in kinds(field.annotation):
            if isinstance(kind, str):
                yield f"{model.__name__}.{name}: {kind}"
            else:
                yield from wanted(kind, seen)


def used(value: Any, path: str = "") -> Iterator[str]:
    """The same of a spec: the fields that are written and are not their defaults, and all values."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner, here = getattr(value, name), f"{type(value).__name__}.{name}"
            written = name in value.model_fields_set
            if written and (field.is_required() or inner != field.get_default()):
                yield here
            # What is left out may be taken from elsewhere; what is written is rendered as it is.
            yield from used(inner, here if written else "")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from used(key, path)
            yield from used(inner, path)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from used(inner, path)
    elif path and value is not None:
        yield f"{path}: {value!r}" if isinstance(value, bool) else f"{path}: {type(value).__name__}"
        yield f"{path}: {value!r}"


def test_stored_specs_use_every_field_of_the_models_and_every_kind_of_value_that_each_can_have() -> None:
    needed = list(wanted(FleetSpec, set()))
    # The first version is the default.
    needed.remove("FleetSpec.version")
    assert len(needed) > 500
    present = {each for spec in loaded() for each in used(spec)}
    assert [each for each in needed if each not in present] == []


def test_what_is_stored_is_not_rewritten_but_for_a_version_that_is_not_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "FROZEN", tmp_path)
    monkeypatch.setattr(freeze, "VERSIONS", {1: SpecVersion((), released=False)})
    spec, file = tmp_path / "v1/web/fleet.yaml", tmp_path / "v1" / freeze.STORED
    spec.parent.mkdir(parents=True)
    text = "version: 1\nname: web\ngroups: {web: {}}\n"
    spec.write_text(text)

    def kept(*arguments: str, because: str) -> None:
        before = file.read_bytes()
        with pytest.raises(SystemExit, match=because):
            freeze.main([*arguments])
        assert file.read_bytes() == before

    freeze.main([])
    first = freeze.stored(tmp_path / "v1")
    assert {key[1] for key in first} == set(freeze.PLATFORMS)
    spec.write_text(text + "ssh_authorized_keys: [ssh-rsa AAAA]\n")
    kept(because=r"5 stored configs of version 1 would change.*web aws web-0.*--again")
    freeze.main(["--again"])
    second = freeze.stored(tmp_path / "v1")
    assert second.keys() == first.keys()
    assert second != first
    monkeypatch.setattr(freeze, "VERSIONS", {1: SpecVersion((), released=True)})
    spec.write_text(text)
    kept("--again", because="version 1 is released")
    spec.rename(tmp_path / "gone.yaml")
    spec.parent.rmdir()
    kept("--again", because="version 1 is released")
    spec.parent.mkdir()
    spec.write_text(text + "ssh_authorized_keys: [ssh-rsa AAAA]\n")
    added = tmp_path / "v1/more/fleet.yaml"
    added.parent.mkdir()
    added.write_text(text)
    freeze.main([])
    third = freeze.stored(tmp_path / "v1")
    assert {key: entry for key, entry in third.items() if key in second} == second
    assert {key[0] for key in third} == {"web", "more"}


def test_the_changelog_announces_every_version_and_releases_none_that_can_still_change() -> None:
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1:]
    for version, facts in VERSIONS.items():
        announced = [each.splitlines()[0] for each in sections if f"**Spec version {version}**" in each]
        assert len(announced) == 1, version
        assert facts.released or announced == ["Unreleased"]
