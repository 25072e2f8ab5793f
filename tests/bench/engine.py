"""What `pulumi` takes with a fleet in its program, next to a bare program of as many resources.

Both run on the real engine and on one provider, libvirt's stand-in, in this process; nodes answer at once. The bare
program registers as many components and as many resources of a provider as the fleet has, with no dependencies.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleet.images import Disk, ImageLock, LockedImage, write_lock
from tests.bench.cost import Cost, cost
from tests.conftest import FLEET
from tests.engine.cloud import Libvirt, World, serving

SIZES = (10, 100)
"""Nodes. 500 take a bare program's first update ten minutes, a fleet's twice that: `python -m tests.bench 500`."""
STEPS = ("preview", "first up", "no-op up", "one change up")

SPEC = """\
name: bench
groups:
  web:
    count: {count}
    rollout: {{window: 100%}}
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
    ready: [{{http: {{port: 8080}}}}]
    nodes: {{0: {{snippets: [{greeting}.bu]}}}}
"""

SNIPPET = """\
variant: fcos
version: 1.6.0
storage: {{files: [{{path: /etc/greeting, contents: {{inline: {0}}}}}]}}
"""

BARE = """\
import pulumi
import pulumi_libvirt as libvirt

for index in range({components}):
    pulumi.ComponentResource("bench:index:Part", f"part-{{index}}")
for index in range({resources}):
    libvirt.Volume(f"volume-{{index}}", pool="default", size=(2 if index == 0 and {greeting!r} == "two" else 1) << 30)
"""


@contextmanager
def project(folder: Path) -> Iterator[None]:
    """A stack in a folder, with a cloud of its own, for the time of the context."""
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text('name: bench\nruntime: python\nbackend: {url: "file://."}\n')
    (folder / "Pulumi.test.yaml").write_text(
        "config:\n  fleet:platform: libvirt\n  fleet:libvirt: {cidr: 127.79.0.0/16}\n"
    )
    base = folder / "base.qcow2"
    base.write_bytes(b"an image")
    digest = hashlib.sha256(base.read_bytes()).hexdigest()
    disk = Disk(location=str(base), sha256=digest, uncompressed_sha256=digest)
    image = LockedImage(release="44.1", ignition_spec="3.5.0", disks={"qemu": disk})
    write_lock(folder / "image.lock.yaml", ImageLock(stream="stable", architectures={"x86_64": image}))
    world = World()
    with serving(Libvirt(world)) as providers:
        os.environ["PULUMI_DEBUG_PROVIDERS"] = providers
        subprocess.run(["pulumi", "stack", "init", "test"], cwd=folder, check=True, capture_output=True)
        yield
    world.close()


def steps(folder: Path, write: dict[str, str], program: str) -> dict[str, Cost]:
    """Take every step of :data:`STEPS`; ``write`` has the text of the program's file for each greeting."""
    options = ("--stack", "test", "--non-interactive", "--skip-preview", "--parallel", "16")
    up = ("pulumi", "up", "--yes", *options)
    (folder / program).write_text(write["one"])
    found = {
        "preview": cost(folder, "pulumi", "preview", "--stack", "test", "--non-interactive"),
        "first up": cost(folder, *up),
        "no-op up": cost(folder, *up),
    }
    (folder / program).write_text(write["two"])
    return {**found, "one change up": cost(folder, *up)}


def main(scratch: Path, sizes: Sequence[int]) -> None:
    """Print the table.

    Args:
        scratch: An empty folder.
        sizes: How many nodes.
    """
    os.environ.update(
        PATH=f"{os.environ['PATH']}:{FLEET.parent}",
        PULUMI_CONFIG_PASSPHRASE="",
        PULUMI_HOME=str(scratch / "pulumi-home"),
    )
    print(f"\n{'on the engine':40}{'bare':>9}{'fleet':>9}{'ratio':>8}{'bare':>10}{'fleet':>10}")
    for size in sizes:
        ours, bare = scratch / f"fleet-{size}", scratch / f"bare-{size}"
        with project(ours):
            for word in ("one", "two"):
                (ours / f"{word}.bu").write_text(SNIPPET.format(word))
            (ours / "__main__.py").write_text("from fleet.spec.deploy import main\n\nmain()\n")
            specs = {word: SPEC.format(count=size, greeting=word) for word in ("one", "two")}
            measured = steps(ours, specs, "fleet.yaml")
            state = json.loads((ours / ".pulumi/stacks/bench/test.json").read_text())
        counted = Counter(r["custom"] for r in state["checkpoint"]["latest"]["resources"])
        with project(bare):
            programs = {
                word: BARE.format(components=counted[False], resources=counted[True], greeting=word)
                for word in ("one", "two")
            }
            plain = steps(bare, programs, "__main__.py")
        for step in STEPS:
            a, b = plain[step], measured[step]
            what = f"{step}, {size} nodes, {counted.total()} resources"
            print(
                f"{what:40}{a.seconds:7.2f} s{b.seconds:7.2f} s{b.seconds / a.seconds:8.2f}"
                f"{a.mib:6.0f} MiB{b.mib:6.0f} MiB",
                flush=True,
            )
