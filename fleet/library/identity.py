"""Host name, network addresses and time zone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fleet.config.ignition import file, keyfile
from fleet.errors import UsageError
from fleet.library.base import LibrarySnippet, NodeName

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def hostname_file(name: str) -> dict[str, Any]:
    """The file that gives a node its host name, as an entry of an Ignition config.

    It replaces what is there: Afterburn, which some platforms' images run before, writes one.
    """
    return file("/etc/hostname", f"{name}\n", mode=0o644, overwrite=True)


class Hostname(LibrarySnippet):
    """A host name other than the node's name. Exactly one of ``domain`` and ``names``.

    Attributes:
        domain: What follows the node's name: "example.org" makes ``web-0.example.org``.
        names: The full name of each node, by index.

    Examples:
        domain: shop.internal
        names: [alpha, beta]
    """

    per_node: ClassVar[bool] = True

    use: Literal["hostname"]
    # The node's own name is written first.
    override: bool = True
    domain: str = Field(default="", pattern=rf"^({_LABEL}(\.{_LABEL})*)?$")
    names: list[Annotated[str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]] = []

    @model_validator(mode="after")
    def _one(self) -> Hostname:
        """One of `domain` and `names`."""
        if bool(self.domain) == bool(self.names):
            raise ValueError("a host name is made with one of `domain` or `names`")
        return self

    def _sections(self, node: NodeName) -> dict[str, Any]:
        name = f"{node.name}.{self.domain}" if self.domain else _item(self.names, "names", node)
        return {"storage": {"files": [hostname_file(name)]}}


class StaticNetwork(LibrarySnippet):
    """Fixed addresses by a NetworkManager keyfile (nm-settings-keyfile(5)).

    Attributes:
        interface: The network interface, such as "ens3".
        addresses: The address with its prefix length of each node, by index.
        gateway: The default gateway; none if the interface has no way out.
        dns: Name servers.
        search: Domains that short names are looked up in.
        other_family: What the other address family does: "auto" takes what the network offers.

    Examples:
        interface: eth1
        addresses: [10.0.0.2/24]
        gateway: 10.0.0.1
        dns: [9.9.9.9]
        search: [shop.internal]
    """

    per_node: ClassVar[bool] = True

    use: Literal["static-network"]
    interface: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$")
    addresses: list[IPv4Interface | IPv6Interface] = Field(min_length=1)
    gateway: IPv4Address | IPv6Address | None = None
    dns: list[IPv4Address | IPv6Address] = []
    search: list[Annotated[str, Field(pattern=r"^~?[A-Za-z0-9._-]+$")]] = []
    other_family: Literal["auto", "disabled"] = "auto"

    @model_validator(mode="after")
    def _one_family(self) -> StaticNetwork:
        """Addresses and gateway are of one family, IPv4 or IPv6."""
        versions = {address.version for address in self.addresses}
        if self.gateway is not None:
            versions.add(self.gateway.version)
        if len(versions) > 1:
            raise ValueError("addresses and gateway are of one family, IPv4 or IPv6")
        return self

    def _sections(self, node: NodeName) -> dict[str, Any]:
        address = _item(self.addresses, "addresses", node)
        mine, other = ("ipv4", "ipv6") if address.version == 4 else ("ipv6", "ipv4")
        lines = ["method=manual", f"address1={address}" + (f",{self.gateway}" if self.gateway is not None else "")]
        servers: dict[str, list[str]] = {"ipv4": [], "ipv6": []}
        for server in self.dns:
            servers[f"ipv{server.version}"].append(str(server))
        sections = {mine: lines, other: [f"method={self.other_family}"]}
        for family, addresses in servers.items():
            if addresses:
                sections[family].append(f"dns={';'.join(addresses)};")
        if self.search:
            lines.append(f"dns-search={';'.join(self.search)};")
        own = {"connection": [f"interface-name={self.interface}"], "ipv4": sections["ipv4"], "ipv6": sections["ipv6"]}
        return {"storage": {"files": [keyfile(f"fleet-{self.interface}", own)]}}


class TimeZone(LibrarySnippet):
    """The time zone; FCOS's is UTC.

    Attributes:
        zone: Its name in the tz database, such as "Europe/Berlin".

    Examples:
        zone: Europe/Berlin
    """

    use: Literal["time-zone"]
    zone: str = Field(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")

    def _sections(self, node: NodeName) -> dict[str, Any]:
        link = {"path": "/etc/localtime", "target": f"../usr/share/zoneinfo/{self.zone}", "overwrite": True}
        return {"storage": {"links": [link]}}


def _item(values: list[Any], key: str, node: NodeName) -> Any:
    if node.index >= len(values):
        raise UsageError(
            f"`{key}` has none for {node.name}: it has {len(values)}.",
            fix="Give one for each node of the group.",
        )
    return values[node.index]
