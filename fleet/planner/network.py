"""The fleet's private network: planned addresses and names, known before any node is made.

A node's config holds its own address and every node's name. The names of a group are those of all addresses that are
set aside for it, made or not, so that a fleet can grow without a change of the nodes that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

from fleet.config import Snippet
from fleet.config.ignition import file, keyfile
from fleet.plan import Interface, PlanningPlatform
from fleet.spec.model import FleetSpec

_HOSTS = """\
127.0.0.1 localhost localhost.localdomain localhost4 localhost4.localdomain4
::1 localhost localhost.localdomain localhost6 localhost6.localdomain6
"""


def planned_address(fleet: FleetSpec, group: str, index: int, platform: PlanningPlatform) -> IPv4Interface | None:
    """The private address of a node, with the network's prefix length; ``None`` where there is no private network.

    Raises:
        UsageError: The network has no room for it on the platform.
    """
    if fleet.network is None:
        return None
    first = fleet.groups[group].addresses_from
    assert first is not None
    return IPv4Interface((platform.planned_address(fleet.network.cidr, first + index), fleet.network.cidr.prefixlen))


def hosts_snippet(fleet: FleetSpec, platform: PlanningPlatform) -> Snippet:
    """``/etc/hosts`` with the name of every node, and of every node that the groups have room for."""
    text = _HOSTS + "".join(
        f"{address} {name} {name}.{fleet.name}.internal\n" for name, address in _names(fleet, platform)
    )
    entry = file("/etc/hosts", text, mode=0o644, overwrite=True)
    return Snippet.from_ignition("names of the private network", _config(entry))


def _names(fleet: FleetSpec, platform: PlanningPlatform) -> Iterator[tuple[str, IPv4Address]]:
    for name, group in fleet.groups.items():
        for index in range(group.capacity):
            address = planned_address(fleet, name, index, platform)
            assert address is not None
            yield f"{name}-{index}", address.ip


def interface_snippet(name: str, address: IPv4Interface, interface: Interface) -> Snippet:
    """The node's own end of a private network that gives no addresses: for NetworkManager, which Fedora CoreOS has, and
    for systemd-networkd, which other images have. The interface is found by its MAC address.
    """
    gateway = interface.gateway
    connection = (
        f"[connection]\nid=fleet-private\ntype=ethernet\n\n[ethernet]\nmac-address={interface.mac.upper()}\n\n"
        f"[ipv4]\nmethod=manual\naddress1={address}\n"
        + (f"gateway={gateway}\ndns={gateway};\n" if gateway else "never-default=true\n")
        + "\n[ipv6]\nmethod=link-local\n"
    )
    network = f"[Match]\nMACAddress={interface.mac}\n\n[Network]\nAddress={address}\nLinkLocalAddressing=ipv6\n" + (
        f"Gateway={gateway}\nDNS={gateway}\n" if gateway else ""
    )
    return Snippet.from_ignition(
        f"private address of {name}",
        _config(
            keyfile("fleet-private", connection),
            file("/etc/systemd/network/10-fleet-private.network", network, mode=0o644),
        ),
    )


def _config(*files: dict[str, object]) -> dict[str, object]:
    return {"ignition": {"version": "3.0.0"}, "storage": {"files": list(files)}}
