"""fleet's own resources of this platform: data disk files, and QEMU processes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult

from fleet.dynamic.provider import DynamicResource, Provider, known, tell
from fleet.dynamic.tokens import named
from fleet.errors import FleetError
from fleet.platforms.qemu import machine as machines
from fleet.platforms.qemu import network, tokens
from fleet.platforms.qemu.accelerator import BINARY

DIGEST = "digest"
"""The output of a machine that stands for its config."""


class DiskProvider(Provider, name=tokens.DISK_PROVIDER):
    """Data disk files."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        moved = olds.get("path") != news.get("path")
        return DiffResult(
            changes=moved or olds.get("size_gib") != news.get("size_gib"), replaces=["path"] if moved else []
        )

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        failures = []
        if olds and known(news) and olds["path"] == news["path"] and olds["size_gib"] > news["size_gib"]:
            failures.append(CheckFailure("size_gib", f"a data disk cannot shrink from {olds['size_gib']} GiB"))
        return CheckResult(news, failures)

    def create(self, props: dict[str, Any]) -> CreateResult:
        machines.make_disk(Path(props["path"]), int(props["size_gib"]))
        return CreateResult(props["path"], props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if Path(id_).exists() else "", props)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        machines.make_disk(Path(news["path"]), int(news["size_gib"]))
        return UpdateResult(news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        path = Path(props["path"])
        path.unlink(missing_ok=True)
        _remove_empty(path.parent)


class QemuDisk(DynamicResource, token=tokens.DISK_TYPE, provider=DiskProvider):
    """A data disk's file."""


class MachineProvider(Provider, name=tokens.MACHINE_PROVIDER):
    """QEMU processes. Their Ignition config is compressed among the inputs, which a state is to be small for.

    The config's digest is kept in its place among the outputs, a secret as that is.
    """

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        keys = sorted((set(news) | set(olds)) - {"__provider", DIGEST})
        changed = [key for key in keys if _differs(key, olds, news)]
        return DiffResult(changes=bool(changed), replaces=changed, delete_before_replace=True)

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        # Before anything is deleted: the old node goes before the new one is tried.
        try:
            if not olds:
                machines.check_accelerator(news["accelerator"])
            if known(news["forwards"]) and (not olds or olds.get("forwards") != news["forwards"]):
                machines.check_start(Path(news["folder"]), news["name"], news["bind"], _forwards(news))
        except FleetError as error:
            return CheckResult(news, [CheckFailure("", str(error))])
        if olds and known(news["ignition"]) and _digest(olds["ignition"]) == _digest(news["ignition"]):
            # An earlier fleet wrote it as it is, and the engine notes new inputs even where nothing is to be done.
            news = {**news, "ignition": olds["ignition"]}
        return CheckResult(news, [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        from fleet.images import obtain
        from fleet.plan import Disk, unpacked

        image = obtain(Disk.model_validate(props["image"]), say=tell)
        machine = machines.Machine(
            name=props["name"],
            ignition=unpacked(props["ignition"]),
            base=image,
            memory_mib=int(props["memory_mib"]),
            cpus=int(props["cpus"]),
            root_gib=int(props["root_size_gib"]),
            bind=props["bind"],
            forwards=_forwards(props),
            disks=[machines.Attached(name, path) for name, path in props["disks"]],
            private=tuple(props["private"]) if "private" in props else None,
        )
        identity = machines.start(Path(props["folder"]), machine, props["accelerator"], tell)
        return CreateResult(identity, _outputs(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if machines.running(Path(props["folder"]), id_) else "", props)

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        folder = Path(props["folder"])
        machines.stop(folder, id_)
        _remove_empty(folder.parent)


class QemuMachine(DynamicResource, token=tokens.MACHINE_TYPE, provider=MachineProvider):
    """A QEMU process and its root disk."""


def _forwards(props: Mapping[str, Any]) -> list[machines.Forward]:
    return [
        machines.Forward(int(host), int(port), protocol, *bind) for protocol, host, port, *bind in props["forwards"]
    ]


def _outputs(props: Mapping[str, Any]) -> dict[str, Any]:
    outputs = dict(props)
    outputs[DIGEST] = _digest(outputs.pop("ignition"))
    return outputs


def _differs(key: str, olds: dict[str, Any], news: dict[str, Any]) -> bool:
    if key in ("follow_image", "accelerator"):
        return False
    if key == "image":
        # Where it is downloaded from makes no difference.
        return bool(news["follow_image"] and _content(olds) != _content(news))
    if not known(news.get(key)):
        return True
    if key == "ignition":
        return bool(olds.get(DIGEST) != _digest(news[key]))
    return bool(olds.get(key) != news.get(key))


def _content(props: Mapping[str, Any]) -> Any:
    return props.get("image", {}).get("uncompressed_sha256")


def _digest(ignition: str) -> str:
    from fleet.plan import unpacked

    return hashlib.sha256(unpacked(ignition).encode()).hexdigest()


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing any more, and its parent likewise."""
    for path in (folder, folder.parent):
        try:
            path.rmdir()
        except OSError:
            return


@named(tokens.MISSING)
def missing(argument: str, fetch: bool) -> str:
    """Look for what a new machine needs on this one: :class:`~fleet.plan.Needs`.

    Args:
        argument: The disk image, of the image lock, as JSON.
        fetch: Download it, if need be.
    """
    if lacking := [tool for tool in (BINARY, "qemu-img") if not shutil.which(tool)]:
        return f"{lacking[0]} is not on PATH. Install it: `fleet doctor` says how."
    if old := network.lacking():
        return old
    from fleet.images import look_for, obtain
    from fleet.plan import Disk

    disk = Disk.model_validate_json(argument)
    try:
        obtain(disk, say=tell) if fetch else look_for(disk)
    except FleetError as error:
        return str(error)
    return ""
