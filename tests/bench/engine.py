"""What `pulumi` takes with a fleet in its program, next to a bare program of as many resources.

Both run on the real engine and on one provider, libvirt's stand-in, in this process; nodes answer at once. The bare
program is what one would write by hand for the same nodes: a component, a root volume, an Ignition volume with the
same config and a domain for each, replaced together when the config changes; and, for the count to be the same, a
small volume in the place of each resource that is fleet's own. It has no order, no gates, and asks no node.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet.images import ImageLock, write_lock
from fleet.plan import Disk, LockedImage
from tests.bench.cost import Cost, cost
from tests.conftest import FLEET
from tests.engine.cases import case
from tests.engine.cloud import World, serving

SIZES = (10, 100)
"""Nodes. 500 take more than twenty minutes in all, most of it two first updates: `python -m tests.bench 500`."""
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
import hashlib
import json
from pathlib import Path

import pulumi
import pulumi_libvirt as libvirt

fleet = pulumi.ComponentResource("bench:index:Fleet", "bench")
pulumi.ComponentResource("bench:index:Group", "web", opts=pulumi.ResourceOptions(parent=fleet))
base = libvirt.Volume("base", pool="default", source="base.qcow2", format="qcow2")
network = libvirt.Network("bench", mode="nat", addresses=["127.79.0.0/16"], autostart=True)
libvirt.Volume("record", pool="default", size=1 << 20)
libvirt.Provider("other")
for index, (name, config) in enumerate(sorted(json.loads(Path("{0}.json").read_text()).items())):
    node = pulumi.ComponentResource("bench:index:Node", name, opts=pulumi.ResourceOptions(parent=fleet))
    child = pulumi.ResourceOptions(
        parent=node, delete_before_replace=True, replacement_trigger=hashlib.sha256(config.encode()).hexdigest()
    )
    root = libvirt.Volume(
        name, name=f"{{name}}.qcow2", pool="default", base_volume_id=base.id, size=16 << 30, format="qcow2", opts=child
    )
    ignition = libvirt.Ignition(name, name=f"{{name}}.ign", pool="default", content=config, opts=child)
    libvirt.Domain(
        name,
        name=name,
        type="kvm",
        arch="x86_64",
        vcpu=2,
        memory=2048,
        cpu=libvirt.DomainCpuArgs(mode="host-passthrough"),
        coreos_ignition=ignition.id,
        disks=[libvirt.DomainDiskArgs(volume_id=root.id)],
        network_interfaces=[
            libvirt.DomainNetworkInterfaceArgs(
                network_id=network.id,
                mac=f"52:54:7F:4F:{{index // 250 + 1:02X}}:{{index % 250 + 1:02X}}",
                hostname=name,
            )
        ],
        consoles=[libvirt.DomainConsoleArgs(type="pty", target_type="serial", target_port="0")],
        autostart=True,
        running=True,
        opts=child,
    )
    for part in ("gate", "ready"):
        libvirt.Volume(f"{{name}}-{{part}}", name=f"{{name}}-{{part}}", pool="default", size=1 << 20, opts=child)
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
    cloud = case("libvirt").cloud
    assert cloud
    with serving(cloud(world)) as providers:
        os.environ["PULUMI_DEBUG_PROVIDERS"] = providers
        subprocess.run(["pulumi", "stack", "init", "test"], cwd=folder, check=True, capture_output=True)
        yield
    world.close()


def steps(folder: Path, write: dict[str, str], program: str) -> tuple[dict[str, Cost], list[list[dict[str, Any]]]]:
    """Take every step of :data:`STEPS`.

    Args:
        folder: The project.
        write: The text of the program's file for each greeting.
        program: Its name.

    Returns:
        What each step took, and the state's resources for each greeting.
    """
    options = ("--stack", "test", "--non-interactive", "--skip-preview", "--parallel", "16")
    up = ("pulumi", "up", "--yes", *options)
    (folder / program).write_text(write["one"])
    costs = {
        "preview": cost(folder, "pulumi", "preview", "--stack", "test", "--non-interactive"),
        "first up": cost(folder, *up),
        "no-op up": cost(folder, *up),
    }
    states = [resources(folder)]
    (folder / program).write_text(write["two"])
    costs["one change up"] = cost(folder, *up)
    return costs, [*states, resources(folder)]


def resources(folder: Path) -> list[dict[str, Any]]:
    """The resources in a project's state."""
    state = json.loads((folder / ".pulumi/stacks/bench/test.json").read_text())
    return list(state["checkpoint"]["latest"]["resources"])


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
        # Without a network it may take seconds of every command, as much for a bare program as for a fleet.
        PULUMI_SKIP_UPDATE_CHECK="true",
    )
    print(f"\n{'on the engine':40}{'bare':>9}{'fleet':>9}{'ratio':>8}{'bare':>10}{'fleet':>10}")
    for size in sizes:
        ours, bare = scratch / f"fleet-{size}", scratch / f"bare-{size}"
        with project(ours):
            for word in ("one", "two"):
                (ours / f"{word}.bu").write_text(SNIPPET.format(word))
            (ours / "__main__.py").write_text("from fleet.program import main\n\nmain()\n")
            specs = {word: SPEC.format(count=size, greeting=word) for word in ("one", "two")}
            measured, states = steps(ours, specs, "fleet.yaml")
        with project(bare):
            for word, state in zip(specs, states, strict=True):
                configs = {
                    r["urn"].rpartition("::")[2]: r["inputs"]["content"]
                    for r in state
                    if r["type"].endswith("Ignition")
                }
                (bare / f"{word}.json").write_text(json.dumps(configs))
            plain, others = steps(bare, {word: BARE.format(word) for word in specs}, "__main__.py")
        (count,) = {len(state) for state in (*states, *others)}
        for step in STEPS:
            a, b = plain[step], measured[step]
            what = f"{step}, {size} nodes, {count} resources"
            print(
                f"{what:40}{a.seconds:7.2f} s{b.seconds:7.2f} s{b.seconds / a.seconds:8.2f}"
                f"{a.mib:6.0f} MiB{b.mib:6.0f} MiB",
                flush=True,
            )
