"""A stack's state as ``pulumi stack export`` gives it: what each resource is, and what it holds.

A state (``apitype.DeploymentV3`` of github.com/pulumi/pulumi) lists resources, each with a URN, a type, inputs and
outputs, and an id if a provider made it. Secrets in it are envelopes: a mapping that a signature marks, with the
ciphertext, or, after ``--show-secrets``, the plain text.

Everything that reads a state reads it through this module: the program (:mod:`fleet.program.state`), and what commands
do (:mod:`fleet.ops`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fleet.dynamic.tokens import DATA_DISK, FLEET, NODE, OWN, is_within

Resource = Mapping[str, Any]
"""A resource of a state."""

STACK = "pulumi:pulumi:Stack"

_SIGNATURE = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
"""The key and the value that mark a secret's envelope (``sdk/go/common/resource/sig``)."""


def urn_name(urn: str) -> str:
    """A resource's name in its URN."""
    return urn.rpartition("::")[2]


def name_of(resource: Resource) -> str:
    """A resource's name."""
    return urn_name(str(resource["urn"]))


def is_data_disk(resource: Resource) -> bool:
    """Whether it is a part of a data disk: the disk itself, or what goes with it."""
    return is_within(resource, DATA_DISK)


def is_shared(resource: Resource) -> bool:
    """Whether it is one that all nodes share."""
    return bool(re.search(rf"{re.escape(FLEET)}\$(?!fleet:)", resource["urn"]))


def is_of_fleet(resource: Resource) -> bool:
    """Whether it is a part of a fleet."""
    return is_within(resource, FLEET)


def is_of_node(resource: Resource) -> bool:
    """Whether it is a part of a node."""
    return is_within(resource, NODE)


def is_own(resource: Resource) -> bool:
    """Whether it is one of fleet's own dynamic resources."""
    return str(resource["type"]).startswith(OWN)


def is_of_cloud(resource: Resource) -> bool:
    """Whether a provider other than fleet's own made it: something outside of Pulumi."""
    return (
        bool(resource.get("custom")) and not is_own(resource) and not resource["type"].startswith("pulumi:providers:")
    )


def is_live(resource: Resource) -> bool:
    """Whether it exists as far as the engine knows, and stays: neither to be deleted nor deleted to be replaced."""
    return not resource.get("delete") and not resource.get("pendingReplacement")


def outputs(resource: Resource) -> dict[str, Any]:
    """Its outputs, with secrets in plain text opened; see :func:`plain`."""
    return dict(plain(resource.get("outputs") or {}))


def inputs(resource: Resource) -> dict[str, Any]:
    """Its inputs, with secrets in plain text opened; see :func:`plain`."""
    return dict(plain(resource.get("inputs") or {}))


def stack_outputs(resources: Iterable[Resource]) -> dict[str, Any]:
    """What the stack exports, with secrets in plain text opened."""
    return next((outputs(resource) for resource in resources if resource["type"] == STACK), {})


class Configs(Mapping[str, str]):
    """What may be shown of the config of each node that is deployed, by name; each is read when it is asked for.

    An earlier fleet wrote it beside each node. Now the machine's own inputs have it, if that is all that they have:
    then the node's digest is of it. Else, where it holds a secret or is told otherwise, it is beside the node, packed.

    Args:
        resources: The state's resources.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._nodes: dict[str, Resource] = {}
        self._parts: dict[str, list[Resource]] = {}
        for resource in resources:
            if not is_live(resource):
                continue
            if resource["type"] == NODE:
                self._nodes[name_of(resource)] = resource
            elif parent := resource.get("parent"):
                self._parts.setdefault(parent, []).append(resource)
        self._read: dict[str, str | None] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._read:
            self._read[name] = self._config(self._nodes[name])
        if (config := self._read[name]) is None:
            raise KeyError(name)
        return config

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._nodes if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _config(self, node: Resource) -> str | None:
        from fleet.plan import configs_in, unpacked  # slow to import, and of no use to shells that complete names

        has = outputs(node)
        if "config" in has or "packed" in has:
            said = has.get("config") or has.get("packed")
            return unpacked(said) if said else None
        for part in self._parts.get(node["urn"], ()):
            for text in _texts(part.get("inputs") or {}):
                for config in configs_in(text):
                    if hashlib.sha256(config.encode()).hexdigest() == has.get("digest"):
                        return config
        return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def pending_operations(deployment: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The operations that were begun and whose outcome is unknown: ``type``, such as "creating", and ``resource``."""
    return list(deployment.get("pending_operations") or [])


def resources_of(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The resources of a state."""
    return list(deployment.get("resources") or [])


def plain(value: Any) -> Any:
    """A value of a state with secrets in plain text opened; ``None`` stands for what is encrypted."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE[0]) == _SIGNATURE[1]:
            return json.loads(value["plaintext"]) if "plaintext" in value else None
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def is_encrypted(value: Any) -> bool:
    """Whether anything in a value of a state is encrypted."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE[0]) == _SIGNATURE[1]:
            return "plaintext" not in value
        return any(map(is_encrypted, value.values()))
    return isinstance(value, list) and any(map(is_encrypted, value))


def has_encrypted(text: bytes) -> bool:
    """Whether a state may have anything encrypted.

    Args:
        text: The state as text, as Pulumi writes it: nothing in it is in plain text there.
    """
    return _SIGNATURE[1].encode() in text
