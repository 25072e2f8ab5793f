"""``fleet migrate``: what moving a spec to another version re-provisions, and writing the version into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fleet.config.difference import Change, changes
from fleet.document import Document
from fleet.errors import FleetError, UsageError
from fleet.files import read_bytes, write_whole
from fleet.ops.check import place
from fleet.planner import plan_spec
from fleet.spec import load_version
from fleet.spec.python import SUFFIX
from fleet.spec.versions import FIRST, VERSION_KEY, VERSIONS, known, newest


@dataclass(frozen=True)
class Migration:
    """What moving a spec to a version means.

    Attributes:
        version: The spec's version.
        said: Whether the spec says it, and is not of the first for want of one.
        to: The version that it moves to.
        nodes: The nodes that are re-provisioned, by name, and what changes in their configs, secrets masked.
        count: How many nodes there are.
        news: What the versions between change, in sentences.
    """

    version: int
    said: bool
    to: int
    nodes: Mapping[str, list[Change]] = field(default_factory=dict)
    count: int = 0
    news: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether the spec has to say something else for it."""
        return self.version != self.to or not self.said


def migration(spec: Path, *, platform: str | None, stack: str | None, to: int | None) -> Migration:
    """What moving a spec to a version re-provisions.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named; its config says which platform, and with which options.
        to: The version; ``None`` for the newest.

    Raises:
        UsageError: This fleet does not know the version.
        FleetError: Something is wrong with the spec, as it is or in that version.
    """
    try:
        target = newest() if to is None else known(to)
    except ValueError as error:
        raise UsageError(f"`--to {to}`: {error}.") from None
    where, resolver = place(spec, platform=platform, stack=stack)
    said = load_version(spec, where.name, resolver.config)
    version = FIRST if said is None else said
    if version == target:
        return Migration(version, said is not None, target)
    before, after = (
        plan_spec(spec, resolver, where, need_lock=False, check=False, version=number) for number in (version, target)
    )
    nodes = {
        old.name: changes(old.config.ignition, new.config.ignition)
        for old, new in zip(before.nodes, after.nodes, strict=True)
        if (old.config, old.delivery) != (new.config, new.delivery)
    }
    news = tuple(text for number in range(version + 1, target + 1) for text in VERSIONS[number].changes)
    return Migration(version, said is not None, target, nodes, len(list(after.nodes)), news)


def write_version(spec: Path, number: int) -> None:
    """Have a spec say its version; all else in the file stays as it is written, comments too.

    Args:
        spec: The spec's file, in YAML.
        number: The version.

    Raises:
        UsageError: The spec is a program, or is written in a way in which the key has to be put by hand.
        OSError: The file cannot be written; it is as it was.
    """
    if spec.suffix == SUFFIX:
        raise UsageError(
            f"{spec} is a program, which fleet does not change.",
            fix=f'Have its function `spec` return `"{VERSION_KEY}": {number}`.',
        )
    document = Document(spec, "spec")
    if not isinstance(document.root, yaml.MappingNode) or not document.root.value:
        raise UsageError("The spec must be a mapping (`key: value` lines).", at=document.at())
    # As it is: reading it as text drops the ends that lines have on other systems.
    written = _with_version(spec, read_bytes(spec, "spec").decode(), number)
    value = {**document.value(), VERSION_KEY: number}
    try:
        # Whatever YAML allows, what is read is the same but for the version.
        right = Document(spec, "spec", written).value() == value
    except FleetError:
        right = False
    if not right:
        raise UsageError(
            f"The key `{VERSION_KEY}` cannot be written here without a change of something else.",
            at=document.at(VERSION_KEY),
            fix=f"Write `{VERSION_KEY}: {number}` yourself.",
        )
    write_whole(spec, written)


def _with_version(spec: Path, text: str, number: int) -> str:
    root = Document(spec, "spec", text).root
    assert isinstance(root, yaml.MappingNode)
    for key, value in root.value:
        if key.value == VERSION_KEY:
            return text[: value.start_mark.index] + str(number) + text[value.end_mark.index :]
    key = root.value[0][0]
    first = key.start_mark
    # JSON stays JSON.
    name = f'"{VERSION_KEY}"' if root.flow_style and key.style == '"' else VERSION_KEY
    line = f"{name}: {number}"
    end = ", " if root.flow_style else ("\r\n" if "\r\n" in text else "\n") + " " * first.column
    return text[: first.index] + line + end + text[first.index :]
