"""How a node's machine is reached, watched and asked, and what a new one needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from fleet.plan.probe import Probe

if TYPE_CHECKING:
    import pulumi


@dataclass(frozen=True)
class Interface:
    """A network interface that a node has to set up itself.

    Attributes:
        mac: Its MAC address, by which the node finds it.
        gateway: The gateway to everywhere else, which answers DNS queries too; ``None``: there is another interface.
    """

    mac: str
    gateway: IPv4Address | None = None


@dataclass(frozen=True)
class DiskLink:
    """How a node finds one of its data disks: by a link that udev makes.

    Attributes:
        path: The link, below ``/dev``; the same for every machine of the node.
        match: What tells the disk from others, as udev(7) matches it; empty where udev's own rules make the link.
    """

    path: str
    match: str = ""

    @property
    def rule(self) -> str:
        """The udev rule that makes the link, a line; empty where none is needed."""
        if not self.match:
            return ""
        link = self.path.removeprefix("/dev/")
        return f'SUBSYSTEM=="block", ENV{{DEVTYPE}}=="disk", {self.match}, SYMLINK+="{link}"\n'


@dataclass(frozen=True)
class Watch:
    """How to look at an instance from outside while it starts.

    Attributes:
        function: What does, by its name in states (:func:`fleet.dynamic.tokens.named`). It is called with ``argument``
            and returns an object with the methods of :class:`fleet.dynamic.ready.Watcher`.
        argument: For ``function``.
        lives: Whether it can tell that the instance has gone; else it shows a console alone.
    """

    function: str
    argument: pulumi.Input[str]
    lives: bool = True

    def describe(self) -> dict[str, Any]:
        """As a resource's input."""
        return {"function": self.function, "argument": self.argument}


@dataclass(frozen=True)
class ReportAccess:
    """How a node's report (:mod:`fleet.plan.report`) can be had from here, and what is asked of it.

    Attributes:
        port: The node's port.
        settle: Seconds that what is to run must have run; ``None``: readiness is not judged by the report.
        direct: Whether the port can be reached from here.
        ssh: Whether the node's SSH can be reached from here, in case a key lets in.
        host: What the node calls itself in it; empty where that is not known, and anything is taken.
    """

    port: int
    settle: float | None
    direct: bool
    ssh: bool
    host: str = ""

    def describe(self) -> dict[str, Any]:
        """As a resource's input."""
        host = {"host": self.host} if self.host else {}
        return {"port": self.port, "settle": self.settle, "direct": self.direct, "ssh": self.ssh, **host}

    @classmethod
    def read(cls, described: Mapping[str, Any] | None) -> ReportAccess | None:
        """What :meth:`describe` gave, from a resource's inputs or a state; ``None`` for none."""
        if not described:
            return None
        settle = described.get("settle")
        return cls(
            int(described["port"]),
            None if settle is None else float(settle),
            bool(described["direct"]),
            bool(described["ssh"]),
            str(described.get("host", "")),
        )


@dataclass(frozen=True)
class Peer:
    """How a node can be asked whether it is ready.

    Attributes:
        name: The node's name.
        address: Its address: its own for its peers, its instance's for its readiness.
        endpoints: As :attr:`Instance.endpoints`.
        probes: What to ask, in order.
        watch: How to look at it, if there is a way.
        hidden: As :attr:`NodePlan.hidden`: what it answers may hold these.
        report: How its report can be had; ``None``: it has none.
    """

    name: str
    address: pulumi.Input[str]
    endpoints: Mapping[int, tuple[str, int]]
    probes: Sequence[Probe]
    watch: Watch | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)
    report: ReportAccess | None = None

    def describe(self) -> dict[str, Any]:
        """As a resource's input, with secrets in plain text."""
        description: dict[str, Any] = {
            "address": self.address,
            "endpoints": {str(port): list(endpoint) for port, endpoint in sorted(self.endpoints.items())},
            "probes": [probe.model_dump(mode="json", by_alias=True, exclude_defaults=True) for probe in self.probes],
        }
        if self.watch:
            description["watch"] = self.watch.describe()
        if self.hidden:
            description["hidden"] = dict(self.hidden)
        if self.report:
            description["report"] = self.report.describe()
        return description


@dataclass(frozen=True)
class Needs:
    """Whether what a node's next machine needs is to be had: its image, its size, where it is to be.

    Attributes:
        missing: What is not to be had, and what to do, as a paragraph; empty if nothing is known to be missing. It
            stops no update that makes no machine.
        look: A function that looks only when a machine is about to be made, by its name in states
            (:func:`fleet.dynamic.tokens.named`). It is called with ``argument``, and with whether to get, too, what
            takes long to get; returns a text like ``missing``.
        argument: For ``look``.
    """

    missing: pulumi.Input[str] = ""
    look: str = ""
    argument: pulumi.Input[str] = ""

    def describe(self) -> dict[str, Any]:
        """As inputs of a resource."""
        inputs: dict[str, Any] = {"missing": self.missing}
        if self.look:
            inputs["look"] = {"function": self.look, "argument": self.argument}
        return inputs
