"""The options of ``qemu``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fleet.model import PORT_NUMBER, Grammar
from fleet.platforms.options import PlatformOptions
from fleet.platforms.qemu.accelerator import Choice

NodePort = Annotated[
    str,
    Grammar(
        f"[a-z0-9][a-z0-9-]*-(?:0|[1-9][0-9]*):{PORT_NUMBER.removeprefix('0*')}(?:/udp)?",
        lambda _: "a port of a node is written NODE:PORT or NODE:PORT/udp, such as `web-0:8080`",
    ),
]
"""A port of a node, as ``host_ports`` names it."""


class Options(PlatformOptions):
    """The stack's ``fleet:qemu``.

    Attributes:
        state_dir: The state folder, relative to the project's; ``.fleet/<stack>`` by default.
        bind: The host's address that ports listen on; 0.0.0.0 for all, which exposes the nodes to the network.
        memory_mib: A small node's memory in MiB; a medium one has twice, a large one four times as much.
        cpus: A node's virtual CPUs.
        root_size_gib: A node's root disk in GiB; it takes only what is written.
        port_offset: Added to every host port, so that stacks can run side by side.
        host_ports: Host ports by ``<node>:<port>``, or ``<node>:<port>/udp``.
        accelerator: "kvm"; "tcg", which emulates; "auto" takes KVM where it works. It holds for machines that are
            started from then on. ``FLEET_QEMU_ACCELERATOR`` in the environment wins.

    Examples:
        state_dir: /var/tmp/shop
        bind: 0.0.0.0
        memory_mib: 2048
        cpus: 4
        root_size_gib: 20
        port_offset: 10000
        host_ports: {"web-0:8080": 18080}
    """

    state_dir: str = ""
    bind: str = Field(default="127.0.0.1", pattern=r"^\d+\.\d+\.\d+\.\d+$")
    memory_mib: int = Field(default=1024, ge=256)
    cpus: int = Field(default=2, ge=1)
    root_size_gib: int = Field(default=10, ge=10)
    port_offset: int = Field(default=0, ge=0)
    host_ports: dict[NodePort, int] = {}
    accelerator: Choice = "auto"
