"""Which keys of a spec a platform refuses, or Docker: found by asking fleet itself, for the reference.

Every key of a fleet, a group, and what shapes its machines is tried with the values of its type, or the example of its
docstring, in a small spec that is valid everywhere else. What is refused in some places and not in all is told. Keys of
what a workload is made of have their answer in the tables of :mod:`fleet.workloads.rendering`.
"""

from __future__ import annotations

import json
import typing
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from fleet.errors import FleetError
from fleet.model import Model, examples
from fleet.ops.check import validate
from fleet.plan.rollout import Rollout
from fleet.platforms import names as platform_names
from fleet.spec.model import FleetSpec, Group, PrivateNetwork
from fleet.workloads.data_disks import DataDisk
from fleet.workloads.rendering import Refused, keys

_DOCKER, _UNDER_DOCKER = "docker", "aws"
_PATHS: dict[type[BaseModel], tuple[str, ...]] = {
    FleetSpec: (),
    PrivateNetwork: ("network",),
    Group: ("groups", "web"),
    Rollout: ("groups", "web", "rollout"),
    DataDisk: ("groups", "web", "data_disks", "db"),
}
"""Where the models stand in a spec that platforms may refuse keys of."""
_LEAST: dict[type[BaseModel], dict[str, Any]] = {
    PrivateNetwork: {"cidr": "10.77.0.0/24"},
    DataDisk: {"size_gib": 10, "mount": "/var/lib/db"},
}
"""What a model needs whichever of its keys is tried."""
_FILES = {
    "Pulumi.yaml": "name: shop\nruntime: python\n",
    "app/Containerfile": "FROM scratch\n",
    "base.bu": "variant: fcos\nversion: 1.6.0\n",
    "caddy.container": "[Container]\nImage=docker.io/library/caddy:2\n\n[Install]\nWantedBy=multi-user.target\n",
    "compose.yaml": "services: {one: {image: docker.io/library/caddy:2}}\n",
    "data.volume": "[Volume]\n",
    "first.bu": "variant: fcos\nversion: 1.6.0\n",
}
"""What the examples name."""

_Item = tuple[str, Any]
"""A key, and a value of it."""


def refusals(model: type[BaseModel]) -> dict[str, str]:
    """By key of a model, where it is refused, in sentences; keys that nobody refuses are left out.

    Args:
        model: A model of the spec.
    """
    told: dict[str, list[str]] = defaultdict(list)
    if issubclass(model, Model):
        for key, rendering in keys(model):
            if isinstance(rendering.docker, Refused):
                told[key].append(f"Refused with `engine: docker`: {rendering.docker.word}")
            elif rendering.docker.but:
                told[key].append(f"With `engine: docker`, {rendering.docker.but}.")
    if model in _PATHS:
        for key, text in _tried(model):
            told[key].append(text)
    return {key: " ".join(sentences) for key, sentences in told.items()}


def _tried(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    shown, items = examples(model), list[_Item]()
    for name, field in model.model_fields.items():
        key = field.alias or name
        items += [(key, value) for value in _words(field.annotation) or [shown[key]]]
    platforms = platform_names()
    with TemporaryDirectory(prefix="fleet-reference-") as folder:
        for name, text in _FILES.items():
            Path(folder, name).parent.mkdir(exist_ok=True)
            Path(folder, name).write_text(text)
        refused = {place: _refused(Path(folder), place, model, items) for place in (*platforms, _DOCKER)}
    for item in items:
        on = [f"`{name}`" for name in platforms if item in refused[name]]
        # What is refused everywhere is the example's matter. Docker is tried on one of the platforms.
        with_docker = item in refused[_DOCKER] and item not in refused[_UNDER_DOCKER]
        if len(on) == len(platforms) or not (on or with_docker):
            continue
        key, value = item
        subject = "Refused" if [each for each, _ in items].count(key) == 1 else f"`{value}` is refused"
        where = [f"on {', '.join(on)}"] if on else []
        yield key, f"{subject} {' and '.join([*where, *(['with `engine: docker`'] if with_docker else [])])}."


def _words(annotation: Any) -> list[Any]:
    """The words that a key can be, if it is one of some."""
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [word for part in typing.get_args(annotation) for word in _words(part)]


def _refused(folder: Path, place: str, model: type[BaseModel], items: list[_Item]) -> list[_Item]:
    """Those that a place refuses. Many are tried at once: a spec takes some milliseconds."""
    if len({key for key, _ in items}) == len(items) and _takes(folder, place, model, dict(items)):
        return []
    if len(items) == 1:
        return items
    half = len(items) // 2
    return [*_refused(folder, place, model, items[:half]), *_refused(folder, place, model, items[half:])]


def _takes(folder: Path, place: str, model: type[BaseModel], said: dict[str, Any]) -> bool:
    """Whether a spec with some keys of a model is valid on a platform, or, on one of them, with Docker."""
    web: dict[str, Any] = {"containers": {"first": {"image": "docker.io/library/caddy:2"}}}
    spec: dict[str, Any] = {"version": 1, "name": "shop", "report": False, "groups": {"web": web, "db": {"count": 0}}}
    inner = spec
    for step in _PATHS[model]:
        inner = inner.setdefault(step, {})
    inner |= {**_LEAST.get(model, {}), **{key: value for key, value in said.items() if key != "groups"}}
    if place == _DOCKER:
        web.setdefault("engine", "docker")
    # Either is nothing without the other.
    if "network" in spec or "addresses_from" in web:
        spec.setdefault("network", _LEAST[PrivateNetwork])
        web.setdefault("addresses_from", 10)
        spec["groups"]["db"]["addresses_from"] = 100
    file = folder / "fleet.yaml"
    file.write_text(json.dumps(to_jsonable_python(spec)))
    try:
        validate(file, platform=_UNDER_DOCKER if place == _DOCKER else place, stack=None)
    except FleetError:
        return False
    return True
