"""Fleets of any size as ``fleet view`` sees them: for its tests, and for pictures of its page."""

from __future__ import annotations

from dataclasses import replace

from fleet.ops.progress import Stage, Step
from fleet.plan.report import DiskReport, Report, UnitReport, UpdateReport
from fleet.program.topology import (
    Topology,
    TopologyContainer,
    TopologyDisk,
    TopologyGroup,
    TopologyNetwork,
    TopologyNode,
    TopologyPort,
)
from fleet.view.snapshot import Asked, Json, Running, Seen, snapshot

NOW = 1_795_000_000.0
"""A moment in November 2026."""
GIB = 1 << 30


def container(name: str, **fields: object) -> UnitReport:
    """A container that runs, but for what is said."""
    well = {"kind": "container", "expect": "running", "active": "active", "sub": "running", "seconds": 86400}
    return UnitReport.model_validate({"unit": f"{name}.service", "name": name, **well, **fields})


def report(node: str, *units: UnitReport, full: float = 0.4) -> Report:
    """A node's report."""
    return Report(
        version=1,
        node=node,
        os="Fedora CoreOS",
        release="44.20260705.3.0",
        kernel="6.15.4-200.fc44.x86_64",
        boot_id="b",
        uptime_seconds=93_600,
        system="running",
        update=UpdateReport(state="active", status="periodically polling for updates"),
        units=units,
        disks=(
            DiskReport(mount="/", size_bytes=10 * GIB, used_bytes=int(3.1 * GIB)),
            DiskReport(mount="/var/lib/site", name="site", size_bytes=20 * GIB, used_bytes=int(20 * GIB * full)),
        ),
    )


def group(name: str, count: int, *, port: int = 8080, after: tuple[str, ...] = ()) -> TopologyGroup:
    """A group whose nodes run two containers behind a port."""
    return TopologyGroup(
        name=name,
        count=count,
        size="small",
        engine="podman",
        strategy="recreate",
        window=max(1, count // 20),
        after=after,
        names=(f"{name}.example.org",),
        nodes=tuple(TopologyNode(f"{name}-{i}", i, private=f"10.0.0.{i + 10}") for i in range(count)),
        ports=(
            TopologyPort(22, "tcp", "ssh", reach=("192.0.2.0/24",)),
            TopologyPort(port, "tcp", "container", "proxy", 80, ("anywhere",)),
        ),
        containers=(
            TopologyContainer("proxy", "docker.io/library/caddy:2", networks=("inside",), after=("app",)),
            TopologyContainer("app", "quay.io/example/app@sha256:" + "ab" * 32, networks=("inside",), disks=("site",)),
        ),
        networks=(TopologyNetwork("inside", ("10.89.0.0/24",), members=("proxy", "app")),),
        disks=(TopologyDisk("site", 20, "/var/lib/site", "xfs"),),
        snippets=("base.bu",),
    )


def ready(name: str, index: int, **fields: object) -> Seen:
    """A node that is ready, but for what is said."""
    since = NOW - 90_000 + index * 70
    seen = Seen(
        stage=Stage("ready", f"machine-{name}", since, since + 12, since + 62),
        changes=False,
        address=f"198.51.100.{index % 250 + 1}",
        ssh=f"fleet ssh fleet.yaml {name} --stack production",
        asked=Asked(NOW, "", report(name, container("proxy"), container("app"), full=0.2 + index % 7 / 10)),
    )
    return replace(seen, **fields)  # type: ignore[arg-type]


def going_on(*groups: TopologyGroup) -> Json:
    """A fleet in the midst of a rollout, with a node of each kind of state that is not well."""
    since = NOW - 300
    nodes: dict[str, Seen] = {}
    listed = [node for each in groups for node in each.nodes]
    for index, node in enumerate(listed):
        seen = ready(node.name, index)
        begin = since + 70 * index
        noted: tuple[Step, ...] = ()
        if index < 3:
            stage = Stage("ready", f"new-{node.name}", begin, begin + 12, begin + 64)
            noted = (
                Step("waiting", since), Step("stopping", begin), Step("making", begin + 5),
                Step("firmware", begin + 12),
                Step("kernel", begin + 16), Step("Ignition", begin + 22, "Ignition: files"), Step("units", begin + 33),
                Step("pulling", begin + 40, "pulling the image of app"), Step("settling", begin + 54),
            )  # fmt: skip
            seen = replace(seen, stage=stage)
        elif index == 3:
            stage = Stage("starting", f"new-{node.name}", begin, begin + 12)
            noted = (
                Step("waiting", since), Step("stopping", begin), Step("making", begin + 5),
                Step("firmware", begin + 12),
                Step("kernel", begin + 16), Step("Ignition", begin + 22, "Ignition: files"),
                Step("pulling", begin + 40, "pulling the image of app"),
            )  # fmt: skip
            pulls = report(node.name, container("proxy"), container("app", active="activating", pulling=True))
            seen = replace(seen, stage=stage, asked=Asked(NOW, "app pulls its image", pulls))
        elif index % 41 == 4:
            crash = container("app", active="activating", sub="auto-restart", restarts=12, cause="image-unknown")
            reason = "app restarts, 12 times: the registry has no such image or tag (manifest unknown)"
            full = report(node.name, container("proxy"), crash, full=0.93)
            noted = (Step("waiting", since),)
            seen = replace(seen, changes=True, asked=Asked(NOW, reason, full), noted=noted)
        else:
            noted = (Step("waiting", since),)
            seen = replace(seen, changes=True)
        nodes[node.name] = replace(seen, noted=noted)
    topology = Topology(1, "web", "aws", groups, "10.0.0.0/16")
    running = Running(since, "core@build (pid 4711)")
    return snapshot(topology, nodes, spec="fleet.yaml", stack="production", running=running, finished=NOW - 90_000)
