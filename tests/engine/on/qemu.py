"""What tests have to know of qemu. A program stands in for QEMU itself (``qemu_stand_in.py``)."""

from __future__ import annotations

from tests.engine.cases import Case
from tests.engine.stack import OFFSET

CASE = Case(
    config={"fleet:qemu": {"port_offset": OFFSET}},
    other={"state_dir": "elsewhere", "bind": "127.0.0.2", "port_offset": OFFSET + 1, "host_ports": {"web-0:22": 17222}},
    other_for_disks={"state_dir": "elsewhere", "bind": "127.0.0.2", "host_ports": {"web-0:8080": 17080}},
    hard="memory_mib",
)
