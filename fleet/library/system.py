"""System maintenance: kernel parameters, updates, monitoring, clean-up, and the metadata guard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fleet.config import Snippet
from fleet.config.ignition import file, timer_text, unit
from fleet.library.base import LibrarySnippet, NodeName
from fleet.model import Grammar, Model
from fleet.workloads import CalendarEvent, Container, ImageReference, Text, Workload, workload_snippet

SysctlValue = Annotated[
    Text, Grammar(r"[^\x00-\x1f\x7f]*", lambda _: "the value of a kernel parameter is one line, without tabs")
]
"""Several numbers may stand in one, with spaces between them."""


class Sysctl(LibrarySnippet):
    """Kernel parameters (sysctl.d(5)).

    Attributes:
        values: By name, such as ``vm.max_map_count: 262144``.

    Examples:
        values: {vm.max_map_count: 262144}
    """

    use: Literal["sysctl"]
    values: dict[Annotated[str, Field(pattern=r"^-?[A-Za-z0-9_.*/-]+$")], SysctlValue] = Field(min_length=1)

    def _sections(self, node: NodeName) -> dict[str, Any]:
        text = "".join(f"{key} = {value}\n" for key, value in sorted(self.values.items()))
        return {"storage": {"files": [file("/etc/sysctl.d/90-fleet.conf", text, mode=0o644)]}}


class Zram(LibrarySnippet):
    """Swap in compressed memory (zram-generator.conf(5)), which FCOS brings but does not turn on.

    Attributes:
        size: Its size in MiB, or an expression of ``ram``.
        algorithm: The compression.

    Examples:
        size: min(ram / 2, 4096)
    """

    use: Literal["zram"]
    size: Annotated[
        Text, Grammar(r"[a-z0-9 ()*/+,.-]+", lambda _: "the size is MiB, or an expression such as min(ram / 2, 4096)")
    ] = "min(ram / 2, 4096)"
    algorithm: Literal["zstd", "lz4", "lzo-rle"] = "zstd"

    def _sections(self, node: NodeName) -> dict[str, Any]:
        text = f"[zram0]\nzram-size = {self.size}\ncompression-algorithm = {self.algorithm}\n"
        return {"storage": {"files": [file("/etc/systemd/zram-generator.conf", text, mode=0o644)]}}


class Window(Model):
    """When a node may reboot for an update.

    Attributes:
        days: "Mon", "Tue", ...
        start: "HH:MM".
        minutes: How long.

    Examples:
        days: [Sat, Sun]
        start: "22:30"
        minutes: 60
    """

    days: list[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]] = Field(min_length=1)
    start: str = Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    minutes: int = Field(ge=1)


class Zincati(LibrarySnippet):
    """How FCOS updates itself (Zincati's documentation, "Updates strategy").

    Attributes:
        strategy: "immediate": reboot when an update is there; "periodic": in windows; "fleet-lock": when a lock manager
            lets it; "off": no updates.
        windows: For "periodic".
        time_zone: Of the windows; "localtime" is the node's.
        lock_url: For "fleet-lock": the manager's base URL.
        wariness: From 0 (among the first to take an update) to 1 (among the last).

    Examples:
        windows: [{days: [Sat, Sun], start: "22:30", minutes: 60}]
        time_zone: Europe/Berlin
        lock_url: http://10.77.0.10:8080
        wariness: 0.5
    """

    use: Literal["zincati"]
    strategy: Literal["immediate", "periodic", "fleet-lock", "off"]
    windows: list[Window] = []
    time_zone: str = "UTC"
    lock_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    wariness: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Zincati:
        """`windows` are for the strategy `periodic`, `lock_url` for `fleet-lock`; either needs them."""
        if (self.strategy == "periodic") != bool(self.windows):
            raise ValueError("`windows` belongs to the strategy periodic, which needs at least one")
        if (self.strategy == "fleet-lock") != bool(self.lock_url):
            raise ValueError("`lock_url` belongs to the strategy fleet-lock, which needs it")
        return self

    def _sections(self, node: NodeName) -> dict[str, Any]:
        if self.strategy == "off":
            lines = ["[updates]", "enabled = false"]
        else:
            lines = ["[updates]", f"strategy = {_toml(self.strategy.replace('-', '_'))}"]
        if self.strategy == "fleet-lock":
            lines += ["[updates.fleet_lock]", f"base_url = {_toml(self.lock_url)}"]
        if self.strategy == "periodic":
            lines += ["[updates.periodic]", f"time_zone = {_toml(self.time_zone)}"]
        for window in self.windows:
            lines += [
                "[[updates.periodic.window]]",
                f"days = {_toml(window.days)}",
                f"start_time = {_toml(window.start)}",
                f"length_minutes = {window.minutes}",
            ]
        if self.wariness is not None:
            lines += ["[identity]", f"rollout_wariness = {self.wariness}"]
        text = "".join(f"{line}\n" for line in lines)
        return {"storage": {"files": [file("/etc/zincati/config.d/55-fleet.toml", text, mode=0o644)]}}


def _toml(value: str | Sequence[str]) -> str:
    """A value in TOML, which takes JSON's escapes but for pairs of surrogates (toml.io/en/v1.0.0, "String")."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class NodeExporter(LibrarySnippet):
    """Prometheus's node exporter, as a container that sees the node. The group's ``ports`` open it to the outside.

    Attributes:
        image: The image.
        port: The port of the node that it listens on.
        address: The node's address that it listens on; all if empty.
        collectors: Further command line options, such as "--collector.systemd".

    Examples:
        image: quay.io/prometheus/node-exporter:v1.9.1
        port: 9101
        address: 10.77.0.10
        collectors: [systemd]
    """

    use: Literal["node-exporter"]
    image: ImageReference = "quay.io/prometheus/node-exporter:v1.9.1"
    port: int = Field(default=9100, ge=1, le=65535)
    address: IPv4Address | IPv6Address | None = None
    collectors: list[str] = []

    def snippet(self, node: NodeName) -> Snippet:
        """The container, in the network of the node."""
        address = self.address
        listen = f"[{address}]" if isinstance(address, IPv6Address) else str(address or "")
        container = Container.model_validate(
            {
                "image": self.image,
                "command": [
                    "--path.rootfs=/host", f"--web.listen-address={listen}:{self.port}", *self.collectors,
                ],
                "networks": ["host"],
                "volumes": ["/:/host:ro,rslave"],
                "read_only": True,
                "drop_capabilities": ["all"],
                "no_new_privileges": True,
                # With a label of its own it could not read the node's files; relabelling those would break the node.
                "quadlet": {"Container": {"SecurityLabelDisable": "true", "PodmanArgs": "--pid=host"}},
            }
        )  # fmt: skip
        return workload_snippet(Workload(containers={"node-exporter": container}), name=self.use)


class PodmanPrune(LibrarySnippet):
    """Remove images, networks and containers that nothing uses, by a timer.

    Attributes:
        calendar: When (systemd.time(7)).
        older_than: Only what is older, a Go duration.
        images: Remove every image that no container uses, not only those without a tag.

    Examples:
        calendar: weekly
        older_than: 72h
    """

    use: Literal["podman-prune"]
    calendar: CalendarEvent = "weekly"
    older_than: str = Field(default="168h", pattern=r"^([0-9]+[hms])+$")
    images: bool = True

    def _sections(self, node: NodeName) -> dict[str, Any]:
        everything = "--all " if self.images else ""
        service = (
            "[Unit]\nDescription=Remove what Podman no longer needs\n\n[Service]\nType=oneshot\n"
            f"ExecStart=/usr/bin/podman system prune --force {everything}--filter until={self.older_than}\n"
        )
        timer = timer_text(
            "Podman's clean-up", ("OnCalendar", self.calendar), ("Persistent", "true"), ("RandomizedDelaySec", "1h")
        )
        return {
            "systemd": {
                "units": [
                    {"name": "fleet-podman-prune.service", "contents": service},
                    unit("fleet-podman-prune.timer", timer),
                ]
            }
        }


def _guarded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise ValueError(f"{address} should be a plain IPv6 address, without an interface or an IPv4 address in it")
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        raise ValueError(f"{address} is no address of another machine, so no metadata service is there")
    return address


def _written(address: object) -> object:
    # A number would be taken for an address, too.
    if not isinstance(address, str | IPv4Address | IPv6Address):
        raise ValueError(f"an address is text, such as 169.254.169.254, but this is {json.dumps(address, default=str)}")
    return address


GuardedAddress = Annotated[
    IPv4Address | IPv6Address,
    BeforeValidator(_written, json_schema_input_type=IPv4Address | IPv6Address),
    AfterValidator(_guarded),
]
"""An address at which a metadata service may be."""

METADATA_ADDRESSES = (IPv4Address("169.254.169.254"), IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254"))
"""Where the metadata services of AWS, Google Cloud and DigitalOcean are; the last two are those of AWS and Google Cloud
over IPv6 (Amazon EC2 User Guide, "Access instance metadata for an EC2 instance"; Compute Engine documentation, "View
and query VM metadata")."""

_GUARD = "fleet-metadata-guard.service"
_DELAYED_UNITS = ("docker.service", "podman.service", "podman-restart.service", "user@.service")
"""Units beside Quadlet's that start containers: Docker's daemon, Podman's API, and the managers of users, rootless
containers' among them."""
_DELAYED_QUADLETS = ("container", "pod", "kube", "build")
"""Kinds of Quadlet files whose services run containers. A folder ``container.d`` holds for all files ``*.container``
(podman-systemd.unit(5))."""


class MetadataGuard(LibrarySnippet):
    """Containers and users other than root cannot read the cloud's metadata service, which has the node's user data.

    TCP is refused but for the port of DNS: on Google Cloud the same address is the name server, and the time server. A
    container whose process is root in the network ``host`` is root on the node's own network, and not held back; nor is
    one in a network ``macvlan`` or ``ipvlan``, whose packets do not pass the node.

    No container starts before the rules are loaded, or at all if they cannot be: not Quadlet's, not Docker's, not
    users'. The node itself, and SSH, start all the same.

    Attributes:
        addresses: Those of the service; by default those of all platforms.

    Examples:
        addresses: [169.254.169.254]
    """

    use: Literal["metadata-guard"]
    addresses: list[GuardedAddress] = Field(default=[*METADATA_ADDRESSES], min_length=1)

    def _sections(self, node: NodeName) -> dict[str, Any]:
        def rules(condition: str) -> str:
            return "".join(
                f"    {condition}{'ip6' if address.version == 6 else 'ip'} daddr {address} tcp dport != 53 reject\n"
                for address in self.addresses
            )

        table = (
            "table inet fleet_metadata_guard\nflush table inet fleet_metadata_guard\n"
            "table inet fleet_metadata_guard {\n"
            "  chain forward {\n    type filter hook forward priority filter - 10; policy accept;\n"
            + rules("")
            + "  }\n  chain output {\n    type filter hook output priority filter - 10; policy accept;\n"
            + rules("meta skuid != 0 ")
            + "  }\n}\n"
        )
        service = (
            "[Unit]\nDescription=Keep containers from the metadata service\nDefaultDependencies=no\n"
            # The node's own rules begin with `flush ruleset`, as a rule.
            "Wants=network-pre.target\nBefore=network-pre.target shutdown.target\n"
            "After=local-fs.target nftables.service\n"
            "Conflicts=shutdown.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
            "ExecStart=/usr/sbin/nft --file /etc/fleet/metadata-guard.nft\n\n[Install]\nWantedBy=multi-user.target\n"
        )
        # Files, and not drop-ins of units: a snippet that masks docker.service is no conflict.
        waits = f"[Unit]\nRequires={_GUARD}\nAfter={_GUARD}\n"
        folders = [f"/etc/systemd/system/{name}.d" for name in _DELAYED_UNITS]
        folders += [f"/etc/containers/systemd/{kind}.d" for kind in _DELAYED_QUADLETS]
        return {
            "storage": {
                "files": [
                    file("/etc/fleet/metadata-guard.nft", table, mode=0o644),
                    *(file(f"{folder}/10-fleet-metadata-guard.conf", waits, mode=0o644) for folder in folders),
                ]
            },
            "systemd": {"units": [unit(_GUARD, service)]},
        }
