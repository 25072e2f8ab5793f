"""What stored specs render to: ``python -m tools.freeze`` stores it for those that are new, and refuses what changes.

``tests/unit/frozen/v1`` has a folder for each stored spec of version 1: ``fleet.yaml``, the files that it names, and
``values.json`` with the stack's config, the environment and other stacks' outputs that it reads, and the platforms,
each with options of its own, if it is not for all; programs in its folder ``bin`` stand in for those that tell its
secrets.
``rendered.jsonl.xz`` holds, a JSON line for every platform and node, the node's config and its user data. Both are
there for good: to freeze a new key of the spec, add a folder. ``--again`` stores all of a version anew, as long as the
version is not released (:attr:`fleet.spec.versions.SpecVersion.released`).
"""

from __future__ import annotations

import json
import lzma
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.platforms.aws.platform import with_disk_rules
from fleet.spec import Resolver
from fleet.spec.values import Passed
from fleet.spec.versions import VERSIONS
from tools.cache import ROOT

FROZEN = ROOT / "tests/unit/frozen"
SHARED = "shared"
"""The folder of files outside of the specs' folders."""
STORED = "rendered.jsonl.xz"

PLATFORMS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]] = {
    "aws": ({}, {"aws:region": "eu-central-1"}),
    "digitalocean": ({"region": "fra1"}, {}),
    "gcp": ({}, {"gcp:project": "shop", "gcp:zone": "europe-west3-a"}),
    "libvirt": ({}, {}),
    "qemu": ({}, {}),
}
"""Options, and the provider's own config, of a stack on each platform."""

Key = tuple[str, str, str]
"""The folder of a spec, a platform, and a node."""


def folder_of(version: int) -> Path:
    """Where the stored specs of a version are."""
    return FROZEN / f"v{version}"


def specs(folder: Path) -> list[Path]:
    """The stored specs' folders."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and each.name != SHARED)


def environment(folder: Path) -> dict[str, str]:
    """What a stored spec is read with beside this process's own environment."""
    file = folder / "values.json"
    values = dict(json.loads(file.read_text()).get("environment", {})) if file.exists() else {}
    return {**values, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def resolver_of(values: Mapping[str, Any]) -> Resolver:
    """What resolves the values of a stored spec.

    Args:
        values: Its ``values.json``.
    """
    outputs = values.get("references", {})
    config = values.get("config", {}).get
    return Resolver(config, reveal=True, references=lambda stack, output: Passed(outputs[stack][output]))


def rendered(folder: Path) -> Iterator[tuple[Key, dict[str, str]]]:
    """What a stored spec renders to on every platform, by the names of its folder, the platform, and the node."""
    values = json.loads((folder / "values.json").read_text()) if (folder / "values.json").exists() else {}
    resolver = resolver_of(values)
    for name, own in values.get("platforms", {each: {} for each in PLATFORMS}).items():
        options, config = PLATFORMS[name]
        where = platform(name, {**options, **own}, project=folder, stack="frozen", config=config.get)
        with patch.dict(os.environ, environment(folder)):
            plan = plan_spec(folder / "fleet.yaml", resolver, where, need_lock=False, check=False)
        for node in plan.nodes:
            user_data = node.delivery.user_data
            if name == "aws" and node.disks:
                # The ids are the provider's, known once the volumes are made.
                user_data = with_disk_rules(user_data, {disk.name: f"vol-0{disk.name}" for disk in node.disks})
            yield (
                (folder.name, name, node.name),
                {"digest": node.config.digest, "config": node.config.ignition, "user_data": user_data},
            )


def stored(folder: Path) -> dict[Key, dict[str, str]]:
    """What the specs of a version's folder rendered to when they were stored."""
    file = folder / STORED
    if not file.exists():
        return {}
    lines = map(json.loads, lzma.decompress(file.read_bytes()).decode().splitlines())
    return {(line.pop("spec"), line.pop("platform"), line.pop("node")): line for line in lines}


def _store(folder: Path, entries: Mapping[Key, dict[str, str]]) -> None:
    lines = [
        json.dumps({"spec": spec, "platform": name, "node": node, **entry}, sort_keys=True, ensure_ascii=False)
        for (spec, name, node), entry in sorted(entries.items())
    ]
    (folder / STORED).write_bytes(lzma.compress("".join(f"{line}\n" for line in lines).encode(), preset=9))


def freeze(version: int, *, again: bool) -> str:
    """Store what a version's specs render to.

    Args:
        version: The version.
        again: Store that of all of them anew.

    Returns:
        What was done, in words.

    Raises:
        SystemExit: What is stored would change, or what was stored is gone.
    """
    folder = folder_of(version)
    before, now = stored(folder), dict(entry for each in specs(folder) for entry in rendered(each))
    other = sorted(key for key, entry in before.items() if now.get(key) != entry)
    if other and (VERSIONS[version].released or not again):
        why = (
            f"version {version} is released: what changes rendering comes with a new version (fleet/spec/versions.py)"
            if VERSIONS[version].released
            else f"version {version} is not released: `--again` stores it anew, if the change is meant"
        )
        names = ", ".join(" ".join(key) for key in other[:5])
        sys.exit(f"{len(other)} stored configs of version {version} would change, the first are {names}; {why}.")
    if before != now:
        _store(folder, now)
    return f"version {version}: {len(now.keys() - before.keys())} new, {len(other)} changed, {len(now)} in all"


def main(arguments: list[str]) -> None:
    if set(arguments) - {"--again"}:
        sys.exit("usage: python -m tools.freeze [--again]")
    for version in VERSIONS:
        print(freeze(version, again="--again" in arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
