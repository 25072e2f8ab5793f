"""Events: what a command does with a stack, as it happens.

``fleet preview``, ``up``, ``destroy``, ``rollback`` and ``replace`` tell their user interface
(:class:`fleet.ops.ui.Ui`) of events. People read an event's :attr:`~Event.text`; programs read its
:meth:`~Event.document`, which ``--json`` prints, one JSON object a line.

The documents have a ``version``. Within a version, types and keys are added, and none is removed or changes its
meaning. Nothing in an event is a secret: what may hold one has it masked.

``docs/reference/events.md`` is made from the classes here: a type's page is its class' docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

EVENTS_VERSION = 1

Fate = Literal["new", "re-provisioned", "removed", "unchanged"]
"""What happens to a node."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Classes of events are defined with their ``type``. Their fields are the keys of the document.
    """

    type: ClassVar[str] = ""

    def __init_subclass__(cls, *, type: str, **kwargs: Any) -> None:  # noqa: A002
        super().__init_subclass__(**kwargs)
        cls.type = type
        TYPES[type] = cls

    @property
    def subject(self) -> str:
        """The node that it is about; empty if it is about the fleet."""
        return str(getattr(self, "node", ""))

    @property
    def text(self) -> str:
        """What people read, without the subject; empty if there is nothing to say to them."""
        return ""

    def document(self, time: datetime) -> dict[str, Any]:
        """The event as JSON's words.

        Args:
            time: When it happened; aware of its time zone.
        """
        return {"version": EVENTS_VERSION, "type": self.type, "time": utc(time), **asdict(self)}


TYPES: dict[str, type[Event]] = {}
"""The classes of events by type."""


def utc(time: datetime) -> str:
    """A time as documents have it, such as "2026-11-25T10:42:46.123Z".

    Args:
        time: Aware of its time zone.
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Begin(Event, type="begin"):
    """The command has planned the fleet, and begins.

    Attributes:
        command: "preview", "up", "destroy", "rollback" or "replace".
        fleet: The fleet's name; the project's for a program, which may have several.
        stack: The stack's name.
        nodes: The names of the planned nodes, group by group; none where all are removed, and none for a program, which
            plans as it runs.
    """

    command: str
    fleet: str
    stack: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned(Event, type="planned"):
    """Something is about to happen, or, in a preview, would happen, to a node. Nodes that stay as they are have none.

    Attributes:
        node: Its name.
        fate: "new", "re-provisioned" or "removed".
        reasons: Why, if it is re-provisioned, such as "file /etc/motd changed".
    """

    node: str
    fate: Fate
    reasons: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Such as "re-provision: file /etc/motd changed"."""
        word = {"re-provisioned": "re-provision", "removed": "remove"}.get(self.fate, self.fate)
        return f"{word}: {', '.join(self.reasons)}" if self.reasons else word


@dataclass(frozen=True)
class Stopping(Event, type="stopping"):
    """A node's machine is being stopped and removed.

    Attributes:
        node: The node's name.
    """

    node: str

    @property
    def text(self) -> str:
        """A word."""
        return "stopping"


@dataclass(frozen=True)
class Starting(Event, type="starting"):
    """A node's new machine is being made.

    Attributes:
        node: The node's name.
    """

    node: str

    @property
    def text(self) -> str:
        """Some words."""
        return "starting from a fresh image"


@dataclass(frozen=True)
class Waiting(Event, type="waiting"):
    """A node's new machine was started; from now on it is waited for until it is ready.

    Attributes:
        node: The node's name.
        address: Where it is; empty if that is not known yet.
    """

    node: str
    address: str = ""

    @property
    def text(self) -> str:
        """Some words."""
        return "started; waiting until it is ready"


@dataclass(frozen=True)
class Phase(Event, type="phase"):
    """Where a node is on its way to readiness, or something else that a provider has to say of it.

    Attributes:
        node: The node's name.
        phase: In words, such as "pulling docker.io/library/caddy:2".
    """

    node: str
    phase: str

    @property
    def text(self) -> str:
        """The phase."""
        return self.phase


@dataclass(frozen=True)
class Ready(Event, type="ready"):
    """A node became ready.

    Attributes:
        node: The node's name.
        seconds: How long it was waited for since it was started.
    """

    node: str
    seconds: float

    @property
    def text(self) -> str:
        """Such as "ready after 30 s"."""
        return f"ready after {self.seconds:.0f} s"


@dataclass(frozen=True)
class Failed(Event, type="failed"):
    """Something about a node failed. The event `error` at the stream's end has the same words for people.

    Attributes:
        node: The node's name.
        error: What, why, and how to mend it.
    """

    node: str
    error: str


@dataclass(frozen=True)
class Names(Event, type="names"):
    """Names in the DNS should resolve to addresses; fleet makes no records.

    Attributes:
        names: The names.
        addresses: Where they should lead to.
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]

    @property
    def text(self) -> str:
        """A line."""
        return f"{', '.join(self.names)}: should resolve to {', '.join(self.addresses)}"


@dataclass(frozen=True)
class DataDisk(Event, type="data-disk"):
    """A data disk was left, or deleted, when its node was removed with the fleet.

    Attributes:
        disk: Its name.
        fate: "kept" or "deleted".
        place: The platform's name of it, such as a path.
    """

    disk: str
    fate: Literal["kept", "deleted"]
    place: str

    @property
    def text(self) -> str:
        """A line."""
        return f"Data disk {self.disk} {self.fate}: {self.place}"


@dataclass(frozen=True)
class Download(Event, type="download"):
    """How far a download, or what is done with it, has come: when it begins, at every tenth of it, and at its end.

    Attributes:
        step: What is done, such as "downloading" or "decompressing".
        bytes_done: How much of it.
        bytes_total: Of how much; `null` if that is not known.
    """

    step: str
    bytes_done: int
    bytes_total: int | None


@dataclass(frozen=True)
class Note(Event, type="note"):
    """Anything else that people are told.

    Attributes:
        node: The node that it is about; empty if it is about the fleet.
        message: A line.
    """

    node: str
    message: str

    @property
    def text(self) -> str:
        """The message."""
        return self.message


@dataclass(frozen=True)
class Warned(Event, type="warning"):
    """Something is not as it should be, and does not stop the command.

    Attributes:
        message: What, and what to do.
    """

    message: str

    @property
    def text(self) -> str:
        """The message."""
        return self.message


@dataclass(frozen=True)
class NodeResult:
    """What has happened to a node.

    Attributes:
        node: Its name.
        group: Its group's name.
        result: "new", "re-provisioned", "removed" or "unchanged"; in a preview, what would have happened.
        seconds: From its stop, or, if it is new, its start, until it was ready; `null` if it was not made.
        address: Where it is; empty in previews, and if there is nothing of it, as `endpoints` and `ssh` are.
        endpoints: By port of the node, the host and port that reach it from outside, such as "127.0.0.1:8080".
        ssh: The command that logs in to it.
    """

    node: str
    group: str
    result: Fate
    seconds: float | None = None
    address: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    ssh: str = ""


@dataclass(frozen=True)
class Summary(Event, type="summary"):
    """The command has done what it was asked. It is the last event of its stream but for `data-disk` and `note`.

    Attributes:
        command: As in `begin`.
        fleet: The fleet's name.
        changed: Whether anything changed, or, in a preview, would change: nodes, or what belongs to them.
        counts: How many nodes were "new", "re-provisioned", "removed" and "unchanged"; no zeros.
        nodes: Each node, group by group, those that were removed last.
    """

    command: str
    fleet: str
    changed: bool
    counts: Mapping[str, int]
    nodes: tuple[NodeResult, ...] = ()

    @property
    def text(self) -> str:
        """One line about all nodes."""
        counts = ", ".join(f"{count} {fate}" for fate, count in self.counts.items()) or "no nodes"
        if self.command == "preview":
            return f"Preview of {self.fleet}: {counts}." if self.changed else "Nothing would change."
        if self.counts.keys() - {"unchanged"} or self.command == "destroy":
            return f"{self.fleet}: {counts}."
        return f"{self.fleet}: {f'updated, {counts}' if self.changed else 'nothing changes'}."


@dataclass(frozen=True)
class Error(Event, type="error"):
    """The command failed or was stopped: the last event of its stream.

    Attributes:
        message: What, where, and how to mend it; the same paragraph is on standard error.
        exit_status: The command's exit status.
    """

    message: str
    exit_status: int
