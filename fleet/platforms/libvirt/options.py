"""The options of ``libvirt``."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pydantic import Field

from fleet.platforms.options import PlatformOptions


class Options(PlatformOptions):
    """The stack's ``fleet:libvirt``. The URI is the stack's ``libvirt:uri``, or LIBVIRT_DEFAULT_URI.

    Attributes:
        pool: The storage pool for all volumes.
        cidr: The range of the stack's NAT network, where the spec plans no addresses; a /16.
        bridge: A bridge of the host to put nodes on, instead of a network of the stack's own; the spec's network is
            then the bridge's, and ``gateway`` has to be named.
        gateway: The gateway, which answers DNS queries too; the first address of the range by default.
        architecture: "x86_64" or "aarch64".
        type: "kvm", or "qemu" where the host has no KVM.
        root_size_gib: A node's root disk in GiB.
        machine: The machine type, such as "q35" or "virt"; libvirt's default if empty.
        firmware: Path of a firmware on the host; aarch64 needs one, such as "/usr/share/AAVMF/AAVMF_CODE.fd".
        emulator: Path of QEMU on the host; libvirt's choice if empty.

    Examples:
        pool: fast
        cidr: 10.20.0.0/16
        bridge: br0
        gateway: 192.168.1.1
        root_size_gib: 20
        machine: pc
        firmware: /usr/share/OVMF/OVMF_CODE.fd
        emulator: /usr/bin/qemu-system-x86_64
    """

    pool: str = "default"
    cidr: IPv4Network = IPv4Network("10.78.0.0/16")
    bridge: str = ""
    gateway: IPv4Address | None = None
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    type: Literal["kvm", "qemu"] = "kvm"
    root_size_gib: int = Field(default=16, ge=10)
    machine: str = ""
    firmware: str = ""
    emulator: str = ""
