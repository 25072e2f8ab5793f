"""What the tests have to know of each platform: a module of its name in ``tests/engine/on`` says it, as ``CASE``."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from fleet.platforms import names
from tests.engine.cloud import Cloud

QUADLET = "[Container]\nImage=docker.io/library/caddy:2\n\n[Install]\nWantedBy=multi-user.target\n"
"""A Quadlet file of a user's own."""
IN_CI = ("aws", "libvirt", "qemu")
"""What differs most: a cloud, a daemon, processes of fleet's own."""
SLOWLY = [pytest.param(name, marks=() if name in IN_CI else pytest.mark.long) for name in names()]
"""The platforms, for a test that takes a minute of each: CI runs it on some."""


@dataclass(frozen=True)
class Case:
    """One platform.

    Attributes:
        config: The config of a stack on it, besides ``fleet:platform``.
        other: Another value of each option, where none can be derived from its type.
        other_for_disks: The same, for nodes that have data disks there.
        other_config: Other values of the provider's own config.
        hard: An option whose change is to come while a node is sick.
        masked: Options that others make ineffective: they are changed by themselves.
        refused: Keys of a spec that the platform has not.
        unchanged: Inputs of machines for which the provider replaces them, and that are the same whatever a user says,
            or whose change is ignored unless the gate is asked for the image's sake.
        cloud: What stands in for its provider.
        disk_type: The type of its data disks.
        image: What an image lock has for it of an image that the provider has already, of the release and a digest.
        dns: Config that has names be made; empty where there are none.
    """

    config: Mapping[str, Any]
    other: Mapping[str, Any]
    other_for_disks: Mapping[str, Any]
    hard: str
    other_config: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    masked: Collection[str] = ()
    refused: Collection[str] = ()
    unchanged: Collection[str] = ()
    cloud: type[Cloud] | None = None
    disk_type: str = ""
    image: Callable[[str, str], dict[str, str]] | None = None
    dns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """:attr:`config` as the lines of a stack's file, below ``config:``."""
        return as_config(self.config)


def as_config(config: Mapping[str, Any]) -> str:
    """Config as the lines of a stack's file, below ``config:``, a line for each key."""
    lines = [
        yaml.safe_dump({key: value}, default_flow_style=True, width=1000).strip()[1:-1] for key, value in config.items()
    ]
    return "\n  ".join(lines)


@functools.cache
def case(name: str) -> Case:
    """What the tests know of a platform."""
    loaded: Case = importlib.import_module(f"tests.engine.on.{name}").CASE
    return loaded


CLOUDS = [name for name in names() if case(name).cloud]
"""The platforms whose provider something stands in for."""
