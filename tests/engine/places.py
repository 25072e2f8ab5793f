"""Stacks on each platform, and what is there to be seen from outside."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fleet.images import QEMU_DISK, DiskArtifact, ImageLock, read_lock, write_lock
from fleet.plan import Disk, LockedImage
from fleet.platforms import artifacts, names
from tests.conftest import STACK, Result
from tests.engine.cases import case
from tests.engine.cloud import PORT, Cloud, World, serving
from tests.engine.reports import Troubles
from tests.engine.stack import GROUP, OFFSET, Stack

REGION = "eu-central-1"

STATELESS = "version: 1\nname: web\n{more}groups:\n" + GROUP.replace("{name}", "web").replace("{port}", "8080")
SPEC = (
    STATELESS
    + """\
    data_disks:
      site: {{size_gib: 1, mount: /var/site{disk}}}
"""
)


@dataclass(frozen=True)
class Running:
    """A machine as a user sees it from outside."""

    id: str
    address: str
    config: str
    image: str
    disks: frozenset[str]


class Place(Protocol):
    """A stack on a platform, and what is there."""

    stack: Stack

    @property
    def state_file(self) -> Path: ...
    def write(self, greeting: str, *, count: int = 2, more: str = "", disk: str = "") -> None: ...
    def lock(self, release: str) -> None: ...
    def fleet(self, command: str, *arguments: str) -> Result: ...
    def running(self) -> dict[str, Running]: ...
    def disks(self) -> dict[str, int]: ...
    def started(self) -> list[str]: ...
    def state(self) -> dict[str, Any]: ...
    def orphans(self) -> list[str]: ...
    def page(self, node: str) -> str: ...
    def sicken(self, node: str) -> None: ...
    def heal(self, node: str) -> None: ...
    def trouble(self, node: str, troubles: Troubles) -> None: ...
    def lose(self, release: str) -> None: ...
    def lose_copy(self) -> None: ...
    def find(self, release: str) -> None: ...


class _Place:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def write(self, greeting: str, *, count: int = 2, more: str = "", disk: str = "") -> None:
        self.stack.write("fleet.yaml", SPEC.format(count=count, greeting=greeting, more=more, disk=disk))

    def lock(self, release: str) -> None:
        base = self.stack.path / f"{release}.qcow2"
        base.write_bytes((self.stack.path / "base.qcow2").read_bytes() + release.encode())
        digest = hashlib.sha256(base.read_bytes()).hexdigest()
        disk = Disk(location=str(base), sha256=digest, uncompressed_sha256=digest)
        remote = disk.model_copy(update={"location": f"https://example.org/{release}.qcow2.gz"})
        image = LockedImage(
            release=release,
            ignition_spec="3.5.0",
            disks={
                each.name: disk if each == QEMU_DISK else remote
                for each in artifacts()
                if isinstance(each, DiskArtifact)
            },
            images={name: image(release, digest) for name in names() if (image := case(name).image)},
        )
        write_lock(self.stack.path / "image.lock.yaml", ImageLock(stream="stable", architectures={"x86_64": image}))

    def lose(self, release: str) -> None:
        """Have the image be gone where it comes from."""
        self._image_file(release).rename(self._image_file(release).with_suffix(".gone"))

    def lose_copy(self) -> None:
        """Have it be gone, too, from where the stack has put it, if it has."""

    def find(self, release: str) -> None:
        """Have it be there again."""
        self._image_file(release).with_suffix(".gone").rename(self._image_file(release))

    def _image_file(self, release: str) -> Path:
        return self.stack.path / f"{release}.qcow2"

    @property
    def state_file(self) -> Path:
        (state,) = self.stack.path.glob(".pulumi/stacks/*/test.json")
        return state

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.state_file.read_text())["checkpoint"]["latest"]
        return state

    def fleet(self, command: str, *arguments: str) -> Result:
        """Run a command on the stack; one that changes it is told that this is meant."""
        yes = ["--yes"] if command in ("up", "replace", "rollback", "destroy") else []
        return self.stack.fleet(command, *STACK, *yes, *arguments)


class QemuPlace(_Place):
    def running(self) -> dict[str, Running]:
        machines = {}
        for folder in (self.stack.path / ".fleet/test/nodes").glob("*"):
            index = int(folder.name.rpartition("-")[2])
            disks = (self.stack.path / ".fleet/test/disks").glob(f"{folder.name}-*")
            machines[folder.name] = Running(
                (folder / "qemu.pid").read_text().strip(),
                str(8080 + 1000 * index),
                (folder / "config.ign").read_text(),
                self._image(folder),
                frozenset(disk.name for disk in disks),
            )
        return machines

    def _image(self, folder: Path) -> str:
        root = next(folder.glob("*.qcow2"))
        return root.read_bytes()[:4096].split(b".qcow2")[0][-12:].decode(errors="replace")

    def disks(self) -> dict[str, int]:
        folder = self.stack.path / ".fleet/test/disks"
        return {disk.name: disk.stat().st_ino for disk in folder.iterdir()} if folder.exists() else {}

    def started(self) -> list[str]:
        return self.stack.started()

    def page(self, node: str) -> str:
        return f"127.0.0.1:{int(self.running()[node].address) + OFFSET}"

    def sicken(self, node: str) -> None:
        self.stack.sicken(node)

    def heal(self, node: str) -> None:
        self.stack.heal(node)

    def trouble(self, node: str, troubles: Troubles) -> None:
        self.stack.trouble(node, troubles)

    def orphans(self) -> list[str]:
        known = {node.id for node in self.running().values()}
        return [line for process, line in self.stack.running("qemu_stand_in.py").items() if str(process) not in known]


class CloudPlace(_Place):
    def __init__(self, stack: Stack, world: World, cloud: Cloud) -> None:
        super().__init__(stack)
        self.world, self.cloud = world, cloud
        self._taken: dict[tuple[str, str], dict[str, Any]] = {}

    def running(self) -> dict[str, Running]:
        shown = next(r for r in self.state()["resources"] if r["type"] == "pulumi:pulumi:Stack")["outputs"]["nodes"]
        nodes = {}
        for machine in self.world.machines.values():
            address = shown[machine.node]["address"]
            assert address in machine.addresses, (machine, address)
            nodes[machine.node] = Running(
                machine.id, address, machine.user_data, machine.image, frozenset(machine.disks)
            )
        assert len(nodes) == len(self.world.machines)
        return nodes

    def disks(self) -> dict[str, int]:
        return dict(self.world.disks)

    def started(self) -> list[str]:
        return self.world.started()

    def page(self, node: str) -> str:
        return f"{self.running()[node].address}:{PORT}"

    def sicken(self, node: str) -> None:
        self.world.sick.add(node)

    def heal(self, node: str) -> None:
        self.world.sick.remove(node)

    def trouble(self, node: str, troubles: Troubles) -> None:
        self.world.troubles[node] = troubles

    def lose(self, release: str) -> None:
        self.world.gone |= self._images(release)
        if self.cloud.from_file:
            super().lose(release)

    def lose_copy(self) -> None:
        for key in self.cloud.copies():
            self._taken[key] = self.cloud.resources.pop(key)

    def find(self, release: str) -> None:
        self.world.gone -= self._images(release)
        self.cloud.resources.update(self._taken)
        self._taken.clear()
        if self.cloud.from_file:
            super().find(release)

    def _images(self, release: str) -> set[str]:
        image = read_lock(self.stack.path / "image.lock.yaml").image("x86_64")
        assert image.release == release
        published = {word for words in image.images.values() for word in words.values()}
        return published | {disk.location for disk in image.disks.values() if disk.remote}

    def orphans(self) -> list[str]:
        known = {(r["type"].rpartition(":")[2], r.get("id")) for r in self.state()["resources"]}
        return [f"{kind} {id_}" for kind, id_ in self.cloud.resources if (kind, id_) not in known]


class cloud:  # noqa: N801  (used like a function)
    """A stack on a cloud's stand-in."""

    def __init__(self, name: str, stack: Stack, *, config: str = "", tls: Path | None = None, port: int = PORT) -> None:
        kind = case(name).cloud
        assert kind
        self._kind, self._config = kind, config or case(name).text
        self._name, self._stack = name, stack
        self._world = World(tls, port)

    def __enter__(self) -> CloudPlace:
        self._cloud = self._kind(self._world)
        self._cloud.install(self._stack.tools)
        self._serving = serving(self._cloud)
        self._stack.environment["PULUMI_DEBUG_PROVIDERS"] = self._serving.__enter__()
        self._stack.environment["DIGITALOCEAN_TOKEN"] = "a-token"
        self._stack.write("Pulumi.test.yaml", f"config:\n  fleet:platform: {self._name}\n  {self._config}\n")
        return CloudPlace(self._stack, self._world, self._cloud)

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)
        self._cloud.close()
        self._world.close()
